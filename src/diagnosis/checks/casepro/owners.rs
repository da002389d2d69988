//! Who is working on what: asked of the workers themselves, over Redis.

use std::time::Duration;

use serde_json::Value;

use super::state::{Kind, Task};
use crate::diagnosis::Code;
use crate::diagnosis::check::Halt;
use crate::diagnosis::scene::Scene;
use crate::host::redis::pidbox::{self, Asked};

/// Whether a task has somebody who works on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// A worker says that it runs it.
    Alive,
    /// All workers answered, and none runs it (or there is none at all).
    Nobody,
    /// A worker does not answer; it may have it.
    Unclear,
}

/// What the workers said.
#[derive(Debug, Default)]
pub(super) struct Workers {
    /// How many there are.
    pub(super) count: usize,
    /// How many of them said nothing.
    pub(super) silent: usize,
    /// Id, name and organisation of each task they run.
    running: Vec<(String, String, i64)>,
}

impl Workers {
    /// Asks twice, a moment apart: only what is in both answers has an owner. Beside the owner of
    /// a lock there are runs that see it and skip, in milliseconds.
    pub(super) async fn ask(scene: &Scene) -> Result<Self, Halt> {
        let first = Self::ask_once(scene).await?;
        if first.running.is_empty() {
            return Ok(first);
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
        let mut second = Self::ask_once(scene).await?;
        second.running.retain(|task| first.running.contains(task));
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
        let tasks = asked.answers.values().filter_map(Value::as_array).flatten();
        Self {
            count: asked.heard,
            silent: asked.heard.saturating_sub(asked.answers.len()),
            running: tasks
                .filter_map(|task| {
                    let org = first_number(&task["args"])?;
                    Some((text(&task["id"]), text(&task["name"]), org))
                })
                .collect(),
        }
    }

    /// Who has this task.
    pub(super) fn owner(&self, task: &Task) -> Owner {
        self.owner_of(task.kind, task.org)
    }

    fn owner_of(&self, kind: Kind, org: i64) -> Owner {
        let has = |(_, name, of): &(String, String, i64)| name == kind.task() && *of == org;
        if self.running.iter().any(has) {
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
            assert_eq!(workers.owner_of(Kind::Messages, 1), Owner::Alive);
            assert_eq!(workers.owner_of(Kind::Messages, 2), Owner::Nobody);
            assert_eq!(workers.owner_of(Kind::Contacts, 1), Owner::Nobody);
        }
    }

    #[test]
    fn a_worker_that_says_nothing_may_be_the_owner() {
        let workers = asked(2, json!({"celery@a": []}));
        assert_eq!(workers.owner_of(Kind::Messages, 1), Owner::Unclear);
        assert_eq!(
            asked(0, json!({})).owner_of(Kind::Messages, 1),
            Owner::Nobody
        );
    }

    #[test]
    fn what_makes_no_sense_is_no_owner() {
        let workers = asked(
            1,
            json!({"celery@a": {"error": "x"}, "celery@b": [1, {"args": "()"}]}),
        );
        assert_eq!(workers.owner_of(Kind::Messages, 1), Owner::Nobody);
    }
}
