//! A disk that is really full: an Engine of the test's own, all of its data, and the deployment's
//! state, on a small file system.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::diagnose::disk::{Disk, says};
use crate::harness::{Home, stand_in, until};

const PATIENCE: Duration = Duration::from_secs(120);

/// The deployment's services of this test beside Elasticsearch: one with a log without end, one
/// whose log Docker has rotated, and one that ends when it cannot write.
const SERVICES: &str = r#"
services:
  endless:
    image: IMAGE
    entrypoint: ["sh", "-c", "while :; do n=$$((n+1)); echo endless $$n; sleep 0.1; done"]
    command: []
  rotated:
    image: IMAGE
    entrypoint: ["sh", "-c", "while :; do n=$$((n+1)); echo rotated $$n; sleep 0.1; done"]
    command: []
    logging: {driver: json-file, options: {max-size: 30m, max-file: "3"}}
  writer:
    image: IMAGE
    restart: "no"
    entrypoint: ["sh", "-c", "while echo $$(date) > /run/$$((n=n+1)); do sleep 0.2; done; exit 1"]
    command: []
"#;

/// A dockerd with its data on that disk, in a network namespace of its own: a second one in the
/// machine's would take the first one's bridge away. A cable leads from there to PostgreSQL.
struct Engine {
    folder: PathBuf,
    namespace: String,
    daemon: Child,
}

impl Engine {
    fn new(home: &Home, disk: &Disk) -> Self {
        let folder = home.folder.join("engine");
        std::fs::create_dir_all(&folder).unwrap();
        let number = std::process::id();
        let namespace = format!("ooyfd{number}");
        let (here, there) = (format!("ofdh{number}"), format!("ofdn{number}"));
        // One of the networks that the tests' PostgreSQL lets in.
        let net = format!("192.168.{}", 200 + number % 50);
        for command in [
            format!("ip netns add {namespace}"),
            format!("ip link add {here} type veth peer name {there} netns {namespace}"),
            format!("ip addr add {net}.1/30 dev {here}"),
            format!("ip link set {here} up"),
            format!("ip -n {namespace} link set lo up"),
            format!("ip -n {namespace} addr add {net}.2/30 dev {there}"),
            format!("ip -n {namespace} link set {there} up"),
            format!("ip -n {namespace} route add default via {net}.1"),
        ] {
            let words: Vec<&str> = command.split(' ').collect();
            let status = Command::new(words[0]).args(&words[1..]).status();
            assert!(status.unwrap().success(), "{command}");
        }
        let log = std::fs::File::create(folder.join("log")).unwrap();
        // nsenter and not `ip netns exec`, which hides the cgroups. Without a bridge of its own,
        // whose address would be the one that PostgreSQL has outside.
        let daemon = Command::new("nsenter")
            .arg(format!("--net=/var/run/netns/{namespace}"))
            .args(["dockerd", "--data-root"])
            .arg(disk.mounted.join("docker"))
            .arg("--exec-root")
            .arg(folder.join("exec"))
            .arg("--pidfile")
            .arg(folder.join("pid"))
            .arg("-H")
            .arg(format!("unix://{}/docker.sock", folder.display()))
            .args(["--bridge=none", "--cgroup-parent"])
            .arg(format!("/{namespace}"))
            .args(["--default-address-pool", "base=10.77.0.0/16,size=24"])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let engine = Self {
            folder,
            namespace,
            daemon,
        };
        until("the Engine answers", Duration::from_secs(60), || {
            engine.docker(&["version", "-f", "{{.Server.Version}}"]).0
        });
        engine
    }

    fn host(&self) -> String {
        format!("unix://{}/docker.sock", self.folder.display())
    }

    fn docker(&self, arguments: &[&str]) -> (bool, String) {
        let output = Command::new("docker")
            .args(arguments)
            .env("DOCKER_HOST", self.host())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        (output.status.success(), text)
    }

