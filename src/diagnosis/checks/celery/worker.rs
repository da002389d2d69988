//! A Celery worker as it can be seen from outside: its processes, and what it answers over Redis.

use std::time::Duration;

use crate::diagnosis::check::{Halt, blocking};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, words};
use crate::engine::containers::Container;
use crate::host::processes::{self, Process};
use crate::host::redis::pidbox::{self, Answers};

use super::app::App;

/// The processes of a worker.
#[derive(Debug, Clone)]
pub struct Worker {
    /// The one that takes tasks from Redis and gives them to its children.
    pub main: Process,
    /// Its children: those that do the tasks, and the beat.
    pub children: Vec<Process>,
}

/// The worker in a container; `None` where there is no process of Celery in it.
pub async fn look(container: &Container) -> Result<Option<Worker>, Halt> {
    let Some(pid) = container.pid else {
        return Ok(None);
    };
    match blocking(move || processes::family(pid)).await? {
        Ok(family) => Ok(find(family)),
        Err(error) => Err(Halt::unknown(format!(
            "the processes of {} cannot be seen: {error}",
            container.name
        ))),
    }
}

/// The first process of Celery: before it may stand an init and a shell.
fn find(family: Vec<Process>) -> Option<Worker> {
    let main = family.iter().find(|process| is_celery(process))?.clone();
    let children = family
        .into_iter()
        .filter(|process| process.parent == main.pid && !process.is_dead())
        .filter(|process| process.words == main.words || is_celery(process))
        .collect();
    Some(Worker { main, children })
}

/// A Python program that is Celery, or a process that has given itself such a title
/// (`[celeryd: ...]`). An init (tini) has the same words and another first one.
fn is_celery(process: &Process) -> bool {
    let Some((first, rest)) = process.words.split_first() else {
        return false;
    };
    let program = first.rsplit('/').next().unwrap_or(first);
    let is_python = program.starts_with("python");
    program.contains("celery") || (is_python && rest.iter().any(|word| word.contains("celery")))
}

impl Worker {
    /// Whether one of its words is this option or command. A title has them in parentheses.
    pub fn has_word(&self, wanted: &str) -> bool {
        self.main
            .words
            .iter()
            .any(|word| word.trim_matches(['(', ')']) == wanted)
    }

    /// Its command line asks for a beat: within a worker, or as the only work.
    pub fn has_beat(&self) -> bool {
        self.has_word("--beat") || self.has_word("-B") || self.is_beat()
    }

    /// It is nothing but a beat: `celery beat`.
    pub fn is_beat(&self) -> bool {
        self.has_word("beat") && !self.has_word("worker")
    }
}

/// The name under which a worker of this container answers.
pub fn node<'a>(answers: &'a Answers, container: &Container) -> Option<&'a serde_json::Value> {
    answers
        .iter()
        .find(|(name, _)| host(name) == container.hostname)
        .map(|(_, answer)| answer)
}

/// `celery@HOST`
pub fn host(node: &str) -> &str {
    node.split_once('@').map_or(node, |(_, host)| host)
}

/// What all workers of an application answer to a question. Those that do not answer in `limit`
/// are not among them.
pub async fn ask(
    scene: &Scene,
    app: &App,
    question: &str,
    limit: Duration,
) -> Result<Answers, Halt> {
    let database = scene.redis_database(app.owner)?;
    pidbox::inspect(&database.url, question, None, limit)
        .await
        .map_err(|why| {
            let by = if why.refuses_writes() {
                Code::RedisReadonly
            } else {
                Code::RedisUnreachable
            };
            Halt::blocked(by, format!("Redis, database {}: {why}", database.url.db()))
        })
}

/// The time that workers are given to answer: enough for a busy machine, with a rest for what
/// follows.
pub fn patience(scene: &Scene) -> Duration {
    scene.time_left() * 3 / 4
}

/// The numbers, in the container, of the processes that do the tasks.
pub fn pool(stats: &serde_json::Value) -> Option<Vec<u32>> {
    let processes = stats["pool"]["processes"].as_array()?;
    Some(
        processes
            .iter()
            .filter_map(|pid| pid.as_u64()?.try_into().ok())
            .collect(),
    )
}

/// "2 processes", "1 process".
pub fn processes(count: usize) -> String {
    words::count(count, "process").replace("processs", "processes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, parent: u32, line: &str) -> Process {
        Process {
            pid,
            inner_pid: pid,
            parent,
            state: 'S',
            words: line.split(' ').map(str::to_owned).collect(),
        }
    }

    #[test]
    fn the_worker_is_found_behind_an_init() {
        let line = "/venv/bin/python /venv/bin/celery --app=casepro worker --beat";
        let worker = find(vec![
            process(
                1,
                0,
                "tini -- django-entrypoint.sh celery --app=casepro worker --beat",
            ),
            process(7, 1, line),
            process(8, 7, line),
            process(9, 7, "sh -c something"),
        ])
        .unwrap();
        assert_eq!(worker.main.pid, 7);
        assert_eq!(worker.children.len(), 1);
        assert!(worker.has_beat() && !worker.is_beat());
    }

    #[test]
    fn titles_are_read() {
        let worker = find(vec![
            process(
                1,
                0,
                "[celeryd: celery@a:MainProcess] -active- (worker --beat -B)",
            ),
            process(2, 1, "[celeryd: celery@a:ForkPoolWorker-1]"),
            process(3, 1, "[celery beat]"),
        ])
        .unwrap();
        assert_eq!(worker.children.len(), 2);
        assert!(worker.has_word("-B"));
    }

    #[test]
    fn other_programs_are_none() {
        assert!(find(vec![process(1, 0, "gunicorn casepro.wsgi")]).is_none());
        assert!(find(vec![process(1, 0, "/usr/bin/python manage.py")]).is_none());
    }
}
