//! Calls that wait, and calls that were given up.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::{STANDS_STILL, said, used};
use crate::agi::delivery::decide::{Stop, code as code_of};
use crate::agi::spool::{Folder, QueueState, Spool};
use crate::diagnosis::check::{Checked, Halt, Report, blocking};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::words;
use crate::diagnosis::{Code, Evidence, Finding};

/// Of so many that wait the true age is read; of more, that of those that were written first.
const READ: usize = 500;

/// The queue at one moment.
struct Queue {
    waiting: usize,
    oldest: Option<Duration>,
    state: QueueState,
    delivering: bool,
}

fn look(spool: &Spool) -> io::Result<Queue> {
    let batched = spool.waiting_in_batches()?;
    let mut waiting = batched.len();
    let mut ages: Vec<Duration> = batched
        .iter()
        .map(|record| record.accepted().age())
        .collect();
    for folder in [Folder::New, Folder::Sending] {
        // Latest written first; a call that was tried lately has been written lately.
        let entries = spool.entries(folder)?;
        waiting += entries.len();
        for entry in entries.iter().rev().take(READ) {
            // Moved on meanwhile, or damaged: the deliverer's business.
            if let Some(Ok(record)) = spool.read(folder, &entry.id)? {
                ages.push(record.accepted().age());
            }
        }
    }
    Ok(Queue {
        waiting,
        oldest: ages.into_iter().max(),
        state: spool.state(),
        delivering: spool.is_delivering(),
    })
}

/// Something done with the spool on a thread of its own.
async fn of_spool<T: Send + 'static>(
    scene: &Scene,
    spool: Spool,
    work: impl FnOnce(&Spool) -> io::Result<T> + Send + 'static,
) -> Result<T, Halt> {
    let shown = spool.root().display().to_string();
    let worked = tokio::time::timeout(scene.time_left(), blocking(move || work(&spool)))
        .await
        .map_err(|_| Halt::unknown(format!("{shown}: its disk does not answer")))??;
    worked.map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => Halt::unknown(format!(
            "{shown}: only its owner and root may look, and you are {}",
            crate::host::process::user_name()
        )),
        // Not a folder at all, for instance.
        _ => Halt::blocked(Code::SpoolUnwritable, format!("{shown}: {error}")),
    })
}

/// The check `calls-queue`.
pub async fn calls_queue(scene: Rc<Scene>) -> Checked {
    let spool = used(&scene).await?;
    let queue = of_spool(&scene, spool, look).await?;
    let limit = scene.context.settings.interval("CALLS_BACKLOG_AGE");
    let mut report = Report::fine();
    if queue.waiting == 0 {
        report.figure("no calls wait");
        return Ok(report);
    }
    let stop = queue
        .state
        .stopped
        .as_ref()
        .map(|stopped| stopped.code.as_str());
    if stop == Some(code_of(Stop::Token)) {
        report.found(token_refused(&scene, &queue));
    }
    if stop == Some(code_of(Stop::Flow)) {
        report.found(flow_missing(&scene, &queue));
    }
    if let Some(oldest) = queue.oldest.filter(|oldest| *oldest > limit) {
        report.found(backlog(&scene, &queue, oldest, limit));
    }
    if report.findings.is_empty() {
        let age = queue.oldest.map(words::age).unwrap_or_default();
        let calls = words::count(queue.waiting, "call");
        report.figure(format!("{calls} on the way, oldest {age}"));
    }
    Ok(report)
}

/// "3 calls wait, the oldest for 47 min."
fn waiting(scene: &Scene, queue: &Queue) -> Evidence {
    let calls = words::count(queue.waiting, "call");
    let oldest = queue.oldest.map(words::age).unwrap_or_default();
    Evidence::new(
        "waiting",
        format!("{calls}, the oldest for {oldest}"),
        scene.context.settings.places.spool.display().to_string(),
    )
    .command(scene.command("calls list"))
}

fn last_answer(queue: &Queue) -> Option<Evidence> {
    let words = queue.state.last_error.as_deref()?;
    Some(Evidence::new("last answer", said(words), "the delivery"))
}

fn with(finding: Finding, fact: Option<Evidence>) -> Finding {
    match fact {
        Some(fact) => finding.evidence(fact),
        None => finding,
    }
}

const NOT_TOLD: &str =
    "callers are not called back and get no message; no call is lost, they wait on disk";

fn stopped_since(scene: &Scene, queue: &Queue) -> Option<Evidence> {
    let stopped = queue.state.stopped.as_ref()?;
    Some(Evidence::new(
        "stopped for",
        format!(
            "{}: {}",
            words::age(scene.since(stopped.since)),
            said(&stopped.text)
        ),
        "the delivery",
    ))
}

fn token_refused(scene: &Scene, queue: &Queue) -> Finding {
    let places = &scene.context.settings.places;
    let mut finding = Finding::error(
        Code::AgiTokenRefused,
        "RapidPro refuses the token for finished calls",
    )
    .evidence(waiting(scene, queue));
    finding = with(finding, stopped_since(scene, queue));
    with(finding, last_answer(queue))
        .impact(NOT_TOLD)
        .cause("RAPIDPRO_TOKEN is not that of an administrator or editor of the workspace")
        .manual(format!(
            "sudo nano {}    # RAPIDPRO_TOKEN",
            places.env_file.display()
        ))
        .manual(scene.command("calls deliver"))
        .interrupts("nothing")
}

