//! No command tells a secret: to nobody's screen, to no file that others read, to no list of
//! processes.
//!
//! Every setting that is secret holds a value that occurs nowhere else; those that come later are
//! planted too (their names are read from src/deployment/keys.rs). A command that comes later is
//! one more line of COMMANDS.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::harness::{Home, sql, surroundings};

/// Each is run as it stands and with --json. What it says and how it ends is not of interest here.
const COMMANDS: &[&[&str]] = &[
    &["start"],
    &["start", "--dry-run"],
    &["start", "nginxx"],
    &["status"],
    &["status", "-v"],
    &["config"],
    &["config", "-v"],
    &["config", "compose"],
    &["config", "env"],
    &["config", "nginx"],
    &["config", "dialplan"],
    &["config", "--check"],
    &["config", "--check", "-v"],
    &["logs", "-n", "2000"],
    &["logs", "-v", "--grep", "[a-z]", "-n", "200"],
    &["logs", "casepro-celery", "--stderr"],
    &["logs", "--grep", "("],
    &["diagnose"],
    &["diagnose", "-v"],
    &["diagnose", "--list"],
    &["diagnose", "max-map-count"],
    &["diagnose", "no-such-check"],
    &[
        "agi",
        "0712345678",
        "2026-11-25 10:00:00",
        "2026-11-25 10:05:00",
    ],
    &["calls", "list"],
    &["calls", "deliver"],
    &["calls", "list", "-v"],
    &["calls", "retry", "--dead"],
    &["calls", "dialplan"],
    &["boot", "enable", "--root", "/nowhere/ooy", "--dry-run"],
    &["boot", "status", "--root", "/nowhere/ooy"],
    &["start", "--at-boot", "--patience", "1"],
    &["restart", "contentrepo", "--yes"],
    &["stop", "bigquery-sync", "--yes"],
    &["watch", "--once", "--interval", "5s"],
    &["fix", "--all", "--yes"],
    &["fix", "not-running", "--yes"],
    &["fix", "service", "--yes"],
    &["fix", "nginx-upstreams", "--yes"],
    &["history"],
    &["history", "-v"],
    &["init"],
    &["init", "--pbx"],
    &["no-such-command"],
    &["--version"],
];

/// What is run while the settings are wrong or what they name is not there.
const WHILE_WRONG: &[&[&str]] = &[
    &["config"],
    &["config", "--check"],
    &["start"],
    &["status"],
    &["diagnose", "-v"],
];

#[test]
fn no_command_tells_a_secret() {
    let role = Role::new();
    let home = Home::with_databases("secrets");
    let mut secrets = Secrets::plant(&home, &role);
    let watched = Watched::default();
    std::thread::scope(|scope| {
        let _ends = watched.look_on(scope, &secrets);
        for command in COMMANDS {
            secrets.are_not_told(&home, command);
        }
        secrets.are_in_no_bundle(&home);
    });
    watched.told_nothing();
    secrets.are_in_no_file(&home.folder);

    for (name, line) in secrets.wrong_lines(&home) {
        let before = std::fs::read(home.folder.join("ooy.env")).unwrap();
        home.set(&name, &line);
        for command in WHILE_WRONG {
            secrets.are_not_told(&home, command);
        }
        // Those that cannot be read at all: the others differ for the databases only.
        if !line.contains("://") {
            secrets.are_in_no_bundle(&home);
        }
        std::fs::write(home.folder.join("ooy.env"), before).unwrap();
    }
    secrets.are_in_no_file(&home.folder);
}

/// What must not be seen, by where it stands.
struct Secrets {
    markers: BTreeMap<String, String>,
}

