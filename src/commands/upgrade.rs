//! `ooy upgrade` and `ooy rollback`, and what `ooy resume` does for them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::backup::agreed;
use super::backup::list::age;
use super::{Failure, Outcome, block, context, under_both_locks};
use crate::cli::{Application, Resume, Rollback, Upgrade};
use crate::deployment::places::Places;
use crate::deployment::version::Version;
use crate::fault::Fault;
use crate::host::disk::human as size;
use crate::lifecycle::Context;
use crate::operation::{Kind, lock};
use crate::ui::{Ui, human};
use crate::upgrade::catalogue::App;
use crate::upgrade::plan::{self, About, Plan, Wishes};
use crate::upgrade::run::{self, Ended};
use crate::upgrade::state;
use crate::upgrade::{procedure, rollback};

pub fn run(ui: &Ui, places: &Places, arguments: &Upgrade) -> Outcome {
    let wishes = wishes(places, arguments)?;
    let context = context(ui, places, "upgrade")?;
    let own = procedure::of(wishes.app).services().map(str::to_owned);
    super::restore::in_the_way(&context, &own.collect())?;
    let asked = asked(&wishes);
    let again = places.command(&asked);
    let plan = block(async { Ok(plan::plan(&context, &wishes, &again).await?) })?;
    plan::is_possible(&context, &plan)?;
    show(ui, &context, &plan);
    if arguments.dry_run {
        ui.say("nothing was done (--dry-run)");
        return Ok(0);
    }
    agreed(ui, places, "upgrade: not done", &asked)?;
    let resume = places.command("resume");
    let ended = operate(&context, &asked, &again, &resume, async || {
        // Again: what was agreed to is some seconds old, and somebody may have been faster.
        let mut plan = plan::plan(&context, &wishes, &again).await?;
        plan.state.asked.clone_from(&asked);
        run::drive(&context, plan.state, &resume).await
    })?;
    conclude(ui, places, &ended);
    Ok(0)
}

pub(super) fn app(application: Application) -> App {
    match application {
        Application::Rapidpro => App::Rapidpro,
        Application::Casepro => App::Casepro,
        Application::Contentrepo => App::Contentrepo,
    }
}

/// The version that `--to` names, if it does.
pub(super) fn version(
    places: &Places,
    app: App,
    text: Option<&str>,
) -> Result<Option<Version>, Failure> {
    let Some(text) = text else { return Ok(None) };
    match Version::parse(text) {
        Some(version) => Ok(Some(version)),
        None => Err(Failure::from(Box::new(
            Fault::usage(
                format!("{text}: no version"),
                "a version has three numbers, as in 7.0.4",
            )
            .evidence(format!("--to {text}"))
            .why("nothing was done")
            .next(places.command(&format!("upgrade {} --dry-run", app.name()))),
        ))),
    }
}

fn wishes(places: &Places, arguments: &Upgrade) -> Result<Wishes, Failure> {
    let app = app(arguments.application);
    let command = |rest: &str| places.command(&format!("upgrade {} {rest}", app.name()));
    let to = version(places, app, arguments.to.as_deref())?;
    let mut tags = BTreeMap::new();
    for (service, tag) in [
        ("mailroom", &arguments.mailroom),
        ("courier", &arguments.courier),
        ("indexer", &arguments.indexer),
    ] {
        let Some(tag) = tag else { continue };
        if app != App::Rapidpro {
            return Err(Failure::from(Box::new(
                Fault::usage(
                    format!("--{service}: not of {}", app.label()),
                    format!("{service} is upgraded together with RapidPro"),
                )
                .evidence(format!("--{service} {tag}"))
                .why("nothing was done")
                .next(command("--dry-run")),
            )));
        }
        tags.insert(service.to_owned(), tag.clone());
    }
    Ok(Wishes {
        app,
        to,
        tags,
        no_rollback: arguments.no_rollback,
        wiki_order: arguments.wiki_order,
    })
}

fn asked(wishes: &Wishes) -> String {
    let mut asked = format!("upgrade {}", wishes.app.name());
    if let Some(to) = wishes.to {
        asked += &format!(" --to {to}");
    }
    for (service, tag) in &wishes.tags {
        asked += &format!(" --{service} {tag}");
    }
    for (flag, given) in [
        (" --no-rollback", wishes.no_rollback),
        (" --wiki-order", wishes.wiki_order),
    ] {
        if given {
            asked += flag;
        }
    }
    asked
}

