//! Backups: made, proved by restoring them, kept, removed, and put back.
//!
//! A backup is a folder. It has its name only once it is complete, and counts as one only once it
//! has been restored somewhere and the same rows were there.

pub mod create;
pub mod delete;
mod forecast;
pub mod kept;
pub mod load;
pub mod manifest;
pub mod prepare;
pub mod restore;
pub mod retention;
pub mod room;
pub mod store;
pub mod target;
pub mod verify;

use std::io;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

pub use forecast::forecast;
pub use store::{Backup, Store};

use crate::deployment::settings::Settings;
use crate::fault::Result;
use crate::host::text::hex;
use crate::operation::lock::Lock;

/// One of `backup create`, `verify`, `delete` and `restore` at a time. Not by the deployment's lock:
/// a nightly backup takes minutes, and must not keep anybody from repairing what has stopped
/// meanwhile. What replaces databases takes both.
pub fn lock(state: &Path, operation: &str, again: &str) -> Result<Lock> {
    Lock::take_named(state, "backup.lock", operation, again)
}

/// Work that reads whole files, on a thread of its own. What it is given says whether anybody still
/// waits for it: a runtime that ends (Ctrl-C) waits for such threads, and a file may have 40 GB.
async fn reading<T: Send + 'static>(
    work: impl FnOnce(&dyn Fn() -> bool) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let waiting = Arc::new(());
    let awaited = Arc::downgrade(&waiting);
    let done = tokio::task::spawn_blocking(move || work(&|| awaited.strong_count() > 0)).await;
    drop(waiting);
    done.map_err(io::Error::other)?
}

/// The name of a database of ours beside the applications': always the same for one deployment, so
/// that what a killed run has left is found by the next one. `what` says what for.
fn beside(settings: &Settings, what: &str, owner: &str) -> String {
    let place = settings.places.state.display();
    let which = format!("{} {place}", settings.project());
    let which = hex(&Sha256::digest(which)[..4]);
    format!("ooy_{what}_{which}_{owner}")
}
