//! `ooy backup create`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::forecast;
use super::manifest::{self, Dumped, FORMAT, Image, Manifest, Part};
use super::prepare::{self, LOOK, Prepared};
use super::room::{Room, watched};
use super::store::{Backup, Partial, Store};
use crate::engine::Engine;
use crate::fault::{Fault, Result};
use crate::host::disk::human;
use crate::host::postgres::admin;
use crate::host::postgres::archive::Snapshot;
use crate::host::postgres::by_hand;
use crate::host::{cmd, files, process, text};
use crate::lifecycle::Context;
use crate::lifecycle::surroundings::label;
use crate::operation::Kind;

/// How long the program may take that copies a backup away: a slow line at night.
const HOOK_LIMIT: Duration = Duration::from_secs(6 * 3600);

/// What to back up, and how.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whose databases; none named: all.
    pub owners: Vec<&'static str>,
    /// Into this folder instead of the usual one.
    pub to: Option<PathBuf>,
    /// Why it is kept whatever its age.
    pub keep: Option<String>,
}

/// What is going to be done.
pub struct Plan {
    /// The folder in which the backup will be.
    pub folder: PathBuf,
    /// The databases.
    pub databases: Vec<Planned>,
    /// Bytes that may be written to its disk; more than the reserve is left then.
    pub free: u64,
    /// Bytes that stay free.
    pub reserve: u64,
    room: Room,
}

/// A database that is going to be dumped.
pub struct Planned {
    prepared: Prepared,
    /// Bytes of its dump, as far as can be foreseen.
    pub forecast: u64,
}

impl Planned {
    /// Whose: `rapidpro`.
    pub fn owner(&self) -> &'static str {
        self.prepared.database.owner
    }

    /// Bytes that it takes on the server.
    pub fn bytes(&self) -> u64 {
        self.prepared.about.bytes
    }
}

/// Looks at everything; changes nothing.
pub async fn plan(context: &Context, options: &Options, again: &str) -> Result<Plan, Vec<Fault>> {
    let settings = &context.settings;
    let store = Store::of(settings);
    let folder = match &options.to {
        Some(folder) => std::path::absolute(folder).unwrap_or_else(|_| folder.clone()),
        None => store.folder.clone(),
    };
    if options.to.is_some() && !folder.is_dir() {
        return Err(vec![no_folder(&folder)]);
    }
    let prepared = prepare::databases(context, &options.owners, again).await?;
    let all = store
        .own()
        .map_err(|error| vec![*store.unreadable(&error)])?;
    let databases: Vec<Planned> = prepared
        .into_iter()
        .map(|prepared| Planned {
            forecast: forecast(prepared.database.owner, prepared.about.bytes, &all),
            prepared,
        })
        .collect();
    let reserve = settings.megabytes("DISK_RESERVE_MB");
    let free_up = context.command("fix disk-space");
    let room = Room::new("backup", &folder, reserve, free_up);
    let one = |fault: Box<Fault>| vec![*fault];
    room.has(databases.iter().map(|one| one.forecast).sum())
        .map_err(one)?;
    Ok(Plan {
        free: room.free().map_err(one)?,
        folder,
        databases,
        reserve,
        room,
    })
}

fn no_folder(folder: &Path) -> Fault {
    let folder = folder.display();
    Fault::usage(
        format!("{folder}: no such folder"),
        "a backup can be written only into a folder that is there",
    )
    .evidence(format!("{folder} is no folder"))
    .why("a disk that is not mounted would be taken for a folder of this one")
    .next("lsblk -o NAME,SIZE,LABEL,MOUNTPOINT")
    .next(format!("mkdir -p {folder}"))
}

