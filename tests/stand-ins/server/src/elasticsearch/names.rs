//! Which indices an expression in a path means, and the flat and nested forms of settings.

use serde_json::{Map, Value};

use super::failure::{Failure, Outcome};
use super::store::{FlatSettings, Store};

/// The indices of `a,b`, wildcards, aliases and `_all`. A name without a wildcard has to
/// exist.
pub fn resolve(store: &Store, expression: &str) -> Outcome<Vec<String>> {
    let mut found = Vec::new();
    for part in expression.split(',') {
        let before = found.len();
        for (name, index) in &store.indices {
            let hit = matches(part, name) || index.aliases.iter().any(|a| matches(part, a));
            if (hit || part == "_all") && !found.contains(name) {
                found.push(name.clone());
            }
        }
        if found.len() == before && !part.contains('*') && part != "_all" {
            return Err(Failure::no_such_index(part));
        }
    }
    Ok(found)
}

pub fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, tail)) => name.strip_prefix(head).is_some_and(|rest| {
            rest.char_indices()
                .map(|(at, _)| at)
                .chain([rest.len()])
                .any(|at| matches(tail, &rest[at..]))
        }),
    }
}

pub fn check_index_name(name: &str) -> Outcome<()> {
    let problem = if name.chars().any(char::is_uppercase) {
        "must be lowercase"
    } else if name.chars().any(|c| " \"*\\<|,>/?#:".contains(c)) {
        "must not contain the following characters [ , \", *, \\, <, |, ,, >, /, ?]"
    } else if name.starts_with(['_', '-', '+']) {
        "must not start with '_', '-', or '+'"
    } else if name.is_empty() || name.len() > 255 {
        "index name is too long or empty"
    } else {
        return Ok(());
    };
    let reason = format!("Invalid index name [{name}], {problem}");
    Err(Failure::new(400, "invalid_index_name_exception", reason))
}

/// `{"index":{"blocks":{"write":true}}}` becomes `index.blocks.write: "true"`.
pub fn flatten(value: &Value) -> FlatSettings {
    let mut flat = FlatSettings::new();
    flatten_into(&mut flat, "", value);
    flat
}

fn flatten_into(flat: &mut FlatSettings, prefix: &str, value: &Value) {
    let text = match value {
        Value::Object(fields) => {
            for (key, inner) in fields {
                let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten_into(flat, &path, inner);
            }
            return;
        }
        Value::Array(items) => Value::Array(items.iter().map(as_text).collect()),
        other => as_text(other),
    };
    flat.insert(prefix.to_owned(), text);
}

fn as_text(value: &Value) -> Value {
    match value {
        Value::Bool(_) | Value::Number(_) => Value::String(value.to_string()),
        other => other.clone(),
    }
}

/// The way back.
pub fn nest(flat: &FlatSettings) -> Value {
    let mut root = Map::new();
    for (path, value) in flat {
        let mut place = &mut root;
        let mut names = path.split('.').peekable();
        while let Some(name) = names.next() {
            if names.peek().is_none() {
                place.insert(name.to_owned(), value.clone());
                break;
            }
            let inner = place.entry(name).or_insert_with(|| Value::Object(Map::new()));
            // A setting that is also a group keeps its own name flat, as `a` beside `a.b`.
            if !inner.is_object() {
                *inner = Value::Object(Map::new());
            }
            let Value::Object(inner) = inner else { break };
            place = inner;
        }
    }
    Value::Object(root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elasticsearch::store::Index;
    use serde_json::json;

    #[test]
    fn expressions_mean_names_aliases_and_patterns() {
        let mut store = Store::default();
        for name in ["contacts_2021_07_20", "contacts_2021_07_21", "other"] {
            store.indices.insert(name.into(), Index::new());
        }
        let newest = store.indices.get_mut("contacts_2021_07_21").unwrap();
        newest.aliases.insert("contacts".into());
        assert_eq!(resolve(&store, "contacts").unwrap(), ["contacts_2021_07_21"]);
        assert_eq!(resolve(&store, "contacts_*").unwrap().len(), 2);
        assert_eq!(resolve(&store, "_all").unwrap().len(), 3);
        assert_eq!(resolve(&store, "other,cont*21").unwrap(), ["other", "contacts_2021_07_21"]);
        assert!(resolve(&store, "nothing*").unwrap().is_empty());
        assert_eq!(resolve(&store, "nothing").unwrap_err().status, 404);
    }

    #[test]
    fn names_are_checked() {
        assert!(check_index_name("contacts_2021_07_21").is_ok());
        for name in ["Contacts", "_x", "a b", "a*", ""] {
            assert!(check_index_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn settings_have_two_forms() {
        let nested = json!({"index": {"number_of_shards": 2, "blocks": {"write": true}},
            "analysis": {"filter": ["lowercase"]}});
        let flat = flatten(&nested);
        assert_eq!(flat["index.number_of_shards"], "2");
        assert_eq!(flat["index.blocks.write"], "true");
        assert_eq!(nest(&flat)["analysis"]["filter"][0], "lowercase");
        assert_eq!(nest(&flat)["index"]["blocks"]["write"], "true");
    }
}
