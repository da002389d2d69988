//! Containers that end again and again.

use std::rc::Rc;
use std::time::Duration;

use super::evidence::{docker_inspect, exit_meaning, last_lines, without};
use crate::diagnosis::check::{Checked, Halt, Report};
use crate::diagnosis::checks::service;
use crate::diagnosis::scene::Scene;
use crate::diagnosis::words::{age, count};
use crate::diagnosis::{Code, Evidence, Finding};
use crate::engine::containers::{Container, State};

/// One that has run so long has left its loop.
const CALM: Duration = Duration::from_secs(300);

/// Docker waits at most a minute between two starts (moby, restartmanager); and what was needed
/// takes a moment until it can be used.
const LONGEST_PAUSE: Duration = Duration::from_secs(75);

pub async fn check(scene: Rc<Scene>) -> Checked {
    let most = scene.context.settings.number("RESTART_LOOP");
    let mut report = Report::fine();
    for service in &scene.context.stack.services {
        let Some(container) = scene.container(&service.name).await? else {
            continue;
        };
        let restarts = u64::try_from(container.restarts).unwrap_or_default();
        let up = service::uptime(&scene, container);
        if !loops(container.state, restarts, most, up) {
            continue;
        }
        let need = needed(&scene, &service.name, container).await?;
        if need == Need::CameBack {
            continue;
        }
        let name = &service.name;
        let summary = if restarts >= most {
            format!(
                "{name} ends again and again: {} so far",
                count(restarts, "restart")
            )
        } else {
            format!("{name} has ended, and Docker starts it again")
        };
        let mut finding = Finding::error(Code::RestartLoop, summary)
            .service(name)
            .evidence(
                Evidence::new("restarts", restarts.to_string(), "Docker")
                    .threshold(format!("{most} (RESTART_LOOP)"))
                    .command(docker_inspect(
                        container,
                        ".RestartCount}} {{.State.Status}} {{.State.StartedAt",
                    )),
            )
            .evidence(now(container, up));
        for fact in last_lines(&scene, container).await {
            finding = finding.evidence(fact);
        }
        if let Need::Down(code) = need {
            finding.caused_by = Some(code);
        }
        report.found(
            finding
                .impact(without(service))
                .fix(scene.command(&format!("fix service {name}")))
                .manual(scene.command(&format!("logs {name} -n 50")))
                .manual(scene.command(&format!("restart {name}")))
                .interrupts(format!("{name}, until it is ready again")),
        );
    }
    Ok(report)
}

/// How what a looping service needs is.
#[derive(Debug, PartialEq, Eq)]
enum Need {
    Up,
    /// It does not run; another finding says so under this code.
    Down(Code),
    /// It was started again just before this one's last start, which then was the end of the loop.
    CameBack,
}

/// Services such as the indexer end when what they need is away.
async fn needed(scene: &Scene, name: &str, container: &Container) -> Result<Need, Halt> {
    let graph = &scene.context.stack.graph;
    let mut came_back = false;
    for need in graph.with_needs([name]).iter().filter(|need| *need != name) {
        let Some(other) = scene.container(need).await? else {
            return Ok(Need::Down(Code::ServiceMissing));
        };
        match other.state {
            State::Running => {
                came_back |= match (other.started_at, container.started_at) {
                    (Some(need), Some(this)) => need >= this - LONGEST_PAUSE,
                    _ => false,
                };
            }
            State::Paused => return Ok(Need::Down(Code::ServicePaused)),
            State::Restarting => return Ok(Need::Down(Code::RestartLoop)),
            _ => return Ok(Need::Down(Code::ServiceExited)),
        }
    }
    Ok(if came_back && container.state == State::Running {
        Need::CameBack
    } else {
        Need::Up
    })
}

fn loops(state: State, restarts: u64, most: u64, up: Option<Duration>) -> bool {
    match state {
        State::Restarting => true,
        State::Running => restarts >= most && up.is_some_and(|up| up < CALM),
        _ => false,
    }
}

fn now(container: &Container, up: Option<Duration>) -> Evidence {
    if container.state == State::Restarting {
        let code = container.exit_code;
        return Evidence::new(
            "last exit code",
            format!("{code}{}", exit_meaning(code)),
            "Docker",
        );
    }
    let up = up.map_or("an unknown time".to_owned(), age);
    Evidence::new("runs", format!("since {up}"), "Docker")
        .threshold(format!("{}, then it has left its loop", age(CALM)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_is_many_restarts_and_the_last_one_lately() {
        let up = |seconds| Some(Duration::from_secs(seconds));
        assert!(loops(State::Running, 3, 3, up(299)));
        assert!(!loops(State::Running, 3, 3, up(300)));
        assert!(!loops(State::Running, 2, 3, up(5)));
        assert!(loops(State::Restarting, 0, 3, None));
        assert!(!loops(State::Exited, 9, 3, up(5)));
    }
}
