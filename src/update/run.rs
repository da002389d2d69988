//! The procedure: fetched, verified, unpacked, tried, put in place, seen to run; or put back.

use std::time::Instant;

use super::choose::{Choice, between, choose};
use super::fetch::Origin;
use super::index::{Archive, Index, Release};
use super::installed::Installed;
use super::keys::{KEYS, TARGET};
use super::swap::{self, Workshop};
use super::trial::{self, Report};
use super::turn::Turn;
use crate::boot::daemons;
use crate::deployment::places::Places;
use crate::deployment::releases::{ArchiveName, Place, Source};
use crate::fault::{Fault, Result};
use crate::host::apart::apart;
use crate::host::elf;
use crate::host::systemd::Systemd;
use crate::operation::{Kind, Reporter};

/// What is to be replaced, and for whom.
pub struct Job {
    /// The executable.
    pub installed: Installed,
    /// What it says of itself.
    pub present: Report,
    /// The deployment of this host, if it has one.
    pub places: Places,
    /// The command with what it was asked for.
    pub asked: String,
    /// Whom to tell.
    pub reporter: Reporter,
}

/// A release that may be taken.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Which archive of it.
    pub name: ArchiveName,
    /// What the list of releases says of the archive; none where there is no list.
    pub listed: Option<Archive>,
    /// What is new on the way to it, the newest first.
    pub notes: Vec<Release>,
    /// When it was released, where that is known.
    pub date: Option<jiff::civil::Date>,
    /// Where its archive is.
    pub place: Place,
}

/// What there is.
#[derive(Debug, Clone)]
pub enum Found {
    /// Something newer.
    Newer(Candidate),
    /// Nothing newer than what is installed.
    Same,
    /// Something older only.
    Older(Candidate),
}

impl Job {
    /// Of the executable that runs, or lies in its place by now.
    pub async fn new(places: &Places, asked: &str, reporter: Reporter) -> Result<Self> {
        let installed = Installed::find(&places.command(asked))?;
        let present = match installed.was_replaced {
            false => Report::own(places),
            true => trial::of(&installed.path, places)
                .await
                .map_err(|why| Box::new(silent(&installed, why)))?,
        };
        Ok(Self {
            installed,
            present,
            places: places.clone(),
            asked: asked.to_owned(),
            reporter,
        })
    }

    pub(super) fn again(&self) -> String {
        self.places.command(&self.asked)
    }

    /// What there is for this machine.
    pub async fn find(&self, origin: &Origin) -> Result<Found> {
        if let Source::Archive(_, name) = &origin.source {
            if name.target != TARGET {
                return Err(Box::new(
                    self.not_for_this(origin, std::slice::from_ref(&name.target)),
                ));
            }
            let candidate = Candidate {
                name: name.clone(),
                listed: None,
                notes: Vec::new(),
                date: None,
                place: origin.source.archive(name),
            };
            return Ok(match name.version.cmp(&self.present.version) {
                std::cmp::Ordering::Greater => Found::Newer(candidate),
                std::cmp::Ordering::Equal => Found::Same,
                std::cmp::Ordering::Less => Found::Older(candidate),
            });
        }
        let index = match origin.source.index() {
            Some(place) => {
                let origin = origin.clone();
                aside(move || origin.index(&place)).await??
            }
            None => Index {
                releases: Vec::new(),
            },
        };
        let candidate = |release: &Release, archive: &Archive| {
            let name = ArchiveName {
                version: release.version,
                target: archive.target.clone(),
            };
            let new = between(&index, self.present.version, release.version);
            Candidate {
                place: origin.source.archive(&name),
                name,
                listed: Some(archive.clone()),
                notes: new.into_iter().cloned().collect(),
                date: Some(release.date),
            }
        };
        Ok(match choose(&index, self.present.version, TARGET) {
            Choice::Newer(release, archive) => Found::Newer(candidate(release, archive)),
            Choice::Same => Found::Same,
            Choice::Older(release, archive) => Found::Older(candidate(release, archive)),
            Choice::NotForThis => {
                let archives = index.releases.iter().flat_map(|release| &release.archives);
                let mut targets: Vec<_> = archives.map(|archive| archive.target.clone()).collect();
                targets.sort();
                targets.dedup();
                return Err(Box::new(self.not_for_this(origin, &targets)));
            }
        })
    }

