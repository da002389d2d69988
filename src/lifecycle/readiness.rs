//! Whether a service is ready: asked directly, many times a second at first, because the
//! Engine's own health interval would add seconds to every level of the graph.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt as _;
use jiff::Timestamp;
use regex::Regex;

use crate::deployment::services::{Http, Ready, Service};
use crate::deployment::settings::Settings;
use crate::engine::containers::{Container, Health, State};
use crate::engine::logs::Wanted;
use crate::engine::{Engine, Error};
use crate::host::http;

/// What one look at a service has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It does its work.
    Ready,
    /// Not yet; what was seen, for the evidence.
    NotYet(String),
    /// It will not become ready by itself; the log line that says so.
    Broken(String),
}

/// A container started less long ago than this is asked by its log: longer than the intervals of
/// the health checks.
const YOUNG: Duration = Duration::from_secs(180);

/// How long one probe may take. A service that answers slower than this is looked at again.
const PROBE_DEADLINE: Duration = Duration::from_secs(2);

/// Looks once.
///
/// The log of a young container is short and is read for what it said. In an old one that would
/// mean reading gigabytes, and the Engine's health check has had the time to form its verdict.
pub async fn look(
    engine: &Engine,
    settings: &Settings,
    service: &Service,
    container: &Container,
) -> Result<Verdict, Error> {
    if container.state != State::Running {
        return Ok(Verdict::NotYet(format!(
            "its container is {}",
            word(container)
        )));
    }
    let young = container
        .started_at
        .is_some_and(|started| Timestamp::now().duration_since(started).unsigned_abs() < YOUNG);
    match service.ready {
        Ready::Http(probe) => {
            let verdict = ask(settings, &probe, container).await;
            if young
                && verdict == Verdict::Ready
                && let Some(line) = probe.broken_by
                && let Some(found) = said(engine, container, line, None).await?
            {
                return Ok(Verdict::Broken(found));
            }
            Ok(verdict)
        }
        Ready::Log(pattern) => match container.health {
            Health::Healthy if !young => Ok(Verdict::Ready),
            Health::Unhealthy => Ok(Verdict::NotYet("its health check fails".to_owned())),
            _ => Ok(match said(engine, container, pattern, None).await? {
                Some(_) => Verdict::Ready,
                None => Verdict::NotYet(format!("its log does not say \"{}\" yet", plain(pattern))),
            }),
        },
        Ready::Alive(needed) => {
            let lived = container.started_at.map_or(Duration::ZERO, |started| {
                Duration::try_from(Timestamp::now().duration_since(started)).unwrap_or_default()
            });
            Ok(if lived < needed {
                Verdict::NotYet("it was started a moment ago".to_owned())
            } else if container.health == Health::Unhealthy {
                Verdict::NotYet("its health check fails".to_owned())
            } else {
                Verdict::Ready
            })
        }
        Ready::Health => Ok(match container.health {
            Health::Healthy | Health::None => Verdict::Ready,
            Health::Starting => Verdict::NotYet("its health check has no verdict yet".to_owned()),
            Health::Unhealthy => Verdict::NotYet("its health check fails".to_owned()),
        }),
    }
}

/// What a service that answers has said when it started, if that means that it lacks something that
/// it looks for only once. As [`look`] finds it in a young container, in one of any age.
pub async fn came_up_broken(
    engine: &Engine,
    service: &Service,
    container: &Container,
) -> Result<Option<String>, Error> {
    let Ready::Http(Http {
        broken_by: Some(line),
        ..
    }) = service.ready
    else {
        return Ok(None);
    };
    // The rest of an old log is long, and tells nothing of that.
    let until = container
        .started_at
        .and_then(|started| started.checked_add(YOUNG).ok());
    said(engine, container, line, until).await
}

