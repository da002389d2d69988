//! What `ooy` itself was doing: an operation that was cut off, and one that stands still.

pub mod past;

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use crate::backup::restore::state::{self, Phase, State};
use crate::diagnosis::check::{Check, Checked, Halt, Looking, Report, Subject};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::words::age;
use crate::diagnosis::{Code, Evidence, Finding};
use crate::host::process;
use past::Past;

/// The checks of this subject.
pub const SUBJECT: Subject = Subject {
    checks: &[
        Check {
            name: "last-operation",
            about: "whether the last operation of ooy came to its end",
            codes: &[Code::OperationUnfinished],
            run: |scene| -> Looking { Box::pin(unfinished(scene)) },
        },
        Check {
            name: "operation-lock",
            about: "whether an operation that holds the lock gets on",
            codes: &[Code::LockStale],
            run: |scene| -> Looking { Box::pin(lock(scene)) },
        },
    ],
    rules: &[],
};

/// What the evidence that names the services of an operation is called: rules read it.
const ITS_SERVICES: &str = "its services";

/// Whether a finding about a service comes of an operation that did not get to its end: it is
/// about one of those that the operation was to start or stop.
pub(super) fn concerned(effect: &Finding, operation: &Finding) -> bool {
    let services = operation
        .evidence
        .iter()
        .find(|fact| fact.what == ITS_SERVICES)
        .map_or("", |fact| fact.value.as_str());
    match &effect.service {
        Some(service) => services.split(", ").any(|name| name == service),
        // About several at once: what is configured and what runs.
        None => !services.is_empty(),
    }
}

async fn unfinished(scene: Rc<Scene>) -> Checked {
    let past = Past::look(&scene).await?;
    // Its own note is the truth: it may have come to its end and not have said so, and others may
    // have come after it.
    match state::read(&scene.context.settings.places.state) {
        Ok(Some(restore)) if past.holder.is_none() => return Ok(cut_off(&scene, &restore).into()),
        Ok(_) => {}
        Err(error) => return Err(Halt::unknown(format!("restore.json: {error}"))),
    }
    match crate::upgrade::state::read(&scene.context.settings.places.state) {
        Ok(Some(upgrade)) if past.holder.is_none() => {
            return Ok(upgrade_cut_off(&scene, &upgrade).into());
        }
        Ok(_) => {}
        Err(error) => return Err(Halt::unknown(format!("upgrade.json: {error}"))),
    }
    let is_restore = |last: &past::Last| {
        ["restore ", "upgrade ", "rollback", "resume"]
            .iter()
            .any(|name| last.operation.starts_with(name))
    };
    let Some(last) = past.unfinished().filter(|last| !is_restore(last)) else {
        return Ok(Report::fine());
    };
    let stack = &scene.context.stack;
    let services = last.reach(stack);
    let name = last.name();
    let what = format!(
        "{name} was cut off {} ago, in the middle",
        age(scene.since(last.latest))
    );
    let finding = if all_run(&scene, &services).await {
        Finding::warning(Code::OperationUnfinished, what)
    } else {
        Finding::error(Code::OperationUnfinished, what)
    };
    let again = scene.command(&last.operation);
    Ok(finding
        .evidence(
            Evidence::new(
                name,
                format!(
                    "begun at {} by {}, no end written, and nobody holds the lock",
                    past::clock(last.began, scene.now),
                    last.user
                ),
                "the journal",
            )
            .command(scene.command("history")),
        )
        .evidence(Evidence::new(
            "the last it did",
            last.doing(),
            "the journal",
        ))
        .evidence(Evidence::new(
            ITS_SERVICES,
            listed(&services),
            "the journal",
        ))
        .impact("what it was to start or stop may have stayed as it was at that moment")
        .cause("it was interrupted, its process was killed, or the host went down")
        .manual(again)
        .interrupts(if last.starts() {
            "nothing that runs as it should"
        } else {
            "what it was to stop"
        })
        .into())
}

/// A restore that has not come to its end.
fn cut_off(scene: &Scene, restore: &State) -> Finding {
    let databases: Vec<&str> = restore
        .databases
        .iter()
        .map(|of| of.database.as_str())
        .collect();
    let services: BTreeSet<String> = restore.services.iter().cloned().collect();
    let phase = match restore.phase {
        Phase::Loading => "databases are made beside the present ones, which are as they were",
        Phase::Swapping => {
            "databases change places; some may have none of their name at this moment"
        }
        Phase::Starting => "databases are in place, services were being started",
        Phase::Undoing => "it is being taken back",
    };
    let began = age(scene.since(restore.began));
    let file = scene.context.settings.places.state.join("restore.json");
    let finding = Finding::error(
        Code::OperationUnfinished,
        format!("A restore was cut off in the middle, begun {began} ago"),
    )
    .evidence(
        Evidence::new(
            format!("restore of {}", restore.source),
            phase,
            file.display().to_string(),
        )
        .command(scene.command("resume --dry-run")),
    )
    .evidence(Evidence::new(
        "its databases",
        databases.join(", "),
        "the same file",
    ))
    .impact("what writes to these databases was stopped for it, and stays so until it has ended")
    .cause("it was interrupted, its process was killed, or the host went down")
    .manual(scene.command("resume"))
    .manual(scene.command("resume --undo"))
    .interrupts("nothing that runs");
    if services.is_empty() {
        return finding;
    }
    finding.evidence(Evidence::new(
        ITS_SERVICES,
        listed(&services),
        "the same file",
    ))
}

