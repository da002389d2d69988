//! `kill -9` on the way: the executable on disk always runs, and the next run finishes what was begun.

use super::Host;
use super::made::{Made, NEW, OLD};
use crate::tracer::{self, Traced};

/// The system calls by which something becomes another thing on disk.
const CHANGES: &[i64] = &[
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_link,
    libc::SYS_linkat,
    libc::SYS_mkdir,
    libc::SYS_mkdirat,
    libc::SYS_unlink,
    libc::SYS_unlinkat,
    libc::SYS_rmdir,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_fchmod,
    libc::SYS_chmod,
    libc::SYS_execve,
    libc::SYS_flock,
];

/// Kills it before the so-manieth call that changes something, or before each so-manieth of all.
#[derive(Clone, Copy)]
enum At {
    Change(usize),
    Call(usize),
}

fn killed(host: &Host, arguments: &[&str], at: At) -> Traced {
    let mut changes = 0;
    tracer::run_until(&mut host.command(arguments), b"", move |count, call| {
        if CHANGES.contains(&call) {
            changes += 1;
        }
        match at {
            At::Change(which) => CHANGES.contains(&call) && changes == which,
            At::Call(which) => count == which,
        }
    })
}

/// What is left runs, and says that it is one of both.
fn runs(host: &Host) -> String {
    let mut command = host.command(&["--json", "self-check"]);
    let ran = crate::harness::Ran::of(&command.output().unwrap()).expect(0);
    ran.json()["version"].as_str().unwrap().to_owned()
}

#[test]
fn an_update_killed_anywhere_leaves_one_that_runs_and_updates() {
    let from = Made::get().releases.display().to_string();
    let update = ["--yes", "self-update", "--from", &from];
    let whole = killed(&Host::new(), &update, At::Change(0));
    assert!(whole.status.success(), "{whole:?}");
    // Each change, and some thirty places in between.
    let between = (1..30).map(|part| At::Call(part * whole.system_calls / 30));
    let changes = (1..).map(At::Change);
    let (mut kills, mut replaced) = (0, 0);
    let mut at_once = |host: &Host, at| {
        let traced = killed(host, &update, at);
        if !traced.killed {
            return false;
        }
        kills += 1;
        replaced += usize::from(runs(host) == NEW);
        host.ooy(&update).expect(0);
        assert_eq!(runs(host), NEW);
        assert_eq!(host.listing(), ["ooy", "ooy.previous"]);
        true
    };
    for at in changes {
        if !at_once(&Host::new(), at) {
            break;
        }
    }
    for at in between {
        at_once(&Host::new(), at);
    }
    assert!(
        kills > 30 && replaced > 3 && replaced < kills,
        "{replaced} of {kills}"
    );
}

#[test]
fn a_way_back_killed_anywhere_leaves_one_that_runs() {
    let back = ["--yes", "self-update", "--rollback"];
    let mut kills = 0;
    for which in 1.. {
        let host = Host::new();
        host.put(NEW, &host.previous());
        let traced = killed(&host, &back, At::Change(which));
        if !traced.killed {
            assert!(traced.status.success(), "{traced:?}");
            break;
        }
        kills += 1;
        let now = runs(&host);
        let other = if now == OLD { NEW } else { OLD };
        host.is(&host.previous(), other);
        host.ooy(&back).expect(0);
        host.is(&host.executable(), other);
        host.is(&host.previous(), &now);
        assert_eq!(host.listing(), ["ooy", "ooy.previous"]);
    }
    assert!(kills >= 5, "{kills}");
}
