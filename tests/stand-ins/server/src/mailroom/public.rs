//! The paths that are open to the world: callbacks of telephony and ticket services,
//! submissions, metrics, the documentation, and the two of gettext that should not be open.

use serde_json::json;

use super::Mailroom;
use super::routes::{Trouble, finish, json_answer, require_org};
use super::validate;
use crate::go::log;
use crate::http::{Request, Response};
use crate::pg::literal;

/// Compact, as what is not a JSON route writes its errors.
fn plain_error(status: u16, problem: &str) -> Response {
    if status == 500 {
        log::with("error", problem).error("error handling request");
    }
    Response::json(status, &json!({"error": problem}))
}

pub fn ivr_handle(mailroom: &Mailroom, request: &Request, _: &str) -> Response {
    let fields = [("connection", "ConnectionID"), ("action", "Action")];
    let form = match validate::form(request, "IVRRequest", &fields) {
        Ok(form) => form,
        Err(problem) => return plain_error(500, &format!("request failed validation: {problem}")),
    };
    let id = form.iter().find(|(key, _)| key == "connection").map_or("", |(_, value)| value);
    let unknown = |problem: &str| {
        plain_error(500, &format!("unable to load channel connection with id: {id}: {problem}"))
    };
    if id.parse::<i64>().is_err() {
        return plain_error(
            500,
            "request failed validation: schema: error converting value for \"connection\"",
        );
    }
    let sql = format!("SELECT id FROM channels_channelconnection WHERE id = {id}");
    match mailroom.database.query(&sql) {
        Ok(rows) if rows.is_empty() => unknown("sql: no rows in result set"),
        Ok(_) => unknown("the stand-in has no flow engine"),
        Err(problem) => unknown(&problem.to_string()),
    }
}

/// `status` and `incoming` both begin with the channel, and no channel of the stand-ins
/// takes calls.
pub fn ivr_channel(mailroom: &Mailroom, _: &Request, uuid: &str) -> Response {
    let sql = format!(
        "SELECT org_id, channel_type FROM channels_channel WHERE uuid = {} AND is_active = TRUE",
        literal(uuid)
    );
    let problem = match mailroom.database.query(&sql) {
        Ok(rows) if rows.is_empty() => {
            format!("no channel found with uuid: {uuid}: sql: no rows in result set")
        }
        Ok(rows) => {
            let kind = rows[0].get(1).cloned().flatten().unwrap_or_default();
            format!(
                "unable to load client for channel: {uuid}: no registered IVR client for channel \
                 type: {kind}"
            )
        }
        Err(problem) => format!("no channel found with uuid: {uuid}: {problem}"),
    };
    plain_error(400, &problem)
}

pub fn mailgun(_: &Mailroom, request: &Request, _: &str) -> Response {
    let fields = [
        ("recipient", "Recipient"),
        ("sender", "Sender"),
        ("Message-Id", "MessageID"),
        ("subject", "Subject"),
        ("stripped-text", "StrippedText"),
        ("timestamp", "Timestamp"),
        ("token", "Token"),
        ("signature", "Signature"),
    ];
    finish(Err(match validate::form(request, "receiveRequest", &fields) {
        Err(problem) => Trouble::refused(400, format!("error decoding form: {problem}")),
        // No test has the key that would make a signature valid.
        Ok(_) => Trouble::refused(403, "request signature validation failed"),
    }))
}

pub fn zendesk_channelback(_: &Mailroom, request: &Request, _: &str) -> Response {
    let fields = [
        ("message", "Message"),
        ("thread_id", "ThreadID"),
        ("recipient_id", "RecipientID"),
        ("metadata", "Metadata"),
    ];
    let problem = match validate::form(request, "channelbackRequest", &fields) {
        Err(problem) => format!("error decoding form: {problem}"),
        Ok(form) => {
            let value = |name: &str| {
                form.iter().find(|(key, _)| key == name).map_or("", |(_, v)| v.as_str())
            };
            if serde_json::from_str::<serde_json::Value>(value("metadata")).is_ok() {
                format!("error looking up ticket {}", value("thread_id"))
            } else {
                "error unmarshaling metadata: invalid character looking for beginning of value"
                    .into()
            }
        }
    };
    finish(Err(Trouble::refused(400, problem)))
}

pub fn zendesk_events(_: &Mailroom, request: &Request, _: &str) -> Response {
    match validate::body(request, &["events"]) {
        Ok(_) => json_answer(200, &json!({"status": "OK"})),
        Err(problem) => finish(Err(Trouble::refused(400, problem))),
    }
}

/// There are no ticketers, so every one of them is unknown.
pub fn no_ticketer(_: &Mailroom, _: &Request, uuid: &str) -> Response {
    finish(Err(Trouble::refused(404, format!("no such ticketer {uuid}"))))
}

