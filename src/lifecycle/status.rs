//! How each service is now.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use futures_util::future::try_join_all;
use jiff::Timestamp;
use serde::Serialize;

use super::Context;
use super::readiness::{Verdict, glance};
use crate::engine::containers::{Container, Health, State};
use crate::engine::{Engine, Error};
use crate::fault::Result;
use crate::host::cgroup;

/// A service in `status --json` (design.md section 3) and in the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ServiceStatus {
    /// Its name.
    pub service: String,
    /// State of its container.
    pub state: State,
    /// Verdict of the Engine's health check.
    pub health: Health,
    /// Whether it does its work, asked directly.
    pub ready: bool,
    /// The image its container was made from; without one, the configured image.
    pub image: String,
    /// Name of its container.
    pub container: Option<String>,
    /// How often the restart policy has started it again.
    pub restarts: i64,
    /// Start of its present or last process.
    pub started_at: Option<Timestamp>,
    /// Exit code, when it is not running and has run.
    pub exit_code: Option<i64>,
    /// Size of its log files, rotated ones included; unknown without the right to look.
    pub log_bytes: Option<u64>,
    /// CPU time its container has used, nanoseconds.
    #[serde(skip)]
    pub cpu_ns: Option<u64>,
    /// Memory of its container, without page cache.
    #[serde(skip)]
    pub memory_bytes: Option<u64>,
    /// Why it is not ready, in words.
    #[serde(skip)]
    pub note: String,
}

/// All services of a deployment at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// Version of this form.
    pub schema: u32,
    /// The compose project.
    pub project: String,
    /// In the order in which they are shown.
    pub services: Vec<ServiceStatus>,
    /// When it was looked at.
    #[serde(skip)]
    pub at: Timestamp,
}

impl Status {
    /// How many are ready.
    pub fn ready(&self) -> usize {
        self.services.iter().filter(|service| service.ready).count()
    }
}

/// Those of these services that run.
pub async fn running(
    context: &Context,
    services: &[&str],
    again: &str,
) -> Result<BTreeSet<String>> {
    let failed = |error: Error| Box::new(error.fault(again));
    let engine = Engine::connect().await.map_err(failed)?;
    let containers = engine.containers(context.settings.project()).await;
    let running = containers
        .map_err(failed)?
        .into_iter()
        .filter(|container| !container.oneoff && container.is_running())
        .map(|container| container.service);
    Ok(running
        .filter(|service| services.contains(&service.as_str()))
        .collect())
}

/// Looks at all services, or some.
pub async fn status(context: &Context, names: &[String]) -> Result<Status> {
    let again = context.command("status");
    let chosen = context.stack.select(names, &again)?;
    let failed = |error: Error| Box::new(error.fault(&again));
    let engine = Engine::connect().await.map_err(failed)?;
    let containers = engine
        .containers(context.settings.project())
        .await
        .map_err(failed)?;
    let mut by_service: BTreeMap<&str, &Container> = BTreeMap::new();
    for container in containers.iter().filter(|container| !container.oneoff) {
        let present = by_service
            .entry(container.service.as_str())
            .or_insert(container);
        if !present.is_running() && container.is_running() {
            *present = container;
        }
    }
    let services = try_join_all(
        context
            .stack
            .services
            .iter()
            .filter(|service| chosen.contains(&service.name))
            .map(|service| {
                let container = by_service.get(service.name.as_str()).copied();
                let engine = &engine;
                async move {
                    let Some(container) = container else {
                        return Ok(missing(&service.name, &service.image));
                    };
                    let verdict = match glance(engine, &context.settings, service, container).await
                    {
                        Ok(verdict) => verdict,
                        // Removed while we looked.
                        Err(Error::NotFound(_)) => {
                            return Ok(missing(&service.name, &service.image));
                        }
                        Err(error) => return Err(error),
                    };
                    Ok::<_, Error>(present(&service.name, container, verdict))
                }
            }),
    )
    .await
    .map_err(failed)?;
    Ok(Status {
        schema: 1,
        project: context.settings.project().to_owned(),
        services,
        at: Timestamp::now(),
    })
}

fn missing(name: &str, image: &str) -> ServiceStatus {
    ServiceStatus {
        service: name.to_owned(),
        state: State::Missing,
        health: Health::None,
        ready: false,
        image: image.to_owned(),
        container: None,
        restarts: 0,
        started_at: None,
        exit_code: None,
        log_bytes: None,
        cpu_ns: None,
        memory_bytes: None,
        note: String::new(),
    }
}

fn present(name: &str, container: &Container, verdict: Verdict) -> ServiceStatus {
    let usage = container.pid.and_then(cgroup::usage);
    let ended = matches!(
        container.state,
        State::Exited | State::Dead | State::Restarting
    );
    ServiceStatus {
        service: name.to_owned(),
        state: container.state,
        health: container.health,
        ready: verdict == Verdict::Ready,
        image: container.image.clone(),
        container: Some(container.name.clone()),
        restarts: container.restarts,
        started_at: container.started_at,
        exit_code: ended.then_some(container.exit_code),
        log_bytes: container.log_path.as_deref().and_then(log_bytes),
        cpu_ns: usage.as_ref().map(|usage| usage.cpu_usage_ns),
        memory_bytes: usage.as_ref().map(|usage| usage.memory_bytes),
        note: match verdict {
            Verdict::NotYet(what) if container.state == State::Running => what,
            Verdict::Broken(what) => what,
            _ => String::new(),
        },
    }
}

/// The log file and its rotated predecessors (`…-json.log.1`, …).
fn log_bytes(path: &Path) -> Option<u64> {
    let folder = std::fs::read_dir(path.parent()?).ok()?;
    let name = path.file_name()?.to_str()?;
    Some(
        folder
            .flatten()
            .filter(|entry| {
                entry
                    .file_name()
                    .to_str()
                    .is_some_and(|found| found.starts_with(name))
            })
            .filter_map(|entry| entry.metadata().ok())
            .map(|metadata| metadata.len())
            .sum(),
    )
}
