//! What all services have in common before they begin: the steering, the record, and the
//! faults that come before readiness.

use std::sync::Arc;
use std::time::Duration;

use crate::signals::Signals;
use crate::steer::Steering;
use crate::{process, record};

pub struct Booted {
    pub steering: Arc<Steering>,
    pub signals: Signals,
}

/// `unhandled` is what a signal does to the real program before it has handlers.
pub fn begin(stand_in: &'static str, unhandled: fn(i32) -> !) -> Booted {
    let steering = Steering::of_this_process();
    // A bad control file has to be found before anything runs.
    steering.now();
    let signals = Signals::take(unhandled);
    record::write_soon(stand_in);
    Booted { steering: Arc::new(steering), signals }
}

impl Booted {
    /// The faults and delays of the time before readiness. `first_line` writes one line
    /// that the real service logs early on.
    pub fn hold_back(&self, first_line: impl FnOnce()) {
        let steer = self.steering.now();
        if let Some(code) = steer.exit_code {
            first_line();
            exit(code);
        }
        if steer.never_ready {
            loop {
                std::thread::park();
            }
        }
        if steer.boot_seconds > 0.0 {
            std::thread::sleep(Duration::from_secs_f64(steer.boot_seconds));
        }
    }
}

/// End with this code, but not before the record is out.
pub fn exit(code: i32) -> ! {
    record::wait();
    std::process::exit(code)
}

/// The stack of a thread that serves one connection: the deepest thing on it is a JSON
/// document of 128 levels.
pub const SMALL_STACK: usize = 512 * 1024;

pub fn spawn(name: &str, work: impl FnOnce() + Send + 'static) {
    let spawned = std::thread::Builder::new().name(name.into()).stack_size(SMALL_STACK).spawn(work);
    if let Err(problem) = spawned {
        eprintln!("ooy-stand-in: no thread for {name}: {problem}");
        process::die_by(process::SIGTERM);
        std::process::exit(70);
    }
}
