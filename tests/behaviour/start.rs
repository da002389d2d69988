//! `ooy start` and `stop` on a few quick services: order, gating, running again, replacing.

use std::time::Duration;

use crate::harness::{Home, until};

#[test]
fn a_service_brings_up_what_it_needs_and_nothing_else() {
    let home = Home::new("needs");
    home.ooy(&["start", "mailroom"]).expect(0);
    for service in home.status()["services"].as_array().unwrap() {
        let name = service["service"].as_str().unwrap();
        let wanted = ["mailroom", "elasticsearch"].contains(&name);
        assert_eq!(service["ready"], wanted, "{name}");
        assert_eq!(
            service["state"],
            if wanted { "running" } else { "missing" },
            "{name}"
        );
    }
}

#[test]
fn a_dependant_waits_until_what_it_needs_answers() {
    let home = Home::new("gate");
    home.steer(&[("elasticsearch", &[("STAND_IN_BOOT_SECONDS", "2.5")])]);
    home.ooy(&["start", "mailroom"]).expect(0);
    // The stand-in's own record: whether Elasticsearch answered when mailroom began.
    let log = home.docker(&["logs", &home.container("mailroom")]);
    let record = log
        .lines()
        .find(|line| line.contains("\"stand_in\""))
        .unwrap();
    let record: serde_json::Value = serde_json::from_str(record).unwrap();
    assert_eq!(record["answers"]["elasticsearch"], true, "{record}");
}

#[test]
fn running_again_changes_nothing() {
    let home = Home::new("again");
    home.ooy(&["start", "mailroom", "courier"]).expect(0);
    let containers = || {
        ["elasticsearch", "mailroom", "courier"]
            .map(|service| home.inspect(service, "{{.Id}} {{.State.StartedAt}}"))
    };
    let before = containers();
    let again = home.ooy(&["start", "mailroom", "courier"]).expect(0);
    assert_eq!(containers(), before);
    insta::assert_snapshot!("start-again", home.tidy(&again.stderr));
}

#[test]
fn a_changed_setting_replaces_only_the_containers_it_concerns() {
    let home = Home::new("replace");
    home.ooy(&["start", "mailroom", "courier"]).expect(0);
    let courier = home.container("courier");
    let mailroom = home.container("mailroom");
    let elasticsearch = home.container("elasticsearch");
    home.set("ELASTICSEARCH_HEAP", "ELASTICSEARCH_HEAP=256m");
    let plan = home
        .ooy(&["start", "mailroom", "courier", "--dry-run"])
        .expect(0);
    insta::assert_snapshot!("start-dry-run-replace", home.tidy(&plan.stderr));
    assert_eq!(
        home.container("elasticsearch"),
        elasticsearch,
        "a plan changes nothing"
    );
    home.ooy(&["start", "mailroom", "courier"]).expect(0);
    assert_ne!(home.container("elasticsearch"), elasticsearch);
    assert_eq!(home.container("courier"), courier);
    assert_eq!(home.container("mailroom"), mailroom);
}

#[test]
fn a_dry_run_leaves_no_trace() {
    let home = Home::new("dry");
    let plan = home.ooy(&["start", "courier", "--dry-run"]).expect(0);
    assert!(plan.stderr.contains("create and start"), "{}", plan.stderr);
    assert_eq!(home.container("courier"), "");
    assert!(!home.folder.join("rendered").exists());
    assert!(!home.folder.join("state").exists());
    let label = format!("label=com.docker.compose.project={}", home.project);
    assert_eq!(
        home.docker(&["network", "ls", "-q", "--filter", &label]),
        ""
    );
}

#[test]
fn a_stopped_service_stays_stopped_and_start_gives_its_policy_back() {
    let home = Home::new("policy");
    home.ooy(&["start", "courier"]).expect(0);
    let policy = || home.inspect("courier", "{{.HostConfig.RestartPolicy.Name}}");
    assert_eq!(policy(), "always");
    let stopped = home.ooy(&["stop", "courier"]).expect(0);
    insta::assert_snapshot!("stop", home.tidy(&stopped.stderr));
    assert_eq!(policy(), "no");
    assert_eq!(home.service_status("courier")["state"], "exited");
    home.ooy(&["stop", "courier"]).expect(0);
    home.ooy(&["start", "courier"]).expect(0);
    assert_eq!(policy(), "always");
}

#[test]
fn stop_goes_in_reverse_order() {
    let home = Home::new("reverse");
    home.ooy(&["start", "mailroom"]).expect(0);
    home.ooy(&["stop"]).expect(0);
    let ended = |service| home.inspect(service, "{{.State.FinishedAt}}");
    assert!(ended("mailroom") < ended("elasticsearch"));
}

