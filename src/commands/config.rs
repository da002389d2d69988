//! `ooy config`: what would be deployed, and whether it is right.

use super::{Failure, Outcome, block, context};
use crate::cli::{Config, What};
use crate::deployment::dialplan::{self, Way};
use crate::deployment::places::Places;
use crate::deployment::render;
use crate::fault::Fault;
use crate::lifecycle::check;
use crate::ui::{Paint, Ui};

pub fn run(ui: &Ui, places: &Places, arguments: &Config) -> Outcome {
    if arguments.check {
        return check(ui, places);
    }
    let context = context(ui, places, "config")?;
    match arguments.what {
        What::Env if ui.json => {
            let settings: serde_json::Map<String, serde_json::Value> = context
                .settings
                .shown()
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.into()))
                .collect();
            ui.json(&serde_json::json!({ "schema": 1, "settings": settings }))?;
        }
        What::Env => {
            for (name, value) in context.settings.shown() {
                ui.raw(&format!("{name}={value}\n"))?;
            }
        }
        What::Compose => {
            let text = block(async { check::compose_text(&context).await.map_err(Failure::from) })?;
            ui.raw(&text)?;
        }
        What::Nginx => {
            for (path, text) in render::nginx(&context.settings) {
                ui.raw(&format!("# --- {path}\n{text}\n"))?;
            }
        }
        What::Dialplan => {
            let setting = |name| context.settings.get(name);
            let (zone, listen) = (setting("TIME_ZONE"), setting("CALLS_LISTEN"));
            ui.raw(&dialplan::text(Way::Agi, places, zone, listen))?;
        }
    }
    Ok(0)
}

fn check(ui: &Ui, places: &Places) -> Outcome {
    let report = block(async { check::check(places).await.map_err(Failure::from) })?;
    if ui.json {
        ui.json(&serde_json::json!({
            "schema": 1,
            "ok": report.faults.is_empty(),
            "checked": report.checked,
            "warnings": report.warnings,
            "faults": report.faults,
        }))?;
        return Ok(if report.faults.is_empty() { 0 } else { 2 });
    }
    for line in &report.checked {
        ui.say(&format!("{} {line}", ui.paint(Paint::Good, "✓")));
    }
    for line in &report.warnings {
        ui.say(&format!("{} {line}", ui.paint(Paint::Warn, "!")));
    }
    if ui.verbose {
        for line in &report.graph {
            ui.out(line)?;
        }
    }
    if report.faults.is_empty() {
        ui.say(&format!("next: {}", places.command("start")));
        return Ok(0);
    }
    // Whatever it is, here it is the configuration that is wrong.
    let faults = report
        .faults
        .into_iter()
        .map(|fault| Fault {
            kind: crate::fault::Kind::Usage,
            ..fault
        })
        .collect();
    Err(Failure::Faults(faults))
}
