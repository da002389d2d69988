//! What needs no server: outcomes, faults, and sockets that play a part.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use super::*;

fn url(text: &str) -> DatabaseUrl {
    DatabaseUrl::parse(text).unwrap()
}

fn report(outcome: PostgresOutcome) -> PostgresReport {
    PostgresReport {
        outcome,
        took_ms: 1,
        attempts: Vec::new(),
        sqlstate: None,
        message: None,
        tls_offered: None,
        tls_not_checked: false,
        server: None,
    }
}

async fn ask(url: &DatabaseUrl) -> PostgresReport {
    probe(url, &["postgis"], Duration::from_millis(700)).await
}

/// A server for one connection: reads once, answers, and closes.
fn scripted(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(answer);
        }
    });
    port
}

#[tokio::test]
async fn a_closed_port_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let url = url(&format!("postgres://u:hemmelig@127.0.0.1:{port}/d"));
    let report = ask(&url).await;
    assert_eq!(
        report.outcome,
        PostgresOutcome::Unreached(Unreached::Refused)
    );
    let fault = report.fault("Casepro", &url, "this host", None).unwrap();
    assert!(fault.title.contains("does not listen"), "{fault:?}");
    assert!(fault.why.contains("casepro-celery"), "{fault:?}");
    assert!(!format!("{fault:?}{report:?}").contains("hemmelig"));
}

#[tokio::test]
async fn a_mute_server_is_silent() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = url(&format!(
        "postgres://u@127.0.0.1:{}/d",
        listener.local_addr().unwrap().port()
    ));
    let report = ask(&url).await;
    assert_eq!(report.outcome, PostgresOutcome::Silent);
    assert!(report.took_ms >= 700 && report.took_ms < 2000);
}

