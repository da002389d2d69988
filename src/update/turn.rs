//! One at a time: nothing else may be at work on the deployment, nothing may have been cut off, and
//! nobody else may be replacing the same executable.
//!
//! Several deployments, and a telephone exchange without any, can share an executable. So there is a
//! lock on the folder that it lies in, always, and the deployment's own lock where it has a state
//! folder. Both are the kernel's, and free again however this process ends.

use std::fs::File;
use std::path::Path;

use super::installed::Installed;
use crate::backup::restore;
use crate::deployment::places::Places;
use crate::fault::{Fault, Kind, Result};
use crate::host::{locks, processes};
use crate::operation::{Operation, Reporter};
use crate::upgrade;

/// The locks, and the journal.
pub struct Turn {
    _folder: File,
    _operation: Option<Operation>,
}

impl Turn {
    /// Takes the locks and begins to journal what the reporter tells. `asked` is the command with what
    /// it was asked for.
    pub fn take(
        installed: &Installed,
        places: &Places,
        asked: &str,
        reporter: &Reporter,
    ) -> Result<Self> {
        let again = places.command(asked);
        let folder = lock(installed, &again)?;
        let state = &places.state;
        let operation = match state.is_dir() {
            true => Some(Operation::begin(
                state,
                "self-update",
                asked,
                &again,
                reporter,
            )?),
            false => None,
        };
        nothing_unfinished(places)?;
        Ok(Self {
            _folder: folder,
            _operation: operation,
        })
    }
}

/// The lock on the folder: no file is left behind by it.
fn lock(installed: &Installed, again: &str) -> Result<File> {
    let path = installed.folder();
    let failed = |error: &std::io::Error| Box::new(installed.not_written(error, again));
    let folder = File::open(path).map_err(|error| failed(&error))?;
    let mut holder = None;
    let holder_lives = || {
        holder = locks::holder(path).ok().flatten();
        holder.is_some_and(processes::lives)
    };
    match locks::take(&folder, holder_lives).map_err(|error| failed(&error))? {
        true => Ok(folder),
        false => Err(Box::new(held(path, holder, again))),
    }
}

fn held(folder: &Path, holder: Option<u32>, again: &str) -> Fault {
    let fault = Fault::new(
        Kind::Locked,
        "another self-update is running",
        "one at a time may replace the executable; nothing was done",
    )
    .why("each would take away what the other has made ready");
    match holder {
        Some(pid) => fault
            .evidence(format!("process {pid} holds {}", folder.display()))
            .next(format!("ps -o pid,etime,args -p {pid}")),
        None => fault.evidence(format!("somebody holds {}", folder.display())),
    }
    .next(again.to_owned())
}

/// A restore or an upgrade that was cut off is finished by the version that has begun it.
pub fn nothing_unfinished(places: &Places) -> Result<()> {
    let state = &places.state;
    let restore = match restore::state::read(state) {
        Ok(None) => None,
        Ok(Some(begun)) => Some(format!("a restore of {}", begun.source)),
        Err(error) => Some(format!(
            "a restore ({}: {error})",
            state.join("restore.json").display()
        )),
    };
    let upgrade = match upgrade::state::read(state) {
        Ok(None) => None,
        Ok(Some(begun)) => Some(format!("{}: {}", begun.name(), begun.phase.words())),
        Err(error) => Some(format!(
            "an upgrade ({}: {error})",
            state.join("upgrade.json").display()
        )),
    };
    let Some(unfinished) = restore.or(upgrade) else {
        return Ok(());
    };
    Err(Box::new(
        Fault::problem(
            "self-update: something was cut off in the middle",
            "an operation has begun and not come to its end",
        )
        .evidence(unfinished)
        .why("another version of ooy may not know how to finish it; nothing was done")
        .next(places.command("resume"))
        .next(places.command("resume --undo")),
    ))
}
