//! `ooy images load`: a package is checked while Docker takes it, and counts as loaded when each
//! image is there under its name, with the id that the package names.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::manifest::{self, Image, Manifest};
use super::read::{AHEAD, Reader, Unusable};
use super::save::{least, room_of_docker};
use super::{Place, Trouble, Wanted, of_deployment, usage};
use crate::backup::room::{Room, watched};
use crate::engine::packages::{Image as Here, Kind as Which};
use crate::engine::{Engine, Error};
use crate::fault::{Fault, Result};
use crate::host::disk::human;
use crate::host::text;
use crate::lifecycle::Context;
use crate::lifecycle::loaded::{self, Loaded, short};
use crate::operation::Kind;

/// How long a reader may take to say why it ended.
const LAST_WORD: Duration = Duration::from_secs(2);

/// A package, and where it comes from.
pub struct Package {
    reader: Reader,
    place: Place,
}

impl Package {
    /// What is in it.
    pub fn manifest(&self) -> &Manifest {
        self.reader.manifest()
    }
}

/// What is on this host under the name of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Present {
    /// That image.
    Same,
    /// None.
    Nothing,
    /// Another one, of this id.
    Other(String),
}

/// What is going to be done.
pub struct Plan {
    engine: Engine,
    which: Which,
    /// Each image of the package, and what is here under its name.
    pub images: Vec<(Image, Present)>,
    /// What the deployment names, and is neither here nor in the package.
    pub lacking: Vec<Wanted>,
}

impl Plan {
    /// Whether all of it is here.
    pub fn nothing_to_do(&self) -> bool {
        self.images
            .iter()
            .all(|(_, present)| *present == Present::Same)
    }

    /// Those whose names another image has now.
    pub fn moved(&self) -> impl Iterator<Item = (&Image, &str)> {
        self.images
            .iter()
            .filter_map(|(image, present)| match present {
                Present::Other(id) => Some((image, id.as_str())),
                _ => None,
            })
    }
}

/// Opens a package and reads what is in it.
pub fn open(context: &Context, place: &Place, again: &str) -> Result<Package> {
    let reader =
        Reader::open(place).map_err(|why| Box::new(unusable(context, place, why, again)))?;
    Ok(Package {
        reader,
        place: place.clone(),
    })
}

/// Looks at everything; changes nothing.
pub async fn plan(context: &Context, package: &Package, again: &str) -> Result<Plan> {
    let manifest = package.manifest();
    of_this_deployment(context, package)?;
    let failed = |error: Error| Box::new(error.fault(again));
    let engine = Engine::connect().await.map_err(failed)?;
    let which = engine.kind().await.map_err(failed)?;
    let (os, architecture) = &which.platform;
    if (os, architecture) != (&manifest.os, &manifest.architecture) {
        return Err(Box::new(
            Fault::problem(
                format!("{}: for other machines", package.place.shown()),
                "the images of this package do not run here",
            )
            .evidence(format!("the package: {}", manifest.platform()))
            .evidence(format!("this Engine: {os}/{architecture}"))
            .why("their programs are of another kind of processor; nothing was loaded")
            .next(format!("docker pull --platform {os}/{architecture} IMAGE    (where the package was made, each of its images)"))
            .next(context.command("images save --yes FILE    (there)")),
        ));
    }
    let mut images = Vec::new();
    for image in &manifest.images {
        let here = engine.image(&image.reference).await.map_err(failed)?;
        let present = present(manifest, image, here.as_ref(), &which);
        images.push((image.clone(), present));
    }
    let mut lacking = Vec::new();
    for wanted in of_deployment(context) {
        let name = manifest::familiar(&wanted.reference);
        let brought = manifest
            .images
            .iter()
            .any(|image| manifest::familiar(&image.reference) == name);
        if !brought
            && engine
                .image_id(&wanted.reference)
                .await
                .map_err(failed)?
                .is_none()
        {
            lacking.push(wanted);
        }
    }
    Ok(Plan {
        engine,
        which,
        images,
        lacking,
    })
}

fn present(manifest: &Manifest, image: &Image, here: Option<&Here>, which: &Which) -> Present {
    match here {
        None => Present::Nothing,
        Some(here) if manifest.is(image, here, which) => Present::Same,
        Some(here) => Present::Other(here.id.clone()),
    }
}

