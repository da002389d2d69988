//! Workers take tasks again, and there is one beat.

use crate::diagnose::celery::{Family, one_more_beat};
use crate::diagnose::services::{PATIENCE, Stopped, signal};
use crate::harness::{Home, redis_cli, until};

#[test]
fn workers_and_beats() {
    let home = Home::with_databases("fixce");
    // A worker that hangs is waited for so long.
    std::fs::write(
        home.folder.join("compose.override.yaml"),
        "services:\n  rapidpro-celery:\n    stop_grace_period: 5s\n  \
         rapidpro-beat:\n    stop_grace_period: 5s\n",
    )
    .unwrap();
    home.set("DIAGNOSE_TIMEOUT", "DIAGNOSE_TIMEOUT=10s");
    home.set("CASEPRO_SYNC_INTERVAL", "CASEPRO_SYNC_INTERVAL=5");
    home.comes_up();
    home.seed_rapidpro();
    for service in ["rapidpro-celery", "rapidpro-beat", "casepro-celery"] {
        home.until_healthy(service);
    }
    home.healthy_again(PATIENCE);
    home.has_nothing_to_fix(&["celery"]);
    a_pool_that_is_stopped_goes_on(&home);
    a_worker_that_is_stopped_goes_on(&home);
    a_worker_that_hangs_is_restarted(&home);
    a_worker_that_gets_on_is_left_alone(&home);
    a_beat_that_was_killed_sends_again(&home);
    a_beat_that_is_stopped_goes_on(&home);
    a_repair_that_was_cut_off_is_finished(&home);
    a_second_beat_of_ours_goes_and_one_of_others_stays(&home);
    a_beat_that_nobody_asks_for_is_said(&home);
}

fn took_a_task(said: &str, service: &str) {
    assert!(
        said.contains(&format!("{service} took a task at ")),
        "{said}"
    );
}

fn a_pool_that_is_stopped_goes_on(home: &Home) {
    let started = home.inspect("rapidpro-celery", "{{.State.StartedAt}}");
    let family = Family::of(home, "rapidpro-celery");
    let _stopped = Stopped::new(family.pool);
    home.diagnose_until("celery-stalled", PATIENCE);
    let said = home.fixes(&["celery"]);
    took_a_task(&said, "rapidpro-celery");
    // It was enough to let it go on.
    let now = home.inspect("rapidpro-celery", "{{.State.StartedAt}}");
    assert_eq!(now, started, "{said}");
    home.healthy_again(PATIENCE);
    home.has_nothing_to_fix(&["celery"]);
}

fn a_worker_that_is_stopped_goes_on(home: &Home) {
    let family = Family::of(home, "casepro-celery");
    let _stopped = Stopped::new(vec![family.main]);
    home.diagnose_until("celery-stalled", PATIENCE);
    took_a_task(&home.fixes(&["celery"]), "casepro-celery");
    home.healthy_again(PATIENCE);
    home.has_nothing_to_fix(&["celery"]);
}

