//! kill -9 at every step: afterwards there is exactly the old or exactly the new.

use crate::harness::Home;

const ONLY: [&str; 4] = ["--database", "casepro", "--database", "contentrepo"];

fn deployment(name: &str) -> Home {
    let home = Home::with_only_databases(name);
    for owner in ["casepro", "contentrepo"] {
        home.as_role(
            owner,
            "CREATE TABLE kept AS SELECT n FROM generate_series(1, 100) n",
        );
    }
    home
}

/// A row of after the backup, if it is not there.
fn write_more(home: &Home) {
    let more = "INSERT INTO kept SELECT 101 WHERE NOT EXISTS (SELECT FROM kept WHERE n = 101)";
    for owner in ["casepro", "contentrepo"] {
        home.as_role(owner, more);
    }
}

/// Kills at each event in turn until the command gets to its end; `after` sees each time.
fn at_every_step(home: &Home, arguments: &[&str], mut after: impl FnMut(usize, &str)) -> usize {
    for at in 0..100 {
        match home.killed_at(arguments, at) {
            Some(event) => after(at, &event),
            None => return at,
        }
    }
    panic!("it never ends");
}

#[test]
fn a_backup_that_is_killed_is_none() {
    let home = deployment("killbackup");
    home.set("BACKUP_KEEP", "BACKUP_KEEP=1000");
    let mut known = home.backups().len();
    let command = [&["backup", "create", "--prove"][..], &ONLY].concat();
    let steps = at_every_step(&home, &command, |at, event| {
        let now = home.backups();
        // Killed in its proof it is complete.
        assert!(now.len() == known || now.len() == known + 1, "{at} {event}");
        known = now.len();
        for backup in &now {
            assert_eq!(backup["broken"], serde_json::Value::Null, "{at} {event}");
        }
    });
    assert!(steps > 8, "{steps}");
    // The next one leaves nothing of those that were killed, and all that are listed can be proved.
    home.back_up(&ONLY);
    for entry in std::fs::read_dir(home.folder.join("backups")).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        assert!(!name.starts_with('.'), "{name}");
    }
    for backup in home.backups() {
        let id = backup["id"].as_str().unwrap();
        home.ooy(&["--yes", "backup", "verify", id]).expect(0);
    }
    assert_eq!(home.databases_beside(), Vec::<String>::new());
    let resumed = home.ooy(&["resume"]).expect(0);
    assert!(
        resumed.stderr.contains("nothing was cut off"),
        "{}",
        resumed.stderr
    );
}

#[test]
fn a_proof_that_is_killed_proves_nothing_and_leaves_nothing() {
    let home = deployment("killverify");
    let id = home.back_up(&ONLY);
    let steps = at_every_step(&home, &["backup", "verify", &id], |at, event| {
        // Only its very last word comes after the proof was noted.
        let ended = event.contains("\"step\":\"operation\"") && event.contains("done");
        assert_eq!(home.backups()[0]["proved"], ended, "{at} {event}");
    });
    assert!(steps > 4, "{steps}");
    assert_eq!(home.backups()[0]["proved"], true);
    assert_eq!(home.databases_beside(), Vec::<String>::new());
}

#[test]
fn a_backup_whose_removal_is_killed_is_there_or_gone() {
    let home = deployment("killdelete");
    for at in 0..3 {
        let id = home.back_up(&["--database", "casepro"]);
        let _ = home.killed_at(&["backup", "delete", &id], at);
        if home
            .backups()
            .iter()
            .any(|backup| backup["id"] == id.as_str())
        {
            home.ooy(&["--yes", "backup", "verify", &id]).expect(0);
            home.ooy(&["--yes", "backup", "delete", &id]).expect(0);
        }
        assert_eq!(home.backups().len(), 0);
    }
    home.back_up(&["--database", "casepro"]);
    assert_eq!(
        std::fs::read_dir(home.folder.join("backups"))
            .unwrap()
            .count(),
        1
    );
}

/// Forth by `ooy resume`, or back by `ooy resume --undo`, from every step.
#[test]
fn a_restore_that_is_killed_ends_as_the_new_or_as_the_old() {
    let home = deployment("killrestore");
    let id = home.back_up(&ONLY);
    write_more(&home);
    let rows = |home: &Home| {
        ["casepro", "contentrepo"].map(|owner| home.as_role(owner, "SELECT count(*) FROM kept"))
    };
    let mut phases = Vec::new();
    for undo in [false, true] {
        // Going back is the same for each database.
        let (old, new, restore) = match undo {
            false => (["101", "101"], ["100", "100"], &["restore", &id][..]),
            true => (
                ["101", "101"],
                ["100", "101"],
                &["restore", &id, "--database", "casepro"][..],
            ),
        };
        let mut unfinished = 0;
        write_more(&home);
        at_every_step(&home, restore, |at, event| {
            let state = home.folder.join("state/restore.json");
            let began = state.is_file();
            if began {
                unfinished += 1;
                let text = std::fs::read_to_string(&state).unwrap();
                let state: serde_json::Value = serde_json::from_str(&text).unwrap();
                phases.push(state["phase"].as_str().unwrap().to_owned());
                // Another one has to wait for it, and the backup may not go.
                home.ooy(&["--yes", "restore", &id]).expect(1);
                home.ooy(&["--yes", "backup", "delete", &id]).expect(1);
            }
            let resume: &[&str] = match undo {
                true => &["--yes", "resume", "--undo"],
                false => &["--yes", "resume"],
            };
            home.ooy(resume).expect(0);
            let expected = match (began, undo) {
                // It was killed before it began, or after its end.
                (false, _) => match rows(&home) == old {
                    true => old,
                    false => new,
                },
                (true, true) => old,
                (true, false) => new,
            };
            assert_eq!(rows(&home), expected, "{at} {event}");
            // Once more does nothing.
            home.ooy(resume).expect(0);
            assert_eq!(rows(&home), expected, "{at} {event}");
            write_more(&home);
        });
        assert!(unfinished > 5, "{unfinished}");
    }
    for phase in ["loading", "swapping"] {
        assert!(
            phases.iter().any(|seen| seen == phase),
            "{phase}: {phases:?}"
        );
    }
    // Nothing is left beside but what is listed as kept.
    let listed = home.ooy(&["--json", "backup", "list"]).expect(0).json();
    let listed: Vec<String> = listed["kept_databases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|kept| kept["name"].as_str().unwrap().to_owned())
        .collect();
    for name in home.databases_beside() {
        assert!(listed.contains(&name), "{name} {listed:?}");
    }
    home.drop_databases_beside();
}

/// `ooy resume --undo` that is killed itself.
#[test]
fn going_back_can_be_killed_too() {
    let home = deployment("killundo");
    let id = home.back_up(&ONLY);
    write_more(&home);
    // In the middle of the renames.
    let renamed = (0..60).find_map(|at| {
        let event = home.killed_at(&["restore", &id], at)?;
        let second = event.contains("\"rename\"") && event.contains("done");
        if !second {
            home.ooy(&["--yes", "resume", "--undo"]).expect(0);
        }
        second.then_some(event)
    });
    assert!(renamed.is_some());
    for at in 0..6 {
        let _ = home.killed_at(&["resume", "--undo"], at);
    }
    home.ooy(&["--yes", "resume"]).expect(0);
    for owner in ["casepro", "contentrepo"] {
        assert_eq!(home.as_role(owner, "SELECT count(*) FROM kept"), "101");
    }
    assert_eq!(home.databases_beside(), Vec::<String>::new());
}
