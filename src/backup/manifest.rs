//! What is in a backup: written beside its parts, checked before anything is believed of them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::host::files;
use crate::host::postgres::admin::Form;
use crate::host::postgres::census::Census;
use crate::host::text::hex;

/// The form that this version writes, and the newest that it reads.
pub const FORMAT: u32 = 1;
/// Its file.
pub const FILE: &str = "manifest.json";
/// Digests of it and of all parts, as `sha256sum -c` reads them.
pub const SUMS: &str = "SHA256SUMS";

/// What is in a backup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this form.
    pub format: u32,
    /// Its name: when it was begun, in UTC.
    pub id: String,
    /// When it was complete.
    pub made_at: Timestamp,
    /// How long it took, milliseconds.
    pub took_ms: u64,
    /// The version of `ooy` that made it.
    pub ooy: String,
    /// The host on which.
    pub host: String,
    /// The deployment: its compose project.
    pub project: String,
    /// And RapidPro's domain.
    pub domain: String,
    /// Why it is kept, whatever its age.
    pub keep: Option<String>,
    /// The databases.
    pub databases: Vec<Dumped>,
    /// By service, what its container ran.
    pub images: BTreeMap<String, Image>,
    /// All files but this one and the digests.
    pub parts: Vec<Part>,
    /// What belongs to the deployment and is not in it, for people.
    pub not_in_it: Vec<String>,
}

/// A database in a backup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dumped {
    /// Whose: `rapidpro`.
    pub owner: String,
    /// Its name on the server.
    pub database: String,
    /// The role that owned it.
    pub role: String,
    /// The file of its dump.
    pub part: String,
    /// How it was made.
    pub form: Form,
    /// Bytes that it took on the server.
    pub bytes: u64,
    /// Bytes of the dump.
    pub dump_bytes: u64,
    /// The server's version, for people.
    pub server_version: String,
    /// `server_version_num`.
    pub server_version_number: u32,
    /// The version of `pg_dump`, in the same form.
    pub pg_dump_number: u32,
    /// What it held.
    pub census: Census,
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// As it was named, with its tag.
    pub image: String,
    /// Its id, if it had a container.
    pub id: Option<String>,
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Below the backup's folder.
    pub path: String,
    /// Bytes.
    pub bytes: u64,
    /// SHA-256 of its content, hexadecimal.
    pub sha256: String,
}

/// Why a folder is no backup that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// It has no manifest.
    NoManifest,
    /// A newer `ooy` made it.
    Newer(u32),
    /// Its manifest is not what was written.
    Changed,
    /// It cannot be read.
    Unreadable(String),
}

impl Broken {
    /// In words.
    pub fn words(&self) -> String {
        match self {
            Self::NoManifest => format!("{FILE} is missing"),
            Self::Newer(format) => format!(
                "it has form {format}, made by a newer ooy; this one reads up to form {FORMAT}"
            ),
            Self::Changed => format!("{FILE} is not what {SUMS} says it was"),
            Self::Unreadable(why) => why.clone(),
        }
    }
}

impl Manifest {
    /// Reads the manifest of a backup's folder; one that was changed is refused.
    pub fn read(folder: &Path) -> Result<Self, Broken> {
        let unreadable =
            |what: &str, why: &dyn std::fmt::Display| Broken::Unreadable(format!("{what}: {why}"));
        let text = match std::fs::read(folder.join(FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Broken::NoManifest);
            }
            other => other.map_err(|error| unreadable(FILE, &error))?,
        };
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let version: Version =
            serde_json::from_slice(&text).map_err(|_| unreadable(FILE, &"it is no manifest"))?;
        if version.format > FORMAT {
            return Err(Broken::Newer(version.format));
        }
        let sums =
            std::fs::read_to_string(folder.join(SUMS)).map_err(|error| unreadable(SUMS, &error))?;
        if !sums
            .lines()
            .any(|line| line == sum_line(FILE, &digest(&text)))
        {
            return Err(Broken::Changed);
        }
        serde_json::from_slice(&text).map_err(|_| unreadable(FILE, &"it is no manifest"))
    }

    /// Writes it, and the digests of everything.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        files::write_new(&folder.join(FILE), &text, 0o600)?;
        let mut sums: String = self
            .parts
            .iter()
            .map(|part| sum_line(&part.path, &part.sha256) + "\n")
            .collect();
        sums += &(sum_line(FILE, &digest(&text)) + "\n");
        files::write_new(&folder.join(SUMS), sums.as_bytes(), 0o600)
    }

    /// What is wrong with the parts, one line each. Reads all of them, as long as `goes_on`.
    pub fn faults_of_parts(
        &self,
        folder: &Path,
        goes_on: &dyn Fn() -> bool,
    ) -> io::Result<Vec<String>> {
        let mut faults = Vec::new();
        for part in &self.parts {
            let path = folder.join(&part.path);
            match std::fs::metadata(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    faults.push(format!("{} is missing", part.path));
                    continue;
                }
                Ok(metadata) if metadata.len() != part.bytes => {
                    faults.push(format!(
                        "{} has {} bytes, {} were written",
                        part.path,
                        metadata.len(),
                        part.bytes
                    ));
                    continue;
                }
                _ => {}
            }
            match digest_of(&path, goes_on) {
                Ok(found) if found == part.sha256 => {}
                Err(error) if !goes_on() => return Err(error),
                Ok(_) => faults.push(format!(
                    "{} has another content than was written",
                    part.path
                )),
                Err(error) => faults.push(format!("{} cannot be read: {error}", part.path)),
            }
        }
        Ok(faults)
    }

    /// The database of an owner.
    pub fn database(&self, owner: &str) -> Option<&Dumped> {
        self.databases.iter().find(|dumped| dumped.owner == owner)
    }

    /// Bytes of all parts.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }
}

