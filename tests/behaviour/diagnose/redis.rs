//! Redis: stopped, mute, closed, full, read-only, shared, exposed.

use serde_json::Value;

use super::data::{CHECKS, LIMIT, Rule, Servers, all_well, fact, said, signal, small};
use super::postgres::tidy;
use crate::harness::{Home, until};

const UNREACHABLE: &str = "redis-unreachable";
const READONLY: &str = "redis-readonly";
const EXPOSED: &str = "redis-exposed";

#[test]
fn what_is_wrong_with_redis_is_told_apart() {
    let (home, servers) = small("redis");
    all_well(&home);
    stopped(&home, &servers);
    frozen(&home, &servers);
    on_loopback_only(&home, &servers);
    another_password(&home, &servers);
    password_not_wanted(&home, &servers);
    protected(&home, &servers);
    closed_by_a_firewall(&home, &servers);
    cannot_save(&home, &servers);
    saves_fail_and_nobody_minds(&home, &servers);
    replica(&home, &servers);
    memory(&home, &servers);
    two_applications_on_one_database(&home, &servers);
    courier_on_another_database(&home, &servers);
    exposed(&home, &servers);
    all_well(&home);
}

fn root(home: &Home, code: &str) -> Value {
    home.diagnose(CHECKS).only_root(code).clone()
}

fn summary(finding: &Value) -> &str {
    finding["summary"].as_str().unwrap()
}

fn stopped(home: &Home, servers: &Servers) {
    servers.kill_redis();
    let diagnosed = home.diagnose(CHECKS);
    let finding = diagnosed.only_root(UNREACHABLE);
    let port = servers.redis;
    assert_eq!(
        summary(finding),
        format!("Redis is not running: nothing listens on port {port}")
    );
    for what in ["from this host", "from the containers"] {
        assert!(
            fact(finding, what).contains("connection refused"),
            "{finding:#}"
        );
    }
    assert_eq!(
        fact(finding, "databases concerned"),
        "RapidPro, Casepro, ContentRepo"
    );
    assert_eq!(diagnosed.explained(), ["unknown"]);
    assert_eq!(diagnosed.result("redis-writes"), "unknown");
    assert_eq!(diagnosed.result("redis-databases"), "ok");
    servers.start();
    all_well(home);
}

fn frozen(home: &Home, servers: &Servers) {
    let pid = servers.redis_pid();
    signal(pid, "STOP");
    let finding = root(home, UNREACHABLE);
    signal(pid, "CONT");
    assert!(
        summary(&finding).ends_with("does not answer: its process is stopped"),
        "{finding:#}"
    );
    assert_eq!(
        finding["fix"]["manual"][0],
        format!("sudo kill -CONT {pid}")
    );
    all_well(home);
}

fn on_loopback_only(home: &Home, servers: &Servers) {
    servers.redis(&["CONFIG", "SET", "bind", "127.0.0.1"]);
    let finding = root(home, UNREACHABLE);
    assert_eq!(
        summary(&finding),
        format!(
            "Redis listens on 127.0.0.1 only, not on {}",
            servers.address
        )
    );
    assert!(said(&finding["fix"]).contains("fix redis-access"));
    bind_as_usual(servers);
    all_well(home);
}

fn bind_as_usual(servers: &Servers) {
    let bind = format!("{} 127.0.0.1", servers.address);
    servers.redis(&["CONFIG", "SET", "bind", &bind]);
}

fn another_password(home: &Home, servers: &Servers) {
    servers.redis(&["CONFIG", "SET", "requirepass", "pChanged"]);
    let finding = root(home, UNREACHABLE);
    assert_eq!(summary(&finding), "Redis does not accept the password");
    assert!(fact(&finding, "from the containers").contains("WRONGPASS"));
    assert!(!said(&finding).contains(servers.redis_password()));
    // Of one application only: its own finding.
    servers.redis_of_all(home, Some("pChanged"));
    servers.redis_of(home, "casepro", 1, Some("pForgotten"));
    let finding = root(home, UNREACHABLE);
    assert_eq!(
        summary(&finding),
        "Casepro: Redis does not accept the password"
    );
    assert!(
        finding["impact"]
            .as_str()
            .unwrap()
            .contains("casepro-celery"),
        "{finding:#}"
    );
    servers.redis_with(
        Some("pChanged"),
        &["CONFIG", "SET", "requirepass", servers.redis_password()],
    );
    servers.redis_of_all(home, Some(servers.redis_password()));
    all_well(home);
}

fn password_not_wanted(home: &Home, servers: &Servers) {
    servers.redis(&["CONFIG", "SET", "requirepass", ""]);
    // Without a password it answers nobody but its own host, unless told otherwise.
    servers.redis_with(None, &["CONFIG", "SET", "protected-mode", "no"]);
    let finding = root(home, UNREACHABLE);
    assert_eq!(summary(&finding), "Redis has no password");
    servers.redis_with(None, &["CONFIG", "SET", "protected-mode", "yes"]);
    set_password(servers);
    all_well(home);
}