    /// An image of so many MB, with labels.
    fn image(&self, name: &str, megabytes: u64, changes: &[&str]) {
        let folder = tempfile::tempdir_in(&self.folder).unwrap();
        let file = folder.path().join("content");
        let content = vec![7; usize::try_from(megabytes << 20).unwrap()];
        std::fs::write(&file, content).unwrap();
        let changes: String = changes.iter().map(|it| format!(" -c '{it}'")).collect();
        let script = format!(
            "tar -C {} -c content | docker import{changes} - {name}",
            folder.path().display()
        );
        let status = Command::new("sh")
            .args(["-c", &script])
            .env("DOCKER_HOST", self.host())
            .stdout(Stdio::null())
            .status();
        assert!(status.unwrap().success(), "{name}");
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let script = "docker ps -aq | xargs -r docker rm -fv; docker network prune -f";
        let _ = Command::new("sh")
            .args(["-c", script])
            .env("DOCKER_HOST", self.host())
            .output();
        let pid = rustix::process::Pid::from_child(&self.daemon);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.daemon.wait();
        // The cable goes with it.
        let _ = Command::new("ip")
            .args(["netns", "del", &self.namespace])
            .status();
    }
}

impl Home {
    /// Repairs, and is killed (-9) the moment it tells this event of this step.
    pub fn fix_killed_at(&self, arguments: &[&str], step: &str, event: &str) {
        let mut child = self
            .command(&[&["--yes", "--json", "fix"], arguments].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut told = Vec::new();
        let reached = lines.any(|line| {
            let line = line.unwrap();
            let json: serde_json::Value = serde_json::from_str(&line).unwrap();
            told.push(line);
            json["step"] == step && json["event"] == event
        });
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(reached, "{step} {event} was never told: {told:#?}");
    }
}

/// The files of a service's log, Docker's own first.
fn log(home: &Home, service: &str) -> PathBuf {
    home.inspect(service, "{{.LogPath}}").into()
}

fn log_size(home: &Home, service: &str) -> u64 {
    let path = log(home, service);
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    std::fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name().to_str().unwrap().starts_with(&name))
        .map(|entry| entry.metadata().unwrap().len())
        .sum()
}

/// Writes so many MB to a service's standard output.
fn shout(home: &Home, service: &str, megabytes: u64) {
    let line = "x".repeat(100);
    let script = format!("yes {line} | head -c {megabytes}m >/proc/1/fd/1 && echo said");
    let container = home.container(service);
    let said = home.docker(&["exec", "-u", "0", &container, "sh", "-c", &script]);
    assert_eq!(said, "said", "{service}");
    // Not yet in the file: Docker is slower.
    let mut before = 0;
    until("all of it is in the log", PATIENCE, || {
        let size = log_size(home, service);
        let settled = size >= (megabytes << 20).min(20 << 20) && size - before.min(size) < 1 << 16;
        before = size;
        std::thread::sleep(Duration::from_millis(200));
        settled
    });
}

/// The container goes on logging, and Docker reads all of it.
#[track_caller]
fn goes_on_logging(home: &Home, service: &str) {
    let container = home.container(service);
    let last = || home.docker(&["logs", "--tail", "1", &container]);
    let before = last();
    assert!(before.starts_with(service), "{before}");
    until("it logs again", PATIENCE, || last() != before);
    // Neither half a line nor a hole.
    let text = std::fs::read(log(home, service)).unwrap();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        serde_json::from_slice::<serde_json::Value>(line)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(line)));
    }
    // From the first of the kept lines on.
    assert!(home.docker(&["logs", &container]).lines().count() > 100);
}

fn used_percent(disk: &Disk) -> u64 {
    let space = rustix::fs::statvfs(&disk.mounted).unwrap();
    let used = space.f_blocks - space.f_bfree;
    (used * 100).div_ceil(used + space.f_bavail)
}

/// Elasticsearch's answer to a request from inside.
fn elastic(home: &Home, arguments: &[&str]) -> String {
    let container = home.container("elasticsearch");
    let curl = [
        "exec",
        &container,
        "curl",
        "-s",
        "-H",
        "Content-Type: application/json",
    ];
    home.docker(&[&curl, arguments].concat())
}

const INDEX: &str = "localhost:9200/contacts_2026";

