//! Containers in every trouble: one deployment that goes through all of it.

use std::process::Command;
use std::time::Duration;

use crate::harness::{Home, stand_in, until};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn containers_in_every_trouble() {
    let home = Home::with_databases("dcont");
    home.ooy(&["start"]).expect(0);
    home.healthy_again(LIMIT);

    one_that_is_missing(&home);
    one_that_was_killed(&home);
    one_that_is_frozen(&home);
    one_that_ends_again_and_again(&home);
    one_that_had_too_little_memory(&home);
    one_that_hangs(&home);
    one_of_the_operators_own_that_is_unhealthy(&home);
    another_image_under_the_same_name(&home);
    another_image_configured(&home);
    settings_changed_since(&home);
    one_that_would_not_come_back_after_boot(&home);
    a_port_of_nginx_taken_by_somebody_else(&home);
    all_of_them_stopped_on_purpose(&home);
    all_of_them_ended_together(&home);
    all_of_them_removed(&home);
}

/// What an operator reads of one check, without what differs from run to run.
fn read(home: &Home, check: &str) -> String {
    let text = home.tidy(&home.ooy(&["diagnose", check]).expect(1).stdout);
    let mut kept: String = text
        .lines()
        // The last lines of a log are the service's own business.
        .filter(|line| !line.ends_with("docker logs") && !line.contains("its log, "))
        .map(|line| format!("{}\n", line.trim_end()))
        .collect();
    for (pattern, put) in [
        (r"in N s · ", "in N s · "),
        (r" {3,}(service|port|config|image)", "   $1"),
    ] {
        kept = regex::Regex::new(pattern)
            .unwrap()
            .replace_all(&kept, put)
            .into_owned();
    }
    kept
}

fn one_that_is_missing(home: &Home) {
    home.docker(&["rm", "-f", &home.container("contentrepo")]);
    let diagnosed = home.diagnose_until("service-missing", LIMIT);
    let finding = diagnosed.only_root("service-missing");
    assert_eq!(finding["service"], "contentrepo");
    assert_eq!(finding["summary"], "contentrepo has no container");
    let ps = finding["evidence"][0]["command"].as_str().unwrap();
    let shown = Command::new("bash").args(["-c", ps]).output().unwrap();
    assert!(shown.status.success(), "{ps}");
    assert_eq!(String::from_utf8_lossy(&shown.stdout).lines().count(), 1);
    home.ooy(&["start", "contentrepo"]).expect(0);
    home.healthy_again(LIMIT);
}

fn one_that_was_killed(home: &Home) {
    home.docker(&["kill", &home.container("contentrepo")]);
    let diagnosed = home.diagnose_until("service-exited", LIMIT);
    let finding = diagnosed.only_root("service-exited");
    assert_eq!(finding["service"], "contentrepo");
    let evidence = finding["evidence"].as_array().unwrap();
    assert_eq!(evidence[0]["what"], "exit code");
    let value = evidence[0]["value"].as_str().unwrap();
    assert!(value.starts_with("137 "), "{value}");
    let inspect = evidence[0]["command"].as_str().unwrap();
    let shown = Command::new("bash").args(["-c", inspect]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&shown.stdout).trim(), "exited 137");
    assert!(
        evidence
            .iter()
            .any(|fact| fact["what"].as_str().unwrap().starts_with("its log, ")),
        "{finding:#}"
    );
    let command = finding["fix"]["command"].as_str().unwrap();
    assert!(command.ends_with(" fix not-running"), "{command}");
    insta::assert_snapshot!("diagnose-service-exited", read(home, "service-exited"));
    home.ooy(&["start", "contentrepo"]).expect(0);
    home.healthy_again(LIMIT);
}

fn one_that_is_frozen(home: &Home) {
    home.docker(&["pause", &home.container("courier")]);
    let diagnosed = home.diagnose_until("service-paused", LIMIT);
    let finding = diagnosed.only_root("service-paused");
    assert_eq!(finding["service"], "courier");
    assert_eq!(finding["evidence"][0]["value"], "paused");
    let unpause = finding["fix"]["manual"][0].as_str().unwrap();
    let done = Command::new("bash").args(["-c", unpause]).output().unwrap();
    assert!(done.status.success(), "{unpause}");
    home.healthy_again(LIMIT);
}

