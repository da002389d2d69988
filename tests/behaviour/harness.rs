//! A deployment of its own for each test: a folder, a compose project, ports, and, where asked,
//! databases. Everything it made is gone with it.
//!
//! The surroundings (a real Engine, PostgreSQL and Redis, the stand-in images) come from
//! scripts/test, in environment variables OOY_BIN and OOY_TEST_*.

use std::io::{Read as _, Seek as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

/// A variable that scripts/test has set.
pub fn surroundings(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run scripts/test, which prepares what the tests need")
    })
}

/// The executable under test: the release build, or the one of this build.
pub fn executable() -> PathBuf {
    std::env::var_os("OOY_BIN").map_or_else(|| env!("CARGO_BIN_EXE_ooy").into(), PathBuf::from)
}

/// What a run of `ooy` has said and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// It ended with this code; else all it said.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "\nstdout:\n{}\nstderr:\n{}",
            self.stdout, self.stderr
        );
        self
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}\n{}\n{}", self.stdout, self.stderr))
    }
}

/// How many whole deployments (or engines) may be up at the same time on this small machine.
static SLOTS: (Mutex<usize>, Condvar) = (Mutex::new(2), Condvar::new());

struct Slot;

impl Slot {
    fn take() -> Self {
        let mut free = SLOTS
            .0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        while *free == 0 {
            free = SLOTS
                .1
                .wait(free)
                .unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        *free -= 1;
        Slot
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *SLOTS
            .0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner()) += 1;
        SLOTS.1.notify_one();
    }
}

/// Service, setting and image of each stand-in.
const IMAGES: &[(&str, &str)] = &[
    ("RAPIDPRO_IMAGE", "rapidpro"),
    ("COURIER_IMAGE", "courier"),
    ("MAILROOM_IMAGE", "mailroom"),
    ("INDEXER_IMAGE", "indexer"),
    ("ELASTICSEARCH_IMAGE", "elasticsearch"),
    ("CASEPRO_IMAGE", "casepro"),
    ("CONTENTREPO_IMAGE", "contentrepo"),
    ("BIGQUERY_SYNC_IMAGE", "bigquery-sync"),
    ("NGINX_IMAGE", "nginx"),
];

static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// One deployment.
pub struct Home {
    pub folder: PathBuf,
    pub project: String,
    pub http: u16,
    pub https: u16,
    /// Docker's socket, where it is not the machine's own.
    pub docker_host: Option<String>,
    /// Network namespace of that Engine: its containers are reached from there only.
    pub namespace: Option<String>,
    databases: Vec<String>,
    // Dropped after our own Drop has removed the containers.
    _folder: tempfile::TempDir,
    _slot: Option<Slot>,
}

impl Home {
    /// A folder without settings.
    pub fn empty(name: &str) -> Self {
        // Elsewhere than /tmp where scripts/test says so: bind mounts need a place that Docker sees.
        let place =
            std::env::var_os("OOY_TEST_WORK").map_or_else(std::env::temp_dir, PathBuf::from);
        std::fs::create_dir_all(&place).unwrap();
        let folder = tempfile::Builder::new()
            .prefix(&format!("{name}-"))
            .tempdir_in(place)
            .unwrap();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self {
            folder: folder.path().to_owned(),
            project: format!("ooy-t-{name}-{}-{number}", std::process::id()),
            http: free_port(),
            https: free_port(),
            docker_host: None,
            namespace: None,
            databases: Vec::new(),
            _folder: folder,
            _slot: None,
        }
    }

    /// Complete settings; the databases are shared with other tests, so only services that leave
    /// them alone may be started.
    pub fn new(name: &str) -> Self {
        let home = Self::empty(name);
        home.init("");
        home
    }

    /// Complete settings and databases of its own: for RapidPro, Casepro and ContentRepo.
    pub fn with_databases(name: &str) -> Self {
        let slot = Slot::take();
        let mut home = Self::with_only_databases(name);
        home._slot = Some(slot);
        home
    }

