//! What a diagnosis says of backups, and of a restore that was cut off.

use std::path::Path;

use crate::backup::damage::seal_again;
use crate::harness::Home;

/// As if `ooy` had been here for ten days already.
fn is_old(home: &Home) {
    let begun = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(240);
    let line = format!(
        r#"{{"schema":1,"id":"1-1","at":"{begun}","operation":"start","user":"root","step":"operation","service":null,"event":"started","took_ms":null,"detail":""}}"#
    );
    let state = home.folder.join("state");
    std::fs::create_dir_all(&state).unwrap();
    std::fs::write(state.join("journal.jsonl.1"), line + "\n").unwrap();
}

/// As if a backup had been made so many hours ago.
fn age(folder: &Path, hours: i64) {
    let path = folder.join("manifest.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
    let made = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(hours);
    manifest["made_at"] = made.to_string().into();
    std::fs::write(&path, manifest.to_string()).unwrap();
    seal_again(folder, "");
}

#[test]
fn backups_that_are_missing_old_unproved_or_have_no_room_are_found() {
    let home = Home::with_only_databases("diagbackup");
    let checks = ["backup-age", "backup-proof", "backup-space"];
    // In the first days nobody is told off.
    assert_eq!(home.diagnose(&checks).json["ok"], true);
    is_old(&home);
    home.diagnose(&checks).only_root("backup-missing");
    let shown = home.ooy(&["diagnose", "backup-age"]).expect(1);
    insta::assert_snapshot!(
        "diagnosed-missing",
        crate::backup::round::tidy(&home, &shown.stdout)
    );
    // What it names as the repair.
    let id = home.back_up(&["--prove"]);
    let well = home
        .ooy(&["diagnose", "backup-age", "backup-proof", "backup-space"])
        .expect(0);
    assert!(well.stdout.contains("ago, proved"), "{}", well.stdout);

    let folder = home.backup_folder(&id);
    age(&folder, 100);
    home.diagnose(&["backup-age"]).only_root("backup-old");
    home.set("BACKUP_HOURS", "BACKUP_HOURS=0");
    assert_eq!(home.diagnose(&["backup-age"]).json["ok"], true);
    home.set("BACKUP_HOURS", "BACKUP_HOURS=48");

    // Made two hours ago, and nobody has proved it.
    std::fs::remove_file(folder.join("status.json")).unwrap();
    age(&folder, 2);
    home.diagnose(&["backup-proof"])
        .only_root("backup-unproved");
    home.ooy(&["--yes", "backup", "verify", &id]).expect(0);
    assert_eq!(home.diagnose(&["backup-proof"]).json["ok"], true);
    let dump = folder.join("casepro.dump");
    let whole = std::fs::read(&dump).unwrap();
    std::fs::write(&dump, &whole[1..]).unwrap();
    home.ooy(&["--yes", "backup", "verify", &id]).expect(1);
    let damaged = home.diagnose(&["backup-proof"]);
    let finding = damaged.only_root("backup-unproved");
    assert_eq!(finding["severity"], "error");
    std::fs::write(&dump, &whole).unwrap();
    home.ooy(&["--yes", "backup", "verify", &id]).expect(0);

    home.set("DISK_RESERVE_MB", "DISK_RESERVE_MB=1000000");
    home.diagnose(&["backup-space"]).only_root("backup-space");
}

#[test]
fn a_restore_that_was_cut_off_is_found_and_nothing_is_started_on_it() {
    let home = Home::with_only_databases("cutoff");
    let id = home.back_up(&["--database", "casepro"]);
    let cut = (0..20).find_map(|at| {
        let event = home.killed_at(&["restore", &id], at)?;
        event.contains("\"restore\"").then_some(())?;
        home.folder
            .join("state/restore.json")
            .is_file()
            .then_some(event)
    });
    assert!(cut.is_some());
    let diagnosed = home.diagnose(&["last-operation"]);
    let finding = diagnosed.only_root("operation-unfinished");
    let first = finding["fix"]["manual"][0].as_str().unwrap();
    assert!(first.ends_with(" resume"), "{finding:#}");
    for command in [["start", "casepro"], ["restart", "casepro-celery"]] {
        let refused = home.ooy(&command).expect(1);
        assert!(
            refused.stderr.contains("resume --undo"),
            "{}",
            refused.stderr
        );
    }
    home.ooy(&["--yes", "resume", "--undo"]).expect(0);
    assert_eq!(home.diagnose(&["last-operation"]).json["ok"], true);
    assert_eq!(home.databases_beside(), Vec::<String>::new());
}
