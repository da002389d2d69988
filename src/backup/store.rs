//! Where backups lie, and which there are.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::manifest::{Broken, Manifest};
use crate::deployment::settings::Settings;
use crate::deployment::similar::nearest;
use crate::fault::{Fault, Result};
use crate::host::files;

/// What is known of a backup since it was made.
const STATUS: &str = "status.json";
/// Folders beside the usual one in which backups were made (`--to`).
const PLACES: &str = "backup-places.json";
/// Ends of the names of folders that are no backup yet, and none any more.
const PARTIAL: &str = ".partial";
const DELETED: &str = ".deleted";

/// The backups of one deployment.
#[derive(Debug, Clone)]
pub struct Store {
    /// The usual folder.
    pub folder: PathBuf,
    /// Of which deployment: others may keep theirs in the same folder.
    project: String,
    places: PathBuf,
    others: BTreeSet<PathBuf>,
}

/// A backup.
#[derive(Debug, Clone)]
pub struct Backup {
    /// Its name.
    pub id: String,
    /// Its folder.
    pub path: PathBuf,
    /// What is in it, or why that cannot be told.
    pub manifest: Result<Manifest, Broken>,
    /// What is known of it since.
    pub status: Status,
}

/// What is known of a backup since it was made.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// When it was last restored into a scratch database, and all was there.
    pub proved_at: Option<Timestamp>,
    /// When that last failed, since it was last proved.
    pub failed_at: Option<Timestamp>,
    /// And why.
    pub failure: Option<String>,
}

impl Backup {
    fn read(path: PathBuf) -> Self {
        let status = fs::read(path.join(STATUS)).unwrap_or_default();
        let name = path.file_name().unwrap_or_default();
        Self {
            id: name.to_string_lossy().into_owned(),
            manifest: Manifest::read(&path),
            status: serde_json::from_slice(&status).unwrap_or_default(),
            path,
        }
    }

    /// Whether it is whole, as far as is known, and was restored once.
    pub fn is_proved(&self) -> bool {
        self.manifest.is_ok() && self.status.proved_at.is_some() && self.status.failed_at.is_none()
    }

    /// When it was complete.
    pub fn made_at(&self) -> Option<Timestamp> {
        Some(self.manifest.as_ref().ok()?.made_at)
    }

    /// Why it may not be removed because of its age or number.
    pub fn keep(&self) -> Option<&str> {
        self.manifest.as_ref().ok()?.keep.as_deref()
    }

    /// Bytes of all that lies in it.
    pub fn bytes(&self) -> u64 {
        self.manifest.as_ref().map_or(0, Manifest::bytes)
    }

    /// Notes how a proof has ended.
    pub fn note(&self, failure: Option<String>) -> io::Result<()> {
        let now = Timestamp::now();
        let status = match failure {
            None => Status {
                proved_at: Some(now),
                ..Status::default()
            },
            Some(failure) => Status {
                failed_at: Some(now),
                failure: Some(failure),
                ..self.status.clone()
            },
        };
        files::write_atomic(
            &self.path.join(STATUS),
            &serde_json::to_vec(&status)?,
            0o600,
        )
    }
}

impl Store {
    /// Of this deployment.
    pub fn of(settings: &Settings) -> Self {
        let folder = match settings.get("BACKUP_DIR") {
            "" => settings.places.backups.clone(),
            folder => folder.into(),
        };
        let places = settings.places.state.join(PLACES);
        let others: BTreeSet<PathBuf> = fs::read(&places)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default();
        Self {
            others: others
                .into_iter()
                .filter(|other| *other != folder)
                .collect(),
            folder,
            places,
            project: settings.project().to_owned(),
        }
    }

    /// All folders, the usual one first.
    pub fn folders(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(self.folder.as_path()).chain(self.others.iter().map(PathBuf::as_path))
    }

    /// Folders that cannot be looked into now: a disk that is not plugged in, or broken.
    pub fn absent(&self) -> Vec<&Path> {
        self.others
            .iter()
            .map(PathBuf::as_path)
            .filter(|folder| fs::read_dir(folder).is_err())
            .collect()
    }

    /// Backups will be looked for in this folder too.
    pub fn remember(&mut self, folder: &Path) -> io::Result<()> {
        if folder == self.folder || !self.others.insert(folder.to_owned()) {
            return Ok(());
        }
        let text = serde_json::to_vec(&self.others)?;
        files::write_atomic(&self.places, &text, 0o600)
    }