/// `kill -9` from the host is a crash to Docker: the restart policy brings it back.
fn one_that_ends_again_and_again(home: &Home) {
    let pid = || home.inspect("contentrepo", "{{.State.Pid}}");
    for _ in 0..3 {
        let before = pid();
        kill(&before);
        until("it was started again", LIMIT, || {
            let now = pid();
            now != before && now != "0"
        });
    }
    let diagnosed = home.diagnose_until("restart-loop", LIMIT);
    let finding = diagnosed.only_root("restart-loop");
    assert_eq!(finding["service"], "contentrepo");
    let restarts = &finding["evidence"][0];
    assert_eq!(restarts["value"], "3");
    assert_eq!(restarts["threshold"], "3 (RESTART_LOOP)");
    // A start by hand is a new beginning.
    home.ooy(&["restart", "contentrepo"]).expect(0);
    home.healthy_again(LIMIT);
}

fn kill(pid: &str) {
    assert!(
        Command::new("kill")
            .args(["-KILL", pid])
            .status()
            .unwrap()
            .success()
    );
}

/// A process beside the first one is killed: the service lives on. Then it crashes and is started
/// again; only the kernel remembers.
fn one_that_had_too_little_memory(home: &Home) {
    let path = home.folder.join("compose.override.yaml");
    std::fs::write(
        &path,
        "services:\n  contentrepo:\n    mem_limit: 300m\n    memswap_limit: 300m\n",
    )
    .unwrap();
    home.ooy(&["start", "contentrepo"]).expect(0);
    let hog = "x = bytearray(600 * 1024 * 1024)";
    home.docker(&["exec", &home.container("contentrepo"), "python", "-c", hog]);
    let diagnosed = home.diagnose_until("oom-killed", LIMIT);
    let finding = diagnosed.only_root("oom-killed");
    assert_eq!(finding["service"], "contentrepo");
    assert_eq!(finding["severity"], "warning");
    let evidence = finding["evidence"].as_array().unwrap();
    let counted = evidence
        .iter()
        .find(|fact| fact["source"] == "its control group")
        .unwrap();
    assert_eq!(counted["value"], "1 kill");

    let before = home.inspect("contentrepo", "{{.State.Pid}}");
    kill(&before);
    until("it was started again", LIMIT, || {
        let now = home.inspect("contentrepo", "{{.State.Pid}}");
        now != before && now != "0"
    });
    let diagnosed = home.diagnose_until("oom-killed", LIMIT);
    let finding = diagnosed.only_root("oom-killed");
    let evidence = finding["evidence"].as_array().unwrap();
    assert!(
        evidence.iter().any(|fact| fact["source"] == "/dev/kmsg"),
        "{finding:#}"
    );

    std::fs::remove_file(path).unwrap();
    home.ooy(&["start", "contentrepo"]).expect(0);
    home.healthy_again(LIMIT);
}

/// It takes connections and never answers. What exactly is wrong is another check's finding.
fn one_that_hangs(home: &Home) {
    let id = home.container("contentrepo");
    let control = |text: &str| {
        let write = format!("echo '{text}' > /run/stand-in/control");
        home.docker(&["exec", "-u", "0", &id, "sh", "-c", &write]);
    };
    control("{\"hang\": 1}");
    until("its health check fails", LIMIT, || {
        home.inspect("contentrepo", "{{.State.Health.Status}}") == "unhealthy"
    });
    // Explained by the check that knows the Content Repository.
    let diagnosed = home.diagnose_until("contentrepo-unreachable", LIMIT);
    let finding = diagnosed.finding("service-unhealthy");
    assert_eq!(finding["service"], "contentrepo");
    assert_eq!(finding["severity"], "error");
    control("{}");
    home.healthy_again(LIMIT);
}

