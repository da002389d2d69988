//! Packages of images: from an Engine that has them to another, real one that reaches no registry.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use sha2::Digest as _;

use crate::backup::disks::Disk;
use crate::daemon::Engine;
use crate::harness::{Home, Ran, executable, stand_in, until};

const SETTINGS: [&str; 9] = [
    "RAPIDPRO",
    "COURIER",
    "MAILROOM",
    "INDEXER",
    "ELASTICSEARCH",
    "CASEPRO",
    "CONTENTREPO",
    "BIGQUERY_SYNC",
    "NGINX",
];

/// A deployment of two images of its own, on the tests' Engine: nobody else uses them.
struct Own {
    home: Home,
    images: Vec<String>,
}

impl Own {
    fn new(name: &str, bytes: usize) -> Self {
        let home = Home::empty(name);
        home.ooy(&["init", "--set", &format!("PROJECT_NAME={}", home.project)]);
        let name = |part: &str| format!("ooy-test/{}-{part}:1.0", home.project);
        let images = vec![name("a"), name("b")];
        for image in &images {
            make(&home, image, bytes, &[]);
        }
        let own = Self { home, images };
        own.name(&own.images[0], &own.images[1]);
        own
    }

    /// The settings name these.
    fn name(&self, first: &str, others: &str) {
        for setting in SETTINGS {
            let image = if setting == "RAPIDPRO" { first } else { others };
            self.home.set(
                &format!("{setting}_IMAGE"),
                &format!("{setting}_IMAGE={image}"),
            );
        }
    }

    /// The same settings on another Engine.
    fn on(&self, engine: &Engine, name: &str) -> Home {
        let mut other = Home::empty(name);
        other.docker_host = Some(engine.host());
        other.namespace = Some(engine.namespace.clone());
        std::fs::copy(
            self.home.folder.join("ooy.env"),
            other.folder.join("ooy.env"),
        )
        .unwrap();
        other
    }

    fn file(&self, name: &str) -> (PathBuf, String) {
        let path = self.home.folder.join(name);
        let shown = path.display().to_string();
        (path, shown)
    }

    fn tidy(&self, text: &str) -> String {
        tidy(&self.home, text)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        for image in &self.images {
            self.home.docker(&["rmi", "-f", image]);
        }
    }
}

/// An image with a file of random bytes, which no compression makes smaller.
fn make(home: &Home, name: &str, bytes: usize, more: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "head -c {bytes} /dev/urandom > \"$1/noise\" && tar -C \"$1\" -c noise | docker import \"${{@:3}}\" - \"$2\""
    );
    let mut command = Command::new("bash");
    command
        .args(["-o", "pipefail", "-c", &script, ""])
        .arg(folder.path())
        .arg(name)
        .args(more);
    if let Some(host) = &home.docker_host {
        command.env("DOCKER_HOST", host);
    }
    assert!(
        command.stdout(Stdio::null()).status().unwrap().success(),
        "{name}"
    );
}

fn id(home: &Home, image: &str) -> String {
    home.docker(&["image", "inspect", "-f", "{{.Id}}", image])
}

fn tidy(home: &Home, text: &str) -> String {
    let mut text = home.tidy(text);
    for (pattern, put) in [
        (r"\b[0-9a-f]{12}\b", "ID"),
        (r"\d{4}-\d\d-\d\d", "DATE"),
        (r"ooy \d+\.\d+\.\d+", "ooy VERSION"),
        (r"(?m)^→ (save|load|image) .*\n", ""),
    ] {
        text = regex::Regex::new(pattern)
            .unwrap()
            .replace_all(&text, put)
            .into_owned();
    }
    text
}

#[track_caller]
fn save(own: &Own, file: &str) -> Ran {
    own.home.ooy(&["--yes", "images", "save", file]).expect(0)
}

