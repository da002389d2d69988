//! Docker itself is away, or closed to this user.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::process::Command;

use super::common::Diagnosed;
use super::settings::LIMIT;
use crate::harness::{Home, Ran, executable};

/// Run by the scenario of settings, in its deployment.
pub fn without_docker_nothing_else_is_blamed(home: &mut Home) {
    let before = home.docker_host.take();
    home.docker_host = Some("unix:///nowhere/docker.sock".into());
    let diagnosed = home.diagnose_until("engine-unreachable", LIMIT);
    let finding = diagnosed.only_root("engine-unreachable");
    assert_eq!(
        finding["summary"],
        "Docker is not installed, or has never run"
    );
    assert_eq!(diagnosed.explained(), ["unknown"]);
    let shown = home.ooy(&["diagnose", "docker-engine"]).expect(1);
    insta::assert_snapshot!("diagnose-engine-unreachable", home.tidy(&shown.stdout));

    let socket = home.folder.join("docker.sock");
    // A socket whose owner has gone.
    drop(UnixListener::bind(&socket).unwrap());
    home.docker_host = Some(format!("unix://{}", socket.display()));
    let diagnosed = home.diagnose_until("engine-unreachable", LIMIT);
    let finding = diagnosed.only_root("engine-unreachable");
    assert_eq!(
        finding["summary"],
        "Docker does not run: its daemon does not answer"
    );
    assert_eq!(finding["fix"]["manual"][0], "sudo systemctl start docker");
    std::fs::remove_file(socket).unwrap();
    home.docker_host = before;
    home.healthy_again(LIMIT);
}

/// It may be well; only this user cannot know.
#[test]
fn docker_is_closed_to_this_user() {
    let mut home = Home::new("dclosed");
    let socket = home.folder.join("docker.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o600)).unwrap();
    for path in ["", "ooy.env"] {
        let path = home.folder.join(path);
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let copy = home.folder.join("ooy");
    std::fs::copy(executable(), &copy).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(copy)
        .arg("--home")
        .arg(&home.folder)
        .args([
            "diagnose",
            "--json",
            "docker-engine",
            "containers",
            "docker-compose",
        ])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("LC_ALL", "C.UTF-8")
        .env("DOCKER_HOST", format!("unix://{}", socket.display()))
        .output()
        .unwrap();
    let ran = Ran::of(&output);
    let json = ran.json();
    let diagnosed = Diagnosed { ran, json };
    let finding = diagnosed.only_root("engine-unreachable");
    assert_eq!(finding["severity"], "warning");
    let summary = finding["summary"].as_str().unwrap();
    assert!(
        summary.starts_with("Docker may not be used by user"),
        "{summary}"
    );
    // What needs no Docker was seen all the same.
    assert_eq!(diagnosed.result("docker-compose"), "ok");
    home.docker_host = None;
}
