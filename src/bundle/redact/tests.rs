use proptest::prelude::*;

use super::*;

fn redactor(secrets: &[(&str, &str)]) -> Redactor {
    let secrets: Vec<Secret> = secrets
        .iter()
        .map(|(name, value)| Secret {
            name: (*name).to_owned(),
            value: (*value).to_owned(),
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bundle-key"), "07".repeat(32)).unwrap();
    Redactor::new(Key::of_host(folder.path()).unwrap(), &secrets)
}

/// The text without the digests of its tokens.
fn shown(text: &str) -> String {
    let redactor = redactor(&[]);
    let once = redactor.text(text);
    assert_eq!(redactor.text(&once), once, "a second time");
    pattern(":[0-9a-f]{8}›")
        .replace_all(&once, "›")
        .into_owned()
}

#[test]
fn a_known_secret_is_replaced_by_its_name_in_every_form() {
    let redactor = redactor(&[("RAPIDPRO_TOKEN", "hunter+2/x"), ("SHORT", "hunter+2")]);
    let token = redactor.token("RAPIDPRO_TOKEN", "hunter+2/x");
    assert!(token.starts_with("‹RAPIDPRO_TOKEN:"), "{token}");
    for form in [
        "hunter+2/x",
        "hunter%2B2%2Fx",
        "hunter%2b2/x",
        "hunter+2\\/x",
    ] {
        assert_eq!(
            redactor.text(&format!("a {form} b")),
            format!("a {token} b")
        );
    }
    // "x:hunter+2/x" in Base64.
    let basic = redactor.text("see eDpodW50ZXIrMi94 there");
    assert!(basic.contains("‹RAPIDPRO_TOKEN:"), "{basic}");
    assert!(redactor.text("hunter+2").starts_with("‹SHORT:"));
}

#[test]
fn what_looks_like_a_secret_is_one() {
    for (text, expected) in [
        (
            "postgres://rapidpro:pw@10.0.0.1/db",
            "postgres://rapidpro:‹secret›@10.0.0.1/db",
        ),
        ("redis://:p@w@10.0.0.1/0", "redis://:‹secret›@10.0.0.1/0"),
        (
            "https://abcdef0123@sentry.example.org/1",
            "https://‹secret›@sentry.example.org/1",
        ),
        ("Authorization: Token abc", "Authorization: Token ‹secret›"),
        (
            r#""Authorization": "Bearer abc""#,
            r#""Authorization": "Bearer ‹secret›""#,
        ),
        (
            "sent Token 0123456789abcdef0 there",
            "sent Token ‹secret› there",
        ),
        ("Cookie: a=b; c=d", "Cookie: ‹secret›"),
        ("DB_PASSWORD=abc, next", "DB_PASSWORD=‹secret›, next"),
        ("GET /x?api_key=abc&b=1", "GET /x?api_key=‹secret›&b=1"),
        (
            r#"{"client_secret": "a\"b", "x": 1}"#,
            r#"{"client_secret": "‹secret›", "x": 1}"#,
        ),
        ("PASSWORD: 'abc'", "PASSWORD: '‹secret›'"),
        (
            "token 7c4a8d09ca3762af61e59520943dc26494f8941b",
            "token ‹secret›",
        ),
        ("id AKIAIOSFODNN7EXAMPLE", "id ‹secret›"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0.abc", "‹secret›"),
    ] {
        assert_eq!(shown(text), expected);
    }
}

#[test]
fn what_is_no_secret_stays() {
    for text in [
        "MAILROOM_AUTH_TOKEN=empty",
        "transport: redis://:**@172.17.0.1:26380/196, password=********",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "2026-11-22T10:00:00.123456789+0300 [error] 7#7: *1 connect() failed (111)",
        "http://rapidpro:8000/users/login/?next=/a@b",
        "172.18.0.5 port 8080, 1795345652.123, 3fa85f64-5717-4562-b3fc-2c963f66afa6",
        "celery@rapidpro-celery ready.",
        "time=\"2026-11-22T10:00:00Z\" level=info msg=\"db ok\" comp=mailroom",
        "1795345652000 0123-456, 254 hosts +0000",
    ] {
        assert_eq!(shown(text), text);
    }
}

#[test]
fn a_private_key_is_removed_whole_and_in_part() {
    let line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj";
    let key =
        format!("-----BEGIN RSA PRIVATE KEY-----\n{line}\n{line}\n-----END RSA PRIVATE KEY-----");
    assert_eq!(shown(&format!("a {key} b")), format!("a {KEY_REMOVED} b"));
    assert_eq!(
        shown(&format!("a\n{key}\n{key}\nb")),
        format!("a\n{KEY_REMOVED}\n{KEY_REMOVED}\nb")
    );
    let timed = key.replace('\n', "\n2026-11-22T10:00:00Z out ");
    assert_eq!(shown(&timed), KEY_REMOVED);
    let json = key.replace('\n', "\\n");
    assert_eq!(
        shown(&format!("{{\"k\": \"{json}\"}}")),
        format!("{{\"k\": \"{KEY_REMOVED}\"}}")
    );
    let cut = &key[..key.find("-----END").unwrap()];
    assert_eq!(
        shown(&format!("{cut}an ordinary line")),
        format!("{KEY_REMOVED}an ordinary line")
    );
    let rest = &key[key.find(line).unwrap()..];
    assert_eq!(
        shown(&format!("an ordinary line\n{rest}\nb")),
        format!("an ordinary line\n{KEY_REMOVED}\nb")
    );
}

#[test]
fn numbers_and_addresses_of_people_are_replaced() {
    for (text, expected) in [
        ("from +254712345678.", "from ‹tel›."),
        ("from=%2B254712345678&x", "from=‹tel›&x"),
        ("call_0712345678_in.wav", "call_‹tel›_in.wav"),
        ("0712 345 678, 0112-345-678", "‹tel›, ‹tel›"),
        ("urn=tel:+254712345678 b", "urn=‹tel› b"),
        ("tel%3A%2B254712345678", "‹tel›"),
        ("whatsapp:254712345678", "‹tel›"),
        ("254712345678 and 00254712345678", "‹tel› and ‹tel›"),
        ("+44 20 7946 0958", "‹tel›"),
        ("facebook:1234567890", "‹urn›"),
        ("\"msisdn\": \"712345678\"", "\"msisdn\": \"‹tel›\""),
        ("jane.doe+x@mail.example.org>", "‹mail›>"),
    ] {
        assert_eq!(shown(text), expected);
    }
}

#[test]
fn one_number_has_one_token_however_it_is_written() {
    let redactor = redactor(&[]);
    let token = redactor.token("tel", "254712345678");
    for number in [
        "+254712345678",
        "0712345678",
        "0712 345 678",
        "tel:+254712345678",
        "254712345678",
        "whatsapp:254712345678",
        "%2B254712345678",
        "00254712345678",
    ] {
        assert_eq!(redactor.text(number), token, "{number}");
    }
    assert_ne!(redactor.text("0712345679"), token);
}

#[test]
fn messages_are_removed_where_our_services_log_them() {
    for (text, expected) in [
        (
            r#"level=info msg="msg queued" text="I am \"alone\"" urn=x"#,
            r#"level=info msg="msg queued" text="‹text-removed›" urn=x"#,
        ),
        (
            r#"msg="channel log" response="HTTP/1.1 200\r\n\r\nhello" took=1"#,
            r#"msg="channel log" response="‹text-removed›" took=1"#,
        ),
        (
            "GET /c/at/receive?text=help+me&id=1 HTTP/1.1",
            "GET /c/at/receive?text=‹text-removed›&id=1 HTTP/1.1",
        ),
        (
            r#"{"id": 1, "text": "help \"me\""}"#,
            r#"{"id": 1, "text": "‹text-removed›"}"#,
        ),
        (
            r#"body is {\"text\":\"help \\\"me\\\" now\",\"id\":1}"#,
            r#"body is {\"text\":\"‹text-removed›\",\"id\":1}"#,
        ),
        (
            "{'text': u'help me', 'id': 1}",
            "{'text': u'‹text-removed›', 'id': 1}",
        ),
        (
            "DETAIL:  Failing row contains (1, help me, x).",
            "DETAIL:  Failing row contains ‹text-removed›",
        ),
        (r#"text="cut in the middle"#, r#"text="‹text-removed›""#),
    ] {
        assert_eq!(shown(text), expected);
    }
}

#[test]
fn json_stays_json_and_a_long_line_is_cut_only_afterwards() {
    let redactor = redactor(&[("A_SECRET", "hunter\"2 \\x")]);
    let value = serde_json::json!({"log": "a hunter\"2 \\x b", "list": [1, "0712345678"]});
    let text = redactor.json(value).to_string();
    assert!(
        text.contains("‹A_SECRET:") && text.contains("‹tel:"),
        "{text}"
    );
    let long = format!(
        "{}hunter\"2 \\x{}",
        "é".repeat(LONGEST_LINE - 3),
        "b".repeat(1_000_000)
    );
    let log = redactor.log(&long);
    assert!(
        !log.contains("hunter") && log.len() < 3 * LONGEST_LINE,
        "{}",
        log.len()
    );
}

/// Text in which much looks like something.
fn texts() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        proptest::sample::select(vec![
            "password=",
            "token: ",
            "secret",
            "\"",
            "'",
            "\\",
            "\\\"",
            "://",
            "@",
            ":",
            "=",
            "&",
            "?",
            " ",
            "\n",
            "text=",
            "\"text\": ",
            "‹tel:",
            "‹",
            "›",
            "-----BEGIN PRIVATE KEY-----",
            "0712345678",
            "-----END PRIVATE KEY-----",
            "+254 712 345 678",
            "Authorization: Token ",
            "http://",
            "tel:",
            "a@b.org",
            "‹secret:0123abcd›",
            "cookie: ",
            "Failing row contains ",
            "%2B",
            "54",
        ])
        .prop_map(str::to_owned),
        "[a-zA-Z0-9+/=.,;-]{0,12}",
        any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(pieces, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn no_secret_is_left_whatever_stands_around_it(
        before in texts(),
        secret in "[a-zA-Z0-9+/@:%&\"'<>_-]{8,24}",
        after in texts(),
    ) {
        let redactor = redactor(&[("A_SECRET", &secret)]);
        let once = redactor.text(&format!("{before}{secret}{after}"));
        prop_assert!(!once.contains(&secret), "{once}");
        prop_assert!(!redactor.text(&once).contains(&secret), "{once}");
    }

    #[test]
    fn no_number_is_left(before in texts(), number in "(\\+254|0)7[0-9]{8}", after in "[^0-9]{0,9}") {
        let redactor = redactor(&[]);
        let once = redactor.text(&format!("{before} {number} {after}"));
        prop_assert!(!once.contains(&number), "{once}");
    }
}
