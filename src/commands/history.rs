//! `ooy history`: the journal, one line an operation.

use std::time::Duration;

use super::Outcome;
use crate::cli::History;
use crate::deployment::places::Places;
use crate::operation::journal::{self, Done};
use crate::ui::table::{self, Side};
use crate::ui::{Ui, human};

pub fn run(ui: &Ui, places: &Places, arguments: &History) -> Outcome {
    let operations = journal::operations(&places.state);
    let shown = &operations[operations.len().saturating_sub(arguments.lines)..];
    if ui.json {
        ui.json(&serde_json::json!({ "schema": 1, "operations": shown }))?;
        return Ok(0);
    }
    if shown.is_empty() {
        ui.say(&format!(
            "nothing was done yet (journal: {})",
            places.state.display()
        ));
        return Ok(0);
    }
    let mut rows = vec![
        ["WHEN", "WHO", "WHAT", "TOOK", "DOWN", "RESULT"]
            .map(str::to_owned)
            .to_vec(),
    ];
    rows.extend(shown.iter().map(row));
    let sides = [
        Side::Left,
        Side::Left,
        Side::Left,
        Side::Right,
        Side::Right,
        Side::Left,
    ];
    let lines = table::lines(&sides, &rows);
    ui.out(&lines[0])?;
    for (line, done) in lines[1..].iter().zip(shown) {
        ui.out(line)?;
        if arguments.plan {
            for step in &done.plan {
                ui.out(&format!("    · {step}"))?;
            }
        }
    }
    Ok(0)
}

fn row(done: &Done) -> Vec<String> {
    let zone = jiff::tz::TimeZone::system();
    vec![
        done.began
            .to_zoned(zone)
            .strftime("%Y-%m-%d %H:%M:%S")
            .to_string(),
        done.user.clone(),
        done.operation.clone(),
        time(done.took_ms),
        time(done.down_ms),
        match done.result.as_str() {
            "unfinished" => "unfinished: it was interrupted, or still runs".to_owned(),
            result => format!("{result}: {}", done.detail),
        },
    ]
}

fn time(ms: Option<u64>) -> String {
    ms.map_or_else(
        || "–".to_owned(),
        |ms| human::took(Duration::from_millis(ms)),
    )
}
