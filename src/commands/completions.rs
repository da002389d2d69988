//! `ooy completions`.

use clap::CommandFactory as _;

use super::Outcome;
use crate::cli::{Cli, Completions};
use crate::deployment::{keys, services};
use crate::diagnosis;
use crate::manual::completions::{self, Names};
use crate::manual::page;
use crate::remedy;
use crate::ui::Ui;

pub fn run(ui: &Ui, arguments: &Completions) -> Outcome {
    let script = completions::script(Cli::command(), arguments.shell, &names()?);
    ui.raw(&script)?;
    Ok(0)
}

/// What only the parts below know the names of. The commands themselves take any text, so that a name
/// that does not exist is told as a fault, with the nearest one that does.
fn names() -> Result<Vec<Names>, super::Failure> {
    let services = || {
        let names = services::names().map(|name| (name.to_owned(), String::new()));
        names.collect::<Vec<_>>()
    };
    let mut all: Vec<Names> = ["start", "stop", "restart", "status", "logs"]
        .into_iter()
        .map(|command| Names {
            command,
            argument: "services",
            names: services(),
        })
        .collect();
    let mut add = |command, argument, names| {
        all.push(Names {
            command,
            argument,
            names,
        });
    };
    let repairs = remedy::ALL.iter();
    add(
        "fix",
        "problem",
        repairs
            .map(|it| (it.name.to_owned(), it.about.to_owned()))
            .collect(),
    );
    add("fix", "target", services());
    let checks = diagnosis::find(&[], "")?;
    let codes = checks.iter().flat_map(|it| it.codes);
    add(
        "diagnose",
        "checks",
        checks
            .iter()
            .map(|it| (it.name.to_owned(), it.about.to_owned()))
            .chain(codes.map(|code| (code.name().to_owned(), String::new())))
            .collect(),
    );
    add(
        "init",
        "set_from_env",
        keys::KEYS
            .iter()
            .map(|key| (key.name.to_owned(), String::new()))
            .collect(),
    );
    let pages = page::pages(Cli::command());
    add(
        "man",
        "command",
        pages
            .iter()
            .filter_map(|it| it.name.strip_prefix("ooy-"))
            .map(|name| (name.to_owned(), String::new()))
            .collect(),
    );
    Ok(all)
}
