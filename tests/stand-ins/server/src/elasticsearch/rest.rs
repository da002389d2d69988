//! The REST layer: which path and method is answered by whom, and what is refused before
//! anyone is asked.

use std::collections::BTreeMap;

use serde_json::Value;

use super::failure::{Failure, Outcome};
use super::{Elastic, cat, cluster, documents, indices, search};
use crate::http::{self, Request, Response};

/// A request that found its route.
#[derive(Debug, Default)]
pub struct Call {
    pub parameters: BTreeMap<String, String>,
    /// What the placeholders of the pattern stand for.
    pub names: BTreeMap<&'static str, String>,
    pub body: Vec<u8>,
}

impl Call {
    pub fn name(&self, placeholder: &str) -> &str {
        self.names.get(placeholder).map_or("", String::as_str)
    }

    /// The index expression of the path, or all indices.
    pub fn target(&self) -> &str {
        self.names.get("index").map_or("_all", String::as_str)
    }

    /// The index of the path, where there is one.
    pub fn names_index(&self) -> Option<&str> {
        self.names.get("index").map(String::as_str)
    }

    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// Set to anything but `false`.
    pub fn wants(&self, name: &str) -> bool {
        self.parameter(name).is_some_and(|value| value != "false")
    }

    /// The body as JSON; an empty one is an empty object.
    pub fn json(&self) -> Outcome<Value> {
        if self.body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Value::Object(serde_json::Map::new()));
        }
        serde_json::from_slice(&self.body)
            .map_err(|problem| Failure::new(400, "parse_exception", format!("{problem}")))
    }

    pub fn required_json(&self) -> Outcome<Value> {
        if self.body.is_empty() {
            return Err(Failure::new(400, "parse_exception", "request body is required"));
        }
        self.json()
    }
}

#[derive(Debug)]
pub enum Answer {
    Json(u16, Value),
    Text(String),
    /// For HEAD of something that may not exist.
    Empty(u16),
}

type Handler = fn(&Elastic, &Call) -> Outcome<Answer>;

struct Route {
    methods: &'static [&'static str],
    pattern: &'static str,
    /// Query parameters beside those that every route takes.
    parameters: &'static [&'static str],
    handler: Handler,
}

const fn route(
    methods: &'static [&'static str],
    pattern: &'static str,
    parameters: &'static [&'static str],
    handler: Handler,
) -> Route {
    Route { methods, pattern, parameters, handler }
}

const GET: &[&str] = &["GET"];
const PUT: &[&str] = &["PUT"];
const POST: &[&str] = &["POST"];
const READ: &[&str] = &["GET", "HEAD"];
const GET_POST: &[&str] = &["GET", "POST"];
const PUT_POST: &[&str] = &["PUT", "POST"];

const HEALTH: &[&str] = &["level", "local", "master_timeout", "timeout", "wait_for_status"];
const CAT: &[&str] = &["bytes", "expand_wildcards", "h", "health", "master_timeout", "s", "v"];
const SEARCH: &[&str] = &[
    "_source",
    "allow_no_indices",
    "from",
    "ignore_unavailable",
    "q",
    "routing",
    "size",
    "sort",
    "track_total_hits",
];
const BULK: &[&str] = &["refresh", "routing", "timeout", "wait_for_active_shards"];
const INDICES: &[&str] = &[
    "allow_no_indices",
    "expand_wildcards",
    "flat_settings",
    "ignore_unavailable",
    "include_defaults",
    "include_type_name",
    "local",
    "master_timeout",
    "preserve_existing",
    "timeout",
    "wait_for_active_shards",
];

