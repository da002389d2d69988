//! `ooy stop`: in reverse order, each with its own grace, nginx before everything, so that no
//! caller meets a half-stopped application.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::watch;

use super::Context;
use crate::deployment::services::{OF_UWSGI, Service};
use crate::engine::containers::{Container, State};
use crate::engine::{Engine, Error};
use crate::fault::Fault;
use crate::operation::{Kind, Operation};

/// How long after it was told to end uWSGI's master is woken, and how often: then it is waiting for a
/// request, and a second more does not count.
const WAKE_AFTER: Duration = Duration::from_millis(150);
const WAKES: u32 = 4;

/// What to stop, and how.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// These services; none named: all. Services that need them go on running without them.
    pub services: Vec<String>,
    /// Only show what would be done.
    pub dry_run: bool,
}

/// What came of a stop.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Services that were stopped.
    pub stopped: Vec<String>,
    /// Services that were not running.
    pub already: Vec<String>,
    /// Services that run on and need one that was stopped, and which.
    pub left_without: Vec<(String, String)>,
    /// What failed.
    pub faults: Vec<Fault>,
    /// How long the whole took.
    pub took: Duration,
}

/// Stops.
pub async fn stop(context: &Context, options: &Options) -> Result<Outcome, Vec<Fault>> {
    let one = |fault: Box<Fault>| vec![*fault];
    let asked = super::asked("stop", &options.services);
    let again = context.command(&asked);
    let chosen = context
        .stack
        .select(&options.services, &context.command("stop"))
        .map_err(one)?;
    let state = &context.settings.places.state;
    let _operation = if options.dry_run {
        None
    } else {
        Some(Operation::begin(state, "stop", &asked, &again, &context.reporter).map_err(one)?)
    };
    let outcome = stop_locked(context, &chosen, options.dry_run, &again).await?;
    if !options.dry_run {
        let kind = if outcome.faults.is_empty() {
            Kind::Done
        } else {
            Kind::Failed
        };
        let summary = format!("{} stopped", outcome.stopped.len());
        context
            .reporter
            .tell("operation", kind, Some(outcome.took), summary);
    }
    Ok(outcome)
}

/// The same, for an operation that holds the lock already.
pub async fn stop_locked(
    context: &Context,
    chosen: &BTreeSet<String>,
    dry_run: bool,
    again: &str,
) -> Result<Outcome, Vec<Fault>> {
    let began = Instant::now();
    let failed = |error: Error| vec![error.fault(again)];
    let engine = Engine::connect().await.map_err(failed)?;
    let containers = engine
        .containers(context.settings.project())
        .await
        .map_err(failed)?;
    let mut outcome = Outcome::default();
    let mut running: BTreeMap<String, Vec<Container>> = BTreeMap::new();
    for container in containers {
        if chosen.contains(&container.service) && !container.oneoff {
            running
                .entry(container.service.clone())
                .or_default()
                .push(container);
        }
    }
    for name in chosen {
        let alive = running.get(name).is_some_and(|all| all.iter().any(lives));
        if !alive {
            running.remove(name);
            outcome.already.push(name.clone());
            if !dry_run {
                context
                    .reporter
                    .service("stop", name, Kind::Skipped, None, "not running");
            }
        }
    }
    for name in running.keys() {
        let service = context.stack.service(name);
        let grace = service.map_or(10, |service| service.grace.as_secs());
        // Shown only where it is asked for; the journal has it always.
        let step = if dry_run { "stop" } else { "plan" };
        let plan = format!("stop (up to {grace} s to end by itself)");
        let reporter = &context.reporter;
        reporter.service(step, name, Kind::Planned, None, plan);
    }
    if dry_run {
        return Ok(outcome);
    }
    let done: Rc<BTreeMap<String, watch::Sender<bool>>> = Rc::new(
        running
            .keys()
            .map(|name| (name.clone(), watch::Sender::new(false)))
            .collect(),
    );
    let results = join_all(running.iter().map(|(name, containers)| {
        let (done, engine) = (Rc::clone(&done), engine.clone());
        async move {
            // Everything that needs it first.
            for dependant in context.stack.graph.dependants(name) {
                if let Some(sender) = done.get(dependant) {
                    let _ = sender.subscribe().wait_for(|done| *done).await;
                }
            }
            let service = context.stack.service(name);
            let result = stop_one(context, &engine, name, service, containers).await;
            // Also after a failure: the others are to stop all the same.
            if let Some(sender) = done.get(name) {
                sender.send_replace(true);
            }
            (name.clone(), result)
        }
    }))
    .await;
    for (name, result) in results {
        match result {
            Ok(()) => outcome.stopped.push(name),
            Err(error) => {
                let mut fault = error.fault(again);
                fault.title = format!("{name}: not stopped");
                context
                    .reporter
                    .service("stop", &name, Kind::Failed, None, fault.what.clone());
                outcome.faults.push(fault);
            }
        }
    }
    outcome.left_without = left_without(context, &engine, &outcome.stopped).await;
    outcome.took = began.elapsed();
    Ok(outcome)
}

fn lives(container: &Container) -> bool {
    matches!(
        container.state,
        State::Running | State::Restarting | State::Paused
    )
}

async fn stop_one(
    context: &Context,
    engine: &Engine,
    name: &str,
    service: Option<&Service>,
    containers: &[Container],
) -> Result<(), Error> {
    let began = Instant::now();
    let grace = service.map_or(Duration::from_secs(10), |service| service.grace);
    context.reporter.service(
        "stop",
        name,
        Kind::Started,
        None,
        format!("has {} s to end by itself", grace.as_secs()),
    );
    for container in containers {
        // First the policy: `always` would bring it back with the next start of the daemon.
        if container.restart != "no" {
            engine.set_restart(&container.id, "no").await?;
        }
        // A frozen process cannot act on the signal.
        if container.state == State::Paused {
            engine.unpause(&container.id).await?;
        }
        tokio::select! {
            ended = engine.stop(&container.id, grace) => ended?,
            () = wake(engine, name, &container.id) => {}
        }
    }
    let killed = began.elapsed() >= grace && !grace.is_zero();
    let detail = if killed {
        "did not end in its time and was killed"
    } else {
        ""
    };
    context
        .reporter
        .service("stop", name, Kind::Done, Some(began.elapsed()), detail);
    Ok(())
}

/// Makes uWSGI's master look whether its workers have ended, which they mostly have in a tenth of a second:
/// while it looks only now and then, people wait. Never returns.
async fn wake(engine: &Engine, service: &str, id: &str) {
    if OF_UWSGI.contains(&service) {
        for _ in 0..WAKES {
            tokio::time::sleep(WAKE_AFTER).await;
            // The stop itself goes on whatever comes of this.
            let _ = engine.signal(id, "TERM").await;
        }
    }
    std::future::pending().await
}

/// Who still runs and misses what was stopped.
async fn left_without(
    context: &Context,
    engine: &Engine,
    stopped: &[String],
) -> Vec<(String, String)> {
    let Ok(containers) = engine.containers(context.settings.project()).await else {
        return Vec::new();
    };
    let mut left = Vec::new();
    for container in containers
        .iter()
        .filter(|container| !container.oneoff && container.is_running())
    {
        if let Some(missing) = context
            .stack
            .graph
            .needs(&container.service)
            .find(|need| stopped.iter().any(|name| name == need))
        {
            left.push((container.service.clone(), missing.to_owned()));
        }
    }
    left
}
