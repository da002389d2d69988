//! `ooy fix disk-space`: room, the largest first, and what a full disk has broken works again.
//!
//! What is never touched: volumes, containers in whatever state, images that a container of
//! anybody was made from, and anything of another project. What is done follows what was found:
//! an oversized log alone costs no image.

mod after;
mod free;
mod items;
mod leftovers;
mod tell;

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::{Job, Plan, Planning, Refusal, Remedy, Takes};
use crate::deployment::settings::Settings;
use crate::diagnosis::{Code, Severity};
use crate::fault::Fault;
use crate::host::disk::{self, Space, human};
use items::Item;

/// The repair.
pub const REMEDY: Remedy = Remedy {
    name: "disk-space",
    about: "room on the disk: oversized logs, unused images, build cache",
    codes: &[
        Code::DiskFull,
        Code::DiskLow,
        Code::LogOversized,
        Code::DockerReclaimable,
    ],
    takes: Takes::Nothing,
    // Where nobody looks: a full disk and a log without end. Images go then only as long as the
    // disk is full after the logs were cut: they come back by a download alone.
    unattended: |finding| match finding.code {
        Code::DiskFull => finding.severity == Severity::Error,
        Code::LogOversized => finding.severity > Severity::Info,
        _ => false,
    },
    settles: Duration::from_secs(30),
    otherwise: &["diagnose disk-space", "diagnose container-logs"],
    plan: |job| -> Planning { Box::pin(plan(job)) },
};

/// With so many bytes free a start is worth the attempt on a disk that is still full.
const ENOUGH_TO_START: u64 = 256 * 1024 * 1024;

/// What was found, and so what is to be done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Found {
    full: bool,
    low: bool,
    logs: bool,
    images: bool,
}

impl Found {
    fn of(job: &Job) -> Self {
        let has = |code| job.findings.iter().any(|finding| finding.code == code);
        Self {
            full: has(Code::DiskFull),
            low: has(Code::DiskLow),
            logs: has(Code::LogOversized),
            images: has(Code::DockerReclaimable),
        }
    }

    fn short(self) -> bool {
        self.full || self.low
    }
}

/// From where on a disk is full or low, as the check has it.
#[derive(Debug, Clone, Copy)]
struct Limits {
    full: u64,
    low: u64,
    reserve: u64,
}

impl Limits {
    fn of(settings: &Settings) -> Self {
        Self {
            full: settings.number("DISK_FULL_PERCENT"),
            low: settings.number("DISK_LOW_PERCENT"),
            reserve: settings.megabytes("DISK_RESERVE_MB"),
        }
    }

    fn is_full(&self, space: &Space) -> bool {
        u64::from(space.used_percent) >= self.full || space.available < self.reserve
    }

    fn is_low(&self, space: &Space) -> bool {
        self.is_full(space) || u64::from(space.used_percent) >= self.low
    }
}

/// A repair under way.
struct Work {
    job: Rc<Job>,
    found: Found,
    limits: Limits,
    /// Docker's folder: the disk that all of this is about.
    root: PathBuf,
}

async fn plan(job: Rc<Job>) -> Result<Plan, Refusal> {
    let found = Found::of(&job);
    let limits = Limits::of(&job.context.settings);
    let scene = job.look();
    let engine = match scene.try_engine().await {
        Ok(engine) => engine,
        Err(error) => {
            let fault = error.fault(&job.again);
            return Err(Refusal::Fault(Box::new(
                tell::with_largest(fault, Path::new("/"), &job.context.mask).await,
            )));
        }
    };
    let root = engine
        .root_folder()
        .await
        .map_err(|error| Box::new(error.fault(&job.again)))?;
    let mut items = items::collect(&scene, &job, found, &root).await?;
    if items.is_empty() && !job.resumes {
        return Err(nothing_to_free(&job, &root, found).await);
    }
    items.sort_by(|a, b| {
        a.only_while_full
            .cmp(&b.only_while_full)
            .then(b.size.cmp(&a.size))
    });
    let work = Work {
        job,
        found,
        limits,
        root,
    };
    let checks_services = found.short() || work.job.resumes;
    let mut touches: Vec<String> = items.iter().map(Item::touches).collect();
    touches.dedup();
    Ok(Plan {
        steps: steps(&items, checks_services),
        meanwhile: meanwhile(&items),
        touches,
        act: Box::pin(async move { work.act(items).await }),
    })
}

fn steps(items: &[Item], checks_services: bool) -> Vec<String> {
    let (last, always): (Vec<&Item>, Vec<&Item>) =
        items.iter().partition(|item| item.only_while_full);
    let mut steps: Vec<String> = always.iter().map(|item| item.step()).collect();
    if !last.is_empty() {
        let said: Vec<String> = last.iter().map(|item| item.step()).collect();
        steps.push(format!(
            "only if the disk is still full then: {}",
            said.join(", ")
        ));
    }
    if checks_services {
        steps.push(
            "see that PostgreSQL and Elasticsearch take changes, and start what does not run"
                .to_owned(),
        );
    }
    steps
}

