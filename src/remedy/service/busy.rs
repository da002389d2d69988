//! A Celery worker that is at work is not restarted: what it does would be done twice, or leave its
//! lock behind.

use std::time::Duration;

use crate::engine::containers::Container;
use crate::fault::Fault;
use crate::host::redis::pidbox;
use crate::remedy::Job;

/// How long a worker may take to say what it does.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why the container's worker must not be stopped now, if that is so. One that does not answer makes
/// no progress.
pub async fn fault(job: &Job, container: &Container) -> Option<Fault> {
    let name = &container.service;
    if !name.ends_with("-celery") {
        return None;
    }
    let owner = job.context.stack.service(name)?.data?;
    let database = job.look().redis_database(owner).ok()?;
    let answers = pidbox::inspect(&database.url, "active", None, PATIENCE).await;
    let answers = answers.ok()?;
    let (_, active) = answers.iter().find(|(node, _)| {
        node.split_once('@').map_or(node.as_str(), |(_, host)| host) == container.hostname
    })?;
    let tasks = active.as_array()?;
    let first = tasks.first()?;
    Some(
        Fault::problem(
            format!("{name}: at work"),
            "its worker does tasks, and is not interrupted",
        )
        .evidence(format!(
            "{}, among them {}",
            crate::host::text::count(tasks.len(), "task"),
            first["name"].as_str().unwrap_or("one without a name")
        ))
        .why("a task that is cut off is done twice, or leaves its lock behind for hours")
        .next(job.again.clone())
        .next(job.command("diagnose celery-stalled")),
    )
}
