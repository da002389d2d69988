//! A deployment that is well is told to be well: always, also while it is busy.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::common::Diagnosed;
use crate::harness::Home;

#[test]
fn healthy() {
    let home = Home::brought_up("healthy", &[]);
    is_well(&home.diagnose(&[]));
    home.seed();
    for _ in 0..5 {
        is_well(&home.diagnose(&[]));
    }
    while_it_is_busy(&home);
    home.comes_up();
    is_well(&home.diagnose(&[]));
    is_read_well(&home);
    a_service_started_anew_is_well(&home);
}

/// No error, no warning, and nothing that could not be seen.
#[track_caller]
fn is_well(diagnosed: &Diagnosed) {
    assert_eq!(diagnosed.json["ok"], true, "{}", diagnosed.text());
    assert_eq!(diagnosed.ran.code, 0);
    for made in diagnosed.json["checks"].as_array().unwrap() {
        assert!(
            ["ok", "skipped"].contains(&made["result"].as_str().unwrap()),
            "{made}\n{}",
            diagnosed.text()
        );
    }
}

/// Pages are asked for, messages come in and are pulled, and somebody asks for the state.
fn while_it_is_busy(home: &Home) {
    let busy = AtomicBool::new(true);
    let all: Vec<Diagnosed> = std::thread::scope(|scope| {
        scope.spawn(|| {
            while busy.load(Ordering::SeqCst) {
                for (host, path) in [
                    ("rapidpro.test", "/users/login/"),
                    ("lvcthealth.casepro.test", "/users/login/"),
                    ("content.test", "/admin/login/"),
                ] {
                    home.get(host, path, &[]);
                }
            }
        });
        scope.spawn(|| {
            while busy.load(Ordering::SeqCst) {
                home.message_comes_in();
                home.ooy(&["status"]);
                home.ooy(&["start", "nginx"]);
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        let all = (0..7).map(|_| home.diagnose(&[])).collect();
        busy.store(false, Ordering::SeqCst);
        all
    });
    for diagnosed in &all {
        is_well(diagnosed);
    }
}

fn a_service_started_anew_is_well(home: &Home) {
    for service in ["casepro-celery", "contentrepo"] {
        home.ooy(&["restart", service, "--yes"]).expect(0);
        is_well(&home.diagnose(&[]));
    }
}

/// One line that says so, then the figures; what differs between hosts left out.
fn is_read_well(home: &Home) {
    let read = home.ooy(&["diagnose"]).expect(0).stdout;
    let (first, rest) = read.split_once('\n').unwrap();
    let first = regex::Regex::new(r"\d+(\.\d+)?( ms| s)?")
        .unwrap()
        .replace_all(first, "N")
        .into_owned();
    insta::assert_snapshot!("healthy", first);
    for line in rest.lines() {
        assert!(line.chars().count() <= 200, "{line}");
        assert!(!line.starts_with(['✗', '!']), "{line}");
    }
}
