//! Whether each service has a container, and it runs.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;

use super::evidence::{docker_inspect, docker_ps, exit_meaning, last_lines, without};
use crate::deployment::services::Service;
use crate::diagnosis::cause::needs;
use crate::diagnosis::check::{Checked, Report};
use crate::diagnosis::checks::operations::past::{self, Last, Past};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::words::age;
use crate::diagnosis::{Code, Evidence, Finding, Severity};
use crate::engine::containers::{Container, State};
use crate::operation::journal::Entry;

/// Services that ended within so long of each other ended of the same.
const TOGETHER: Duration = Duration::from_secs(10);

/// What the evidence of a container that was made and never started is called.
const NEVER_RAN: &str = "never started";

/// What the evidence says where nothing of the deployment is there.
const NOTHING: &str = "none of the whole deployment";

/// Whether the finding is about a deployment of which nothing is there.
pub fn nothing_there(finding: &Finding) -> bool {
    finding.evidence.iter().any(|fact| fact.value == NOTHING)
}

/// Whether the finding is about a container that was made and never started.
pub fn never_ran(finding: &Finding) -> bool {
    finding.evidence.iter().any(|fact| fact.value == NEVER_RAN)
}

/// How the cause of a service that an operation of `ooy` has stopped begins.
const BY_OOY: &str = "it was stopped by ooy ";

/// Whether the finding is about a service that was stopped by `ooy stop`, and so is to stay down.
pub fn stopped_on_purpose(finding: &Finding) -> bool {
    // A restart or a repair that was cut off has left it down, and nobody wanted that.
    finding
        .cause
        .strip_prefix(BY_OOY)
        .is_some_and(|operation| operation.starts_with("stop"))
}

pub async fn check(scene: Rc<Scene>) -> Checked {
    let containers = scene.containers().await?;
    // Without the journal it is not known who stopped something; that it is stopped is.
    let past = Past::look(&scene).await.unwrap_or_default();
    let mut missing = Vec::new();
    let mut down = Vec::new();
    let mut paused = Vec::new();
    for service in &scene.context.stack.services {
        match scene.container(&service.name).await? {
            None => missing.push(service),
            Some(container) => match container.state {
                // What restarts is another check's.
                State::Running | State::Restarting => {}
                State::Paused => paused.push((service, container)),
                _ => down.push((service, container)),
            },
        }
    }
    let nothing = containers.iter().all(|container| container.oneoff);
    let mut report = Report::fine();
    absent(&scene, &missing, nothing, &mut report);
    ended(&scene, &past, &down, &missing, &mut report).await;
    for (service, container) in paused {
        report.found(frozen(&scene, service, container));
    }
    if report.findings.is_empty() {
        report.figure(format!(
            "{} services up",
            scene.context.stack.services.len()
        ));
    }
    if let Some(last) = past.under_way() {
        for finding in &mut report.findings {
            being_worked_on(finding, &last, &scene);
        }
    }
    Ok(report)
}

/// An operation that is under way stops and starts things: no fault yet.
fn being_worked_on(finding: &mut Finding, last: &Last, scene: &Scene) {
    let concerned = finding
        .service
        .as_ref()
        .is_some_and(|service| last.reach(&scene.context.stack).contains(service));
    if concerned {
        finding.severity = finding.severity.min(Severity::Warning);
        finding.cause = format!(
            "{} by {} is under way since {}",
            last.name(),
            last.user,
            past::clock(last.began, scene.now)
        );
    }
}

