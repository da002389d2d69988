//! `ooy stop`.

use super::start::command;
use super::{Failure, Outcome, block_interruptible, context};
use crate::cli::{Start, Stop};
use crate::deployment::places::Places;
use crate::lifecycle::stop::{self, Options};
use crate::ui::{Ui, human};

pub fn run(ui: &Ui, places: &Places, arguments: &Stop) -> Outcome {
    let context = context(ui, places, "stop")?;
    let options = Options {
        services: arguments.services.clone(),
        dry_run: arguments.dry_run,
    };
    let again = command(places, "stop", &arguments.services);
    let like_start = Start {
        services: arguments.services.clone(),
        dry_run: arguments.dry_run,
        timeout: None,
        at_boot: false,
        patience: 0,
    };
    super::start::headline(ui, &context, "stop", &like_start);
    let outcome = block_interruptible(&again, async {
        stop::stop(&context, &options).await.map_err(Failure::from)
    })?;
    if options.dry_run {
        ui.say("nothing was done (--dry-run)");
        return Ok(0);
    }
    conclude(ui, &outcome)
}

/// Tells what came of it; the exit code.
pub fn conclude(ui: &Ui, outcome: &stop::Outcome) -> Outcome {
    if !outcome.faults.is_empty() {
        return Err(Failure::Faults(outcome.faults.clone()));
    }
    if ui.json {
        return Ok(0);
    }
    for (service, missing) in &outcome.left_without {
        ui.say(&format!("! {service} still runs and needs {missing}"));
    }
    let already = match outcome.already.len() {
        0 => String::new(),
        n => format!(" · {n} were not running"),
    };
    ui.say(&format!(
        "✓ {} stopped in {}{already}",
        human::count(outcome.stopped.len(), "service"),
        human::took(outcome.took)
    ));
    Ok(0)
}
