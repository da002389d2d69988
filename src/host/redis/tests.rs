//! What needs no server: sockets that play Redis, outcomes, faults.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use proptest::prelude::*;

use super::*;

fn url(text: &str) -> RedisUrl {
    RedisUrl::parse(text).unwrap()
}

/// Answers each request, on every connection, with the next of these; the last one closes.
fn scripted(answers: &[&[u8]]) -> RedisUrl {
    let answers: Vec<Vec<u8>> = answers.iter().map(|answer| answer.to_vec()).collect();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            for answer in &answers {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(answer);
            }
        }
    });
    url(&format!("redis://:hemmelig@127.0.0.1:{port}/0"))
}

async fn ask(url: &RedisUrl) -> RedisReport {
    probe(url, Duration::from_millis(900)).await
}

fn bulk(text: &str) -> Vec<u8> {
    format!("${}\r\n{text}\r\n", text.len()).into_bytes()
}

const OK: &[u8] = b"+OK\r\n";

#[tokio::test]
async fn a_closed_port_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = url(&format!(
        "redis://127.0.0.1:{}",
        listener.local_addr().unwrap().port()
    ));
    drop(listener);
    let report = ask(&url).await;
    assert_eq!(report.outcome, RedisOutcome::Unreached(Unreached::Refused));
    let fault = delete_matching(&url, "x:*", Duration::from_secs(1))
        .await
        .unwrap_err();
    assert!(fault.title.contains("does not listen"), "{fault:?}");
}

#[tokio::test]
async fn a_mute_server_is_silent() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = url(&format!(
        "redis://127.0.0.1:{}",
        listener.local_addr().unwrap().port()
    ));
    assert_eq!(ask(&url).await.outcome, RedisOutcome::Silent);
    let fault = delete_matching(&url, "x:*", Duration::from_millis(50))
        .await
        .unwrap_err();
    assert!(fault.title.contains("says nothing"), "{fault:?}");
}

#[tokio::test]
async fn a_healthy_server_is_described() {
    let url = scripted(&[
        OK,
        OK,
        &bulk(
            "# Server\r\nredis_version:7.0.15\r\nused_memory:1000\r\nmaxmemory:0\r\nrole:master\r\nx:y:z\r\nend:\r\n",
        ),
        b":3\r\n",
        b"+PONG\r\n",
    ]);
    let report = ask(&url).await;
    assert_eq!(report.outcome, RedisOutcome::Usable, "{report:?}");
    let server = report.server.clone().unwrap();
    assert_eq!(
        (server.version.as_str(), server.keys, server.used_memory),
        ("7.0.15", 3, 1000)
    );
    assert_eq!(report.fault("RapidPro", &url, "this host"), None);
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<RedisReport>(&json).unwrap(), report);
}

#[tokio::test]
async fn a_server_that_cannot_save_and_a_replica_are_found() {
    let url = scripted(&[
        OK,
        OK,
        &bulk("role:master\r\n"),
        b":0\r\n",
        b"-MISCONF Redis is configured to save RDB snapshots. And so on.\r\n",
    ]);
    assert_eq!(ask(&url).await.outcome, RedisOutcome::CannotSave);
    let url = scripted(&[
        OK,
        OK,
        &bulk("role:slave\r\nmaster_host:10.0.10.5\r\n"),
        b":0\r\n",
        b"+PONG\r\n",
    ]);
    let report = ask(&url).await;
    assert_eq!(report.outcome, RedisOutcome::ReadOnly);
    assert!(report.message.unwrap().contains("10.0.10.5"));
}

#[tokio::test]
async fn no_error_shows_the_password() {
    for answer in [
        &b"-ERR unknown command `AUTH`, with args beginning with: `hemmelig`, \r\n"[..],
        b"-ERR what is \"hemmelig\"?\r\n",
    ] {
        let url = scripted(&[answer]);
        let report = ask(&url).await;
        assert_eq!(report.outcome, RedisOutcome::Failed);
        let shown = format!(
            "{report:?} {:?}",
            report.fault("Casepro", &url, "this host")
        );
        assert!(!shown.contains("hemmelig"), "{shown}");
    }
}

#[tokio::test]
async fn something_else_is_not_redis() {
    for answer in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"$-2\r\n",
        b"$99999999999\r\n",
        b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n+x\r\n",
        b"$1\r\nxyz",
        b"SSH-2.0-OpenSSH\n",
    ] {
        let url = scripted(&[answer]);
        let report = ask(&url).await;
        assert_eq!(
            report.outcome,
            RedisOutcome::NotRedis,
            "{answer:?} {report:?}"
        );
    }
}

#[tokio::test]
async fn an_answer_before_the_question_is_heard() {
    // Protected mode: Redis speaks first and closes at once, with our command unread.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.write_all(b"-DENIED Redis is running in protected mode. Long text.\r\n");
        }
    });
    let report = ask(&url(&format!("redis://127.0.0.1:{port}/0"))).await;
    assert_eq!(report.outcome, RedisOutcome::Protected, "{report:?}");
    assert_eq!(
        report.message.as_deref(),
        Some("DENIED Redis is running in protected mode")
    );
}

