//! The queues of mailroom and courier in Redis (stack.md section 3.2). Age is told by `queued_on`
//! in a task, never by its score, which is in seconds here, milliseconds there, and holds the
//! priority too.

use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::diagnosis::check::{Checked, Halt, Report};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Evidence, Finding, words};
use crate::host::redis::resp::{Connection, RedisError, Reply};

/// So many of the next tasks are looked at.
const LOOKED_AT: &str = "99";

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// One queue: a sorted set.
struct Queue {
    key: String,
    /// For people: "batch of workspace 1".
    name: String,
    /// Workers that are at work for it, as it is counted in Redis.
    busy: f64,
}

/// A task that waits.
struct Task {
    text: String,
    queued: Timestamp,
}

/// Whose queues they are.
struct Taker {
    service: &'static str,
    what: &'static str,
    impact: &'static str,
    interrupts: &'static str,
}

const MAILROOM: Taker = Taker {
    service: "mailroom",
    what: "task",
    impact: "flows do not run: contacts get no answers, and started flows do not begin",
    interrupts: "flows, a few seconds; what waits is done afterwards",
};

const COURIER: Taker = Taker {
    service: "courier",
    what: "message",
    impact: "contacts do not get their messages; nothing is lost, they go out afterwards",
    interrupts: "sending and receiving of messages, about 5 s",
};

pub async fn mailroom(scene: Rc<Scene>) -> Checked {
    let mut redis = scene.redis("rapidpro").await?;
    let mut queues = Vec::new();
    for kind in ["batch", "handler"] {
        let active = format!("{kind}:active");
        for (org, busy) in members(&mut redis, &active).await.map_err(Halt::no_reply)? {
            queues.push(Queue {
                key: format!("{kind}:{org}"),
                name: format!("{kind} of workspace {org}"),
                busy,
            });
        }
    }
    look(&scene, &mut redis, &MAILROOM, queues).await
}

pub async fn courier(scene: Rc<Scene>) -> Checked {
    let mut redis = scene.redis("rapidpro").await?;
    let mut queues = Vec::new();
    for state in ["msgs:active", "msgs:throttled", "msgs:future"] {
        for (queue, busy) in members(&mut redis, state).await.map_err(Halt::no_reply)? {
            // `msgs:CHANNEL|TPS`; replies wait in /1, what was sent to many in /0.
            let channel = queue.trim_start_matches("msgs:");
            let channel = channel.split('|').next().unwrap_or(channel).to_owned();
            for (priority, word) in [("1", "replies"), ("0", "bulk")] {
                queues.push(Queue {
                    key: format!("{queue}/{priority}"),
                    name: format!("{word} of channel {channel}"),
                    busy,
                });
            }
        }
    }
    look(&scene, &mut redis, &COURIER, queues).await
}

async fn look(
    scene: &Scene,
    redis: &mut Connection,
    taker: &'static Taker,
    queues: Vec<Queue>,
) -> Checked {
    let limit = scene.context.settings.interval("QUEUE_AGE");
    let mut report = Report::fine();
    let mut total = 0;
    let mut old = Vec::new();
    for queue in queues {
        let length = redis
            .call(&["ZCARD", &queue.key])
            .await
            .map_err(Halt::no_reply)?;
        let length: u64 = length.text().parse().unwrap_or_default();
        total += length;
        let Some(task) = oldest(redis, &queue.key).await.map_err(Halt::no_reply)? else {
            continue;
        };
        let age = scene.since(task.queued);
        if age > limit {
            old.push((queue, task, age, length));
        }
    }
    if total > 0 {
        report.figure(format!("{} {total} waiting", taker.service));
    }
    if old.is_empty() {
        return Ok(report);
    }
    tokio::time::sleep(PAUSE.min(scene.time_left() / 2)).await;
    for (queue, task, age, length) in old {
        let left = redis
            .call(&["ZCARD", &queue.key])
            .await
            .map_err(Halt::no_reply)?;
        let left: u64 = left.text().parse().unwrap_or_default();
        let there = redis.call(&["ZSCORE", &queue.key, &task.text]).await;
        // Something was taken: slowly, but it moves.
        if there.map_err(Halt::no_reply)? == Reply::Nil || left < length {
            continue;
        }
        report.found(finding(scene, taker, &queue, &task, age, left, limit));
    }
    Ok(report)
}

