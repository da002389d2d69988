//! Casepro's pulls: real workers, really hung and really killed.

use std::process::Command;
use std::time::Duration;

use super::workspace::{Gate, PATIENCE};
use crate::harness::{Home, surroundings, until};
use crate::hotline::{TOKEN, WRONG_TOKEN};

const LOCK: &str = "org-task-lock:1:message-pull";

/// One deployment, many faults: each is undone before the next.
#[test]
fn casepro() {
    let home = Home::brought_up(
        "casepro",
        // Five intervals are allowed in any case: 25 s.
        &[("CASEPRO_SYNC_INTERVAL", "5"), ("CASEPRO_SYNC_LAG", "1s")],
    );
    home.seed();
    let gate = Gate::before(&home);
    home.pulls_again();
    home.healthy_again(PATIENCE);

    a_living_worker_that_waits_is_left_alone_and_a_killed_one_leaves_its_lock(&home, &gate);
    a_worker_that_dies_leaves_its_lock(&home, &gate);
    a_pull_that_does_not_get_on_is_told_from_one_that_does(&home, &gate);
    a_refused_token_is_named(&home);
    a_pull_that_fails_once_is_no_fault(&home);
    without_a_backend_nothing_is_pulled(&home);
    casepro_that_answers_nobody_is_found(&home);
    casepro_that_cannot_use_its_database_is_found(&home);
}

/// Waits until a pull is under way and hangs.
fn a_pull_hangs(home: &Home) {
    until("a pull hangs", PATIENCE, || {
        let open = "SELECT count(*) FROM orgs_taskstate WHERE task_key = 'message-pull' \
            AND ended_on IS NULL AND started_on < now() - interval '6 s'";
        home.sql("casepro", open) == "1"
    });
}

fn a_living_worker_that_waits_is_left_alone_and_a_killed_one_leaves_its_lock(
    home: &Home,
    gate: &Gate,
) {
    gate.mute(true);
    a_pull_hangs(home);
    let alive = home.diagnose(&["casepro-locks"]);
    assert_eq!(alive.result("casepro-locks"), "ok", "{}", alive.text());
    let left = home.casepro_redis(&["SMEMBERS", "_kombu.binding.reply.celery.pidbox"])
        + &home.casepro_redis(&["--scan", "--pattern", "ooy-*"]);
    assert!(!left.contains("ooy-"), "left of asking the workers: {left}");

    home.docker(&["restart", "-t", "1", &home.container("casepro-celery")]);
    gate.mute(false);
    let diagnosed = home.diagnose_until("casepro-lock-stale", PATIENCE);
    let finding = diagnosed.only_root("casepro-lock-stale");
    assert_eq!(finding["service"], "casepro-celery");
    let evidence = finding["evidence"].to_string();
    assert!(evidence.contains(LOCK), "{evidence}");
    assert!(evidence.contains("none of 1 worker"), "{evidence}");
    assert!(evidence.contains("11 h to live"), "{evidence}");
    let fix = finding["fix"]["command"].as_str().unwrap();
    assert!(fix.ends_with("fix casepro-sync"), "{fix}");
    the_command_in_the_evidence_works(home, finding);

    // Time goes by, and the pull is late as well: of the same cause.
    until("the pull is late", PATIENCE, || {
        let diagnosed = home.diagnose(&[]);
        diagnosed.only_root("casepro-lock-stale");
        diagnosed.explained().contains(&"casepro-sync-stalled")
    });
    insta::assert_snapshot!("casepro_lock_stale", read_by_a_person(home));

    home.casepro_redis(&["DEL", LOCK]);
    home.pulls_again();
    home.healthy_again(PATIENCE);
}

/// As a person copies it, with the password typed where it is asked for.
fn the_command_in_the_evidence_works(home: &Home, finding: &serde_json::Value) {
    let command = finding["evidence"][0]["command"].as_str().unwrap();
    assert!(!command.contains(&surroundings("OOY_TEST_REDIS_PASSWORD")));
    let output = Command::new("sh")
        .args(["-c", &command.replace(" --askpass", "")])
        .env("REDISCLI_AUTH", surroundings("OOY_TEST_REDIS_PASSWORD"))
        .output()
        .unwrap();
    let left: i64 = String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .unwrap();
    assert!(left > 40_000_000, "{command}: {left}");
    let command = finding["evidence"][1]["command"].as_str().unwrap();
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
    assert_eq!(home.casepro_redis(&["EXISTS", LOCK]), "1");
}

fn read_by_a_person(home: &Home) -> String {
    let ran = home
        .ooy(&["diagnose", "casepro-locks", "casepro-sync"])
        .expect(1);
    let mut text = home.tidy(&ran.stdout);
    for (pattern, put) in [
        (r"-n \d+ ", "-n DB "),
        (r"database \d+", "database DB"),
        (r"-h [0-9.]+ -p \w+", "-h REDIS -p PORT"),
        (r"-d \w+", "-d DATABASE"),
        (r"\b(N|\d+) (s|min)\b", "N s"),
        (r"checks in .*? · ", "checks in N s · "),
        (r" {3,}(casepro-lock-stale)", "   $1"),
    ] {
        text = regex::Regex::new(pattern)
            .unwrap()
            .replace_all(&text, put)
            .into_owned();
    }
    text
}

