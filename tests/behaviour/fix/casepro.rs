//! Casepro pulls again: real workers, really killed and really hung, a real backlog.

use std::time::Duration;

use crate::diagnose::workspace::{Gate, PATIENCE};
use crate::harness::{Home, Ran, surroundings, until};

const LOCK: &str = "org-task-lock:1:message-pull";

#[test]
fn casepro_pulls_again() {
    let (home, gate) = casepro("fixcp");
    home.has_nothing_to_fix(&["casepro-sync"]);
    a_lock_that_a_restart_leaves_is_deleted(&home, &gate);
    a_pull_that_hangs_is_ended_and_leaves_no_lock(&home, &gate);
    a_repair_that_was_cut_off_is_finished(&home);
}

#[test]
fn casepro_pulls_much() {
    let (home, gate) = casepro("fixcm");
    a_worker_that_gets_on_is_left_alone(&home, &gate);
    a_backlog_is_pulled_without_the_time_limit(&home, &gate);
}

/// A deployment whose Casepro pulls, through a gate.
fn casepro(name: &str) -> (Home, Gate) {
    let home = Home::with_databases(name);
    std::fs::write(
        home.folder.join("compose.override.yaml"),
        format!(
            "services:\n  casepro-celery:\n    stop_grace_period: 8s\n  rapidpro:\n    \
             environment:\n      ALLOWED_HOSTS: rapidpro.test;rapidpro;localhost;{}\n",
            surroundings("OOY_TEST_POSTGRES_HOST")
        ),
    )
    .unwrap();
    for (name, value) in [
        ("HEALTH_INTERVAL", "5s"),
        ("CELERY_HEALTH_INTERVAL", "20s"),
        ("DIAGNOSE_TIMEOUT", "12s"),
        // Five intervals are allowed in any case: 25 s.
        ("CASEPRO_SYNC_INTERVAL", "5"),
        ("CASEPRO_SYNC_LAG", "1s"),
        ("CASEPRO_TASK_TIME_LIMIT", "180"),
    ] {
        home.set(name, &format!("{name}={value}"));
    }
    home.comes_up();
    home.seed();
    let gate = Gate::before(&home);
    gate.by_own_name();
    home.pulls_again();
    home.healthy_again(PATIENCE);
    (home, gate)
}

/// How many messages Casepro has.
fn messages(home: &Home) -> u64 {
    let count = home.sql("casepro", "SELECT count(*) FROM msgs_message");
    count.parse().unwrap()
}

/// Nobody has left a lock behind: one that is there is that of a run of this moment.
#[track_caller]
fn no_old_lock(home: &Home) {
    let left: i64 = home.casepro_redis(&["PTTL", LOCK]).parse().unwrap();
    assert!(!(0..=43_140_000).contains(&left), "{left}");
}

fn a_pull_hangs(home: &Home) {
    until("a pull hangs", PATIENCE, || {
        let open = "SELECT count(*) FROM orgs_taskstate WHERE task_key = 'message-pull' \
            AND ended_on IS NULL AND started_on < now() - interval '6 s'";
        home.sql("casepro", open) == "1"
    });
}

/// What the wiki's plain restart does, and what it leaves behind.
fn a_lock_that_a_restart_leaves_is_deleted(home: &Home, gate: &Gate) {
    gate.mute(true);
    a_pull_hangs(home);
    home.docker(&["restart", "-t", "1", &home.container("casepro-celery")]);
    gate.mute(false);
    home.diagnose_until("casepro-lock-stale", PATIENCE);
    let left: i64 = home.casepro_redis(&["PTTL", LOCK]).parse().unwrap();
    assert!(left > 11 * 3_600_000, "{left}");
    // The wiki's way: it stays so.
    home.docker(&["restart", &home.container("casepro-celery")]);
    home.until_healthy("casepro-celery");
    let after: i64 = home.casepro_redis(&["PTTL", LOCK]).parse().unwrap();
    assert!(after > 11 * 3_600_000 && after < left, "{after}");

    home.message_comes_in();
    let before = messages(home);
    let said = home.fixes(&["casepro-sync"]);
    assert!(
        said.contains("deleted: org-task-lock:1:message-pull"),
        "{said}"
    );
    assert!(said.contains("no worker lives"), "{said}");
    assert!(said.contains("after:  pull succeeded at "), "{said}");
    assert!(said.contains(", 1 message"), "{said}");
    assert_eq!(messages(home), before + 1);
    no_old_lock(home);
    home.healthy_again(PATIENCE);
    home.has_nothing_to_fix(&["casepro-sync"]);
}