/// Makes the backup. To be called with the lock of backups.
pub async fn create(
    context: &Context,
    options: &Options,
    plan: &Plan,
) -> Result<Backup, Vec<Fault>> {
    let one = |fault: Box<Fault>| vec![*fault];
    let began = Instant::now();
    let mut store = Store::of(&context.settings);
    let written = |error: std::io::Error| one(not_written(&plan.folder, &error));
    store.sweep();
    let partial = store.begin(&plan.folder).map_err(written)?;
    // Before it is complete: a backup that nobody finds again is none.
    store.remember(&plan.folder).map_err(written)?;
    let mut dumped = Vec::new();
    for planned in &plan.databases {
        dumped.push(dump(context, plan, planned, &partial).await.map_err(one)?);
    }
    // Between two looks it may have filled up.
    plan.room.is_left().map_err(one)?;
    let backup = seal(context, options, partial, dumped, began)
        .await
        .map_err(|error| one(not_written(&plan.folder, &error)))?;
    let summary = format!("{} · {}", backup.path.display(), human(backup.bytes()));
    let reporter = &context.reporter;
    reporter.tell("backup", Kind::Done, Some(began.elapsed()), summary);
    Ok(backup)
}

async fn dump(
    context: &Context,
    plan: &Plan,
    planned: &Planned,
    partial: &Partial,
) -> Result<Dumped> {
    let began = Instant::now();
    let Prepared {
        database,
        about,
        programs,
    } = &planned.prepared;
    let (owner, url) = (database.owner, &database.url);
    let reporter = &context.reporter;
    let of_about = human(planned.forecast);
    reporter.service(
        "dump",
        owner,
        Kind::Started,
        None,
        format!("dumping {}", human(about.bytes)),
    );
    let file = partial.path.join(format!("{owner}.dump"));
    let failed = |why: String| {
        let why = context.mask.apply(&why);
        Box::new(
            Fault::problem(
                format!("{}: not backed up", label(owner)),
                "its database could not be dumped; what was written so far is gone",
            )
            .evidence(url.redacted())
            .evidence(text::shorten(&why, 400))
            .why("there is no new backup; the earlier ones are as they were")
            .next(by_hand::see(url))
            .next(context.command("diagnose postgres")),
        )
    };
    let snapshot = Snapshot::open(url, LOOK).await.map_err(failed)?;
    let work = async {
        // At the same time: counting needs the server's time, dumping mostly pg_dump's.
        let (dumped, census) = tokio::join!(
            snapshot.dump(programs, url, &file),
            admin::of_session(snapshot.session())
        );
        dumped.map_err(failed)?;
        census.map_err(failed)
    };
    let mut told = Instant::now();
    let census = watched(work, async || {
        plan.room.is_left()?;
        if told.elapsed() >= Duration::from_secs(1) {
            told = Instant::now();
            let size = std::fs::metadata(&file).map_or(0, |file| file.len());
            let detail = format!("{} of about {of_about}", human(size));
            reporter.service("dump", owner, Kind::Progress, Some(began.elapsed()), detail);
        }
        Ok(())
    })
    .await?;
    let dump_bytes = std::fs::metadata(&file).map_or(0, |file| file.len());
    let detail = format!(
        "dumped {} from {} · {} in {}",
        human(dump_bytes),
        human(about.bytes),
        text::count(census.rows(), "row"),
        text::count(census.tables.len() as u64, "table"),
    );
    reporter.service("dump", owner, Kind::Done, Some(began.elapsed()), detail);
    Ok(Dumped {
        owner: owner.to_owned(),
        database: url.database().to_owned(),
        role: url.user().to_owned(),
        part: format!("{owner}.dump"),
        form: about.form.clone(),
        bytes: about.bytes,
        dump_bytes,
        server_version: about.version.words.clone(),
        server_version_number: about.version.number,
        pg_dump_number: programs.number,
        census,
    })
}

/// Adds what is small, the digests and the manifest, and gives it its name.
async fn seal(
    context: &Context,
    options: &Options,
    partial: Partial,
    databases: Vec<Dumped>,
    began: Instant,
) -> std::io::Result<Backup> {
    let settings = &context.settings;
    let mut paths: Vec<String> = databases.iter().map(|dumped| dumped.part.clone()).collect();
    for (path, content) in small(context)? {
        let full = partial.path.join(&path);
        private_folders(&partial.path, &full)?;
        files::write_new(&full, &content, 0o600)?;
        paths.push(path);
    }
    let folder = partial.path.clone();
    let parts = super::reading(move |goes_on| -> std::io::Result<Vec<Part>> {
        let parts = paths.iter().map(|path| {
            // Onto the disk before it is read back: a digest of what only memory holds proves little.
            std::fs::File::open(folder.join(path))?.sync_all()?;
            manifest::part(&folder, path, goes_on)
        });
        parts.collect()
    })
    .await?;
    let made = Manifest {
        format: FORMAT,
        id: partial.id.clone(),
        made_at: Timestamp::now(),
        took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        ooy: env!("CARGO_PKG_VERSION").to_owned(),
        host: process::host_name(),
        project: settings.project().to_owned(),
        domain: settings.get("RAPIDPRO_DOMAIN").to_owned(),
        keep: options.keep.clone(),
        databases,
        images: images(context).await,
        parts,
        not_in_it: not_in_it(context),
    };
    made.write(&partial.path)?;
    partial.complete()
}

