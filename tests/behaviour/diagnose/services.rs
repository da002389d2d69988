//! What several of these tests do to services.

use std::process::Command;
use std::time::Duration;

use crate::harness::{Home, sql, until};

/// Long enough for a busy machine; nothing here is measured.
pub const PATIENCE: Duration = Duration::from_secs(120);

impl Home {
    /// Steers a stand-in while it runs; nothing ends it.
    pub fn control(&self, service: &str, json: &str) {
        let path = format!(
            "/proc/{}/root/run/stand-in/control",
            self.inspect(service, "{{.State.Pid}}")
        );
        if json.is_empty() {
            let _ = std::fs::remove_file(path);
        } else {
            std::fs::write(path, json).unwrap();
        }
    }

    /// Name of its database of `rapidpro`, `casepro` or `contentrepo`.
    pub fn database(&self, owner: &str) -> String {
        let url = self.setting(&format!("{}_DATABASE_URL", owner.to_uppercase()));
        let name = url.rsplit('/').next().unwrap();
        name.split('?').next().unwrap().to_owned()
    }

    /// Number of RapidPro's Redis database.
    pub fn redis_number(&self, owner: &str) -> String {
        let url = self.setting(&format!("{}_REDIS_URL", owner.to_uppercase()));
        url.rsplit('/').next().unwrap().to_owned()
    }

    /// SQL on RapidPro's database.
    pub fn rapidpro_sql(&self, statement: &str) -> String {
        sql(&self.database("rapidpro"), statement)
    }

    /// A workspace with contacts, as RapidPro's stand-in makes it.
    pub fn seed_rapidpro(&self) -> serde_json::Value {
        let seeded = self.docker(&[
            "exec",
            &self.container("rapidpro"),
            "/venv/bin/python",
            "/rapidpro/manage.py",
            "stand_in_seed",
        ]);
        serde_json::from_str(&seeded).unwrap_or_else(|error| panic!("{error}: {seeded}"))
    }

    /// Waits until the Engine's health check of a service has passed.
    pub fn until_healthy(&self, service: &str) {
        until(&format!("{service} is healthy"), PATIENCE, || {
            self.inspect(service, "{{.State.Health.Status}}") == "healthy"
        });
    }

    /// Runs a command that a finding shows, as a person would; what it says.
    pub fn shell(&self, command: &str) -> String {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]);
        if let Some(host) = &self.docker_host {
            shell.env("DOCKER_HOST", host);
        }
        let output = shell.output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// What an operator reads, times and numbers of processes taken out.
    pub fn shown(&self, check: &str) -> String {
        let shown = self.ooy(&["diagnose", check]).expect(1).stdout;
        let mut text = self.tidy(&shown);
        for (pattern, put) in [
            (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(Z|[+-]\d\d)", "TIME"),
            (r"\d+\.\d+\.\d+\.\d+", "ADDRESS"),
            (r"process PID(, \d+)*", "process PID"),
        ] {
            text = regex::Regex::new(pattern)
                .unwrap()
                .replace_all(&text, put)
                .into_owned();
        }
        text
    }
}

/// Sends a signal to processes of the host.
pub fn signal(signal: &str, pids: &[u32]) {
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    let status = Command::new("kill").arg(signal).args(&pids).status();
    assert!(status.unwrap().success(), "kill {signal} {pids:?}");
}

/// Processes that are sent SIGCONT when the test ends, also when it fails: stopped ones would
/// outlive the end of their container.
pub struct Stopped(pub Vec<u32>);

impl Stopped {
    pub fn new(pids: Vec<u32>) -> Self {
        assert!(!pids.is_empty());
        signal("-STOP", &pids);
        Self(pids)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let pids: Vec<String> = self.0.iter().map(u32::to_string).collect();
        let _ = Command::new("kill").arg("-CONT").args(&pids).status();
    }
}

/// The main process of a service on the host, and all that came of it, as `docker top` lists them.
pub fn processes(home: &Home, service: &str) -> Vec<(u32, u32, String)> {
    let container = home.container(service);
    let listed = home.docker(&["top", &container, "-eo", "pid,ppid,args"]);
    listed
        .lines()
        .skip(1)
        .map(|line| {
            let mut words = line.split_whitespace();
            let mut number = || words.next().unwrap().parse().unwrap();
            let (pid, parent) = (number(), number());
            (pid, parent, words.collect::<Vec<_>>().join(" "))
        })
        .collect()
}
