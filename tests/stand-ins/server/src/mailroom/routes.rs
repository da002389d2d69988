//! The web server: which path is answered by whom, and who needs the token.

use std::time::Instant;

use serde_json::{Value, json};

use super::{Mailroom, contacts, flows, modifiers, public, search, validate};
use crate::clock;
use crate::go::log;
use crate::http::{self, Request, Response};
use crate::random;
use crate::version;

/// Why a handler gives no result.
#[derive(Debug)]
pub enum Trouble {
    /// An answer like any other, with this status.
    Refused(u16, Value),
    /// An error of the server: logged, and answered with 500.
    Failed(String),
}

impl Trouble {
    pub fn refused(status: u16, message: impl Into<String>) -> Self {
        Self::Refused(status, json!({"error": message.into()}))
    }

    pub fn invalid(problem: &str) -> Self {
        Self::refused(400, format!("request failed validation: {problem}"))
    }
}

pub type Answer = Result<Value, Trouble>;

/// Takes the validated body.
type Guarded = fn(&Mailroom, &Value) -> Answer;

enum Handler {
    /// Needs `Authorization: Token …` when a token is set, and a body with these fields.
    Guarded(&'static [&'static str], Guarded),
    /// Answers for itself. The strings are what the pattern's placeholders took.
    Open(fn(&Mailroom, &Request, &str) -> Response),
}

use Handler::{Guarded as G, Open};

const ORG: &[&str] = &["org_id"];

/// `{uuid}` takes a UUID, `{id}` hexadecimal digits and dashes, `*` the rest.
const ROUTES: &[(&str, &str, Handler)] = &[
    ("GET", "/", Open(index)),
    ("GET", "/mr/", Open(index)),
    ("POST", "/mr/contact/search", G(&["org_id", "group_uuid"], search::search)),
    ("POST", "/mr/contact/parse_query", G(&["org_id", "query"], search::parse_query)),
    ("POST", "/mr/contact/create", G(&["org_id", "contact"], contacts::create)),
    ("POST", "/mr/contact/modify", G(&["org_id", "contact_ids", "modifiers"], modifiers::modify)),
    ("POST", "/mr/contact/resolve", G(&["org_id", "channel_id", "urn"], contacts::resolve)),
    ("POST", "/mr/flow/migrate", G(&["flow"], flows::migrate)),
    ("POST", "/mr/flow/inspect", G(&["flow"], flows::inspect)),
    ("POST", "/mr/flow/clone", G(&["flow"], flows::clone)),
    ("POST", "/mr/flow/change_language", G(&["language", "flow"], flows::change_language)),
    ("POST", "/mr/expression/migrate", G(&["expression"], flows::migrate_expression)),
    ("POST", "/mr/msg/resend", G(&["org_id", "msg_ids"], flows::resend)),
    ("POST", "/mr/sim/start", G(ORG, flows::no_engine)),
    ("POST", "/mr/sim/resume", G(ORG, flows::no_engine)),
    ("POST", "/mr/ticket/assign", G(&["org_id", "user_id"], flows::tickets)),
    ("POST", "/mr/ticket/close", G(&["org_id", "user_id"], flows::tickets)),
    ("POST", "/mr/ticket/note", G(&["org_id", "user_id"], flows::tickets)),
    ("POST", "/mr/ticket/reopen", G(&["org_id", "user_id"], flows::tickets)),
    ("POST", "/mr/po/export", Open(public::export_po)),
    ("POST", "/mr/po/import", Open(public::import_po)),
    ("POST", "/mr/ivr/c/{uuid}/handle", Open(public::ivr_handle)),
    ("POST", "/mr/ivr/c/{uuid}/status", Open(public::ivr_channel)),
    ("POST", "/mr/ivr/c/{uuid}/incoming", Open(public::ivr_channel)),
    ("POST", "/mr/tickets/types/mailgun/receive", Open(public::mailgun)),
    ("POST", "/mr/tickets/types/zendesk/channelback", Open(public::zendesk_channelback)),
    ("POST", "/mr/tickets/types/zendesk/event_callback", Open(public::zendesk_events)),
    ("POST", "/mr/tickets/types/zendesk/target/{id}", Open(public::no_ticketer)),
    ("POST", "/mr/tickets/types/rocketchat/event_callback/{id}", Open(public::no_ticketer)),
    ("POST", "/mr/surveyor/submit", Open(public::surveyor)),
    ("GET", "/mr/org/{id}/metrics", Open(public::metrics)),
    ("GET", "/mr/docs", Open(public::docs_redirect)),
    ("GET", "/mr/docs/*", Open(public::docs)),
];

