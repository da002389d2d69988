//! `ooy images …`.

use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::time::Instant;

use super::backup::agreed;
use super::{Failure, Outcome, block, block_interruptible, show_events};
use crate::cli::{Images as Arguments, ImagesCommand, ImagesLoad, ImagesSave};
use crate::deployment::places::Places;
use crate::deployment::services::Stack;
use crate::deployment::settings::Settings;
use crate::engine::Engine;
use crate::engine::packages::Image as Here;
use crate::fault::Fault;
use crate::host::disk::human as size;
use crate::images::manifest::Manifest;
use crate::images::{Place, Wanted, load, of_deployment, save};
use crate::lifecycle::Context;
use crate::lifecycle::loaded::{self, Loaded, short};
use crate::operation::lock::Lock;
use crate::operation::{Kind, Operation, Reporter};
use crate::ui::table::{self, Side};
use crate::ui::{Ui, human};
use crate::upgrade::plan::legs;

pub fn run(ui: &Ui, places: &Places, arguments: &Arguments) -> Outcome {
    match &arguments.command {
        ImagesCommand::List => list(ui, places),
        ImagesCommand::Save(arguments) => save(ui, places, arguments),
        ImagesCommand::Load(arguments) => load(ui, places, arguments),
    }
}

/// Where a package is made nothing has to be filled in but what names images.
fn context(ui: &Ui, places: &Places) -> Result<Context, Failure> {
    let (settings, mut wrong) = Settings::load_with_faults(places)?;
    wrong.retain(|line| line.contains("_IMAGE") || line.contains("PROJECT_NAME"));
    if let Some(fault) = Settings::fault(places, wrong) {
        return Err(Failure::from(Box::new(fault)));
    }
    let stack = Stack::load(&settings)?;
    let context = Context::assemble(settings, stack, Reporter::new("images"));
    show_events(ui, &context);
    Ok(context)
}

/// `asked` with the file as it was given.
fn with_file(asked: &str, file: &Path) -> String {
    format!("{asked} {}", file.display())
}

fn refused(places: &Places, title: &str, what: &str, evidence: &str, next: &str) -> Failure {
    Failure::from(Box::new(
        Fault::usage(title, what)
            .evidence(evidence)
            .why("nothing was done")
            .next(places.command(next)),
    ))
}

/// A pipe has to lead somewhere, and takes nothing beside the package.
fn usable_pipe(ui: &Ui, places: &Places, word: &str, terminal: bool) -> Result<(), Failure> {
    let example = format!("images {word} /media/stick/ooy-images.tar.gz");
    if terminal {
        return Err(refused(
            places,
            "-: a terminal",
            "a package is gigabytes of what no terminal can show or type",
            &format!("images {word} -"),
            &example,
        ));
    }
    if ui.json && word == "save" {
        return Err(refused(
            places,
            "--json: not together with -",
            "standard output cannot hold the package and the events",
            "--json images save -",
            &example,
        ));
    }
    Ok(())
}

