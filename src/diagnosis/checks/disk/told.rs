//! What is said of a file system that is full, or will be.

use super::places::{CALLS, DOCKER, POSTGRES, REDIS, STATE};
use super::space::{FileSystem, Limits, inodes_percent};
use super::{LIES_THERE, forecast, leftovers, logs};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::words;
use crate::diagnosis::{Code, Evidence, Finding};
use crate::host::disk::human;
use std::time::Duration;

/// "in about 34 days", for people.
pub fn about(left: Duration) -> String {
    let hours = left.as_secs() / 3600;
    match hours {
        0..48 => words::count(hours, "hour"),
        _ => words::count(hours / 24, "day"),
    }
}

fn used(system: &FileSystem) -> String {
    let space = &system.space;
    format!(
        "{} % of {}, {} free",
        space.used_percent,
        human(space.total),
        human(space.available)
    )
}

fn source(system: &FileSystem) -> String {
    let space = &system.space;
    format!("{} on {}", space.device, space.mount_point.display())
}

fn holds(system: &FileSystem) -> Evidence {
    Evidence::new(LIES_THERE, system.holds.join(", "), "the mounts")
}

/// Who notices, when nothing can be written there any more.
fn impact(system: &FileSystem) -> String {
    let all = [
        (
            POSTGRES,
            "PostgreSQL refuses to write and may stop: no message is kept",
        ),
        (REDIS, "Redis refuses writes once it cannot save"),
        (
            DOCKER,
            "services cannot write, and Elasticsearch becomes read-only",
        ),
        (CALLS, "finished calls cannot be kept"),
        (STATE, "ooy can keep no journal and start nothing"),
    ];
    let said: Vec<&str> = all
        .iter()
        .filter(|(what, _)| system.holds(what))
        .map(|(_, says)| *says)
        .collect();
    said.join("; ")
}

/// A path as a shell needs it.
fn path(system: &FileSystem) -> String {
    let text = system.space.mount_point.display().to_string();
    crate::host::reach::hint::word(&text)
}

pub fn read_only(system: &FileSystem) -> Finding {
    let path = path(system);
    Finding::error(
        Code::DiskFull,
        format!(
            "{} is mounted read-only: nothing can be written",
            system.name()
        ),
    )
    .evidence(
        Evidence::new("mounted", "read-only", source(system)).command(format!("findmnt -T {path}")),
    )
    .evidence(holds(system))
    .impact(impact(system))
    .cause("Linux does that after an error of the disk, if nobody did it by hand")
    .manual("sudo dmesg --level err,warn | tail -20")
    .manual(format!("sudo mount -o remount,rw {path}"))
    .interrupts("nothing; a damaged disk has to be checked with fsck first")
}

pub async fn short(scene: &Scene, system: &FileSystem, limits: &Limits, full: bool) -> Finding {
    let space = &system.space;
    let inodes = inodes_percent(space);
    let by_inodes = inodes > u64::from(space.used_percent);
    let percent = inodes.max(space.used_percent.into());
    let what = match (full, by_inodes) {
        (true, true) => format!(
            "{} is full: {percent} % of its inodes are used",
            system.name()
        ),
        (true, false) => format!(
            "{} is full: {percent} % used, {} free",
            system.name(),
            human(space.available)
        ),
        (false, true) => format!(
            "{} is running out of inodes: {percent} % used",
            system.name()
        ),
        (false, false) => format!(
            "{} is filling: {percent} % used, {} free",
            system.name(),
            human(space.available)
        ),
    };
    let (code, setting, limit) = if full {
        (Code::DiskFull, "DISK_FULL_PERCENT", limits.full)
    } else {
        (Code::DiskLow, "DISK_LOW_PERCENT", limits.low)
    };
    let mut threshold = format!("{limit} % ({setting})");
    if full && !by_inodes && percent < limit {
        threshold = format!("{} free (DISK_RESERVE_MB)", human(limits.reserve));
    }
    let path = path(system);
    let fact = if by_inodes {
        let value = format!("{inodes} % of {}", space.inodes_total);
        Evidence::new("inodes", value, source(system)).command(format!("df -i {path}"))
    } else {
        Evidence::new("used", used(system), source(system)).command(format!("df -h {path}"))
    };
    let mut finding = if full {
        Finding::error(code, what).impact(impact(system))
    } else {
        Finding::warning(code, what).impact(format!("when it is full: {}", impact(system)))
    };
    finding = finding
        .evidence(fact.threshold(threshold))
        .evidence(holds(system));
    what_frees(scene, system, finding, by_inodes).await
}

