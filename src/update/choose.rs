//! Which release is the one to take. Pure.

use super::index::{Archive, Index, Release};
use crate::deployment::version::Version;

/// What a list of releases means for what is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice<'a> {
    /// There is a newer one.
    Newer(&'a Release, &'a Archive),
    /// The newest one is installed.
    Same,
    /// The newest that is offered is older than what is installed.
    Older(&'a Release, &'a Archive),
    /// None of them is for this kind of machine.
    NotForThis,
}

/// The newest release that there is for this target, whatever the order of the list.
pub fn choose<'a>(index: &'a Index, installed: Version, target: &str) -> Choice<'a> {
    let fitting = index.releases.iter().filter_map(|release| {
        let mut archives = release.archives.iter();
        Some((release, archives.find(|archive| archive.target == target)?))
    });
    match fitting.max_by_key(|(release, _)| release.version) {
        None => Choice::NotForThis,
        Some((release, archive)) if release.version > installed => Choice::Newer(release, archive),
        Some((release, _)) if release.version == installed => Choice::Same,
        Some((release, archive)) => Choice::Older(release, archive),
    }
}

/// What is new on the way from one version to another, the newest first.
pub fn between(index: &Index, from: Version, to: Version) -> Vec<&Release> {
    let mut passed: Vec<&Release> = index
        .releases
        .iter()
        .filter(|release| from < release.version && release.version <= to)
        .collect();
    passed.sort_by_key(|release| std::cmp::Reverse(release.version));
    passed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::update::index::tests::release;

    const X86: &str = "x86_64-unknown-linux-gnu";
    const ARM: &str = "aarch64-unknown-linux-gnu";

    fn index(releases: &[(&str, &[&str])]) -> Index {
        Index {
            releases: releases
                .iter()
                .map(|(version, targets)| release(version, targets))
                .collect(),
        }
    }

    /// `newer 0.2.0`
    fn chosen(releases: &[(&str, &[&str])], installed: &str) -> String {
        let installed = Version::parse(installed).unwrap();
        match choose(&index(releases), installed, X86) {
            Choice::Newer(release, archive) => {
                assert_eq!(archive.target, X86);
                format!("newer {}", release.version)
            }
            Choice::Same => "same".to_owned(),
            Choice::Older(release, _) => format!("older {}", release.version),
            Choice::NotForThis => "none".to_owned(),
        }
    }

    #[test]
    fn the_newest_is_the_highest_version_whatever_comes_first() {
        let all: &[(&str, &[&str])] = &[("0.9.0", &[X86]), ("0.10.0", &[X86]), ("0.1.0", &[X86])];
        assert_eq!(chosen(all, "0.1.0"), "newer 0.10.0");
        assert_eq!(chosen(all, "0.10.0"), "same");
        assert_eq!(chosen(all, "1.0.0"), "older 0.10.0");
    }

    #[test]
    fn a_release_for_other_machines_only_is_passed_over() {
        let all: &[(&str, &[&str])] = &[("0.3.0", &[ARM]), ("0.2.0", &[ARM, X86])];
        assert_eq!(chosen(all, "0.1.0"), "newer 0.2.0");
        assert_eq!(chosen(&all[..1], "0.1.0"), "none");
        assert_eq!(chosen(&[], "0.1.0"), "none");
    }

    #[test]
    fn the_notes_are_those_of_all_releases_in_between() {
        let all = index(&[
            ("0.1.0", &[X86]),
            ("0.3.0", &[X86]),
            ("0.2.0", &[ARM]),
            ("0.4.0", &[X86]),
        ]);
        let versions = |from: &str, to: &str| -> Vec<String> {
            let version = |text| Version::parse(text).unwrap();
            between(&all, version(from), version(to))
                .iter()
                .map(|release| release.version.to_string())
                .collect()
        };
        assert_eq!(versions("0.1.0", "0.3.0"), ["0.3.0", "0.2.0"]);
        assert_eq!(versions("0.3.0", "0.3.0"), [""; 0]);
        assert_eq!(versions("0.4.0", "0.1.0"), [""; 0]);
    }
}
