//! `ooy images save`: what is missing is pulled, and all of it written into one file.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::manifest::{Image, Manifest, SCHEMA};
use super::write::{Part, Writer, is_compressed};
use super::{Place, Trouble, Wanted};
use crate::backup::room::{Room, watched};
use crate::engine::packages::{Image as Here, Kind as Which};
use crate::engine::{Engine, Error};
use crate::fault::{Fault, Result};
use crate::host::disk::{self, human};
use crate::host::text;
use crate::lifecycle::{Context, preflight};
use crate::operation::Kind;

/// What a compressed package is at the least, of what it holds.
const COMPRESSED: u64 = 4;
/// How many pieces of Docker's stream may wait for the disk.
const AHEAD: usize = 32;

/// What is going to be written.
pub struct Plan {
    engine: Engine,
    which: Which,
    /// Each image, and what it is where it is here.
    pub images: Vec<(Wanted, Option<Here>)>,
}

/// What was written.
pub struct Saved {
    /// Bytes of the package; 0 through a pipe.
    pub bytes: u64,
    /// What is in it.
    pub manifest: Manifest,
}

impl Plan {
    /// Those that are not here.
    pub fn missing(&self) -> BTreeSet<String> {
        let images = self.images.iter();
        images
            .filter(|(_, here)| here.is_none())
            .map(|(wanted, _)| wanted.reference.clone())
            .collect()
    }

    /// Bytes of those that are here; layers that they share counted once, as far as is seen.
    fn least(&self) -> u64 {
        least(
            self.images
                .iter()
                .filter_map(|(_, here)| here.as_ref())
                .map(|here| (here.bytes, here.layers.as_slice())),
        )
    }

    /// The same, counted for each: more cannot come.
    pub fn most(&self) -> u64 {
        let here = self.images.iter().filter_map(|(_, here)| here.as_ref());
        here.map(|here| here.bytes).sum()
    }
}

/// Of images with their layers: what they take together at the least. Of two that share a layer one
/// counts as nothing, since nobody says how large that layer is.
pub fn least<'a>(images: impl Iterator<Item = (u64, &'a [String])>) -> u64 {
    let mut seen: BTreeSet<&String> = BTreeSet::new();
    let mut sum: u64 = 0;
    for (bytes, layers) in images {
        if !layers.iter().any(|layer| seen.contains(layer)) {
            sum = sum.saturating_add(bytes);
        }
        seen.extend(layers);
    }
    sum
}

/// Looks at everything; changes nothing.
pub async fn plan(context: &Context, wanted: Vec<Wanted>, again: &str) -> Result<Plan> {
    let env_file = context.settings.places.env_file.display();
    let by_digest = wanted.iter().find(|wanted| wanted.reference.contains('@'));
    if let Some(Wanted { reference, setting }) = by_digest {
        return Err(Box::new(
            Fault::usage(
                format!("image {reference}: named by its digest"),
                "Docker forgets the digest of an image on its way through a package",
            )
            .evidence(match setting {
                Some(setting) => format!("{setting}={reference}"),
                None => format!("it stands in {}", context.settings.places.compose_override.display()),
            })
            .why("on the other host nothing would have that name; a package names the id of each image, which is as strict")
            .next(format!("nano {env_file}    (name it by its tag)"))
            .next(again),
        ));
    }
    let failed = |error: Error| Box::new(error.fault(again));
    let engine = Engine::connect().await.map_err(failed)?;
    let which = engine.kind().await.map_err(failed)?;
    let mut images = Vec::new();
    for wanted in wanted {
        let here = engine.image(&wanted.reference).await.map_err(failed)?;
        images.push((wanted, here));
    }
    Ok(Plan {
        engine,
        which,
        images,
    })
}

/// Pulls what is missing and writes the package.
pub async fn save(
    context: &Context,
    mut plan: Plan,
    upgrade: Option<String>,
    place: &Place,
    again: &str,
) -> Result<Saved, Vec<Fault>> {
    let one = |fault: Box<Fault>| vec![*fault];
    let missing = plan.missing();
    if !missing.is_empty() {
        let faults = preflight::pull(context, &plan.engine, &missing, again).await;
        if !faults.is_empty() {
            return Err(faults.into_iter().map(of_a_package).collect());
        }
        let wanted = plan.images.into_iter().map(|(wanted, _)| wanted).collect();
        plan = self::plan(context, wanted, again).await.map_err(one)?;
    }
    let manifest = manifest(context, &plan, upgrade, again).map_err(one)?;
    write(context, &plan, manifest, place, again)
        .await
        .map_err(one)
}

