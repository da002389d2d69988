//! Installs the units, and removes them: look, lock, journal, act, and look again. Run again at any
//! point it does what is left to do.

use std::path::Path;
use std::time::Instant;

use super::Deployment;
use super::seen::{File, Look, Seen, of_deployment, settled, to_start};
use super::units::{MODE, Role};
use crate::diagnosis::DOCKER_UNIT;
use crate::fault::{Fault, Result};
use crate::host::systemd::Systemd;
use crate::host::{files, process};
use crate::operation::{Kind, Operation, Reporter};

/// What came of it: how many things were changed.
pub type Changed = usize;

/// Installs and enables the units, and Docker's; where systemd runs, starts the watch and what takes
/// calls. With `dry_run` it only tells what it would do.
pub async fn enable(
    deployment: &Deployment,
    systemd: &Systemd,
    reporter: &Reporter,
    dry_run: bool,
) -> Result<Changed> {
    let change = Change {
        deployment,
        systemd,
        reporter,
        dry_run,
        asked: "boot enable",
    };
    change.run(async || change.enable().await).await
}

/// Stops and removes the units that [`enable`] has made. Docker's own stays enabled.
pub async fn disable(
    deployment: &Deployment,
    systemd: &Systemd,
    reporter: &Reporter,
    dry_run: bool,
) -> Result<Changed> {
    let change = Change {
        deployment,
        systemd,
        reporter,
        dry_run,
        asked: "boot disable",
    };
    change.run(async || change.disable().await).await
}

struct Change<'a> {
    deployment: &'a Deployment,
    systemd: &'a Systemd,
    reporter: &'a Reporter,
    dry_run: bool,
    asked: &'static str,
}