    /// The same for a test that starts no services.
    pub fn with_only_databases(name: &str) -> Self {
        let mut home = Self::empty(name);
        let suffix = home.project.trim_start_matches("ooy-t-").replace('-', "_");
        for (owner, extensions) in [
            ("rapidpro", &["postgis", "hstore"][..]),
            ("casepro", &["hstore"]),
            ("contentrepo", &[]),
        ] {
            let database = format!("{owner}_{suffix}");
            sql(
                "postgres",
                &format!("CREATE DATABASE {database} OWNER {owner}"),
            );
            for extension in extensions {
                sql(&database, &format!("CREATE EXTENSION {extension}"));
            }
            home.databases.push(database);
        }
        home.init(&format!("_{suffix}"));
        home
    }

    fn init(&self, suffix: &str) {
        let passwords = read_env(&Path::new(&surroundings("OOY_TEST_DATA")).join("env"));
        let postgres = format!(
            "{}:{}",
            surroundings("OOY_TEST_POSTGRES_HOST"),
            surroundings("OOY_TEST_POSTGRES_PORT")
        );
        let redis = format!(
            "redis://:{}@{}:{}",
            surroundings("OOY_TEST_REDIS_PASSWORD"),
            surroundings("OOY_TEST_REDIS_HOST"),
            surroundings("OOY_TEST_REDIS_PORT")
        );
        let first = next_number() % 400 * 3;
        let mut command = self.command(&["init", "--self-signed"]);
        let mut secret = |name: &str, value: String| {
            command.env(name, value).args(["--set-from-env", name]);
        };
        for (index, owner) in ["rapidpro", "casepro", "contentrepo"].iter().enumerate() {
            let upper = owner.to_uppercase();
            let password = &passwords[&format!("{upper}_PASSWORD")];
            let url = format!("postgres://{owner}:{password}@{postgres}/{owner}{suffix}");
            secret(&format!("{upper}_DATABASE_URL"), url);
            secret(
                &format!("{upper}_REDIS_URL"),
                format!("{redis}/{}", first + index),
            );
            if !suffix.is_empty() {
                redis_cli(&["-n", &(first + index).to_string(), "FLUSHDB"]);
            }
        }
        let mut set = |name: &str, value: &str| {
            command.args(["--set", &format!("{name}={value}")]);
        };
        set("PROJECT_NAME", &self.project);
        set("HTTP_PORT", &self.http.to_string());
        set("HTTPS_PORT", &self.https.to_string());
        set("RAPIDPRO_DOMAIN", "rapidpro.test");
        set("CASEPRO_DOMAIN", "casepro.test");
        set("CONTENTREPO_DOMAIN", "content.test");
        set("EMAIL_HOST", "smtp.test");
        // Each check starts a program in a container, in three of them a Python: the tests need the
        // cores.
        set("HEALTH_INTERVAL", "4s");
        set("CELERY_HEALTH_INTERVAL", "15s");
        set("UWSGI_WORKERS", "2");
        for (setting, service) in IMAGES {
            set(setting, &stand_in(service));
        }
        Ran::of(&command.output().unwrap()).expect(0);
    }

