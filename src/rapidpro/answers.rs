//! What an answer of RapidPro's API v2 means (stack.md section 5). Pure: no network, no clock.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::host::https::{Broken, Exchange};
use crate::host::text;

/// Longest piece of somebody else's words that is kept.
const WORDS: usize = 200;

/// Why a request did not bring what it was for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The request has certainly not reached RapidPro.
    NotSent(String),
    /// It may have reached it and may have worked: a timeout, a broken connection, a good status
    /// with an answer that is none.
    Lost(String),
    /// RapidPro, or what stands before it, failed; it may have worked all the same.
    ServerError(u16, String),
    /// Too many requests; how long to wait, where it was said.
    Throttled(Option<Duration>),
    /// No contact has this URN.
    NoSuchContact,
    /// The flow does not exist in this workspace.
    NoSuchFlow(String),
    /// Another contact has this URN already.
    UrnTaken(String),
    /// The token is not accepted.
    Unauthorized(String),
    /// The workspace is `flagged` or `suspended`.
    Blocked(String),
    /// Whatever answers there is not RapidPro's API, or sends us elsewhere.
    NotRapidPro(String),
    /// Refused for good: the same request will never succeed.
    Refused(String),
}

impl Trouble {
    /// The request may have been carried out although there is no good answer.
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, Trouble::Lost(_) | Trouble::ServerError(..))
    }

    /// In words, for people.
    pub fn words(&self) -> String {
        match self {
            Trouble::NotSent(words) | Trouble::Lost(words) => words.clone(),
            Trouble::ServerError(status, words) if words.is_empty() => format!("HTTP {status}"),
            Trouble::ServerError(status, words) => format!("HTTP {status}: {words}"),
            Trouble::Throttled(Some(wait)) => {
                format!("too many requests, to wait {} s", wait.as_secs())
            }
            Trouble::Throttled(None) => "too many requests".to_owned(),
            Trouble::NoSuchContact => "no such contact".to_owned(),
            Trouble::NoSuchFlow(words) => format!("the flow is not known: {words}"),
            Trouble::UrnTaken(words)
            | Trouble::Unauthorized(words)
            | Trouble::NotRapidPro(words)
            | Trouble::Refused(words) => words.clone(),
            Trouble::Blocked(state) => format!("the workspace is {state}"),
        }
    }
}

impl From<Broken> for Trouble {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::NotSent(words) => Trouble::NotSent(words),
            Broken::Lost(words) => Trouble::Lost(words),
        }
    }
}

/// A flow start that RapidPro knows.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Start {
    /// Its id.
    pub uuid: String,
    /// The flow it starts.
    pub flow: Option<Reference>,
    /// What was handed over.
    #[serde(default)]
    pub params: Value,
    /// The same under its older name.
    #[serde(default)]
    pub extra: Value,
    /// The list is ordered by this, newest first.
    pub modified_on: Option<Timestamp>,
}

impl Start {
    /// Whether this is the start of that flow for that call.
    pub fn is_of(&self, flow: &str, call_id: &str) -> bool {
        let names = |params: &Value| params.get("call_id").and_then(Value::as_str) == Some(call_id);
        let same_flow = self
            .flow
            .as_ref()
            .is_none_or(|found| found.uuid.eq_ignore_ascii_case(flow));
        same_flow && (names(&self.params) || names(&self.extra))
    }
}

/// An object named inside another.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Reference {
    /// Its id.
    pub uuid: String,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// Its items.
    pub items: Vec<T>,
    /// What asks for the following page, as it stands in an address.
    pub cursor: Option<String>,
    /// The server's clock.
    pub server_now: Option<Timestamp>,
}

#[derive(Deserialize)]
struct List<T> {
    next: Option<String>,
    results: Vec<T>,
}

#[derive(Deserialize)]
struct Identified {
    uuid: String,
}

/// The id of what was made, or asked for: the answer to a request that worked.
pub fn made(exchange: &Exchange) -> Result<String, Trouble> {
    good(exchange)?;
    match serde_json::from_slice::<Identified>(&exchange.body) {
        Ok(made) if !made.uuid.is_empty() => Ok(made.uuid),
        _ => Err(Trouble::Lost(format!(
            "HTTP {} with an answer that is not RapidPro's",
            exchange.status
        ))),
    }
}

/// A page of a list: the answer to a GET that worked.
pub fn page<T: for<'a> Deserialize<'a>>(exchange: &Exchange) -> Result<Page<T>, Trouble> {
    good(exchange)?;
    let list: List<T> = serde_json::from_slice(&exchange.body).map_err(|_| {
        Trouble::NotRapidPro(format!(
            "HTTP {} with an answer that is not RapidPro's",
            exchange.status
        ))
    })?;
    Ok(Page {
        items: list.results,
        cursor: list.next.as_deref().and_then(cursor),
        server_now: exchange.date.as_deref().and_then(date),
    })
}

