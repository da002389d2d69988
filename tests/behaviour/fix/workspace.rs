//! A flagged workspace takes changes again, and never another one than the one that was meant.

use crate::diagnose::workspace::{Gate, PATIENCE};
use crate::harness::{Home, Ran, until};
use crate::hotline::TOKEN;

#[test]
fn workspaces() {
    let home = Home::with_databases("fixws");
    home.set("DIAGNOSE_TIMEOUT", "DIAGNOSE_TIMEOUT=12s");
    home.ooy(&["start", "rapidpro"]).expect(0);
    manage(&home, &["stand_in_seed", "--token", TOKEN]);
    let gate = Gate::open(&home);
    home.set("RAPIDPRO_URL", &format!("RAPIDPRO_URL={}", gate.url()));
    home.set("RAPIDPRO_TOKEN", &format!("RAPIDPRO_TOKEN={TOKEN}"));

    no_workspace_is_flagged(&home);
    the_one_that_is_flagged_takes_changes_again(&home);
    it_is_known_by_its_uuid_and_its_name(&home);
    a_verified_one_is_not_flagged_again(&home);
    of_several_one_has_to_be_named(&home);
    of_two_with_one_name_neither_is_touched(&home);
    a_suspended_one_is_told_apart(&home);
    what_is_typed_is_data(&home);
    without_a_token_the_row_is_the_proof(&home);
    a_repair_that_was_cut_off_ends_well(&home);
    without_rapidpro_it_says_what_to_do(&home);
}

fn manage(home: &Home, arguments: &[&str]) -> String {
    let container = home.container("rapidpro");
    let python = [
        "exec",
        &container,
        "/venv/bin/python",
        "/rapidpro/manage.py",
    ];
    home.docker(&[&python, arguments].concat())
}

/// As an import of neighbouring numbers does it.
fn import(home: &Home) -> String {
    manage(home, &["stand_in_import"])
}

fn states(home: &Home) -> String {
    home.rapidpro_sql(
        "SELECT string_agg(slug || ' ' || is_flagged || ' ' || is_suspended, ', ' ORDER BY id) \
         FROM orgs_org",
    )
}

