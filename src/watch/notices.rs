//! Reports on their way out: a queue for each destination, one file a notice, so that an outage and
//! the watch's own end delay them and lose none.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::discreet::discreet;
use super::memory::since;
use crate::host::{files, process, text};

/// So many wait for one destination; the oldest go first.
const MOST: usize = 200;

/// What could not be delivered for so long is no news any more.
const OLDEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A root cause that was not there before.
    New,
    /// It is not there any more.
    Gone,
    /// It comes and goes.
    Flapping,
    /// It was repaired, and the service is seen to work.
    Repaired,
    /// A repair did not help.
    RepairFailed,
}

impl Event {
    /// As it stands in a line.
    pub fn word(self) -> &'static str {
        match self {
            Event::New => "new",
            Event::Gone => "gone",
            Event::Flapping => "comes and goes",
            Event::Repaired => "repaired",
            Event::RepairFailed => "repair failed",
        }
    }

    /// Whether somebody should look.
    pub fn is_bad(self) -> bool {
        !matches!(self, Event::Gone | Event::Repaired)
    }
}

/// One report, as a webhook receives it. Holds no secret and no telephone number: it leaves the
/// machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Version of this form.
    pub schema: u32,
    /// 32 hexadecimal digits. A notice that comes twice, since the answer to the first was lost, has
    /// the same ones.
    pub id: String,
    /// When it happened.
    pub at: Timestamp,
    /// Name of this machine.
    pub host: String,
    /// The compose project.
    pub project: String,
    /// What happened.
    pub event: Event,
    /// The same in a line, for people.
    pub text: String,
    /// The root cause, as `diagnose --json` has it.
    pub finding: Value,
    /// The repair, and how it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repair: Option<Repair>,
}

/// A repair in a notice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repair {
    /// As it stands behind `ooy fix`.
    pub name: String,
    /// What was seen in the end, or why it did not help.
    pub result: String,
}

impl Notice {
    /// A notice of now. `more` is said behind the finding's headline.
    pub fn new(project: &str, event: Event, finding: &Value, more: &str) -> Self {
        let at = crate::host::clock::now();
        let host = process::host_name();
        let word = |name: &str| finding[name].as_str().unwrap_or_default();
        let sign = if event.is_bad() { "✗" } else { "✓" };
        let summary = word("summary");
        let mut line = format!("{sign} {host} · {}: {summary}", event.word());
        if !more.is_empty() {
            line += &format!(" · {more}");
        }
        let fix = finding["fix"]["command"].as_str();
        if let (true, Some(command)) = (event.is_bad(), fix) {
            line += &format!(" · {command}");
        }
        Self {
            schema: 1,
            id: id(&line, at),
            at,
            host,
            project: project.to_owned(),
            event,
            text: discreet(&text::sanitize(&line)),
            finding: discreet_value(finding),
            repair: None,
        }
    }

    /// With the repair that it is about.
    pub fn repair(mut self, name: &str, result: &str) -> Self {
        self.repair = Some(Repair {
            name: name.to_owned(),
            result: discreet(&text::sanitize(result)),
        });
        self
    }
}

fn discreet_value(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(discreet(text)),
        Value::Array(items) => items.iter().map(discreet_value).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), discreet_value(value)))
            .collect(),
        other => other.clone(),
    }
}

fn id(line: &str, at: Timestamp) -> String {
    use sha2::{Digest as _, Sha256};
    // Two of one moment differ in their lines; two of one line in their moments.
    let seed = format!("{line} {at} {}", std::process::id());
    text::hex(&Sha256::digest(seed.as_bytes())[..16])
}

/// What waits for one destination, in its order. Files where they can be written; on a full disk,
/// of all times, it goes on without.
pub struct Queue {
    folder: PathBuf,
    waiting: VecDeque<(u64, Notice)>,
    next: u64,
}

