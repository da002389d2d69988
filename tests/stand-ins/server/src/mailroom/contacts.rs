//! Making and finding contacts, written to RapidPro's own tables.

use serde_json::{Map, Value, json};

use super::Mailroom;
use super::modifiers;
use super::routes::{Answer, Trouble, require_org};
use crate::clock;
use crate::pg::{Error, literal};
use crate::rapidpro::{self, NewContact, Run, Urn};

pub fn create(mailroom: &Mailroom, body: &Value) -> Answer {
    let org_id = require_org(mailroom, body)?;
    let spec = &body["contact"];
    let language = spec["language"].as_str().filter(|l| !l.is_empty());
    if let Some(language) = language
        && !(language.len() == 3 && language.bytes().all(|b| b.is_ascii_lowercase()))
    {
        let problem = format!("invalid language: unrecognized language code: {language}");
        return Err(Trouble::refused(400, problem));
    }
    let urns = read_urns(&spec["urns"])?;
    let mods = modifiers::of_a_new_contact(spec);
    let new = NewContact {
        org_id,
        user_id: body["user_id"].as_i64(),
        name: spec["name"].as_str(),
        language,
        channel_id: None,
    };

    let mut taken = false;
    let made = mailroom.database.transaction(|run| {
        modifiers::check(run, org_id, &mods)?;
        for urn in &urns {
            if rapidpro::find_by_urn(run, org_id, urn)?.is_some() {
                taken = true;
                return Err(Error::Client("URNs in use by other contacts".into()));
            }
        }
        let id = rapidpro::insert(run, &new, &urns)?;
        modifiers::apply(run, org_id, id, &mods)?;
        show(run, id)
    });
    match made {
        Ok(contact) => Ok(json!({"contact": contact})),
        Err(problem) if taken || matches!(problem, Error::Client(_)) => {
            Err(Trouble::refused(400, problem.to_string()))
        }
        Err(problem) => {
            Err(Trouble::refused(400, format!("error inserting new contact: {problem}")))
        }
    }
}

pub fn resolve(mailroom: &Mailroom, body: &Value) -> Answer {
    let org_id = require_org(mailroom, body)?;
    let text = body["urn"].as_str().unwrap_or_default();
    let failed =
        |problem: String| Trouble::Failed(format!("error getting or creating contact: {problem}"));
    let urn = Urn::parse(text).ok_or_else(|| failed(format!("invalid URN: {text}")))?;
    let new = NewContact {
        org_id,
        user_id: None,
        name: None,
        language: None,
        channel_id: body["channel_id"].as_i64(),
    };
    let done = mailroom.database.transaction(|run| {
        let (id, urn_id, created) = rapidpro::get_or_create(run, &new, &urn)?;
        Ok((show(run, id)?, urn_id, created))
    });
    let (contact, urn_id, created) = done.map_err(|e| failed(e.to_string()))?;
    Ok(json!({
        "contact": contact,
        "urn": {"id": urn_id, "identity": urn.identity()},
        "created": created,
    }))
}

pub fn read_urns(value: &Value) -> Result<Vec<Urn>, Trouble> {
    let texts = value.as_array().cloned().unwrap_or_default();
    texts
        .iter()
        .map(|text| {
            let text = text.as_str().unwrap_or_default();
            Urn::parse(text).ok_or_else(|| Trouble::refused(400, format!("invalid URN: {text}")))
        })
        .collect()
}

/// A contact as the engine writes it. What has no value is left out.
pub fn show(run: Run, id: i64) -> Result<Value, Error> {
    let rows = run(&format!(
        "SELECT c.uuid, c.name, c.language, c.status, o.timezone, c.created_on, \
         (SELECT json_agg(u.identity || '?id=' || u.id || '&priority=' || u.priority ORDER BY u.priority DESC, u.id) \
          FROM contacts_contacturn u WHERE u.contact_id = c.id), \
         (SELECT json_agg(json_build_object('uuid', g.uuid, 'name', g.name) ORDER BY g.id) \
          FROM contacts_contactgroup g JOIN contacts_contactgroup_contacts gc ON gc.contactgroup_id = g.id \
          WHERE gc.contact_id = c.id), \
         (SELECT json_object_agg(f.key, v.value) FROM jsonb_each(c.fields) v \
          JOIN contacts_contactfield f ON f.uuid::text = v.key WHERE f.org_id = c.org_id) \
         FROM contacts_contact c JOIN orgs_org o ON o.id = c.org_id WHERE c.id = {id}"
    ))?;
    let row = rows.first().ok_or_else(|| Error::Client("sql: no rows in result set".into()))?;
    let cell = |at: usize| row.get(at).and_then(Option::as_deref);
    let mut shown = Map::new();
    shown.insert("uuid".into(), json!(cell(0)));
    shown.insert("id".into(), json!(id));
    for (name, at) in [("name", 1), ("language", 2)] {
        if let Some(text) = cell(at).filter(|text| !text.is_empty()) {
            shown.insert(name.into(), json!(text));
        }
    }
    let status = match cell(3) {
        Some("B") => "blocked",
        Some("S") => "stopped",
        Some("V") => "archived",
        _ => "active",
    };
    shown.insert("status".into(), json!(status));
    shown.insert("timezone".into(), json!(cell(4)));
    let created = cell(5).and_then(clock::parse_timestamp).map(|at| clock::utc_text(at, 6));
    shown.insert("created_on".into(), json!(created));
    for (name, at) in [("urns", 6), ("groups", 7), ("fields", 8)] {
        if let Some(value) = cell(at).and_then(|text| serde_json::from_str::<Value>(text).ok()) {
            shown.insert(name.into(), value);
        }
    }
    Ok(Value::Object(shown))
}

/// What a new contact is given beside its own columns.
pub fn group_id(run: Run, org_id: i64, uuid: &str) -> Result<i64, Error> {
    let rows = run(&format!(
        "SELECT id, query IS NOT NULL FROM contacts_contactgroup \
         WHERE org_id = {org_id} AND uuid = {} AND is_active AND group_type = 'U'",
        literal(uuid)
    ))?;
    let Some(row) = rows.first() else {
        return Err(Error::Client(format!("unknown contact group '{uuid}'")));
    };
    if row.get(1).and_then(Option::as_deref) == Some("t") {
        let problem = format!("can't add contact to query based group '{uuid}'");
        return Err(Error::Client(problem));
    }
    let id = row.first().and_then(Option::as_deref).and_then(|id| id.parse().ok());
    id.ok_or_else(|| Error::Client("sql: no rows in result set".into()))
}

pub fn field_uuid(run: Run, org_id: i64, key: &str) -> Result<String, Error> {
    let rows = run(&format!(
        "SELECT uuid FROM contacts_contactfield WHERE org_id = {org_id} AND key = {} AND is_active",
        literal(key)
    ))?;
    rapidpro::scalar(&rows).ok_or_else(|| Error::Client(format!("unknown contact field '{key}'")))
}
