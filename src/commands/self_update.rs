//! `ooy self-update`, and `ooy self-check`, which it runs.

use std::time::Duration;

use super::backup::agreed;
use super::{Outcome, block, block_interruptible};
use crate::cli::SelfUpdate;
use crate::deployment::places::Places;
use crate::deployment::releases::Source;
use crate::deployment::settings::Settings;
use crate::fault::{Fault, Result};
use crate::host::disk::human as size;
use crate::host::https::roots;
use crate::host::text::shorten;
use crate::operation::{Kind, Reporter};
use crate::ui::{Paint, Ui, progress};
use crate::update::{Candidate, Found, Job, KEYS, Origin, Release, Report};

/// Width of the longest word of what is told.
const WIDTH: usize = "self-check".len();

/// Lines of a release's notes that are shown.
const NOTES: usize = 40;

pub fn run(ui: &Ui, places: &Places, arguments: &SelfUpdate) -> Outcome {
    let asked = asked(arguments);
    let reporter = Reporter::new("self-update");
    progress::attach(ui, &reporter, WIDTH);
    if arguments.rollback {
        return roll_back(ui, places, arguments, &asked, reporter);
    }
    let again = places.command(&asked);
    let origin = origin(ui, places, arguments, &again)?;
    let (job, found) = block_interruptible(&again, async {
        let job = Job::new(places, &asked, reporter).await?;
        let found = job.find(&origin).await?;
        Ok((job, found))
    })?;
    say_replaced(ui, &job);
    if arguments.check {
        return check(ui, &job, &found);
    }
    let candidate = match found {
        Found::Newer(candidate) => candidate,
        Found::Same => return newest(ui, places, arguments, &job),
        Found::Older(candidate) if arguments.allow_downgrade => candidate,
        Found::Older(candidate) => return Err(Box::new(older(&job, &candidate, &again)).into()),
    };
    job.is_possible()?;
    let daemons = block(async { Ok(job.daemons().await) })?;
    plan(ui, &job, &candidate, &daemons);
    if arguments.dry_run {
        ui.say("nothing was done (--dry-run)");
        return Ok(0);
    }
    agreed(ui, places, "self-update: not done", &asked)?;
    let report = block_interruptible(&again, async { Ok(job.update(&origin, &candidate).await?) })?;
    conclude(ui, places, &job, &report);
    Ok(0)
}

/// Nothing is newer. What an update that was killed has left is finished.
fn newest(ui: &Ui, places: &Places, arguments: &SelfUpdate, job: &Job) -> Outcome {
    let newest = format!("ooy {} is the newest", job.present.version);
    let left = block(async { Ok(job.left_behind().await) })?;
    if !left.is_empty() {
        let units = left.join(", ");
        ui.say(&format!(
            "{newest}, and the one before is still run by {units}"
        ));
        ui.say(&format!("  restarts   {units}"));
        if arguments.dry_run {
            ui.say("nothing was done (--dry-run)");
            return Ok(0);
        }
        agreed(ui, places, "self-update: not done", &job.asked)?;
    }
    if !arguments.dry_run && (!left.is_empty() || job.has_leftovers()) {
        let again = places.command(&job.asked);
        block_interruptible(&again, async { Ok(job.finish().await?) })?;
    } else {
        job.reporter.tell("operation", Kind::Skipped, None, &newest);
    }
    if !ui.json {
        ui.say(&format!("{} {newest}", ui.paint(Paint::Good, "✓")));
    }
    Ok(0)
}

fn asked(arguments: &SelfUpdate) -> String {
    let mut asked = "self-update".to_owned();
    if let Some(from) = &arguments.from {
        asked += &format!(" --from {}", shorten(from, 1000));
    }
    for (flag, given) in [
        (" --check", arguments.check),
        (" --rollback", arguments.rollback),
        (" --allow-downgrade", arguments.allow_downgrade),
    ] {
        if given {
            asked += flag;
        }
    }
    asked
}

