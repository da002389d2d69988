//! Waiting and replacing. The only file here with `unsafe` in it.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

const SIGINT: i32 = 2;
const SIGQUIT: i32 = 3;
const SIGTERM: i32 = 15;

unsafe extern "C" {
    fn signal(number: i32, handler: usize) -> usize;
    fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
    fn _exit(code: i32) -> !;
}

extern "C" fn end(number: i32) {
    // SAFETY: _exit is async-signal-safe.
    unsafe { _exit(128 + number) }
}

/// Sleep, but end on the signals that stop a container: the first process of one has no
/// default action for them, and a real service would long have had its handlers.
pub fn sleep_until_told(limit: Option<Duration>) {
    for number in [SIGINT, SIGQUIT, SIGTERM] {
        // SAFETY: `end` has the signature of a handler and calls only _exit.
        unsafe { signal(number, end as extern "C" fn(i32) as usize) };
    }
    match limit {
        Some(limit) => std::thread::sleep(limit),
        None => loop {
            std::thread::sleep(Duration::from_secs(3600));
        },
    }
    for number in [SIGINT, SIGQUIT, SIGTERM] {
        // SAFETY: 0 is SIG_DFL.
        unsafe { signal(number, 0) };
    }
}

pub fn wait_for(pid: u32) {
    // SAFETY: waits for our own child; the status is a live local.
    unsafe { waitpid(pid as i32, &mut 0, 0) };
}

pub fn exec(command: &[String], variables: &[(&str, String)]) -> ! {
    let problem = Command::new(&command[0])
        .args(&command[1..])
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .exec();
    eprintln!("stand-in: {}: {problem}", command[0]);
    std::process::exit(127)
}
