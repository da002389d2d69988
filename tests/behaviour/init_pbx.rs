//! `ooy init --pbx`: a telephone exchange gets only what it needs.

use std::os::unix::fs::PermissionsExt as _;

use crate::harness::{Home, Ran, read_env};

#[test]
fn a_telephone_exchange_gets_its_own_small_settings_and_a_spool() {
    let home = Home::empty("pbx");
    let mut command = home.command(&[
        "init",
        "--pbx",
        "--set",
        "RAPIDPRO_URL=https://rapidpro.example.org",
        "--set-from-env",
        "RAPIDPRO_TOKEN",
    ]);
    command.env("RAPIDPRO_TOKEN", "0123456789abcdef0123456789abcdef01234567");
    let made = Ran::of(&command.output().unwrap()).expect(0);
    insta::assert_snapshot!("init-pbx", home.tidy(&made.stderr));
    let file = home.folder.join("ooy.env");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let settings = read_env(&file);
    assert_eq!(settings["RAPIDPRO_URL"], "https://rapidpro.example.org");
    assert!(!settings.contains_key("RAPIDPRO_DATABASE_URL"));
    assert!(home.folder.join("spool/new").is_dir());

    // A call is taken over, though the flow is still missing.
    let call = [
        "agi",
        "0712345678",
        "2026-11-22T11:07:32",
        "2026-11-22T11:09:00",
        "inbound",
    ];
    home.ooy(&call).expect(0);
    let waiting = std::fs::read_dir(home.folder.join("spool/new")).unwrap();
    assert_eq!(waiting.count(), 1);

    let again = home.ooy(&["init", "--pbx"]).expect(0);
    assert!(again.stderr.contains("was not changed"), "{}", again.stderr);
    let refused = home
        .ooy(&["init", "--pbx", "--set", "COUNTRY_CODE=256"])
        .expect(2);
    assert!(
        refused.stderr.contains("exists already"),
        "{}",
        refused.stderr
    );
}
