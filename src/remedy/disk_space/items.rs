//! What can be freed.

use std::path::{Path, PathBuf};

use super::super::{Job, Refusal};
use super::{Found, leftovers};
use crate::backup::{self, Backup};
use crate::diagnosis::{Halt, Log, Scene, container_logs, unused_images};
use crate::engine::system::UnusedImage;
use crate::fault::Fault;
use crate::host::disk::human;
use crate::host::process;

/// So much of a log that is cut stays: its last lines, in which a person looks for the reason.
pub const KEEP: u64 = 1024 * 1024;

/// On a full disk logs from here on are cut too, if nothing else helped.
const WORTH_IT: u64 = 10 * 1024 * 1024;

/// Something that takes room.
pub struct Item {
    /// What.
    pub what: What,
    /// Bytes that it takes; of an image at most, since layers may be shared.
    pub size: u64,
    /// It goes only as long as the disk is full after everything else.
    pub only_while_full: bool,
}

/// Of which kind it is.
pub enum What {
    /// A container's log, its rotated predecessors included.
    Log(Log),
    /// An image that nobody uses.
    Image(UnusedImage),
    /// What the builder keeps.
    BuildCache,
    /// Left behind by an `ooy` that was killed.
    Left(PathBuf),
    /// A backup that is no longer kept (BACKUP_KEEP, BACKUP_KEEP_DAYS).
    Backup(Box<Backup>),
}

impl Item {
    /// In words, as a step of the plan.
    pub fn step(&self) -> String {
        let size = human(self.size);
        match &self.what {
            What::Log(log) => format!(
                "cut the log of {} to its last {} ({size})",
                log.service,
                human(KEEP)
            ),
            What::Image(image) => format!("remove image {} (up to {size})", image.name),
            What::BuildCache => format!("clear the build cache ({size})"),
            What::Left(path) => {
                format!("remove {}, left by a killed ooy ({size})", path.display())
            }
            What::Backup(backup) => format!("remove expired backup {} ({size})", backup.id),
        }
    }

    /// By a name that does not depend on the moment. Logs are all alike; an image is agreed to by
    /// its name.
    pub fn touches(&self) -> String {
        match &self.what {
            What::Log(_) => "logs of containers".to_owned(),
            What::Image(image) => format!("image {}", image.name),
            What::BuildCache => "build cache".to_owned(),
            What::Left(_) => "files of ooy".to_owned(),
            What::Backup(backup) => format!("backup {}", backup.id),
        }
    }
}

/// Everything that was found reason to free, on the disk of Docker's folder.
pub async fn collect(
    scene: &Scene,
    job: &Job,
    found: Found,
    root: &Path,
) -> Result<Vec<Item>, Refusal> {
    let settings = &job.context.settings;
    let mut items = Vec::new();
    if found.short() || found.logs {
        let limit = settings.megabytes("LOG_OVERSIZED_MB");
        let logs = container_logs(scene)
            .await
            .map_err(|halt| unseen(job, halt))?;
        items.extend(logs.into_iter().filter_map(|log| {
            let oversized = log.size > limit;
            let worth_it = found.full && log.size > WORTH_IT;
            (oversized || worth_it).then_some(Item {
                size: log.size,
                what: What::Log(log),
                only_while_full: !oversized,
            })
        }));
    }
    if found.short() || found.images {
        let only_while_full = job.wishes.unattended;
        let beside = unused_images(scene)
            .await
            .map_err(|halt| unseen(job, halt))?;
        items.extend(beside.unused.into_iter().map(|image| Item {
            size: image.size,
            what: What::Image(image),
            only_while_full,
        }));
        if let Ok(engine) = scene.engine().await
            && let Some(size) = engine.build_cache().await.filter(|size| *size > 0)
        {
            items.push(Item {
                what: What::BuildCache,
                size,
                only_while_full,
            });
        }
    }
    if found.short() {
        let left = leftovers::find(&settings.places);
        items.extend(left.into_iter().map(|(path, size)| Item {
            what: What::Left(path),
            size,
            only_while_full: false,
        }));
        // One that cannot be told to be expired stays.
        let expired = backup::delete::expired(&job.context).unwrap_or_default();
        let expired = expired
            .into_iter()
            .filter(|backup| is_on_one_disk(&backup.path, root));
        items.extend(expired.map(|backup| Item {
            size: backup.bytes(),
            what: What::Backup(Box::new(backup)),
            only_while_full: false,
        }));
    }
    Ok(items)
}

fn is_on_one_disk(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let device = |path: &Path| std::fs::metadata(path).map(|about| about.dev()).ok();
    device(one).is_some_and(|one| device(other) == Some(one))
}

fn unseen(job: &Job, halt: Halt) -> Refusal {
    let why = match halt {
        Halt::Unused(why) | Halt::Blocked { why, .. } | Halt::Unknown(why) => why,
    };
    let fault = Fault::problem(
        "disk: cannot be looked at",
        "what takes the room could not be found out",
    )
    .evidence(job.context.mask.apply(&why))
    .evidence(format!("user {}", process::user_name()))
    .why("nothing is removed that was not looked at");
    let fault = if process::is_root() {
        fault.next(job.command("diagnose container-logs"))
    } else {
        fault.next(format!("sudo {}", job.again))
    };
    Refusal::Fault(Box::new(fault))
}
