//! Celery's lists in Redis. A waiting task says nothing of its age, so that is told by two looks:
//! the task that is next is still the same. An earlier diagnosis may have been the first look; where
//! there was none, tasks that the beat adds at known intervals tell how long they have gathered.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;

use super::app::App;
use crate::diagnosis::check::{Checked, Halt, Report};
use crate::diagnosis::samples::Sample;
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Evidence, Finding, words};
use crate::host::redis::resp::{Connection, RedisError};

/// So many of the oldest tasks are looked at.
const LOOKED_AT: usize = 300;

/// Between two looks of one diagnosis, at the most.
const PAUSE: Duration = Duration::from_secs(1);

pub async fn lists(scene: Rc<Scene>, app: &'static App) -> Checked {
    let settings = &scene.context.settings;
    let limit = settings.interval("QUEUE_AGE");
    let mut redis = scene.redis(app.owner).await?;
    let mut report = Report::fine();
    let mut total = 0;
    for list in app.lists {
        let length = length(&mut redis, list).await.map_err(Halt::no_reply)?;
        total += length;
        let Some(first) = oldest(&mut redis, list, 1)
            .await
            .map_err(Halt::no_reply)?
            .pop()
        else {
            continue;
        };
        let name = format!("queue:{}:{list}", app.owner);
        let mark = mark(&first);
        scene.sample(name.clone(), mark);
        let seen =
            since(scene.samples.of(&name), mark).map_or(Duration::ZERO, |at| scene.since(at));
        let tasks = oldest(&mut redis, list, LOOKED_AT)
            .await
            .map_err(Halt::no_reply)?;
        let gathered = gathered(&tasks, |task| app.period(task, settings));
        let age = seen.max(gathered);
        if age <= limit {
            continue;
        }
        tokio::time::sleep(PAUSE.min(scene.time_left() / 2)).await;
        let again = oldest(&mut redis, list, 1)
            .await
            .map_err(Halt::no_reply)?
            .pop();
        // It moves: slowly, but it does.
        if again.as_ref() != Some(&first) {
            continue;
        }
        report.found(finding(&scene, app, list, length, age, limit, &first));
    }
    if total > 0 {
        report.figure(format!("{} {total} waiting", app.name));
    }
    Ok(report)
}

async fn length(redis: &mut Connection, list: &str) -> Result<u64, RedisError> {
    let reply = redis.call(&["LLEN", list]).await?;
    Ok(reply.text().parse().unwrap_or_default())
}

/// The tasks that have waited longest, the next one last: Celery adds on the left.
async fn oldest(
    redis: &mut Connection,
    list: &str,
    count: usize,
) -> Result<Vec<String>, RedisError> {
    use crate::host::redis::resp::Reply;
    let from = format!("-{count}");
    match redis.call(&["LRANGE", list, &from, "-1"]).await? {
        Reply::Array(items) => Ok(items.iter().map(Reply::text).collect()),
        _ => Ok(Vec::new()),
    }
}

/// A number for a task, that a sample can hold.
fn mark(task: &str) -> f64 {
    let mut hasher = DefaultHasher::new();
    task.hash(&mut hasher);
    // As many bits as a float keeps exactly.
    (hasher.finish() >> 12) as f64
}

/// Since when every look has seen this mark.
pub(super) fn since(samples: &[Sample], mark: f64) -> Option<jiff::Timestamp> {
    samples
        .iter()
        .rev()
        .take_while(|sample| sample.value == mark)
        .last()
        .map(|sample| sample.at)
}

/// How long tasks have gathered that are added at known intervals.
fn gathered(tasks: &[String], period: impl Fn(&str) -> Option<Duration>) -> Duration {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for task in tasks.iter().filter_map(|task| name(task)) {
        *counts.entry(task).or_default() += 1;
    }
    counts
        .iter()
        .filter_map(|(task, count)| Some(period(task)? * (count - 1)))
        .max()
        .unwrap_or_default()
}

/// A task's name and its arguments (Celery's message protocol 2: both are in the headers).
fn name(task: &str) -> Option<String> {
    let message: Value = serde_json::from_str(task).ok()?;
    let name = message["headers"]["task"].as_str()?;
    let arguments = message["headers"]["argsrepr"].as_str().unwrap_or_default();
    Some(match arguments {
        "" | "()" | "[]" => name.to_owned(),
        arguments => format!("{name}{arguments}"),
    })
}

fn finding(
    scene: &Scene,
    app: &App,
    list: &str,
    length: u64,
    age: Duration,
    limit: Duration,
    next: &str,
) -> Finding {
    let age = words::age(age);
    let count = words::count(length, "task");
    // Who takes from this list first of all.
    let service = app.workers[0];
    let db = scene
        .redis_database(app.owner)
        .map_or_else(|_| "0".to_owned(), |database| database.url.db().to_string());
    Finding::error(
        Code::QueueGrowing,
        format!(
            "{}'s queue {list} has not moved for {age}: {count} wait",
            app.name
        ),
    )
    .service(service)
    .owner(app.owner)
    .evidence(
        Evidence::new(
            "the next task",
            format!(
                "{}, the next for {age}",
                name(next).unwrap_or_else(|| "of unknown form".to_owned())
            ),
            format!("Redis, database {db}, list {list}"),
        )
        .threshold(format!("{} (QUEUE_AGE)", words::age(limit)))
        .command(format!(
            "redis-cli -n {db} llen {list}    (--askpass where it has a password)"
        )),
    )
    .impact(app.without_tasks)
    .cause("no worker takes from this list, or all of them hang")
    .fix(scene.command("fix celery"))
    .manual(format!(
        "docker compose -p {} exec {service} {} inspect active_queues",
        scene.context.settings.project(),
        app.celery
    ))
    .manual(scene.command(&format!("restart {}", app.workers.join(" "))))
    .interrupts(format!("the background work of {}, about 10 s", app.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(name: &str, arguments: &str) -> String {
        serde_json::json!({"headers": {"task": name, "argsrepr": arguments}}).to_string()
    }

    #[test]
    fn tasks_that_come_every_minute_tell_the_time() {
        let mut tasks = vec![task("squash_flowcounts", "()"); 4];
        tasks.extend(vec![task("send_export", "(1,)"); 40]);
        let period = |task: &str| {
            task.starts_with("squash_")
                .then_some(Duration::from_secs(60))
        };
        assert_eq!(gathered(&tasks, period), Duration::from_secs(180));
        assert_eq!(gathered(&[], period), Duration::ZERO);
        assert_eq!(gathered(&["rubbish".to_owned()], period), Duration::ZERO);
    }

    #[test]
    fn the_same_task_next_since_then() {
        let sample = |second, value| Sample {
            at: jiff::Timestamp::from_second(second).unwrap(),
            value,
        };
        let samples = [sample(10, 1.0), sample(20, 2.0), sample(30, 2.0)];
        assert_eq!(since(&samples, 2.0).unwrap().as_second(), 20);
        assert_eq!(since(&samples, 1.0), None);
        assert_eq!(since(&[], 1.0), None);
    }

    #[test]
    fn a_mark_survives_a_file() {
        let mark = mark("some task");
        let text = serde_json::to_string(&mark).unwrap();
        assert_eq!(serde_json::from_str::<f64>(&text).unwrap(), mark);
    }
}