/// Where releases are: `--from`, or what the settings say, or where they usually are.
fn origin(ui: &Ui, places: &Places, arguments: &SelfUpdate, again: &str) -> Result<Origin> {
    let (settings, wrong) = settings(ui, places);
    let named = match &arguments.from {
        Some(from) => ("--from", from.as_str()),
        None => ("RELEASES", settings.get("RELEASES")),
    };
    let misnamed = |evidence: String| {
        Box::new(
            Fault::usage(
                format!("self-update: {} cannot be used", named.0),
                "it has to name where releases of ooy are",
            )
            .evidence(evidence)
            .why("nothing was done")
            .next(match arguments.from {
                Some(_) => places.command("self-update --help"),
                None => format!("nano {}", places.env_file.display()),
            })
            .next(again.to_owned()),
        )
    };
    let in_file = wrong.into_iter().find(|line| line.contains(": RELEASES "));
    if let (None, Some(line)) = (&arguments.from, in_file) {
        return Err(misnamed(line));
    }
    let source = Source::parse(named.1)
        .map_err(|why| misnamed(format!("{}: it {why}", shorten(named.1, 200))))?;
    let more = settings.get("CALLS_CA_FILE");
    let more = (!more.is_empty()).then(|| std::path::Path::new(more));
    Ok(Origin {
        source,
        roots: roots::load(more)?,
        silence: Duration::from_secs(arguments.timeout),
        again: again.to_owned(),
        elsewhere: places.command("self-update --from"),
    })
}

/// As far as they can be read: a host with broken settings, or none, can be updated as well.
fn settings(ui: &Ui, places: &Places) -> (Settings, Vec<String>) {
    let text = match std::fs::read(&places.env_file) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => {
            if error.kind() != std::io::ErrorKind::NotFound {
                ui.say(&format!(
                    "! {} cannot be read by you, so RELEASES is not known; {} is asked",
                    places.env_file.display(),
                    crate::deployment::releases::DEFAULT
                ));
            }
            String::new()
        }
    };
    Settings::of_what_can_be_read(places, &text)
}

fn say_replaced(ui: &Ui, job: &Job) {
    if job.installed.was_replaced {
        ui.say(&format!(
            "! this ooy was replaced while it ran: {} is {} now, and that is what is meant",
            job.installed.path.display(),
            job.present.name()
        ));
    }
}

fn check(ui: &Ui, job: &Job, found: &Found) -> Outcome {
    let (newest, newer) = match found {
        Found::Newer(candidate) => (Some(candidate), true),
        Found::Older(candidate) => (Some(candidate), false),
        Found::Same => (None, false),
    };
    if ui.json {
        ui.json(&serde_json::json!({
            "schema": 1,
            "installed": job.present.version,
            "newest": newest.map_or(job.present.version, |newest| newest.name.version),
            "newer": newer,
            "date": newest.and_then(|newest| newest.date),
            "from": newest.map(|newest| newest.place.to_string()),
            "accepted": !KEYS.is_empty(),
            "releases": newest.map(|newest| newest.notes.as_slice()).unwrap_or_default(),
        }))?;
        return Ok(u8::from(newer));
    }
    let present = job.present.version;
    match found {
        Found::Same => ui.out(&format!("ooy {present} is the newest"))?,
        Found::Older(older) => ui.out(&format!(
            "ooy {present} is the newest; there is only {}",
            older.name.version
        ))?,
        Found::Newer(newer) => {
            ui.out(&format!(
                "ooy {present} → {} is there{}",
                newer.name.version,
                of(newer)
            ))?;
            for line in newer.notes.iter().flat_map(notes) {
                ui.out(&line)?;
            }
            ui.out(&format!("next: {}", job.places.command("self-update")))?;
        }
    }
    if KEYS.is_empty() {
        ui.say("! this build knows no key, and so accepts no release");
    }
    Ok(u8::from(newer))
}

/// ` · of 2026-11-26`
fn of(candidate: &Candidate) -> String {
    candidate
        .date
        .map_or(String::new(), |date| format!(" · of {date}"))
}

/// What is new in a release. Text from outside.
fn notes(release: &Release) -> Vec<String> {
    let lines: Vec<&str> = release
        .notes
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let mut shown: Vec<String> = lines
        .iter()
        .take(NOTES)
        .enumerate()
        .map(|(at, line)| {
            let version = match at {
                0 => release.version.to_string(),
                _ => String::new(),
            };
            format!("  {version:<9}  {}", shorten(line.trim_end(), 500))
        })
        .collect();
    if lines.len() > NOTES {
        shown.push(format!("  {:<9}  … {} more lines", "", lines.len() - NOTES));
    }
    shown
}

