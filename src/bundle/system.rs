//! The machine, and the versions of what runs on it: for the manifest.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::setting::Setting;
use super::{Part, blocking};
use crate::engine::compose::Compose;
use crate::host::{disk, memory, sysctl};

/// Kernel, system, processors, memory and disks.
pub async fn host(setting: &Setting) -> Result<Part, String> {
    let mut places = vec![
        PathBuf::from("/"),
        setting.places.state.clone(),
        setting.places.spool.clone(),
    ];
    if let Ok(engine) = setting.engine() {
        let root = tokio::time::timeout(Duration::from_secs(2), engine.root_folder()).await;
        places.extend(root.ok().and_then(Result::ok));
    }
    let (facts, note) = blocking(move || look(&places)).await?;
    let mut part = Part::default().note(note);
    part.facts.push(("host", facts));
    Ok(part)
}

fn look(places: &[PathBuf]) -> (Value, String) {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease").trim().to_owned();
    let release = read("/etc/os-release");
    let system = release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map(|name| name.trim_matches('"').to_owned())
        .unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map(|line| line.trim_start_matches([' ', '\t', ':']).to_owned());
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let memory = memory::read().ok().map(|memory| {
        json!({
            "total": memory.total,
            "available": memory.available,
            "swap_total": memory.swap_total,
            "swap_free": memory.swap_free,
        })
    });
    let disks: Vec<Value> = places
        .iter()
        .map(|place| match disk::space(existing(place)) {
            Ok(space) => json!({
                "place": place, "size": space.total, "available": space.available,
                "inodes": space.inodes_total, "inodes_free": space.inodes_free,
            }),
            Err(error) => json!({ "place": place, "error": super::setting::plain(&error) }),
        })
        .collect();
    let uptime = read("/proc/uptime");
    let uptime = uptime
        .split('.')
        .next()
        .and_then(|text| text.parse::<u64>().ok());
    let load: Vec<f64> = read("/proc/loadavg")
        .split_whitespace()
        .take(3)
        .filter_map(|text| text.parse().ok())
        .collect();
    let pressure: Vec<String> = ["cpu", "io", "memory"]
        .iter()
        .flat_map(|of| {
            let text = read(&format!("/proc/pressure/{of}"));
            let lines = text.lines().map(|line| format!("{of} {line}"));
            lines.collect::<Vec<_>>()
        })
        .collect();
    let note = format!("{system}, kernel {kernel}, {cores} processors");
    let facts = json!({
        "name": read("/proc/sys/kernel/hostname").trim(),
        "system": system,
        "kernel": kernel,
        "architecture": std::env::consts::ARCH,
        "processors": cores,
        "processor": model,
        "memory": memory,
        "disks": disks,
        "uptime_s": uptime,
        "load": load,
        "max_map_count": sysctl::max_map_count().ok(),
        "user": crate::host::process::user_name(),
        "pressure": pressure,
    });
    (facts, note)
}

/// The place, or the nearest folder above it that is there.
fn existing(place: &Path) -> &Path {
    place
        .ancestors()
        .find(|folder| folder.exists())
        .unwrap_or(Path::new("/"))
}

/// The Engine's and compose's versions.
pub async fn versions(setting: &Setting) -> Result<Part, String> {
    let mut part = Part::default();
    if setting.only_calls {
        setting.engine()?;
    }
    let compose = match Compose::find().await {
        Ok(compose) => Some(compose.version),
        Err(fault) => {
            part = part.without("version of compose", fault.title.clone());
            None
        }
    };
    let engine = match setting.engine() {
        Ok(engine) => Some(engine.version.clone()),
        Err(why) => {
            part = part.without("version of Docker", why);
            None
        }
    };
    let word = |version: &Option<String>| version.clone().unwrap_or_else(|| "unknown".to_owned());
    let note = format!("Engine {}, compose {}", word(&engine), word(&compose));
    part.facts.push(("engine", json!(engine)));
    part.facts.push(("compose", json!(compose)));
    Ok(part.note(note))
}
