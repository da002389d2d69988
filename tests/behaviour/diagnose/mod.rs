//! `ooy diagnose`: each fault is made for real, and has to be found as the one root cause, with its
//! evidence. One file a subject.

mod common;

mod backup;
mod calls;
mod casepro;
pub mod celery;
mod certificates;
mod containers;
mod contentrepo;
pub mod data;
pub mod disk;
mod elasticsearch;
mod engine;
mod healthy;
mod host;
mod nginx;
mod older;
mod operations;
mod pairs;
mod postgres;
mod rapidpro;
mod redis;
pub mod services;
mod settings;
pub mod workspace;

pub use workspace::Gate;

/// The promise of this folder, kept for codes that come later too.
#[test]
fn every_finding_code_has_a_test_that_makes_its_fault() {
    let home = crate::harness::Home::empty("codes");
    let listed = home.ooy(&["diagnose", "--list", "--json"]).expect(0).json();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/behaviour/diagnose");
    let tests: String = walk(&folder)
        .iter()
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    let codes: Vec<&str> = listed["checks"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|check| check["codes"].as_array().unwrap())
        .map(|code| code.as_str().unwrap())
        .collect();
    assert!(codes.len() >= 66, "{codes:?}");
    let untested: Vec<&&str> = codes
        .iter()
        .filter(|code| !tests.contains(&format!("\"{code}\"")))
        .collect();
    assert!(untested.is_empty(), "{untested:?}");
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(walk(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
