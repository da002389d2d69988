//! The kernel's own log, as far as it says which containers it killed processes of for want of
//! memory: the Engine forgets that when it starts the container again.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

/// A process that the kernel killed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OomKill {
    /// Id of its container.
    pub container: String,
    /// Name of the process.
    pub task: String,
    /// How long ago.
    pub ago: Duration,
}

/// The kills that the log still holds, oldest first. Only root may read it on most hosts.
pub fn oom_kills() -> io::Result<Vec<OomKill>> {
    let mut log = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/kmsg")?;
    let uptime = std::fs::read_to_string("/proc/uptime")?;
    let uptime: f64 = uptime
        .split_ascii_whitespace()
        .next()
        .and_then(|seconds| seconds.parse().ok())
        .ok_or_else(|| io::Error::other("/proc/uptime holds no number"))?;
    let now = Duration::from_secs_f64(uptime.max(0.0));
    let mut kills = Vec::new();
    // One record a read, at most this long.
    let mut record = [0; 8192];
    loop {
        match log.read(&mut record) {
            Ok(0) => break,
            Ok(length) => {
                let text = String::from_utf8_lossy(&record[..length]);
                kills.extend(parse(&text, now));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            // Overwritten while we read: the next one is the oldest that is left.
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(kills)
}

/// A record of /dev/kmsg (dev-kmsg, kernel documentation): `6,1234,5678901,-;text`, the third
/// number microseconds since boot. The text is that of mm/oom_kill.c, since Linux 4.19:
/// `oom-kill:constraint=…,task_memcg=/docker/ID,task=python3,pid=77,uid=0`.
fn parse(record: &str, now: Duration) -> Option<OomKill> {
    let (head, text) = record.split_once(';')?;
    let text = text.lines().next()?;
    let fields = text.strip_prefix("oom-kill:")?;
    let field = |name: &str| {
        fields
            .split(',')
            .find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
    };
    let container = container_id(field("task_memcg")?)?;
    let at = Duration::from_micros(head.split(',').nth(2)?.parse().ok()?);
    Some(OomKill {
        container,
        task: field("task").unwrap_or_default().to_owned(),
        ago: now.saturating_sub(at),
    })
}

/// The container of a cgroup: `/docker/ID`, `/system.slice/docker-ID.scope`.
fn container_id(cgroup: &str) -> Option<String> {
    cgroup
        .split(['/', '-', '.'])
        .find(|part| part.len() == 64 && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_names_its_container_in_both_layouts() {
        let id = "ab".repeat(32);
        for cgroup in [
            format!("/docker/{id}"),
            format!("/system.slice/docker-{id}.scope"),
        ] {
            let record = format!(
                "6,1234,5000000,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset={id},\
                 mems_allowed=0,oom_memcg={cgroup},task_memcg={cgroup},task=python3,pid=77,uid=0\n"
            );
            let kill = parse(&record, Duration::from_secs(65)).unwrap();
            assert_eq!(kill.container, id);
            assert_eq!(kill.task, "python3");
            assert_eq!(kill.ago, Duration::from_secs(60));
        }
    }

    #[test]
    fn other_records_are_passed_over() {
        for record in [
            "6,1,2,-;Out of memory: Killed process 77 (python3)\n",
            "6,1,2,-;oom-kill:constraint=CONSTRAINT_NONE,task_memcg=/user.slice,task=x,pid=1\n",
            "6,1",
            "",
        ] {
            assert_eq!(parse(record, Duration::ZERO), None, "{record}");
        }
    }
}
