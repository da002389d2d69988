//! `ooy bundle`: collect, write, and say what is in it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, Outcome, block, diagnose};
use crate::bundle::{self, Wanted, archive};
use crate::cli::Bundle as Arguments;
use crate::deployment::places::Places;
use crate::fault::{Fault, Result};
use crate::host::{disk, files};
use crate::operation::Reporter;
use crate::ui::{Paint, Ui, human, progress, text};

/// Width of the names of parts.
const WIDTH: usize = 9;

pub fn run(ui: &Ui, places: &Places, arguments: &Arguments) -> Outcome {
    let began = Instant::now();
    let name = bundle::name(Timestamp::now());
    let path = destination(places, arguments.output.as_deref(), &name)?;
    let reporter = Reporter::new("bundle");
    if !ui.json {
        ui.say("ooy bundle · secrets, telephone numbers and messages are taken out");
        progress::attach(ui, &reporter, WIDTH);
    }
    // A part that meets a case it was not made for is left out.
    std::panic::set_hook(Box::new(|_| {}));
    let collected = block(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let wanted = Wanted {
            places,
            lines: arguments.lines,
            reporter: &reporter,
            in_words: &|diagnosis| diagnose::in_words(ui, diagnosis),
        };
        // Nothing is written before all is there: an interrupted one leaves nothing behind.
        tokio::select! {
            bundle = bundle::collect(&wanted) => Ok(bundle),
            _ = tokio::signal::ctrl_c() => Err(Failure::Interrupted),
            _ = terminate.recv() => Err(Failure::Interrupted),
            _ = hangup.recv() => Err(Failure::Interrupted),
        }
    });
    super::catch_panics();
    let bundle = collected?;
    let folder = path
        .file_name()
        .and_then(|name| name.to_str())
        .map_or(name.as_str(), |name| name.trim_end_matches(".tar.gz"));
    let written = archive::make(folder, &bundle.files, Timestamp::now()).and_then(|archive| {
        files::write_atomic(&path, &archive, 0o600)?;
        Ok(archive.len() as u64)
    });
    let bytes = written.map_err(|error| Box::new(unwritten(places, &path, &error)))?;
    let took = began.elapsed();
    if ui.json {
        let files: Vec<&str> = bundle.files.iter().map(|(name, _)| name.as_str()).collect();
        ui.json(&serde_json::json!({
            "schema": 1,
            "file": path,
            "bytes": bytes,
            "took_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "inside": files,
            "left_out": bundle.left_out,
        }))?;
        return Ok(0);
    }
    let shown = path.display().to_string();
    ui.out(&shown)?;
    ui.say(&format!(
        "{} {} in {}, {}",
        ui.paint(Paint::Good, "✓"),
        human::count(bundle.files.len(), "file"),
        disk::human(bytes),
        human::took(took)
    ));
    let width = text::width().map(|width| width.saturating_sub(13));
    for (index, left_out) in bundle.left_out.iter().enumerate() {
        let label = if index == 0 { "left out" } else { "" };
        let line = format!("{}: {}", left_out.part, left_out.why);
        for (index, line) in text::wrap(&line, width).iter().enumerate() {
            let label = if index == 0 { label } else { "" };
            ui.say(&format!("  {label:<10} {line}"));
        }
    }
    ui.say("  look into it before you send it:");
    ui.say(&format!("    tar -tzf {shown}"));
    ui.say(&format!("    tar -xzOf {shown} {folder}/manifest.json"));
    Ok(0)
}

/// Where it will lie; what keeps it from being written there is found out before anything else.
fn destination(places: &Places, output: Option<&Path>, name: &str) -> Result<PathBuf> {
    // Two may be made within one second: the name is ours to choose.
    let free = |folder: &Path| {
        let first = folder.join(format!("{name}.tar.gz"));
        let others = (2..100).map(|number| folder.join(format!("{name}-{number}.tar.gz")));
        std::iter::once(first.clone())
            .chain(others)
            .find(|path| path.symlink_metadata().is_err())
            .unwrap_or(first)
    };
    let path = match output {
        None => free(Path::new("")),
        Some(path) if path.is_dir() => free(path),
        Some(path) => path.to_owned(),
    };
    let path = std::path::absolute(&path).unwrap_or(path);
    if path.symlink_metadata().is_ok() {
        return Err(Box::new(
            Fault::usage(
                format!("{}: is there already", path.display()),
                "a bundle replaces no file",
            )
            .evidence(format!("given was --output {}", path.display()))
            .why("what lies there may be somebody's only copy; nothing was written")
            .next(places.command("bundle"))
            .next(format!("rm {}", path.display())),
        ));
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    let usable = std::fs::metadata(folder).and_then(|metadata| {
        use rustix::fs::Access;
        match metadata.is_dir() {
            true => Ok(rustix::fs::access(
                folder,
                Access::WRITE_OK | Access::EXEC_OK,
            )?),
            false => Err(std::io::ErrorKind::NotADirectory.into()),
        }
    });
    match usable {
        Ok(()) => Ok(path),
        Err(error) => Err(Box::new(unwritten(places, &path, &error))),
    }
}

fn unwritten(places: &Places, path: &Path, error: &std::io::Error) -> Fault {
    let folder = path.parent().unwrap_or(Path::new("/"));
    Fault::problem(
        format!("{}: cannot be written", path.display()),
        "the archive has no place to lie",
    )
    .evidence(format!("{}: {error}", folder.display()))
    .why("nothing was written, and nothing is left behind")
    .next(places.command("bundle --output /tmp"))
    .next(format!("df -h {}", folder.display()))
}