pub fn surveyor(mailroom: &Mailroom, request: &Request, _: &str) -> Response {
    let Some(token) = request.header("authorization").strip_prefix("Token ") else {
        return finish(Err(Trouble::refused(401, "missing authorization header")));
    };
    let sql = format!(
        "SELECT t.user_id, t.org_id FROM api_apitoken t \
         JOIN orgs_org o ON t.org_id = o.id JOIN auth_group g ON t.role_id = g.id \
         JOIN auth_user u ON t.user_id = u.id \
         WHERE t.key = {} AND g.name IN ('Administrators', 'Editors', 'Surveyors') \
         AND t.is_active AND o.is_active AND u.is_active",
        literal(token)
    );
    finish(Err(match mailroom.database.query(&sql) {
        Err(problem) => {
            Trouble::refused(401, format!("error looking up authorization header: {problem}"))
        }
        Ok(rows) if rows.is_empty() => Trouble::refused(401, "invalid authorization header"),
        Ok(_) => match validate::body(request, &["session"]) {
            Err(problem) => Trouble::Failed(format!("request failed validation: {problem}")),
            Ok(_) => Trouble::Failed("the stand-in has no flow engine to submit to".into()),
        },
    }))
}

pub fn metrics(_: &Mailroom, _: &Request, _: &str) -> Response {
    // Only tokens of the role Prometheus are let in, and the stand-in's workspaces have none.
    Response::new(401, "text/plain; charset=utf-8", r#"{"error": "invalid authentication"}"#)
}

pub fn docs_redirect(_: &Mailroom, _: &Request, _: &str) -> Response {
    Response::new(
        301,
        "text/html; charset=utf-8",
        "<a href=\"/mr/docs/\">Moved Permanently</a>.\n\n",
    )
    .with_header("Location", "/mr/docs/")
}

pub fn docs(_: &Mailroom, _: &Request, page: &str) -> Response {
    match page {
        "" => Response::new(
            200,
            "text/html; charset=utf-8",
            "<html><head><title>Flow Documentation</title></head><body></body></html>\n",
        ),
        _ => Response::new(404, "text/plain; charset=utf-8", "404 page not found\n"),
    }
}

/// No token is asked for, which is the real one's fault up to 8.0.
pub fn export_po(mailroom: &Mailroom, request: &Request, _: &str) -> Response {
    let body = match validate::body(request, &["org_id", "flow_ids"]) {
        Ok(body) => body,
        Err(problem) => return plain_error(500, &format!("request failed validation: {problem}")),
    };
    let ids = body["flow_ids"].as_array().cloned().unwrap_or_default();
    let ids: Vec<i64> = ids.iter().filter_map(serde_json::Value::as_i64).collect();
    let names = match require_org(mailroom, &body).and_then(|org| flow_names(mailroom, org, &ids)) {
        Ok(names) => names,
        Err(Trouble::Failed(problem)) => return plain_error(500, &problem),
        Err(Trouble::Refused(status, value)) => return Response::json(status, &value),
    };
    let language = body["language"].as_str().unwrap_or_default();
    let mut po = format!(
        "# Generated by mailroom\n#\n#, fuzzy\nmsgid \"\"\nmsgstr \"\"\n\"MIME-Version: 1.0\\n\"\n\
         \"Content-Type: text/plain; charset=UTF-8\\n\"\n\"Language: {language}\\n\"\n"
    );
    for name in names {
        po.push_str(&format!("\n#: {name}\n"));
    }
    Response::new(200, "text/x-gettext-translation", po)
}

pub fn import_po(mailroom: &Mailroom, request: &Request, _: &str) -> Response {
    let fields = [("org_id", "OrgID"), ("flow_ids", "FlowIDs"), ("language", "Language")];
    let _ = mailroom;
    finish(Err(match validate::form(request, "importForm", &fields) {
        Err(problem) => Trouble::refused(400, problem),
        Ok(_) => Trouble::refused(400, "missing po file on request: http: no such file"),
    }))
}

fn flow_names(mailroom: &Mailroom, org: i64, ids: &[i64]) -> Result<Vec<String>, Trouble> {
    ids.iter()
        .map(|id| {
            let failed = |problem: &str| {
                Trouble::Failed(format!("unable to load flow with ID {id}: {problem}"))
            };
            let sql = format!(
                "SELECT name FROM flows_flow WHERE org_id = {org} AND id = {id} AND is_active"
            );
            let rows = mailroom.database.query(&sql).map_err(|e| failed(&e.to_string()))?;
            let name = rows.into_iter().next().and_then(|row| row.into_iter().next().flatten());
            name.ok_or_else(|| failed("not found"))
        })
        .collect()
}
