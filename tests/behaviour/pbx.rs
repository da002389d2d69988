//! A real Asterisk in a container (tests/rig/asterisk), with `ooy` mounted into it as it would
//! be installed on the PBX: /usr/local/bin/ooy, nothing else. It runs as the user asterisk.
//! Calls are Local channels, which have two ends and need no telephone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Ran, executable, surroundings, until};

/// User and group of asterisk in the images.
const ASTERISK: (u32, u32) = (106, 108);
/// The PBX's own clock; its dialplan's times are in this zone.
pub const ZONE: &str = "Africa/Nairobi";
const OFFSET: &str = "+03:00";

static NUMBER: AtomicUsize = AtomicUsize::new(0);

pub struct Pbx {
    container: String,
    folder: PathBuf,
    _folder: tempfile::TempDir,
}

impl Pbx {
    /// Boots it with this dialplan. `docker` are further arguments for `docker run`.
    pub fn new(version: &str, dialplan: &str, docker: &[&str]) -> Self {
        let place =
            std::env::var_os("OOY_TEST_WORK").map_or_else(std::env::temp_dir, PathBuf::from);
        std::fs::create_dir_all(&place).unwrap();
        let temporary = tempfile::Builder::new()
            .prefix("pbx-")
            .tempdir_in(place)
            .unwrap();
        let folder = temporary.path().to_owned();
        std::fs::write(folder.join("extensions.conf"), dialplan).unwrap();
        // Asterisk reads the file as the user asterisk, in a folder that is root's alone.
        for name in ["settings", "spool", "old", "log"] {
            std::fs::create_dir(folder.join(name)).unwrap();
            own(&folder.join(name));
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let container = format!("ooy-t-pbx{version}-{}-{number}", std::process::id());
        let mount = |from: &Path, to: &str| format!("{}:{to}", from.display());
        let mut command = Command::new("docker");
        command
            .args(["run", "-d", "--name", &container])
            // By this label scripts/test removes what a killed test left behind.
            .args([
                "--label",
                &format!("com.docker.compose.project={container}"),
            ])
            .args(["-e", &format!("PBX_ZONE={ZONE}")])
            .arg("-v")
            .arg(mount(&executable(), "/usr/local/bin/ooy:ro"))
            .arg("-v")
            .arg(mount(
                &folder.join("extensions.conf"),
                "/etc/asterisk/extensions.conf:ro",
            ))
            .arg("-v")
            .arg(mount(&folder.join("settings"), "/etc/ooy"))
            .arg("-v")
            .arg(mount(&folder.join("spool"), "/var/spool/ooy"))
            .arg("-v")
            .arg(mount(&folder.join("old"), "/opt/rapidpro_connection"))
            .arg("-v")
            .arg(mount(&folder.join("log"), "/var/log/asterisk"))
            .args(docker)
            .arg(format!("ooy-rig/asterisk:{version}"));
        Ran::of(&command.output().unwrap()).expect(0);
        let pbx = Self {
            container,
            folder,
            _folder: temporary,
        };
        until("Asterisk has booted", Duration::from_secs(60), || {
            pbx.cli("core waitfullybooted").contains("fully booted")
        });
        pbx
    }

    /// Takes another dialplan in.
    pub fn load(&self, dialplan: &str) {
        // Into the same file: that is what is mounted.
        std::fs::write(self.folder.join("extensions.conf"), dialplan).unwrap();
        self.cli("dialplan reload");
        until("the dialplan is loaded", Duration::from_secs(10), || {
            self.cli("dialplan show report").contains("REPORT")
        });
    }

    /// The address of this machine, as its containers see it.
    pub fn host() -> std::net::IpAddr {
        surroundings("OOY_TEST_POSTGRES_HOST").parse().unwrap()
    }

    /// Writes /etc/ooy/ooy.env.
    pub fn settings(&self, lines: &[(&str, &str)]) {
        self.file("settings/ooy.env", lines);
    }

    /// What stands where the Python script stood: its settings, and `ooy` under its name.
    pub fn old_installation(&self, lines: &[(&str, &str)]) {
        self.file("old/environment.env", lines);
        std::os::unix::fs::symlink(
            "/usr/local/bin/ooy",
            self.folder.join("old/update_user_rapidpro.py"),
        )
        .unwrap();
    }

    fn file(&self, name: &str, lines: &[(&str, &str)]) {
        let text: String = lines
            .iter()
            .map(|(name, value)| format!("{name}={value}\n"))
            .collect();
        let path = self.folder.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .unwrap();
        own(&path);
    }

    /// A file or folder of this PBX, on the machine of the tests.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A command of Asterisk's command line; what it answers.
    pub fn cli(&self, command: &str) -> String {
        self.docker(&["exec", &self.container, "asterisk", "-rx", command])
            .stdout
    }

    /// A command in the container, as the user asterisk.
    pub fn exec(&self, arguments: &[&str]) -> Ran {
        self.docker(&[&["exec", "-u", "asterisk", &self.container], arguments].concat())
    }

    /// The same in the background, until it is dropped.
    pub fn background(&self, arguments: &[&str]) -> Background {
        let process = Command::new("docker")
            .args(["exec", "-u", "asterisk", &self.container])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Background { process }
    }

    pub fn docker(&self, arguments: &[&str]) -> Ran {
        Ran::of(
            &Command::new("docker")
                .args(arguments)
                .stdin(Stdio::null())
                .output()
                .unwrap(),
        )
    }

    /// A call to EXTENSION@CONTEXT, whose other end hangs up after so many seconds.
    pub fn call(&self, extension: &str, seconds: &str) {
        self.cli(&format!(
            "channel originate Local/{extension} application Wait {seconds}"
        ));
    }

    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.folder.join("log/full")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until the hangup handlers of so many calls are done; their logs in the order in
    /// which the calls began.
    #[track_caller]
    pub fn finished_calls(&self, count: usize) -> Vec<CallLog> {
        let mut calls = Vec::new();
        until(
            &format!("{count} calls have ended"),
            Duration::from_secs(40),
            || {
                calls = CallLog::all(&self.log());
                calls.iter().filter(|call| call.has_ended()).count() >= count
            },
        );
        calls
    }

    /// No channel is left.
    pub fn is_quiet(&self) -> bool {
        self.cli("core show channels count")
            .contains("0 active channels")
    }

    /// Names of the records in a folder of the spool.
    pub fn spool(&self, folder: &str) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.folder.join("spool").join(folder)) else {
            return Vec::new();
        };
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    }

    /// The records in a folder of the spool, by what was given as the caller's number.
    pub fn records(&self, folder: &str) -> BTreeMap<String, Value> {
        self.spool(folder)
            .iter()
            .map(|path| {
                let text = std::fs::read_to_string(path).unwrap();
                let record: Value = serde_json::from_str(&text).unwrap();
                (record["msisdn"].as_str().unwrap().to_owned(), record)
            })
            .collect()
    }
}

