//! A PBX without its Asterisk and a RapidPro with a workspace: the stand-in, Django on PostgreSQL.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::between::Between;
use crate::harness::{Home, Ran, executable, sql, until};

pub const PATIENCE: Duration = Duration::from_secs(60);

pub const TOKEN: &str = "0123456789abcdef0123456789abcdef01234567";
pub const WRONG_TOKEN: &str = "fedcba9876543210fedcba9876543210fedcba98";
pub const FLOW: &str = "ecb4b3f1-7b4d-4d8e-9d3a-5a1f3ba7c001";

/// RapidPro with a workspace, and what stands before it.
pub struct RapidPro {
    _home: Home,
    pub database: String,
    pub between: Between,
}

impl RapidPro {
    pub fn start() -> Self {
        let home = Home::with_databases("calls");
        home.ooy(&["start", "rapidpro", "mailroom"]).expect(0);
        let container = home.container("rapidpro");
        let seeded = home.docker(&[
            "exec",
            &container,
            "/venv/bin/python",
            "/rapidpro/manage.py",
            "stand_in_seed",
            "--token",
            TOKEN,
            "--flow-uuid",
            FLOW,
        ]);
        assert!(seeded.contains(FLOW), "{seeded}");
        let address = home.inspect(
            "rapidpro",
            "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
        );
        let url = home.setting("RAPIDPRO_DATABASE_URL");
        Self {
            database: url.rsplit('/').next().unwrap().to_owned(),
            between: Between::new(format!("{address}:8000")),
            _home: home,
        }
    }

    pub fn sql(&self, statement: &str) -> String {
        sql(&self.database, statement)
    }

    /// Call ids of this PBX's flow starts and how often each is there, in their order.
    pub fn arrived(&self, pbx: &Pbx) -> Vec<String> {
        let prefix = &pbx.prefix;
        self.sql(&format!(
            "SELECT extra::json->>'call_id' FROM flows_flowstart \
             WHERE extra::json->>'call_id' LIKE '{prefix}%' ORDER BY id"
        ))
        .lines()
        .map(str::to_owned)
        .collect()
    }
}

static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// A PBX: settings, a spool, and calls that end.
pub struct Pbx {
    pub folder: tempfile::TempDir,
    /// Of its calls' ids.
    pub prefix: String,
    /// Number and id of each call that was taken over, in their order.
    pub calls: Vec<(String, String)>,
}