    fn not_for_this(&self, origin: &Origin, targets: &[String]) -> Fault {
        let place = match origin.source.index() {
            Some(place) => place.to_string(),
            None => "the archive".to_owned(),
        };
        let there = match targets {
            [] => "no release at all".to_owned(),
            targets => targets.join(", "),
        };
        Fault::problem(
            "self-update: no build for this machine",
            format!("ooy is wanted for {TARGET}, and there is none"),
        )
        .evidence(format!("{place}: {there}"))
        .why("another machine's executable does not run here; the present one stays as it is")
        .next("uname -m")
        .next(format!("{} /path/of/another/archive", origin.elsewhere))
    }

    /// All that has to be so before anything is begun.
    pub fn is_possible(&self) -> Result<()> {
        if KEYS.is_empty() {
            return Err(Box::new(
                Fault::problem(
                    "self-update: this build accepts no release",
                    "it was built without a public key, so that it can tell no release from a forgery",
                )
                .evidence(format!("ooy {}: embedded/release-keys was empty", self.present.name()))
                .why("nothing unsigned is ever put in place; the present one stays as it is")
                .next(format!(
                    "sudo install -m 755 ooy {}    (by hand, a build that you trust)",
                    self.installed.path.display()
                )),
            ));
        }
        self.may_begin()
    }

    /// Whether anything is in the way of replacing it, forth or back.
    pub fn may_begin(&self) -> Result<()> {
        super::turn::nothing_unfinished(&self.places)?;
        self.installed.is_replaceable(&self.again())
    }

    /// The units that run what is going to be replaced.
    pub async fn daemons(&self) -> Vec<String> {
        daemons::running(&Systemd::of_this_host(), &self.installed.path).await
    }

    /// Takes the release.
    pub async fn update(&self, origin: &Origin, candidate: &Candidate) -> Result<Report> {
        self.journalled(async || {
            let workshop = self.begin()?;
            let archive = self.download(origin, candidate, &workshop).await?;
            let new = self.unpacked(candidate, archive, &workshop).await?;
            let report = self.tried(candidate, &new).await?;
            self.is_still_there()?;
            swap::install(&new, &self.installed, &workshop)
                .map_err(|error| self.not_written(&error))?;
            self.seen_to_run(&report, &workshop).await
        })
        .await
    }

    /// The units that still run what was there before: an update was killed before it came to them.
    pub async fn left_behind(&self) -> Vec<String> {
        let systemd = Systemd::of_this_host();
        let mut left = Vec::new();
        for unit in self.daemons().await {
            let pid = systemd.main_process(&unit).await;
            if pid.is_some_and(|pid| !self.installed.is_run_by(pid)) {
                left.push(unit);
            }
        }
        left
    }

    /// Does what an update that was killed has left to do.
    pub async fn finish(&self) -> Result<Report> {
        self.journalled(async || {
            Workshop::tidy(&self.installed).map_err(|error| self.not_written(&error))?;
            self.restarted(&self.present).await?;
            Ok(self.present.clone())
        })
        .await
    }

    /// Whether an update that was killed has left files.
    pub fn has_leftovers(&self) -> bool {
        self.installed.workshop().exists()
    }

    /// Whether there is a version before, and which: looked at as a new one would be.
    pub async fn before(&self) -> Result<Report> {
        let path = self.installed.previous();
        let shown = path.display();
        let unusable = |why: String| {
            Box::new(
                Fault::problem(
                    "self-update: there is nothing to go back to",
                    "the version before the last update is not there, or does not run",
                )
                .evidence(format!("{shown}: {why}"))
                .why("the present one stays as it is")
                .next(format!("ls -l {}*", self.installed.path.display()))
                .next(
                    self.places
                        .command("self-update --allow-downgrade --from /path/of/an/older/archive"),
                ),
            )
        };
        let about = path
            .symlink_metadata()
            .map_err(|error| unusable(error.to_string()))?;
        if !about.is_file() {
            return Err(unusable("it is no file".to_owned()));
        }
        elf::is_for_this_machine(&path)
            .map_err(|error| unusable(error.to_string()))?
            .map_err(unusable)?;
        let report = trial::of(&path, &self.places).await.map_err(unusable)?;
        if (report.version, &report.commit) == (self.present.version, &self.present.commit) {
            return Err(unusable(format!("it is {} as well", report.name())));
        }
        Ok(report)
    }

    /// The version before and the present one change places.
    pub async fn roll_back(&self) -> Result<Report> {
        self.journalled(async || {
            let workshop = self.begin()?;
            // Again: what was agreed to is some seconds old.
            let report = self.before().await?;
            self.is_still_there()?;
            swap::exchange(&self.installed, &workshop).map_err(|error| self.not_written(&error))?;
            self.seen_to_run(&report, &workshop).await
        })
        .await
    }

