//! Whether what runs comes back by itself after a restart of Docker or the host.

use std::rc::Rc;
use std::time::Duration;

use super::evidence::docker_inspect;
use crate::diagnosis::check::{Checked, Report};
use crate::diagnosis::checks::operations::past::Past;
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Evidence, Finding};
use crate::engine::containers::Container;
use crate::host::systemd::{self, Systemd};

/// The unit that brings Docker up.
pub const DOCKER_UNIT: &str = "docker.service";

pub async fn check(scene: Rc<Scene>) -> Checked {
    let mut report = Report::fine();
    let past = Past::look(&scene).await.unwrap_or_default();
    let under_way = past
        .under_way()
        .map(|last| last.reach(&scene.context.stack));
    let cut_off = past
        .unfinished()
        .map(|last| last.reach(&scene.context.stack));
    let mut staying = Vec::new();
    for service in &scene.context.stack.services {
        let Some(container) = scene.container(&service.name).await? else {
            continue;
        };
        // `ooy stop` takes the policy away a moment before the service ends.
        let working = under_way
            .as_ref()
            .is_some_and(|reach| reach.contains(&service.name));
        if !working && would_stay_down(container, &service.restart) {
            staying.push((service, container));
        }
    }
    if let Some((first, _)) = staying.first() {
        let names: Vec<&str> = staying.iter().map(|(s, _)| s.name.as_str()).collect();
        let summary = match names.as_slice() {
            [one] => format!("{one} runs, but would stay down after a restart of the host"),
            all => format!(
                "{} services run, but would stay down after a restart of the host",
                all.len()
            ),
        };
        let mut finding = Finding::warning(Code::BootDisabled, summary).service(&first.name);
        for (service, container) in &staying {
            finding = finding.evidence(
                Evidence::new(
                    format!("restart policy of {}", service.name),
                    container.restart.clone(),
                    "Docker",
                )
                .threshold(format!("{}, as configured", service.restart))
                .command(docker_inspect(container, ".HostConfig.RestartPolicy.Name")),
            );
        }
        finding = finding
            .impact("after the next restart of Docker or the host these services are missing")
            .cause("it was started by other means than ooy start, after ooy stop or docker update")
            .fix(scene.command("fix boot"))
            .interrupts("nothing");
        for (service, container) in &staying {
            finding = finding.manual(format!(
                "docker update --restart {} {}",
                service.restart, container.name
            ));
        }
        // Counts only if that was found.
        if cut_off.is_some_and(|reach| names.iter().all(|name| reach.contains(*name))) {
            finding.caused_by = Some(Code::OperationUnfinished);
        }
        report.found(finding);
    }
    report.findings.extend(docker_unit(&scene).await);
    Ok(report)
}

/// Whether a container runs, and would not be brought back by its policy where the configured one
/// would do so.
pub fn would_stay_down(container: &Container, configured: &str) -> bool {
    container.is_running() && stays_down(&container.restart, configured)
}

/// Whether a policy leaves down what the configured one would bring back. `unless-stopped` is
/// forgotten by a daemon that was killed (lab.md); what is configured to stay down may.
fn stays_down(policy: &str, configured: &str) -> bool {
    policy != configured && !matches!(policy, "always" | "on-failure")
}

/// Docker itself has to come up with the host: the word of systemd for it, where it does not.
/// Without systemd, or with another Engine, nothing is known of who starts it.
pub async fn docker_is_off(limit: Duration) -> Option<String> {
    if !systemd::runs() || std::env::var_os("DOCKER_HOST").is_some() {
        return None;
    }
    let said = Systemd::of_this_host().is_enabled(DOCKER_UNIT, limit).await;
    said.ok().filter(|state| off(state))
}

async fn docker_unit(scene: &Scene) -> Option<Finding> {
    let state = docker_is_off(scene.time_left()).await?;
    Some(
        Finding::warning(
            Code::BootDisabled,
            "Docker does not come up with the host, and so nothing does",
        )
        .evidence(
            Evidence::new(DOCKER_UNIT, state, "systemd")
                .command("systemctl is-enabled docker.service"),
        )
        .impact("after the next restart of the host no service runs, until somebody starts Docker")
        .fix(scene.command("fix boot"))
        .manual("sudo systemctl enable docker.service")
        .interrupts("nothing"),
    )
}

/// Words of `systemctl is-enabled` for a unit that is there and not started at boot. Others
/// (`not-found`, `generated`, an error) say nothing: Docker may come by another way.
fn off(state: &str) -> bool {
    matches!(
        state,
        "disabled" | "masked" | "masked-runtime" | "enabled-runtime"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_policy_means_after_a_restart() {
        assert!(stays_down("no", "always"));
        assert!(stays_down("unless-stopped", "always"));
        assert!(!stays_down("always", "always"));
        assert!(!stays_down("on-failure", "always"));
        assert!(!stays_down("no", "no"));
    }

    #[test]
    fn words_of_systemd() {
        assert!(off("disabled") && off("masked"));
        for fine in ["enabled", "static", "", "not-found", "indirect"] {
            assert!(!off(fine), "{fine}");
        }
    }
}