fn save(ui: &Ui, places: &Places, arguments: &ImagesSave) -> Outcome {
    let mut asked = "images save".to_owned();
    if let Some(application) = arguments.upgrade {
        asked += &format!(" --upgrade {}", super::upgrade::app(application).name());
    }
    if let Some(to) = &arguments.to {
        asked += &format!(" --to {to}");
    }
    asked = with_file(&asked, &arguments.file);
    let again = places.command(&asked);
    let place = Place::of(&arguments.file);
    if place == Place::Pipe && !arguments.dry_run {
        usable_pipe(ui, places, "save", io::stdout().is_terminal())?;
    }
    let there = destination(places, &place)?;
    let context = context(ui, places)?;
    let (wanted, upgrade) = wanted(&context, places, arguments)?;
    let plan = block(async { Ok(save::plan(&context, wanted, &again).await?) })?;
    if !ui.json {
        ui.say(&format!(
            "ooy {asked} · {} · project {}",
            human::count(plan.images.len(), "image"),
            context.settings.project()
        ));
    }
    for (wanted, here) in &plan.images {
        let detail = match here {
            Some(here) => format!(
                "{}  {}  {}",
                wanted.reference,
                short(&here.id),
                size(here.bytes)
            ),
            None => format!("{}  to pull", wanted.reference),
        };
        context.reporter.tell("image", Kind::Planned, None, detail);
    }
    if arguments.dry_run {
        ui.say("nothing was done (--dry-run)");
        return Ok(0);
    }
    if there {
        let detail = format!("replaces {}", place.shown());
        context.reporter.tell("file", Kind::Planned, None, detail);
        agreed(ui, places, "images: not saved", &asked)?;
    }
    let began = Instant::now();
    // A lock of its own, as backups have one: it changes nothing that runs, and takes minutes.
    let state = &places.state;
    let lock = Lock::take_named(state, "images.lock", &asked, &again)?;
    let saved = operate(
        &context,
        lock,
        &asked,
        &again,
        "a package that was there before is as it was",
        async || {
            let saved = save::save(&context, plan, upgrade, &place, &again).await?;
            let count = human::count(saved.manifest.images.len(), "image");
            let summary = format!("{count} · {}", place.shown());
            Ok((saved, summary))
        },
    )?;
    if !ui.json {
        let manifest = &saved.manifest;
        let count = human::count(manifest.images.len(), "image");
        let took = human::took(began.elapsed());
        let platform = manifest.platform();
        match &place {
            Place::Pipe => ui.say(&format!("✓ {count} for {platform} · {took}")),
            Place::File(path) => {
                let bytes = size(saved.bytes);
                ui.say(&format!(
                    "✓ {} · {count} for {platform} · {bytes} · {took}",
                    path.display()
                ));
                ui.say(
                    "  on the other host: ooy images load FILE   without ooy: docker load -i FILE",
                );
            }
        }
    }
    Ok(0)
}

/// Whether a file is there already; it has to be one, in a folder.
fn destination(places: &Places, place: &Place) -> Result<bool, Failure> {
    let Place::File(path) = place else {
        return Ok(false);
    };
    let folder = path.parent().unwrap_or(Path::new("/"));
    let shown = path.display().to_string();
    let wrong = |evidence: String, next: String| {
        refused(
            places,
            &format!("{shown}: cannot be used"),
            "the package has no place to lie",
            &evidence,
            &next,
        )
    };
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(true),
        Ok(metadata) if metadata.is_dir() => {
            let next = format!("images save {}", path.join("ooy-images.tar.gz").display());
            Err(wrong("it is a folder".to_owned(), next))
        }
        Ok(_) => Err(wrong(
            "it is neither a file nor a folder".to_owned(),
            "images save FILE".to_owned(),
        )),
        Err(_) => match std::fs::metadata(folder) {
            Ok(metadata) if metadata.is_dir() => Ok(false),
            Ok(_) => Err(wrong(
                format!("{} is no folder", folder.display()),
                "images save FILE".to_owned(),
            )),
            Err(error) => Err(wrong(
                format!("{}: {error}", folder.display()),
                "images save FILE".to_owned(),
            )),
        },
    }
}

/// What goes into the package, and for which upgrade it is.
fn wanted(
    context: &Context,
    places: &Places,
    arguments: &ImagesSave,
) -> Result<(Vec<Wanted>, Option<String>), Failure> {
    let Some(application) = arguments.upgrade else {
        return Ok((of_deployment(context), None));
    };
    let app = super::upgrade::app(application);
    let to = super::upgrade::version(places, app, arguments.to.as_deref())?;
    let legs = legs(context, app, to)?;
    let mut wanted: Vec<Wanted> = Vec::new();
    for (setting, _, reference) in legs.iter().flat_map(|leg| &leg.images) {
        if !wanted.iter().any(|wanted| wanted.reference == *reference) {
            wanted.push(Wanted {
                reference: reference.clone(),
                setting: Some(setting.clone()),
            });
        }
    }
    let way: Vec<&str> = legs
        .iter()
        .take(1)
        .map(|leg| leg.from.as_str())
        .chain(legs.iter().map(|leg| leg.to.as_str()))
        .collect();
    Ok((wanted, Some(format!("{} {}", app.label(), way.join(" → ")))))
}

