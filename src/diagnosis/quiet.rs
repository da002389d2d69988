//! A check that panics becomes a finding: nobody else is to be told of it.

use std::cell::Cell;
use std::marker::PhantomData;

use super::check;

thread_local! {
    static RUNS: Cell<u32> = const { Cell::new(0) };
}

/// While this lives, whatever this thread does is a run of checks.
pub struct Quiet(PhantomData<*const ()>);

impl Quiet {
    /// A run begins.
    pub fn new() -> Self {
        RUNS.set(RUNS.get() + 1);
        Self(PhantomData)
    }

    /// Whether a panic of this thread, at this moment, is one of a check.
    pub fn is_on() -> bool {
        RUNS.get() > 0 || std::thread::current().name() == Some(check::THREAD)
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        RUNS.set(RUNS.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_quiet_in_a_run_and_on_a_checks_own_thread_only() {
        assert!(!Quiet::is_on());
        let outer = Quiet::new();
        drop(Quiet::new());
        assert!(Quiet::is_on());
        drop(outer);
        assert!(!Quiet::is_on());
        let named = std::thread::Builder::new().name(check::THREAD.into());
        assert!(named.spawn(Quiet::is_on).unwrap().join().unwrap());
    }
}