/// Whatever Casepro writes besides may let the pull look alive for a moment, and nothing is done.
fn fix_stalled(home: &Home) -> Ran {
    for _ in 0..5 {
        home.diagnose_until("casepro-sync-stalled", PATIENCE);
        let ran = home.fix(&["casepro-sync"]);
        if !ran.stderr.contains("nothing to fix") {
            return ran;
        }
    }
    panic!("it always looked alive");
}

/// First RapidPro is mute for everybody, then only the pull that is under way hangs.
fn a_pull_that_hangs_is_ended_and_leaves_no_lock(home: &Home, gate: &Gate) {
    gate.stuck(true);
    let said = fix_stalled(home).expect(1).stderr;
    assert!(
        said.contains("it hangs, and is killed if it does not end"),
        "{said}"
    );
    assert!(
        said.contains("deleted: org-task-lock:1:message-pull"),
        "{said}"
    );
    assert!(
        said.contains("RapidPro does not answer Casepro's pull"),
        "{said}"
    );
    assert!(said.contains(" diagnose rapidpro"), "{said}");
    // The worker is there, and its pull holds the lock.
    assert_eq!(home.casepro_redis(&["EXISTS", LOCK]), "1");
    assert_eq!(home.inspect("casepro-celery", "{{.State.Running}}"), "true");

    gate.stuck(false);
    home.message_comes_in();
    let said = fix_stalled(home).expect(0).stderr;
    assert!(
        said.contains("did not end in its time and was killed"),
        "{said}"
    );
    assert!(
        said.contains("deleted: org-task-lock:1:message-pull"),
        "{said}"
    );
    assert!(said.contains("pull succeeded at "), "{said}");
    no_old_lock(home);
    home.healthy_again(PATIENCE);
    home.has_nothing_to_fix(&["casepro-sync"]);
}

/// A lock as a killed worker leaves it, a minute old.
fn leave_a_lock(home: &Home, task: &str) {
    let key = format!("org-task-lock:1:{task}");
    home.casepro_redis(&["SET", &key, "x", "PX", "43140000"]);
}

fn a_repair_that_was_cut_off_is_finished(home: &Home) {
    for (step, event) in [("stop", "started"), ("locks", "done"), ("start", "started")] {
        leave_a_lock(home, "message-pull");
        home.fix_until(&["casepro-sync"], step, event).kill();
        let said = home.fixes(&["casepro-sync"]);
        assert!(said.contains("pull succeeded at "), "{step}: {said}");
        assert_eq!(home.inspect("casepro-celery", "{{.State.Running}}"), "true");
        assert_eq!(
            home.inspect("casepro-celery", "{{.HostConfig.RestartPolicy.Name}}"),
            "always"
        );
        home.has_nothing_to_fix(&["casepro-sync"]);
    }
    home.healthy_again(PATIENCE);
}

/// So many messages come in at once.
fn many_come_in(home: &Home, number: usize) {
    home.sql(
        "rapidpro",
        &format!(
            "INSERT INTO msgs_msg SELECT (jsonb_populate_record(NULL::msgs_msg, to_jsonb(old) \
             || jsonb_build_object('id', nextval('msgs_msg_id_seq'), 'uuid', gen_random_uuid(), \
             'created_on', now(), 'modified_on', now(), 'text', 'one of many'))).* \
             FROM (SELECT * FROM msgs_msg WHERE direction = 'I' ORDER BY id LIMIT 1) AS old, \
             generate_series(1, {number})"
        ),
    );
}

fn a_pull_gets_on(home: &Home, before: u64) {
    until("a long pull is under way", PATIENCE, || {
        messages(home) > before + 300
    });
    let since = "SELECT count(*) FROM orgs_taskstate WHERE task_key = 'message-pull' \
        AND ended_on IS NULL AND started_on < now() - interval '10 s'";
    until("it is no moment old", PATIENCE, || {
        home.sql("casepro", since) == "1"
    });
}

