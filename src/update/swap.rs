//! Puts a file in the place of another one so that, whenever the machine goes off, one that is whole
//! lies there: all is on disk before a rename, and the rename is one step.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::installed::Installed;

/// The folder in which an update is made ready. Gone with this; what a killed run left is gone when
/// the next one begins.
#[derive(Debug)]
pub struct Workshop {
    path: PathBuf,
}

/// What an exchange in three steps has put aside.
const ASIDE: &str = "aside";

impl Workshop {
    /// Makes it anew. To be called under the lock.
    pub fn begin(installed: &Installed) -> io::Result<Self> {
        let path = installed.workshop();
        Self::tidy(installed)?;
        std::fs::create_dir(&path)?;
        let this = Self { path };
        // Nobody else puts anything into it, nor runs what is not verified yet.
        std::fs::set_permissions(&this.path, std::fs::Permissions::from_mode(0o700))?;
        Ok(this)
    }

    /// Removes what a killed run has left.
    pub fn tidy(installed: &Installed) -> io::Result<()> {
        let path = installed.workshop();
        let aside = path.join(ASIDE);
        let previous = installed.previous();
        if aside.exists() && !previous.exists() {
            std::fs::rename(aside, previous)?;
        }
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Makes a file as the installed one is, owner and mode, and brings it onto the disk.
pub fn make_like(file: &Path, installed: &Path) -> io::Result<()> {
    let like = std::fs::metadata(installed)?;
    let file = File::open(file)?;
    let given = owned_like(&file, &like)?;
    // Bits that let others act as the owner only where the owner is the same.
    let bits = if given { 0o7777 } else { 0o777 };
    let mode = like.permissions().mode() & bits;
    // The mode last: a change of the owner may take bits away.
    file.set_permissions(std::fs::Permissions::from_mode(mode))?;
    file.sync_all()
}

/// Only root can give a file to somebody else; whoever else may write here gets it himself.
fn owned_like(file: &File, like: &Metadata) -> io::Result<bool> {
    let own = file.metadata()?;
    if (own.uid(), own.gid()) == (like.uid(), like.gid()) {
        return Ok(true);
    }
    match fchown(file, Some(like.uid()), Some(like.gid())) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(false),
        Err(error) => Err(error),
    }
}

/// Puts the new file in the place of the installed one, which is kept as the previous one.
pub fn install(new: &Path, installed: &Installed, workshop: &Workshop) -> io::Result<()> {
    let kept = workshop.file("kept");
    // Not moved: at no moment may there be nothing in its place.
    if std::fs::hard_link(&installed.path, &kept).is_err() {
        std::fs::copy(&installed.path, &kept)?;
        make_like(&kept, &installed.path)?;
    }
    std::fs::rename(&kept, installed.previous())?;
    std::fs::rename(new, &installed.path)?;
    sync(installed.folder())
}

/// Lets the installed file and the previous one change places.
pub fn exchange(installed: &Installed, workshop: &Workshop) -> io::Result<()> {
    let (present, previous) = (&installed.path, installed.previous());
    match renameat_with(CWD, present, CWD, &previous, RenameFlags::EXCHANGE) {
        Ok(()) => {}
        // Not every file system can.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            in_three_steps(present, &previous, workshop)?;
        }
        Err(error) => return Err(error.into()),
    }
    sync(installed.folder())
}

/// Killed in between, [`Workshop::tidy`] makes up for it.
fn in_three_steps(present: &Path, previous: &Path, workshop: &Workshop) -> io::Result<()> {
    let aside = workshop.file(ASIDE);
    if std::fs::hard_link(present, &aside).is_err() {
        std::fs::copy(present, &aside)?;
        make_like(&aside, present)?;
    }
    std::fs::rename(previous, present)?;
    std::fs::rename(aside, previous)
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_in_three_steps_is_made_up_for_where_it_was_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
        let path = folder.path().join("ooy");
        std::fs::write(&path, "2").unwrap();
        let installed = Installed::at(&path).unwrap();
        let previous = installed.previous();
        std::fs::write(&previous, "1").unwrap();

        let workshop = Workshop::begin(&installed).unwrap();
        in_three_steps(&path, &previous, &workshop).unwrap();
        assert_eq!([read(&path), read(&previous)], ["1", "2"]);
        // Killed before its last step.
        std::fs::hard_link(&path, workshop.file(ASIDE)).unwrap();
        std::fs::rename(&previous, &path).unwrap();
        std::mem::forget(workshop);
        let workshop = Workshop::begin(&installed).unwrap();
        assert_eq!([read(&path), read(&previous)], ["2", "1"]);
        exchange(&installed, &workshop).unwrap();
        assert_eq!([read(&path), read(&previous)], ["1", "2"]);
        drop(workshop);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
