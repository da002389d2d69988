//! The whole deployment, twelve services: one scenario, since bringing it up is what costs.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use crate::harness::{Home, sql, until};

/// design.md section 4.
const NEEDS: &[(&str, &[&str])] = &[
    ("mailroom", &["elasticsearch"]),
    ("casepro-celery", &["casepro"]),
    ("rapidpro-celery", &["rapidpro", "mailroom"]),
    ("rapidpro-beat", &["rapidpro", "rapidpro-celery"]),
    ("indexer", &["elasticsearch", "rapidpro"]),
    ("bigquery-sync", &["rapidpro"]),
    (
        "nginx",
        &["rapidpro", "courier", "mailroom", "casepro", "contentrepo"],
    ),
];

/// Those whose stand-in can be asked over TCP, and so is in the others' records.
const ANSWERING: &[&str] = &[
    "elasticsearch",
    "courier",
    "mailroom",
    "rapidpro",
    "casepro",
    "contentrepo",
];

#[test]
fn twelve_services_come_up_in_order_and_go_down_again() {
    let home = Home::with_databases("whole");
    let started = home.ooy(&["start"]).expect(0);
    assert!(
        started.stderr.contains("12 of 12 ready"),
        "{}",
        started.stderr
    );
    assert!(
        started.stderr.contains("migrations: "),
        "{}",
        started.stderr
    );

    order_is_respected(&home);
    status_and_compose_agree(&home);
    status_is_a_table(&home);

    let again = home.ooy(&["start"]).expect(0);
    assert!(
        again.stderr.contains("12 of 12 ready, nothing to do"),
        "{}",
        again.stderr
    );

    pages_open(&home);
    static_files_are_served_by_nginx(&home);
    only_public_mailroom_paths_are_reachable(&home);
    recreated_upstreams_are_found(&home);
    a_missing_upstream_takes_only_itself_away(&home);
    messages_reach_courier(&home);
    leftover_locks_are_removed(&home);
    jobs_of_the_sync_have_their_token(&home);

    stop_ends_nginx_first(&home);
    let down = home.ooy(&["status"]).expect(1);
    assert!(down.stdout.contains("0 of 12 ready"), "{}", down.stdout);
    // Everything is there still, and the release tasks have nothing left to do.
    let back = home.ooy(&["start"]).expect(0);
    assert_eq!(
        back.stderr.matches("migrations: done before").count(),
        2,
        "{}",
        back.stderr
    );
    release_tasks_run_when_something_changed(&home);
}

/// Each is left out only where database and volume prove that it was done.
fn release_tasks_run_when_something_changed(home: &Home) {
    let again = || {
        home.ooy(&["stop", "contentrepo"]).expect(0);
        home.ooy(&["start", "contentrepo"]).expect(0).stderr
    };
    // As after a restore of a backup that was made with another version.
    let database = home.setting("CONTENTREPO_DATABASE_URL");
    let database = database.rsplit('/').next().unwrap();
    sql(
        database,
        "INSERT INTO django_migrations (app, name, applied) VALUES ('x', '0001', now())",
    );
    let said = again();
    assert!(said.contains("migrations: none to apply"), "{said}");
    // What the database has now is all of what this image brings.
    let said = again();
    assert!(said.contains("migrations: done before"), "{said}");

    // As after somebody emptied the volume.
    let container = home.container("contentrepo");
    home.docker(&[
        "exec",
        "-u",
        "0",
        &container,
        "sh",
        "-c",
        "rm -rf /app/static/* /app/static/.ooy-release",
    ]);
    let said = again();
    assert!(said.contains("migrations: none to apply"), "{said}");
    let container = home.container("contentrepo");
    let files = home.docker(&["exec", &container, "ls", "-A", "/app/static"]);
    assert!(
        files.contains(".ooy-release") && files.lines().count() > 1,
        "{files}"
    );
}