/// Only the cursor is taken from the address of the next page: behind a proxy its scheme or host
/// may be wrong, and the token goes to the configured host only.
fn cursor(next: &str) -> Option<String> {
    let (_, query) = next.split_once('?')?;
    let value = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("cursor="))?;
    let plain = value
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"%-._~+=/".contains(&b));
    (plain && !value.is_empty()).then(|| value.to_owned())
}

/// `Sun, 22 Nov 2026 15:39:14 GMT`
fn date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(text)
        .ok()
}

/// A status of success, or what went wrong.
fn good(exchange: &Exchange) -> Result<(), Trouble> {
    let body: Option<Value> = serde_json::from_slice(&exchange.body)
        .ok()
        .filter(Value::is_object);
    let status = exchange.status;
    match status {
        200..=299 => Ok(()),
        300..=399 => Err(Trouble::NotRapidPro(match &exchange.location {
            Some(to) => format!(
                "HTTP {status}: the address has moved to {}",
                text::shorten(to, WORDS)
            ),
            None => format!("HTTP {status}: the address has moved"),
        })),
        401 | 403 => Err(match body.as_ref().and_then(|body| body.get("detail")) {
            Some(detail) => Trouble::Unauthorized(format!("HTTP {status}: {}", said(detail))),
            None => Trouble::NotRapidPro(format!(
                "HTTP {status} from something else than RapidPro's API"
            )),
        }),
        408 | 425 => Err(Trouble::ServerError(status, String::new())),
        429 => Err(Trouble::Throttled(
            exchange
                .retry_after
                .as_deref()
                .and_then(|text| text.trim().parse().ok())
                .map(Duration::from_secs),
        )),
        400 | 409 | 413 | 422 => Err(match body {
            Some(body) => refusal(status, &body),
            // Django's "Bad Request (400)" for a host name that it does not serve, nginx's for
            // plain HTTP on a TLS port: about the address, not about this call.
            None => Trouble::NotRapidPro(format!(
                "HTTP {status} from something else than RapidPro's API"
            )),
        }),
        500..=599 => Err(Trouble::ServerError(status, plain(exchange))),
        _ => Err(Trouble::NotRapidPro(format!(
            "HTTP {status}: there is no RapidPro API at this address"
        ))),
    }
}

/// What a 400 of the API says.
fn refusal(status: u16, body: &Value) -> Trouble {
    let all = said(body);
    if let Some(state) = blocked(&all) {
        return Trouble::Blocked(state.to_owned());
    }
    let field = |name: &str| body.get(name).map(said).filter(|words| !words.is_empty());
    if let Some(words) = field("flow") {
        return Trouble::NoSuchFlow(words);
    }
    if let Some(words) = field("contacts")
        && words.contains("No such object")
    {
        return Trouble::NoSuchContact;
    }
    if let Some(words) = field("urns")
        && words.contains("belongs to another contact")
    {
        return Trouble::UrnTaken(words);
    }
    Trouble::Refused(format!("HTTP {status}: {all}"))
}

/// `flagged` or `suspended`, from a sentence that differs between releases. 5.6 says "account".
fn blocked(words: &str) -> Option<&'static str> {
    ["flagged", "suspended"].into_iter().find(|state| {
        ["workspace", "account"]
            .iter()
            .any(|what| words.contains(&format!("{what} is currently {state}")))
    })
}

/// All texts inside a value, joined: `contacts: No such object: tel:+254712345678`.
fn said(value: &Value) -> String {
    fn collect(value: &Value, into: &mut Vec<String>) {
        match value {
            Value::String(text) => into.push(text.clone()),
            Value::Array(all) => all.iter().for_each(|item| collect(item, into)),
            Value::Object(all) => {
                for (name, item) in all {
                    let mut inner = Vec::new();
                    collect(item, &mut inner);
                    let inner = inner.join(" ");
                    into.push(match name.as_str() {
                        "detail" | "non_field_errors" => inner,
                        name => format!("{name}: {inner}"),
                    });
                }
            }
            other => into.push(other.to_string()),
        }
    }
    let mut words = Vec::new();
    collect(value, &mut words);
    text::shorten(words.join("; ").trim(), WORDS)
}

