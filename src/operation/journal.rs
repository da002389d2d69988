//! The journal: what was begun, by whom, and how it ended. One JSON object a line, each on disk
//! before the step that it announces.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::event::{Event, Kind, Reporter};
use super::lock::Lock;
use crate::fault::Result;
use crate::host::process;

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Version of this form.
    pub schema: u32,
    /// The operation it belongs to; lines of one have the same.
    pub id: String,
    /// When.
    pub at: Timestamp,
    /// The command with what it was asked for: `start mailroom`.
    pub operation: String,
    /// Who ran it.
    pub user: String,
    /// The part of it.
    pub step: String,
    /// The service, where it is about one.
    pub service: Option<String>,
    /// `started`, `done`, `ready`, `failed`, …
    pub event: String,
    /// How long it took, milliseconds.
    pub took_ms: Option<u64>,
    /// In words.
    pub detail: String,
}

/// A running operation: holds the lock, and its events are journalled.
pub struct Operation {
    _lock: Lock,
}

impl Operation {
    /// Takes the lock and begins to journal what the reporter tells. `asked` is the command with
    /// what it was asked for, `again` the command line to repeat it.
    pub fn begin(
        state: &Path,
        name: &str,
        asked: &str,
        again: &str,
        reporter: &Reporter,
    ) -> Result<Self> {
        let lock = Lock::take(state, name, again)?;
        Ok(Self::under(lock, state, asked, reporter))
    }

    /// The same under a lock that is held already.
    pub fn under(lock: Lock, state: &Path, asked: &str, reporter: &Reporter) -> Self {
        if let Ok(journal) = Journal::open(state, asked) {
            let journal = Rc::new(journal);
            journal.write("operation", None, "started", None, "");
            for planned in reporter.take_planned() {
                journal.record(&planned);
            }
            reporter.listen(move |event: &Event| journal.record(event));
        }
        // Without room for a journal line the operation goes on: it may be the one that frees it.
        Self { _lock: lock }
    }
}

/// Bytes above which the journal is begun anew; the one before is kept. Years of nightly use.
const LARGEST: u64 = 4 * 1024 * 1024;

struct Journal {
    file: File,
    id: String,
    operation: String,
    user: String,
    /// Lines for which there was no room yet: a repair may be making some, and how it began is
    /// what a later run has to know.
    unwritten: RefCell<Vec<u8>>,
}

/// So many bytes of them are kept.
const MOST_UNWRITTEN: usize = 64 * 1024;

impl Journal {
    fn open(state: &Path, asked: &str) -> std::io::Result<Self> {
        let path = state.join("journal.jsonl");
        if std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() > LARGEST) {
            let _ = std::fs::rename(&path, state.join("journal.jsonl.1"));
        }
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        Ok(Self {
            file,
            id: format!(
                "{}-{}",
                Timestamp::now().as_millisecond(),
                std::process::id()
            ),
            operation: asked.to_owned(),
            user: process::user_name(),
            unwritten: RefCell::default(),
        })
    }

    fn record(&self, event: &Event) {
        // Progress is for eyes, and so is what waits for what; the journal keeps what a later run, or a
        // person, has to know.
        let waits = event.event == Kind::Planned && event.detail.starts_with("waits");
        if event.event != Kind::Progress && !waits {
            let word = serde_json::to_value(event.event).ok();
            let word = word
                .as_ref()
                .and_then(|word| word.as_str())
                .unwrap_or_default();
            self.write(
                event.step,
                event.service.clone(),
                word,
                event.took_ms,
                &event.detail,
            );
        }
    }

    fn write(
        &self,
        step: &str,
        service: Option<String>,
        event: &str,
        took_ms: Option<u64>,
        detail: &str,
    ) {
        let entry = Entry {
            schema: 1,
            id: self.id.clone(),
            at: Timestamp::now(),
            operation: self.operation.clone(),
            user: self.user.clone(),
            step: step.to_owned(),
            service,
            event: event.to_owned(),
            took_ms,
            detail: detail.to_owned(),
        };
        if let Ok(mut line) = serde_json::to_vec(&entry) {
            line.push(b'\n');
            let mut file = &self.file;
            let mut text = self.unwritten.take();
            text.append(&mut line);
            // One write: lines of two processes never mix. What cannot be written (full disk) must
            // not stop the operation, and is tried again with the next line. A part of it may be
            // there: what follows begins on a line of its own.
            if file.write_all(&text).is_err() && text.len() <= MOST_UNWRITTEN {
                if text.first() != Some(&b'\n') {
                    text.insert(0, b'\n');
                }
                self.unwritten.replace(text);
            }
            // Only what a later run reasons about is worth a flush: begin and end.
            if step == "operation" {
                let _ = file.sync_data();
            }
        }
    }
}

