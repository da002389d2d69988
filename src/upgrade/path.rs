//! The way from the release that runs to another one: which have to be passed, and why none can be
//! taken where there is none.

use std::fmt;

use super::catalogue::{App, Broken, Catalogue, Release, Setting};
use crate::deployment::version::Version;
use crate::fault::Fault;

/// One step of the way: everything is well between two of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leg<'a> {
    /// What runs before it.
    pub from: Version,
    /// What runs after it.
    pub to: &'a Release,
    /// Releases that it jumps over, in order. What changes with them changes with this leg.
    pub over: Vec<&'a Release>,
}

impl<'a> Leg<'a> {
    /// The releases whose changes come with it, in order.
    pub fn releases(&self) -> impl Iterator<Item = &'a Release> {
        self.over.iter().copied().chain([self.to])
    }

    /// The environment variables that change with it.
    pub fn settings(&self) -> impl Iterator<Item = &'a Setting> {
        self.releases().flat_map(|release| &release.settings)
    }

    /// What a person has to know of it, a sentence each.
    pub fn notes(&self) -> impl Iterator<Item = &'a str> {
        self.releases()
            .flat_map(|release| release.notes.iter().map(String::as_str))
    }

    /// What is no good of the release it leads to.
    pub fn broken(&self) -> &'a [Broken] {
        &self.to.broken
    }

    /// The oldest PostgreSQL that is enough for it, as `server_version_num` has it.
    pub fn postgres(&self) -> Option<u32> {
        self.releases().filter_map(|release| release.postgres).max()
    }

    /// The server is too old for it. One of an unknown version is not in the way.
    fn too_old(&self, server: Option<u32>) -> Option<TooOld> {
        let (needs, has) = (self.postgres()?, server?);
        (has < needs).then_some(TooOld { needs, has })
    }

    /// The longest leg that ends at a release which this one jumps over, and can be gone.
    fn shorter(&self, app: App, server: Option<u32>) -> Option<Leg<'a>> {
        let ends = self.over.iter().enumerate().rev();
        ends.map(|(at, to)| Leg {
            from: self.from,
            to,
            over: self.over[..at].to_vec(),
        })
        .find(|leg| leg.to.missing(app).is_empty() && leg.too_old(server).is_none())
    }

    /// Its new migrations, where their number is known of each of its releases.
    pub fn migrations(&self) -> Option<u32> {
        self.releases().map(|release| release.migrations).sum()
    }
}

impl fmt::Display for Leg<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} → {}", self.from, self.to.version)
    }
}

/// A PostgreSQL that is too old; both as `server_version_num` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooOld {
    /// The oldest that is enough.
    pub needs: u32,
    /// The server's.
    pub has: u32,
}

/// Why there is no way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal<'a> {
    /// No such release is known.
    Unknown {
        /// What was asked for.
        version: Version,
        /// The known ones before and after it, of those that are newer than what runs.
        near: Vec<Version>,
    },
    /// What was asked for is what runs.
    Same {
        /// It.
        version: Version,
    },
    /// Nothing was asked for, and nothing newer with all its images is known.
    Newest {
        /// What runs.
        runs: Version,
    },
    /// What was asked for is older than what runs.
    Older {
        /// What was asked for.
        version: Version,
        /// What runs.
        runs: Version,
    },
    /// What runs is a development release.
    Development {
        /// It.
        runs: Version,
    },
    /// What runs is of no stable release that is known, so that the next one is not known either.
    Unlisted {
        /// It.
        runs: Version,
        /// The stable releases that are known.
        known: Vec<Version>,
    },
    /// PostgreSQL is too old for a release on the way.
    Server {
        /// The release.
        version: Version,
        /// How old.
        server: TooOld,
        /// The way to the last release before it; empty where it is the first.
        legal: Vec<Leg<'a>>,
    },
    /// Images of a release on the way have not been published.
    NoImage {
        /// The release.
        version: Version,
        /// The services without one.
        missing: Vec<&'static str>,
        /// PostgreSQL would be too old for it as well.
        server: Option<TooOld>,
        /// The way to the last release before it; empty where it is the first.
        legal: Vec<Leg<'a>>,
    },
}

