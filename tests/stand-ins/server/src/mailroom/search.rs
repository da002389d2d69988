//! Contact search: a query in RapidPro's language becomes one in Elasticsearch's. Bare
//! words, numbers, and conditions on name, tel, id and uuid; the rest is refused.

use serde_json::{Value, json};

use super::Mailroom;
use super::routes::{Answer, Trouble, require_org};

#[derive(Debug, Clone, PartialEq, Eq)]
struct Condition {
    key: String,
    operator: &'static str,
    value: String,
}

/// The conditions of a query, all of which have to hold.
fn parse(query: &str) -> Result<Vec<Condition>, Trouble> {
    let mut words = query.split_whitespace().peekable();
    let mut conditions = Vec::new();
    while let Some(word) = words.next() {
        if word.eq_ignore_ascii_case("and") && !conditions.is_empty() {
            continue;
        }
        let operator = words.peek().and_then(|next| match *next {
            "=" => Some("="),
            "~" => Some("~"),
            _ => None,
        });
        let condition = match operator {
            Some(operator) => {
                words.next();
                let value = words.next().ok_or_else(|| unexpected("<EOF>"))?;
                Condition {
                    key: word.to_lowercase(),
                    operator,
                    value: value.trim_matches('"').to_owned(),
                }
            }
            None if !word.chars().all(|c| c.is_alphanumeric() || "+-_.@'".contains(c)) => {
                return Err(unexpected(word));
            }
            None => {
                let digits = word.chars().filter(char::is_ascii_digit).count();
                let key = if digits >= 3 && digits + 1 >= word.len() { "tel" } else { "name" };
                Condition { key: key.into(), operator: "~", value: word.to_owned() }
            }
        };
        if !matches!(condition.key.as_str(), "name" | "tel" | "id" | "uuid") {
            return Err(Trouble::Refused(
                400,
                json!({
                    "error": format!("can't resolve '{}' to attribute, scheme or field", condition.key),
                    "code": "unknown_property",
                    "extra": {"property": condition.key},
                }),
            ));
        }
        conditions.push(condition);
    }
    Ok(conditions)
}

fn unexpected(token: &str) -> Trouble {
    Trouble::Refused(
        400,
        json!({
            "error": format!("mismatched input '{token}' expecting {{'(', TEXT, STRING}}"),
            "code": "unexpected_token",
            "extra": {"token": token},
        }),
    )
}

fn normalized(conditions: &[Condition]) -> String {
    let parts: Vec<String> = conditions
        .iter()
        .map(|c| {
            let numeric = c.value.parse::<f64>().is_ok();
            let value = if numeric { c.value.clone() } else { format!("\"{}\"", c.value) };
            format!("{} {} {value}", c.key, c.operator)
        })
        .collect();
    parts.join(" AND ")
}

fn elastic_query(org_id: i64, group: &str, exclude: &[Value], conditions: &[Condition]) -> Value {
    let mut must = vec![json!({"term": {"org_id": org_id}}), json!({"term": {"is_active": true}})];
    if !group.is_empty() {
        must.push(json!({"term": {"groups": group}}));
    }
    for condition in conditions {
        let value = &condition.value;
        must.push(match (condition.key.as_str(), condition.operator) {
            ("name", "=") => json!({"term": {"name.keyword": {"value": value}}}),
            ("name", _) => json!({"match": {"name": {"query": value}}}),
            ("id", _) => json!({"ids": {"values": [value]}}),
            ("uuid", _) => json!({"term": {"uuid": value}}),
            (_, operator) => {
                let path = if operator == "=" {
                    json!({"term": {"urns.path.keyword": value}})
                } else {
                    json!({"match_phrase": {"urns.path": {"query": value}}})
                };
                json!({"nested": {"path": "urns", "query": {"bool": {"must": [
                    path, {"term": {"urns.scheme": "tel"}}]}}}})
            }
        });
    }
    let mut query = json!({"bool": {"must": must}});
    if !exclude.is_empty() {
        let ids: Vec<String> = exclude.iter().map(Value::to_string).collect();
        query["bool"]["must_not"] = json!({"ids": {"values": ids}});
    }
    query
}

