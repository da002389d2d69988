//! Services run and answer again, and what `ooy fix` says to bad input. One deployment goes through
//! all of it, since bringing it up is what costs.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};

use serde_json::Value;

use super::socket::Door;
use crate::diagnose::disk::bring_up;
use crate::diagnose::services::{PATIENCE, Stopped, processes, signal};
use crate::harness::{Home, Ran, until};
use crate::misfortunes::{as_nobody, open_to_others};

#[test]
fn services_run_and_answer_again() {
    let mut home = Home::with_databases("fsvc");
    home.set("DIAGNOSE_TIMEOUT", "DIAGNOSE_TIMEOUT=12s");
    bring_up(&home);
    home.seed_rapidpro();

    bad_input(&home);
    one_that_was_killed(&home);
    one_that_was_removed_and_the_repair_killed(&home);
    one_that_is_frozen(&home);
    two_repairs_at_once(&home);
    one_that_hangs(&home);
    one_that_ended_again_and_again(&home);
    one_that_a_restart_does_not_help(&home);
    mailroom_without_elasticsearch(&home);
    one_that_nginx_does_not_find(&home);
    one_that_is_out_of_the_network(&home);
    docker_gone_in_the_middle(&mut home);
    two_faults_at_once(&home);
}

/// What an operator reads, without what differs from run to run.
fn tidy(home: &Home, text: &str) -> String {
    let mut text = home.tidy(text);
    for (pattern, put) in [
        (r"\d+\.\d+\.\d+\.\d+", "ADDRESS"),
        (r"\d+ ms\b", "N ms"),
        (r"(ended|process) \d+ s ago", "$1 N s ago"),
        // What it has said is the service's own business.
        (r"its last words are [^·]* ·", "its last words are … ·"),
        (r"(its log, HH:MM:SS UTC:) .*", "$1 …"),
        (r"(?m)^ +its log, HH:MM:SS UTC: …\n", ""),
        (r"\d+ restarts", "N restarts"),
        (r" · disk SIZE free", ""),
        (r"(?m)^→ .*\n", ""),
    ] {
        text = regex::Regex::new(pattern)
            .unwrap()
            .replace_all(&text, put)
            .into_owned();
    }
    text
}

/// The content repository's page, through nginx.
#[track_caller]
fn page_opens(home: &Home) {
    // What starts again may have another address, and nginx remembers the one before for a second.
    until("its page opens", PATIENCE, || {
        home.get("content.test", "/admin/login/", &[]).0 == 200
    });
}

/// At once: the repair has seen it itself.
#[track_caller]
fn page_is_open(home: &Home) {
    let (status, text) = home.get("content.test", "/admin/login/", &[]);
    assert_eq!(status, 200, "{text}");
}

/// Courier's answer to a provider, through nginx: its own, not nginx's.
#[track_caller]
fn courier_answers(home: &Home) {
    until("courier answers", PATIENCE, || {
        let (status, _) = home.get("rapidpro.test", "/c/", &[]);
        status != 0 && status < 502
    });
}

