//! PostgreSQL's version, for what is deployed and for the next release.

use std::rc::Rc;

use super::{nobody_was_let_in, server, short_version};
use crate::diagnosis::check::{Checked, Report};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Evidence, Finding};
use crate::host::postgres::by_hand;
use crate::lifecycle::surroundings::label;

/// From which release on an application needs which PostgreSQL, and from which of it on: what
/// its Django supports (stack.md sections 3.1 and 6). Versions as `server_version_num` has them.
struct Needs {
    owner: &'static str,
    image: &'static str,
    /// Release and lowest `server_version_num`, rising.
    releases: &'static [([u32; 3], u32)],
}

const NEEDS: &[Needs] = &[
    Needs {
        owner: "rapidpro",
        image: "RAPIDPRO_IMAGE",
        // The stable releases: each has to be passed on the way up.
        releases: &[
            ([6, 4, 8], 90_400),
            ([7, 0, 4], 90_600),
            ([7, 2, 4], 100_000),
            ([7, 4, 2], 100_000),
            ([8, 0, 1], 100_000),
            ([8, 2, 0], 120_000),
            ([9, 0, 0], 120_000),
            ([9, 2, 5], 120_000),
            ([10, 0, 1], 130_000),
            ([10, 2, 1], 140_000),
        ],
    },
    Needs {
        owner: "casepro",
        image: "CASEPRO_IMAGE",
        releases: &[
            ([1, 3, 13], 90_400),
            ([1, 5, 0], 90_600),
            ([1, 9, 0], 100_000),
            ([1, 13, 5], 120_000),
        ],
    },
];