fn meanwhile(items: &[Item]) -> String {
    let logs = items
        .iter()
        .any(|item| matches!(item.what, items::What::Log(_)));
    if logs {
        format!(
            "everything runs on, and logs on; of a log that is cut the last {} stay",
            human(items::KEEP)
        )
    } else {
        "everything runs on".to_owned()
    }
}

impl Work {
    async fn act(self, items: Vec<Item>) -> Result<String, Vec<Fault>> {
        let one = |fault: Box<Fault>| vec![*fault];
        let freed = free::free(&self, items).await.map_err(one)?;
        let space = &freed.space;
        let short = if self.found.full {
            self.limits.is_full(space)
        } else {
            self.found.low && self.limits.is_low(space)
        };
        if short {
            let mut faults = vec![still_short(&self, &freed).await];
            // The little that was freed may be enough to go on with.
            if self.found.full && space.available >= ENOUGH_TO_START {
                let after = after::see_to_it(&self.job, &self.root, true).await;
                faults.extend(after.err().into_iter().flatten());
            }
            return Err(faults);
        }
        let mut said = vec![freed.told()];
        if self.found.short() || self.job.resumes {
            let was_full = self.found.full || self.job.resumes;
            said.extend(after::see_to_it(&self.job, &self.root, was_full).await?);
        }
        Ok(said.join("; "))
    }
}

fn space(root: &Path) -> Result<Space, Box<Fault>> {
    disk::space(root).map_err(|error| {
        Box::new(
            Fault::problem(
                format!("{}: cannot be measured", root.display()),
                "how full the disk with Docker's data is could not be found out",
            )
            .evidence(error.to_string())
            .why("whether something was freed would not be known")
            .next(format!("df -h {}", root.display())),
        )
    })
}

async fn nothing_to_free(job: &Job, root: &Path, found: Found) -> Refusal {
    if !found.short() {
        // What was found has gone meanwhile.
        return Refusal::Nothing("nothing to fix".to_owned());
    }
    let space = match space(root) {
        Ok(space) => space,
        Err(fault) => return Refusal::Fault(fault),
    };
    let fault = Fault::problem(
        "disk: nothing that ooy may free",
        "no log is oversized, no image is unused, there is no build cache: what takes the room is \
         data or another program's",
    )
    .evidence(used(&space))
    .why("what it is for, and whether it can go, a person has to decide");
    let fault = tell::with_largest(fault, root, &job.context.mask).await;
    Refusal::Fault(Box::new(fault.next(job.again.clone())))
}

async fn still_short(work: &Work, freed: &free::Freed) -> Fault {
    let space = &freed.space;
    let (word, limit) = if work.found.full {
        ("full", work.limits.full)
    } else {
        ("filling", work.limits.low)
    };
    let mut fault = Fault::problem(
        format!("disk: still {word}"),
        "all that ooy may free is freed, and it is not enough",
    )
    .evidence(format!("freed: {}", human(freed.bytes)))
    .evidence(format!(
        "{} (too much from {limit} % on, or with less than {} free)",
        used(space),
        human(work.limits.reserve)
    ));
    for complaint in &freed.complaints {
        fault = fault.evidence(work.job.context.mask.apply(complaint));
    }
    let fault = fault.why("PostgreSQL and Elasticsearch stop writing on a full disk; what else can go, a person has to decide");
    tell::with_largest(fault, &work.root, &work.job.context.mask)
        .await
        .next(work.job.again.clone())
}

fn used(space: &Space) -> String {
    format!(
        "{} with Docker's data: {} % of {} used, {} free",
        space.device,
        space.used_percent,
        human(space.total),
        human(space.available)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::system::UnusedImage;
    use items::What;

    fn image(size: u64, only_while_full: bool) -> Item {
        Item {
            what: What::Image(UnusedImage {
                id: "sha256:1".to_owned(),
                name: "old:1".to_owned(),
                tags: vec!["old:1".to_owned()],
                size,
                project: None,
            }),
            size,
            only_while_full,
        }
    }

    #[test]
    fn what_is_done_only_in_need_is_said_so() {
        let cache = Item {
            what: What::BuildCache,
            size: 1 << 20,
            only_while_full: false,
        };
        let said = steps(&[cache, image(5 << 20, true)], true);
        assert_eq!(said.len(), 3);
        assert_eq!(said[0], "clear the build cache (1 MB)");
        assert_eq!(
            said[1],
            "only if the disk is still full then: remove image old:1 (up to 5 MB)"
        );
        assert_eq!(meanwhile(&[image(1, false)]), "everything runs on");
    }
}
