//! Processes of the host as `/proc` shows them, those in containers included.

use std::io;
use std::path::Path;

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number on the host.
    pub pid: u32,
    /// Its number inside its container; that on the host where it is in none.
    pub inner_pid: u32,
    /// Its parent's number on the host.
    pub parent: u32,
    /// `R`, `S`, `D`, `T` (stopped), `Z` (dead, not yet fetched by its parent), ...
    pub state: char,
    /// The words of its command line.
    pub words: Vec<String>,
}

impl Process {
    /// Stopped by a signal or by a debugger (`kill -STOP`): it does nothing until it is woken.
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, 'T' | 't')
    }

    /// It has ended.
    pub fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// A process and all that come of it, itself first, parents before children. May take a moment on
/// a host with many processes: reads all of `/proc`.
pub fn family(pid: u32) -> io::Result<Vec<Process>> {
    let root = Path::new("/proc");
    let all: Vec<Stat> = std::fs::read_dir(root)?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        // Those that end meanwhile are left out.
        .filter_map(|pid: u32| {
            let text = std::fs::read_to_string(root.join(format!("{pid}/stat"))).ok()?;
            stat(pid, &text)
        })
        .collect();
    let first = all
        .iter()
        .find(|process| process.pid == pid)
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no process {pid}")))?;
    let mut family = vec![first];
    let mut next = 0;
    while let Some(parent) = family.get(next).map(|process| process.pid) {
        family.extend(all.iter().filter(|process| process.parent == parent));
        next += 1;
    }
    Ok(family
        .into_iter()
        .map(|process| Process {
            pid: process.pid,
            inner_pid: inner_pid(root, process.pid).unwrap_or(process.pid),
            parent: process.parent,
            state: process.state,
            words: words(root, process.pid),
        })
        .collect())
}

struct Stat {
    pid: u32,
    parent: u32,
    state: char,
}

/// `PID (NAME) STATE PARENT ...`; a name may hold anything, `)` too (proc(5)).
fn stat(pid: u32, text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    Some(Stat {
        pid,
        state: fields.next()?.chars().next()?,
        parent: fields.next()?.parse().ok()?,
    })
}

/// The last of its numbers is that in the innermost namespace.
fn inner_pid(root: &Path, pid: u32) -> Option<u32> {
    let text = std::fs::read_to_string(root.join(format!("{pid}/status"))).ok()?;
    let numbers = text.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    numbers.split_whitespace().last()?.parse().ok()
}

/// A process that has given itself a title has all of it in its first argument, so words are
/// split at spaces too.
fn words(root: &Path, pid: u32) -> Vec<String> {
    let line = std::fs::read(root.join(format!("{pid}/cmdline"))).unwrap_or_default();
    String::from_utf8_lossy(&line)
        .split(|c: char| c == '\0' || c.is_whitespace())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_parentheses() {
        let found = stat(7, "7 (a) b) T 3 7 7").unwrap();
        assert_eq!((found.state, found.parent), ('T', 3));
        assert!(stat(7, "7 (a").is_none());
    }

    #[test]
    fn a_family_has_its_children() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let family = family(std::process::id()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(family[0].pid, std::process::id());
        let found = family.iter().find(|process| process.pid == child.id());
        // Between fork and exec it has our own command line.
        assert_eq!(found.unwrap().parent, std::process::id());
        assert!(super::family(u32::MAX).is_err());
    }
}
