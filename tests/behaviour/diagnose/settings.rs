//! Settings that are missing, wrong, unknown or weak, and files that are open to others, in a
//! deployment that runs; then what operations leave behind, in the same one.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::time::Duration;

use super::common::Diagnosed;
use super::{engine, operations};
use crate::harness::{Home, Ran};

pub const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn settings_and_operations_in_every_trouble() {
    let mut home = Home::with_databases("dset");
    home.ooy(&["start"]).expect(0);
    home.healthy_again(LIMIT);

    a_setting_is_missing(&home);
    a_setting_is_of_the_wrong_kind(&home);
    a_placeholder_is_left(&home);
    a_setting_is_misspelt(&home);
    a_secret_is_an_example(&home);
    two_applications_share_a_secret(&home);
    the_settings_can_be_read_by_others(&home);
    a_key_is_a_link_that_nginx_cannot_follow(&home);
    compose_is_missing(&home);
    engine::without_docker_nothing_else_is_blamed(&mut home);
    operations::all(&home);
}

/// Replaces a line of ooy.env, and puts the file back as it was.
fn with(home: &Home, name: &str, line: &str, look: impl FnOnce(&Home)) {
    let path = home.folder.join("ooy.env");
    let before = std::fs::read(&path).unwrap();
    home.set(name, line);
    look(home);
    std::fs::write(&path, before).unwrap();
    home.healthy_again(LIMIT);
}

fn a_setting_is_missing(home: &Home) {
    with(home, "EMAIL_HOST", "", |home| {
        let diagnosed = home.diagnose_until("setting-missing", LIMIT);
        let finding = diagnosed.only_root("setting-missing");
        assert_eq!(finding["summary"], "EMAIL_HOST is missing");
        assert_eq!(finding["severity"], "error");
        // Whether the configuration changed cannot be known meanwhile.
        assert_eq!(diagnosed.result("configuration"), "unknown");
        insta::assert_snapshot!(
            "diagnose-setting-missing",
            home.tidy(&home.ooy(&["diagnose", "settings"]).expect(1).stdout)
        );
    });
}

fn a_setting_is_of_the_wrong_kind(home: &Home) {
    with(home, "UWSGI_WORKERS", "UWSGI_WORKERS=many", |home| {
        let diagnosed = home.diagnose_until("setting-missing", LIMIT);
        let finding = diagnosed.only_root("setting-missing");
        let summary = finding["summary"].as_str().unwrap();
        assert!(
            summary.starts_with("UWSGI_WORKERS is not a whole number"),
            "{summary}"
        );
        let source = finding["evidence"][0]["source"].as_str().unwrap();
        assert!(source.contains("ooy.env, line "), "{source}");
    });
}

fn a_placeholder_is_left(home: &Home) {
    let url =
        "CONTENTREPO_DATABASE_URL=postgres://contentrepo:CHANGE_ME@10.0.10.4:5432/contentrepo";
    with(home, "CONTENTREPO_DATABASE_URL", url, |home| {
        home.set("EMAIL_HOST", "EMAIL_HOST=CHANGE_ME");
        let diagnosed = home.diagnose_until("setting-placeholder", LIMIT);
        let finding = diagnosed.only_root("setting-placeholder");
        assert_eq!(finding["summary"], "2 settings still hold CHANGE_ME");
        assert_eq!(finding["evidence"].as_array().unwrap().len(), 2);
    });
}

fn a_setting_is_misspelt(home: &Home) {
    with(home, "HTTP_PROT", "HTTP_PROT=81", |home| {
        let diagnosed = home.diagnose_until("setting-unknown", LIMIT);
        let finding = diagnosed.only_root("setting-unknown");
        assert_eq!(
            finding["summary"],
            "HTTP_PROT is no setting of ooy; did you mean HTTP_PORT?"
        );
        assert_eq!(finding["severity"], "warning");
    });
}

