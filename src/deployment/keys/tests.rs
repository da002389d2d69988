use super::*;
use crate::deployment::{embedded, env_file};

#[test]
fn the_template_documents_every_setting_with_its_default() {
    let template = embedded::text("ooy.env").unwrap();
    // Commented settings have no space after the #; prose has.
    let uncommented: String = template
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest)
                if rest.starts_with(|c: char| c.is_ascii_uppercase()) && rest.contains('=') =>
            {
                rest
            }
            _ => line,
        })
        .fold(String::new(), |text, line| text + line + "\n");
    let entries = env_file::parse(&uncommented).unwrap();
    let mut names: Vec<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
    for entry in &entries {
        let key = find(&entry.key).unwrap_or_else(|| panic!("{} is not in KEYS", entry.key));
        if let Some(default) = key.default {
            assert_eq!(entry.value, default, "{}", entry.key);
        } else {
            assert!(
                template.contains(&format!("\n{}=", entry.key)),
                "{} is required",
                entry.key
            );
        }
    }
    let mut known: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
    names.sort_unstable();
    known.sort_unstable();
    assert_eq!(names, known);
}

#[test]
fn every_default_is_a_valid_value() {
    for key in KEYS {
        if let Some(default) = key.default {
            assert_eq!(key.kind.check(default), None, "{}", key.name);
        }
    }
}

#[test]
fn what_calls_need_is_checked() {
    let fits = |kind: Kind, value: &str| kind.check(value).is_none();
    for value in [
        "127.0.0.1:4573",
        "[::1]:4573",
        "0.0.0.0:1",
        "unix:/run/a",
        "off",
    ] {
        assert!(fits(Kind::Listen, value), "{value}");
    }
    for value in [
        "",
        "4573",
        "localhost:4573",
        "unix:run/a",
        "127.0.0.1:99999",
        "on",
    ] {
        assert!(!fits(Kind::Listen, value), "{value}");
    }
    assert!(fits(Kind::Uuid, ""));
    assert!(fits(Kind::Uuid, "3f2a9c1e-5b7d-4e1f-9a6b-0c8d7e6f5a4b"));
    assert!(!fits(Kind::Uuid, "3f2a9c1e5b7d4e1f9a6b0c8d7e6f5a4b"));
    assert_eq!(interval("5m"), Some(std::time::Duration::from_secs(300)));
    assert_eq!(interval("5h"), None);
    for value in ["", "02:30", "23:59"] {
        assert!(fits(Kind::TimeOfDay, value), "{value}");
    }
    for value in ["2:30", "24:00", "02:60", "02:30:00", "night"] {
        assert!(!fits(Kind::TimeOfDay, value), "{value}");
    }
}

#[test]
fn latest_and_untagged_images_are_refused() {
    assert!(check_image("nginx:latest").is_some());
    assert!(check_image("registry:5000/nginx").is_some());
    assert!(check_image("registry:5000/nginx:1.28.0").is_none());
    assert!(check_image("nginx@sha256:abc").is_none());
}
