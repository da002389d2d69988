//! Who may read what only the administrator should, and whether nginx can read what it has to.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::deployment::places::Places;
use crate::diagnosis::check::{Checked, Halt, Report, blocking};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Evidence, Finding};
use crate::lifecycle::preflight::pair;

/// Of a folder with thousands of finished calls so many are looked at: they are all made alike.
const MOST: usize = 200;

/// What the evidence of a file is called that nginx cannot read.
const UNREACHABLE: &str = "cannot be read inside the container";

/// Whether the finding is about a file that nginx cannot read.
pub fn keeps_nginx_away(finding: &Finding) -> bool {
    finding
        .evidence
        .iter()
        .any(|fact| fact.value.contains(UNREACHABLE))
}

/// One file whose permissions are not as they should be.
#[derive(Debug, PartialEq, Eq)]
enum Trouble {
    /// Others can read it: its path and mode, and the mode it should have.
    Open(PathBuf, u32, u32),
    /// nginx cannot read it, and why.
    Closed(PathBuf, String),
}

/// What was seen.
#[derive(Debug, Default)]
struct Seen {
    troubles: Vec<Trouble>,
    /// Places that this user may not look into.
    hidden: Vec<String>,
}

pub async fn check(scene: Rc<Scene>) -> Checked {
    let places = scene.context.settings.places.clone();
    let bigquery = scene.context.settings.get("BIGQUERY_KEY_FILE").to_owned();
    let seen = blocking(move || look(&places, Path::new(&bigquery))).await?;
    if seen.troubles.is_empty() {
        if seen.hidden.is_empty() {
            return Ok(Report::fine());
        }
        return Err(Halt::unknown(format!(
            "this user may not look: {}",
            seen.hidden.join("; ")
        )));
    }
    let mut report = Report::fine();
    let (open, closed): (Vec<&Trouble>, Vec<&Trouble>) = seen
        .troubles
        .iter()
        .partition(|trouble| matches!(trouble, Trouble::Open(..)));
    if !open.is_empty() {
        report.found(readable(&open));
    }
    if !closed.is_empty() {
        report.found(unreadable(&scene, &closed));
    }
    Ok(report)
}

fn look(places: &Places, bigquery: &Path) -> Seen {
    let mut seen = Seen::default();
    // Of the group too: the group of this file has no meaning to ooy.
    seen.file(&places.env_file, 0o077, 0o600);
    for name in ["rapidpro", "casepro", "contentrepo"] {
        let (cert, key) = pair(&places.ssl, name);
        // A group (ssl-cert) may be meant to read it.
        seen.file(&key, 0o007, 0o600);
        seen.reachable(&places.ssl, &cert);
        seen.reachable(&places.ssl, &key);
    }
    if !bigquery.as_os_str().is_empty() {
        seen.file(bigquery, 0o007, 0o600);
    }
    seen.folder(&places.state, 0);
    seen.folder(&places.spool, 0);
    seen
}

impl Seen {
    fn file(&mut self, path: &Path, forbidden: u32, wanted: u32) {
        match fs::metadata(path) {
            Ok(metadata) => {
                let mode = metadata.permissions().mode() & 0o7777;
                if mode & forbidden != 0 {
                    let trouble = Trouble::Open(path.to_owned(), mode, wanted);
                    self.troubles.push(trouble);
                }
            }
            Err(error) => self.unseen(path, &error),
        }
    }

    /// Files in a folder and those below it, unless others cannot get into it at all.
    fn folder(&mut self, path: &Path, depth: usize) {
        let entries = match fs::metadata(path) {
            Ok(metadata) if metadata.permissions().mode() & 0o005 == 0 => return,
            Ok(_) => fs::read_dir(path),
            Err(error) => Err(error),
        };
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => return self.unseen(path, &error),
        };
        for entry in entries.flatten().take(MOST) {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && depth < 2 => self.folder(&entry.path(), depth + 1),
                Ok(kind) if kind.is_file() => self.file(&entry.path(), 0o007, 0o600),
                _ => {}
            }
        }
    }

    /// Only the folder itself is mounted into nginx's container: a link that leads out of it (to
    /// /etc/letsencrypt) leads nowhere there.
    fn reachable(&mut self, folder: &Path, path: &Path) {
        let (Ok(folder), Ok(target)) = (fs::canonicalize(folder), fs::canonicalize(path)) else {
            // That it is missing is found with the certificates.
            return;
        };
        if !target.starts_with(&folder) {
            let why = format!("a link to {}, which {UNREACHABLE}", target.display());
            self.troubles.push(Trouble::Closed(path.to_owned(), why));
        } else if fs::read_link(path).is_ok_and(|link| link.is_absolute()) {
            let why = format!("a link with an absolute path, which {UNREACHABLE}");
            self.troubles.push(Trouble::Closed(path.to_owned(), why));
        }
    }

    fn unseen(&mut self, path: &Path, error: &io::Error) {
        if error.kind() == io::ErrorKind::PermissionDenied {
            self.hidden.push(path.display().to_string());
        }
    }
}