fn order_is_respected(home: &Home) {
    let started: BTreeMap<&str, String> = NEEDS
        .iter()
        .flat_map(|(service, needs)| [&[*service], *needs].concat())
        .map(|service| (service, home.inspect(service, "{{.State.StartedAt}}")))
        .collect();
    for (service, needs) in NEEDS {
        for need in *needs {
            assert!(
                started[need] < started[service],
                "{need} before {service}: {started:#?}"
            );
        }
        if *service == "nginx" || *service == "bigquery-sync" {
            continue;
        }
        let log = home.docker(&["logs", &home.container(service)]);
        let record = log.lines().find(|line| line.starts_with("{\"stand_in\""));
        let record: serde_json::Value = serde_json::from_str(record.expect(service)).unwrap();
        for need in needs.iter().filter(|need| ANSWERING.contains(need)) {
            assert_eq!(record["answers"][need], true, "{service}: {record}");
        }
    }
}

fn status_and_compose_agree(home: &Home) {
    let output = Command::new("docker")
        .args([
            "compose",
            "-p",
            &home.project,
            "ps",
            "-a",
            "--format",
            "json",
        ])
        .output()
        .unwrap();
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    // One object a line, or one array, by version.
    let compose: Vec<serde_json::Value> = match serde_json::from_str(&listed) {
        Ok(serde_json::Value::Array(all)) => all,
        _ => listed
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    };
    let compose: BTreeMap<String, String> = compose
        .iter()
        .map(|entry| (text(&entry["Service"]), text(&entry["State"])))
        .collect();
    let status = home.status();
    assert_eq!(status["schema"], 1);
    assert_eq!(status["project"], home.project);
    let ours: BTreeMap<String, String> = status["services"]
        .as_array()
        .unwrap()
        .iter()
        .map(|service| (text(&service["service"]), text(&service["state"])))
        .collect();
    assert_eq!(ours, compose);
    assert_eq!(ours.len(), 12);
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn status_is_a_table(home: &Home) {
    let table = home.ooy(&["status"]).expect(0).stdout;
    let figures = regex::Regex::new(r" +\d+%| +–( |$)|SIZE|N s").unwrap();
    let tidy = home.tidy(&table);
    let tidy = figures.replace_all(&tidy, " #").into_owned();
    let blanks = regex::Regex::new(r"(?m) {2,}| +$").unwrap();
    insta::assert_snapshot!("status", blanks.replace_all(&tidy, "  ").into_owned());
}

fn pages_open(home: &Home) {
    for (host, path) in [
        ("rapidpro.test", "/users/login/"),
        ("casepro.test", "/ping"),
        ("anything.casepro.test", "/ping"),
        ("content.test", "/admin/login/"),
    ] {
        let (status, answer) = home.get(host, path, &[]);
        assert_eq!(status, 200, "{host}{path}: {answer}");
    }
    // Plain HTTP leads to HTTPS.
    let output = Command::new("curl")
        .args([
            "-sSI",
            "--noproxy",
            "*",
            "--resolve",
            &format!("rapidpro.test:{}:127.0.0.1", home.http),
        ])
        .arg(format!("http://rapidpro.test:{}/users/login/", home.http))
        .output()
        .unwrap();
    let head = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(head.starts_with("HTTP/1.1 301"), "{head}");
    let location = format!("https://rapidpro.test:{}/users/login/", home.https);
    assert!(head.contains(&location), "{head}");
}

fn static_files_are_served_by_nginx(home: &Home) {
    let volume = |name: &str| {
        home.docker(&[
            "volume",
            "inspect",
            "-f",
            "{{.Mountpoint}}",
            &format!("{}_{name}", home.project),
        ])
    };
    for (host, folder, path) in [
        (
            "rapidpro.test",
            volume("rapidpro-static"),
            "/sitestatic/ooy-test.txt",
        ),
        (
            "rapidpro.test",
            volume("rapidpro-media"),
            "/media/ooy-test.txt",
        ),
        (
            "content.test",
            volume("contentrepo-static"),
            "/static/ooy-test.txt",
        ),
        (
            "content.test",
            volume("contentrepo-media"),
            "/media/ooy-test.txt",
        ),
    ] {
        std::fs::write(
            format!("{folder}/ooy-test.txt"),
            format!("from {host}{path}"),
        )
        .unwrap();
        // The application is frozen: whoever answers is nginx.
        let service = if host == "content.test" {
            "contentrepo"
        } else {
            "rapidpro"
        };
        home.docker(&["pause", &home.container(service)]);
        let (status, answer) = home.get(host, path, &[]);
        home.docker(&["unpause", &home.container(service)]);
        assert_eq!(status, 200, "{host}{path}: {answer}");
        assert!(answer.ends_with(&format!("from {host}{path}")), "{answer}");
    }
    // What the login page refers to is there.
    let (_, page) = home.get("rapidpro.test", "/users/login/", &[]);
    let link = page
        .split('"')
        .find(|part| part.starts_with("/sitestatic/"))
        .expect("a static file in the page");
    assert_eq!(home.get("rapidpro.test", link, &[]).0, 200, "{link}");
}

fn only_public_mailroom_paths_are_reachable(home: &Home) {
    let uuid = "0d1a2b3c-4d5e-4f60-8a7b-9c0d1e2f3a4b";
    for path in [
        &format!("/mr/ivr/c/{uuid}/handle"),
        &format!("/mr/ivr/c/{uuid}/status"),
        &format!("/mr/ivr/c/{uuid}/incoming"),
        "/mr/tickets/types/mailgun/receive",
        "/mr/tickets/types/zendesk/channelback",
        "/mr/tickets/types/rocketchat/event_callback/x",
        "/mr/surveyor/submit",
    ] {
        let (_, answer) = home.get("rapidpro.test", path, &["-X", "POST", "-d", "x=1"]);
        // The stand-in says which path has reached it.
        assert!(
            answer.contains(&format!("x-stand-in-path: {path}")),
            "{path}: {answer}"
        );
    }
    for path in [
        "/mr/po/export",
        "/mr/po/import",
        "/mr/contact/search",
        "/mr/flow/inspect",
        "/mr/sim/start",
        "/mr/",
        "/mr",
        "//mr/po/export",
        "/mr/../mr/po/export",
        "/x/../mr/po/export",
        "/%6dr/po/export",
        "/mr/ivr/c/../../po/export",
        "/mr/surveyor/submit/../../po/export",
        "/mr/surveyor/submit%2f..%2f..%2fpo/export",
        "/c/../mr/po/export",
        "/sitestatic/../mr/po/export",
    ] {
        let (status, answer) = home.get("rapidpro.test", path, &["-X", "POST", "-d", "{}"]);
        assert!((400..500).contains(&status), "{path}: {status} {answer}");
    }
    // None of them has reached mailroom, whoever answered; the others have.
    let log = home.ooy(&["logs", "mailroom"]).expect(0).stdout;
    assert!(log.contains("/mr/surveyor/submit"), "{log}");
    for word in ["/po/", "/contact/", "/flow/", "/sim/"] {
        assert!(!log.contains(word), "{word} in mailroom's log");
    }
}

fn recreated_upstreams_are_found(home: &Home) {
    let nginx = home.inspect("nginx", "{{.Id}} {{.State.StartedAt}}");
    let address = |service| {
        home.inspect(
            service,
            "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
        )
    };
    let before = address("rapidpro");
    // The address goes to somebody else before the container is made anew.
    home.docker(&["rm", "-f", &home.container("rapidpro")]);
    let network = format!("{}_default", home.project);
    let image = crate::harness::stand_in("courier");
    let label = format!("com.docker.compose.project={}", home.project);
    let oneoff = [
        "--label",
        &label,
        "--label",
        "com.docker.compose.oneoff=True",
        "--network",
        &network,
    ];
    let sleep = [
        "--entrypoint",
        "bash",
        &image,
        "-c",
        "exec 3<> <(:); read -u 3",
    ];
    let ip = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let mut squatters = Vec::new();
    loop {
        let id = home.docker(&[&["run", "-d"][..], &oneoff, &sleep].concat());
        let taken = home.docker(&["inspect", "--format", ip, &id]);
        squatters.push(id);
        if taken == before {
            break;
        }
        assert!(squatters.len() < 40, "nobody got {before}");
    }
    home.ooy(&["start", "rapidpro"]).expect(0);
    assert_ne!(address("rapidpro"), before, "it has a new address");
    until("nginx finds it", Duration::from_secs(5), || {
        home.get("rapidpro.test", "/users/login/", &[]).0 == 200
    });
    assert_eq!(
        home.inspect("nginx", "{{.Id}} {{.State.StartedAt}}"),
        nginx,
        "nginx was not touched"
    );
    for id in squatters {
        home.docker(&["rm", "-f", &id]);
    }
}

fn a_missing_upstream_takes_only_itself_away(home: &Home) {
    home.docker(&["rm", "-f", &home.container("contentrepo")]);
    home.docker(&["restart", &home.container("nginx")]);
    until("nginx answers again", Duration::from_secs(10), || {
        home.get("rapidpro.test", "/users/login/", &[]).0 == 200
    });
    assert_eq!(home.get("content.test", "/admin/login/", &[]).0, 502);
    assert_eq!(home.service_status("contentrepo")["state"], "missing");
    home.ooy(&["start"]).expect(0);
    until("it is back", Duration::from_secs(5), || {
        home.get("content.test", "/admin/login/", &[]).0 == 200
    });
}

fn messages_reach_courier(home: &Home) {
    let (_, answer) = home.get(
        "rapidpro.test",
        "/c/kn/0d1a2b3c-4d5e-4f60-8a7b-9c0d1e2f3a4b/receive",
        &["-d", "x=1"],
    );
    assert!(answer.contains("unable to find channel"), "{answer}");
    // Only what begins with /c/ is courier's.
    let (_, answer) = home.get("rapidpro.test", "/contact/c/x", &[]);
    assert!(!answer.contains("courier"), "{answer}");
    let (status, _) = home.get("rapidpro.test", "/status", &[]);
    assert_ne!(status, 200, "courier's own status page is not public");
}

/// A worker that was killed leaves a lock for twelve hours; a start does away with it.
fn leftover_locks_are_removed(home: &Home) {
    let url = home.setting("CASEPRO_REDIS_URL");
    let database = url.rsplit('/').next().unwrap();
    home.docker(&["kill", &home.container("casepro-celery")]);
    until("it has ended", Duration::from_secs(10), || {
        home.inspect("casepro-celery", "{{.State.Running}}") == "false"
    });
    crate::harness::redis_cli(&[
        "-n",
        database,
        "SET",
        "org-task-lock:99:message-pull",
        "1",
        "PX",
        "43200000",
    ]);
    let said = home.ooy(&["start", "casepro-celery"]).expect(0).stderr;
    assert!(said.contains("org-task-lock:99:message-pull"), "{said}");
    assert_eq!(
        crate::harness::redis_cli(&["-n", database, "EXISTS", "org-task-lock:99:message-pull"]),
        "0"
    );
}

/// cron gives its jobs an environment of its own.
fn jobs_of_the_sync_have_their_token(home: &Home) {
    let table = home.docker(&["exec", &home.container("bigquery-sync"), "crontab", "-l"]);
    assert!(
        table.contains("RAPIDPRO_TOKEN=") && table.contains("BQ_KEY_PATH="),
        "{table}"
    );
}

fn stop_ends_nginx_first(home: &Home) {
    home.ooy(&["stop"]).expect(0);
    let ended = |service| home.inspect(service, "{{.State.FinishedAt}}");
    let nginx = ended("nginx");
    for (service, needs) in NEEDS {
        for need in *needs {
            assert!(ended(service) < ended(need), "{service} ends before {need}");
        }
    }
    for service in ["rapidpro", "mailroom", "courier", "casepro", "contentrepo"] {
        assert!(nginx < ended(service), "nginx before {service}");
        // Ended by itself, not killed after its grace.
        assert_ne!(
            home.inspect(service, "{{.State.ExitCode}}"),
            "137",
            "{service}"
        );
    }
}
