//! Changes of contacts, in the engine's own words for them.

use serde_json::{Map, Value, json};

use super::Mailroom;
use super::contacts::{self, field_uuid, group_id};
use super::routes::{Answer, Trouble, require_org};
use crate::pg::{Error, literal};
use crate::rapidpro::{self, Run, Urn, or_null};

#[derive(Debug, Clone, PartialEq)]
pub enum Modifier {
    Name(String),
    Language(String),
    Status(char),
    Field { key: String, value: String },
    Groups { uuids: Vec<String>, add: bool },
    Urns { urns: Vec<Urn>, how: How },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Append,
    Remove,
    Set,
}

/// One element of a request's `modifiers`.
fn read(value: &Value) -> Result<Modifier, Trouble> {
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let wrong = |problem: &str| Trouble::Failed(format!("unable to read modifier: {problem}"));
    Ok(match value["type"].as_str().unwrap_or_default() {
        "name" => Modifier::Name(text("name")),
        "language" => Modifier::Language(text("language")),
        "status" => Modifier::Status(match text("status").as_str() {
            "active" => 'A',
            "blocked" => 'B',
            "stopped" => 'S',
            "archived" => 'V',
            _ => return Err(wrong("field 'status' is not a valid contact status")),
        }),
        "field" => {
            let key = value["field"]["key"].as_str().unwrap_or_default();
            if key.is_empty() {
                return Err(wrong("field 'field.key' is required"));
            }
            Modifier::Field { key: key.to_owned(), value: text("value") }
        }
        "groups" => {
            let groups = value["groups"].as_array().cloned().unwrap_or_default();
            let uuids = groups.iter().filter_map(|g| g["uuid"].as_str().map(str::to_owned));
            let add = match text("modification").as_str() {
                "add" => true,
                "remove" => false,
                _ => return Err(wrong("field 'modification' failed tag 'eq=add|eq=remove'")),
            };
            Modifier::Groups { uuids: uuids.collect(), add }
        }
        "urns" => {
            let how = match text("modification").as_str() {
                "append" => How::Append,
                "remove" => How::Remove,
                "set" => How::Set,
                _ => {
                    let tag = "field 'modification' failed tag 'eq=append|eq=remove|eq=set'";
                    return Err(wrong(tag));
                }
            };
            Modifier::Urns { urns: contacts::read_urns(&value["urns"])?, how }
        }
        other => return Err(wrong(&format!("unknown type: '{other}'"))),
    })
}

pub fn of_a_new_contact(spec: &Value) -> Vec<Modifier> {
    let mut mods: Vec<Modifier> = spec["fields"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| Modifier::Field {
            key: key.clone(),
            value: value.as_str().unwrap_or_default().to_owned(),
        })
        .collect();
    let groups: Vec<String> = spec["groups"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|uuid| uuid.as_str().map(str::to_owned))
        .collect();
    if !groups.is_empty() {
        mods.push(Modifier::Groups { uuids: groups, add: true });
    }
    mods
}

pub fn modify(mailroom: &Mailroom, body: &Value) -> Answer {
    let org_id = require_org(mailroom, body)?;
    let mods: Vec<Modifier> =
        body["modifiers"].as_array().into_iter().flatten().map(read).collect::<Result<_, _>>()?;
    let ids: Vec<i64> =
        body["contact_ids"].as_array().into_iter().flatten().filter_map(Value::as_i64).collect();
    let done = mailroom.database.transaction(|run| {
        check(run, org_id, &mods)?;
        let mut results = Map::new();
        for id in &ids {
            let known = run(&format!(
                "SELECT id FROM contacts_contact WHERE id = {id} AND org_id = {org_id} AND is_active"
            ))?;
            // A contact that is gone is left out of the answer.
            if known.is_empty() {
                continue;
            }
            let events = apply(run, org_id, *id, &mods)?;
            results.insert(
                id.to_string(),
                json!({"contact": contacts::show(run, *id)?, "events": events}),
            );
        }
        Ok(Value::Object(results))
    });
    done.map_err(|problem| Trouble::Failed(problem.to_string()))
}