/// One scenario, since making an Engine is what costs.
#[test]
fn a_full_disk() {
    let mut home = Home::new("fdisk");
    let disk = Disk::new(&home, "state", 1100, &[]);
    let engine = Engine::new(&home, &disk);
    let image = stand_in("elasticsearch");
    let load = format!(
        "docker save {image} | DOCKER_HOST={} docker load -q",
        engine.host()
    );
    let loaded = Command::new("sh").args(["-c", &load]).output().unwrap();
    assert!(loaded.status.success(), "{loaded:?}");
    home.docker_host = Some(engine.host());
    home.namespace = Some(engine.namespace.clone());
    for line in [
        "DISK_RESERVE_MB=0",
        "DIAGNOSE_TIMEOUT=30s",
        "LOG_OVERSIZED_MB=50",
    ] {
        home.set(line.split('=').next().unwrap(), line);
    }
    let services = SERVICES.replace("IMAGE", &image);
    std::fs::write(home.folder.join("compose.override.yaml"), services).unwrap();
    home.ooy(&["start", "elasticsearch", "endless", "rotated", "writer"])
        .expect(0);
    elastic(&home, &["-X", "PUT", INDEX]);

    let sacred = Sacred::new(&home, &engine);
    full_to_the_last_block(&home, &disk, &engine);
    sacred.are_there(&engine);
    only_what_was_found(&home, &engine);
    nothing_to_free(&home, &disk);
    nobody_looks(&home, &disk, &engine);
    sacred.are_there(&engine);
    drop(engine);
}

/// What must never go.
struct Sacred {
    containers: Vec<String>,
}

impl Sacred {
    fn new(home: &Home, engine: &Engine) -> Self {
        let ours = format!("com.docker.compose.project={}", home.project);
        engine.image("theirs:1", 20, &[]);
        engine.image("built:1", 20, &["LABEL com.docker.compose.project=theirs"]);
        engine.image("pinned:1", 20, &[]);
        std::fs::write(
            home.folder.join("state/pins.json"),
            r#"{"casepro":"pinned:1"}"#,
        )
        .unwrap();
        let image = stand_in("elasticsearch");
        let mut containers = Vec::new();
        for (name, labels, image, volume) in [
            (
                "theirs",
                "com.docker.compose.project=theirs",
                "theirs:1",
                "theirs:/v",
            ),
            ("resting", ours.as_str(), image.as_str(), "ours:/v"),
        ] {
            let made = engine.docker(&[
                "create", "--name", name, "--label", labels, "-v", volume, image, "true",
            ]);
            assert!(made.0, "{name}");
            containers.push(made.1);
        }
        assert!(engine.docker(&["volume", "create", "unused"]).0);
        Self { containers }
    }

    #[track_caller]
    fn are_there(&self, engine: &Engine) {
        let all = engine.docker(&["ps", "-aq", "--no-trunc"]).1;
        for id in &self.containers {
            assert!(all.contains(id.as_str()), "{all}");
        }
        for volume in ["theirs", "ours", "unused"] {
            assert!(engine.docker(&["volume", "inspect", volume]).0, "{volume}");
        }
        for image in ["theirs:1", "built:1", "pinned:1"] {
            assert!(engine.docker(&["image", "inspect", image]).0, "{image}");
        }
    }
}

fn full_to_the_last_block(home: &Home, disk: &Disk, engine: &Engine) {
    engine.image("old:1", 40, &[]);
    shout(home, "endless", 150);
    shout(home, "rotated", 80);
    let rotated = log(home, "rotated");
    until("the log was rotated", PATIENCE, || {
        std::fs::exists(format!("{}.1", rotated.display())).unwrap()
    });
    let (endless, rotated) = (log_size(home, "endless"), log_size(home, "rotated"));
    assert!(
        endless > 150 << 20 && rotated > 60 << 20,
        "{endless} {rotated}"
    );
    disk.fill(u64::MAX);
    assert!(std::fs::write(disk.mounted.join("more"), vec![1; 10_000]).is_err());
    std::fs::remove_file(disk.mounted.join("more")).unwrap();
    until("writer cannot write", PATIENCE, || {
        home.inspect("writer", "{{.State.Status}}") == "exited"
    });
    until("Elasticsearch has seen it", PATIENCE, || {
        elastic(home, &[&format!("{INDEX}/_settings")]).contains("read_only_allow_delete")
    });

    let diagnosed = home.diagnose(&["disk-space", "container-logs"]);
    let finding = diagnosed.finding("disk-full");
    says(finding, "100 % of");
    says(&finding["fix"]["command"], "fix disk-space");

    // A plan, the largest first, and nothing done.
    let planned = home
        .ooy(&["fix", "--dry-run", "disk-space"])
        .expect(0)
        .stderr;
    let place = |text: &str| {
        planned
            .replace("\n            ", "")
            .find(text)
            .unwrap_or_else(|| panic!("{text}: {planned}"))
    };
    assert!(
        place("log of endless") < place("log of rotated"),
        "{planned}"
    );
    assert!(place("log of rotated") < place("image old:1"), "{planned}");
    for image in ["theirs:1", "built:1", "pinned:1", "ooy-stand-in"] {
        assert!(!planned.contains(image), "{planned}");
    }
    assert_eq!(used_percent(disk), 100);
    assert!(log_size(home, "endless") >= endless);

    let said = home.fixes(&["disk-space"]);
    for text in [
        "PostgreSQL writes",
        "Elasticsearch takes changes again",
        "started again: writer",
    ] {
        assert!(said.contains(text), "{text}: {said}");
    }
    assert!(used_percent(disk) < 97, "{}", used_percent(disk));
    for service in ["endless", "rotated"] {
        assert!(log_size(home, service) < 3 << 20, "{service}");
        goes_on_logging(home, service);
    }
    assert!(!engine.docker(&["image", "inspect", "old:1"]).0);
    assert_eq!(home.inspect("writer", "{{.State.Status}}"), "running");
    let written = elastic(home, &["-X", "PUT", &format!("{INDEX}/_doc/1"), "-d", "{}"]);
    assert!(written.contains("created"), "{written}");
    home.has_nothing_to_fix(&["disk-space"]);
}