fn load(ui: &Ui, places: &Places, arguments: &ImagesLoad) -> Outcome {
    let asked = with_file("images load", &arguments.file);
    let again = places.command(&asked);
    let place = Place::of(&arguments.file);
    if place == Place::Pipe {
        usable_pipe(ui, places, "load", io::stdin().is_terminal())?;
    }
    let context = context(ui, places)?;
    let package = load::open(&context, &place, &again)?;
    if !ui.json {
        ui.say(&format!("ooy {asked} · {}", about(package.manifest())));
    }
    let plan = block(async { Ok(load::plan(&context, &package, &again).await?) })?;
    show(&context, &plan);
    if arguments.dry_run {
        ui.say("nothing was done (--dry-run)");
        return Ok(0);
    }
    // A name that moves is the only thing that takes something away.
    if plan.moved().next().is_some() {
        agreed(ui, places, "images: not loaded", &asked)?;
    }
    let began = Instant::now();
    let lock = Lock::take(&places.state, &asked, &again)?;
    operate(
        &context,
        lock,
        &asked,
        &again,
        "images that Docker took already stay, and are skipped the next time",
        async || {
            load::load(&context, package, &plan, &again)
                .await
                .map_err(|fault| vec![*fault])?;
            let count = human::count(plan.images.len(), "image");
            Ok(((), format!("{count} · {}", place.shown())))
        },
    )?;
    if !ui.json {
        ui.say(&format!(
            "✓ {} of the package are here · {}",
            human::count(plan.images.len(), "image"),
            human::took(began.elapsed())
        ));
        if plan.lacking.is_empty() {
            ui.say(&format!("  next: {}", places.command("start --dry-run")));
        }
    }
    Ok(0)
}

/// `12 images, made 2026-11-26 by ooy 0.1.0, project ooy`
fn about(manifest: &Manifest) -> String {
    let mut text = format!(
        "{}, made {} by ooy {}, project {}",
        human::count(manifest.images.len(), "image"),
        manifest.made_at.strftime("%Y-%m-%d"),
        manifest.ooy,
        manifest.project
    );
    if let Some(upgrade) = &manifest.upgrade {
        text += &format!(", for {upgrade}");
    }
    text
}

fn show(context: &Context, plan: &load::Plan) {
    let reporter = &context.reporter;
    for (image, present) in &plan.images {
        let name = format!("{}  {}", image.reference, short(&image.id));
        let detail = match present {
            load::Present::Same => format!("{name}  here already"),
            load::Present::Nothing => format!("{name}  {}", size(image.bytes)),
            load::Present::Other(id) => {
                format!(
                    "{name}  {}  takes the name from {}",
                    size(image.bytes),
                    short(id)
                )
            }
        };
        reporter.tell("image", Kind::Planned, None, detail);
    }
    for wanted in &plan.lacking {
        let line = format!(
            "warning: {}: the settings name it{}; it is neither in the package nor on this host",
            wanted.reference,
            wanted
                .setting
                .as_deref()
                .map_or(String::new(), |name| format!(" ({name})"))
        );
        reporter.tell("image", Kind::Progress, None, line);
    }
}

