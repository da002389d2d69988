//! `ooy calls …`: the finished calls on their way to RapidPro.

mod deliver;
mod dialplan;
mod list;
mod retry;
mod serve;

use super::Outcome;
use crate::agi::spool::{Damaged, Folder, Spool};
use crate::cli::{Calls, CallsCommand};
use crate::deployment::places::Places;
use crate::fault::{Fault, Result};
use crate::host::text;
use crate::ui::Ui;

pub fn run(ui: &Ui, places: &Places, arguments: &Calls) -> Outcome {
    match &arguments.command {
        CallsCommand::List(arguments) => list::run(ui, places, arguments),
        CallsCommand::Deliver(arguments) => deliver::run(ui, places, arguments),
        CallsCommand::Retry(arguments) => retry::run(ui, places, arguments),
        CallsCommand::Serve(arguments) => serve::run(ui, places, arguments),
        CallsCommand::Dialplan(arguments) => dialplan::run(ui, places, arguments),
    }
}

/// The result of something done with the spool, for an operator.
fn of_spool<T>(
    spool: &Spool,
    places: &Places,
    doing: &str,
    result: std::io::Result<T>,
) -> Result<T> {
    result.map_err(|error| Box::new(spool.fault(doing, &error, places)))
}

/// How many calls wait, those being sent included.
fn waiting(spool: &Spool) -> std::io::Result<usize> {
    Ok(spool.count(Folder::New)?
        + spool.count(Folder::Sending)?
        + spool.waiting_in_batches()?.len())
}

/// `process 1234 (ooy calls serve)`: who delivers at this moment.
fn deliverer(spool: &Spool) -> Option<String> {
    if !spool.is_delivering() {
        return None;
    }
    Some(named(spool.deliverer_process()))
}

fn named(process: Option<u32>) -> String {
    let Some(process) = process else {
        return "another process".to_owned();
    };
    match command_line(process) {
        Some(command) => format!("process {process} ({command})"),
        None => format!("process {process}"),
    }
}

fn command_line(process: u32) -> Option<String> {
    let bytes = std::fs::read(format!("/proc/{process}/cmdline")).ok()?;
    let words = String::from_utf8_lossy(&bytes);
    let mut words = words.split('\0').filter(|word| !word.is_empty());
    let name = words.next()?.rsplit('/').next()?;
    let rest: Vec<&str> = words.collect();
    Some(text::shorten(&format!("{name} {}", rest.join(" ")), 80))
}

/// A sentence about a file that was set aside.
fn set_aside(damaged: &Damaged) -> String {
    format!(
        "{}/{} {}; it was moved to damaged/{}",
        damaged.from.name(),
        text::shorten(&damaged.name, 80),
        text::shorten(&damaged.reason, 200),
        text::shorten(&damaged.name, 80)
    )
}

/// What an operator is told when calls still wait after an attempt.
fn still_waiting(places: &Places, waiting: usize, why: &str) -> Fault {
    Fault::problem(
        format!(
            "calls: {} not delivered",
            crate::ui::human::count(waiting, "call")
        ),
        "RapidPro could not be told of all calls",
    )
    .evidence(if why.is_empty() {
        "no answer that helps".to_owned()
    } else {
        why.to_owned()
    })
    .why("they stay on disk and are tried again and again; none is lost")
    .next(places.command("calls list"))
    .next(places.command("calls deliver"))
}
