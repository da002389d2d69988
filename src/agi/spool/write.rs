//! Files that appear whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::{Folder, Spool};

/// A record is a kilobyte at most; what is so much larger is none.
const LARGEST_RECORD: u64 = 1 << 20;

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A file in tmp/; gone again unless it is moved to its place.
#[derive(Debug)]
pub(super) struct Temporary {
    path: PathBuf,
    file: File,
    moved: bool,
}

impl Spool {
    /// A file with that content in tmp/, not yet flushed.
    pub(super) fn write_temporary(&self, stem: &str, content: &[u8]) -> io::Result<Temporary> {
        // No two processes, and no two threads of one, write the same file.
        let name = format!(
            "{stem}.{}.{}",
            std::process::id(),
            COUNTER.fetch_add(1, Ordering::Relaxed)
        );
        let path = self.folder(Folder::Tmp).join(name);
        let open = || {
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)
        };
        let file = match open() {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // From a process of the same number that was killed.
                std::fs::remove_file(&path)?;
                open()?
            }
            opened => opened?,
        };
        let mut temporary = Temporary {
            path,
            file,
            moved: false,
        };
        temporary.file.write_all(content)?;
        Ok(temporary)
    }

    /// Replaces what is at this place: the content first, then the name reaches the disk.
    pub(super) fn replace(&self, folder: Folder, name: &str, content: &[u8]) -> io::Result<()> {
        let mut temporary = self.write_temporary(name, content)?;
        temporary.sync()?;
        temporary.move_over(&self.folder(folder).join(name))?;
        self.sync_folder(folder)
    }
}

impl Temporary {
    /// The content reaches the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// The content starts on its way to the disk; many files flushed together afterwards take
    /// little longer than one.
    pub(super) fn start_sync(&self) {
        // The kernel begins to write what it is told is no longer needed.
        let _ = rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed);
    }

    /// Moves it to its place, unless there is one already. Answers whether it was moved.
    pub(super) fn move_new(&mut self, target: &Path) -> io::Result<bool> {
        match renameat_with(CWD, &self.path, CWD, target, RenameFlags::NOREPLACE) {
            Ok(()) => {
                self.moved = true;
                Ok(true)
            }
            Err(Errno::EXIST) => Ok(false),
            // File systems that cannot do it in one step can do it with a second name.
            Err(Errno::INVAL | Errno::NOSYS) => match std::fs::hard_link(&self.path, target) {
                Ok(()) => Ok(true),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
                Err(error) => Err(error),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Moves it over whatever is at its place.
    pub(super) fn move_over(&mut self, target: &Path) -> io::Result<()> {
        std::fs::rename(&self.path, target)?;
        self.moved = true;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.moved {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The content of a file that anybody may have put there, or what is wrong with it. Never waits
/// (a pipe), follows no link, and reads no disk image.
pub(super) fn read_file(path: &Path, largest: u64) -> io::Result<Result<Vec<u8>, String>> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) => {
            return match error.raw_os_error() {
                Some(libc::ELOOP) => Ok(Err("is a link".to_owned())),
                Some(libc::ENXIO) => Ok(Err("is no file".to_owned())),
                _ => Err(error),
            };
        }
    };
    let about = file.metadata()?;
    if !about.is_file() {
        return Ok(Err("is no file".to_owned()));
    }
    if about.len() > largest {
        return Ok(Err(format!("is too large ({} bytes)", about.len())));
    }
    let mut content = Vec::with_capacity(usize::try_from(about.len()).unwrap_or_default());
    // A disk that cannot be read there damages this file, not the queue.
    match file.take(largest).read_to_end(&mut content) {
        Ok(_) => Ok(Ok(content)),
        Err(error) => Ok(Err(format!("cannot be read: {error}"))),
    }
}

/// The same for one record.
pub(super) fn read_record_file(path: &Path) -> io::Result<Result<Vec<u8>, String>> {
    read_file(path, LARGEST_RECORD)
}
