//! A clone of this checkout that may be changed, tagged and released from.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use crate::harness::{Ran, executable};

pub const VERSION: &str = "0.1.0";
pub const TARGET: &str = "x86_64-unknown-linux-gnu";

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a command says; it has to end well.
pub fn said(command: &mut Command) -> String {
    let output: Output = command.stdin(Stdio::null()).output().unwrap();
    Ran::of(&output).expect(0).stdout
}

/// The executable under test as small as a release's.
pub fn small() -> &'static Path {
    static SMALL: OnceLock<tempfile::TempDir> = OnceLock::new();
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let folder = SMALL.get_or_init(|| tempfile::tempdir().unwrap());
        let path = folder.path().join("ooy");
        said(Command::new("strip").arg("-o").arg(&path).arg(executable()));
        path
    })
}

pub struct Checkout {
    folder: tempfile::TempDir,
    pub root: PathBuf,
    pub keys: PathBuf,
    pub key: PathBuf,
    pub out: PathBuf,
}

impl Checkout {
    /// Everything of it in order for [`VERSION`], and a pair of keys.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let checkout = Self {
            root: at("ooy"),
            keys: at("keys"),
            key: at("private.key"),
            out: at("dist"),
            folder,
        };
        std::fs::create_dir_all(checkout.root.join(".work/rig")).unwrap();
        std::fs::create_dir(&checkout.keys).unwrap();
        let tools = root().join(".work/rig/tools");
        std::fs::create_dir_all(&tools).unwrap();
        symlink(tools, checkout.root.join(".work/rig/tools")).unwrap();
        said(
            Command::new("sh")
                .current_dir(root())
                .args(["-c", "git ls-files -z -co --exclude-standard | tar -c --null --ignore-failed-read -T - | tar -x -C \"$1\"", "sh"])
                .arg(&checkout.root),
        );
        checkout.write(
            "CHANGELOG.md",
            "# Changelog\n\n## [Unreleased]\n\n## [0.1.0] - 2026-11-26\n\n### Added\n- `ooy start`.\n\n\
             ## [0.0.9] - 2026-10-01\n\n### Fixed\n- Nothing.\n",
        );
        checkout.git(&["init", "-q"]);
        checkout.commit();
        checkout.git(&["tag", "v0.1.0"]);
        let key = checkout.key.to_str().unwrap().to_owned();
        checkout.release(&["--new-key", &key]).expect(0);
        checkout
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.root.join(name), text).unwrap();
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        said(
            Command::new("git")
                .current_dir(&self.root)
                .args(["-c", "user.name=test", "-c", "user.email=test@ooy.invalid"])
                .args(arguments),
        )
    }

    pub fn commit(&self) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", "test"]);
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.root.join("scripts/release"));
        command
            .args(arguments)
            .env("LC_ALL", "C")
            .env("OOY_RELEASE_KEYS", &self.keys)
            .env_remove("OOY_RELEASE_KEY")
            .stdin(Stdio::null());
        command
    }

    pub fn release(&self, arguments: &[&str]) -> Ran {
        Ran::of(&self.command(arguments).output().unwrap())
    }

    /// Packs this executable, signed with the key, into the folder.
    pub fn pack(&self, version: &str, executable: &Path) -> Ran {
        self.pack_with(&self.key, version, executable)
    }

    pub fn pack_with(&self, key: &Path, version: &str, executable: &Path) -> Ran {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let (key, out, executable) = (text(key), text(&self.out), text(executable));
        self.release(&[
            version,
            "--key",
            &key,
            "--out",
            &out,
            "--executable",
            &executable,
        ])
    }

    /// A program that says that it is this version, and else does what the one under test does.
    pub fn stand_in(&self, version: &str) -> PathBuf {
        let path = self.folder.path().join(format!("stand-in-{version}"));
        let text = format!(
            "#!/bin/sh\n[ \"$*\" != '--version --json' ] || exec echo '{{\"schema\":1,\"version\":\"{version}\",\"commit\":\"0\",\"target\":\"{TARGET}\"}}'\n\
             [ \"$1\" != --version ] || exec echo 'ooy {version} (0, {TARGET})'\nexec {} \"$@\"\n",
            executable().display()
        );
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    pub fn archive(&self) -> PathBuf {
        self.out.join(format!("ooy-{VERSION}-{TARGET}.tar.gz"))
    }

    pub fn sum(&self, path: &Path) -> String {
        let line = said(Command::new("sha256sum").arg(path));
        line.split(' ').next().unwrap().to_owned()
    }

    /// What was said, with the places of this run as words.
    pub fn told(&self, ran: &Ran) -> String {
        let here = self.folder.path().to_str().unwrap();
        let today = jiff::Zoned::now().strftime("%F").to_string();
        ran.stderr.replace(here, "/T").replace(&today, "TODAY")
    }
}
