//! Single documents and bulk requests, with the external versions that the indexer uses.

use serde_json::{Map, Value, json};

use super::Elastic;
use super::failure::{Failure, Outcome};
use super::indices;
use super::names::{check_index_name, resolve};
use super::rest::{Answer, Call};
use super::store::{Document, Index, Store};

/// One write, wherever it came from.
struct Write<'a> {
    index: &'a str,
    id: &'a str,
    routing: Option<String>,
    /// With `version_type: external`.
    external_version: Option<i64>,
    /// Only where no document has this id.
    create: bool,
    source: Option<Value>,
}

/// What a write came to: the fields that a single answer and a bulk item share.
fn apply(store: &mut Store, write: Write) -> Outcome<(u16, Value)> {
    let name = concrete(store, write.index, write.source.is_some())?;
    let Some(index) = store.indices.get_mut(&name) else {
        return Err(Failure::no_such_index(&name));
    };
    check_blocks(index, &name)?;
    if index.routing_required() && write.routing.is_none() {
        let reason = format!("routing is required for [{name}]/[_doc]/[{}]", write.id);
        return Err(Failure::new(400, "routing_missing_exception", reason)
            .with("index_uuid", json!(index.uuid))
            .with("index", json!(name)));
    }
    let existing = index.documents.get(write.id).map(|d| d.version);
    let conflict = |reason: String| {
        Failure::new(409, "version_conflict_engine_exception", reason)
            .with("index_uuid", json!(index.uuid))
            .with("shard", json!("0"))
            .with("index", json!(name))
    };
    if let (Some(have), true) = (existing, write.create) {
        let reason = format!(
            "[{}]: version conflict, document already exists (current version [{have}])",
            write.id
        );
        return Err(conflict(reason));
    }
    if let (Some(have), Some(wanted)) = (existing, write.external_version)
        && wanted <= have
    {
        let reason = format!(
            "[{}]: version conflict, current version [{have}] is higher or equal to the one \
             provided [{wanted}]",
            write.id
        );
        return Err(conflict(reason));
    }
    let version = write.external_version.unwrap_or_else(|| existing.unwrap_or(0) + 1);
    let (status, result) = match write.source {
        Some(source) => {
            learn(index, &source);
            let document = Document { version, routing: write.routing, source };
            index.documents.insert(write.id.to_owned(), document);
            if existing.is_some() { (200, "updated") } else { (201, "created") }
        }
        None if index.documents.remove(write.id).is_some() => {
            index.deleted += 1;
            (200, "deleted")
        }
        None => (404, "not_found"),
    };
    let body = json!({
        "_index": name,
        "_type": "_doc",
        "_id": write.id,
        "_version": version,
        "result": result,
        "_shards": {"total": 1 + index.replicas(), "successful": 1, "failed": 0},
        "_seq_no": index.documents.len() as u64 + index.deleted,
        "_primary_term": 1,
    });
    Ok((status, body))
}

/// The index behind a name or an alias; one is made where a document comes without.
fn concrete(store: &mut Store, expression: &str, may_create: bool) -> Outcome<String> {
    match resolve(store, expression) {
        Ok(mut names) if names.len() == 1 => Ok(names.remove(0)),
        Ok(_) => Err(Failure::illegal_argument(format!(
            "no write index is defined for alias [{expression}]. The write index may be \
             explicitly disabled using is_write_index=false or the alias points to multiple \
             indices without one being designated as a write index"
        ))),
        Err(missing) if !may_create => Err(missing),
        Err(_) => {
            check_index_name(expression)?;
            indices::add(store, expression, Index::new(), "auto(bulk api)");
            Ok(expression.to_owned())
        }
    }
}

fn check_blocks(index: &Index, name: &str) -> Outcome<()> {
    const BLOCKS: [(&str, u16, &str); 3] = [
        (
            "index.blocks.read_only_allow_delete",
            429,
            "[TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, index has \
             read-only-allow-delete block]",
        ),
        ("index.blocks.read_only", 403, "[FORBIDDEN/5/index read-only (api)]"),
        ("index.blocks.write", 403, "[FORBIDDEN/8/index write (api)]"),
    ];
    match BLOCKS.iter().find(|(setting, ..)| index.has(setting)) {
        Some((_, status, block)) => Err(Failure::new(
            *status,
            "cluster_block_exception",
            format!("index [{name}] blocked by: {block};"),
        )),
        None => Ok(()),
    }
}

/// Dynamic mapping: a field that nobody described is described by its first value.
fn learn(index: &mut Index, source: &Value) {
    if !index.mappings.is_object() {
        index.mappings = json!({});
    }
    if let Some(mappings) = index.mappings.as_object_mut() {
        learn_fields(mappings, source);
    }
}

