//! An upgrade that fails goes back, images, settings and database together.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Stdio};

use super::{Asking, LIMIT};
use crate::harness::{Home, until};

/// The same content of every table, the same images, and it serves.
#[track_caller]
fn is_as_before(home: &Home, content: &str, images: &[String]) {
    assert!(home.content("rapidpro") == content, "another content");
    assert_eq!(home.images(), images);
    home.is_settled("rapidpro");
    assert_eq!(home.databases_beside(), Vec::<String>::new());
    assert_eq!(home.get("rapidpro.test", "/users/login/", &[]).0, 200);
    for service in ["rapidpro", "mailroom", "courier", "rapidpro-celery"] {
        assert_eq!(home.service_status(service)["ready"], true, "{service}");
    }
}

#[test]
fn what_fails_is_told_and_everything_is_as_before() {
    let home = super::deployment("upfails");
    home.ooy(&["start"]).expect(0);
    let seeded = home.seed_rapidpro();
    let images = home.images();
    let upgrade = ["--yes", "upgrade", "rapidpro", "--to", "7.0.4"];

    // A part that ends at once, when courier of the new version runs already: what it might have taken
    // would be in the database that is thrown away.
    home.docker(&[
        "tag",
        "ooy-stand-in/nginx:1.22.1",
        "ooy-stand-in/mailroom:v9.9.8",
    ]);
    let delivering = home.delivering(&seeded);
    let failed = home
        .ooy(&[&upgrade[..], &["--mailroom", "v9.9.8"]].concat())
        .expect(1);
    home.lost_no_message(&delivering.end());
    assert!(failed.stderr.contains("mailroom"), "{}", failed.stderr);
    assert!(failed.stderr.contains("6.4.8 is back"), "{}", failed.stderr);
    home.docker(&["rmi", "ooy-stand-in/mailroom:v9.9.8"]);

    // Static files that cannot be made, long before anything is stopped: this image has no Python.
    let image = "ooy-stand-in/rapidpro:v9.9.7";
    home.docker(&["tag", "ooy-stand-in/nginx:1.22.1", image]);
    let running = home.container("rapidpro");
    let asking = Asking::begin(&home, "rapidpro.test", "/users/login/", None);
    let parts = [
        "--mailroom",
        "v7.0.1",
        "--courier",
        "v7.0.0",
        "--indexer",
        "v7.0.0",
    ];
    let to = ["--yes", "upgrade", "rapidpro", "--to", "9.9.7"];
    let failed = home.ooy(&[&to[..], &parts].concat()).expect(1);
    let told = failed.stderr.find("✗ rapidpro: ").unwrap();
    insta::assert_snapshot!("static-files", super::tidy(&home, &failed.stderr[told..]));
    assert!(asking.end().iter().all(|(_, code)| *code == 200));
    assert_eq!(home.container("rapidpro"), running);
    assert_eq!(home.images(), images);
    home.is_settled("rapidpro");
    home.docker(&["rmi", image]);

    // Nothing writes but the database's own clocks: workers are quiet in this deployment.
    home.ooy(&["stop", "rapidpro-beat", "rapidpro-celery"])
        .expect(0);
    home.ooy(&["start", "rapidpro-celery"]).expect(0);

    // A migration in the middle: what it adds is there already.
    home.rapidpro_sql("ALTER TABLE msgs_msg ADD COLUMN metadata text");
    let before = home.content("rapidpro");
    let failed = home.ooy(&upgrade).expect(1);
    let told = failed.stderr.find("✗ RapidPro: not upgraded").unwrap();
    insta::assert_snapshot!("migration", super::tidy(&home, &failed.stderr[told..]));
    is_as_before(&home, &before, &images);
    home.rapidpro_sql("ALTER TABLE msgs_msg DROP COLUMN metadata");

    // A part that is not what its tag says.
    let image = "ooy-stand-in/mailroom:v9.9.9";
    home.docker(&["tag", "ooy-stand-in/mailroom:6.4.3", image]);
    let before = home.content("rapidpro");
    let failed = home
        .ooy(&[&upgrade[..], &["--mailroom", "v9.9.9"]].concat())
        .expect(1);
    let said = "is not version 9.9.9";
    assert!(failed.stderr.contains(said), "{}", failed.stderr);
    is_as_before(&home, &before, &images);
    home.docker(&["rmi", image]);

    // Left for a person, who takes it back by hand.
    home.rapidpro_sql("ALTER TABLE msgs_msg ADD COLUMN metadata text");
    let before = home.content("rapidpro");
    home.ooy(&[&upgrade[..], &["--no-rollback"]].concat())
        .expect(1);
    assert!(home.closed("rapidpro"));
    assert_eq!(home.get("rapidpro.test", "/users/login/", &[]).0, 503);
    let found = home.ooy(&["diagnose", "last-operation"]).expect(1);
    insta::assert_snapshot!("cut-off", super::tidy(&home, &found.stdout));
    home.ooy(&["start", "rapidpro"]).expect(1);
    home.ooy(&["--yes", "restore", "20200101-000000"]).expect(1);
    // The host goes down and comes back: all else does not wait for a person.
    home.docker(&["stop", &home.container("casepro")]);
    let booted = home.ooy(&["start", "--at-boot"]).expect(0);
    assert!(booted.stderr.contains("was cut off"), "{}", booted.stderr);
    assert_eq!(home.service_status("casepro")["ready"], true);
    // It booted while the database was migrated, and was stopped when that failed.
    assert_eq!(home.service_status("rapidpro")["state"], "exited");
    home.ooy(&["--yes", "resume", "--undo"]).expect(0);
    is_as_before(&home, &before, &images);
}