/// One scenario, since making an Engine is what costs.
#[test]
fn images_are_carried_to_an_engine_that_lacks_them() {
    let own = Own::new("carried", 300_000);
    let engine = Engine::new("carried", &[]);
    let there = own.on(&engine, "carriedto");
    let same = |image: &String| id(&own.home, image) == id(&there, image);
    let (path, file) = own.file("ooy-images.tar");
    let gone = |images: &[String]| {
        for image in images {
            there.docker(&["rmi", image]);
            assert_eq!(id(&there, image), "");
        }
    };

    let saved = save(&own, &file);
    insta::assert_snapshot!("saved", own.tidy(&saved.stderr));
    let planned = there.ooy(&["images", "load", "--dry-run", &file]).expect(0);
    insta::assert_snapshot!("load-planned", own.tidy(&planned.stderr));
    assert_eq!(id(&there, &own.images[0]), "", "a plan loads nothing");
    let loaded = there.ooy(&["images", "load", &file]).expect(0);
    insta::assert_snapshot!("loaded", tidy(&there, &own.tidy(&loaded.stderr)));
    assert!(own.images.iter().all(same));
    let listed = there.ooy(&["images", "list"]).expect(0);
    assert_eq!(
        listed.stdout.matches(&format!("package {file}")).count(),
        2,
        "{}",
        listed.stdout
    );

    // Once more there is nothing to do.
    let again = there.ooy(&["images", "load", &file]).expect(0);
    insta::assert_snapshot!("loaded-again", tidy(&there, &own.tidy(&again.stderr)));

    // A part of it, compressed.
    gone(&own.images[1..]);
    let (_, compressed) = own.file("ooy-images.tar.gz");
    save(&own, &compressed);
    there.ooy(&["images", "load", &compressed]).expect(0);
    assert!(own.images.iter().all(same));

    // Without ooy.
    for file in [&file, &compressed] {
        gone(&own.images);
        there.docker(&["load", "-i", file]);
        assert!(own.images.iter().all(same), "{file}");
    }
    there.ooy(&["images", "load", &file]).expect(0);

    // Through a pipe, as over ssh; into one where all is there already, too.
    for _ in 0..2 {
        let sent = own
            .home
            .command(&["images", "save", "-"])
            .stdout(Stdio::piped())
            .spawn();
        let mut sent = sent.unwrap();
        let taken = there
            .command(&["images", "load", "-"])
            .stdin(sent.stdout.take().unwrap())
            .output();
        Ran::of(&taken.unwrap()).expect(0);
        assert!(sent.wait().unwrap().success());
        assert!(own.images.iter().all(same));
        gone(&own.images);
    }

    // A package is replaced only by who says so.
    let before = std::fs::read(&path).unwrap();
    let refused = own.home.ooy(&["images", "save", &file]).expect(1);
    insta::assert_snapshot!("not-replaced", own.tidy(&refused.stderr));
    assert_eq!(std::fs::read(&path).unwrap(), before);
    save(&own, &file);

    // A name that another image has here moves only with consent.
    make(&there, &own.images[0], 1_000, &[]);
    let refused = there.ooy(&["images", "load", &file]).expect(1);
    assert!(
        refused.stderr.contains("takes the name from"),
        "{}",
        refused.stderr
    );
    there.ooy(&["--yes", "images", "load", &file]).expect(0);
    assert!(own.images.iter().all(same));

    // A package of other images than the settings name.
    there.set("NGINX_IMAGE", "NGINX_IMAGE=127.0.0.1:9/nginx:1.0");
    let partial = there.ooy(&["images", "load", &file]).expect(0);
    assert!(
        partial.stderr.contains("127.0.0.1:9/nginx:1.0"),
        "{}",
        partial.stderr
    );
    for setting in SETTINGS {
        let name = format!("{setting}_IMAGE");
        there.set(&name, &format!("{name}=127.0.0.1:9/other:1.0"));
    }
    let foreign = there.ooy(&["images", "load", &file]).expect(1);
    insta::assert_snapshot!("foreign", tidy(&there, &own.tidy(&foreign.stderr)));
}

