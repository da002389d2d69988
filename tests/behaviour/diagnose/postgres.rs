//! PostgreSQL: stopped, mute, closed, full, exposed.

use serde_json::Value;

use super::common::Diagnosed;
use super::data::{CHECKS, LIMIT, Rule, Servers, all_well, fact, said, signal, small};
use super::older;
use crate::harness::{Home, Ran, until};

const UNREACHABLE: &str = "postgres-unreachable";

#[test]
fn what_is_wrong_with_postgresql_is_told_apart() {
    let (home, servers) = small("pg");
    all_well(&home);
    stopped(&home, &servers);
    ended_by_a_full_disk(&home, &servers);
    frozen(&home, &servers);
    on_loopback_only(&home, &servers);
    closed_by_pg_hba(&home, &servers);
    wrong_password(&home);
    no_such_database(&home, &servers);
    no_connection_left(&home, &servers);
    closed_by_a_firewall(&home, &servers);
    loopback_in_the_settings(&home, &servers);
    extensions_missing(&home, &servers);
    version_too_old(&home, &servers);
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
    servers.kill_postgres();
    let diagnosed = home.diagnose(CHECKS);
    let finding = diagnosed.only_root(UNREACHABLE);
    let port = servers.postgres;
    assert_eq!(
        summary(finding),
        format!("PostgreSQL is not running: nothing listens on port {port}")
    );
    assert_eq!(finding["service"], Value::Null);
    assert_eq!(finding["severity"], "error");
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
    assert_eq!(
        fact(finding, &format!("who listens on port {port}")),
        "nobody"
    );
    // What cannot be looked at without it is its consequence.
    assert_eq!(diagnosed.result("postgres-extensions"), "unknown");
    assert_eq!(diagnosed.explained(), ["unknown"]);
    // Another way to see it, by its own command.
    let command = finding["evidence"][1]["command"].as_str().unwrap();
    assert!(command.starts_with("sudo nsenter -n -t "), "{command}");
    let output = std::process::Command::new("sh")
        .args(["-c", command.trim_start_matches("sudo ")])
        .output()
        .unwrap();
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("no response"),
        "{output:?}"
    );
    let shown = home.ooy(&[&["diagnose"], CHECKS].concat()).expect(1);
    insta::assert_snapshot!("postgres-stopped", tidy(home, servers, &shown.stdout));
    servers.start();
    all_well(home);
}

/// The disk that PostgreSQL has its data on where nothing else is known is full, for this one look.
fn ended_by_a_full_disk(home: &Home, servers: &Servers) {
    servers.kill_postgres();
    let look = home.command(&["diagnose", "--json", "postgres-access", "disk-full"]);
    let fill = "mkdir -p /var/lib/postgresql && mount -t tmpfs -o size=4m none /var/lib/postgresql \
                && { cat /dev/zero >/var/lib/postgresql/fill 2>/dev/null; exec \"$@\"; }";
    let mut command = std::process::Command::new("unshare");
    command
        .args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            fill,
            "sh",
        ])
        .arg(look.get_program())
        .args(look.get_args())
        .env_clear()
        .envs(
            look.get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
    let ran = Ran::of(&command.output().unwrap());
    let json = ran.json();
    let diagnosed = Diagnosed { ran, json };
    diagnosed.only_root("disk-full");
    assert_eq!(diagnosed.explained(), [UNREACHABLE]);
    servers.start();
    all_well(home);
}

fn frozen(home: &Home, servers: &Servers) {
    let pid = servers.postgres_pid();
    signal(pid, "STOP");
    let finding = root(home, UNREACHABLE);
    signal(pid, "CONT");
    assert!(
        summary(&finding).ends_with("does not answer: its process is stopped"),
        "{finding:#}"
    );
    assert_eq!(
        fact(&finding, &format!("process {pid}")),
        "stopped (state T)"
    );
    assert_eq!(
        finding["fix"]["manual"][0],
        format!("sudo kill -CONT {pid}")
    );
    all_well(home);
}