/// Fields and groups have to exist.
pub fn check(run: Run, org_id: i64, mods: &[Modifier]) -> Result<(), Error> {
    for modifier in mods {
        match modifier {
            Modifier::Field { key, .. } => {
                field_uuid(run, org_id, key)?;
            }
            Modifier::Groups { uuids, .. } => {
                for uuid in uuids {
                    group_id(run, org_id, uuid)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Change one contact; gives the events, one for each change.
pub fn apply(run: Run, org_id: i64, id: i64, mods: &[Modifier]) -> Result<Vec<Value>, Error> {
    let mut events = Vec::new();
    for modifier in mods {
        events.push(apply_one(run, org_id, id, modifier)?);
    }
    if !mods.is_empty() {
        run(&format!(
            "UPDATE contacts_contact SET modified_on = clock_timestamp() WHERE id = {id}"
        ))?;
    }
    Ok(events)
}

fn apply_one(run: Run, org_id: i64, id: i64, modifier: &Modifier) -> Result<Value, Error> {
    Ok(match modifier {
        Modifier::Name(name) => {
            let value = or_null(Some(name));
            run(&format!("UPDATE contacts_contact SET name = {value} WHERE id = {id}"))?;
            json!({"type": "contact_name_changed", "name": name})
        }
        Modifier::Language(language) => {
            let value = or_null(Some(language));
            run(&format!("UPDATE contacts_contact SET language = {value} WHERE id = {id}"))?;
            json!({"type": "contact_language_changed", "language": language})
        }
        Modifier::Status(status) => {
            run(&format!("UPDATE contacts_contact SET status = '{status}' WHERE id = {id}"))?;
            json!({"type": "contact_status_changed", "status": status.to_string()})
        }
        Modifier::Field { key, value } => {
            let uuid = literal(&field_uuid(run, org_id, key)?);
            let old = "COALESCE(fields, '{}'::jsonb)";
            let new = if value.is_empty() {
                format!("{old} - {uuid}")
            } else {
                let mut stored = json!({ "text": value });
                if let Ok(number) = value.parse::<f64>() {
                    stored["number"] = json!(number);
                }
                let stored = literal(&stored.to_string());
                format!("{old} || jsonb_build_object({uuid}, {stored}::jsonb)")
            };
            run(&format!("UPDATE contacts_contact SET fields = {new} WHERE id = {id}"))?;
            json!({"type": "contact_field_changed", "field": {"key": key}, "value": {"text": value}})
        }
        Modifier::Groups { uuids, add } => {
            for uuid in uuids {
                let group = group_id(run, org_id, uuid)?;
                run(&format!(
                    "DELETE FROM contacts_contactgroup_contacts \
                     WHERE contact_id = {id} AND contactgroup_id = {group}"
                ))?;
                if *add {
                    run(&format!(
                        "INSERT INTO contacts_contactgroup_contacts (contactgroup_id, contact_id) \
                         VALUES ({group}, {id})"
                    ))?;
                }
            }
            let name = if *add { "groups_added" } else { "groups_removed" };
            json!({"type": "contact_groups_changed", name: uuids})
        }
        Modifier::Urns { urns, how } => {
            change_urns(run, org_id, id, urns, *how)?;
            let identities: Vec<String> = urns.iter().map(Urn::identity).collect();
            json!({"type": "contact_urns_changed", "urns": identities})
        }
    })
}

fn change_urns(run: Run, org_id: i64, id: i64, urns: &[Urn], how: How) -> Result<(), Error> {
    let listed: Vec<String> = urns.iter().map(|urn| literal(&urn.identity())).collect();
    let listed = format!("({})", [vec!["NULL".to_owned()], listed].concat().join(", "));
    let drop = match how {
        How::Append => None,
        How::Remove => Some(format!("identity IN {listed}")),
        // NOT IN with a NULL in the list would be true for nothing.
        How::Set => Some(format!("COALESCE(identity IN {listed}, FALSE) = FALSE")),
    };
    if let Some(condition) = drop {
        run(&format!(
            "UPDATE contacts_contacturn SET contact_id = NULL \
             WHERE contact_id = {id} AND org_id = {org_id} AND {condition}"
        ))?;
    }
    if how != How::Remove {
        for (index, urn) in urns.iter().enumerate() {
            rapidpro::attach(run, org_id, id, urn, None, 1000 - index)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modifiers_are_read_as_rapidpro_sends_them() {
        let field = json!({"type": "field", "field": {"key": "age", "name": "Age"}, "value": "39"});
        assert_eq!(
            read(&field).unwrap(),
            Modifier::Field { key: "age".into(), value: "39".into() }
        );
        let urns = json!({"type": "urns", "urns": ["tel:+254712345678"], "modification": "set"});
        assert!(matches!(read(&urns).unwrap(), Modifier::Urns { how: How::Set, .. }));
        for wrong in [
            json!({"type": "ticket"}),
            json!({"type": "groups", "groups": [], "modification": "set"}),
            json!({"type": "urns", "urns": ["nonsense"], "modification": "set"}),
            json!({"type": "status", "status": "gone"}),
        ] {
            assert!(read(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_new_contact_gets_its_fields_and_groups() {
        let mods = of_a_new_contact(&json!({"fields": {"age": "39"}, "groups": ["g"]}));
        assert!(matches!(mods[..], [Modifier::Field { .. }, Modifier::Groups { add: true, .. }]));
        assert!(of_a_new_contact(&json!({})).is_empty());
    }
}
