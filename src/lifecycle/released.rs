//! Whether a release task can be left out, because the same one has done all there is to do.
//!
//! Loading RapidPro takes seconds, and most starts (after a reboot, after `ooy stop`) migrate
//! nothing. What was true when a task ended is a fact about the image: which migrations are all
//! of its migrations. Whether they are applied is asked of the database at each start, and for
//! which image the static files were made of their volume; nothing is believed that may have
//! changed meanwhile.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::deployment::services::{ReleaseTask, Service};
use crate::engine::containers::Container;
use crate::host::{files, text};

/// The file in a volume that names the image its static files were made of; the release task's
/// scripts write it.
const MARK: &str = ".ooy-release";

/// What a release task has shown of an image.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Released {
    /// Id of the image.
    image: String,
    /// Digest of the script that ran: a newer `ooy` may do more.
    script: String,
    /// Digest of all its migrations (host/postgres/migrations.rs).
    migrations: String,
}

impl Released {
    fn new(task: &ReleaseTask, container: &Container, migrations: &str) -> Self {
        Self {
            image: container.image_id.clone(),
            script: text::hex(&Sha256::digest(task.script)),
            migrations: migrations.to_owned(),
        }
    }
}

/// Whether all that the task would do is done already. `applied` is the digest of what the
/// database has now. Whatever cannot be seen is not done.
pub fn nothing_to_do(
    state: &Path,
    service: &Service,
    task: &ReleaseTask,
    container: &Container,
    applied: Option<&str>,
) -> bool {
    let Some(applied) = applied else {
        return false;
    };
    let wanted = Released::new(task, container, applied);
    let known = std::fs::read(file(state, service))
        .ok()
        .and_then(|text| serde_json::from_slice::<Released>(&text).ok());
    known == Some(wanted)
        && container.volumes.iter().any(|volume| {
            std::fs::read_to_string(volume.join(MARK))
                .is_ok_and(|image| image == container.image_id)
        })
}

/// Whether this digest of applied migrations is that of all migrations of the container's image;
/// `None` where no release task has ended well with this image yet, and so nobody knows.
pub fn is_migrated(
    state: &Path,
    service: &Service,
    container: &Container,
    applied: &str,
) -> Option<bool> {
    let text = std::fs::read(file(state, service)).ok()?;
    let known = serde_json::from_slice::<Released>(&text).ok()?;
    (known.image == container.image_id).then(|| known.migrations == applied)
}

/// Keeps what a task that ended well has shown. Not being able to keep it costs the next start a
/// few seconds.
pub fn remember(
    state: &Path,
    service: &Service,
    task: &ReleaseTask,
    container: &Container,
    migrations: &str,
) {
    let released = Released::new(task, container, migrations);
    if let Ok(text) = serde_json::to_vec(&released) {
        let _ = files::write_atomic(&file(state, service), &text, 0o600);
    }
}

fn file(state: &Path, service: &Service) -> PathBuf {
    state.join("release").join(format!("{}.json", service.name))
}
