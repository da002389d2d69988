//! A watch in the background, and what it says.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

use super::PATIENCE;
use crate::harness::{Home, until};

/// A watch in the background, every five seconds.
pub struct Watching {
    pub child: Child,
    lines: Arc<Mutex<String>>,
}

impl Watching {
    pub fn begin(home: &Home) -> Self {
        Self::with(home, Arc::default(), "5s")
    }

    /// One that goes on where another one has ended.
    pub fn after(home: &Home, other: Self) -> Self {
        Self::with(home, Arc::clone(&other.lines), "5s")
    }

    pub fn every(home: &Home, interval: &str) -> Self {
        Self::with(home, Arc::default(), interval)
    }

    fn with(home: &Home, lines: Arc<Mutex<String>>, interval: &str) -> Self {
        let mut child = home
            .command(&["watch", "-v", "--interval", interval])
            // As systemd does; here mostly nobody listens.
            .env("NOTIFY_SOCKET", home.folder.join("notify"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let heard = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                *heard.lock().unwrap() += &(line + "\n");
            }
        });
        Self { child, lines }
    }

    pub fn said(&self) -> String {
        self.lines.lock().unwrap().clone()
    }

    /// Waits for so many more rounds.
    #[track_caller]
    pub fn more_looks(&mut self, count: usize) {
        let looks = |said: &str| said.matches("looked at").count();
        // The one under way may have begun before.
        let wanted = looks(&self.said()) + count + 1;
        until("it has looked again", PATIENCE, || {
            assert!(self.child.try_wait().unwrap().is_none(), "{}", self.said());
            looks(&self.said()) >= wanted
        });
    }

    /// Tells it to end; its exit code.
    pub fn end(&mut self) -> i32 {
        self.end_by(15)
    }

    pub fn end_by(&mut self, signal: i32) -> i32 {
        let pid = rustix::process::Pid::from_child(&self.child);
        let signal = rustix::process::Signal::from_named_raw(signal).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
