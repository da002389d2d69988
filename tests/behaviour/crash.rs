//! `kill -9` at every system call of the handler and of the deliverer: no call that was taken is
//! lost, and none is told twice.
//!
//! A crash is followed by what follows it in life: the next call, or the next deliverer. RapidPro
//! is rapidpro_api.rs, which finishes what it has received before it answers anything newer; so
//! no time has to pass before it is asked what became of a request (CALLS_SETTLE=0s).

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::{executable, until};
use crate::rapidpro_api::{Api, FLOW, TOKEN};
use crate::tracer::{self, Traced};

/// A PBX without its Asterisk: a spool, settings, and a RapidPro.
struct World {
    folder: tempfile::TempDir,
    api: Api,
    /// Calls handed in so far, and whether each was taken.
    calls: Vec<bool>,
    kills: usize,
}

impl World {
    fn new() -> Self {
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

    fn spool(&self) -> PathBuf {
        self.folder.path().join("spool")
    }

    fn ooy(&self, arguments: &[&str]) -> Command {
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
    fn call(&mut self, number: &str, kill_at: Option<usize>) -> Traced {
        let index = self.calls.len();
        // What Asterisk writes, and its answer to SET VARIABLE.
        let stdin = format!(
            "agi_request: /usr/local/bin/ooy\nagi_channel: SIP/trunk-{index:08}\n\
             agi_uniqueid: 1795345652.{index}\nagi_callerid: {number}\nagi_arg_1: agi\n\n\
             200 result=1\n"
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
    fn call_without_deliverer(&mut self, number: &str, kill_at: Option<usize>) -> Traced {
        std::fs::create_dir_all(self.spool()).unwrap();
        let lock = File::options()
            .create(true)
            .append(true)
            .open(self.spool().join("deliverer.lock"))
            .unwrap();
        // SAFETY: plain system call on a descriptor that is open.
        let locked = unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
        assert_eq!(locked, 0, "nobody delivers");
        self.call(number, kill_at)
    }

    fn deliver_killed(&mut self, kill_at: Option<usize>) -> Traced {
        let traced = tracer::run(&mut self.ooy(&["calls", "deliver"]), b"", kill_at);
        self.kills += usize::from(traced.killed);
        traced
    }

    /// Delivers until nothing waits.
    #[track_caller]
    fn deliver(&self) {
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
    fn kill_deliverers(&mut self) {
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

    fn deliverers(&self) -> Vec<libc::pid_t> {
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
    fn assert_exactly_once(&self) {
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

#[test]
fn a_thousand_kills_lose_no_call_and_tell_none_twice() {
    type Scenario = fn() -> usize;
    let scenarios: [(&str, Scenario); 5] = [
        ("handler", handler_is_killed),
        ("handler and its deliverer", both_are_killed),
        ("deliverer, known contact", || deliverer_is_killed(true, 1)),
        ("deliverer, new contact", || deliverer_is_killed(false, 1)),
        ("deliverer, three calls", || deliverer_is_killed(true, 3)),
    ];
    let kills = std::thread::scope(|scope| {
        // Named, so that a failure says which it was.
        let threads = scenarios.map(|(name, scenario)| {
            let thread = std::thread::Builder::new().name(name.to_owned());
            (name, thread.spawn_scoped(scope, scenario).unwrap())
        });
        threads.map(|(name, thread)| (name, thread.join().unwrap_or(0)))
    });
    let all: usize = kills.iter().map(|(_, kills)| kills).sum();
    assert!(
        kills.iter().all(|(_, kills)| *kills > 0),
        "a scenario failed: {kills:?}"
    );
    assert!(all >= 1000, "only {all} kills: {kills:?}");
}

/// The handler, while somebody else delivers: first into a spool that does not exist yet, so
/// that making it is interrupted too; then into one that is in use.
fn handler_is_killed() -> usize {
    let mut kills = 0;
    for kill_at in 1.. {
        let mut world = World::new();
        let first = world.call_without_deliverer(&number(0), Some(kill_at));
        // The same caller again: a call of its own.
        let second = world.call_without_deliverer(&number(0), None);
        assert!(second.status.success(), "{second:?}");
        world.deliver();
        world.assert_exactly_once();
        kills += world.kills;
        if !first.killed {
            assert!(first.status.success(), "{first:?}");
            break;
        }
        assert_eq!(first.status.signal(), Some(libc::SIGKILL));
    }
    let mut world = World::new();
    for kill_at in 1.. {
        let traced = world.call_without_deliverer(&number(kill_at % 7), Some(kill_at));
        if !traced.killed {
            break;
        }
    }
    world.deliver();
    world.assert_exactly_once();
    kills + world.kills
}

/// The handler and the deliverer that it starts, which is killed too, wherever it is by then.
fn both_are_killed() -> usize {
    let mut world = World::new();
    for kill_at in 1.. {
        let traced = world.call(&number(kill_at), Some(kill_at));
        world.kill_deliverers();
        if !traced.killed {
            assert!(traced.status.success(), "{traced:?}");
            break;
        }
    }
    // The next call's deliverer takes along what the dead ones left.
    assert!(world.call(&number(0), None).status.success());
    let taken = world.calls.iter().filter(|taken| **taken).count();
    until(
        "the last deliverer is done",
        Duration::from_secs(30),
        || world.api.starts().len() >= taken,
    );
    world.kill_deliverers();
    world.deliver();
    world.assert_exactly_once();
    world.kills
}

/// The deliverer, at each system call, with so many calls waiting; then the one that makes up
/// for it, somewhere.
fn deliverer_is_killed(known: bool, calls: usize) -> usize {
    let mut kills = 0;
    let mut world = World::new();
    for kill_at in 1.. {
        if kill_at % 50 == 0 {
            // One that asks what became of a call reads all starts of the last minutes.
            world.assert_exactly_once();
            kills += world.kills;
            world = World::new();
        }
        for call in 0..calls {
            // Two calls of one contact, then one of another.
            let number = number(world.calls.len() - call + call / 2);
            if known {
                world
                    .api
                    .add_contact(&[&format!("tel:+254{}", &number[1..])]);
            }
            let handed_in = world.call_without_deliverer(&number, None);
            assert!(handed_in.status.success(), "{handed_in:?}");
        }
        let first = world.deliver_killed(Some(kill_at));
        if first.killed {
            world.deliver_killed(Some(1 + kill_at * 7 % 250));
        }
        world.deliver();
        if !first.killed {
            assert!(first.status.success(), "{first:?}");
            break;
        }
    }
    world.assert_exactly_once();
    kills + world.kills
}

/// Numbers of the test's callers.
fn number(index: usize) -> String {
    format!("0712{index:06}")
}
