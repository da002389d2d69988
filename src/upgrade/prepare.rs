//! What is done before anything is stopped: the images are there, the new configuration is valid,
//! the new version's static files are made, the database is backed up and the backup proved, there is room for its copy,
//! and the new version's code can be loaded.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::procedure;
use super::state::{State, Step};
use crate::backup::load::{check_parts, needs, room_of};
use crate::backup::prepare::LOOK;
use crate::backup::target::Target;
use crate::backup::{Store, create, kept, verify};
use crate::deployment::services::{Stack, environment_in};
use crate::deployment::settings::Database;
use crate::engine::compose::Compose;
use crate::engine::{Engine, Error};
use crate::fault::{Fault, Result};
use crate::host::postgres;
use crate::lifecycle::ahead::Coming;
use crate::lifecycle::observe::{compose_answer, for_compose};
use crate::lifecycle::release::Outcome;
use crate::lifecycle::surroundings::label;
use crate::lifecycle::{Context, ahead, preflight, primed};
use crate::operation::Kind;

/// What a copy of a database that is made now is called.
pub fn name_of_copy(database: &str) -> String {
    kept::name_for(database, Timestamp::now())
}

/// Under which name a rollback keeps the newer database.
pub fn name_of_newer(state: &State) -> String {
    kept::name_for(&state.database, state.began)
}

/// The deployment as a leg would have it. Changes nothing.
pub fn imagined(context: &Context, step: &Step) -> Result<Context> {
    let images = step.images.iter();
    let changes: Vec<(String, String)> = images
        .map(|(key, _, to)| (key.clone(), to.clone()))
        .collect();
    let settings = context.settings.with(&changes);
    let stack = Stack::load(&settings)?;
    Ok(Context::assemble(settings, stack, context.reporter.clone()))
}

/// Prepares the leg under way; the id of its proved backup. To be called with the lock of backups.
pub async fn leg(context: &Context, state: &State, again: &str) -> Result<String, Vec<Fault>> {
    let one = |fault: Box<Fault>| vec![*fault];
    let new = imagined(context, state.step()).map_err(one)?;
    // Of all legs: the last must not be the one that finds out that a registry is away.
    let failed = |error: crate::engine::Error| vec![error.fault(again)];
    let engine = Engine::connect().await.map_err(failed)?;
    let missing = missing(&engine, &state.legs[state.at..]).await;
    let missing: BTreeSet<String> = missing.map_err(failed)?.into_keys().collect();
    if !missing.is_empty() {
        let faults = preflight::pull(context, &engine, &missing, again).await;
        if !faults.is_empty() {
            return Err(faults);
        }
    }
    let config = validate(&new).await.map_err(one)?;
    let procedure = procedure::of(state.app);
    let owner = procedure.owner;
    let project = context.settings.project();
    let before = engine.service_container(project, owner).await;
    let coming = before
        .map_err(failed)?
        .zip(new.stack.service(owner).zip(procedure.task(&new)))
        .map(|(before, (service, task))| Coming {
            service,
            task,
            before,
            environment: environment_in(&config, owner),
        });
    // What a run that was cut off has left may be half done.
    let discarded = primed::discard(context, &engine, owner).await;
    discarded.map_err(failed)?;
    if let Some(coming) = &coming {
        let made = ahead::make(context, &engine, coming).await;
        fine(made.map_err(failed)?, again)?;
    }
    let backup = back_up(context, state, owner, again).await?;
    room(context, owner).await.map_err(one)?;
    // The last, since it takes memory while it waits.
    if let Some(coming) = &coming {
        let loaded = primed::load(context, &engine, coming).await;
        fine(loaded.map_err(failed)?, again)?;
    }
    Ok(backup)
}

/// The images of these legs that are not on this host, each with the one that it takes the place of.
pub async fn missing(
    engine: &Engine,
    legs: &[Step],
) -> std::result::Result<BTreeMap<String, String>, Error> {
    let mut missing = BTreeMap::new();
    for (_, before, image) in legs.iter().flat_map(|step| &step.images) {
        if engine.image_id(image).await?.is_none() {
            missing
                .entry(image.clone())
                .or_insert_with(|| before.clone());
        }
    }
    Ok(missing)
}

fn fine(outcome: Outcome, again: &str) -> Result<(), Vec<Fault>> {
    match outcome {
        Outcome::Done => Ok(()),
        Outcome::Failed(fault) => Err(vec![fault.next(again)]),
    }
}

/// Has compose read the files that the new version would be made of; how it understands them.
async fn validate(new: &Context) -> Result<String> {
    let folder = preflight::scratch_folder()?;
    let check = async {
        new.rendered.write(&folder)?;
        let compose = Compose::find().await?.with(for_compose(new, &folder));
        compose_answer(new, compose.config().await)
    };
    let checked = check.await;
    let _ = std::fs::remove_dir_all(&folder);
    checked
}

/// A proved backup of the database, kept for this leg. One that a run before this has made and proved
/// is taken again.
async fn back_up(
    context: &Context,
    state: &State,
    owner: &'static str,
    again: &str,
) -> Result<String, Vec<Fault>> {
    let step = state.step();
    let reason = format!("{} {} → {}", state.app.name(), step.from, step.to);
    let store = Store::of(&context.settings);
    let all = store.own().unwrap_or_default();
    let earlier = all.into_iter().find(|backup| {
        backup.is_proved()
            && backup.keep() == Some(&reason)
            && backup.made_at().is_some_and(|made| made >= state.began)
    });
    if let Some(backup) = earlier {
        // Somebody may have been at its files since, or its disk.
        let (kind, told) = match check_parts(context, &backup).await {
            Ok(()) => (Kind::Skipped, "was made and proved before"),
            Err(_) => (Kind::Failed, "is not what was proved: a new one is made"),
        };
        let told = format!("{} {told}", backup.id);
        context.reporter.tell("backup", kind, None, told);
        if kind == Kind::Skipped {
            return Ok(backup.id);
        }
    }
    let options = create::Options {
        owners: vec![owner],
        to: None,
        keep: Some(reason),
    };
    let plan = create::plan(context, &options, again).await?;
    let backup = create::create(context, &options, &plan).await?;
    verify::verify(context, &backup, again).await?;
    create::hook(context, &backup)
        .await
        .map_err(|fault| vec![*fault])?;
    Ok(backup.id)
}

/// Whether there is room for the copy, where that can be told.
pub async fn room(context: &Context, owner: &str) -> Result<()> {
    let target = Target::look(context, owner).await?;
    let database = target.database.url.database();
    let Some(data) = target.admin.data() else {
        return Ok(());
    };
    let bytes = target.admin.bytes(database).await.unwrap_or_default();
    room_of(context, data).has(needs(bytes))
}

/// Whether migrations can be applied there: a superuser may have to make an extension first.
pub async fn usable(database: &Database) -> Result<()> {
    let report = postgres::probe(&database.url, database.extensions, LOOK).await;
    match report.fault(label(database.owner), &database.url, "this host", None) {
        Some(fault) => Err(Box::new(fault)),
        None => Ok(()),
    }
}