/// The members of a sorted set and their scores.
async fn members(redis: &mut Connection, key: &str) -> Result<Vec<(String, f64)>, RedisError> {
    let reply = redis
        .call(&["ZRANGE", key, "0", "-1", "WITHSCORES"])
        .await?;
    let Reply::Array(items) = reply else {
        return Ok(Vec::new());
    };
    Ok(items
        .chunks_exact(2)
        .map(|pair| (pair[0].text(), pair[1].text().parse().unwrap_or_default()))
        .collect())
}

/// Of the tasks that are next the one that has waited longest.
async fn oldest(redis: &mut Connection, key: &str) -> Result<Option<Task>, RedisError> {
    let reply = redis.call(&["ZRANGE", key, "0", LOOKED_AT]).await?;
    let Reply::Array(items) = reply else {
        return Ok(None);
    };
    Ok(items
        .iter()
        .filter_map(|item| {
            let text = item.text();
            let queued = queued_on(&text)?;
            Some(Task { text, queued })
        })
        .min_by_key(|task| task.queued))
}

/// `queued_on` of a task of mailroom, or the first one of courier's messages, of which several
/// may be one element.
fn queued_on(text: &str) -> Option<Timestamp> {
    let json: Value = serde_json::from_str(text).ok()?;
    let tasks = match &json {
        Value::Array(messages) => messages.as_slice(),
        task => std::slice::from_ref(task),
    };
    tasks
        .iter()
        .filter_map(|task| {
            let text = task["queued_on"].as_str().or(task["created_on"].as_str());
            text?.parse().ok()
        })
        .min()
}

fn finding(
    scene: &Scene,
    taker: &Taker,
    queue: &Queue,
    task: &Task,
    age: Duration,
    length: u64,
    limit: Duration,
) -> Finding {
    let service = taker.service;
    let age = words::age(age);
    let summary = format!(
        "{} does not take from its queue: {} waiting in {}, the oldest for {age}",
        capital(service),
        words::count(length, taker.what),
        queue.name
    );
    let db = scene
        .redis_database("rapidpro")
        .map_or_else(|_| "0".to_owned(), |database| database.url.db().to_string());
    // At work and slow, or not at work at all.
    let mut finding = if queue.busy > 0.0 {
        Finding::warning(Code::QueueGrowing, summary)
    } else {
        Finding::error(Code::QueueGrowing, summary)
    };
    finding = finding
        .service(service)
        .owner("rapidpro")
        .evidence(
            Evidence::new(
                format!("oldest {} in {}", taker.what, queue.key),
                format!("queued {:.0}, {age} ago", task.queued),
                format!("Redis, database {db}"),
            )
            .threshold(format!("{} (QUEUE_AGE)", words::age(limit)))
            .command(format!(
                "redis-cli -n {db} zcard '{}'    (--askpass where it has a password)",
                queue.key
            )),
        )
        .evidence(Evidence::new(
            "taken between two looks",
            format!(
                "none; {} at work for it",
                words::count(queue.busy.max(0.0) as u64, "worker")
            ),
            format!("Redis, database {db}"),
        ))
        .impact(taker.impact);
    if let Some(idle) = idle_by_command(scene, service) {
        finding = finding.cause(idle);
    }
    finding
        .fix(scene.command(&format!("fix service {service}")))
        .manual(scene.command(&format!("logs -n 50 {service}")))
        .manual(scene.command(&format!("restart {service}")))
        .interrupts(taker.interrupts)
}

/// Mailroom without workers takes nothing, and its crons run all the same: so it is left behind by
/// the wiki's way to upgrade.
fn idle_by_command(scene: &Scene, service: &str) -> Option<String> {
    let own = &scene.context.settings.places.compose_override;
    let text = std::fs::read_to_string(own).ok()?;
    let idle = service == "mailroom"
        && [
            "batch-workers",
            "handler-workers",
            "BATCH_WORKERS",
            "HANDLER_WORKERS",
        ]
        .iter()
        .any(|word| text.contains(word));
    idle.then(|| format!("{} sets the number of its workers", own.display()))
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_a_task_is_in_it() {
        let time = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        assert_eq!(
            queued_on(r#"{"type":"start_flow","org_id":1,"queued_on":"2026-11-25T20:00:00.5Z"}"#),
            time("2026-11-25T20:00:00.5Z")
        );
        assert_eq!(
            queued_on(
                r#"[{"id":1,"queued_on":"2026-11-25T20:00:01+03:00"},{"id":2,"created_on":"2026-11-25T16:59:59Z"}]"#
            ),
            time("2026-11-25T16:59:59Z")
        );
        assert_eq!(queued_on("{}"), None);
        assert_eq!(queued_on("[]"), None);
        assert_eq!(queued_on("x"), None);
    }
}