/// Its code is loaded with what it will be given, while the version before it serves.
#[test]
fn a_version_that_does_not_load_is_found_out_before_anything_is_stopped() {
    let home = super::deployment("upload");
    home.ooy(&["start", "casepro", "nginx"]).expect(0);
    let (images, running) = (home.images(), home.container("casepro"));
    let upgrade = ["--yes", "upgrade", "casepro", "--to", "1.3.17"];
    home.steer(&[("casepro", &[("STAND_IN_HANG", "perhaps")])]);
    let asking = Asking::begin(&home, "casepro.test", "/ping", None);
    let failed = home.ooy(&upgrade).expect(1);
    let told = failed.stderr.find("✗ casepro: ").unwrap();
    insta::assert_snapshot!("load", super::tidy(&home, &failed.stderr[told..]));
    assert!(asking.end().iter().all(|(_, code)| *code == 200));
    assert_eq!(home.container("casepro"), running);
    assert_eq!(home.images(), images);
    home.is_settled("casepro");

    // One that loads waits for the word, which never comes to it: the next one does not follow it.
    std::fs::remove_file(home.folder.join("compose.override.yaml")).unwrap();
    let (mut child, lines) = begun(&home, &["casepro", "--to", "1.3.17"]);
    let is_loaded = |line: &String| line.contains(r#""step":"load""#) && line.contains("done");
    let loaded = lines.map(Result::unwrap).find(is_loaded);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(loaded.is_some());
    assert_eq!(home.phase(), "preparing");
    home.ooy(&["--yes", "resume"]).expect(0);
    assert_eq!(home.tag("casepro"), "v1.3.17");
    home.is_settled("casepro");
    home.drop_databases_beside();
}

/// However much it has written since it was told to go.
#[test]
fn a_migration_that_goes_on_without_ooy_is_followed_and_not_begun_again() {
    let home = super::deployment("upfollow");
    home.ooy(&["start", "casepro"]).expect(0);
    home.steer(&[("casepro", &[("STAND_IN_MIGRATION_SECONDS", "4")])]);
    let began = home.docker(&["system", "info", "--format", "{{.SystemTime}}"]);
    let (mut child, lines) = begun(&home, &["casepro", "--to", "1.3.17"]);
    let migrates = |line: &String| line.contains("migrating 0/2");
    let migrating = lines.map(Result::unwrap).find(migrates);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(migrating.is_some());
    let release = format!("{}-casepro-release", home.project);
    home.docker(&["exec", &release, "sh", "-c", "seq 3000 >/proc/1/fd/1"]);
    home.ooy(&["--yes", "resume"]).expect(0);
    let until = home.docker(&["system", "info", "--format", "{{.SystemTime}}"]);
    let made = home.docker(&[
        "events",
        "--since",
        &began,
        "--until",
        &until,
        "--filter",
        "event=create",
        "--filter",
        &format!("container={release}"),
        "--format",
        "{{.Action}}",
    ]);
    assert_eq!(made, "create");
    assert_eq!(home.tag("casepro"), "v1.3.17");
    home.is_settled("casepro");
    home.drop_databases_beside();
}

/// In use, it is not taken back by itself: what people wrote meanwhile would be missing.
#[test]
fn a_part_that_dies_after_the_upgrade_is_told_with_its_way_back() {
    let home = Home::with_databases("uplate");
    home.set("UPGRADE_WATCH", "UPGRADE_WATCH=60s");
    home.ooy(&["start", "contentrepo"]).expect(0);
    let (mut child, lines) = begun(&home, &["contentrepo", "--to", "0.0.101"]);
    let mut last = String::new();
    for line in lines {
        last = line.unwrap();
        if last.contains(r#""step":"watch""#) && last.contains("started") {
            let pid = home.inspect("contentrepo", "{{.State.Pid}}");
            let killed = std::process::Command::new("kill")
                .args(["-9", &pid])
                .status();
            assert!(killed.unwrap().success());
        }
    }
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let told: serde_json::Value = serde_json::from_str(&last).unwrap();
    let fault = &told["faults"][0];
    let title = fault["title"].as_str().unwrap();
    assert!(title.starts_with("contentrepo: ended "), "{title}");
    let next = fault["next"].to_string();
    assert!(next.contains("rollback contentrepo --dry-run"), "{next}");
    assert_eq!(home.tag("contentrepo"), "v0.0.101");
    home.is_settled("contentrepo");
    let history = home.ooy(&["history", "--plan"]).expect(0).stdout;
    assert!(history.contains("failed: contentrepo: ended"), "{history}");
    assert!(history.contains("leg 1: 0.0.41 → 0.0.101"), "{history}");
    home.drop_databases_beside();
}

#[test]
fn a_terminal_that_is_closed_leaves_what_resume_finishes() {
    let home = super::deployment("uphup");
    home.ooy(&["start", "contentrepo"]).expect(0);
    let (mut child, lines) = begun(&home, &["contentrepo", "--to", "0.0.101"]);
    let mut last = String::new();
    for line in lines {
        last = line.unwrap();
        if last.contains(r#""step":"release""#) && last.contains(r#""event":"started""#) {
            let pid = rustix::process::Pid::from_child(&child);
            rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
        }
    }
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let told: serde_json::Value = serde_json::from_str(&last).unwrap();
    let next = told["faults"][0]["next"].to_string();
    assert!(next.contains("resume"), "{next}");
    assert!(home.closed("contentrepo"));
    home.ooy(&["--yes", "resume"]).expect(0);
    assert_eq!(home.tag("contentrepo"), "v0.0.101");
    home.is_settled("contentrepo");
    home.drop_databases_beside();
}

/// Cut off after its backup was proved; then somebody is at the backup's files.
#[test]
fn a_backup_that_was_tampered_with_is_made_anew() {
    let home = super::deployment("uptamper");
    home.ooy(&["start", "contentrepo"]).expect(0);
    // What is run with a backup that is proved: this one never ends.
    let (hook, reached) = (home.folder.join("hook"), home.folder.join("reached"));
    let script = format!("#!/bin/bash\n: >'{}'\nexec sleep 1000\n", reached.display());
    std::fs::write(&hook, script).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&hook, executable).unwrap();
    home.set("BACKUP_HOOK", &format!("BACKUP_HOOK={}", hook.display()));
    let upgrade = ["--yes", "upgrade", "contentrepo", "--to", "0.0.101"];
    let mut child = home
        .command(&upgrade)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("its backup is proved", LIMIT, || reached.exists());
    let _ = child.kill();
    let _ = child.wait();
    let dump = std::fs::read_dir(home.folder.join("backups"))
        .unwrap()
        .map(|folder| folder.unwrap().path().join("contentrepo.dump"))
        .find(|dump| dump.exists())
        .unwrap();
    let mut bytes = std::fs::read(&dump).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&dump, bytes).unwrap();
    home.set("BACKUP_HOOK", "BACKUP_HOOK=");
    let resumed = home.ooy(&["--yes", "resume"]).expect(0);
    let told = "is not what was proved: a new one is made";
    assert!(resumed.stderr.contains(told), "{}", resumed.stderr);
    assert_eq!(home.tag("contentrepo"), "v0.0.101");
    let listed = home.ooy(&["--json", "backup", "list"]).expect(0).json();
    assert_eq!(listed["backups"].as_array().unwrap().len(), 2, "{listed:#}");
    home.drop_databases_beside();
}