fn readable(open: &[&Trouble]) -> Finding {
    let paths: Vec<&PathBuf> = open
        .iter()
        .map(|trouble| match trouble {
            Trouble::Open(path, ..) | Trouble::Closed(path, _) => path,
        })
        .collect();
    let summary = match paths.as_slice() {
        [one] => format!("{} can be read by others", one.display()),
        all => format!(
            "{} files with secrets or numbers can be read by others",
            all.len()
        ),
    };
    let mut finding = Finding::warning(Code::FilePermissions, summary).impact(
        "every user and every program of this host can read passwords, keys or callers' numbers",
    );
    // A few tell it; the commands are for all.
    for trouble in open.iter().take(5) {
        if let Trouble::Open(path, mode, wanted) = trouble {
            finding = finding.evidence(
                Evidence::new(
                    path.display().to_string(),
                    format!("mode {mode:04o}"),
                    "the file",
                )
                .threshold(format!("{wanted:04o}"))
                .command(format!("ls -l {}", path.display())),
            );
        }
    }
    for trouble in open.iter().take(20) {
        if let Trouble::Open(path, _, wanted) = trouble {
            finding = finding.manual(format!("sudo chmod {wanted:o} {}", path.display()));
        }
    }
    finding.interrupts("nothing")
}

fn unreadable(scene: &Scene, closed: &[&Trouble]) -> Finding {
    let mut finding = Finding::error(Code::FilePermissions, "")
        .service("nginx")
        .impact(
            "nginx does not start with it, and no page opens; one that runs goes on until then",
        );
    let mut names = Vec::new();
    for trouble in closed {
        if let Trouble::Closed(path, why) = trouble {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            names.push(name.into_owned());
            let shown = path.display();
            finding = finding
                .evidence(
                    Evidence::new(shown.to_string(), why.clone(), "the file")
                        .command(format!("ls -l {shown}")),
                )
                .manual(format!(
                    "sudo cp --remove-destination \"$(readlink -f {shown})\" {shown}"
                ));
        }
    }
    finding.summary = format!("nginx cannot read {}", names.join(", "));
    finding
        .manual(scene.command("restart nginx"))
        .interrupts("every page, a few seconds")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn home() -> (tempfile::TempDir, Places) {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::new(Some(folder.path()));
        for name in [&places.ssl, &places.state, &places.spool] {
            fs::create_dir(name).unwrap();
        }
        put(&places.env_file, 0o600);
        for name in ["rapidpro", "casepro", "contentrepo"] {
            let (cert, key) = pair(&places.ssl, name);
            put(&cert, 0o644);
            put(&key, 0o640);
        }
        put(&places.state.join("journal.jsonl"), 0o600);
        (folder, places)
    }

    fn put(path: &Path, mode: u32) {
        fs::write(path, "x").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn troubles(places: &Places) -> Vec<Trouble> {
        look(places, Path::new("")).troubles
    }

    #[test]
    fn files_as_ooy_makes_them_are_right() {
        let (_folder, places) = home();
        assert_eq!(troubles(&places), []);
    }

    #[test]
    fn what_others_can_read_is_found() {
        let (_folder, places) = home();
        put(&places.env_file, 0o640);
        put(&places.state.join("journal.jsonl"), 0o644);
        fs::create_dir(places.spool.join("new")).unwrap();
        put(&places.spool.join("new/call"), 0o644);
        assert_eq!(
            troubles(&places),
            [
                Trouble::Open(places.env_file.clone(), 0o640, 0o600),
                Trouble::Open(places.state.join("journal.jsonl"), 0o644, 0o600),
                Trouble::Open(places.spool.join("new/call"), 0o644, 0o600),
            ]
        );
        // Into a folder that is closed to others nobody looks.
        fs::set_permissions(&places.spool, fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(troubles(&places).len(), 2);
    }

    #[test]
    fn links_out_of_the_mounted_folder_are_found() {
        let (folder, places) = home();
        let (_, key) = pair(&places.ssl, "casepro");
        let outside = folder.path().join("privkey.pem");
        fs::rename(&key, &outside).unwrap();
        symlink(&outside, &key).unwrap();
        let found = troubles(&places);
        assert!(
            matches!(found.as_slice(), [Trouble::Closed(path, _)] if *path == key),
            "{found:?}"
        );
        // A relative one that stays inside is followed there too.
        fs::remove_file(&key).unwrap();
        fs::rename(&outside, places.ssl.join("casepro-2026.key")).unwrap();
        symlink("casepro-2026.key", &key).unwrap();
        assert_eq!(troubles(&places), []);
    }
}