    /// `ooy` for this deployment, in an environment of which nothing is inherited.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = match &self.namespace {
            None => Command::new(executable()),
            Some(namespace) => {
                let mut command = Command::new("nsenter");
                command
                    .arg(format!("--net=/var/run/netns/{namespace}"))
                    .arg(executable());
                command
            }
        };
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", std::env::var_os("HOME").unwrap_or_default())
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .arg("--home")
            .arg(&self.folder)
            .args(arguments)
            .stdin(Stdio::null());
        if let Some(host) = self.docker_host() {
            command.env("DOCKER_HOST", host);
        }
        command
    }

    fn docker_host(&self) -> Option<String> {
        self.docker_host
            .clone()
            .or_else(|| std::env::var("DOCKER_HOST").ok())
    }

    pub fn ooy(&self, arguments: &[&str]) -> Ran {
        Ran::of(&self.command(arguments).output().unwrap())
    }

    /// Replaces or adds a line of ooy.env, as a person with an editor would.
    pub fn set(&self, name: &str, line: &str) {
        let path = self.folder.join("ooy.env");
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines: Vec<&str> = text
            .lines()
            .filter(|line| {
                !line
                    .trim_start_matches('#')
                    .starts_with(&format!("{name}="))
            })
            .collect();
        lines.push(line);
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    }

    /// The value a setting has in the file.
    pub fn setting(&self, name: &str) -> String {
        read_env(&self.folder.join("ooy.env"))[name].clone()
    }

    /// Steers stand-ins: environment for some services, by the operator's own compose file.
    pub fn steer(&self, services: &[(&str, &[(&str, &str)])]) {
        let mut text = "services:\n".to_owned();
        for (service, environment) in services {
            text += &format!("  {service}:\n    environment:\n");
            for (name, value) in *environment {
                text += &format!("      {name}: \"{value}\"\n");
            }
        }
        std::fs::write(self.folder.join("compose.override.yaml"), text).unwrap();
    }

    /// `docker`, on the Engine of this deployment.
    pub fn docker(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("docker");
        command.args(arguments).stdin(Stdio::null());
        if let Some(host) = self.docker_host() {
            command.env("DOCKER_HOST", host);
        }
        String::from_utf8_lossy(&command.output().unwrap().stdout)
            .trim()
            .to_owned()
    }

    /// Id of a service's container, or nothing.
    pub fn container(&self, service: &str) -> String {
        let project = format!("label=com.docker.compose.project={}", self.project);
        let service = format!("label=com.docker.compose.service={service}");
        let oneoff = "label=com.docker.compose.oneoff=False";
        self.docker(&[
            "ps",
            "-aq",
            "--no-trunc",
            "--filter",
            &project,
            "--filter",
            &service,
            "--filter",
            oneoff,
        ])
    }

    /// A field of a service's container, by Go template.
    pub fn inspect(&self, service: &str, template: &str) -> String {
        self.docker(&["inspect", "--format", template, &self.container(service)])
    }

    /// All services and their state, by name.
    pub fn status(&self) -> serde_json::Value {
        self.ooy(&["status", "--json"]).json()
    }

    pub fn service_status(&self, service: &str) -> serde_json::Value {
        self.status()["services"]
            .as_array()
            .unwrap()
            .iter()
            .find(|found| found["service"] == service)
            .cloned()
            .unwrap()
    }

    /// A request to nginx on the HTTPS port, as curl makes it: status, head and body.
    pub fn get(&self, host: &str, path: &str, more: &[&str]) -> (u16, String) {
        let port = self.https;
        let output = Command::new("curl")
            .args([
                "-sSik",
                "--path-as-is",
                "--max-time",
                "15",
                "--noproxy",
                "*",
            ])
            .args(["--resolve", &format!("{host}:{port}:127.0.0.1")])
            .args(more)
            .arg(format!("https://{host}:{port}{path}"))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let status = text
            .split_whitespace()
            .nth(1)
            .and_then(|code| code.parse().ok())
            .unwrap_or(0);
        (status, text)
    }

    /// What an operator reads, without what differs from run to run.
    pub fn tidy(&self, text: &str) -> String {
        let mut text = text
            .replace(&self.folder.display().to_string(), "HOME")
            .replace(&self.project, "PROJECT")
            .replace(&self.https.to_string(), "8443")
            .replace(&self.http.to_string(), "8080");
        for (pattern, put) in [
            (r"\d+\.\d s\b|\b\d+ s\b", "N s"),
            (r"\d\d:\d\d:\d\d UTC", "HH:MM:SS UTC"),
            (r"(Engine|compose|PostgreSQL|Redis) \d[^ ]*", "$1 VERSION"),
            // Not every machine has it set.
            (r"(?m)^! preflight +vm\.max_map_count.*\n", ""),
            (r" · vm\.max_map_count \d+", ""),
            (r"process \d+", "process PID"),
            (r"-p \d+", "-p PID"),
            (r"\b[0-9a-f]{64}\b", "ID"),
            (r"\d+(\.\d+)? (GB|MB|KB|B)\b", "SIZE"),
        ] {
            text = regex::Regex::new(pattern)
                .unwrap()
                .replace_all(&text, put)
                .into_owned();
        }
        text
    }
}