#[test]
fn who_holds_up_a_migration_is_named() {
    let home = super::deployment("uplock");
    home.ooy(&["start", "rapidpro"]).expect(0);
    let (mut child, lines) = begun(&home, &["rapidpro", "--to", "7.0.4", "--wiki-order"]);
    let mut holder = None;
    let (mut named, mut workerless) = (false, false);
    for line in lines {
        let line = line.unwrap();
        // Once the copy is there: it wants nobody in the database.
        if line.contains("\"step\":\"copy\"") && line.contains("\"done\"") {
            holder = Some(hold(&home));
        }
        workerless |= line.contains("runs without workers");
        if line.contains("waits for a lock of") {
            assert!(line.contains("a-tool-of-somebody"), "{line}");
            named = true;
            end(holder.take().unwrap());
        }
    }
    assert!(named && workerless);
    assert!(child.wait().unwrap().success());
    assert_eq!(home.tag("rapidpro"), "v7.0.4");
    home.drop_databases_beside();
}

/// An upgrade under way, and what it tells.
fn begun(home: &Home, arguments: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = home
        .command(&[&["--yes", "--json", "upgrade"], arguments].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

fn hold(home: &Home) -> std::process::Child {
    let database = home.database("rapidpro");
    let child = home
        .client("psql", "rapidpro")
        .env("PGAPPNAME", "a-tool-of-somebody")
        .args(["-X", "-d", &database, "-c"])
        .arg("BEGIN; LOCK TABLE msgs_msg, contacts_contact IN ACCESS SHARE MODE; SELECT pg_sleep(100)")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("the table is held", LIMIT, || {
        let held =
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'a-tool-of-somebody'";
        crate::harness::sql("postgres", held) == "1"
    });
    child
}

fn end(mut child: std::process::Child) {
    let statement = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                     WHERE application_name = 'a-tool-of-somebody'";
    crate::harness::sql("postgres", statement);
    let _ = child.wait();
}
