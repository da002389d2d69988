//! `ooy calls retry`.

use super::{deliverer, of_spool};
use crate::agi::record::Id;
use crate::agi::spool::{Folder, Spool};
use crate::cli::CallsRetry;
use crate::commands::Outcome;
use crate::deployment::places::Places;
use crate::deployment::similar;
use crate::fault::Fault;
use crate::host::text;
use crate::ui::{Paint, Ui, human};

pub fn run(ui: &Ui, places: &Places, arguments: &CallsRetry) -> Outcome {
    let spool = Spool::new(&places.spool);
    let entries = of_spool(
        &spool,
        places,
        "reading the dead calls",
        spool.entries(Folder::Dead),
    )?;
    let dead: Vec<Id> = entries.into_iter().map(|entry| entry.id).collect();
    let chosen: Vec<Id> = if arguments.dead {
        dead
    } else {
        // All of them are known before any is moved.
        let chosen: Result<Vec<Id>, Box<Fault>> = arguments
            .ids
            .iter()
            .map(|given| find(&spool, places, &dead, given))
            .collect();
        chosen?
    };
    let mut moved = Vec::new();
    for id in &chosen {
        // One that somebody else moved meanwhile waits already.
        if of_spool(&spool, places, "putting a call back", spool.retry(id))? {
            moved.push(id.to_string());
        }
    }
    if ui.json {
        ui.json(&serde_json::json!({ "schema": 1, "retried": moved }))?;
        return Ok(0);
    }
    if moved.is_empty() {
        ui.say("no call is dead");
        return Ok(0);
    }
    let count = human::count(moved.len(), "call");
    let line = format!("{count} among the waiting ones again");
    ui.say(&format!("{} {line}", ui.paint(Paint::Good, "✓")));
    match deliverer(&spool) {
        Some(who) => ui.say(&format!("delivered by {who}")),
        None => ui.say(&format!("next: {}", places.command("calls deliver"))),
    }
    Ok(0)
}

fn find(spool: &Spool, places: &Places, dead: &[Id], given: &str) -> Result<Id, Box<Fault>> {
    let id = Id::new(given);
    if let Some(id) = id.as_ref().filter(|id| dead.contains(id)) {
        return Ok(id.clone());
    }
    let shown = text::shorten(given, 80);
    let fault = |what: String| {
        Fault::usage(format!("{shown}: not a dead call"), what)
            .why("only calls that RapidPro refused can be put back; nothing was done")
    };
    for (folder, is) in [
        (Folder::New, "waits already"),
        (Folder::Sending, "is being sent"),
        (Folder::Sent, "has been sent"),
        (Folder::Skipped, "is skipped: RapidPro is not told of it"),
    ] {
        let found = id.as_ref().map(|id| spool.read(folder, id));
        if matches!(found, Some(Ok(Some(_)))) {
            return Err(Box::new(
                fault(format!("this call {is}"))
                    .evidence(format!(
                        "{}/{}/{shown}.json",
                        spool.root().display(),
                        folder.name()
                    ))
                    .next(places.command("calls list")),
            ));
        }
    }
    let nearest = similar::nearest(given, dead.iter().map(Id::as_str));
    let mut fault = fault("there is no call of that name".to_owned());
    if let Some(nearest) = nearest {
        fault = fault
            .evidence(format!("the nearest name is {nearest}"))
            .next(places.command(&format!("calls retry {nearest}")));
    } else {
        fault = fault.evidence(match dead.len() {
            0 => "no call is dead".to_owned(),
            n => format!("{} dead", human::count(n, "call")),
        });
    }
    Err(Box::new(fault.next(places.command("calls list --dead"))))
}
