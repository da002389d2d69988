//! RapidPro, mailroom and courier.

use std::process::Command;

use super::services::{PATIENCE, Stopped, processes};
use crate::harness::{Home, until};

#[test]
fn rapidpro_and_what_works_for_it() {
    let home = Home::with_databases("drp");
    // This machine may be busy with other tests.
    home.set("DIAGNOSE_TIMEOUT", "DIAGNOSE_TIMEOUT=10s");
    home.ooy(&["start"]).expect(0);
    home.seed_rapidpro();
    for service in ["rapidpro", "mailroom", "courier", "elasticsearch"] {
        home.until_healthy(service);
    }
    home.healthy_again(PATIENCE);
    an_import_that_flags_the_workspace(&home);
    a_suspended_workspace(&home);
    messages_that_are_not_sent(&home);
    a_database_of_another_release(&home);
    courier_without_postgresql(&home);
    pages_that_do_not_come(&home);
    mailroom_that_does_not_answer(&home);
    mailroom_started_before_elasticsearch(&home);
    tokens_that_do_not_fit(&home);
}

fn an_import_that_flags_the_workspace(home: &Home) {
    home.docker(&[
        "exec",
        &home.container("rapidpro"),
        "/venv/bin/python",
        "/rapidpro/manage.py",
        "stand_in_import",
    ]);
    let diagnosed = home.diagnose_until("workspace-flagged", PATIENCE);
    let finding = diagnosed.finding("workspace-flagged");
    let imports = finding["evidence"][1]["value"].as_str().unwrap();
    assert!(
        imports.starts_with("contacts.xlsx (300 numbers, "),
        "{imports}"
    );
    let fix = finding["fix"]["command"].as_str().unwrap();
    assert!(fix.ends_with("fix workspace-flag lvcthealth"), "{fix}");
    insta::assert_snapshot!(
        "diagnose-workspace-flagged",
        home.shown("workspace-flagged")
    );
    // Both ways by hand do what they say.
    let manual = finding["fix"]["manual"].as_array().unwrap();
    let seen = home.shell(finding["evidence"][0]["command"].as_str().unwrap());
    assert_eq!(seen, "lvcthealth True False");
    let done = home.shell(manual[0].as_str().unwrap());
    assert_eq!(done, "lvcthealth False False");
    home.healthy_again(PATIENCE);
}

fn a_suspended_workspace(home: &Home) {
    home.rapidpro_sql("UPDATE orgs_org SET is_suspended = true");
    let diagnosed = home.diagnose_until("workspace-suspended", PATIENCE);
    let finding = diagnosed.finding("workspace-suspended");
    assert!(finding["fix"]["command"].is_null());
    let cause = finding["cause"].as_str().unwrap();
    assert!(cause.contains("by hand"), "{cause}");

    home.rapidpro_sql("UPDATE orgs_org SET uses_topups = true");
    let diagnosed = home.diagnose_until("workspace-suspended", PATIENCE);
    let finding = diagnosed.finding("workspace-suspended");
    let cause = finding["cause"].as_str().unwrap();
    assert!(cause.contains("pays by credit"), "{cause}");
    let manual = finding["fix"]["manual"].as_array().unwrap();
    let done = home.shell(manual[1].as_str().unwrap());
    assert_eq!(done, "lvcthealth False False");
    home.healthy_again(PATIENCE);
}

