//! `ooy restore`, and `ooy resume` for what was cut off.

use std::collections::BTreeSet;

use super::backup::list::age;
use super::backup::{agreed, kept_database, owners};
use super::{Failure, Outcome, block, context, under_both_locks};
use crate::backup::Store;
use crate::backup::restore::state::{self, Phase, State};
use crate::backup::restore::{self, Options, Plan, Restored, Source};
use crate::cli::{Restore, Resume};
use crate::deployment::places::Places;
use crate::fault::Fault;
use crate::host::disk::human as size;
use crate::lifecycle::Context;
use crate::operation::{Kind, lock};
use crate::ui::{Ui, human};

pub fn run(ui: &Ui, places: &Places, arguments: &Restore) -> Outcome {
    let context = context(ui, places, "restore")?;
    crate::upgrade::plan::nothing_unfinished(&context)?;
    let options = Options {
        owners: owners(&arguments.database),
        foreign: arguments.foreign,
        began: None,
    };
    let mut asked = format!("restore {}", arguments.id);
    for owner in &options.owners {
        asked += &format!(" --database {owner}");
    }
    let again = places.command(&asked);
    let source = match kept_database(&context, &arguments.id)? {
        Some(kept) => Source::Kept(kept),
        None => {
            let store = Store::of(&context.settings);
            Source::Backup(Box::new(store.find(&arguments.id, &again)?))
        }
    };
    let plan = block(async { Ok(restore::plan(&context, &source, &options, &again).await?) })?;
    show_plan(ui, &context, &plan);
    if arguments.dry_run {
        ui.say("nothing was done (--dry-run)");
        return Ok(0);
    }
    agreed(ui, places, "restore: not done", &asked)?;
    let resume = places.command("resume");
    let restored = operate(&context, &asked, &again, &resume, async || {
        // Again: what was agreed to is some seconds old.
        let options = Options {
            began: Some(plan.state.began),
            ..options
        };
        let plan = restore::plan(&context, &source, &options, &again).await?;
        restore::check(&context, &source)
            .await
            .map_err(|fault| vec![*fault])?;
        restore::run(&context, plan.state, &resume).await
    })?;
    conclude(ui, places, &restored);
    Ok(0)
}

