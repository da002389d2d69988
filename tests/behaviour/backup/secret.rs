//! Passwords stay where they belong, and backups are nobody else's.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use crate::harness::{Home, read_env, surroundings};

/// While it runs no process shows the password, in its arguments or in its environment, and nothing
/// of a backup can be read by others.
#[test]
fn no_process_shows_a_password_and_no_file_is_for_others() {
    let home = Home::with_only_databases("secret");
    home.fill();
    let data = std::path::PathBuf::from(surroundings("OOY_TEST_DATA"));
    let passwords: Vec<String> = read_env(&data.join("env"))
        .into_iter()
        .filter(|(name, _)| name.ends_with("_PASSWORD") && !name.starts_with("REDIS"))
        .map(|(_, value)| value)
        .collect();
    assert!(passwords.len() >= 4);
    for command in [&["backup", "create"][..], &["backup", "verify"]] {
        let mut child = home
            .command(&[&["--yes", "-v"], command].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut programs = std::collections::BTreeSet::new();
        while child.try_wait().unwrap().is_none() {
            for (name, shown) in descendants(child.id()) {
                for password in &passwords {
                    assert!(
                        !shown.contains(password.as_str()),
                        "{name} shows a password"
                    );
                }
                programs.insert(name);
            }
        }
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(
            !passwords
                .iter()
                .any(|password| said.contains(password.as_str()))
        );
        let program = if command[1] == "create" {
            "pg_dump"
        } else {
            "pg_restore"
        };
        assert!(programs.iter().any(|name| name == program), "{programs:?}");
    }
    let id = home.backups()[0]["id"].as_str().unwrap().to_owned();
    let mut folders = vec![home.folder.join("backups"), home.backup_folder(&id)];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        assert_eq!(mode(&folder), 0o700, "{}", folder.display());
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                assert_eq!(mode(&path), 0o600, "{}", path.display());
                files += 1;
            }
        }
    }
    assert!(files > 8, "{files}");
    // Digests, manifest and what is told hold none either; the settings file, of course, does.
    for file in ["manifest.json", "SHA256SUMS", "status.json"] {
        let text = std::fs::read_to_string(home.backup_folder(&id).join(file)).unwrap();
        assert!(
            !passwords
                .iter()
                .any(|password| text.contains(password.as_str())),
            "{file}"
        );
    }
}

fn mode(path: &std::path::Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Names of the processes below one, and all that they show: arguments and environment.
fn descendants(of: u32) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut parents = vec![of];
    while let Some(parent) = parents.pop() {
        let children = format!("/proc/{parent}/task/{parent}/children");
        let children = std::fs::read_to_string(children).unwrap_or_default();
        for child in children.split_whitespace() {
            let read =
                |what: &str| std::fs::read(format!("/proc/{child}/{what}")).unwrap_or_default();
            let shown = [read("cmdline"), read("environ")].concat();
            let name = String::from_utf8_lossy(&read("comm")).trim().to_owned();
            found.push((name, String::from_utf8_lossy(&shown).into_owned()));
            parents.extend(child.parse::<u32>());
        }
    }
    found
}
