//! The indexer's requests to Elasticsearch, with their log lines.

use std::time::Duration;

use serde_json::{Value, json};

use crate::clock;
use crate::go::{crash, log};
use crate::http::{Request, Response, client};
use crate::process;

/// The real client has no limit of its own.
const LIMIT: Duration = Duration::from_secs(24 * 3600);
/// Seconds between tries of a request that was one too many.
const BACKOFFS: [u64; 5] = [1, 2, 4, 8, 16];

pub struct Elastic {
    url: String,
}

impl Elastic {
    pub fn new(url: &str) -> Self {
        Self { url: url.trim_end_matches('/').to_owned() }
    }

    /// Newest first. Any failure looks like an alias that does not exist.
    pub fn physical_indexes(&self, alias: &str) -> Vec<String> {
        let answer = self.request("GET", alias, String::new()).unwrap_or(Value::Null);
        let mut names: Vec<String> =
            answer.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
        names.sort_unstable_by(|a, b| b.cmp(a));
        names
    }

    /// Named after the day, with a number where that name is taken.
    pub fn create_index(&self, alias: &str) -> Result<String, String> {
        let today = process::local_time((clock::now_ms() / 1000) as i64);
        let base = format!("{alias}_{:04}_{:02}_{:02}", today.year, today.month, today.day);
        let mut name = base.clone();
        for number in 1.. {
            let request = Request {
                method: "GET".into(),
                target: format!("{}/{name}", self.url),
                ..Request::default()
            };
            if client::send(&request, LIMIT)?.status == 404 {
                break;
            }
            name = format!("{base}_{number}");
        }
        let path = format!("{name}?include_type_name=true");
        self.request("PUT", &path, index_settings().to_string())?;
        log::with("index", &name).info("created index");
        Ok(name)
    }

    /// Of the newest document, in microseconds.
    pub fn last_modified(&self, index: &str) -> Result<Option<i64>, String> {
        let query = json!({"sort": [{"modified_on_mu": "desc"}]}).to_string();
        let answer = self.request("POST", &format!("{index}/_search"), query)?;
        let newest = &answer["hits"]["hits"][0]["_source"]["modified_on"];
        Ok(newest.as_str().and_then(clock::parse_timestamp))
    }

    /// Added and deleted documents. A version that is already there counts as neither.
    pub fn bulk(&self, index: &str, batch: &str) -> Result<(u64, u64), String> {
        let answer = self.request("PUT", &format!("{index}/_bulk"), batch.to_owned())?;
        let (mut added, mut deleted) = (0, 0);
        for item in answer["items"].as_array().into_iter().flatten() {
            if let Some(id) = item["index"]["_id"].as_str() {
                match item["index"]["status"].as_u64() {
                    Some(200 | 201) => added += 1,
                    Some(409) => {}
                    _ => log::with("id", id)
                        .with("batch", batch)
                        .with("result", item["index"]["result"].as_str().unwrap_or_default())
                        .error("error indexing contact"),
                }
            } else if item["delete"]["_id"].is_string() {
                deleted += u64::from(item["delete"]["status"] == 200);
            } else {
                log::error("unparsed item in response");
            }
        }
        Ok((added, deleted))
    }

    pub fn map_alias(&self, alias: &str, index: &str) -> Result<(), String> {
        let mut actions = Vec::new();
        for existing in self.physical_indexes(alias) {
            log::with("index", &existing).with("alias", alias).info("removing old alias");
            actions.push(json!({"remove": {"index": existing, "alias": alias}}));
        }
        log::with("index", index).with("alias", alias).info("adding new alias");
        actions.push(json!({"add": {"index": index, "alias": alias}}));
        self.request("POST", "_aliases", json!({"actions": actions}).to_string()).map(|_| ())
    }

    /// Everything whose name begins like the alias and is older than what it points to.
    pub fn remove_old_indexes(&self, alias: &str) -> Result<(), String> {
        let Some(current) = self.physical_indexes(alias).into_iter().next() else { return Ok(()) };
        let health = self.request("GET", "_cluster/health?level=indices", String::new())?;
        for (name, _) in health["indices"].as_object().into_iter().flatten() {
            if name.starts_with(alias) && *name < current {
                log::with("index", name).info("removing old index");
                self.request("DELETE", name, String::new())?;
            }
        }
        Ok(())
    }