/// Of a service that is not ooy's own only the Engine's health check is known.
fn one_of_the_operators_own_that_is_unhealthy(home: &Home) {
    let path = home.folder.join("compose.override.yaml");
    let check = "import os, sys; print('no /tmp/fine'); sys.exit(not os.path.exists('/tmp/fine'))";
    let text = format!(
        "services:\n  own:\n    image: {}\n    restart: always\n    entrypoint: [\"python\", \"-c\"]\n    \
         command: [\"open('/tmp/fine', 'w'); import time; time.sleep(1e6)\"]\n    \
         stop_grace_period: 1s\n    healthcheck:\n      \
         test: [\"CMD\", \"python\", \"-c\", \"{check}\"]\n      interval: 2s\n      retries: 1\n",
        stand_in("contentrepo")
    );
    std::fs::write(&path, text).unwrap();
    home.ooy(&["start", "own"]).expect(0);
    home.healthy_again(LIMIT);
    home.docker(&["exec", &home.container("own"), "rm", "/tmp/fine"]);
    let diagnosed = home.diagnose_until("service-unhealthy", LIMIT);
    let finding = diagnosed.only_root("service-unhealthy");
    assert_eq!(finding["service"], "own");
    let evidence = finding["evidence"].as_array().unwrap();
    let health = evidence
        .iter()
        .find(|fact| fact["what"] == "its health check")
        .unwrap();
    assert_eq!(health["value"], "unhealthy: no /tmp/fine");
    insta::assert_snapshot!(
        "diagnose-service-unhealthy",
        read(home, "service-unhealthy")
    );
    home.docker(&["rm", "-f", &home.container("own")]);
    std::fs::remove_file(path).unwrap();
    home.healthy_again(LIMIT);
}

/// An image of the test's own, gone with it.
struct Tag(String);

impl Drop for Tag {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rmi", "-f", &self.0]).output();
    }
}

fn another_image_under_the_same_name(home: &Home) {
    let original = home.setting("CONTENTREPO_IMAGE");
    let tag = Tag(format!("{}-drift:1", home.project));
    home.docker(&["tag", &original, &tag.0]);
    home.set("CONTENTREPO_IMAGE", &format!("CONTENTREPO_IMAGE={}", tag.0));
    home.ooy(&["start", "contentrepo"]).expect(0);
    home.healthy_again(LIMIT);
    let container = home.container("contentrepo");
    // As a pull of a moved tag does it.
    home.docker(&["commit", "--change", "LABEL newer=yes", &container, &tag.0]);
    let newer = home.docker(&["inspect", "--format", "{{.Id}}", &tag.0]);
    let diagnosed = home.diagnose_until("image-drift", LIMIT);
    let finding = diagnosed.only_root("image-drift");
    assert_eq!(finding["service"], "contentrepo");
    let configured = finding["evidence"][0]["value"].as_str().unwrap();
    let digits = &newer["sha256:".len()..][..12];
    assert!(configured.contains(digits), "{configured}");
    home.set(
        "CONTENTREPO_IMAGE",
        &format!("CONTENTREPO_IMAGE={original}"),
    );
    home.ooy(&["start", "contentrepo"]).expect(0);
    home.docker(&["rmi", "-f", &newer]);
    home.healthy_again(LIMIT);
}

/// RapidPro's image is that of three services: one finding, and the changed digest is no second.
fn another_image_configured(home: &Home) {
    let original = home.setting("RAPIDPRO_IMAGE");
    home.set("RAPIDPRO_IMAGE", "RAPIDPRO_IMAGE=elsewhere/rapidpro:v6.4.8");
    let diagnosed = home.diagnose_until("image-drift", LIMIT);
    let finding = diagnosed.only_root("image-drift");
    let summary = finding["summary"].as_str().unwrap();
    for service in ["rapidpro,", "rapidpro-celery,", "rapidpro-beat"] {
        assert!(summary.contains(service), "{summary}");
    }
    assert!(
        summary.contains("not elsewhere/rapidpro:v6.4.8"),
        "{summary}"
    );
    home.set("RAPIDPRO_IMAGE", &format!("RAPIDPRO_IMAGE={original}"));
    home.healthy_again(LIMIT);
}

