//! One archive for whoever helps: what is in it, what is not, and that it is made when things are
//! broken. That no secret is in it is secrets.rs's.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::harness::{Home, Ran, until};
use crate::misfortunes::{as_nobody, open_to_others};

/// An unpacked bundle.
pub struct Unpacked {
    pub files: BTreeMap<String, Vec<u8>>,
    pub said: String,
    pub path: PathBuf,
}

impl Unpacked {
    /// What `ooy bundle` has written where its standard output says.
    #[track_caller]
    pub fn of(ran: Ran) -> Self {
        let ran = ran.expect(0);
        let path = PathBuf::from(ran.stdout.trim());
        Self {
            files: unpack(&path),
            said: ran.stderr,
            path,
        }
    }

    #[track_caller]
    pub fn text(&self, name: &str) -> String {
        let file = self.files.get(name);
        let file = file.unwrap_or_else(|| panic!("no {name}: {:?}", self.files.keys()));
        String::from_utf8(file.clone()).unwrap()
    }

    #[track_caller]
    pub fn json(&self, name: &str) -> serde_json::Value {
        serde_json::from_str(&self.text(name)).unwrap()
    }

    /// Why a part was left out.
    #[track_caller]
    pub fn left_out(&self, part: &str) -> String {
        let manifest = self.json("manifest.json");
        let all = manifest["left_out"].as_array().unwrap();
        let found = all.iter().find(|left| left["part"] == part);
        let found = found.unwrap_or_else(|| panic!("{part} is not left out: {all:#?}"));
        found["why"].as_str().unwrap().to_owned()
    }
}

/// All files of an archive, without the folder that they lie in.
pub fn unpack(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let tar = Command::new("tar")
        .arg("xzf")
        .arg(path)
        .arg("--strip-components=1")
        .arg("-C")
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(tar.status.success(), "{tar:?}");
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.path().to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder.path()).unwrap();
            files.insert(name.display().to_string(), std::fs::read(&path).unwrap());
        }
    }
    files
}

impl Home {
    /// `ooy bundle` into this home.
    pub fn bundle(&self, arguments: &[&str]) -> Ran {
        let folder = self.folder.display().to_string();
        let into = ["bundle", "--output", &folder];
        self.ooy(&[&into[..], arguments].concat())
    }
}