/// Casepro's own default is refused by `ooy start`; what runs was started before.
fn a_secret_is_an_example(home: &Home) {
    with(
        home,
        "CASEPRO_SECRET_KEY",
        "CASEPRO_SECRET_KEY=REPLACEME",
        |home| {
            let diagnosed = home.diagnose_until("setting-insecure-default", LIMIT);
            let finding = diagnosed.only_root("setting-insecure-default");
            assert_eq!(finding["severity"], "error");
            assert_eq!(finding["evidence"][0]["what"], "CASEPRO_SECRET_KEY");
            assert!(!diagnosed.ran.stdout.contains("REPLACEME"));
        },
    );
}

fn two_applications_share_a_secret(home: &Home) {
    let own = home.setting("CONTENTREPO_SECRET_KEY");
    let other = home.setting("CASEPRO_SECRET_KEY");
    home.set(
        "CONTENTREPO_SECRET_KEY",
        &format!("CONTENTREPO_SECRET_KEY={other}"),
    );
    home.ooy(&["start", "contentrepo"]).expect(0);
    let diagnosed = home.diagnose_until("setting-insecure-default", LIMIT);
    let finding = diagnosed.only_root("setting-insecure-default");
    assert_eq!(
        finding["summary"],
        "CASEPRO_SECRET_KEY is the same as CONTENTREPO_SECRET_KEY"
    );
    assert_eq!(finding["severity"], "warning");
    assert!(!diagnosed.ran.stdout.contains(&other));
    home.set(
        "CONTENTREPO_SECRET_KEY",
        &format!("CONTENTREPO_SECRET_KEY={own}"),
    );
    home.ooy(&["start", "contentrepo"]).expect(0);
    home.healthy_again(LIMIT);
}

fn mode(home: &Home, mode: u32) {
    let path = home.folder.join("ooy.env");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn the_settings_can_be_read_by_others(home: &Home) {
    mode(home, 0o644);
    let diagnosed = home.diagnose_until("file-permissions", LIMIT);
    let finding = diagnosed.only_root("file-permissions");
    assert_eq!(finding["evidence"][0]["value"], "mode 0644");
    assert_eq!(finding["evidence"][0]["threshold"], "0600");
    let repair = finding["fix"]["manual"][0].as_str().unwrap();
    assert!(repair.starts_with("sudo chmod 600 "), "{repair}");
    mode(home, 0o600);
    home.healthy_again(LIMIT);
}

fn a_key_is_a_link_that_nginx_cannot_follow(home: &Home) {
    let key = home.folder.join("ssl/casepro.key");
    let outside = home.folder.join("privkey.pem");
    std::fs::rename(&key, &outside).unwrap();
    symlink(&outside, &key).unwrap();
    let diagnosed = home.diagnose_until("file-permissions", LIMIT);
    let finding = diagnosed.only_root("file-permissions");
    assert_eq!(finding["summary"], "nginx cannot read casepro.key");
    assert_eq!(finding["service"], "nginx");
    std::fs::rename(&outside, &key).unwrap();
    home.healthy_again(LIMIT);
}

/// A host with Docker and without its compose plugin.
fn compose_is_missing(home: &Home) {
    let folder = home.folder.join("bin");
    std::fs::create_dir_all(&folder).unwrap();
    let docker = folder.join("docker");
    let script = "#!/bin/sh\necho \"docker: 'compose' is not a docker command.\" >&2; exit 1\n";
    std::fs::write(&docker, script).unwrap();
    std::fs::set_permissions(&docker, std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = home
        .command(&["diagnose", "--json"])
        .env("PATH", &folder)
        .output()
        .unwrap();
    let ran = Ran::of(&output);
    let json = ran.json();
    let diagnosed = Diagnosed { ran, json };
    let finding = diagnosed.only_root("compose-missing");
    assert_eq!(finding["summary"], "compose is not installed");
    assert_eq!(diagnosed.result("configuration"), "unknown");
    home.healthy_again(LIMIT);
}