/// The way from what runs to a release, or to the newest with all its images where none is named.
/// `server` is PostgreSQL's version, as `server_version_num` has it, where it is known.
pub fn path<'a>(
    catalogue: &'a Catalogue,
    app: App,
    from: Version,
    to: Option<Version>,
    server: Option<u32>,
) -> Result<Vec<Leg<'a>>, Refusal<'a>> {
    let releases = catalogue.app(app);
    let aim = aim(catalogue, app, from, to)?;
    // Where releases are passed in turn, an odd second number is that of a development release.
    if releases.iter().any(|release| release.required) {
        if from.minor % 2 == 1 {
            return Err(Refusal::Development { runs: from });
        }
        if !releases.iter().any(|of| of.version.same_stable(from)) {
            return Err(Refusal::Unlisted {
                runs: from,
                known: releases.iter().map(|release| release.version).collect(),
            });
        }
    }
    let mut legs: Vec<Leg> = Vec::new();
    let mut over = Vec::new();
    let mut at = from;
    let ahead = releases
        .iter()
        .filter(|release| release.version > from && release.version <= aim);
    for release in ahead {
        if !release.required && release.version != aim {
            over.push(release);
            continue;
        }
        let leg = Leg {
            from: at,
            to: release,
            over: std::mem::take(&mut over),
        };
        let version = release.version;
        let missing = release.missing(app);
        let too_old = leg.too_old(server);
        if !missing.is_empty() || too_old.is_some() {
            legs.extend(leg.shorter(app, server));
        }
        // Images first: a newer PostgreSQL would not help.
        if !missing.is_empty() {
            return Err(Refusal::NoImage {
                version,
                missing,
                server: too_old,
                legal: legs,
            });
        }
        if let Some(server) = too_old {
            return Err(Refusal::Server {
                version,
                server,
                legal: legs,
            });
        }
        at = version;
        legs.push(leg);
    }
    Ok(legs)
}

/// The release that the way leads to: one that is known, and newer than what runs.
fn aim<'a>(
    catalogue: &'a Catalogue,
    app: App,
    from: Version,
    to: Option<Version>,
) -> Result<Version, Refusal<'a>> {
    let Some(version) = to else {
        let newest = catalogue.newest(app).map(|release| release.version);
        let newer = newest.filter(|version| *version > from);
        return newer.ok_or(Refusal::Newest { runs: from });
    };
    if version == from {
        return Err(Refusal::Same { version });
    }
    if version < from {
        return Err(Refusal::Older {
            version,
            runs: from,
        });
    }
    if catalogue.release(app, version).is_some() {
        return Ok(version);
    }
    let known = || {
        let releases = catalogue.app(app).iter();
        releases.map(|release| release.version)
    };
    let before = known().rfind(|of| *of > from && *of < version);
    let after = known().find(|of| *of > version);
    Err(Refusal::Unknown {
        version,
        near: before.into_iter().chain(after).collect(),
    })
}

