//! Figures of earlier looks, kept beside the journal: a disk that fills and a queue that does not
//! move are seen only by two looks. What cannot be read or written is as if it had never been.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One figure at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// When.
    pub at: Timestamp,
    /// How much; the unit is that of whoever keeps it.
    pub value: f64,
}

/// Most samples that are kept of one figure; with a look every five minutes, two days.
const MOST: usize = 600;

/// Figures of earlier looks, by name.
#[derive(Debug, Default)]
pub struct Samples {
    path: PathBuf,
    kept: BTreeMap<String, Vec<Sample>>,
}

impl Samples {
    /// Those of this deployment.
    pub fn load(state: &Path) -> Self {
        let path = state.join("samples.json");
        let kept = std::fs::read(&path)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default();
        Self { path, kept }
    }

    /// Earlier figures of that name, oldest first.
    pub fn of(&self, name: &str) -> &[Sample] {
        self.kept.get(name).map_or(&[], Vec::as_slice)
    }

    /// Keeps these beside the earlier ones. Only in a folder that is there already: a look changes
    /// nothing on a host where nothing was deployed yet.
    pub fn keep(mut self, new: Vec<(String, Sample)>) {
        if new.is_empty() || !self.path.parent().is_some_and(Path::is_dir) {
            return;
        }
        for (name, sample) in new {
            let samples = self.kept.entry(name).or_default();
            samples.push(sample);
            let surplus = samples.len().saturating_sub(MOST);
            samples.drain(..surplus);
        }
        let temporary = self
            .path
            .with_extension(format!("json.{}", std::process::id()));
        let write = || {
            let mut file = std::fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&temporary)?;
            file.write_all(&serde_json::to_vec(&self.kept)?)?;
            std::fs::rename(&temporary, &self.path)
        };
        if write().is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_again_and_old_figures_go() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..MOST + 5 {
            let sample = Sample {
                at: Timestamp::from_second(1_795_000_000 + number as i64).unwrap(),
                value: number as f64,
            };
            Samples::load(folder.path()).keep(vec![("disk:/".to_owned(), sample)]);
        }
        let samples = Samples::load(folder.path());
        assert_eq!(samples.of("disk:/").len(), MOST);
        assert_eq!(samples.of("disk:/")[0].value, 5.0);
        assert!(samples.of("other").is_empty());
    }

    #[test]
    fn a_damaged_file_is_as_none() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("samples.json"), "{\"disk").unwrap();
        assert!(Samples::load(folder.path()).of("disk").is_empty());
    }
}
