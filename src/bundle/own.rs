//! What `ooy` itself knows: diagnosis, status, settings, files, journal, and how many calls wait.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::setting::{Setting, plain};
use super::{Part, blocking};
use crate::agi::spool::{Folder, Spool};
use crate::deployment::keys::{KEYS, Kind};
use crate::deployment::render;
use crate::diagnosis::{self, Diagnosis, Scene, Severity};
use crate::host::text::count;
use crate::lifecycle::{check, status as state};
use crate::operation::journal;

/// The same object as `ooy diagnose --json`, and as an operator reads it.
pub async fn diagnosis(
    setting: &Setting,
    in_words: &dyn Fn(&Diagnosis) -> String,
) -> Result<Part, String> {
    setting.needs_settings()?;
    let checks = diagnosis::find(&[], "").map_err(|fault| fault.what.clone())?;
    let scene = Scene::new((*setting.context).clone(), setting.wrong.clone());
    let mut diagnosis = diagnosis::run(scene, &checks, |_| {}).await;
    let redactor = &setting.redactor;
    for finding in &mut diagnosis.findings {
        finding.map_texts(|text| redactor.text(text));
    }
    let roots = diagnosis.roots();
    let causes = roots
        .filter(|finding| finding.severity > Severity::Info)
        .count();
    let note = match causes {
        0 => "nothing found".to_owned(),
        n => count(n, "cause"),
    };
    let words = redactor.text(&in_words(&diagnosis));
    Ok(Part::default()
        .json(redactor, "diagnosis.json", &diagnosis)
        .file("diagnosis.txt", words)
        .note(note))
}

/// `ooy status --json`.
pub async fn status(setting: &Setting) -> Result<Part, String> {
    setting.engine()?;
    let seen = state::status(&setting.context, &[]).await;
    let seen = seen.map_err(|fault| format!("{}: {}", fault.what, fault.evidence.join("; ")))?;
    let note = format!("{} of {} ready", seen.ready(), seen.services.len());
    Ok(Part::default()
        .json(&setting.redactor, "status.json", &seen)
        .note(note))
}

/// The settings in force, and what is wrong with them.
pub async fn settings(setting: &Setting) -> Result<Part, String> {
    if let Err(why) = &setting.file {
        return Err(why.clone());
    }
    let redactor = &setting.redactor;
    let values = &setting.context.settings;
    let mut text = String::new();
    for key in KEYS {
        let value = values.get(key.name);
        let address = matches!(key.kind, Kind::Database | Kind::Redis) && value.contains("://");
        let shown = match key.secret && !value.is_empty() && !address {
            true => redactor.token(key.name, value),
            false => redactor.text(value),
        };
        text += &format!("{}={shown}\n", key.name);
    }
    let mut part = Part::default().file("settings.env", text);
    if !setting.wrong.is_empty() {
        let wrong = redactor.text(&setting.wrong.join("\n"));
        part = part.file("settings-wrong.txt", wrong + "\n");
    }
    Ok(part.note(match setting.wrong.len() {
        0 => format!("{}, all valid", count(KEYS.len(), "setting")),
        wrong => format!("{wrong} wrong"),
    }))
}

/// Largest file of ours that is taken whole; of a larger one the end.
const LARGEST: usize = 256 * 1024;

/// What containers are made from: compose.yaml with its values, nginx's files, and the operator's
/// additions.
pub async fn rendered(setting: &Setting) -> Result<Part, String> {
    if setting.only_calls {
        setting.engine()?;
    }
    setting.needs_settings()?;
    let redactor = &setting.redactor;
    let context = &setting.context;
    let mut part = Part::default();
    match check::compose_text(context).await {
        Ok(text) => part = part.file("rendered/compose.yaml", redactor.text(&text)),
        Err(fault) => {
            let why = format!("{}; as it is written instead", fault.title);
            part = part.without("compose.yaml with its values", why).file(
                "rendered/compose.yaml",
                redactor.text(&render::compose(&context.settings)),
            );
        }
    }
    for (name, text) in render::nginx(&context.settings) {
        part = part.file(format!("rendered/nginx/{name}"), redactor.text(&text));
    }
    // What was edited by hand runs, whatever would be written now.
    let folder = context.settings.places.rendered.clone();
    let rendered = context.rendered.clone();
    let as_written = (*rendered).clone();
    let differing = blocking(move || {
        let changed = as_written.differing(&folder).unwrap_or_default();
        changed
            .into_iter()
            .filter_map(|(name, _)| Some((name.clone(), end_of(&folder.join(name))?)))
            .collect::<Vec<_>>()
    })
    .await?;
    for (name, text) in differing {
        part = part.file(format!("rendered-as-it-is/{name}"), redactor.text(&text));
    }
    let own = setting.places.compose_override.clone();
    if let Some(text) = blocking(move || end_of(&own)).await? {
        part = part.file("compose.override.yaml", redactor.text(&text));
    }
    let note = count(part.files.len(), "file");
    Ok(part.note(note))
}

