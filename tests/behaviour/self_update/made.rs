//! Two releases that were really made: this checkout with other versions, built so that it takes what
//! a throw-away key has signed, packed and signed by scripts/release.
//!
//! They lie in the target folder and are made again only where something has changed. They share the
//! compiled crates of the release build, which scripts/test has made already; only `ooy` itself is
//! compiled for each, without optimising.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The version that is installed, and the one that comes.
pub const OLD: &str = "0.7.0";
pub const NEW: &str = "0.8.0";

/// For which machines they are.
pub const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The list of releases.
pub const INDEX: &str = "releases.json";

pub struct Made {
    /// With both releases.
    pub releases: PathBuf,
    /// The private key.
    pub key: PathBuf,
    folder: PathBuf,
}

/// The name of an archive.
pub fn archive_of(version: &str) -> String {
    format!("ooy-{version}-{TARGET}.tar.gz")
}

impl Made {
    /// Made by the first test that asks.
    pub fn get() -> &'static Made {
        static MADE: OnceLock<Made> = OnceLock::new();
        MADE.get_or_init(make)
    }

    /// The executable of a version, as it was built.
    pub fn executable(&self, version: &str) -> PathBuf {
        self.folder.join(format!("ooy-{version}"))
    }

    pub fn archive(&self, version: &str) -> PathBuf {
        self.releases.join(archive_of(version))
    }

    /// An archive with this executable in it, signed with a key, under a name; in a folder of its own.
    pub fn packed(&self, into: &Path, name: &str, executable: &[u8], key: &Path) -> PathBuf {
        let tree = tempfile::tempdir().unwrap();
        let path = tree.path().join("ooy");
        std::fs::write(&path, executable).unwrap();
        done(Command::new("chmod").arg("755").arg(&path));
        self.signed(into, name, tree.path(), key)
    }

    /// An archive with the files of a folder.
    pub fn signed(&self, into: &Path, name: &str, tree: &Path, key: &Path) -> PathBuf {
        let archive = into.join(name);
        std::fs::create_dir_all(into).unwrap();
        done(Command::new("sh").current_dir(tree).args([
            "-c",
            "tar -c -- * | gzip -1 >\"$1\"",
            "sh",
            archive.to_str().unwrap(),
        ]));
        done(
            Command::new(zipsign())
                .args(["sign", "tar"])
                .arg(&archive)
                .arg(key),
        );
        archive
    }

    /// A pair of keys that no build knows; the private one.
    pub fn other_key(&self, into: &Path) -> PathBuf {
        let key = into.join("other.key");
        done(
            Command::new(zipsign())
                .arg("gen-key")
                .arg(&key)
                .arg(into.join("other.pub")),
        );
        key
    }
}

fn done(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (said, complaint) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{command:?}\n{said}\n{complaint}");
    said.into_owned()
}

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The program that signs, as scripts/release has it built.
fn zipsign() -> PathBuf {
    let tools = checkout().join(".work/rig/tools");
    let found = std::fs::read_dir(&tools).into_iter().flatten().flatten();
    found
        .map(|entry| entry.path().join("bin/zipsign"))
        .find(|path| path.exists())
        .unwrap_or_else(|| "zipsign".into())
}

fn make() -> Made {
    let target = Path::new(env!("CARGO_BIN_EXE_ooy"))
        .ancestors()
        .nth(3)
        .unwrap();
    let folder = target.join("self-update");
    let keys = folder.join("keys");
    std::fs::create_dir_all(&keys).unwrap();
    // One at a time: somebody may run two of them.
    let lock = std::fs::File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let made = Made {
        releases: folder.join("releases"),
        key: folder.join("key"),
        folder,
    };
    let trees = [OLD, NEW].map(tree);
    if !made.key.exists() {
        done(
            Command::new(trees[0].join("scripts/release"))
                .arg("--new-key")
                .arg(&made.key)
                .env("OOY_RELEASE_KEYS", &keys),
        );
    }
    let mut is_new = false;
    for (tree, version) in trees.iter().zip([OLD, NEW]) {
        // As every build of the scripts, so that the crates are those of the release build.
        let build = ". tests/rig/lib.sh && build_at \"$1\" \"$2\"";
        done(
            Command::new("bash")
                .args(["-c", build, "bash"])
                .args([tree, target])
                .current_dir(tree)
                .env("rig_log", made.folder.join("log"))
                .env("OOY_RELEASE_KEYS", &keys)
                .env("OOY_COMMIT", "0123456789ab")
                // Those of this very build.
                .env_remove("CARGO_MANIFEST_DIR"),
        );
        let built = target.join(TARGET).join("release").join(binary(version));
        is_new |= put(&made.executable(version), &std::fs::read(built).unwrap());
        done(
            Command::new("chmod")
                .arg("755")
                .arg(made.executable(version)),
        );
    }
    if is_new || !made.archive(NEW).exists() {
        let _ = std::fs::remove_dir_all(&made.releases);
        for (tree, version) in trees.iter().zip([OLD, NEW]) {
            done(
                Command::new(tree.join("scripts/release"))
                    .arg(version)
                    .arg("--key")
                    .arg(&made.key)
                    .arg("--out")
                    .arg(&made.releases)
                    .arg("--executable")
                    .arg(made.executable(version))
                    .arg("--allow-untagged")
                    .env("OOY_RELEASE_KEYS", &keys),
            );
        }
    }
    made
}