/// What takes the room, the largest first, and how it is got back.
async fn what_frees(
    scene: &Scene,
    system: &FileSystem,
    mut finding: Finding,
    by_inodes: bool,
) -> Finding {
    let path = path(system);
    if system.holds(DOCKER) && !by_inodes {
        finding = finding.fix(scene.command("fix disk-space"));
        // The same failures are told by checks of their own.
        if let Ok(logs) = logs::logs(scene).await {
            let sum: u64 = logs.iter().map(|log| log.size).sum();
            let most: Vec<String> = logs
                .iter()
                .take(3)
                .filter(|log| log.size > 0)
                .map(|log| format!("{} {}", log.service, human(log.size)))
                .collect();
            if !most.is_empty() {
                finding = finding.evidence(Evidence::new(
                    "container logs",
                    format!("{} ({})", human(sum), most.join(", ")),
                    "the files of Docker's log driver",
                ));
            }
            for log in logs
                .iter()
                .take(2)
                .filter(|log| log.size > 10 * 1024 * 1024)
            {
                finding = finding.manual(logs::truncate_command(log));
            }
        }
        if let Ok(beside) = leftovers::beside(scene).await
            && !beside.unused.is_empty()
        {
            finding = finding.evidence(Evidence::new(
                "images that nothing uses",
                format!(
                    "up to {} ({})",
                    human(leftovers::size(&beside)),
                    leftovers::largest(&beside)
                ),
                "the Engine's lists",
            ));
        }
        finding = finding.manual("docker image prune --all --force");
    }
    let look = if by_inodes {
        format!("sudo du --inodes -xd2 {path} | sort -n | tail")
    } else {
        format!("sudo du -xhd2 {path} | sort -h | tail")
    };
    finding.manual(look).interrupts("nothing")
}

pub fn told(finding: Finding, forecast: Option<&forecast::Forecast>, limits: &Limits) -> Finding {
    match forecast {
        Some(forecast) => finding.evidence(trend(forecast, limits)),
        None => finding,
    }
}

fn trend(forecast: &forecast::Forecast, limits: &Limits) -> Evidence {
    let daily = human(forecast.daily as u64);
    Evidence::new(
        "full in about",
        format!("{}, as it fills by {daily} a day", about(forecast.left)),
        format!("looks of the last {}", words::age(forecast.watched)),
    )
    .threshold(format!("{} days (DISK_FORECAST_DAYS)", limits.forecast))
}

pub async fn filling(
    scene: &Scene,
    system: &FileSystem,
    forecast: &forecast::Forecast,
    limits: &Limits,
) -> Finding {
    let path = path(system);
    let finding = Finding::warning(
        Code::DiskLow,
        format!(
            "{} will be full in about {}",
            system.name(),
            about(forecast.left)
        ),
    )
    .evidence(Evidence::new("used", used(system), source(system)).command(format!("df -h {path}")))
    .evidence(trend(forecast, limits))
    .evidence(holds(system))
    .impact(format!("when it is full: {}", impact(system)));
    what_frees(scene, system, finding, false).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_left_are_said_for_people() {
        let hours = |hours: u64| about(Duration::from_secs(hours * 3600));
        assert_eq!(hours(5), "5 hours");
        assert_eq!(hours(1), "1 hour");
        assert_eq!(hours(49), "2 days");
        assert_eq!(hours(34 * 24), "34 days");
    }
}