/// An operation as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Done {
    /// The command with what it was asked for.
    pub operation: String,
    /// Who ran it.
    pub user: String,
    /// When it began.
    pub began: Timestamp,
    /// `done`, `failed`, or `unfinished` when its end was never written.
    pub result: String,
    /// How long it took, milliseconds.
    pub took_ms: Option<u64>,
    /// How it ended, in words.
    pub detail: String,
    /// What was planned, line by line.
    pub plan: Vec<String>,
    /// For how long a service was away that was stopped and started again, milliseconds: that of the
    /// service which was away the longest. `None`: none was.
    pub down_ms: Option<u64>,
}

/// The operations in the journal, oldest first.
pub fn operations(state: &Path) -> Vec<Done> {
    let entries = read(state);
    let whole = |entry: &&Entry| entry.step == "operation";
    entries
        .iter()
        .filter(|entry| whole(entry) && entry.event == "started")
        .map(|began| {
            let own = || entries.iter().filter(|entry| entry.id == began.id);
            let end = own().filter(whole).find(|entry| entry.event != "started");
            Done {
                plan: own()
                    .skip(1)
                    .take_while(|entry| entry.event == "planned")
                    .map(Entry::words)
                    .collect(),
                down_ms: away(own()),
                operation: began.operation.clone(),
                user: began.user.clone(),
                began: began.at,
                result: end.map_or_else(|| "unfinished".to_owned(), |end| end.event.clone()),
                took_ms: end.and_then(|end| end.took_ms),
                detail: end.map(|end| end.detail.clone()).unwrap_or_default(),
            }
        })
        .collect()
}

impl Entry {
    fn words(&self) -> String {
        match &self.service {
            Some(service) => format!("{service}: {}", self.detail),
            None => self.detail.clone(),
        }
    }
}

/// For how long the service was away that was away the longest, by the entries of one operation.
fn away<'a>(entries: impl Iterator<Item = &'a Entry>) -> Option<u64> {
    let mut since: BTreeMap<&str, Timestamp> = BTreeMap::new();
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for entry in entries {
        let Some(service) = entry.service.as_deref() else {
            continue;
        };
        match (entry.step.as_str(), entry.event.as_str()) {
            ("stop", "done") => {
                // It takes no more work from the moment on at which it is told to stop.
                let stopping = Duration::from_millis(entry.took_ms.unwrap_or_default());
                let told = entry.at.checked_sub(stopping).unwrap_or(entry.at);
                since.entry(service).or_insert(told);
            }
            ("replace", "started") => {
                since.entry(service).or_insert(entry.at);
            }
            ("start", "ready") => {
                if let Some(since) = since.remove(service) {
                    let away = entry.at.duration_since(since).as_millis();
                    *sums.entry(service).or_default() += u64::try_from(away).unwrap_or_default();
                }
            }
            _ => {}
        }
    }
    sums.into_values().max()
}

/// How much of the journal's end [`recent`] reads: some hundred operations.
const RECENT: u64 = 256 * 1024;

/// The newest entries, oldest first: enough for what happened lately, read in a moment. No
/// journal yet is none.
pub fn recent(state: &Path) -> std::io::Result<Vec<Entry>> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let mut file = match File::open(state.join("journal.jsonl")) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let skipped = file.metadata()?.len().saturating_sub(RECENT);
    file.seek(SeekFrom::Start(skipped))?;
    let mut text = Vec::new();
    file.take(2 * RECENT).read_to_end(&mut text)?;
    // The first line may be cut; then it is no entry.
    Ok(String::from_utf8_lossy(&text)
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect())
}