fn a_worker_that_dies_leaves_its_lock(home: &Home, gate: &Gate) {
    gate.mute(true);
    a_pull_hangs(home);
    let restarts = home.inspect("casepro-celery", "{{.RestartCount}}");
    let pid = home.inspect("casepro-celery", "{{.State.Pid}}");
    let killed = Command::new("kill").args(["-9", &pid]).status().unwrap();
    assert!(killed.success());
    until("the daemon has started it again", PATIENCE, || {
        home.inspect("casepro-celery", "{{.RestartCount}} {{.State.Running}}")
            != format!("{restarts} true")
            && home.inspect("casepro-celery", "{{.State.Running}}") == "true"
    });
    gate.mute(false);
    let diagnosed = home.diagnose_until("casepro-lock-stale", PATIENCE);
    let evidence = diagnosed.finding("casepro-lock-stale")["evidence"].to_string();
    assert!(evidence.contains(LOCK), "{evidence}");
    home.casepro_redis(&["DEL", LOCK]);
    home.pulls_again();
    home.healthy_again(PATIENCE);
}

fn a_pull_that_does_not_get_on_is_told_from_one_that_does(home: &Home, gate: &Gate) {
    gate.mute(true);
    let diagnosed = home.diagnose_until("casepro-sync-stalled", PATIENCE);
    let finding = diagnosed.only_root("casepro-sync-stalled");
    let summary = finding["summary"].as_str().unwrap();
    assert!(
        summary.starts_with("Casepro has not pulled messages for "),
        "{summary}"
    );
    let evidence = finding["evidence"].to_string();
    assert!(evidence.contains("does not get on"), "{evidence}");
    assert!(evidence.contains("(CASEPRO_SYNC_LAG)"), "{evidence}");

    // Now it writes what it pulls, as a long catch-up does.
    let writing = std::sync::atomic::AtomicBool::new(true);
    let diagnosed = std::thread::scope(|scope| {
        scope.spawn(|| {
            while writing.load(std::sync::atomic::Ordering::SeqCst) {
                home.sql("casepro", "UPDATE msgs_message SET modified_on = now()");
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        let diagnosed = home.diagnose(&["casepro-sync", "casepro-locks"]);
        writing.store(false, std::sync::atomic::Ordering::SeqCst);
        diagnosed
    });
    assert_eq!(diagnosed.json["ok"], true, "{}", diagnosed.text());

    gate.mute(false);
    home.pulls_again();
    home.healthy_again(PATIENCE);
}

fn a_refused_token_is_named(home: &Home) {
    let set = |token: &str| {
        home.sql(
            "casepro",
            &format!("UPDATE orgs_orgbackend SET api_token = '{token}'"),
        )
    };
    set(WRONG_TOKEN);
    let diagnosed = home.diagnose_until("casepro-sync-stalled", PATIENCE);
    let finding = diagnosed.only_root("casepro-sync-stalled");
    assert!(
        finding["cause"]
            .as_str()
            .unwrap()
            .contains("refuses the API token"),
        "{finding:#}"
    );
    let evidence = finding["evidence"].to_string();
    assert!(evidence.contains("TembaTokenError"), "{evidence}");
    assert!(!diagnosed.ran.stdout.contains(WRONG_TOKEN));
    set(TOKEN);
    home.pulls_again();
    home.healthy_again(PATIENCE);
}

fn a_pull_that_fails_once_is_no_fault(home: &Home) {
    home.sql(
        "casepro",
        "UPDATE orgs_taskstate SET is_failing = true WHERE task_key = 'message-pull'",
    );
    let diagnosed = home.diagnose(&[]);
    assert_eq!(diagnosed.json["ok"], true, "{}", diagnosed.text());
    home.pulls_again();
}

fn without_a_backend_nothing_is_pulled(home: &Home) {
    let noop = [("SITE_BACKEND", "casepro.backend.NoopBackend")];
    home.steer(&[("casepro", &noop), ("casepro-celery", &noop)]);
    home.comes_up();
    let diagnosed = home.diagnose(&[]);
    let finding = diagnosed.only_root("casepro-backend-noop");
    let evidence = finding["evidence"].to_string();
    assert!(
        evidence.contains("casepro.backend.NoopBackend"),
        "{evidence}"
    );
    let command = finding["evidence"][0]["command"].as_str().unwrap();
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "casepro.backend.NoopBackend"
    );

    // Pulls succeed and bring nothing: that is seen by what RapidPro has and Casepro has not.
    home.message_comes_in();
    until("the message is missed", PATIENCE, || {
        let diagnosed = home.diagnose(&[]);
        diagnosed.only_root("casepro-backend-noop");
        diagnosed.explained().contains(&"casepro-sync-stalled")
    });

    std::fs::remove_file(home.folder.join("compose.override.yaml")).unwrap();
    home.comes_up();
    // What came meanwhile is past; the next one shows that they come again.
    home.message_comes_in();
    home.pulls_again();
    home.healthy_again(PATIENCE);
}

fn casepro_that_answers_nobody_is_found(home: &Home) {
    home.control("casepro", r#"{"hang": true}"#);
    let diagnosed = home.diagnose_until("casepro-unreachable", PATIENCE);
    let finding = diagnosed.only_root("casepro-unreachable");
    assert!(
        finding["summary"]
            .as_str()
            .unwrap()
            .starts_with("Casepro does not answer"),
        "{finding:#}"
    );
    let fix = finding["fix"]["command"].as_str().unwrap();
    assert!(fix.ends_with("fix service casepro"), "{fix}");
    home.control("casepro", "{}");
    home.healthy_again(PATIENCE);
}

fn casepro_that_cannot_use_its_database_is_found(home: &Home) {
    home.control("casepro", r#"{"unhealthy_seconds": 600}"#);
    let diagnosed = home.diagnose_until("casepro-unreachable", PATIENCE);
    let finding = diagnosed.only_root("casepro-unreachable");
    assert!(
        finding["summary"].as_str().unwrap().contains("500"),
        "{finding:#}"
    );
    // It goes on pulling.
    assert!(!diagnosed.explained().contains(&"casepro-sync-stalled"));
    home.control("casepro", "{}");
    home.healthy_again(PATIENCE);
}
