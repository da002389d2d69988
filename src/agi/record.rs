//! One finished call, as it lies on disk: what Asterisk said, and what became of it.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::number;
use super::time::CallTime;
use crate::host::clock;
use crate::host::text::hex;

/// Version of the format. A record of another one is not guessed at.
pub const SCHEMA: u32 = 1;

/// Longest text that is kept of anything Asterisk said: a caller chooses his own caller id.
pub const LONGEST: usize = 256;

/// A moment by all clocks there are: the wall's may jump, the machine's begins anew at each boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// The wall's clock.
    pub at: Timestamp,
    /// Which start of the machine.
    pub boot: String,
    /// Milliseconds since then.
    pub mono_ms: u64,
}

impl Moment {
    /// This moment.
    pub fn now() -> Self {
        Self {
            at: clock::now(),
            boot: clock::boot_id(),
            mono_ms: clock::since_boot_ms(),
        }
    }

    /// How long ago it was: by the machine's clock where it was this boot, else by the wall's.
    pub fn age(&self) -> std::time::Duration {
        let ms = if !self.boot.is_empty() && self.boot == clock::boot_id() {
            clock::since_boot_ms().saturating_sub(self.mono_ms)
        } else {
            u64::try_from(clock::now().as_millisecond() - self.at.as_millisecond())
                .unwrap_or_default()
        };
        std::time::Duration::from_millis(ms)
    }
}

/// Names a call, everywhere: its file, its line in lists, `call_id` towards RapidPro. Only
/// letters, digits, `.`, `_` and `-`, not beginning with a dot, so that it is a safe file name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id(String);

impl Id {
    /// The id of that text, if it can be one.
    pub fn new(text: &str) -> Option<Self> {
        let fits = (1..=100).contains(&text.len())
            && !text.starts_with('.')
            && text.bytes().all(is_id_byte);
        fits.then(|| Self(text.to_owned()))
    }

    /// The same call handed in twice has the same id; without Asterisk's own id each is a call of
    /// its own.
    fn of(call: &Call, number: Option<&str>) -> Self {
        let unique: String = call
            .uniqueid
            .as_deref()
            .unwrap_or_default()
            .bytes()
            .filter(|byte| is_id_byte(*byte))
            .map(char::from)
            .skip_while(|c| *c == '.')
            .take(64)
            .collect();
        if unique.is_empty() {
            return Self(random());
        }
        let mut hasher = Sha256::new();
        for part in [
            number.unwrap_or(&call.msisdn),
            &call.start,
            &call.end,
            &call.direction,
        ] {
            hasher.update(part.as_bytes());
            hasher.update([0]);
        }
        Self(format!("{unique}-{}", hex(&hasher.finalize()[..4])))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Id {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text).ok_or("no id of a call")
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.0
    }
}

fn is_id_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
}

/// 128 random bits. Where the kernel gives none, which no kernel of these years does, clocks and
/// the process stand in.
fn random() -> String {
    use std::io::Read as _;
    let mut bytes = [0u8; 16];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    if read.is_err() {
        let seed = format!(
            "{:?} {} {:?}",
            Timestamp::now(),
            std::process::id(),
            Moment::now()
        );
        bytes.copy_from_slice(&Sha256::digest(seed)[..16]);
    }
    hex(&bytes)
}

/// What is known of a call before it is a record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Call {
    /// The other side's number as it came, quotes removed.
    pub msisdn: String,
    /// When it began, as it came.
    pub start: String,
    /// When it ended, as it came.
    pub end: String,
    /// `inbound`, `outbound`, or what came.
    pub direction: String,
    /// Asterisk's id of the channel.
    pub uniqueid: Option<String>,
    /// Asterisk's id of the whole call, when it had several channels.
    pub linkedid: Option<String>,
    /// Asterisk's name of the channel.
    pub channel: Option<String>,
    /// What was not understood, and what was taken instead.
    pub notes: Vec<String>,
}

/// One finished call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Its name.
    pub id: Id,
    /// See [`Call`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uniqueid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linkedid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// The other side's number as it came.
    pub msisdn: String,
    /// The number RapidPro knows, or null when the call is skipped.
    pub number: Option<String>,
    /// See [`Call`].
    pub start: String,
    pub end: String,
    pub direction: String,
    /// When `ooy` took it over: see [`Moment`].
    pub accepted_at: Timestamp,
    pub boot: String,
    pub mono_ms: u64,
    /// See [`Call`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Why RapidPro is not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip_reason: Option<String>,

    /// How often its delivery was begun.
    #[serde(default)]
    pub attempts: u32,
    /// The first of them: nothing of this call can be found at RapidPro from before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_attempt: Option<Moment>,
    /// The latest of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_attempt: Option<Moment>,
    /// Why the latest did not succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// When RapidPro had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    /// RapidPro's id of the flow start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_uuid: Option<String>,
    /// RapidPro's id of the contact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// Why it will never be tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_reason: Option<String>,
}

