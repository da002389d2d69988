//! `ooy self-update`: real archives, a real server, real executables that replace each other.

mod archives;
mod hosts;
mod killed;
mod made;
mod server;
mod servers;
mod works;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::harness::Ran;
use made::{Made, NEW, OLD};

/// A host with the older version installed, and nothing else.
struct Host {
    folder: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["bin", "home"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let host = Self { folder };
        host.put(OLD, &host.executable());
        host
    }

    /// Puts the executable of a version there. By another process: what this one writes, a child that
    /// another test forks holds open for a moment, and then it cannot be run.
    fn put(&self, version: &str, to: &Path) {
        let copied = Command::new("cp")
            .arg(Made::get().executable(version))
            .arg(to)
            .status();
        assert!(copied.unwrap().success());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    fn executable(&self) -> PathBuf {
        self.path("bin/ooy")
    }

    fn previous(&self) -> PathBuf {
        self.path("bin/ooy.previous")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(&self.executable(), arguments)
    }

    fn command_of(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LC_ALL", "C.UTF-8")
            .arg("--home")
            .arg(self.path("home"))
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    fn ooy(&self, arguments: &[&str]) -> Ran {
        Ran::of(&self.command(arguments).output().unwrap())
    }

    /// `ooy --yes self-update --from …`
    fn update(&self, from: &str) -> Ran {
        self.ooy(&["--yes", "self-update", "--from", from, "--timeout", "2"])
    }

    /// What lies in a place calls itself that, when it is run.
    #[track_caller]
    fn is(&self, path: &Path, version: &str) {
        let ran = self
            .command_of(path, &["--json", "self-check"])
            .output()
            .unwrap();
        assert_eq!(
            Ran::of(&ran).expect(0).json()["version"],
            version,
            "{}",
            path.display()
        );
    }

    /// It was replaced, the one before is kept, and nothing else lies there.
    #[track_caller]
    fn is_updated(&self) {
        self.is(&self.executable(), NEW);
        self.is(&self.previous(), OLD);
        assert_eq!(self.listing(), ["ooy", "ooy.previous"]);
    }

    /// Nothing was done, and nothing is left of the attempt.
    #[track_caller]
    fn is_as_it_was(&self) {
        self.is(&self.executable(), OLD);
        assert_eq!(self.listing(), ["ooy"]);
    }

    fn listing(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.path("bin"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// What an operator reads, without what differs from run to run.
    fn tidy(&self, text: &str) -> String {
        let mut text = text
            .replace(&Made::get().releases.display().to_string(), "RELEASES")
            .replace(
                &self
                    .folder
                    .path()
                    .canonicalize()
                    .unwrap()
                    .display()
                    .to_string(),
                "HOST",
            );
        for (pattern, put) in [
            (r"127\.0\.0\.1:\d+", "SERVER"),
            (r"\d+(\.\d+)? (GB|MB|KB|B)\b", "SIZE"),
            (r"\b\d{5,} bytes", "MANY bytes"),
            (r"(after|has) \d{5,}\b", "$1 MANY"),
            (r"   \d+\.\d s\b", "   N s"),
            (r"\b[0-9a-f]{64}\b", "DIGEST"),
            (r"key \d{4}-\d\d-\d\d", "key DAY"),
            (r"knows: \d{4}-\d\d-\d\d", "knows: DAY"),
            (r"process \d+", "process PID"),
            (r"-p \d+", "-p PID"),
        ] {
            let pattern = regex::Regex::new(pattern).unwrap();
            text = pattern.replace_all(&text, put).into_owned();
        }
        text
    }
}