impl Home {
    /// `docker rm` and the like. Seen once: a daemon that never answered it, and all tests behind it
    /// waited for ever; asked again it does. What is left is removed by scripts/test.
    fn remove(&self, arguments: &[&str]) {
        for _ in 0..2 {
            let mut command = Command::new("timeout");
            command.args(["-k", "5", "120", "docker"]).args(arguments);
            command.stdin(Stdio::null()).stdout(Stdio::null());
            if let Some(host) = self.docker_host() {
                command.env("DOCKER_HOST", host);
            }
            if command.status().unwrap().code() != Some(124) {
                return;
            }
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if std::env::var_os("OOY_TEST_KEEP").is_some() {
            return;
        }
        let label = format!("label=com.docker.compose.project={}", self.project);
        for (list, remove) in [
            (&["ps", "-aq"][..], &["rm", "-fv"][..]),
            (&["network", "ls", "-q"], &["network", "rm"]),
            (&["volume", "ls", "-q"], &["volume", "rm", "-f"]),
        ] {
            let ids = self.docker(&[list, &["--filter", &label]].concat());
            let ids: Vec<&str> = ids.lines().collect();
            if !ids.is_empty() {
                self.remove(&[remove, &ids].concat());
            }
        }
        for database in &self.databases {
            sql(
                "postgres",
                &format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)"),
            );
        }
    }
}

/// A number that no other deployment of this data-services folder has had lately, in whichever
/// process: two on the same Redis databases would be a fault that diagnose finds.
fn next_number() -> usize {
    let path = Path::new(&surroundings("OOY_TEST_DATA")).join("deployments");
    let mut file = std::fs::File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .unwrap();
    file.lock().unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    let number = text.trim().parse().unwrap_or(0);
    file.rewind().unwrap();
    write!(file, "{}", number + 1).unwrap();
    number
}

/// The stand-in image of a service: of several the one with the tag that is the default.
pub fn stand_in(service: &str) -> String {
    let name = format!("ooy-stand-in/{service}");
    let output = Command::new("docker")
        .args(["images", "--format", "{{.Repository}}:{{.Tag}}", &name])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let setting = service.to_uppercase().replace('-', "_");
    let default = include_str!("../../embedded/ooy.env")
        .lines()
        .find_map(|line| {
            line.trim_start_matches('#')
                .strip_prefix(&format!("{setting}_IMAGE="))
        })
        .and_then(|image| image.rsplit(':').next())
        .map(|tag| format!("{name}:{tag}"));
    text.lines()
        .find(|image| Some(*image) == default.as_deref())
        .or(text.lines().next())
        .unwrap_or_else(|| panic!("no stand-in image of {service}"))
        .to_owned()
}

/// Runs SQL as the superuser; what it answers.
pub fn sql(database: &str, statement: &str) -> String {
    let output = Command::new(Path::new(&surroundings("OOY_TEST_POSTGRES_BIN")).join("psql"))
        .args(["-h", &surroundings("OOY_TEST_POSTGRES_HOST")])
        .args(["-p", &surroundings("OOY_TEST_POSTGRES_PORT")])
        .args([
            "-U",
            &surroundings("OOY_TEST_POSTGRES_USER"),
            "-d",
            database,
            "-qtAc",
            statement,
        ])
        .env("PGPASSWORD", surroundings("OOY_TEST_POSTGRES_PASSWORD"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{statement}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Asks the tests' Redis.
pub fn redis_cli(arguments: &[&str]) -> String {
    let output = Command::new("redis-cli")
        .args([
            "-h",
            &surroundings("OOY_TEST_REDIS_HOST"),
            "-p",
            &surroundings("OOY_TEST_REDIS_PORT"),
        ])
        .args(arguments)
        .env("REDISCLI_AUTH", surroundings("OOY_TEST_REDIS_PASSWORD"))
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Waits until something is so; gives up loudly.
#[track_caller]
pub fn until(what: &str, limit: Duration, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(
            began.elapsed() < limit,
            "waited {limit:?} in vain until {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// KEY=VALUE lines, quotes taken off.
pub fn read_env(path: &Path) -> std::collections::BTreeMap<String, String> {
    std::fs::read_to_string(path)
        .unwrap()
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.trim_matches('\'').to_owned()))
        .collect()
}

/// A port that nobody listens on at the moment.
pub fn free_port() -> u16 {
    TcpListener::bind("0.0.0.0:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}
