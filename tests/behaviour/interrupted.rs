//! Two at once, kill -9 in the middle, Ctrl-C: the next start completes it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::harness::{Home, Ran, until};

/// A start in the background, at the moment an event of this kind was told.
fn start_until(home: &Home, arguments: &[&str], service: &str, event: &str) -> Child {
    let mut child = home
        .command(&[&["start", "--json"], arguments].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let found = lines.any(|line| {
        let event_line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        event_line["service"] == service && event_line["event"] == event
    });
    assert!(found, "{service} was never {event}");
    // Its pipe stays open to the end: a closed one must not be what ends it.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

fn send(child: &Child, signal: i32) {
    let pid = rustix::process::Pid::from_child(child);
    let signal = rustix::process::Signal::from_named_raw(signal).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

#[test]
fn the_second_start_is_told_who_holds_the_lock() {
    let home = Home::new("two");
    home.steer(&[("courier", &[("STAND_IN_BOOT_SECONDS", "4")])]);
    let mut first = start_until(&home, &["courier"], "courier", "started");
    let second = home.ooy(&["start", "courier"]).expect(3);
    assert!(
        second.stderr.contains(&format!("process {}", first.id())),
        "{}",
        second.stderr
    );
    insta::assert_snapshot!("locked", home.tidy(&second.stderr));
    // Looking is always allowed.
    home.ooy(&["status"]);
    assert!(first.wait().unwrap().success());
    home.ooy(&["start", "courier"]).expect(0);
}

#[test]
fn kill_9_while_services_boot_then_start_again() {
    let home = Home::new("kill");
    home.steer(&[("elasticsearch", &[("STAND_IN_BOOT_SECONDS", "2")])]);
    let mut child = start_until(&home, &["mailroom", "courier"], "elasticsearch", "started");
    child.kill().unwrap();
    child.wait().unwrap();
    let containers =
        ["elasticsearch", "mailroom", "courier"].map(|service| home.container(service));
    home.ooy(&["start", "mailroom", "courier"]).expect(0);
    let after = ["elasticsearch", "mailroom", "courier"].map(|service| home.container(service));
    assert_eq!(after, containers, "what was made is used");
    assert_eq!(home.service_status("mailroom")["ready"], true);
}

#[test]
fn kill_9_while_compose_makes_containers_then_start_again() {
    let home = Home::new("killcreate");
    // At different moments of the creation.
    for after in [0, 50, 150, 300] {
        let mut child = home
            .command(&["start", "--json", "mailroom", "courier"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        lines.any(|line| line.is_ok_and(|line| line.contains("\"create\"")));
        std::thread::sleep(Duration::from_millis(after));
        child.kill().unwrap();
        child.wait().unwrap();
        home.ooy(&["start", "mailroom", "courier"]).expect(0);
        assert_eq!(home.service_status("mailroom")["ready"], true);
        let label = format!("label=com.docker.compose.project={}", home.project);
        let ids = home.docker(&["ps", "-aq", "--filter", &label]);
        assert_eq!(ids.lines().count(), 3, "no half-made container is left");
        let ids: Vec<&str> = ids.lines().collect();
        home.docker(&[&["rm", "-f"], ids.as_slice()].concat());
    }
}

#[test]
fn ctrl_c_says_how_to_go_on_and_the_next_start_completes_it() {
    let home = Home::new("ctrlc");
    home.steer(&[("courier", &[("STAND_IN_BOOT_SECONDS", "3")])]);
    for signal in [2, 1, 15] {
        let child = start_until(&home, &["courier"], "courier", "started");
        send(&child, signal);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130));
        home.ooy(&["start", "courier"]).expect(0);
        home.ooy(&["stop", "courier"]).expect(0);
    }
    let child = home
        .command(&["start", "courier"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("courier runs", Duration::from_secs(20), || {
        home.inspect("courier", "{{.State.Running}}") == "true"
    });
    send(&child, 2);
    let ran = Ran::of(&child.wait_with_output().unwrap()).expect(130);
    insta::assert_snapshot!("interrupted", home.tidy(&ran.stderr));
}

#[test]
fn a_migration_that_was_left_running_is_followed_and_not_begun_twice() {
    let home = Home::with_databases("migration");
    home.steer(&[("contentrepo", &[("STAND_IN_MIGRATION_SECONDS", "0.5")])]);
    let mut child = start_until(&home, &["contentrepo"], "contentrepo", "progress");
    child.kill().unwrap();
    child.wait().unwrap();
    let running = format!("{}-contentrepo-release", home.project);
    let id = home.docker(&[
        "inspect",
        "--format",
        "{{.Id}} {{.State.Running}}",
        &running,
    ]);
    assert!(id.ends_with("true"), "{id}");
    home.ooy(&["start", "contentrepo"]).expect(0);
    assert_eq!(
        home.docker(&["ps", "-aq", "--filter", &format!("name={running}")]),
        "",
        "removed at the end"
    );
    let log = std::fs::read_to_string(home.folder.join("state/release/contentrepo.log")).unwrap();
    assert_eq!(log.matches("ooy-migrations:").count(), 1, "{log}");
}
