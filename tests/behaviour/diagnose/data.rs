//! PostgreSQL and Redis of a test's own, to be stopped, starved and closed; and what happens to a
//! whole deployment then.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::{Home, free_port, read_env, surroundings, until};

/// What this subject looks at.
pub const CHECKS: &[&str] = &[
    "postgres-access",
    "postgres-extensions",
    "postgres-version",
    "postgres-connections",
    "postgres-exposure",
    "redis-access",
    "redis-writes",
    "redis-memory",
    "redis-databases",
    "redis-exposure",
];

/// Long enough for a loaded machine.
pub const LIMIT: Duration = Duration::from_secs(60);

const OWNERS: [&str; 3] = ["rapidpro", "casepro", "contentrepo"];

/// A PostgreSQL and a Redis, as tests/rig/data-services makes them.
pub struct Servers {
    folder: PathBuf,
    pub postgres: u16,
    pub redis: u16,
    pub address: String,
    env: std::collections::BTreeMap<String, String>,
    _folder: tempfile::TempDir,
}

impl Servers {
    pub fn up() -> Self {
        let place =
            std::env::var_os("OOY_TEST_WORK").map_or_else(std::env::temp_dir, PathBuf::from);
        std::fs::create_dir_all(&place).unwrap();
        let folder = tempfile::Builder::new()
            .prefix("data-")
            .tempdir_in(place)
            .unwrap();
        let mut servers = Self {
            folder: folder.path().to_owned(),
            postgres: free_port(),
            redis: free_port(),
            address: surroundings("OOY_TEST_POSTGRES_HOST"),
            env: std::collections::BTreeMap::new(),
            _folder: folder,
        };
        servers.start();
        servers.env = read_env(&servers.folder.join("env"));
        servers
    }

