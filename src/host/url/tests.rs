//! What the two URL parsers take, refuse and show.

use proptest::prelude::*;

use super::*;

fn db(text: &str) -> DatabaseUrl {
    DatabaseUrl::parse(text).unwrap()
}

fn db_error(text: &str) -> String {
    DatabaseUrl::parse(text).unwrap_err()
}

fn redis(text: &str) -> RedisUrl {
    RedisUrl::parse(text).unwrap()
}

fn redis_error(text: &str) -> String {
    RedisUrl::parse(text).unwrap_err()
}

#[test]
fn a_database_url_is_taken_apart() {
    let url = db("postgresql://rapid%40pro:p%2Fw:x@10.0.10.4/rapid%20pro?application_name=a%26b");
    assert_eq!(url.user(), "rapid@pro");
    assert_eq!(url.password(), Some("p/w:x"));
    assert_eq!((url.host(), url.port()), ("10.0.10.4", 5432));
    assert_eq!(url.database(), "rapid pro");
    assert_eq!(url.parameter("application_name"), Some("a&b"));
    assert_eq!(url.parameter("sslmode"), None);
    let six = db("postgres://u@[::1]:6432/d");
    assert_eq!(
        (six.host(), six.port(), six.password()),
        ("::1", 6432, None)
    );
    assert_eq!(db("postgres://u:@db/d").password(), Some(""));
}

#[test]
fn the_go_form_keeps_what_was_typed() {
    let go = |text| db(text).go_form();
    assert_eq!(
        go("postgresql://u:p%40w@h/d"),
        "postgres://u:p%40w@h/d?sslmode=disable"
    );
    assert_eq!(
        go("postgres://u@h:1/d?"),
        "postgres://u@h:1/d?sslmode=disable"
    );
    assert_eq!(
        go("postgres://u@h/d?connect_timeout=3"),
        "postgres://u@h/d?connect_timeout=3&sslmode=disable"
    );
    let tls = "postgres://u@h/d?sslmode=require&connect_timeout=3";
    assert_eq!(go(tls), tls);
    assert!(db(tls).requires_tls());
    assert_eq!(
        go("postgres://u@h/d?sslmode=prefer&connect_timeout=3"),
        "postgres://u@h/d?connect_timeout=3&sslmode=disable"
    );
}

#[test]
fn nothing_shown_holds_the_password() {
    let url = db("postgresql://rapidpro:hemmelig@10.0.10.4/rapidpro?sslmode=require&options=x");
    assert_eq!(
        url.redacted(),
        "postgres://rapidpro:***@10.0.10.4:5432/rapidpro?sslmode=require"
    );
    assert_eq!(
        format!("{url:?}"),
        format!("DatabaseUrl({})", url.redacted())
    );
    let url = redis("redis://:hemmelig@r/3");
    assert_eq!(url.redacted(), "redis://:***@r:6379/3");
    assert_eq!(format!("{url:?}"), "RedisUrl(redis://:***@r:6379/3)");
}

#[test]
fn database_mistakes_are_named() {
    for (text, part) in [
        ("", "is empty"),
        ("mysql://u@h/d", "does not start with postgres://"),
        ("u:hemmelig@h/d", "does not start with"),
        ("postgres://u:hem@melig@h/d", "unescaped @: write it as %40"),
        ("postgres://u:hem/melig@h/d", "unescaped /: write it as %2F"),
        ("postgres://u:hem@mel/ig@h/d", "@ behind the first /"),
        ("postgres://u:hem#melig@h/d", "unescaped #: write it as %23"),
        ("postgres://u:hem?melig@h/d", "unescaped ?: write it as %3F"),
        ("postgres://u:hem melig@h/d", "space"),
        ("postgres://u:hem%melig@h/d", "% that two hexadecimal"),
        ("postgres://u:hemmelig%ff@h/d", "not UTF-8"),
        ("postgres://u:hemmelig%00@h/d", "zero byte"),
        ("postgres://u:hemmelig^@h/d", "must be escaped"),
        ("postgres://u:hemmelig@/d", "host is empty"),
        ("postgres://u:hemmelig@:5432/d", "host is empty"),
        ("postgres://u:hemmelig@h:0/d", "port"),
        ("postgres://u:hemmelig@h:65536/d", "port"),
        ("postgres://u:hemmelig@h:+1/d", "port"),
        ("postgres://u:hemmelig@h:/d", "port"),
        ("postgres://u:hemmelig@h", "database name is missing"),
        ("postgres://u:hemmelig@h/", "database name is missing"),
        ("postgres://u:hemmelig@h/d/e", "database name"),
        ("postgres://:hemmelig@h/d", "user is missing"),
        ("postgres://h/d", "user is missing"),
        ("postgres://u:hemmelig@10.0.10.400/d", "IPv4"),
        ("postgres://u:hemmelig@::1/d", "brackets"),
        ("postgres://u:hemmelig@[::1/d", "not closed"),
        ("postgres://u:hemmelig@[::g]/d", "no IPv6"),
        ("postgres://u:hemmelig@[::1]5/d", "only :port"),
        ("postgres://u:hemmelig@%2Fvar%2Frun/d", "neither a name nor"),
        ("postgres://u:hemmelig@h1,h2/d", "neither a name nor"),
        ("postgres://u:hemmelig@h/d?sslmode=of", "sslmode is none of"),
        ("postgres://u:hemmelig@h/d?sslmode", "no value"),
        ("postgres://u@h/d?password=hemmelig", "parameter password"),
    ] {
        let error = db_error(text);
        assert!(error.contains(part), "{text}: {error}");
        for secret in ["hemmelig", "melig"] {
            assert!(!error.contains(secret), "{text}: {error}");
        }
    }
}