/// A fault of a pull, told for a package.
fn of_a_package(mut fault: Fault) -> Fault {
    fault.why = "without it the package would not be whole; nothing was written".to_owned();
    fault.next.retain(|next| !next.contains("images load"));
    fault
}

fn manifest(
    context: &Context,
    plan: &Plan,
    upgrade: Option<String>,
    again: &str,
) -> Result<Manifest> {
    let mut images = Vec::new();
    let mut platform: Option<(&str, &(String, String))> = None;
    for (wanted, here) in &plan.images {
        let reference = &wanted.reference;
        let Some(here) = here else {
            return Err(Box::new(
                Fault::problem(
                    format!("image {reference}: gone again"),
                    "it was pulled a moment ago, and is not on this host any more",
                )
                .evidence("somebody else removes images at the same time")
                .why("without it the package would not be whole; nothing was written")
                .next(again),
            ));
        };
        let words = |(os, architecture): &(String, String)| format!("{os}/{architecture}");
        match platform {
            Some((other, platform)) if *platform != here.platform => {
                return Err(Box::new(
                    Fault::problem(
                        "images: made for different machines",
                        "a package is for hosts of one kind",
                    )
                    .evidence(format!("{reference}: {}", words(&here.platform)))
                    .evidence(format!("{other}: {}", words(platform)))
                    .why(
                        "some of them could not run on the host that loads it; nothing was written",
                    )
                    .next(format!(
                        "docker pull --platform {} {reference}",
                        words(platform)
                    ))
                    .next(again),
                ));
            }
            Some(_) => {}
            None => platform = Some((reference, &here.platform)),
        }
        images.push(Image {
            setting: wanted.setting.clone(),
            reference: reference.clone(),
            id: here.id.clone(),
            layers: here.layers.clone(),
            repo_digests: here.repo_digests.clone(),
            bytes: here.bytes,
        });
    }
    let (os, architecture) = platform.map(|(_, of)| of.clone()).unwrap_or_default();
    Ok(Manifest {
        schema: SCHEMA,
        ooy: env!("CARGO_PKG_VERSION").to_owned(),
        made_at: Timestamp::now(),
        project: context.settings.project().to_owned(),
        upgrade,
        os,
        architecture,
        containerd: plan.which.containerd,
        images,
    })
}

async fn write(
    context: &Context,
    plan: &Plan,
    manifest: Manifest,
    place: &Place,
    again: &str,
) -> Result<Saved> {
    let engine = &plan.engine;
    let docker = room_of_docker(context, engine, again).await?;
    // The Engine packs a copy before it hands out the first byte.
    docker.has(plan.least())?;
    room_of_package(context, plan, place, again)?;
    let began = Instant::now();
    let reporter = &context.reporter;
    reporter.tell("save", Kind::Started, None, "Docker packs the layers");
    let written = Arc::new(AtomicU64::new(0));
    let unwritten = |trouble: Trouble| Box::new(unwritten(place, &trouble, again));
    let writer = Writer::begin(place, &manifest, Arc::clone(&written)).map_err(unwritten)?;
    let (parts, received) = mpsc::channel(AHEAD);
    let thread = tokio::task::spawn_blocking(move || writer.run(received));
    let references: Vec<&str> = manifest
        .images
        .iter()
        .map(|image| image.reference.as_str())
        .collect();
    let work = async {
        let mut stream = Box::pin(engine.export(&references));
        while let Some(bytes) = stream.next().await {
            let bytes = bytes.map_err(|error| Box::new(error.fault(again)))?;
            // The writer says itself why it ended.
            if parts
                .send(Part::Bytes(bytes.as_ref().to_vec()))
                .await
                .is_err()
            {
                return Ok(());
            }
        }
        let _ = parts.send(Part::Whole).await;
        Ok(())
    };
    let most = human(plan.most());
    let mut told = Instant::now();
    let streamed: Result<()> = watched(work, async || {
        docker.is_left()?;
        if told.elapsed() >= Duration::from_secs(1) {
            told = Instant::now();
            let detail = match written.load(Ordering::Relaxed) {
                0 => "Docker packs the layers".to_owned(),
                bytes => format!("{} of {most} at the most", human(bytes)),
            };
            reporter.tell("save", Kind::Progress, Some(began.elapsed()), detail);
        }
        Ok(())
    })
    .await;
    // Without its last word the writer takes away what it wrote.
    drop(parts);
    let ended = thread
        .await
        .unwrap_or_else(|error| Err(Trouble::File(std::io::Error::other(error))));
    streamed?;
    let bytes = ended.map_err(unwritten)?;
    let detail = match place {
        Place::Pipe => human(written.load(Ordering::Relaxed)),
        Place::File(path) => format!("{} in {}", human(bytes), path.display()),
    };
    reporter.tell("save", Kind::Done, Some(began.elapsed()), detail);
    Ok(Saved { bytes, manifest })
}