/// What was carried is what is started; what is not there, or another one, is told.
#[test]
fn a_start_compares_with_the_package() {
    let engine = Engine::new("compared", &[]);
    let from = Home::new("comparedfrom");
    let mut there = Home::new("compared");
    there.docker_host = Some(engine.host());
    there.namespace = Some(engine.namespace.clone());
    // One image; nothing else is needed where only Elasticsearch is started.
    let image = format!("127.0.0.1:9/{}/elasticsearch:7.10.1", from.project);
    from.docker(&["tag", &stand_in("elasticsearch"), &image]);
    for home in [&from, &there] {
        for setting in SETTINGS {
            home.set(
                &format!("{setting}_IMAGE"),
                &format!("{setting}_IMAGE={image}"),
            );
        }
    }
    let file = from.folder.join("ooy-images.tar").display().to_string();
    from.ooy(&["images", "save", &file]).expect(0);
    from.docker(&["rmi", &image]);

    let missing = there.ooy(&["start", "elasticsearch"]).expect(1);
    let tidied = tidy(&there, &missing.stderr).replace(&from.project, "FROM");
    let tidied = regex::Regex::new("Docker: .*")
        .unwrap()
        .replace_all(&tidied, "Docker: WORDS");
    insta::assert_snapshot!("missing", tidied);
    there.ooy(&["images", "load", &file]).expect(0);
    let started = there.ooy(&["start", "elasticsearch"]).expect(0);
    assert!(
        !started.stderr.contains("images load"),
        "{}",
        started.stderr
    );

    // Somebody gives its name to another image.
    make(&there, &image, 1_000, &[]);
    let warned = there
        .ooy(&["start", "elasticsearch", "--dry-run"])
        .expect(0);
    let tidied = tidy(&there, &warned.stderr)
        .replace(&from.project, "FROM")
        .replace(&tidy(&there, &file), "FILE");
    insta::assert_snapshot!("changed", tidied);
    let listed = there.ooy(&["images", "list"]).expect(0);
    assert!(listed.stdout.contains("not package"), "{}", listed.stdout);
    there.ooy(&["--yes", "images", "load", &file]).expect(0);
    let kept = there.ooy(&["start", "elasticsearch"]).expect(0);
    assert!(!kept.stderr.contains("images load"), "{}", kept.stderr);
}

/// So is what an upgrade would start.
#[test]
fn an_upgrade_compares_with_the_package() {
    let home = Home::with_databases("upcompared");
    let image = |tag: &str| format!("ooy-test/{}-contentrepo:{tag}", home.project);
    for tag in ["v0.0.41", "v0.0.101"] {
        home.docker(&[
            "tag",
            &format!("ooy-stand-in/contentrepo:{tag}"),
            &image(tag),
        ]);
    }
    let setting = format!("CONTENTREPO_IMAGE={}", image("v0.0.41"));
    home.set("CONTENTREPO_IMAGE", &setting);
    let file = home.folder.join("ooy-images.tar").display().to_string();
    let leg = ["contentrepo", "--to", "0.0.101"];
    home.ooy(&[&["images", "save", &file, "--upgrade"][..], &leg].concat())
        .expect(0);
    home.ooy(&["--yes", "images", "load", &file]).expect(0);
    let plan = [&["upgrade", "--dry-run"][..], &leg].concat();
    let planned = home.ooy(&plan).expect(0);
    assert!(
        !planned.stderr.contains("images load"),
        "{}",
        planned.stderr
    );

    home.docker(&["tag", &stand_in("nginx"), &image("v0.0.101")]);
    let warned = home.ooy(&plan).expect(0);
    let told: Vec<&str> = warned
        .stderr
        .lines()
        .filter(|line| line.contains("images load"))
        .collect();
    insta::assert_snapshot!("changed-upgrade", tidy(&home, &told.join("\n")));
    for tag in ["v0.0.41", "v0.0.101"] {
        home.docker(&["rmi", &image(tag)]);
    }
}