fn show_plan(ui: &Ui, context: &Context, plan: &Plan) {
    let zone = jiff::tz::TimeZone::system();
    let made = plan
        .made_at
        .to_zoned(zone)
        .strftime("%Y-%m-%d %H:%M %Z")
        .to_string();
    if !ui.json {
        ui.say(&format!("ooy restore {} · of {made}", plan.state.source));
        if !plan.proved {
            ui.say(
                "  ! this backup was never proved; it is compared before it takes anybody's place",
            );
        }
    }
    for replaced in &plan.state.databases {
        let kept = match replaced.was_there {
            true => format!("; what is there now is kept as {}", replaced.kept),
            false => "; there is none now".to_owned(),
        };
        let how = match plan.state.phase {
            Phase::Loading => format!(
                "made anew as {}, compared, then put in its place{kept}",
                plan.by
            ),
            _ => format!("database {} takes its place{kept}", replaced.new),
        };
        context
            .reporter
            .service("restore", &replaced.owner, Kind::Planned, None, how);
    }
    if !ui.json {
        let stopped = match plan.stops.is_empty() {
            true => "nobody notices: what writes there does not run".to_owned(),
            false => format!(
                "stopped until it is done: {}",
                plan.stops
                    .iter()
                    .map(String::as_str)
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        };
        ui.say(&format!("  meanwhile  {stopped}"));
        ui.say(&format!(
            "  lost       what was written since {made} is only in the databases that are kept"
        ));
        if plan.bytes > 0 {
            ui.say(&format!(
                "  room       {} on the database server",
                size(plan.bytes)
            ));
        }
    }
}

/// Under both locks, with begin and end in the journal.
fn operate(
    context: &Context,
    asked: &str,
    again: &str,
    resume: &str,
    work: impl AsyncFnOnce() -> Result<Restored, Vec<Fault>>,
) -> Result<Restored, Failure> {
    let has_ended = || matches!(state::read(&context.settings.places.state), Ok(None));
    let summary = |restored: &Restored| match restored.undone {
        true => "back to what was".to_owned(),
        false => format!("{} in place", restored.databases.join(", ")),
    };
    under_both_locks(context, (asked, again, resume), has_ended, summary, work)
}

fn conclude(ui: &Ui, places: &Places, restored: &Restored) {
    if ui.json {
        return;
    }
    let took = human::took(restored.took);
    if restored.undone {
        ui.say(&format!(
            "✓ back to what was: {} · {took}",
            restored.databases.join(", ")
        ));
        return;
    }
    let down = restored.down.map_or(String::new(), |down| {
        format!(" · services were down for {}", human::took(down))
    });
    ui.say(&format!(
        "✓ restored: {}{down} · {took}",
        restored.databases.join(", ")
    ));
    for kept in &restored.kept {
        let back = places.command(&format!("restore {kept}"));
        ui.say(&format!(
            "  what was there is kept: {kept} (back to it: {back})"
        ));
    }
    if let Some(kept) = restored.kept.first() {
        let drop = places.command(&format!("backup delete {kept}"));
        ui.say(&format!("  once all is well, to free the room: {drop}"));
    }
}

pub fn resume(ui: &Ui, places: &Places, arguments: &Resume) -> Outcome {
    if let Some(code) = super::upgrade::resume(ui, places, arguments)? {
        return Ok(code);
    }
    let context = context(ui, places, "resume")?;
    let unfinished = state::read(&places.state).map_err(|error| unreadable(places, &error))?;
    let Some(unfinished) = unfinished else {
        if !ui.json {
            ui.say("✓ nothing was cut off");
        }
        return Ok(0);
    };
    let asked = match arguments.undo {
        true => "resume --undo",
        false => "resume",
    };
    let again = places.command(asked);
    if !ui.json {
        ui.say(&format!(
            "ooy {asked} · restore of {}, begun {} ago",
            unfinished.source,
            age(unfinished.began)
        ));
    }
    for line in goes_on(&unfinished, arguments.undo) {
        context.reporter.tell("resume", Kind::Planned, None, line);
    }
    if arguments.dry_run {
        ui.say("nothing was done (--dry-run)");
        return Ok(0);
    }
    agreed(ui, places, "resume: not done", asked)?;
    let restored = operate(&context, asked, &again, &again, async || {
        // Somebody else may have finished it meanwhile.
        match state::read(&places.state) {
            Ok(Some(state)) => restore::resume(&context, state, arguments.undo, &again).await,
            Ok(None) => Ok(Restored {
                databases: Vec::new(),
                kept: Vec::new(),
                undone: false,
                down: None,
                took: std::time::Duration::ZERO,
            }),
            Err(error) => Err(vec![*unreadable(places, &error)]),
        }
    })?;
    conclude(ui, places, &restored);
    Ok(0)
}

/// What is going to be done, in words.
fn goes_on(state: &State, undo: bool) -> Vec<String> {
    let databases: Vec<&str> = state
        .databases
        .iter()
        .map(|of| of.database.as_str())
        .collect();
    let databases = databases.join(", ");
    let mut lines = vec![match (undo || state.phase == Phase::Undoing, state.phase) {
        (true, _) => format!("put back what was: {databases}"),
        (false, Phase::Loading) => {
            format!("restore {databases} from the beginning; they are as they were")
        }
        (false, _) => format!("put what is restored into the place of {databases}"),
    }];
    if !state.services.is_empty() {
        lines.push(format!("start {}", state.services.join(", ")));
    }
    lines
}

fn unreadable(places: &Places, error: &std::io::Error) -> Box<Fault> {
    let state = places.state.display();
    Box::new(
        Fault::problem(
            "resume: what was cut off cannot be read",
            "the state of the restore is on disk, and cannot be read",
        )
        .evidence(format!("{state}/restore.json: {error}"))
        .why("nothing was done")
        .next(format!("ls -l {state}"))
        .next(places.command("diagnose")),
    )
}

/// Nothing is started on databases that a restore was cut off from: the fault, if one was.
pub(super) fn in_the_way(context: &Context, chosen: &BTreeSet<String>) -> Result<(), Failure> {
    let places = &context.settings.places;
    let Ok(Some(state)) = state::read(&places.state) else {
        return Ok(());
    };
    let mut writers = restore::writers_of(&state);
    writers.retain(|service| chosen.contains(*service));
    // Whoever holds the lock at this moment may be at it; then that is said.
    if writers.is_empty() || !matches!(lock::holder(&places.state), Ok(None)) {
        return Ok(());
    }
    Err(Failure::from(Box::new(
        Fault::problem(
            "restore: one was cut off in the middle",
            "a restore has begun and not come to its end; what writes to its databases is not started",
        )
        .evidence(format!("restore of {}, begun {} ago", state.source, age(state.began)))
        .evidence(format!("not started: {}", writers.join(", ")))
        .why("what they would write now may be lost, or their database may not be there")
        .next(places.command("resume"))
        .next(places.command("resume --undo")),
    )))
}