/// Runs it under its lock, with begin and end in the journal.
fn operate<T>(
    context: &Context,
    lock: Lock,
    asked: &str,
    again: &str,
    interrupted: &str,
    work: impl AsyncFnOnce() -> Result<(T, String), Vec<Fault>>,
) -> Result<T, Failure> {
    let _operation = Operation::under(
        lock,
        &context.settings.places.state,
        asked,
        &context.reporter,
    );
    let began = Instant::now();
    let tell = |kind, summary: String| {
        let took = Some(began.elapsed());
        context.reporter.tell("operation", kind, took, summary);
    };
    match block_interruptible(again, async { work().await.map_err(Failure::from) }) {
        Ok((value, summary)) => {
            tell(Kind::Done, summary);
            Ok(value)
        }
        Err(Failure::Faults(mut faults)) => {
            for fault in &mut faults {
                if fault.kind == crate::fault::Kind::Interrupted {
                    fault.why = interrupted.to_owned();
                }
            }
            let title = faults.first().map_or("", |fault| &fault.title);
            tell(Kind::Failed, title.to_owned());
            Err(Failure::Faults(faults))
        }
        Err(other) => Err(other),
    }
}

fn list(ui: &Ui, places: &Places) -> Outcome {
    let context = context(ui, places)?;
    let again = places.command("images list");
    let wanted = of_deployment(&context);
    let images = block(async {
        let failed = |error: crate::engine::Error| Box::new(error.fault(&again));
        let engine = Engine::connect().await.map_err(failed)?;
        let mut images = Vec::new();
        for wanted in wanted {
            let here = engine.image(&wanted.reference).await.map_err(failed)?;
            images.push((wanted, here));
        }
        Ok(images)
    })?;
    let known = loaded::read(&places.state).map_err(|error| unreadable(places, &error))?;
    let of = |wanted: &Wanted| {
        known
            .iter()
            .find(|loaded| loaded.reference == wanted.reference)
    };
    if ui.json {
        let images: Vec<_> = images
            .iter()
            .map(|(wanted, here)| as_json(wanted, here.as_ref(), of(wanted)))
            .collect();
        ui.json(&serde_json::json!({ "schema": 1, "images": images }))?;
        return Ok(0);
    }
    let head = ["SETTING", "IMAGE", "ID", "SIZE", "FROM"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for (wanted, here) in &images {
        let none = || "–".to_owned();
        rows.push(vec![
            wanted.setting.clone().unwrap_or_else(none),
            wanted.reference.clone(),
            here.as_ref()
                .map_or_else(none, |here| short(&here.id).to_owned()),
            here.as_ref().map_or_else(none, |here| size(here.bytes)),
            origin(here.as_ref(), of(wanted)),
        ]);
    }
    let sides = [Side::Left, Side::Left, Side::Left, Side::Right, Side::Left];
    for line in table::lines(&sides, &rows) {
        ui.out(&line)?;
    }
    Ok(0)
}

/// Where an image came from, for people.
fn origin(here: Option<&Here>, known: Option<&Loaded>) -> String {
    match (here, known) {
        (None, _) => "not on this host".to_owned(),
        (Some(here), Some(known)) if here.id == known.id => {
            format!(
                "package {}, {}",
                known.package,
                known.made_at.strftime("%Y-%m-%d")
            )
        }
        (Some(_), Some(known)) => {
            format!(
                "not package {}, which had {}",
                known.package,
                short(&known.id)
            )
        }
        (Some(here), None) if !here.repo_digests.is_empty() => "pulled".to_owned(),
        (Some(_), None) => "made or loaded on this host".to_owned(),
    }
}

fn as_json(wanted: &Wanted, here: Option<&Here>, known: Option<&Loaded>) -> serde_json::Value {
    serde_json::json!({
        "setting": wanted.setting,
        "reference": wanted.reference,
        "id": here.map(|here| &here.id),
        "bytes": here.map(|here| here.bytes),
        "repo_digests": here.map(|here| &here.repo_digests),
        "package": known,
    })
}

fn unreadable(places: &Places, error: &io::Error) -> Box<Fault> {
    let state = places.state.display();
    Box::new(
        Fault::problem(
            "images: what was loaded cannot be read",
            "the list of images that came from packages is on disk, and cannot be read",
        )
        .evidence(format!("{state}/images.json: {error}"))
        .why("whether they are still the same cannot be told")
        .next(format!("ls -l {state}"))
        .next(format!("mv {state}/images.json {state}/images.json.broken")),
    )
}