fn flow_missing(scene: &Scene, queue: &Queue) -> Finding {
    let places = &scene.context.settings.places;
    let mut finding = Finding::error(
        Code::AgiFlowMissing,
        "RapidPro does not know the flow that finished calls are started on",
    )
    .evidence(waiting(scene, queue));
    finding = with(finding, stopped_since(scene, queue));
    with(finding, last_answer(queue))
        .impact(NOT_TOLD)
        .cause("the flow in RAPIDPRO_FLOW was archived, or is one of another workspace")
        .manual(format!(
            "sudo nano {}    # RAPIDPRO_FLOW",
            places.env_file.display()
        ))
        .manual(scene.command("calls deliver"))
        .interrupts("nothing")
}

fn backlog(scene: &Scene, queue: &Queue, oldest: Duration, limit: Duration) -> Finding {
    let calls = words::count(queue.waiting, "finished call");
    let verb = if queue.waiting == 1 { "waits" } else { "wait" };
    let mut finding = Finding::error(
        Code::AgiBacklog,
        format!(
            "{calls} {verb} for RapidPro, the oldest for {}",
            words::age(oldest)
        ),
    )
    .evidence(waiting(scene, queue).threshold(format!("{} (CALLS_BACKLOG_AGE)", words::age(limit))))
    .evidence(stands_still(scene, queue));
    finding = with(finding, last_answer(queue));
    if let Some(at) = queue.state.last_success {
        finding = finding.evidence(Evidence::new(
            "last call that RapidPro took",
            format!("{} ago", words::age(scene.since(at))),
            "the delivery",
        ));
    }
    finding
        .impact(NOT_TOLD)
        .manual(scene.command("calls deliver"))
        .interrupts("nothing")
}

/// Why nothing moves. The source ends with the code of a stop, for the rules.
fn stands_still(scene: &Scene, queue: &Queue) -> Evidence {
    let state = &queue.state;
    let (why, code) = match (&state.stopped, state.next_attempt) {
        (Some(stopped), _) => (said(&stopped.text), stopped.code.clone()),
        (None, _) if !queue.delivering => ("nobody delivers at present".to_owned(), String::new()),
        (None, Some(at)) if at > scene.now => (
            format!(
                "RapidPro could not be reached; next attempt in {}",
                words::age(Duration::try_from(at.duration_since(scene.now)).unwrap_or_default())
            ),
            String::new(),
        ),
        _ => ("it is being tried".to_owned(), String::new()),
    };
    let source = match code.as_str() {
        "" => "the delivery".to_owned(),
        code => format!("the delivery: {code}"),
    };
    Evidence::new(STANDS_STILL, why, source)
}

/// The check `calls-refused`.
pub async fn calls_refused(scene: Rc<Scene>) -> Checked {
    let spool = used(&scene).await?;
    let (dead, damaged, reason) = of_spool(&scene, spool, |spool| {
        let entries = spool.entries(Folder::Dead)?;
        let mut reason = None;
        for entry in entries.iter().take(10) {
            if let Some(Ok(record)) = spool.read(Folder::Dead, &entry.id)? {
                reason = record.dead_reason;
                break;
            }
        }
        Ok((entries.len(), spool.count(Folder::Damaged)?, reason))
    })
    .await?;
    if dead + damaged == 0 {
        return Ok(Report::fine());
    }
    let root = &scene.context.settings.places.spool;
    let summary = if dead > 0 {
        format!(
            "RapidPro has refused {} for good",
            words::count(dead, "finished call")
        )
    } else {
        format!(
            "{} of finished calls cannot be read",
            words::count(damaged, "file")
        )
    };
    let mut finding = Finding::warning(Code::AgiDeadLetters, summary);
    if dead > 0 {
        finding = finding.evidence(
            Evidence::new(
                "refused",
                dead.to_string(),
                root.join("dead").display().to_string(),
            )
            .command(scene.command("calls list --dead")),
        );
    }
    if let Some(reason) = reason {
        finding = finding.evidence(Evidence::new(
            "the latest",
            said(&reason),
            "RapidPro's answer",
        ));
    }
    if damaged > 0 {
        let folder = root.join("damaged").display().to_string();
        finding = finding.evidence(
            Evidence::new("cannot be read", damaged.to_string(), folder.clone()).command(format!(
                "sudo ls -la {}",
                crate::host::reach::hint::word(&folder)
            )),
        );
    }
    finding = finding.impact("these callers are not called back");
    if dead > 0 {
        finding = finding
            .manual(scene.command("calls list --dead"))
            .manual(scene.command("calls retry --dead"));
    } else {
        finding = finding.manual(format!(
            "sudo rm -r {}/*",
            crate::host::reach::hint::word(&root.join("damaged").display().to_string())
        ));
    }
    Ok(finding.interrupts("nothing").into())
}