fn learn_fields(place: &mut Map<String, Value>, source: &Value) {
    let Some(fields) = source.as_object() else { return };
    let properties = place.entry("properties").or_insert_with(|| json!({}));
    let Some(properties) = properties.as_object_mut() else { return };
    for (name, value) in fields {
        let sample = match value {
            Value::Array(items) => items.first().unwrap_or(&Value::Null),
            other => other,
        };
        if sample.is_null() {
            continue;
        }
        let property = properties.entry(name.clone()).or_insert_with(|| match sample {
            Value::Bool(_) => json!({"type": "boolean"}),
            Value::Number(n) if n.is_f64() => json!({"type": "float"}),
            Value::Number(_) => json!({"type": "long"}),
            Value::String(s) if crate::clock::parse_timestamp(s).is_some() => {
                json!({"type": "date"})
            }
            Value::Object(_) => json!({"properties": {}}),
            _ => json!({"type": "text",
                "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}}),
        });
        if let (Some(inner), Value::Object(_)) = (property.as_object_mut(), sample) {
            learn_fields(inner, sample);
        }
    }
}

pub fn put(elastic: &Elastic, call: &Call) -> Outcome<Answer> {
    let source = call.required_json()?;
    let write = Write {
        index: call.target(),
        id: call.name("id"),
        routing: call.parameter("routing").map(str::to_owned),
        external_version: None,
        create: false,
        source: Some(source),
    };
    let (status, body) = elastic.node.change(|store| apply(store, write))?;
    Ok(Answer::Json(status, body))
}

pub fn delete(elastic: &Elastic, call: &Call) -> Outcome<Answer> {
    let write = Write {
        index: call.target(),
        id: call.name("id"),
        routing: call.parameter("routing").map(str::to_owned),
        external_version: None,
        create: false,
        source: None,
    };
    let (status, body) = elastic.node.change(|store| apply(store, write))?;
    Ok(Answer::Json(status, body))
}

pub fn get(elastic: &Elastic, call: &Call) -> Outcome<Answer> {
    let id = call.name("id");
    elastic.node.read(|store| {
        let names = resolve(store, call.target())?;
        let Some(name) = names.first() else {
            return Err(Failure::no_such_index(call.target()));
        };
        let Some(document) = store.indices[name].documents.get(id) else {
            let body = json!({"_index": name, "_type": "_doc", "_id": id, "found": false});
            return Ok(Answer::Json(404, body));
        };
        let mut body = json!({
            "_index": name, "_type": "_doc", "_id": id,
            "_version": document.version, "found": true,
        });
        if let Some(routing) = &document.routing {
            body["_routing"] = json!(routing);
        }
        body["_source"] = document.source.clone();
        Ok(Answer::Json(200, body))
    })
}

pub fn bulk(elastic: &Elastic, call: &Call) -> Outcome<Answer> {
    let started = std::time::Instant::now();
    if call.body.is_empty() {
        return Err(Failure::new(400, "parse_exception", "request body is required"));
    }
    if call.body.last() != Some(&b'\n') {
        return Err(Failure::illegal_argument(
            "The bulk request must be terminated by a newline [\\n]",
        ));
    }
    let operations = parse_bulk(&call.body, call.names_index())?;
    if operations.is_empty() {
        return Err(Failure::new(
            400,
            "action_request_validation_exception",
            "Validation Failed: 1: no requests added;",
        ));
    }
    let mut errors = false;
    let items: Vec<Value> = elastic.node.change(|store| {
        operations
            .into_iter()
            .map(|operation| {
                let (status, body) = operation.run(store);
                errors |= body.get("error").is_some();
                let mut item = body;
                item["status"] = json!(status);
                let mut outer = Map::new();
                outer.insert(operation.action.into(), item);
                Value::Object(outer)
            })
            .collect()
    });
    let took = started.elapsed().as_millis() as u64;
    Ok(Answer::Json(200, json!({"took": took, "errors": errors, "items": items})))
}

struct Operation {
    action: &'static str,
    index: String,
    id: String,
    routing: Option<String>,
    external_version: Option<i64>,
    source: Option<Value>,
}

impl Operation {
    fn run(&self, store: &mut Store) -> (u16, Value) {
        let write = Write {
            index: &self.index,
            id: &self.id,
            routing: self.routing.clone(),
            external_version: self.external_version,
            create: self.action == "create",
            source: self.source.clone(),
        };
        apply(store, write).unwrap_or_else(|failure| {
            let body = json!({
                "_index": self.index, "_type": "_doc", "_id": self.id, "error": failure.cause(),
            });
            (failure.status, body)
        })
    }
}

fn parse_bulk(body: &[u8], default_index: Option<&str>) -> Outcome<Vec<Operation>> {
    let mut operations = Vec::new();
    let mut lines = body.split(|b| *b == b'\n').enumerate();
    while let Some((number, line)) = lines.next() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let malformed = || {
            Failure::illegal_argument(format!(
                "Malformed action/metadata line [{}], expected START_OBJECT or END_OBJECT",
                number + 1
            ))
        };
        let parsed: Value = serde_json::from_slice(line).map_err(|_| malformed())?;
        let (action, meta) =
            parsed.as_object().and_then(|o| o.iter().next()).ok_or_else(malformed)?;
        let action = match action.as_str() {
            "index" => "index",
            "create" => "create",
            "delete" => "delete",
            _ => return Err(malformed()),
        };
        let known = ["_index", "_type", "_id", "routing", "version", "version_type"];
        let meta = meta.as_object().ok_or_else(malformed)?;
        if let Some(unknown) = meta.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(Failure::illegal_argument(format!(
                "Action/metadata line [{}] contains an unknown parameter [{unknown}]",
                number + 1
            )));
        }
        // Ids and routing may come as numbers; they are text all the same.
        let text = |key: &str| match meta.get(key) {
            Some(Value::String(s)) => Some(s.clone()),
            Some(Value::Number(n)) => Some(n.to_string()),
            _ => None,
        };
        let index =
            text("_index").or_else(|| default_index.map(str::to_owned)).ok_or_else(|| {
                Failure::new(
                    400,
                    "action_request_validation_exception",
                    "Validation Failed: 1: index is missing;",
                )
            })?;
        let external = text("version_type").is_some_and(|kind| kind == "external");
        let source = if action == "delete" {
            None
        } else {
            let (_, line) = lines.next().ok_or_else(malformed)?;
            let source: Value = serde_json::from_slice(line)
                .map_err(|e| Failure::new(400, "mapper_parsing_exception", e.to_string()))?;
            Some(source)
        };
        operations.push(Operation {
            action,
            index,
            id: text("_id").unwrap_or_else(crate::random::short_id),
            routing: text("routing"),
            external_version: meta.get("version").and_then(Value::as_i64).filter(|_| external),
            source,
        });
    }
    Ok(operations)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(store: &mut Store, body: &str) -> Vec<(u16, Value)> {
        let operations = parse_bulk(body.as_bytes(), Some("contacts")).unwrap();
        operations.iter().map(|operation| operation.run(store)).collect()
    }

    #[test]
    fn external_versions_conflict_unless_they_grow() {
        let mut store = Store::default();
        let line = |version: u64| {
            format!(
                "{{\"index\":{{\"_id\":5,\"_type\":\"_doc\",\"version\":{version},\
                 \"version_type\":\"external\",\"routing\":1}}}}\n{{\"name\":\"Bob\"}}\n"
            )
        };
        assert_eq!(run(&mut store, &line(10))[0].0, 201);
        assert_eq!(run(&mut store, &line(11))[0].0, 200);
        let (status, body) = run(&mut store, &line(11)).remove(0);
        assert_eq!(status, 409);
        assert_eq!(body["error"]["type"], "version_conflict_engine_exception");
        assert_eq!(store.indices["contacts"].mapping_of("name").unwrap()["type"], "text");
    }

    #[test]
    fn blocks_routing_and_missing_documents_are_answered_item_by_item() {
        let mut store = Store::default();
        let delete = "{\"delete\":{\"_id\":\"9\"}}\n";
        assert_eq!(run(&mut store, delete)[0].0, 404);

        let mut index = Index::new();
        index.mappings = json!({"_routing": {"required": true}});
        store.indices.insert("contacts".into(), index);
        assert_eq!(run(&mut store, delete)[0].1["error"]["type"], "routing_missing_exception");
        let routed = "{\"delete\":{\"_id\":\"9\",\"routing\":1}}\n";
        assert_eq!(run(&mut store, routed)[0].1["result"], "not_found");

        let index = store.indices.get_mut("contacts").unwrap();
        index.settings.insert("index.blocks.read_only_allow_delete".into(), json!("true"));
        let (status, body) = run(&mut store, routed).remove(0);
        assert_eq!(status, 429);
        assert!(body["error"]["reason"].as_str().unwrap().contains("TOO_MANY_REQUESTS/12"));
    }

    #[test]
    fn malformed_lines_refuse_the_whole_request() {
        for body in ["nonsense\n", "{\"update\":{}}\n", "{\"index\":{\"x\":1}}\n{}\n"] {
            assert!(parse_bulk(body.as_bytes(), Some("a")).is_err(), "{body}");
        }
        assert!(parse_bulk(b"{\"index\":{}}\n{}\n", None).is_err());
    }
}
