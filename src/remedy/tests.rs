use std::collections::BTreeSet;

use super::*;

#[test]
fn a_mistyped_repair_is_answered_with_the_nearest() {
    let fault = find("casepro-sink", "ooy fix").err().unwrap();
    assert_eq!(fault.next, ["ooy fix casepro-sync"]);
    assert_eq!(fault.kind.exit_code(), 2);
}

#[test]
fn the_name_of_a_finding_leads_to_its_repair() {
    assert_eq!(
        find("casepro-lock-stale", "ooy fix").unwrap().name,
        "casepro-sync"
    );
}

#[test]
fn every_repair_that_a_check_names_is_there_and_takes_away_what_it_finds() {
    let names: BTreeSet<&str> = ALL.iter().map(|remedy| remedy.name).collect();
    assert_eq!(names.len(), ALL.len());
    let named = regex::Regex::new(r#""fix ([a-z-]+)"#).unwrap();
    let mut folders = vec![std::path::PathBuf::from("src/diagnosis/checks")];
    let mut seen = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for found in named.captures_iter(&text) {
                assert!(
                    names.contains(&found[1]),
                    "{}: {}",
                    path.display(),
                    &found[1]
                );
                seen.insert(found[1].to_owned());
            }
        }
    }
    let unused: Vec<&&str> = names.iter().filter(|name| !seen.contains(**name)).collect();
    assert!(unused.is_empty(), "named by no check: {unused:?}");
}
