//! `ooy bundle`: what somebody who helps has to see, in one archive. It is made exactly when things
//! are broken: each part has a deadline of its own, and one that cannot be had is left out and
//! named. Changes nothing but the key of its tokens (`redact`).

pub mod archive;
mod docker;
mod logs;
mod own;
mod redact;
mod setting;
mod system;

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::deployment::places::Places;
use crate::diagnosis::Diagnosis;
use crate::host::apart::apart;
use crate::host::text;
use crate::operation::{Kind, Reporter};
use redact::Redactor;
use setting::Setting;

/// What is wanted.
pub struct Wanted<'a> {
    /// Where the deployment lies.
    pub places: &'a Places,
    /// Last lines of each service's log.
    pub lines: u64,
    /// Whom to tell what is there.
    pub reporter: &'a Reporter,
    /// A diagnosis as an operator reads it.
    pub in_words: &'a dyn Fn(&Diagnosis) -> String,
}

/// A part that is not in the bundle, wholly or partly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// What.
    pub part: String,
    /// Why, in words.
    pub why: String,
}

/// What was collected, secrets taken out.
pub struct Bundle {
    /// Name and content of each file, manifest.json first.
    pub files: Vec<(String, Vec<u8>)>,
    /// What is not among them.
    pub left_out: Vec<LeftOut>,
}

/// What never is in a bundle, whoever asks.
const NEVER: &[&str] = &[
    "values of secrets, the settings file itself, private keys",
    "environment variables of containers: only their names",
    "finished calls: only how many there are",
    "contents of databases",
];

/// What stands in the place of what was taken out.
const REPLACED: &[&str] = &[
    "secrets: ‹NAME_OF_THE_SETTING:digest›, or ‹secret:digest› where no setting has them",
    "telephone numbers and contacts' other addresses: ‹tel:digest›, ‹urn:digest›",
    "e-mail addresses: ‹mail:digest›",
    "messages, and requests that hold them, where services are known to log them: ‹text-removed›",
    "the digest of one value is the same in all bundles of this host, and comes of a key that stays there",
    "names of people and places in free text cannot be recognised: look before you send it",
];

/// One part: files, what the manifest says of it, and what could not be had of it.
#[derive(Default)]
struct Part {
    files: Vec<(String, String)>,
    facts: Vec<(&'static str, Value)>,
    left_out: Vec<LeftOut>,
    /// In a few words, for whoever watches.
    note: String,
}

impl Part {
    fn file(mut self, name: impl Into<String>, content: impl Into<String>) -> Self {
        self.files.push((name.into(), content.into()));
        self
    }

    fn json(self, redactor: &Redactor, name: &str, value: impl Serialize) -> Self {
        let value = serde_json::to_value(value).unwrap_or_default();
        let text = serde_json::to_string_pretty(&redactor.json(value)).unwrap_or_default();
        self.file(name, text + "\n")
    }

    fn without(mut self, part: impl Into<String>, why: impl Into<String>) -> Self {
        self.left_out.push(LeftOut {
            part: part.into(),
            why: why.into(),
        });
        self
    }

    fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }
}

/// A part under way; the error says why there is none.
type Making<'a> = Pin<Box<dyn Future<Output = Result<Part, String>> + 'a>>;

