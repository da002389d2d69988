//! kill -9 at every step: afterwards there is exactly the old or exactly the new.

use crate::harness::Home;

fn rows(home: &Home) -> String {
    home.as_role("contentrepo", "SELECT count(*) FROM kept")
}

/// Whole and of one version: settings, container and database.
#[track_caller]
fn is_of(home: &Home, tag: &str, at: &str) {
    assert!(
        home.setting("CONTENTREPO_IMAGE")
            .ends_with(&format!(":{tag}")),
        "{at}"
    );
    assert_eq!(home.tag("contentrepo"), tag, "{at}");
    assert_eq!(home.service_status("contentrepo")["ready"], true, "{at}");
    assert_eq!(rows(home), "100", "{at}");
    let migrations = home.as_role("contentrepo", "SELECT count(*) FROM django_migrations");
    let expected = if tag == "v0.0.41" { "31" } else { "33" };
    assert_eq!(migrations, expected, "{at}");
    home.is_settled("contentrepo");
}

#[test]
fn an_upgrade_that_is_killed_ends_as_the_new_or_as_the_old() {
    let home = Home::with_databases("upkilled");
    home.ooy(&["start", "contentrepo"]).expect(0);
    home.as_role(
        "contentrepo",
        "CREATE TABLE kept AS SELECT n FROM generate_series(1, 100) n",
    );
    let upgrade = ["upgrade", "contentrepo", "--to", "0.0.101"];
    let mut undo = false;
    for at in 0..200 {
        let Some(event) = home.killed_at(&upgrade, at) else {
            is_of(&home, "v0.0.101", "the end");
            assert!(at > 15, "{at}");
            home.drop_databases_beside();
            return;
        };
        let begun = home.folder.join("state/upgrade.json").exists();
        let text = std::fs::read_to_string(home.folder.join("state/upgrade.json"));
        if begun && !text.unwrap().contains("\"preparing\"") {
            let refused = home.ooy(&["start", "contentrepo"]).expect(1);
            assert!(
                refused.stderr.contains("cut off in the middle"),
                "{at} {event}"
            );
        }
        undo = !undo;
        let resume: &[&str] = if undo {
            &["--yes", "resume", "--undo"]
        } else {
            &["--yes", "resume"]
        };
        home.ooy(resume).expect(0);
        let is_new = home.tag("contentrepo") == "v0.0.101";
        assert!(!begun || is_new != undo, "{at} {event}");
        is_of(&home, if is_new { "v0.0.101" } else { "v0.0.41" }, &event);
        if is_new {
            let time = "2000-01-01T00:00:00Z";
            home.ooy(&["--yes", "rollback", "--accept-loss-since", time])
                .expect(0);
            is_of(&home, "v0.0.41", &event);
            home.drop_databases_beside();
        }
    }
    panic!("it never ends");
}

/// A rollback that has begun only goes on; before, nothing has happened.
#[test]
fn a_rollback_that_is_killed_ends_as_the_old() {
    let home = Home::with_databases("rbkilled");
    home.ooy(&["start", "contentrepo"]).expect(0);
    home.as_role(
        "contentrepo",
        "CREATE TABLE kept AS SELECT n FROM generate_series(1, 100) n",
    );
    let rollback = ["rollback", "--accept-loss-since", "2000-01-01T00:00:00Z"];
    for at in 0..100 {
        if home.tag("contentrepo") == "v0.0.41" {
            home.ooy(&["--yes", "upgrade", "contentrepo", "--to", "0.0.101"])
                .expect(0);
        }
        let Some(event) = home.killed_at(&rollback, at) else {
            is_of(&home, "v0.0.41", "the end");
            assert!(at > 8, "{at}");
            home.drop_databases_beside();
            return;
        };
        let begun = home.folder.join("state/upgrade.json").exists();
        home.ooy(&["--yes", "resume"]).expect(0);
        let is_old = home.tag("contentrepo") == "v0.0.41";
        assert!(is_old || !begun, "{at} {event}");
        is_of(&home, if is_old { "v0.0.41" } else { "v0.0.101" }, &event);
    }
    panic!("it never ends");
}
