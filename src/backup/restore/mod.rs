//! `ooy restore`: databases are made anew beside the present ones, compared, and only then change
//! places with them. What was there is kept under another name; nothing is overwritten.

mod run;
mod search;
pub use search::forget as forget_search_index;
pub mod state;

use std::collections::BTreeSet;

use jiff::Timestamp;

pub use run::{Restored, resume, run};
use state::{Phase, Replaced, State};

use super::kept::{self, Kept};
use super::load::{self, needs, usable};
use super::manifest::{Dumped, Manifest};
use super::store::Backup;
use super::target::{Target, unanswered};
use super::{beside, prepare};
use crate::fault::{Fault, Result};
use crate::lifecycle::surroundings::label;
use crate::lifecycle::{Context, status};

/// What databases are called that are going to take the place of another.
const NEW: &str = "restore";

/// What is put back.
#[derive(Debug, Clone)]
pub enum Source {
    /// A backup, or some databases of it.
    Backup(Box<Backup>),
    /// A database that an earlier restore has put aside.
    Kept(Kept),
}

/// What to restore, and how.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whose databases; none named: all of the backup.
    pub owners: Vec<&'static str>,
    /// Also of another deployment.
    pub foreign: bool,
    /// When it was first planned: what is kept is called by that.
    pub began: Option<Timestamp>,
}

/// What is going to be done.
pub struct Plan {
    /// What will be noted before anything is done.
    pub state: State,
    /// The services that are stopped meanwhile, of those that run.
    pub stops: BTreeSet<String>,
    /// Bytes that the new databases take.
    pub bytes: u64,
    /// When what is restored was made.
    pub made_at: Timestamp,
    /// Whether it was restored before.
    pub proved: bool,
    /// Who makes the databases, for people.
    pub by: String,
}

/// The services that write to an owner's database (stack.md section 2).
fn writers(owner: &str) -> &'static [&'static str] {
    match owner {
        "rapidpro" => &[
            "rapidpro",
            "rapidpro-celery",
            "rapidpro-beat",
            "mailroom",
            "courier",
            "indexer",
        ],
        "casepro" => &["casepro", "casepro-celery"],
        "contentrepo" => &["contentrepo"],
        _ => &[],
    }
}

/// All that write to the databases of a restore.
pub fn writers_of(state: &State) -> Vec<&'static str> {
    let databases = state.databases.iter();
    databases
        .flat_map(|replaced| writers(&replaced.owner).iter().copied())
        .collect()
}

/// Looks at everything; changes nothing.
pub async fn plan(
    context: &Context,
    source: &Source,
    options: &Options,
    again: &str,
) -> Result<Plan, Vec<Fault>> {
    let one = |fault: Box<Fault>| vec![*fault];
    let places = &context.settings.places;
    if let Ok(Some(unfinished)) = state::read(&places.state) {
        return Err(one(unfinished_already(context, &unfinished)));
    }
    let now = options.began.unwrap_or_else(Timestamp::now);
    let (state, bytes, made_at, proved, by) = match source {
        Source::Backup(backup) => of_backup(context, backup, options, again, now).await?,
        Source::Kept(kept) => of_kept(context, kept, now).await.map_err(one)?,
    };
    let stops = status::running(context, &writers_of(&state), again)
        .await
        .map_err(one)?;
    Ok(Plan {
        state: State {
            services: stops.iter().cloned().collect(),
            ..state
        },
        stops,
        bytes,
        made_at,
        proved,
        by,
    })
}

type Parts = (State, u64, Timestamp, bool, String);

