//! A PBX without its Asterisk: a spool, settings, and a RapidPro in this process. What it hands
//! in is remembered, so that it can be said at the end whether all of it has arrived.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::{executable, until};
use crate::rapidpro_api::{Api, FLOW, TOKEN};
use crate::tracer::{self, Traced};

pub struct World {
    folder: tempfile::TempDir,
    pub api: Api,
    /// Calls handed in so far, and whether each was taken.
    pub calls: Vec<bool>,
    pub kills: usize,
}

impl World {
    pub fn new() -> Self {
        // In memory where that is possible: what is tested here is kill -9, not the power cable.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() {
            tempfile::tempdir_in(memory).unwrap()
        } else {
            tempfile::tempdir().unwrap()
        };
        let api = Api::new([127, 0, 0, 1].into());
        let settings = format!(
            "RAPIDPRO_URL={}\nRAPIDPRO_TOKEN={TOKEN}\nRAPIDPRO_FLOW={FLOW}\n\
             TIME_ZONE=Africa/Nairobi\nCALLS_TIMEOUT=5s\nCALLS_SETTLE=0s\nCALLS_RETRY_MAX=1s\n",
            api.url()
        );
        let path = folder.path().join("ooy.env");
        std::fs::write(&path, settings).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        Self {
            folder,
            api,
            calls: Vec::new(),
            kills: 0,
        }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn spool(&self) -> PathBuf {
        self.folder.path().join("spool")
    }

    pub fn ooy(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(executable());
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .arg("--home")
            .arg(self.folder.path())
            .args(arguments);
        command
    }

    /// The handler for a call of its own, killed at its `kill_at`th system call.
    pub fn call(&mut self, number: &str, kill_at: Option<usize>) -> Traced {
        let index = self.calls.len();
        // What Asterisk writes first.
        let stdin = format!(
            "agi_request: /usr/local/bin/ooy\nagi_channel: SIP/trunk-{index:08}\n\
             agi_uniqueid: 1795345652.{index}\nagi_callerid: {number}\nagi_arg_1: agi\n\n"
        );
        let mut command = self.ooy(&[
            "agi",
            number,
            "2026-11-22T10:00:00",
            "2026-11-22T10:01:00",
            "inbound",
        ]);
        let traced = tracer::run(&mut command, stdin.as_bytes(), kill_at);
        let taken = traced.status.success() || traced.stdout.contains("OOY_STATUS queued");
        self.calls.push(taken);
        self.kills += usize::from(traced.killed);
        traced
    }

    /// The same while this process holds the deliverer's lock, so that none is started.
    pub fn call_without_deliverer(&mut self, number: &str, kill_at: Option<usize>) -> Traced {
        std::fs::create_dir_all(self.spool()).unwrap();
        let lock = File::options()
            .create(true)
            .append(true)
            .open(self.spool().join("deliverer.lock"))
            .unwrap();
        // Another thread's child holds a copy of every descriptor until its exec, and so may hold
        // this lock of a moment ago.
        until("nobody delivers", Duration::from_secs(5), || {
            // SAFETY: plain system call on a descriptor that is open.
            unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) == 0 }
        });
        self.call(number, kill_at)
    }

    pub fn deliver_killed(&mut self, kill_at: Option<usize>) -> Traced {
        let traced = tracer::run(&mut self.ooy(&["calls", "deliver"]), b"", kill_at);
        self.kills += usize::from(traced.killed);
        traced
    }

    /// What lies where in the spool, for a failing test.
    pub fn describe(&self) -> String {
        let count =
            |folder: &str| std::fs::read_dir(self.spool().join(folder)).map_or(0, Iterator::count);
        let counts = ["tmp", "batch", "new", "sending", "sent", "dead", "damaged"]
            .map(|folder| format!("{folder} {}", count(folder)));
        format!(
            "{} calls, {} told; {}; deliverers {:?}\n{}",
            self.calls.len(),
            self.api.starts().len(),
            counts.join(", "),
            self.deliverers(),
            std::fs::read_to_string(self.spool().join("state.json")).unwrap_or_default()
        )
    }

    /// Delivers until nothing waits.
    #[track_caller]
    pub fn deliver(&self) {
        let output = self
            .ooy(&["calls", "deliver"])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{:?}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Deliverers that handlers have started, found by this world's folder on their command
    /// line, are killed as well.
    pub fn kill_deliverers(&mut self) {
        for pid in self.deliverers() {
            // SAFETY: plain system call; the process is one that this test's handler started.
            if unsafe { libc::kill(pid, libc::SIGKILL) } == 0 {
                self.kills += 1;
            }
        }
        until("they are gone", Duration::from_secs(5), || {
            self.deliverers().is_empty()
        });
    }

    pub fn deliverers(&self) -> Vec<libc::pid_t> {
        let folder = self.folder.path().to_str().unwrap();
        std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|pid: &libc::pid_t| {
                let about = format!("/proc/{pid}");
                let line = std::fs::read(format!("{about}/cmdline")).unwrap_or_default();
                let environment = std::fs::read(format!("{about}/environ")).unwrap_or_default();
                [line, environment]
                    .iter()
                    .any(|text| String::from_utf8_lossy(text).contains(folder))
            })
            .collect()
    }

    /// Every call that was taken has been told, none twice, and nothing is left lying about.
    #[track_caller]
    pub fn assert_exactly_once(&self) {
        let mut told: BTreeMap<String, usize> = BTreeMap::new();
        for start in self.api.starts() {
            *told.entry(start.param("call_id").to_owned()).or_default() += 1;
        }
        let twice: Vec<&String> = told
            .iter()
            .filter(|(_, times)| **times > 1)
            .map(|(id, _)| id)
            .collect();
        assert!(twice.is_empty(), "told twice: {twice:?}");
        let lost: Vec<usize> = (0..self.calls.len())
            .filter(|index| self.calls[*index])
            .filter(|index| {
                let prefix = format!("1795345652.{index}-");
                !told.keys().any(|id| id.starts_with(&prefix))
            })
            .collect();
        assert!(lost.is_empty(), "taken and never told: {lost:?}");
        for folder in ["new", "sending", "batch", "dead", "damaged"] {
            let left: Vec<_> = std::fs::read_dir(self.spool().join(folder))
                .into_iter()
                .flatten()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            assert!(left.is_empty(), "left in {folder}: {left:?}");
        }
        self.api.assert_no_mistakes();
    }
}

/// Numbers of the tests' callers.
pub fn number(index: usize) -> String {
    format!("0712{index:06}")
}
