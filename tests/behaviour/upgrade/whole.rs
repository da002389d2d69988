//! From release to release under a deployment that serves.

use serde_json::Value;

use super::Asking;

/// All the way, each release in turn, with what people wrote before and in between; and one leg back.
#[test]
fn each_release_is_passed_and_nothing_is_lost() {
    let home = super::deployment("upgrade");
    home.ooy(&["start"]).expect(0);
    let seeded = home.seed_rapidpro();
    let contacts = "SELECT string_agg(name, ',' ORDER BY id) FROM contacts_contact";
    let before = home.rapidpro_sql(contacts);
    let plan = home
        .ooy(&["upgrade", "rapidpro", "--to", "8.0.1", "--dry-run"])
        .expect(0);
    insta::assert_snapshot!("plan", super::tidy(&home, &plan.stderr));
    assert_eq!(home.tag("rapidpro"), "v6.4.8");

    let delivering = home.delivering(&seeded);
    let asking = Asking::begin(&home, "rapidpro.test", "/users/login/", None);
    let upgraded = home
        .ooy(&["--yes", "upgrade", "rapidpro", "--to", "7.0.4"])
        .expect(0);
    let answers = asking.end();
    let taken = home.lost_no_message(&delivering.end());
    assert!(taken > 10, "{taken}");
    // Before and after it serves; in between people are told that they have to wait.
    let refused: Vec<_> = answers.iter().filter(|(_, code)| *code != 200).collect();
    assert!(refused.iter().all(|(_, code)| *code == 503), "{refused:?}");
    assert_eq!(answers.first().unwrap().1, 200);
    assert_eq!(answers.last().unwrap().1, 200);
    assert!(
        upgraded.stderr.contains("web closed for"),
        "{}",
        upgraded.stderr
    );
    // What takes longest was done while the old version served.
    let made = upgraded.stderr.find("made ahead, beside those");
    let closed = upgraded.stderr.find("the web is closed");
    assert!(made.is_some() && made < closed, "{}", upgraded.stderr);
    let mark = "/rapidpro/sitestatic/.ooy-ahead";
    let of = home.docker(&["exec", &home.container("rapidpro"), "cat", mark]);
    assert_eq!(of, home.inspect("rapidpro", "{{.Image}}"));
    assert_eq!(home.rapidpro_sql(contacts), before);
    for (service, tag) in [
        ("rapidpro", "v7.0.4"),
        ("rapidpro-celery", "v7.0.4"),
        ("rapidpro-beat", "v7.0.4"),
        ("mailroom", "v7.0.1"),
        ("courier", "v7.0.0"),
        ("indexer", "v7.0.0"),
    ] {
        assert_eq!(home.tag(service), tag, "{service}");
    }
    home.is_settled("rapidpro");
    home.ooy(&["diagnose"]).expect(0);

    // Three more in one command.
    home.ooy(&["--yes", "upgrade", "rapidpro", "--to", "8.0.1"])
        .expect(0);
    assert_eq!(home.tag("rapidpro"), "v8.0.1");
    assert_eq!(home.tag("courier"), "v8.0.2");
    assert_eq!(home.rapidpro_sql(contacts), before);
    home.is_settled("rapidpro");
    let history = home.ooy(&["history"]).expect(0);
    assert!(
        history.stdout.contains("web closed for"),
        "{}",
        history.stdout
    );

    // One leg back; what was written since is told, and agreed to, before it is missing.
    home.rapidpro_sql("UPDATE contacts_contact SET name = 'Later'");
    let shown = home.ooy(&["rollback", "--dry-run"]).expect(0);
    assert!(
        shown.stderr.contains("missing afterwards: "),
        "{}",
        shown.stderr
    );
    let refused = home.ooy(&["--yes", "rollback"]).expect(2);
    insta::assert_snapshot!("loss", super::tidy(&home, &refused.stderr));
    let command = refused
        .stderr
        .lines()
        .find(|line| line.contains("--accept-loss-since"));
    let time = command.unwrap().rsplit(' ').next().unwrap();
    home.ooy(&["--yes", "rollback", "--accept-loss-since", time])
        .expect(0);
    assert_eq!(home.tag("rapidpro"), "v7.4.2");
    assert_eq!(home.rapidpro_sql(contacts), before);
    home.is_settled("rapidpro");
    home.ooy(&["diagnose"]).expect(0);
    // What was newer is kept.
    let listed: Value = home.ooy(&["--json", "backup", "list"]).expect(0).json();
    assert_eq!(
        listed["kept_databases"].as_array().unwrap().len(),
        1,
        "{listed:#}"
    );
    home.drop_databases_beside();
}

/// The image of this release ignores the command of a container.
#[test]
fn casepros_worker_is_a_worker_after_its_upgrade() {
    let home = super::deployment("upcasepro");
    home.ooy(&["start"]).expect(0);
    home.ooy(&["--yes", "upgrade", "casepro", "--to", "1.10.0"])
        .expect(0);
    for service in ["casepro", "casepro-celery"] {
        assert_eq!(home.tag(service), "v1.10.0");
    }
    let processes = home.docker(&["top", &home.container("casepro-celery")]);
    assert!(
        processes.contains("worker") && !processes.contains("gunicorn"),
        "{processes}"
    );
    home.is_settled("casepro");
    home.ooy(&["--yes", "upgrade", "contentrepo", "--to", "0.0.101"])
        .expect(0);
    assert_eq!(home.tag("contentrepo"), "v0.0.101");
    home.is_settled("contentrepo");
    home.drop_databases_beside();
}