/// Collects all there is. Ends in any case: after the longest deadline of a part at the latest.
pub async fn collect(wanted: &Wanted<'_>) -> Bundle {
    let began = Instant::now();
    let at = Timestamp::now();
    let setting = Setting::find(wanted.places).await;
    let setting = &setting;
    let seconds = Duration::from_secs;
    let diagnosis = setting.diagnosis_deadline() + seconds(5);
    let parts: Vec<(&'static str, Duration, Making<'_>)> = vec![
        ("host", seconds(5), Box::pin(system::host(setting))),
        ("versions", seconds(10), Box::pin(system::versions(setting))),
        (
            "diagnosis",
            diagnosis,
            Box::pin(own::diagnosis(setting, wanted.in_words)),
        ),
        ("status", seconds(10), Box::pin(own::status(setting))),
        ("settings", seconds(5), Box::pin(own::settings(setting))),
        ("files", seconds(15), Box::pin(own::rendered(setting))),
        ("history", seconds(5), Box::pin(own::history(setting))),
        ("calls", seconds(5), Box::pin(own::calls(setting))),
        ("docker", seconds(15), Box::pin(docker::inventory(setting))),
        ("events", seconds(5), Box::pin(docker::events(setting))),
        (
            "logs",
            seconds(20),
            Box::pin(logs::logs(setting, wanted.lines)),
        ),
    ];
    let redactor = &setting.redactor;
    let mut bundle = Bundle {
        files: Vec::new(),
        left_out: setting.left_out.clone(),
    };
    let mut facts = serde_json::Map::new();
    let told = RefCell::new(Vec::new());
    let mut making: FuturesUnordered<_> = parts
        .into_iter()
        .map(|(name, deadline, making)| {
            told.borrow_mut().push(name);
            async move {
                let began = Instant::now();
                let made = tokio::time::timeout(deadline, making).await;
                let made = made.unwrap_or_else(|_| {
                    Err(format!("it was not there after {} s", deadline.as_secs()))
                });
                (name, made, began.elapsed())
            }
        })
        .collect();
    while let Some((name, made, took)) = making.next().await {
        match made {
            Ok(part) => {
                let reporter = wanted.reporter;
                reporter.tell(name, Kind::Done, Some(took), redactor.text(&part.note));
                let files = part.files.into_iter();
                bundle
                    .files
                    .extend(files.map(|(name, content)| (file_name(&name), content.into_bytes())));
                bundle.left_out.extend(part.left_out);
                for (name, value) in part.facts {
                    facts.insert(name.to_owned(), redactor.json(value));
                }
            }
            Err(why) => {
                let why = redactor.text(&why);
                let detail = format!("left out: {why}");
                wanted.reporter.tell(name, Kind::Skipped, None, detail);
                bundle.left_out.push(LeftOut {
                    part: name.to_owned(),
                    why,
                });
            }
        }
    }
    drop(making);
    for left_out in &mut bundle.left_out {
        left_out.why = redactor.text(&left_out.why);
    }
    bundle.files.sort();
    let manifest = manifest(&bundle, facts, at, began.elapsed());
    bundle
        .files
        .insert(0, ("manifest.json".to_owned(), manifest));
    bundle
}

fn manifest(
    bundle: &Bundle,
    facts: serde_json::Map<String, Value>,
    at: Timestamp,
    took: Duration,
) -> Vec<u8> {
    let inside: Vec<Value> = bundle
        .files
        .iter()
        .map(|(name, content)| json!({ "file": name, "bytes": content.len() }))
        .collect();
    let mut manifest = json!({
        "schema": 1,
        "made_at": at,
        "took_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        "ooy": env!("CARGO_PKG_VERSION"),
    });
    if let Some(fields) = manifest.as_object_mut() {
        fields.extend(facts);
        fields.insert("inside".to_owned(), inside.into());
        fields.insert("left_out".to_owned(), json!(bundle.left_out));
        fields.insert("never_inside".to_owned(), json!(NEVER));
        fields.insert("replaced".to_owned(), json!(REPLACED));
    }
    let text = serde_json::to_string_pretty(&manifest).unwrap_or_default();
    (text + "\n").into_bytes()
}

/// A name that means the same on every system; names of services come from elsewhere.
fn file_name(name: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/');
    let name: String = name
        .chars()
        .map(|c| if safe(c) { c } else { '_' })
        .collect();
    name.split('/')
        .filter(|part| !part.trim_matches('.').is_empty())
        .collect::<Vec<_>>()
        .join("/")
}

/// `ooy-bundle-HOST-TIME`: the name of the archive, and of the folder in it.
pub fn name(now: Timestamp) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = file_name(host.trim()).replace('/', "-");
    let host = if host.is_empty() {
        "host"
    } else {
        host.as_str()
    };
    format!(
        "ooy-bundle-{}-{}",
        text::shorten(host, 40).replace('…', ""),
        now.strftime("%Y%m%dT%H%M%SZ")
    )
}

/// Work that may block its thread, as of the checks: a disk that hangs holds up nothing else.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let done = apart("bundle", work).await;
    done.map_err(|why| why.to_string())
}

/// The deployment, shared by all parts.
type Context = Rc<crate::lifecycle::Context>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_lead_nowhere_else() {
        assert_eq!(
            file_name("logs/../../etc/pass wd.log"),
            "logs/etc/pass_wd.log"
        );
        assert_eq!(file_name("/a//b"), "a/b");
        assert!(name(Timestamp::UNIX_EPOCH).ends_with("-19700101T000000Z"));
    }
}
