//! The Content Repository, and the copy to BigQuery.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use super::workspace::PATIENCE;
use crate::harness::{Home, until};
use crate::hotline::TOKEN;

/// One deployment, many faults: each is undone before the next.
#[test]
fn contentrepo_and_bigquery() {
    let home = Home::brought_up("content", &[]);
    let key = key_file(&home);
    home.set(
        "BIGQUERY_KEY_FILE",
        &format!("BIGQUERY_KEY_FILE={}", key.display()),
    );
    home.set(
        "BIGQUERY_RAPIDPRO_TOKEN",
        &format!("BIGQUERY_RAPIDPRO_TOKEN={TOKEN}"),
    );
    home.comes_up();
    home.seed();
    home.healthy_again(PATIENCE);

    debug_mode_is_worth_a_note(&home);
    a_contentrepo_that_answers_nobody_is_found(&home);
    a_copy_that_ended_in_an_error_is_found(&home);
    a_key_file_that_is_none_is_found(&home, &key);
    jobs_without_the_token_are_found(&home);
    a_token_that_is_not_set_is_found(&home);
    without_key_and_token_nothing_is_missed(&home);
}

const KEY: &str = r#"{"type": "service_account", "client_email": "ooy@example.org",
    "token_uri": "https://oauth2.example.org/token",
    "private_key": "-----BEGIN PRIVATE KEY-----\nnone\n-----END PRIVATE KEY-----\n"}"#;

fn key_file(home: &Home) -> PathBuf {
    let path = home.folder.join("bigquery.json");
    std::fs::write(&path, KEY).unwrap();
    let own = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&path, own).unwrap();
    path
}

fn debug_mode_is_worth_a_note(home: &Home) {
    let diagnosed = home.diagnose(&["contentrepo-debug"]);
    assert_eq!(diagnosed.json["ok"], true, "{}", diagnosed.text());
    let finding = diagnosed.finding("contentrepo-debug");
    assert_eq!(finding["severity"], "info");
    let command = finding["evidence"][0]["command"].as_str().unwrap();
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("DEBUG = True"),
        "{command}"
    );
}

fn a_contentrepo_that_answers_nobody_is_found(home: &Home) {
    home.control("contentrepo", r#"{"hang": true}"#);
    let diagnosed = home.diagnose_until("contentrepo-unreachable", PATIENCE);
    let finding = diagnosed.only_root("contentrepo-unreachable");
    assert_eq!(finding["service"], "contentrepo");
    assert!(
        finding["evidence"].to_string().contains("no answer within"),
        "{finding:#}"
    );
    // What could not be seen is not fine.
    assert_eq!(diagnosed.result("contentrepo-debug"), "unknown");
    home.control("contentrepo", "{}");
    home.healthy_again(PATIENCE);
}

/// Runs the job as cron does at five and at ten.
fn copy(home: &Home) {
    home.control("bigquery-sync", r#"{"cron_jobs": "rapidpro_to_bigquery"}"#);
    let signal = "kill -USR1 $(cat /run/crond.pid)";
    home.docker(&["exec", &home.container("bigquery-sync"), "sh", "-c", signal]);
}

fn a_copy_that_ended_in_an_error_is_found(home: &Home) {
    let active = |yes: bool| {
        home.sql(
            "rapidpro",
            &format!("UPDATE api_apitoken SET is_active = {yes}"),
        );
    };
    active(false);
    copy(home);
    let diagnosed = home.diagnose_until("bigquery-sync-stale", PATIENCE);
    let finding = diagnosed.only_root("bigquery-sync-stale");
    let evidence = finding["evidence"].to_string();
    assert!(evidence.contains("BIGQUERY_HOURS"), "{evidence}");
    assert!(evidence.contains("TembaTokenError"), "{evidence}");
    active(true);
    // What stands there to be done by hand, in the words in which it stands there.
    let by_hand = finding["fix"]["manual"][0].as_str().unwrap();
    let output = Command::new("sh").args(["-c", by_hand]).output().unwrap();
    assert!(output.status.success(), "{by_hand}: {output:?}");
    home.healthy_again(PATIENCE);
    let read = home.ooy(&["diagnose", "bigquery-sync"]).expect(0).stdout;
    assert!(read.contains("BigQuery copied "), "{read}");
}

fn a_key_file_that_is_none_is_found(home: &Home, key: &PathBuf) {
    for (text, fault) in [("", "empty"), ("<html>", "not JSON")] {
        std::fs::write(key, text).unwrap();
        let diagnosed = home.diagnose(&[]);
        let finding = diagnosed.only_root("bigquery-token-missing");
        assert_eq!(finding["severity"], "warning");
        assert_eq!(finding["evidence"][0]["value"], fault);
    }
    std::fs::write(key, KEY).unwrap();
    home.healthy_again(PATIENCE);
}

fn jobs_without_the_token_are_found(home: &Home) {
    // The image's own way: cron gives its jobs nothing.
    let text = "services:\n  bigquery-sync:\n    command: [sh, -c, 'touch /var/log/cron.log && \
        crontab /etc/cron.d/crontab.txt && cron && exec tail -F /var/log/cron.log']\n";
    let path = home.folder.join("compose.override.yaml");
    std::fs::write(&path, text).unwrap();
    home.comes_up();
    let diagnosed = home.diagnose_until("bigquery-token-missing", PATIENCE);
    let finding = diagnosed.only_root("bigquery-token-missing");
    let evidence = finding["evidence"].to_string();
    assert!(
        evidence.contains("RAPIDPRO_TOKEN of its jobs"),
        "{evidence}"
    );
    let command = finding["evidence"][0]["command"].as_str().unwrap();
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "0",
        "{command}"
    );
    std::fs::remove_file(path).unwrap();
    home.comes_up();
    home.healthy_again(PATIENCE);
}

fn a_token_that_is_not_set_is_found(home: &Home) {
    home.set("BIGQUERY_RAPIDPRO_TOKEN", "BIGQUERY_RAPIDPRO_TOKEN=");
    home.comes_up();
    let diagnosed = home.diagnose_until("bigquery-token-missing", PATIENCE);
    let finding = diagnosed.only_root("bigquery-token-missing");
    assert!(
        finding["summary"]
            .as_str()
            .unwrap()
            .contains("BIGQUERY_RAPIDPRO_TOKEN is not set"),
        "{finding:#}"
    );
    let read = home
        .ooy(&["diagnose", "bigquery-settings"])
        .expect(1)
        .stdout;
    let read = regex::Regex::new(r"checks? in .*? · ")
        .unwrap()
        .replace_all(&home.tidy(&read), "check in N s · ")
        .into_owned();
    insta::assert_snapshot!("bigquery_token_missing", read);
    // The job that cron would run.
    copy(home);
    until("the job has failed", PATIENCE, || {
        let diagnosed = home.diagnose(&[]);
        diagnosed.only_root("bigquery-token-missing");
        diagnosed.explained().contains(&"bigquery-sync-stale")
    });
}

fn without_key_and_token_nothing_is_missed(home: &Home) {
    home.set("BIGQUERY_KEY_FILE", "BIGQUERY_KEY_FILE=");
    home.comes_up();
    let diagnosed = home.diagnose(&[]);
    for check in ["bigquery-settings", "bigquery-sync"] {
        assert_eq!(diagnosed.result(check), "skipped", "{}", diagnosed.text());
    }
    home.healthy_again(PATIENCE);
}
