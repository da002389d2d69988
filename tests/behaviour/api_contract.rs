//! rapidpro_api.rs answers as RapidPro's stand-in does (tests/stand-ins), so that what is tested
//! against the quick one holds for the other.

use std::process::Command;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::harness::Home;
use crate::rapidpro_api::{Api, FLOW, TOKEN};

/// What both are asked, in this order: method, path, body.
fn questions() -> Vec<(&'static str, &'static str, Value)> {
    let start = |flow: &str, contact: &str| {
        let params = json!({"call_start_time": "2026-11-22T10:00:00+03:00", "call_id": "1.1"});
        json!({"flow": flow, "contacts": [contact], "restart_participants": true, "params": params})
    };
    let starts = "/api/v2/flow_starts.json";
    let contacts = "/api/v2/contacts.json";
    let both = json!({"urns": ["tel:+254799000001", "whatsapp:254799000001"]});
    vec![
        ("GET", starts, Value::Null),
        ("POST", starts, start(FLOW, "tel:+254799000001")),
        (
            "GET",
            "/api/v2/contacts.json?urn=tel%3A%2B254799000001",
            Value::Null,
        ),
        ("POST", contacts, both.clone()),
        ("POST", contacts, both),
        ("POST", contacts, json!({"urns": ["tel:+1"]})),
        (
            "GET",
            "/api/v2/contacts.json?urn=whatsapp%3A254799000001",
            Value::Null,
        ),
        ("POST", starts, start(FLOW, "tel:+254799000001")),
        ("POST", starts, start(FLOW, "whatsapp:254799000001")),
        (
            "POST",
            starts,
            start("00000000-0000-4000-8000-000000000000", "tel:+254799000001"),
        ),
        ("GET", starts, Value::Null),
    ]
}

/// So much of an answer as has to be the same: errors wholly, otherwise what kind each value is.
fn comparable(status: u16, answer: &Value) -> Value {
    match answer {
        _ if status >= 400 => answer.clone(),
        Value::Object(fields) => fields
            .iter()
            // Of these the deliverer reads nothing, and workspaces and moments differ in them.
            .filter(|(name, _)| !["fields", "groups", "status"].contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), comparable(status, value)))
            .collect(),
        Value::Array(values) => values
            .iter()
            .map(|value| comparable(status, value))
            .collect(),
        Value::String(text) if text.parse::<Timestamp>().is_ok() => json!("a moment"),
        Value::String(text) if text.len() == 36 => json!("a uuid"),
        Value::String(text) => json!(text),
        Value::Number(_) => json!("a number"),
        other => other.clone(),
    }
}

#[test]
fn the_quick_rapidpro_answers_as_the_stand_in_does() {
    let home = Home::with_databases("api");
    home.ooy(&["start", "rapidpro", "mailroom"]).expect(0);
    let container = home.container("rapidpro");
    let python = [
        "exec",
        &container,
        "/venv/bin/python",
        "/rapidpro/manage.py",
    ];
    let seed = ["stand_in_seed", "--token", TOKEN, "--flow-uuid", FLOW];
    home.docker(&[&python[..], &seed].concat());
    let address = home.inspect(
        "rapidpro",
        "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
    );
    let quick = Api::new([127, 0, 0, 1].into());
    for (method, path, body) in questions() {
        let [real, ours] = [format!("http://{address}:8000"), quick.url()].map(|base| {
            let mut curl = Command::new("curl");
            curl.args([
                "-sS",
                "-w",
                "\n%{http_code}",
                "-X",
                method,
                "--noproxy",
                "*",
            ])
            .args(["-H", "Host: rapidpro", "-H"])
            .arg(format!("Authorization: Token {TOKEN}"));
            if !body.is_null() {
                curl.args(["-H", "Content-Type: application/json", "-d"])
                    .arg(body.to_string());
            }
            let output = curl.arg(format!("{base}{path}")).output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let (answer, status) = text.rsplit_once('\n').unwrap();
            let status: u16 = status.parse().unwrap();
            let answer = serde_json::from_str(answer).unwrap_or_else(|_| panic!("{text}"));
            (status, comparable(status, &answer))
        });
        assert_eq!(ours, real, "{method} {path} {body}");
    }
}