fn show(ui: &Ui, context: &Context, plan: &Plan) {
    let state = &plan.state;
    let legs = state.legs.iter().zip(&plan.legs).enumerate();
    if ui.json {
        for (index, (step, about)) in legs {
            let detail = format!("{} → {}{}", step.from, step.to, of_leg(about));
            let name = format!("leg {}", index + 1);
            let reporter = &context.reporter;
            reporter.service("upgrade", &name, Kind::Planned, None, detail);
        }
        return;
    }
    let label = state.app.label();
    let (first, last) = (&state.legs[0], &state.legs[state.legs.len() - 1]);
    let count = match state.legs.len() {
        1 => "one leg".to_owned(),
        n => format!("{n} legs, each release is required"),
    };
    ui.say(&format!(
        "ooy upgrade {} · {label} {} → {} · {count}",
        state.app.name(),
        first.from,
        last.to
    ));
    for warning in &plan.warnings {
        ui.say(&format!("  ! {warning}"));
    }
    for (index, (step, about)) in legs {
        let of_leg = format!("{} → {}{}", step.from, step.to, of_leg(about));
        let name = format!("leg {}", index + 1);
        ui.say(&format!("  {name}      {of_leg}"));
        let reporter = &context.reporter;
        reporter.service("plan", &name, Kind::Planned, None, of_leg);
        for (added, change) in &about.changes {
            let sign = if *added { '+' } else { '−' };
            ui.say(&format!("               {sign} {change}"));
        }
        for note in &about.notes {
            ui.say(&format!("               {note}"));
        }
    }
    let images = match plan.pulls.len() {
        0 => "all are on this host".to_owned(),
        n => format!(
            "{n} to pull, about {} · {} free ✓",
            size(plan.pull_bytes),
            size(plan.free)
        ),
    };
    ui.say(&format!("  images     {images}"));
    let owner = procedure::of(state.app).owner;
    ui.say(&format!(
        "  backup     {owner} {} → about {}, proved by a restore (needs {} for a moment) ✓",
        size(plan.database_bytes),
        size(plan.backup_bytes),
        size(plan.database_bytes)
    ));
    ui.say(&format!("  PostgreSQL {} · enough", plan.server));
    let courier = procedure::of(state.app).takes_messages;
    let down = match (plan.last, courier) {
        (Some((web, away)), Some(courier)) => format!(
            "as measured the last time: web {} a leg, {courier} {} a leg",
            human::took(web),
            human::took(away)
        ),
        (Some((web, _)), None) => {
            format!("as measured the last time: {} a leg", human::took(web))
        }
        (None, Some(courier)) => format!(
            "web from the copy of the database to the end of the trial, {courier} shorter; never measured here"
        ),
        (None, None) => {
            "from the copy of the database to the end of the trial; never measured here".to_owned()
        }
    };
    ui.say(&format!("  down       {down}"));
    ui.say(&format!("  stops      {}", state.services.join(", ")));
    let back = match state.no_rollback {
        true => "by hand (--no-rollback): `ooy resume --undo` until it has ended",
        false => "automatic until the trial is passed",
    };
    ui.say(&format!(
        "  way back   {back}; afterwards `ooy rollback` says what it would lose"
    ));
}

/// `   54 migrations   mailroom 6.4.3 → v7.0.1`
fn of_leg(about: &About) -> String {
    let mut text = String::new();
    if let Some(count) = about.migrations {
        text += &format!("   {}", human::count(u64::from(count), "migration"));
    }
    for (service, before, after) in about.tags.iter().skip(1) {
        text += &format!("   {service} {before} → {after}");
    }
    text
}

/// Under both locks, with begin and end in the journal.
fn operate(
    context: &Context,
    asked: &str,
    again: &str,
    resume: &str,
    work: impl AsyncFnOnce() -> Result<Ended, Vec<Fault>>,
) -> Result<Ended, Failure> {
    let has_ended = || matches!(state::read(&context.settings.places.state), Ok(None));
    under_both_locks(context, (asked, again, resume), has_ended, summary, work)
}

fn summary(ended: &Ended) -> String {
    let (web, courier) = ended.down;
    let mut text = match ended.undone {
        true => format!("{}: back to what was", ended.name),
        false => ended.name.clone(),
    };
    text += &format!(" · web closed for {}", human::took(web));
    if courier > Duration::ZERO {
        text += &format!(", courier for {}", human::took(courier));
    }
    text
}

fn conclude(ui: &Ui, places: &Places, ended: &Ended) {
    if ui.json {
        return;
    }
    ui.say(&format!("✓ {}", summary(ended)));
    if let Some(kept) = &ended.kept {
        ui.say(&format!(
            "  back to before: {}   once all is well, to free the room: {}",
            places.command("rollback"),
            places.command(&format!("backup delete {kept}"))
        ));
    }
}

