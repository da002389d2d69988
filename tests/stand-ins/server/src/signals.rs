//! Signals, taken by one thread with sigwait.
//!
//! Until a service has reached the point where the real one installs its handlers, a signal
//! does what it does to a program without any.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::process;

const HANDLED: [i32; 5] =
    [process::SIGHUP, process::SIGINT, process::SIGQUIT, process::SIGTERM, process::SIGUSR1];

pub struct Signals {
    received: Receiver<i32>,
    armed: Arc<AtomicBool>,
}

impl Signals {
    /// Must be called before any other thread is started.
    pub fn take(unhandled: fn(i32) -> !) -> Self {
        process::block_signals(&HANDLED);
        let armed = Arc::new(AtomicBool::new(false));
        let (sender, received) = channel();
        let is_armed = armed.clone();
        std::thread::spawn(move || {
            loop {
                let signal = process::wait_for_signal(&HANDLED);
                if !is_armed.load(Ordering::SeqCst) {
                    unhandled(signal);
                }
                if sender.send(signal).is_err() {
                    return;
                }
            }
        });
        Self { received, armed }
    }

    /// From here on signals come out of `next`.
    pub fn arm(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }

    pub fn next(&self) -> i32 {
        // The other end lives as long as the process.
        self.received.recv().unwrap_or(process::SIGTERM)
    }

    pub fn next_within(&self, limit: Duration) -> Option<i32> {
        self.received.recv_timeout(limit).ok()
    }
}

/// What a Go program without handlers does. As the first process of a container it cannot
/// be killed by its own signal, and the runtime then ends with 2.
pub fn unhandled_in_go(signal: i32) -> ! {
    if signal == process::SIGQUIT {
        eprintln!(
            "SIGQUIT: quit\nPC=0x46e2a1 m=0 sigcode=0\n\ngoroutine 0 [idle]:\nruntime.futex()"
        );
        std::process::exit(2);
    }
    process::die_by(signal);
    std::process::exit(2)
}

/// The names that Go's os.Signal prints.
pub fn go_name(signal: i32) -> &'static str {
    match signal {
        process::SIGHUP => "hangup",
        process::SIGINT => "interrupt",
        process::SIGQUIT => "quit",
        process::SIGTERM => "terminated",
        _ => "user defined signal 1",
    }
}