    fn request(&self, method: &str, path: &str, body: String) -> Result<Value, String> {
        let url = format!("{}/{path}", self.url);
        let log = || log::with("url", &url).with("method", method).with("request", &body);
        let request = Request {
            method: method.into(),
            target: url.clone(),
            headers: vec![("Content-Type".into(), "application/json".into())],
            body: body.clone().into_bytes(),
        };
        let answer = send(&request);
        let text = answer.body_text();
        if answer.status != 200 {
            log()
                .with("response", &text)
                .with("status", answer.status)
                .with("error", "<nil>")
                .error("error reaching ES");
            return Err(format!("received non 200 response {}: {text}", answer.status));
        }
        log().with("response", &text).with("status", 200).debug("ES request successful");
        serde_json::from_str(&text).map_err(|problem| {
            log().with("error", &problem).error("error unmarshalling ES response");
            problem.to_string()
        })
    }
}

/// The real one asks the answer whether to try again before it looks whether there is one.
fn send(request: &Request) -> Response {
    let mut backoffs = BACKOFFS.iter();
    loop {
        let Ok(answer) = client::send(request, LIMIT) else {
            crash::nil_pointer(
                "github.com/nyaruka/rp-indexer.ShouldRetry(0xc0000ea000, 0x0, 0x3b9aca00, 0xc000076f30)\n\
                 github.com/nyaruka/gocommon/httpx.Do(0x0, 0xc0000ea000, 0xc00009a0c0, 0x0)\n\
                 github.com/nyaruka/rp-indexer.MakeJSONRequest()\nmain.main()",
            )
        };
        match backoffs.next() {
            Some(seconds) if answer.status == 429 => {
                std::thread::sleep(Duration::from_secs(*seconds));
            }
            _ => return answer,
        }
    }
}

/// The shape that RapidPro's searches rely on, reduced to what they name.
fn index_settings() -> Value {
    let lowercase = json!({"type": "keyword", "normalizer": "lowercase"});
    let text = json!({"type": "text", "analyzer": "locations"});
    json!({
        "settings": {
            "index": {
                "number_of_shards": 2,
                "number_of_replicas": 1,
                "routing_partition_size": 1,
            },
            "analysis": {
                "analyzer": {
                    "trigrams": {"type": "custom", "tokenizer": "trigram", "filter": ["lowercase"]},
                    "locations": {"tokenizer": "location_tokenizer", "filter": ["lowercase"]},
                    "prefix": {"type": "custom", "tokenizer": "standard", "filter": ["lowercase"]},
                },
                "tokenizer": {
                    "location_tokenizer": {"type": "pattern", "pattern": "(.* > )?([^>]+)", "group": 2},
                    "trigram": {"type": "ngram", "min_gram": 3, "max_gram": 3},
                },
                "normalizer": {"lowercase": {"type": "custom", "filter": ["lowercase", "trim"]}},
            },
        },
        "mappings": {
            "_doc": {
                "_routing": {"required": true},
                "properties": {
                    "fields": {
                        "type": "nested",
                        "properties": {
                            "field": {"type": "keyword"},
                            "text": lowercase,
                            "number": {"type": "scaled_float", "scaling_factor": 10000},
                            "datetime": {"type": "date"},
                            "state": text,
                            "state_keyword": lowercase,
                            "district": text,
                            "district_keyword": lowercase,
                            "ward": text,
                            "ward_keyword": lowercase,
                        },
                    },
                    "urns": {
                        "type": "nested",
                        "properties": {
                            "path": {
                                "type": "text",
                                "analyzer": "trigrams",
                                "fields": {"keyword": lowercase},
                            },
                            "scheme": lowercase,
                        },
                    },
                    "groups": {"type": "keyword"},
                    "uuid": {"type": "keyword"},
                    "status": {"type": "keyword"},
                    "language": lowercase,
                    "modified_on": {"type": "date"},
                    "created_on": {"type": "date"},
                    "modified_on_mu": {"type": "long"},
                    "last_seen_on": {"type": "date"},
                    "name": {
                        "type": "text",
                        "analyzer": "prefix",
                        "fields": {"keyword": lowercase},
                    },
                },
            },
        },
    })
}
