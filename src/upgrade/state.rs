//! How far an upgrade, or the way back from one, is: on disk before each step that a later run has
//! to know of. And the last one that has ended, to which `ooy rollback` goes back.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::catalogue::App;
use super::procedure::{self, Procedure};
use crate::host::files;

const FILE: &str = "upgrade.json";

/// An upgrade that has begun and not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Version of this form.
    pub schema: u32,
    /// What is upgraded.
    pub app: App,
    /// All its legs.
    pub legs: Vec<Step>,
    /// The leg that is under way, from 0.
    pub at: usize,
    /// How far that leg is.
    pub phase: Phase,
    /// When it began.
    pub began: Timestamp,
    /// The services that ran then, and are to run again.
    pub services: Vec<String>,
    /// The database's name.
    pub database: String,
    /// What the copy of the database is called, from before this leg.
    pub kept: String,
    /// Whether that copy is complete, and the present database may have been changed.
    pub copied: bool,
    /// The proved backup of this leg.
    pub backup: Option<String>,
    /// Since when the web is closed; `None`: it is open.
    pub closed: Option<Timestamp>,
    /// The same for courier.
    #[serde(default)]
    pub courier_closed: Option<Timestamp>,
    /// How long the web was closed, and how long courier, milliseconds, all legs so far.
    pub down_ms: (u64, u64),
    /// The way back of the leg before, to be dropped when this one has ended.
    #[serde(default)]
    pub earlier: Option<String>,
    /// A person sees to it if it fails.
    pub no_rollback: bool,
    /// The wiki's sequence: the new mailroom runs without workers while the database is migrated.
    pub wiki_order: bool,
    /// It is a rollback: what is replaced is kept.
    pub rollback: bool,
    /// The command by which it was begun, without the program's name.
    #[serde(default)]
    pub asked: String,
}

/// A leg of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// From which version.
    pub from: String,
    /// To which.
    pub to: String,
    /// The settings that name images: name, value before, value after.
    pub images: Vec<(String, String, String)>,
}

/// How far a leg is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Images are pulled, the database is backed up and the backup proved; the old version serves.
    Preparing,
    /// What writes is being stopped, behind the closed door from the web on.
    Stopping,
    /// Nobody writes; the database is being copied.
    Copying,
    /// The database is being migrated.
    Migrating,
    /// The new version is being started.
    Starting,
    /// It runs, and is being tried behind the closed door.
    Checking,
    /// It was tried, and the way back is noted; people and messages are let in. From here on it is
    /// not taken back: they write.
    Opening,
    /// It is being taken back.
    Undoing,
}

impl Phase {
    /// In words, for a person who finds it cut off.
    pub fn words(self) -> &'static str {
        match self {
            Self::Preparing => "it was being prepared; the old version serves",
            Self::Stopping => "the old version was being stopped",
            Self::Copying => "the old version is stopped, its database was being copied",
            Self::Migrating => "the database was being migrated",
            Self::Starting => "the new version was being started",
            Self::Checking => "the new version runs behind a closed door, and was being tried",
            Self::Opening => "the new version was tried, and the door was being opened",
            Self::Undoing => "it was being taken back",
        }
    }
}

/// An upgrade that has come to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgraded {
    /// Version of this form.
    pub schema: u32,
    /// What was upgraded.
    pub app: App,
    /// Its last leg.
    pub step: Step,
    /// The database.
    pub database: String,
    /// The copy of it from before.
    pub kept: String,
    /// The proved backup from before.
    pub backup: Option<String>,
    /// Since when the new version serves: what was written since is not in the copy.
    pub since: Timestamp,
    /// For how long the web was closed, and courier away, milliseconds a leg.
    pub down_ms: (u64, u64),
}

impl State {
    /// The leg that is under way.
    pub fn step(&self) -> &Step {
        // `at` never passes the last: the state is gone then.
        &self.legs[self.at.min(self.legs.len() - 1)]
    }