/// The disk that Docker keeps its images on.
pub async fn room_of_docker(context: &Context, engine: &Engine, again: &str) -> Result<Room> {
    let root = engine.root_folder().await;
    let root = root.map_err(|error| Box::new(error.fault(again)))?;
    let reserve = context.settings.megabytes("DISK_RESERVE_MB");
    let free_up = context.command("fix disk-space");
    Ok(Room::new("images", &root, reserve, free_up))
}

/// Whether the package has its place, as far as that can be foreseen.
fn room_of_package(context: &Context, plan: &Plan, place: &Place, again: &str) -> Result<()> {
    let Place::File(path) = place else {
        return Ok(());
    };
    let folder = path.parent().unwrap_or(Path::new("/"));
    let Ok(space) = disk::space(folder) else {
        return Ok(());
    };
    let least = match is_compressed(path) {
        true => plan.least() / COMPRESSED,
        false => plan.least(),
    };
    // A stick may be filled to its brim; the disk of the services may not.
    let state = &context.settings.places.state;
    let device = |path: &Path| std::fs::metadata(path).ok().map(|metadata| metadata.dev());
    let reserve = match device(folder) == device(state) {
        true => context.settings.megabytes("DISK_RESERVE_MB"),
        false => 0,
    };
    if space.available >= least.saturating_add(reserve) {
        return Ok(());
    }
    let mut fault = Fault::problem(
        format!("{}: not enough room", path.display()),
        "the package would not find its place there",
    )
    .evidence(format!("it takes {} at the least", human(least)));
    fault = match reserve {
        0 => fault.evidence(format!("{} free", human(space.available))),
        reserve => fault.evidence(format!(
            "{} free, {} have to stay free (DISK_RESERVE_MB)",
            human(space.available),
            human(reserve)
        )),
    };
    fault = fault.why("half a package is of no use; nothing was written");
    if !is_compressed(path) {
        fault = fault.next(format!("{again}.gz    (compressed)"));
    }
    Err(Box::new(
        fault
            .next(format!("df -h {}", folder.display()))
            .next(again),
    ))
}

fn unwritten(place: &Place, trouble: &Trouble, again: &str) -> Fault {
    use std::io::ErrorKind::{BrokenPipe, FileTooLarge, StorageFull};
    let name = match place {
        Place::Pipe => "standard output".to_owned(),
        Place::File(path) => path.display().to_string(),
    };
    let gone = "what was written of it is gone; a package that was there before is as it was";
    let error = match trouble {
        Trouble::File(error) => error,
        Trouble::Damaged(why) => {
            return Fault::problem(
                format!("{name}: not written"),
                "what Docker handed out are not the images that were asked for",
            )
            .evidence(format!("Docker: {}", text::shorten(why, 200)))
            .why(gone)
            .next("sudo journalctl -u docker -n 50")
            .next(again);
        }
        Trouble::Gone => {
            return Fault::problem(format!("{name}: not written"), "Docker's answer broke off")
                .evidence("it ended without a word")
                .why(gone)
                .next("sudo journalctl -u docker -n 50")
                .next(again);
        }
    };
    if error.kind() == BrokenPipe {
        return Fault::problem(
            "standard output: nobody reads it any more",
            "whoever was handed the package has ended before all of it was there",
        )
        .evidence("its own words stand above, if it said any")
        .why("half a package is of no use; it loads nothing of one")
        .next(again);
    }
    let what = match error.kind() {
        StorageFull => "its disk became full in the middle",
        FileTooLarge => "its file system takes no file as large as that (FAT32: 4 GB)",
        _ => "the package could not be written",
    };
    let mut fault = Fault::problem(format!("{name}: not written"), what)
        .evidence(error.to_string())
        .why(gone);
    if let Place::File(path) = place {
        if matches!(error.kind(), StorageFull | FileTooLarge) && !is_compressed(path) {
            fault = fault.next(format!("{again}.gz    (compressed)"));
        }
        let folder = path.parent().unwrap_or(Path::new("/"));
        fault = fault.next(format!("df -hT {}", folder.display()));
    }
    fault.next(again)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_that_share_layers_are_not_counted_twice() {
        let layers = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let images: [(u64, Vec<String>); 3] = [
            (10, layers(&["a", "b"])),
            (12, layers(&["a", "c"])),
            (5, layers(&["d"])),
        ];
        let of = images
            .iter()
            .map(|(bytes, layers)| (*bytes, layers.as_slice()));
        assert_eq!(least(of), 15);
    }
}