fn messages_that_are_not_sent(home: &Home) {
    let message = |status: &str, age: &str| {
        home.rapidpro_sql(&format!(
            "INSERT INTO msgs_msg (text, direction, status, visibility, created_on, modified_on, \
             queued_on, channel_id, contact_id, org_id, error_count) \
             SELECT 'habari', 'O', '{status}', 'V', now() - interval '{age}', now(), \
             now() - interval '{age}', (SELECT min(id) FROM channels_channel), min(id), \
             min(org_id), 0 FROM contacts_contact"
        ));
    };
    // Just written, and one that has to wait for its next attempt.
    message("Q", "1 minute");
    message("E", "3 hours");
    home.rapidpro_sql(
        "UPDATE msgs_msg SET next_attempt = now() + interval '1 hour' WHERE status = 'E'",
    );
    home.healthy_again(PATIENCE);
    message("Q", "47 minutes");
    let diagnosed = home.diagnose_until("outbox-stuck", PATIENCE);
    let finding = diagnosed.finding("outbox-stuck");
    let summary = finding["summary"].as_str().unwrap();
    assert!(
        summary.ends_with("is due for 47 min: 2 messages wait"),
        "{summary}"
    );
    assert_eq!(finding["evidence"][0]["threshold"], "10 min (OUTBOX_AGE)");

    // It sends, and has much to send.
    message("W", "1 minute");
    home.rapidpro_sql("UPDATE msgs_msg SET sent_on = now() WHERE status = 'W'");
    home.healthy_again(PATIENCE);
    let diagnosed = home.diagnose(&["outbox"]);
    assert_eq!(diagnosed.finding("outbox-stuck")["severity"], "info");
    home.rapidpro_sql("DELETE FROM msgs_msg WHERE text = 'habari'");
}

fn a_database_of_another_release(home: &Home) {
    home.rapidpro_sql(
        "CREATE TABLE kept AS SELECT * FROM django_migrations WHERE name = '0017_squashed'; \
         DELETE FROM django_migrations WHERE name = '0017_squashed'",
    );
    let diagnosed = home.diagnose_until("migrations-pending", PATIENCE);
    let finding = diagnosed.finding("migrations-pending");
    assert_eq!(finding["service"], "rapidpro");
    let seen = home.shell(finding["evidence"][0]["command"].as_str().unwrap());
    assert!(seen.contains("0017_squashed"), "{seen}");
    home.rapidpro_sql("INSERT INTO django_migrations SELECT * FROM kept; DROP TABLE kept");
    home.healthy_again(PATIENCE);
}

/// A rule of iptables that is taken back, also when the test fails.
struct Refused(Vec<String>);

impl Refused {
    fn new(address: &str, port: &str) -> Self {
        let rule = [
            "-s",
            address,
            "-p",
            "tcp",
            "--dport",
            port,
            "-j",
            "REJECT",
            "--reject-with",
            "tcp-reset",
        ];
        let rule: Vec<String> = rule.iter().map(ToString::to_string).collect();
        let status = Command::new("iptables")
            .args(["-w", "-I", "INPUT"])
            .args(&rule)
            .status();
        assert!(status.unwrap().success());
        Self(rule)
    }
}

impl Drop for Refused {
    fn drop(&mut self) {
        let _ = Command::new("iptables")
            .args(["-w", "-D", "INPUT"])
            .args(&self.0)
            .status();
    }
}

fn courier_without_postgresql(home: &Home) {
    let address = home.inspect(
        "courier",
        "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
    );
    let refused = Refused::new(
        &address,
        &crate::harness::surroundings("OOY_TEST_POSTGRES_PORT"),
    );
    let diagnosed = home.diagnose_until("courier-dependency-down", PATIENCE);
    let finding = diagnosed.finding("courier-dependency-down");
    assert_eq!(finding["summary"], "Courier runs and cannot use PostgreSQL");
    let seen = home.shell(finding["evidence"][0]["command"].as_str().unwrap());
    assert!(seen.contains("db err"), "{seen}");
    drop(refused);
    home.healthy_again(PATIENCE);
}

fn pages_that_do_not_come(home: &Home) {
    let all = processes(home, "rapidpro");
    let stopped = Stopped::new(all.iter().map(|(pid, ..)| *pid).collect());
    let diagnosed = home.diagnose_until("rapidpro-unreachable", PATIENCE);
    let finding = diagnosed.finding("rapidpro-unreachable");
    let summary = finding["summary"].as_str().unwrap();
    assert!(
        summary.starts_with("RapidPro does not answer, neither directly nor through nginx"),
        "{summary}"
    );
    assert_eq!(finding["evidence"][1]["what"], "through nginx");
    drop(stopped);
    home.healthy_again(PATIENCE);
}

