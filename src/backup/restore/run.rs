//! A restore from wherever it is to its end, forth or back. Each step can be cut off: the state on
//! disk says what was meant, the server's databases say what was done.

use std::time::{Duration, Instant};

use super::state::{self, Phase, Replaced, State, renames};
use super::{search, writers_of};
use crate::backup::kept::{self, Kept};
use crate::backup::load::{Load, Unproved};
use crate::backup::manifest::Dumped;
use crate::backup::store::Store;
use crate::backup::target::{Target, unanswered};
use crate::backup::{Backup, load};
use crate::fault::{Fault, Result};
use crate::lifecycle::Context;
use crate::lifecycle::{start, stop};
use crate::operation::Kind;

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Databases that are in place now.
    pub databases: Vec<String>,
    /// Databases that are kept, by their names.
    pub kept: Vec<String>,
    /// Whether it went back to what was.
    pub undone: bool,
    /// How long services were down, if any ran before.
    pub down: Option<Duration>,
    /// How long the whole took.
    pub took: Duration,
}

/// Runs a restore that begins now. To be called with both locks.
pub async fn run(context: &Context, state: State, again: &str) -> Result<Restored, Vec<Fault>> {
    let places = &context.settings.places;
    state
        .write(&places.state)
        .map_err(|error| vec![*not_noted(context, &error)])?;
    drive(context, state, again).await
}

/// Goes on with what was cut off; `undo`: back to what was.
pub async fn resume(
    context: &Context,
    mut state: State,
    undo: bool,
    again: &str,
) -> Result<Restored, Vec<Fault>> {
    if undo && state.phase != Phase::Undoing {
        state.phase = Phase::Undoing;
        note(context, &state)?;
    }
    drive(context, state, again).await
}

async fn drive(context: &Context, mut state: State, again: &str) -> Result<Restored, Vec<Fault>> {
    let began = Instant::now();
    let one = |fault: Box<Fault>| vec![*fault];
    let stops = writers_of(&state).into_iter().map(str::to_owned).collect();
    let stopped = stop::stop_locked(context, &stops, false, again).await?;
    if !stopped.faults.is_empty() {
        return Err(stopped.faults);
    }
    if state.phase == Phase::Loading
        && let Err(fault) = load_all(context, &state, again).await
    {
        // The present databases are as they were: back to them, rather than services that stand still.
        context
            .reporter
            .tell("restore", Kind::Failed, None, "going back to what was");
        state.phase = Phase::Undoing;
        note(context, &state)?;
        let mut faults = vec![*fault];
        if let Err(more) = finish(context, state, began, again).await {
            faults.extend(more);
        }
        return Err(faults);
    }
    if state.phase == Phase::Loading {
        state.phase = Phase::Swapping;
        note(context, &state)?;
    }
    if state.phase == Phase::Swapping {
        for replaced in &state.databases {
            swap(context, &state, replaced, false).await.map_err(one)?;
        }
        state.phase = Phase::Starting;
        note(context, &state)?;
    }
    finish(context, state, began, again).await
}

/// Makes all new databases, complete and compared.
async fn load_all(context: &Context, state: &State, again: &str) -> Result<()> {
    let backup = backup_of(context, state)?;
    let manifest = load::usable(context, &backup)?;
    for replaced in &state.databases {
        let Some(dumped) = manifest.database(&replaced.owner) else {
            continue;
        };
        load_one(context, &backup, dumped, replaced, again).await?;
    }
    Ok(())
}

async fn load_one(
    context: &Context,
    backup: &Backup,
    dumped: &Dumped,
    replaced: &Replaced,
    again: &str,
) -> Result<()> {
    let (target, programs) = Target::for_load(context, dumped, again).await?;
    let load = Load {
        context,
        step: "restore",
        backup,
        dumped,
        programs: &programs,
        admin: &target.admin,
        url: &target.database.url,
        into: &replaced.new,
    };
    load.run().await.map_err(Unproved::into_fault)?;
    if replaced.was_there {
        let (from, to) = (&replaced.database, &replaced.new);
        let taken = target.admin.take_over(from, to).await;
        taken.map_err(|why| unanswered(context, &target.database, &why))?;
    }
    Ok(())
}

