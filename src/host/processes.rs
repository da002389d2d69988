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

/// A process and all that come of it, itself first, parents before children.
pub fn family(pid: u32) -> io::Result<Vec<Process>> {
    let root = Path::new("/proc");
    let first = read(root, pid)
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no process {pid}")))?;
    let mut everybody = None;
    let mut family = vec![first];
    let mut next = 0;
    while let Some(parent) = family.get(next).map(|process| process.pid) {
        let children = match children(root, parent) {
            Some(children) => children,
            // A kernel without that list: all processes have to be looked through.
            None => everybody
                .get_or_insert_with(|| all(root))
                .iter()
                .filter(|process| process.parent == parent)
                .map(|process| process.pid)
                .collect(),
        };
        // Those that end meanwhile are left out.
        family.extend(children.into_iter().filter_map(|pid| read(root, pid)));
        next += 1;
    }
    Ok(family)
}

/// A thread's children, for all threads of a process (proc(5), `children`).
fn children(root: &Path, pid: u32) -> Option<Vec<u32>> {
    let threads = std::fs::read_dir(root.join(format!("{pid}/task"))).ok();
    let mut children = Vec::new();
    for thread in threads.into_iter().flatten().flatten() {
        let text = match std::fs::read_to_string(thread.path().join("children")) {
            Ok(text) => text,
            Err(_) if thread.path().exists() => return None,
            // It has ended.
            Err(_) => continue,
        };
        children.extend(
            text.split_whitespace()
                .filter_map(|pid| pid.parse::<u32>().ok()),
        );
    }
    Some(children)
}

fn all(root: &Path) -> Vec<Stat> {
    let entries = std::fs::read_dir(root).into_iter().flatten();
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| stat(root, pid))
        .collect()
}

fn read(root: &Path, pid: u32) -> Option<Process> {
    let stat = stat(root, pid)?;
    Some(Process {
        pid,
        inner_pid: inner_pid(root, pid).unwrap_or(pid),
        parent: stat.parent,
        state: stat.state,
        words: words(root, pid),
    })
}

/// How many pipes a process holds beside its standard streams. Only root may ask for others'.
pub fn pipes(pid: u32) -> io::Result<usize> {
    let folder = std::fs::read_dir(format!("/proc/{pid}/fd"))?;
    Ok(folder
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let number: u32 = entry.file_name().to_str()?.parse().ok()?;
            let target = std::fs::read_link(entry.path()).ok()?;
            (number > 2 && target.to_str()?.starts_with("pipe:")).then_some(())
        })
        .count())
}

/// A figure that moves whenever the process does anything: how often it has run and waited
/// (proc(5), `voluntary_ctxt_switches`). One that waits for an answer that never comes stands
/// still. `None`: there is no such process.
pub fn activity(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(
        text.lines()
            .filter(|line| line.contains("voluntary_ctxt_switches"))
            .filter_map(|line| line.rsplit_once('\t')?.1.trim().parse::<u64>().ok())
            .sum(),
    )
}

/// Whether there is a process of that number.
pub fn lives(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Lets a process go on that was stopped by a signal.
pub fn wake(pid: u32) -> io::Result<()> {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no process {pid}")))?;
    Ok(rustix::process::kill_process(
        pid,
        rustix::process::Signal::CONT,
    )?)
}

struct Stat {
    pid: u32,
    parent: u32,
    state: char,
}

fn stat(root: &Path, pid: u32) -> Option<Stat> {
    parse_stat(
        pid,
        &std::fs::read_to_string(root.join(format!("{pid}/stat"))).ok()?,
    )
}

/// `PID (NAME) STATE PARENT ...`; a name may hold anything, `)` too (proc(5)).
fn parse_stat(pid: u32, text: &str) -> Option<Stat> {
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
        let found = parse_stat(7, "7 (a) b) T 3 7 7").unwrap();
        assert_eq!((found.state, found.parent), ('T', 3));
        assert!(parse_stat(7, "7 (a").is_none());
    }

    #[test]
    fn one_that_works_is_told_from_one_that_waits() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        // Until it has come to its sleep.
        let mut before = activity(child.id());
        for _ in 0..100 {
            std::thread::sleep(std::time::Duration::from_millis(50));
            let now = activity(child.id());
            if now == before {
                break;
            }
            before = now;
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
        assert_eq!(activity(child.id()), before);
        // It wakes up for it, and sleeps again.
        wake(child.id()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(activity(u32::MAX), None);
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
        let everybody = all(Path::new("/proc"));
        assert!(everybody.iter().any(|one| one.pid == std::process::id()));
        // Between fork and exec it has our own command line.
        assert_eq!(found.unwrap().parent, std::process::id());
        assert!(super::family(u32::MAX).is_err());
    }
}
