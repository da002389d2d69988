//! Which release of RapidPro's services is stood in for: STAND_IN_VERSION, which the image has.
//! Answers and log lines show it, and the tables are written as that release knows them.

use std::sync::OnceLock;

static VERSION: OnceLock<String> = OnceLock::new();

/// `without` is the release of an image that says nothing.
pub fn set(without: &str) {
    let given = std::env::var("STAND_IN_VERSION").unwrap_or_default();
    let given = given.strip_prefix('v').unwrap_or(&given);
    let _ = VERSION.set(if given.is_empty() { without } else { given }.to_owned());
}

pub fn text() -> &'static str {
    VERSION.get().map_or("6.4.0", String::as_str)
}

/// Whether it is this release or a later one.
pub fn since(major: u32, minor: u32) -> bool {
    reaches(text(), major, minor)
}

fn reaches(version: &str, major: u32, minor: u32) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (major, minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_have_an_order() {
        assert!(reaches("7.0.4", 7, 0) && reaches("8.0.1", 7, 2) && reaches("7.10.0", 7, 4));
        assert!(!reaches("6.4.8", 7, 0) && !reaches("7.0.4", 7, 2) && !reaches("", 7, 0));
    }
}
