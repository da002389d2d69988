//! How the queue as a whole is: for `ooy calls list`, and so that a failure is reported once.

use std::io;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::write::read_record_file;
use super::{Deliverer, Spool};
use crate::host::files;

const FILE: &str = "state.json";

/// Why nothing at all is delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// For machines: `token-refused`.
    pub code: String,
    /// For people.
    pub text: String,
    /// Since when.
    pub since: Timestamp,
    /// Whether it has been reported.
    #[serde(default)]
    pub reported: bool,
}

/// How the queue is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueState {
    /// Set while something keeps all calls from being delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
    /// When RapidPro last took a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Timestamp>,
    /// When it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<Timestamp>,
    /// The latest thing that went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

impl Spool {
    /// How the queue is; what cannot be read is as if nothing was known.
    pub fn state(&self) -> QueueState {
        match read_record_file(&self.root().join(FILE)) {
            Ok(Ok(bytes)) => serde_json::from_slice(&bytes).unwrap_or_default(),
            _ => QueueState::default(),
        }
    }
}

impl Deliverer {
    /// Writes down how the queue is, if that has changed.
    pub fn set_state(&self, state: &QueueState) -> io::Result<()> {
        if self.state() == *state {
            return Ok(());
        }
        let content = serde_json::to_vec(state)?;
        let _owner = self.as_owner();
        let path = self.root().join(FILE);
        files::write_atomic(&path, &content, 0o600)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_kept_and_a_damaged_one_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path());
        assert_eq!(spool.state(), QueueState::default());
        let deliverer = spool.deliver().unwrap();
        let state = QueueState {
            stopped: Some(Stopped {
                code: "token-refused".into(),
                text: "RapidPro refuses the token".into(),
                since: "2026-11-22T08:00:00Z".parse().unwrap(),
                reported: true,
            }),
            ..QueueState::default()
        };
        deliverer.set_state(&state).unwrap();
        assert_eq!(spool.state(), state);
        std::fs::write(folder.path().join(FILE), b"{").unwrap();
        assert_eq!(spool.state(), QueueState::default());
    }
}