/// Settings and rendered files.
fn small(context: &Context) -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let places = &context.settings.places;
    let mut found = vec![(
        "settings/ooy.env".to_owned(),
        std::fs::read(&places.env_file)?,
    )];
    match std::fs::read(&places.compose_override) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        other => found.push(("settings/compose.override.yaml".to_owned(), other?)),
    }
    let rendered = context.rendered.files.iter();
    found.extend(
        rendered.map(|(path, text)| (format!("rendered/{path}"), text.clone().into_bytes())),
    );
    Ok(found)
}

fn private_folders(root: &Path, file: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let folder = file.parent().unwrap_or(root);
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

/// What each service's container was made from; without Docker, what is configured.
async fn images(context: &Context) -> BTreeMap<String, Image> {
    let containers = match Engine::connect().await {
        Ok(engine) => engine
            .containers(context.settings.project())
            .await
            .unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    let services = context.stack.services.iter();
    services
        .map(|service| {
            let container = containers
                .iter()
                .find(|container| container.service == service.name && !container.oneoff);
            let image = match container {
                Some(container) => Image {
                    image: container.image.clone(),
                    id: Some(container.image_id.clone()),
                },
                None => Image {
                    image: service.image.clone(),
                    id: None,
                },
            };
            (service.name.clone(), image)
        })
        .collect()
}

fn not_in_it(context: &Context) -> Vec<String> {
    let mut left = vec![format!(
        "certificates and keys ({})",
        context.settings.places.ssl.display()
    )];
    left.push(match context.settings.get("S3_BUCKET") {
        "" => "files that people sent or uploaded (the services' volumes)".to_owned(),
        bucket => format!("files that people sent or uploaded (S3 bucket {bucket}, and volumes)"),
    });
    left.push("queues in Redis, and the search index, which is made anew".to_owned());
    left
}

fn not_written(folder: &Path, error: &std::io::Error) -> Box<Fault> {
    Box::new(
        Fault::problem(
            "backup: not written",
            format!("{} could not be written to", folder.display()),
        )
        .evidence(error.to_string())
        .why("there is no new backup; the earlier ones are as they were")
        .next(format!("df -h {}", folder.display()))
        .next("dmesg | tail -n 20"),
    )
}

/// Runs BACKUP_HOOK with the finished backup, if there is one.
pub async fn hook(context: &Context, backup: &Backup) -> Result<()> {
    let hook = context.settings.get("BACKUP_HOOK");
    if hook.is_empty() {
        return Ok(());
    }
    let began = Instant::now();
    let reporter = &context.reporter;
    reporter.tell("hook", Kind::Started, None, hook);
    let path = backup.path.display().to_string();
    let why = match cmd::run(hook, &[&path], &[], HOOK_LIMIT).await {
        Ok(output) if output.success => {
            let detail = format!("{hook} has done its work");
            reporter.tell("hook", Kind::Done, Some(began.elapsed()), detail);
            return Ok(());
        }
        Ok(output) => output.last_error_line(),
        Err(error) => error.to_string(),
    };
    reporter.tell("hook", Kind::Failed, Some(began.elapsed()), "");
    Err(Box::new(
        Fault::problem(
            "backup: not copied away",
            "the backup is complete, and BACKUP_HOOK has failed",
        )
        .evidence(format!("{hook} {path}"))
        .evidence(text::shorten(&context.mask.apply(&why), 200))
        .why("what lies only on this host is lost with it")
        .next(format!("sudo {hook} {path}")),
    ))
}
