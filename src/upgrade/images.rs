//! Which images the settings name, and the containers that are made of them.

use std::time::{Duration, Instant};

use super::state::Step;
use crate::deployment::env_file;
use crate::engine::Engine;
use crate::engine::compose::Compose;
use crate::fault::{Fault, Result};
use crate::host::files;
use crate::lifecycle::observe::{compose_answer, for_compose};
use crate::lifecycle::{Context, primed, release};
use crate::operation::Kind;

/// How long compose may take to make some containers.
const MAKING: Duration = Duration::from_secs(300);
/// How long a release task has to end by itself.
const GRACE: Duration = Duration::from_secs(10);

/// Puts the images of a leg into the settings file, or `back` those from before; what else stands
/// there stays. The same deployment with these settings.
pub fn choose(context: &Context, step: &Step, back: bool) -> Result<Context> {
    let places = &context.settings.places;
    let wanted: Vec<(String, String)> = step
        .images
        .iter()
        .map(|(key, from, to)| (key.clone(), if back { from } else { to }.clone()))
        .filter(|(key, image)| context.settings.get(key) != image)
        .collect();
    if !wanted.is_empty() {
        let file = &places.env_file;
        let change = || {
            let text = std::fs::read_to_string(file)?;
            files::write_atomic(file, env_file::fill(&text, &wanted).as_bytes(), 0o600)
        };
        change().map_err(|error| {
            Box::new(
                Fault::problem(
                    format!("{}: cannot be written", file.display()),
                    "the images of the new version could not be put into the settings",
                )
                .evidence(error.to_string())
                .why("the containers are made from what the settings say")
                .next(format!("ls -l {}", file.display()))
                .next(context.command("resume")),
            )
        })?;
        for (key, image) in wanted {
            let told = format!("{key}={image}");
            context.reporter.tell("settings", Kind::Done, None, told);
        }
    }
    Context::load(places, context.reporter.clone())
}

/// Has compose make the containers of these services as they are configured now.
pub async fn make(context: &Context, services: &[String]) -> Result<()> {
    let began = Instant::now();
    let rendered = &context.settings.places.rendered;
    context.rendered.write(rendered)?;
    let reporter = &context.reporter;
    reporter.tell("create", Kind::Started, None, "");
    let compose = Compose::find().await?.with(for_compose(context, rendered));
    compose_answer(context, compose.create(services, MAKING).await)?;
    let detail = format!("{} made of the new images", services.len());
    reporter.tell("create", Kind::Done, Some(began.elapsed()), detail);
    Ok(())
}

/// Removes what was made ahead and is not needed any more. What is left of it, where Docker is away,
/// takes room and no more: the next upgrade removes it before it makes its own.
pub async fn discard_ahead(context: &Context, service: &str) {
    if let Ok(engine) = Engine::connect().await {
        let _ = primed::discard(context, &engine, service).await;
    }
}

/// Ends a release task of a service that still runs: what it does would be undone.
pub async fn end_release(context: &Context, service: &str) -> Result<()> {
    let end = async {
        let engine = Engine::connect().await?;
        let name = release::container_name(context.settings.project(), service);
        let Some(left) = engine.find_container(&name).await? else {
            return Ok(());
        };
        if left.is_running() {
            engine.stop(&left.id, GRACE).await?;
        }
        engine.remove(&left.id).await
    };
    end.await
        .map_err(|error| Box::new(error.fault(&context.command("resume"))))
}
