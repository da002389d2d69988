//! CPU time and memory of a container, read from its control group.
//!
//! A hundred times quicker than the Engine's `stats`, which waits for a second sample. Which
//! hierarchy holds the figures depends on the host: version 1 (a tree for each controller,
//! Debian 10 and older), version 2 (one tree) or hybrid (both, and the second without
//! controllers). The driver (cgroupfs or systemd) only decides the path, and that is read, not
//! guessed.

use std::fs;
use std::path::{Path, PathBuf};

use super::disk::{self, Mount};

/// What a container has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// CPU time since the container started, of all its processes, in nanoseconds. Two
    /// readings and the time between them make a percentage.
    pub cpu_usage_ns: u64,
    /// Memory in bytes, without the page cache that nobody asked for lately: the figure that
    /// `docker stats` shows.
    pub memory_bytes: u64,
}

/// The usage of the control group that holds the process `pid` (a container's init process, as
/// the Engine reports it). `None` where the process is gone or its group cannot be read.
pub fn usage(pid: u32) -> Option<Usage> {
    let memberships = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    usage_of(&memberships, &disk::mounts().ok()?)
}

fn usage_of(memberships: &str, mounts: &[Mount]) -> Option<Usage> {
    let memberships = parse_memberships(memberships);
    let cpu = directory(&memberships, mounts, "cpuacct")?;
    let memory = directory(&memberships, mounts, "memory")?;
    let read = |path: PathBuf| fs::read_to_string(path).ok();
    let cpu_usage_ns = match cpu {
        Directory::V1(path) => number(&read(path.join("cpuacct.usage"))?)?,
        Directory::V2(path) => {
            field(&read(path.join("cpu.stat"))?, "usage_usec")?.checked_mul(1000)?
        }
    };
    let (used, stat, name) = match memory {
        Directory::V1(path) => (
            read(path.join("memory.usage_in_bytes"))?,
            read(path.join("memory.stat"))?,
            "total_inactive_file",
        ),
        Directory::V2(path) => (
            read(path.join("memory.current"))?,
            read(path.join("memory.stat"))?,
            "inactive_file",
        ),
    };
    Some(Usage {
        cpu_usage_ns,
        memory_bytes: without_inactive(number(&used)?, field(&stat, name)),
    })
}

/// How many processes of the group of `pid` the kernel has killed for want of memory since the
/// group was made, which is with each start of a container (Linux 4.13 and later).
pub fn oom_kills(pid: u32) -> Option<u64> {
    let memberships = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let mounts = disk::mounts().ok()?;
    let file = match directory(&parse_memberships(&memberships), &mounts, "memory")? {
        Directory::V1(path) => path.join("memory.oom_control"),
        Directory::V2(path) => path.join("memory.events"),
    };
    field(&fs::read_to_string(file).ok()?, "oom_kill")
}

/// As `calculateMemUsageUnixNoCache` in docker/cli does it: the two figures are not read at the
/// same moment, so the second may be the larger one.
fn without_inactive(used: u64, inactive: Option<u64>) -> u64 {
    match inactive {
        Some(inactive) if inactive < used => used - inactive,
        _ => used,
    }
}

/// A line of /proc/PID/cgroup (cgroups(7)): `4:cpu,cpuacct:/docker/…`, or `0::/…` for version 2.
struct Membership<'a> {
    controllers: &'a str,
    path: &'a str,
}

fn parse_memberships(text: &str) -> Vec<Membership<'_>> {
    text.lines()
        .filter_map(|line| {
            // The path may hold colons, so only the first two count.
            let mut fields = line.splitn(3, ':');
            let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            Some(Membership { controllers, path })
        })
        .collect()
}

/// Where the files of a controller lie.
#[derive(Debug, PartialEq, Eq)]
enum Directory {
    V1(PathBuf),
    V2(PathBuf),
}