/// A repair in the background, at the moment an event was told; and all that it goes on to tell.
fn fix_until(home: &Home, arguments: &[&str], wanted: impl Fn(&Value) -> bool) -> Child {
    let mut child = home
        .command(&[&["--yes", "--json", "fix"], arguments].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut told = String::new();
    let found = lines.any(|line| {
        let line = line.unwrap();
        told += &format!("{line}\n");
        wanted(&serde_json::from_str(&line).unwrap())
    });
    assert!(found, "never told:\n{told}");
    // Its pipe stays open to the end: a closed one must not be what ends it.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

fn is(event: &Value, step: &str, service: &str, kind: &str) -> bool {
    event["step"] == step && event["service"] == service && event["event"] == kind
}

fn killed(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn bad_input(home: &Home) {
    let ran = home.fix(&["not-runing"]).expect(2);
    insta::assert_snapshot!("fix-unknown", home.tidy(&ran.stderr));
    let ran = home.fix(&["service", "contentrep"]).expect(2);
    assert!(
        ran.stderr.contains("fix service contentrepo"),
        "{}",
        ran.stderr
    );
    home.fix(&["nginx-upstreams", "courier"]).expect(2);
    home.fix(&["service", "--catch-up"]).expect(2);
    insta::assert_snapshot!("fix-help", home.ooy(&["fix", "--help"]).expect(0).stdout);

    for name in ["not-running", "service", "nginx-upstreams"] {
        home.has_nothing_to_fix(&[name]);
    }
    home.has_nothing_to_fix(&["service", "contentrepo"]);
    let said = home.fix(&[]).expect(0).stderr;
    assert!(said.contains("nothing to fix"), "{said}");

    // A Docker that this user may not use, and none at all: which, and nothing is done.
    let socket = home.folder.join("closed.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let ran = |socket: &str| {
        let mut command = home.command(&["--yes", "fix", "not-running"]);
        command.env("DOCKER_HOST", format!("unix://{socket}"));
        Ran::of(&command.output().unwrap())
    };
    let said = ran(&socket.display().to_string()).expect(1).stderr;
    assert!(said.contains("cannot be looked at"), "{said}");
    assert!(said.contains("nobody answers on it"), "{said}");
    let said = ran("/nowhere/docker.sock").expect(1).stderr;
    assert!(said.contains("/nowhere/docker.sock"), "{said}");
}

fn one_that_was_killed(home: &Home) {
    home.docker(&["kill", &home.container("contentrepo")]);
    home.diagnose_until("service-exited", PATIENCE)
        .only_root("service-exited");
    let down = || home.inspect("contentrepo", "{{.State.Status}}") == "exited";

    let dry = home.ooy(&["fix", "not-running", "--dry-run"]).expect(0);
    assert!(dry.stderr.contains("nothing was done"), "{}", dry.stderr);
    assert!(down());
    // Without a terminal nobody can agree.
    let declined = home.ooy(&["fix", "not-running"]).expect(1);
    insta::assert_snapshot!("fix-declined", tidy(home, &declined.stderr));
    let declined = home.ooy(&["fix"]).expect(1);
    assert!(declined.stderr.contains("will do"), "{}", declined.stderr);
    assert!(down());
    // A repair of something else is none of this.
    home.has_nothing_to_fix(&["service", "courier"]);
    assert!(down());

    let said = home.fixes(&["not-running"]);
    insta::assert_snapshot!("fix-not-running", tidy(home, &said));
    page_opens(home);
    home.has_nothing_to_fix(&["not-running"]);
    home.healthy_again(PATIENCE);
}

fn one_that_was_removed_and_the_repair_killed(home: &Home) {
    home.docker(&["rm", "-f", &home.container("contentrepo")]);
    home.diagnose_until("service-missing", PATIENCE)
        .only_root("service-missing");
    // Its container is made and not started yet, or just now.
    killed(fix_until(home, &["not-running"], |event| {
        event["step"] == "create" && event["event"] == "done"
    }));
    home.fixes(&["not-running"]);
    page_opens(home);
    home.has_nothing_to_fix(&["not-running"]);
    home.healthy_again(PATIENCE);
}

fn one_that_is_frozen(home: &Home) {
    home.docker(&["pause", &home.container("courier")]);
    home.diagnose_until("service-paused", PATIENCE)
        .only_root("service-paused");
    home.fixes(&["not-running", "courier"]);
    courier_answers(home);
    home.has_nothing_to_fix(&["not-running", "courier"]);
    home.healthy_again(PATIENCE);
}

/// The second is told who is at it, and the lines for machines have their form.
fn two_repairs_at_once(home: &Home) {
    home.docker(&["kill", &home.container("contentrepo")]);
    let mut first = fix_until(home, &["not-running"], |event| {
        assert_eq!(event["schema"], 1);
        assert_eq!(event["operation"], "fix");
        for field in ["at", "step", "event", "detail"] {
            assert!(event[field].is_string(), "{event}");
        }
        for field in ["service", "took_ms"] {
            assert!(event.get(field).is_some(), "{event}");
        }
        let events = [
            "planned", "started", "progress", "ready", "skipped", "failed", "undone", "done",
        ];
        assert!(
            events.contains(&event["event"].as_str().unwrap()),
            "{event}"
        );
        is(event, "start", "contentrepo", "started")
    });
    signal("-STOP", &[first.id()]);
    let frozen = Stopped(vec![first.id()]);
    let second = home.fix(&["not-running"]);
    // It may run already by now, and then there is nothing to fix.
    if second.code != 0 {
        let said = second.expect(3).stderr;
        assert!(said.contains(&format!("process {}", first.id())), "{said}");
        assert!(said.contains("ooy fix by "), "{said}");
    }
    let other = home.ooy(&["stop", "indexer"]).expect(3);
    assert!(
        other.stderr.contains(&format!("process {}", first.id())),
        "{}",
        other.stderr
    );
    drop(frozen);
    assert!(first.wait().unwrap().success());
    page_opens(home);
    home.healthy_again(PATIENCE);
}

/// Its processes are stopped: it takes connections and never answers.
fn one_that_hangs(home: &Home) {
    let freeze = || {
        let pids = processes(home, "contentrepo");
        let stopped = Stopped::new(pids.into_iter().map(|(pid, ..)| pid).collect());
        home.diagnose_until("contentrepo-unreachable", PATIENCE)
            .only_root("contentrepo-unreachable");
        stopped
    };
    let frozen = freeze();
    let (status, _) = home.get("content.test", "/admin/login/", &["--max-time", "2"]);
    assert_ne!(status, 200);
    let said = home.fixes(&["service", "contentrepo"]);
    insta::assert_snapshot!("fix-service", tidy(home, &said));
    page_is_open(home);
    home.has_nothing_to_fix(&["service", "contentrepo"]);
    drop(frozen);

    // Killed when it is stopped and not started again.
    let frozen = freeze();
    killed(fix_until(home, &["service", "contentrepo"], |event| {
        is(event, "stop", "contentrepo", "done")
    }));
    home.fixes(&["service", "contentrepo"]);
    page_is_open(home);
    home.has_nothing_to_fix(&["service", "contentrepo"]);
    drop(frozen);
    home.healthy_again(PATIENCE);
}

/// `kill -9` from the host is a crash to Docker: the restart policy brings it back.
fn one_that_ended_again_and_again(home: &Home) {
    let pid = || home.inspect("contentrepo", "{{.State.Pid}}");
    for _ in 0..3 {
        let before = pid();
        signal("-KILL", &[before.parse().unwrap()]);
        until("it was started again", PATIENCE, || {
            let now = pid();
            now != before && now != "0"
        });
    }
    home.diagnose_until("restart-loop", PATIENCE)
        .only_root("restart-loop");
    // Docker starts it again anyway: nothing for a repair that nobody looks at.
    let ran = home.ooy(&["--yes", "fix", "--all"]).expect(1);
    assert!(ran.stderr.contains("1 cause left"), "{}", ran.stderr);
    let said = home.fixes(&["service"]);
    assert!(said.contains("its last words are"), "{said}");
    page_opens(home);
    home.has_nothing_to_fix(&["service"]);
    home.healthy_again(PATIENCE);
}

/// It ends at each start, until somebody takes the cause away.
fn one_that_a_restart_does_not_help(home: &Home) {
    home.control("courier", r#"{"exit_code": 3}"#);
    home.diagnose_until("restart-loop", PATIENCE)
        .only_root("restart-loop");
    // Docker waits twice as long after each end. While it hardly waits, a look may meet courier
    // between two ends, when it is one that does not answer.
    until("Docker waits for some seconds", PATIENCE, || {
        let state = home.inspect("courier", "{{.RestartCount}} {{.State.Restarting}}");
        let (count, waits) = state.split_once(' ').unwrap_or_default();
        count.parse::<u32>().unwrap_or_default() >= 6 && waits == "true"
    });
    let ran = home.fix(&["service", "courier"]).expect(1);
    insta::assert_snapshot!("fix-did-not-help", tidy(home, &ran.stderr));
    assert!(ran.stderr.contains("logs courier -n 50"), "{}", ran.stderr);
    assert!(ran.stderr.contains("config --check"), "{}", ran.stderr);
    // An empty file asks for nothing; the container may not run at this moment.
    let empty = home.folder.join("empty");
    std::fs::write(&empty, "").unwrap();
    let target = format!("{}:/run/stand-in/control", home.container("courier"));
    home.docker(&["cp", &empty.display().to_string(), &target]);
    home.fix(&["service", "courier"]);
    until("courier is calm", PATIENCE, || {
        home.service_status("courier")["ready"] == true
    });
    courier_answers(home);
    home.ooy(&["restart", "courier"]).expect(0);
    home.healthy_again(PATIENCE);
}

/// It looks for Elasticsearch once, at its start.
fn mailroom_without_elasticsearch(home: &Home) {
    let mailroom = home.container("mailroom");
    let elasticsearch = home.container("elasticsearch");
    let indexer = home.container("indexer");
    let lines = |text: &str| home.docker(&["logs", &mailroom]).matches(text).count();
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
    home.diagnose_until("mailroom-unreachable", PATIENCE);
    let with_client = lines("elastic ok");
    home.fixes(&["service", "mailroom"]);
    assert!(lines("elastic ok") > with_client, "it has its client");
    home.has_nothing_to_fix(&["service", "mailroom"]);
    home.healthy_again(PATIENCE);
}

/// It has lost its name in the network, as after `docker network connect` by hand.
fn loses_its_name(home: &Home, service: &str) {
    let network = format!("{}_default", home.project);
    let container = home.container(service);
    home.docker(&["network", "disconnect", &network, &container]);
    home.docker(&["network", "connect", &network, &container]);
}

fn one_that_nginx_does_not_find(home: &Home) {
    let forgotten = || {
        loses_its_name(home, "contentrepo");
        // Each of nginx's workers remembers the address for some seconds.
        until("nginx has forgotten its address", PATIENCE, || {
            (0..20).all(|_| home.get("content.test", "/admin/login/", &[]).0 == 502)
        });
        home.diagnose_until("upstream-unreachable", PATIENCE)
            .only_root("upstream-unreachable");
    };
    forgotten();
    let said = home.fixes(&["nginx-upstreams"]);
    insta::assert_snapshot!("fix-nginx-upstreams", tidy(home, &said));
    page_is_open(home);
    home.has_nothing_to_fix(&["nginx-upstreams"]);

    // Killed when it is found again and nginx not asked yet.
    forgotten();
    killed(fix_until(home, &["nginx-upstreams"], |event| {
        is(event, "network", "contentrepo", "done")
    }));
    home.fixes(&["nginx-upstreams"]);
    page_is_open(home);
    home.has_nothing_to_fix(&["nginx-upstreams"]);
    home.healthy_again(PATIENCE);
}

fn one_that_is_out_of_the_network(home: &Home) {
    let network = format!("{}_default", home.project);
    home.docker(&[
        "network",
        "disconnect",
        &network,
        &home.container("courier"),
    ]);
    until("it is found", PATIENCE, || {
        let diagnosed = home.diagnose(&["service-unhealthy"]);
        diagnosed.roots() == ["service-unhealthy"]
    });
    home.fixes(&["service", "courier"]);
    courier_answers(home);
    home.has_nothing_to_fix(&["service", "courier"]);
    home.healthy_again(PATIENCE);
}

/// What was begun goes on when Docker is back.
fn docker_gone_in_the_middle(home: &mut Home) {
    home.docker(&["kill", &home.container("contentrepo")]);
    let door = Door::open(&home.folder.join("door.sock"));
    home.docker_host = Some(door.host());
    let mut child = home
        .command(&["--yes", "--json", "fix", "not-running"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut waited = false;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if is(
            &serde_json::from_str(&line).unwrap(),
            "start",
            "contentrepo",
            "started",
        ) {
            door.close();
        } else if line.contains("waits for the Docker daemon") {
            waited = true;
            door.again();
        }
    }
    assert!(waited, "it was too fast");
    assert!(child.wait().unwrap().success());
    page_opens(home);

    // Gone before anything is seen: said, and nothing done.
    door.close();
    let said = home.fix(&["not-running"]).expect(1).stderr;
    assert!(said.contains("nothing was done"), "{said}");
    home.docker_host = None;
    home.healthy_again(PATIENCE);
}

/// Both are repaired by one command, the cause that lies deeper first.
fn two_faults_at_once(home: &Home) {
    loses_its_name(home, "courier");
    home.docker(&["kill", &home.container("contentrepo")]);
    until("nginx has forgotten its address", PATIENCE, || {
        (0..20).all(|_| home.get("rapidpro.test", "/c/", &[]).0 == 502)
    });
    until("both are found", PATIENCE, || {
        home.diagnose(&[]).roots() == ["service-exited", "upstream-unreachable"]
    });
    let said = home.ooy(&["--yes", "fix", "--all"]).expect(0).stderr;
    let at = |text: &str| said.find(text).unwrap_or_else(|| panic!("{text}: {said}"));
    assert!(
        at("ooy fix not-running") < at("ooy fix nginx-upstreams"),
        "{said}"
    );
    assert!(
        said.contains("2 repairs; nothing is wrong any more"),
        "{said}"
    );
    page_opens(home);
    courier_answers(home);
    let said = home.ooy(&["--yes", "fix", "--all"]).expect(0).stderr;
    assert!(said.contains("nothing to fix"), "{said}");
}

/// A user who may not use Docker's socket is told which it is.
#[test]
fn a_repair_without_permission_says_which() {
    let mut home = Home::new("fperm");
    let socket = home.folder.join("docker.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    std::fs::set_permissions(&socket, PermissionsExt::from_mode(0o600)).unwrap();
    open_to_others(&home);
    home.docker_host = Some(format!("unix://{}", socket.display()));
    let said = as_nobody(&home, &["--yes", "fix", "not-running"])
        .expect(1)
        .stderr;
    home.docker_host = None;
    assert!(said.contains("may not use the Docker socket"), "{said}");
    assert!(said.contains("nothing was done"), "{said}");
}
