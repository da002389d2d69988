//! There and back: what is restored is what was backed up.

use crate::harness::{Home, until};

/// Every type, constraint and kind of object, each row, and the database's own settings.
#[test]
fn what_is_restored_is_what_was_backed_up() {
    let home = Home::with_only_databases("round");
    home.fill();
    let before = home.content("rapidpro");
    assert!(before.contains("infinity") && before.contains("lo_create"));
    let id = home.back_up(&["--prove"]);
    assert_eq!(home.backups()[0]["proved"], true);
    assert_eq!(home.databases_beside(), Vec::<String>::new());

    home.as_role("rapidpro", "DROP TABLE everything CASCADE");
    home.as_role("rapidpro", "SELECT lo_unlink(4711)");
    home.as_role("rapidpro", "CREATE TABLE of_later (a integer)");
    let damaged = home.content("rapidpro");
    let restored = home.ooy(&["--yes", "restore", &id]).expect(0);
    insta::assert_snapshot!("restored", tidy(&home, &restored.stderr));
    assert!(home.content("rapidpro") == before, "another content");
    assert_eq!(
        home.as_role("rapidpro", "SELECT last_value FROM odd_numbers"),
        "9"
    );
    assert_eq!(home.as_role("rapidpro", "SHOW timezone"), "Africa/Nairobi");

    // What was there is kept, and takes its place again.
    let kept = kept(&home, "rapidpro");
    assert!(
        home.content_of("rapidpro", &kept) == damaged,
        "what was kept is not what was there"
    );
    home.ooy(&["--yes", "restore", &kept]).expect(0);
    assert!(home.content("rapidpro") == damaged);
    let newer = self::kept(&home, "rapidpro");
    home.ooy(&["--yes", "backup", "delete", &newer]).expect(0);
    assert!(!home.databases_beside().contains(&newer));
    home.drop_databases_beside();
}

/// The database that a restore has kept last.
fn kept(home: &Home, owner: &str) -> String {
    let listed = home.ooy(&["--json", "backup", "list"]).expect(0).json();
    let all = listed["kept_databases"].as_array().unwrap();
    let of = all.iter().find(|kept| kept["owner"] == owner).unwrap();
    of["name"].as_str().unwrap().to_owned()
}

