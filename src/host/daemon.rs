//! Daemons of this host: what they run as, how they are started, and programs run as their user.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::cmd::{self, Output};
use super::process;

/// Whether systemd is this host's init (`sd_booted(3)`).
pub fn has_systemd() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// The unit of systemd that a process belongs to: `postgresql@15-main.service`. None where systemd
/// does not run, or did not start it.
pub fn unit_of(pid: u32) -> Option<String> {
    if !has_systemd() {
        return None;
    }
    unit_in(&fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?)
}

/// The unit in `/proc/PID/cgroup` (cgroups(7)): the end of the path in systemd's own hierarchy.
fn unit_in(cgroup: &str) -> Option<String> {
    cgroup.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_, hierarchy, path) = (fields.next()?, fields.next()?, fields.next()?);
        let unit = path.rsplit('/').next()?;
        // User sessions run programs as `.scope`, which cannot be started anew.
        (matches!(hierarchy, "" | "name=systemd") && unit.ends_with(".service"))
            .then(|| unit.to_owned())
    })
}

/// The user that a daemon runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// His name.
    pub name: String,
    /// His number.
    pub uid: u32,
    /// His group's number.
    pub gid: u32,
}

impl User {
    /// The user of that number, if /etc/passwd has one.
    pub fn of(uid: u32) -> Option<Self> {
        let name = process::name_of(uid)?;
        let (uid, gid) = process::user_ids(&name)?;
        Some(Self { name, uid, gid })
    }

    /// Whether we may run programs as this user.
    pub fn is_ours(&self) -> bool {
        process::is_root() || rustix::process::geteuid().as_raw() == self.uid
    }

    /// Runs a program as this user. The same rules hold as for [`cmd::run`].
    pub async fn run(
        &self,
        program: &str,
        arguments: &[&str],
        deadline: Duration,
    ) -> io::Result<Output> {
        self.run_with(&[], program, arguments, &[], deadline).await
    }

    /// The same for a program that reads a file of ours which this user may not read: with the right
    /// to read everything, which root had anyway. It ends with us.
    pub async fn run_reading(
        &self,
        program: &str,
        arguments: &[&str],
        environment: &[(String, String)],
        deadline: Duration,
    ) -> io::Result<Output> {
        let rights = [
            "--inh-caps=+dac_read_search",
            "--ambient-caps=+dac_read_search",
            // Lost with the change of the user.
            "--pdeathsig=TERM",
        ];
        self.run_with(&rights, program, arguments, environment, deadline)
            .await
    }

    /// `more`: what else setpriv is told, where the user is another one.
    async fn run_with(
        &self,
        more: &[&str],
        program: &str,
        arguments: &[&str],
        environment: &[(String, String)],
        deadline: Duration,
    ) -> io::Result<Output> {
        if rustix::process::geteuid().as_raw() == self.uid {
            return cmd::run(program, arguments, environment, deadline).await;
        }
        let (user, group) = (
            format!("--reuid={}", self.uid),
            format!("--regid={}", self.gid),
        );
        let mut all = vec![&*user, &*group, "--init-groups"];
        all.extend(more);
        all.extend(["--", program]);
        all.extend(arguments);
        cmd::run("setpriv", &all, environment, deadline).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_of_a_process_is_read_from_its_cgroup() {
        assert_eq!(
            unit_in("0::/system.slice/system-postgresql.slice/postgresql@15-main.service\n")
                .as_deref(),
            Some("postgresql@15-main.service")
        );
        assert_eq!(
            unit_in("12:pids:/a.service\n1:name=systemd:/system.slice/redis-server.service\n")
                .as_deref(),
            Some("redis-server.service")
        );
        for other in ["0::/user.slice/session-1.scope\n", "0::/\n", "nonsense", ""] {
            assert_eq!(unit_in(other), None, "{other}");
        }
    }
}
