//! `ooy logs`.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use crate::harness::Home;

fn started(name: &str) -> Home {
    let home = Home::new(name);
    home.ooy(&["start", "mailroom", "courier"]).expect(0);
    home
}

#[test]
fn lines_of_several_services_are_merged_in_the_order_of_time() {
    let home = started("merge");
    let ran = home.ooy(&["logs", "--json"]).expect(0);
    let lines: Vec<serde_json::Value> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let times: Vec<jiff::Timestamp> = lines
        .iter()
        .map(|line| line["at"].as_str().unwrap().parse().unwrap())
        .collect();
    assert!(times.is_sorted());
    for service in ["elasticsearch", "mailroom", "courier"] {
        assert!(
            lines.iter().any(|line| line["service"] == service),
            "{service}"
        );
    }
    // Some only.
    let ran = home.ooy(&["logs", "courier"]).expect(0);
    assert!(ran.stdout.lines().all(|line| line.contains(" courier  ")));
}

#[test]
fn lines_are_chosen_by_number_pattern_severity_and_time() {
    let home = started("choose");
    let count = |arguments: &[&str]| {
        home.ooy(&[&["logs"], arguments].concat())
            .expect(0)
            .stdout
            .lines()
            .count()
    };
    let all = count(&[]);
    assert!(all > 4);
    assert_eq!(count(&["-n", "3"]), 3);
    assert_eq!(count(&["mailroom", "--grep", "elastic ok"]), 1);
    assert_eq!(
        count(&["mailroom", "--grep", "elastic (ok|fine)", "-n", "5"]),
        1
    );
    assert_eq!(count(&["--until", "1h"]), 0);
    assert_eq!(count(&["--since", "1h"]), all);
    assert_eq!(count(&["--level", "debug"]), all);
    assert_eq!(
        count(&["mailroom", "--level", "error", "--grep", "elastic ok"]),
        0
    );
    assert_eq!(count(&["--stdout"]) + count(&["--stderr"]), all);
    home.ooy(&["logs", "--grep", "("]).expect(2);
    home.ooy(&["logs", "--since", "yesterday"]).expect(2);
}

#[test]
fn secrets_in_a_log_are_masked() {
    let home = started("masked");
    let token = home.setting("MAILROOM_AUTH_TOKEN");
    home.docker(&[
        "exec",
        &home.container("courier"),
        "bash",
        "-c",
        &format!("echo leaked {token} > /proc/1/fd/1"),
    ]);
    let ran = home.ooy(&["logs", "courier", "--grep", "leaked"]).expect(0);
    assert!(ran.stdout.contains("leaked ********"), "{}", ran.stdout);
    assert!(!ran.stdout.contains(&token));
}

#[test]
fn following_goes_on_when_a_container_is_made_anew() {
    let home = started("follow");
    let mut child = home
        .command(&["logs", "courier", "-f", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (sender, lines) = mpsc::channel();
    let reader = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || {
        reader
            .lines()
            .for_each(|line| drop(sender.send(line.unwrap())))
    });
    let wait_for = |text: &str| loop {
        let line = lines
            .recv_timeout(Duration::from_secs(20))
            .unwrap_or_else(|_| panic!("no line with {text}"));
        if line.contains(text) {
            return;
        }
    };
    let say = |text: &str| {
        home.docker(&[
            "exec",
            &home.container("courier"),
            "bash",
            "-c",
            &format!("echo {text} > /proc/1/fd/1"),
        ]);
    };
    wait_for("courier");
    say("before-the-change");
    wait_for("before-the-change");
    let old = home.container("courier");
    home.docker(&["rm", "-f", &old]);
    home.ooy(&["start", "courier"]).expect(0);
    assert_ne!(home.container("courier"), old);
    say("after-the-change");
    wait_for("after-the-change");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn a_broken_pipe_ends_it_quietly() {
    let home = started("head");
    let output = std::process::Command::new("bash")
        .arg("-c")
        .arg("\"$0\" --home \"$1\" logs -f | head -n 1; echo ${PIPESTATUS[0]}")
        .arg(crate::harness::executable())
        .arg(&home.folder)
        .env("LC_ALL", "C.UTF-8")
        .output();
    // `-f` only notices when it has something to write: another process gives it that.
    let output = output.unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).is_empty());
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("\n0\n"));
}
