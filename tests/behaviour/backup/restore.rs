//! A restore under a deployment that runs.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use crate::harness::{Home, until};

/// What people wrote later is in the database that is kept, the services answer again, and search
/// knows only whom the database knows.
#[test]
fn services_are_stopped_and_come_back_with_what_was_backed_up() {
    let home = Home::with_databases("restore");
    home.ooy(&["start"]).expect(0);
    home.seed_rapidpro();
    let names = "SELECT string_agg(name, ',' ORDER BY id) FROM contacts_contact";
    let contacts = |home: &Home| home.rapidpro_sql(names);
    let before = contacts(&home);
    assert_ne!(before, "");
    // Casepro goes on: only RapidPro's database is replaced.
    let id = home.back_up(&["--prove"]);
    home.rapidpro_sql("UPDATE contacts_contact SET name = 'Later'");
    assert_ne!(contacts(&home), before);

    let casepro = home.inspect("casepro", "{{.State.StartedAt}}");
    let rapidpro = home.inspect("rapidpro", "{{.State.StartedAt}}");
    let mut child = home
        .command(&["--yes", "--json", "restore", &id, "--database", "rapidpro"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stopped = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let event: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        let (step, what) = (
            event["step"].as_str().unwrap(),
            event["event"].as_str().unwrap(),
        );
        if (step, what) == ("stop", "done") {
            stopped.push(event["service"].as_str().unwrap().to_owned());
        }
        if step == "restore" && what == "started" {
            // Nobody writes any more.
            for service in [
                "rapidpro",
                "mailroom",
                "courier",
                "rapidpro-celery",
                "indexer",
            ] {
                assert_eq!(
                    home.inspect(service, "{{.State.Running}}"),
                    "false",
                    "{service}"
                );
            }
        }
    }
    assert!(child.wait().unwrap().success());
    assert!(
        stopped.iter().any(|service| service == "courier"),
        "{stopped:?}"
    );
    assert!(
        !stopped.iter().any(|service| service == "casepro"),
        "{stopped:?}"
    );

    assert_eq!(contacts(&home), before);
    assert_ne!(home.inspect("rapidpro", "{{.State.StartedAt}}"), rapidpro);
    assert_eq!(home.inspect("casepro", "{{.State.StartedAt}}"), casepro);
    let status = home.status();
    for service in status["services"].as_array().unwrap() {
        assert_eq!(service["ready"], true, "{service:#}");
    }
    let (code, _) = home.get("rapidpro.test", "/", &[]);
    assert!(code < 400, "{code}");
    // The index was removed, and the indexer has made it anew from what is there now.
    until(
        "search is made anew",
        std::time::Duration::from_secs(30),
        || {
            let diagnosed = home.ooy(&["--json", "diagnose", "search-index"]);
            diagnosed.code == 0
        },
    );
    home.drop_databases_beside();
}
