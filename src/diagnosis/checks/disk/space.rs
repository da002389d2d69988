//! File systems that are full, or will be.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join_all;

use super::places::{self, CALLS, DOCKER, POSTGRES, Place, REDIS, STATE};
use super::{LIES_THERE, forecast, leftovers, logs};
use crate::diagnosis::check::{Checked, Halt, Report, blocking};
use crate::diagnosis::samples::Sample;
use crate::diagnosis::scene::Scene;
use crate::diagnosis::words;
use crate::diagnosis::{Code, Evidence, Finding};
use crate::host::disk::{self, Space, human};

/// A file system, and what lies on it.
struct FileSystem {
    space: Space,
    holds: Vec<&'static str>,
}

impl FileSystem {
    fn holds(&self, what: &str) -> bool {
        self.holds.contains(&what)
    }

    /// It holds this as well, seen from another place where it is mounted.
    fn add(&mut self, what: &'static str, seen: Space) {
        if !self.holds(what) {
            self.holds.push(what);
        }
        // Its own place, not that of a folder of it that is mounted elsewhere.
        let depth = |space: &Space| space.mount_point.components().count();
        if depth(&seen) < depth(&self.space) {
            self.space = seen;
        }
    }

    /// As a person calls it.
    fn name(&self) -> String {
        match self.space.mount_point.to_str() {
            Some("/") => "The disk".to_owned(),
            _ => format!("The disk on {}", self.space.mount_point.display()),
        }
    }
}

/// From where on a file system is low or full.
struct Limits {
    low: u64,
    full: u64,
    /// Bytes.
    reserve: u64,
    /// Days; 0: never.
    forecast: u64,
}

/// The check `disk-space`.
pub async fn file_systems(scene: Rc<Scene>) -> Checked {
    let settings = &scene.context.settings;
    let limits = Limits {
        low: settings.number("DISK_LOW_PERCENT"),
        full: settings.number("DISK_FULL_PERCENT"),
        reserve: settings
            .number("DISK_RESERVE_MB")
            .saturating_mul(1024 * 1024),
        forecast: settings.number("DISK_FORECAST_DAYS"),
    };
    let (systems, unseen) = measure(&scene).await;
    let mut report = Report::fine();
    for system in &systems {
        let forecast = watch(&scene, system);
        match judge(&system.space, &system.holds, &limits) {
            State::ReadOnly => report.found(read_only(system)),
            State::Full => report.found(short(&scene, system, &limits, true).await),
            State::Low => {
                let finding = short(&scene, system, &limits, false).await;
                report.found(told(finding, forecast.as_ref(), &limits));
            }
            State::Fine => match forecast {
                Some(forecast) if soon(&forecast, &limits) => {
                    let finding = filling(&scene, system, &forecast, &limits).await;
                    report.found(finding);
                }
                forecast => report.figure(figure(system, forecast.as_ref())),
            },
        }
    }
    // What was not seen is not fine; what was found comes first.
    if report.findings.is_empty()
        && let Some(why) = unseen.first()
    {
        return Err(Halt::unknown(why.clone()));
    }
    Ok(report)
}

/// Every file system once, and what could not be looked at.
async fn measure(scene: &Scene) -> (Vec<FileSystem>, Vec<String>) {
    let places = places::places(scene).await;
    let limit = scene.time_left();
    let looked = join_all(places.into_iter().map(|Place { what, path }| async move {
        let shown = path.display().to_string();
        let look = blocking(move || disk::space(&path));
        // A mount that hangs must not hide the others.
        let space = match tokio::time::timeout(limit, look).await {
            Ok(Ok(Ok(space))) => Ok(space),
            Ok(Ok(Err(error))) => Err(format!("{what}, {shown}: {error}")),
            Ok(Err(_)) | Err(_) => Err(format!("{what}, {shown}: its file system does not answer")),
        };
        (what, space)
    }))
    .await;
    let mut systems: Vec<FileSystem> = Vec::new();
    let mut unseen = Vec::new();
    for (what, space) in looked {
        match space {
            Err(why) => unseen.push(why),
            Ok(space) => {
                let known = systems
                    .iter_mut()
                    .find(|known| is_same(&known.space, &space));
                match known {
                    Some(known) => known.add(what, space),
                    None => systems.push(FileSystem {
                        space,
                        holds: vec![what],
                    }),
                }
            }
        }
    }
    (systems, unseen)
}

/// Whether two places are of one file system: parts of one are often mounted elsewhere.
fn is_same(a: &Space, b: &Space) -> bool {
    let device = a.device.starts_with('/')
        && (&a.device, a.total, a.inodes_total) == (&b.device, b.total, b.inodes_total);
    (a.mount_point == b.mount_point || device) && a.read_only == b.read_only
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Fine,
    Low,
    Full,
    ReadOnly,
}

fn judge(space: &Space, holds: &[&str], limits: &Limits) -> State {
    let used = u64::from(space.used_percent).max(inodes_percent(space));
    // Calls take a kilobyte each: a small file system of their own is not full from the start.
    let reserve = match holds {
        [CALLS] => limits.reserve.min(space.total / 20),
        _ => limits.reserve,
    };
    if space.read_only {
        State::ReadOnly
    } else if used >= limits.full || space.available < reserve {
        State::Full
    } else if used >= limits.low {
        State::Low
    } else {
        State::Fine
    }
}