/// What RapidPro's API says to a change: the service that was blocked.
fn refusal(home: &Home) -> String {
    let address = home.inspect(
        "rapidpro",
        "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
    );
    let output = std::process::Command::new("curl")
        .args([
            "-sS",
            "--noproxy",
            "*",
            "--max-time",
            "20",
            "-H",
            "Host: rapidpro",
        ])
        .args(["-H", &format!("Authorization: Token {TOKEN}")])
        .args(["-H", "Content-Type: application/json", "-d", "{}"])
        .arg(format!("http://{address}:8000/api/v2/flow_starts.json"))
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn fails(home: &Home, arguments: &[&str], code: i32) -> Ran {
    let ran = home.fix(&[&["workspace-flag"], arguments].concat());
    let ran = ran.expect(code);
    assert!(!ran.stderr.contains("will do"), "{}", ran.stderr);
    assert!(ran.stderr.contains("next"), "{}", ran.stderr);
    ran
}

fn no_workspace_is_flagged(home: &Home) {
    home.has_nothing_to_fix(&["workspace-flag"]);
    home.has_nothing_to_fix(&["workspace-flag", "lvcthealth"]);
    let ran = fails(home, &["lvct"], 2);
    assert!(ran.stderr.contains("no workspace lvct"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("workspace is flagged"),
        "{}",
        ran.stderr
    );
}

fn the_one_that_is_flagged_takes_changes_again(home: &Home) {
    assert!(import(home).contains("flagged: True"));
    assert!(refusal(home).contains("currently flagged"));
    let found = home.diagnose(&["workspaces"]);
    let command = found.finding("workspace-flagged")["fix"]["command"].clone();
    assert!(
        command
            .as_str()
            .unwrap()
            .ends_with("fix workspace-flag lvcthealth")
    );

    // Shown, and nothing done.
    let planned = home.ooy(&["fix", "workspace-flag", "--dry-run"]).expect(0);
    assert!(
        planned.stderr.contains("take the flag off"),
        "{}",
        planned.stderr
    );
    assert!(
        planned.stderr.contains("contacts.xlsx (300 numbers"),
        "{}",
        planned.stderr
    );
    assert_eq!(states(home), "lvcthealth true false");

    let ran = fails(home, &["lvct"], 2);
    let named = "fix workspace-flag lvcthealth";
    assert!(ran.stderr.contains(named), "{}", ran.stderr);

    let said = home.fixes(&["workspace-flag", "lvcthealth"]);
    assert!(
        said.contains("RapidPro's API takes changes of it"),
        "{said}"
    );
    assert_eq!(states(home), "lvcthealth false false");
    assert!(refusal(home).contains("This field is required."));
    home.has_nothing_to_fix(&["workspace-flag", "lvcthealth"]);
    home.has_nothing_to_fix(&["workspace-flag"]);
}

fn it_is_known_by_its_uuid_and_its_name(home: &Home) {
    let uuid = home.rapidpro_sql("SELECT uuid FROM orgs_org WHERE slug = 'lvcthealth'");
    for name in [uuid.to_uppercase().as_str(), "LVCT Health"] {
        import(home);
        let said = home.fixes(&["workspace-flag", name]);
        assert!(said.contains("lvcthealth is not flagged since"), "{said}");
        assert_eq!(states(home), "lvcthealth false false");
    }
    // Without a slug it is named by its uuid.
    home.rapidpro_sql("UPDATE orgs_org SET slug = NULL, is_flagged = true");
    let found = home.diagnose(&["workspaces"]);
    let command = found.finding("workspace-flagged")["fix"]["command"].clone();
    let target = format!("fix workspace-flag {uuid}");
    assert!(command.as_str().unwrap().ends_with(&target), "{command}");
    home.fixes(&["workspace-flag", &uuid]);
    assert!(refusal(home).contains("This field is required."));
    home.rapidpro_sql("UPDATE orgs_org SET slug = 'lvcthealth'");
}

fn a_verified_one_is_not_flagged_again(home: &Home) {
    import(home);
    let planned = home.ooy(&["fix", "workspace-flag", "--verify", "--dry-run"]);
    let planned = planned.expect(0).stderr;
    assert!(
        planned.contains("no import of neighbouring numbers"),
        "{planned}"
    );
    let said = home.fixes(&["workspace-flag", "lvcthealth", "--verify"]);
    assert!(said.contains("and is verified"), "{said}");
    assert!(import(home).contains("flagged: False"));
    home.has_nothing_to_fix(&["workspace-flag", "lvcthealth", "--verify"]);
    home.rapidpro_sql("UPDATE orgs_org SET config = '{}'");
    // Also before it happens.
    home.fixes(&["workspace-flag", "lvcthealth", "--verify"]);
    assert!(import(home).contains("flagged: False"));
    home.rapidpro_sql("UPDATE orgs_org SET config = '{}'");
}

fn of_several_one_has_to_be_named(home: &Home) {
    manage(home, &["stand_in_seed", "--slug", "training"]);
    home.rapidpro_sql("UPDATE orgs_org SET is_flagged = true");
    let said = fails(home, &[], 2).stderr;
    assert!(said.contains("2 workspaces are flagged"), "{said}");
    for slug in ["lvcthealth", "training"] {
        assert!(
            said.contains(&format!("fix workspace-flag {slug}")),
            "{said}"
        );
    }
    let said = home.fixes(&["workspace-flag", "training"]);
    assert!(
        said.contains("RAPIDPRO_TOKEN is that of another workspace"),
        "{said}"
    );
    assert_eq!(states(home), "lvcthealth true false, training false false");
}

fn of_two_with_one_name_neither_is_touched(home: &Home) {
    home.rapidpro_sql("UPDATE orgs_org SET is_flagged = true, name = 'Helpline'");
    let said = fails(home, &["Helpline"], 2).stderr;
    assert!(said.contains("2 workspaces Helpline"), "{said}");
    assert!(said.contains("fix workspace-flag training"), "{said}");
    assert_eq!(states(home), "lvcthealth true false, training true false");
    home.fixes(&["workspace-flag", "training"]);
    home.fixes(&["workspace-flag", "lvcthealth"]);
    home.rapidpro_sql("UPDATE orgs_org SET name = 'LVCT Health' WHERE slug = 'lvcthealth'");
}

fn a_suspended_one_is_told_apart(home: &Home) {
    home.rapidpro_sql("UPDATE orgs_org SET is_suspended = true WHERE slug = 'lvcthealth'");
    let said = fails(home, &["lvcthealth"], 1).stderr;
    assert!(said.contains("is suspended, not flagged"), "{said}");
    assert!(said.contains("credit"), "{said}");
    // Both: the flag goes, the other stays, and is said.
    home.rapidpro_sql("UPDATE orgs_org SET is_flagged = true WHERE slug = 'lvcthealth'");
    let said = home.fixes(&["workspace-flag", "lvcthealth"]);
    assert!(said.contains("but it is suspended, which stays"), "{said}");
    assert_eq!(states(home), "lvcthealth false true, training false false");
    home.rapidpro_sql("UPDATE orgs_org SET is_suspended = false");
}

fn what_is_typed_is_data(home: &Home) {
    home.rapidpro_sql("UPDATE orgs_org SET is_flagged = true WHERE slug = 'lvcthealth'");
    for typed in [
        "lvcthealth'; UPDATE orgs_org SET is_flagged = false; --",
        "x') or __import__('os').system('touch /tmp/typed') or ('",
        "$(touch /tmp/typed)",
        "",
    ] {
        let said = fails(home, &[typed], 2).stderr;
        assert!(said.contains("no workspace"), "{said}");
    }
    assert_eq!(states(home), "lvcthealth true false, training false false");
    let touched = home.docker(&["exec", &home.container("rapidpro"), "ls", "/tmp"]);
    assert!(!touched.contains("typed"), "{touched}");
    home.fixes(&["workspace-flag"]);
}

fn without_a_token_the_row_is_the_proof(home: &Home) {
    home.set("RAPIDPRO_TOKEN", "RAPIDPRO_TOKEN=");
    home.rapidpro_sql("UPDATE orgs_org SET is_flagged = true WHERE slug = 'lvcthealth'");
    let said = home.fixes(&["workspace-flag"]);
    assert!(said.contains("seen in the database"), "{said}");
    assert!(refusal(home).contains("This field is required."));
}

fn a_repair_that_was_cut_off_ends_well(home: &Home) {
    home.rapidpro_sql("UPDATE orgs_org SET is_flagged = true WHERE slug = 'lvcthealth'");
    home.fix_until(&["workspace-flag", "lvcthealth"], "flag", "started")
        .kill();
    home.fixes(&["workspace-flag", "lvcthealth"]);
    // What was under way in the container may come to its end later; it changes nothing more.
    until("it is not flagged", PATIENCE, || {
        states(home) == "lvcthealth false false, training false false"
    });
    home.has_nothing_to_fix(&["workspace-flag", "lvcthealth"]);
}

fn without_rapidpro_it_says_what_to_do(home: &Home) {
    home.rapidpro_sql("UPDATE orgs_org SET is_flagged = true WHERE slug = 'lvcthealth'");
    home.ooy(&["stop", "rapidpro"]).expect(0);
    let said = fails(home, &["lvcthealth"], 1).stderr;
    assert!(said.contains("rapidpro is exited"), "{said}");
    assert!(said.contains(" start"), "{said}");
}