/// All that are missing were removed, or never made, of the same: the first stands for all.
fn absent(scene: &Scene, missing: &[&Service], nothing: bool, report: &mut Report) {
    for (index, service) in missing.iter().enumerate() {
        let name = &service.name;
        let summary = match (index, missing.len()) {
            (0, all) if nothing => {
                format!("The deployment is not up: none of its {all} services has a container")
            }
            (0, all) if all > 1 => {
                format!("{name} and {} more have no container", all - 1)
            }
            _ => format!("{name} has no container"),
        };
        let seen = if nothing { NOTHING } else { "none" };
        let mut finding = Finding::error(Code::ServiceMissing, summary)
            .service(name)
            .evidence(
                Evidence::new(format!("containers of {name}"), seen, "Docker")
                    .command(docker_ps(scene, name)),
            )
            .impact(without(service))
            .fix(scene.command("fix not-running"))
            .interrupts("nothing");
        finding = match (index, missing.len()) {
            (0, all) if all > 1 => {
                let names: Vec<&str> = missing.iter().map(|s| s.name.as_str()).collect();
                finding
                    .evidence(Evidence::new("without one", names.join(", "), "Docker"))
                    .manual(scene.command("start"))
            }
            _ => finding.manual(scene.command(&format!("start {name}"))),
        };
        if index > 0 {
            finding.caused_by = Some(Code::ServiceMissing);
        }
        report.found(finding);
    }
}

type Down<'a> = (&'a Service, &'a Container);

async fn ended(
    scene: &Scene,
    past: &Past,
    down: &[Down<'_>],
    missing: &[&Service],
    report: &mut Report,
) {
    let stopped: BTreeMap<&str, &Entry> = down
        .iter()
        .filter(|(_, container)| container.restart == "no")
        .filter_map(|(service, container)| {
            let entry = past.stopped(&service.name)?;
            // Started by hand after that, it has ended of something else.
            let end = container.finished_at?;
            let its = apart(entry.at, end) <= service.grace + TOGETHER;
            its.then_some((service.name.as_str(), entry))
        })
        .collect();
    let crowd = together(down, &stopped);
    let mut first_stopped = true;
    let mut first_of_crowd = true;
    for (service, container) in down {
        let name = service.name.as_str();
        let mut finding = plain(scene, service, container).await;
        if let Some(entry) = stopped.get(name) {
            finding.cause = format!(
                "{BY_OOY}{} ({}, {}), and stays so until it is started",
                entry.operation,
                entry.user,
                past::clock(entry.at, scene.now)
            );
            if !first_stopped {
                finding.caused_by = Some(Code::ServiceExited);
            } else if stopped.len() > 1 {
                finding.summary = format!("{name} and {} more were stopped", stopped.len() - 1);
                finding.fix.manual = vec![scene.command("start")];
            }
            first_stopped = false;
        } else if crowd.contains(&name) {
            finding.cause = format!(
                "{} services ended at the same time: Docker or the host was restarted, or somebody \
                 stopped all of them",
                crowd.len()
            );
            if !first_of_crowd {
                finding.caused_by = Some(Code::ServiceExited);
            } else {
                finding.summary = format!("{name} and {} more ended together", crowd.len() - 1);
                finding.fix.manual = vec![scene.command("start")];
            }
            first_of_crowd = false;
        } else if container.state == State::Created {
            let needed = |other: &str| other != name && needs(&scene.context.stack, name, other);
            if down.iter().any(|(other, _)| needed(&other.name)) {
                finding.caused_by = Some(Code::ServiceExited);
            } else if !missing.iter().any(|other| needed(&other.name)) {
                // It waited for one that runs and does not do its work, if that was found.
                finding.caused_by = others_run_badly(scene, name).await;
            }
        }
        report.found(finding);
    }
}

/// What keeps a container that was made from being started, where all that it needs runs: one of
/// them does not do its work. Counts only if another check finds that.
async fn others_run_badly(scene: &Scene, name: &str) -> Option<Code> {
    let stack = &scene.context.stack;
    for other in stack.graph.with_needs([name]) {
        if other == name {
            continue;
        }
        match scene.container(&other).await {
            // Its own rule.
            Ok(Some(container)) if container.state == State::Restarting => return None,
            Ok(_) => {}
            Err(_) => return None,
        }
    }
    Some(Code::ServiceUnhealthy)
}

/// The services that ended together, if there are enough of them to be no coincidence.
fn together<'a>(down: &[Down<'a>], stopped: &BTreeMap<&str, &Entry>) -> Vec<&'a str> {
    let mut ends: Vec<(Timestamp, &str)> = down
        .iter()
        .filter(|(service, _)| !stopped.contains_key(service.name.as_str()))
        .filter(|(_, container)| container.state == State::Exited)
        .filter_map(|(service, container)| Some((container.finished_at?, service.name.as_str())))
        .collect();
    ends.sort_unstable();
    crowd(&ends)
}

