//! Finished calls that do not reach RapidPro.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::disk::{bring_up, says, tidy};
use crate::between::Between;
use crate::harness::{Home, until};
use crate::hotline::{FLOW, TOKEN, WRONG_TOKEN};

const PATIENCE: Duration = Duration::from_secs(240);

/// One scenario, since bringing a deployment up is what costs.
#[test]
fn finished_calls() {
    let home = Home::with_databases("diagnosed-calls");
    super::disk::patient(&home);
    bring_up(&home);
    let seeded = home.docker(&[
        "exec",
        &home.container("rapidpro"),
        "/venv/bin/python",
        "/rapidpro/manage.py",
        "stand_in_seed",
        "--token",
        TOKEN,
        "--flow-uuid",
        FLOW,
    ]);
    assert!(seeded.contains(FLOW), "{seeded}");
    let address = home.inspect(
        "rapidpro",
        "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
    );
    let between = Between::new(format!("{address}:8000"));
    set(&home, "RAPIDPRO_URL", &between.url());
    set(&home, "RAPIDPRO_TOKEN", TOKEN);
    set(&home, "RAPIDPRO_FLOW", FLOW);
    for (name, value) in [
        ("CALLS_TIMEOUT", "5s"),
        ("CALLS_SETTLE", "1s"),
        ("CALLS_RETRY_MAX", "2s"),
    ] {
        set(&home, name, value);
    }
    home.healthy_again(PATIENCE);
    assert_eq!(home.diagnose(&["calls-queue"]).result("calls-queue"), "ok");
    a_token_that_rapidpro_refuses(&home);
    a_flow_that_rapidpro_does_not_know(&home);
    calls_that_wait_too_long(&home, &between);
    a_call_that_rapidpro_refuses(&home);
    a_spool_that_cannot_be_written_to(&home);
    without_calls_nothing_is_looked_at();
}

fn set(home: &Home, name: &str, value: &str) {
    home.set(name, &format!("{name}={value}"));
}

/// A call ends: Asterisk runs `ooy agi`.
fn call_ends(home: &Home, number: &str) {
    home.ooy(&[
        "agi",
        number,
        "2026-11-22T11:07:32",
        "2026-11-22T11:07:33",
        "inbound",
    ])
    .expect(0);
}

/// What waited is delivered, and nothing is wrong any more.
#[track_caller]
fn all_delivered(home: &Home) {
    until("all calls are delivered", PATIENCE, || {
        home.ooy(&["calls", "deliver"]);
        ["batch", "new", "sending"].iter().all(|folder| {
            std::fs::read_dir(home.folder.join("spool").join(folder)).map_or(0, Iterator::count)
                == 0
        })
    });
    home.healthy_again(PATIENCE);
}

fn a_token_that_rapidpro_refuses(home: &Home) {
    set(home, "RAPIDPRO_TOKEN", WRONG_TOKEN);
    call_ends(home, "0712000000");
    let diagnosed = home.diagnose_until("agi-token-refused", PATIENCE);
    let finding = diagnosed.only_root("agi-token-refused");
    says(finding, "1 call, the oldest for");
    says(finding, "calls list");
    says(finding, "RAPIDPRO_TOKEN");
    assert!(!finding.to_string().contains(WRONG_TOKEN), "{finding:#}");
    // That they wait for long is a consequence.
    set(home, "CALLS_BACKLOG_AGE", "1s");
    until("the backlog is explained", PATIENCE, || {
        let diagnosed = home.diagnose(&[]);
        diagnosed.roots() == ["agi-token-refused"] && diagnosed.explained() == ["agi-backlog"]
    });
    let shown = home.ooy(&["diagnose", "calls-queue"]).expect(1).stdout;
    insta::assert_snapshot!("diagnose-token-refused", tidy(home, &shown));
    set(home, "CALLS_BACKLOG_AGE", "15m");
    set(home, "RAPIDPRO_TOKEN", TOKEN);
    all_delivered(home);
}