fn metadata(conditions: &[Condition]) -> Value {
    let keys = |wanted: &[&str]| {
        let mut found: Vec<&str> =
            conditions.iter().map(|c| c.key.as_str()).filter(|key| wanted.contains(key)).collect();
        found.sort_unstable();
        found.dedup();
        json!(found)
    };
    json!({
        "attributes": keys(&["id", "name", "uuid"]),
        "schemes": keys(&["tel"]),
        "fields": [],
        "groups": [],
        "allow_as_group": !conditions.iter().any(|c| c.key == "id"),
    })
}

pub fn parse_query(mailroom: &Mailroom, body: &Value) -> Answer {
    let org_id = require_org(mailroom, body)?;
    let conditions = parse(body["query"].as_str().unwrap_or_default())?;
    let group = body["group_uuid"].as_str().unwrap_or_default();
    let inspection = metadata(&conditions);
    Ok(json!({
        "query": normalized(&conditions),
        "elastic_query": elastic_query(org_id, group, &[], &conditions),
        "fields": inspection["attributes"],
        "allow_as_group": inspection["allow_as_group"],
        "metadata": inspection,
    }))
}

pub fn search(mailroom: &Mailroom, body: &Value) -> Answer {
    let org_id = require_org(mailroom, body)?;
    let Some(elastic) = &mailroom.elastic else {
        return Err(Trouble::Failed(
            "no elastic client available, check your configuration".into(),
        ));
    };
    let query = body["query"].as_str().unwrap_or_default();
    let conditions = parse(query)?;
    let sort = body["sort"].as_str().filter(|s| !s.is_empty()).unwrap_or("-id");
    let offset = body["offset"].as_u64().unwrap_or(0);
    let exclude = body["exclude_ids"].as_array().cloned().unwrap_or_default();
    let request = json!({
        "query": elastic_query(
            org_id, body["group_uuid"].as_str().unwrap_or_default(), &exclude, &conditions),
        "sort": [sort_field(sort)?],
        "from": offset,
        "size": body["page_size"].as_u64().filter(|n| *n > 0).unwrap_or(50),
        "_source": false,
    });
    let found = elastic.search(org_id, &request).map_err(Trouble::Failed)?;
    let ids: Vec<i64> = found["hits"]["hits"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|hit| hit["_id"].as_str()?.parse().ok())
        .collect();
    let mut answer = json!({
        "query": normalized(&conditions),
        "contact_ids": ids,
        "total": found["hits"]["total"]["value"],
        "offset": offset,
        "sort": sort,
        "fields": [],
        "allow_as_group": false,
    });
    if !conditions.is_empty() {
        let inspection = metadata(&conditions);
        answer["fields"] = inspection["attributes"].clone();
        answer["allow_as_group"] = inspection["allow_as_group"].clone();
        answer["metadata"] = inspection;
    }
    Ok(answer)
}

fn sort_field(sort: &str) -> Result<Value, Trouble> {
    let (name, order) = match sort.strip_prefix('-') {
        Some(name) => (name, "desc"),
        None => (sort, "asc"),
    };
    let field = match name {
        "id" | "created_on" | "modified_on" | "last_seen_on" | "language" => name,
        "name" => "name.keyword",
        _ => {
            let problem = format!("error parsing sort: no such field with key: {name}");
            return Err(Trouble::Failed(problem));
        }
    };
    Ok(json!({ field: {"order": order} }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_names_and_digits_are_numbers() {
        let conditions = parse("bob +254712 AND id = 5").unwrap();
        assert_eq!(normalized(&conditions), "name ~ \"bob\" AND tel ~ +254712 AND id = 5");
        assert_eq!(metadata(&conditions)["allow_as_group"], false);
        let query = elastic_query(1, "g", &[json!(7)], &conditions);
        assert_eq!(query["bool"]["must"].as_array().unwrap().len(), 6);
        assert_eq!(query["bool"]["must_not"]["ids"]["values"][0], "7");
        assert!(parse("").unwrap().is_empty());
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for query in ["age = 10", "(bob", "name ="] {
            assert!(matches!(parse(query), Err(Trouble::Refused(400, _))), "{query}");
        }
        assert!(sort_field("-shoe_size").is_err());
        assert_eq!(sort_field("-id").unwrap(), json!({"id": {"order": "desc"}}));
    }
}