/// When the first line was written that is still kept: how long this deployment is `ooy`'s.
pub fn begin(state: &Path) -> Option<Timestamp> {
    use std::io::BufRead as _;
    let first = |name: &str| -> Option<Timestamp> {
        let mut line = String::new();
        let file = File::open(state.join(name)).ok()?;
        std::io::BufReader::new(file).read_line(&mut line).ok()?;
        Some(serde_json::from_str::<Entry>(&line).ok()?.at)
    };
    first("journal.jsonl.1").or_else(|| first("journal.jsonl"))
}

/// The last that was done to a service: its newest start or stop among these entries.
pub fn last_of<'a>(entries: &'a [Entry], service: &str) -> Option<&'a Entry> {
    entries.iter().rfind(|entry| {
        entry.service.as_deref() == Some(service)
            && matches!(entry.step.as_str(), "stop" | "start")
            && matches!(
                entry.event.as_str(),
                "done" | "ready" | "started" | "failed"
            )
    })
}

/// All entries of the journal, oldest first; a line cut short by a crash is left out.
fn read(state: &Path) -> Vec<Entry> {
    std::fs::read_to_string(state.join("journal.jsonl"))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begin_and_end_are_journalled_and_progress_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let reporter = Reporter::new("start");
        let operation = Operation::begin(
            folder.path(),
            "start",
            "start mailroom",
            "ooy start",
            &reporter,
        )
        .unwrap();
        reporter.service("start", "mailroom", Kind::Progress, None, "");
        reporter.service("start", "mailroom", Kind::Ready, None, "");
        reporter.tell("operation", Kind::Done, None, "1 of 1 ready");
        drop(operation);
        let entries = read(folder.path());
        let seen: Vec<_> = entries
            .iter()
            .map(|e| (e.step.as_str(), e.event.as_str()))
            .collect();
        assert_eq!(
            seen,
            [
                ("operation", "started"),
                ("start", "ready"),
                ("operation", "done")
            ]
        );
        assert!(
            entries
                .iter()
                .all(|e| e.id == entries[0].id && e.operation == "start mailroom")
        );
    }

    #[test]
    fn an_operation_has_its_plan_and_how_long_a_service_was_away() {
        let folder = tempfile::tempdir().unwrap();
        let reporter = Reporter::new("restart");
        // Before anybody agreed to it.
        reporter.service("plan", "mailroom", Kind::Planned, None, "restart");
        let operation = Operation::begin(
            folder.path(),
            "restart",
            "restart mailroom",
            "ooy restart",
            &reporter,
        )
        .unwrap();
        reporter.service(
            "start",
            "courier",
            Kind::Planned,
            None,
            "waits for mailroom",
        );
        reporter.tell("plan", Kind::Planned, None, "one after the other");
        let took = Some(Duration::from_secs(2));
        reporter.service("stop", "mailroom", Kind::Done, took, "");
        reporter.tell("plan", Kind::Planned, None, "too late for a plan");
        reporter.service("start", "mailroom", Kind::Ready, None, "");
        reporter.service("start", "courier", Kind::Ready, None, "");
        drop(operation);
        let done = operations(folder.path()).remove(0);
        assert_eq!(done.plan, ["mailroom: restart", "one after the other"]);
        let down = done.down_ms.unwrap();
        assert!((2000..3000).contains(&down), "{down}");
        assert_eq!(reporter.take_planned().len(), 3);
    }

    #[test]
    fn what_found_no_room_is_written_with_the_next_line() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path(), "fix disk-space").unwrap();
        let good = std::mem::replace(&mut journal.file, File::create("/dev/full").unwrap());
        journal.write("operation", None, "started", None, "");
        journal.write("free", None, "done", None, "");
        assert!(operations(folder.path()).is_empty());
        journal.file = good;
        journal.write("operation", None, "done", None, "");
        let operations = operations(folder.path());
        assert_eq!(operations.len(), 1);
        assert_eq!(operations[0].result, "done");
        assert_eq!(read(folder.path()).len(), 3);
    }

    #[test]
    fn a_line_cut_short_does_not_hide_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let reporter = Reporter::new("start");
        drop(Operation::begin(folder.path(), "start", "start", "ooy start", &reporter).unwrap());
        let path = folder.path().join("journal.jsonl");
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("{\"schema\":1,\"id\":\"17");
        std::fs::write(&path, text).unwrap();
        assert_eq!(read(folder.path()).len(), 1);
    }
}
