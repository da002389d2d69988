//! The version of a release, and of what stands in the tag of an image.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Three numbers: 7.0.4. Ordered as releases follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second; odd in RapidPro's development releases.
    pub minor: u32,
    /// The third: corrections of the same release.
    pub patch: u32,
}

impl Version {
    /// From its three numbers.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self {
            major,
            minor,
            patch,
        }
    }

    /// `7.0.4` or `v7.0.4`, and nothing else: `7.0` could be any patch.
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text
            .strip_prefix('v')
            .unwrap_or(text)
            .split('.')
            .map(number);
        let version = Self::new(numbers.next()??, numbers.next()??, numbers.next()??);
        numbers.next().is_none().then_some(version)
    }

    /// Of the tag of an image. A tag with anything behind the numbers is none: nobody knows what
    /// is in that image.
    pub fn of_tag(tag: &str) -> Option<Self> {
        Self::parse(tag)
    }

    /// Of an image reference: `praekeltfoundation/rapidpro:v6.4.8`. None without a tag.
    pub fn of_image(image: &str) -> Option<Self> {
        let (_, tag) = split(image);
        tag.and_then(Self::of_tag)
    }

    /// They differ in the patch at most.
    pub fn same_stable(self, other: Self) -> bool {
        (self.major, self.minor) == (other.major, other.minor)
    }
}

/// The image with another tag; registry and name stay, a digest goes, since it is the old image's.
pub fn retag(image: &str, tag: &str) -> String {
    let (name, _) = split(image);
    format!("{name}:{tag}")
}

/// Name and tag. A colon before a slash is that of the registry's port.
fn split(image: &str) -> (&str, Option<&str>) {
    let image = image.split_once('@').map_or(image, |(image, _)| image);
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (image, None),
    }
}

/// Digits alone, as they would be written again: no sign, no leading 0.
fn number(text: &str) -> Option<u32> {
    let written = text == "0" || !text.starts_with('0');
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| written && digits)
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In one piece, so that a width given to it holds.
        f.pad(&format!("{}.{}.{}", self.major, self.minor, self.patch))
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

impl TryFrom<String> for Version {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{text} is no version such as 7.0.4"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_version_has_three_numbers() {
        let version = Some(Version::new(7, 0, 4));
        assert_eq!(Version::parse("7.0.4"), version);
        assert_eq!(Version::parse("v7.0.4"), version);
        for text in [
            "",
            "v",
            "7",
            "7.0",
            "v7.0",
            "7.0.4.1",
            "7.0.",
            "7..4",
            "7.0.x",
            "7.0.4-1",
            "7.0.+4",
            "7.0.04",
            "vv7.0.4",
            "V7.0.4",
            " 7.0.4",
            "7.0.4 ",
            "7.0.99999999999",
            "latest",
        ] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_tag_is_told_from_the_port_and_the_digest() {
        for (image, version) in [
            ("praekeltfoundation/rapidpro:v6.4.8", Some((6, 4, 8))),
            ("praekeltfoundation/mailroom:6.4.3", Some((6, 4, 3))),
            ("mailroom:6.4.3", Some((6, 4, 3))),
            ("host:5000/name:1.3.13", Some((1, 3, 13))),
            ("host:5000/deep/name:v7.0.4@sha256:ab", Some((7, 0, 4))),
            ("name:v7.2.4@sha256:0011", Some((7, 2, 4))),
            ("host:5000/name", None),
            ("name@sha256:0011", None),
            ("host:5000/name@sha256:0011", None),
            ("name:latest", None),
            ("name:sha-e8b016e", None),
            ("name:v7.0", None),
            ("name:v7.4.2-1", None),
            ("name", None),
            ("", None),
        ] {
            let version = version.map(|(major, minor, patch)| Version::new(major, minor, patch));
            assert_eq!(Version::of_image(image), version, "{image}");
        }
    }

    #[test]
    fn another_tag_leaves_the_registry_and_the_name() {
        for (image, said) in [
            (
                "praekeltfoundation/mailroom:6.4.3",
                "praekeltfoundation/mailroom:v7.0.1",
            ),
            (
                "host:5000/mailroom:6.4.3@sha256:ab",
                "host:5000/mailroom:v7.0.1",
            ),
            ("host:5000/mailroom", "host:5000/mailroom:v7.0.1"),
            ("mailroom@sha256:ab", "mailroom:v7.0.1"),
        ] {
            assert_eq!(retag(image, "v7.0.1"), said);
        }
    }

    #[test]
    fn releases_follow_each_other() {
        assert!(Version::new(6, 4, 8) < Version::new(7, 0, 0));
        assert!(Version::new(9, 2, 5) < Version::new(10, 0, 1));
        assert!(Version::new(1, 3, 9) < Version::new(1, 3, 13));
        assert!(Version::new(6, 4, 3).same_stable(Version::new(6, 4, 8)));
        assert!(!Version::new(6, 4, 8).same_stable(Version::new(6, 5, 8)));
    }

    #[test]
    fn a_width_given_to_it_holds() {
        assert_eq!(format!("{:<7}|", Version::new(7, 0, 4)), "7.0.4  |");
    }

    #[test]
    fn in_a_file_it_is_a_text() {
        let version = Version::new(7, 0, 4);
        assert_eq!(serde_json::to_string(&version).unwrap(), "\"7.0.4\"");
        assert_eq!(
            serde_json::from_str::<Version>("\"7.0.4\"").unwrap(),
            version
        );
        let error = serde_json::from_str::<Version>("\"7.0\"").unwrap_err();
        assert!(error.to_string().contains("7.0 is no version"), "{error}");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(major: u32, minor: u32, patch: u32) {
            let version = Version::new(major, minor, patch);
            prop_assert_eq!(Version::parse(&version.to_string()), Some(version));
            let image = retag("a:1/b", &format!("v{version}"));
            prop_assert_eq!(Version::of_image(&image), Some(version));
        }

        #[test]
        fn nothing_makes_it_stumble(text in ".*") {
            if let Some(version) = Version::parse(&text) {
                prop_assert_eq!(version.to_string(), text.trim_start_matches('v'));
            }
            Version::of_image(&text);
        }
    }
}
