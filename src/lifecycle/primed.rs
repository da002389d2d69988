//! A release task of a version that is to come, loaded while the one before it serves: its container
//! is made and Django has loaded the application, which takes RapidPro seconds, but has asked the
//! database nothing. There it waits until it is told to go (deployment/known.rs). A version that
//! cannot even be loaded with its configuration is found out so before anything is stopped.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;

use super::Context;
use super::ahead::{self, Coming};
use super::release::{self, Made, Outcome};
use crate::engine::containers::Container;
use crate::engine::logs::Wanted;
use crate::engine::oneoff::TASK_LABEL;
use crate::engine::{Engine, Error};
use crate::fault::Fault;
use crate::operation::Kind;

/// For [`TASK_LABEL`]: it waits, or has waited.
pub(super) const PRIMED: &str = "release-primed";
/// What it writes when it is loaded, and when it goes on.
const WAITS: &str = "ooy-waits";
const GOES: &str = "ooy-goes";
/// How long loading may take: RapidPro's code takes 2 s of a fast core.
const PATIENCE: Duration = Duration::from_secs(300);

/// Loads the task of a version that is to come.
pub async fn load(context: &Context, engine: &Engine, to: &Coming<'_>) -> Result<Outcome, Error> {
    let service = to.service;
    let began = Instant::now();
    let project = context.settings.project();
    let name = release::container_name(project, &service.name);
    if release::left(engine, &name).await?.is_some() {
        // Of a start that was cut off: it is followed when it is its turn.
        return Ok(Outcome::Done);
    }
    let tell = |kind, took, text: &str| {
        let reporter = &context.reporter;
        reporter.service("load", &service.name, kind, took, text);
    };
    tell(Kind::Started, None, "");
    let made = Made {
        like: &to.before.id,
        image: service.image.clone(),
        image_id: engine.image_id(&service.image).await?.unwrap_or_default(),
        service_env: to.environment.clone(),
        task: PRIMED,
        env: vec!["OOY_WAIT=1".to_owned()],
    };
    let id = release::make(engine, project, service, &to.task, made, &name).await?;
    match tokio::time::timeout(PATIENCE, says(engine, &id, WAITS, true)).await {
        Ok(Ok(true)) => {
            let told = "the new version loads; its migrations wait for the word";
            tell(Kind::Done, Some(began.elapsed()), told);
            return Ok(Outcome::Done);
        }
        Ok(Ok(false)) => {}
        Ok(Err(error)) => return Err(error),
        Err(_) => engine.signal(&id, "KILL").await?,
    }
    let code = engine.wait(&id).await?;
    let output = engine.last_lines(&id, 1000, None).await;
    let output: Vec<String> = output.into_iter().map(|line| line.text).collect();
    let log = release::keep(context, service, &output);
    engine.remove(&id).await?;
    let (name, took) = (&service.name, began.elapsed().as_secs());
    let fault = Fault::problem(
        format!("{name}: the new version does not load"),
        format!("its code ended with exit code {code} after {took} s, before it had asked the database anything"),
    )
    .evidence(format!("image {}", service.image))
    .why("it would not have started either; nothing was stopped, and the version that runs goes on serving")
    .next(format!("less {log}"));
    let fault = release::with_last_lines(context, fault, &output);
    Ok(Outcome::Failed(Box::new(fault)))
}

/// Tells it to go on, if there is one that waits; it does when this answers.
pub async fn go(context: &Context, engine: &Engine, service: &str) -> Result<(), Error> {
    let name = release::container_name(context.settings.project(), service);
    match there(engine, &name).await? {
        Some(primed) if primed.is_running() => {
            engine.signal(&primed.id, "USR1").await?;
            says(engine, &primed.id, GOES, true).await.map(drop)
        }
        _ => Ok(()),
    }
}

/// Whether a task that was loaded ahead was told to go: looked for from the start of its log, since
/// migrations may have written any number of lines since.
pub(super) async fn went(engine: &Engine, container: &Container) -> Result<bool, Error> {
    says(engine, &container.id, GOES, false).await
}

/// Removes one that waits, and static files that were made ahead: of an upgrade that does not take
/// place, or of one that was cut off.
pub async fn discard(context: &Context, engine: &Engine, service: &str) -> Result<(), Error> {
    let name = release::container_name(context.settings.project(), service);
    if let Some(left) = there(engine, &name).await?
        && !release::is_under_way(engine, &left).await?
    {
        engine.remove(&left.id).await?;
    }
    ahead::discard(context, engine, service).await
}

async fn there(engine: &Engine, name: &str) -> Result<Option<Container>, Error> {
    let found = engine.find_container(name).await?;
    Ok(found.filter(is_primed))
}

pub(super) fn is_primed(container: &Container) -> bool {
    container.labels.get(TASK_LABEL).map(String::as_str) == Some(PRIMED)
}

/// Whether it has written that line; with `follow` it is waited for until it has, or has ended.
async fn says(engine: &Engine, id: &str, line: &str, follow: bool) -> Result<bool, Error> {
    let wanted = Wanted {
        follow,
        ..Default::default()
    };
    let mut lines = engine.log_lines(id, &wanted);
    while let Some(written) = lines.next().await {
        if written?.text == line {
            return Ok(true);
        }
    }
    Ok(false)
}
