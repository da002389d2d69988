//! Help, usage errors, and what every command has in common.

use std::process::{Command, Stdio};

use crate::harness::{Home, Ran, executable};

fn ooy(arguments: &[&str]) -> Ran {
    let output = Command::new(executable())
        .env_clear()
        .env("LC_ALL", "C.UTF-8")
        .env("COLUMNS", "100")
        .args(arguments)
        .output()
        .unwrap();
    Ran::of(&output)
}

#[test]
fn help_names_every_command_with_examples() {
    insta::assert_snapshot!("help", ooy(&["--help"]).expect(0).stdout);
    for command in [
        "init", "config", "start", "stop", "restart", "status", "logs",
    ] {
        let help = ooy(&[command, "--help"]).expect(0).stdout;
        assert!(help.contains("Examples:"), "{command}");
        insta::assert_snapshot!(format!("help-{command}"), help);
    }
    insta::assert_snapshot!("help-boot", ooy(&["boot", "--help"]).expect(0).stdout);
    for command in ["enable", "disable", "status"] {
        let help = ooy(&["boot", command, "--help"]).expect(0).stdout;
        assert!(help.contains("Examples:"), "boot {command}");
    }
    for command in ["list", "save", "load"] {
        let help = ooy(&["images", command, "--help"]).expect(0).stdout;
        assert!(help.contains("Examples:"), "images {command}");
    }
    insta::assert_snapshot!("help-calls", ooy(&["calls", "--help"]).expect(0).stdout);
    for command in ["list", "deliver", "retry", "serve", "dialplan"] {
        let help = ooy(&["calls", command, "--help"]).expect(0).stdout;
        assert!(help.contains("Examples:"), "calls {command}");
        insta::assert_snapshot!(format!("help-calls-{command}"), help);
    }
}

#[test]
fn the_version_names_commit_and_target() {
    let said = ooy(&["--version"]).expect(0).stdout;
    let answer = ooy(&["--version", "--json"]).expect(0).json();
    let text = |name: &str| answer[name].as_str().unwrap();
    assert_eq!(answer["schema"], 1);
    assert_eq!(text("version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(text("target"), "x86_64-unknown-linux-gnu");
    let commit = text("commit");
    assert!(
        commit == "unknown" || commit.len() == 12 && commit.bytes().all(|b| b.is_ascii_hexdigit()),
        "{commit}"
    );
    assert_eq!(
        said,
        format!("ooy {} ({commit}, {})\n", text("version"), text("target"))
    );
    assert_eq!(ooy(&["-V"]).expect(0).stdout, said);
    for order in [&["--json", "--version"][..], &["-V", "--json"]] {
        assert_eq!(ooy(order).expect(0).json(), answer);
    }
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for arguments in [
        &["strat"][..],
        &["start", "--no-such"],
        &["logs", "-n", "many"],
        &["calls"],
        &["calls", "retry"],
        &["calls", "retry", "--dead", "1"],
        &[],
    ] {
        assert_eq!(ooy(arguments).code, 2, "{arguments:?}");
    }
}

#[test]
fn the_executable_is_static_stripped_and_small() {
    let path = executable();
    let ldd = Command::new("ldd").arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&ldd.stdout) + String::from_utf8_lossy(&ldd.stderr);
    assert!(
        said.contains("statically linked") || said.contains("not a dynamic executable"),
        "{said}"
    );
    // Only the release build is stripped and small; scripts/test runs the tests with it.
    if std::env::var_os("OOY_BIN").is_some() {
        assert!(std::fs::metadata(&path).unwrap().len() <= 15_000_000);
        let nm = Command::new("nm").arg(&path).output().unwrap();
        assert!(String::from_utf8_lossy(&nm.stderr).contains("no symbols"));
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let home = Home::new("pipe");
    let mut child = home
        .command(&["config", "nginx"])
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

#[test]
fn colour_is_only_where_it_is_wanted() {
    let home = Home::empty("colour");
    let text = |arguments: &[&str]| home.ooy(arguments).stderr;
    assert!(!text(&["start"]).contains('\u{1b}'), "a pipe");
    assert!(text(&["--color", "always", "start"]).contains('\u{1b}'));
    assert!(!text(&["--color", "never", "start"]).contains('\u{1b}'));
    let output = home
        .command(&["start"])
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    assert!(
        output.stderr.is_ascii(),
        "signs in ASCII where the locale has no others"
    );
}