/// The package with its list of images changed, and all its digests made to fit.
fn rewritten(whole: &[u8], change: impl Fn(String) -> String) -> Vec<u8> {
    let size = |head: &[u8]| {
        let text = std::str::from_utf8(&head[124..135]).unwrap();
        usize::from_str_radix(text, 8).unwrap()
    };
    let end_of_own = 512 + size(whole).next_multiple_of(512);
    let own = String::from_utf8(whole[512..512 + size(whole)].to_vec()).unwrap();
    let changed = change(own.clone());
    assert_eq!(own.len(), changed.len(), "the heads stay as they are");
    let digest = |text: &str| {
        let digest = sha2::Sha256::digest(text);
        digest
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let mut bytes = whole[..512].to_vec();
    bytes.extend(changed.as_bytes());
    bytes.resize(end_of_own, 0);
    bytes.extend(&whole[end_of_own..]);
    let (old, new) = (digest(&own), digest(&changed));
    let at = bytes
        .windows(64)
        .rposition(|text| text == old.as_bytes())
        .unwrap();
    bytes[at..at + 64].copy_from_slice(new.as_bytes());
    bytes
}

#[test]
fn what_is_not_a_whole_package_for_this_host_loads_nothing() {
    let own = Own::new("damaged", 300_000);
    let engine = Engine::new("damaged", &[]);
    let there = own.on(&engine, "damagedto");
    let (path, file) = own.file("a.tar");
    save(&own, &file);
    let whole = std::fs::read(&path).unwrap();
    let load = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let ran = there.ooy(&["--yes", "images", "load", &file]);
        for image in &own.images {
            assert_eq!(id(&there, image), "", "{}", ran.stderr);
        }
        assert!(!there.folder.join("state/images.json").exists());
        assert_ne!(ran.code, 0, "{}", ran.stderr);
        ran
    };
    for part in [1, 20, 50, 80, 99] {
        let cut = load(&whole[..whole.len() * part / 100]);
        assert!(
            cut.stderr.contains("ends in the middle"),
            "{part} {}",
            cut.stderr
        );
        if part == 50 {
            insta::assert_snapshot!("cut-short", tidy(&there, &own.tidy(&cut.stderr)));
        }
    }
    let mut flipped = whole.clone();
    // In the middle of an image's noise.
    let middle = whole.len() / 3;
    flipped[middle] ^= 1;
    insta::assert_snapshot!("flipped", tidy(&there, &own.tidy(&load(&flipped).stderr)));
    let (_, compressed) = own.file("b.tar.gz");
    save(&own, &compressed);
    let packed = std::fs::read(&compressed).unwrap();
    load(&packed[..packed.len() / 2]);
    let mut flipped = packed.clone();
    flipped[packed.len() / 2] ^= 1;
    load(&flipped);
    // Somebody who means harm makes the digests fit.
    let real = id(&own.home, &own.images[0]);
    let false_one = format!("sha256:{}", "0".repeat(64));
    load(&rewritten(&whole, |own| own.replace(&real, &false_one)));
    let other = rewritten(&whole, |text| {
        text.replace(&own.images[0], &own.images[0].replace("-a:", "-c:"))
    });
    load(&other);
    let arm = rewritten(&whole, |own| {
        own.replace("\"architecture\": \"amd64\"", "\"architecture\": \"arm64\"")
    });
    insta::assert_snapshot!(
        "for-other-machines",
        tidy(&there, &own.tidy(&load(&arm).stderr))
    );
    let newer = rewritten(&whole, |own| own.replace("\"schema\": 1", "\"schema\": 2"));
    insta::assert_snapshot!("newer", tidy(&there, &own.tidy(&load(&newer).stderr)));
    insta::assert_snapshot!(
        "no-package",
        tidy(&there, &own.tidy(&load(b"hello\n").stderr))
    );
    std::fs::remove_file(&path).unwrap();
    let none = there.ooy(&["images", "load", &file]).expect(1);
    assert!(none.stderr.contains("No such file"), "{}", none.stderr);
    // What docker save has written alone.
    let mut alone = vec!["save", "-o", &file];
    alone.extend(own.images.iter().map(String::as_str));
    own.home.docker(&alone);
    let other = load(&std::fs::read(&path).unwrap());
    assert!(other.stderr.contains("docker load"), "{}", other.stderr);
    // And a whole one is loaded afterwards.
    std::fs::write(&path, &whole).unwrap();
    there.ooy(&["images", "load", &file]).expect(0);
}

