//! The endpoints that need the flow engine, as far as they can be answered without one.

use serde_json::{Map, Value, json};

use super::Mailroom;
use super::routes::{Answer, Trouble, require_org};
use crate::random;

/// A definition has at least an identity.
fn definition(body: &Value) -> Result<&Map<String, Value>, Trouble> {
    let flow = body["flow"].as_object();
    flow.filter(|flow| flow.contains_key("uuid") || flow.contains_key("metadata")).ok_or_else(
        || {
            Trouble::refused(
                422,
                "unable to read flow: unable to read flow header: field 'uuid' is required",
            )
        },
    )
}

pub fn migrate(_: &Mailroom, body: &Value) -> Answer {
    let mut migrated = definition(body)?.clone();
    let version = body["to_version"].as_str().unwrap_or("13.1.0");
    migrated.insert("spec_version".into(), json!(version));
    Ok(Value::Object(migrated))
}

pub fn inspect(mailroom: &Mailroom, body: &Value) -> Answer {
    definition(body)?;
    if !body["org_id"].is_null() {
        require_org(mailroom, body)?;
    }
    Ok(json!({
        "dependencies": [],
        "issues": [],
        "results": [],
        "waiting_exits": [],
        "parent_refs": [],
    }))
}

pub fn clone(_: &Mailroom, body: &Value) -> Answer {
    let mut copy = definition(body)?.clone();
    copy.insert("uuid".into(), json!(random::uuid()));
    Ok(Value::Object(copy))
}

pub fn change_language(_: &Mailroom, body: &Value) -> Answer {
    let mut changed = definition(body)?.clone();
    changed.insert("language".into(), body["language"].clone());
    Ok(Value::Object(changed))
}

pub fn migrate_expression(_: &Mailroom, body: &Value) -> Answer {
    Ok(json!({"migrated": body["expression"]}))
}

/// Nothing here sends, so nothing is sent again.
pub fn resend(mailroom: &Mailroom, body: &Value) -> Answer {
    require_org(mailroom, body)?;
    Ok(json!({"msg_ids": []}))
}

/// There are no tickets to change.
pub fn tickets(mailroom: &Mailroom, body: &Value) -> Answer {
    require_org(mailroom, body)?;
    Ok(json!({"changed_ids": []}))
}

pub fn no_engine(mailroom: &Mailroom, body: &Value) -> Answer {
    require_org(mailroom, body)?;
    Err(Trouble::Failed("the stand-in has no flow engine to simulate with".into()))
}
