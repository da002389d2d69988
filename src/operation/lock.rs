//! One changing operation at a time. The kernel holds the lock for the process, so that it is
//! free again however the process ends; the file's text only says who holds it.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::fault::{Fault, Kind, Result};
use crate::host::{locks, process, processes};

/// Who holds the lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process.
    pub pid: u32,
    /// Its user.
    pub user: String,
    /// What it does: `start`.
    pub operation: String,
    /// Since when.
    pub since: Timestamp,
}

/// The held lock; dropped, it is free.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the deployment's lock, or says who holds it (exit code 3).
    pub fn take(state: &Path, operation: &str, again: &str) -> Result<Self> {
        Self::take_named(state, "lock", operation, again)
    }

    /// The same for a lock of another name, beside the deployment's.
    pub fn take_named(state: &Path, name: &str, operation: &str, again: &str) -> Result<Self> {
        let path = state.join(name);
        let failed = |error: std::io::Error| {
            Box::new(
                Fault::problem(
                    format!("{}: cannot be used", path.display()),
                    "the lock of this deployment could not be taken",
                )
                .evidence(error.to_string())
                .why("two operations at the same time would undo each other's work")
                .next(format!("sudo {again}"))
                .next(format!("df -h {}", state.display())),
            )
        };
        let mut file = locks::open(&path).map_err(failed)?;
        let mut holder: Option<Holder> = None;
        let holder_lives = || {
            let mut text = String::new();
            // The holder may be writing it at this moment; then it is just not named.
            let _ = (&file)
                .rewind()
                .and_then(|()| (&file).read_to_string(&mut text));
            holder = serde_json::from_str(&text).ok();
            holder
                .as_ref()
                .is_none_or(|holder| processes::lives(holder.pid))
        };
        if !locks::take(&file, holder_lives).map_err(failed)? {
            return Err(Box::new(held(holder, again)));
        }
        let holder = Holder {
            pid: std::process::id(),
            user: process::user_name(),
            operation: operation.to_owned(),
            since: Timestamp::now(),
        };
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            serde_json::to_writer(&*file, &holder)?;
            file.write_all(b"\n")
        };
        // A full disk must not keep the operator from `ooy stop` or a repair.
        let _ = write(&mut file);
        Ok(Self { _file: file })
    }
}

/// Who holds the lock at this moment, without touching it: its process, and what it says of
/// itself in the lock's file.
pub fn holder(state: &Path) -> std::io::Result<Option<(u32, Option<Holder>)>> {
    let path = state.join("lock");
    let Some(pid) = locks::holder(&path)? else {
        return Ok(None);
    };
    let said = std::fs::read(&path)
        .ok()
        .and_then(|text| serde_json::from_slice::<Holder>(&text).ok())
        // Of the one before, where this one could not or did not write it.
        .filter(|holder| holder.pid == pid);
    Ok(Some((pid, said)))
}

fn held(holder: Option<Holder>, again: &str) -> Fault {
    let fault = Fault::new(
        Kind::Locked,
        "another operation is running",
        "one operation at a time may change this deployment; nothing was done",
    );
    let fault = match holder {
        Some(holder) => fault
            .evidence(format!(
                "ooy {} by {}, process {}, since {}",
                holder.operation,
                holder.user,
                holder.pid,
                holder.since.strftime("%H:%M:%S UTC")
            ))
            .why("two operations at the same time would undo each other's work")
            .next(format!("ps -o pid,etime,args -p {}", holder.pid)),
        None => fault
            .evidence("its process has not said yet who it is")
            .why("two operations at the same time would undo each other's work"),
    };
    fault.next(again.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_holds_it_and_a_dropped_lock_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let first = Lock::take(folder.path(), "start", "ooy start").unwrap();
        let second = Lock::take(folder.path(), "stop", "ooy stop").unwrap_err();
        assert_eq!(second.kind, Kind::Locked);
        assert!(second.evidence[0].contains(&format!("process {}", std::process::id())));
        let (pid, said) = holder(folder.path()).unwrap().unwrap();
        assert_eq!(pid, std::process::id());
        assert_eq!(said.unwrap().operation, "start");
        drop(first);
        assert_eq!(holder(folder.path()).unwrap(), None);
        Lock::take(folder.path(), "stop", "ooy stop").unwrap();
    }
}