/// The time between two moments.
fn apart(first: Timestamp, second: Timestamp) -> Duration {
    Duration::try_from(second.duration_since(first)).unwrap_or_default()
}

/// The longest chain of ends that follow each other closely; of less than three none.
fn crowd<'a>(ends: &[(Timestamp, &'a str)]) -> Vec<&'a str> {
    let mut chains: Vec<Vec<(Timestamp, &str)>> = Vec::new();
    for end in ends {
        match chains.last_mut() {
            Some(chain)
                if chain
                    .last()
                    .is_some_and(|last| apart(last.0, end.0) <= TOGETHER) =>
            {
                chain.push(*end);
            }
            _ => chains.push(vec![*end]),
        }
    }
    chains
        .into_iter()
        .filter(|chain| chain.len() >= 3)
        .max_by_key(Vec::len)
        .unwrap_or_default()
        .into_iter()
        .map(|(_, name)| name)
        .collect()
}

async fn plain(scene: &Scene, service: &Service, container: &Container) -> Finding {
    let name = &service.name;
    let ago = container
        .finished_at
        .map(|at| format!(" {} ago", age(scene.since(at))))
        .unwrap_or_default();
    let (summary, what, value) = match container.state {
        State::Created => (
            format!("{name} was made and never started"),
            "its container",
            NEVER_RAN.to_owned(),
        ),
        State::Dead => (
            format!("{name} is dead: Docker could not remove its container"),
            "its container",
            "dead".to_owned(),
        ),
        _ => (
            format!("{name} does not run: it ended{ago}"),
            "exit code",
            format!(
                "{}{}",
                container.exit_code,
                exit_meaning(container.exit_code)
            ),
        ),
    };
    let template = "if .State.Error}}{{.State.Error}} {{end}}{{.State.Status}} {{.State.ExitCode";
    let mut finding = Finding::error(Code::ServiceExited, summary)
        .service(name)
        .evidence(Evidence::new(what, value, "Docker").command(docker_inspect(container, template)))
        .impact(without(service))
        .fix(scene.command("fix not-running"))
        .manual(scene.command(&format!("start {name}")))
        .interrupts("nothing");
    if !container.error.is_empty() {
        finding = finding.evidence(Evidence::new(
            "why Docker could not start it",
            container.error.clone(),
            "Docker",
        ));
    }
    let given_up = !container.error.is_empty();
    if container.restart == "always" && container.state == State::Exited && !given_up {
        finding = finding.cause(
            "somebody ended it by docker stop or docker kill: otherwise Docker would have started \
             it again",
        );
    }
    if container.state != State::Created {
        for fact in last_lines(scene, container).await {
            finding = finding.evidence(fact);
        }
    }
    finding
}

fn frozen(scene: &Scene, service: &Service, container: &Container) -> Finding {
    let name = &service.name;
    Finding::error(Code::ServicePaused, format!("{name} is frozen"))
        .service(name)
        .evidence(
            Evidence::new("its container", "paused", "Docker")
                .command(docker_inspect(container, ".State.Status")),
        )
        .impact(without(service))
        .cause("docker pause; it goes on where it was when it is let go")
        .fix(scene.command("fix not-running"))
        .manual(format!("docker unpause {}", container.name))
        .interrupts("nothing")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + second).unwrap()
    }

    #[test]
    fn three_that_end_together_are_a_crowd_and_two_are_not() {
        let ends = [(at(0), "a"), (at(8), "b"), (at(16), "c"), (at(60), "d")];
        assert_eq!(crowd(&ends), ["a", "b", "c"]);
        assert!(crowd(&ends[2..]).is_empty());
        assert!(crowd(&[(at(0), "a"), (at(8), "b"), (at(19), "c")]).is_empty());
        assert!(crowd(&[]).is_empty());
    }
}