fn a_worker_that_hangs_is_restarted(home: &Home) {
    // It stays in the container, so that the time has to be over before the restarted one is ready.
    home.control("rapidpro-celery", r#"{"unhealthy_seconds": 60}"#);
    home.diagnose_until("celery-stalled", PATIENCE);
    let started = home.inspect("rapidpro-celery", "{{.State.StartedAt}}");
    let others = home.inspect("rapidpro-beat", "{{.State.StartedAt}}");
    let said = home.fixes(&["celery"]);
    took_a_task(&said, "rapidpro-celery");
    let now = home.inspect("rapidpro-celery", "{{.State.StartedAt}}");
    assert_ne!(now, started, "{said}");
    // Only the one concerned.
    assert_eq!(
        home.inspect("rapidpro-beat", "{{.State.StartedAt}}"),
        others
    );
    home.control("rapidpro-celery", "");
    home.healthy_again(PATIENCE);
    home.has_nothing_to_fix(&["celery"]);
}

/// A task that PostgreSQL works on for long, beside a process of the pool that is stopped.
fn a_worker_that_gets_on_is_left_alone(home: &Home) {
    home.rapidpro_sql(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN PERFORM pg_sleep(90); RETURN OLD; END $$; \
         CREATE TRIGGER slow BEFORE DELETE ON channels_channelcount \
         FOR EACH ROW EXECUTE FUNCTION slow(); \
         INSERT INTO channels_channelcount (channel_id, count_type, day, count, is_squashed) \
         SELECT id, 'IM', current_date, 1, false FROM channels_channel",
    );
    // Only this worker takes from that list.
    let id = "11111111-2222-4333-8444-555555555555";
    let task = serde_json::json!({
        "body": "[[], {}, {\"callbacks\": null, \"errbacks\": null, \"chain\": null, \"chord\": null}]",
        "content-encoding": "utf-8", "content-type": "application/json",
        "headers": {"lang": "py", "task": "squash_channelcounts", "id": id, "root_id": id,
            "parent_id": null, "group": null, "retries": 0, "eta": null, "expires": null,
            "timelimit": [null, null], "argsrepr": "()", "kwargsrepr": "{}", "origin": "test"},
        "properties": {"correlation_id": id, "reply_to": "", "delivery_mode": 2, "priority": 0,
            "delivery_info": {"exchange": "", "routing_key": "batch"}, "delivery_tag": id},
    });
    let db = home.redis_number("rapidpro");
    redis_cli(&["-n", &db, "LPUSH", "batch", &task.to_string()]);
    let sleeps = "SELECT pid FROM pg_stat_activity WHERE state = 'active' \
        AND wait_event = 'PgSleep' AND datname = current_database()";
    until("the task is at work", PATIENCE, || {
        !home.rapidpro_sql(sleeps).is_empty()
    });
    // One of the others, that is not at it.
    let family = Family::of(home, "rapidpro-celery");
    let idle = family.pool.iter().copied().find(|pid| {
        let sockets = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let connected = sockets.filter_map(|entry| {
            let target = std::fs::read_link(entry.ok()?.path()).ok()?;
            target
                .to_string_lossy()
                .starts_with("socket:")
                .then_some(())
        });
        connected.count() == 0
    });
    let stopped = Stopped::new(vec![idle.unwrap_or(family.pool[0])]);
    home.diagnose_until("celery-stalled", PATIENCE);
    // Long enough to be one that takes time.
    until("the task is no moment old", PATIENCE, || {
        let old = format!("{sleeps} AND query_start < now() - interval '6 s'");
        !home.rapidpro_sql(&old).is_empty()
    });
    let started = home.inspect("rapidpro-celery", "{{.State.StartedAt}}");
    let said = home.fix(&["celery"]).expect(1).stderr;
    assert!(said.contains("it is at work and gets on"), "{said}");
    assert!(said.contains("squash_channelcounts for "), "{said}");
    assert_eq!(
        home.inspect("rapidpro-celery", "{{.State.StartedAt}}"),
        started
    );
    drop(stopped);
    let pid = home.rapidpro_sql(sleeps);
    home.rapidpro_sql(&format!("SELECT pg_terminate_backend({pid})"));
    home.rapidpro_sql("DROP TRIGGER slow ON channels_channelcount");
    home.healthy_again(PATIENCE);
}

fn a_beat_that_was_killed_sends_again(home: &Home) {
    let beat = Family::of(home, "rapidpro-beat").beat.unwrap();
    signal("-KILL", &[beat]);
    home.diagnose_until("beat-missing", PATIENCE);
    let others = home.inspect("rapidpro-celery", "{{.State.StartedAt}}");
    let said = home.fixes(&["celery"]);
    assert!(said.contains("the beat of rapidpro-beat sent "), "{said}");
    assert_eq!(
        home.inspect("rapidpro-celery", "{{.State.StartedAt}}"),
        others
    );
    home.healthy_again(PATIENCE);
    home.has_nothing_to_fix(&["celery"]);
}

fn a_beat_that_is_stopped_goes_on(home: &Home) {
    let beat = Family::of(home, "casepro-celery").beat.unwrap();
    let _stopped = Stopped::new(vec![beat]);
    home.diagnose_until("beat-missing", PATIENCE);
    let started = home.inspect("casepro-celery", "{{.State.StartedAt}}");
    let said = home.fixes(&["celery"]);
    assert!(said.contains("the beat of casepro-celery sent "), "{said}");
    assert_eq!(
        home.inspect("casepro-celery", "{{.State.StartedAt}}"),
        started
    );
    home.healthy_again(PATIENCE);
}

fn a_repair_that_was_cut_off_is_finished(home: &Home) {
    for (step, event) in [("stop", "started"), ("start", "started")] {
        let beat = Family::of(home, "casepro-celery").beat.unwrap();
        signal("-KILL", &[beat]);
        home.diagnose_until("beat-missing", PATIENCE);
        home.fix_until(&["celery"], step, event).kill();
        let said = home.fixes(&["celery"]);
        assert!(said.contains("casepro-celery"), "{said}");
        let policy = "{{.State.Running}} {{.HostConfig.RestartPolicy.Name}}";
        assert_eq!(home.inspect("casepro-celery", policy), "true always");
        home.healthy_again(PATIENCE);
        home.has_nothing_to_fix(&["celery"]);
    }
}

fn a_second_beat_of_ours_goes_and_one_of_others_stays(home: &Home) {
    let name = format!("{}-rapidpro-beat-2", home.project);
    let ours = one_more_beat(home, &name, &home.project);
    let diagnosed = home.diagnose_until("beat-duplicate", PATIENCE);
    let fix = diagnosed.finding("beat-duplicate")["fix"]["command"].clone();
    assert!(fix.as_str().unwrap().ends_with("fix celery"), "{fix}");
    // compose v1 puts underscores.
    let kept = home.docker(&[
        "ps",
        "-q",
        "--filter",
        &format!("name={}.rapidpro-beat.1$", home.project),
    ]);
    let started = || home.docker(&["inspect", "-f", "{{.State.StartedAt}}", &kept]);
    let before = started();
    assert!(!before.is_empty());
    let said = home.fixes(&["celery"]);
    assert!(said.contains(&format!("stop and remove {name}")), "{said}");
    assert_eq!(
        home.docker(&["ps", "-aq", "--filter", &format!("name={name}")]),
        ""
    );
    assert_eq!(started(), before);
    drop(ours);
    home.healthy_again(PATIENCE);
    home.has_nothing_to_fix(&["celery"]);

    let name = format!("{}-old", home.project);
    let others = one_more_beat(home, &name, "combined");
    let diagnosed = home.diagnose_until("beat-duplicate", PATIENCE);
    assert!(diagnosed.finding("beat-duplicate")["fix"]["command"].is_null());
    // Somebody else's: told, and left alone.
    let said = home.fix(&["celery"]).expect(1).stderr;
    assert!(said.contains("but beat-duplicate"), "{said}");
    assert_eq!(
        home.docker(&["inspect", "-f", "{{.State.Running}}", &name]),
        "true"
    );
    drop(others);
    home.healthy_again(PATIENCE);
}

/// The operator's own file has taken it away: a restart would not bring it.
fn a_beat_that_nobody_asks_for_is_said(home: &Home) {
    std::fs::write(
        home.folder.join("compose.override.yaml"),
        "services:\n  rapidpro-beat:\n    command: [/venv/bin/celery, --app=temba, worker, \
         --loglevel=INFO, --queues=celery]\n",
    )
    .unwrap();
    home.ooy(&["start", "rapidpro-beat"]).expect(0);
    home.diagnose_until("beat-missing", PATIENCE);
    let said = home.fix(&["celery"]).expect(1).stderr;
    assert!(said.contains("started without --beat"), "{said}");
    assert!(said.contains("compose.override.yaml"), "{said}");
}
