//! Search and count: which documents, in which order, how many of them, and the simple
//! aggregations.

use std::cmp::Ordering;

use serde_json::{Map, Value, json};

use super::Elastic;
use super::failure::{Failure, Outcome};
use super::names::resolve;
use super::query::{self, Subject};
use super::rest::{Answer, Call};
use super::store::{Document, Index};
use crate::clock;

const WINDOW: u64 = 10_000;

struct Hit<'a> {
    name: &'a str,
    index: &'a Index,
    id: &'a str,
    document: &'a Document,
}

pub fn count(elastic: &Elastic, call: &Call) -> Outcome<Answer> {
    let body = call.json()?;
    check_keys(&body, &["query"])?;
    elastic.refuse_while_red()?;
    elastic.node.read(|store| {
        let names = resolve(store, call.target())?;
        let indices: Vec<(&str, &Index)> =
            names.iter().map(|name| (name.as_str(), &store.indices[name])).collect();
        let found = find(&indices, body.get("query"), None)?;
        Ok(Answer::Json(200, json!({"count": found.len(), "_shards": shards(&indices)})))
    })
}

pub fn search(elastic: &Elastic, call: &Call) -> Outcome<Answer> {
    let started = std::time::Instant::now();
    let mut body = call.json()?;
    check_keys(
        &body,
        &[
            "_source",
            "aggregations",
            "aggs",
            "from",
            "query",
            "size",
            "sort",
            "timeout",
            "track_total_hits",
            "version",
        ],
    )?;
    for name in ["from", "size"] {
        if let Some(text) = call.parameter(name) {
            let number: u64 = text.parse().map_err(|_| {
                Failure::illegal_argument(format!(
                    "Failed to parse int parameter [{name}] with value [{text}]"
                ))
            })?;
            body[name] = json!(number);
        }
    }
    if let Some(sort) = call.parameter("sort") {
        let entries: Vec<Value> = sort
            .split(',')
            .map(|entry| match entry.split_once(':') {
                Some((field, order)) => json!({ field: order }),
                None => json!(entry),
            })
            .collect();
        body["sort"] = json!(entries);
    }
    elastic.refuse_while_red()?;
    elastic.node.read(|store| {
        let names = resolve(store, call.target())?;
        let indices: Vec<(&str, &Index)> =
            names.iter().map(|name| (name.as_str(), &store.indices[name])).collect();
        let mut answer = run(&indices, &body, call)?;
        answer["took"] = json!(started.elapsed().as_millis() as u64);
        Ok(Answer::Json(200, answer))
    })
}

fn check_keys(body: &Value, known: &[&str]) -> Outcome<()> {
    let Some(fields) = body.as_object() else {
        return Err(Failure::parsing("Expected [START_OBJECT]"));
    };
    match fields.iter().find(|(key, _)| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some((key, value)) => {
            let token = match value {
                Value::Object(_) => "START_OBJECT",
                Value::Array(_) => "START_ARRAY",
                Value::String(_) => "VALUE_STRING",
                Value::Bool(_) => "VALUE_BOOLEAN",
                _ => "VALUE_NUMBER",
            };
            Err(Failure::parsing(format!("Unknown key for a {token} in [{key}].")))
        }
    }
}

fn shards(indices: &[(&str, &Index)]) -> Value {
    let total: u64 = indices.iter().map(|(_, index)| index.shards()).sum();
    json!({"total": total, "successful": total, "skipped": 0, "failed": 0})
}

/// With a routing only the documents of that shard are asked; here, those written with it.
fn find<'a>(
    indices: &[(&'a str, &'a Index)],
    query: Option<&Value>,
    routing: Option<&str>,
) -> Outcome<Vec<Hit<'a>>> {
    let everything = json!({"match_all": {}});
    let query = query.unwrap_or(&everything);
    let mut hits = Vec::new();
    for (name, index) in indices {
        // A malformed query is refused even where there is no document.
        query::matches(query, index, "", &json!({}))?;
        for (id, document) in &index.documents {
            let routed = routing.is_none_or(|wanted| {
                document.routing.as_deref().is_some_and(|r| wanted.split(',').any(|w| w == r))
            });
            if routed && query::matches(query, index, id, &document.source)? {
                hits.push(Hit { name, index, id, document });
            }
        }
    }
    Ok(hits)
}