/// An upgrade that has not come to its end.
fn upgrade_cut_off(scene: &Scene, upgrade: &crate::upgrade::state::State) -> Finding {
    let began = age(scene.since(upgrade.began));
    let file = scene.context.settings.places.state.join("upgrade.json");
    let services: BTreeSet<String> = upgrade.services.iter().cloned().collect();
    Finding::error(
        Code::OperationUnfinished,
        format!("An upgrade was cut off in the middle, begun {began} ago"),
    )
    .evidence(
        Evidence::new(
            upgrade.name(),
            upgrade.phase.words(),
            file.display().to_string(),
        )
        .command(scene.command("resume --dry-run")),
    )
    .evidence(Evidence::new(
        ITS_SERVICES,
        listed(&services),
        "the same file",
    ))
    .impact("until it has ended, what was stopped for it stays so, and its pages may be closed")
    .cause("it was interrupted, its process was killed, or the host went down")
    .manual(scene.command("resume"))
    .manual(scene.command("resume --undo"))
    .interrupts("nothing that runs")
}

async fn lock(scene: Rc<Scene>) -> Checked {
    let past = Past::look(&scene).await?;
    let Some((pid, holder)) = &past.holder else {
        return Ok(Report::fine());
    };
    let running = past.last().filter(|last| last.ended.is_none());
    let name = match (&running, holder) {
        (Some(last), _) => last.name(),
        (None, Some(holder)) => format!("ooy {}", holder.operation),
        (None, None) => "an operation".to_owned(),
    };
    let by = match (&running, holder) {
        (Some(last), _) => format!(" by {}", last.user),
        (None, Some(holder)) => format!(" by {}", holder.user),
        (None, None) => String::new(),
    };
    let began = match (&running, holder) {
        (Some(last), _) => Some(last.began),
        (None, holder) => holder.as_ref().map(|holder| holder.since),
    };
    let quiet = running
        .as_ref()
        .map(|last| last.latest)
        .or(began)
        .map_or(Duration::ZERO, |latest| scene.since(latest));
    let held = Evidence::new(
        "the lock",
        format!(
            "held by process {pid}: {name}{by}, since {}",
            began.map_or("an unknown time".to_owned(), |began| {
                past::clock(began, scene.now)
            })
        ),
        scene
            .context
            .settings
            .places
            .state
            .join("lock")
            .display()
            .to_string(),
    )
    .command(format!("ps -o pid,user,stat,etime,args -p {pid}"));
    let limit = scene.context.settings.interval("OPERATION_STALL");
    let stopped = matches!(process::state(*pid), Some('T' | 't'));
    let (mut finding, facts) = if stopped {
        (
            Finding::error(
                Code::LockStale,
                format!("{name} is suspended and holds the lock"),
            )
            .cause("its process was stopped, by Ctrl-Z or a signal")
            .manual(format!("sudo kill -CONT {pid}")),
            Evidence::new(
                "its process",
                "stopped (state T)",
                format!("/proc/{pid}/stat"),
            ),
        )
    } else if quiet >= limit {
        (
            Finding::warning(
                Code::LockStale,
                format!(
                    "{name} has got no further for {} and holds the lock",
                    age(quiet)
                ),
            )
            .manual(format!("sudo kill {pid}")),
            Evidence::new(
                "its last step",
                match &running {
                    Some(last) => format!("{} ago: {}", age(quiet), last.doing()),
                    None => format!("{} ago", age(quiet)),
                },
                "the journal",
            )
            .threshold(format!("{} (OPERATION_STALL)", age(limit)))
            .command(scene.command("history")),
        )
    } else {
        return Ok(Report::fine());
    };
    finding = finding.evidence(held).evidence(facts);
    if stopped && let Some(last) = &running {
        let services = last.reach(&scene.context.stack);
        finding = finding.evidence(Evidence::new(
            ITS_SERVICES,
            listed(&services),
            "the journal",
        ));
    }
    let again = running.map_or_else(
        || scene.command("start"),
        |last| scene.command(&last.operation),
    );
    Ok(finding
        .impact("no other operation can begin: start, stop and repairs end with exit code 3")
        .manual(again)
        .interrupts("nothing that runs; what that operation was doing is begun again")
        .into())
}

fn listed(services: &BTreeSet<String>) -> String {
    let names: Vec<&str> = services.iter().map(String::as_str).collect();
    names.join(", ")
}

/// Whether each of these runs; where Docker does not say, that is not known to be so.
async fn all_run(scene: &Scene, services: &BTreeSet<String>) -> bool {
    for service in services {
        match scene.container(service).await {
            Ok(Some(container)) if container.is_running() => {}
            Ok(_) => return false,
            Err(_) => return true,
        }
    }
    true
}