    /// The services that nobody else may start until it has ended: none while it is being prepared,
    /// since the old version serves, and nothing was changed.
    pub fn holds(&self) -> impl Iterator<Item = &'static str> {
        let procedure = (self.phase != Phase::Preparing).then(|| procedure::of(self.app));
        procedure.into_iter().flat_map(Procedure::services)
    }

    /// Whether it can still be taken back without losing anything: nobody has written yet.
    pub fn can_be_undone(&self) -> bool {
        !self.rollback && self.phase != Phase::Opening
    }

    /// One that begins now.
    pub fn begin(app: App, legs: Vec<Step>, database: &str, kept: String) -> Self {
        Self {
            schema: 1,
            app,
            legs,
            at: 0,
            phase: Phase::Preparing,
            began: Timestamp::now(),
            services: Vec::new(),
            database: database.to_owned(),
            kept,
            copied: false,
            backup: None,
            closed: None,
            courier_closed: None,
            earlier: None,
            down_ms: (0, 0),
            no_rollback: false,
            wiki_order: false,
            rollback: false,
            asked: String::new(),
        }
    }

    /// Notes how far it is.
    pub fn write(&self, state: &Path) -> io::Result<()> {
        write(&state.join(FILE), self)
    }

    /// `upgrade of RapidPro from 6.4.8 to 7.0.4`
    pub fn name(&self) -> String {
        let what = if self.rollback { "rollback" } else { "upgrade" };
        let (step, label) = (self.step(), self.app.label());
        let (from, to) = match self.rollback {
            true => (&step.to, &step.from),
            false => (&step.from, &step.to),
        };
        format!("{what} of {label} from {from} to {to}")
    }
}

impl Upgraded {
    /// Keeps it, in the place of the one before.
    pub fn write(&self, state: &Path) -> io::Result<()> {
        write(&last_file(state, self.app), self)
    }

    /// For how long the web was closed, and courier away.
    pub fn down(&self) -> (Duration, Duration) {
        let (web, courier) = self.down_ms;
        (Duration::from_millis(web), Duration::from_millis(courier))
    }
}

/// What is under way; `None`: nothing.
pub fn read(state: &Path) -> io::Result<Option<State>> {
    let read: Option<State> = read_from(&state.join(FILE))?;
    match read {
        Some(state) if state.legs.is_empty() => Err(io::Error::other("it names no version")),
        other => Ok(other),
    }
}

/// The last that has ended; `None`: none, or its way back was gone.
pub fn last(state: &Path, app: App) -> io::Result<Option<Upgraded>> {
    read_from(&last_file(state, app))
}

fn last_file(state: &Path, app: App) -> PathBuf {
    state.join(format!("upgraded-{}.json", app.name()))
}

/// It has ended.
pub fn remove(state: &Path) -> io::Result<()> {
    remove_file(state, &state.join(FILE))
}

/// There is nothing any more that could be gone back to.
pub fn forget_last(state: &Path, app: App) -> io::Result<()> {
    remove_file(state, &last_file(state, app))
}

fn remove_file(state: &Path, file: &Path) -> io::Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => {
            other?;
            std::fs::File::open(state)?.sync_all()
        }
    }
}

fn read_from<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => Ok(Some(serde_json::from_slice(&other?)?)),
    }
}

fn write(path: &Path, value: &impl Serialize) -> io::Result<()> {
    files::write_atomic(path, &serde_json::to_vec_pretty(value)?, 0o600)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn state() -> State {
        State {
            schema: 1,
            app: App::Rapidpro,
            legs: vec![Step {
                from: "6.4.8".to_owned(),
                to: "7.0.4".to_owned(),
                images: vec![(
                    "RAPIDPRO_IMAGE".to_owned(),
                    "r:v6.4.8".to_owned(),
                    "r:v7.0.4".to_owned(),
                )],
            }],
            at: 0,
            phase: Phase::Preparing,
            began: Timestamp::UNIX_EPOCH,
            services: vec!["rapidpro".to_owned()],
            database: "rapidpro".to_owned(),
            kept: "rapidpro_before_19700101_000000".to_owned(),
            copied: false,
            backup: None,
            closed: None,
            courier_closed: None,
            earlier: None,
            down_ms: (0, 0),
            no_rollback: false,
            wiki_order: false,
            rollback: false,
            asked: String::new(),
        }
    }

    #[test]
    fn what_is_under_way_is_read_back_until_it_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()).unwrap(), None);
        let state = state();
        state.write(folder.path()).unwrap();
        assert_eq!(read(folder.path()).unwrap(), Some(state.clone()));
        assert_eq!(state.name(), "upgrade of RapidPro from 6.4.8 to 7.0.4");
        remove(folder.path()).unwrap();
        remove(folder.path()).unwrap();
        assert_eq!(read(folder.path()).unwrap(), None);
    }

    #[test]
    fn a_state_without_a_leg_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = state();
        state.legs.clear();
        state.write(folder.path()).unwrap();
        assert!(read(folder.path()).is_err());
    }
}
