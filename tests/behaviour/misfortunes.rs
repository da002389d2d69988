//! Bad input: each gets a clear four-part error, and nothing is half done.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::process::Command;

use crate::harness::{Home, Ran, stand_in};

/// The error as an operator reads it, and that it has its four parts.
#[track_caller]
fn four_parts(home: &Home, ran: &Ran) -> String {
    for part in [
        "\n  what      ",
        "\n  evidence  ",
        "\n  why       ",
        "\n  next      ",
    ] {
        assert!(
            ran.stderr.contains(part),
            "{part} is missing in\n{}",
            ran.stderr
        );
    }
    for bad in ["panicked", "RUST_BACKTRACE", "Error(", "unwrap"] {
        assert!(!ran.stderr.contains(bad), "{}", ran.stderr);
    }
    home.tidy(&ran.stderr)
}

/// Nothing was made.
#[track_caller]
fn untouched(home: &Home) {
    let label = format!("label=com.docker.compose.project={}", home.project);
    assert_eq!(home.docker(&["ps", "-aq", "--filter", &label]), "");
    assert_eq!(
        home.docker(&["network", "ls", "-q", "--filter", &label]),
        ""
    );
}

#[test]
fn no_docker() {
    let mut home = Home::new("nodocker");
    home.docker_host = Some("unix:///nowhere/docker.sock".into());
    let ran = home.ooy(&["start"]).expect(1);
    insta::assert_snapshot!("no-docker", four_parts(&home, &ran));
    home.ooy(&["status"]).expect(1);
    home.ooy(&["stop"]).expect(1);
    home.docker_host = None;
    untouched(&home);
}

#[test]
fn daemon_stopped() {
    let mut home = Home::new("stopped");
    let socket = home.folder.join("docker.sock");
    // A socket whose owner has gone.
    drop(UnixListener::bind(&socket).unwrap());
    home.docker_host = Some(format!("unix://{}", socket.display()));
    let ran = home.ooy(&["start"]).expect(1);
    insta::assert_snapshot!("daemon-stopped", four_parts(&home, &ran));
    home.docker_host = None;
}