/// The body of a failure where it is a short plain text, not a page.
fn plain(exchange: &Exchange) -> String {
    let text = String::from_utf8_lossy(&exchange.body);
    let text = text.trim();
    if text.starts_with('<') || text.len() > 2000 {
        return String::new();
    }
    text::shorten(text, WORDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Exchange {
        Exchange {
            status,
            date: Some("Sun, 22 Nov 2026 15:39:14 GMT".to_owned()),
            retry_after: None,
            location: None,
            body: body.as_bytes().to_vec(),
        }
    }

    fn trouble(status: u16, body: &str) -> Trouble {
        made(&answer(status, body)).unwrap_err()
    }

    #[test]
    fn each_refusal_of_the_api_is_told_from_the_others() {
        assert_eq!(
            made(&answer(201, r#"{"id":1,"uuid":"abc","flow":{}}"#)),
            Ok("abc".to_owned())
        );
        assert_eq!(
            trouble(400, r#"{"contacts":["No such object: tel:+254712345678"]}"#),
            Trouble::NoSuchContact
        );
        assert_eq!(
            trouble(400, r#"{"flow":["No such object: X"]}"#),
            Trouble::NoSuchFlow("No such object: X".to_owned())
        );
        assert_eq!(
            trouble(
                400,
                r#"{"urns":["URN belongs to another contact: tel:+2547"]}"#
            ),
            Trouble::UrnTaken("URN belongs to another contact: tel:+2547".to_owned())
        );
        assert_eq!(
            trouble(400, r#"{"urns":{"0":["Invalid URN: tel:1."]}}"#),
            Trouble::Refused("HTTP 400: urns: 0: Invalid URN: tel:1.".to_owned())
        );
        assert_eq!(
            trouble(403, r#"{"detail":"Invalid token"}"#),
            Trouble::Unauthorized("HTTP 403: Invalid token".to_owned())
        );
    }

    #[test]
    fn a_blocked_workspace_is_recognised_in_the_words_of_every_release() {
        for (words, state) in [
            (
                "Sorry, your workspace is currently flagged. To enable sending messages, please contact support.",
                "flagged",
            ),
            (
                "Sorry, your workspace is currently flagged. To re-enable starting flows and sending messages, please contact support.",
                "flagged",
            ),
            (
                "Sorry, your workspace is currently suspended. To enable sending messages, please contact support.",
                "suspended",
            ),
            ("Sorry, your account is currently flagged.", "flagged"),
        ] {
            let body = serde_json::json!({ "non_field_errors": [words] }).to_string();
            assert_eq!(trouble(400, &body), Trouble::Blocked(state.to_owned()));
        }
    }

    #[test]
    fn answers_of_other_servers_are_not_taken_for_refusals_of_the_call() {
        for (status, body) in [
            (400, "<h1>Bad Request (400)</h1>"),
            (400, "The plain HTTP request was sent to HTTPS port"),
            (403, "<html>Forbidden</html>"),
            (404, "Not Found"),
            (405, r#"{"detail":"Method \"POST\" not allowed."}"#),
            (302, ""),
        ] {
            assert!(
                matches!(trouble(status, body), Trouble::NotRapidPro(_)),
                "{status} {body}"
            );
        }
        assert!(trouble(200, "<html>welcome</html>").is_ambiguous());
        assert!(trouble(201, r#"{"uuid":"#).is_ambiguous());
        assert!(trouble(502, "<html>").is_ambiguous());
        let list = page::<Start>(&answer(200, "<html>welcome</html>"));
        assert!(matches!(list, Err(Trouble::NotRapidPro(_))));
    }

    #[test]
    fn the_wait_of_a_throttled_request_is_read_where_it_is_given() {
        let mut throttled = answer(429, "{}");
        assert_eq!(made(&throttled), Err(Trouble::Throttled(None)));
        throttled.retry_after = Some("17".to_owned());
        assert_eq!(
            made(&throttled),
            Err(Trouble::Throttled(Some(Duration::from_secs(17))))
        );
        throttled.retry_after = Some("Sun, 22 Nov 2026 15:39:14 GMT".to_owned());
        assert_eq!(made(&throttled), Err(Trouble::Throttled(None)));
    }

    #[test]
    fn a_page_of_starts_is_searched_by_call_and_flow() {
        let body = r#"{"next":"http://other.example/api/v2/flow_starts.json?after=x&cursor=cD0yMDI%3D",
            "previous":null,"results":[
            {"uuid":"s1","flow":{"uuid":"F","name":"n"},"params":{"call_id":"c1"},"extra":null,
             "created_on":"2026-11-22T15:00:00.000000Z","modified_on":"2026-11-22T15:00:01.000000Z"},
            {"uuid":"s2","flow":{"uuid":"F","name":"n"},"extra":{"call_id":"c2"},"modified_on":null}]}"#;
        let page: Page<Start> = page(&answer(200, body)).unwrap();
        assert_eq!(page.cursor.as_deref(), Some("cD0yMDI%3D"));
        assert_eq!(page.server_now.unwrap().to_string(), "2026-11-22T15:39:14Z");
        assert!(page.items[0].is_of("f", "c1"));
        assert!(!page.items[0].is_of("other", "c1"));
        assert!(!page.items[0].is_of("f", "c2"));
        assert!(page.items[1].is_of("f", "c2"));
    }

    #[test]
    fn hostile_words_are_made_fit_to_be_shown() {
        let words = trouble(400, "{\"name\":[\"a\\u001b[31m\"]}").words();
        assert!(!words.contains('\u{1b}'), "{words}");
        let long = serde_json::json!({ "detail": "x".repeat(100_000) }).to_string();
        assert!(trouble(400, &long).words().chars().count() < 300);
    }
}
