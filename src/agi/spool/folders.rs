//! Makes the spool's folders, and gives them to whoever is to work in them.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, fchown};
use std::path::Path;

use super::{Folder, Spool};
use crate::host::process;

impl Spool {
    /// Does something, and if a folder turns out to be missing, makes all and does it again: when
    /// all is there, which is nearly always, nothing has to be looked at.
    pub(super) fn with_folders<T>(&self, mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        match work() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make_folders()?;
                work()
            }
            result => result,
        }
    }

    /// Makes the folders that are missing, only their owner may enter them.
    pub fn make_folders(&self) -> io::Result<()> {
        if !self.root.is_dir() {
            if let Some(parent) = self.root.parent() {
                std::fs::create_dir_all(parent)?;
            }
            make(&self.root)?;
            if process::is_root() {
                // Asterisk, and so `ooy agi`, mostly runs as a user of its own.
                if let Some((user, group)) = process::user_ids("asterisk") {
                    std::os::unix::fs::chown(&self.root, Some(user), Some(group))?;
                }
            }
            if let Some(parent) = self.root.parent() {
                sync(parent)?;
            }
        }
        for folder in Folder::ALL {
            let path = self.folder(folder);
            make(&path)?;
            self.give_away(&File::open(&path)?)?;
        }
        sync(&self.root)
    }

    /// What root makes gets the spool's owner: else the deliverer, which may run as another user,
    /// could not move it on.
    pub(super) fn give_away(&self, file: &File) -> io::Result<()> {
        if !process::is_root() {
            return Ok(());
        }
        let owner = std::fs::metadata(&self.root)?;
        if owner.uid() == 0 && owner.gid() == 0 {
            return Ok(());
        }
        fchown(file, Some(owner.uid()), Some(owner.gid()))
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
