//! Memory that is left.

use std::rc::Rc;

use crate::diagnosis::check::{Checked, Halt, Report, blocking};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Evidence, Finding};
use crate::host::disk::human;
use crate::host::{cgroup, memory};

/// The check `memory`.
pub async fn memory(scene: Rc<Scene>) -> Checked {
    let limit = scene.context.settings.number("MEMORY_LOW_PERCENT");
    let memory = blocking(memory::read)
        .await?
        .map_err(|error| Halt::unknown(format!("/proc/meminfo: {error}")))?;
    let percent = memory.available_percent();
    if percent >= limit {
        let mut report = Report::fine();
        report.figure(format!("memory {} %", 100 - percent.min(100)));
        return Ok(report);
    }
    let mut finding = Finding::warning(
        Code::MemoryLow,
        format!(
            "This host has {percent} % of its memory left: {} of {}",
            human(memory.available),
            human(memory.total)
        ),
    )
    .evidence(
        Evidence::new("available", format!("{percent} %"), "/proc/meminfo")
            .threshold(format!("{limit} % (MEMORY_LOW_PERCENT)"))
            .command("free -h"),
    );
    if memory.swap_total > 0 {
        finding = finding.evidence(Evidence::new(
            "swap",
            format!(
                "{} of {} free",
                human(memory.swap_free),
                human(memory.swap_total)
            ),
            "/proc/meminfo",
        ));
    }
    let users = users(&scene).await;
    let largest = users.first().map(|(service, _)| service.clone());
    if !users.is_empty() {
        let said: Vec<String> = users
            .iter()
            .take(3)
            .map(|(service, bytes)| format!("{service} {}", human(*bytes)))
            .collect();
        finding = finding.evidence(
            Evidence::new(
                "services with most of it",
                said.join(", "),
                "their control groups",
            )
            .command("docker stats --no-stream"),
        );
    }
    finding = finding
        .impact("everything becomes slow, and in the end Linux kills the largest process")
        .manual("ps -eo rss,pid,comm --sort -rss | head");
    if let Some(service) = largest {
        finding = finding.manual(scene.command(&format!("restart {service}")));
        finding = finding.interrupts(format!("{service}, while it restarts"));
    } else {
        finding = finding.interrupts("nothing");
    }
    Ok(finding.into())
}

/// Services of this deployment and their memory, the largest first; none where Docker is not to be
/// asked, which other checks find.
async fn users(scene: &Scene) -> Vec<(String, u64)> {
    let Ok(containers) = scene.containers().await else {
        return Vec::new();
    };
    let processes: Vec<(String, u32)> = containers
        .iter()
        .filter_map(|container| Some((container.service.clone(), container.pid?)))
        .collect();
    let mut users = blocking(move || {
        processes
            .into_iter()
            .filter_map(|(service, pid)| Some((service, cgroup::usage(pid)?.memory_bytes)))
            .collect::<Vec<_>>()
    })
    .await
    .unwrap_or_default();
    users.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    users
}
