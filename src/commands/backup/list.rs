//! `ooy backup list`.

use std::time::Duration;

use jiff::Timestamp;

use super::super::{Outcome, context};
use crate::backup::{Backup, Store, kept};
use crate::deployment::places::Places;
use crate::host::disk::human as size;
use crate::ui::table::{self, Side};
use crate::ui::{Ui, human};

pub fn run(ui: &Ui, places: &Places) -> Outcome {
    let context = context(ui, places, "backup")?;
    let store = Store::of(&context.settings);
    let all = store.list().map_err(|error| store.unreadable(&error))?;
    let kept = kept::read(&places.state).map_err(|error| store.unreadable(&error))?;
    if ui.json {
        let backups: Vec<_> = all.iter().map(as_json).collect();
        ui.json(&serde_json::json!({
            "schema": 1, "backups": backups, "kept_databases": kept,
            "absent": store.absent(),
        }))?;
        return Ok(0);
    }
    if all.is_empty() && kept.is_empty() {
        ui.say(&format!(
            "no backup yet (looked in {})",
            store.folder.display()
        ));
    }
    if !all.is_empty() {
        let head = ["BACKUP", "AGE", "SIZE", "DATABASES", "PROVED", "FOLDER"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        let project = context.settings.project();
        rows.extend(all.iter().map(|backup| row(backup, project)));
        let sides = [
            Side::Left,
            Side::Right,
            Side::Right,
            Side::Left,
            Side::Left,
            Side::Left,
        ];
        for line in table::lines(&sides, &rows) {
            ui.out(&line)?;
        }
    }
    if !kept.is_empty() {
        ui.out("")?;
        let head = ["KEPT DATABASE", "AGE", "REPLACED BY"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(
            kept.iter()
                .map(|kept| vec![kept.name.clone(), age(kept.at), kept.replaced_by.clone()]),
        );
        for line in table::lines(&[Side::Left, Side::Right, Side::Left], &rows) {
            ui.out(&line)?;
        }
    }
    for folder in store.absent() {
        ui.say(&format!(
            "! {} cannot be read now; backups in it are not shown",
            folder.display()
        ));
    }
    Ok(0)
}

pub fn age(at: Timestamp) -> String {
    let passed = Timestamp::now().duration_since(at);
    human::age(Duration::try_from(passed).unwrap_or_default())
}

fn row(backup: &Backup, project: &str) -> Vec<String> {
    let folder = backup
        .path
        .parent()
        .map_or(String::new(), |folder| folder.display().to_string());
    let manifest = match &backup.manifest {
        Ok(manifest) => manifest,
        Err(broken) => {
            return vec![
                backup.id.clone(),
                String::new(),
                String::new(),
                String::new(),
                format!("broken: {}", broken.words()),
                folder,
            ];
        }
    };
    let proved = match (&backup.status.failed_at, &backup.status.proved_at) {
        (Some(at), _) => format!(
            "FAILED {} ago: {}",
            age(*at),
            backup.status.failure.as_deref().unwrap_or_default()
        ),
        (None, Some(at)) => format!("{} ago", age(*at)),
        (None, None) => "no".to_owned(),
    };
    let databases: Vec<&str> = manifest
        .databases
        .iter()
        .map(|of| of.owner.as_str())
        .collect();
    let kept = manifest
        .keep
        .as_deref()
        .map_or(String::new(), |keep| format!(" (kept: {keep})"));
    vec![
        backup.id.clone(),
        age(manifest.made_at),
        size(manifest.bytes()),
        match manifest.project == project {
            true => databases.join(" "),
            false => format!("{} (of {})", databases.join(" "), manifest.project),
        },
        format!("{proved}{kept}"),
        folder,
    ]
}

fn as_json(backup: &Backup) -> serde_json::Value {
    let manifest = backup.manifest.as_ref().ok();
    let databases = manifest.map(|manifest| {
        let of = manifest.databases.iter();
        of.map(|dumped| {
            serde_json::json!({
                "owner": dumped.owner, "database": dumped.database, "bytes": dumped.bytes,
                "dump_bytes": dumped.dump_bytes, "rows": dumped.census.rows(),
            })
        })
        .collect::<Vec<_>>()
    });
    serde_json::json!({
        "id": backup.id, "path": backup.path, "made_at": manifest.map(|it| it.made_at),
        "took_ms": manifest.map(|it| it.took_ms), "bytes": manifest.map(|it| it.bytes()),
        "databases": databases, "proved": backup.is_proved(),
        "proved_at": backup.status.proved_at, "failed_at": backup.status.failed_at,
        "failure": backup.status.failure, "keep": backup.keep(),
        "broken": backup.manifest.as_ref().err().map(|broken| broken.words()),
    })
}