impl Secrets {
    fn plant(home: &Home, role: &Role) -> Self {
        let mut markers = BTreeMap::new();
        let unique = format!("{:x}", std::process::id());
        let keys = include_str!("../../src/deployment/keys.rs");
        let names =
            regex::Regex::new(r#"(?:secret|token|secret_address)\("([A-Z0-9_]+)"\)"#).unwrap();
        for found in names.captures_iter(keys) {
            let name = &found[1];
            let marker = format!("planted{}{unique}", name.replace('_', "").to_lowercase());
            let value = match name.rsplit('_').next() {
                Some("DSN") => format!("http://{marker}@127.0.0.1:9/1"),
                Some("WEBHOOK") => format!("http://127.0.0.1:9/{marker}"),
                _ => marker.clone(),
            };
            home.set(name, &format!("{name}={value}"));
            markers.insert(name.to_owned(), marker);
        }
        assert!(markers.len() > 12, "{markers:?}");
        let database = home.setting("RAPIDPRO_DATABASE_URL");
        let database = database.rsplit('/').next().unwrap();
        let Role { name, password } = role;
        sql(
            "postgres",
            &format!("ALTER DATABASE {database} OWNER TO {name}"),
        );
        let written = password.replace('+', "%2B");
        let place = format!(
            "{}:{}",
            surroundings("OOY_TEST_POSTGRES_HOST"),
            surroundings("OOY_TEST_POSTGRES_PORT")
        );
        home.set(
            "RAPIDPRO_DATABASE_URL",
            &format!("RAPIDPRO_DATABASE_URL=postgres://{name}:{written}@{place}/{database}"),
        );
        markers.insert("RAPIDPRO_DATABASE_URL".to_owned(), password.clone());
        markers.insert("RAPIDPRO_DATABASE_URL, written".to_owned(), written);
        for name in [
            "CASEPRO_DATABASE_URL",
            "CONTENTREPO_DATABASE_URL",
            "RAPIDPRO_REDIS_URL",
        ] {
            let url = home.setting(name);
            let (credentials, _) = url.rsplit_once('@').unwrap();
            let password = credentials.rsplit_once(':').unwrap().1;
            markers.insert(name.to_owned(), password.to_owned());
        }
        Self { markers }
    }

    fn told_in(&self, text: &[u8]) -> Option<&str> {
        self.markers
            .iter()
            .find(|(_, marker)| contains(text, marker.as_bytes()))
            .map(|(name, _)| name.as_str())
    }

    #[track_caller]
    fn are_not_told(&self, home: &Home, command: &[&str]) {
        for form in [&[][..], &["--json"]] {
            let line = [form, command].concat();
            let mut ran = home.command(&line);
            // A path in which a crash would be told in full.
            let output = ran.env("RUST_BACKTRACE", "1").output().unwrap();
            for text in [&output.stdout, &output.stderr] {
                if let Some(name) = self.told_in(text) {
                    panic!("{line:?} tells {name}:\n{}", String::from_utf8_lossy(text));
                }
            }
        }
    }

    /// The archive is unpacked, and all that is in it searched.
    #[track_caller]
    fn are_in_no_bundle(&self, home: &Home) {
        let out = tempfile::tempdir().unwrap();
        let path = out.path().join("a.tar.gz");
        let shown = path.display().to_string();
        let output = home
            .command(&["bundle", "-n", "5000", "-o", &shown])
            .output()
            .unwrap();
        for text in [&output.stdout, &output.stderr] {
            assert_eq!(
                self.told_in(text),
                None,
                "{}",
                String::from_utf8_lossy(text)
            );
        }
        for (name, text) in crate::bundle::unpack(&path) {
            if let Some(secret) = self.told_in(&text) {
                panic!("{name} in the bundle tells {secret}");
            }
        }
    }

    #[track_caller]
    fn are_in_no_file(&self, folder: &Path) {
        let ours = ["state", "rendered", "spool"].map(|name| folder.join(name));
        for path in files(folder) {
            let Ok(metadata) = path.symlink_metadata() else {
                continue;
            };
            let for_others = metadata.permissions().mode() & 0o044 != 0;
            if !for_others && !ours.iter().any(|folder| path.starts_with(folder)) {
                continue;
            }
            let text = std::fs::read(&path).unwrap_or_default();
            if let Some(name) = self.told_in(&text) {
                panic!("{} holds {name}", path.display());
            }
        }
    }

    /// Settings that are wrong, each with a secret of its own in it.
    fn wrong_lines(&mut self, home: &Home) -> Vec<(String, String)> {
        let port = surroundings("OOY_TEST_POSTGRES_PORT");
        let host = surroundings("OOY_TEST_POSTGRES_HOST");
        let redis = home.setting("CASEPRO_REDIS_URL");
        let redis = redis.rsplit_once('@').unwrap().1.to_owned();
        [
            (
                "CASEPRO_DATABASE_URL",
                format!("postgres://casepro:MARK@{host}:{port}/casepro"),
            ),
            (
                "CASEPRO_DATABASE_URL",
                "postgres//casepro:MARK@nowhere/casepro".to_owned(),
            ),
            (
                "CASEPRO_DATABASE_URL",
                "postgres://casepro:MARK@127.0.0.1:9/casepro".to_owned(),
            ),
            (
                "CASEPRO_DATABASE_URL",
                format!("postgres://casepro:MARK@{host}:port/casepro"),
            ),
            ("CASEPRO_REDIS_URL", format!("redis://:MARK@{redis}")),
            (
                "CASEPRO_REDIS_URL",
                "redis://:MARK@127.0.0.1:9/0".to_owned(),
            ),
            ("CASEPRO_REDIS_URL", "rediss://:MARK@nowhere".to_owned()),
            ("CASEPRO_SECRET_KEY", "'MARK[]'".to_owned()),
            ("RAPIDPRO_SECRET_KEY", "MARK CHANGE_ME".to_owned()),
            ("RAPIDPRO_SECRET_KY", "MARK".to_owned()),
            ("RAPIDPRO_TOKEN", "\"MARK".to_owned()),
            ("OOY_SENTRY_DSN", "MARK".to_owned()),
        ]
        .into_iter()
        .enumerate()
        .map(|(number, (name, value))| {
            let marker = format!("mistaken{number}x{:x}", std::process::id());
            let line = format!("{name}={}", value.replace("MARK", &marker));
            self.markers
                .insert(format!("wrong line {number} ({name})"), marker);
            (name.to_owned(), line)
        })
        .collect()
    }
}

/// A user of PostgreSQL for this test alone: nobody else's processes name its password. To be
/// dropped after the databases that it owns.
struct Role {
    name: String,
    password: String,
}

impl Role {
    fn new() -> Self {
        let unique = format!("{:x}", std::process::id());
        let role = Self {
            name: format!("planted_{unique}"),
            // With a sign that an address has to encode: neither form may be seen.
            password: format!("plantedpostgres+{unique}"),
        };
        sql(
            "postgres",
            &format!(
                "CREATE ROLE {} LOGIN PASSWORD '{}'",
                role.name, role.password
            ),
        );
        role
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let drop = || sql("postgres", &format!("DROP ROLE {}", self.name));
        // One that stays in the tests' own server harms nobody.
        let _ = std::panic::catch_unwind(drop);
    }
}

/// What the list of processes has shown meanwhile.
#[derive(Default)]
struct Watched {
    seen: Mutex<BTreeSet<String>>,
    done: AtomicBool,
}

impl Watched {
    /// Until what it answers is dropped.
    fn look_on<'scope>(
        &'scope self,
        scope: &'scope std::thread::Scope<'scope, '_>,
        secrets: &Secrets,
    ) -> impl Drop + use<'scope> {
        let markers = secrets.markers.clone();
        scope.spawn(move || {
            while !self.done.load(Ordering::SeqCst) {
                for (pid, line) in command_lines() {
                    let told = markers.iter().find(|(name, marker)| {
                        contains(&line, marker.as_bytes())
                            // Others' processes use the same users of PostgreSQL and Redis.
                            && (marker.starts_with("planted") || is_ours(pid)) && !name.is_empty()
                    });
                    if let Some((name, _)) = told {
                        let line = String::from_utf8_lossy(&line).replace('\0', " ");
                        self.seen.lock().unwrap().insert(format!("{name}: {line}"));
                    }
                }
                std::thread::sleep(Duration::from_millis(25));
            }
        });
        End(&self.done)
    }

    #[track_caller]
    fn told_nothing(&self) {
        let seen = self.seen.lock().unwrap();
        assert!(seen.is_empty(), "{seen:#?}");
    }
}

/// Ends the looking on, also when the test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn command_lines() -> impl Iterator<Item = (u32, Vec<u8>)> {
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, std::fs::read(entry.path().join("cmdline")).ok()?))
        })
}

/// Whether it descends from this very process.
fn is_ours(mut pid: u32) -> bool {
    while pid > 1 {
        if pid == std::process::id() {
            return true;
        }
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.split(' ').nth(1));
        pid = parent.and_then(|parent| parent.parse().ok()).unwrap_or(0);
    }
    false
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => all.extend(files(&path)),
            Ok(kind) if kind.is_file() => all.push(path),
            _ => {}
        }
    }
    all
}
