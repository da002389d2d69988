//! Disks that are full, gone, broken or read-only.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::common::{Held, LIMIT, dumping};
use super::round::tidy;
use crate::harness::{Home, Ran, until};

/// A small disk of its own, in memory.
pub struct Disk(pub PathBuf);

impl Disk {
    pub fn mount(home: &Home, size: &str) -> Self {
        let at = home.folder.join("disk");
        std::fs::create_dir_all(&at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"])
            .arg(&at)
            .status();
        assert!(mounted.unwrap().success());
        Self(at)
    }

    pub fn path(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Random bytes do not shrink: it is larger than was foreseen.
pub fn fill_with_noise(home: &Home, rows: u32) {
    home.as_role(
        "contentrepo",
        &format!(
            "CREATE TABLE noise AS SELECT n, (SELECT string_agg(md5(random()::text || n || i), '') \
             FROM generate_series(1, 60) i) AS text FROM generate_series(1, {rows}) n"
        ),
    );
}

#[test]
fn a_disk_that_fills_up_keeps_its_reserve_and_nothing_half_is_listed() {
    let home = Home::with_only_databases("fullbackup");
    fill_with_noise(&home, 20_000);
    let disk = Disk::mount(&home, "40m");
    home.set("DISK_RESERVE_MB", "DISK_RESERVE_MB=20");
    let only = [
        "--yes",
        "backup",
        "create",
        "--database",
        "contentrepo",
        "--to",
    ];
    let ran = home.ooy(&[&only[..], &[&disk.path()]].concat()).expect(1);
    assert!(ran.stderr.contains("not enough room"), "{}", ran.stderr);
    assert_eq!(std::fs::read_dir(&disk.0).unwrap().count(), 0);
    // Without a reserve it is PostgreSQL's program that finds no room.
    home.set("DISK_RESERVE_MB", "DISK_RESERVE_MB=0");
    let filler = disk.0.join("filler");
    std::fs::write(&filler, vec![1; 25 << 20]).unwrap();
    let ran = home.ooy(&[&only[..], &[&disk.path()]].concat()).expect(1);
    assert!(ran.stderr.contains("next"), "{}", ran.stderr);
    assert_eq!(std::fs::read_dir(&disk.0).unwrap().count(), 1);
    home.has_no_backup();
}

#[test]
fn a_folder_that_is_not_there_or_goes_away_is_told() {
    let home = Home::with_only_databases("unplugged");
    home.as_role("contentrepo", "CREATE TABLE a AS SELECT 1 AS n");
    let only = [
        "--yes",
        "backup",
        "create",
        "--database",
        "contentrepo",
        "--to",
    ];
    let nowhere = home.folder.join("nowhere").display().to_string();
    let ran = home.ooy(&[&only[..], &[&nowhere]].concat()).expect(2);
    insta::assert_snapshot!("no-folder", tidy(&home, &ran.stderr));
    // The disk goes while the dump waits for a table.
    home.set("DISK_RESERVE_MB", "DISK_RESERVE_MB=1");
    let disk = Disk::mount(&home, "40m");
    let held = Held::table(&home, "contentrepo", "a");
    let child = home
        .command(&[&only[..], &[&disk.path()]].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("it dumps", LIMIT, || dumping(&home));
    drop(disk);
    drop(held);
    let ran = Ran::of(&child.wait_with_output().unwrap()).expect(1);
    assert!(
        ran.stderr.contains("not written") || ran.stderr.contains("not backed up"),
        "{}",
        ran.stderr
    );
    home.has_no_backup();
}

const ONLY: [&str; 5] = ["--yes", "backup", "create", "--database", "contentrepo"];

/// Every file that a backup consists of is the one for which there is no room, once.
#[test]
fn a_disk_that_is_full_at_any_file_leaves_nothing_half() {
    let home = Home::with_only_databases("fullstages");
    home.set("DISK_RESERVE_MB", "DISK_RESERVE_MB=1");
    // The disk itself is the first inode.
    for inodes in 2..80 {
        let disk = Disk::mount(&home, &format!("40m,nr_inodes={inodes}"));
        let ran = home.ooy(&[&ONLY[..], &["--to", &disk.path()]].concat());
        if ran.code == 0 {
            assert!(inodes > 12, "{inodes}");
            assert_eq!(home.backups().len(), 1);
            return;
        }
        assert!(
            ran.stderr.contains("No space left on device"),
            "{}",
            ran.stderr
        );
        assert_eq!(std::fs::read_dir(&disk.0).unwrap().count(), 0);
    }
    panic!("it never had enough room");
}

/// It takes what is written, and loses it: only `fsync` tells.
#[test]
fn a_disk_that_does_not_keep_what_it_took_makes_no_backup() {
    let home = Home::with_only_databases("fsync");
    fill_with_noise(&home, 30_000);
    home.set("DISK_RESERVE_MB", "DISK_RESERVE_MB=1");
    let below = Disk::mount(&home, "24m");
    let at = home.folder.join("broken");
    let script = "truncate -s 300m \"$1/image\" && mkfs.ext4 -q -O ^has_journal \"$1/image\" && \
                  mkdir \"$2\" && mount -o loop \"$1/image\" \"$2\"";
    let made = Command::new("sh")
        .args(["-c", script, ""])
        .arg(&below.0)
        .arg(&at)
        .status();
    assert!(made.unwrap().success());
    let broken = Disk(at);
    let ran = home
        .ooy(&[&ONLY[..], &["--to", &broken.path()]].concat())
        .expect(1);
    assert!(ran.stderr.contains("could not fsync"), "{}", ran.stderr);
    home.has_no_backup();
}

#[test]
fn a_place_that_cannot_be_looked_into_hinders_nobody() {
    let home = Home::with_only_databases("badplace");
    home.set("DISK_RESERVE_MB", "DISK_RESERVE_MB=1");
    let disk = Disk::mount(&home, "40m");
    let to = disk.path();
    home.ooy(&[&ONLY[..], &["--to", &to]].concat()).expect(0);
    // What a killed one has left there cannot be removed now.
    let left = disk
        .0
        .join(format!(".20260101-000000.{}.partial", home.project));
    std::fs::create_dir(&left).unwrap();
    let remount = Command::new("mount")
        .args(["-o", "remount,ro", &to])
        .status();
    assert!(remount.unwrap().success());
    home.back_up(&["--database", "contentrepo", "--prove"]);
    assert_eq!(home.backups().len(), 2);
    assert!(left.exists());
    drop(disk);
    std::fs::remove_dir(&to).unwrap();
    std::fs::write(&to, "").unwrap();
    home.back_up(&["--database", "contentrepo", "--prove"]);
    let listed = home.ooy(&["backup", "list"]).expect(0);
    assert!(listed.stderr.contains(&to), "{}", listed.stderr);
    assert_eq!(home.backups().len(), 2);
}