async fn of_backup(
    context: &Context,
    backup: &Backup,
    options: &Options,
    again: &str,
    now: Timestamp,
) -> Result<Parts, Vec<Fault>> {
    let one = |fault: Box<Fault>| vec![*fault];
    let manifest = usable(context, backup).map_err(one)?;
    if !options.foreign {
        is_of_this_deployment(context, backup, manifest, again).map_err(one)?;
    }
    let chosen = chosen(context, backup, manifest, options).map_err(one)?;
    let mut faults = Vec::new();
    let mut databases = Vec::new();
    let mut by = String::new();
    let mut disks: Vec<(std::path::PathBuf, u64)> = Vec::new();
    for dumped in &chosen {
        let target = match Target::for_load(context, dumped, again).await {
            Ok((target, _)) => target,
            Err(fault) => {
                prepare::add(&mut faults, *fault);
                continue;
            }
        };
        let names = target.names(context).await.map_err(one)?;
        let database = target.database.url.database().to_owned();
        by = target.admin.label();
        if let Some(data) = target.admin.data() {
            let needed = needs(dumped.bytes);
            match disks.iter_mut().find(|(path, _)| path == data) {
                Some((_, bytes)) => *bytes += needed,
                None => disks.push((data.to_owned(), needed)),
            }
        }
        databases.push(Replaced {
            owner: dumped.owner.clone(),
            new: beside(&context.settings, NEW, &dumped.owner),
            kept: kept::name_for(&database, now),
            was_there: names.contains(&database),
            database,
        });
    }
    for (data, needed) in disks {
        if let Err(fault) = load::room_of(context, &data).has(needed) {
            faults.push(*fault);
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let state = State {
        schema: 1,
        source: backup.id.clone(),
        backup: Some(backup.path.clone()),
        began: now,
        services: Vec::new(),
        phase: Phase::Loading,
        databases,
    };
    let bytes = chosen.iter().map(|dumped| dumped.bytes).sum();
    Ok((state, bytes, manifest.made_at, backup.is_proved(), by))
}

fn is_of_this_deployment(
    context: &Context,
    backup: &Backup,
    manifest: &Manifest,
    again: &str,
) -> Result<()> {
    let settings = &context.settings;
    let (project, domain) = (settings.project(), settings.get("RAPIDPRO_DOMAIN"));
    if (manifest.project.as_str(), manifest.domain.as_str()) == (project, domain) {
        return Ok(());
    }
    Err(Box::new(
        Fault::usage(
            format!("backup {}: of another deployment", backup.id),
            "its data belongs to other people than those of this deployment",
        )
        .evidence(format!(
            "the backup: project {}, {} (host {})",
            manifest.project, manifest.domain, manifest.host
        ))
        .evidence(format!("here: project {project}, {domain}"))
        .why("nothing was done; a deployment that moved, or got another domain, is restored with --foreign")
        .next(format!("{again} --foreign"))
        .next(context.command("backup list")),
    ))
}

fn chosen<'a>(
    context: &Context,
    backup: &Backup,
    manifest: &'a Manifest,
    options: &Options,
) -> Result<Vec<&'a Dumped>> {
    if options.owners.is_empty() {
        return Ok(manifest.databases.iter().collect());
    }
    let find = |owner: &&'static str| {
        manifest.database(owner).ok_or_else(|| {
            let there: Vec<&str> = manifest
                .databases
                .iter()
                .map(|of| of.owner.as_str())
                .collect();
            Box::new(
                Fault::usage(
                    format!("backup {}: has no database of {}", backup.id, label(owner)),
                    "only what is in a backup can be restored from it",
                )
                .evidence(format!("it has: {}", there.join(", ")))
                .why("nothing was done")
                .next(context.command("backup list")),
            )
        })
    };
    options.owners.iter().map(find).collect()
}

async fn of_kept(context: &Context, kept: &Kept, now: Timestamp) -> Result<Parts> {
    let target = Target::look(context, &kept.owner).await?;
    let names = target.names(context).await?;
    if !names.contains(&kept.name) {
        return Err(Box::new(
            Fault::problem(
                format!("{}: not on the server", kept.name),
                "the kept database is not there any more",
            )
            .evidence(target.database.url.redacted())
            .why("it cannot be put back; nothing was done")
            .next(context.command("backup list")),
        ));
    }
    let database = target.database.url.database().to_owned();
    let state = State {
        schema: 1,
        source: kept.name.clone(),
        backup: None,
        began: now,
        services: Vec::new(),
        // It is whole: only the places are changed.
        phase: Phase::Swapping,
        databases: vec![Replaced {
            owner: kept.owner.clone(),
            new: kept.name.clone(),
            kept: kept::name_for(&database, now),
            was_there: names.contains(&database),
            database,
        }],
    };
    Ok((state, 0, kept.at, true, target.admin.label()))
}

fn unfinished_already(context: &Context, state: &State) -> Box<Fault> {
    Box::new(
        Fault::problem(
            "restore: one was cut off in the middle",
            "a restore has begun and not come to its end",
        )
        .evidence(format!(
            "of {}, begun at {}",
            state.source,
            state.began.strftime("%Y-%m-%d %H:%M UTC")
        ))
        .why("it holds databases that the next one would need; nothing was done")
        .next(context.command("resume"))
        .next(context.command("resume --undo")),
    )
}

/// The digests of a backup that is going to be restored.
pub async fn check(context: &Context, source: &Source) -> Result<()> {
    match source {
        Source::Backup(backup) => load::check_parts(context, backup).await,
        Source::Kept(_) => Ok(()),
    }
}

/// Drops a database that a restore has kept. To be called with the lock of backups.
pub async fn drop_kept(context: &Context, kept: &Kept) -> Result<()> {
    let target = Target::look(context, &kept.owner).await?;
    let database = &target.database;
    // Somebody may have named the application's own.
    if context
        .settings
        .databases()
        .iter()
        .any(|of| of.url.database() == kept.name)
    {
        return Err(unanswered(context, database, "it is in use"));
    }
    let dropped = target.admin.drop(&kept.name).await;
    dropped.map_err(|why| unanswered(context, database, &why))?;
    let forgotten = kept::forget(&context.settings.places.state, &kept.name);
    forgotten.map_err(|error| unanswered(context, database, &error.to_string()))?;
    let told = format!("database {} dropped", kept.name);
    context
        .reporter
        .tell("delete", crate::operation::Kind::Done, None, told);
    Ok(())
}