fn on_loopback_only(home: &Home, servers: &Servers) {
    servers.postgres_with(&["listen_addresses=127.0.0.1"]);
    let finding = root(home, UNREACHABLE);
    assert_eq!(
        summary(&finding),
        format!(
            "PostgreSQL listens on 127.0.0.1 only, not on {}",
            servers.address
        )
    );
    assert!(said(&finding["fix"]).contains("fix postgres-access"));
    assert!(said(&finding["fix"]).contains("listen_addresses"));
    servers.postgres_as_usual();
    all_well(home);
}

fn closed_by_pg_hba(home: &Home, servers: &Servers) {
    let before = servers
        .hba("host all all 127.0.0.1/32 scram-sha-256\nhost all all samehost scram-sha-256\n");
    let finding = root(home, UNREACHABLE);
    assert_eq!(
        summary(&finding),
        "PostgreSQL does not let the containers in: pg_hba.conf has no line for them",
        "{finding:#}"
    );
    // The difference is the evidence.
    assert!(fact(&finding, "from this host").starts_with("usable, in "));
    assert!(fact(&finding, "from the containers").contains("no pg_hba.conf entry"));
    assert!(said(&finding["fix"]).contains("fix postgres-access"));
    assert!(said(&finding["fix"]["manual"]).contains("sudo tee -a"));
    let shown = home.ooy(&[&["diagnose"], CHECKS].concat()).expect(1);
    insta::assert_snapshot!("postgres-hba", tidy(home, servers, &shown.stdout));
    servers.hba(&before);
    all_well(home);
}

fn wrong_password(home: &Home) {
    let name = "CASEPRO_DATABASE_URL";
    let before = home.setting(name);
    let (_, after) = before.split_once('@').unwrap();
    home.set(
        name,
        &format!("{name}=postgres://casepro:pForgotten@{after}"),
    );
    let diagnosed = home.diagnose(CHECKS);
    let finding = diagnosed.only_root(UNREACHABLE);
    assert_eq!(
        summary(finding),
        "Casepro: PostgreSQL does not accept the password of casepro"
    );
    assert!(fact(finding, "from the containers").contains("SQLSTATE 28P01"));
    assert!(
        finding["impact"]
            .as_str()
            .unwrap()
            .contains("casepro-celery")
    );
    assert!(!said(finding).contains("pForgotten"));
    home.set(name, &format!("{name}={before}"));
    all_well(home);
}

fn no_such_database(home: &Home, servers: &Servers) {
    servers.sql("postgres", "ALTER DATABASE contentrepo RENAME TO moved");
    let finding = root(home, UNREACHABLE);
    assert_eq!(
        summary(&finding),
        "ContentRepo: database contentrepo does not exist"
    );
    assert!(said(&finding["fix"]["manual"]).contains("createdb"));
    servers.sql("postgres", "ALTER DATABASE moved RENAME TO contentrepo");
    all_well(home);
}

/// Holds connections until it is dropped.
struct Greedy {
    release: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Greedy {
    fn take(servers: &Servers, most: usize) -> Self {
        let (release, released) = tokio::sync::oneshot::channel();
        let (ready, taken) = std::sync::mpsc::channel();
        let address = servers.rapidpro();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let mut held = Vec::new();
                while held.len() < most {
                    let opened = tokio_postgres::connect(&address, tokio_postgres::NoTls).await;
                    let Ok((client, connection)) = opened else {
                        break;
                    };
                    tokio::spawn(connection);
                    held.push(client);
                }
                ready.send(()).unwrap();
                let _ = released.await;
            });
        });
        taken.recv().unwrap();
        Self {
            release: Some(release),
            thread: Some(thread),
        }
    }
}

