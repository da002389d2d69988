//! What operations of `ooy` leave behind when they do not come to their end. Run by the scenario
//! of settings, in its deployment.

use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::settings::LIMIT;
use crate::harness::{Home, until};

pub fn all(home: &Home) {
    suspended_and_then_killed(home);
    one_that_gets_no_further(home);
}

/// Ends whatever becomes of the test.
struct Ooy(Child);

impl Ooy {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Ooy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Ctrl-Z in the middle of a stop, and then kill -9.
fn suspended_and_then_killed(home: &Home) {
    let child = home
        .command(&["stop", "contentrepo"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let child = Ooy(child);
    // The first that is done to the container.
    until("the stop has begun", LIMIT, || {
        home.inspect("contentrepo", "{{.HostConfig.RestartPolicy.Name}}") == "no"
    });
    child.signal(Signal::STOP);
    let exited = || home.inspect("contentrepo", "{{.State.Status}}") == "exited";

    let diagnosed = home.diagnose_until("lock-stale", LIMIT);
    let finding = diagnosed.only_root("lock-stale");
    assert_eq!(
        finding["summary"],
        "ooy stop contentrepo is suspended and holds the lock"
    );
    let pid = child.0.id().to_string();
    let held = finding["evidence"][0]["value"].as_str().unwrap();
    assert!(held.contains(&format!("process {pid}")), "{held}");
    assert_eq!(
        finding["fix"]["manual"][0],
        format!("sudo kill -CONT {pid}")
    );

    child.signal(Signal::KILL);
    drop(child);
    let diagnosed = home.diagnose_until("operation-unfinished", LIMIT);
    let finding = diagnosed.only_root("operation-unfinished");
    let summary = finding["summary"].as_str().unwrap();
    assert!(
        summary.starts_with("ooy stop contentrepo was cut off"),
        "{summary}"
    );
    // It was asked to stop before, and is the consequence where it has done so.
    if exited() {
        assert!(
            home.diagnose(&[]).explained().contains(&"service-exited"),
            "{}",
            diagnosed.text()
        );
    }
    home.ooy(&["start", "contentrepo"]).expect(0);
    home.healthy_again(LIMIT);
}

/// A process that holds the lock, lives, and does nothing more.
fn one_that_gets_no_further(home: &Home) {
    home.set("OPERATION_STALL", "OPERATION_STALL=1s");
    let path = home.folder.join("state/lock");
    let file = std::fs::File::open(&path).unwrap();
    file.lock().unwrap();
    let holder = serde_json::json!({
        "pid": std::process::id(), "user": "root", "operation": "upgrade",
        "since": "2026-11-20T01:02:03Z",
    });
    std::fs::write(&path, holder.to_string()).unwrap();
    let diagnosed = home.diagnose_until("lock-stale", LIMIT);
    let finding = diagnosed.only_root("lock-stale");
    let summary = finding["summary"].as_str().unwrap();
    assert!(
        summary.starts_with("ooy upgrade has got no further for "),
        "{summary}"
    );
    let step = &finding["evidence"][1];
    assert_eq!(step["threshold"], "1 s (OPERATION_STALL)");
    drop(file);
    home.set("OPERATION_STALL", "#OPERATION_STALL=30m");
    home.healthy_again(LIMIT);
}
