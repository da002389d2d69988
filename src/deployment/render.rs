//! The files that containers see, made from the embedded ones and the settings.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::embedded;
use super::of_versions;
use super::settings::Settings;
use crate::fault::{Fault, Result};
use crate::host::{files, text};

/// What nginx's placeholders may name. No secret is among them.
const NAMES: &[&str] = &[
    "RAPIDPRO_DOMAIN",
    "CASEPRO_DOMAIN",
    "CONTENTREPO_DOMAIN",
    "HTTP_PORT",
    "HTTPS_PORT",
    "REQUEST_TIMEOUT",
    "UPLOAD_MAX_SIZE",
];

/// How the files in nginx's folder begin whose presence closes an application's pages. They come and
/// go while nginx runs, and belong to whoever upgrades.
pub const CLOSED: &str = "closed-";

/// The port of nginx, in the deployment's network only, on which nothing is closed.
pub const TRIAL_PORT: u16 = 8082;

/// The file that compose is given as its .env file, beside compose.yaml: a real one of the
/// working directory must not be read, and version 1.29 takes regular files only.
pub const NO_ENV: &str = "empty.env";

/// How a file is not as it would be written now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// It is not there.
    Missing,
    /// Its content is another.
    Changed,
    /// Nothing writes a file of that name.
    Foreign,
}

/// The rendered files of one deployment.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// Path below the folder, and content.
    pub files: Vec<(String, String)>,
    /// Changes whenever nginx has to read something anew: its files or a certificate.
    pub nginx_digest: String,
}

/// The embedded compose file, as it is written for the versions that the settings name. It holds
/// names of settings, not their values.
pub fn compose(settings: &Settings) -> String {
    let text = embedded::text("compose.yaml").unwrap_or_default();
    of_versions::text(&text, |setting| settings.get(setting))
}

/// nginx's files: path below `nginx/` and content.
pub fn nginx(settings: &Settings) -> Vec<(String, String)> {
    embedded::list("nginx/")
        .into_iter()
        .filter_map(|path| {
            let text = embedded::text(&path)?;
            Some((
                path.trim_start_matches("nginx/").to_owned(),
                fill(&text, settings),
            ))
        })
        .collect()
}

fn fill(text: &str, settings: &Settings) -> String {
    let text = text.replace("{{TRIAL_PORT}}", &TRIAL_PORT.to_string());
    NAMES.iter().fold(text, |text, name| {
        text.replace(&format!("{{{{{name}}}}}"), settings.get(name))
    })
}

fn is_door(path: &str) -> bool {
    path.strip_prefix("nginx/")
        .is_some_and(|name| name.starts_with(CLOSED))
}

impl Rendered {
    /// Renders everything in memory.
    pub fn new(settings: &Settings) -> Self {
        let mut hasher = Sha256::new();
        let mut files = vec![
            ("compose.yaml".to_owned(), compose(settings)),
            (
                NO_ENV.to_owned(),
                "# Empty: compose gets its values from ooy.\n".to_owned(),
            ),
        ];
        for (path, text) in nginx(settings) {
            hasher.update(path.as_bytes());
            hasher.update(text.as_bytes());
            files.push((format!("nginx/{path}"), text));
        }
        for host in ["rapidpro", "casepro", "contentrepo"] {
            // The certificate, not the key: they change together, and nothing of a key is
            // written anywhere, not even a digest.
            hasher.update(
                std::fs::read(settings.places.ssl.join(format!("{host}.crt"))).unwrap_or_default(),
            );
        }
        let nginx_digest = text::hex(&hasher.finalize()[..8]);
        Self {
            files,
            nginx_digest,
        }
    }

    /// Those of nginx's files below this folder that are not as they would be written now: path below
    /// the folder, and whether the file is missing, differs, or is none of ours.
    pub fn differing(&self, folder: &Path) -> std::io::Result<Vec<(String, Difference)>> {
        let mut found = Vec::new();
        let ours = self
            .files
            .iter()
            .filter(|(path, _)| path.starts_with("nginx/"));
        for (path, text) in ours.clone() {
            match std::fs::read(folder.join(path)) {
                Ok(content) if content == text.as_bytes() => {}
                Ok(_) => found.push((path.clone(), Difference::Changed)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    found.push((path.clone(), Difference::Missing));
                }
                Err(error) => return Err(error),
            }
        }
        for entry in std::fs::read_dir(folder.join("nginx"))? {
            let path = format!("nginx/{}", entry?.file_name().to_string_lossy());
            if !is_door(&path) && !ours.clone().any(|(known, _)| *known == path) {
                found.push((path, Difference::Foreign));
            }
        }
        Ok(found)
    }

    /// Writes the files into a folder: the deployment's own, or a temporary one for a check.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let write = || {
            std::fs::create_dir_all(folder.join("nginx"))?;
            // nginx's workers, which are not root, read the pages in it while they run; the umask
            // of whoever runs this must not keep them out.
            for folder in [folder.to_owned(), folder.join("nginx")] {
                std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?;
            }
            for (path, text) in &self.files {
                files::write_if_changed(&folder.join(path), text.as_bytes(), 0o644)?;
            }
            // A file that an older ooy has left would still be included by nginx.
            for entry in std::fs::read_dir(folder.join("nginx"))? {
                let entry = entry?;
                let path = format!("nginx/{}", entry.file_name().to_string_lossy());
                if entry.file_type()?.is_file()
                    && !is_door(&path)
                    && !self.files.iter().any(|(known, _)| *known == path)
                {
                    std::fs::remove_file(entry.path())?;
                }
            }
            std::io::Result::Ok(())
        };
        write().map_err(|error| {
            Box::new(
                Fault::problem(
                    format!("{}: cannot be written", folder.display()),
                    "the rendered compose and nginx files could not be written",
                )
                .evidence(error.to_string())
                .why("containers are made from these files")
                .next(format!("df -h {}", folder.display()))
                .next(format!("ls -ld {}", folder.display())),
            )
        })
    }
}