    /// All that are complete, the newest first. One without a manifest is among them, since it was
    /// complete once. Those of an [absent](Self::absent) folder are not; only the usual one has to
    /// be readable.
    pub fn list(&self) -> io::Result<Vec<Backup>> {
        let mut found = match in_folder(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            usual => usual?,
        };
        let others = self.others.iter().filter_map(|other| in_folder(other).ok());
        found.extend(others.flatten());
        found.sort_by(|a, b| b.id.cmp(&a.id));
        Ok(found)
    }

    /// Those of this deployment: two may keep theirs in one folder, on a shared disk. One that cannot
    /// be read may be its own.
    pub fn own(&self) -> io::Result<Vec<Backup>> {
        let mut all = self.list()?;
        all.retain(|backup| {
            let manifest = backup.manifest.as_ref();
            manifest.map_or(true, |manifest| manifest.project == self.project)
        });
        Ok(all)
    }

    /// The backup of that name, or in that folder.
    pub fn find(&self, wanted: &str, again: &str) -> Result<Backup> {
        if wanted.contains('/') {
            let path = std::path::absolute(wanted).unwrap_or_else(|_| wanted.into());
            if path.is_dir() {
                return Ok(Backup::read(path));
            }
        }
        let all = self.list().map_err(|error| self.unreadable(&error))?;
        if let Some(found) = all.iter().find(|backup| backup.id == wanted) {
            return Ok(found.clone());
        }
        let ids = all.iter().map(|backup| backup.id.as_str());
        let mut fault = Fault::usage(
            format!("{wanted}: no such backup"),
            "no backup of this deployment has that name, and no folder is one",
        );
        for folder in self.folders() {
            fault = fault.evidence(format!("looked in {}", folder.display()));
        }
        fault = fault.why("nothing was done");
        if let Some(similar) = nearest(wanted, ids.clone()).or_else(|| ids.clone().next()) {
            fault = fault.next(again.replace(wanted, similar));
        }
        Err(Box::new(fault))
    }

    /// What a person is told when the folder cannot be read.
    pub fn unreadable(&self, error: &io::Error) -> Box<Fault> {
        let folder = self.folder.display();
        Box::new(
            Fault::problem(
                format!("{folder}: cannot be read"),
                "which backups there are cannot be told",
            )
            .evidence(error.to_string())
            .why("without that none can be proved, restored or removed")
            .next(format!("ls -ld {folder}")),
        )
    }