/// Version 1 counts where it has the controller: on a hybrid host the tree of version 2 is there
/// too, but without figures.
fn directory(
    memberships: &[Membership<'_>],
    mounts: &[Mount],
    controller: &str,
) -> Option<Directory> {
    let has = |list: &str, name: &str| list.split(',').any(|one| one == name);
    let v1 = memberships.iter().find_map(|membership| {
        if !has(membership.controllers, controller) {
            return None;
        }
        mounts
            .iter()
            .filter(|mount| mount.kind == "cgroup" && has(&mount.super_options, controller))
            .find_map(|mount| below(mount, membership.path))
    });
    if let Some(path) = v1 {
        return Some(Directory::V1(path));
    }
    let unified = memberships.iter().find(|m| m.controllers.is_empty())?;
    mounts
        .iter()
        .filter(|mount| mount.kind == "cgroup2")
        .find_map(|mount| below(mount, unified.path))
        .map(Directory::V2)
}

/// The directory of a group in a mounted hierarchy. Inside a container the hierarchy is mounted
/// from the container's own group downwards, so the mount's root comes off the path first; a
/// group outside of it (`/../other`) cannot be seen from here.
fn below(mount: &Mount, group: &str) -> Option<PathBuf> {
    let group = Path::new(group);
    let outside = group
        .components()
        .any(|part| part == std::path::Component::ParentDir);
    if outside {
        return None;
    }
    Some(
        mount
            .mount_point
            .join(group.strip_prefix(&mount.root).ok()?),
    )
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The value of `name` in a file of lines `name value`.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .and_then(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1_MOUNTS: &str = "\
        31 23 0:28 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755\n\
        32 31 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
        33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw shared:14 - cgroup cgroup rw,cpu,cpuacct\n\
        34 31 0:31 / /sys/fs/cgroup/memory rw shared:15 - cgroup cgroup rw,memory\n";
    const UNIFIED: &str = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
    const V2_MOUNTS: &str = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";

    fn find(memberships: &str, mounts: &str, controller: &str) -> Option<Directory> {
        let mounts = disk::parse_mounts(mounts.as_bytes());
        directory(&parse_memberships(memberships), &mounts, controller)
    }

    #[test]
    fn version_1_with_the_cgroupfs_driver() {
        let memberships =
            "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n";
        assert_eq!(
            find(memberships, V1_MOUNTS, "cpuacct"),
            Some(Directory::V1(
                "/sys/fs/cgroup/cpu,cpuacct/docker/abc".into()
            ))
        );
        assert_eq!(
            find(memberships, V1_MOUNTS, "memory"),
            Some(Directory::V1("/sys/fs/cgroup/memory/docker/abc".into()))
        );
    }

    #[test]
    fn hybrid_with_the_systemd_driver() {
        let memberships = "5:memory:/system.slice/docker-abc.scope\n\
            4:cpu,cpuacct:/system.slice/docker-abc.scope\n0::/system.slice/docker-abc.scope\n";
        let mounts = format!("{UNIFIED}{V1_MOUNTS}");
        assert_eq!(
            find(memberships, &mounts, "memory"),
            Some(Directory::V1(
                "/sys/fs/cgroup/memory/system.slice/docker-abc.scope".into()
            ))
        );
        // A controller that version 1 gave up is found in version 2.
        let moved = "4:cpu,cpuacct:/docker/abc\n0::/docker/abc\n";
        assert_eq!(
            find(moved, &mounts, "memory"),
            Some(Directory::V2("/sys/fs/cgroup/unified/docker/abc".into()))
        );
    }

    #[test]
    fn version_2() {
        for (path, expected) in [
            (
                "/system.slice/docker-abc.scope",
                "/sys/fs/cgroup/system.slice/docker-abc.scope",
            ),
            ("/docker/abc", "/sys/fs/cgroup/docker/abc"),
            ("/a:b", "/sys/fs/cgroup/a:b"),
        ] {
            assert_eq!(
                find(&format!("0::{path}\n"), V2_MOUNTS, "memory"),
                Some(Directory::V2(expected.into()))
            );
        }
    }

    #[test]
    fn a_group_that_cannot_be_seen_from_here() {
        assert_eq!(find("0::/../other\n", V2_MOUNTS, "memory"), None);
        let inside = "30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup cgroup rw,memory\n";
        assert_eq!(find("5:memory:/docker/other\n", inside, "memory"), None);
        assert_eq!(
            find("5:memory:/docker/abc/sub\n", inside, "memory"),
            Some(Directory::V1("/sys/fs/cgroup/sub".into()))
        );
        assert_eq!(find("", V1_MOUNTS, "memory"), None);
        assert_eq!(find("nonsense\n5:memory:/x\n", "", "memory"), None);
    }

    fn mounted(kind: &str, options: &str, at: &Path) -> Mount {
        Mount {
            root: "/".into(),
            mount_point: at.into(),
            kind: kind.into(),
            source: "cgroup".into(),
            super_options: options.into(),
        }
    }

    #[test]
    fn the_figures_of_version_1() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("cpuacct.usage", "1234567890\n"),
            ("memory.usage_in_bytes", "1000\n"),
            (
                "memory.stat",
                "inactive_file 1\ntotal_inactive_file 300\ntotal_cache 900\n",
            ),
        ] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let mount = mounted("cgroup", "rw,cpuacct,memory", dir.path());
        let expected = Usage {
            cpu_usage_ns: 1_234_567_890,
            memory_bytes: 700,
        };
        assert_eq!(usage_of("2:cpuacct,memory:/\n", &[mount]), Some(expected));
    }

    #[test]
    fn the_figures_of_version_2() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("cpu.stat", "usage_usec 5000\nuser_usec 3000\n"),
            ("memory.current", "1000\n"),
            ("memory.stat", "anon 1\nfile 2\ninactive_file 1000\n"),
        ] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let mount = mounted("cgroup2", "rw", dir.path());
        let expected = Usage {
            cpu_usage_ns: 5_000_000,
            memory_bytes: 1000,
        };
        assert_eq!(
            usage_of("0::/\n", std::slice::from_ref(&mount)),
            Some(expected)
        );
        fs::write(dir.path().join("cpu.stat"), "usage_usec none\n").unwrap();
        assert_eq!(usage_of("0::/\n", &[mount]), None);
    }

    #[test]
    fn this_process_is_measured() {
        // The root group of version 2 has no memory.current, and a test may run in it.
        if let Some(first) = usage(std::process::id()) {
            assert!(first.memory_bytes > 0);
            let second = usage(std::process::id()).unwrap();
            assert!(second.cpu_usage_ns >= first.cpu_usage_ns);
        }
        assert_eq!(usage(0), None);
    }
}
