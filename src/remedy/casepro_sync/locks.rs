//! Locks of pulls without an owner go; those of a living one stay, wherever it is.

use std::time::Duration;

use super::{name, tell};
use crate::diagnosis::Halt;
use crate::diagnosis::facts::casepro::locks as held;
use crate::diagnosis::facts::casepro::owners::Workers;
use crate::fault::Fault;
use crate::host::text::count;
use crate::operation::Kind as Event;
use crate::remedy::Job;
use crate::remedy::looked::unseen;

/// A worker that was stopped a moment ago may listen to Redis a moment longer.
const GOES_WITHIN: Duration = Duration::from_secs(5);

/// Deletes what nobody holds.
pub async fn delete(job: &Job) -> Result<(), Fault> {
    let gone = work(job).await;
    gone.map_err(|halt| unseen(job, "casepro-sync: locks cannot be deleted", halt))
}

async fn work(job: &Job) -> Result<(), Halt> {
    let mut scene = job.look();
    let began = tokio::time::Instant::now();
    // Whoever listens still, once the worker and its one-offs are gone, is elsewhere.
    let workers = loop {
        let workers = Workers::ask(&scene).await?;
        let own = scene.containers().await?;
        let lives = own.iter().any(|container| {
            container.is_running()
                && workers
                    .nodes
                    .iter()
                    .any(|node| node.ends_with(&container.hostname))
        });
        if workers.count == 0 || lives || began.elapsed() >= GOES_WITHIN {
            break workers;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        scene = job.look();
    };
    let catches_up = scene
        .containers()
        .await?
        .iter()
        .any(crate::lifecycle::surroundings::catches_up);
    let locks = if workers.count == 0 && !catches_up {
        // Nobody is there who could hold one, however young it is.
        held::all(&scene).await?
    } else {
        held::stale(&scene).await?.0
    };
    let mut redis = scene.redis("casepro").await?;
    let mut deleted = Vec::new();
    for lock in &locks {
        let key = lock.task.lock();
        let asked = tokio::time::timeout(scene.time_left(), redis.call(&["DEL", &key])).await;
        let answer = asked
            .map_err(|_| Halt::unknown("Redis: no answer in time"))?
            .map_err(Halt::no_reply)?;
        if answer.text() == "1" {
            deleted.push(format!("{key} ({})", name(&lock.task)));
        }
    }
    let who = match workers.count {
        0 => "checked first: no worker lives".to_owned(),
        n => format!("checked first: none of {} is at it", count(n, "worker")),
    };
    if deleted.is_empty() {
        tell(
            job,
            "locks",
            Event::Done,
            None,
            format!("none without an owner; {who}"),
        );
    } else {
        let detail = format!(
            "{} deleted: {}; {who}",
            count(deleted.len(), "lock"),
            deleted.join(", ")
        );
        tell(job, "locks", Event::Done, None, detail);
    }
    Ok(())
}