fn settings_changed_since(home: &Home) {
    home.set("ELASTICSEARCH_HEAP", "ELASTICSEARCH_HEAP=256m");
    let diagnosed = home.diagnose_until("config-drift", LIMIT);
    let finding = diagnosed.only_root("config-drift");
    assert_eq!(finding["service"], "elasticsearch");
    let label = finding["evidence"][0]["command"].as_str().unwrap();
    let shown = Command::new("bash").args(["-c", label]).output().unwrap();
    let digest = String::from_utf8_lossy(&shown.stdout).trim().to_owned();
    assert_eq!(digest.len(), 64, "{label}");
    home.set("ELASTICSEARCH_HEAP", "#ELASTICSEARCH_HEAP=512m");
    home.set("LOG_MAX_FILES", "LOG_MAX_FILES=6");
    let diagnosed = home.diagnose_until("config-drift", LIMIT);
    let summary = &diagnosed.only_root("config-drift")["summary"];
    assert_eq!(
        summary,
        "12 services run with other settings than ooy.env has now"
    );
    home.set("LOG_MAX_FILES", "#LOG_MAX_FILES=5");
    home.healthy_again(LIMIT);
}

fn one_that_would_not_come_back_after_boot(home: &Home) {
    let container = home.container("contentrepo");
    home.docker(&["update", "--restart", "no", &container]);
    let diagnosed = home.diagnose_until("boot-disabled", LIMIT);
    let finding = diagnosed.only_root("boot-disabled");
    assert_eq!(finding["service"], "contentrepo");
    assert_eq!(finding["evidence"][0]["value"], "no");
    let repair = finding["fix"]["manual"][0].as_str().unwrap();
    let done = Command::new("bash").args(["-c", repair]).output().unwrap();
    assert!(done.status.success(), "{repair}");
    home.healthy_again(LIMIT);
}

fn a_port_of_nginx_taken_by_somebody_else(home: &Home) {
    home.docker(&["kill", &home.container("nginx")]);
    let mut taken = None;
    until("the port is free", LIMIT, || {
        taken = std::net::TcpListener::bind(("0.0.0.0", home.http)).ok();
        taken.is_some()
    });
    let diagnosed = home.diagnose_until("port-conflict", LIMIT);
    let finding = diagnosed.only_root("port-conflict");
    assert_eq!(finding["service"], "nginx");
    let value = finding["evidence"][0]["value"].as_str().unwrap();
    let pid = std::process::id().to_string();
    assert!(value.ends_with(&format!("process {pid}")), "{value}");
    assert!(diagnosed.explained().contains(&"service-exited"));
    drop(taken);
    home.ooy(&["start", "nginx"]).expect(0);
    home.healthy_again(LIMIT);
}

/// Eleven of twelve findings under one, which says who stopped them.
fn all_of_them_stopped_on_purpose(home: &Home) {
    home.ooy(&["stop"]).expect(0);
    let diagnosed = home.diagnose_until("service-exited", LIMIT);
    let finding = diagnosed.only_root("service-exited");
    assert_eq!(finding["summary"], "nginx and 11 more were stopped");
    let cause = finding["cause"].as_str().unwrap();
    assert!(cause.starts_with("it was stopped by ooy stop ("), "{cause}");
    home.ooy(&["start"]).expect(0);
    home.healthy_again(LIMIT);
}

/// As after a restart of the host, where nothing brings them back.
fn all_of_them_ended_together(home: &Home) {
    let label = format!("label=com.docker.compose.project={}", home.project);
    let ids = home.docker(&["ps", "-q", "--filter", &label]);
    let ids: Vec<&str> = ids.lines().collect();
    home.docker(&[&["kill"][..], &ids].concat());
    let diagnosed = home.diagnose_until("service-exited", LIMIT);
    let finding = diagnosed.only_root("service-exited");
    let summary = finding["summary"].as_str().unwrap();
    assert!(summary.ends_with("11 more ended together"), "{summary}");
}

fn all_of_them_removed(home: &Home) {
    let label = format!("label=com.docker.compose.project={}", home.project);
    let ids = home.docker(&["ps", "-aq", "--filter", &label]);
    let ids: Vec<&str> = ids.lines().collect();
    home.docker(&[&["rm", "-f"][..], &ids].concat());
    let diagnosed = home.diagnose_until("service-missing", LIMIT);
    let finding = diagnosed.only_root("service-missing");
    assert_eq!(
        finding["summary"],
        "The deployment is not up: none of its 12 services has a container"
    );
}