/// The end of a file that is there, as text.
fn end_of(path: &Path) -> Option<String> {
    let bytes = std::fs::read(path).ok()?;
    let from = bytes.len().saturating_sub(LARGEST);
    let text = String::from_utf8_lossy(&bytes[from..]).into_owned();
    Some(match (from, text.split_once('\n')) {
        // The first line is cut, and half a secret may stand in it.
        (1.., Some((_, rest))) => rest.to_owned(),
        _ => text,
    })
}

/// The journal, what operations came of it, and what else `ooy` remembers (the watch).
pub async fn history(setting: &Setting) -> Result<Part, String> {
    let state = setting.places.state.clone();
    let (operations, files, unread) = blocking(move || {
        let operations = journal::operations(&state);
        let mut files = Vec::new();
        let mut unread = Vec::new();
        remembered(&state, 2, &mut files, &mut unread);
        let named = |path: &PathBuf| {
            let below = path.strip_prefix(&state).unwrap_or(path);
            below.display().to_string()
        };
        let texts: Vec<(String, String)> = files
            .iter()
            .filter_map(|path| Some((named(path), end_of(path)?)))
            .collect();
        (operations, texts, unread)
    })
    .await?;
    let redactor = &setting.redactor;
    let kept = operations.len().saturating_sub(500);
    let mut part = Part::default()
        .note(count(operations.len(), "operation"))
        .json(
            redactor,
            "history.json",
            json!({ "schema": 1, "operations": operations[kept..] }),
        );
    for (name, text) in files {
        part = part.file(format!("state/{name}"), redactor.log(&text));
    }
    for (path, why) in unread {
        part = part.without(path, why);
    }
    Ok(part)
}

/// Files that `ooy` keeps for itself and that tell what it saw: not keys, locks and temporary ones.
fn remembered(
    folder: &Path,
    depth: usize,
    files: &mut Vec<PathBuf>,
    unread: &mut Vec<(String, String)>,
) {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
        Err(error) => {
            unread.push((folder.display().to_string(), plain(&error)));
            return;
        }
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let is_ours = path.extension().is_some_and(|extension| {
            ["json", "jsonl", "log"]
                .iter()
                .any(|ours| extension == *ours)
        });
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth > 1 => remembered(&path, depth - 1, files, unread),
            Ok(kind) if kind.is_file() && is_ours => match std::fs::File::open(&path) {
                Ok(_) => files.push(path),
                Err(error) => unread.push((path.display().to_string(), plain(&error))),
            },
            _ => {}
        }
    }
}

/// How many finished calls there are of each kind. Never whose they are.
pub async fn calls(setting: &Setting) -> Result<Part, String> {
    let spool = Spool::new(&setting.places.spool);
    let counts = blocking(move || {
        [
            Folder::Batch,
            Folder::New,
            Folder::Sending,
            Folder::Sent,
            Folder::Skipped,
            Folder::Dead,
            Folder::Damaged,
        ]
        .map(|folder| (folder.name(), spool.count(folder)))
    })
    .await?;
    let mut part = Part::default();
    let mut found = serde_json::Map::new();
    for (name, counted) in counts {
        match counted {
            Ok(number) => {
                found.insert(name.to_owned(), number.into());
            }
            Err(error) => part = part.without(format!("calls, {name}"), plain(&error)),
        }
    }
    let waiting: u64 = ["batch", "new", "sending"]
        .iter()
        .filter_map(|name| found.get(*name)?.as_u64())
        .sum();
    Ok(part.note(format!("{waiting} waiting")).json(
        &setting.redactor,
        "calls.json",
        json!({ "schema": 1, "calls": found }),
    ))
}
