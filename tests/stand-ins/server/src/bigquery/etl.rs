//! rapidpro_to_bigquery.py without BigQuery: it reads the key, asks RapidPro with the token,
//! counts, and prints what the real one prints. The real one has the public address built
//! in; here RapidPro is the neighbour of that name.

use std::time::Duration;

use serde_json::Value;

use super::python::timestamp;
use crate::http::{Request, client};

const RAPIDPRO: &str = "http://rapidpro:8000/api/v2";
const SCRIPT: &str = "rapidpro_to_bigquery.py";

/// A Python exception: its class and message, and the line of the script it comes from.
#[derive(Debug, PartialEq, Eq)]
struct Exception {
    name: &'static str,
    message: String,
    line: u32,
}

pub fn run() -> i32 {
    match transfer() {
        Ok(()) => 0,
        Err(exception) => {
            eprintln!(
                "Traceback (most recent call last):\n  File \"{SCRIPT}\", line {}, in <module>\n\
                 {}: {}",
                exception.line, exception.name, exception.message
            );
            1
        }
    }
}

fn transfer() -> Result<(), Exception> {
    let variable = |name: &str| std::env::var(name).ok();
    let key = variable("BQ_KEY_PATH").unwrap_or_else(|| "credentials.json".into());
    check_key(&key)?;
    let rapidpro = RapidPro { token: variable("RAPIDPRO_TOKEN").unwrap_or_default() };
    // The first request is made before the first line: without a token there is no Start.
    rapidpro.all("fields", 196)?;
    log("Start");
    log("Fetching page views");
    log("Fetching flows");
    let flows = rapidpro.all("flows", 201)?;
    log("Fetching flow runs and values...");
    // Nothing among the stand-ins runs flows.
    log("flow_runs: 0");
    log("flow_run_values: 0");
    log("Fetching groups...");
    let groups = rapidpro.all("groups", 207)?;
    log(&format!("Groups: {}", groups.len()));
    log("Fetching contacts and contact groups...");
    let contacts = rapidpro.all("contacts", 210)?;
    let memberships: usize =
        contacts.iter().map(|c| c["groups"].as_array().map_or(0, Vec::len)).sum();
    log(&format!("Contacts: {}", contacts.len()));
    log(&format!("Group Contacts: {memberships}"));
    for (table, rows) in [
        ("groups", groups.len()),
        ("contacts_raw", contacts.len()),
        ("group_contacts", memberships),
        ("flows", flows.len()),
        ("page_views", 0),
        ("flow_runs", 0),
        ("flow_run_values", 0),
    ] {
        log(&format!("Uploading {rows} {table}"));
    }
    log("Done");
    Ok(())
}

fn log(text: &str) {
    println!("{} - {text}", timestamp());
}

/// The file of a service account, as Google's library reads it.
fn check_key(path: &str) -> Result<(), Exception> {
    let fail = |name, message| Err(Exception { name, message, line: 24 });
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(problem) => {
            return match problem.kind() {
                std::io::ErrorKind::NotFound => fail(
                    "FileNotFoundError",
                    format!("[Errno 2] No such file or directory: '{path}'"),
                ),
                // What Docker makes of a mounted file that does not exist.
                std::io::ErrorKind::IsADirectory => {
                    fail("IsADirectoryError", format!("[Errno 21] Is a directory: '{path}'"))
                }
                _ => fail("PermissionError", format!("[Errno 13] Permission denied: '{path}'")),
            };
        }
    };
    let Ok(key) = serde_json::from_str::<Value>(&text) else {
        return fail(
            "json.decoder.JSONDecodeError",
            "Expecting value: line 1 column 1 (char 0)".into(),
        );
    };
    let missing: Vec<&str> =
        ["client_email", "token_uri"].into_iter().filter(|name| key[name].is_null()).collect();
    if !missing.is_empty() {
        return fail(
            "ValueError",
            format!(
                "Service account info was not in the expected format, missing fields {}.",
                missing.join(", ")
            ),
        );
    }
    let is_key = key["private_key"].as_str().is_some_and(|k| k.contains("-----BEGIN"));
    if !is_key {
        return fail("ValueError", "No key could be detected.".into());
    }
    Ok(())
}

struct RapidPro {
    token: String,
}

impl RapidPro {
    /// All pages of a list.
    fn all(&self, endpoint: &str, line: u32) -> Result<Vec<Value>, Exception> {
        let fail = |name, message: &str| Err(Exception { name, message: message.into(), line });
        let mut results = Vec::new();
        let mut next = Some(format!("{RAPIDPRO}/{endpoint}.json"));
        while let Some(url) = next {
            let request = Request {
                method: "GET".into(),
                target: url,
                headers: vec![
                    ("Authorization".into(), format!("Token {}", self.token)),
                    ("Accept".into(), "application/json".into()),
                    ("User-Agent".into(), "rapidpro-python/2.8.0".into()),
                ],
                body: Vec::new(),
            };
            let Ok(answer) = client::send(&request, Duration::from_secs(60)) else {
                return fail(
                    "temba_client.exceptions.TembaConnectionError",
                    "Unable to connect to host",
                );
            };
            match answer.status {
                200 => {}
                403 => {
                    return fail(
                        "temba_client.exceptions.TembaTokenError",
                        "Authentication with provided token failed",
                    );
                }
                429 => {
                    return fail(
                        "temba_client.exceptions.TembaRateExceededError",
                        "You have exceeded the number of requests allowed per org in a given \
                         time window.",
                    );
                }
                status => {
                    let cause = format!("{status} Server Error for url: {}", request.target);
                    return fail("temba_client.exceptions.TembaHttpError", &cause);
                }
            }
            let page: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
            let Some(items) = page["results"].as_array() else {
                return fail(
                    "temba_client.serialization.TembaSerializationException",
                    "Serialized field 'results' is missing",
                );
            };
            results.extend(items.iter().cloned());
            next = page["next"].as_str().map(str::to_owned);
        }
        Ok(results)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_refused_as_google_refuses_them() {
        let file = std::env::temp_dir().join(crate::random::uuid());
        let path = file.display().to_string();
        let problem = |text: &str| {
            std::fs::write(&file, text).unwrap();
            check_key(&path).map_err(|exception| exception.name)
        };
        assert_eq!(check_key("/nonexistent").unwrap_err().name, "FileNotFoundError");
        assert_eq!(check_key("/tmp").unwrap_err().name, "IsADirectoryError");
        assert_eq!(problem(""), Err("json.decoder.JSONDecodeError"));
        assert_eq!(problem("{}"), Err("ValueError"));
        assert_eq!(
            problem(r#"{"client_email": "a", "token_uri": "b", "private_key": "c"}"#),
            Err("ValueError")
        );
        assert_eq!(
            problem(
                r#"{"client_email": "a", "token_uri": "b",
                    "private_key": "-----BEGIN PRIVATE KEY-----"}"#
            ),
            Ok(())
        );
        std::fs::remove_file(&file).unwrap();
    }
}
