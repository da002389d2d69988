//! What an `ooy` that was killed in the middle has left: the new half of a file that was to be
//! replaced, and folders for a check. Bundles are a person's; they stay.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::deployment::places::Places;
use crate::host::processes;

/// Younger ones may be somebody's who is at work, in a container with process numbers of its own.
const OLD: Duration = Duration::from_secs(3600);

/// Where they are and how large.
pub fn find(places: &Places) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    let rendered_nginx = places.rendered.join("nginx");
    for folder in [&places.state, &places.rendered, &rendered_nginx] {
        for path in entries(folder) {
            if path.is_file() && is_half_written(&path) {
                found.push(path);
            }
        }
    }
    let user = rustix::process::geteuid().as_raw();
    for path in entries(&std::env::temp_dir()) {
        let ours =
            fs::symlink_metadata(&path).is_ok_and(|about| about.is_dir() && about.uid() == user);
        if ours && is_scratch(&path) {
            found.push(path);
        }
    }
    let old = |path: &PathBuf| {
        let changed = fs::symlink_metadata(path).and_then(|about| about.modified());
        let now = SystemTime::now();
        changed.is_ok_and(|then| now.duration_since(then).is_ok_and(|age| age > OLD))
    };
    found.retain(old);
    found
        .into_iter()
        .map(|path| {
            let size = size(&path);
            (path, size)
        })
        .collect()
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path())
}

/// `.NAME.PID` (host/files.rs) or `samples.json.PID` (diagnosis/samples.rs), whose process has
/// gone.
fn is_half_written(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return false;
    };
    let Some((before, pid)) = name.rsplit_once('.') else {
        return false;
    };
    (before.starts_with('.') || before == "samples.json") && has_ended(pid)
}

/// `ooy-PID-NANOSECONDS` (lifecycle/preflight.rs).
fn is_scratch(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let Some((pid, time)) = name
        .and_then(|name| name.strip_prefix("ooy-"))
        .and_then(|rest| rest.split_once('-'))
    else {
        return false;
    };
    time.len() >= 18 && time.bytes().all(|b| b.is_ascii_digit()) && has_ended(pid)
}

fn has_ended(pid: &str) -> bool {
    pid.parse().is_ok_and(|pid| !processes::lives(pid))
}

/// Room that a file, or a folder with its files, takes.
fn size(path: &Path) -> u64 {
    let Ok(about) = fs::symlink_metadata(path) else {
        return 0;
    };
    let own = about.blocks() * 512;
    if about.is_dir() {
        own + entries(path).map(|inner| size(&inner)).sum::<u64>()
    } else {
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_dead_ooy_has_left_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::new(Some(folder.path()));
        fs::create_dir_all(&places.state).unwrap();
        let old = SystemTime::now() - 2 * OLD;
        let me = std::process::id();
        let make = |name: &str, changed: SystemTime| {
            let path = places.state.join(name);
            fs::write(&path, "x").unwrap();
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(changed).unwrap();
            path
        };
        // No process has such a number (PID_MAX_LIMIT is 4194304).
        let left = [
            make(".compose.yaml.9999999", old),
            make("samples.json.9999999", old),
        ];
        make("samples.json", old);
        make("journal.jsonl.1", old);
        make(&format!(".compose.yaml.{me}"), old);
        make(".young.9999999", SystemTime::now());
        make("lock", old);
        let mut found: Vec<PathBuf> = find(&places)
            .into_iter()
            .map(|(path, _)| path)
            .filter(|path| path.starts_with(folder.path()))
            .collect();
        found.sort();
        assert_eq!(found, left);
        assert!(is_scratch(Path::new(
            "/tmp/ooy-9999999-1795000000000000000"
        )));
        assert!(!is_scratch(Path::new("/tmp/ooy-9999999-notes")));
        assert!(!is_scratch(Path::new(&format!(
            "/tmp/ooy-{me}-1795000000000000000"
        ))));
    }
}
