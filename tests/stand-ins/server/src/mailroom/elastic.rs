//! The client for Elasticsearch: made once, at start.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http::{Request, client};

pub struct Elastic {
    url: String,
}

const STARTUP_LIMIT: Duration = Duration::from_secs(5);
const REQUEST_LIMIT: Duration = Duration::from_secs(30);

impl Elastic {
    /// Ask until it answers, for a little over five seconds.
    pub fn connect(url: &str) -> Result<Self, String> {
        let url = url.trim_end_matches('/').to_owned();
        let started = Instant::now();
        loop {
            let request =
                Request { method: "HEAD".into(), target: url.clone(), ..Request::default() };
            let problem = match client::send(&request, STARTUP_LIMIT) {
                Ok(answer) if (200..300).contains(&answer.status) => return Ok(Self { url }),
                Ok(_) => String::new(),
                Err(problem) => format!(": {problem}"),
            };
            std::thread::sleep(Duration::from_secs(1));
            if started.elapsed() > STARTUP_LIMIT {
                return Err(format!(
                    "health check timeout{problem}: no Elasticsearch node available"
                ));
            }
        }
    }

    /// Search the contacts of one workspace. A node that is away is tried again three times.
    pub fn search(&self, org_id: i64, body: &Value) -> Result<Value, String> {
        let request = Request {
            method: "POST".into(),
            target: format!("{}/contacts/_search?routing={org_id}&track_total_hits=true", self.url),
            headers: vec![("Content-Type".into(), "application/json".into())],
            body: body.to_string().into_bytes(),
        };
        let mut answer = client::send(&request, REQUEST_LIMIT);
        for delay in [500, 1000, 2000] {
            if answer.is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(delay));
            answer = client::send(&request, REQUEST_LIMIT);
        }
        let answer = answer.map_err(|problem| format!("error performing query: {problem}"))?;
        let value: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        if answer.status == 200 {
            return Ok(value);
        }
        let reason = value["error"]["reason"].as_str().unwrap_or_default();
        let kind = value["error"]["type"].as_str().unwrap_or_default();
        Err(format!(
            "error performing query: {reason}: elastic: Error {} ({}): {reason} [type={kind}]",
            answer.status,
            crate::http::reason(answer.status)
        ))
    }
}
