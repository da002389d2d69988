//! What an executable says of itself (`ooy self-check`): asked of a new one before it takes the place
//! of the present one.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::keys::TARGET;
use crate::deployment::places::Places;
use crate::deployment::services::Stack;
use crate::deployment::settings::Settings;
use crate::deployment::version::Version;
use crate::deployment::{embedded, env_file};
use crate::host::cmd;
use crate::host::text::shorten;
use crate::upgrade::catalogue::Catalogue;

/// How long it may take: it reads some files.
const LIMIT: Duration = Duration::from_secs(30);

/// What it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Version of this form.
    pub schema: u32,
    /// Its version.
    pub version: Version,
    /// The commit it was built from.
    pub commit: String,
    /// For which machines it was built.
    pub target: String,
    /// What it carries and cannot be used, one line each.
    pub damaged: Vec<String>,
    /// What it finds wrong with the settings of this host, one line each, without values.
    pub settings: Vec<String>,
}

impl Report {
    /// Of this executable itself.
    pub fn own(places: &Places) -> Self {
        Self {
            schema: 1,
            version: own_version(),
            commit: env!("OOY_COMMIT").to_owned(),
            target: TARGET.to_owned(),
            damaged: damaged(),
            settings: settings(places),
        }
    }

    /// `0.2.0 (0123456789ab)`
    pub fn name(&self) -> String {
        format!("{} ({})", self.version, shorten(&self.commit, 40))
    }
}

/// The version of this executable.
pub fn own_version() -> Version {
    // Cargo takes no other than three numbers; a suffix is none of a release.
    let version = env!("CARGO_PKG_VERSION").split(['-', '+']).next();
    version
        .and_then(Version::parse)
        .unwrap_or(Version::new(0, 0, 0))
}

/// What should be in every build, and is not, or cannot be read.
fn damaged() -> Vec<String> {
    let mut damaged = Vec::new();
    for folder in ["nginx/", "dialplan/", "systemd/"] {
        if embedded::list(folder).is_empty() {
            damaged.push(format!("{folder} is missing"));
        }
    }
    if embedded::text("compose.yaml").is_none() {
        damaged.push("compose.yaml is missing".to_owned());
    }
    match embedded::text("ooy.env") {
        None => damaged.push("ooy.env is missing".to_owned()),
        Some(template) if env_file::parse(&template).is_err() => {
            damaged.push("ooy.env cannot be read".to_owned());
        }
        Some(_) => {}
    }
    if let Err(fault) = Catalogue::embedded() {
        damaged.push(fault.to_string());
    }
    damaged
}

/// What is wrong with the settings of this host, if it has any that may be read.
fn settings(places: &Places) -> Vec<String> {
    if !places.env_file.exists() {
        return Vec::new();
    }
    let (settings, wrong) = match Settings::load_with_faults(places) {
        Ok(read) => read,
        Err(fault) => return vec![fault.to_string()],
    };
    if !wrong.is_empty() {
        return wrong;
    }
    let stack = Stack::load(&settings).err();
    stack.map(|fault| fault.to_string()).into_iter().collect()
}

/// What another executable says of itself; or why it says nothing.
pub async fn of(executable: &Path, places: &Places) -> Result<Report, String> {
    let program = executable.to_str().ok_or("its path is no text")?;
    let mut arguments = vec!["--json"];
    let home = places.home.as_ref().map(|home| home.to_string_lossy());
    if let Some(home) = &home {
        arguments.extend(["--home", home]);
    }
    arguments.push("self-check");
    let said = cmd::run(program, &arguments, &[], LIMIT)
        .await
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::TimedOut => format!("it did not end within {} s", LIMIT.as_secs()),
            _ => format!("it cannot be run: {error}"),
        })?;
    serde_json::from_str::<Report>(&said.stdout)
        .ok()
        .filter(|report| report.schema == 1)
        .ok_or_else(|| match said.success {
            true => "what it says of itself is not understood".to_owned(),
            false => shorten(&said.last_error_line(), 200),
        })
}
