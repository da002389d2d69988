//! What systemd does for a deployment: after a boot of the host what ran comes up in its order, and
//! `ooy watch` looks after it; each night a backup is made. Installs, removes and shows the units.
//! Prints nothing: it tells a reporter.

mod change;
pub mod daemons;
mod seen;
mod units;

use std::path::PathBuf;

use crate::agi::settings::CallSettings;
use crate::deployment::places::Places;
use crate::deployment::settings::Settings;
use crate::fault::{Fault, Result};
use crate::host::process;
use crate::host::systemd::Systemd;

pub use change::{disable, enable, masked};
pub use seen::{Status, status};

/// Whose calls are handed over, where nothing else says so.
const CALLS_USER: &str = "asterisk";

/// What the units of a deployment depend on.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// Where it lies.
    pub places: Places,
    /// Its name.
    pub project: String,
    /// This host hands finished calls over to RapidPro.
    pub hands_calls_over: bool,
    /// This host does nothing else: it is a telephone exchange.
    pub only_calls: bool,
    /// Whose the spool of calls is.
    pub calls_user: String,
    /// At which time of day a backup is made (`02:30`); none: by nobody.
    pub backup_at: Option<String>,
    /// Docker's socket, where it is not the usual one.
    pub docker_host: Option<String>,
}

impl Deployment {
    /// From its settings. Wrong settings are a fault only where units are to be installed (`strict`):
    /// they can be removed, and looked at, whatever is wrong.
    pub fn load(places: &Places, strict: bool) -> Result<Self> {
        let (settings, wrong) = Settings::load_with_faults(places)?;
        let only_calls = Settings::only_calls(&wrong);
        if strict
            && !only_calls
            && let Some(fault) = Settings::fault(places, wrong)
        {
            return Err(Box::new(fault));
        }
        Ok(Self {
            project: settings.project().to_owned(),
            hands_calls_over: only_calls || CallSettings::load(places).rapidpro().is_ok(),
            only_calls,
            calls_user: calls_user(places),
            backup_at: Some(settings.get("BACKUP_AT").to_owned())
                .filter(|time| !time.is_empty() && !only_calls),
            docker_host: std::env::var("DOCKER_HOST")
                .ok()
                .filter(|host| host.starts_with("unix://") && !host.contains('$')),
            places: places.clone(),
        })
    }

    /// A command line for this deployment, as the operator has to type it.
    fn command(&self, rest: &str) -> String {
        self.places.command(rest)
    }
}

/// A command line as the operator has to type it, for the same machine.
pub fn command(deployment: &Deployment, systemd: &Systemd, rest: &str) -> String {
    let command = deployment.command(rest);
    match systemd.root() {
        Some(root) => format!("{command} --root {}", root.display()),
        None => command,
    }
}

/// Whose the spool is; before there is one, who will hand calls in.
fn calls_user(places: &Places) -> String {
    use std::os::unix::fs::MetadataExt as _;
    let owner = std::fs::metadata(&places.spool)
        .ok()
        .map(|folder| folder.uid());
    match (owner, process::user_ids(CALLS_USER)) {
        (None, Some(_)) => CALLS_USER.to_owned(),
        (None, None) => "root".to_owned(),
        (Some(uid), Some((asterisk, _))) if uid == asterisk => CALLS_USER.to_owned(),
        // systemd takes numbers as well.
        (Some(uid), _) => uid.to_string(),
    }
}

/// The systemd that is meant: this machine's, or that of an image below `root`. The fault says that
/// there is none.
pub fn systemd(deployment: &Deployment, root: Option<PathBuf>, asked: &str) -> Result<Systemd> {
    if let Some(root) = root {
        return Ok(Systemd::below(std::path::absolute(&root).unwrap_or(root)));
    }
    if crate::host::systemd::runs() {
        return Ok(Systemd::of_this_host());
    }
    Err(Box::new(
        Fault::problem(
            "boot: no systemd on this machine",
            "systemd is what would bring the deployment up at boot, and it does not run here",
        )
        .evidence("/run/systemd/system does not exist")
        .why("nothing was done; after the next boot it is up to another init system to run ooy")
        .next(deployment.command("start --at-boot"))
        .next(deployment.command(&format!("boot {asked} --root /path/to/an/image"))),
    ))
}
