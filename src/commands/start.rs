//! `ooy start`.

use std::time::Duration;

use super::{Failure, Outcome, block_interruptible, context};
use crate::cli::Start;
use crate::deployment::places::Places;
use crate::lifecycle::start::{self, End, Options};
use crate::lifecycle::{Context, at_boot};
use crate::ui::{Ui, human};

pub fn run(ui: &Ui, places: &Places, arguments: &Start) -> Outcome {
    let context = context(ui, places, "start")?;
    let mut options = options(arguments);
    let again = match arguments.at_boot {
        true => places.command(at_boot::ASKED),
        false => command(places, "start", &arguments.services),
    };
    headline(ui, &context, "start", arguments);
    let named = context
        .stack
        .select(&arguments.services, &context.command("start"))?;
    let chosen = context
        .stack
        .graph
        .with_needs(named.iter().map(String::as_str));
    // After a boot all else must not wait for a person.
    match arguments.at_boot {
        true => options.held_back = super::upgrade::held_back(places),
        false => super::upgrade::nothing_in_the_way(&context, &chosen)?,
    }
    let outcome = block_interruptible(&again, async {
        let outcome = if arguments.at_boot {
            let patience = Duration::from_secs(arguments.patience);
            at_boot::start(&context, &options, patience).await
        } else {
            start::start(&context, &options).await
        };
        outcome.map_err(Failure::from)
    })?;
    if options.dry_run {
        ui.say("nothing was done (--dry-run)");
        return Ok(0);
    }
    Ok(conclude(ui, &outcome))
}

/// What the arguments ask for.
pub fn options(arguments: &Start) -> Options {
    Options {
        services: arguments.services.clone(),
        timeout: arguments.timeout.map(Duration::from_secs),
        dry_run: arguments.dry_run,
        ..Default::default()
    }
}

/// The command line to run again.
pub fn command(places: &Places, name: &str, services: &[String]) -> String {
    places.command(&crate::lifecycle::asked(name, services))
}

/// `ooy start · 12 services · project ooy`
pub fn headline(ui: &Ui, context: &Context, name: &str, arguments: &Start) {
    if ui.json {
        return;
    }
    let count = match arguments.services.len() {
        0 => human::count(context.stack.services.len(), "service"),
        _ => arguments.services.join(" "),
    };
    ui.say(&format!(
        "ooy {name} · {count} · project {}",
        context.settings.project()
    ));
}

/// Tells what came of it; the exit code.
pub fn conclude(ui: &Ui, outcome: &start::Outcome) -> u8 {
    let total = outcome.services.len();
    let ready = outcome.ready();
    let took = human::took(outcome.took);
    if ready == total {
        if outcome.unchanged() {
            if !ui.json {
                ui.say(&format!(
                    "✓ {ready} of {total} ready, nothing to do · {took}"
                ));
            }
        } else if !ui.json {
            let (path, length) = &outcome.longest_path;
            ui.say(&format!(
                "✓ {ready} of {total} ready in {took} (longest path: {} {})",
                path.join(" → "),
                human::took(*length)
            ));
        }
        return 0;
    }
    let mut faults = Vec::new();
    for (name, end) in &outcome.services {
        if let End::Failed(fault) = end {
            let behind: Vec<&str> = outcome
                .services
                .iter()
                .filter(|(_, end)| matches!(end, End::NotStarted(cause) if cause == name))
                .map(|(name, _)| name.as_str())
                .collect();
            faults.push(((**fault).clone(), behind));
        }
    }
    if ui.json {
        let faults: Vec<_> = faults.iter().map(|(fault, _)| fault).collect();
        let _ = ui.json(&serde_json::json!({ "schema": 1, "faults": faults }));
        return 1;
    }
    ui.tell("");
    for (fault, behind) in faults {
        ui.fault(&fault);
        if !behind.is_empty() {
            ui.tell(&format!(
                "  not started because of it: {}",
                behind.join(", ")
            ));
        }
    }
    ui.tell(&format!("  {ready} of {total} ready"));
    1
}
