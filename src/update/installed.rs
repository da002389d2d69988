//! The executable that is to be replaced, and the folder it lies in.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD};

use crate::fault::{Fault, Result};

/// What `/proc/self/exe` says behind the path of a file that is not there any more (proc(5)).
const GONE: &str = " (deleted)";

/// How the one before is called, behind the name of the executable.
const PREVIOUS: &str = ".previous";

/// The executable as it lies on disk, links followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// Where.
    pub path: PathBuf,
    /// What runs is not what lies there: it was replaced meanwhile.
    pub was_replaced: bool,
    /// Device and inode of what lies there.
    file: (u64, u64),
}

impl Installed {
    /// The executable that runs, or what lies in its place by now.
    pub fn find(again: &str) -> Result<Self> {
        let running = std::fs::read_link("/proc/self/exe");
        let looked = running.and_then(|path| {
            let own = identity(Path::new("/proc/self/exe"))?;
            Self::of(&path, own)
        });
        let found = looked.map_err(|error| {
            Box::new(
                Fault::problem(
                    "self-update: ooy does not find itself",
                    "the executable that runs is not where it was started from",
                )
                .evidence(format!("/proc/self/exe: {error}"))
                .why("there is nothing that could be replaced; nothing was done")
                .next("type -a ooy")
                .next("sudo install -m 755 ooy /usr/local/bin/ooy"),
            )
        })?;
        match found.path.to_string_lossy().strip_suffix(PREVIOUS) {
            None => Ok(found),
            Some(present) => Err(Box::new(
                Fault::usage(
                    "self-update: this is the version before",
                    "what runs is what the last update has kept, under that name",
                )
                .evidence(found.path.display().to_string())
                .why("replaced, there would be no way back; nothing was done")
                .next(format!("{present} self-update --rollback"))
                .next(again.to_owned()),
            )),
        }
    }

    fn of(running: &Path, own: (u64, u64)) -> io::Result<Self> {
        match identity(running) {
            Ok(file) if file == own => Ok(Self {
                path: running.to_owned(),
                was_replaced: false,
                file,
            }),
            _ => {
                let text = running.to_string_lossy();
                let path = PathBuf::from(text.strip_suffix(GONE).unwrap_or(&text));
                Ok(Self {
                    file: identity(&path)?,
                    path,
                    was_replaced: true,
                })
            }
        }
    }

    /// The executable at that path.
    #[cfg(test)]
    pub fn at(path: &Path) -> io::Result<Self> {
        Self::of(path, identity(path)?)
    }

    /// The folder it lies in.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// Where the version before is kept.
    pub fn previous(&self) -> PathBuf {
        self.beside("", PREVIOUS)
    }

    /// Where an update is made ready: on the same file system, so that it can be renamed, and where
    /// programs may run.
    pub fn workshop(&self) -> PathBuf {
        self.beside(".", ".update")
    }

    fn beside(&self, before: &str, after: &str) -> PathBuf {
        let mut name = std::ffi::OsString::from(before);
        name.push(self.path.file_name().unwrap_or_default());
        name.push(after);
        self.path.with_file_name(name)
    }

    /// Whether it is the same file still.
    pub fn is_unchanged(&self) -> bool {
        identity(&self.path).is_ok_and(|file| file == self.file)
    }

    /// Whether a program that runs is this file: not what was here before.
    pub fn is_run_by(&self, pid: u32) -> bool {
        let now = identity(&self.path);
        let runs = identity(Path::new(&format!("/proc/{pid}/exe")));
        matches!((now, runs), (Ok(now), Ok(runs)) if now == runs)
    }

    /// Whether its folder can be written to; the fault says what to run.
    pub fn is_replaceable(&self, again: &str) -> Result<()> {
        let folder = self.folder();
        let access = Access::WRITE_OK | Access::EXEC_OK;
        match rustix::fs::accessat(CWD, folder, access, AtFlags::EACCESS) {
            Ok(()) => Ok(()),
            Err(error) => Err(Box::new(self.not_written(&error.into(), again))),
        }
    }

    /// Something could not be written beside it.
    pub fn not_written(&self, error: &io::Error, again: &str) -> Fault {
        let folder = self.folder().display();
        let fault = Fault::problem(
            format!("self-update: {folder} cannot be written to"),
            "the new executable is made ready and put in place in the folder of the present one",
        )
        .evidence(error.to_string())
        .why(format!("{} stays as it is", self.path.display()));
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                fault.next(format!("df -h {folder}")).next(again.to_owned())
            }
            io::ErrorKind::ReadOnlyFilesystem => fault
                .next(format!("findmnt --target {folder}"))
                .next(again.to_owned()),
            _ if crate::host::process::is_root() => fault
                .next(format!("ls -ld {folder}; lsattr -d {folder}"))
                .next(again.to_owned()),
            _ => fault.next(format!("sudo {again}")),
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = std::fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_the_place_of_a_replaced_file_is_meant() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ooy");
        std::fs::write(&path, "2").unwrap();
        let own = identity(&path).unwrap();
        let found = Installed::of(&path, own).unwrap();
        assert!(!found.was_replaced);
        assert_eq!(found.previous(), folder.path().join("ooy.previous"));
        assert_eq!(found.workshop(), folder.path().join(".ooy.update"));

        let gone = folder.path().join("ooy (deleted)");
        let found = Installed::of(&gone, (0, 0)).unwrap();
        assert!(found.was_replaced && found.path == path);
        assert!(found.is_unchanged());
        // Somebody may call a file so.
        std::fs::write(&gone, "1").unwrap();
        let found = Installed::of(&gone, identity(&gone).unwrap()).unwrap();
        assert!(!found.was_replaced && found.path == gone);

        std::fs::remove_file(&path).unwrap();
        std::fs::remove_file(&gone).unwrap();
        assert!(Installed::of(&gone, (0, 0)).is_err());
    }
}
