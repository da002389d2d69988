//! Looks at the spool without changing it, while others work in it.

use std::io;
use std::path::Path;
use std::time::SystemTime;

use super::write::read_record_file;
use super::{Folder, Spool};
use crate::agi::record::{Id, Record};

/// A file that was set aside because it cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// Its name in damaged/.
    pub name: String,
    /// Where it was.
    pub from: Folder,
    /// What is wrong with it.
    pub reason: String,
}

/// One call, as far as its file's name tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Whose.
    pub id: Id,
    /// When the file was last written.
    pub modified: SystemTime,
}

impl Spool {
    /// Names of the files in a folder, sorted. A folder that is missing is empty.
    pub fn names(&self, folder: Folder) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(self.folder(folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            // Names that are no text are not ours; nothing here ever writes one.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// How many files there are.
    pub fn count(&self, folder: Folder) -> io::Result<usize> {
        match std::fs::read_dir(self.folder(folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            entries => Ok(entries?.count()),
        }
    }

    /// Whether any call waits or is being sent.
    pub fn has_waiting(&self) -> io::Result<bool> {
        for folder in [Folder::Batch, Folder::New, Folder::Sending] {
            match std::fs::read_dir(self.folder(folder)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                entries => {
                    if entries?.next().is_some() {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }

    /// The calls of a folder, latest written first.
    pub fn entries(&self, folder: Folder) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for name in self.names(folder)? {
            let Some(id) = name.strip_suffix(".json").and_then(Id::new) else {
                continue;
            };
            // It may have moved on meanwhile.
            if let Ok(about) = std::fs::symlink_metadata(self.folder(folder).join(&name)) {
                entries.push(Entry {
                    id,
                    modified: about.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                });
            }
        }
        entries.sort_by(|a, b| b.modified.cmp(&a.modified).then(a.id.cmp(&b.id)));
        Ok(entries)
    }

    /// One call; nothing if it is not there (any more), or what is wrong with its file.
    pub fn read(&self, folder: Folder, id: &Id) -> io::Result<Option<Result<Record, String>>> {
        read_record(&self.file(folder, id))
    }
}

/// The record of a file whose name is its id.
pub(super) fn read_record(path: &Path) -> io::Result<Option<Result<Record, String>>> {
    let content = match read_record_file(path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // Somebody else's file among ours must not stop the queue.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Ok(Some(Err(format!("cannot be read: {error}"))));
        }
        Err(error) => return Err(error),
    };
    let record = content.and_then(|bytes| Record::from_json(&bytes));
    let record = record.and_then(|record| {
        let named = path
            .file_stem()
            .is_some_and(|stem| stem == record.id.as_str())
            && path
                .extension()
                .is_some_and(|extension| extension == "json");
        // A copy under another name would be sent twice.
        if named {
            Ok(record)
        } else {
            Err("has another name than its call".to_owned())
        }
    });
    Ok(Some(record))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agi::record::tests::record;

    #[test]
    fn what_no_spool_holds_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(&folder.path().join("none"));
        assert!(!spool.has_waiting().unwrap());
        assert_eq!(spool.count(Folder::New).unwrap(), 0);
        assert_eq!(spool.entries(Folder::Sent).unwrap(), []);
        assert!(spool.read(Folder::New, &record("1").id).unwrap().is_none());
    }

    #[test]
    fn foreign_things_among_the_calls_are_named_and_never_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path());
        spool.accept(&record("1")).unwrap();
        let new = spool.folder(Folder::New);
        let whole = new.join(format!("{}.json", record("1").id));
        std::fs::copy(&whole, new.join("copy.json")).unwrap();
        std::fs::copy(&whole, new.join(format!("{}.bak", record("1").id))).unwrap();
        std::os::unix::fs::symlink(&whole, new.join("link.json")).unwrap();
        std::fs::create_dir(new.join("folder.json")).unwrap();
        rustix::fs::mkfifoat(
            rustix::fs::CWD,
            new.join("pipe.json"),
            rustix::fs::Mode::RUSR,
        )
        .unwrap();
        std::fs::File::create(new.join("huge.json"))
            .unwrap()
            .set_len(1 << 30)
            .unwrap();
        let said = |name: &str| read_record(&new.join(name)).unwrap().unwrap().unwrap_err();
        assert_eq!(said("copy.json"), "has another name than its call");
        assert_eq!(
            said(&format!("{}.bak", record("1").id)),
            "has another name than its call"
        );
        assert_eq!(said("link.json"), "is a link");
        assert_eq!(said("folder.json"), "is no file");
        assert_eq!(said("pipe.json"), "is no file");
        assert_eq!(said("huge.json"), "is too large (1073741824 bytes)");
        assert!(read_record(&whole).unwrap().unwrap().is_ok());
    }
}