/// An oversized log alone costs no image, and interrupts nobody.
fn only_what_was_found(home: &Home, engine: &Engine) {
    std::fs::remove_file(home.folder.join("state/filler")).unwrap();
    engine.image("old:1", 5, &[]);
    shout(home, "endless", 60);
    let began = home.inspect("endless", "{{.State.StartedAt}}");
    let diagnosed = home.diagnose(&["container-logs"]);
    assert_eq!(diagnosed.finding("log-oversized")["service"], "endless");
    let said = home.fixes(&["disk-space"]);
    assert!(said.contains("log of endless"), "{said}");
    assert!(!said.contains("old:1"), "{said}");
    goes_on_logging(home, "endless");
    assert_eq!(home.inspect("endless", "{{.State.StartedAt}}"), began);
    home.has_nothing_to_fix(&["disk-space"]);
    engine.docker(&["rmi", "old:1"]);
}

/// What takes the room is not ours: it is named.
fn nothing_to_free(home: &Home, disk: &Disk) {
    disk.fill(u64::MAX);
    let ran = home.fix(&["disk-space"]).expect(1);
    for text in ["nothing that ooy may free", "state/filler", "sudo du -xhd2"] {
        assert!(ran.stderr.contains(text), "{text}: {}", ran.stderr);
    }
    for part in ["\n  what ", "\n  evidence ", "\n  why ", "\n  next "] {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
    // Something is freed, and it is not enough.
    std::fs::remove_file(home.folder.join("state/filler")).unwrap();
    shout(home, "endless", 60);
    disk.fill(u64::MAX);
    home.set("DISK_FULL_PERCENT", "DISK_FULL_PERCENT=20");
    let ran = home.fix(&["disk-space"]).expect(1);
    assert!(ran.stderr.contains("disk: still full"), "{}", ran.stderr);
    home.set("DISK_FULL_PERCENT", "#DISK_FULL_PERCENT=97");
    std::fs::remove_file(home.folder.join("state/filler")).unwrap();
}

/// With nobody looking the logs go first, and images only if that was not enough; nor does a log
/// that is not oversized go without need. Killed in the middle it is finished by running it again.
fn nobody_looks(home: &Home, disk: &Disk, engine: &Engine) {
    engine.image("old:1", 5, &[]);
    shout(home, "endless", 130);
    shout(home, "rotated", 10);
    let rotated = log_size(home, "rotated");
    disk.fill(u64::MAX);
    let planned = home.ooy(&["--yes", "fix", "--dry-run", "--all"]).stderr;
    let planned = planned.replace("\n             ", " ");
    assert!(
        planned.contains("only if the disk is still full then: cut the log of rotated"),
        "{planned}"
    );
    let last = planned.find("only if the disk").unwrap();
    assert!(planned[last..].contains("remove image old:1"), "{planned}");

    home.fix_killed_at(&["disk-space"], "free", "started");
    home.fixes(&["disk-space"]);
    assert!(used_percent(disk) < 97);
    assert!(log_size(home, "endless") < 3 << 20);
    assert!(log_size(home, "rotated") >= rotated);
    goes_on_logging(home, "endless");
    std::fs::remove_file(home.folder.join("state/filler")).unwrap();
    home.has_nothing_to_fix(&["disk-space"]);
}
