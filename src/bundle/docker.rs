//! What is on the Engine: containers, images and networks, without the values of any variable,
//! and what has started and ended lately.

use jiff::{Timestamp, ToSpan as _};
use serde_json::json;

use super::Part;
use super::setting::Setting;
use crate::host::text::count;

/// The deployment's containers, networks and volumes, and all images.
pub async fn inventory(setting: &Setting) -> Result<Part, String> {
    let engine = setting.engine()?;
    let project = setting.context.settings.project();
    let redactor = &setting.redactor;
    let mut part = Part::default();
    let (containers, images, networks, volumes) = tokio::join!(
        engine.described_containers(project),
        engine.described_images(),
        engine.described_networks(project),
        engine.described_volumes(project),
    );
    let mut notes = Vec::new();
    for (name, noun, described) in [
        ("containers", "container", containers),
        ("images", "image", images),
        ("networks", "network", networks),
        ("volumes", "volume", volumes),
    ] {
        match described {
            Ok(described) => {
                notes.push(count(described.len(), noun));
                let value = json!({ "schema": 1, name: described });
                part = part.json(redactor, &format!("docker/{name}.json"), value);
            }
            Err(error) => part = part.without(format!("docker, {name}"), error.to_string()),
        }
    }
    Ok(part.note(notes.join(", ")))
}

/// How far back events are asked for; the Engine itself keeps the last 256 of all.
const HOURS: i64 = 24;

/// Starts, ends and verdicts of health checks of the last day.
pub async fn events(setting: &Setting) -> Result<Part, String> {
    let engine = setting.engine()?;
    let now = Timestamp::now();
    let since = now.checked_sub(HOURS.hours()).unwrap_or(now);
    let project = setting.context.settings.project();
    let events = engine.past_events(project, since, now).await;
    let events = events.map_err(|error| error.to_string())?;
    let note = format!("{} in {HOURS} h", count(events.len(), "event"));
    let value = json!({ "schema": 1, "since": since, "events": events });
    Ok(Part::default()
        .json(&setting.redactor, "docker/events.json", value)
        .note(note))
}
