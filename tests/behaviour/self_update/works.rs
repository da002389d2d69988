//! What goes well: there, and back, from wherever releases lie.

use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use super::Host;
use super::made::{Made, NEW, OLD, archive_of};
use super::server::{Manner, Server};
use crate::harness::{Ran, executable};

#[test]
fn the_newer_release_takes_the_place_and_the_older_one_comes_back() {
    let host = Host::new();
    let server = Server::of(&Made::get().releases);
    let url = server.url("");
    let planned = host
        .ooy(&["self-update", "--from", &url, "--dry-run"])
        .expect(0);
    host.is_as_it_was();
    insta::assert_snapshot!(host.tidy(&planned.stderr), @r"
    ooy self-update · 0.7.0 → 0.8.0 · of 2026-11-26
      0.8.0      ### Added
                 - A bell that rings at night.
      from       http://SERVER/ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz · SIZE
      replaces   HOST/bin/ooy
      keeps      0.7.0 as HOST/bin/ooy.previous
    nothing was done (--dry-run)
    ");
    let declined = host.ooy(&["self-update", "--from", &url]).expect(1);
    assert!(
        declined.stderr.contains("--yes self-update --from"),
        "{}",
        declined.stderr
    );
    host.is_as_it_was();

    let updated = host.update(&url).expect(0);
    host.is_updated();
    let after_plan = updated.stderr.split_once("ooy.previous\n").unwrap().1;
    insta::assert_snapshot!(host.tidy(after_plan), @r"
    ✓ download    SIZE   N s
    ✓ verify      checksum and signature (key DAY)
    ✓ self-check  ooy 0.8.0 (0123456789ab) runs here
    ✓ replace     HOST/bin/ooy; ooy 0.7.0 is kept as HOST/bin/ooy.previous
    ✓ ooy 0.8.0 (0123456789ab)
      back to 0.7.0: ooy --home HOST/home self-update --rollback
    ");
    let mode = std::fs::metadata(host.executable()).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o755);

    let again = host.update(&url).expect(0);
    insta::assert_snapshot!(host.tidy(&again.stderr), @r"✓ ooy 0.8.0 is the newest");

    let back = host.ooy(&["--yes", "self-update", "--rollback"]).expect(0);
    host.is(&host.executable(), OLD);
    host.is(&host.previous(), NEW);
    insta::assert_snapshot!(host.tidy(&back.stderr), @r"
    ooy self-update --rollback · 0.8.0 (0123456789ab) → 0.7.0 (0123456789ab)
      replaces   HOST/bin/ooy
      keeps      0.8.0 as HOST/bin/ooy.previous
    ✓ replace     HOST/bin/ooy; ooy 0.8.0 is kept as HOST/bin/ooy.previous
    ✓ ooy 0.7.0 (0123456789ab)
      back to 0.8.0: ooy --home HOST/home self-update --rollback
    ");
    host.ooy(&["--yes", "self-update", "--rollback"]).expect(0);
    host.is_updated();
}

#[test]
fn a_check_only_tells() {
    let host = Host::new();
    let server = Server::of(&Made::get().releases);
    let url = server.url("/");
    let checked = host
        .ooy(&["self-update", "--check", "--from", &url])
        .expect(1);
    insta::assert_snapshot!(host.tidy(&checked.stdout), @r"
    ooy 0.7.0 → 0.8.0 is there · of 2026-11-26
      0.8.0      ### Added
                 - A bell that rings at night.
    next: ooy --home HOST/home self-update
    ");
    let json = host
        .ooy(&["--json", "self-update", "--check", "--from", &url])
        .expect(1)
        .json();
    assert_eq!(json["schema"], 1);
    assert_eq!([&json["installed"], &json["newest"]], [OLD, NEW]);
    assert_eq!(json["newer"], true);
    assert_eq!(json["accepted"], true);
    assert_eq!(json["from"], server.url(&format!("/{}", archive_of(NEW))));
    assert_eq!(
        json["releases"][0]["notes"],
        "### Added\n- A bell that rings at night.\n"
    );
    host.is_as_it_was();
    // Only the list was looked at.
    assert!(
        server.asked().iter().all(|path| path == "/releases.json"),
        "{:?}",
        server.asked()
    );
    host.update(&url).expect(0);
    let checked = host
        .ooy(&["self-update", "--check", "--from", &url])
        .expect(0);
    assert_eq!(checked.stdout, format!("ooy {NEW} is the newest\n"));
}

#[test]
fn machines_are_told_each_step() {
    let host = Host::new();
    let from = Made::get().releases.display().to_string();
    let updated = host
        .ooy(&["--yes", "--json", "self-update", "--from", &from])
        .expect(0);
    let events: Vec<String> = updated
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|event: &serde_json::Value| event["event"] != "progress")
        .map(|event| {
            format!(
                "{} {}",
                event["step"].as_str().unwrap(),
                event["event"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(
        events,
        [
            "plan planned",
            "plan planned",
            "download done",
            "verify done",
            "self-check done",
            "replace done",
            "operation done"
        ]
    );
    assert_eq!(updated.stderr, "");
}

#[test]
fn releases_lie_in_a_folder_or_in_what_the_settings_name_or_are_one_archive() {
    let releases = &Made::get().releases;
    for from in [releases.clone(), Made::get().archive(NEW)] {
        let host = Host::new();
        host.update(&from.display().to_string()).expect(0);
        host.is_updated();
    }
    let host = Host::new();
    let setting = format!("RELEASES={}\n", releases.display());
    std::fs::write(host.path("home/ooy.env"), setting).unwrap();
    host.ooy(&["--yes", "self-update"]).expect(0);
    host.is_updated();
    // What is wrong there is not overlooked.
    std::fs::write(host.path("home/ooy.env"), "RELEASES=ftp://host\n").unwrap();
    let refused = host.ooy(&["self-update", "--check"]).expect(2);
    insta::assert_snapshot!(host.tidy(&refused.stderr), @r"
    ✗ self-update: RELEASES cannot be used

      what      it has to name where releases of ooy are
      evidence  line 1: RELEASES is neither github:OWNER/NAME nor an http:// or https:// address nor a path
      why       nothing was done
      next      nano HOST/home/ooy.env
                ooy --home HOST/home self-update --check
    ");
}

#[test]
fn an_older_release_is_taken_only_where_that_was_asked_for() {
    let host = Host::new();
    host.put(NEW, &host.executable());
    let older = Made::get().archive(OLD).display().to_string();
    let refused = host.update(&older).expect(1);
    insta::assert_snapshot!(host.tidy(&refused.stderr), @r"
    ✗ self-update: 0.7.0 is older than what is installed

      what      the newest release that is offered is an older one
      evidence  RELEASES/ooy-0.7.0-x86_64-unknown-linux-gnu.tar.gz: 0.7.0
                HOST/bin/ooy: 0.8.0 (0123456789ab)
      why       an older ooy may not read what this one has written; the present one stays as it is
      next      ooy --home HOST/home self-update --from RELEASES/ooy-0.7.0-x86_64-unknown-linux-gnu.tar.gz --allow-downgrade
    ");
    host.is(&host.executable(), NEW);
    let checked = host
        .ooy(&["self-update", "--check", "--from", &older])
        .expect(0);
    assert_eq!(
        checked.stdout,
        format!("ooy {NEW} is the newest; there is only {OLD}\n")
    );
    host.ooy(&[
        "--yes",
        "self-update",
        "--allow-downgrade",
        "--from",
        &older,
    ])
    .expect(0);
    host.is(&host.executable(), OLD);
    host.is(&host.previous(), NEW);
}

#[test]
fn a_copy_that_runs_goes_on() {
    let host = Host::new();
    let server = Server::of(&Made::get().releases);
    // It waits for an answer that never comes.
    server.behave("/mute/releases.json", Manner::Mute);
    let mute = server.url("/mute");
    let runs = host
        .command(&[
            "self-update",
            "--check",
            "--from",
            &mute,
            "--timeout",
            "3600",
        ])
        .spawn();
    let mut runs = runs.unwrap();
    server.is_asked_for("/mute/releases.json");
    host.update(&server.url("")).expect(0);
    host.is_updated();
    assert_eq!(runs.try_wait().unwrap(), None);
    let runs_still = std::fs::read_link(format!("/proc/{}/exe", runs.id())).unwrap();
    assert!(
        runs_still.ends_with("bin/ooy (deleted)"),
        "{}",
        runs_still.display()
    );
    runs.kill().unwrap();
    runs.wait().unwrap();
}

#[test]
fn through_a_link_the_file_itself_is_replaced() {
    let host = Host::new();
    let link = host.path("ooy");
    symlink("bin/ooy", &link).unwrap();
    let from = Made::get().releases.display().to_string();
    let mut command = host.command_of(&link, &["--yes", "self-update", "--from", &from]);
    Ran::of(&command.output().unwrap()).expect(0);
    assert!(link.symlink_metadata().unwrap().is_symlink());
    host.is(&link, NEW);
    host.is_updated();
}

/// The older one, started before the newer one took its place.
fn replaced_meanwhile(host: &Host, arguments: &[&str]) -> Ran {
    let was = std::fs::File::open(host.executable()).unwrap();
    let new = host.path("bin/new");
    host.put(NEW, &new);
    std::fs::rename(new, host.executable()).unwrap();
    let program = format!("/proc/self/fd/{}", was.as_raw_fd());
    let mut command = host.command_of(program.as_ref(), arguments);
    Ran::of(&command.arg0("ooy").output().unwrap())
}

#[test]
fn what_was_replaced_while_it_ran_means_what_lies_there_now() {
    let host = Host::new();
    let from = Made::get().releases.display().to_string();
    let ran = replaced_meanwhile(&host, &["self-update", "--check", "--from", &from]).expect(0);
    assert_eq!(ran.stdout, format!("ooy {NEW} is the newest\n"));
    insta::assert_snapshot!(host.tidy(&ran.stderr), @r"! this ooy was replaced while it ran: HOST/bin/ooy is 0.8.0 (0123456789ab) now, and that is what is meant");
    let older = Made::get().archive(OLD).display().to_string();
    let host = Host::new();
    replaced_meanwhile(
        &host,
        &[
            "--yes",
            "self-update",
            "--allow-downgrade",
            "--from",
            &older,
        ],
    )
    .expect(0);
    host.is(&host.executable(), OLD);
    host.is(&host.previous(), NEW);
}

#[test]
fn there_is_no_way_back_where_nothing_was_kept() {
    let host = Host::new();
    let refused = host.ooy(&["--yes", "self-update", "--rollback"]).expect(1);
    insta::assert_snapshot!(host.tidy(&refused.stderr), @r"
    ✗ self-update: there is nothing to go back to

      what      the version before the last update is not there, or does not run
      evidence  HOST/bin/ooy.previous: No such file or directory
      why       the present one stays as it is
      next      ls -l HOST/bin/ooy*
                ooy --home HOST/home self-update --allow-downgrade --from /path/of/an/older/archive
    ");
    // What a killed update leaves: the present one, under that name too.
    std::fs::hard_link(host.executable(), host.previous()).unwrap();
    let refused = host.ooy(&["--yes", "self-update", "--rollback"]).expect(1);
    assert!(refused.stderr.contains("as well"), "{}", refused.stderr);
    std::fs::remove_file(host.previous()).unwrap();
    std::fs::write(host.previous(), "#!/bin/sh\n").unwrap();
    host.ooy(&["--yes", "self-update", "--rollback"]).expect(1);
    host.is(&host.executable(), OLD);
    std::fs::remove_file(host.previous()).unwrap();
    // Nor is what was kept updated under its other name.
    host.put(OLD, &host.previous());
    let kept = host.previous();
    let mut command = host.command_of(&kept, &["--yes", "self-update", "--rollback"]);
    let refused = Ran::of(&command.output().unwrap()).expect(2);
    insta::assert_snapshot!(host.tidy(&refused.stderr), @r"
    ✗ self-update: this is the version before

      what      what runs is what the last update has kept, under that name
      evidence  HOST/bin/ooy.previous
      why       replaced, there would be no way back; nothing was done
      next      HOST/bin/ooy self-update --rollback
                ooy --home HOST/home self-update --rollback
    ");
}

#[test]
fn it_stands_in_the_journal() {
    let host = Host::new();
    std::fs::create_dir(host.path("home/state")).unwrap();
    let from = Made::get().releases.display().to_string();
    host.update(&from).expect(0);
    let history = host.ooy(&["--json", "history"]).expect(0).json();
    let last = &history["operations"][0];
    assert_eq!(last["operation"], format!("self-update --from {from}"));
    assert_eq!(last["result"], "done");
    assert_eq!(last["detail"], format!("{OLD} → {NEW}"));
}

#[test]
fn a_build_without_keys_tells_what_there_is_and_takes_nothing() {
    let host = Host::new();
    std::fs::remove_file(host.executable()).unwrap();
    let copied = Command::new("cp")
        .arg(executable())
        .arg(host.executable())
        .status();
    assert!(copied.unwrap().success());
    let from = Made::get().releases.display().to_string();
    let checked = host
        .ooy(&["--json", "self-update", "--check", "--from", &from])
        .expect(1);
    assert_eq!(checked.json()["newest"], NEW);
    let refused = host.update(&from).expect(1);
    let says = match checked.json()["accepted"].as_bool().unwrap() {
        false => "this build accepts no release",
        true => "is not signed for this ooy",
    };
    assert!(refused.stderr.contains(says), "{}", refused.stderr);
    assert_eq!(host.listing(), ["ooy"]);
}