/// A package with nothing that this deployment could ever use was taken by mistake. Other versions
/// are for an upgrade.
fn of_this_deployment(context: &Context, package: &Package) -> Result<()> {
    let manifest = package.manifest();
    let wanted = of_deployment(context);
    let usable = |image: &Image| {
        let name = manifest::repository(&image.reference);
        wanted
            .iter()
            .any(|wanted| manifest::repository(&wanted.reference) == name)
    };
    if manifest.images.iter().any(usable) {
        return Ok(());
    }
    let names: Vec<&str> = manifest
        .images
        .iter()
        .map(|image| image.reference.as_str())
        .collect();
    let shown = package.place.shown();
    Err(Box::new(
        Fault::problem(
            format!("{shown}: of another deployment"),
            "none of its images is one that the settings here name, in any version",
        )
        .evidence(format!("in it: {}", text::shorten(&names.join(", "), 300)))
        .evidence(format!(
            "made {}, project {}",
            day(manifest.made_at),
            manifest.project
        ))
        .why("they would take room and never be used; nothing was loaded")
        .next(context.command("images list"))
        .next(format!("docker load -i {shown}    (all the same)")),
    ))
}

/// Has Docker take what is not here, checks it, and notes it.
pub async fn load(context: &Context, package: Package, plan: &Plan, again: &str) -> Result<()> {
    let began = Instant::now();
    let reporter = &context.reporter;
    let manifest = package.manifest().clone();
    let place = package.place.clone();
    if plan.nothing_to_do() {
        // Who writes into a pipe is not left standing in the middle of it.
        if place == Place::Pipe {
            drain(package, again).await?;
        }
        let told = text::count(manifest.images.len(), "image") + " here already";
        reporter.tell("load", Kind::Skipped, None, told);
    } else {
        let room = room_of_docker(context, &plan.engine, again).await?;
        room.has(needed(&package))?;
        take(context, package, plan, &room, again).await?;
    }
    // Noted is what is seen.
    let mut noted = Vec::new();
    for image in &manifest.images {
        let here = plan.engine.image(&image.reference).await;
        let here = here.map_err(|error| Box::new(error.fault(again)))?;
        match (present(&manifest, image, here.as_ref(), &plan.which), here) {
            (Present::Same, Some(here)) => noted.push(Loaded {
                reference: image.reference.clone(),
                id: here.id,
                package: place.shown(),
                made_at: manifest.made_at,
                at: Timestamp::now(),
            }),
            (_, here) => {
                let found = here.map_or("nothing".to_owned(), |here| here.id);
                return Err(Box::new(not_arrived(context, image, &found, &place, again)));
            }
        }
    }
    let count = noted.len();
    loaded::note(&context.settings.places.state, noted).map_err(|error| {
        let state = context.settings.places.state.display();
        Box::new(
            Fault::problem(
                "images: loaded, and not noted",
                "all images are here, and which ones the package had could not be written down",
            )
            .evidence(format!("{state}/images.json: {error}"))
            .why("a start could not tell that one of them was replaced")
            .next(format!("df -h {state}"))
            .next(again),
        )
    })?;
    let detail = format!(
        "{} here, each with the id of the package",
        text::count(count, "image")
    );
    reporter.tell("verify", Kind::Done, Some(began.elapsed()), detail);
    Ok(())
}

/// What Docker's disk has to take: a copy of the package, and then what is in it.
fn needed(package: &Package) -> u64 {
    let images = package.manifest().images.iter();
    let unpacked = match package.reader.length {
        Some(bytes) if !package.reader.compressed => bytes,
        _ => least(images.map(|image| (image.bytes, image.layers.as_slice()))),
    };
    unpacked.saturating_mul(2)
}

/// Reads it to its end.
async fn drain(package: Package, again: &str) -> Result<()> {
    let place = package.place;
    let reader = package.reader;
    let (said, last_word) = oneshot::channel();
    std::thread::spawn(move || said.send(reader.run(None)));
    match last_word.await {
        Ok(Err(trouble)) => Err(Box::new(broken(&place, &trouble, again))),
        _ => Ok(()),
    }
}

/// Hands it to Docker.
async fn take(
    context: &Context,
    package: Package,
    plan: &Plan,
    room: &Room,
    again: &str,
) -> Result<()> {
    let began = Instant::now();
    let reporter = &context.reporter;
    reporter.tell("load", Kind::Started, None, "reading");
    let Package { reader, place } = package;
    let (read, length) = (reader.counter(), reader.length);
    let most = reader.manifest().bytes();
    let (pieces, received) = mpsc::channel::<io::Result<Vec<u8>>>(AHEAD);
    let (said, mut last_word) = oneshot::channel();
    // Not one that the runtime waits for when Ctrl-C ends it: a pipe may be silent for ever.
    std::thread::spawn(move || {
        let _ = said.send(reader.run(Some(pieces)));
    });
    let archive = futures_util::stream::unfold(received, |mut received| async move {
        received.recv().await.map(|piece| (piece, received))
    });
    let unpacked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&unpacked);
    let engine = &plan.engine;
    let work = async {
        let taken = engine
            .import(archive, move |bytes| count.store(bytes, Ordering::Relaxed))
            .await;
        Ok::<_, Box<Fault>>(taken)
    };
    let mut told = Instant::now();
    let taken = watched(work, async || {
        room.is_left()?;
        if told.elapsed() >= Duration::from_secs(1) {
            told = Instant::now();
            let read = human(read.load(Ordering::Relaxed));
            let detail = match (unpacked.load(Ordering::Relaxed), length) {
                (0, Some(length)) => format!("read {read} of {}", human(length)),
                (0, None) => format!("read {read}; unpacked they are {}", human(most)),
                (bytes, _) => format!(
                    "Docker unpacks: {} of {} at the most",
                    human(bytes),
                    human(most)
                ),
            };
            reporter.tell("load", Kind::Progress, Some(began.elapsed()), detail);
        }
        Ok(())
    })
    .await?;
    // What the reader met explains what Docker says, and never the other way round.
    let read = tokio::time::timeout(LAST_WORD, &mut last_word).await;
    if let Ok(Ok(Err(trouble @ (Trouble::Damaged(_) | Trouble::File(_))))) = read {
        return Err(Box::new(broken(&place, &trouble, again)));
    }
    taken.map_err(|error| Box::new(not_taken(context, &error, again)))?;
    let detail = format!(
        "{} handed to Docker",
        text::count(plan.images.len(), "image")
    );
    reporter.tell("load", Kind::Done, Some(began.elapsed()), detail);
    Ok(())
}

fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

fn unusable(context: &Context, place: &Place, why: Unusable, again: &str) -> Fault {
    let shown = place.shown();
    match why {
        Unusable::Trouble(trouble) => broken(place, &trouble, again),
        Unusable::Other => usage(
            format!("{shown}: no package of images"),
            "it is something else than what `ooy images save` writes",
            "its first file is not ooy.json".to_owned(),
            format!("tar -tf {shown} | head"),
        )
        .next(context.command("images save FILE    (where the registry answers)"))
        .next(format!(
            "docker load -i {shown}    (if it is of docker save)"
        )),
        Unusable::Newer(schema) => Fault::problem(
            format!("{shown}: made by a newer ooy"),
            "its list of images is of a form that this ooy does not know",
        )
        .evidence(format!(
            "form {schema}; this ooy reads {}",
            manifest::SCHEMA
        ))
        .why("what is in it could not be checked; nothing was loaded")
        .next(context.command("self-update"))
        .next(again),
    }
}

/// It cannot be read, or is not what was written.
fn broken(place: &Place, trouble: &Trouble, again: &str) -> Fault {
    let shown = match place {
        Place::Pipe => "standard input".to_owned(),
        Place::File(path) => path.display().to_string(),
    };
    let copy = "    (a new copy of it)";
    match trouble {
        Trouble::Damaged(why) => {
            let fault = Fault::problem(
                format!("{shown}: damaged"),
                "the package is not whole, or was changed since it was made",
            )
            .evidence(why.clone())
            .why("Docker was given nothing that it could use: no image was loaded");
            match place {
                Place::Pipe => fault.next(again),
                Place::File(path) => fault
                    .next(format!(
                        "ls -l {}    (compare with where it was made)",
                        path.display()
                    ))
                    .next(format!("{again}{copy}")),
            }
        }
        Trouble::File(error) => Fault::problem(
            format!("{shown}: cannot be read"),
            "the package could not be read to its end",
        )
        .evidence(error.to_string())
        .why("no image was loaded")
        .next(match place {
            Place::Pipe => again.to_owned(),
            Place::File(path) => format!("ls -l {}", path.display()),
        })
        .next("dmesg | tail -n 20"),
        Trouble::Gone => Fault::problem(
            format!("{shown}: not loaded"),
            "Docker has ended before all of it was read",
        )
        .evidence("it took no more")
        .why("no image was loaded")
        .next("sudo journalctl -u docker -n 50")
        .next(again),
    }
}

fn not_taken(context: &Context, error: &Error, again: &str) -> Fault {
    let words = match error {
        Error::Refused { message, .. } | Error::NotFound(message) | Error::Broken(message) => {
            text::shorten(&context.mask.apply(message), 300)
        }
        other => return other.fault(again),
    };
    let mut fault = Fault::problem(
        "images: not loaded",
        "the package is whole, and Docker did not take all of it",
    )
    .evidence(format!("Docker: {words}"))
    .why("what is missing cannot be started; what Docker took already stays, and is skipped the next time");
    if words.contains("no space left") {
        fault = fault.next(context.command("fix disk-space"));
    }
    fault.next("sudo journalctl -u docker -n 50").next(again)
}

fn not_arrived(context: &Context, image: &Image, found: &str, place: &Place, again: &str) -> Fault {
    Fault::problem(
        format!("image {}: not the one of the package", image.reference),
        "Docker took the package, and has something else under this name",
    )
    .evidence(format!("in {}: {}", place.shown(), short(&image.id)))
    .evidence(format!("here: {}", short(found)))
    .why("what would start is not what was carried here")
    .next(format!(
        "docker images --digests {}",
        manifest::repository(&image.reference)
    ))
    .next(again)
    .next(context.command("images list"))
}
