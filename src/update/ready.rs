//! A release is made ready beside the present executable: fetched, verified, unpacked, tried. Nothing
//! depends on it yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::archive::{self, Broken};
use super::fetch::{Origin, Trouble};
use super::keys::KEYS;
use super::run::{Candidate, Job, aside};
use super::swap::{self, Workshop};
use super::trial::{self, Report};
use crate::fault::{Fault, Result};
use crate::host::disk::human;
use crate::host::elf;
use crate::operation::Kind;

/// How often it is told how far the download is.
const TICK: Duration = Duration::from_millis(250);

impl Job {
    pub(super) async fn download(
        &self,
        origin: &Origin,
        candidate: &Candidate,
        workshop: &Workshop,
    ) -> Result<std::path::PathBuf> {
        let began = Instant::now();
        let whole = candidate.listed.as_ref().map(|archive| archive.size);
        let of = whole.map_or(String::new(), |size| format!(" of {}", human(size)));
        let told = |kind, come: u64| {
            let text = match kind {
                Kind::Done => human(come),
                _ => format!("{}{of}", human(come)),
            };
            self.reporter
                .tell("download", kind, Some(began.elapsed()), text);
        };
        let to = workshop.file(&candidate.name.to_string());
        let come = Arc::new(AtomicU64::new(0));
        let work = {
            let (origin, candidate) = (origin.clone(), candidate.clone());
            let (to, come) = (to.clone(), Arc::clone(&come));
            aside(move || origin.archive(&candidate.name, candidate.listed.as_ref(), &to, &come))
        };
        tokio::pin!(work);
        let mut ticks = tokio::time::interval(TICK);
        let done = loop {
            tokio::select! {
                done = &mut work => break done?,
                _ = ticks.tick() => told(Kind::Progress, come.load(Ordering::Relaxed)),
            }
        };
        match done {
            Ok(size) => {
                told(Kind::Done, size);
                Ok(to)
            }
            Err(Trouble::Fault(fault)) => Err(fault),
            Err(Trouble::Write(error)) => Err(self.not_written(&error)),
        }
    }

    /// Nothing is taken out of an archive whose signature is not good.
    pub(super) async fn unpacked(
        &self,
        candidate: &Candidate,
        path: std::path::PathBuf,
        workshop: &Workshop,
    ) -> Result<std::path::PathBuf> {
        let signed = {
            let path = path.clone();
            aside(move || archive::signed_by(&path, KEYS)).await?
        };
        let key = signed.map_err(|why| self.refused_signature(candidate, &why))?;
        let checksum = if candidate.listed.is_some() {
            "checksum and "
        } else {
            ""
        };
        let told = format!("{checksum}signature (key {key})");
        self.reporter.tell("verify", Kind::Done, None, told);
        let into = workshop.path().to_owned();
        let unpacked = aside(move || archive::unpack(&path, &into)).await?;
        let new = unpacked.map_err(|broken| match broken {
            Broken::Write(error) => self.not_written(&error),
            Broken::Archive(why) => Box::new(self.unfit(candidate, why)),
        })?;
        elf::is_for_this_machine(&new)
            .map_err(|error| self.not_written(&error))?
            .map_err(|why| Box::new(self.unfit(candidate, why)))?;
        swap::make_like(&new, &self.installed.path).map_err(|error| self.not_written(&error))?;
        Ok(new)
    }

    fn refused_signature(&self, candidate: &Candidate, why: &str) -> Box<Fault> {
        let known: Vec<&str> = KEYS.iter().map(|(name, _)| *name).collect();
        Box::new(
            Fault::problem(
                format!("self-update: {} is not signed for this ooy", candidate.name),
                "no key that this build knows has signed the archive under this name",
            )
            .evidence(format!("{}: {why}", candidate.place))
            .evidence(format!("ooy {} knows: {}", self.present.name(), known.join(", ")))
            .why("it may be forged or renamed, or its key is newer or older than this build; nothing was unpacked, and the present ooy stays as it is")
            .next(self.places.command("self-update --check"))
            .next(self.places.command("self-update --from /path/of/the/archive/before/that")),
        )
    }

    fn unfit(&self, candidate: &Candidate, why: String) -> Fault {
        Fault::problem(
            format!("self-update: {} is of no use", candidate.name),
            "it is signed, and what is in it is not what it should be",
        )
        .evidence(format!("{}: {why}", candidate.place))
        .why("nothing was replaced; the present ooy stays as it is, and whoever released it has to know")
        .next(self.places.command("self-update --check"))
    }

    /// Runs it where it lies, before anything depends on it.
    pub(super) async fn tried(
        &self,
        candidate: &Candidate,
        new: &std::path::Path,
    ) -> Result<Report> {
        let report = trial::of(new, &self.places)
            .await
            .map_err(|why| Box::new(self.unfit(candidate, why)))?;
        let (version, target) = (candidate.name.version, &candidate.name.target);
        if report.version != version || report.target != *target {
            let why = format!(
                "it calls itself {} for {}, and was released as {version} for {target}",
                report.version, report.target
            );
            return Err(Box::new(self.unfit(candidate, why)));
        }
        if let Some(damage) = report.damaged.first() {
            return Err(Box::new(self.unfit(candidate, damage.clone())));
        }
        self.settings_are_understood(&report)?;
        let told = format!("ooy {} runs here", report.name());
        self.reporter.tell("self-check", Kind::Done, None, told);
        Ok(report)
    }

    /// What only the new one finds wrong with the settings of this host would keep it from working.
    fn settings_are_understood(&self, report: &Report) -> Result<()> {
        let new = report.settings.iter();
        let new: Vec<String> = new
            .filter(|line| !self.present.settings.contains(line))
            .cloned()
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        let file = self.places.env_file.display();
        let mut fault = Fault::problem(
            format!(
                "self-update: ooy {} does not take these settings",
                report.version
            ),
            "it finds wrong with the settings of this host what the present one takes",
        )
        .why(format!(
            "it would start nothing with them; ooy {} stays as it is",
            self.present.version
        ))
        .next(format!("nano {file}"))
        .next(self.again());
        fault.evidence = new;
        Err(Box::new(fault))
    }
}