fn run(indices: &[(&str, &Index)], body: &Value, call: &Call) -> Outcome<Value> {
    let from = body["from"].as_u64().unwrap_or(0);
    let size = body["size"].as_u64().unwrap_or(10);
    if from + size > WINDOW {
        let reason = format!(
            "Result window is too large, from + size must be less than or equal to: [{WINDOW}] but \
             was [{}]. See the scroll api for a more efficient way to request large data sets. \
             This limit can be set by changing the [index.max_result_window] index level setting.",
            from + size
        );
        let index = indices.first().map_or("", |(name, _)| *name);
        return Err(Failure::illegal_argument(reason).on_all_shards(index));
    }
    let order = sort_order(body.get("sort"))?;
    for (name, index) in indices {
        check_sortable(&order, name, index)?;
    }
    let mut hits = find(indices, body.get("query"), call.parameter("routing"))?;
    if !order.is_empty() {
        hits.sort_by(|a, b| compare(a, b, &order));
    }

    let total = hits.len() as u64;
    let tracked = call.wants("track_total_hits") || body["track_total_hits"] == json!(true);
    let shown_total = if total > WINDOW && !tracked {
        json!({"value": WINDOW, "relation": "gte"})
    } else {
        json!({"value": total, "relation": "eq"})
    };
    let page: Vec<Value> = hits
        .iter()
        .skip(from as usize)
        .take(size as usize)
        .map(|hit| show(hit, body, &order))
        .collect();
    let max_score = if order.is_empty() && !page.is_empty() { json!(1.0) } else { Value::Null };
    let mut answer = json!({
        "took": 0,
        "timed_out": false,
        "_shards": shards(indices),
        "hits": {"total": shown_total, "max_score": max_score, "hits": page},
    });
    if let Some(wanted) = body.get("aggs").or_else(|| body.get("aggregations")) {
        answer["aggregations"] = aggregate(&hits, wanted)?;
    }
    Ok(answer)
}

fn show(hit: &Hit, body: &Value, order: &[(String, bool)]) -> Value {
    let mut shown = Map::new();
    shown.insert("_index".into(), json!(hit.name));
    shown.insert("_type".into(), json!("_doc"));
    shown.insert("_id".into(), json!(hit.id));
    shown.insert("_score".into(), if order.is_empty() { json!(1.0) } else { Value::Null });
    if let Some(routing) = &hit.document.routing {
        shown.insert("_routing".into(), json!(routing));
    }
    if body["version"] == json!(true) {
        shown.insert("_version".into(), json!(hit.document.version));
    }
    match &body["_source"] {
        Value::Bool(false) => {}
        Value::Array(wanted) => {
            let fields = hit.document.source.as_object().cloned().unwrap_or_default();
            let kept: Map<String, Value> =
                fields.into_iter().filter(|(key, _)| wanted.contains(&json!(key))).collect();
            shown.insert("_source".into(), Value::Object(kept));
        }
        _ => {
            shown.insert("_source".into(), hit.document.source.clone());
        }
    }
    if !order.is_empty() {
        let values: Vec<Value> = order.iter().map(|(field, _)| sort_value(hit, field)).collect();
        shown.insert("sort".into(), Value::Array(values));
    }
    Value::Object(shown)
}

/// Fields with whether they descend.
fn sort_order(sort: Option<&Value>) -> Outcome<Vec<(String, bool)>> {
    let entries = match sort {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(entries)) => entries.clone(),
        Some(other) => vec![other.clone()],
    };
    let mut order = Vec::new();
    for entry in entries {
        match entry {
            Value::String(field) => order.push((field, false)),
            Value::Object(fields) => {
                for (field, how) in fields {
                    let direction =
                        how.as_str().or_else(|| how["order"].as_str()).unwrap_or("asc").to_owned();
                    match direction.as_str() {
                        "asc" | "desc" => order.push((field, direction == "desc")),
                        other => {
                            let reason = format!("No enum constant SortOrder.{other}");
                            return Err(Failure::illegal_argument(reason));
                        }
                    }
                }
            }
            _ => return Err(Failure::illegal_argument("malformed sort format")),
        }
    }
    Ok(order)
}

fn check_sortable(order: &[(String, bool)], name: &str, index: &Index) -> Outcome<()> {
    for (field, _) in order {
        if field.starts_with('_') {
            continue;
        }
        let failure = match index.mapping_of(field) {
            None => Failure::new(
                400,
                "query_shard_exception",
                format!("No mapping found for [{field}] in order to sort on"),
            )
            .with("index_uuid", json!(index.uuid))
            .with("index", json!(name)),
            Some(mapping) if mapping["type"] == "text" => Failure::illegal_argument(format!(
                "Text fields are not optimised for operations that require per-document field \
                 data like aggregations and sorting, so these operations are disabled by default. \
                 Please use a keyword field instead. Alternatively, set fielddata=true on [{field}] \
                 in order to load field data by uninverting the inverted index. Note that this can \
                 use significant memory."
            )),
            Some(_) => continue,
        };
        return Err(failure.on_all_shards(name));
    }
    Ok(())
}

fn compare(a: &Hit, b: &Hit, order: &[(String, bool)]) -> Ordering {
    for (field, descending) in order {
        let (left, right) = (sort_value(a, field), sort_value(b, field));
        let ordering = match (left.is_null(), right.is_null()) {
            // What has no value comes last, whichever way the rest goes.
            (true, true) => Ordering::Equal,
            (true, false) => return Ordering::Greater,
            (false, true) => return Ordering::Less,
            _ => match (left.as_f64(), right.as_f64()) {
                (Some(l), Some(r)) => l.total_cmp(&r),
                _ => left.to_string().cmp(&right.to_string()),
            },
        };
        let ordering = if *descending { ordering.reverse() } else { ordering };
        if ordering != Ordering::Equal {
            return ordering;
        }
    }
    Ordering::Equal
}