/// Looks once, as a table of all services needs it: quickly. Where the Engine's health check,
/// which asks the same as [`look`], passed the last time, all that is asked is whether the
/// service still listens.
pub async fn glance(
    engine: &Engine,
    settings: &Settings,
    service: &Service,
    container: &Container,
) -> Result<Verdict, Error> {
    let passed = container.state == State::Running
        && container.health == Health::Healthy
        && !container.failing;
    match (passed, service.ready) {
        (false, _) => look(engine, settings, service, container).await,
        (true, Ready::Http(probe)) => Ok(match address(container, probe.port) {
            Some(address) => match http::listens(address, PROBE_DEADLINE).await {
                Ok(()) => Verdict::Ready,
                Err(error) => Verdict::NotYet(format!("port {}: {error}", probe.port)),
            },
            None => no_address(),
        }),
        (true, _) => Ok(Verdict::Ready),
    }
}

/// How often a probe of this kind may be repeated: what costs the daemon or the service much is
/// asked less.
pub fn pause(service: &Service, waited: Duration) -> Duration {
    let fast = match service.ready {
        Ready::Http(_) | Ready::Alive(_) => Duration::from_millis(20),
        Ready::Log(_) => Duration::from_millis(50),
        Ready::Health => Duration::from_millis(200),
    };
    match waited.as_secs() {
        0..=1 => fast,
        2..=9 => fast.max(Duration::from_millis(100)),
        _ => fast.max(Duration::from_millis(500)),
    }
}

/// Where it listens in the deployment's network.
pub fn address(container: &Container, port: u16) -> Option<SocketAddr> {
    let addresses = &container.addresses;
    addresses
        .iter()
        .find(|address| matches!(address, IpAddr::V4(_)))
        .or(addresses.first())
        .map(|address| SocketAddr::new(*address, port))
}

fn no_address() -> Verdict {
    Verdict::NotYet("it has no address in the network".to_owned())
}

async fn ask(settings: &Settings, probe: &Http, container: &Container) -> Verdict {
    let Some(address) = address(container, probe.port) else {
        return no_address();
    };
    let host = probe
        .host
        .map_or("localhost", |setting| settings.get(setting));
    let asked = format!("GET {} on port {}", probe.path, probe.port);
    match http::get(address, host, probe.path, PROBE_DEADLINE).await {
        Ok(answer) if answer.status != probe.status => Verdict::NotYet(format!(
            "{asked}: answer {} (ready is {})",
            answer.status, probe.status
        )),
        Ok(answer) => match probe.without.iter().find(|bad| answer.text.contains(**bad)) {
            Some(bad) => Verdict::NotYet(format!("{asked}: the answer says \"{bad}\"")),
            None => Verdict::Ready,
        },
        Err(error) => Verdict::NotYet(format!("{asked}: {error}")),
    }
}

/// The first line since the process started that matches, if there is one.
async fn said(
    engine: &Engine,
    container: &Container,
    pattern: &str,
    until: Option<Timestamp>,
) -> Result<Option<String>, Error> {
    let Ok(pattern) = Regex::new(pattern) else {
        return Ok(None);
    };
    let wanted = Wanted {
        since: container.started_at,
        until,
        ..Default::default()
    };
    let mut lines = engine.log_lines(&container.id, &wanted);
    let search = async {
        while let Some(line) = lines.next().await {
            let line = line?;
            if pattern.is_match(&line.text) {
                return Ok(Some(line.text));
            }
        }
        Ok(None)
    };
    // A log that cannot be read in time says nothing, which is "not yet".
    tokio::time::timeout(PROBE_DEADLINE, search)
        .await
        .unwrap_or(Ok(None))
}

/// A pattern as a person would write it.
fn plain(pattern: &str) -> String {
    pattern.replace(r"\S+", "…").replace('\\', "")
}

/// The state of a container in words: `exited (78)`.
pub fn word(container: &Container) -> String {
    match container.state {
        State::Exited if container.oom_killed => "exited, out of memory".to_owned(),
        State::Exited => format!("exited ({})", container.exit_code),
        State::Running => "running".to_owned(),
        State::Created => "created, not started".to_owned(),
        State::Restarting => format!("restarting after exit code {}", container.exit_code),
        State::Paused => "paused".to_owned(),
        State::Dead => "dead".to_owned(),
        State::Missing => "missing".to_owned(),
    }
}
