//! Who is working on what: asked of the workers themselves, over Redis.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::state::{Kind, Task};
use crate::diagnosis::Code;
use crate::diagnosis::check::Halt;
use crate::diagnosis::scene::Scene;
use crate::host::redis::pidbox::{self, Asked};

/// Whether a task has somebody who works on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A worker says that it runs it.
    Alive,
    /// All workers answered, and none runs it (or there is none at all).
    Nobody,
    /// A worker does not answer; it may have it.
    Unclear,
}

/// What the workers said.
#[derive(Debug, Default)]
pub struct Workers {
    /// How many there are.
    pub count: usize,
    /// How many of them said nothing.
    pub silent: usize,
    /// Those that answered, by name: `celery@HOST`.
    pub nodes: Vec<String>,
    /// The tasks that they run.
    pub running: Vec<Running>,
}

/// A task that a worker runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Running {
    id: String,
    name: String,
    org: i64,
    /// When it began, seconds since 1970, by the worker's clock.
    began: Option<f64>,
    /// Who runs it: `celery@HOST`.
    pub node: String,
    /// The process that runs it, by its number in the worker's container.
    pub pid: Option<u32>,
}

/// Longest time between the beginning of a task and its taking of the lock.
const TAKEN_WITHIN: Duration = Duration::from_secs(3);

impl Workers {
    /// Asks twice, a moment apart: only what is in both answers has an owner. Beside the owner of
    /// a lock there are runs that see it and skip, in milliseconds.
    pub async fn ask(scene: &Scene) -> Result<Self, Halt> {
        let first = Self::ask_once(scene).await?;
        if first.running.is_empty() {
            return Ok(first);
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
        let mut second = Self::ask_once(scene).await?;
        let before = |id: &str| first.running.iter().any(|task| task.id == id);
        second.running.retain(|task| before(&task.id));
        second.silent = second.silent.max(first.silent);
        Ok(second)
    }

    async fn ask_once(scene: &Scene) -> Result<Self, Halt> {
        let url = scene.redis_database("casepro")?.url;
        // Waits as long only where a worker says nothing.
        let limit = scene.time_left().min(Duration::from_millis(1500));
        match pidbox::ask(&url, "active", None, limit).await {
            Ok(asked) => Ok(Self::read(&asked)),
            Err(error) if error.refuses_writes() => {
                Err(Halt::blocked(Code::RedisReadonly, error.to_string()))
            }
            Err(error) => Err(Halt::blocked(
                Code::RedisUnreachable,
                format!("Casepro's workers cannot be asked: {error}"),
            )),
        }
    }

    fn read(asked: &Asked) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let tasks = asked.answers.iter().flat_map(|(node, answer)| {
            let tasks = answer.as_array().into_iter().flatten();
            tasks.map(move |task| (node, task))
        });
        Self {
            count: asked.heard,
            silent: asked.heard.saturating_sub(asked.answers.len()),
            nodes: asked.answers.keys().cloned().collect(),
            running: tasks
                .filter_map(|(node, task)| {
                    Some(Running {
                        id: text(&task["id"]),
                        name: text(&task["name"]),
                        org: first_number(&task["args"])?,
                        began: task["time_start"].as_f64(),
                        node: node.clone(),
                        pid: task["worker_pid"]
                            .as_u64()
                            .and_then(|pid| pid.try_into().ok()),
                    })
                })
                .collect(),
        }
    }

    /// The run of this task that has been under way (or held its lock) for so long. What began
    /// later is another run, that will find the lock and skip.
    pub fn run_of(&self, task: &Task, age: Option<Duration>, now: Timestamp) -> Option<&Running> {
        self.run(task.kind, task.org, age, now)
    }

    fn run(&self, kind: Kind, org: i64, age: Option<Duration>, now: Timestamp) -> Option<&Running> {
        let now = now.as_millisecond() as f64 / 1000.0;
        self.running.iter().find(|task| {
            let is_old_enough = match (task.began, age) {
                (Some(began), Some(age)) => {
                    now - began + TAKEN_WITHIN.as_secs_f64() >= age.as_secs_f64()
                }
                _ => true,
            };
            task.name == kind.task() && task.org == org && is_old_enough
        })
    }

    /// Who has this task: see [`Workers::run_of`].
    pub fn owner(&self, task: &Task, age: Option<Duration>, now: Timestamp) -> Owner {
        self.owner_of(task.kind, task.org, age, now)
    }

    fn owner_of(&self, kind: Kind, org: i64, age: Option<Duration>, now: Timestamp) -> Owner {
        if self.run(kind, org, age, now).is_some() {
            Owner::Alive
        } else if self.silent > 0 {
            Owner::Unclear
        } else {
            Owner::Nobody
        }
    }
}

/// Arguments are a list in Celery 5 and the text of a list or tuple in 4.
fn first_number(arguments: &Value) -> Option<i64> {
    match arguments {
        Value::Array(all) => all.first()?.as_i64(),
        Value::String(text) => text
            .trim_start_matches(['(', '['])
            .split([',', ')', ']'])
            .next()?
            .trim()
            .parse()
            .ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn owner(workers: &Workers, kind: Kind, org: i64) -> Owner {
        workers.owner_of(
            kind,
            org,
            Some(Duration::from_secs(60)),
            Timestamp::UNIX_EPOCH,
        )
    }

    #[test]
    fn a_run_that_began_after_the_lock_was_taken_does_not_own_it() {
        let name = "casepro.msgs.tasks.pull_messages";
        for (began, owned) in [
            (-0.2, Owner::Nobody),
            (-60.0, Owner::Alive),
            (-57.5, Owner::Alive),
        ] {
            let task = json!({"id": "x", "name": name, "args": [1], "time_start": began});
            let workers = asked(1, json!({ "celery@a": [task] }));
            assert_eq!(owner(&workers, Kind::Messages, 1), owned, "{began}");
        }
    }

    fn asked(heard: usize, answers: Value) -> Workers {
        let answers = serde_json::from_value(answers).unwrap();
        Workers::read(&Asked { heard, answers })
    }

    #[test]
    fn an_owner_is_found_in_the_form_of_both_celeries() {
        let name = "casepro.msgs.tasks.pull_messages";
        for arguments in [json!([1]), json!("[1]"), json!("(1,)"), json!("(1, 2)")] {
            let workers = asked(
                1,
                json!({"celery@a": [{"id": "x", "name": name, "args": arguments}]}),
            );
            assert_eq!(owner(&workers, Kind::Messages, 1), Owner::Alive);
            assert_eq!(owner(&workers, Kind::Messages, 2), Owner::Nobody);
            assert_eq!(owner(&workers, Kind::Contacts, 1), Owner::Nobody);
        }
    }

    #[test]
    fn a_worker_that_says_nothing_may_be_the_owner() {
        let workers = asked(2, json!({"celery@a": []}));
        assert_eq!(owner(&workers, Kind::Messages, 1), Owner::Unclear);
        assert_eq!(
            owner(&asked(0, json!({})), Kind::Messages, 1),
            Owner::Nobody
        );
    }

    #[test]
    fn what_makes_no_sense_is_no_owner() {
        let workers = asked(
            1,
            json!({"celery@a": {"error": "x"}, "celery@b": [1, {"args": "()"}]}),
        );
        assert_eq!(owner(&workers, Kind::Messages, 1), Owner::Nobody);
    }
}
