//! Secrets that protect nothing. Of a value nothing is shown, not even its length.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::faults;
use crate::deployment::keys::{KEYS, Kind};
use crate::diagnosis::check::{Checked, Report};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Evidence, Finding};

/// Words of values that stand in examples and images (stack.md sections 2.2 and 2.3: Casepro's own
/// default is REPLACEME), and of those that are tried first.
const KNOWN: &[&str] = &[
    "replaceme",
    "replace_me",
    "replace-me",
    "changeme",
    "change-me",
    "change_this",
    "changethis",
    "django-insecure",
    "secretkey",
    "secret_key",
    "secret-key",
    "supersecret",
    "super_secret",
    "your-secret",
    "yoursecret",
    "insecure",
    "password",
    "qwerty",
    "letmein",
    "123456",
    "abcdef",
    "example",
];

/// Fewer different characters than this are a pattern, not a secret.
const DIFFERENT: usize = 8;

/// Passwords shorter than this can be found by trying.
const SHORTEST: usize = 8;

pub async fn check(scene: Rc<Scene>) -> Checked {
    let settings = &scene.context.settings;
    let mut weak: Vec<(String, String)> = Vec::new();
    // Those that `ooy start` refuses, too.
    for wrong in faults::wrong(&scene) {
        if wrong.code == Code::SettingInsecureDefault {
            let said = wrong.message.trim_start_matches(&wrong.name).trim();
            weak.push((wrong.name.clone(), said.to_owned()));
        }
    }
    let refused = !weak.is_empty();
    let tokens: Vec<&str> = KEYS
        .iter()
        .filter(|key| key.kind == Kind::Token)
        .map(|key| key.name)
        .filter(|name| !settings.get(name).is_empty())
        .collect();
    for name in &tokens {
        if let Some(why) = weak_token(settings.get(name)) {
            weak.push(((*name).to_owned(), why.to_owned()));
        }
    }
    for database in settings.databases() {
        let (user, password) = (database.url.user(), database.url.password());
        if let Some(why) = weak_password(user, password) {
            weak.push((database.setting.to_owned(), why.to_owned()));
        }
    }
    let values: Vec<(&str, &str)> = tokens
        .iter()
        .map(|name| (*name, settings.get(name)))
        .collect();
    for names in shared(&values) {
        let others = names[1..].join(" and ");
        weak.push((names[0].to_owned(), format!("is the same as {others}")));
    }
    if weak.is_empty() {
        return Ok(Report::fine());
    }
    let names: BTreeSet<&str> = weak.iter().map(|(name, _)| name.as_str()).collect();
    let summary = match weak.as_slice() {
        [(name, why)] => format!("{name} {why}"),
        _ => format!("{} secrets protect nothing", names.len()),
    };
    let code = Code::SettingInsecureDefault;
    let mut finding = if refused {
        Finding::error(code, summary)
    } else {
        Finding::warning(code, summary)
    };
    let file = settings.places.env_file.display().to_string();
    for (name, why) in &weak {
        finding = finding.evidence(
            Evidence::new(name, why, file.clone())
                .command(format!("sudo grep -n '^{name}=' {file}")),
        );
    }
    finding = finding.impact(
        "who knows or guesses a secret key can log in as anybody; who knows the token can use all \
         of mailroom",
    );
    if names.iter().any(|name| name.ends_with("_DATABASE_URL")) {
        finding = finding.manual("sudo -u postgres psql -c '\\password ROLE'");
    }
    if names.iter().any(|name| !name.ends_with("_DATABASE_URL")) {
        finding = finding.manual("head -c 200 /dev/urandom | LC_ALL=C tr -dc A-Za-z | head -c 50");
    }
    Ok(finding
        .manual(format!("sudo nano {file}"))
        .manual(scene.command("start"))
        .interrupts("the services that use it; with a new secret key everybody has to log in again")
        .into())
}

fn weak_token(value: &str) -> Option<&'static str> {
    let small = value.to_lowercase();
    if KNOWN.iter().any(|known| small.contains(known)) {
        return Some("is, or contains, a value that everybody knows");
    }
    let different: BTreeSet<char> = value.chars().collect();
    (different.len() < DIFFERENT).then_some("repeats a few characters")
}

fn weak_password(user: &str, password: Option<&str>) -> Option<&'static str> {
    let password = password.unwrap_or_default();
    let small = password.to_lowercase();
    // Without one the server lets in whom it knows by other means.
    if password.is_empty() {
        None
    } else if small == user.to_lowercase() {
        Some("has the user's name as its password")
    } else if [
        "postgres",
        "password",
        "changeme",
        "replaceme",
        "12345678",
        "secret",
    ]
    .iter()
    .any(|known| small == *known)
    {
        Some("has a password that everybody knows")
    } else if password.chars().count() < SHORTEST {
        Some("has a password of less than 8 characters")
    } else {
        None
    }
}

/// Groups of settings with one value.
fn shared<'a>(values: &[(&'a str, &str)]) -> Vec<Vec<&'a str>> {
    let mut names: BTreeMap<&str, Vec<&'a str>> = BTreeMap::new();
    for (name, value) in values {
        names.entry(value).or_default().push(name);
    }
    let mut groups: Vec<Vec<&str>> = names.into_values().filter(|all| all.len() > 1).collect();
    groups.sort_unstable();
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_and_repeated_values_are_weak() {
        for weak in [
            "REPLACEME_REPLACEME_REPLACEME",
            "django-insecure-jh3kjh4k5jh6kjh7",
            "aaaaaaaaaaaaaaaaaaaaaaaa",
            "abcabcabcabcabcabcabcabc",
        ] {
            assert!(weak_token(weak).is_some(), "{weak}");
        }
        assert_eq!(weak_token("kQzXwPvRtYbNmLsDfGhJ"), None);
    }

    #[test]
    fn passwords_that_are_tried_first_are_weak() {
        assert!(weak_password("rapidpro", Some("RapidPro")).is_some());
        assert!(weak_password("rapidpro", Some("postgres")).is_some());
        assert!(weak_password("rapidpro", Some("x7!kq2")).is_some());
        assert_eq!(weak_password("rapidpro", Some("x7!kq2zpt")), None);
        assert_eq!(weak_password("rapidpro", None), None);
    }

    #[test]
    fn the_same_value_twice_is_one_group() {
        let values = [("A", "x"), ("B", "y"), ("C", "x"), ("D", "x")];
        assert_eq!(shared(&values), [vec!["A", "C", "D"]]);
        assert!(shared(&values[..2]).is_empty());
    }
}