impl Pbx {
    pub fn new(url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let pbx = Self {
            folder,
            prefix: format!("p{number}x"),
            calls: Vec::new(),
        };
        pbx.settings(&[
            ("RAPIDPRO_URL", url),
            ("RAPIDPRO_TOKEN", TOKEN),
            ("RAPIDPRO_FLOW", FLOW),
            ("CALLS_TIMEOUT", "2s"),
            ("CALLS_SETTLE", "1s"),
            ("CALLS_RETRY_MAX", "2s"),
        ]);
        pbx
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn spool(&self) -> PathBuf {
        self.folder().join("spool")
    }

    /// Sets these settings, beside those that are there.
    pub fn settings(&self, settings: &[(&str, &str)]) {
        let path = self.folder().join("ooy.env");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let mut all: BTreeMap<&str, &str> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .collect();
        all.extend(settings.iter().copied());
        let text: String = all
            .iter()
            .map(|(name, value)| format!("{name}={value}\n"))
            .collect();
        // As an editor does it: another file in its place.
        let new = self.folder().join("new.env");
        std::fs::write(&new, text).unwrap();
        std::fs::set_permissions(&new, PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::rename(&new, &path).unwrap();
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(executable());
        command
            .env_clear()
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .arg("--home")
            .arg(self.folder())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    #[track_caller]
    pub fn ooy(&self, arguments: &[&str]) -> Ran {
        let ran = Ran::of(&self.command(arguments).output().unwrap());
        for secret in [TOKEN, WRONG_TOKEN] {
            assert!(
                !ran.stdout.contains(secret) && !ran.stderr.contains(secret),
                "{ran:?}"
            );
        }
        ran
    }

    /// Whoever holds this delivers, so `ooy agi` starts nobody who would.
    pub fn hold(&self) -> File {
        std::fs::create_dir_all(self.spool()).unwrap();
        let lock = File::create(self.spool().join("deliverer.lock")).unwrap();
        lock.try_lock().unwrap();
        lock
    }

    /// The background process stays for some seconds.
    pub fn hold_when_free(&self) -> File {
        let lock = File::open(self.spool().join("deliverer.lock")).unwrap();
        until("the background process has ended", PATIENCE, || {
            lock.try_lock().is_ok()
        });
        lock
    }

    /// A call ends: Asterisk runs `ooy agi`.
    pub fn call_ends(&mut self, number: &str) {
        let unique = format!("{}{}", self.prefix, self.calls.len());
        let mut child = self
            .command(&[
                "agi",
                number,
                "2026-11-22T11:07:32",
                "2026-11-22T11:07:33",
                "inbound",
            ])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let environment = format!("agi_request: ooy\nagi_uniqueid: {unique}\n\n");
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(environment.as_bytes()).unwrap();
        drop(stdin);
        let ran = Ran::of(&child.wait_with_output().unwrap()).expect(0);
        assert!(ran.stdout.contains("OOY_STATUS"), "{ran:?}");
        self.calls.push((number.to_owned(), unique));
    }

    /// The same for several, while nobody delivers yet.
    pub fn calls_end(&mut self, numbers: &[&str]) {
        let lock = self.hold();
        for number in numbers {
            self.call_ends(number);
        }
        drop(lock);
    }

    pub fn list(&self) -> serde_json::Value {
        self.ooy(&["calls", "list", "--json"]).expect(0).json()
    }

    pub fn count(&self, folder: &str) -> usize {
        std::fs::read_dir(self.spool().join(folder)).map_or(0, Iterator::count)
    }

    pub fn nothing_waits(&self) -> bool {
        ["batch", "new", "sending"]
            .iter()
            .all(|folder| self.count(folder) == 0)
    }

    /// Every call has arrived exactly once, those of one number in their order.
    #[track_caller]
    pub fn all_arrived_once(&self, rapidpro: &RapidPro) {
        assert!(self.nothing_waits(), "{:#}", self.list());
        let mut arrived = Vec::new();
        for id in rapidpro.arrived(self) {
            // The rest of an id tells numbers and times apart.
            let unique = id.split('-').next().unwrap().to_owned();
            let call = self.calls.iter().find(|(_, call)| *call == unique);
            arrived.push(call.unwrap_or_else(|| panic!("{id}")).clone());
        }
        for (number, _) in &self.calls {
            let of = |all: &[(String, String)]| -> Vec<String> {
                all.iter()
                    .filter(|(to, _)| to == number)
                    .map(|(_, call)| call.clone())
                    .collect()
            };
            assert_eq!(of(&arrived), of(&self.calls), "{number}");
        }
        assert_eq!(arrived.len(), self.calls.len());
        let text = std::fs::read_to_string(self.spool().join("state.json")).unwrap();
        assert!(!text.contains(TOKEN), "{text}");
    }

    /// Without what differs from run to run.
    pub fn tidy(&self, text: &str) -> String {
        let mut text = text
            .replace(&self.folder().display().to_string(), "HOME")
            .replace(&self.prefix, "1795345652.");
        for (pattern, put) in [
            (r"127\.0\.0\.1:\d+", "ADDRESS"),
            (r"-[0-9a-f]{8}\b", "-HHHHHHHH"),
            (r"\b\d+(\.\d+)? (s|min|h|d)\b", "N s"),
            (r"process \d+", "process PID"),
            (r"-p \d+", "-p PID"),
            (r"  +", "  "),
        ] {
            let pattern = regex::Regex::new(pattern).unwrap();
            text = pattern.replace_all(&text, put).into_owned();
        }
        text
    }

    pub fn serve(&self, arguments: &[&str]) -> Serving {
        let mut command = self.command(&[&["calls", "serve"], arguments].concat());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let address = first
            .split("FastAGI on ")
            .nth(1)
            .map(|rest| rest.split(" · ").next().unwrap().to_owned());
        // Its pipe stays open to the end; what it says is kept.
        let log = std::thread::spawn(move || {
            let rest: Vec<String> = lines.map_while(Result::ok).collect();
            std::iter::once(first)
                .chain(rest)
                .collect::<Vec<_>>()
                .join("\n")
        });
        Serving {
            child,
            log: Some(log),
            address: address.unwrap_or_default(),
        }
    }
}

/// A running `ooy calls serve`.
pub struct Serving {
    pub child: Child,
    pub log: Option<std::thread::JoinHandle<String>>,
    pub address: String,
}

impl Serving {
    /// SIGTERM; what it had to say.
    pub fn end(mut self) -> String {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = self.child.wait().unwrap();
        let log = self.log.take().unwrap().join().unwrap();
        assert_eq!(status.code(), Some(0), "{log}");
        log
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Hands a call in as Asterisk does it over FastAGI; the value of OOY_STATUS.
pub fn fast_agi(address: &str, number: &str, unique: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let arguments = [
        number,
        "2026-11-22T11:07:32",
        "2026-11-22T11:07:33",
        "inbound",
    ];
    let mut text = format!("agi_network: yes\nagi_uniqueid: {unique}\n");
    for (index, argument) in arguments.iter().enumerate() {
        text += &format!("agi_arg_{}: {argument}\n", index + 1);
    }
    stream.write_all((text + "\n").as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(stream.try_clone().unwrap())
        .read_line(&mut line)
        .unwrap();
    let _ = stream.write_all(b"200 result=1\n");
    line.rsplit(' ')
        .next()
        .unwrap()
        .trim()
        .trim_matches('"')
        .to_owned()
}
