//! `ooy calls list`: what waits, what failed and why, and how the queue is.

use std::io;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{deliverer, of_spool};
use crate::agi::record::{Moment, Record};
use crate::agi::spool::{Folder, QueueState, Spool};
use crate::cli::CallsList;
use crate::commands::{Failure, Outcome};
use crate::deployment::places::Places;
use crate::host::text;
use crate::ui::table::{self, Side};
use crate::ui::{Paint, Ui, human};

/// So many of each kind, where nothing else is said and a person reads.
const LINES: usize = 20;

/// Of so many that wait the true order is found out; of more, roughly.
const READ: usize = 2000;

/// How many there are of each kind.
struct Counts {
    waiting: usize,
    sending: usize,
    sent: usize,
    skipped: usize,
    dead: usize,
    damaged: usize,
}

/// What is shown of one kind.
struct Kind {
    name: &'static str,
    records: Vec<Record>,
    /// All there are.
    total: usize,
}

pub fn run(ui: &Ui, places: &Places, arguments: &CallsList) -> Outcome {
    let spool = Spool::new(&places.spool);
    let look = || -> io::Result<(Counts, Vec<Kind>, Vec<String>)> {
        let batched = spool.waiting_in_batches()?;
        let counts = Counts {
            waiting: spool.count(Folder::New)? + batched.len(),
            sending: spool.count(Folder::Sending)?,
            sent: spool.count(Folder::Sent)?,
            skipped: spool.count(Folder::Skipped)?,
            dead: spool.count(Folder::Dead)?,
            damaged: spool.count(Folder::Damaged)?,
        };
        let kinds = kinds(&spool, batched, arguments, ui.json)?;
        Ok((counts, kinds, spool.names(Folder::Damaged)?))
    };
    let (counts, kinds, damaged) = of_spool(&spool, places, "reading the calls", look())?;
    let state = spool.state();
    let who = deliverer(&spool);
    if ui.json {
        ui.json(&answer(&spool, &counts, &kinds, &damaged, &state))?;
        return Ok(0);
    }
    head(ui, places, &counts, &state, who.as_deref())?;
    show(ui, &kinds)?;
    if counts.damaged > 0 {
        ui.out("")?;
        let folder = places.spool.join(Folder::Damaged.name());
        let line = format!(
            "! {} set aside in {}: no call can be read from them",
            human::count(counts.damaged, "file"),
            folder.display()
        );
        ui.out(&line.replacen('!', &ui.paint_out(Paint::Warn, "!"), 1))?;
        for name in damaged.iter().take(LINES) {
            ui.out(&format!("  {}", text::shorten(name, 100)))?;
        }
    }
    ui.out("")?;
    ui.out(&format!(
        "{} waiting · {} dead · {} damaged · {} sent · {} skipped",
        counts.waiting + counts.sending,
        counts.dead,
        counts.damaged,
        counts.sent,
        counts.skipped
    ))?;
    Ok(0)
}

/// What waits in its order, what else there is the latest first.
fn kinds(
    spool: &Spool,
    batched: Vec<Record>,
    arguments: &CallsList,
    all: bool,
) -> io::Result<Vec<Kind>> {
    let any = arguments.waiting || arguments.sent || arguments.skipped || arguments.dead;
    let lines = match arguments.lines {
        Some(lines) => lines,
        None if all => usize::MAX,
        None => LINES,
    };
    let mut kinds = Vec::new();
    let mut add = |name, folder, oldest_first: bool, more: Vec<Record>| -> io::Result<()> {
        let mut entries = spool.entries(folder)?;
        if oldest_first {
            entries.reverse();
        }
        let total = entries.len() + more.len();
        let mut records = Vec::new();
        // What was tried lately has been written lately: the true order is in the records.
        let read = if oldest_first { lines.max(READ) } else { lines };
        for entry in entries.iter().take(read) {
            // Moved on meanwhile, or damaged: the deliverer's business.
            if let Some(Ok(record)) = spool.read(folder, &entry.id)? {
                records.push(record);
            }
        }
        records.extend(more);
        if oldest_first {
            records.sort_by(|a, b| {
                (a.accepted_at, a.mono_ms, &a.id).cmp(&(b.accepted_at, b.mono_ms, &b.id))
            });
        }
        records.truncate(lines);
        kinds.push(Kind {
            name,
            records,
            total,
        });
        Ok(())
    };
    if arguments.waiting || !any {
        add("sending", Folder::Sending, true, Vec::new())?;
        add("waiting", Folder::New, true, batched)?;
    }
    if arguments.dead || !any {
        add("dead", Folder::Dead, false, Vec::new())?;
    }
    if arguments.skipped {
        add("skipped", Folder::Skipped, false, Vec::new())?;
    }
    if arguments.sent {
        add("sent", Folder::Sent, false, Vec::new())?;
    }
    Ok(kinds)
}

