//! Databases that a restore has put aside: the way back from it.

use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::host::files;

const FILE: &str = "kept-databases.json";

/// A database that was replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Its name now.
    pub name: String,
    /// Whose it is.
    pub owner: String,
    /// When it was put aside.
    pub at: Timestamp,
    /// What was put in its place.
    pub replaced_by: String,
}

/// All of them, the newest first.
pub fn read(state: &Path) -> io::Result<Vec<Kept>> {
    match std::fs::read(state.join(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => Ok(serde_json::from_slice(&other?)?),
    }
}

/// One more; one of that name is replaced.
pub fn add(state: &Path, kept: Kept) -> io::Result<()> {
    let mut all = read(state)?;
    all.retain(|other| other.name != kept.name);
    all.insert(0, kept);
    write(state, &all)
}

/// That one is no longer there.
pub fn forget(state: &Path, name: &str) -> io::Result<()> {
    let mut all = read(state)?;
    all.retain(|other| other.name != name);
    write(state, &all)
}

fn write(state: &Path, all: &[Kept]) -> io::Result<()> {
    files::write_atomic(&state.join(FILE), &serde_json::to_vec_pretty(all)?, 0o600)
}

/// The name under which a database is kept: with the time, and no longer than PostgreSQL's names
/// are (63 bytes).
pub fn name_for(database: &str, at: Timestamp) -> String {
    let behind = at.strftime("_before_%Y%m%d_%H%M%S").to_string();
    let room = 63 - behind.len();
    let mut end = database.len().min(room);
    while !database.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{behind}", &database[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_database_has_a_name_that_postgresql_takes() {
        let at: Timestamp = "2026-11-26T03:15:00Z".parse().unwrap();
        assert_eq!(name_for("rapidpro", at), "rapidpro_before_20261126_031500");
        assert_eq!(name_for(&format!("x{}", "ä".repeat(40)), at).len(), 62);
    }

    #[test]
    fn what_is_kept_is_remembered_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let kept = |name: &str| Kept {
            name: name.to_owned(),
            owner: "rapidpro".to_owned(),
            at: Timestamp::UNIX_EPOCH,
            replaced_by: "1".to_owned(),
        };
        for name in ["a", "b", "a"] {
            add(folder.path(), kept(name)).unwrap();
        }
        assert_eq!(read(folder.path()).unwrap(), [kept("a"), kept("b")]);
        forget(folder.path(), "a").unwrap();
        assert_eq!(read(folder.path()).unwrap(), [kept("b")]);
    }
}
