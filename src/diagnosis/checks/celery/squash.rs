//! What RapidPro's beat leaves behind when it works: every minute it has rows of counts summed up
//! (stack.md section 3.3). Rows that an earlier diagnosis has seen and that are still not summed up
//! say that it does not, although its process lives.

use std::time::Duration;

use super::lists::since;
use crate::diagnosis::check::Halt;
use crate::diagnosis::scene::Scene;
use crate::host::redis::resp::Reply;

/// A table, and the lock under which its rows are summed up (temba/utils/celery.py); while that is
/// taken, a task is at work or was killed, and nothing is said of the beat.
const TABLES: &[(&str, &str)] = &[
    (
        "channels_channelcount",
        "celery-task-lock:squash_channelcounts",
    ),
    (
        "contacts_contactgroupcount",
        "celery-task-lock:squash_contactgroupcounts",
    ),
    ("flows_flowruncount", "celery-task-lock:squash_flowcounts"),
    ("msgs_systemlabelcount", "celery-task-lock:squash_msgcounts"),
    ("orgs_topupcredits", "squash_topupcredits"),
];

/// Rows that have waited for too long.
pub struct Left {
    /// Where.
    pub table: &'static str,
    /// For how long at least.
    pub age: Duration,
}

/// The rows that have waited longest, if they have for longer than `limit` and nothing else
/// explains it: no table has moved meanwhile, and no task waits for a worker.
pub async fn left(scene: &Scene, limit: Duration) -> Result<Option<Left>, Halt> {
    let session = scene.postgres("rapidpro").await?;
    let mut redis = scene.redis("rapidpro").await?;
    let mut worst: Option<Left> = None;
    let mut moved = false;
    for (table, lock) in TABLES {
        // Releases differ in their tables.
        let query = format!("SELECT min(id) FROM {table} WHERE NOT is_squashed");
        let Ok(rows) = session.rows(&query).await else {
            continue;
        };
        let first = rows.first().map_or(0, |row| row.number(0)) as f64;
        let name = format!("unsquashed:{table}");
        let samples = scene.samples.of(&name);
        scene.sample(name.clone(), first);
        let recent = |sample: &&crate::diagnosis::samples::Sample| {
            Duration::try_from(scene.now.duration_since(sample.at)).is_ok_and(|age| age <= limit)
        };
        moved |= samples
            .iter()
            .filter(recent)
            .any(|sample| sample.value != 0.0 && sample.value != first);
        let age = since(samples, first)
            .filter(|_| first != 0.0)
            .map_or(Duration::ZERO, |at| scene.since(at));
        if age <= limit || worst.as_ref().is_some_and(|worst| worst.age >= age) {
            continue;
        }
        if redis.call(&["EXISTS", lock]).await == Ok(Reply::Integer(0)) {
            worst = Some(Left { table, age });
        }
    }
    if moved || worst.is_none() {
        return Ok(None);
    }
    // Begun by the beat, and not done: that is the workers' fault.
    let waiting = redis.call(&["LLEN", "celery"]).await;
    Ok(worst.filter(|_| waiting == Ok(Reply::Integer(0))))
}