pub async fn check(scene: Rc<Scene>) -> Checked {
    let look = scene.data().await;
    if look.databases.is_empty() {
        scene.database("rapidpro")?;
    }
    let mut report = Report::fine();
    let mut seen = false;
    for (index, database) in look.databases.iter().enumerate() {
        let Some(server) = server(look, index) else {
            continue;
        };
        seen = true;
        let Some(needs) = NEEDS.iter().find(|needs| needs.owner == database.owner) else {
            continue;
        };
        let image = scene.context.settings.get(needs.image);
        // A tag that is no version (a branch, a digest) says nothing about what is in it.
        let Some(deployed) = release_of(image) else {
            continue;
        };
        let has = short_version(server);
        let verdict = judge(needs.releases, deployed, server.version_number);
        let finding = match verdict {
            Verdict::Enough => continue,
            Verdict::TooOld(lowest) => Finding::error(
                Code::PostgresVersionUnsupported,
                format!(
                    "PostgreSQL {has} is too old for {} {}: it needs {}",
                    label(database.owner),
                    dotted(deployed),
                    major(lowest)
                ),
            )
            .impact(format!(
                "{} fails, or begins to with its next migration",
                label(database.owner)
            )),
            Verdict::TooOldForNext(next, lowest) => Finding::info(
                Code::PostgresVersionUnsupported,
                format!(
                    "PostgreSQL {has} is too old for {} {}, the next release: it needs {}",
                    label(database.owner),
                    dotted(next),
                    major(lowest)
                ),
            )
            .impact(format!(
                "{} cannot be upgraded before PostgreSQL is; what runs now is not affected",
                label(database.owner)
            )),
        };
        let lowest = match verdict {
            Verdict::TooOld(lowest) | Verdict::TooOldForNext(_, lowest) => lowest,
            Verdict::Enough => continue,
        };
        let url = &database.url;
        report.found(
            finding
                .owner(database.owner)
                .evidence(
                    Evidence::new("PostgreSQL", has, url.redacted())
                        .threshold(format!("{} at least", major(lowest)))
                        .command(by_hand::ask(url, "SHOW server_version")),
                )
                .evidence(Evidence::new("deployed", image, needs.image))
                .manual(by_hand::on_server(url, "pg_lsclusters"))
                .manual(by_hand::on_server(
                    url,
                    "sudo apt-get install -y postgresql postgresql-contrib postgis",
                ))
                .manual(by_hand::on_server(url, "man pg_upgradecluster"))
                .interrupts("everything, as long as the databases are copied"),
        );
    }
    if seen {
        Ok(report)
    } else {
        Err(nobody_was_let_in())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Enough,
    TooOld(u32),
    TooOldForNext([u32; 3], u32),
}

fn judge(releases: &[([u32; 3], u32)], deployed: [u32; 3], has: u32) -> Verdict {
    let (behind, ahead): (Vec<_>, Vec<_>) = releases
        .iter()
        .partition(|(release, _)| (release[0], release[1]) <= (deployed[0], deployed[1]));
    // Of releases that share their first two numbers the last counts from itself on only.
    let now = behind.iter().rev().find(|(release, _)| {
        *release <= deployed || behind.first().is_some_and(|(first, _)| first == release)
    });
    if let Some((_, lowest)) = now
        && has < *lowest
    {
        return Verdict::TooOld(*lowest);
    }
    match ahead.first() {
        Some((release, lowest)) if has < *lowest => Verdict::TooOldForNext(*release, *lowest),
        _ => Verdict::Enough,
    }
}

/// The release in the tag of an image: `praekeltfoundation/rapidpro:v6.4.8`.
fn release_of(image: &str) -> Option<[u32; 3]> {
    let name = image.split('@').next()?;
    let (_, tag) = name.rsplit_once(':')?;
    let mut numbers = tag
        .trim_start_matches('v')
        .split(['.', '-'])
        .map(|part| part.parse().ok());
    let release = [
        numbers.next()??,
        numbers.next()??,
        numbers.next().flatten().unwrap_or(0),
    ];
    Some(release)
}

fn dotted(release: [u32; 3]) -> String {
    release.map(|number| number.to_string()).join(".")
}

/// 12 of 120000, 9.6 of 90600: before version 10 the second number was part of the major version.
fn major(number: u32) -> String {
    if number >= 100_000 {
        (number / 10_000).to_string()
    } else {
        format!("{}.{}", number / 10_000, number / 100 % 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rapidpro(deployed: [u32; 3], has: u32) -> Verdict {
        judge(NEEDS[0].releases, deployed, has)
    }

    #[test]
    fn the_release_is_read_from_the_tag() {
        let release = |image: &str| release_of(image).map(dotted);
        for (image, said) in [
            ("praekeltfoundation/rapidpro:v6.4.8", "6.4.8"),
            ("host:5000/casepro-docker:v1.3.13", "1.3.13"),
            ("ghcr.io/x/rapidpro:v7.2@sha256:ab", "7.2.0"),
            ("x:v7.4.2-1", "7.4.2"),
        ] {
            assert_eq!(release(image).as_deref(), Some(said));
        }
        for image in ["x:feature", "x", "x@sha256:ab", "host:5000/x", "x:v8"] {
            assert_eq!(release(image), None, "{image}");
        }
    }

    #[test]
    fn what_is_too_old_now_is_told_from_what_will_be() {
        // The deployment as it is: PostgreSQL 10.19 is enough until 8.0.
        assert_eq!(rapidpro([6, 4, 8], 100_019), Verdict::Enough);
        assert_eq!(rapidpro([7, 4, 0], 100_019), Verdict::Enough);
        assert_eq!(
            rapidpro([8, 0, 1], 100_019),
            Verdict::TooOldForNext([8, 2, 0], 120_000)
        );
        assert_eq!(rapidpro([8, 2, 0], 100_019), Verdict::TooOld(120_000));
        assert_eq!(rapidpro([9, 2, 1], 110_000), Verdict::TooOld(120_000));
        assert_eq!(
            rapidpro([6, 4, 8], 90_500),
            Verdict::TooOldForNext([7, 0, 4], 90_600)
        );
        assert_eq!(
            rapidpro([6, 0, 0], 90_300),
            Verdict::TooOldForNext([6, 4, 8], 90_400)
        );
        assert_eq!(rapidpro([10, 2, 1], 150_008), Verdict::Enough);
        assert_eq!(rapidpro([6, 4, 8], 150_008), Verdict::Enough);
        let casepro = |deployed, has| judge(NEEDS[1].releases, deployed, has);
        assert_eq!(casepro([1, 3, 13], 100_019), Verdict::Enough);
        assert_eq!(casepro([1, 13, 1], 100_019), Verdict::Enough);
        assert_eq!(casepro([1, 13, 6], 100_019), Verdict::TooOld(120_000));
    }

    #[test]
    fn versions_are_written_as_people_do() {
        assert_eq!(major(120_004), "12");
        assert_eq!(major(90_624), "9.6");
    }
}
