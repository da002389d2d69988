//! Making, showing and removing indices, their settings and aliases.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::failure::{Failure, Outcome};
use super::names::{self, check_index_name, flatten, nest, resolve};
use super::rest::{Answer, Call};
use super::store::{FlatSettings, Index, Store};
use super::{Elastic, log};

/// Groups of index settings that a request may set; anything else is an error.
const KNOWN: [&str; 17] = [
    "index.analysis.",
    "index.auto_expand_replicas",
    "index.blocks.",
    "index.codec",
    "index.hidden",
    "index.mapping.",
    "index.max_",
    "index.number_of_replicas",
    "index.number_of_routing_shards",
    "index.number_of_shards",
    "index.priority",
    "index.refresh_interval",
    "index.routing.",
    "index.routing_partition_size",
    "index.search.",
    "index.sort.",
    "index.translog.",
];

/// Those that cannot be changed while an index is open.
const FIXED: [&str; 6] = [
    "index.analysis.",
    "index.codec",
    "index.number_of_routing_shards",
    "index.number_of_shards",
    "index.routing_partition_size",
    "index.sort.",
];

pub fn create(elastic: &Elastic, call: &Call) -> Outcome<Answer> {
    let name = call.name("index");
    check_index_name(name)?;
    let body = call.json()?;
    let fields = body.as_object().ok_or_else(|| Failure::parsing("expected an object"))?;
    if let Some(unknown) =
        fields.keys().find(|k| !matches!(k.as_str(), "settings" | "mappings" | "aliases"))
    {
        let reason = format!("unknown key [{unknown}] for create index");
        return Err(Failure::new(400, "parse_exception", reason));
    }

    let mut index = Index::new();
    index.settings = index_settings(&body["settings"])?;
    for (key, default) in [("index.number_of_shards", "1"), ("index.number_of_replicas", "1")] {
        index.settings.entry(key.into()).or_insert_with(|| json!(default));
    }
    index.mappings = mappings(&body["mappings"], call.wants("include_type_name"))?;
    if let Some(aliases) = body["aliases"].as_object() {
        index.aliases = aliases.keys().cloned().collect();
    }

    elastic.node.change(|store| {
        if let Some(existing) = store.indices.get(name) {
            let reason = format!("index [{name}/{}] already exists", existing.uuid);
            return Err(Failure::new(400, "resource_already_exists_exception", reason)
                .with("index_uuid", json!(existing.uuid))
                .with("index", json!(name)));
        }
        if store.indices.values().any(|i| i.aliases.contains(name)) {
            let reason = format!("Invalid index name [{name}], already exists as alias");
            return Err(Failure::new(400, "invalid_index_name_exception", reason));
        }
        add(store, name, index, "api");
        Ok(())
    })?;
    // An index that was acknowledged is on disk.
    let _ = elastic.node.save();
    Ok(Answer::Json(200, json!({"acknowledged": true, "shards_acknowledged": true, "index": name})))
}

/// Put an index into the store, with the log line of the master.
pub fn add(store: &mut Store, name: &str, index: Index, cause: &str) {
    log::info(
        "o.e.c.m.MetadataCreateIndexService",
        &format!(
            "[{name}] creating index, cause [{cause}], templates [], shards [{}]/[{}]",
            index.shards(),
            index.replicas()
        ),
    );
    store.indices.insert(name.into(), index);
}

/// With `index.` in front of every key, checked against what exists.
fn index_settings(value: &Value) -> Outcome<FlatSettings> {
    if value.is_null() {
        return Ok(FlatSettings::new());
    }
    let mut settings = FlatSettings::new();
    for (key, value) in flatten(value) {
        let key = if key.starts_with("index.") { key } else { format!("index.{key}") };
        if !KNOWN.iter().any(|known| key.starts_with(known)) {
            return Err(Failure::illegal_argument(format!(
                "unknown setting [{key}] please check that any required plugins are installed, or \
                 check the breaking changes documentation for removed settings"
            )));
        }
        if key.starts_with("index.number_of_") && value.is_string() {
            let text = value.as_str().unwrap_or_default();
            if text.parse::<u32>().is_err() || (key.ends_with("shards") && text == "0") {
                return Err(Failure::illegal_argument(format!(
                    "Failed to parse value [{text}] for setting [{key}] must be >= {}",
                    u8::from(key.ends_with("shards"))
                )));
            }
        }
        settings.insert(key, value);
    }
    Ok(settings)
}