fn sort_value(hit: &Hit, field: &str) -> Value {
    match field {
        "_id" => return json!(hit.id),
        "_doc" | "_score" => return json!(0),
        _ => {}
    }
    let subject = Subject { index: hit.index, source: &hit.document.source };
    let value = subject.values(field).into_iter().next().unwrap_or(Value::Null);
    match (&value, hit.index.mapping_of(field).map(|m| &m["type"])) {
        (Value::String(text), Some(kind)) if kind == "date" => {
            clock::parse_timestamp(text).map_or(Value::Null, |micros| json!(micros / 1000))
        }
        _ => value,
    }
}

fn aggregate(hits: &[Hit], wanted: &Value) -> Outcome<Value> {
    let mut results = Map::new();
    for (name, body) in wanted.as_object().into_iter().flatten() {
        let (kind, field) = body
            .as_object()
            .and_then(|b| b.iter().next())
            .and_then(|(kind, inner)| Some((kind.as_str(), inner["field"].as_str()?)))
            .ok_or_else(|| {
                Failure::parsing(format!("Missing definition for aggregation [{name}]"))
            })?;
        let numbers: Vec<f64> =
            hits.iter().filter_map(|hit| sort_value(hit, field).as_f64()).collect();
        let value = match kind {
            "max" => numbers.iter().copied().reduce(f64::max),
            "min" => numbers.iter().copied().reduce(f64::min),
            "sum" => Some(numbers.iter().sum()),
            "value_count" => {
                Some(hits.iter().filter(|hit| !sort_value(hit, field).is_null()).count() as f64)
            }
            other => {
                let reason = format!("Unknown aggregation type [{other}]");
                return Err(Failure::parsing(reason));
            }
        };
        let mut result = json!({ "value": value });
        let is_date = hits
            .first()
            .and_then(|hit| hit.index.mapping_of(field))
            .is_some_and(|mapping| mapping["type"] == "date");
        if let (Some(ms), true) = (value, is_date && kind != "value_count") {
            result["value_as_string"] = json!(clock::utc_text(ms as i64 * 1000, 3));
        }
        results.insert(name.clone(), result);
    }
    Ok(Value::Object(results))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contacts() -> Index {
        let mut index = Index::new();
        index.mappings = json!({"properties": {"modified_on": {"type": "date"},
            "modified_on_mu": {"type": "long"}, "name": {"type": "text"}}});
        for (id, second) in [("1", 10), ("2", 30), ("3", 20)] {
            let source = json!({"name": id, "modified_on_mu": second,
                "modified_on": format!("2021-07-21T08:00:{second}Z")});
            let routing = Some(if id == "3" { "7" } else { "1" }.to_owned());
            index.documents.insert(id.into(), Document { version: 1, routing, source });
        }
        index
    }

    fn search(body: Value, parameters: &[(&str, &str)]) -> Outcome<Value> {
        let index = contacts();
        let call = Call {
            parameters: parameters.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            ..Call::default()
        };
        run(&[("contacts", &index)], &body, &call)
    }

    #[test]
    fn the_newest_comes_first_where_the_indexer_asks_for_it() {
        let answer = search(json!({"sort": [{"modified_on_mu": "desc"}], "size": 1}), &[]).unwrap();
        assert_eq!(answer["hits"]["total"], json!({"value": 3, "relation": "eq"}));
        assert_eq!(answer["hits"]["hits"][0]["_id"], "2");
        assert_eq!(answer["hits"]["hits"][0]["sort"], json!([30]));
    }

    #[test]
    fn routing_narrows_and_aggregations_sum_up() {
        let answer = search(json!({}), &[("routing", "7")]).unwrap();
        assert_eq!(answer["hits"]["total"]["value"], 1);
        let answer =
            search(json!({"size": 0, "aggs": {"newest": {"max": {"field": "modified_on"}}}}), &[])
                .unwrap();
        assert_eq!(answer["aggregations"]["newest"]["value_as_string"], "2021-07-21T08:00:30.000Z");
    }

    #[test]
    fn what_cannot_be_sorted_or_paged_is_refused() {
        for body in [
            json!({"sort": [{"created_on": "desc"}]}),
            json!({"sort": ["name"]}),
            json!({"sort": [{"modified_on": "down"}]}),
            json!({"from": 9_991, "size": 10}),
            json!({"query": {"nonsense": {}}}),
        ] {
            assert_eq!(search(body.clone(), &[]).unwrap_err().status, 400, "{body}");
        }
        assert!(check_keys(&json!({"querry": {}}), &["query"]).is_err());
    }
}
