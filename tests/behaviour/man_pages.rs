//! The man pages: what `man` and mandoc say of them, and how they come to a disk.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::harness::{Ran, executable};

fn ooy(arguments: &[&str]) -> Ran {
    Ran::of(&command(arguments).output().unwrap())
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(executable());
    command.env_clear().env("LC_ALL", "C.UTF-8").args(arguments);
    command
}

/// All pages, in a folder.
fn written(folder: &Path) -> Vec<PathBuf> {
    ooy(&["man", "--write", folder.to_str().unwrap()]).expect(0);
    let mut pages: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    pages.sort();
    pages
}

#[track_caller]
fn run(program: &str, arguments: &[&str], pages: &[PathBuf]) -> Ran {
    let output = Command::new(program)
        .args(arguments)
        .args(pages)
        .env("MANWIDTH", "80")
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}: scripts/test installs it"));
    Ran::of(&output)
}

#[test]
fn mandoc_and_man_find_nothing_wrong_with_any_page() {
    let folder = tempfile::tempdir().unwrap();
    let pages = written(folder.path());
    assert!(pages.len() > 30, "{pages:?}");
    let lint = run("mandoc", &["-T", "lint", "-W", "warning"], &pages).expect(0);
    assert_eq!(lint.stdout + &lint.stderr, "");
    let formatted = run(
        "man",
        &["--warnings", "-E", "UTF-8", "-Tutf8", "-Z", "-l"],
        &pages,
    )
    .expect(0);
    assert_eq!(formatted.stderr, "");
    // What apropos(1) finds a page by.
    let names = run("lexgrog", &[], &pages).expect(0);
    assert!(
        names
            .stdout
            .contains("\"ooy-backup-create - make a backup: "),
        "{}",
        names.stdout
    );
}

#[test]
fn a_page_has_what_its_reader_looks_for() {
    let page = ooy(&["man", "backup", "create"]).expect(0).stdout;
    let page: Vec<&str> = page
        .lines()
        .map(|line| match line.starts_with(".TH ") {
            true => ".TH",
            false => line,
        })
        .collect();
    insta::assert_snapshot!("man-backup-create", page.join("\n"));
    let whole = ooy(&["man"]).expect(0).stdout;
    for part in [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "OPTIONS",
        "COMMANDS",
        "\"EXIT STATUS\"",
        "EXAMPLES",
        "ENVIRONMENT",
        "FILES",
        "\"SEE ALSO\"",
    ] {
        assert!(
            whole.contains(&format!("\n.SH {part}\n")),
            "{part}\n{whole}"
        );
    }
    for text in [
        "/etc/ooy/ooy.env",
        "/var/spool/ooy",
        "OOY_HOME",
        "NO_COLOR",
        "ooy\\-start",
    ] {
        assert!(whole.contains(text), "{text}\n{whole}");
    }
    assert!(!whole.contains("probe"), "a hidden command");
    assert!(
        !ooy(&["man", "start"]).stdout.contains("at\\-boot"),
        "a hidden option"
    );
}

#[test]
fn a_page_is_found_by_words_and_by_its_name() {
    let page = ooy(&["man", "backup", "create"]).expect(0).stdout;
    assert!(page.contains(".TH OOY-BACKUP-CREATE 1 "));
    for name in ["backup-create", "ooy-backup-create"] {
        assert_eq!(ooy(&["man", name]).expect(0).stdout, page);
    }
    let json = ooy(&["man", "backup-create", "--json"]).expect(0).json();
    assert_eq!((&json["schema"], &json["text"]), (&1.into(), &page.into()));
}

#[test]
fn a_page_that_does_not_exist_is_a_fault_with_the_nearest_name() {
    insta::assert_snapshot!(ooy(&["man", "strat"]).expect(2).stderr, @r"
    ✗ strat: no such page

      what      there is no command of that name
      evidence  ooy --help lists all commands
      why       there is nothing to show
      next      ooy man start
    ");
}

#[test]
fn pages_are_written_for_everybody_and_again_only_where_they_changed() {
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("share/man/man1");
    // An operator's umask must not hide them.
    let output = Command::new("sh")
        .args(["-c", "umask 077; exec \"$0\" man --write \"$1\""])
        .arg(executable())
        .arg(&below)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    let ran = Ran::of(&output).expect(0);
    assert!(
        ran.stderr.starts_with("✓ ") && ran.stderr.contains(" pages in "),
        "{}",
        ran.stderr
    );
    let path = below.join("ooy-start.1");
    let before = std::fs::metadata(&path).unwrap();
    assert_eq!(before.permissions().mode() & 0o777, 0o644);
    std::fs::write(below.join("ooy.1"), "cut off").unwrap();
    let ran = ooy(&["man", "--json", "--write", below.to_str().unwrap()])
        .expect(0)
        .json();
    assert!(
        ran["pages"]
            .as_array()
            .unwrap()
            .contains(&"ooy-start.1".into())
    );
    assert_eq!(std::fs::metadata(&path).unwrap().ino(), before.ino());
    let whole = std::fs::read_to_string(below.join("ooy.1")).unwrap();
    assert_eq!(whole, ooy(&["man"]).stdout);
    // Nothing of a half written one is left.
    assert!(
        std::fs::read_dir(&below).unwrap().all(|it| !it
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with('.'))
    );
}

#[test]
fn a_folder_that_cannot_be_written_is_a_fault() {
    let ran = ooy(&["man", "--write", "/proc/ooy"]).expect(1);
    insta::assert_snapshot!(ran.stderr, @r"
    ✗ /proc/ooy: cannot be written

      what      the man pages could not all be written there
      evidence  No such file or directory
      why       pages that were written are whole, others are as they were or missing
      next      ls -ld /proc
                ooy man --write /proc/ooy
    ");
}

#[test]
fn a_page_survives_a_reader_that_goes_away() {
    let mut child = command(&["--home", "/nonexistent/ooy", "man"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), output.stderr.as_slice()),
        (Some(0), &b""[..])
    );
}