/// The mapping without a type around it. The indexer still sends one, and says so.
fn mappings(value: &Value, include_type_name: bool) -> Outcome<Value> {
    let Some(fields) = value.as_object() else { return Ok(json!({})) };
    if include_type_name {
        return match fields.values().next() {
            Some(inner) if fields.len() == 1 && inner.is_object() => Ok(inner.clone()),
            None => Ok(json!({})),
            _ => Err(Failure::new(
                400,
                "mapper_parsing_exception",
                "Failed to parse mapping: Root mapping definition has unsupported parameters",
            )),
        };
    }
    if fields.contains_key("_doc") {
        return Err(Failure::illegal_argument(
            "The mapping definition cannot be nested under a type [_doc] unless \
             include_type_name is set to true.",
        ));
    }
    let meta = [
        "properties",
        "dynamic",
        "_routing",
        "_source",
        "_meta",
        "date_detection",
        "numeric_detection",
        "dynamic_templates",
        "dynamic_date_formats",
    ];
    if let Some(unknown) = fields.keys().find(|k| !meta.contains(&k.as_str())) {
        return Err(Failure::new(
            400,
            "mapper_parsing_exception",
            format!(
                "Root mapping definition has unsupported parameters:  [{unknown} : {}]",
                fields[unknown]
            ),
        ));
    }
    Ok(value.clone())
}

pub fn get(elastic: &Elastic, call: &Call) -> Outcome<Answer> {
    let shown = each(elastic, call, |name, index| {
        json!({
            "aliases": aliases_of(index),
            "mappings": index.mappings,
            "settings": {"index": shown_settings(name, index)},
        })
    })?;
    Ok(Answer::Json(200, shown))
}

pub fn exists(elastic: &Elastic, call: &Call) -> Outcome<Answer> {
    let found = elastic.node.read(|store| resolve(store, call.target()));
    Ok(Answer::Empty(if found.is_ok() { 200 } else { 404 }))
}

pub fn settings(elastic: &Elastic, call: &Call) -> Outcome<Answer> {
    let shown = each(
        elastic,
        call,
        |name, index| json!({"settings": {"index": shown_settings(name, index)}}),
    )?;
    Ok(Answer::Json(200, shown))
}

pub fn mapping(elastic: &Elastic, call: &Call) -> Outcome<Answer> {
    let shown = each(elastic, call, |_, index| json!({"mappings": index.mappings}))?;
    Ok(Answer::Json(200, shown))
}

fn each(elastic: &Elastic, call: &Call, show: impl Fn(&str, &Index) -> Value) -> Outcome<Value> {
    let target = call.target();
    if target.starts_with('_') && target != "_all" {
        check_index_name(target)?;
    }
    elastic.node.read(|store| {
        let mut result = Map::new();
        for name in resolve(store, target)? {
            result.insert(name.clone(), show(&name, &store.indices[&name]));
        }
        Ok(Value::Object(result))
    })
}

fn aliases_of(index: &Index) -> Value {
    Value::Object(index.aliases.iter().map(|alias| (alias.clone(), json!({}))).collect())
}

fn shown_settings(name: &str, index: &Index) -> Value {
    let mut flat = index.settings.clone();
    flat.insert("index.creation_date".into(), json!(index.created_ms.to_string()));
    flat.insert("index.provided_name".into(), json!(name));
    flat.insert("index.uuid".into(), json!(index.uuid));
    flat.insert("index.version.created".into(), json!("7100199"));
    nest(&flat)["index"].take()
}

pub fn update_settings(elastic: &Elastic, call: &Call) -> Outcome<Answer> {
    let mut body = call.required_json()?;
    if body.get("settings").is_some_and(Value::is_object) {
        body = body["settings"].take();
    }
    let changes = index_settings(&body)?;
    elastic.node.change(|store| {
        let names = resolve(store, call.target())?;
        let fixed: Vec<&str> = changes
            .keys()
            .map(String::as_str)
            .filter(|key| FIXED.iter().any(|fixed| key.starts_with(fixed)))
            .collect();
        if let (false, Some(name)) = (fixed.is_empty(), names.first()) {
            return Err(Failure::illegal_argument(format!(
                "Can't update non dynamic settings [[{}]] for open indices [[{name}/{}]]",
                fixed.join(", "),
                store.indices[name].uuid
            )));
        }
        for name in names {
            let Some(index) = store.indices.get_mut(&name) else { continue };
            for (key, value) in &changes {
                if value.is_null() {
                    index.settings.remove(key);
                } else {
                    index.settings.insert(key.clone(), value.clone());
                }
            }
        }
        Ok(())
    })?;
    let _ = elastic.node.save();
    Ok(Answer::Json(200, json!({"acknowledged": true})))
}

