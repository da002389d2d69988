//! Static files of a version that is to come, made while the one before it serves: collecting and
//! compressing RapidPro's takes longer than most of its migrations. They go into a volume of their own,
//! from which the release task takes them (deployment/known.rs); what is served stays as it is.

use std::time::Instant;

use super::release::Outcome;
use super::{Context, release};
use crate::deployment::services::{ReleaseTask, Service};
use crate::engine::containers::Container;
use crate::engine::oneoff::OneOff;
use crate::engine::{Engine, Error};
use crate::fault::Fault;
use crate::operation::Kind;

/// The volume that they are made in.
pub fn volume_name(project: &str, service: &str) -> String {
    format!("{project}_{service}-static-ahead")
}

fn container_name(project: &str, service: &str) -> String {
    format!("{project}-{service}-ahead")
}

/// A version that is to come.
pub struct Coming<'a> {
    /// The service as that version has it.
    pub service: &'a Service,
    /// Its release task.
    pub task: ReleaseTask,
    /// The container of the version before.
    pub before: Container,
    /// What the new one is given (`NAME=value`); `None`: as the one before.
    pub environment: Option<Vec<String>>,
}

/// Makes those of a version that is to come. Nothing to do for an application without any.
pub async fn make(context: &Context, engine: &Engine, to: &Coming<'_>) -> Result<Outcome, Error> {
    let (service, task) = (to.service, &to.task);
    let Some(files) = task.files else {
        return Ok(Outcome::Done);
    };
    let project = context.settings.project();
    let id = engine.image_id(&service.image).await?.unwrap_or_default();
    let volume = volume_name(project, &service.name);
    engine.ensure_volume(project, &volume).await?;
    let began = Instant::now();
    let spec = OneOff {
        name: container_name(project, &service.name),
        project: project.to_owned(),
        service: service.name.clone(),
        task: "ahead".to_owned(),
        image: service.image.clone(),
        service_env: to.environment.clone(),
        command: ["sh", "-c", files.script].map(str::to_owned).to_vec(),
        env: release::environment(&id),
        user: task.user.map(str::to_owned),
        binds: vec![format!("{volume}:{}", files.folder)],
        yields: true,
        ..Default::default()
    };
    let id = engine.run_once_like(&to.before.id, spec).await?;
    let ended = release::follow(context, engine, service, "static", &id, began).await?;
    engine.remove(&id).await?;
    if ended.code == 0 {
        let (reporter, told) = (
            &context.reporter,
            "made ahead, beside those that are served",
        );
        reporter.service(
            "static",
            &service.name,
            Kind::Done,
            Some(began.elapsed()),
            told,
        );
        return Ok(Outcome::Done);
    }
    let log = release::keep(context, service, &ended.output);
    discard(context, engine, &service.name).await?;
    let name = &service.name;
    let fault = Fault::problem(
        format!("{name}: its new static files cannot be made"),
        format!("collecting or compressing them ended with exit code {}", ended.code),
    )
    .why("without them its pages have no scripts and no styles; the version that runs goes on serving")
    .next(format!("less {log}"));
    let fault = release::with_last_lines(context, fault, &ended.output);
    Ok(Outcome::Failed(Box::new(fault)))
}

/// Removes what was made ahead, and ends what is still making it.
pub(super) async fn discard(
    context: &Context,
    engine: &Engine,
    service: &str,
) -> Result<(), Error> {
    let project = context.settings.project();
    let making = container_name(project, service);
    if let Some(left) = engine.find_container(&making).await? {
        engine.remove(&left.id).await?;
    }
    engine.remove_volume(&volume_name(project, service)).await
}