fn a_worker_that_gets_on_is_left_alone(home: &Home, gate: &Gate) {
    let before = messages(home);
    gate.slow(Duration::from_millis(2500));
    many_come_in(home, 4500);
    a_pull_gets_on(home, before);
    let started = home.inspect("casepro-celery", "{{.State.StartedAt}}");
    let run = "SELECT started_on FROM orgs_taskstate WHERE task_key = 'message-pull'";
    let pull = home.sql("casepro", run);

    // A run of contacts that was killed once: to restart the worker for it would end the pull.
    home.sql(
        "casepro",
        "INSERT INTO orgs_taskstate (org_id, task_key, started_on, is_failing, is_disabled) \
         VALUES (1, 'contact-pull', now() - interval '1 h', false, false) \
         ON CONFLICT (org_id, task_key) \
         DO UPDATE SET started_on = excluded.started_on, ended_on = NULL",
    );
    home.diagnose(&["casepro-sync"])
        .finding("casepro-sync-stalled");
    let said = home.fix(&["casepro-sync"]).expect(1).stderr;
    assert!(said.contains("the worker is at work and gets on"), "{said}");
    assert!(said.contains("message-pull of lvcthealth in "), "{said}");
    assert!(
        said.contains("at the latest (CASEPRO_TASK_TIME_LIMIT"),
        "{said}"
    );
    home.sql(
        "casepro",
        "UPDATE orgs_taskstate SET ended_on = started_on WHERE task_key = 'contact-pull'",
    );

    // A lock that nobody holds beside it goes, and the worker stays.
    leave_a_lock(home, "message-handle");
    let said = home.fixes(&["casepro-sync"]);
    assert!(said.contains("leave message-pull of lvcthealth"), "{said}");
    assert!(
        said.contains("1 lock deleted: org-task-lock:1:message-handle"),
        "{said}"
    );
    assert_eq!(
        home.inspect("casepro-celery", "{{.State.StartedAt}}"),
        started
    );
    assert!(messages(home) >= before + 4500);
    assert_eq!(
        home.sql(
            "casepro",
            &format!(
                "SELECT last_successfully_started_on >= '{pull}' FROM orgs_taskstate \
                WHERE task_key = 'message-pull'"
            )
        ),
        "t"
    );
    gate.slow(Duration::ZERO);
    home.healthy_again(PATIENCE);
}

fn a_backlog_is_pulled_without_the_time_limit(home: &Home, gate: &Gate) {
    home.set("CASEPRO_TASK_TIME_LIMIT", "CASEPRO_TASK_TIME_LIMIT=30");
    home.comes_up();
    let before = messages(home);
    gate.slow(Duration::from_millis(2000));
    many_come_in(home, 5000);

    // Its pull is ended by the limit: the plain repair says what has to be done.
    leave_a_lock(home, "message-pull");
    let said = home.fix(&["casepro-sync"]).expect(1).stderr;
    assert!(
        said.contains("does not fit into a worker's time limit"),
        "{said}"
    );
    assert!(said.contains("fix casepro-sync --catch-up"), "{said}");

    let one_off = format!("{}-casepro-celery-catch-up", home.project);
    let cut = home.fix_until(&["casepro-sync", "--catch-up"], "catch-up", "started");
    until("it pulls", PATIENCE, || {
        home.docker(&["logs", &one_off]).contains("ooy-pull:")
    });
    cut.kill();
    let running = || home.docker(&["inspect", "-f", "{{.State.Running}}", &one_off]);
    assert_eq!(running(), "true");
    // Neither the plain repair nor a start takes its lock away.
    let diagnosed = home.diagnose(&["casepro-sync", "casepro-locks"]);
    let finding = diagnosed.finding("casepro-sync-stalled");
    let manual = finding["fix"]["manual"].to_string();
    assert!(
        manual.contains("fix casepro-sync --catch-up"),
        "{finding:#}"
    );
    let said = home.fix(&["casepro-sync"]).stderr;
    assert!(!said.contains("will do"), "{said}");
    home.ooy(&["start", "casepro-celery"]).expect(0);
    until("the lock is there still", PATIENCE, || {
        home.casepro_redis(&["EXISTS", LOCK]) == "1" || running() != "true"
    });
    let said = home.fixes(&["casepro-sync", "--catch-up"]);
    assert!(said.contains("caught up with "), "{said}");
    assert!(said.contains("pull succeeded at "), "{said}");
    assert_eq!(running(), "");
    assert!(
        messages(home) >= before + 5000,
        "{} of {}",
        messages(home),
        before + 5000
    );
    no_old_lock(home);
    gate.slow(Duration::ZERO);
    home.healthy_again(PATIENCE);
    home.has_nothing_to_fix(&["casepro-sync"]);
}
