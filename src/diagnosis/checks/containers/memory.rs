//! Containers of which the kernel killed a process for want of memory.
//!
//! Three sources, since none has all of it. The Engine's OOMKilled is taken back with the next
//! start, and says of a killed process beside the first one nothing (20.10) or the same as of the
//! first. The control group counts all of them, since the container's start. The kernel's log has
//! what was before that, and when; few may read it.

use std::rc::Rc;
use std::time::Duration;

use super::evidence::{docker_inspect, without};
use crate::deployment::services::Service;
use crate::diagnosis::check::{Checked, Report, blocking};
use crate::diagnosis::checks::service;
use crate::diagnosis::scene::Scene;
use crate::diagnosis::words::{age, count};
use crate::diagnosis::{Code, Evidence, Finding};
use crate::engine::containers::{Container, State};
use crate::host::cgroup;
use crate::host::kernel_log::{self, OomKill};

/// A service that lives on after a kill longer ago than this has nothing to repair tonight.
const LATELY: Duration = Duration::from_secs(6 * 3600);

/// What is known of one container.
#[derive(Debug, Default)]
struct Known {
    /// The Engine's flag.
    flag: bool,
    /// Kills in its present control group.
    counted: u64,
    /// How long ago the newest in the kernel's log was; none where it has none.
    newest: Option<Duration>,
    /// Whether that log can be read.
    log: bool,
    /// How long it runs.
    up: Option<Duration>,
    /// Restarts by Docker since the last start by hand.
    restarts: i64,
    lives: bool,
}

/// What that amounts to.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Fine,
    /// It lives, and it was long ago.
    Past,
    /// It lives.
    Lately,
    /// It is down.
    Down,
}

impl Known {
    fn verdict(&self) -> Verdict {
        let lately = self.newest.is_some_and(|ago| ago < LATELY);
        // What was before a start by hand is done with.
        let since_start = match (self.newest, self.up) {
            (Some(ago), Some(up)) => ago < up,
            _ => false,
        };
        let before = lately && (since_start || self.restarts > 0);
        match (self.flag || self.counted > 0, self.lives) {
            (true, false) => Verdict::Down,
            (true, true) if self.log && !lately => Verdict::Past,
            (true, true) => Verdict::Lately,
            (false, true) if before => Verdict::Lately,
            _ => Verdict::Fine,
        }
    }
}

pub async fn check(scene: Rc<Scene>) -> Checked {
    let mut found = Vec::new();
    for service in &scene.context.stack.services {
        if let Some(container) = scene.container(&service.name).await? {
            found.push((service, container));
        }
    }
    let pids: Vec<Option<u32>> = found.iter().map(|(_, container)| container.pid).collect();
    let (counts, kills) = blocking(move || {
        let counts: Vec<u64> = pids
            .iter()
            .map(|pid| pid.and_then(cgroup::oom_kills).unwrap_or_default())
            .collect();
        (counts, kernel_log::oom_kills())
    })
    .await?;
    let log = kills.is_ok();
    let kills = kills.unwrap_or_default();
    let mut report = Report::fine();
    for ((service, container), counted) in found.into_iter().zip(counts) {
        let newest = kills.iter().rfind(|kill| kill.container == container.id);
        let known = Known {
            flag: container.oom_killed,
            counted,
            newest: newest.map(|kill| kill.ago),
            log,
            up: service::uptime(&scene, container),
            restarts: container.restarts,
            lives: matches!(container.state, State::Running | State::Paused),
        };
        report
            .findings
            .extend(finding(&scene, service, container, &known, newest));
    }
    Ok(report)
}

fn finding(
    scene: &Scene,
    service: &Service,
    container: &Container,
    known: &Known,
    newest: Option<&OomKill>,
) -> Option<Finding> {
    let name = &service.name;
    let code = Code::OomKilled;
    let ago = newest.map_or(String::new(), |kill| format!(" {} ago", age(kill.ago)));
    let lived = format!("{name} had too little memory: a process of it was killed{ago}");
    let finding = match known.verdict() {
        Verdict::Fine => return None,
        Verdict::Past => Finding::info(code, lived),
        Verdict::Lately => Finding::warning(code, lived),
        Verdict::Down => Finding::error(code, format!("{name} was killed for want of memory{ago}")),
    };
    let template = ".State.OOMKilled}}, memory limit {{.HostConfig.Memory";
    let mut finding = finding.service(name).evidence(
        Evidence::new("OOMKilled", known.flag.to_string(), "Docker")
            .command(docker_inspect(container, template)),
    );
    if known.counted > 0 {
        let kills = count(known.counted, "kill");
        finding = finding.evidence(Evidence::new("since its start", kills, "its control group"));
    }
    if let Some(kill) = newest {
        finding = finding.evidence(
            Evidence::new(
                "killed by the kernel",
                format!("{}, {} ago", kill.task, age(kill.ago)),
                "/dev/kmsg",
            )
            .command("sudo dmesg -T | grep -i 'killed process'"),
        );
    }
    let impact = if known.lives {
        "what the killed process was doing is lost, and it may happen again".to_owned()
    } else {
        without(service)
    };
    Some(
        finding
            .impact(impact)
            .fix(scene.command(&format!("fix service {name}")))
            .manual("free -m && docker stats --no-stream")
            .manual(scene.command(&format!("restart {name}")))
            .interrupts(format!("{name}, until it is ready again")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running() -> Known {
        Known {
            log: true,
            up: Some(Duration::from_secs(600)),
            lives: true,
            ..Default::default()
        }
    }

    fn ago(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    #[test]
    fn a_kill_counts_by_when_it_was_and_what_became_of_the_service() {
        assert_eq!(running().verdict(), Verdict::Fine);
        let with = |change: fn(&mut Known)| {
            let mut known = running();
            change(&mut known);
            known.verdict()
        };
        // Docker 20.10 says nothing of a process beside the first.
        assert_eq!(
            with(|k| (k.counted, k.newest) = (1, ago(5))),
            Verdict::Lately
        );
        assert_eq!(
            with(|k| (k.counted, k.newest) = (1, ago(90_000))),
            Verdict::Past
        );
        assert_eq!(with(|k| k.flag = true), Verdict::Past);
        assert_eq!(with(|k| (k.flag, k.log) = (true, false)), Verdict::Lately);
        assert_eq!(with(|k| (k.flag, k.lives) = (true, false)), Verdict::Down);
    }

    #[test]
    fn one_before_the_present_start_counts_until_a_start_by_hand() {
        let mut known = Known {
            newest: ago(900),
            restarts: 1,
            ..running()
        };
        assert_eq!(known.verdict(), Verdict::Lately);
        known.restarts = 0;
        assert_eq!(known.verdict(), Verdict::Fine);
        known.newest = ago(500);
        assert_eq!(known.verdict(), Verdict::Lately);
    }
}