pub fn tidy(home: &Home, text: &str) -> String {
    let mut text = home.tidy(text);
    for owner in ["rapidpro", "casepro", "contentrepo"] {
        text = text.replace(&home.database(owner), owner);
    }
    for (pattern, put) in [
        (r"\d{8}[-_]\d{6}(-\d)?", "DATE"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d", "DATE"),
        (r"_[0-9a-f]{8}_", "_ID_"),
    ] {
        let pattern = regex::Regex::new(pattern).unwrap();
        text = pattern.replace_all(&text, put).into_owned();
    }
    text
}

/// A gigabyte of rows: equal, row by row, and `ooy` itself needs no more memory for it.
#[test]
fn a_gigabyte_of_rows_is_equal_row_by_row() {
    let home = Home::with_only_databases("giga");
    // 900 bytes a row that do not go into TOAST, and shrink well: it is the rows that count here.
    home.as_role(
        "rapidpro",
        "CREATE TABLE rows (id bigint PRIMARY KEY, text text NOT NULL)",
    );
    home.as_role(
        "rapidpro",
        "INSERT INTO rows SELECT n, repeat(md5(n::text), 28) FROM generate_series(1, 1100000) n",
    );
    let size = home.as_role("rapidpro", "SELECT pg_table_size('rows')");
    assert!(size.parse::<u64>().unwrap() > 1_000_000_000, "{size}");
    // Of all columns of all rows, whatever their order.
    let digest = "SELECT count(*), sum(hashtextextended(r::text, 0)::numeric) FROM rows r";
    let before = home.as_role("rapidpro", digest);

    let mut create = home
        .command(&[
            "--yes",
            "--quiet",
            "backup",
            "create",
            "--database",
            "rapidpro",
        ])
        .spawn()
        .unwrap();
    let mut peak = 0;
    until(
        "the backup is made",
        std::time::Duration::from_secs(180),
        || {
            let status = std::fs::read_to_string(format!("/proc/{}/status", create.id()));
            let largest = status.unwrap_or_default();
            let largest = largest.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kilobytes =
                largest.and_then(|of| of.split_whitespace().next()?.parse::<u64>().ok());
            peak = peak.max(kilobytes.unwrap_or_default());
            create.try_wait().unwrap().is_some()
        },
    );
    assert!(create.wait().unwrap().success());
    assert!(peak < 40_000, "{peak} KB for a gigabyte");
    let id = home.backups()[0]["id"].as_str().unwrap().to_owned();
    home.as_role("rapidpro", "DELETE FROM rows WHERE id % 10 = 0");
    home.ooy(&["--yes", "restore", &id]).expect(0);
    assert_eq!(home.as_role("rapidpro", digest), before);
    home.drop_databases_beside();
}

/// By number and by age, never the last that is proved, and what a person has made to be kept.
#[test]
fn old_backups_go_when_a_new_one_is_made() {
    let home = Home::with_only_databases("retain");
    home.set("BACKUP_KEEP", "BACKUP_KEEP=2");
    let only = ["--database", "contentrepo"];
    let proved = home.back_up(&[&only[..], &["--prove"]].concat());
    let kept = home.back_up(&[&only[..], &["--keep", "before the move"]].concat());
    let gone = home.back_up(&only);
    let (third, fourth) = (home.back_up(&only), home.back_up(&only));
    let ids = |home: &Home| -> Vec<String> {
        let all = home.backups();
        let ids = all
            .iter()
            .map(|backup| backup["id"].as_str().unwrap().to_owned());
        ids.collect()
    };
    assert_eq!(
        ids(&home),
        [&fourth, &third, &kept, &proved].map(Clone::clone)
    );
    assert!(!home.backup_folder(&gone).exists());

    let listed = home.ooy(&["backup", "list"]).expect(0);
    // Names that were made within one second are longer, and with them the columns.
    let blanks = regex::Regex::new(" {2,}").unwrap();
    let shown = tidy(&home, &listed.stdout);
    insta::assert_snapshot!("list", blanks.replace_all(&shown, "  "));
    // What is kept goes only when it is insisted on.
    let refused = home.ooy(&["--yes", "backup", "delete", &kept]).expect(1);
    insta::assert_snapshot!("delete-kept", tidy(&home, &refused.stderr));
    home.ooy(&["--yes", "backup", "delete", &third, "--dry-run"])
        .expect(0);
    assert!(home.backup_folder(&third).exists());
    home.ooy(&["--yes", "backup", "delete", "--force", &kept])
        .expect(0);
    assert_eq!(ids(&home), [&fourth, &third, &proved].map(Clone::clone));
    home.ooy(&["backup", "delete", &third]).expect(1);
    home.ooy(&["--yes", "backup", "delete", "--expired"])
        .expect(0);
    assert_eq!(ids(&home).len(), 3);
}

/// On another disk, found again without being told.
#[test]
fn a_backup_in_another_folder_is_found_again() {
    let home = Home::with_only_databases("elsewhere");
    let disk = home.folder.join("usb");
    std::fs::create_dir(&disk).unwrap();
    let to = disk.display().to_string();
    let id = home.back_up(&["--database", "casepro", "--to", &to]);
    assert!(disk.join(&id).join("manifest.json").is_file());
    home.ooy(&["--yes", "backup", "verify", &id]).expect(0);
    assert_eq!(home.backups()[0]["proved"], true);
    std::fs::rename(&disk, home.folder.join("unplugged")).unwrap();
    let listed = home.ooy(&["backup", "list"]).expect(0);
    assert!(
        listed.stderr.contains("usb cannot be read now"),
        "{}",
        listed.stderr
    );
    // By its folder, wherever that is.
    let moved = home
        .folder
        .join("unplugged")
        .join(&id)
        .display()
        .to_string();
    home.ooy(&["--yes", "backup", "verify", &moved]).expect(0);
}
