//! Whether a new version lasts: what ends after ten seconds was ready, and has passed its trial.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::procedure;
use super::state::State;
use crate::engine::Engine;
use crate::engine::containers::Container;
use crate::fault::{Fault, Result};
use crate::host::text::took;
use crate::lifecycle::{Context, failed};
use crate::operation::Kind;

/// How often it is looked.
const PAUSE: Duration = Duration::from_millis(500);

/// What tells one run of a container from the next.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Life {
    container: String,
    restarts: i64,
    started: Option<Timestamp>,
}

impl Life {
    fn of(container: &Container) -> Option<Self> {
        container.is_running().then(|| Self {
            container: container.id.clone(),
            restarts: container.restarts,
            started: container.started_at,
        })
    }
}

/// Looks for UPGRADE_WATCH whether all services run on. They are in use meanwhile: watched behind the
/// closed door, people would wait for it.
pub async fn lasts(context: &Context, state: &State) -> Result<(), Vec<Fault>> {
    let limit = context.settings.interval("UPGRADE_WATCH");
    let reporter = &context.reporter;
    if limit.is_zero() {
        return Ok(());
    }
    reporter.tell("watch", Kind::Started, None, "");
    let began = Instant::now();
    let mut first: Option<BTreeMap<String, Life>> = None;
    loop {
        // The daemon may be away for a moment; then it is looked once more.
        if let Ok(engine) = Engine::connect().await
            && let Ok(containers) = engine.containers(context.settings.project()).await
        {
            let lives = lives(state, &containers);
            if let Some(first) = &first
                && let Some(service) = first
                    .iter()
                    .find(|(service, life)| lives.get(*service) != Some(life))
                    .map(|(service, _)| service)
            {
                let after = began.elapsed();
                reporter.tell("watch", Kind::Failed, Some(after), service.clone());
                return Err(vec![
                    ended(context, &engine, state, &containers, service, after).await,
                ]);
            }
            first.get_or_insert(lives);
        }
        if began.elapsed() >= limit {
            let told = format!("all run on, {} after the door was opened", took(limit));
            reporter.tell("watch", Kind::Done, Some(began.elapsed()), told);
            return Ok(());
        }
        tokio::time::sleep(PAUSE.min(limit.saturating_sub(began.elapsed()))).await;
    }
}

/// Those that are to run, each with the run of its container; nothing for one that does not run.
fn lives(state: &State, containers: &[Container]) -> BTreeMap<String, Life> {
    let own: Vec<&str> = procedure::of(state.app).services().collect();
    containers
        .iter()
        .filter(|container| !container.oneoff && own.contains(&container.service.as_str()))
        .filter(|container| state.services.contains(&container.service))
        .filter_map(|container| Some((container.service.clone(), Life::of(container)?)))
        .collect()
}

async fn ended(
    context: &Context,
    engine: &Engine,
    state: &State,
    containers: &[Container],
    name: &str,
    after: Duration,
) -> Fault {
    let container = containers
        .iter()
        .find(|container| container.service == name && !container.oneoff);
    let (Some(service), Some(container)) = (context.stack.service(name), container) else {
        return Fault::problem(
            format!("{name}: its container is gone"),
            "it was ready a moment ago",
        )
        .evidence("somebody removed it, or another tool works on the same project")
        .why("it is part of what was upgraded")
        .next(context.command("start"));
    };
    let fault = failed::ended_later(context, engine, service, container, after).await;
    let label = state.app.label();
    fault
        .evidence(format!(
            "{label} is upgraded and in use, so it was not taken back by itself"
        ))
        .next(context.command(&format!("rollback {} --dry-run", state.app.name())))
}