#[test]
fn restart_starts_the_process_anew() {
    let home = Home::new("restart");
    home.ooy(&["start", "courier"]).expect(0);
    let started = || home.inspect("courier", "{{.State.StartedAt}}");
    let before = started();
    home.ooy(&["restart", "courier"]).expect(0);
    assert!(started() > before);
    let history = home.ooy(&["--json", "history"]).expect(0).json();
    let last = history["operations"].as_array().unwrap().last().unwrap();
    assert_eq!(last["operation"], "restart courier");
    assert!(last["down_ms"].is_u64(), "{last}");
    let plan = last["plan"].to_string();
    assert!(plan.contains("courier: stop (up to"), "{plan}");
}

/// It has taken the policy away and told the process to end, which takes its time.
#[test]
fn what_a_killed_stop_has_left_running_is_started_anew() {
    let home = Home::new("halfstop");
    home.ooy(&["start", "courier"]).expect(0);
    let started = || home.inspect("courier", "{{.State.StartedAt}}");
    let before = started();
    home.docker(&["update", "--restart", "no", &home.container("courier")]);
    home.ooy(&["start", "courier"]).expect(0);
    assert!(started() > before);
    let policy = home.inspect("courier", "{{.HostConfig.RestartPolicy.Name}}");
    assert_eq!(policy, "always");
}

#[test]
fn a_paused_service_goes_on() {
    let home = Home::new("paused");
    home.ooy(&["start", "courier"]).expect(0);
    home.docker(&["pause", &home.container("courier")]);
    assert_eq!(home.service_status("courier")["state"], "paused");
    home.ooy(&["start", "courier"]).expect(0);
    assert_eq!(home.service_status("courier")["ready"], true);
    home.docker(&["pause", &home.container("courier")]);
    home.ooy(&["stop", "courier"]).expect(0);
}

#[test]
fn json_is_one_event_a_line() {
    let home = Home::new("json");
    let ran = home.ooy(&["start", "courier", "--json"]).expect(0);
    assert_eq!(ran.stderr, "");
    let events: Vec<serde_json::Value> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for event in &events {
        let keys: Vec<&str> = event
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let expected = [
            "schema",
            "at",
            "operation",
            "step",
            "service",
            "event",
            "took_ms",
            "detail",
        ];
        assert_eq!(keys, expected);
        assert_eq!(
            (&event["schema"], &event["operation"]),
            (&1.into(), &"start".into())
        );
    }
    let about =
        |event: &&serde_json::Value| event["service"] == "courier" && event["step"] == "start";
    let words: Vec<&str> = events
        .iter()
        .filter(about)
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    assert_eq!(words.first(), Some(&"started"));
    assert_eq!(words.last(), Some(&"ready"));
    assert_eq!(events.last().unwrap()["event"], "done");
}

#[test]
fn logs_are_bounded_on_the_real_containers() {
    let home = Home::new("rotation");
    home.set("LOG_MAX_SIZE", "LOG_MAX_SIZE=1m");
    home.set("LOG_MAX_FILES", "LOG_MAX_FILES=3");
    home.ooy(&["start", "courier"]).expect(0);
    let config: serde_json::Value =
        serde_json::from_str(&home.inspect("courier", "{{json .HostConfig.LogConfig}}")).unwrap();
    assert_eq!(config["Type"], "json-file");
    assert_eq!(
        config["Config"],
        serde_json::json!({ "max-size": "1m", "max-file": "3" })
    );
}

#[test]
fn a_service_of_the_operators_own_is_started_in_its_place() {
    let home = Home::new("own");
    let image = crate::harness::stand_in("courier");
    std::fs::write(
        home.folder.join("compose.override.yaml"),
        format!(
            "services:\n  extra:\n    image: {image}\n    entrypoint: [\"bash\", \"-c\", \"trap 'exit 0' TERM; while :; do read -rt 1 <> <(:); done\"]\n    depends_on: [courier]\n    restart: always\n"
        ),
    )
    .unwrap();
    home.ooy(&["start", "extra"]).expect(0);
    assert_eq!(home.service_status("extra")["ready"], true);
    assert!(
        home.inspect("courier", "{{.State.StartedAt}}")
            < home.inspect("extra", "{{.State.StartedAt}}")
    );
}

#[test]
fn an_unhealthy_service_that_recovers_is_waited_for() {
    let home = Home::new("recovers");
    home.steer(&[("courier", &[("STAND_IN_UNHEALTHY_SECONDS", "10")])]);
    home.ooy(&["start", "courier"]).expect(0);
    assert_eq!(home.service_status("courier")["ready"], true);
}

#[test]
fn health_is_what_the_engine_says() {
    let home = Home::new("health");
    home.ooy(&["start", "courier"]).expect(0);
    until(
        "the health check has passed",
        Duration::from_secs(30),
        || home.service_status("courier")["health"] == "healthy",
    );
    let fields = home.service_status("courier");
    let keys: Vec<&str> = fields
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        keys,
        [
            "service",
            "state",
            "health",
            "ready",
            "image",
            "container",
            "restarts",
            "started_at",
            "exit_code",
            "log_bytes"
        ]
    );
    assert!(fields["log_bytes"].as_u64().unwrap() > 0);
}
