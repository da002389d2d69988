//! `--wiki-order`: the new mailroom runs without workers while the database is migrated, as the
//! wiki has it. No migration of the known releases needs it (stack.md section 6).

use crate::engine::oneoff::OneOff;
use crate::engine::{Engine, Error};
use crate::lifecycle::Context;
use crate::operation::Kind;

/// Starts it beside; its container's id.
pub async fn begin(context: &Context, engine: &Engine) -> Result<String, Error> {
    let project = context.settings.project();
    let name = format!("{project}-mailroom-without-workers");
    if let Ok(left) = engine.container(&name).await {
        engine.remove(&left.id).await?;
    }
    let mailroom = engine.service_container(project, "mailroom").await?;
    let mailroom =
        mailroom.ok_or_else(|| Error::NotFound("mailroom has no container".to_owned()))?;
    let command = [
        "mailroom",
        "--address",
        "0.0.0.0",
        "-batch-workers",
        "0",
        "-handler-workers",
        "0",
    ];
    let spec = OneOff {
        name,
        project: project.to_owned(),
        service: "mailroom".to_owned(),
        task: "without-workers".to_owned(),
        command: command.map(str::to_owned).to_vec(),
        ..Default::default()
    };
    let id = engine.run_once_like(&mailroom.id, spec).await?;
    let told = "the new one runs without workers (--wiki-order)";
    context
        .reporter
        .service("start", "mailroom", Kind::Progress, None, told);
    Ok(id)
}

/// Ends it.
pub async fn end(context: &Context, engine: &Engine, id: &str) {
    // What is left of it has no workers and is replaced by the next one.
    let _ = engine.stop(id, std::time::Duration::from_secs(10)).await;
    let _ = engine.remove(id).await;
    let told = "the one without workers is gone";
    context
        .reporter
        .service("stop", "mailroom", Kind::Progress, None, told);
}