/// The services without databases are enough: they log all that is looked for.
#[test]
fn a_bundle_holds_what_a_helper_has_to_see_and_nobody_s_number() {
    let home = Home::new("bundle");
    home.ooy(&["start", "courier", "mailroom"]).expect(0);
    // As courier logs it where a provider's answer is not what it expects.
    let line = r#"time="2026-11-26T02:14:07Z" level=error msg="msg not sent" urn="tel:+254712345678" text="I am \"lonesomest\"" from=0712345678 mail=jane@example.org password=hunter2abc"#;
    let pid = home.inspect("courier", "{{.State.Pid}}");
    std::fs::write(format!("/proc/{pid}/fd/2"), format!("{line}\n")).unwrap();
    until(
        "it is in the log",
        std::time::Duration::from_secs(20),
        || {
            home.ooy(&["logs", "courier", "-n", "20"])
                .stdout
                .contains("hunter2abc")
        },
    );

    let bundle = Unpacked::of(home.bundle(&["--lines", "200"]));
    let name = bundle.path.file_name().unwrap().to_str().unwrap();
    assert!(
        name.starts_with("ooy-bundle-") && name.ends_with("Z.tar.gz"),
        "{name}"
    );
    let mode = std::fs::metadata(&bundle.path)
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    for file in [
        "manifest.json",
        "diagnosis.json",
        "diagnosis.txt",
        "status.json",
        "settings.env",
        "calls.json",
        "history.json",
        "state/journal.jsonl",
        "rendered/compose.yaml",
        "rendered/nginx/nginx.conf",
        "docker/containers.json",
        "docker/images.json",
        "docker/networks.json",
        "docker/events.json",
        "logs/courier.log",
        "logs/mailroom.log",
    ] {
        assert!(
            bundle.files.contains_key(file),
            "{file}: {:?}",
            bundle.files.keys()
        );
    }
    let manifest = bundle.json("manifest.json");
    assert_eq!(manifest["schema"], 1);
    for field in ["made_at", "ooy", "engine", "compose"] {
        assert!(manifest[field].is_string(), "{field}: {manifest:#}");
    }
    assert!(manifest["host"]["memory"]["total"].as_u64().unwrap() > 0);
    let inside = manifest["inside"].as_array().unwrap().len();
    assert_eq!(inside + 1, bundle.files.len());
    assert_eq!(bundle.json("diagnosis.json")["schema"], 1);
    assert!(bundle.text("diagnosis.txt").contains("checks in"));
    assert_eq!(
        bundle.json("status.json")["services"]
            .as_array()
            .unwrap()
            .len(),
        12
    );
    let containers = bundle.text("docker/containers.json");
    assert!(containers.contains("\"MAILROOM_DB\""), "names of variables");

    // Nobody's number, address, message or password; the same number has the same token.
    let log = bundle.text("logs/courier.log");
    let line = log
        .lines()
        .find(|line| line.contains("msg not sent"))
        .unwrap();
    for gone in ["712345678", "lonesomest", "jane", "hunter2"] {
        for (name, text) in &bundle.files {
            let text = String::from_utf8_lossy(text);
            assert!(!text.contains(gone), "{gone} in {name}");
        }
    }
    let token = |text: &str| {
        let found = regex::Regex::new("‹tel:[0-9a-f]{8}›").unwrap();
        found
            .find_iter(text)
            .map(|it| it.as_str().to_owned())
            .collect::<Vec<_>>()
    };
    let tokens = token(line);
    assert_eq!(tokens.len(), 2, "{line}");
    assert_eq!(tokens[0], tokens[1], "{line}");
    assert!(
        line.contains("‹text-removed›") && line.contains("‹mail:"),
        "{line}"
    );

    // In the next bundle too, and of a secret as well.
    let setting = |bundle: &Unpacked| {
        let text = bundle.text("settings.env");
        let line = text
            .lines()
            .find(|line| line.starts_with("RAPIDPRO_SECRET_KEY="));
        line.unwrap().to_owned()
    };
    let second = home.folder.join("second.tar.gz").display().to_string();
    let again = Unpacked::of(home.ooy(&["bundle", "-o", &second]));
    assert_eq!(token(&again.text("logs/courier.log")), tokens);
    assert!(
        setting(&bundle).contains("‹RAPIDPRO_SECRET_KEY:"),
        "{}",
        setting(&bundle)
    );
    assert_eq!(setting(&again), setting(&bundle));

    let ran = home.ooy(&["bundle", "-o", &second]).expect(2);
    assert!(ran.stderr.contains("is there already"), "{}", ran.stderr);
    insta::assert_snapshot!("bundle-done", tidy(&home, &again.said));
    insta::assert_snapshot!(
        "bundle-help",
        home.ooy(&["bundle", "--help"]).expect(0).stdout
    );

    without_docker(&home);
    with_broken_settings(&home);
    as_somebody_else(&home);
}

fn tidy(home: &Home, text: &str) -> String {
    let mut lines: Vec<String> = home
        .tidy(text)
        .lines()
        // Parts come as they are ready.
        .map(|line| {
            let pattern = regex::Regex::new(r"^✓ ([a-z]+ +).*$").unwrap();
            pattern.replace(line, "✓ $1…").into_owned()
        })
        .collect();
    let parts = lines
        .iter()
        .filter(|line| line.starts_with("✓ ") && line.ends_with('…'))
        .count();
    lines[1..=parts].sort();
    let text = lines.join("\n") + "\n";
    regex::Regex::new(r"\d+ files")
        .unwrap()
        .replace_all(&text, "N files")
        .into_owned()
}

fn without_docker(home: &Home) {
    let folder = home.folder.display().to_string();
    let mut command = home.command(&["bundle", "-o", &folder]);
    command.env("DOCKER_HOST", "unix:///nowhere/docker.sock");
    let bundle = Unpacked::of(Ran::of(&command.output().unwrap()));
    assert!(bundle.left_out("logs").contains("/nowhere/docker.sock"));
    assert!(bundle.left_out("status").contains("/nowhere/docker.sock"));
    // compose needs no daemon; what it makes of the files is there.
    assert!(bundle.text("rendered/compose.yaml").contains("services:"));
    assert!(bundle.text("diagnosis.txt").contains("engine-unreachable"));
    assert!(bundle.said.contains("left out"), "{}", bundle.said);
}