    /// Under the locks, with begin and end in the journal.
    async fn journalled(&self, work: impl AsyncFnOnce() -> Result<Report>) -> Result<Report> {
        let began = Instant::now();
        let _turn = Turn::take(&self.installed, &self.places, &self.asked, &self.reporter)?;
        let done = work().await;
        let (kind, told) = match &done {
            Ok(report) => (
                Kind::Done,
                format!("{} → {}", self.present.version, report.version),
            ),
            Err(fault) => (Kind::Failed, fault.title.clone()),
        };
        let took = Some(began.elapsed());
        self.reporter.tell("operation", kind, took, told);
        done
    }

    fn begin(&self) -> Result<Workshop> {
        self.is_still_there()?;
        Workshop::begin(&self.installed).map_err(|error| self.not_written(&error))
    }

    /// Somebody else may have been faster.
    fn is_still_there(&self) -> Result<()> {
        if self.installed.is_unchanged() {
            return Ok(());
        }
        Err(Box::new(
            Fault::problem(
                "self-update: somebody else was faster",
                "the executable was replaced while this one was made ready",
            )
            .evidence(format!(
                "{} is another file now",
                self.installed.path.display()
            ))
            .why("what was put there meanwhile stays")
            .next("ooy --version")
            .next(self.again()),
        ))
    }

    pub(super) fn not_written(&self, error: &std::io::Error) -> Box<Fault> {
        Box::new(self.installed.not_written(error, &self.again()))
    }

    /// In its place it says what it said before; else what was there comes back. Then the daemons are
    /// started again.
    async fn seen_to_run(&self, promised: &Report, workshop: &Workshop) -> Result<Report> {
        let path = &self.installed.path;
        let seen = trial::of(path, &self.places).await;
        let report = match seen {
            Ok(report) if report.version == promised.version => report,
            other => {
                let why = match other {
                    Ok(report) => format!("it calls itself {}", report.name()),
                    Err(why) => why,
                };
                let back = swap::exchange(&self.installed, workshop);
                let stays = match back {
                    Ok(()) => format!("ooy {} is back in its place", self.present.version),
                    Err(error) => {
                        format!("putting ooy {} back failed: {error}", self.present.version)
                    }
                };
                return Err(Box::new(silent(&self.installed, why).why(stays)));
            }
        };
        let kept = self.installed.previous();
        let told = format!(
            "{}; ooy {} is kept as {}",
            path.display(),
            self.present.version,
            kept.display()
        );
        self.reporter.tell("replace", Kind::Done, None, told);
        self.restarted(&report).await?;
        Ok(report)
    }

    async fn restarted(&self, report: &Report) -> Result<()> {
        let systemd = Systemd::of_this_host();
        let mut failed = Vec::new();
        for unit in self.left_behind().await {
            let began = Instant::now();
            let is_new = |pid| self.installed.is_run_by(pid);
            match daemons::restart(&systemd, &unit, is_new).await {
                Ok(()) => {
                    let took = Some(began.elapsed());
                    let told = format!("{unit} runs ooy {}", report.version);
                    self.reporter.tell("restart", Kind::Done, took, told);
                }
                Err(why) => failed.push((unit, why)),
            }
        }
        let Some((unit, _)) = failed.first() else {
            return Ok(());
        };
        let mut fault = Fault::problem(
            format!("self-update: {unit} does not come back"),
            format!(
                "ooy {} is in place, and what systemd runs of it is not",
                report.version
            ),
        )
        .why("what it does is not done until it runs: a watch, or the delivery of calls")
        .next(format!("sudo journalctl -u {unit} -n 50"))
        .next(format!("sudo systemctl restart {unit}"))
        .next(format!(
            "sudo {}",
            self.places.command("self-update --rollback")
        ));
        fault.evidence = failed
            .into_iter()
            .map(|(unit, why)| format!("{unit}: {why}"))
            .collect();
        Err(Box::new(fault))
    }
}

fn silent(installed: &Installed, why: String) -> Fault {
    let path = installed.path.display();
    Fault::problem(
        format!("self-update: {path} does not run"),
        "what lies there does not say what it is",
    )
    .evidence(format!("{path} self-check: {why}"))
    .why("nothing was done")
    .next(format!("{path} --version"))
    .next(format!(
        "{} self-update --rollback",
        installed.previous().display()
    ))
}

/// Work that blocks, on a thread of its own: meanwhile the operator may interrupt. Its thread ends with
/// the program.
pub(super) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let done = apart("self-update", work).await;
    done.map_err(|why| {
        Box::new(
            Fault::problem("self-update: internal error", why.to_string())
                .evidence(concat!("ooy ", env!("CARGO_PKG_VERSION")))
                .why("nothing was replaced")
                .next("ooy --version"),
        )
    })
}
