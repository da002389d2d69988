//! The part of the query language that contact search needs, evaluated on the sources.

use serde_json::{Map, Value, json};

use super::failure::{Failure, Outcome};
use super::store::Index;
use crate::clock;

/// Whether a document satisfies a query.
pub fn matches(query: &Value, index: &Index, id: &str, source: &Value) -> Outcome<bool> {
    let object = query.as_object().ok_or_else(|| {
        Failure::parsing("[bool] query malformed, no start_object after query name")
    })?;
    let mut fields = object.iter();
    let (Some((kind, body)), None) = (fields.next(), fields.next()) else {
        return Err(Failure::parsing(if object.is_empty() {
            "query malformed, empty clause found"
        } else {
            "malformed query, expected [END_OBJECT] but found [FIELD_NAME]"
        }));
    };
    let subject = Subject { index, source };
    Ok(match kind.as_str() {
        "match_all" => true,
        "match_none" => false,
        "bool" => return boolean(body, index, id, source),
        "ids" => list(&body["values"]).iter().any(|value| as_text(value) == id),
        "exists" => {
            let field = body["field"].as_str().unwrap_or_default();
            !subject.values(field).is_empty()
        }
        "term" => {
            let (field, value) = field_and_value(kind, body, "value")?;
            subject.equals(field, &value)
        }
        "terms" => {
            let (field, values) = single(kind, body)?;
            list(values).iter().any(|value| subject.equals(field, value))
        }
        "match" | "match_phrase" => {
            let (field, value) = field_and_value(kind, body, "query")?;
            subject.contains_words(field, &as_text(&value), kind == "match_phrase")
        }
        "prefix" => {
            let (field, value) = field_and_value(kind, body, "value")?;
            let wanted = as_text(&value);
            subject.values(field).iter().any(|v| as_text(v).starts_with(&wanted))
        }
        "range" => {
            let (field, bounds) = single(kind, body)?;
            subject.in_range(field, bounds)?
        }
        "nested" => {
            let path = body["path"].as_str().unwrap_or_default();
            let mut found = false;
            for element in subject.values(path) {
                // The inner query names its fields by the whole path.
                let mut wrapped = element;
                for name in path.rsplit('.') {
                    wrapped = json!({ name: wrapped });
                }
                found |= matches(&body["query"], index, id, &wrapped)?;
            }
            found
        }
        other => return Err(Failure::parsing(format!("unknown query [{other}]"))),
    })
}

fn boolean(body: &Value, index: &Index, id: &str, source: &Value) -> Outcome<bool> {
    let clauses = body.as_object().cloned().unwrap_or_default();
    let known = ["must", "filter", "must_not", "should", "minimum_should_match", "boost"];
    if let Some(unknown) = clauses.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(Failure::parsing(format!("[bool] query does not support [{unknown}]")));
    }
    let all = |name: &str| -> Outcome<Vec<bool>> {
        list(&body[name]).iter().map(|query| matches(query, index, id, source)).collect()
    };
    let must: Vec<bool> = all("must")?.into_iter().chain(all("filter")?).collect();
    let should = all("should")?;
    // Where something must match, what should match only moves the score.
    let needs_should = !should.is_empty()
        && (must.is_empty() || body["minimum_should_match"].as_u64().is_some_and(|n| n > 0));
    Ok(must.iter().all(|hit| *hit)
        && !all("must_not")?.contains(&true)
        && (!needs_should || should.contains(&true)))
}

fn list(value: &Value) -> Vec<Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(items) => items.clone(),
        other => vec![other.clone()],
    }
}

fn single<'a>(kind: &str, body: &'a Value) -> Outcome<(&'a str, &'a Value)> {
    let mut fields = body.as_object().into_iter().flatten().filter(|(key, _)| *key != "boost");
    match (fields.next(), fields.next()) {
        (Some((field, value)), None) => Ok((field, value)),
        _ => Err(Failure::parsing(format!("[{kind}] query doesn't support multiple fields"))),
    }
}

/// `{"field": value}` or `{"field": {"value": value}}`.
fn field_and_value<'a>(kind: &str, body: &'a Value, inner: &str) -> Outcome<(&'a str, Value)> {
    let (field, value) = single(kind, body)?;
    Ok((field, value.get(inner).unwrap_or(value).clone()))
}

fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

pub struct Subject<'a> {
    pub index: &'a Index,
    pub source: &'a Value,
}

