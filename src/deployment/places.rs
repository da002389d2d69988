//! Where everything lies: the system layout, or everything below one folder (`--home`).

use std::path::{Path, PathBuf};

/// The folders and files of one deployment (design.md section 2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Set when everything lies below one folder.
    pub home: Option<PathBuf>,
    /// Settings and secrets, mode 0600.
    pub env_file: PathBuf,
    /// Certificates and keys.
    pub ssl: PathBuf,
    /// The operator's own additions to the compose file; may be missing.
    pub compose_override: PathBuf,
    /// compose.yaml and nginx/, written by `ooy` only.
    pub rendered: PathBuf,
    /// Journal, lock and outputs of release tasks.
    pub state: PathBuf,
    /// Finished calls, waiting for RapidPro.
    pub spool: PathBuf,
    /// Backups, unless BACKUP_DIR names another folder.
    pub backups: PathBuf,
}

impl Places {
    /// `--home DIR` or `OOY_HOME` decide; without them the system layout.
    pub fn new(home: Option<&Path>) -> Self {
        match home {
            Some(home) => {
                // Compose and bind mounts need absolute paths.
                let home = std::path::absolute(home).unwrap_or_else(|_| home.to_owned());
                Self {
                    env_file: home.join("ooy.env"),
                    ssl: home.join("ssl"),
                    compose_override: home.join("compose.override.yaml"),
                    rendered: home.join("rendered"),
                    state: home.join("state"),
                    spool: home.join("spool"),
                    backups: home.join("backups"),
                    home: Some(home),
                }
            }
            None => Self {
                home: None,
                env_file: "/etc/ooy/ooy.env".into(),
                ssl: "/etc/ooy/ssl".into(),
                compose_override: "/etc/ooy/compose.override.yaml".into(),
                rendered: "/var/lib/ooy/rendered".into(),
                state: "/var/lib/ooy/state".into(),
                spool: "/var/spool/ooy".into(),
                backups: "/var/lib/ooy/backups".into(),
            },
        }
    }

    /// A command as the operator has to type it for this deployment: `ooy start`, or
    /// `ooy --home demo start`.
    pub fn command(&self, rest: &str) -> String {
        match &self.home {
            Some(home) => format!("ooy --home {} {rest}", home.display()),
            None => format!("ooy {rest}"),
        }
    }

    /// The folder of the operator's own files: relative paths in his additions start there.
    pub fn own_folder(&self) -> PathBuf {
        self.env_file.parent().unwrap_or(Path::new("/")).to_owned()
    }
}
