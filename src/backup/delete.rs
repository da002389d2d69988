//! `ooy backup delete`: backups, and those that are no longer kept.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::restore::state;
use super::retention::Retention;
use super::store::{Backup, Store};
use crate::fault::{Fault, Result};
use crate::host::disk::human;
use crate::lifecycle::Context;
use crate::operation::Kind;

/// Those that the settings no longer keep.
pub fn expired(context: &Context) -> Result<Vec<Backup>> {
    let store = Store::of(&context.settings);
    let all = store.own().map_err(|error| store.unreadable(&error))?;
    let needed = needed(context);
    let retention = Retention::of(&context.settings);
    let expired = retention.expired(&all, &needed, Timestamp::now());
    Ok(expired.into_iter().cloned().collect())
}

/// Those that a restore under way, or its way back, needs.
fn needed(context: &Context) -> BTreeSet<String> {
    let state = state::read(&context.settings.places.state);
    let unfinished = state.ok().flatten();
    unfinished.map(|state| state.source).into_iter().collect()
}

/// Whether this one may go. `force`: also one that was made to be kept.
pub fn allowed(context: &Context, backup: &Backup, force: bool) -> Result<()> {
    let refuse = |what: String| {
        Fault::problem(format!("backup {}: not removed", backup.id), what)
            .evidence(backup.path.display().to_string())
    };
    if needed(context).contains(&backup.id) {
        return Err(Box::new(
            refuse("a restore that was cut off needs it".to_owned())
                .why("without it the restore can only be taken back")
                .next(context.command("resume")),
        ));
    }
    if let (Some(reason), false) = (backup.keep(), force) {
        return Err(Box::new(
            refuse("it was made to be kept".to_owned())
                .evidence(format!("kept for: {reason}"))
                .why("what it is kept for may still need it")
                .next(context.command(&format!("backup delete --force {}", backup.id))),
        ));
    }
    Ok(())
}

/// Removes it. To be called with the lock of backups.
pub fn delete(context: &Context, backup: &Backup) -> Result<()> {
    let (reporter, size) = (&context.reporter, human(backup.bytes()));
    reporter.tell(
        "delete",
        Kind::Started,
        None,
        format!("removing {}", backup.id),
    );
    Store::of(&context.settings)
        .remove(backup)
        .map_err(|error| {
            Box::new(
                Fault::problem(
                    format!("backup {}: not removed", backup.id),
                    "its folder could not be removed",
                )
                .evidence(format!("{}: {error}", backup.path.display()))
                .why("it takes the room that it took")
                .next(context.command(&format!("backup delete {}", backup.id)))
                .next(format!("ls -ld {}", backup.path.display())),
            )
        })?;
    reporter.tell(
        "delete",
        Kind::Done,
        None,
        format!("{} removed ({size})", backup.id),
    );
    Ok(())
}