impl Queue {
    /// What waits in that folder. Files that cannot be read are set aside under another name.
    pub fn load(folder: &Path) -> Self {
        let mut found: Vec<(u64, Notice)> = Vec::new();
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let number = path
                .file_stem()
                .and_then(|stem| stem.to_str()?.parse().ok());
            let notice = std::fs::read(&path)
                .ok()
                .and_then(|text| serde_json::from_slice(&text).ok());
            match (number, notice) {
                (Some(number), Some(notice)) => found.push((number, notice)),
                _ => drop(std::fs::rename(&path, path.with_extension("damaged"))),
            }
        }
        found.sort_unstable_by_key(|(number, _)| *number);
        Self {
            folder: folder.to_owned(),
            next: found.last().map_or(0, |(number, _)| number + 1),
            waiting: found.into(),
        }
    }

    /// One more; the error says that it waits in memory only.
    pub fn push(&mut self, notice: &Notice) -> io::Result<()> {
        if self.waiting.iter().any(|(_, known)| known.id == notice.id) {
            return Ok(());
        }
        let number = self.next;
        self.next += 1;
        self.waiting.push_back((number, notice.clone()));
        std::fs::create_dir_all(&self.folder)?;
        files::write_atomic(&self.file(number), &serde_json::to_vec(notice)?, 0o600)
    }

    /// The one whose turn it is.
    pub fn first(&self) -> Option<&Notice> {
        self.waiting.front().map(|(_, notice)| notice)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// That one is delivered, or given up.
    pub fn done(&mut self, id: &str) {
        if let Some(at) = self.waiting.iter().position(|(_, notice)| notice.id == id)
            && let Some((number, _)) = self.waiting.remove(at)
        {
            let _ = std::fs::remove_file(self.file(number));
        }
    }

    /// Drops what is too old or too much; how many that were.
    pub fn tidy(&mut self, now: Timestamp) -> usize {
        let before = self.len();
        while let Some((_, oldest)) = self.waiting.front()
            && (self.len() > MOST || since(oldest.at, now) > OLDEST)
        {
            let id = oldest.id.clone();
            self.done(&id);
        }
        before - self.len()
    }

    fn file(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:010}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::{Code, Evidence, Finding};

    fn notice(number: usize) -> Notice {
        let finding = Finding::error(Code::ServicePaused, format!("courier is frozen {number}"))
            .service("courier")
            .fix("ooy fix not-running");
        let finding = serde_json::to_value(finding).unwrap();
        Notice::new("ooy", Event::New, &finding, "")
    }

    #[test]
    fn what_waits_is_there_after_the_end_in_its_order_and_each_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("webhook");
        let notices: Vec<Notice> = (0..12).map(notice).collect();
        let mut queue = Queue::load(&path);
        for notice in &notices {
            queue.push(notice).unwrap();
            queue.push(notice).unwrap();
        }
        queue.done(&notices[0].id);
        drop(queue);
        let mut queue = Queue::load(&path);
        queue.push(&notices[11]).unwrap();
        for notice in &notices[1..] {
            assert_eq!(queue.first(), Some(notice));
            queue.done(&notice.id);
        }
        assert!(queue.first().is_none());
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0);
    }

    #[test]
    fn a_damaged_file_is_set_aside_and_holds_up_nothing() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("0000000000.json"), "{\"id").unwrap();
        let mut queue = Queue::load(folder.path());
        assert_eq!(queue.len(), 0);
        assert!(folder.path().join("0000000000.damaged").exists());
        queue.push(&notice(1)).unwrap();
        assert_eq!(Queue::load(folder.path()).len(), 1);
    }

    #[test]
    fn it_is_bounded_in_number_and_in_age() {
        let folder = tempfile::tempdir().unwrap();
        let mut queue = Queue::load(folder.path());
        for number in 0..MOST + 3 {
            queue.push(&notice(number)).unwrap();
        }
        assert_eq!(queue.tidy(Timestamp::now()), 3);
        assert!(queue.first().unwrap().text.contains("frozen 3"));
        let later = Timestamp::now().checked_add(OLDEST).unwrap();
        let later = later.checked_add(Duration::from_secs(9)).unwrap();
        assert_eq!(queue.tidy(later), MOST);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn without_room_on_the_disk_it_waits_in_memory() {
        let mut queue = Queue::load(Path::new("/proc/nowhere"));
        assert!(queue.push(&notice(1)).is_err());
        assert!(queue.first().is_some());
    }

    #[test]
    fn no_telephone_number_leaves_the_machine() {
        let evidence = Evidence::new("its log, 02:14", "no session for tel:+254712345678", "logs");
        let finding =
            Finding::error(Code::ServiceExited, "courier does not run").evidence(evidence);
        let notice = Notice::new(
            "ooy",
            Event::RepairFailed,
            &serde_json::to_value(finding).unwrap(),
            "0712345678 said nothing",
        );
        let text = serde_json::to_string(&notice).unwrap();
        assert!(!text.contains("712345678"), "{text}");
        assert!(text.contains("no session for tel:"), "{text}");
        assert!(text.contains("\"event\":\"repair-failed\""), "{text}");
    }
}
