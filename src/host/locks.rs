//! Locks of files (flock), and who holds one. That is read from /proc/locks: asking by trying to take it
//! would make somebody else's attempt fail.

use std::fs::{self, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

/// What a killed holder was about to start shares its lock until it runs or ends: a moment.
const LEFTOVER: Duration = Duration::from_secs(2);

/// Opens a file that is to be locked; makes it and its folder where there is none. What it says stays.
pub fn open(path: &Path) -> io::Result<fs::File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

/// Takes the lock of an open file, or answers that somebody has it. A holder that lives is not waited for.
pub fn take(file: &fs::File, mut holder_lives: impl FnMut() -> bool) -> io::Result<bool> {
    let patience = Instant::now() + LEFTOVER;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) => {}
        }
        if holder_lives() || Instant::now() >= patience {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The process that holds the file's lock, if one does. A file that is not there is held by none.
pub fn holder(path: &Path) -> io::Result<Option<u32>> {
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let device = (
        rustix::fs::major(metadata.dev()),
        rustix::fs::minor(metadata.dev()),
    );
    let table = fs::read_to_string("/proc/locks")?;
    let held: Vec<Held> = table
        .lines()
        .filter_map(parse_line)
        .filter(|held| held.inode == metadata.ino())
        .collect();
    // Some file systems (btrfs) show another device to stat than to the kernel's own tables.
    let found = held
        .iter()
        .find(|held| held.device == device)
        .or_else(|| held.iter().find(|held| has_open(held.pid, path)));
    Ok(found.map(|held| held.pid))
}

#[derive(Debug, PartialEq, Eq)]
struct Held {
    pid: u32,
    device: (u32, u32),
    inode: u64,
}

/// A line of /proc/locks (proc(5)): `1: FLOCK  ADVISORY  WRITE 5370 fe:00:10010714 0 EOF`. Those
/// that wait have an arrow after the number.
fn parse_line(line: &str) -> Option<Held> {
    let mut fields = line.split_ascii_whitespace();
    if fields.nth(1)? != "FLOCK" {
        return None;
    }
    let pid = fields.nth(2)?.parse().ok()?;
    let mut file = fields.next()?.split(':');
    let mut hex = || u32::from_str_radix(file.next()?, 16).ok();
    let device = (hex()?, hex()?);
    Some(Held {
        pid,
        device,
        inode: file.next()?.parse().ok()?,
    })
}

fn has_open(pid: u32, path: &Path) -> bool {
    let wanted = fs::canonicalize(path);
    fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| {
            fs::read_link(entry.path())
                .is_ok_and(|target| wanted.as_ref().is_ok_and(|wanted| *wanted == target))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_names_its_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        assert_eq!(holder(&path).unwrap(), None);
        let file = fs::File::create(&path).unwrap();
        assert_eq!(holder(&path).unwrap(), None);
        file.lock().unwrap();
        assert_eq!(holder(&path).unwrap(), Some(std::process::id()));
        // Not `drop`: a child that another test forks holds the file too, until it execs (flock(2)).
        file.unlock().unwrap();
        assert_eq!(holder(&path).unwrap(), None);
    }

    #[test]
    fn lines_of_the_table_are_read() {
        assert_eq!(
            parse_line("1: FLOCK  ADVISORY  WRITE 5370 fe:00:10010714 0 EOF"),
            Some(Held {
                pid: 5370,
                device: (0xfe, 0),
                inode: 10_010_714
            })
        );
        for other in [
            "2: POSIX  ADVISORY  WRITE 5370 fe:00:10010714 0 EOF",
            "1: -> FLOCK  ADVISORY  WRITE 5370 fe:00:10010714 0 EOF",
            "",
        ] {
            assert_eq!(parse_line(other), None, "{other}");
        }
    }
}
