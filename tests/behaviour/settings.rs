//! `ooy init`, `ooy config`, and settings on their way into a container.

use std::os::unix::fs::PermissionsExt as _;

use crate::harness::{Home, until};

#[test]
fn init_writes_a_private_file_with_secrets_of_its_own_and_never_again() {
    let home = Home::empty("init");
    let first = home.ooy(&["init"]).expect(0);
    insta::assert_snapshot!("init", home.tidy(&first.stderr));
    let path = home.folder.join("ooy.env");
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let written = std::fs::read_to_string(&path).unwrap();
    let secret = home.setting("RAPIDPRO_SECRET_KEY");
    assert!(secret.len() >= 40 && secret.chars().all(|c| c.is_ascii_alphanumeric()));
    assert_ne!(secret, home.setting("CASEPRO_SECRET_KEY"));
    assert!(!first.stderr.contains(&secret));

    home.ooy(&["init"]).expect(0);
    home.ooy(&["init", "--set", "HTTP_PORT=81"]).expect(2);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), written);
}

#[test]
fn init_makes_certificates_only_when_asked_and_keeps_those_that_are_there() {
    let home = Home::empty("certs");
    home.ooy(&["init"]).expect(0);
    assert!(!home.folder.join("ssl").exists());
    let said = home.ooy(&["init", "--self-signed"]).expect(0).stderr;
    assert!(said.contains("self-signed"), "{said}");
    let cert = home.folder.join("ssl/casepro.crt");
    let key = home.folder.join("ssl/casepro.key");
    let before = std::fs::read(&cert).unwrap();
    assert_eq!(
        std::fs::metadata(key).unwrap().permissions().mode() & 0o777,
        0o600
    );
    home.ooy(&["init", "--self-signed"]).expect(0);
    assert_eq!(std::fs::read(&cert).unwrap(), before);
}

#[test]
fn a_secret_is_not_taken_from_the_command_line() {
    let home = Home::empty("argv");
    let said = home
        .ooy(&["init", "--set", "EMAIL_HOST_PASSWORD=hunter2secret"])
        .expect(2);
    assert!(said.stderr.contains("--set-from-env"));
    assert!(!said.stderr.contains("hunter2secret"));
}

#[test]
fn nothing_that_config_shows_holds_a_secret() {
    let home = Home::new("shown");
    home.set(
        "EMAIL_HOST_PASSWORD",
        "EMAIL_HOST_PASSWORD='hun\"ter$2 secret'",
    );
    home.set(
        "RAPIDPRO_SENTRY_DSN",
        "RAPIDPRO_SENTRY_DSN=https://abcdef0123456789@sentry.test/1",
    );
    let database = home.setting("RAPIDPRO_DATABASE_URL");
    let password = database
        .split(':')
        .nth(2)
        .unwrap()
        .split('@')
        .next()
        .unwrap()
        .to_owned();
    let secrets = [
        password.as_str(),
        &home.setting("RAPIDPRO_SECRET_KEY"),
        &home.setting("MAILROOM_AUTH_TOKEN"),
        "ter$2",
        "abcdef0123456789",
    ]
    .map(str::to_owned);
    for what in ["env", "compose", "nginx", "dialplan"] {
        let shown = home.ooy(&["config", what]).expect(0).stdout;
        for secret in &secrets {
            assert!(!shown.contains(secret.as_str()), "{what} shows a secret");
        }
    }
    let rendered = std::fs::read_dir(home.folder.join("rendered"));
    assert!(rendered.is_err(), "config writes nothing");
}

#[test]
fn check_finds_everything_in_one_run() {
    let home = Home::new("check");
    insta::assert_snapshot!(
        "check-fine",
        home.tidy(&home.ooy(&["config", "--check"]).expect(0).stderr)
    );
    home.set("EMAIL_HOST", "EMAIL_HOTS=smtp.test");
    home.set("HTTP_PORT", "HTTP_PORT=eighty");
    home.set(
        "CASEPRO_DATABASE_URL",
        "CASEPRO_DATABASE_URL=postgres://casepro:CHANGE_ME@10.0.10.4/casepro",
    );
    std::fs::copy(
        home.folder.join("ssl/rapidpro.key"),
        home.folder.join("ssl/casepro.key"),
    )
    .unwrap();
    std::fs::write(
        home.folder.join("compose.override.yaml"),
        "services:\n  nginx:\n    no_such_option: true\n",
    )
    .unwrap();
    let said = home.ooy(&["config", "--check"]).expect(2).stderr;
    for part in [
        "EMAIL_HOTS is no setting of ooy; did you mean EMAIL_HOST?",
        "EMAIL_HOST is missing",
        "HTTP_PORT is not a whole number",
        "CASEPRO_DATABASE_URL still holds CHANGE_ME",
        "casepro.key",
        "no_such_option",
    ] {
        assert!(said.contains(part), "{part} is missing in\n{said}");
    }
}