/// Literal patterns stand before those with placeholders that would take them.
const ROUTES: &[Route] = &[
    route(READ, "/", &[], cluster::root),
    route(GET, "/_cluster/health", HEALTH, cluster::health),
    route(GET, "/_cluster/health/{index}", HEALTH, cluster::health),
    route(GET, "/_cluster/stats", &["timeout"], cluster::stats),
    route(GET, "/_cluster/settings", INDICES, cluster::settings),
    route(PUT, "/_cluster/settings", INDICES, cluster::update_settings),
    route(GET, "/_nodes", &["timeout"], cluster::nodes),
    route(GET, "/_nodes/stats", &["timeout"], cluster::node_stats),
    route(GET, "/_nodes/stats/{metric}", &["timeout"], cluster::node_stats),
    route(GET, "/_cat/health", CAT, cat::health),
    route(GET, "/_cat/indices", CAT, cat::indices),
    route(GET, "/_cat/indices/{index}", CAT, cat::indices),
    route(GET, "/_cat/aliases", CAT, cat::aliases),
    route(GET, "/_cat/allocation", CAT, cat::allocation),
    route(GET, "/_cat/count", CAT, cat::count),
    route(GET, "/_cat/count/{index}", CAT, cat::count),
    route(POST, "/_aliases", INDICES, indices::update_aliases),
    route(READ, "/_alias", INDICES, indices::aliases),
    route(READ, "/_alias/{name}", INDICES, indices::aliases),
    route(GET_POST, "/_search", SEARCH, search::search),
    route(GET_POST, "/_count", SEARCH, search::count),
    route(PUT_POST, "/_bulk", BULK, documents::bulk),
    route(GET, "/_settings", INDICES, indices::settings),
    route(PUT, "/_settings", INDICES, indices::update_settings),
    route(GET, "/_mapping", INDICES, indices::mapping),
    route(GET_POST, "/_refresh", INDICES, indices::refresh),
    route(GET_POST, "/_flush", INDICES, indices::refresh),
    route(READ, "/{index}/_alias", INDICES, indices::aliases),
    route(READ, "/{index}/_alias/{name}", INDICES, indices::aliases),
    route(GET_POST, "/{index}/_search", SEARCH, search::search),
    route(GET_POST, "/{index}/_count", SEARCH, search::count),
    route(PUT_POST, "/{index}/_bulk", BULK, documents::bulk),
    route(GET, "/{index}/_settings", INDICES, indices::settings),
    route(PUT, "/{index}/_settings", INDICES, indices::update_settings),
    route(GET, "/{index}/_mapping", INDICES, indices::mapping),
    route(GET_POST, "/{index}/_refresh", INDICES, indices::refresh),
    route(GET_POST, "/{index}/_flush", INDICES, indices::refresh),
    route(READ, "/{index}/_doc/{id}", BULK, documents::get),
    route(PUT_POST, "/{index}/_doc/{id}", BULK, documents::put),
    route(&["DELETE"], "/{index}/_doc/{id}", BULK, documents::delete),
    route(PUT, "/{index}", INDICES, indices::create),
    route(GET, "/{index}", INDICES, indices::get),
    route(&["HEAD"], "/{index}", INDICES, indices::exists),
    route(&["DELETE"], "/{index}", INDICES, indices::delete),
];

const EVERYWHERE: [&str; 5] = ["error_trace", "filter_path", "format", "human", "pretty"];

pub fn answer(elastic: &Elastic, request: &Request) -> Response {
    let parameters: BTreeMap<String, String> = request.query().into_iter().collect();
    let outcome =
        find(request, &parameters).and_then(|(route, call)| (route.handler)(elastic, &call));
    let wants_pretty = parameters.get("pretty").is_some_and(|value| value != "false");
    let pretty = wants_pretty || request.path() == "/";
    match outcome {
        Ok(Answer::Empty(status)) => Response::new(status, JSON_TYPE, ""),
        Ok(Answer::Text(text)) => Response::new(200, "text/plain; charset=UTF-8", text),
        Ok(Answer::Json(status, value)) => {
            let value = match parameters.get("filter_path") {
                Some(paths) => filtered(&value, paths),
                None => value,
            };
            render(status, &value, pretty)
        }
        Err(failure) => render(failure.status, &failure.body(), pretty),
    }
}

const JSON_TYPE: &str = "application/json; charset=UTF-8";

fn render(status: u16, value: &Value, pretty: bool) -> Response {
    let text = if pretty { http::pretty(value, "  ", " : ") + "\n" } else { value.to_string() };
    Response::new(status, JSON_TYPE, text)
}

fn find<'a>(
    request: &Request,
    parameters: &BTreeMap<String, String>,
) -> Outcome<(&'a Route, Call)> {
    let path = request.path();
    check_content_type(request)?;
    let mut allowed: Vec<&str> = Vec::new();
    for route in ROUTES {
        let Some(names) = match_pattern(route.pattern, path) else { continue };
        if !route.methods.contains(&request.method.as_str()) {
            allowed.extend(route.methods);
            continue;
        }
        let unknown: Vec<&str> = parameters
            .keys()
            .map(String::as_str)
            .filter(|p| !route.parameters.contains(p) && !EVERYWHERE.contains(p))
            .collect();
        if !unknown.is_empty() {
            return Err(Failure::illegal_argument(format!(
                "request [{path}] contains unrecognized parameter{}: [{}]",
                if unknown.len() > 1 { "s" } else { "" },
                unknown.join("], [")
            )));
        }
        let call = Call { parameters: parameters.clone(), names, body: request.body.clone() };
        return Ok((route, call));
    }
    let method = &request.method;
    if allowed.is_empty() {
        let reason = format!("no handler found for uri [{}] and method [{method}]", request.target);
        return Err(Failure::bare(400, reason));
    }
    allowed.sort_unstable();
    allowed.dedup();
    Err(Failure::bare(
        405,
        format!(
            "Incorrect HTTP method for uri [{}] and method [{method}], allowed: [{}]",
            request.target,
            allowed.join(", ")
        ),
    ))
}