    fn rig(&self, verb: &str, more: &[&str]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rig/data-services");
        let output = Command::new(script)
            .arg(verb)
            .arg(&self.folder)
            .args(more)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Starts what does not run, as it was at first.
    pub fn start(&self) {
        let (postgres, redis) = (self.postgres.to_string(), self.redis.to_string());
        self.rig(
            "up",
            &[
                "--postgres-port",
                &postgres,
                "--redis-port",
                &redis,
                "--fast",
            ],
        );
    }

    /// Lets a deployment use them.
    pub fn serve(&self, home: &Home) {
        for (index, owner) in OWNERS.into_iter().enumerate() {
            let upper = owner.to_uppercase();
            let password = &self.env[&format!("{upper}_PASSWORD")];
            let at = format!("{}:{}", self.address, self.postgres);
            let name = format!("{upper}_DATABASE_URL");
            home.set(
                &name,
                &format!("{name}=postgres://{owner}:{password}@{at}/{owner}"),
            );
            self.redis_of(home, owner, index, Some(&self.env["REDIS_PASSWORD"]));
        }
    }

    /// Sets the Redis database of one application.
    pub fn redis_of(&self, home: &Home, owner: &str, db: usize, password: Option<&str>) {
        let name = format!("{}_REDIS_URL", owner.to_uppercase());
        let password = password.map_or_else(String::new, |password| format!(":{password}@"));
        let at = format!("{}:{}", self.address, self.redis);
        home.set(&name, &format!("{name}=redis://{password}{at}/{db}"));
    }

    /// Sets that of all, with or without a password.
    pub fn redis_of_all(&self, home: &Home, password: Option<&str>) {
        for (index, owner) in OWNERS.into_iter().enumerate() {
            self.redis_of(home, owner, index, password);
        }
    }

    pub fn redis_password(&self) -> &str {
        &self.env["REDIS_PASSWORD"]
    }

    /// Runs SQL as the superuser.
    pub fn sql(&self, database: &str, statement: &str) -> String {
        let output = Command::new(Path::new(&self.env["POSTGRES_BIN"]).join("psql"))
            .args(["-h", "127.0.0.1", "-p", &self.postgres.to_string()])
            .args(["-U", "postgres", "-d", database, "-qtAc", statement])
            .env("PGPASSWORD", &self.env["POSTGRES_PASSWORD"])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{statement}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// The address of a database for the tests' own sessions, as RapidPro's role.
    pub fn rapidpro(&self) -> String {
        format!(
            "host=127.0.0.1 port={} user=rapidpro password={} dbname=rapidpro application_name=greedy",
            self.postgres, self.env["RAPIDPRO_PASSWORD"]
        )
    }

    /// Asks Redis, with its first password.
    pub fn redis(&self, arguments: &[&str]) -> String {
        self.redis_with(Some(self.redis_password()), arguments)
    }

    pub fn redis_with(&self, password: Option<&str>, arguments: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command
            .args(["-h", "127.0.0.1", "-p", &self.redis.to_string()])
            .args(arguments);
        if let Some(password) = password {
            command.env("REDISCLI_AUTH", password);
        }
        let output = command.output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    pub fn data(&self) -> PathBuf {
        std::fs::canonicalize(self.folder.join("postgres/data")).unwrap()
    }

    pub fn redis_folder(&self) -> PathBuf {
        std::fs::canonicalize(self.folder.join("redis")).unwrap()
    }

    pub fn postgres_pid(&self) -> u32 {
        first_number(&self.data().join("postmaster.pid")).unwrap()
    }

    pub fn redis_pid(&self) -> u32 {
        first_number(&self.redis_folder().join("redis.pid")).unwrap()
    }

    /// Ends it as a crash does.
    pub fn kill_postgres(&self) {
        let pid = self.postgres_pid();
        signal(pid, "KILL");
        // Its children end when they see that it is gone.
        until("PostgreSQL has ended", LIMIT, || !listens(self.postgres));
    }

    pub fn kill_redis(&self) {
        signal(self.redis_pid(), "KILL");
        until("Redis has ended", LIMIT, || !listens(self.redis));
    }

    /// Starts PostgreSQL anew with these settings instead of the usual ones.
    pub fn postgres_with(&self, settings: &[&str]) {
        let pid = self.postgres_pid();
        signal(pid, "INT");
        until("PostgreSQL has ended", LIMIT, || {
            !Path::new(&format!("/proc/{pid}")).exists()
        });
        let user = "--reuid=postgres";
        let server = format!("{}/postgres", self.env["POSTGRES_BIN"]);
        let data = self.data();
        let mut command = Command::new("setsid");
        command
            .args([
                "-f",
                "setpriv",
                user,
                "--regid=postgres",
                "--init-groups",
                "--",
                &server,
                "-D",
            ])
            .arg(&data)
            .args(["-c", &format!("port={}", self.postgres)])
            .args(["-c", "unix_socket_directories=", "-c", "fsync=off"]);
        for setting in settings {
            command.args(["-c", setting]);
        }
        command
            .current_dir(&data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        assert!(command.status().unwrap().success());
        self.wait_for_postgres();
    }

    /// Starts it anew with the usual ones.
    pub fn postgres_as_usual(&self) {
        let listen = format!("listen_addresses=127.0.0.1,{}", self.address);
        self.postgres_with(&[&listen, "max_connections=300"]);
    }

    fn wait_for_postgres(&self) {
        let port = self.postgres.to_string();
        until("PostgreSQL answers", LIMIT, || {
            Command::new(Path::new(&self.env["POSTGRES_BIN"]).join("pg_isready"))
                .args(["-q", "-h", "127.0.0.1", "-p", &port])
                .status()
                .unwrap()
                .success()
        });
    }

    /// Replaces pg_hba.conf; answers what it was.
    pub fn hba(&self, text: &str) -> String {
        let path = self.data().join("pg_hba.conf");
        let before = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text).unwrap();
        signal(self.postgres_pid(), "HUP");
        // The server reads it when it comes to it.
        until("the new pg_hba.conf is in force", LIMIT, || {
            let loaded = self.sql(
                "postgres",
                "SELECT count(*) FROM pg_hba_file_rules, pg_stat_get_activity(NULL) \
                 WHERE pg_conf_load_time() > (pg_stat_file('pg_hba.conf')).modification",
            );
            loaded != "0"
        });
        before
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for file in ["postgres/data/postmaster.pid", "redis/redis.pid"] {
            if let Some(pid) = first_number(&self.folder.join(file)) {
                // One that a test has stopped does not end.
                signal(pid, "CONT");
            }
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rig/data-services");
        let _ = Command::new(script).arg("down").arg(&self.folder).output();
    }
}

fn first_number(path: &Path) -> Option<u32> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().next()?.trim().parse().ok()
}

pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .stderr(Stdio::null())
        .status()
        .unwrap();
    let _ = status;
}

/// Whether anybody listens on a port.
pub fn listens(port: u16) -> bool {
    let output = Command::new("ss")
        .args(["-Hltn", &format!("sport = :{port}")])
        .output()
        .unwrap();
    !output.stdout.is_empty()
}

/// A rule of the firewall; gone with this.
pub struct Rule(&'static str, Vec<String>);

impl Rule {
    pub fn new(rule: &[&str]) -> Self {
        Self::by("iptables", rule)
    }

    pub fn v6(rule: &[&str]) -> Self {
        Self::by("ip6tables", rule)
    }

    fn by(program: &'static str, rule: &[&str]) -> Self {
        let rule: Vec<String> = rule.iter().map(|word| (*word).to_owned()).collect();
        let status = Command::new(program)
            .args(["-w", "-I", "INPUT"])
            .args(&rule)
            .status();
        assert!(status.unwrap().success());
        Self(program, rule)
    }

    /// Packets from the containers of a deployment to a port of this host.
    pub fn of_containers(home: &Home, port: u16, target: &str) -> Self {
        let network = format!("{}_default", home.project);
        let subnet = home.docker(&[
            "network",
            "inspect",
            "-f",
            "{{range .IPAM.Config}}{{.Subnet}}{{end}}",
            &network,
        ]);
        let port = port.to_string();
        Self::new(&["-s", &subnet, "-p", "tcp", "--dport", &port, "-j", target])
    }
}

impl Drop for Rule {
    fn drop(&mut self) {
        let _ = Command::new(self.0)
            .args(["-w", "-D", "INPUT"])
            .args(&self.1)
            .status();
    }
}

/// A deployment on servers of its own, of which only what needs no database runs: enough for a
/// network.
pub fn small(name: &str) -> (Home, Servers) {
    // With databases that it does not use, because that waits for its turn.
    let home = Home::with_databases(name);
    let servers = Servers::up();
    servers.serve(&home);
    home.ooy(&["start", "elasticsearch"]).expect(0);
    (home, servers)
}

/// Nothing of this subject is wrong.
#[track_caller]
pub fn all_well(home: &Home) {
    let diagnosed = home.diagnose(CHECKS);
    assert_eq!(diagnosed.json["ok"], true, "{}", diagnosed.text());
    assert_eq!(diagnosed.text(), "[]");
}

/// All that a finding says, in one text.
pub fn said(finding: &serde_json::Value) -> String {
    finding.to_string()
}

/// The value of a fact.
#[track_caller]
pub fn fact<'a>(finding: &'a serde_json::Value, what: &str) -> &'a str {
    finding["evidence"]
        .as_array()
        .unwrap()
        .iter()
        .find(|fact| {
            fact["what"]
                .as_str()
                .is_some_and(|text| text.starts_with(what))
        })
        .unwrap_or_else(|| panic!("no fact {what}: {finding:#}"))["value"]
        .as_str()
        .unwrap()
}

/// A whole deployment on servers of its own.
#[test]
fn what_comes_of_the_servers_is_explained_by_them() {
    let home = Home::with_databases("data");
    let servers = Servers::up();
    servers.serve(&home);
    home.ooy(&["start"]).expect(0);
    home.healthy_again(LIMIT);
    all_well(&home);
    postgresql_ends(&home, &servers);
    redis_ends(&home, &servers);
    the_containers_are_kept_from_postgresql(&home, &servers);
    redis_cannot_save(&home, &servers);
}

/// The fault shows at once, and for as long as it lasts, as the one root cause.
fn stays_the_one_root(home: &Home, code: &str) {
    home.diagnose_until(code, LIMIT);
    // By now the services have noticed as well.
    home.diagnose_until(code, LIMIT);
}

fn postgresql_ends(home: &Home, servers: &Servers) {
    servers.kill_postgres();
    stays_the_one_root(home, "postgres-unreachable");
    servers.start();
    home.healthy_again(LIMIT);
}

fn redis_ends(home: &Home, servers: &Servers) {
    servers.kill_redis();
    stays_the_one_root(home, "redis-unreachable");
    servers.start();
    home.healthy_again(LIMIT);
}

fn the_containers_are_kept_from_postgresql(home: &Home, servers: &Servers) {
    let rule = Rule::of_containers(home, servers.postgres, "REJECT");
    stays_the_one_root(home, "postgres-unreachable");
    drop(rule);
    home.healthy_again(LIMIT);
}

fn redis_cannot_save(home: &Home, servers: &Servers) {
    let fault = super::redis::Unsaved::make(servers);
    stays_the_one_root(home, "redis-readonly");
    drop(fault);
    home.healthy_again(LIMIT);
}