#[tokio::test]
async fn something_else_is_not_postgres() {
    let port = scripted(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    let report = ask(&url(&format!("postgres://u@127.0.0.1:{port}/d"))).await;
    assert_eq!(report.outcome, PostgresOutcome::NotPostgres, "{report:?}");
    let report = ask(&url(&format!(
        "postgres://u@127.0.0.1:{port}/d?sslmode=require"
    )))
    .await;
    assert_eq!(report.outcome, PostgresOutcome::NotPostgres, "{report:?}");
}

#[tokio::test]
async fn a_hurried_goodbye_is_a_failure() {
    let port = scripted(b"");
    let report = ask(&url(&format!("postgres://u@127.0.0.1:{port}/d"))).await;
    assert_eq!(report.outcome, PostgresOutcome::Failed, "{report:?}");
}

#[tokio::test]
async fn tls_is_asked_for_but_not_spoken() {
    let port = scripted(b"S");
    let wanted = url(&format!(
        "postgres://u@127.0.0.1:{port}/d?sslmode=verify-full"
    ));
    let report = ask(&wanted).await;
    assert_eq!(
        (report.outcome, report.tls_not_checked),
        (PostgresOutcome::Usable, true)
    );
    assert_eq!(report.fault("RapidPro", &wanted, "this host", None), None);
    let port = scripted(b"N");
    let wanted = url(&format!("postgres://u@127.0.0.1:{port}/d?sslmode=require"));
    let report = ask(&wanted).await;
    assert_eq!(report.outcome, PostgresOutcome::TlsNotOffered);
}

#[tokio::test]
async fn a_name_without_address_does_not_resolve() {
    // RFC 6761: .invalid never exists.
    let url = url("postgres://u@db.invalid/d");
    let report = probe(&url, &[], Duration::from_secs(3)).await;
    assert_eq!(
        report.outcome,
        PostgresOutcome::Unreached(Unreached::NotResolved)
    );
    let fault = report.fault("RapidPro", &url, "this host", None).unwrap();
    assert_eq!(fault.next, ["getent hosts db.invalid"]);
}

#[tokio::test]
async fn a_server_that_repeats_the_password_does_not_get_it_shown() {
    // ErrorResponse: severity, code, message.
    let port = scripted(b"E\0\0\0\x2aSFATAL\0C28P01\0Mno luck with hemmelig\0\0");
    let url = url(&format!("postgres://u:hemmelig@127.0.0.1:{port}/d"));
    let report = ask(&url).await;
    assert_eq!(report.outcome, PostgresOutcome::WrongPassword, "{report:?}");
    assert_eq!(report.message.as_deref(), Some("no luck with ***"));
}

#[test]
fn the_servers_answers_are_told_apart() {
    use PostgresOutcome as O;
    let role = "InitializeSessionUserId";
    for (code, routine, message, outcome) in [
        (
            "28P01",
            "auth_failed",
            "password authentication failed for user \"u\"",
            O::WrongPassword,
        ),
        (
            "28000",
            "ClientAuthentication",
            "no pg_hba.conf entry for host \"::1\"",
            O::HbaRejected,
        ),
        (
            "28000",
            "ClientAuthentication",
            "kein pg_hba.conf-Eintrag für Host",
            O::HbaRejected,
        ),
        (
            "28000",
            "auth_failed",
            "Ident authentication failed for user \"u\"",
            O::MethodUnusable,
        ),
        ("28000", role, "role \"u\" does not exist", O::RoleMissing),
        ("28000", role, "Rolle »u« existiert nicht", O::RoleMissing),
        (
            "28000",
            role,
            "role \"u\" is not permitted to log in",
            O::RoleMayNotLogIn,
        ),
        (
            "3D000",
            "InitPostgres",
            "database \"d\" does not exist",
            O::DatabaseMissing,
        ),
        (
            "42501",
            "CheckMyDatabase",
            "permission denied for database \"d\"",
            O::MayNotConnect,
        ),
        (
            "53300",
            "InitProcess",
            "sorry, too many clients already",
            O::TooManyConnections,
        ),
        (
            "57P03",
            "",
            "the database system is starting up",
            O::StartingUp,
        ),
        (
            "57P03",
            "",
            "the database system is shutting down",
            O::ShuttingDown,
        ),
        ("57P01", "", "terminating connection", O::ShuttingDown),
        ("08P01", "", "SSL required", O::TlsRequired),
        ("XX000", "", "anything", O::Failed),
    ] {
        assert_eq!(
            classify_answer(code, routine, message),
            outcome,
            "{code} {message}"
        );
    }
}

#[test]
fn the_report_survives_json() {
    for outcome in [
        PostgresOutcome::Usable,
        PostgresOutcome::HbaRejected,
        PostgresOutcome::Unreached(Unreached::TimedOut),
    ] {
        let mut report = report(outcome);
        report.server = Some(PostgresServer {
            version: "15.8".into(),
            version_number: 150_008,
            client_address: None,
            is_superuser: false,
            may_create: true,
            read_only: false,
            installed: BTreeMap::from([("hstore".to_owned(), "1.8".to_owned())]),
            missing: Vec::new(),
            migrations: None,
        });
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(
            serde_json::from_str::<PostgresReport>(&json).unwrap(),
            report
        );
    }
    let json =
        serde_json::to_value(report(PostgresOutcome::Unreached(Unreached::TimedOut))).unwrap();
    assert_eq!(json["outcome"], "timed-out");
}

#[test]
fn the_line_that_pg_hba_lacks_is_given() {
    let url = url("postgres://rapidpro:pw@203.0.113.4/rapidpro");
    let mut report = report(PostgresOutcome::HbaRejected);
    report.sqlstate = Some("28000".into());
    report.message = Some(
        "no pg_hba.conf entry for host \"192.168.0.7\", user \"rapidpro\", database \"rapidpro\""
            .into(),
    );
    let fault = report
        .fault("RapidPro", &url, "a container", Some("192.168.0.0/20"))
        .unwrap();
    assert!(
        fault.next[0].contains("'host  rapidpro  rapidpro  192.168.0.0/20  md5'"),
        "{fault:?}"
    );
    assert!(fault.next[0].ends_with("# on 203.0.113.4"));
    assert_eq!(
        fault.next[1],
        "sudo systemctl reload postgresql   # on 203.0.113.4"
    );
    assert!(fault.evidence[1].starts_with("SQLSTATE 28000: no pg_hba.conf entry"));
    // A server on another machine sees this host's address and not the containers' network.
    for subnet in [None, Some("172.18.0.0/16")] {
        let fault = report.fault("RapidPro", &url, "a container", subnet);
        let command = &fault.unwrap().next[0];
        assert!(command.contains("192.168.0.7/32"), "{command}");
    }
}

#[test]
fn missing_extensions_matter_only_where_the_role_cannot_create_them() {
    let url = url("postgres://r@203.0.113.4/Odd'name");
    let mut report = report(PostgresOutcome::Usable);
    let extension = |name: &str, available, may_create| MissingExtension {
        name: name.into(),
        available,
        may_create,
    };
    let server = |missing, read_only| PostgresServer {
        version: "15.8".into(),
        version_number: 150_008,
        client_address: None,
        is_superuser: false,
        may_create: true,
        read_only,
        installed: BTreeMap::new(),
        missing,
        migrations: None,
    };
    report.server = Some(server(vec![extension("hstore", true, true)], false));
    assert_eq!(report.fault("RapidPro", &url, "this host", None), None);
    report.server = Some(server(vec![extension("postgis", false, false)], false));
    let fault = report.fault("RapidPro", &url, "this host", None).unwrap();
    assert_eq!(
        fault.next,
        [
            "sudo apt-get install -y postgresql-15-postgis-3   # on 203.0.113.4",
            "sudo -u postgres psql -d 'Odd'\\''name' -c 'CREATE EXTENSION postgis'   # on 203.0.113.4",
        ]
    );
    report.server = Some(server(Vec::new(), true));
    assert!(
        report
            .fault("x", &url, "this host", None)
            .unwrap()
            .title
            .contains("read-only")
    );
}

#[test]
fn every_outcome_makes_a_whole_fault() {
    use PostgresOutcome as O;
    let url = url("postgres://u:hemmelig@h/d");
    let all = [
        O::Unreached(Unreached::NotResolved),
        O::Unreached(Unreached::Refused),
        O::Unreached(Unreached::TimedOut),
        O::Unreached(Unreached::NoRoute),
        O::Silent,
        O::NotPostgres,
        O::HbaRejected,
        O::WrongPassword,
        O::PasswordMissing,
        O::MethodUnusable,
        O::RoleMissing,
        O::RoleMayNotLogIn,
        O::MayNotConnect,
        O::DatabaseMissing,
        O::StartingUp,
        O::ShuttingDown,
        O::TooManyConnections,
        O::TlsRequired,
        O::TlsNotOffered,
        O::Failed,
    ];
    for outcome in all {
        let fault = report(outcome)
            .fault("RapidPro", &url, "this host", None)
            .unwrap();
        assert!(fault.title.starts_with("RapidPro: "), "{fault:?}");
        assert!(
            !fault.what.is_empty() && !fault.why.is_empty() && !fault.next.is_empty(),
            "{fault:?}"
        );
        assert!(
            fault.evidence[0].contains("postgres://u:***@h:5432/d"),
            "{fault:?}"
        );
        assert!(!format!("{fault:?}").contains("hemmelig"));
    }
}
