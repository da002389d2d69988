//! Containers of which the kernel killed a process for want of memory.
//!
//! The Engine's OOMKilled is set by any kill in the container's cgroup, also where its first
//! process lives on, and taken back with the next start; what was restarted since is known only
//! from the kernel's log.

use std::rc::Rc;
use std::time::Duration;

use super::evidence::{docker_inspect, without};
use crate::diagnosis::check::{Checked, Report, blocking};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::words::age;
use crate::diagnosis::{Code, Evidence, Finding};
use crate::engine::containers::{Container, State};
use crate::host::kernel_log::{self, OomKill};

/// A kill before the present start is told for so long.
const LATELY: Duration = Duration::from_secs(3600);

pub async fn check(scene: Rc<Scene>) -> Checked {
    // Another name of the same checks: closed to most users, and only one of two sources.
    let kills = blocking(kernel_log::oom_kills).await?.unwrap_or_default();
    let mut report = Report::fine();
    for service in &scene.context.stack.services {
        let Some(container) = scene.container(&service.name).await? else {
            continue;
        };
        let killed: Vec<&OomKill> = kills
            .iter()
            .filter(|kill| kill.container == container.id)
            .collect();
        let newest = killed.last().copied();
        if !counts(container, newest) {
            continue;
        }
        let name = &service.name;
        let ago = newest.map_or(String::new(), |kill| format!(" {} ago", age(kill.ago)));
        let lives = container.state == State::Running;
        let finding = if lives {
            Finding::warning(
                Code::OomKilled,
                format!("{name} had too little memory: a process of it was killed{ago}"),
            )
        } else {
            Finding::error(
                Code::OomKilled,
                format!("{name} was killed for want of memory{ago}"),
            )
        };
        let mut finding = finding.service(name).evidence(
            Evidence::new("OOMKilled", container.oom_killed.to_string(), "Docker").command(
                docker_inspect(
                    container,
                    ".State.OOMKilled}}, memory limit {{.HostConfig.Memory",
                ),
            ),
        );
        if let Some(kill) = newest {
            finding = finding.evidence(
                Evidence::new(
                    "killed by the kernel",
                    format!(
                        "{}, {} ago; {} in its log of this container",
                        kill.task,
                        age(kill.ago),
                        killed.len()
                    ),
                    "/dev/kmsg",
                )
                .command("sudo dmesg -T | grep -i 'killed process'"),
            );
        }
        let impact = if lives {
            format!(
                "what the killed process was doing is lost, and it may happen again; without \
                 {name}: {}",
                without(service)
            )
        } else {
            without(service)
        };
        report.found(
            finding
                .impact(impact)
                .fix(scene.command(&format!("fix service {name}")))
                .manual("free -m && docker stats --no-stream")
                .manual(scene.command(&format!("restart {name}")))
                .interrupts(format!("{name}, until it is ready again")),
        );
    }
    Ok(report)
}

fn counts(container: &Container, newest: Option<&OomKill>) -> bool {
    // A start by hand sets the number of restarts back.
    let restarted = container.restarts > 0 && newest.is_some_and(|kill| kill.ago < LATELY);
    container.oom_killed || restarted
}
