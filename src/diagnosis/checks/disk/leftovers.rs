//! What Docker keeps and nobody uses.

use std::rc::Rc;

use crate::diagnosis::check::{Checked, Halt, Report};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::words;
use crate::diagnosis::{Code, Evidence, Finding};
use crate::engine::system::Beside;
use crate::host::disk::human;

/// What is there beside the deployment. Images that the settings name count as used: the next start
/// needs them.
pub async fn beside(scene: &Scene) -> Result<Beside, Halt> {
    let engine = scene.engine().await?;
    let project = scene.context.settings.project();
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
    beside.unused.retain(|image| {
        !image
            .tags
            .iter()
            .any(|tag| configured.contains(&tag.as_str()))
    });
    Ok(beside)
}

/// Size of the unused images, at most: layers that several share are counted for each.
pub fn size(beside: &Beside) -> u64 {
    beside.unused.iter().map(|image| image.size).sum()
}

/// The check `docker-leftovers`.
pub async fn leftovers(scene: Rc<Scene>) -> Checked {
    let settings = &scene.context.settings;
    let limit = settings
        .number("RECLAIMABLE_MB")
        .saturating_mul(1024 * 1024);
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
