//! The units as they are now.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::Deployment;
use super::units::{self, MARK, Role, Unit};
use crate::diagnosis::DOCKER_UNIT;
use crate::fault::{Fault, Result};
use crate::host::systemd::Systemd;

/// How long systemctl may take to answer a question.
const ANSWER: Duration = Duration::from_secs(20);

/// What lies in the place of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum File {
    /// Nothing.
    Missing,
    /// What this version writes.
    Same,
    /// One that `ooy` wrote for this deployment, with other contents.
    Older,
    /// One of another deployment; in which folder that lies.
    OtherDeployment(String),
    /// One that somebody made by hand.
    ByHand,
}

/// A unit that is wanted, and how it is now.
#[derive(Debug, Clone)]
pub struct Seen {
    /// As this version writes it.
    pub unit: Unit,
    /// Where it is or would be.
    pub path: PathBuf,
    /// What lies there.
    pub file: File,
    /// It is started at boot.
    pub enabled: bool,
    /// `active`, `inactive`, `failed`, …; empty where systemd does not run.
    pub active: String,
}

/// All of it.
#[derive(Debug, Clone)]
pub struct Look {
    /// The units that are wanted.
    pub units: Vec<Seen>,
    /// Units of this deployment that are not wanted (any more).
    pub left: Vec<PathBuf>,
    /// What systemd says of Docker's unit: `enabled`, `disabled`, …; empty: it has none.
    pub docker: String,
}

impl Look {
    /// Looks.
    pub async fn new(deployment: &Deployment, systemd: &Systemd) -> Result<Self> {
        let executable = executable().map_err(|error| unreadable(deployment, "ooy", &error))?;
        let wanted = units::units(deployment, &executable)?;
        let folder = systemd.folder();
        let left = of_deployment(deployment, &folder)
            .map_err(|error| unreadable(deployment, &folder.display().to_string(), &error))?
            .into_iter()
            .filter(|path| !wanted.iter().any(|unit| folder.join(&unit.name) == *path))
            .collect();
        let mut units = Vec::new();
        for unit in wanted {
            let path = folder.join(&unit.name);
            let file = file(deployment, &unit, &path)
                .map_err(|error| unreadable(deployment, &path.display().to_string(), &error))?;
            let (enabled, active) = match file {
                File::Missing => (String::new(), String::new()),
                _ => (
                    asked(deployment, systemd.is_enabled(&unit.name, ANSWER).await)?,
                    asked(deployment, systemd.is_active(&unit.name).await)?,
                ),
            };
            units.push(Seen {
                unit,
                path,
                file,
                enabled: enabled == "enabled",
                active,
            });
        }
        let docker = match deployment.only_calls || deployment.docker_host.is_some() {
            true => String::new(),
            false => asked(deployment, systemd.is_enabled(DOCKER_UNIT, ANSWER).await)?,
        };
        Ok(Self {
            units,
            left,
            docker,
        })
    }
}

/// This executable. One that was replaced while it ran is in the same place.
fn executable() -> io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    Ok(
        match path.to_str().and_then(|p| p.strip_suffix(" (deleted)")) {
            Some(place) => PathBuf::from(place),
            None => path,
        },
    )
}

fn file(deployment: &Deployment, unit: &Unit, path: &Path) -> io::Result<File> {
    let text = match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(File::Missing),
        other => String::from_utf8_lossy(&other?).into_owned(),
    };
    if text == unit.text {
        return Ok(File::Same);
    }
    let first = text.lines().next().unwrap_or_default();
    Ok(match first.strip_prefix(MARK) {
        _ if first == units::mark(deployment) => File::Older,
        Some(rest) => File::OtherDeployment(
            rest.split_once(';')
                .map_or(rest, |(folder, _)| folder)
                .to_owned(),
        ),
        None => File::ByHand,
    })
}