/// Used inodes, rounded up; 0 where they are made as they are needed.
fn inodes_percent(space: &Space) -> u64 {
    if space.inodes_total == 0 {
        return 0;
    }
    let used = space.inodes_total.saturating_sub(space.inodes_free);
    used.saturating_mul(100).div_ceil(space.inodes_total)
}

/// Between two kept figures: many looks within minutes must not push out those of yesterday.
const EACH: Duration = Duration::from_secs(240);

/// Keeps how much is free, and says what follows from it and from earlier looks.
fn watch(scene: &Scene, system: &FileSystem) -> Option<forecast::Forecast> {
    let name = format!("disk-free:{}", system.space.mount_point.display());
    let earlier = scene.samples.of(&name);
    let now = Sample {
        at: scene.now,
        value: system.space.available as f64,
    };
    let recent = earlier
        .last()
        .is_some_and(|last| scene.now.duration_since(last.at).unsigned_abs() < EACH);
    if !recent {
        scene.sample(name, now.value);
    }
    forecast::forecast(earlier, &now, system.space.total)
}

fn soon(forecast: &forecast::Forecast, limits: &Limits) -> bool {
    let days = Duration::from_secs(limits.forecast.saturating_mul(24 * 3600));
    forecast.sure && forecast.left < days
}

/// "in about 34 days", for people.
fn about(left: Duration) -> String {
    let hours = left.as_secs() / 3600;
    match hours {
        0..48 => words::count(hours, "hour"),
        _ => words::count(hours / 24, "day"),
    }
}

fn figure(system: &FileSystem, forecast: Option<&forecast::Forecast>) -> String {
    let space = &system.space;
    let mut text = match space.mount_point.to_str() {
        Some("/") => format!("disk {} %", space.used_percent),
        _ => format!(
            "disk {} {} %",
            space.mount_point.display(),
            space.used_percent
        ),
    };
    if let Some(forecast) = forecast {
        text += &format!(" (full in about {})", about(forecast.left));
    }
    text
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

fn read_only(system: &FileSystem) -> Finding {
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

async fn short(scene: &Scene, system: &FileSystem, limits: &Limits, full: bool) -> Finding {
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

fn told(finding: Finding, forecast: Option<&forecast::Forecast>, limits: &Limits) -> Finding {
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

async fn filling(
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

    const GB: u64 = 1 << 30;

    fn space(percent: u8, available: u64) -> Space {
        Space {
            total: 30 * GB,
            free: available,
            available,
            used_percent: percent,
            inodes_total: 1000,
            inodes_free: 900,
            mount_point: PathBuf::from("/"),
            device: "/dev/vda1".to_owned(),
            read_only: false,
        }
    }

    const LIMITS: Limits = Limits {
        low: 85,
        full: 97,
        reserve: GB,
        forecast: 7,
    };

    fn of(space: &Space, holds: &[&str]) -> State {
        judge(space, holds, &LIMITS)
    }

    #[test]
    fn thresholds() {
        let both = &[DOCKER, CALLS];
        assert_eq!(of(&space(84, 5 * GB), both), State::Fine);
        assert_eq!(of(&space(85, 5 * GB), both), State::Low);
        assert_eq!(of(&space(97, 5 * GB), both), State::Full);
        assert_eq!(of(&space(50, GB - 1), both), State::Full);
        let mut small = space(10, GB / 2);
        small.total = GB;
        assert_eq!(of(&small, &[CALLS]), State::Fine);
        assert_eq!(of(&small, both), State::Full);
        small.available = GB / 21;
        assert_eq!(of(&small, &[CALLS]), State::Full);
    }

    #[test]
    fn a_file_system_that_is_mounted_twice_is_one() {
        let (root, mut bound) = (space(10, 20 * GB), space(10, 20 * GB));
        bound.mount_point = "/var/lib/docker".into();
        assert!(is_same(&root, &bound));
        let mut system = FileSystem {
            space: bound.clone(),
            holds: vec![DOCKER],
        };
        system.add(STATE, root.clone());
        assert_eq!(system.name(), "The disk");
        assert_eq!(system.holds, [DOCKER, STATE]);
        bound.read_only = true;
        assert!(!is_same(&root, &bound));
        let mut other = space(10, 20 * GB);
        (other.device, other.mount_point) = ("/dev/vdb".into(), "/data".into());
        assert!(!is_same(&root, &other));
        // Each tmpfs is one of its own.
        let memory = |at: &str| Space {
            device: "tmpfs".into(),
            mount_point: at.into(),
            ..space(10, GB)
        };
        assert!(!is_same(&memory("/run"), &memory("/tmp")));
    }

    #[test]
    fn inodes_count_like_room() {
        let mut space = space(10, 20 * GB);
        space.inodes_free = 150;
        assert_eq!(of(&space, &[DOCKER]), State::Low);
        space.inodes_free = 0;
        assert_eq!(of(&space, &[DOCKER]), State::Full);
        assert_eq!(inodes_percent(&space), 100);
        // btrfs
        space.inodes_total = 0;
        assert_eq!(of(&space, &[DOCKER]), State::Fine);
    }

    #[test]
    fn read_only_is_full() {
        let mut space = space(10, 20 * GB);
        space.read_only = true;
        assert_eq!(of(&space, &[STATE]), State::ReadOnly);
    }

    #[test]
    fn times_left_are_said_for_people() {
        let hours = |hours: u64| about(Duration::from_secs(hours * 3600));
        assert_eq!(hours(5), "5 hours");
        assert_eq!(hours(1), "1 hour");
        assert_eq!(hours(49), "2 days");
        assert_eq!(hours(34 * 24), "34 days");
    }
}