pub fn answer(mailroom: &Mailroom, request: &Request) -> Response {
    let started = Instant::now();
    let steer = mailroom.steering.now();
    let response = if mailroom.steering.is_unhealthy(&steer) {
        json_answer(500, &json!({"error": "driver: bad connection"}))
    } else {
        dispatch(mailroom, request)
    };
    if request.target != "/" {
        log::with("method", &request.method)
            .with("status", response.status)
            .with("elapsed", clock::go_duration(started.elapsed()))
            .with("length", response.body.len())
            .with("url", format!("http://{}{}", request.header("host"), request.target))
            .with("user_agent", request.header("user-agent"))
            .info("request completed");
    }
    response
}

fn dispatch(mailroom: &Mailroom, request: &Request) -> Response {
    let mut known_path = false;
    for (method, pattern, handler) in ROUTES {
        let Some(taken) = take(pattern, request.path()) else { continue };
        known_path = true;
        if *method != request.method {
            continue;
        }
        return match handler {
            Open(handler) => handler(mailroom, request, taken),
            G(required, handler) => finish(guarded(mailroom, request, required, *handler)),
        };
    }
    if known_path {
        let message = format!("illegal method: {}", request.method);
        json_answer(405, &json!({"error": message}))
    } else {
        let message = format!("not found: {}", request.target);
        json_answer(404, &json!({"error": message}))
    }
}

fn guarded(mailroom: &Mailroom, request: &Request, required: &[&str], handler: Guarded) -> Answer {
    let token = mailroom.values.text("auth_token");
    // Without a token in the settings everyone may.
    if !token.is_empty() && request.header("authorization") != format!("Token {token}") {
        return Err(Trouble::refused(401, "invalid or missing authorization header, denying"));
    }
    let body = validate::body(request, required).map_err(|p| Trouble::invalid(&p))?;
    handler(mailroom, &body)
}

/// Turn a handler's result into a response.
pub fn finish(answer: Answer) -> Response {
    match answer {
        Ok(value) => json_answer(200, &value),
        Err(Trouble::Refused(status, value)) => json_answer(status, &value),
        Err(Trouble::Failed(problem)) => {
            log::with("error", &problem).error("error handling request");
            json_answer(500, &json!({"error": problem}))
        }
    }
}

pub fn json_answer(status: u16, value: &Value) -> Response {
    Response::new(status, "application/json", http::pretty(value, "    ", ": "))
}

fn index(_: &Mailroom, request: &Request, _: &str) -> Response {
    json_answer(
        200,
        &json!({"component": "mailroom", "url": request.target, "version": version::text()}),
    )
}

/// What the placeholder of a pattern takes from a path; nothing where it has none.
fn take<'a>(pattern: &str, path: &'a str) -> Option<&'a str> {
    let Some(at) = pattern.find(['{', '*']) else {
        return (pattern == path).then_some("");
    };
    let rest = path.strip_prefix(&pattern[..at])?;
    let Some(end) = pattern.find('}') else { return Some(rest) };
    let taken = rest.strip_suffix(&pattern[end + 1..])?;
    let fits = match &pattern[at + 1..end] {
        "uuid" => random::is_uuid(taken),
        _ => {
            !taken.is_empty()
                && taken
                    .bytes()
                    .all(|b| b == b'-' || b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        }
    };
    fits.then_some(taken)
}

/// The workspace has to exist before anything else is looked at.
pub fn require_org(mailroom: &Mailroom, body: &Value) -> Result<i64, Trouble> {
    let org_id = body["org_id"].as_i64().unwrap_or_default();
    let loading = format!("unable to load org assets: error loading environment for org {org_id}");
    let rows = mailroom
        .database
        .query(&format!("SELECT id FROM orgs_org WHERE id = {org_id}"))
        .map_err(|e| Trouble::Failed(format!("{loading}: error loading org: {org_id}: {e}")))?;
    if rows.is_empty() {
        return Err(Trouble::Failed(format!("{loading}: no org with id: {org_id}")));
    }
    Ok(org_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_take_what_fits() {
        let uuid = "6e1a0a3b-0000-4000-8000-000000000000";
        let path = format!("/mr/ivr/c/{uuid}/status");
        assert_eq!(take("/mr/ivr/c/{uuid}/status", &path), Some(uuid));
        assert_eq!(take("/mr/ivr/c/{uuid}/handle", &path), None);
        assert_eq!(take("/mr/ivr/c/{uuid}/status", "/mr/ivr/c/1/status"), None);
        assert_eq!(take("/mr/org/{id}/metrics", "/mr/org/ab-1/metrics"), Some("ab-1"));
        assert_eq!(take("/mr/docs/*", "/mr/docs/a/b.html"), Some("a/b.html"));
        assert_eq!(take("/mr/", "/mr"), None);
        assert_eq!(take("/mr/", "/mr/"), Some(""));
    }

    #[test]
    fn every_guarded_path_is_under_a_guarded_folder() {
        for (_, pattern, handler) in ROUTES {
            let guarded = ["contact", "flow", "expression", "msg", "sim", "ticket"]
                .iter()
                .any(|folder| pattern.starts_with(&format!("/mr/{folder}/")));
            assert_eq!(guarded, matches!(handler, G(..)), "{pattern}");
        }
    }
}