/// The units that were written for this deployment, whatever they are called: its name may have
/// changed since.
pub fn of_deployment(deployment: &Deployment, folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mark = units::mark(deployment);
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let is_unit = path
            .extension()
            .is_some_and(|extension| extension == "service" || extension == "timer");
        if is_unit
            && std::fs::read_to_string(&path)
                .is_ok_and(|text| text.lines().next() == Some(mark.as_str()))
        {
            found.push(path);
        }
    }
    // A timer before what it would start.
    found.sort_by_key(|path| {
        (
            path.extension().is_none_or(|it| it != "timer"),
            path.clone(),
        )
    });
    Ok(found)
}

fn unreadable(deployment: &Deployment, what: &str, error: &io::Error) -> Box<Fault> {
    Box::new(
        Fault::problem(
            format!("{what}: cannot be read"),
            "how the units of systemd are could not be seen",
        )
        .evidence(error.to_string())
        .why("nothing was done")
        .next(format!("sudo {}", deployment.command("boot status"))),
    )
}

/// What systemctl answered; or that it cannot be asked.
pub fn asked<T>(deployment: &Deployment, answer: Result<T, String>) -> Result<T> {
    answer.map_err(|why| {
        Box::new(
            Fault::problem(
                "systemd: cannot be asked",
                "systemctl gave no answer, and it alone knows which units there are",
            )
            .evidence(why)
            .why("without it nothing can be started at boot")
            .next("sudo apt-get install systemd")
            .next(deployment.command("boot status")),
        )
    })
}

/// `ooy boot status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Version of this form.
    pub schema: u32,
    /// All is as `ooy boot enable` leaves it.
    pub ok: bool,
    /// The units that the deployment should have.
    pub units: Vec<UnitStatus>,
    /// Units of it that are not wanted any more.
    pub left: Vec<PathBuf>,
    /// What systemd says of Docker's unit; empty: it has none.
    pub docker: String,
}

/// One unit of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnitStatus {
    /// Its name.
    pub unit: String,
    /// What it does.
    pub does: &'static str,
    /// Where it is or would be.
    pub path: PathBuf,
    /// It is there.
    pub installed: bool,
    /// It is what this version of `ooy` writes.
    pub current: bool,
    /// It is there, and somebody else made it.
    pub by_hand: bool,
    /// It is started at boot.
    pub enabled: bool,
    /// `active`, `inactive`, `failed`, …; none where systemd does not run.
    pub active: Option<String>,
    /// When a timer starts something next, in systemd's words for it.
    pub next: Option<String>,
}

/// How the units are.
pub async fn status(deployment: &Deployment, systemd: &Systemd) -> Result<Status> {
    let look = Look::new(deployment, systemd).await?;
    let mut units = Vec::new();
    for seen in &look.units {
        let next = match seen.unit.role == Role::Timer && seen.file != File::Missing {
            true => systemd.next_run(&seen.unit.name, ANSWER).await,
            false => None,
        };
        units.push(UnitStatus {
            unit: seen.unit.name.clone(),
            does: seen.unit.role.does(),
            path: seen.path.clone(),
            installed: seen.file != File::Missing,
            current: seen.file == File::Same,
            by_hand: seen.file == File::ByHand,
            enabled: seen.enabled,
            active: Some(seen.active.clone()).filter(|word| !word.is_empty()),
            next,
        });
    }
    let ok = look.left.is_empty() && look.units.iter().all(|seen| settled(seen, systemd));
    Ok(Status {
        schema: 1,
        ok,
        units,
        left: look.left,
        docker: look.docker,
    })
}

/// Whether nothing has to be done to a unit.
pub fn settled(seen: &Seen, systemd: &Systemd) -> bool {
    let kept = seen.file == File::ByHand && seen.unit.role == Role::Calls;
    let enabled = seen.enabled || !seen.unit.role.is_enabled();
    kept || (seen.file == File::Same && enabled && !to_start(seen, systemd))
}

/// Whether a unit should run and does not.
pub fn to_start(seen: &Seen, systemd: &Systemd) -> bool {
    systemd.is_live()
        && seen.unit.role.runs()
        && !matches!(seen.active.as_str(), "active" | "activating" | "reloading")
}
