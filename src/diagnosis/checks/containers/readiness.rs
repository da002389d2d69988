//! Whether each running service does its work.

use std::rc::Rc;

use futures_util::future::join_all;

use super::evidence::{docker_inspect, last_lines, without};
use crate::deployment::services::{Ready, Service};
use crate::diagnosis::check::{Checked, Halt, Report};
use crate::diagnosis::checks::service;
use crate::diagnosis::scene::Scene;
use crate::diagnosis::words::age;
use crate::diagnosis::{Code, Evidence, Finding};
use crate::engine::Error;
use crate::engine::containers::{Container, Health};
use crate::host::text;
use crate::lifecycle::readiness::{Verdict, glance};

/// What the evidence of a service that has not finished its start is called.
const STARTING: &str = "started";

/// Whether the finding is about a service that has not finished its start.
pub fn is_starting(finding: &Finding) -> bool {
    finding.evidence.iter().any(|fact| fact.what == STARTING)
}

pub async fn check(scene: Rc<Scene>) -> Checked {
    let engine = scene.engine().await?;
    let mut running = Vec::new();
    for service in &scene.context.stack.services {
        if let Some(container) = scene.container(&service.name).await?
            && container.is_running()
        {
            running.push((service, container));
        }
    }
    let settings = &scene.context.settings;
    // Leaves time for the log lines of what is found.
    let limit = scene.time_left() * 3 / 4;
    let looks = running.iter().map(|(service, container)| async move {
        let look = glance(engine, settings, service, container);
        let verdict = tokio::time::timeout(limit, look).await;
        (*service, *container, verdict)
    });
    let mut report = Report::fine();
    let mut unseen = Vec::new();
    for (service, container, verdict) in join_all(looks).await {
        match verdict {
            Ok(Ok(Verdict::Ready)) => {
                report
                    .findings
                    .extend(contradiction(&scene, service, container));
            }
            Ok(Ok(Verdict::NotYet(what))) => {
                report.found(not_ready(&scene, service, container, what, false).await);
            }
            Ok(Ok(Verdict::Broken(line))) => {
                report.found(not_ready(&scene, service, container, line, true).await);
            }
            // Removed while we looked: what is there now is another check's.
            Ok(Err(Error::NotFound(_))) => {}
            Ok(Err(error)) => unseen.push(format!("{}: {error}", service.name)),
            Err(_) => unseen.push(format!("{}: no answer in time", service.name)),
        }
    }
    if report.findings.is_empty() && !unseen.is_empty() {
        return Err(Halt::unknown(unseen.join("; ")));
    }
    for line in unseen {
        report.found(not_seen(&scene, line));
    }
    Ok(report)
}

/// Of some it could not be seen, and others are found not to work.
fn not_seen(scene: &Scene, line: String) -> Finding {
    let again = scene.command("diagnose -v readiness");
    Finding::warning(Code::Unknown, "readiness: not of every service known")
        .evidence(Evidence::new("why", line, "ooy").command(again.clone()))
        .impact("nobody knows whether it does its work")
        .manual(again)
        .interrupts("nothing")
}

async fn not_ready(
    scene: &Scene,
    service: &Service,
    container: &Container,
    what: String,
    broken: bool,
) -> Finding {
    let name = &service.name;
    let up = service::uptime(scene, container);
    // Once it was ready, the Engine's check has passed.
    let starting = !broken
        && container.health == Health::Starting
        && up.is_some_and(|up| up < service.ready_within);
    let mut finding = if starting {
        let up = up.unwrap_or_default();
        Finding::warning(
            Code::ServiceUnhealthy,
            format!("{name} is not ready yet, {} after its start", age(up)),
        )
        .evidence(
            Evidence::new(STARTING, format!("{} ago", age(up)), "Docker")
                .threshold(format!("{} to become ready", age(service.ready_within))),
        )
    } else {
        Finding::error(
            Code::ServiceUnhealthy,
            format!("{name} runs and does not do its work"),
        )
    };
    let (label, source) = match (broken, service.ready) {
        (true, _) => ("its log says", "docker logs"),
        (false, Ready::Http(_)) => ("asked", "its own answer"),
        (false, _) => ("seen", "Docker"),
    };
    let what = text::shorten(&scene.context.mask.apply(&what), 400);
    finding = finding.service(name).evidence(
        Evidence::new(label, what, source).command(scene.command(&format!("status {name}"))),
    );
    if container.health == Health::Unhealthy || container.failing {
        finding = finding.evidence(health(scene, container));
    }
    for fact in last_lines(scene, container).await {
        finding = finding.evidence(fact);
    }
    finding = finding.impact(without(service));
    if starting {
        return finding
            .manual(scene.command(&format!("status {name}")))
            .interrupts("nothing");
    }
    let fix = if name.ends_with("-celery") || name.ends_with("-beat") {
        scene.command("fix celery")
    } else {
        scene.command(&format!("fix service {name}"))
    };
    finding
        .fix(fix)
        .manual(scene.command(&format!("restart {name}")))
        .interrupts(format!("{name}, until it is ready again"))
}

fn health(scene: &Scene, container: &Container) -> Evidence {
    let word = if container.health == Health::Unhealthy {
        "unhealthy"
    } else {
        "failing"
    };
    let masked = scene.context.mask.apply(&container.health_says);
    let said = masked.lines().rfind(|line| !line.trim().is_empty());
    let value = match said {
        Some(said) => format!("{word}: {}", text::shorten(said.trim(), 200)),
        None => word.to_owned(),
    };
    Evidence::new("its health check", value, "Docker")
        .command(docker_inspect(container, "json .State.Health"))
}

/// The Engine's health check fails, and asked directly it answers: a check that cannot be run, or
/// one that has not been made again since.
fn contradiction(scene: &Scene, service: &Service, container: &Container) -> Option<Finding> {
    if container.health != Health::Unhealthy {
        return None;
    }
    let name = &service.name;
    Some(
        Finding::info(
            Code::ServiceUnhealthy,
            format!("{name} works, although its health check has failed"),
        )
        .service(name)
        .evidence(health(scene, container))
        .impact("docker ps shows it as unhealthy, until the check passes again")
        .manual(scene.command(&format!("status {name}")))
        .interrupts("nothing"),
    )
}
