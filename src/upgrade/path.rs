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
mod tests;
