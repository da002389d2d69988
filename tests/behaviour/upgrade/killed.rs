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
    killed_upgrades("upkilled", 0);
}

#[test]
fn an_upgrade_that_is_killed_at_the_other_steps_ends_so_too() {
    killed_upgrades("upkilled2", 1);
}

/// Every other event from `first` on: two tests work at the same time.
fn killed_upgrades(name: &str, first: usize) {
    let home = super::deployment(name);
    home.ooy(&["start", "contentrepo"]).expect(0);
    home.as_role(
        "contentrepo",
        "CREATE TABLE kept AS SELECT n FROM generate_series(1, 100) n",
    );
    let upgrade = ["upgrade", "contentrepo", "--to", "0.0.101"];
    let mut undo = false;
    for at in (first..200).step_by(2) {
        let Some(event) = home.killed_at(&upgrade, at) else {
            is_of(&home, "v0.0.101", "the end");
            assert!(at > 15, "{at}");
            home.drop_databases_beside();
            return;
        };
        let begun = home.folder.join("state/upgrade.json").exists();
        let phase = home.phase();
        if !["", "preparing"].contains(&phase.as_str()) {
            let refused = home.ooy(&["start", "contentrepo"]).expect(1);
            assert!(
                refused.stderr.contains("cut off in the middle"),
                "{at} {event}"
            );
        }
        // Once people are let in it only goes on.
        undo = !undo && phase != "opening";
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
    let home = super::deployment("rbkilled");
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

/// All of RapidPro's eight services. Each event is one of ContentRepo's too, or of a service more; so here
/// only every so many are tried, all of them with OOY_TEST_EVERY=1 (half an hour).
#[test]
fn an_upgrade_of_rapidpro_that_is_killed_ends_as_the_new_or_as_the_old() {
    let every = std::env::var("OOY_TEST_EVERY").map_or(13, |every| every.parse().unwrap());
    let home = super::deployment("uprpkilled");
    home.ooy(&["start"]).expect(0);
    home.seed_rapidpro();
    let names = "SELECT string_agg(name, ',' ORDER BY id) FROM contacts_contact";
    let names_before = home.rapidpro_sql(names);
    let upgrade = ["upgrade", "rapidpro", "--to", "7.0.4"];
    let mut undo = false;
    for at in (0..400).step_by(every) {
        let Some(event) = home.killed_at(&upgrade, at) else {
            assert!(at > 60, "{at}");
            home.drop_databases_beside();
            return;
        };
        let (phase, begun) = (
            home.phase(),
            home.folder.join("state/upgrade.json").exists(),
        );
        undo = !undo && phase != "opening";
        let resume: &[&str] = if undo {
            &["--yes", "resume", "--undo"]
        } else {
            &["--yes", "resume"]
        };
        home.ooy(resume).expect(0);
        let is_new = home.tag("rapidpro") == "v7.0.4";
        assert!(!begun || is_new != undo, "{at} {event}");
        let tags: [(&str, &str); 5] = match is_new {
            true => [
                ("rapidpro", "v7.0.4"),
                ("rapidpro-celery", "v7.0.4"),
                ("mailroom", "v7.0.1"),
                ("courier", "v7.0.0"),
                ("indexer", "v7.0.0"),
            ],
            false => [
                ("rapidpro", "v6.4.8"),
                ("rapidpro-celery", "v6.4.8"),
                ("mailroom", "6.4.3"),
                ("courier", "6.4.0"),
                ("indexer", "6.4.0"),
            ],
        };
        for (service, tag) in tags {
            assert_eq!(home.tag(service), tag, "{service} {at} {event}");
            assert_eq!(home.service_status(service)["ready"], true, "{at} {event}");
        }
        assert_eq!(home.rapidpro_sql(names), names_before, "{at} {event}");
        assert_eq!(home.get("rapidpro.test", "/users/login/", &[]).0, 200);
        home.is_settled("rapidpro");
        if is_new {
            let time = "2000-01-01T00:00:00Z";
            home.ooy(&["--yes", "rollback", "--accept-loss-since", time])
                .expect(0);
            home.drop_databases_beside();
        }
    }
    panic!("it never ends");
}
