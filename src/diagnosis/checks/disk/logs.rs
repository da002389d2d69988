//! Log files of the deployment's containers: Docker's, one or several for each container.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::diagnosis::check::{Checked, Halt, Report, blocking};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::words;
use crate::diagnosis::{Code, Evidence, Finding};
use crate::engine::containers::Container;
use crate::host::disk::{human, parse_size};

/// The log of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Name of the container.
    pub container: String,
    /// Its service.
    pub service: String,
    /// Where it is written.
    pub path: PathBuf,
    /// Size, those that were rotated included.
    pub size: u64,
    /// The largest it can become; nothing: without end.
    pub most: Option<u64>,
}

/// All logs, the largest first.
pub async fn logs(scene: &Scene) -> Result<Vec<Log>, Halt> {
    let wanted: Vec<Log> = scene
        .containers()
        .await?
        .iter()
        .filter_map(|container| {
            Some(Log {
                container: container.name.clone(),
                service: container.service.clone(),
                path: container.log_path.clone()?,
                size: 0,
                most: most(container)?,
            })
        })
        .collect();
    let mut logs = blocking(move || {
        wanted
            .into_iter()
            .map(|log| {
                Ok(Log {
                    size: size(&log.path)?,
                    ..log
                })
            })
            .collect::<std::io::Result<Vec<Log>>>()
    })
    .await?
    .map_err(|error| {
        Halt::unknown(format!(
            "the log files cannot be looked at (as root they can): {error}"
        ))
    })?;
    logs.sort_by(|a, b| b.size.cmp(&a.size).then(a.container.cmp(&b.container)));
    Ok(logs)
}

/// The largest that a log may become, by the container's own settings. Not known for drivers that
/// keep no file of Docker's.
fn most(container: &Container) -> Option<Option<u64>> {
    if container.log_driver != "json-file" {
        return None;
    }
    let option = |name: &str| container.log_options.get(name).map(String::as_str);
    let Some(size) = option("max-size").and_then(parse_size) else {
        return Some(None);
    };
    // Docker's default is one file (moby jsonfilelog.go).
    let files = option("max-file").and_then(|text| text.parse::<u64>().ok());
    Some(Some(size.saturating_mul(files.unwrap_or(1))))
}

/// Size of a log file and of its predecessors (`…-json.log.1`, …). What vanishes meanwhile is none.
fn size(path: &Path) -> std::io::Result<u64> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(0);
    };
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut size = 0;
    for entry in entries {
        let entry = entry?;
        let found = entry.file_name();
        if found
            .as_encoded_bytes()
            .starts_with(name.as_encoded_bytes())
        {
            size += entry.metadata().map_or(0, |about| about.len());
        }
    }
    Ok(size)
}

/// The check `container-logs`.
pub async fn container_logs(scene: Rc<Scene>) -> Checked {
    let settings = &scene.context.settings;
    let limit = settings.megabytes("LOG_OVERSIZED_MB");
    let logs = logs(&scene).await?;
    if scene.containers().await?.is_empty() {
        return Err(Halt::unused("there are no containers"));
    }
    let mut report = Report::fine();
    for log in logs.iter().filter(|log| log.size > limit) {
        report.found(oversized(&scene, log, limit));
    }
    if report.findings.is_empty() {
        let endless: Vec<&Log> = logs.iter().filter(|log| log.most.is_none()).collect();
        if !endless.is_empty() {
            report.found(without_end(&scene, &endless));
        }
        let large: Vec<&Log> = logs
            .iter()
            .filter(|log| log.most.is_some_and(|most| most > limit))
            .collect();
        if !large.is_empty() {
            report.found(allowed(&scene, &large, limit));
        }
    }
    Ok(report)
}

fn limits_command(container: &str) -> String {
    format!("docker inspect --format '{{{{json .HostConfig.LogConfig}}}}' {container}")
}

/// Empties a log while the container goes on logging: Docker appends.
pub fn truncate_command(log: &Log) -> String {
    format!("sudo truncate -s 0 {}", log.path.display())
}

fn oversized(scene: &Scene, log: &Log, limit: u64) -> Finding {
    let listing = format!(
        "sudo find {} -name '*-json.log*' -size +1M -ls",
        log.path.parent().unwrap_or(&log.path).display()
    );
    let mut finding = Finding::warning(
        Code::LogOversized,
        format!("{} has written {} of log", log.service, human(log.size)),
    )
    .service(log.service.clone())
    .evidence(
        Evidence::new(
            "its log files",
            human(log.size),
            "the files of Docker's log driver",
        )
        .threshold(format!("{} (LOG_OVERSIZED_MB)", human(limit)))
        .command(listing),
    )
    .evidence(
        Evidence::new(
            "they may become",
            log.most.map_or(
                "without end: the container has no max-size".to_owned(),
                human,
            ),
            "the container's log settings",
        )
        .command(limits_command(&log.container)),
    )
    .impact("the disk fills, and with it everything on this host stops writing")
    .fix(scene.command("fix disk-space"))
    .manual(truncate_command(log));
    finding = match log.most {
        None => finding
            .cause("the container was made without a limit for its log")
            .manual(scene.command(&format!("logs {} -n 50", log.service))),
        Some(_) => finding.manual(scene.command(&format!("logs {} -n 50", log.service))),
    };
    finding.interrupts("nothing; the log up to now is lost")
}

fn names(logs: &[&Log]) -> String {
    let names: Vec<&str> = logs.iter().map(|log| log.service.as_str()).collect();
    names.join(", ")
}

fn without_end(scene: &Scene, logs: &[&Log]) -> Finding {
    let subject = match logs {
        [only] => format!("The log of {} has no limit", only.service),
        several => format!(
            "The logs of {} have no limit",
            words::count(several.len(), "container")
        ),
    };
    Finding::info(Code::LogOversized, subject)
        .evidence(
            Evidence::new(
                "without max-size",
                names(logs),
                "the containers' log settings",
            )
            .command(limits_command(&logs[0].container)),
        )
        .impact("nothing now; in the end they fill the disk")
        .manual(format!(
            "nano {}",
            scene.context.settings.places.compose_override.display()
        ))
        .manual(scene.command("start"))
        .interrupts("the services whose containers are made anew, some seconds")
}

fn allowed(scene: &Scene, logs: &[&Log], limit: u64) -> Finding {
    let sum: u64 = logs.iter().filter_map(|log| log.most).sum();
    Finding::info(
        Code::LogOversized,
        format!(
            "The logs of {} may grow to {}",
            words::count(logs.len(), "container"),
            human(sum)
        ),
    )
    .evidence(
        Evidence::new(
            "may become larger than the limit",
            names(logs),
            "the containers' log settings",
        )
        .threshold(format!("{} (LOG_OVERSIZED_MB)", human(limit)))
        .command(limits_command(&logs[0].container)),
    )
    .impact("nothing now; they take that much of the disk in the end")
    .manual(format!(
        "nano {}    # LOG_MAX_SIZE, LOG_MAX_FILES",
        scene.context.settings.places.env_file.display()
    ))
    .manual(scene.command("start"))
    .interrupts("all services, one after the other, some seconds each")
}