#[tokio::test]
async fn matching_keys_are_deleted_in_steps() {
    let url = scripted(&[
        OK,
        OK,
        b"*2\r\n$1\r\n7\r\n*2\r\n$3\r\na:1\r\n$3\r\na:2\r\n",
        b":1\r\n",
        b":0\r\n",
        b"*2\r\n$1\r\n0\r\n*1\r\n$3\r\na:3\r\n",
        b":1\r\n",
    ]);
    let deleted = delete_matching(&url, "a:*", Duration::from_secs(2))
        .await
        .unwrap();
    assert_eq!(deleted, ["a:1", "a:3"]);
}

#[tokio::test]
async fn what_was_deleted_before_a_failure_is_told() {
    let url = scripted(&[
        OK,
        OK,
        b"*2\r\n$1\r\n7\r\n*1\r\n$3\r\na:1\r\n",
        b":1\r\n",
        b"-LOADING Redis\r\n",
    ]);
    let fault = delete_matching(&url, "a:*", Duration::from_secs(2))
        .await
        .unwrap_err();
    assert!(
        fault
            .evidence
            .iter()
            .any(|e| e == "deleted before that: a:1"),
        "{fault:?}"
    );
}

/// A worker's answer in the list, as kombu puts it there, after the element that is none.
fn answered(answers: &str) -> Vec<u8> {
    let message = format!(
        r#"{{"body": {}, "headers": {{}}, "properties": {{}}}}"#,
        serde_json::json!(answers)
    );
    [b"*2\r\n".to_vec(), bulk(""), bulk(&message)].concat()
}

#[tokio::test]
async fn workers_are_waited_for_as_long_as_one_says_nothing() {
    let ask = async |heard: &[u8]| {
        let url = scripted(&[
            OK,
            OK,
            b":1\r\n",
            b":1\r\n",
            b"*0\r\n",
            b":1\r\n",
            heard,
            b"*1\r\n$0\r\n\r\n",
            &answered(r#"{"celery@a": {"ok": "pong"}}"#),
            b":1\r\n",
            b":1\r\n",
        ]);
        let asked = pidbox::ask(&url, "ping", None, Duration::from_secs(2)).await;
        asked.unwrap()
    };
    let asked = ask(b":1\r\n").await;
    assert_eq!(asked.heard, 1);
    assert_eq!(asked.answers["celery@a"]["ok"], "pong");
    // Nobody listens: nobody is waited for.
    let asked = ask(b":0\r\n").await;
    assert_eq!((asked.heard, asked.answers.len()), (0, 0));
}

#[tokio::test]
async fn a_pattern_for_everything_is_refused() {
    for pattern in ["", "*", "?rg", "[a-z]*", "*:lock"] {
        let fault =
            delete_matching(&url("redis://127.0.0.1:1"), pattern, Duration::from_secs(1)).await;
        assert_eq!(fault.unwrap_err().kind, crate::fault::Kind::Usage);
    }
}

#[test]
fn redis_errors_are_told_apart() {
    use RedisOutcome as O;
    for (text, outcome) in [
        ("NOAUTH Authentication required.", O::PasswordMissing),
        (
            "WRONGPASS invalid username-password pair or user is disabled.",
            O::WrongPassword,
        ),
        ("ERR invalid password", O::WrongPassword),
        (
            "ERR Client sent AUTH, but no password is set",
            O::PasswordNotWanted,
        ),
        (
            "ERR AUTH <password> called without any password configured for the default user",
            O::PasswordNotWanted,
        ),
        (
            "NOPERM this user has no permissions to run the 'info' command",
            O::NotPermitted,
        ),
        ("LOADING Redis is loading the dataset in memory", O::Loading),
        (
            "READONLY You can't write against a read only replica",
            O::ReadOnly,
        ),
        ("ERR DB index is out of range", O::DbOutOfRange),
        ("ERR invalid DB index", O::DbOutOfRange),
        ("ERR max number of clients reached", O::TooManyClients),
        (
            "OOM command not allowed when used memory > 'maxmemory'",
            O::OutOfMemory,
        ),
        ("ERR something", O::Failed),
    ] {
        assert_eq!(
            classify(&RedisError::Answer(text.into())),
            outcome,
            "{text}"
        );
    }
}

#[test]
fn every_outcome_makes_a_whole_fault() {
    use RedisOutcome as O;
    let url = url("redis://:hemmelig@10.0.10.4/7");
    for outcome in [
        O::Silent,
        O::NotRedis,
        O::PasswordMissing,
        O::WrongPassword,
        O::PasswordNotWanted,
        O::NotPermitted,
        O::Protected,
        O::Loading,
        O::CannotSave,
        O::ReadOnly,
        O::OutOfMemory,
        O::DbOutOfRange,
        O::TooManyClients,
        O::Failed,
        O::Unreached(Unreached::TimedOut),
    ] {
        let report = RedisReport {
            outcome,
            took_ms: 1,
            attempts: Vec::new(),
            message: None,
            server: None,
        };
        let fault = report.fault("RapidPro", &url, "this host").unwrap();
        assert!(fault.title.starts_with("RapidPro: "), "{fault:?}");
        assert!(
            !fault.what.is_empty() && !fault.why.is_empty() && !fault.next.is_empty(),
            "{fault:?}"
        );
        assert!(
            fault.evidence[0].starts_with("redis://:***@10.0.10.4:6379/7"),
            "{fault:?}"
        );
        assert!(!format!("{fault:?}").contains("hemmelig"));
    }
}

proptest! {
    #[test]
    fn any_info_is_read(text in ".{0,200}") {
        let _ = parse_info(&text);
    }
}