    /// Removes what a killed `ooy` has left: backups that were never complete, and such as were to be
    /// removed. What cannot be removed (a disk that is read-only now) hinders nobody. To be called
    /// with the lock of backups.
    pub fn sweep(&self) {
        for folder in self.folders() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                let name = path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                let hidden = name.strip_prefix('.').unwrap_or_default();
                let whose = hidden
                    .strip_suffix(PARTIAL)
                    .or(hidden.strip_suffix(DELETED))
                    .and_then(|rest| rest.split_once('.'));
                if whose.is_some_and(|(id, of)| is_id(Path::new(id)) && of == self.project) {
                    let _ = fs::remove_dir_all(&path);
                }
            }
        }
    }

    /// A folder for a backup that begins now: it is no backup before [`Partial::complete`].
    pub fn begin(&self, folder: &Path) -> io::Result<Partial> {
        let private = |path: &Path| fs::DirBuilder::new().mode(0o700).create(path);
        if !folder.exists() {
            let parent = folder.parent().unwrap_or(Path::new("/"));
            fs::create_dir_all(parent)?;
            private(folder)?;
        }
        let now = Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string();
        // Two within a second: the second has a number.
        for number in 1..100 {
            let id = match number {
                1 => now.clone(),
                _ => format!("{now}-{number}"),
            };
            let path = folder.join(format!(".{id}.{}{PARTIAL}", self.project));
            if folder.join(&id).exists() {
                continue;
            }
            match private(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => {
                    return other.map(|()| Partial {
                        place: folder.join(&id),
                        id,
                        path,
                        complete: false,
                    });
                }
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Removes a backup: from the moment at which this begins it is none.
    pub fn remove(&self, backup: &Backup) -> io::Result<()> {
        let folder = backup.path.parent().unwrap_or(Path::new("/"));
        let going = folder.join(format!(".{}.{}{DELETED}", backup.id, self.project));
        fs::rename(&backup.path, &going)?;
        sync(folder)?;
        fs::remove_dir_all(&going)
    }
}

/// A backup in the making; dropped, nothing is left of it.
#[derive(Debug)]
pub struct Partial {
    /// The name that it will have.
    pub id: String,
    /// Where it is being made.
    pub path: PathBuf,
    place: PathBuf,
    complete: bool,
}

impl Partial {
    /// All of it is on disk: it gets its name.
    pub fn complete(mut self) -> io::Result<Backup> {
        for folder in folders_in(&self.path)? {
            sync(&folder)?;
        }
        fs::rename(&self.path, &self.place)?;
        self.complete = true;
        sync(self.place.parent().unwrap_or(Path::new("/")))?;
        Ok(Backup::read(self.place.clone()))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.complete {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn in_folder(folder: &Path) -> io::Result<Vec<Backup>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && is_id(&path) {
            found.push(Backup::read(path));
        }
    }
    Ok(found)
}

fn folders_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = vec![folder.to_owned()];
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(folders_in(&path)?);
        }
    }
    Ok(found)
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// `20261126-023000`, and `-2` behind it where two were made in a second.
fn is_id(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut parts = name.split('-');
    let digits = |part: Option<&str>, count: usize| {
        part.is_some_and(|part| part.len() == count && part.bytes().all(|b| b.is_ascii_digit()))
    };
    digits(parts.next(), 8)
        && digits(parts.next(), 6)
        && parts
            .next()
            .is_none_or(|number| number.parse::<u8>().is_ok())
        && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::super::manifest::tests::manifest;
    use super::*;

    fn store(folder: &Path) -> Store {
        Store {
            folder: folder.join("backups"),
            project: "ooy".to_owned(),
            places: folder.join(PLACES),
            others: BTreeSet::new(),
        }
    }

    fn made(store: &Store) -> Backup {
        let partial = store.begin(&store.folder).unwrap();
        manifest(&partial.id).write(&partial.path).unwrap();
        partial.complete().unwrap()
    }

    #[test]
    fn only_what_is_complete_is_a_backup() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let first = made(&store);
        let second = made(&store);
        assert_ne!(first.id, second.id);
        let partial = store.begin(&store.folder).unwrap();
        let ids = |store: &Store| -> Vec<String> {
            let all = store.list().unwrap().into_iter();
            all.map(|backup| backup.id).collect()
        };
        assert_eq!(ids(&store), [second.id.clone(), first.id.clone()]);
        // Killed in the middle: nothing is dropped.
        let left = partial.path.clone();
        std::mem::forget(partial);
        assert!(left.exists());
        store.sweep();
        assert!(!left.exists());
        store.remove(&first).unwrap();
        assert_eq!(ids(&store), [second.id]);
    }

    #[test]
    fn what_another_deployment_does_in_the_same_folder_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let mut other = store.clone();
        other.project = "other".to_owned();
        let theirs = other.begin(&store.folder).unwrap();
        store.sweep();
        assert!(theirs.path.exists());
        let mut of_other = manifest(&theirs.id);
        of_other.project = "other".to_owned();
        of_other.write(&theirs.path).unwrap();
        theirs.complete().unwrap();
        let ours = made(&store);
        assert_eq!(store.list().unwrap().len(), 2);
        let own: Vec<String> = store.own().unwrap().into_iter().map(|of| of.id).collect();
        assert_eq!(own, [ours.id]);
    }

    #[test]
    fn a_proof_is_remembered_until_one_fails() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let backup = made(&store);
        assert!(!backup.is_proved());
        backup.note(None).unwrap();
        let backup = store.find(&backup.id, "").unwrap();
        assert!(backup.is_proved());
        backup.note(Some("a.dump is missing".to_owned())).unwrap();
        assert!(!store.find(&backup.id, "").unwrap().is_proved());
    }

    #[test]
    fn a_folder_that_was_used_once_is_looked_in_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = store(folder.path());
        let other = folder.path().join("usb");
        store.remember(&other).unwrap();
        assert_eq!(store.absent(), [other.as_path()]);
        let partial = store.begin(&other).unwrap();
        manifest(&partial.id).write(&partial.path).unwrap();
        let made = partial.complete().unwrap();
        assert_eq!(store.list().unwrap()[0].path, made.path);
        assert_eq!(store.absent(), Vec::<&Path>::new());
        // Something else lies in its place now.
        let broken = folder.path().join("broken");
        fs::write(&broken, "").unwrap();
        store.remember(&broken).unwrap();
        assert_eq!(store.absent(), [broken.as_path()]);
        assert_eq!(store.list().unwrap().len(), 1);
        let fault = store.find("20200101-000000", "ooy restore 20200101-000000");
        assert_eq!(
            fault.unwrap_err().next,
            [format!("ooy restore {}", made.id)]
        );
    }
}
