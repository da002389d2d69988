//! Makes the spool's folders, and gives them to whoever is to work in them.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::Path;

use super::{Folder, Spool};
use crate::host::process::{self, FilesAs};

impl Spool {
    /// Does something, and if a folder turns out to be missing, makes all and does it again: when
    /// all is there, which is nearly always, nothing has to be looked at.
    pub(super) fn with_folders<T>(&self, mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        let mut as_owner = || {
            let _owner = self.as_owner();
            work()
        };
        match as_owner() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make_folders()?;
                as_owner()
            }
            result => result,
        }
    }

    /// Makes the folders that are missing, only their owner may enter them.
    pub fn make_folders(&self) -> io::Result<()> {
        if !self.root.is_dir() {
            self.make_root()?;
        }
        let _owner = self.as_owner();
        for folder in Folder::ALL {
            make(&self.folder(folder))?;
        }
        sync(&self.root)
    }

    fn make_root(&self) -> io::Result<()> {
        let parent = self.root.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(parent)?;
        make(&self.root)?;
        // Asterisk, and so `ooy agi`, mostly runs as a user of its own.
        if process::is_root()
            && let Some((user, group)) = process::user_ids("asterisk")
        {
            let folder = OpenOptions::new()
                .read(true)
                .custom_flags(libc::O_NOFOLLOW | libc::O_DIRECTORY)
                .open(&self.root)?;
            fchown(&folder, Some(user), Some(group))?;
        }
        sync(parent)
    }

    /// What root does in the spool he does as its owner: else the deliverer, which may run as
    /// another user, could not move what root has made, and could make root follow links.
    pub(super) fn as_owner(&self) -> Option<FilesAs> {
        if !process::is_root() {
            return None;
        }
        let owner = std::fs::metadata(&self.root).ok()?;
        (owner.uid() != 0).then(|| process::files_as(owner.uid(), owner.gid()))
    }

    /// The names in this folder reach the disk.
    pub(super) fn sync_folder(&self, folder: Folder) -> io::Result<()> {
        sync(&self.folder(folder))
    }
}

fn make(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