fn backup_of(context: &Context, state: &State) -> Result<Backup> {
    let store = Store::of(&context.settings);
    let path = state.backup.clone().unwrap_or_default();
    store.find(&path.display().to_string(), "").map_err(|_| {
        Box::new(
            Fault::problem(
                format!("backup {}: not there any more", state.source),
                "the backup that was being restored cannot be found",
            )
            .evidence(path.display().to_string())
            .why("without it the restore cannot be finished")
            .next(format!("ls {}", path.display()))
            .next(context.command("backup list")),
        )
    })
}

/// Lets a database change places, as far as that has not happened yet.
async fn swap(context: &Context, state: &State, replaced: &Replaced, undo: bool) -> Result<()> {
    let target = Target::look(context, &replaced.owner).await?;
    let refused = |why: String| unanswered(context, &target.database, &why);
    let names = target.names(context).await?;
    let Some(renames) = renames(replaced, undo, |name| names.contains(name)) else {
        let Replaced {
            database,
            new,
            kept,
            ..
        } = replaced;
        return Err(refused(format!(
            "of the databases {database}, {new} and {kept} those are missing that would be renamed"
        )));
    };
    // Before: a database that nobody knows of would only take room.
    if !undo && replaced.was_there {
        let kept = Kept {
            name: replaced.kept.clone(),
            owner: replaced.owner.clone(),
            at: state.began,
            replaced_by: state.source.clone(),
        };
        let noted = kept::add(&context.settings.places.state, kept);
        noted.map_err(|error| not_noted(context, &error))?;
    }
    for (from, to) in renames {
        let told = format!("{from} → {to}");
        let reporter = &context.reporter;
        reporter.service(
            "rename",
            &replaced.owner,
            Kind::Started,
            None,
            told.as_str(),
        );
        target.admin.rename(from, to).await.map_err(refused)?;
        reporter.service("rename", &replaced.owner, Kind::Done, None, told);
    }
    let settled = |name: &str| {
        kept::forget(&context.settings.places.state, name)
            .map_err(|error| not_noted(context, &error))
    };
    if undo {
        settled(&replaced.kept)?;
        // A kept database that was to be put back is one still.
        if state.backup.is_some() {
            target.admin.drop(&replaced.new).await.map_err(refused)?;
        }
    } else if state.backup.is_none() {
        settled(&replaced.new)?;
    }
    Ok(())
}

/// Starts what ran, and notes the end.
async fn finish(
    context: &Context,
    state: State,
    began: Instant,
    again: &str,
) -> Result<Restored, Vec<Fault>> {
    let one = |fault: Box<Fault>| vec![*fault];
    let undo = state.phase == Phase::Undoing;
    if undo {
        for replaced in &state.databases {
            swap(context, &state, replaced, true).await.map_err(one)?;
        }
    } else if state
        .databases
        .iter()
        .any(|replaced| replaced.owner == "rapidpro")
    {
        search::forget(context).await;
    }
    let mut faults = Vec::new();
    if !state.services.is_empty() {
        let graph = &context.stack.graph;
        let chosen = graph.with_needs(state.services.iter().map(String::as_str));
        let options = start::Options::default();
        let outcome = start::start_locked(context, &options, &chosen, again).await?;
        faults = outcome.failures();
    }
    let down = (!state.services.is_empty()).then(|| began.elapsed());
    // The databases are where they belong: what a service lacks now another command sees to.
    state::remove(&context.settings.places.state)
        .map_err(|error| one(not_noted(context, &error)))?;
    if !faults.is_empty() {
        return Err(faults);
    }
    let databases = state.databases.iter();
    Ok(Restored {
        kept: match undo {
            true => Vec::new(),
            false => databases
                .clone()
                .filter(|replaced| replaced.was_there)
                .map(|replaced| replaced.kept.clone())
                .collect(),
        },
        databases: databases
            .map(|replaced| replaced.database.clone())
            .collect(),
        undone: undo,
        down,
        took: began.elapsed(),
    })
}

fn note(context: &Context, state: &State) -> Result<(), Vec<Fault>> {
    let written = state.write(&context.settings.places.state);
    written.map_err(|error| vec![*not_noted(context, &error)])
}

fn not_noted(context: &Context, error: &std::io::Error) -> Box<Fault> {
    let state = context.settings.places.state.display();
    Box::new(
        Fault::problem(
            "restore: how far it is cannot be noted",
            "the state of the restore could not be written",
        )
        .evidence(format!("{state}: {error}"))
        .why("one that is cut off could not be finished; it stopped here")
        .next(format!("df -h {state}"))
        .next(context.command("resume")),
    )
}
