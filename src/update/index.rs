//! The list of releases (`releases.json`): read strictly, since anybody between here and the one who
//! made it can have written it. What it says is believed only where an archive's signature, and the
//! archive itself, say the same.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::deployment::releases::ArchiveName;
use crate::deployment::version::Version;
use crate::host::text::shorten;

/// Largest list that is read: thousands of releases.
pub const LARGEST_INDEX: u64 = 4 * 1024 * 1024;

/// Largest archive that is fetched, and largest executable that is taken out of one.
pub const LARGEST_FILE: u64 = 256 * 1024 * 1024;

/// The form that is understood.
const SCHEMA: u64 = 1;

/// All releases that there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// In no order that could be relied upon.
    pub releases: Vec<Release>,
}

/// One release.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Release {
    /// Which.
    pub version: Version,
    /// When it was made.
    pub date: Date,
    /// What is new, in Markdown. Text from outside.
    pub notes: String,
    /// Its archives, one for each kind of machine.
    #[serde(skip_serializing)]
    pub archives: Vec<Archive>,
}

/// One archive of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Archive {
    /// For which machines.
    pub target: String,
    /// The name of its file.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its digest, in hexadecimal digits.
    pub sha256: String,
}

/// Why a list is of no use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// It is of a form that only newer versions read.
    Newer(u64),
    /// It is none, or contradicts itself; in words.
    Wrong(String),
}

impl Index {
    /// Reads such a list.
    pub fn parse(bytes: &[u8]) -> Result<Self, Unusable> {
        #[derive(Deserialize)]
        struct Form {
            schema: u64,
        }
        #[derive(Deserialize)]
        struct Loose {
            releases: Vec<serde_json::Value>,
        }
        let wrong = |error: serde_json::Error| Unusable::Wrong(shorten(&error.to_string(), 200));
        // First and alone: another form may have other fields.
        match serde_json::from_slice::<Form>(bytes).map_err(wrong)?.schema {
            SCHEMA => {}
            newer if newer > SCHEMA => return Err(Unusable::Newer(newer)),
            other => return Err(Unusable::Wrong(format!("it is of form {other}"))),
        }
        let index: Loose = serde_json::from_slice(bytes).map_err(wrong)?;
        let releases = index
            .releases
            .into_iter()
            .filter(|release| !is_not_final(release))
            .map(serde_json::from_value)
            .collect::<Result<_, _>>();
        let index = Self {
            releases: releases.map_err(wrong)?,
        };
        index.check().map_err(Unusable::Wrong)?;
        Ok(index)
    }

    fn check(&self) -> Result<(), String> {
        for (at, release) in self.releases.iter().enumerate() {
            let version = release.version;
            let earlier = &self.releases[..at];
            if earlier.iter().any(|other| other.version == version) {
                return Err(format!("it has {version} twice"));
            }
            for archive in &release.archives {
                archive
                    .check(version)
                    .map_err(|why| format!("{version}: {why}"))?;
            }
        }
        Ok(())
    }
}

/// A release that is there to be tried (`0.3.0-rc.1`): nobody gets it by himself.
fn is_not_final(release: &serde_json::Value) -> bool {
    release["version"]
        .as_str()
        .and_then(|version| version.split_once('-'))
        .is_some_and(|(version, _)| Version::parse(version).is_some())
}

