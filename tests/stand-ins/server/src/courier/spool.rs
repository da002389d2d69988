//! The spool: a folder of JSON files for what the database did not take, tried again every
//! thirty seconds.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::Courier;
use super::messages::{self, Message};
use crate::boot;
use crate::go::log;

const INTERVAL: Duration = Duration::from_secs(30);
const FOLDERS: [&str; 3] = ["msgs", "statuses", "events"];

/// Held while files are being flushed.
static FLUSHING: Mutex<()> = Mutex::new(());

fn reason(problem: &std::io::Error) -> String {
    match problem.kind() {
        std::io::ErrorKind::PermissionDenied => "permission denied".into(),
        std::io::ErrorKind::NotFound => "no such file or directory".into(),
        _ => problem.to_string(),
    }
}

/// Like the real one this only looks whether the folders are there, not whether they can
/// be written to.
pub fn ensure_folders(spool_dir: &Path) -> Result<(), String> {
    for name in FOLDERS {
        let folder = spool_dir.join(name);
        if folder.exists() {
            continue;
        }
        std::fs::create_dir_all(&folder)
            .map_err(|e| format!("mkdir {}: {}", folder.display(), reason(&e)))?;
    }
    Ok(())
}

pub fn write(spool_dir: &Path, folder: &str, contents: &Value) -> Result<(), String> {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let file = spool_dir.join(folder).join(format!("{nanos}.json"));
    let text = crate::http::pretty(contents, "  ", ": ");
    std::fs::write(&file, text).map_err(|e| format!("open {}: {}", file.display(), reason(&e)))
}

pub fn start_flushers(courier: &Arc<Courier>) {
    log::with("comp", "spool").with("state", "started").info("spool started");
    let courier = courier.clone();
    boot::spawn("spool", move || {
        loop {
            courier.sleep(INTERVAL);
            if courier.is_stopping() {
                return;
            }
            let _flushing = FLUSHING.lock();
            flush(&courier);
        }
    });
}

/// Returns when no file is being flushed.
pub fn wait_until_idle() {
    drop(FLUSHING.lock());
}

/// Oldest first. The first file that the database refuses ends this turn.
fn flush(courier: &Courier) {
    let Ok(entries) = std::fs::read_dir(courier.spool_dir.join("msgs")) else { return };
    let mut files: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_file() && path.extension().is_some_and(|e| e == "json"))
        .collect();
    files.sort();
    for file in files {
        if courier.is_stopping() {
            return;
        }
        let log = || log::with("comp", "spool").with("filename", file.display());
        let contents = match std::fs::read_to_string(&file) {
            Ok(contents) => contents,
            Err(problem) => {
                log().with("error", reason(&problem)).error("reading spool file");
                continue;
            }
        };
        let parsed = serde_json::from_str(&contents).ok();
        let Some(message) = parsed.as_ref().and_then(Message::from_json) else {
            eprintln!("ERROR unmarshalling spool file '{}', renaming", file.display());
            let _ = std::fs::rename(&file, file.with_extension("json.error"));
            continue;
        };
        let found = courier.channels.find(&courier.database, None, &message.channel_uuid);
        let done = found.and_then(|_| messages::write_to_database(courier, &message));
        if let Err(problem) = done {
            log().with("error", problem).error("flushing spool file");
            return;
        }
        log().info("flushed");
        let _ = std::fs::remove_file(&file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random;

    #[test]
    fn folders_are_made_and_files_written() {
        let folder = std::env::temp_dir().join(random::uuid());
        ensure_folders(&folder).unwrap();
        write(&folder, "msgs", &serde_json::json!({"a": 1})).unwrap();
        assert_eq!(std::fs::read_dir(folder.join("msgs")).unwrap().count(), 1);
        std::fs::remove_dir_all(&folder).unwrap();
        let problem = write(&folder, "msgs", &Value::Null).unwrap_err();
        assert!(problem.ends_with("no such file or directory"), "{problem}");
        assert!(ensure_folders(Path::new("/proc/version")).is_err());
    }
}
