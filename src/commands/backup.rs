//! `ooy backup …`.

pub(super) mod list;

use std::time::{Duration, Instant};

use super::{Failure, Outcome, block, block_interruptible, context};
use crate::backup::create::{self, Options, Plan};
use crate::backup::kept::{self, Kept};
use crate::backup::verify::{self, Proof};
use crate::backup::{self, Backup, Store, delete, restore};
use crate::cli::{
    Backup as Arguments, BackupCommand, BackupCreate, BackupDelete, BackupVerify, Owner,
};
use crate::deployment::places::Places;
use crate::fault::{Fault, Kind as FaultKind};
use crate::host::disk::human as size;
use crate::lifecycle::Context;
use crate::operation::{Kind, Operation};
use crate::ui::{Ui, human};

pub fn run(ui: &Ui, places: &Places, arguments: &Arguments) -> Outcome {
    match &arguments.command {
        BackupCommand::Create(arguments) => create(ui, places, arguments),
        BackupCommand::List => list::run(ui, places),
        BackupCommand::Verify(arguments) => verify(ui, places, arguments),
        BackupCommand::Delete(arguments) => delete(ui, places, arguments),
    }
}

/// `--database` as it was typed, each once.
pub(super) fn owners(chosen: &[Owner]) -> Vec<&'static str> {
    let mut owners: Vec<&str> = Vec::new();
    for owner in chosen {
        if !owners.contains(&owner.name()) {
            owners.push(owner.name());
        }
    }
    owners
}

/// Runs work on backups under their lock, and writes its begin and end into the journal. Cut off by
/// a signal, it leaves nothing behind that takes room.
fn operate<T>(
    context: &Context,
    asked: &str,
    again: &str,
    work: impl AsyncFnOnce() -> Result<(T, String), Vec<Fault>>,
) -> Result<T, Failure> {
    let state = &context.settings.places.state;
    let lock = backup::lock(state, asked, again)?;
    let _operation = Operation::under(lock, state, asked, &context.reporter);
    let began = Instant::now();
    let tell = |kind, summary: String| {
        let took = Some(began.elapsed());
        context.reporter.tell("operation", kind, took, summary);
    };
    let done = block_interruptible(again, async { work().await.map_err(Failure::from) });
    match done {
        Ok((value, summary)) => {
            tell(Kind::Done, summary);
            Ok(value)
        }
        Err(Failure::Faults(faults)) => {
            let interrupted = faults
                .iter()
                .any(|fault| fault.kind == FaultKind::Interrupted);
            if interrupted {
                Store::of(&context.settings).sweep();
                let _ = block(async {
                    verify::sweep(context).await;
                    Ok(())
                });
            }
            let title = faults.first().map_or("", |fault| &fault.title);
            tell(Kind::Failed, title.to_owned());
            Err(Failure::Faults(match interrupted {
                true => faults
                    .into_iter()
                    .map(|fault| without_traces(fault, asked))
                    .collect(),
                false => faults,
            }))
        }
        Err(other) => Err(other),
    }
}

/// What an interrupted work on backups is told as: unlike others it stays nowhere in the middle.
fn without_traces(mut fault: Fault, asked: &str) -> Fault {
    fault.what = format!("ooy {asked} was stopped in the middle; what it had made so far is gone");
    fault.why = "backups that were there before are as they were".to_owned();
    fault
}