#[test]
fn a_ring_in_depends_on_is_named() {
    let home = Home::new("ring");
    std::fs::write(
        home.folder.join("compose.override.yaml"),
        "services:\n  courier:\n    depends_on: [extra]\n  extra:\n    image: x:1\n    depends_on: [courier]\n",
    )
    .unwrap();
    let said = home.ooy(&["config", "--check"]).expect(2).stderr;
    assert!(said.contains("courier → extra → courier"), "{said}");
}

#[test]
fn nginx_itself_judges_its_configuration() {
    let home = Home::new("nginxt");
    assert!(
        home.ooy(&["config", "--check"])
            .expect(0)
            .stderr
            .contains("nginx -t: accepted")
    );
    // A domain that is valid by itself and too long for nginx's hash of names.
    let long = format!("{}.test", vec!["x".repeat(60); 4].join("."));
    home.set("RAPIDPRO_DOMAIN", &format!("RAPIDPRO_DOMAIN={long}"));
    let said = home.ooy(&["config", "--check"]).expect(2).stderr;
    assert!(
        said.contains("server_names_hash") || said.contains("does not cover"),
        "{said}"
    );
}

/// Values that some reader of settings, YAML, compose or a shell would change.
const NASTY: &[&str] = &[
    "plain",
    "with space",
    " leading and trailing ",
    "pa$word",
    "$$double",
    "${HOME}",
    "${X:-default}",
    "hash # not a comment",
    "it's",
    "say \"hi\"",
    "back\\slash\\n",
    "`id`",
    "$(id)",
    "tab\there",
    "ünïcödé 电话 🙂",
    "{\"json\": [1, 2]}",
    "a=b=c",
    "%s %% %",
    "!bang",
    "*glob?",
    "'quoted'",
    "\"quoted\"",
    ": yaml - [x]",
    "&anchor *alias",
];

#[test]
fn any_value_reaches_the_container_unchanged() {
    let home = Home::new("values");
    let settings = [
        ("S3_REGION", "COURIER_S3_REGION"),
        ("S3_MEDIA_PREFIX", "COURIER_S3_MEDIA_PREFIX"),
        ("AWS_ACCESS_KEY_ID", "COURIER_AWS_ACCESS_KEY_ID"),
        ("AWS_SECRET_ACCESS_KEY", "COURIER_AWS_SECRET_ACCESS_KEY"),
        ("COURIER_SENTRY_DSN", "COURIER_SENTRY_DSN"),
        ("S3_BUCKET", "COURIER_S3_MEDIA_BUCKET"),
    ];
    for values in NASTY.chunks(settings.len()) {
        let given: Vec<_> = settings.iter().zip(values).collect();
        for ((setting, _), value) in &given {
            home.set(setting, &format!("{setting}={}", quote(value)));
        }
        // It is made in any case; whether it likes these values is its own affair.
        home.ooy(&["start", "courier", "--timeout", "1"]);
        let environment = home.inspect("courier", "{{json .Config.Env}}");
        let environment: Vec<String> = serde_json::from_str(&environment).unwrap();
        for ((_, variable), value) in &given {
            let expected = format!("{variable}={value}");
            assert!(
                environment.contains(&expected),
                "{expected}\nnot in {environment:#?}"
            );
        }
    }
    until(
        "the last container is stopped",
        std::time::Duration::from_secs(60),
        || home.ooy(&["stop", "courier"]).code == 0,
    );
}

/// As the template tells people to write such values.
fn quote(value: &str) -> String {
    if value.contains(['\'', '\\']) {
        let escaped = value
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('$', "\\$");
        format!("\"{escaped}\"")
    } else {
        format!("'{value}'")
    }
}