fn a_flow_that_rapidpro_does_not_know(home: &Home) {
    set(
        home,
        "RAPIDPRO_FLOW",
        "00000000-0000-4000-8000-000000000000",
    );
    call_ends(home, "0712000001");
    let diagnosed = home.diagnose_until("agi-flow-missing", PATIENCE);
    let finding = diagnosed.only_root("agi-flow-missing");
    says(finding, "RAPIDPRO_FLOW");
    says(finding, "1 call, the oldest for");
    set(home, "RAPIDPRO_FLOW", FLOW);
    all_delivered(home);
}

/// Nobody listens where RapidPro should be.
fn calls_that_wait_too_long(home: &Home, between: &Between) {
    set(home, "RAPIDPRO_URL", "http://127.0.0.1:1");
    call_ends(home, "0712000000");
    call_ends(home, "0712000002");
    // Not too long yet.
    home.healthy_again(PATIENCE);
    set(home, "CALLS_BACKLOG_AGE", "1s");
    let diagnosed = home.diagnose_until("agi-backlog", PATIENCE);
    let finding = diagnosed.only_root("agi-backlog");
    says(
        finding,
        "2 finished calls wait for RapidPro, the oldest for",
    );
    says(finding, "1 s (CALLS_BACKLOG_AGE)");
    says(finding, "nothing is delivered");
    set(home, "CALLS_BACKLOG_AGE", "15m");
    set(home, "RAPIDPRO_URL", &between.url());
    all_delivered(home);
}

fn a_call_that_rapidpro_refuses(home: &Home) {
    // So many digits are possible somewhere, but not in this country.
    call_ends(home, "+99900000000");
    let diagnosed = home.diagnose_until("agi-dead-letters", PATIENCE);
    let finding = diagnosed.only_root("agi-dead-letters");
    says(finding, "RapidPro has refused 1 finished call for good");
    says(finding, "calls retry --dead");
    assert!(!finding.to_string().contains("99900000000"), "{finding:#}");
    let dead = home.folder.join("spool/dead");
    for entry in std::fs::read_dir(dead).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    home.healthy_again(PATIENCE);
    // What cannot be read at all.
    let damaged = home.folder.join("spool/damaged/call.json");
    std::fs::write(&damaged, "{").unwrap();
    says(
        home.diagnose_until("agi-dead-letters", PATIENCE)
            .only_root("agi-dead-letters"),
        "1 file of finished calls cannot be read",
    );
    std::fs::remove_file(damaged).unwrap();
    home.healthy_again(PATIENCE);
}

/// As after a copy by root, or a restored backup.
fn a_spool_that_cannot_be_written_to(home: &Home) {
    let spool = home.folder.join("spool");
    let before = std::fs::metadata(&spool).unwrap();
    std::os::unix::fs::chown(&spool, Some(65534), Some(65534)).unwrap();
    std::fs::set_permissions(&spool, PermissionsExt::from_mode(0o500)).unwrap();
    let diagnosed = home.diagnose_until("spool-unwritable", PATIENCE);
    let finding = diagnosed.only_root("spool-unwritable");
    says(finding, "Permission denied");
    says(finding, "mode 0500");
    says(finding, "sudo ls -la");
    std::os::unix::fs::chown(&spool, Some(0), Some(0)).unwrap();
    std::fs::set_permissions(&spool, before.permissions()).unwrap();
    home.healthy_again(PATIENCE);
    // A file where the folder was.
    let away = home.folder.join("spool.away");
    std::fs::rename(&spool, &away).unwrap();
    std::fs::write(&spool, "").unwrap();
    says(
        home.diagnose_until("spool-unwritable", PATIENCE)
            .only_root("spool-unwritable"),
        "Not a directory",
    );
    std::fs::remove_file(&spool).unwrap();
    std::fs::rename(&away, &spool).unwrap();
    home.healthy_again(PATIENCE);
}

fn without_calls_nothing_is_looked_at() {
    let home = Home::new("no-calls");
    for check in ["calls-spool", "calls-queue", "calls-refused"] {
        assert_eq!(home.diagnose(&[check]).result(check), "skipped");
    }
}