impl Drop for Pbx {
    fn drop(&mut self) {
        if std::env::var_os("OOY_TEST_KEEP").is_some() {
            return;
        }
        if std::thread::panicking() {
            #[expect(clippy::print_stderr)]
            {
                let log = self.log();
                if log.is_empty() {
                    let said = self.docker(&["logs", "--tail", "20", &self.container]);
                    eprintln!("Asterisk did not boot:\n{}{}", said.stdout, said.stderr);
                }
                eprintln!("Asterisk's log:\n{log}");
            }
        }
        self.docker(&["rm", "-f", "-v", &self.container]);
    }
}

pub struct Background {
    process: Child,
}

impl Background {
    /// Waits for its end; its exit code.
    #[track_caller]
    pub fn ended(&mut self, limit: Duration) -> i32 {
        let mut status = None;
        until("the program ends", limit, || {
            status = self.process.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn own(path: &Path) {
    std::os::unix::fs::chown(path, Some(ASTERISK.0), Some(ASTERISK.1)).unwrap();
}

/// What Asterisk has logged about one call.
#[derive(Debug, Clone)]
pub struct CallLog(Vec<String>);

impl CallLog {
    /// Lines carry the call's number: `[time] VERBOSE[91][C-00000002] pbx.c: text`.
    fn all(log: &str) -> Vec<Self> {
        let mut calls: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for line in log.lines() {
            let number = line.find("[C-").and_then(|at| line.get(at + 1..at + 11));
            if let Some(number) = number {
                calls.entry(number).or_default().push(line.to_owned());
            }
        }
        calls.into_values().map(Self).collect()
    }

    /// The last of the hangup handlers has returned: the test's own, which stands in each
    /// dialplan and reports.
    fn has_ended(&self) -> bool {
        self.0.iter().any(|line| line.contains("REPORT "))
            && self
                .0
                .last()
                .is_some_and(|line| line.contains("Internal Gosub(report,s,1) complete"))
    }

    /// The value that a channel variable was set to.
    #[track_caller]
    pub fn variable(&self, name: &str) -> String {
        let pattern = format!(r#"\] Set\("[^"]*", "{name}=(.*)"\)"#);
        let pattern = regex::Regex::new(&pattern).unwrap();
        let found = self
            .0
            .iter()
            .filter_map(|line| pattern.captures(line))
            .next_back();
        let found = found.unwrap_or_else(|| panic!("{name} was never set: {self:#?}"));
        found[1].to_owned()
    }

    /// A time that the dialplan has set, as it has to arrive: with the offset of the PBX's zone.
    #[track_caller]
    pub fn time(&self, name: &str) -> String {
        let time = self.variable(name);
        if time.ends_with(OFFSET) {
            return time;
        }
        if let Some(time) = time.strip_suffix(&OFFSET.replace(':', "")) {
            return format!("{time}{OFFSET}");
        }
        format!("{time}{OFFSET}")
    }

    /// `AGISTATUS OOY_STATUS` at the end of the call.
    #[track_caller]
    pub fn report(&self) -> &str {
        let line = self.0.iter().find_map(|line| line.split_once(": REPORT "));
        line.unwrap_or_else(|| panic!("no report: {self:#?}")).1
    }

    /// How long the channel was held by AGI, by Asterisk's own clock, in milliseconds.
    #[track_caller]
    pub fn held_ms(&self) -> i64 {
        let moment = |what: &str| {
            let line = self.0.iter().find(|line| line.contains(what));
            let line = line.unwrap_or_else(|| panic!("no {what}: {self:#?}"));
            line[1..24].parse::<jiff::civil::DateTime>().unwrap()
        };
        let span = moment("completed, returning").duration_since(moment("] AGI("));
        i64::try_from(span.as_millis()).unwrap()
    }

    /// The command with which an administrator hands in later what could not be stored.
    #[track_caller]
    pub fn hand_in_line(&self) -> String {
        let line = self
            .0
            .iter()
            .filter(|line| line.contains(" ERROR["))
            .find_map(|line| line.split_once("to hand it in: "));
        let line = line.unwrap_or_else(|| panic!("nothing to hand in: {self:#?}"));
        line.1.to_owned()
    }

    pub fn contains(&self, text: &str) -> bool {
        self.0.iter().any(|line| line.contains(text))
    }
}
