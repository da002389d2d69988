//! Takes calls over: when these answer, the calls are on disk.

use std::io;

use super::{Folder, Spool};
use crate::agi::record::Record;

/// What became of a call that was handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It is on disk now.
    New,
    /// It had been handed in before; nothing was changed.
    Known,
}

impl Spool {
    /// Takes one call over.
    pub fn accept(&self, record: &Record) -> io::Result<Accepted> {
        let folder = if record.is_skipped() {
            Folder::Skipped
        } else {
            Folder::New
        };
        let content = record.to_json();
        self.with_folders(|| {
            if let Some(present) = self.settled(&record.id)? {
                // Whoever handed it in first may have been killed before it was flushed.
                self.sync_folder(present)?;
                return Ok(Accepted::Known);
            }
            let mut temporary = self.write_temporary(record.id.as_str(), &content)?;
            temporary.sync()?;
            // Between the look above and here the same call may have come and gone; the deliverer
            // looks again before it sends it.
            let is_new = temporary.move_new(&self.file(folder, &record.id))?;
            self.sync_folder(folder)?;
            Ok(if is_new {
                Accepted::New
            } else {
                Accepted::Known
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agi::record::tests::{call, record};
    use crate::agi::record::{Moment, Record};
    use std::os::unix::fs::PermissionsExt as _;

    fn names(spool: &Spool, folder: Folder) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(spool.folder(folder))
            .map(|entries| {
                entries
                    .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                    .collect()
            })
            .unwrap_or_default();
        names.sort();
        names
    }

    #[test]
    fn the_first_call_makes_the_spool_that_only_its_owner_may_read() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(&folder.path().join("a/b"));
        let record = record("1");
        assert_eq!(spool.accept(&record).unwrap(), Accepted::New);
        assert_eq!(names(&spool, Folder::New), [format!("{}.json", record.id)]);
        assert_eq!(names(&spool, Folder::Tmp), [""; 0]);
        let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(spool.root()), 0o700);
        assert_eq!(mode(&spool.folder(Folder::New)), 0o700);
        assert_eq!(mode(&spool.file(Folder::New, &record.id)), 0o600);
    }

    #[test]
    fn a_folder_that_somebody_removed_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path());
        spool.accept(&record("1")).unwrap();
        std::fs::remove_dir_all(spool.folder(Folder::New)).unwrap();
        assert_eq!(spool.accept(&record("2")).unwrap(), Accepted::New);
        assert_eq!(names(&spool, Folder::New).len(), 1);
        assert_eq!(names(&spool, Folder::Tmp), [""; 0]);
    }

    #[test]
    fn the_same_call_is_taken_once_wherever_it_is_by_now() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path());
        let record = record("1");
        spool.accept(&record).unwrap();
        assert_eq!(spool.accept(&record).unwrap(), Accepted::Known);
        for (from, to) in [
            (Folder::New, Folder::Sending),
            (Folder::Sending, Folder::Sent),
            (Folder::Sent, Folder::Dead),
        ] {
            std::fs::rename(spool.file(from, &record.id), spool.file(to, &record.id)).unwrap();
            assert_eq!(spool.accept(&record).unwrap(), Accepted::Known, "{to:?}");
            assert_eq!(names(&spool, Folder::New), [""; 0]);
        }
    }

    #[test]
    fn root_works_as_the_spools_owner_and_follows_none_of_his_links() {
        use crate::host::process;
        use std::os::unix::fs::MetadataExt as _;
        if !process::is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let spool = Spool::new(&folder.path().join("spool"));
        std::fs::create_dir(spool.root()).unwrap();
        std::os::unix::fs::chown(spool.root(), Some(4711), Some(4712)).unwrap();
        spool.accept(&record("1")).unwrap();
        let owner = |path: &std::path::Path| {
            let about = path.symlink_metadata().unwrap();
            (about.uid(), about.gid())
        };
        let file = spool.file(Folder::New, &record("1").id);
        assert_eq!(owner(&file), (4711, 4712));
        assert_eq!(owner(&spool.folder(Folder::Sent)), (4711, 4712));
        // He would like to have this file, and this folder.
        let wanted = folder.path().join("wanted");
        std::fs::write(&wanted, b"secret").unwrap();
        std::os::unix::fs::symlink(&wanted, spool.root().join("deliverer.lock")).unwrap();
        assert!(spool.deliver().is_err());
        let roots = folder.path().join("roots");
        std::fs::create_dir(&roots).unwrap();
        std::fs::remove_dir(spool.folder(Folder::Tmp)).unwrap();
        std::os::unix::fs::symlink(&roots, spool.folder(Folder::Tmp)).unwrap();
        assert!(spool.accept(&record("2")).is_err());
        assert_eq!(owner(&wanted), (0, 0));
        assert_eq!(std::fs::read(&wanted).unwrap(), b"secret");
        // Afterwards root is root again.
        std::fs::write(folder.path().join("after"), b"").unwrap();
        assert_eq!(owner(&folder.path().join("after")), (0, 0));
    }

    #[test]
    fn a_skipped_call_is_kept_but_does_not_wait() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path());
        let mut withheld = call("1");
        withheld.msisdn = "anonymous".into();
        let record = Record::new(withheld, "254", Moment::now());
        spool.accept(&record).unwrap();
        assert_eq!(spool.accept(&record).unwrap(), Accepted::Known);
        assert_eq!(names(&spool, Folder::New), [""; 0]);
        assert_eq!(names(&spool, Folder::Skipped).len(), 1);
    }

    #[test]
    fn a_spool_that_cannot_be_written_is_an_error_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("file");
        std::fs::write(&root, b"").unwrap();
        assert!(
            Spool::new(&root.join("spool"))
                .accept(&record("1"))
                .is_err()
        );
        // A file where a folder should be.
        let spool = Spool::new(&folder.path().join("spool"));
        spool.make_folders().unwrap();
        std::fs::remove_dir(spool.folder(Folder::New)).unwrap();
        std::fs::write(spool.folder(Folder::New), b"").unwrap();
        assert!(spool.accept(&record("1")).is_err());
        assert_eq!(names(&spool, Folder::Tmp), [""; 0]);
    }
}