#[test]
fn a_redis_url_is_taken_apart() {
    let plain = redis("redis://10.0.10.4");
    assert_eq!((plain.host(), plain.port()), ("10.0.10.4", 6379));
    assert_eq!((plain.db(), plain.db_given()), (0, false));
    assert_eq!(plain.host_port_with_password(), "10.0.10.4:6379");
    let url = redis("redis://:p%40w@[::1]:6380/15");
    assert_eq!((url.db(), url.db_given()), (15, true));
    assert_eq!((url.user(), url.password()), (None, Some("p@w")));
    assert_eq!(url.host_port_with_password(), ":p%40w@[::1]:6380");
    assert_eq!(redis("redis://a:b@h/").user(), Some("a"));
    assert!(!redis("redis://a:b@h/").db_given());
}

#[test]
fn redis_mistakes_are_named() {
    for (text, part) in [
        ("rediss://h/0", "TLS"),
        ("http://h/0", "does not start with redis://"),
        ("redis://hemmelig@h/0", "needs a colon"),
        ("redis://:@h/0", "empty"),
        ("redis://:hemm/elig@h/0", "%2F"),
        ("redis://:hemm@elig@h/0", "%40"),
        ("redis://:hemmelig@h/zero", "no database number"),
        ("redis://:hemmelig@h/-1", "no database number"),
        ("redis://:hemmelig@h/99999999999", "too large"),
        ("redis://:hemmelig@h?db=3", "database number"),
        ("redis://:hemmelig@", "host is empty"),
    ] {
        let error = redis_error(text);
        assert!(error.contains(part), "{text}: {error}");
        for secret in ["hemmelig", "elig"] {
            assert!(!error.contains(secret), "{text}: {error}");
        }
    }
}

proptest! {
    #[test]
    fn parts_survive_the_round_trip(
        user in "[^\\x00]{1,12}",
        password in "[^\\x00]{0,20}",
        host in "([a-z][a-z0-9_-]{0,8}(\\.[a-z0-9]{1,5}){0,2}|10\\.[0-9]\\.0\\.[0-9]|\\[::[0-9a-f]{1,4}\\])",
        port in 1u16..,
        database in "[^\\x00]{1,12}",
    ) {
        let text = format!(
            "postgres://{}:{}@{host}:{port}/{}",
            encode(&user), encode(&password), encode(&database)
        );
        let url = db(&text);
        prop_assert_eq!(url.user(), &user);
        prop_assert_eq!(url.password(), Some(password.as_str()));
        prop_assert_eq!(url.host(), host.trim_matches(['[', ']']));
        prop_assert_eq!(url.port(), port);
        prop_assert_eq!(url.database(), &database);
        // The form for Go means the same, and gains one parameter.
        let go = db(&url.go_form());
        prop_assert_eq!(go.parameter("sslmode"), Some("disable"));
        prop_assert!(go.authority == url.authority);
    }

    #[test]
    fn any_text_is_answered_and_no_error_repeats_a_secret(text in "(postgres|redis)://.{0,60}") {
        let _ = DatabaseUrl::parse(&text).map(|url| (url.go_form(), url.redacted()));
        let _ = RedisUrl::parse(&text).map(|url| (url.host_port_with_password(), url.redacted()));
    }

    #[test]
    fn a_long_password_never_shows(
        password in "[A-Z0-9@/#?% ^]{12,24}",
        place in "(h|h:99999|/|:x|h/a/b)",
    ) {
        let shown = match DatabaseUrl::parse(&format!("postgres://u:{password}@{place}")) {
            Ok(url) => format!("{url:?}"),
            Err(error) => error,
        };
        prop_assert!(!shown.contains(&password));
        for piece in password.split(['@', '/', '#', '?', '%', ' ']).filter(|p| p.len() > 5) {
            prop_assert!(!shown.contains(piece), "{}", shown);
        }
    }
}
