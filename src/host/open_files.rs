//! Which processes have a file open, as `/proc` shows it (as root, of all processes).

use std::fs;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::fs::MetadataExt as _;

use rustix::fs::OFlags;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

/// A file that a process holds open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The process.
    pub pid: u32,
    /// Its number for the file.
    pub fd: RawFd,
    /// How it was opened: for writing, at its end.
    flags: OFlags,
}

impl Held {
    /// Whether the process can write through it.
    pub fn writes(&self) -> bool {
        self.flags.intersects(OFlags::WRONLY | OFlags::RDWR)
    }

    /// Whether each write goes to the file's end, wherever that is by then. If not, the process
    /// goes on where it was, and leaves a hole before it in a file that was cut.
    pub fn appends(&self) -> bool {
        self.flags.contains(OFlags::APPEND)
    }

    /// Lets each write of that process go to the file's end from now on. The descriptor is shared
    /// with it for this (pidfd_getfd(2), Linux 5.6 and later, root).
    pub fn make_append(&self) -> io::Result<()> {
        let unknown = || io::Error::from(io::ErrorKind::NotFound);
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let process = pidfd_open(pid.ok_or_else(unknown)?, PidfdFlags::empty())?;
        let shared = pidfd_getfd(&process, self.fd, PidfdGetfdFlags::empty())?;
        let flags = rustix::fs::fcntl_getfl(&shared)?;
        Ok(rustix::fs::fcntl_setfl(&shared, flags | OFlags::APPEND)?)
    }
}

/// Whether the descriptor, or its process, is not there any more.
pub fn is_gone(why: &io::Error) -> bool {
    [rustix::io::Errno::BADF, rustix::io::Errno::SRCH]
        .iter()
        .any(|gone| why.raw_os_error() == Some(gone.raw_os_error()))
}

/// Who has this very file open (not another one of its name).
pub fn holders(file: &fs::File) -> io::Result<Vec<Held>> {
    let wanted = file.metadata()?;
    let me = std::process::id();
    let mut found = Vec::new();
    each(|pid, fd, path| {
        let same = pid != me
            && fs::metadata(path)
                .is_ok_and(|it| (it.dev(), it.ino()) == (wanted.dev(), wanted.ino()));
        if same && let Some(flags) = flags(pid, fd) {
            found.push(Held { pid, fd, flags });
        }
    })?;
    Ok(found)
}

/// A file that was deleted, and takes its room as long as a process holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// A process that holds it.
    pub pid: u32,
    /// Its program's name.
    pub program: String,
    /// The name that the file had.
    pub path: String,
    /// Room that it takes, in bytes.
    pub size: u64,
}

/// Files on that device (`st_dev`) that were deleted and are held, the largest first.
pub fn deleted(device: u64) -> io::Result<Vec<Deleted>> {
    let mut found: Vec<(u64, Deleted)> = Vec::new();
    each(|pid, _, path| {
        let Ok(target) = fs::read_link(path) else {
            return;
        };
        let Some(name) = target.to_str().and_then(|it| it.strip_suffix(" (deleted)")) else {
            return;
        };
        let Ok(about) = fs::metadata(path) else {
            return;
        };
        let new = about.dev() == device
            && about.is_file()
            && !found.iter().any(|(inode, _)| *inode == about.ino());
        if new {
            let program = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            let deleted = Deleted {
                pid,
                program: program.trim_end().to_owned(),
                path: name.to_owned(),
                size: about.blocks() * 512,
            };
            found.push((about.ino(), deleted));
        }
    })?;
    let mut found: Vec<Deleted> = found.into_iter().map(|(_, deleted)| deleted).collect();
    found.sort_by_key(|deleted| std::cmp::Reverse(deleted.size));
    Ok(found)
}

/// All descriptors of all processes that we may look into; those that end meanwhile are left out.
fn each(mut look: impl FnMut(u32, RawFd, &std::path::Path)) -> io::Result<()> {
    for process in fs::read_dir("/proc")? {
        let process = process?;
        let Some(pid) = process.file_name().to_str().and_then(|it| it.parse().ok()) else {
            continue;
        };
        let descriptors = fs::read_dir(process.path().join("fd"));
        for entry in descriptors.into_iter().flatten().flatten() {
            let number = entry.file_name().to_str().and_then(|it| it.parse().ok());
            if let Some(fd) = number {
                look(pid, fd, &entry.path());
            }
        }
    }
    Ok(())
}

/// `flags` of proc(5)'s fdinfo, in octal.
fn flags(pid: u32, fd: RawFd) -> Option<OFlags> {
    let text = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix("flags:"))?;
    let bits = u32::from_str_radix(value.trim(), 8).ok()?;
    Some(OFlags::from_bits_retain(bits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command, Stdio};

    struct Ended(Child);

    impl Drop for Ended {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn holding(script: &str) -> Ended {
        let child = Command::new("sh")
            .args(["-c", script])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Ended(child)
    }

    fn wait(mut so: impl FnMut() -> bool) {
        let began = std::time::Instant::now();
        while !so() {
            assert!(began.elapsed().as_secs() < 10);
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    #[test]
    fn who_writes_and_how_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let file = fs::File::create(&path).unwrap();
        let shell = holding(&format!("exec 7>{}; sleep 30 >&7", path.display()));
        wait(|| holders(&file).unwrap().len() > 1);
        let all = holders(&file).unwrap();
        let held = all.iter().find(|held| held.pid == shell.0.id()).unwrap();
        assert!(held.writes() && !held.appends());
        if rustix::process::geteuid().is_root() {
            held.make_append().unwrap();
            let all = holders(&file).unwrap();
            let held = all.iter().find(|held| held.pid == shell.0.id()).unwrap();
            assert!(held.appends());
        }
    }

    #[test]
    fn what_is_deleted_and_held_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gone");
        fs::write(&path, vec![1; 300_000]).unwrap();
        let device = fs::metadata(&path).unwrap().dev();
        let shell = holding(&format!("exec 7<{}; exec sleep 30", path.display()));
        let file = fs::File::open(&path).unwrap();
        wait(|| !holders(&file).unwrap().is_empty());
        drop(file);
        fs::remove_file(&path).unwrap();
        let all = deleted(device).unwrap();
        let found = all
            .iter()
            .find(|found| found.path == path.to_str().unwrap())
            .unwrap();
        assert_eq!(found.pid, shell.0.id());
        assert!(found.size >= 300_000);
    }
}