impl Drop for Greedy {
    fn drop(&mut self) {
        drop(self.release.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn no_connection_left(home: &Home, servers: &Servers) {
    let listen = format!("listen_addresses=127.0.0.1,{}", servers.address);
    servers.postgres_with(&[&listen, "max_connections=60"]);
    let greedy = Greedy::take(servers, 57);
    let finding = root(home, UNREACHABLE);
    assert_eq!(summary(&finding), "PostgreSQL has no connection left");
    assert!(fact(&finding, "from this host").contains("SQLSTATE 53300"));
    drop(greedy);
    let free = || {
        servers.sql(
            "postgres",
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'greedy'",
        )
    };
    until("the connections are gone", LIMIT, || free() == "0");
    let greedy = Greedy::take(servers, 46);
    let finding = root(home, "postgres-connections-high");
    assert!(summary(&finding).ends_with("of 57"), "{finding:#}");
    let used = &finding["evidence"][0];
    assert_eq!(used["threshold"], "80 % (POSTGRES_CONNECTIONS_PERCENT)");
    assert!(
        fact(&finding, "held by").starts_with("46 rapidpro (greedy, idle)"),
        "{finding:#}"
    );
    drop(greedy);
    until("the connections are gone", LIMIT, || free() == "0");
    servers.postgres_as_usual();
    all_well(home);
}

fn closed_by_a_firewall(home: &Home, servers: &Servers) {
    for target in ["REJECT", "DROP"] {
        let rule = Rule::of_containers(home, servers.postgres, target);
        let finding = root(home, UNREACHABLE);
        drop(rule);
        assert!(
            summary(&finding).ends_with("is closed to the containers by a firewall"),
            "{finding:#}"
        );
        assert!(fact(&finding, "from this host").starts_with("usable"));
        assert!(said(&finding["fix"]["manual"]).contains("iptables -I INPUT -s 1"));
    }
    all_well(home);
}

fn loopback_in_the_settings(home: &Home, servers: &Servers) {
    let name = "CONTENTREPO_DATABASE_URL";
    let before = home.setting(name);
    home.set(
        name,
        &format!("{name}={}", before.replace(&servers.address, "127.0.0.1")),
    );
    let finding = root(home, UNREACHABLE);
    assert!(
        summary(&finding)
            .starts_with("ContentRepo: the containers cannot reach PostgreSQL at 127.0.0.1"),
        "{finding:#}"
    );
    home.set(name, &format!("{name}={before}"));
    all_well(home);
}

fn extensions_missing(home: &Home, servers: &Servers) {
    servers.sql("rapidpro", "DROP EXTENSION postgis");
    let finding = root(home, "postgres-extension-missing");
    assert_eq!(
        summary(&finding),
        "RapidPro: database rapidpro lacks postgis"
    );
    assert!(fact(&finding, "extensions of rapidpro").contains("hstore"));
    assert!(said(&finding["fix"]).contains("fix postgres-extensions"));
    assert!(said(&finding["fix"]["manual"]).contains("CREATE EXTENSION IF NOT EXISTS postgis"));
    servers.sql("rapidpro", "CREATE EXTENSION postgis");
    // Casepro's role may create hstore itself, which its first migrations do: not those that follow.
    servers.sql("casepro", "DROP EXTENSION hstore");
    all_well(home);
    servers.sql(
        "casepro",
        "CREATE TABLE django_migrations (app text, name text); \
         ALTER TABLE django_migrations OWNER TO casepro",
    );
    let finding = root(home, "postgres-extension-missing");
    assert_eq!(summary(&finding), "Casepro: database casepro lacks hstore");
    servers.sql(
        "casepro",
        "DROP TABLE django_migrations; CREATE EXTENSION hstore",
    );
    all_well(home);
}

fn version_too_old(home: &Home, servers: &Servers) {
    let name = "RAPIDPRO_DATABASE_URL";
    let before = home.setting(name);
    let image = home.setting("RAPIDPRO_IMAGE");
    let port = older::server(servers);
    let old = before.replace(&format!(":{}/", servers.postgres), &format!(":{port}/"));
    home.set(name, &format!("{name}={old}"));
    // The deployment as it is: PostgreSQL 10 is enough for 6.4.8.
    all_well(home);
    home.set(
        "RAPIDPRO_IMAGE",
        "RAPIDPRO_IMAGE=praekeltfoundation/rapidpro:v8.0.1",
    );
    let diagnosed = home.diagnose(CHECKS);
    assert_eq!(diagnosed.json["ok"], true, "{}", diagnosed.text());
    let finding = diagnosed.finding("postgres-version-unsupported");
    assert_eq!(finding["severity"], "info");
    assert!(
        summary(finding).ends_with("is too old for RapidPro 8.2.0, the next release: it needs 12"),
        "{finding:#}"
    );
    home.set(
        "RAPIDPRO_IMAGE",
        "RAPIDPRO_IMAGE=praekeltfoundation/rapidpro:v8.2.0",
    );
    let finding = root(home, "postgres-version-unsupported");
    assert!(
        summary(&finding).starts_with("PostgreSQL 10."),
        "{finding:#}"
    );
    assert!(summary(&finding).ends_with("is too old for RapidPro 8.2.0: it needs 12"));
    assert_eq!(finding["evidence"][0]["threshold"], "12 at least");
    home.set("RAPIDPRO_IMAGE", &format!("RAPIDPRO_IMAGE={image}"));
    home.set(name, &format!("{name}={before}"));
    all_well(home);
}

fn exposed(home: &Home, servers: &Servers) {
    servers.postgres_with(&["listen_addresses=*"]);
    // It listens everywhere, and lets in only those whom the wiki names.
    all_well(home);
    let near = "host all all samenet scram-sha-256\nhost all all samehost scram-sha-256\nhost all all 172.16.0.0/12 scram-sha-256\nhost all all 192.168.0.0/16 scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n";
    let before = servers.hba(&format!("{near}host all all 0.0.0.0/0 md5\n"));
    let finding = root(home, "postgres-exposed");
    assert_eq!(finding["severity"], "warning");
    assert!(fact(&finding, "listens on").contains("0.0.0.0"));
    assert!(fact(&finding, "firewall").starts_with("does not close the port"));
    assert_eq!(
        fact(&finding, "pg_hba.conf, line 6"),
        "host all all 0.0.0.0/0 md5"
    );
    let rule = Rule::new(&[
        "-i",
        "eth0",
        "-p",
        "tcp",
        "--dport",
        &servers.postgres.to_string(),
        "-j",
        "DROP",
    ]);
    let rule_v6 = Rule::v6(&[
        "-i",
        "eth0",
        "-p",
        "tcp",
        "--dport",
        &servers.postgres.to_string(),
        "-j",
        "DROP",
    ]);
    all_well(home);
    drop((rule, rule_v6));
    servers.hba(&format!("{near}host all all all trust\n"));
    let finding = root(home, "postgres-exposed");
    assert_eq!(finding["severity"], "error");
    assert!(summary(&finding).ends_with("without a password"));
    servers.hba(&before);
    servers.postgres_as_usual();
    all_well(home);
}

pub fn tidy(home: &Home, servers: &Servers, text: &str) -> String {
    let mut text = home
        .tidy(text)
        .replace(&servers.postgres.to_string(), "5432")
        .replace(&servers.redis.to_string(), "6379")
        .replace(&servers.address, "172.17.0.1");
    for (pattern, put) in [
        (r"\d+ ms", "N ms"),
        // As long as the figures are.
        (
            r"(?s)Everything else is fine:.*",
            "Everything else is fine: FIGURES",
        ),
        (r"(\d+|N) (s|min) ago", "N s ago"),
        (r"in \d+\.\d+ s", "in N s"),
        // Docker gives what is free, and later networks are smaller.
        (
            r"(172\.(1[89]|2\d|3[01])(\.\d+){2}|192\.168(\.\d+){2})/\d+",
            "SUBNET",
        ),
        (
            r"172\.(1[89]|2\d|3[01])(\.\d+){2}|192\.168(\.\d+){2}",
            "172.18.0.2",
        ),
    ] {
        text = regex::Regex::new(pattern)
            .unwrap()
            .replace_all(&text, put)
            .into_owned();
    }
    text
}
