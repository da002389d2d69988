//! One watch a deployment. The kernel holds the lock for the process.

use std::fs::{File, TryLockError};

use crate::deployment::places::Places;
use crate::fault::{Fault, Kind, Result};
use crate::host::locks;

/// Held as long as this lives.
#[derive(Debug)]
pub struct Alone {
    _file: File,
}

impl Alone {
    /// Takes it, or says who watches already (exit code 3).
    pub fn take(places: &Places) -> Result<Self> {
        let path = places.state.join("watch.lock");
        let again = places.command("watch");
        let failed = |error: std::io::Error| {
            Box::new(
                Fault::problem(
                    format!("{}: cannot be used", path.display()),
                    "the lock of the watch could not be taken",
                )
                .evidence(error.to_string())
                .why("two that watch would repair and report everything twice")
                .next(format!("sudo {again}"))
                .next(format!("df -h {}", places.state.display())),
            )
        };
        let file = locks::open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::Error(error)) => Err(failed(error)),
            Err(TryLockError::WouldBlock) => {
                let holder = locks::holder(&path).ok().flatten();
                let fault = Fault::new(
                    Kind::Locked,
                    "another watch is running",
                    "one watch at a time may look after this deployment; nothing was done",
                )
                .evidence(match holder {
                    Some(pid) => format!("{} is held by process {pid}", path.display()),
                    None => format!("{} is held", path.display()),
                })
                .why("two that watch would repair and report everything twice");
                Err(Box::new(match holder {
                    Some(pid) => fault.next(format!("ps -o pid,user,etime,args -p {pid}")),
                    None => fault.next(again),
                }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_watches() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::new(Some(folder.path()));
        let _first = Alone::take(&places).unwrap();
        let second = Alone::take(&places).unwrap_err();
        assert_eq!(second.kind.exit_code(), 3);
        assert!(second.evidence[0].contains(&format!("process {}", std::process::id())));
    }
}
