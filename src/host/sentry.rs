//! One report to Sentry: one envelope in one POST, without Sentry's own library, which is larger
//! than all the rest of what a PBX needs.

use std::time::Duration;

use serde_json::json;

use crate::host::https::{Request, Transport};
use crate::host::text;

/// A report that takes longer is given up: it is not what we are here for.
const LIMIT: Duration = Duration::from_secs(5);

/// Where reports go: `https://KEY@HOST/PROJECT`. Its key is a secret.
pub struct Dsn {
    address: String,
    key: String,
}

impl Dsn {
    /// Reads a DSN, or says what is wrong with it, without repeating it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const FORM: &str = "is no DSN: https://KEY@HOST/PROJECT";
        let (scheme, rest) = text.trim().split_once("://").ok_or(FORM)?;
        let (user, rest) = rest.split_once('@').ok_or(FORM)?;
        let (place, project) = rest.trim_end_matches('/').rsplit_once('/').ok_or(FORM)?;
        // Old ones have a password, which is not needed any more.
        let key = user.split(':').next().unwrap_or_default();
        let fits = matches!(scheme, "http" | "https")
            && !key.is_empty()
            && key.bytes().all(|b| b.is_ascii_alphanumeric())
            && !project.is_empty()
            && project.bytes().all(|b| b.is_ascii_alphanumeric())
            && !place.is_empty();
        if !fits {
            return Err(FORM);
        }
        // A path before the project belongs to the address: Sentry behind a proxy.
        let (host, path) = place.split_once('/').unwrap_or((place, ""));
        let path = if path.is_empty() {
            String::new()
        } else {
            format!("/{path}")
        };
        Ok(Self {
            address: format!("{scheme}://{host}{path}/api/{project}/envelope/"),
            key: key.to_owned(),
        })
    }
}

impl std::fmt::Debug for Dsn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Dsn({})", self.address)
    }
}

/// How bad something is, in Sentry's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Good to know.
    Info,
    /// Something will not work for long.
    Warning,
    /// Something does not work.
    Error,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Level::Info => "info",
            Level::Warning => "warning",
            Level::Error => "error",
        }
    }
}

/// Something to report. Holds no secret and no telephone number: it leaves the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The headline.
    pub message: String,
    /// The part of `ooy` that reports: `ooy.calls`.
    pub logger: &'static str,
    /// How bad it is.
    pub level: Level,
    /// 32 hexadecimal digits: of two with the same ones Sentry keeps one. None: some that no other
    /// has.
    pub id: Option<String>,
    /// Reports with the same one are one issue at Sentry.
    pub fingerprint: String,
    /// Names and values shown beside it.
    pub tags: Vec<(&'static str, String)>,
}

/// Sends it; a short text where that failed.
pub fn send(dsn: &Dsn, report: &Report) -> Result<(), String> {
    let roots = ureq::tls::RootCerts::WebPki;
    let transport = Transport::new(roots);
    let id = report.id.clone().unwrap_or_else(id);
    let body = envelope(report, &id, jiff::Timestamp::now());
    let auth = format!(
        "Sentry sentry_version=7, sentry_client=ooy/{}, sentry_key={}",
        env!("CARGO_PKG_VERSION"),
        dsn.key
    );
    let answer = transport.exchange(&Request {
        url: &dsn.address,
        authorization: None,
        headers: &[
            ("Content-Type", "application/x-sentry-envelope"),
            ("X-Sentry-Auth", &auth),
        ],
        body: Some(body.as_bytes()),
        limit: LIMIT,
    });
    match answer {
        Ok(answer) if (200..300).contains(&answer.status) => Ok(()),
        Ok(answer) => Err(format!("Sentry answered HTTP {}", answer.status)),
        Err(broken) => {
            use crate::host::https::Broken::{Lost, NotSent};
            let (NotSent(words) | Lost(words)) = broken;
            Err(words)
        }
    }
}

/// Three lines: the envelope, the item's head, the event.
fn envelope(report: &Report, id: &str, at: jiff::Timestamp) -> String {
    let tags: serde_json::Map<String, serde_json::Value> = report
        .tags
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone().into()))
        .collect();
    let event = json!({
        "event_id": id,
        "timestamp": at.to_string(),
        "platform": "other",
        "level": report.level.word(),
        "logger": report.logger,
        "release": concat!("ooy@", env!("CARGO_PKG_VERSION")),
        "message": { "formatted": report.message },
        "fingerprint": [report.fingerprint],
        "tags": tags,
    })
    .to_string();
    let head = json!({ "event_id": id, "sent_at": at.to_string() });
    let item = json!({ "type": "event", "length": event.len() });
    format!("{head}\n{item}\n{event}\n")
}

/// 32 hexadecimal digits that no other event has.
fn id() -> String {
    use sha2::{Digest as _, Sha256};
    let seed = format!("{:?} {}", jiff::Timestamp::now(), std::process::id());
    text::hex(&Sha256::digest(seed.as_bytes())[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dsn_is_taken_apart_and_its_key_not_shown() {
        let dsn = Dsn::parse("https://abc123:old@sentry.example.org/proxy/42").unwrap();
        assert_eq!(
            dsn.address,
            "https://sentry.example.org/proxy/api/42/envelope/"
        );
        assert_eq!(dsn.key, "abc123");
        assert!(!format!("{dsn:?}").contains("abc123"));
        let dsn = Dsn::parse("http://k@127.0.0.1:9000/1").unwrap();
        assert_eq!(dsn.address, "http://127.0.0.1:9000/api/1/envelope/");
        for wrong in [
            "",
            "abc",
            "https://sentry.example.org/1",
            "https://k@h",
            "ftp://k@h/1",
            "https://k\r\nX@h/1",
        ] {
            assert!(Dsn::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_envelope_says_how_long_its_event_is() {
        let report = Report {
            message: "calls are not delivered: the token is refused".to_owned(),
            logger: "ooy.calls",
            level: Level::Warning,
            id: None,
            fingerprint: "calls-token".to_owned(),
            tags: vec![("waiting", "3".to_owned())],
        };
        let text = envelope(&report, "0123", jiff::Timestamp::UNIX_EPOCH);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        let item: serde_json::Value = serde_json::from_str(lines[1]).unwrap();
        assert_eq!(item["length"], lines[2].len());
        let event: serde_json::Value = serde_json::from_str(lines[2]).unwrap();
        assert_eq!(event["tags"]["waiting"], "3");
        assert_eq!(event["event_id"], "0123");
        assert_eq!(event["logger"], "ooy.calls");
        assert_eq!(event["level"], "warning");
    }
}
