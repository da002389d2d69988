//! `ooy man`.

use std::io::IsTerminal as _;
use std::path::Path;

use clap::CommandFactory as _;

use super::{Failure, Outcome};
use crate::cli::{Cli, Man};
use crate::deployment::places::Places;
use crate::deployment::similar::nearest;
use crate::fault::Fault;
use crate::manual::page::{self, Page};
use crate::ui::{Paint, Ui, human};

pub fn run(ui: &Ui, places: &Places, arguments: &Man) -> Outcome {
    let pages = page::pages(Cli::command());
    if let Some(folder) = &arguments.write {
        return write(ui, places, &pages, folder);
    }
    let name = arguments.command.join("-");
    let wanted = |it: &&Page| match name.is_empty() {
        true => it.name == "ooy",
        false => it.name == name || it.name.strip_prefix("ooy-") == Some(&name),
    };
    let page = pages
        .iter()
        .find(wanted)
        .ok_or_else(|| Box::new(unknown(places, &name, &pages)))?;
    if ui.json {
        ui.json(&serde_json::json!({ "schema": 1, "page": page.file_name(), "text": page.roff }))?;
        return Ok(0);
    }
    ui.raw(&page.roff)?;
    if std::io::stdout().is_terminal() {
        let again = places.command(&format!("man {}", arguments.command.join(" ")));
        ui.say(&format!("to read it: {} | man -l -", again.trim()));
    }
    Ok(0)
}

fn unknown(places: &Places, name: &str, pages: &[Page]) -> Fault {
    let known: Vec<&str> = pages
        .iter()
        .filter_map(|it| it.name.strip_prefix("ooy-"))
        .collect();
    let next = match nearest(name, known.iter().copied()) {
        Some(near) => places.command(&format!("man {near}")),
        None => places.command("--help"),
    };
    Fault::usage(
        format!("{name}: no such page"),
        "there is no command of that name",
    )
    .evidence(format!("{} lists all commands", places.command("--help")))
    .why("there is nothing to show")
    .next(next)
}

fn write(ui: &Ui, places: &Places, pages: &[Page], folder: &Path) -> Outcome {
    page::write(pages, folder).map_err(|error| {
        let there = folder.ancestors().find(|it| it.exists()).unwrap_or(folder);
        Failure::from(Box::new(
            Fault::problem(
                format!("{}: cannot be written", folder.display()),
                "the man pages could not all be written there",
            )
            .evidence(error.to_string())
            .why("pages that were written are whole, others are as they were or missing")
            .next(format!("ls -ld {}", there.display()))
            .next(places.command(&format!("man --write {}", folder.display()))),
        ))
    })?;
    if ui.json {
        let names: Vec<String> = pages.iter().map(Page::file_name).collect();
        ui.json(&serde_json::json!({ "schema": 1, "folder": folder, "pages": names }))?;
        return Ok(0);
    }
    ui.say(&format!(
        "{} {} in {}",
        ui.paint(Paint::Good, "✓"),
        human::count(pages.len(), "page"),
        folder.display()
    ));
    Ok(0)
}