impl Archive {
    /// A name with a slash in it would be written elsewhere, one of another version would be another
    /// release than it is said to be.
    fn check(&self, version: Version) -> Result<(), String> {
        let shown = || shorten(&self.name, 100);
        match ArchiveName::parse(&self.name) {
            Some(name) if name.version == version && name.target == self.target => {}
            Some(_) => return Err(format!("{} is of another version or target", shown())),
            None => return Err(format!("{} is no name of an archive of ooy", shown())),
        }
        if !(1..=LARGEST_FILE).contains(&self.size) {
            return Err(format!("{} has {} bytes", shown(), self.size));
        }
        let hex = |byte: u8| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase();
        if self.sha256.len() != 64 || !self.sha256.bytes().all(hex) {
            return Err(format!("{} has no digest", shown()));
        }
        Ok(())
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A release as `scripts/release` writes it.
    pub fn release(version: &str, targets: &[&str]) -> Release {
        let archives: Vec<_> = targets
            .iter()
            .map(|target| {
                serde_json::json!({
                    "target": target,
                    "name": format!("ooy-{version}-{target}.tar.gz"),
                    "size": 6_543_210,
                    "sha256": "ab".repeat(32),
                })
            })
            .collect();
        serde_json::from_value(serde_json::json!({
            "version": version, "date": "2026-11-26", "notes": format!("- what {version} brings"), "archives": archives,
        }))
        .unwrap()
    }

    /// The text of a list with one release, one of whose values is another one.
    fn with(pointer: &str, value: serde_json::Value) -> String {
        let mut index = serde_json::json!({"schema": 1, "releases": [{
            "version": "0.2.0", "date": "2026-11-26", "notes": "",
            "archives": [{"target": "x86_64-unknown-linux-gnu", "name": "ooy-0.2.0-x86_64-unknown-linux-gnu.tar.gz",
                          "size": 6_543_210, "sha256": "ab".repeat(32)}],
        }]});
        if let Some(place) = index.pointer_mut(pointer) {
            *place = value;
        }
        index.to_string()
    }

    fn why(text: &str) -> String {
        match Index::parse(text.as_bytes()) {
            Err(Unusable::Wrong(why)) => why,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_list_of_another_form_is_not_guessed_at() {
        assert!(Index::parse(with("/none", 1.into()).as_bytes()).is_ok());
        let newer = r#"{"schema": 2, "channels": {}}"#;
        assert_eq!(Index::parse(newer.as_bytes()), Err(Unusable::Newer(2)));
        for text in [
            "",
            "{}",
            "[]",
            "null",
            "<html>",
            r#"{"schema": 0, "releases": []}"#,
        ] {
            why(text);
        }
        // Deeper than any stack is.
        why(&"[".repeat(100_000));
    }

    #[test]
    fn names_sizes_and_digests_that_cannot_be_are_refused() {
        let archive = |field: &str| format!("/releases/0/archives/0/{field}");
        for name in [
            "../../../usr/bin/ooy",
            "/etc/passwd",
            "ooy-0.2.0-x86_64-unknown-linux-gnu.tar.gz/../x",
            "ooy-0.1.0-x86_64-unknown-linux-gnu.tar.gz",
            "ooy-0.2.0-aarch64-unknown-linux-gnu.tar.gz",
            "\u{1b}[2Jooy",
            "",
        ] {
            let why = why(&with(&archive("name"), name.into()));
            assert!(!why.contains('\u{1b}'), "{why}");
        }
        for size in [0, LARGEST_FILE + 1, u64::MAX] {
            why(&with(&archive("size"), size.into()));
        }
        for size in [
            serde_json::json!(-1),
            serde_json::json!(1.5),
            serde_json::json!("1"),
        ] {
            why(&with(&archive("size"), size));
        }
        for digest in [
            "",
            "ab",
            &"AB".repeat(32),
            &"zz".repeat(32),
            &"ab".repeat(33),
        ] {
            why(&with(&archive("sha256"), digest.into()));
        }
        why(&with(&archive("target"), "../x".into()));
        for version in ["0.2", "latest", "99999999999.0.0", "x-rc.1"] {
            why(&with("/releases/0/version", version.into()));
        }
        let to_be_tried = with("/releases/0/version", "0.3.0-rc.1".into());
        assert_eq!(Index::parse(to_be_tried.as_bytes()).unwrap().releases, []);
        why(&with("/releases/0/date", "tomorrow".into()));
        let twice: Vec<_> = std::iter::repeat_n(
            serde_json::json!({
                "version": "0.2.0", "date": "2026-11-26", "notes": "", "archives": [],
            }),
            2,
        )
        .collect();
        assert_eq!(why(&with("/releases", twice.into())), "it has 0.2.0 twice");
    }

    proptest! {
        #[test]
        fn nothing_makes_it_stumble(text in ".*") {
            let _ = Index::parse(text.as_bytes());
            let _ = Index::parse(with("/releases/0/archives/0/name", text.into()).as_bytes());
        }
    }
}