/// What cargo calls it: in the target folder that is shared `ooy` is somebody else's.
fn binary(version: &str) -> String {
    format!("ooy-{}", version.replace('.', "-"))
}

/// A clone of this checkout, with what is not committed, that calls itself another version.
fn tree(version: &str) -> PathBuf {
    // Not below the checkout, whose .cargo/config.toml would be found a second time: with the flags
    // twice, cargo takes them for others, and compiles every crate again.
    let tree = Path::new("/var/tmp/ooy-self-update").join(version);
    let tracked = done(Command::new("git").current_dir(checkout()).args([
        "ls-files",
        "-z",
        "-co",
        "--exclude-standard",
    ]));
    let mut changed = !tree.join(".git").exists();
    for path in tracked.split('\0').filter(|path| !path.is_empty()) {
        let from = checkout().join(path);
        let Ok(about) = from.symlink_metadata() else {
            continue;
        };
        if !about.is_file() || path.starts_with("tests/stand-ins") {
            continue;
        }
        let bytes = std::fs::read(&from).unwrap();
        let bytes = match path {
            "Cargo.toml" | "Cargo.lock" => named(&bytes, version, path).into_bytes(),
            "CHANGELOG.md" => changes().into_bytes(),
            _ => bytes,
        };
        let to = tree.join(path);
        if put(&to, &bytes) {
            std::fs::set_permissions(&to, about.permissions()).unwrap();
            changed = true;
        }
    }
    if changed {
        let git = |arguments: &[&str]| {
            done(
                Command::new("git")
                    .current_dir(&tree)
                    .args(["-c", "user.name=test", "-c", "user.email=test@example.org"])
                    .args(arguments),
            )
        };
        git(&["init", "--quiet"]);
        git(&["add", "--all"]);
        git(&["commit", "--quiet", "--allow-empty", "--message", version]);
    }
    // Programs that were built once already.
    let work = tree.join(".work");
    std::fs::create_dir_all(&work).unwrap();
    std::fs::create_dir_all(checkout().join(".work/rig")).unwrap();
    let _ = std::os::unix::fs::symlink(checkout().join(".work/rig"), work.join("rig"));
    tree
}

/// Writes a file unless it is as it should be: else cargo would compile it again.
fn put(path: &Path, bytes: &[u8]) -> bool {
    if std::fs::read(path).is_ok_and(|present| present == bytes) {
        return false;
    }
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let _ = std::fs::remove_file(path);
    std::fs::write(path, bytes).unwrap();
    true
}

/// Cargo.toml or Cargo.lock with that version of `ooy`.
fn named(bytes: &[u8], version: &str, file: &str) -> String {
    let text = std::str::from_utf8(bytes).unwrap();
    let own = concat!(
        "name = \"ooy\"\nversion = \"",
        env!("CARGO_PKG_VERSION"),
        "\"\n"
    );
    assert!(text.contains(own), "{file}");
    let text = text.replacen(
        own,
        &format!("name = \"ooy\"\nversion = \"{version}\"\n"),
        1,
    );
    if file == "Cargo.lock" {
        return text;
    }
    let text = text.replacen("\n[workspace]", "autobins = false\n\n[workspace]", 1);
    text + &format!(
        "\n[[bin]]\nname = \"{}\"\npath = \"src/main.rs\"\n\n\
         [profile.release.package.ooy]\nopt-level = 0\ncodegen-units = 16\n",
        binary(version)
    )
}

fn changes() -> String {
    format!(
        "# Changelog\n\n## [Unreleased]\n\n## [{NEW}] - 2026-11-26\n\n### Added\n- A bell that rings at night.\n\n\
         ## [{OLD}] - 2026-10-01\n\n### Added\n- The first one.\n"
    )
}
