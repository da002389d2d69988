//! `kill -9` at every system call of the handler and of the deliverer: no call that was taken is
//! lost, and none is told twice.
//!
//! A crash is followed by what follows it in life: the next call, or the next deliverer. RapidPro
//! is rapidpro_api.rs, which finishes what it has received before it answers anything newer; so
//! no time has to pass before it is asked what became of a request (CALLS_SETTLE=0s).

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use crate::world::{World, number};

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
    #[expect(clippy::print_stderr)]
    {
        eprintln!("{all} kills: {kills:?}");
    }
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
    // The next call's deliverer takes along what the dead ones left. A call that comes while one
    // is dying may still find its lock held; then it is the one after that.
    let taken = world.calls.iter().filter(|taken| **taken).count();
    assert!(taken > 0);
    let began = Instant::now();
    while world.api.starts().len() <= taken {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "the last deliverer is not done: {}",
            world.describe()
        );
        if world.deliverers().is_empty() {
            assert!(world.call(&number(0), None).status.success());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    world.kill_deliverers();
    world.deliver();
    world.assert_exactly_once();
    world.kills
}

/// The deliverer, at each system call, with so many calls waiting; then the one that makes up
/// for it, somewhere. A world of its own for each: in one that fills up, the calls into the kernel
/// that matter would come later each time.
fn deliverer_is_killed(known: bool, calls: usize) -> usize {
    let mut kills = 0;
    for kill_at in 1.. {
        let mut world = World::new();
        for call in 0..calls {
            // Two calls of one contact, then one of another.
            let number = number(call / 2);
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
            world.deliver_killed(Some(1 + kill_at * 7 % 400));
        }
        world.deliver();
        world.assert_exactly_once();
        kills += world.kills;
        if !first.killed {
            assert!(first.status.success(), "{first:?}");
            break;
        }
    }
    kills
}
