//! How far a restore is: on disk before each step that a later run has to know of.

use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::host::files;

const FILE: &str = "restore.json";

/// A restore that has begun and not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Version of this form.
    pub schema: u32,
    /// What is restored: a backup's id, or the name of a kept database.
    pub source: String,
    /// The backup's folder; none where a kept database is put back.
    pub backup: Option<std::path::PathBuf>,
    /// When it began.
    pub began: Timestamp,
    /// The services that ran then, and are to run again.
    pub services: Vec<String>,
    /// How far it is.
    pub phase: Phase,
    /// Its databases.
    pub databases: Vec<Replaced>,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Databases are being made beside the present ones, which are as they were.
    Loading,
    /// The new ones are complete and take the places of the present ones.
    Swapping,
    /// All have changed places; the services are being started.
    Starting,
    /// It is being taken back.
    Undoing,
}

/// A database that is replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    /// Whose: `rapidpro`.
    pub owner: String,
    /// Its name.
    pub database: String,
    /// The one that takes its place: made beside it, or kept by an earlier restore.
    pub new: String,
    /// Under which name it is kept then.
    pub kept: String,
    /// Whether there is one to be kept.
    pub was_there: bool,
}

/// What is under way; `None`: nothing.
pub fn read(state: &Path) -> io::Result<Option<State>> {
    match std::fs::read(state.join(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => Ok(Some(serde_json::from_slice(&other?)?)),
    }
}

impl State {
    /// Notes how far it is.
    pub fn write(&self, state: &Path) -> io::Result<()> {
        files::write_atomic(&state.join(FILE), &serde_json::to_vec_pretty(self)?, 0o600)
    }
}

/// It has ended.
pub fn remove(state: &Path) -> io::Result<()> {
    std::fs::remove_file(state.join(FILE))?;
    std::fs::File::open(state)?.sync_all()
}

/// The renames that bring a database where it belongs, whatever of them a killed run has done, by
/// the names that are there now. `None`: neither the old nor the new one is to be found.
pub fn renames(
    replaced: &Replaced,
    undo: bool,
    is_there: impl Fn(&str) -> bool,
) -> Option<Vec<(&str, &str)>> {
    let Replaced {
        database,
        new,
        kept,
        ..
    } = replaced;
    let there = (is_there(database), is_there(new), is_there(kept));
    Some(match (undo, there) {
        // Forth: the present one aside, the new one in its place.
        (false, (true, true, false)) => vec![(database, kept), (new, database)],
        (false, (false, true, _)) => vec![(new, database)],
        (false, (true, false, _)) => vec![],
        // Back: the same from the other end.
        (true, (true, true, false)) => vec![],
        (true, (true, false, true)) => vec![(database, new), (kept, database)],
        (true, (false, true, true)) => vec![(kept, database)],
        // It had replaced nothing.
        (true, (true, false, false)) if !replaced.was_there => vec![(database, new)],
        (true, (false, true, false)) if !replaced.was_there => vec![],
        (true, (true, false, false)) => vec![],
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn replaced(was_there: bool) -> Replaced {
        Replaced {
            owner: "rapidpro".to_owned(),
            database: "d".to_owned(),
            new: "n".to_owned(),
            kept: "k".to_owned(),
            was_there,
        }
    }

    /// Kills at every rename, forth and back, any number of times: what comes out in the end.
    #[test]
    fn wherever_it_is_cut_it_ends_as_the_new_or_as_the_old() {
        for was_there in [true, false] {
            let replaced = replaced(was_there);
            let old = if was_there { "old" } else { "" };
            let start: Vec<(&str, &str)> = [("d", old), ("n", "new")]
                .into_iter()
                .filter(|(_, content)| !content.is_empty())
                .collect();
            for cut in 0..=2 {
                for undo in [false, true] {
                    let mut there = start.clone();
                    run(&mut there, &replaced, false, cut);
                    run(&mut there, &replaced, undo, 9);
                    let of = |name: &str| {
                        let found = there.iter().find(|(other, _)| *other == name);
                        found.map_or("", |(_, content)| *content)
                    };
                    let expected = if undo { old } else { "new" };
                    assert_eq!(of("d"), expected, "{was_there} {cut} {undo} {there:?}");
                    if !undo {
                        assert_eq!(of("k"), old);
                    }
                    let kept: BTreeSet<_> = there.iter().map(|(_, content)| *content).collect();
                    assert_eq!(kept.len(), start.len(), "nothing is lost");
                }
            }
        }
    }

    fn run(there: &mut [(&str, &'static str)], replaced: &Replaced, undo: bool, most: usize) {
        let names: Vec<String> = there.iter().map(|(name, _)| (*name).to_owned()).collect();
        let renames = renames(replaced, undo, |name| {
            names.iter().any(|other| other == name)
        });
        for (from, to) in renames.unwrap().into_iter().take(most) {
            let to = ["d", "n", "k"]
                .into_iter()
                .find(|name| *name == to)
                .unwrap();
            there.iter_mut().find(|(name, _)| *name == from).unwrap().0 = to;
        }
    }

    #[test]
    fn databases_that_are_gone_are_not_made_up() {
        assert_eq!(renames(&replaced(true), false, |_| false), None);
        assert_eq!(renames(&replaced(true), true, |name| name == "n"), None);
    }

    #[test]
    fn what_is_under_way_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()).unwrap(), None);
        let state = State {
            schema: 1,
            source: "20261126-023000".to_owned(),
            backup: Some("/b/20261126-023000".into()),
            began: Timestamp::UNIX_EPOCH,
            services: vec!["casepro".to_owned()],
            phase: Phase::Loading,
            databases: vec![replaced(true)],
        };
        state.write(folder.path()).unwrap();
        assert_eq!(read(folder.path()).unwrap(), Some(state));
        remove(folder.path()).unwrap();
        assert_eq!(read(folder.path()).unwrap(), None);
    }
}