impl Refusal<'_> {
    /// The way to the last release that can be reached, empty where none can.
    #[cfg(test)]
    pub fn legal(&self) -> &[Leg<'_>] {
        match self {
            Self::Server { legal, .. } | Self::NoImage { legal, .. } => legal,
            _ => &[],
        }
    }

    /// What the operator is told. `again` makes a command of this deployment out of what follows
    /// `ooy`.
    pub fn fault(&self, app: App, again: impl Fn(&str) -> String) -> Fault {
        let (name, label) = (app.name(), app.label());
        let upgrade = |version: Version| again(&format!("upgrade {name} --to {version}"));
        let newer_list = || again("self-update --check");
        match self {
            Self::Unknown { version, near } => {
                let fault = Fault::usage(
                    format!("{name} {version}: no such release"),
                    format!("{label} {version} is not in the list of releases"),
                )
                .why("nothing was done");
                // Of the same stable release the last patch is what was meant; else the one before
                // it, which is the shorter way.
                let same = near.iter().find(|near| near.same_stable(*version));
                match same.or(near.first()) {
                    Some(meant) => fault
                        .evidence(format!("the nearest that are: {}", listed(near)))
                        .next(upgrade(*meant)),
                    None => fault.next(newer_list()),
                }
            }
            Self::Same { version } => Fault::usage(
                format!("{name}: already {version}"),
                format!("{label} {version} is what runs"),
            )
            .why("nothing was done")
            .next(again("status")),
            Self::Newest { runs } => Fault::usage(
                format!("{name}: nothing newer than {runs}"),
                format!("no later {label} is known whose images have all been published"),
            )
            .evidence(format!("{label} {runs} is what runs"))
            .why("nothing was done")
            .next(newer_list()),
            Self::Older { version, runs } => Fault::usage(
                format!("{name} {version}: older than what runs"),
                format!("{label} {runs} runs, and no upgrade leads back"),
            )
            .why(format!(
                "its database has migrations of {runs} that {version} knows nothing of"
            ))
            .next(again("rollback")),
            Self::Development { runs } => Fault::problem(
                format!("{name} {runs}: a development release"),
                "a release with an odd second number is no stable one; no way leads on from it",
            )
            .evidence(format!("{label} {runs} is what runs"))
            .why("the migrations of the next stable release may not fit its database")
            .next(again("status")),
            Self::Unlisted { runs, known } => Fault::problem(
                format!("{name} {runs}: not in the list of releases"),
                format!("{label} {runs} belongs to no stable release that is known"),
            )
            .evidence(format!("known: {}", listed(known)))
            .why("each has to be passed in turn, and which one comes next is not known")
            .next(newer_list()),
            Self::Server {
                version,
                server,
                legal,
            } => {
                let mut fault = Fault::problem(
                    format!("{name} {version}: PostgreSQL is too old"),
                    format!(
                        "{label} {version} needs PostgreSQL {}",
                        postgres(server.needs)
                    ),
                )
                .evidence(format!("PostgreSQL here: {}", postgres(server.has)));
                if let Some(last) = legal.last() {
                    fault = fault
                        .evidence(format!("enough for: {}", way(legal)))
                        .next(upgrade(last.to.version));
                }
                fault
                    .why("its migrations would fail half way, with everything stopped")
                    .next(again("diagnose postgres-version"))
                    .next(upgrade(*version))
            }
            Self::NoImage {
                version,
                missing,
                server,
                legal,
            } => {
                let mut fault = Fault::problem(
                    format!("{name} {version}: not published"),
                    format!(
                        "no image of {label} {version} is known for {}",
                        missing.join(", ")
                    ),
                );
                if let Some(server) = server {
                    fault = fault.evidence(format!(
                        "PostgreSQL {} would be too old for it as well: it needs {}",
                        postgres(server.has),
                        postgres(server.needs)
                    ));
                }
                if let Some(last) = legal.last() {
                    fault = fault
                        .evidence(format!("published: {}", way(legal)))
                        .next(upgrade(last.to.version));
                } else {
                    fault = fault.next(newer_list());
                }
                fault.why(match app {
                    App::Rapidpro => "no later release can be reached without it",
                    App::Casepro | App::Contentrepo => "there is nothing to run it from",
                })
            }
        }
    }
}

/// `7.2.4, 7.4.2`.
fn listed(versions: &[Version]) -> String {
    let names: Vec<String> = versions.iter().map(Version::to_string).collect();
    names.join(", ")
}

/// `6.4.8 → 7.0.4 → 7.2.4`.
fn way(legs: &[Leg]) -> String {
    let mut way = legs
        .first()
        .map_or_else(String::new, |leg| leg.from.to_string());
    for leg in legs {
        way += &format!(" → {}", leg.to.version);
    }
    way
}