/// A part, as it lies there now. Reads it, as long as `goes_on`.
pub fn part(folder: &Path, path: &str, goes_on: &dyn Fn() -> bool) -> io::Result<Part> {
    let full = folder.join(path);
    let sha256 = digest_of(&full, goes_on)?;
    Ok(Part {
        path: path.to_owned(),
        bytes: std::fs::metadata(&full)?.len(),
        sha256,
    })
}

fn digest_of(path: &Path, goes_on: &dyn Fn() -> bool) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 256 * 1024];
    loop {
        if !goes_on() {
            return Err(io::Error::other("nobody waits for its digest any more"));
        }
        match file.read(&mut piece)? {
            0 => return Ok(hex(&hasher.finalize())),
            some => hasher.update(&piece[..some]),
        }
    }
}

fn digest(text: &[u8]) -> String {
    hex(&Sha256::digest(text))
}

fn sum_line(path: &str, digest: &str) -> String {
    format!("{digest}  {path}")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::backup) fn manifest(id: &str) -> Manifest {
        Manifest {
            format: FORMAT,
            id: id.to_owned(),
            made_at: Timestamp::from_second(1_795_000_000).unwrap(),
            took_ms: 1,
            ooy: "0.1.0".to_owned(),
            host: "h".to_owned(),
            project: "ooy".to_owned(),
            domain: "rapidpro.example.org".to_owned(),
            keep: None,
            databases: Vec::new(),
            images: BTreeMap::new(),
            parts: Vec::new(),
            not_in_it: Vec::new(),
        }
    }

    #[test]
    fn every_change_of_a_part_or_of_the_manifest_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        std::fs::write(at.join("a.dump"), b"0123456789").unwrap();
        let mut made = manifest("1");
        made.parts = vec![part(at, "a.dump", &|| true).unwrap()];
        made.write(at).unwrap();
        assert_eq!(Manifest::read(at).unwrap(), made);
        let faults = || made.faults_of_parts(at, &|| true).unwrap();
        assert_eq!(faults(), Vec::<String>::new());
        std::fs::write(at.join("a.dump"), b"0123456788").unwrap();
        assert_eq!(faults(), ["a.dump has another content than was written"]);
        std::fs::write(at.join("a.dump"), b"012345678").unwrap();
        assert_eq!(faults(), ["a.dump has 9 bytes, 10 were written"]);
        std::fs::remove_file(at.join("a.dump")).unwrap();
        assert_eq!(faults(), ["a.dump is missing"]);
        let text = std::fs::read_to_string(at.join(FILE)).unwrap();
        std::fs::write(at.join(FILE), text.replace("\"ooy\"", "\"oox\"")).unwrap();
        assert_eq!(Manifest::read(at), Err(Broken::Changed));
        std::fs::write(
            at.join(FILE),
            text.replace("\"format\": 1", "\"format\": 7"),
        )
        .unwrap();
        assert_eq!(Manifest::read(at), Err(Broken::Newer(7)));
        std::fs::remove_file(at.join(FILE)).unwrap();
        assert_eq!(Manifest::read(at), Err(Broken::NoManifest));
    }

    #[test]
    fn sha256sum_can_check_a_backup_without_ooy() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        std::fs::write(at.join("a.dump"), b"x").unwrap();
        let mut made = manifest("1");
        made.parts = vec![part(at, "a.dump", &|| true).unwrap()];
        made.write(at).unwrap();
        let checked = std::process::Command::new("sha256sum")
            .args(["--check", "--strict", "--quiet", SUMS])
            .current_dir(at)
            .status();
        assert!(checked.unwrap().success());
    }
}