pub fn roll_back(ui: &Ui, places: &Places, arguments: &Rollback) -> Outcome {
    let context = context(ui, places, "rollback")?;
    let of = arguments.application.map(app);
    let mut asked = "rollback".to_owned();
    if let Some(of) = of {
        asked += &format!(" {}", of.name());
    }
    if let Some(since) = arguments.accept_loss_since {
        asked += &format!(" --accept-loss-since {since}");
    }
    let again = places.command(&asked);
    let plan = block(async { Ok(rollback::plan(&context, of, &again).await?) })?;
    let told = |line: String| {
        context.reporter.tell("rollback", Kind::Planned, None, line);
    };
    let step = &plan.upgraded.step;
    if !ui.json {
        ui.say(&format!("ooy {asked}"));
    }
    told(format!(
        "{} {} → {}, with the database from before",
        plan.upgraded.app.label(),
        step.to,
        step.from
    ));
    told(format!("missing afterwards: {}", rollback::lost(&plan)));
    told(format!(
        "the newer database is kept as {}",
        crate::upgrade::prepare::name_of_newer(&plan.state)
    ));
    if arguments.dry_run {
        ui.say("nothing was done (--dry-run)");
        return Ok(0);
    }
    rollback::accepted(&context, &plan, arguments.accept_loss_since)?;
    agreed(ui, places, "rollback: not done", &asked)?;
    let resume = places.command("resume");
    let ended = operate(&context, &asked, &again, &resume, async || {
        let plan = rollback::plan(&context, of, &again)
            .await
            .map_err(|fault| vec![*fault])?;
        run::drive(&context, plan.state, &resume).await
    })?;
    conclude(ui, places, &ended);
    Ok(0)
}

/// Goes on with an upgrade that was cut off, if one was.
pub fn resume(ui: &Ui, places: &Places, arguments: &Resume) -> Result<Option<u8>, Failure> {
    let unfinished = match state::read(&places.state) {
        Ok(None) => return Ok(None),
        Ok(Some(state)) => state,
        Err(error) => return Err(Failure::from(Box::new(unreadable(places, &error)))),
    };
    let context = context(ui, places, "resume")?;
    let asked = match arguments.undo {
        true => "resume --undo",
        false => "resume",
    };
    let again = places.command(asked);
    let undo = arguments.undo && unfinished.can_be_undone();
    if !ui.json {
        ui.say(&format!(
            "ooy {asked} · {}, begun {} ago",
            unfinished.name(),
            age(unfinished.began)
        ));
    }
    let reporter = &context.reporter;
    let how_far = unfinished.phase.words().to_owned();
    reporter.tell("resume", Kind::Planned, None, how_far);
    let step = unfinished.step();
    let goes_on = match undo || unfinished.phase == state::Phase::Undoing {
        true => format!(
            "back to {}: images, settings and database together",
            step.from
        ),
        false => format!("on to {}", step.to),
    };
    reporter.tell("resume", Kind::Planned, None, goes_on);
    if arguments.undo && unfinished.phase == state::Phase::Opening {
        let then =
            "people may have written already: `ooy rollback` goes back, and says what that loses";
        reporter.tell("resume", Kind::Planned, None, then);
    }
    if arguments.dry_run {
        ui.say("nothing was done (--dry-run)");
        return Ok(Some(0));
    }
    agreed(ui, places, "resume: not done", asked)?;
    let ended = operate(&context, asked, &again, &again, async || {
        // Somebody else may have finished it meanwhile.
        match state::read(&places.state) {
            Ok(Some(mut state)) => {
                if undo && state.can_be_undone() {
                    state.phase = state::Phase::Undoing;
                }
                run::drive(&context, state, &again).await
            }
            Ok(None) => Ok(Ended {
                name: unfinished.name(),
                undone: false,
                down: (Duration::ZERO, Duration::ZERO),
                kept: None,
            }),
            Err(error) => Err(vec![unreadable(places, &error)]),
        }
    })?;
    conclude(ui, places, &ended);
    Ok(Some(0))
}

fn unreadable(places: &Places, error: &std::io::Error) -> Fault {
    let state = places.state.display();
    Fault::problem(
        "resume: what was cut off cannot be read",
        "the state of the upgrade is on disk, and cannot be read",
    )
    .evidence(format!("{state}/upgrade.json: {error}"))
    .why("nothing was done")
    .next(format!("ls -l {state}"))
    .next(places.command("diagnose"))
}

/// The services on whose databases a restore or an upgrade was cut off.
pub(super) fn held_back(places: &Places) -> BTreeSet<String> {
    let mut services: BTreeSet<String> = BTreeSet::new();
    if let Ok(Some(restore)) = crate::backup::restore::state::read(&places.state) {
        let writers = crate::backup::restore::writers_of(&restore);
        services.extend(writers.into_iter().map(str::to_owned));
    }
    if let Ok(Some(upgrade)) = state::read(&places.state) {
        services.extend(upgrade.holds().map(str::to_owned));
    }
    services
}

/// Nothing is started on databases that a restore or an upgrade was cut off from: the fault, if one
/// was.
pub(super) fn nothing_in_the_way(
    context: &Context,
    chosen: &BTreeSet<String>,
) -> Result<(), Failure> {
    super::restore::in_the_way(context, chosen)?;
    let places = &context.settings.places;
    let in_the_way = match state::read(&places.state) {
        Ok(None) => false,
        Ok(Some(upgrade)) => upgrade.holds().any(|service| chosen.contains(service)),
        Err(_) => true,
    };
    // Whoever holds the lock at this moment may be at it; then that is said.
    if !in_the_way || !matches!(lock::holder(&places.state), Ok(None)) {
        return Ok(());
    }
    Err(Failure::from(Box::new(plan::unfinished(context))))
}