fn set_password(servers: &Servers) {
    servers.redis_with(
        None,
        &["CONFIG", "SET", "requirepass", servers.redis_password()],
    );
}

fn protected(home: &Home, servers: &Servers) {
    servers.redis(&["CONFIG", "SET", "requirepass", ""]);
    servers.redis_of_all(home, None);
    let finding = root(home, UNREACHABLE);
    assert_eq!(summary(&finding), "Redis is in protected mode");
    assert!(fact(&finding, "from the containers").contains("DENIED"));
    assert!(said(&finding["fix"]).contains("fix redis-access"));
    set_password(servers);
    servers.redis_of_all(home, Some(servers.redis_password()));
    all_well(home);
}

fn closed_by_a_firewall(home: &Home, servers: &Servers) {
    let rule = Rule::of_containers(home, servers.redis, "REJECT");
    let finding = root(home, UNREACHABLE);
    drop(rule);
    assert!(
        summary(&finding).ends_with("is closed to the containers by a firewall"),
        "{finding:#}"
    );
    assert!(fact(&finding, "from this host").starts_with("usable"));
    all_well(home);
}

/// Saves to disk fail until this is dropped: the folder is not the server's any more.
pub struct Unsaved<'a>(&'a Servers);

impl<'a> Unsaved<'a> {
    pub fn make(servers: &'a Servers) -> Self {
        set_owner(servers, "root");
        servers.redis(&["CONFIG", "SET", "save", "3600 1"]);
        servers.redis(&["SET", "a", "1"]);
        servers.redis(&["BGSAVE"]);
        until("the save has failed", LIMIT, || {
            servers
                .redis(&["INFO", "persistence"])
                .contains("rdb_last_bgsave_status:err")
        });
        Self(servers)
    }
}

impl Drop for Unsaved<'_> {
    fn drop(&mut self) {
        let servers = self.0;
        set_owner(servers, "redis");
        servers.redis(&["BGSAVE"]);
        until("it is saved", LIMIT, || {
            let info = servers.redis(&["INFO", "persistence"]);
            info.contains("rdb_last_bgsave_status:ok") && info.contains("rdb_bgsave_in_progress:0")
        });
        servers.redis(&["CONFIG", "SET", "save", ""]);
    }
}

fn set_owner(servers: &Servers, user: &str) {
    let status = std::process::Command::new("chown")
        .arg(user)
        .arg(servers.redis_folder())
        .status();
    assert!(status.unwrap().success());
}

fn cannot_save(home: &Home, servers: &Servers) {
    let fault = Unsaved::make(servers);
    let finding = root(home, READONLY);
    let folder = servers.redis_folder().display().to_string();
    assert_eq!(
        summary(&finding),
        "Redis refuses every write: its last save to disk failed"
    );
    assert_eq!(fact(&finding, "rdb_last_bgsave_status"), "err");
    assert!(fact(&finding, "Redis says").starts_with("MISCONF"));
    assert!(fact(&finding, "its folder").starts_with("mode 700, user 0, "));
    assert!(said(&finding["fix"]["manual"]).contains(&folder));
    let shown = home.ooy(&[&["diagnose"], CHECKS].concat()).expect(1);
    let shown = tidy(home, servers, &shown.stdout).replace(&folder, "/var/lib/redis");
    drop(fault);
    insta::assert_snapshot!("redis-cannot-save", shown);
    all_well(home);
}

fn saves_fail_and_nobody_minds(home: &Home, servers: &Servers) {
    servers.redis(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]);
    let fault = Unsaved::make(servers);
    let finding = root(home, READONLY);
    drop(fault);
    assert_eq!(finding["severity"], "warning");
    assert_eq!(
        summary(&finding),
        "Redis cannot save to disk, and takes writes all the same"
    );
    servers.redis(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "yes"]);
    all_well(home);
}

fn replica(home: &Home, servers: &Servers) {
    servers.redis(&["REPLICAOF", "127.0.0.1", "1"]);
    let finding = root(home, READONLY);
    assert_eq!(
        summary(&finding),
        "Redis refuses every write: it is a replica of another one"
    );
    assert_eq!(fact(&finding, "role"), "slave, replica of 127.0.0.1:1");
    servers.redis(&["REPLICAOF", "NO", "ONE"]);
    all_well(home);
}

