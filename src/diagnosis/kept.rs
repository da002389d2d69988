//! Answers that cost much and follow from little: kept under a digest of all that they follow from,
//! and asked for again when any of it has changed.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::host::{files, text};

/// An answer, and what it was made from.
#[derive(Serialize, Deserialize)]
struct Kept<T> {
    /// Digest of everything that the answer follows from.
    from: String,
    answer: T,
}

/// The answer that follows from this, if it is the one that was kept last.
pub fn find<T: DeserializeOwned>(path: &Path, from: &str) -> Option<T> {
    let text = std::fs::read(path).ok()?;
    let kept: Kept<T> = serde_json::from_slice(&text).ok()?;
    (kept.from == from).then_some(kept.answer)
}

/// Keeps an answer in the place of the one before. Where that fails the next diagnosis takes a
/// little longer.
pub fn keep<T: Serialize>(path: &Path, from: &str, answer: &T) {
    if !path.parent().is_some_and(Path::is_dir) {
        return;
    }
    let kept = Kept {
        from: from.to_owned(),
        answer,
    };
    let text = serde_json::to_vec(&kept).unwrap_or_default();
    let _ = files::write_if_changed(path, &text, 0o600);
}

/// What an answer follows from.
#[derive(Default)]
pub struct Inputs(Sha256);

impl Inputs {
    /// A value.
    pub fn add(&mut self, text: &[u8]) {
        self.0.update(text.len().to_le_bytes());
        self.0.update(text);
    }

    /// Which file it is: another one, also one that was replaced at its place, has others.
    pub fn add_file(&mut self, path: &Path) {
        let facts = match std::fs::metadata(path) {
            Ok(file) => format!(
                "{path:?} {} {} {}.{} {}.{} {:o} {}:{}",
                file.ino(),
                file.size(),
                file.mtime(),
                file.mtime_nsec(),
                file.ctime(),
                file.ctime_nsec(),
                file.mode(),
                file.uid(),
                file.gid()
            ),
            Err(error) => format!("{path:?} {:?}", error.kind()),
        };
        self.add(facts.as_bytes());
    }

    /// All files of a folder and of those in it.
    pub fn add_folder(&mut self, path: &Path) {
        self.add_file(path);
        let mut entries: Vec<PathBuf> = std::fs::read_dir(path)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        entries.sort();
        for entry in entries {
            if entry.is_dir() && !entry.is_symlink() {
                self.add_folder(&entry);
            } else {
                self.add_file(&entry);
            }
        }
    }

    /// Their digest.
    pub fn digest(self) -> String {
        text::hex(&self.0.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(folder: &Path) -> String {
        let mut inputs = Inputs::default();
        inputs.add_folder(folder);
        inputs.digest()
    }

    #[test]
    fn an_answer_is_found_under_what_it_follows_from_and_under_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answer.json");
        keep(&path, "a", &7);
        assert_eq!(find::<i32>(&path, "a"), Some(7));
        assert_eq!(find::<i32>(&path, "b"), None);
        assert_eq!(find::<String>(&path, "a"), None);
        keep(&folder.path().join("none/answer.json"), "a", &7);
        assert!(!folder.path().join("none").exists());
    }

    #[test]
    fn a_file_that_is_written_removed_or_given_other_rights_is_another() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("below");
        std::fs::create_dir(&below).unwrap();
        let file = below.join("file");
        let mut seen = vec![of(folder.path())];
        std::fs::write(&file, "1").unwrap();
        seen.push(of(folder.path()));
        assert_eq!(seen[1], of(folder.path()));
        std::fs::write(&file, "12").unwrap();
        seen.push(of(folder.path()));
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        seen.push(of(folder.path()));
        std::fs::remove_file(&file).unwrap();
        seen.push(of(folder.path()));
        let count = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), count);
    }
}