/// The times of a call as RapidPro gets them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Times {
    pub start: String,
    pub end: String,
}

impl Record {
    /// The record of a call that ended now.
    pub fn new(mut call: Call, country_code: &str, now: Moment) -> Self {
        let whole = call.msisdn.len();
        for text in [
            &mut call.msisdn,
            &mut call.start,
            &mut call.end,
            &mut call.direction,
        ] {
            cut(text);
        }
        for text in [&mut call.uniqueid, &mut call.linkedid, &mut call.channel]
            .into_iter()
            .flatten()
        {
            cut(text);
        }
        if whole > LONGEST {
            call.notes.push(format!(
                "the caller id is {whole} bytes long; {LONGEST} are kept"
            ));
        }
        let end_known = CallTime::parse(&call.end).is_some();
        if !end_known {
            call.notes.push(format!(
                "the end of the call {}; the time it was handed in is used",
                wrong(&call.end)
            ));
        }
        if CallTime::parse(&call.start).is_none() {
            call.notes.push(format!(
                "the start of the call {}; its end is used",
                wrong(&call.start)
            ));
        }
        let (number, skip_reason) = match number::normalise(&call.msisdn, country_code) {
            Ok(number) => (Some(number), None),
            Err(skip) => (None, Some(skip.to_string())),
        };
        Self {
            schema: SCHEMA,
            id: Id::of(&call, number.as_deref()),
            uniqueid: call.uniqueid,
            linkedid: call.linkedid,
            channel: call.channel,
            msisdn: call.msisdn,
            number,
            start: call.start,
            end: call.end,
            direction: call.direction,
            accepted_at: now.at,
            boot: now.boot,
            mono_ms: now.mono_ms,
            notes: call.notes,
            skip_reason,
            attempts: 0,
            first_attempt: None,
            last_attempt: None,
            last_error: None,
            sent_at: None,
            start_uuid: None,
            contact: None,
            dead_reason: None,
        }
    }

    /// Whether RapidPro is not told of it.
    pub fn is_skipped(&self) -> bool {
        self.number.is_none()
    }

    /// When it was taken over.
    pub fn accepted(&self) -> Moment {
        Moment {
            at: self.accepted_at,
            boot: self.boot.clone(),
            mono_ms: self.mono_ms,
        }
    }

    /// Start and end with the zone's offset. Where one is missing or was not understood, the next
    /// best that is known stands for it; the record's notes say so.
    pub fn times(&self, zone: &TimeZone) -> Times {
        let end = CallTime::parse(&self.end).unwrap_or(CallTime::Exact(self.accepted_at));
        let start = CallTime::parse(&self.start).unwrap_or(end);
        Times {
            start: start.in_zone(zone),
            end: end.in_zone(zone),
        }
    }

    /// One line of JSON.
    pub fn to_json(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Reads one record, or says in a few words what is wrong with it.
    pub fn from_json(bytes: &[u8]) -> Result<Self, String> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err("is empty".to_owned());
        }
        // The version first: a newer format may look quite different.
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let broken = |error: serde_json::Error| match error.classify() {
            serde_json::error::Category::Eof => "ends in the middle".to_owned(),
            _ => format!("is no record of a call: {error}"),
        };
        let Version { schema } = serde_json::from_slice(bytes).map_err(broken)?;
        if schema != SCHEMA {
            return Err(format!("is of version {schema}; this ooy knows {SCHEMA}"));
        }
        let record: Self = serde_json::from_slice(bytes).map_err(broken)?;
        let number_fits = record.number.as_deref().is_none_or(|number| {
            number.strip_prefix('+').is_some_and(|digits| {
                (8..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
            })
        });
        if number_fits {
            Ok(record)
        } else {
            Err("holds a number that is none".to_owned())
        }
    }
}

fn wrong(text: &str) -> String {
    if text.is_empty() {
        "is missing".to_owned()
    } else {
        format!("is no time that ooy knows ({text:.40})")
    }
}

/// Cuts a text to [`LONGEST`], between two characters.
fn cut(text: &mut String) {
    if text.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or_default());
    }
}

#[cfg(test)]
pub mod tests;
