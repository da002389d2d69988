//! What Docker keeps and nobody uses.

use std::path::Path;
use std::rc::Rc;

use crate::diagnosis::check::{Checked, Halt, Report, blocking};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::words;
use crate::diagnosis::{Code, Evidence, Finding};
use crate::engine::system::Beside;
use crate::host::disk::human;

/// What is there beside the deployment. Images that the settings name count as used: the next start
/// needs them. So do those that another compose project was built with, and those that are written
/// down in the deployment's state, which a way back would need.
pub async fn beside(scene: &Scene) -> Result<Beside, Halt> {
    let engine = scene.engine().await?;
    let settings = &scene.context.settings;
    let project = settings.project();
    let mut beside = engine.beside(project).await.map_err(|error| {
        Halt::unknown(format!("images and containers cannot be listed: {error}"))
    })?;
    let configured: Vec<&str> = scene
        .context
        .stack
        .services
        .iter()
        .map(|service| service.image.as_str())
        .collect();
    let state = settings.places.state.clone();
    let kept = blocking(move || written_down(&state)).await?;
    beside.unused.retain(|image| {
        let needed = image
            .tags
            .iter()
            .any(|tag| configured.contains(&tag.as_str()) || kept.contains(tag.as_str()));
        let of_another = image.project.as_deref().is_some_and(|of| of != project);
        !needed && !of_another && !kept.contains(&image.id)
    });
    Ok(beside)
}

/// Largest file of the state that is looked at.
const LARGEST: u64 = 1024 * 1024;

/// What stands in the small files of the deployment's state and of the folders in it: images of
/// earlier releases are named there. Journal and figures, which only grow, are left out.
fn written_down(state: &Path) -> String {
    let mut text = String::new();
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries(state).chain(entries(state).flat_map(|inner| entries(&inner.path()))) {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let small = entry
            .metadata()
            .is_ok_and(|about| about.is_file() && about.len() <= LARGEST);
        let other = ["journal.", "samples.", "lock"]
            .iter()
            .any(|other| name.starts_with(other));
        if small && !other && !name.ends_with(".log") {
            let content = std::fs::read(entry.path()).unwrap_or_default();
            text.push_str(&String::from_utf8_lossy(&content));
            text.push('\n');
        }
    }
    text
}

/// Size of the unused images, at most: layers that several share are counted for each.
pub fn size(beside: &Beside) -> u64 {
    beside.unused.iter().map(|image| image.size).sum()
}

/// The check `docker-leftovers`.
pub async fn leftovers(scene: Rc<Scene>) -> Checked {
    let settings = &scene.context.settings;
    let limit = settings.megabytes("RECLAIMABLE_MB");
    let beside = beside(&scene).await?;
    let size = size(&beside);
    if size < limit {
        return Ok(Report::fine());
    }
    // Info: unused images do no harm while there is room. Where there is none, the finding about
    // the disk names them too.
    let mut finding = Finding::info(
        Code::DockerReclaimable,
        format!(
            "Docker keeps {} that nothing uses: up to {}",
            words::count(beside.unused.len(), "image"),
            human(size)
        ),
    )
    .evidence(
        Evidence::new("unused images", largest(&beside), "the Engine's lists")
            .threshold(format!("{} (RECLAIMABLE_MB)", human(limit)))
            .command("docker images --format '{{.Size}}\\t{{.Repository}}:{{.Tag}}' | sort -h"),
    );
    if beside.stopped > 0 {
        finding = finding.evidence(
            Evidence::new(
                "containers of others that do not run",
                beside.stopped.to_string(),
                "the Engine's lists",
            )
            .command("docker ps --all --filter status=exited --filter status=created"),
        );
    }
    Ok(finding
        .impact("nothing now; it is room that can be had")
        .fix(scene.command("fix disk-space"))
        // Never `docker system prune`: it removes stopped containers, which a start needs.
        .manual("docker image prune --all --force")
        .manual("docker builder prune --force")
        .interrupts("nothing")
        .into())
}

/// The three largest, in words.
pub fn largest(beside: &Beside) -> String {
    let mut said: Vec<String> = beside
        .unused
        .iter()
        .take(3)
        .map(|image| format!("{} {}", image.name, human(image.size)))
        .collect();
    let more = beside.unused.len().saturating_sub(said.len());
    if more > 0 {
        said.push(format!("{more} more"));
    }
    said.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_that_the_state_names_are_known() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("release")).unwrap();
        std::fs::write(at("pins.json"), "{\"casepro\":\"casepro:1\"}").unwrap();
        std::fs::write(at("release/rapidpro.json"), "{\"image\":\"sha256:abc\"}").unwrap();
        std::fs::write(at("release/rapidpro.log"), "nginx:1").unwrap();
        std::fs::write(at("journal.jsonl"), "nginx:2").unwrap();
        let text = written_down(folder.path());
        assert!(text.contains("casepro:1") && text.contains("sha256:abc"));
        assert!(!text.contains("nginx"));
    }
}