/// How the queue is, in a line or two.
fn head(
    ui: &Ui,
    places: &Places,
    counts: &Counts,
    state: &QueueState,
    who: Option<&str>,
) -> Result<(), Failure> {
    let waiting = counts.waiting + counts.sending;
    let now = Timestamp::now();
    let since = |at: Timestamp| human::age(between(at, now));
    let mut notes: Vec<String> = Vec::new();
    let line = match (&state.stopped, waiting) {
        (Some(stopped), 1..) => {
            let sign = ui.paint_out(Paint::Bad, "✗");
            if let Some(error) = &state.last_error {
                notes.push(text::shorten(error, 100));
            }
            format!(
                "{sign} nothing is delivered, for {}: {}",
                since(stopped.since),
                text::shorten(&stopped.text, 100)
            )
        }
        (_, 0) => format!("{} nothing waits", ui.paint_out(Paint::Good, "✓")),
        _ => {
            if let Some(error) = &state.last_error {
                notes.push(format!("last error: {}", text::shorten(error, 100)));
            }
            let sign = match who {
                Some(_) => ui.paint_out(Paint::Warn, "→"),
                None => ui.paint_out(Paint::Warn, "!"),
            };
            format!("{sign} {} waiting", human::count(waiting, "call"))
        }
    };
    ui.out(&line)?;
    match who {
        Some(who) if waiting > 0 && state.stopped.is_some() => {
            notes.push(format!("tried again by {who}"));
        }
        Some(who) if waiting > 0 => notes.push(format!("delivered by {who}")),
        Some(who) => notes.push(format!("{who} is ready for the next")),
        None if waiting > 0 => notes.push(format!(
            "nobody delivers at present: {}",
            places.command("calls deliver")
        )),
        None => {}
    }
    if let Some(at) = state.next_attempt.filter(|at| *at > now && waiting > 0) {
        notes.push(format!("next attempt in {}", human::age(between(now, at))));
    }
    if let Some(at) = state.last_success {
        notes.push(format!("last success {} ago", since(at)));
    }
    if !notes.is_empty() {
        ui.out(&format!("  {}", notes.join(" · ")))?;
    }
    Ok(())
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

const HEAD: [&str; 8] = [
    "CALL",
    "NUMBER",
    "END",
    "DIRECTION",
    "STATE",
    "AGE",
    "TRIES",
    "",
];

fn show(ui: &Ui, kinds: &[Kind]) -> Result<(), Failure> {
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    for kind in kinds {
        rows.extend(kind.records.iter().map(|record| row(kind.name, record)));
    }
    if rows.len() == 1 {
        return Ok(());
    }
    let sides = [
        Side::Left,
        Side::Left,
        Side::Left,
        Side::Left,
        Side::Left,
        Side::Right,
        Side::Right,
        Side::Left,
    ];
    ui.out("")?;
    for (index, line) in table::lines(&sides, &rows).iter().enumerate() {
        let line = match index {
            0 => ui.paint_out(Paint::Dim, line),
            _ => line.clone(),
        };
        ui.out(&line)?;
    }
    for kind in kinds {
        let hidden = kind.total.saturating_sub(kind.records.len());
        if hidden > 0 {
            ui.out(&format!(
                "and {hidden} more {}: -n {}",
                kind.name, kind.total
            ))?;
        }
    }
    Ok(())
}

/// What strangers have chosen (a caller id, RapidPro's words) must not steer the terminal.
fn row(state: &str, record: &Record) -> Vec<String> {
    let number = record.number.as_deref().unwrap_or(&record.msisdn);
    let said = record
        .dead_reason
        .as_deref()
        .or(record.skip_reason.as_deref())
        .or(record.last_error.as_deref())
        .unwrap_or_default();
    vec![
        record.id.to_string(),
        text::shorten(number, 20),
        text::shorten(&record.end, 25),
        text::shorten(&record.direction, 10),
        state.to_owned(),
        human::age(record.accepted().age()),
        record.attempts.to_string(),
        text::shorten(said, 80),
    ]
}

fn answer(
    spool: &Spool,
    counts: &Counts,
    kinds: &[Kind],
    damaged: &[String],
    state: &QueueState,
) -> Value {
    let waiting = counts.waiting + counts.sending;
    let delivering = spool.is_delivering();
    let name = match (&state.stopped, waiting) {
        (Some(_), 1..) => "stopped",
        (_, 0) => "empty",
        _ if !delivering => "unattended",
        _ if state.next_attempt.is_some_and(|at| at > Timestamp::now()) => "waiting",
        _ => "delivering",
    };
    let now = Moment::now();
    let calls: Vec<Value> = kinds
        .iter()
        .flat_map(|kind| kind.records.iter().map(|record| call(kind.name, record)))
        .collect();
    json!({
        "schema": 1,
        "at": now.at,
        "queue": {
            "state": name,
            "reason": state.stopped.as_ref().map(|stopped| json!({
                "code": stopped.code,
                "text": stopped.text,
            })),
            "since": state.stopped.as_ref().map(|stopped| stopped.since),
            "last_error": state.last_error,
            "last_success": state.last_success,
            "next_attempt": state.next_attempt,
            "delivering": delivering,
            "process": spool.deliverer_process(),
        },
        "counts": {
            "waiting": counts.waiting,
            "sending": counts.sending,
            "sent": counts.sent,
            "skipped": counts.skipped,
            "dead": counts.dead,
            "damaged": counts.damaged,
        },
        "calls": calls,
        "damaged": damaged,
    })
}

fn call(state: &str, record: &Record) -> Value {
    let age = u64::try_from(record.accepted().age().as_millis()).unwrap_or(u64::MAX);
    json!({
        "id": record.id.as_str(),
        "state": state,
        "number": record.number,
        "msisdn": record.msisdn,
        "start": record.start,
        "end": record.end,
        "direction": record.direction,
        "linkedid": record.linkedid,
        "accepted_at": record.accepted_at,
        "age_ms": age,
        "attempts": record.attempts,
        "first_attempt_at": record.first_attempt.as_ref().map(|moment| moment.at),
        "last_attempt_at": record.last_attempt.as_ref().map(|moment| moment.at),
        "last_error": record.last_error,
        "sent_at": record.sent_at,
        "start_uuid": record.start_uuid,
        "contact": record.contact,
        "skip_reason": record.skip_reason,
        "dead_reason": record.dead_reason,
        "notes": record.notes,
    })
}