#[test]
fn no_permission_on_the_socket() {
    let mut home = Home::new("permission");
    let socket = home.folder.join("docker.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o600)).unwrap();
    open_to_others(&home);
    home.docker_host = Some(format!("unix://{}", socket.display()));
    let ran = as_nobody(&home, &["status"]).expect(1);
    insta::assert_snapshot!("no-permission", four_parts(&home, &ran));
    home.docker_host = None;
}

/// A user without rights may reach and read this deployment's files.
pub fn open_to_others(home: &Home) {
    for path in ["", "ooy.env"] {
        let path = home.folder.join(path);
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
}

/// `ooy`, run by a user without rights, from a copy that he may execute.
pub fn as_nobody(home: &Home, arguments: &[&str]) -> Ran {
    let copy = home.folder.join("ooy");
    std::fs::copy(crate::harness::executable(), &copy).unwrap();
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(copy)
        .arg("--home")
        .arg(&home.folder)
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("LC_ALL", "C.UTF-8");
    if let Some(host) = &home.docker_host {
        command.env("DOCKER_HOST", host);
    }
    Ran::of(&command.output().unwrap())
}

/// A PATH with only these programs, each a script.
fn path_with(home: &Home, programs: &[(&str, &str)]) -> std::path::PathBuf {
    let folder = home.folder.join("bin");
    std::fs::create_dir_all(&folder).unwrap();
    for (name, script) in programs {
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    folder
}

#[test]
fn compose_missing() {
    let home = Home::new("nocompose");
    let path = path_with(
        &home,
        &[(
            "docker",
            "echo \"docker: 'compose' is not a docker command.\" >&2; exit 1",
        )],
    );
    let output = home.command(&["start"]).env("PATH", path).output().unwrap();
    let ran = Ran::of(&output).expect(1);
    insta::assert_snapshot!("compose-missing", four_parts(&home, &ran));
    untouched(&home);
}

#[test]
fn compose_too_old() {
    let home = Home::new("oldcompose");
    let path = path_with(
        &home,
        &[("docker", "exit 1"), ("docker-compose", "echo 1.25.0")],
    );
    let output = home.command(&["start"]).env("PATH", path).output().unwrap();
    let ran = Ran::of(&output).expect(1);
    insta::assert_snapshot!("compose-too-old", four_parts(&home, &ran));
    untouched(&home);
}

#[test]
fn port_taken() {
    let home = Home::with_databases("port");
    let _taken = TcpListener::bind(("0.0.0.0", home.https)).unwrap();
    let ran = home.ooy(&["start"]).expect(1);
    let said = four_parts(&home, &ran);
    assert!(
        ran.stderr
            .contains(&format!("process {}", std::process::id())),
        "{}",
        ran.stderr
    );
    insta::assert_snapshot!("port-taken", said.replace(&this_program(), "PROGRAM"));
    untouched(&home);
}

fn this_program() -> String {
    std::fs::read_to_string("/proc/self/comm")
        .unwrap()
        .trim()
        .to_owned()
}

#[test]
fn settings_missing() {
    let home = Home::empty("nosettings");
    let ran = home.ooy(&["start"]).expect(2);
    insta::assert_snapshot!("settings-missing", four_parts(&home, &ran));
}

#[test]
fn settings_unreadable() {
    let home = Home::new("unreadable");
    open_to_others(&home);
    let file = home.folder.join("ooy.env");
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let ran = as_nobody(&home, &["start"]).expect(2);
    insta::assert_snapshot!("settings-unreadable", four_parts(&home, &ran));
}

#[test]
fn settings_with_a_line_that_cannot_be_read() {
    let home = Home::new("syntax");
    home.set("EMAIL_HOST_PASSWORD", "EMAIL_HOST_PASSWORD=hunter2 $ecret");
    let ran = home.ooy(&["start"]).expect(2);
    assert!(!ran.stderr.contains("hunter2"));
    insta::assert_snapshot!("settings-syntax", four_parts(&home, &ran));
    untouched(&home);
}

#[test]
fn settings_with_an_unknown_key_and_a_placeholder() {
    let home = Home::new("unknown");
    home.set("RAPIDPRO_DOMIAN", "RAPIDPRO_DOMIAN=rapidpro.test");
    home.set("EMAIL_HOST", "EMAIL_HOST=CHANGE_ME");
    let ran = home.ooy(&["start"]).expect(2);
    insta::assert_snapshot!("settings-wrong", four_parts(&home, &ran));
    untouched(&home);
}

#[test]
fn unknown_service() {
    let home = Home::new("noservice");
    for command in ["start", "stop", "restart", "status", "logs"] {
        let ran = home.ooy(&[command, "rapidpor"]).expect(2);
        assert!(
            ran.stderr.contains(&format!("{command} rapidpro")),
            "{}",
            ran.stderr
        );
        if command == "start" {
            insta::assert_snapshot!("unknown-service", four_parts(&home, &ran));
        }
    }
    untouched(&home);
}

#[test]
fn image_that_does_not_exist() {
    let home = Home::new("noimage");
    // A name no registry can have, on a registry that is nobody's.
    home.set("COURIER_IMAGE", "COURIER_IMAGE=127.0.0.1:9/courier:6.4.0");
    let ran = home.ooy(&["start", "courier"]).expect(1);
    let said = four_parts(&home, &ran);
    let tidy = regex::Regex::new(r"Docker: .*")
        .unwrap()
        .replace_all(&said, "Docker: WORDS")
        .into_owned();
    insta::assert_snapshot!("no-image", tidy);
    untouched(&home);
}

#[test]
fn certificate_of_another_key() {
    let home = Home::with_databases("wrongkey");
    std::fs::copy(
        home.folder.join("ssl/rapidpro.key"),
        home.folder.join("ssl/casepro.key"),
    )
    .unwrap();
    let ran = home.ooy(&["start"]).expect(1);
    insta::assert_snapshot!("wrong-key", four_parts(&home, &ran));
    untouched(&home);
}

#[test]
fn no_room() {
    let home = Home::new("noroom");
    home.set("DISK_RESERVE_MB", "DISK_RESERVE_MB=1000000");
    let ran = home.ooy(&["start", "courier"]).expect(1);
    let said = four_parts(&home, &ran);
    let tidy = regex::Regex::new(r"evidence  .*")
        .unwrap()
        .replace_all(&said, "evidence  DISK")
        .into_owned();
    insta::assert_snapshot!("no-room", tidy);
    untouched(&home);
}

#[test]
fn a_full_disk_stops_neither_stop_nor_status() {
    let home = Home::new("full");
    home.ooy(&["start", "courier"]).expect(0);
    // A real, full file system in the place of the state folder.
    let state = home.folder.join("state");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
        .arg(&state)
        .status()
        .unwrap();
    assert!(mounted.success());
    let filled = std::fs::write(state.join("filler"), vec![0u8; 1024 * 1024]);
    assert!(filled.is_err(), "the disk is full");
    let status = home.ooy(&["status", "courier"]);
    let stopped = home.ooy(&["stop", "courier"]);
    Command::new("umount").arg(&state).status().unwrap();
    status.expect(0);
    stopped.expect(0);
    assert_eq!(home.service_status("courier")["state"], "exited");
}

/// The part after the progress lines, whose order differs from run to run; a log's own lines are
/// the service's.
fn failure(said: &str) -> String {
    let part = &said[said.find("\n\n").unwrap_or(0)..];
    // How often it died before it was given up depends on who is faster.
    let times = regex::Regex::new(r"ended \d times").unwrap();
    let part = times.replace_all(part, "ended N times");
    let log = regex::Regex::new(r"its log, HH:MM:SS UTC: .*").unwrap();
    log.replace_all(&part, "its log, HH:MM:SS UTC: WORDS")
        .into_owned()
}

#[test]
fn a_service_that_exits_at_once() {
    let home = Home::new("exits");
    home.steer(&[("mailroom", &[("STAND_IN_EXIT_CODE", "3")])]);
    let ran = home.ooy(&["start", "mailroom", "courier"]).expect(1);
    let said = four_parts(&home, &ran);
    assert!(said.contains("mailroom: exits at once"), "{said}");
    assert!(said.contains("exit code 3"), "{said}");
    assert!(said.contains("2 of 3 ready"), "{said}");
    insta::assert_snapshot!("exits-at-once", failure(&said));
    // What does not need it comes up.
    assert_eq!(home.service_status("courier")["ready"], true);
}

#[test]
fn a_service_that_never_becomes_ready() {
    let home = Home::new("never");
    home.steer(&[("elasticsearch", &[("STAND_IN_NEVER_READY", "1")])]);
    let ran = home
        .ooy(&["start", "mailroom", "courier", "--timeout", "3"])
        .expect(1);
    let said = four_parts(&home, &ran);
    assert!(
        said.contains("elasticsearch: not ready after N s"),
        "{said}"
    );
    assert!(
        said.contains("not started because of it: mailroom"),
        "{said}"
    );
    insta::assert_snapshot!("never-ready", failure(&said));
    assert_eq!(home.service_status("mailroom")["state"], "created");
    assert_eq!(home.service_status("courier")["ready"], true);
}

#[test]
fn a_migration_that_fails() {
    let home = Home::with_databases("migfail");
    let fail = ("STAND_IN_MIGRATION_FAIL", "home.0002_create_homepage");
    home.steer(&[("contentrepo", &[fail])]);
    let ran = home.ooy(&["start", "contentrepo", "courier"]).expect(1);
    let said = four_parts(&home, &ran);
    assert!(said.contains("contentrepo: release task failed"), "{said}");
    assert_eq!(
        home.service_status("contentrepo")["state"],
        "created",
        "not started"
    );
    assert_eq!(home.service_status("courier")["ready"], true);
    let log = std::fs::read_to_string(home.folder.join("state/release/contentrepo.log")).unwrap();
    assert!(log.contains("home.0002_create_homepage"), "{log}");
    // Once it is mended, the same command goes on where it stopped.
    std::fs::remove_file(home.folder.join("compose.override.yaml")).unwrap();
    home.ooy(&["start", "contentrepo"]).expect(0);
    let words = regex::Regex::new("its output: .*").unwrap();
    insta::assert_snapshot!(
        "migration-fails",
        words.replace_all(&failure(&said), "its output: WORDS")
    );
}

#[test]
fn a_service_that_accepts_and_never_answers() {
    let home = Home::new("hangs");
    home.steer(&[("courier", &[("STAND_IN_HANG", "1")])]);
    let ran = home.ooy(&["start", "courier", "--timeout", "4"]).expect(1);
    assert!(
        four_parts(&home, &ran).contains("no answer within"),
        "{}",
        ran.stderr
    );
}

#[test]
fn postgres_unreachable_from_the_containers() {
    let home = Home::new("nopg");
    let address = std::env::var("OOY_TEST_POSTGRES_HOST").unwrap();
    // Nothing listens on the discard port.
    for owner in ["RAPIDPRO", "CASEPRO", "CONTENTREPO"] {
        let name = format!("{owner}_DATABASE_URL");
        home.set(
            &name,
            &format!(
                "{name}=postgres://u:secretpassword@{address}:9/{}",
                owner.to_lowercase()
            ),
        );
    }
    let ran = home.ooy(&["start", "courier"]).expect(1);
    let said = four_parts(&home, &ran);
    assert!(!said.contains("secretpassword"));
    assert!(
        said.contains("PROJECT_default"),
        "asked from the containers' network: {said}"
    );
    insta::assert_snapshot!("no-postgres", said.replace(&address, "ADDRESS"));
    untouched(&home);
}

#[test]
fn redis_with_a_wrong_password() {
    let home = Home::new("redispw");
    let url = home.setting("RAPIDPRO_REDIS_URL");
    let password = url
        .split('@')
        .next()
        .unwrap()
        .rsplit(':')
        .next()
        .unwrap()
        .to_owned();
    let wrong = url.replace(&password, "wrongsecret");
    home.set("RAPIDPRO_REDIS_URL", &format!("RAPIDPRO_REDIS_URL={wrong}"));
    let ran = home.ooy(&["start", "courier"]).expect(1);
    let said = four_parts(&home, &ran);
    assert!(!said.contains("wrongsecret") && !said.contains(&password));
    assert!(said.contains("Redis"), "{said}");
    untouched(&home);
}

#[test]
fn an_override_that_is_no_yaml() {
    let home = Home::new("noyaml");
    std::fs::write(
        home.folder.join("compose.override.yaml"),
        "services: [broken",
    )
    .unwrap();
    let ran = home.ooy(&["start"]).expect(2);
    four_parts(&home, &ran);
    untouched(&home);
}

#[test]
fn stand_ins_are_as_strict_as_the_real_services() {
    // A wrong stand-in would make every other test worthless.
    let home = Home::new("strict");
    let run = |image: &str, arguments: &[&str]| {
        let mut command = Command::new("docker");
        command
            .args(["run", "--rm"])
            .args(arguments)
            .arg(stand_in(image));
        command.output().unwrap()
    };
    let output = run(
        "mailroom",
        &["-e", "MAILROOM_DB=postgresql://u:p@127.0.0.1/d"],
    );
    assert!(
        !output.status.success(),
        "postgresql:// is fatal to mailroom"
    );
    let output = run("courier", &["-e", "STAND_IN_NO_SUCH=1"]);
    assert_eq!(output.status.code(), Some(64));
    drop(home);
}