/// 12 of 120000, 10.19 of 100019, 9.6 of 90600: before 10 the second number was part of the major
/// version.
fn postgres(number: u32) -> String {
    let (major, minor, patch) = (number / 10_000, number / 100 % 100, number % 100);
    match (major, patch) {
        (10.., 0) => format!("{major}"),
        (10.., _) => format!("{major}.{patch}"),
        (_, 0) => format!("{major}.{minor}"),
        _ => format!("{major}.{minor}.{patch}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Kind;
    use proptest::prelude::*;

    const RAPIDPRO: App = App::Rapidpro;

    fn catalogue() -> Catalogue {
        Catalogue::embedded().unwrap()
    }

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    /// The way as it is shown, or the refusal.
    fn asked(
        app: App,
        from: &str,
        to: &str,
        server: Option<u32>,
    ) -> Result<String, Refusal<'static>> {
        let catalogue: &'static Catalogue = Box::leak(Box::new(catalogue()));
        let to = (!to.is_empty()).then(|| version(to));
        path(catalogue, app, version(from), to, server).map(|legs| way(&legs))
    }

    fn refused(app: App, from: &str, to: &str, server: Option<u32>) -> Refusal<'static> {
        asked(app, from, to, server).unwrap_err()
    }

    fn told(app: App, refusal: &Refusal) -> Fault {
        refusal.fault(app, |rest| format!("ooy {rest}"))
    }

    #[test]
    fn every_stable_release_is_passed_in_turn() {
        assert_eq!(
            asked(RAPIDPRO, "6.4.8", "7.4.2", None).unwrap(),
            "6.4.8 → 7.0.4 → 7.2.4 → 7.4.2"
        );
        assert_eq!(
            asked(RAPIDPRO, "7.2.4", "7.4.2", None).unwrap(),
            "7.2.4 → 7.4.2"
        );
    }

    #[test]
    fn the_last_patch_of_its_own_stable_comes_first() {
        assert_eq!(
            asked(RAPIDPRO, "6.4.3", "7.0.4", None).unwrap(),
            "6.4.3 → 6.4.8 → 7.0.4"
        );
        assert_eq!(
            asked(RAPIDPRO, "7.4.0", "7.4.2", None).unwrap(),
            "7.4.0 → 7.4.2"
        );
        // A later patch than the list has.
        assert_eq!(
            asked(RAPIDPRO, "6.4.9", "7.0.4", None).unwrap(),
            "6.4.9 → 7.0.4"
        );
    }

    #[test]
    fn four_legs_lead_from_what_is_deployed_to_the_newest() {
        let catalogue = catalogue();
        let aim = Some(version("8.0.1"));
        let legs = path(&catalogue, RAPIDPRO, version("6.4.8"), aim, Some(100_019)).unwrap();
        let tags: Vec<Vec<&str>> = legs
            .iter()
            .map(|leg| {
                let images = RAPIDPRO.images().iter();
                images
                    .map(|image| leg.to.tags[image.service].as_str())
                    .collect()
            })
            .collect();
        assert_eq!(
            tags,
            [
                ["v7.0.4", "v7.0.1", "v7.0.0", "v7.0.0"],
                ["v7.2.4", "v7.2.6", "v7.2.0", "v7.2.0"],
                ["v7.4.2", "v7.4.1", "v7.4.0", "v7.4.0"],
                ["v8.0.1", "v8.0.0", "v8.0.2", "v8.0.0"],
            ]
        );
        let migrations: Vec<_> = legs.iter().map(Leg::migrations).collect();
        assert_eq!(migrations, [Some(54), Some(88), Some(53), Some(135)]);
        assert_eq!(legs[0].to_string(), "6.4.8 → 7.0.4");
        assert_eq!(legs[1].from, version("7.0.4"));
        assert_eq!(legs[3].postgres(), Some(100_000));
        assert!(!legs[3].broken()[0].certain);
        assert_eq!(
            path(
                &catalogue,
                RAPIDPRO,
                version("6.4.8"),
                Some(version("8.0.1")),
                None
            ),
            Ok(legs)
        );
    }

    #[test]
    fn an_elasticsearch_that_is_too_old_is_a_note_and_no_refusal() {
        let catalogue = catalogue();
        for (text, said) in [("6.2.4", "has to be 7"), ("9.2.5", "should be 8")] {
            let leg = Leg {
                from: version("6.0.8"),
                to: catalogue.release(RAPIDPRO, version(text)).unwrap(),
                over: Vec::new(),
            };
            assert!(leg.notes().any(|note| note.contains(said)), "{text}");
        }
    }

    #[test]
    fn casepro_and_contentrepo_jump_and_bring_what_they_jump_over() {
        let catalogue = catalogue();
        let legs = path(&catalogue, App::Contentrepo, version("0.0.41"), None, None).unwrap();
        assert_eq!(way(&legs), "0.0.41 → 1.6.4");
        let over: Vec<Version> = legs[0].over.iter().map(|release| release.version).collect();
        assert_eq!(listed(&over), "0.0.101, 0.0.110, 1.0.0, 1.1.0");
        assert!(legs[0].notes().any(|note| note.contains("token")));
        assert_eq!(legs[0].migrations(), None);

        let legs = path(
            &catalogue,
            App::Casepro,
            version("1.3.13"),
            None,
            Some(100_019),
        )
        .unwrap();
        assert_eq!(way(&legs), "1.3.13 → 1.10.0");
        assert_eq!(legs[0].postgres(), Some(100_000));
        assert_eq!(legs[0].settings().count(), 1);
        // Neither its odd second numbers nor one that the list does not have are in its way.
        assert_eq!(
            asked(App::Casepro, "1.3.15", "1.3.17", None).unwrap(),
            "1.3.15 → 1.3.17"
        );
        assert_eq!(
            asked(App::Contentrepo, "0.0.80", "1.0.0", None).unwrap(),
            "0.0.80 → 1.0.0"
        );
    }

    #[test]
    fn no_way_leads_on_from_a_development_release() {
        let refusal = refused(RAPIDPRO, "6.5.71", "7.0.4", None);
        assert_eq!(
            refusal,
            Refusal::Development {
                runs: version("6.5.71")
            }
        );
        assert_eq!(refused(RAPIDPRO, "6.5.71", "", None), refusal);
        let fault = told(RAPIDPRO, &refusal);
        assert_eq!(fault.kind, Kind::Problem);
        assert_eq!(fault.title, "rapidpro 6.5.71: a development release");
    }

    #[test]
    fn what_is_older_than_the_list_has_no_next_release() {
        let refusal = refused(RAPIDPRO, "5.2.0", "7.0.4", None);
        assert!(
            matches!(&refusal, Refusal::Unlisted { known, .. } if known[0] == version("5.6.5"))
        );
        let fault = told(RAPIDPRO, &refusal);
        assert_eq!(fault.title, "rapidpro 5.2.0: not in the list of releases");
        assert_eq!(fault.next, ["ooy self-update --check"]);
    }

    #[test]
    fn an_unknown_release_names_the_nearest() {
        let near = |from: &str, to: &str| match refused(RAPIDPRO, from, to, None) {
            Refusal::Unknown { near, .. } => listed(&near),
            other => panic!("{other:?}"),
        };
        assert_eq!(near("6.4.8", "7.4.0"), "7.2.4, 7.4.2");
        // What runs and what is older is no aim.
        assert_eq!(near("6.4.8", "6.8.0"), "7.0.4");
        assert_eq!(near("6.4.8", "99.0.0"), "26.2.0");
        assert_eq!(near("26.2.0", "99.0.0"), "");

        let next = |to: &str| {
            let fault = told(RAPIDPRO, &refused(RAPIDPRO, "6.4.8", to, None));
            assert_eq!(fault.kind, Kind::Usage);
            fault.next.join("\n")
        };
        assert_eq!(next("7.4.0"), "ooy upgrade rapidpro --to 7.4.2");
        assert_eq!(next("7.3.5"), "ooy upgrade rapidpro --to 7.2.4");
        assert_eq!(next("6.8.0"), "ooy upgrade rapidpro --to 7.0.4");
        let none = refused(RAPIDPRO, "26.2.0", "99.0.0", None);
        assert_eq!(told(RAPIDPRO, &none).next, ["ooy self-update --check"]);
    }

    #[test]
    fn what_runs_and_what_is_older_is_refused() {
        let refusal = refused(RAPIDPRO, "7.0.4", "7.0.4", None);
        assert_eq!(
            refusal,
            Refusal::Same {
                version: version("7.0.4")
            }
        );
        assert_eq!(told(RAPIDPRO, &refusal).title, "rapidpro: already 7.0.4");
        // Whether the list has it or not.
        let same = refused(App::Casepro, "1.3.15", "1.3.15", None);
        assert_eq!(
            same,
            Refusal::Same {
                version: version("1.3.15")
            }
        );
        for to in ["6.4.8", "6.4.1"] {
            let refusal = refused(RAPIDPRO, "7.0.4", to, None);
            let (version, runs) = (version(to), version("7.0.4"));
            assert_eq!(refusal, Refusal::Older { version, runs });
            assert_eq!(told(RAPIDPRO, &refusal).next, ["ooy rollback"]);
        }
    }

    #[test]
    fn nothing_newer_is_said_where_nothing_is_asked_for() {
        for (app, from) in [
            (RAPIDPRO, "8.0.1"),
            (RAPIDPRO, "9.0.0"),
            (App::Casepro, "1.13.6"),
        ] {
            let refusal = refused(app, from, "", None);
            assert_eq!(
                refusal,
                Refusal::Newest {
                    runs: version(from)
                }
            );
            assert!(told(app, &refusal).title.contains("nothing newer"));
        }
    }

    #[test]
    fn an_image_that_is_missing_on_the_way_ends_it_before() {
        let refusal = refused(RAPIDPRO, "7.4.2", "9.0.0", Some(100_019));
        let Refusal::NoImage {
            version: at,
            missing,
            server,
            ..
        } = &refusal
        else {
            panic!("{refusal:?}");
        };
        assert_eq!(*at, version("8.2.0"));
        assert_eq!(missing, &["rapidpro", "mailroom", "courier", "indexer"]);
        assert_eq!(
            *server,
            Some(TooOld {
                needs: 120_000,
                has: 100_019
            })
        );
        assert_eq!(way(refusal.legal()), "7.4.2 → 8.0.1");
        let fault = told(RAPIDPRO, &refusal);
        assert_eq!(fault.title, "rapidpro 8.2.0: not published");
        assert_eq!(
            fault.evidence,
            [
                "PostgreSQL 10.19 would be too old for it as well: it needs 12",
                "published: 7.4.2 → 8.0.1",
            ]
        );
        assert_eq!(fault.next, ["ooy upgrade rapidpro --to 8.0.1"]);
    }

    #[test]
    fn a_single_missing_image_is_enough_and_nothing_before_it_is_offered() {
        let refusal = refused(RAPIDPRO, "6.0.8", "6.4.8", None);
        let Refusal::NoImage {
            missing,
            server: None,
            legal,
            ..
        } = &refusal
        else {
            panic!("{refusal:?}");
        };
        assert_eq!(missing, &["rapidpro"]);
        assert!(legal.is_empty());
        let fault = told(RAPIDPRO, &refusal);
        assert_eq!(
            fault.what,
            "no image of RapidPro 6.2.4 is known for rapidpro"
        );
        assert_eq!(fault.next, ["ooy self-update --check"]);
    }

    #[test]
    fn a_server_that_is_too_old_ends_the_way_before() {
        let refusal = refused(RAPIDPRO, "6.4.8", "7.4.2", Some(90_624));
        let Refusal::Server {
            version: at,
            server,
            legal,
        } = &refusal
        else {
            panic!("{refusal:?}");
        };
        assert_eq!(*at, version("7.2.4"));
        assert_eq!(
            *server,
            TooOld {
                needs: 100_000,
                has: 90_624
            }
        );
        assert_eq!(way(legal), "6.4.8 → 7.0.4");
        let fault = told(RAPIDPRO, &refusal);
        assert_eq!(fault.title, "rapidpro 7.2.4: PostgreSQL is too old");
        assert_eq!(fault.what, "RapidPro 7.2.4 needs PostgreSQL 10");
        assert_eq!(
            fault.evidence,
            ["PostgreSQL here: 9.6.24", "enough for: 6.4.8 → 7.0.4"]
        );
        assert_eq!(
            fault.next,
            [
                "ooy upgrade rapidpro --to 7.0.4",
                "ooy diagnose postgres-version",
                "ooy upgrade rapidpro --to 7.2.4",
            ]
        );
        // Nothing before it: PostgreSQL comes first.
        let refusal = refused(RAPIDPRO, "6.4.8", "7.0.4", Some(90_500));
        assert!(refusal.legal().is_empty());
        assert_eq!(
            told(RAPIDPRO, &refusal).next,
            [
                "ooy diagnose postgres-version",
                "ooy upgrade rapidpro --to 7.0.4"
            ]
        );
        // A server of unknown version is not in the way.
        assert!(asked(RAPIDPRO, "6.4.8", "7.4.2", None).is_ok());
    }

    #[test]
    fn a_jump_that_is_too_far_offers_a_shorter_one() {
        let refusal = refused(App::Casepro, "1.3.13", "1.13.6", None);
        assert!(
            matches!(&refusal, Refusal::NoImage { version: at, .. } if *at == version("1.13.6"))
        );
        assert_eq!(way(refusal.legal()), "1.3.13 → 1.10.0");
        assert_eq!(refusal.legal()[0].over.len(), 1);
        let refusal = refused(App::Casepro, "1.3.13", "1.10.0", Some(90_624));
        assert_eq!(way(refusal.legal()), "1.3.13 → 1.3.17");
        assert_eq!(
            told(App::Casepro, &refusal).next,
            [
                "ooy upgrade casepro --to 1.3.17",
                "ooy diagnose postgres-version",
                "ooy upgrade casepro --to 1.10.0",
            ]
        );
        // The deployment as it is: PostgreSQL 10.19 is too old for every later ContentRepo.
        let refusal = refused(App::Contentrepo, "0.0.41", "", Some(100_019));
        assert!(matches!(refusal, Refusal::Server { legal, .. } if legal.is_empty()));
        let refusal = refused(App::Contentrepo, "0.0.41", "", Some(110_000));
        assert_eq!(way(refusal.legal()), "0.0.41 → 1.1.0");
        assert!(
            refused(App::Casepro, "1.13.5", "1.13.6", None)
                .legal()
                .is_empty()
        );
    }

    #[test]
    fn every_refusal_has_its_four_parts() {
        for refusal in [
            refused(RAPIDPRO, "6.4.8", "7.4.0", None),
            refused(RAPIDPRO, "6.4.8", "6.4.8", None),
            refused(RAPIDPRO, "8.0.1", "", None),
            refused(RAPIDPRO, "7.0.4", "6.4.8", None),
            refused(RAPIDPRO, "6.5.1", "7.0.4", None),
            refused(RAPIDPRO, "5.2.0", "7.0.4", None),
            refused(RAPIDPRO, "6.4.8", "7.2.4", Some(90_600)),
            refused(RAPIDPRO, "6.4.8", "9.0.0", None),
        ] {
            let fault = refusal.fault(RAPIDPRO, |rest| format!("ooy --home /x {rest}"));
            assert!(fault.title.starts_with("rapidpro"), "{}", fault.title);
            assert!(
                !fault.what.is_empty() && !fault.why.is_empty(),
                "{}",
                fault.title
            );
            assert!(!fault.next.is_empty(), "{}", fault.title);
            assert!(
                fault
                    .next
                    .iter()
                    .all(|next| next.starts_with("ooy --home /x "))
            );
        }
    }

    #[test]
    fn postgres_is_named_as_people_do() {
        for (number, name) in [
            (120_000, "12"),
            (120_004, "12.4"),
            (100_019, "10.19"),
            (90_600, "9.6"),
            (90_624, "9.6.24"),
        ] {
            assert_eq!(postgres(number), name);
        }
    }

    proptest! {
        // Whatever runs and is asked for: a way leads there, upwards, over images that exist.
        #[test]
        fn a_way_leads_up_to_what_was_asked_for(
            app in prop::sample::select(App::ALL.to_vec()),
            at in 0usize..20,
            patch in 0u32..20,
            aim in 0usize..20,
            server in proptest::option::of(90_000u32..170_000),
        ) {
            let catalogue = catalogue();
            let releases = catalogue.app(app);
            let runs = releases[at % releases.len()].version;
            let runs = Version::new(runs.major, runs.minor, patch);
            let aim = releases[aim % releases.len()].version;
            if let Ok(legs) = path(&catalogue, app, runs, Some(aim), server) {
                prop_assert_eq!(legs[0].from, runs);
                prop_assert_eq!(legs[legs.len() - 1].to.version, aim);
                for leg in &legs {
                    prop_assert!(leg.from < leg.to.version);
                    prop_assert!(leg.to.missing(app).is_empty());
                    prop_assert!(leg.over.iter().all(|over| !over.required));
                }
                for pair in legs.windows(2) {
                    prop_assert_eq!(pair[0].to.version, pair[1].from);
                }
                let passed: usize = legs.iter().map(|leg| leg.releases().count()).sum();
                let between = |of: &&Release| of.version > runs && of.version <= aim;
                prop_assert_eq!(passed, releases.iter().filter(between).count());
            }
        }
    }
}
