//! The Docker daemon itself in trouble: a second, real Engine of the test's own, which may be
//! stopped and killed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::harness::{Home, stand_in, until};
use crate::watch::Watching;

/// A dockerd with its own data, socket and network namespace.
pub struct Engine {
    folder: tempfile::TempDir,
    pub namespace: String,
    daemon: Option<Child>,
}

static NUMBER: AtomicUsize = AtomicUsize::new(0);

impl Engine {
    /// One that has the stand-in images of these services; of none, if none is named.
    pub fn new(name: &str, services: &[&str]) -> Self {
        let place =
            std::env::var_os("OOY_TEST_WORK").map_or_else(std::env::temp_dir, PathBuf::from);
        let folder = tempfile::Builder::new()
            .prefix("engine-")
            .tempdir_in(place)
            .unwrap();
        let namespace = format!(
            "ooyt{}n{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        // Of its own: two daemons would fight over iptables and bridges.
        run(&["ip", "netns", "add", &namespace]);
        run(&["ip", "-n", &namespace, "link", "set", "lo", "up"]);
        let mut engine = Self {
            folder,
            namespace,
            daemon: None,
        };
        engine.start();
        if services.is_empty() {
            return engine;
        }
        let images: Vec<String> = services.iter().map(|service| stand_in(service)).collect();
        let load = format!(
            "docker save {} | DOCKER_HOST={} docker load -q",
            images.join(" "),
            engine.host()
        );
        let loaded = Command::new("bash")
            .args(["-o", "pipefail", "-c", &load])
            .stdout(Stdio::null())
            .status();
        assert!(loaded.unwrap().success(), "{name}: images");
        engine
    }

    pub fn host(&self) -> String {
        format!(
            "unix://{}",
            self.folder.path().join("docker.sock").display()
        )
    }

    pub fn start(&mut self) {
        let path = |name: &str| self.folder.path().join(name);
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(path("log"))
            .unwrap();
        // After a kill: where nothing reaps it, the old containerd looks alive for ever.
        let _ = std::fs::remove_file(path("exec/containerd/containerd.pid"));
        let _ = std::fs::remove_file(path("pid"));
        // nsenter and not `ip netns exec`, which hides the cgroups.
        let daemon = Command::new("nsenter")
            .arg(format!("--net=/var/run/netns/{}", self.namespace))
            .args(["dockerd", "--data-root"])
            .arg(path("data"))
            .arg("--exec-root")
            .arg(path("exec"))
            .arg("--pidfile")
            .arg(path("pid"))
            .args(["-H", &self.host(), "--cgroup-parent"])
            .arg(format!("/{}", self.namespace))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.daemon = Some(daemon);
        let host = self.host();
        until("the second Engine answers", Duration::from_secs(60), || {
            answers(&host)
        });
    }

    pub fn end(&mut self, signal: rustix::process::Signal) {
        let Some(mut daemon) = self.daemon.take() else {
            return;
        };
        let pid = std::fs::read_to_string(self.folder.path().join("pid")).unwrap_or_default();
        if let Some(pid) = pid
            .trim()
            .parse()
            .ok()
            .and_then(rustix::process::Pid::from_raw)
        {
            let _ = rustix::process::kill_process(pid, signal);
        }
        daemon.wait().unwrap();
        // A killed daemon takes its containerd with it; the next one needs its socket.
        let containerd = self
            .folder
            .path()
            .join("exec/containerd")
            .display()
            .to_string();
        let _ = Command::new("pkill")
            .args(["-KILL", "-f", &format!("containerd --config {containerd}")])
            .status();
    }
}

fn answers(host: &str) -> bool {
    Command::new("docker")
        .args(["version", "-f", "{{.Server.Version}}"])
        .env("DOCKER_HOST", host)
        .output()
        .is_ok_and(|output| output.status.success())
}

impl Drop for Engine {
    fn drop(&mut self) {
        let host = self.host();
        let remove = "docker ps -aq | xargs -r docker rm -f";
        let _ = Command::new("bash")
            .args(["-c", remove])
            .env("DOCKER_HOST", &host)
            .output();
        self.end(rustix::process::Signal::TERM);
        // containerd of a killed daemon lives on.
        let pattern = self.folder.path().display().to_string();
        let _ = Command::new("pkill")
            .args(["-KILL", "-f", &pattern])
            .status();
        let _ = Command::new("ip")
            .args(["netns", "del", &self.namespace])
            .status();
        let mounts =
            format!("grep -o '{pattern}[^ ]*' /proc/mounts | sort -r | xargs -r umount -l");
        let _ = Command::new("bash").args(["-c", &mounts]).status();
        remove_tree(self.folder.path());
    }
}

fn remove_tree(path: &Path) {
    let _ = Command::new("rm").arg("-rf").arg(path).status();
}

fn run(words: &[&str]) {
    assert!(
        Command::new(words[0])
            .args(&words[1..])
            .status()
            .unwrap()
            .success(),
        "{words:?}"
    );
}

/// One scenario, since making an Engine is what costs.
#[test]
fn the_daemon_restarts_and_crashes() {
    let mut engine = Engine::new("daemon", &["elasticsearch"]);
    let mut home = Home::new("daemon");
    home.docker_host = Some(engine.host());
    home.namespace = Some(engine.namespace.clone());
    // Elasticsearch alone needs neither PostgreSQL nor Redis, which that network does not reach.
    home.steer(&[("elasticsearch", &[("STAND_IN_BOOT_SECONDS", "6")])]);

    restarts_while_start_waits(&home, &mut engine);
    comes_back_after_a_crash(&home, &mut engine);
    the_watch_looks_at_once(&home, &mut engine);
    drop(home);
}

fn restarts_while_start_waits(home: &Home, engine: &mut Engine) {
    let child = home
        .command(&["start", "elasticsearch"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("elasticsearch runs", Duration::from_secs(30), || {
        home.inspect("elasticsearch", "{{.State.Running}}") == "true"
    });
    engine.end(rustix::process::Signal::TERM);
    engine.start();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 of 1 ready"), "{said}");
}

/// It does not wait for its next round, which is an hour away.
fn the_watch_looks_at_once(home: &Home, engine: &mut Engine) {
    home.set("WATCH_REPAIRS_PER_HOUR", "WATCH_REPAIRS_PER_HOUR=0");
    let watching = Watching::every(home, "60m");
    let looks = || watching.said().matches("looked at").count();
    until("it has looked", Duration::from_secs(60), || looks() == 1);
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::KILL] {
        let before = looks();
        engine.end(signal);
        engine.start();
        until("it looks again", Duration::from_secs(60), || {
            looks() > before
        });
    }
    let said = watching.said();
    assert!(said.contains("Docker was away and answers again"), "{said}");
}

/// `unless-stopped` would not; and what `ooy stop` stopped stays stopped.
fn comes_back_after_a_crash(home: &Home, engine: &mut Engine) {
    home.steer(&[]);
    std::fs::remove_file(home.folder.join("compose.override.yaml")).unwrap();
    home.ooy(&["start", "elasticsearch"]).expect(0);
    engine.end(rustix::process::Signal::KILL);
    engine.start();
    until(
        "elasticsearch is back by itself",
        Duration::from_secs(30),
        || home.service_status("elasticsearch")["ready"] == true,
    );
    home.ooy(&["stop", "elasticsearch"]).expect(0);
    engine.end(rustix::process::Signal::KILL);
    engine.start();
    assert_eq!(home.service_status("elasticsearch")["state"], "exited");
}