fn with_broken_settings(home: &Home) {
    let before = std::fs::read(home.folder.join("ooy.env")).unwrap();
    home.set("RAPIDPRO_TOKEN", "RAPIDPRO_TOKEN=\"mistaken-in-the-middle");
    home.set("HTTP_PORT", "HTTP_PORT=eighty");
    let bundle = Unpacked::of(home.bundle(&[]));
    let wrong = bundle.text("settings-wrong.txt");
    assert!(wrong.contains("HTTP_PORT"), "{wrong}");
    assert!(bundle.text("logs/courier.log").contains("msg not sent"));
    std::fs::write(home.folder.join("compose.override.yaml"), "services: [").unwrap();
    let bundle = Unpacked::of(home.bundle(&[]));
    assert!(!bundle.left_out("compose.override.yaml").is_empty());
    assert!(bundle.files.contains_key("logs/courier.log"));
    std::fs::remove_file(home.folder.join("compose.override.yaml")).unwrap();
    std::fs::remove_file(home.folder.join("ooy.env")).unwrap();
    let bundle = Unpacked::of(home.bundle(&[]));
    assert!(bundle.left_out("settings").contains("No such file"));
    assert!(bundle.left_out("logs").contains("not known"));
    std::fs::write(home.folder.join("ooy.env"), before).unwrap();
}

/// Without rights it is made of what can be read, and says what is missing.
fn as_somebody_else(home: &Home) {
    open_to_others(home);
    std::fs::set_permissions(
        home.folder.join("ooy.env"),
        PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    let out = tempfile::tempdir().unwrap();
    std::fs::set_permissions(out.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let out = out.path().display().to_string();
    let bundle = Unpacked::of(as_nobody(home, &["bundle", "-o", &out]));
    assert!(bundle.left_out("settings").contains("Permission denied"));
    assert!(
        bundle
            .left_out("stable tokens")
            .contains("Permission denied")
    );
    assert!(bundle.files.contains_key("calls.json"));
}

/// A telephone exchange has no deployment, and nothing of one is missing.
#[test]
fn a_bundle_of_a_telephone_exchange() {
    let home = Home::empty("bundlepbx");
    home.ooy(&[
        "init",
        "--pbx",
        "--set",
        "RAPIDPRO_URL=https://rapidpro.example.org",
    ])
    .expect(0);
    let bundle = Unpacked::of(home.bundle(&[]));
    assert!(
        bundle
            .left_out("logs")
            .contains("only hands its calls over")
    );
    assert!(bundle.files.contains_key("diagnosis.json"));
    assert!(bundle.files.contains_key("calls.json"));
}

/// A folder that cannot be written, a disk without room, Ctrl-C: no file is left behind.
#[test]
fn a_bundle_is_there_whole_or_not_at_all() {
    let home = Home::new("bundlebad");
    let ran = home.ooy(&["bundle", "-o", "/nowhere/a.tar.gz"]).expect(1);
    assert!(ran.stderr.contains("cannot be written"), "{}", ran.stderr);
    assert!(ran.stderr.contains("No such file"), "{}", ran.stderr);

    let small = Small::new(&home);
    let target = small.0.join("a.tar.gz").display().to_string();
    std::fs::write(small.0.join("full"), vec![b'x'; 2 * 4096]).unwrap();
    let ran = home.ooy(&["bundle", "-o", &target]).expect(1);
    assert!(ran.stderr.contains("No space left"), "{}", ran.stderr);
    let left: Vec<_> = std::fs::read_dir(&small.0)
        .unwrap()
        .map(|it| it.unwrap().file_name())
        .collect();
    assert_eq!(left, ["full"]);

    let out = tempfile::tempdir().unwrap();
    for signal in ["-INT", "-TERM", "-KILL"] {
        // A socket on which nobody answers: Docker is waited for.
        let socket = home.folder.join(format!("mute{signal}.sock"));
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let child = home
            .command(&["bundle", "-o", &out.path().display().to_string()])
            .env("DOCKER_HOST", format!("unix://{}", socket.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        listener.accept().unwrap();
        crate::diagnose::services::signal(signal, &[child.id()]);
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            output.status.code(),
            if signal == "-KILL" { None } else { Some(130) }
        );
        assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0);
    }
}

/// A file system with room for two blocks.
struct Small(PathBuf);

impl Small {
    fn new(home: &Home) -> Self {
        let at = home.folder.join("small");
        std::fs::create_dir(&at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8k", "tmpfs"])
            .arg(&at)
            .status();
        assert!(mounted.unwrap().success());
        Self(at)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
