//! File systems that are full, or will be.

use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join_all;

use super::forecast;
use super::places::{self, CALLS, Place};
use super::told::{about, filling, read_only, short, told};
use crate::diagnosis::check::{Checked, Halt, Report, blocking};
use crate::diagnosis::samples::Sample;
use crate::diagnosis::scene::Scene;
use crate::host::disk::{self, Space};

/// A file system, and what lies on it.
pub struct FileSystem {
    pub space: Space,
    pub holds: Vec<&'static str>,
}

impl FileSystem {
    pub fn holds(&self, what: &str) -> bool {
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
    pub fn name(&self) -> String {
        match self.space.mount_point.to_str() {
            Some("/") => "The disk".to_owned(),
            _ => format!("The disk on {}", self.space.mount_point.display()),
        }
    }
}

/// From where on a file system is low or full.
pub struct Limits {
    /// Percent.
    pub low: u64,
    /// Percent.
    pub full: u64,
    /// Bytes.
    pub reserve: u64,
    /// Days; 0: never.
    pub forecast: u64,
}

/// The check `disk-space`.
pub async fn file_systems(scene: Rc<Scene>) -> Checked {
    let settings = &scene.context.settings;
    let limits = Limits {
        low: settings.number("DISK_LOW_PERCENT"),
        full: settings.number("DISK_FULL_PERCENT"),
        reserve: settings.megabytes("DISK_RESERVE_MB"),
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
pub fn inodes_percent(space: &Space) -> u64 {
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

#[cfg(test)]
mod tests {
    use super::super::places::{DOCKER, STATE};
    use super::*;
    use std::path::PathBuf;

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
}