#[test]
fn a_package_that_finds_no_room_leaves_nothing() {
    let own = Own::new("noroom", 2_000_000);
    let disk = Disk::mount(&own.home, "1500k");
    let file = format!("{}/a.tar", disk.path());
    let refused = own.home.ooy(&["images", "save", &file]).expect(1);
    insta::assert_snapshot!("no-room", own.tidy(&refused.stderr));
    // Compressed it could find its place; noise does not.
    let compressed = format!("{file}.gz");
    let full = own.home.ooy(&["images", "save", &compressed]).expect(1);
    insta::assert_snapshot!("disk-full", own.tidy(&full.stderr));
    assert_eq!(std::fs::read_dir(&disk.0).unwrap().count(), 0);
    let nowhere = own
        .home
        .ooy(&["images", "save", &format!("{}/b/a.tar", disk.path())])
        .expect(2);
    assert!(
        nowhere.stderr.contains("No such file"),
        "{}",
        nowhere.stderr
    );
    let folder = own.home.ooy(&["images", "save", &disk.path()]).expect(2);
    assert!(
        folder.stderr.contains("it is a folder"),
        "{}",
        folder.stderr
    );
    // Docker's own disk counts too.
    own.home.set("DISK_RESERVE_MB", "DISK_RESERVE_MB=1000000");
    let (path, file) = own.file("a.tar");
    let reserve = own.home.ooy(&["images", "save", &file]).expect(1);
    assert!(
        reserve.stderr.contains("DISK_RESERVE_MB"),
        "{}",
        reserve.stderr
    );
    assert!(!path.exists());
}