/// A body has to say that it is JSON; a plain `curl -d` is refused.
fn check_content_type(request: &Request) -> Outcome<()> {
    let kind = request.header("content-type");
    let media = kind.split(';').next().unwrap_or_default().trim();
    if request.body.is_empty() || matches!(media, "application/json" | "application/x-ndjson") {
        return Ok(());
    }
    let reason = format!("Content-Type header [{kind}] is not supported");
    Err(Failure::bare(406, reason))
}

fn match_pattern(pattern: &'static str, path: &str) -> Option<BTreeMap<&'static str, String>> {
    let path = path.trim_matches('/');
    let pattern = pattern.trim_matches('/');
    let (patterns, words): (Vec<&str>, Vec<&str>) =
        (pattern.split('/').collect(), path.split('/').collect());
    if patterns.len() != words.len() {
        return None;
    }
    let mut names = BTreeMap::new();
    for (pattern, word) in patterns.into_iter().zip(words) {
        match pattern.strip_prefix('{').and_then(|p| p.strip_suffix('}')) {
            Some(name) if !word.is_empty() => {
                let pairs = crate::go::url::parse_query(&format!("x={}", word.replace('+', "%2B")));
                let decoded = pairs.into_iter().next().map(|(_, value)| value);
                names.insert(name, decoded.unwrap_or_else(|| word.to_owned()));
            }
            _ if pattern == word => {}
            _ => return None,
        }
    }
    Some(names)
}

/// `filter_path=hits.total,*.settings`: only the named branches.
fn filtered(value: &Value, paths: &str) -> Value {
    let mut result = Value::Object(serde_json::Map::new());
    for path in paths.split(',') {
        let steps: Vec<&str> = path.split('.').collect();
        if let Some(branch) = branch(value, &steps) {
            merge(&mut result, branch);
        }
    }
    result
}

fn branch(value: &Value, steps: &[&str]) -> Option<Value> {
    let Some((step, rest)) = steps.split_first() else { return Some(value.clone()) };
    match value {
        Value::Object(fields) => {
            let found: serde_json::Map<String, Value> = fields
                .iter()
                .filter(|(key, _)| super::names::matches(step, key))
                .filter_map(|(key, inner)| Some((key.clone(), branch(inner, rest)?)))
                .collect();
            (!found.is_empty()).then_some(Value::Object(found))
        }
        Value::Array(items) => {
            let found: Vec<Value> = items.iter().filter_map(|item| branch(item, steps)).collect();
            (!found.is_empty()).then_some(Value::Array(found))
        }
        _ => None,
    }
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refusal(method: &str, target: &str) -> (u16, String) {
        let request =
            Request { method: method.into(), target: target.into(), ..Request::default() };
        let parameters = request.query().into_iter().collect();
        let failure = find(&request, &parameters).err().unwrap();
        (failure.status, failure.body().to_string())
    }

    #[test]
    fn paths_find_their_route() {
        let names = match_pattern("/{index}/_doc/{id}", "/contacts/_doc/a%2Fb").unwrap();
        assert_eq!((names["index"].as_str(), names["id"].as_str()), ("contacts", "a/b"));
        assert!(match_pattern("/", "/").is_some());
        assert!(match_pattern("/{index}", "/").is_none());
        assert!(match_pattern("/_cluster/health", "/_cluster/health/").is_some());
    }

    #[test]
    fn what_no_route_takes_is_refused() {
        assert_eq!(refusal("GET", "/a/b/c").0, 400);
        let (status, body) = refusal("POST", "/_cluster/health");
        assert_eq!(status, 405);
        assert!(body.contains("allowed: [GET]"), "{body}");
        let (status, body) = refusal("GET", "/_cluster/health?wait_for_state=yellow");
        assert_eq!(status, 400);
        assert!(body.contains("unrecognized parameter: [wait_for_state]"), "{body}");
    }

    #[test]
    fn bodies_have_to_name_their_type() {
        let mut request = Request {
            method: "POST".into(),
            target: "/x/_search".into(),
            body: b"{}".to_vec(),
            ..Request::default()
        };
        assert_eq!(find(&request, &BTreeMap::new()).err().unwrap().status, 406);
        request.headers.push(("Content-Type".into(), "application/json; charset=utf-8".into()));
        assert!(find(&request, &BTreeMap::new()).is_ok());
    }

    #[test]
    fn answers_can_be_filtered() {
        let value = json!({"hits": {"total": 1, "hits": [{"_id": "1", "_source": {}}]}, "took": 2});
        assert_eq!(filtered(&value, "hits.total"), json!({"hits": {"total": 1}}));
        assert_eq!(
            filtered(&value, "took,hits.*._id"),
            json!({"took": 2, "hits": {"hits": [{"_id": "1"}]}})
        );
    }
}
