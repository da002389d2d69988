//! A proof, or a restore, that something else than the backup stands in the way of.

use std::fs::{File, OpenOptions};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::common::LIMIT;
use super::disks::{Disk, fill_with_noise};
use crate::harness::{Home, Ran, sql, until};

/// The backup is as good as before: neither proved nor refuted.
#[track_caller]
fn says_nothing_of_it(home: &Home, id: &str) {
    let all = home.backups();
    let backup = all.iter().find(|backup| backup["id"] == id).unwrap();
    assert_eq!(backup["proved"], false);
    assert_eq!(backup["failed_at"], Value::Null);
    assert_eq!(home.databases_beside(), Vec::<String>::new());
}

/// Whether the step that was begun last has not ended.
fn is_at(home: &Home, step: &str) -> bool {
    let text = std::fs::read_to_string(home.folder.join("state/journal.jsonl")).unwrap_or_default();
    let last = text.lines().last().unwrap_or_default();
    last.contains(&format!("\"step\":\"{step}\"")) && !last.contains("\"done\"")
}

/// Ends it by each signal, once it is at a step.
fn is_ended_at(home: &Home, id: &str, step: &str) {
    for signal in ["HUP", "INT", "TERM"] {
        let child = home
            .command(&["--yes", "backup", "verify", id])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        until("it is at its step", LIMIT, || is_at(home, step));
        let pid = child.id().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{signal}"), &pid])
            .status();
        assert!(sent.unwrap().success());
        until("it has ended", LIMIT, || !is_running(&pid));
        let ran = Ran::of(&child.wait_with_output().unwrap()).expect(130);
        assert!(
            ran.stderr.contains("what it had made so far is gone"),
            "{}",
            ran.stderr
        );
        says_nothing_of_it(home, id);
    }
}

/// A process of ours that has ended is a zombie until it is waited for.
fn is_running(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .trim_start()
        .chars()
        .next();
    !matches!(state, None | Some('Z'))
}

#[test]
fn a_signal_ends_a_proof_at_once_and_says_nothing_of_the_backup() {
    let home = Home::with_only_databases("proofsignal");
    fill_with_noise(&home, 60_000);
    let id = home.back_up(&["--database", "contentrepo"]);
    is_ended_at(&home, &id, "verify");
    home.ooy(&["--yes", "backup", "verify", &id]).expect(0);

    // A dump that takes minutes to read.
    let id = home.back_up(&["--database", "casepro"]);
    let folder = home.backup_folder(&id);
    let dump = OpenOptions::new()
        .write(true)
        .open(folder.join("casepro.dump"))
        .unwrap();
    dump.set_len(100 << 30).unwrap();
    declare(&folder, "casepro.dump", 100 << 30);
    is_ended_at(&home, &id, "digests");
}

/// Writes another length into the manifest, and seals it.
fn declare(folder: &std::path::Path, part: &str, bytes: u64) {
    let path = folder.join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for one in manifest["parts"].as_array_mut().unwrap() {
        if one["path"] == part {
            one["bytes"] = bytes.into();
        }
    }
    std::fs::write(&path, manifest.to_string()).unwrap();
    super::damage::seal_again(folder, "");
}

/// PostgreSQL's own disk: a table lies on a small one, and so does its copy.
#[test]
fn a_server_without_room_refutes_no_backup_and_leaves_everything_as_it_was() {
    let home = Home::with_only_databases("serverfull");
    let disk = Disk::mount(&home, "64m");
    let place = disk.0.join("space");
    let made = Command::new("install")
        .args(["-d", "-o", "postgres", "-m", "0700"])
        .arg(&place)
        .status();
    assert!(made.unwrap().success());
    // The server has to get there.
    let open = Command::new("chmod")
        .arg("o+x")
        .args([&home.folder, &disk.0])
        .status();
    assert!(open.unwrap().success());
    let space = format!("ooy_space_{}", std::process::id());
    sql(
        "postgres",
        &format!("CREATE TABLESPACE {space} LOCATION '{}'", place.display()),
    );
    sql(
        "postgres",
        &format!("GRANT CREATE ON TABLESPACE {space} TO contentrepo"),
    );
    fill_with_noise(&home, 20_000);
    home.as_role(
        "contentrepo",
        &format!("ALTER TABLE noise SET TABLESPACE {space}"),
    );
    let before = home.content("contentrepo");
    let id = home.back_up(&["--database", "contentrepo"]);
    for command in [&["backup", "verify", &id][..], &["restore", &id]] {
        let ran = home.ooy(&[&["--yes"], command].concat()).expect(1);
        assert!(
            ran.stderr.contains("No space left on device"),
            "{}",
            ran.stderr
        );
        assert!(
            ran.stderr.contains("says nothing of the backup"),
            "{}",
            ran.stderr
        );
        says_nothing_of_it(&home, &id);
    }
    assert!(home.content("contentrepo") == before);
    assert!(!home.folder.join("state/restore.json").exists());
    home.as_role("contentrepo", "DROP TABLE noise");
    sql("postgres", &format!("DROP TABLESPACE {space}"));
}

/// The server's disk fills while a proof goes on: `ooy` sees another disk in the data folder's place.
#[test]
fn a_proof_ends_before_the_servers_disk_falls_below_its_reserve() {
    let home = Home::with_only_databases("proofroom");
    fill_with_noise(&home, 60_000);
    let id = home.back_up(&["--database", "contentrepo"]);
    let disk = Disk::mount(&home, "1g");
    home.set("DISK_RESERVE_MB", "DISK_RESERVE_MB=500");
    let data = sql("postgres", "SHOW data_directory");
    // By which `ooy` knows a server of this host.
    std::fs::copy(
        format!("{data}/postmaster.pid"),
        disk.0.join("postmaster.pid"),
    )
    .unwrap();
    let mount = format!("mount --bind '{}' '{data}'", disk.path());
    std::thread::scope(|scope| {
        let proof = scope.spawn(|| home.after(&mount, &["--yes", "backup", "verify", &id]));
        until("it restores", LIMIT, || is_at(&home, "verify"));
        let filler = File::create(disk.0.join("filler")).unwrap();
        rustix::fs::fallocate(&filler, rustix::fs::FallocateFlags::empty(), 0, 700 << 20).unwrap();
        let ran = proof.join().unwrap().expect(1);
        assert!(ran.stderr.contains("ended in the middle"), "{}", ran.stderr);
    });
    says_nothing_of_it(&home, &id);
}