fn mailroom_that_does_not_answer(home: &Home) {
    home.control("mailroom", r#"{"hang": true}"#);
    let diagnosed = home.diagnose_until("mailroom-unreachable", PATIENCE);
    let finding = diagnosed.finding("mailroom-unreachable");
    let summary = finding["summary"].as_str().unwrap();
    assert!(
        summary.starts_with("Mailroom runs and does not answer"),
        "{summary}"
    );
    home.control("mailroom", "");
    home.healthy_again(PATIENCE);
}

fn mailroom_started_before_elasticsearch(home: &Home) {
    let elasticsearch = home.container("elasticsearch");
    let mailroom = home.container("mailroom");
    let lines = |text: &str| home.docker(&["logs", &mailroom]).matches(text).count();
    // It would end again and again meanwhile, which is a finding of its own.
    let indexer = home.container("indexer");
    home.docker(&["pause", &indexer]);
    home.docker(&["stop", "-t", "1", &elasticsearch]);
    let before = lines("mailroom started");
    home.docker(&["restart", "-t", "1", &mailroom]);
    until("mailroom has started", PATIENCE, || {
        lines("mailroom started") > before
    });
    home.docker(&["start", &elasticsearch]);
    home.until_healthy("elasticsearch");
    home.docker(&["unpause", &indexer]);
    let diagnosed = home.diagnose_until("mailroom-unreachable", PATIENCE);
    let finding = diagnosed.finding("mailroom-unreachable");
    assert_eq!(
        finding["summary"],
        "Mailroom runs without Elasticsearch: it was not there when mailroom started"
    );
    assert_eq!(
        finding["evidence"][0]["value"],
        "no elastic client available, check your configuration"
    );
    let seen = home.shell(finding["evidence"][0]["command"].as_str().unwrap());
    assert!(seen.contains("unable to connect to elastic"), "{seen}");
    insta::assert_snapshot!(
        "diagnose-mailroom-unreachable",
        home.shown("mailroom-unreachable")
    );

    // Without a workspace to search in, its log says so.
    home.rapidpro_sql("UPDATE orgs_org SET is_active = false");
    let diagnosed = home.diagnose_until("mailroom-unreachable", PATIENCE);
    let finding = diagnosed.finding("mailroom-unreachable");
    let value = finding["evidence"][0]["value"].as_str().unwrap();
    assert!(value.contains("unable to connect to elastic"), "{value}");
    home.rapidpro_sql("UPDATE orgs_org SET is_active = true");

    home.docker(&["restart", "-t", "1", &mailroom]);
    home.healthy_again(PATIENCE);
}

fn tokens_that_do_not_fit(home: &Home) {
    home.steer(&[("mailroom", &[("MAILROOM_AUTH_TOKEN", "")])]);
    home.ooy(&["start", "mailroom"]).expect(0);
    let diagnosed = home.diagnose_until("mailroom-token-empty", PATIENCE);
    let finding = diagnosed.finding("mailroom-token-empty");
    assert_eq!(finding["service"], "mailroom");
    assert_eq!(finding["evidence"][0]["value"], "empty");

    home.steer(&[(
        "rapidpro-beat",
        &[("MAILROOM_AUTH_TOKEN", "another-token-entirely")],
    )]);
    home.ooy(&["start", "mailroom", "rapidpro-beat"]).expect(0);
    let diagnosed = home.diagnose_until("mailroom-token-empty", PATIENCE);
    let finding = diagnosed.finding("mailroom-token-empty");
    assert_eq!(finding["service"], "rapidpro-beat");
    assert_eq!(finding["severity"], "error");
    assert!(!diagnosed.ran.stdout.contains("another-token-entirely"));

    std::fs::remove_file(home.folder.join("compose.override.yaml")).unwrap();
    home.ooy(&["start", "rapidpro-beat"]).expect(0);
    home.healthy_again(PATIENCE);
}