fn create(ui: &Ui, places: &Places, arguments: &BackupCreate) -> Outcome {
    let context = context(ui, places, "backup")?;
    let options = Options {
        owners: owners(&arguments.database),
        to: arguments.to.clone(),
        keep: arguments.keep.clone(),
    };
    let asked = asked(arguments);
    let again = places.command(&asked);
    if arguments.dry_run {
        let plan = block(async { Ok(create::plan(&context, &options, &again).await?) })?;
        show_plan(ui, &context, &plan, arguments)?;
        ui.say("nothing was done (--dry-run)");
        return Ok(0);
    }
    if !ui.json {
        ui.say(&format!(
            "ooy {asked} · project {}",
            context.settings.project()
        ));
    }
    let began = Instant::now();
    let (backup, proof) = operate(&context, &asked, &again, async || {
        verify::sweep(&context).await;
        let plan = create::plan(&context, &options, &again).await?;
        if !ui.json {
            for line in plan_lines(&plan) {
                ui.say(&line);
            }
        }
        let backup = create::create(&context, &options, &plan).await?;
        // What else fails does so beside a backup that is there.
        let mut faults = Vec::new();
        let mut proof = None;
        if arguments.prove {
            let again = places.command(&format!("backup verify {}", backup.id));
            match verify::verify(&context, &backup, &again).await {
                Ok(proved) => proof = Some(proved),
                Err(more) => faults.extend(more),
            }
        }
        if let Err(fault) = create::hook(&context, &backup).await {
            faults.push(*fault);
        }
        // A backup that failed its proof makes none of the others dispensable.
        if faults.is_empty() {
            let expired = delete::expired(&context).map_err(|fault| vec![*fault])?;
            for old in expired {
                delete::delete(&context, &old).map_err(|fault| vec![*fault])?;
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let summary = format!("{} · {}", backup.id, size(backup.bytes()));
        Ok(((backup, proof), summary))
    })?;
    conclude_create(ui, places, &backup, proof.as_ref(), began.elapsed());
    Ok(0)
}

fn asked(arguments: &BackupCreate) -> String {
    let mut asked = "backup create".to_owned();
    for owner in owners(&arguments.database) {
        asked += &format!(" --database {owner}");
    }
    if let Some(folder) = &arguments.to {
        asked += &format!(" --to {}", folder.display());
    }
    if arguments.prove {
        asked += " --prove";
    }
    asked
}

fn plan_lines(plan: &Plan) -> Vec<String> {
    let databases = plan.databases.iter().map(|one| {
        format!(
            "  {:<12} {} → about {}",
            one.owner(),
            size(one.bytes()),
            size(one.forecast)
        )
    });
    let disk = format!(
        "  {:<12} {} · {} free, {} of it stay free",
        "into",
        plan.folder.display(),
        size(plan.free),
        size(plan.reserve)
    );
    databases.chain([disk]).collect()
}

fn show_plan(
    ui: &Ui,
    context: &Context,
    plan: &Plan,
    arguments: &BackupCreate,
) -> Result<(), Failure> {
    if ui.json {
        for one in &plan.databases {
            let detail = format!("{} → about {}", size(one.bytes()), size(one.forecast));
            context
                .reporter
                .service("dump", one.owner(), Kind::Planned, None, detail);
        }
        return Ok(());
    }
    ui.say(&format!("ooy {}", asked(arguments)));
    for line in plan_lines(plan) {
        ui.say(&line);
    }
    if arguments.prove {
        ui.say("  then restored into a scratch database and compared");
    }
    Ok(())
}

fn conclude_create(
    ui: &Ui,
    places: &Places,
    backup: &Backup,
    proof: Option<&Proof>,
    took: Duration,
) {
    if ui.json {
        return;
    }
    let proved = match proof {
        Some(_) => "proved".to_owned(),
        None => format!(
            "not proved yet: {}",
            places.command(&format!("backup verify {}", backup.id))
        ),
    };
    ui.say(&format!(
        "✓ backup {} · {} · {proved} · {}",
        backup.id,
        size(backup.bytes()),
        human::took(took)
    ));
    if let Ok(manifest) = &backup.manifest {
        ui.say(&format!("  not in it: {}", manifest.not_in_it.join("; ")));
    }
}

/// One backup, by its name or folder; without one the newest.
fn find(context: &Context, id: Option<&str>, again: &str) -> Result<Backup, Failure> {
    let store = Store::of(&context.settings);
    if let Some(id) = id {
        return Ok(store.find(id, again)?);
    }
    let all = store.own().map_err(|error| store.unreadable(&error))?;
    all.into_iter().next().ok_or_else(|| {
        Failure::from(Box::new(
            Fault::problem(
                "backup: none is there",
                "no backup of this deployment was found",
            )
            .evidence(format!("looked in {}", store.folder.display()))
            .why("what is lost now cannot be brought back")
            .next(context.command("backup create --prove")),
        ))
    })
}

fn verify(ui: &Ui, places: &Places, arguments: &BackupVerify) -> Outcome {
    let context = context(ui, places, "backup")?;
    let id = arguments.id.as_deref();
    let asked = match id {
        Some(id) => format!("backup verify {id}"),
        None => "backup verify".to_owned(),
    };
    let again = places.command(&asked);
    let backup = find(&context, id, &again)?;
    if !ui.json {
        ui.say(&format!("ooy backup verify {}", backup.id));
    }
    if arguments.dry_run {
        let lines = block(async { Ok(verify::plan(&context, &backup, &again).await?) })?;
        for (owner, detail) in lines {
            context
                .reporter
                .service("verify", &owner, Kind::Planned, None, detail);
        }
        ui.say("nothing was done (--dry-run)");
        return Ok(0);
    }
    let proof = operate(&context, &asked, &again, async || {
        verify::sweep(&context).await;
        let proof = verify::verify(&context, &backup, &again).await?;
        let summary = format!("{} is proved", backup.id);
        Ok((proof, summary))
    })?;
    if !ui.json {
        ui.say(&format!(
            "✓ backup {} is proved: {} restored, {} compared · {}",
            backup.id,
            proof.databases.join(", "),
            human::count(proof.rows, "row"),
            human::took(proof.took)
        ));
    }
    Ok(0)
}

fn delete(ui: &Ui, places: &Places, arguments: &BackupDelete) -> Outcome {
    let context = context(ui, places, "backup")?;
    let asked = match &arguments.id {
        Some(id) => format!("backup delete {id}"),
        None => "backup delete --expired".to_owned(),
    };
    let again = places.command(&asked);
    if let Some(id) = &arguments.id
        && let Some(kept) = kept_database(&context, id)?
    {
        return drop_kept(ui, &context, &kept, arguments.dry_run, &asked, &again);
    }
    let chosen = match &arguments.id {
        Some(id) => {
            let backup = find(&context, Some(id), &again)?;
            delete::allowed(&context, &backup, arguments.force)?;
            vec![backup]
        }
        None => delete::expired(&context)?,
    };
    if chosen.is_empty() {
        if !ui.json {
            ui.say("✓ nothing is older or more than BACKUP_KEEP_DAYS and BACKUP_KEEP allow");
        }
        return Ok(0);
    }
    for backup in &chosen {
        let proved = if backup.is_proved() {
            "proved"
        } else {
            "not proved"
        };
        let age = backup.made_at().map_or("of unknown age".to_owned(), |at| {
            format!("{} old", list::age(at))
        });
        let detail = format!(
            "remove {} ({}, {age}, {proved})",
            backup.id,
            size(backup.bytes())
        );
        context.reporter.tell("delete", Kind::Planned, None, detail);
    }
    if arguments.dry_run {
        ui.say("nothing was done (--dry-run)");
        return Ok(0);
    }
    agreed(ui, places, "backup: not removed", &asked)?;
    operate(&context, &asked, &again, async || {
        for backup in &chosen {
            delete::delete(&context, backup).map_err(|fault| vec![*fault])?;
        }
        Ok(((), human::count(chosen.len(), "backup") + " removed"))
    })?;
    Ok(0)
}

/// Asks; a fault says that nobody has agreed.
pub(super) fn agreed(ui: &Ui, places: &Places, title: &str, asked: &str) -> Result<(), Failure> {
    if ui.ask("  proceed?") {
        return Ok(());
    }
    let again = places.command(&format!("--yes {asked}"));
    Err(super::declined(title, "everything is as it was", again))
}

/// The database of that name, if a restore has kept it.
pub(super) fn kept_database(context: &Context, name: &str) -> Result<Option<Kept>, Failure> {
    let store = Store::of(&context.settings);
    let all =
        kept::read(&context.settings.places.state).map_err(|error| store.unreadable(&error))?;
    Ok(all.into_iter().find(|kept| kept.name == name))
}

fn drop_kept(
    ui: &Ui,
    context: &Context,
    kept: &Kept,
    dry_run: bool,
    asked: &str,
    again: &str,
) -> Outcome {
    let detail = format!("drop database {} ({} old)", kept.name, list::age(kept.at));
    context.reporter.tell("delete", Kind::Planned, None, detail);
    if dry_run {
        ui.say("nothing was done (--dry-run)");
        return Ok(0);
    }
    agreed(ui, &context.settings.places, "database: not dropped", asked)?;
    operate(context, asked, again, async || {
        restore::drop_kept(context, kept)
            .await
            .map_err(|fault| vec![*fault])?;
        Ok(((), format!("{} dropped", kept.name)))
    })?;
    Ok(0)
}