#[test]
fn what_is_killed_can_be_begun_again() {
    let own = Own::new("killed", 3_000_000);
    let engine = Engine::new("killed", &[]);
    let there = own.on(&engine, "killedto");
    let (path, file) = own.file("a.tar");
    let partial = path.with_file_name("a.tar.partial");
    // While it is written: whoever would read it keeps it waiting.
    let mut stuck = 0;
    for round in 0..20u64 {
        let mut child = own
            .home
            .command(&["images", "save", &file])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        until("it writes", Duration::from_secs(30), || {
            partial.exists() || child.try_wait().unwrap().is_some()
        });
        std::thread::sleep(Duration::from_millis(round));
        child.kill().unwrap();
        child.wait().unwrap();
        if path.exists() {
            std::fs::remove_file(&path).unwrap();
        } else {
            stuck += 1;
        }
    }
    assert!(stuck > 0, "it was never killed in the middle");
    own.home.ooy(&["images", "save", &file]).expect(0);
    assert!(!partial.exists());
    // At each event, and then the whole.
    for at in 0..40 {
        if there.killed_at(&["images", "load", &file], at).is_none() {
            assert!(at > 4, "{at}");
            break;
        }
        let plan = there.ooy(&["images", "load", "--dry-run", &file]).expect(0);
        assert!(plan.stderr.contains("nothing was done"), "{}", plan.stderr);
    }
    for image in &own.images {
        there.docker(&["rmi", "-f", image]);
    }
    // In the middle of the stream: half of it is there, and then nobody writes any more.
    let whole = std::fs::read(&path).unwrap();
    let mut child = there
        .command(&["images", "load", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    use std::io::Write as _;
    child
        .stdin
        .as_mut()
        .unwrap()
        .write_all(&whole[..whole.len() / 2])
        .unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    there.ooy(&["images", "load", &file]).expect(0);
    for image in &own.images {
        assert_eq!(id(&own.home, image), id(&there, image));
    }
    // A signal ends it at once, though its pipe is silent.
    for image in &own.images {
        there.docker(&["rmi", "-f", image]);
    }
    let mut child = there
        .command(&["images", "load", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .as_mut()
        .unwrap()
        .write_all(&whole[..whole.len() / 2])
        .unwrap();
    until("it has begun", Duration::from_secs(30), || {
        let journal = std::fs::read_to_string(there.folder.join("state/journal.jsonl"));
        journal.is_ok_and(|text| {
            text.lines()
                .last()
                .is_some_and(|line| line.contains("\"reading\""))
        })
    });
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    until("it ends", Duration::from_secs(10), || {
        child.try_wait().unwrap().is_some()
    });
    let ran = Ran::of(&child.wait_with_output().unwrap()).expect(130);
    assert!(ran.stderr.contains("interrupted"), "{}", ran.stderr);
    for image in &own.images {
        assert_eq!(id(&there, image), "");
    }
}

#[test]
fn what_cannot_be_had_is_told_before_anything_is_written() {
    let own = Own::new("nothad", 1_000);
    let (path, file) = own.file("a.tar");
    own.name("127.0.0.1:9/rapidpro:v6.4.8", &own.images[1]);
    let ran = own.home.ooy(&["images", "save", &file]).expect(1);
    let tidied = own.tidy(&ran.stderr);
    let tidied = regex::Regex::new("Docker: .*")
        .unwrap()
        .replace_all(&tidied, "Docker: WORDS");
    insta::assert_snapshot!("not-had", tidied);
    let digest = format!("nginx@sha256:{}", "a".repeat(64));
    own.name(&digest, &own.images[1]);
    let ran = own.home.ooy(&["images", "save", &file]).expect(2);
    assert!(ran.stderr.contains("named by its digest"), "{}", ran.stderr);
    assert!(!path.exists());
    // What an upgrade needs, on every leg.
    own.name("praekeltfoundation/rapidpro:v6.4.8", &own.images[1]);
    let planned = own
        .home
        .ooy(&[
            "images",
            "save",
            "--upgrade",
            "rapidpro",
            "--to",
            "7.2.4",
            "--dry-run",
            &file,
        ])
        .expect(0);
    for tag in [
        "rapidpro:v7.0.4",
        "rapidpro:v7.2.4",
        "mailroom",
        "courier",
        "indexer",
    ] {
        assert!(
            planned.stderr.contains(tag) || !tag.contains(':'),
            "{tag}: {}",
            planned.stderr
        );
    }
    let unknown = own
        .home
        .ooy(&[
            "images",
            "save",
            "--upgrade",
            "rapidpro",
            "--to",
            "7.1.3",
            &file,
        ])
        .expect(2);
    assert!(
        unknown.stderr.contains("no such release"),
        "{}",
        unknown.stderr
    );
}

/// What a terminal cannot show is not written to one, and machines get events.
#[test]
fn a_terminal_is_no_place_for_a_package() {
    let own = Own::new("terminal", 1_000);
    let run = |words: &str| {
        let line = format!(
            "{} --home {} {words}",
            executable().display(),
            own.home.folder.display()
        );
        let output = Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Ran::of(&output).expect(2)
    };
    assert!(run("images save -").stdout.contains("-: a terminal"));
    assert!(run("images load -").stdout.contains("-: a terminal"));
    own.home.ooy(&["--json", "images", "save", "-"]).expect(2);
    let (path, file) = own.file("a.tar");
    let events = own.home.ooy(&["--json", "images", "save", &file]).expect(0);
    let events: Vec<serde_json::Value> = events
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(
        events
            .iter()
            .all(|event| event["schema"] == 1 && event["operation"] == "images")
    );
    let steps: Vec<(&str, &str)> = events
        .iter()
        .map(|event| {
            (
                event["step"].as_str().unwrap(),
                event["event"].as_str().unwrap(),
            )
        })
        .filter(|(_, event)| *event != "progress")
        .collect();
    let planned = ("image", "planned");
    let expected = [
        planned,
        planned,
        ("save", "started"),
        ("save", "done"),
        ("operation", "done"),
    ];
    assert_eq!(steps, expected);
    assert!(Path::new(&path).is_file());
    let listed = own.home.ooy(&["--json", "images", "list"]).expect(0).json();
    assert_eq!(listed["images"][0]["id"], id(&own.home, &own.images[1]));
    // A reader that ends: what it read is not taken for a package.
    let mut child = own
        .home
        .command(&["images", "save", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ran = Ran::of(&child.wait_with_output().unwrap()).expect(1);
    assert!(
        ran.stderr.contains("nobody reads it any more"),
        "{}",
        ran.stderr
    );
}
