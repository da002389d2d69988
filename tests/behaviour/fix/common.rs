//! What a repair has said, and what tests ask of it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use crate::harness::{Home, Ran};

impl Home {
    /// `ooy --yes fix ...`.
    pub fn fix(&self, arguments: &[&str]) -> Ran {
        self.ooy(&[&["--yes", "fix"], arguments].concat())
    }

    /// Repairs, with success; what it said for people.
    #[track_caller]
    pub fn fixes(&self, arguments: &[&str]) -> String {
        self.fix(arguments).expect(0).stderr
    }

    /// The repair finds nothing to do, and does nothing: harmless.
    #[track_caller]
    pub fn has_nothing_to_fix(&self, arguments: &[&str]) {
        let said = self.fixes(arguments);
        assert!(said.contains("nothing to fix"), "{said}");
        assert!(!said.contains("will do"), "{said}");
    }
}

/// A repair in the background, at the moment when an event was told.
pub struct UnderWay {
    child: Child,
}

impl Home {
    /// Begins a repair, and waits until it has told of this step and event (of that service, if one
    /// is named).
    pub fn fix_until(&self, arguments: &[&str], step: &str, event: &str) -> UnderWay {
        let mut child = self
            .command(&[&["--yes", "--json", "fix"], arguments].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut told = String::new();
        let found = lines.any(|line| {
            let line = line.unwrap();
            told += &format!("{line}\n");
            serde_json::from_str(&line)
                .is_ok_and(|it: serde_json::Value| it["step"] == step && it["event"] == event)
        });
        assert!(found, "{step} was never {event}:\n{told}");
        // Its pipe stays open to the end: a closed one must not be what ends it.
        std::thread::spawn(move || lines.for_each(drop));
        UnderWay { child }
    }
}

impl UnderWay {
    /// `kill -9`
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