fn older(job: &Job, candidate: &Candidate, again: &str) -> Fault {
    Fault::problem(
        format!(
            "self-update: {} is older than what is installed",
            candidate.name.version
        ),
        "the newest release that is offered is an older one",
    )
    .evidence(format!("{}: {}", candidate.place, candidate.name.version))
    .evidence(format!(
        "{}: {}",
        job.installed.path.display(),
        job.present.name()
    ))
    .why("an older ooy may not read what this one has written; the present one stays as it is")
    .next(format!("{again} --allow-downgrade"))
}

fn plan(ui: &Ui, job: &Job, candidate: &Candidate, daemons: &[String]) {
    let (from, to) = (job.present.version, candidate.name.version);
    if ui.json {
        let told = |detail: String| job.reporter.tell("plan", Kind::Planned, None, detail);
        told(format!("{from} → {to}"));
        told(format!("replaces {}", job.installed.path.display()));
        for unit in daemons {
            told(format!("restarts {unit}"));
        }
        return;
    }
    ui.say(&format!("ooy self-update · {from} → {to}{}", of(candidate)));
    for line in candidate.notes.iter().flat_map(notes) {
        ui.say(&line);
    }
    let bytes = candidate.listed.as_ref().map_or(String::new(), |archive| {
        format!(" · {}", size(archive.size))
    });
    ui.say(&format!("  from       {}{bytes}", candidate.place));
    say_what_changes(ui, job, daemons);
}

fn say_what_changes(ui: &Ui, job: &Job, daemons: &[String]) {
    ui.say(&format!("  replaces   {}", job.installed.path.display()));
    ui.say(&format!(
        "  keeps      {} as {}",
        job.present.version,
        job.installed.previous().display()
    ));
    if !daemons.is_empty() {
        ui.say(&format!("  restarts   {}", daemons.join(", ")));
    }
}

fn conclude(ui: &Ui, places: &Places, job: &Job, report: &Report) {
    if ui.json {
        return;
    }
    ui.say(&format!(
        "{} ooy {}",
        ui.paint(Paint::Good, "✓"),
        report.name()
    ));
    ui.say(&format!(
        "  back to {}: {}",
        job.present.version,
        places.command("self-update --rollback")
    ));
}

fn roll_back(
    ui: &Ui,
    places: &Places,
    arguments: &SelfUpdate,
    asked: &str,
    reporter: Reporter,
) -> Outcome {
    let again = places.command(asked);
    let (job, before, daemons) = block_interruptible(&again, async {
        let job = Job::new(places, asked, reporter).await?;
        let before = job.before().await?;
        let daemons = job.daemons().await;
        Ok((job, before, daemons))
    })?;
    job.may_begin()?;
    say_replaced(ui, &job);
    let (from, to) = (job.present.name(), before.name());
    if ui.json {
        job.reporter
            .tell("plan", Kind::Planned, None, format!("{from} → {to}"));
    } else {
        ui.say(&format!("ooy self-update --rollback · {from} → {to}"));
        say_what_changes(ui, &job, &daemons);
    }
    if let Some(line) = before
        .settings
        .iter()
        .find(|line| !job.present.settings.contains(line))
    {
        ui.say(&format!(
            "! ooy {} will not take the settings as they are: {line}",
            before.version
        ));
    }
    if arguments.dry_run {
        ui.say("nothing was done (--dry-run)");
        return Ok(0);
    }
    agreed(ui, places, "self-update: not done", asked)?;
    let report = block_interruptible(&again, async { Ok(job.roll_back().await?) })?;
    conclude(ui, places, &job, &report);
    Ok(0)
}

/// `ooy self-check`: what this executable says of itself, to the one that it may take the place of.
pub fn check_self(ui: &Ui, places: &Places) -> Outcome {
    let report = Report::own(places);
    if ui.json {
        ui.json(&report)?;
    } else {
        ui.out(&format!("ooy {} for {}", report.name(), report.target))?;
        for line in report.damaged.iter().chain(&report.settings) {
            ui.out(&format!("! {line}"))?;
        }
    }
    Ok(u8::from(!report.damaged.is_empty()))
}