impl Subject<'_> {
    /// All values of a field, also through lists. A name under `fields` of the mapping, as
    /// `name.keyword`, means the values of its parent.
    pub fn values(&self, path: &str) -> Vec<Value> {
        let mut found = Vec::new();
        collect(self.source, path, &mut found);
        if found.is_empty()
            && let Some((parent, _)) = path.rsplit_once('.')
            && self.index.mapping_of(parent).is_some_and(|m| m.get("fields").is_some())
        {
            collect(self.source, parent, &mut found);
        }
        found
    }

    fn property(&self, path: &str, name: &str) -> Option<&str> {
        self.index.mapping_of(path)?.get(name)?.as_str()
    }

    fn equals(&self, field: &str, wanted: &Value) -> bool {
        if field == "_id" {
            return false;
        }
        let wanted = as_text(wanted);
        let ignore_case = self.property(field, "normalizer") == Some("lowercase");
        self.values(field).iter().map(as_text).any(|value| {
            value == wanted || (ignore_case && value.to_lowercase() == wanted.to_lowercase())
        })
    }

    fn contains_words(&self, field: &str, wanted: &str, phrase: bool) -> bool {
        // Numbers are indexed in parts of three signs, so that any part of one is found.
        let in_parts = self.property(field, "analyzer") == Some("trigrams");
        self.values(field).iter().map(|v| as_text(v).to_lowercase()).any(|value| {
            let wanted = wanted.to_lowercase();
            if phrase || in_parts {
                return value.contains(&wanted);
            }
            let words: Vec<&str> = value.split(|c: char| !c.is_alphanumeric()).collect();
            wanted.split_whitespace().any(|w| words.iter().any(|word| word.starts_with(w)))
        })
    }

    fn in_range(&self, field: &str, bounds: &Value) -> Outcome<bool> {
        let is_date = self.property(field, "type") == Some("date");
        let number = |value: &Value| -> Option<f64> {
            match value {
                Value::String(text) if is_date => clock::parse_timestamp(text).map(|t| t as f64),
                Value::String(text) => text.parse().ok(),
                // Dates as numbers are milliseconds.
                Value::Number(n) if is_date => n.as_f64().map(|ms| ms * 1000.0),
                other => other.as_f64(),
            }
        };
        let bounds: &Map<String, Value> = bounds
            .as_object()
            .ok_or_else(|| Failure::parsing("[range] query malformed, no start_object"))?;
        for value in self.values(field).iter().filter_map(number) {
            let mut inside = true;
            for (name, bound) in bounds {
                if matches!(name.as_str(), "format" | "boost" | "time_zone") {
                    continue;
                }
                let bound = number(bound).ok_or_else(|| {
                    let reason = format!("failed to parse date field [{}]", as_text(bound));
                    Failure::new(400, "parse_exception", reason)
                })?;
                inside &= match name.as_str() {
                    "gt" => value > bound,
                    "gte" => value >= bound,
                    "lt" => value < bound,
                    "lte" => value <= bound,
                    other => {
                        let reason = format!("[range] query does not support [{other}]");
                        return Err(Failure::parsing(reason));
                    }
                };
            }
            if inside {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn collect(value: &Value, path: &str, found: &mut Vec<Value>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, path, found)),
        Value::Null => {}
        other if path.is_empty() => found.push(other.clone()),
        Value::Object(fields) => {
            let (name, rest) = path.split_once('.').unwrap_or((path, ""));
            if let Some(inner) = fields.get(name) {
                collect(inner, rest, found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(query: Value) -> Outcome<bool> {
        let mut index = Index::new();
        index.mappings = json!({"properties": {
            "modified_on": {"type": "date"},
            "language": {"type": "keyword", "normalizer": "lowercase"},
            "name": {"type": "text", "fields": {"keyword": {"type": "keyword"}}},
            "urns": {"properties": {"path": {"type": "text", "analyzer": "trigrams"}}}}});
        let source = json!({
            "org_id": 1, "is_active": true, "name": "Bob Marley", "language": "ENG",
            "groups": ["a", "b"], "modified_on": "2021-07-21T12:00:00+03:00",
            "urns": [{"scheme": "tel", "path": "+254712345678"}],
        });
        matches(&query, &index, "42", &source)
    }

    #[test]
    fn the_queries_of_contact_search_are_understood() {
        for query in [
            json!({"match_all": {}}),
            json!({"term": {"org_id": 1}}),
            json!({"term": {"language": {"value": "eng"}}}),
            json!({"term": {"groups": "b"}}),
            json!({"term": {"name.keyword": "Bob Marley"}}),
            json!({"terms": {"org_id": [3, 1]}}),
            json!({"ids": {"values": ["42"]}}),
            json!({"exists": {"field": "urns.path"}}),
            json!({"match": {"name": {"query": "mar"}}}),
            json!({"range": {"modified_on": {"gt": "2021-07-21T08:00:00Z", "lte": 1626858000000u64}}}),
            json!({"nested": {"path": "urns", "query": {"bool": {"must": [
                {"term": {"urns.scheme": "tel"}}, {"match_phrase": {"urns.path": "7123"}}]}}}}),
            json!({"bool": {"should": [{"term": {"org_id": 2}}, {"term": {"org_id": 1}}],
                "must_not": {"ids": {"values": ["7"]}}}}),
        ] {
            assert_eq!(hit(query.clone()), Ok(true), "{query}");
        }
        for query in [
            json!({"term": {"org_id": 2}}),
            json!({"exists": {"field": "fields"}}),
            json!({"match": {"name": "ley"}}),
            json!({"bool": {"must": {"match_all": {}}, "must_not": [{"term": {"is_active": true}}]}}),
        ] {
            assert_eq!(hit(query.clone()), Ok(false), "{query}");
        }
    }

    #[test]
    fn what_is_no_query_is_refused() {
        for query in [
            json!({"fuzzyish": {}}),
            json!({}),
            json!([]),
            json!({"term": {"a": 1, "b": 2}}),
            json!({"bool": {"most": []}}),
            json!({"range": {"modified_on": {"after": 1}}}),
        ] {
            assert_eq!(hit(query.clone()).unwrap_err().status, 400, "{query}");
        }
    }
}