impl Change<'_> {
    async fn run(&self, work: impl AsyncFnOnce() -> Result<Changed>) -> Result<Changed> {
        if self.dry_run {
            return work().await;
        }
        self.permitted()?;
        let began = Instant::now();
        let _operation = Operation::begin(
            &self.deployment.places.state,
            "boot",
            self.asked,
            &self.again(),
            self.reporter,
        )?;
        let outcome = work().await;
        let (kind, detail) = match &outcome {
            Ok(0) => (Kind::Done, "nothing to do".to_owned()),
            Ok(changed) => (Kind::Done, format!("{changed} changed")),
            Err(fault) => (Kind::Failed, fault.title.clone()),
        };
        self.reporter
            .tell("operation", kind, Some(began.elapsed()), detail);
        outcome
    }

    fn again(&self) -> String {
        super::command(self.deployment, self.systemd, self.asked)
    }

    /// Only root may change what this machine starts; an image is a folder like any other.
    fn permitted(&self) -> Result<()> {
        if process::is_root() || self.systemd.root().is_some() {
            return Ok(());
        }
        Err(Box::new(
            Fault::problem(
                "boot: no permission",
                "only root may say what this machine starts",
            )
            .evidence(format!("this is user {}", process::user_name()))
            .evidence(format!("units lie in {}", self.systemd.folder().display()))
            .why("nothing was done")
            .next(format!("sudo {}", self.again())),
        ))
    }

    async fn enable(&self) -> Result<Changed> {
        let look = Look::new(self.deployment, self.systemd).await?;
        self.nobody_elses(&look)?;
        self.tidy(look.units.iter().map(|seen| seen.unit.name.as_str()));
        let mut changed = 0;
        for path in &look.left {
            changed += self.remove(path, "no longer needed").await?;
        }
        let mut written = Vec::new();
        for seen in &look.units {
            if kept(seen) {
                let detail = format!("{} was made by hand, and is left alone", seen.unit.name);
                self.tell(seen.unit.role.word(), Kind::Skipped, detail);
            } else if matches!(seen.file, File::Missing | File::Older) {
                self.write(seen)?;
                written.push(&seen.unit.name);
                changed += 1;
            }
        }
        // It has to know a unit before it can start it.
        if changed > 0 && self.systemd.is_live() && !self.dry_run {
            self.systemctl(&["daemon-reload"]).await?;
        }
        for seen in look.units.iter().filter(|seen| !kept(seen)) {
            let word = seen.unit.role.word();
            let name = seen.unit.name.as_str();
            let is_new = written.contains(&&seen.unit.name);
            if seen.unit.role.is_enabled() && !seen.enabled {
                changed += self
                    .step(word, format!("{name}: starts at boot"), &["enable", name])
                    .await?;
            }
            // One that runs with what it had before is started again.
            if to_start(seen, self.systemd) || (is_new && restarts(seen, self.systemd)) {
                changed += self
                    .step(word, format!("{name}: runs"), &["restart", name])
                    .await?;
            }
        }
        changed += self.docker(&look).await?;
        if !self.dry_run {
            self.verify().await?;
        }
        Ok(changed)
    }

    /// Without Docker nothing of it comes up.
    async fn docker(&self, look: &Look) -> Result<Changed> {
        match look.docker.as_str() {
            "disabled" | "enabled-runtime" => {
                let detail = format!("{DOCKER_UNIT}: starts at boot");
                self.step("docker", detail, &["enable", DOCKER_UNIT]).await
            }
            "masked" | "masked-runtime" => {
                Err(Box::new(masked(look.docker.as_str(), &self.again())))
            }
            _ => Ok(0),
        }
    }

    async fn disable(&self) -> Result<Changed> {
        let folder = self.systemd.folder();
        let failed = |error: std::io::Error| Box::new(self.not_written(&folder, &error));
        let paths = of_deployment(self.deployment, &folder).map_err(failed)?;
        let names = paths.iter().filter_map(|path| path.file_name()?.to_str());
        let all = Look::new(self.deployment, self.systemd).await;
        let all = all.map(|look| look.units).unwrap_or_default();
        self.tidy(names.chain(all.iter().map(|seen| seen.unit.name.as_str())));
        let mut changed = 0;
        for path in &paths {
            changed += self.remove(path, "removed").await?;
        }
        if changed > 0 && !self.dry_run {
            if self.systemd.is_live() {
                self.systemctl(&["daemon-reload"]).await?;
            }
            let left = of_deployment(self.deployment, &folder).map_err(failed)?;
            if let Some(path) = left.first() {
                return Err(Box::new(
                    self.not_so(format!("{} is there", path.display())),
                ));
            }
        }
        Ok(changed)
    }

    /// Removes what a run that was killed has written beside the place of a unit, and not yet put
    /// there (`.ooy.service.1234`). systemd does not look at it.
    fn tidy<'n>(&self, names: impl Iterator<Item = &'n str>) {
        let beginnings: Vec<String> = names.map(|name| format!(".{name}.")).collect();
        let entries = std::fs::read_dir(self.systemd.folder());
        for entry in entries.into_iter().flatten().flatten() {
            let name = entry.file_name();
            let left = beginnings.iter().any(|beginning| {
                name.to_str()
                    .and_then(|name| name.strip_prefix(beginning))
                    .is_some_and(|pid| pid.bytes().all(|byte| byte.is_ascii_digit()))
            });
            if left && !self.dry_run {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    /// First what it does, then its start at boot, then the file: cut off anywhere, the file still
    /// says what is left to do.
    async fn remove(&self, path: &Path, why: &str) -> Result<Changed> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if self.dry_run {
            self.tell("remove", Kind::Planned, format!("{name}: {why}"));
            return Ok(1);
        }
        if self.systemd.is_live() {
            self.systemctl(&["stop", &name]).await?;
        }
        self.systemctl(&["disable", &name]).await?;
        // Else a timer of that name, some day, would make up what was not wanted meanwhile.
        let _ = std::fs::remove_file(self.systemd.stamp(&name));
        std::fs::remove_file(path).map_err(|error| Box::new(self.not_written(path, &error)))?;
        self.tell("remove", Kind::Done, format!("{name}: {why}"));
        Ok(1)
    }

    fn write(&self, seen: &Seen) -> Result<()> {
        let detail = format!("{}: installed", seen.path.display());
        if self.dry_run {
            self.tell(seen.unit.role.word(), Kind::Planned, detail);
            return Ok(());
        }
        let folder = self.systemd.folder();
        // In an image there may be none yet.
        std::fs::create_dir_all(&folder)
            .and_then(|()| files::write_atomic(&seen.path, seen.unit.text.as_bytes(), MODE))
            .map_err(|error| Box::new(self.not_written(&seen.path, &error)))?;
        self.tell(seen.unit.role.word(), Kind::Done, detail);
        Ok(())
    }

    async fn step(
        &self,
        word: &'static str,
        detail: String,
        arguments: &[&str],
    ) -> Result<Changed> {
        if self.dry_run {
            self.tell(word, Kind::Planned, detail);
            return Ok(1);
        }
        self.systemctl(arguments).await?;
        self.tell(word, Kind::Done, detail);
        Ok(1)
    }

    async fn systemctl(&self, arguments: &[&str]) -> Result<()> {
        let Err(why) = self.systemd.tell(arguments).await else {
            return Ok(());
        };
        let command = format!("systemctl {}", arguments.join(" "));
        let unit = arguments.last().copied().unwrap_or_default();
        let fault = Fault::problem(
            format!("{command}: failed"),
            "systemd did not do what it was told",
        )
        .evidence(why)
        .why("what was done before stays; running the same again does the rest");
        let fault = match self.systemd.is_live() && arguments.len() > 1 {
            true => fault.next(format!("sudo journalctl -u {unit} -n 50")),
            false => fault,
        };
        Err(Box::new(fault.next(self.again())))
    }

    /// A unit of another deployment, or of a person, is not overwritten.
    fn nobody_elses(&self, look: &Look) -> Result<()> {
        for seen in look.units.iter().filter(|seen| !kept(seen)) {
            let whose = match &seen.file {
                File::OtherDeployment(folder) => format!("it is of the deployment in {folder}"),
                File::ByHand => "it was not written by ooy boot enable".to_owned(),
                _ => continue,
            };
            let path = seen.path.display();
            return Err(Box::new(
                Fault::problem(
                    format!("{}: is somebody else's", seen.unit.name),
                    "another unit has the name that this one is to have",
                )
                .evidence(format!("{path}: {whose}"))
                .why("overwritten, what it starts would not come up any more; nothing was done")
                .next(format!("systemctl cat {}", seen.unit.name))
                .next(format!("sudo mv {path} {path}.old"))
                .next(self.again()),
            ));
        }
        Ok(())
    }

    /// Looks again: all is as it was to be.
    async fn verify(&self) -> Result<()> {
        let look = Look::new(self.deployment, self.systemd).await?;
        let bad = look.units.iter().find(|seen| !settled(seen, self.systemd));
        match bad {
            None => Ok(()),
            Some(seen) => {
                let active = match seen.active.as_str() {
                    "" => "systemd does not run",
                    word => word,
                };
                let enabled = if seen.enabled {
                    "enabled"
                } else {
                    "not enabled"
                };
                let seen = format!("{}: {enabled}, {active}", seen.unit.name);
                Err(Box::new(self.not_so(seen)))
            }
        }
    }

    fn not_so(&self, seen: String) -> Fault {
        Fault::problem(
            format!("{}: not as it should be", self.asked),
            "all was done, and a look at it shows something else",
        )
        .evidence(seen)
        .why("after the next boot the deployment may not be as it was to be")
        .next(super::command(self.deployment, self.systemd, "boot status"))
        .next("sudo journalctl -b -n 50 -u 'ooy*'")
    }

    fn not_written(&self, path: &Path, error: &std::io::Error) -> Fault {
        Fault::problem(
            format!("{}: cannot be written", path.display()),
            "a unit of systemd could not be written or removed",
        )
        .evidence(error.to_string())
        .why("what was done before stays; running the same again does the rest")
        .next(format!("ls -ld {}", self.systemd.folder().display()))
        .next(format!("sudo {}", self.again()))
    }

    fn tell(&self, word: &'static str, kind: Kind, detail: String) {
        self.reporter.tell(word, kind, None, detail);
    }
}

/// What Asterisk's side has made by hand, as `ooy calls dialplan` tells it, serves as well.
fn kept(seen: &Seen) -> bool {
    seen.file == File::ByHand && seen.unit.role == Role::Calls
}

fn restarts(seen: &Seen, systemd: &Systemd) -> bool {
    systemd.is_live() && seen.unit.role.runs() && seen.active == "active"
}

/// Docker was forbidden to start: somebody meant that.
pub fn masked(state: &str, again: &str) -> Fault {
    Fault::problem(
        format!("{DOCKER_UNIT}: {state}"),
        "somebody has forbidden systemd to start Docker",
    )
    .evidence(format!("systemctl is-enabled {DOCKER_UNIT}: {state}"))
    .why("without Docker nothing of the deployment comes up; whoever masked it had a reason")
    .next(format!("sudo systemctl unmask {DOCKER_UNIT}"))
    .next(again)
}