pub fn delete(elastic: &Elastic, call: &Call) -> Outcome<Answer> {
    let expression = call.target();
    elastic.node.change(|store| {
        if !store.indices.contains_key(expression)
            && store.indices.values().any(|index| index.aliases.contains(expression))
        {
            return Err(Failure::illegal_argument(format!(
                "The provided expression [{expression}] matches an alias, specify the \
                 corresponding concrete indices instead."
            )));
        }
        for name in resolve(store, expression)? {
            if let Some(index) = store.indices.remove(&name) {
                let message = format!("[{name}/{}] deleting index", index.uuid);
                log::info("o.e.c.m.MetadataDeleteIndexService", &message);
            }
        }
        Ok(())
    })?;
    let _ = elastic.node.save();
    Ok(Answer::Json(200, json!({"acknowledged": true})))
}

pub fn aliases(elastic: &Elastic, call: &Call) -> Outcome<Answer> {
    let wanted = call.name("name");
    elastic.node.read(|store| {
        let mut shown = Map::new();
        for name in resolve(store, call.target())? {
            let hits: Map<String, Value> = store.indices[&name]
                .aliases
                .iter()
                .filter(|a| wanted.is_empty() || wanted.split(',').any(|w| names::matches(w, a)))
                .map(|alias| (alias.clone(), json!({})))
                .collect();
            if wanted.is_empty() || !hits.is_empty() {
                shown.insert(name, json!({"aliases": hits}));
            }
        }
        if shown.is_empty() && !wanted.is_empty() && !wanted.contains('*') {
            let body = json!({"error": format!("alias [{wanted}] missing"), "status": 404});
            return Ok(Answer::Json(404, body));
        }
        Ok(Answer::Json(200, Value::Object(shown)))
    })
}

/// All actions, or none: the store is changed when each of them is possible.
pub fn update_aliases(elastic: &Elastic, call: &Call) -> Outcome<Answer> {
    let body = call.required_json()?;
    let actions = body["actions"].as_array().filter(|a| !a.is_empty()).ok_or_else(|| {
        Failure::new(
            400,
            "action_request_validation_exception",
            "Validation Failed: 1: Must specify at least one alias action;",
        )
    })?;
    elastic.node.change(|store| {
        let mut aliases: Vec<(String, BTreeSet<String>)> =
            store.indices.iter().map(|(n, i)| (n.clone(), i.aliases.clone())).collect();
        let mut removed = Vec::new();
        for action in actions {
            apply_alias_action(store, action, &mut aliases, &mut removed)?;
        }
        for (name, set) in aliases {
            if let Some(index) = store.indices.get_mut(&name) {
                index.aliases = set;
            }
        }
        for name in removed {
            store.indices.remove(&name);
        }
        Ok(())
    })?;
    let _ = elastic.node.save();
    Ok(Answer::Json(200, json!({"acknowledged": true})))
}

fn apply_alias_action(
    store: &Store,
    action: &Value,
    aliases: &mut [(String, BTreeSet<String>)],
    removed: &mut Vec<String>,
) -> Outcome<()> {
    let unknown = || Failure::parsing("[aliases] failed to parse field [actions]");
    let (kind, details) = action.as_object().and_then(|a| a.iter().next()).ok_or_else(unknown)?;
    let expression = details["index"]
        .as_str()
        .ok_or_else(|| Failure::illegal_argument("One of [index] or [indices] is required"))?;
    let names = resolve(store, expression)?;
    if kind == "remove_index" {
        removed.extend(names);
        return Ok(());
    }
    let alias = details["alias"]
        .as_str()
        .ok_or_else(|| Failure::illegal_argument("One of [alias] or [aliases] is required"))?;
    let mut touched = aliases.iter_mut().filter(|(name, _)| names.contains(name));
    match kind.as_str() {
        "add" => {
            if store.indices.contains_key(alias) && !removed.iter().any(|name| name == alias) {
                let reason = format!(
                    "Invalid alias name [{alias}], an index exists with the same name as the alias"
                );
                return Err(Failure::new(400, "invalid_alias_name_exception", reason));
            }
            touched.for_each(|(_, set)| {
                set.insert(alias.to_owned());
            });
        }
        "remove" => {
            let mut found = false;
            for (_, set) in touched.by_ref() {
                found |= set.remove(alias);
            }
            if !found {
                let reason = format!("aliases [{alias}] missing");
                return Err(Failure::new(404, "aliases_not_found_exception", reason)
                    .with("resource.type", json!("aliases"))
                    .with("resource.id", json!(alias)));
            }
        }
        _ => return Err(unknown()),
    }
    Ok(())
}

/// Everything is visible and on its way to the disk at once here.
pub fn refresh(elastic: &Elastic, call: &Call) -> Outcome<Answer> {
    let shards = elastic.node.read(|store| {
        let names = resolve(store, call.target())?;
        Ok(names.iter().map(|name| store.indices[name].shards()).sum::<u64>())
    })?;
    let total = shards * 2;
    Ok(Answer::Json(200, json!({"_shards": {"total": total, "successful": shards, "failed": 0}})))
}
