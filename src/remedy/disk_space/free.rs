//! Freeing: logs first, since removing an image takes a little room itself.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::items::{Item, KEEP, What};
use super::{Work, space};
use crate::backup::{self, Backup};
use crate::engine::Engine;
use crate::fault::Fault;
use crate::host::cut;
use crate::host::disk::{Space, human};
use crate::operation::Kind;

/// What came of it.
pub struct Freed {
    /// Bytes by which the disk has become emptier, as it says itself.
    pub bytes: u64,
    /// The disk afterwards.
    pub space: Space,
    /// What could not be freed, and why.
    pub complaints: Vec<String>,
}

impl Freed {
    /// In words.
    pub fn told(&self) -> String {
        let mut said = format!(
            "{} freed: {} % used, {} free",
            human(self.bytes),
            self.space.used_percent,
            human(self.space.available)
        );
        if let Some(first) = self.complaints.first() {
            said += &format!(" (not all: {first})");
        }
        said
    }
}

/// Frees one after the other; what cannot be freed keeps nothing from the rest.
pub async fn free(work: &Work, items: Vec<Item>) -> Result<Freed, Box<Fault>> {
    let job = &work.job;
    let engine = Engine::connect()
        .await
        .map_err(|error| Box::new(error.fault(&job.again)))?;
    let before = space(&work.root)?;
    let mut freed = Freed {
        bytes: 0,
        space: before.clone(),
        complaints: Vec::new(),
    };
    let (last, always): (Vec<Item>, Vec<Item>) =
        items.into_iter().partition(|item| item.only_while_full);
    for round in [always, last] {
        let (logs, others): (Vec<Item>, Vec<Item>) = round
            .into_iter()
            .partition(|item| matches!(item.what, What::Log(_)));
        for item in logs.into_iter().chain(others) {
            if item.only_while_full && !work.limits.is_full(&freed.space) {
                continue;
            }
            one(work, &engine, item, &mut freed).await?;
        }
    }
    freed.bytes = freed.space.free.saturating_sub(before.free);
    Ok(freed)
}

async fn one(
    work: &Work,
    engine: &Engine,
    item: Item,
    freed: &mut Freed,
) -> Result<(), Box<Fault>> {
    let reporter = &work.job.context.reporter;
    let began = Instant::now();
    reporter.tell("free", Kind::Started, None, item.step());
    let name = match &item.what {
        What::Log(log) => format!("log of {}", log.service),
        What::Image(image) => format!("image {}", image.name),
        What::BuildCache => "build cache".to_owned(),
        What::Left(path) => path.display().to_string(),
        What::Backup(backup) => format!("backup {}", backup.id),
    };
    let done = match item.what {
        What::Log(log) => cut_log(log.path).await,
        What::Image(image) => match engine.remove_image(&image).await {
            Ok(()) => Ok("removed".to_owned()),
            Err(error) => Err(error.to_string()),
        },
        What::BuildCache => match engine.prune_build_cache().await {
            Ok(()) => Ok("cleared".to_owned()),
            Err(error) => Err(error.to_string()),
        },
        What::Left(path) => remove(&path).map(|()| "removed".to_owned()),
        What::Backup(backup) => remove_backup(work, &backup).map(|()| "removed".to_owned()),
    };
    let now = space(&work.root)?;
    let took = Some(began.elapsed());
    match done {
        Ok(what) => {
            let bytes = human(now.free.saturating_sub(freed.space.free));
            let detail = format!("{name}: {what}, {bytes} freed");
            reporter.tell("free", Kind::Done, took, detail);
        }
        Err(why) => {
            let complaint = format!("{name}: {why}");
            let shown = work.job.context.mask.apply(&complaint);
            reporter.tell("free", Kind::Failed, took, shown);
            freed.complaints.push(complaint);
        }
    }
    freed.space = now;
    Ok(())
}

/// The rotated ones go whole, the present one is cut; on a thread of its own, as a full disk may be
/// a slow one.
async fn cut_log(path: PathBuf) -> Result<String, String> {
    let work = move || -> Result<u64, cut::Error> {
        let whose = path.parent().and_then(Path::file_name);
        let docker = whose.is_some_and(|id| {
            let name = format!("{}-json.log", id.to_string_lossy());
            path.file_name() == Some(std::ffi::OsStr::new(&name))
        });
        if !docker {
            // Never anything else, whatever the Engine says that the log is.
            return Err(cut::Error::File(std::io::Error::new(
                std::io::ErrorKind::InvalidInput,
                format!("{} is not a log of Docker's", path.display()),
            )));
        }
        // First what is large and has no reader.
        cut::remove_rotated(&path)?;
        cut::cut(&path, KEEP)
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(_)) => Ok("cut to its last lines".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// Unless somebody is at work on backups at this moment: it may be this one that he reads.
fn remove_backup(work: &Work, backup: &Backup) -> Result<(), String> {
    let job = &work.job;
    let state = &job.context.settings.places.state;
    let _lock = backup::lock(state, "fix disk-space", &job.again).map_err(|fault| fault.what)?;
    backup::Store::of(&job.context.settings)
        .remove(backup)
        .map_err(|error| error.to_string())
}

fn remove(path: &Path) -> Result<(), String> {
    let removed = if path.is_dir() {
        std::fs::remove_dir_all(path)
    } else {
        std::fs::remove_file(path)
    };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.to_string()),
        _ => Ok(()),
    }
}