fn memory(home: &Home, servers: &Servers) {
    let code = "redis-memory-high";
    let info = servers.redis(&["INFO", "memory"]);
    let used: u64 = info
        .lines()
        .find_map(|line| line.trim().strip_prefix("used_memory:"))
        .unwrap()
        .parse()
        .unwrap();
    let max = (used * 100 / 88).to_string();
    servers.redis(&["CONFIG", "SET", "maxmemory", &max]);
    let finding = root(home, code);
    assert_eq!(finding["severity"], "warning");
    assert!(summary(&finding).contains("% of maxmemory"), "{finding:#}");
    assert_eq!(
        finding["evidence"][0]["threshold"],
        "80 % (REDIS_MEMORY_PERCENT)"
    );
    // Full: that writes are refused comes of it.
    servers.redis(&["CONFIG", "SET", "maxmemory", "1000"]);
    let diagnosed = home.diagnose(CHECKS);
    let finding = diagnosed.only_root(code);
    assert_eq!(finding["severity"], "error");
    assert_eq!(diagnosed.explained(), [READONLY]);
    assert_eq!(
        summary(diagnosed.finding(READONLY)),
        "Redis refuses every write: it has no memory left"
    );
    servers.redis(&["CONFIG", "SET", "maxmemory", "0"]);
    // Without a bound it is the machine's memory that counts.
    home.set("REDIS_MEMORY_PERCENT", "REDIS_MEMORY_PERCENT=1");
    all_well(home);
    home.set("REDIS_MEMORY_PERCENT", "#REDIS_MEMORY_PERCENT=80");
}

fn two_applications_on_one_database(home: &Home, servers: &Servers) {
    servers.redis_of(home, "casepro", 0, Some(servers.redis_password()));
    let finding = root(home, "redis-database-shared");
    assert_eq!(
        summary(&finding),
        "RapidPro and Casepro share Redis database 0"
    );
    for what in ["RAPIDPRO_REDIS_URL", "CASEPRO_REDIS_URL"] {
        assert!(fact(&finding, what).ends_with("/0"), "{finding:#}");
    }
    servers.redis_of(home, "casepro", 1, Some(servers.redis_password()));
    all_well(home);
}

fn courier_on_another_database(home: &Home, servers: &Servers) {
    let right = home.setting("RAPIDPRO_REDIS_URL");
    let wrong = right.replace("/0", "/7");
    assert_ne!(right, wrong);
    home.steer(&[("courier", &[("COURIER_REDIS", &wrong)])]);
    home.ooy(&["start", "courier"]).expect(0);
    let finding = root(home, "redis-database-shared");
    assert_eq!(
        summary(&finding),
        "courier uses another Redis database than RapidPro: 7 instead of 0"
    );
    assert_eq!(finding["service"], "courier");
    assert!(fact(&finding, "COURIER_REDIS of courier").ends_with("/7"));
    assert!(!said(&finding).contains(servers.redis_password()));
    home.steer(&[("courier", &[("COURIER_REDIS", &right)])]);
    home.ooy(&["start", "courier"]).expect(0);
    all_well(home);
}

fn exposed(home: &Home, servers: &Servers) {
    // On all addresses, with a password: strangers may try some.
    servers.redis(&["CONFIG", "SET", "bind", "0.0.0.0"]);
    let finding = root(home, EXPOSED);
    assert_eq!(finding["severity"], "warning");
    assert_eq!(fact(&finding, "listens on"), "0.0.0.0");
    assert_eq!(fact(&finding, "password"), "set");
    let port = servers.redis.to_string();
    let rule = Rule::new(&["-i", "eth0", "-p", "tcp", "--dport", &port, "-j", "DROP"]);
    all_well(home);
    drop(rule);
    // Without one it is theirs.
    servers.redis(&["CONFIG", "SET", "protected-mode", "no"]);
    servers.redis(&["CONFIG", "SET", "requirepass", ""]);
    servers.redis_of_all(home, None);
    let finding = root(home, EXPOSED);
    assert_eq!(finding["severity"], "error");
    assert_eq!(fact(&finding, "password"), "none");
    servers.redis_with(None, &["CONFIG", "SET", "bind", &servers.address]);
    until("it listens there again", LIMIT, || {
        let at = ["-h", &servers.address];
        servers.redis_with(None, &[&at[..], &["PING"]].concat()) == "PONG"
    });
    let finding = root(home, EXPOSED);
    assert_eq!(finding["severity"], "warning");
    assert!(
        summary(&finding).starts_with("Redis has no password and listens on more than this host"),
        "{finding:#}"
    );
    let at = ["-h", &servers.address];
    for setting in [
        &["requirepass", servers.redis_password()][..],
        &["bind", &format!("{} 127.0.0.1", servers.address)],
        &["protected-mode", "yes"],
    ] {
        let password = Some(servers.redis_password()).filter(|_| setting[0] != "requirepass");
        servers.redis_with(password, &[&at[..], &["CONFIG", "SET"], setting].concat());
    }
    servers.redis_of_all(home, Some(servers.redis_password()));
    all_well(home);
}
