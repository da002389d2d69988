//! Workers of Celery in repairs: what they are at, whether they get on with it, and whether they
//! take tasks.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::Job;
use super::looked::unseen;
use crate::diagnosis::facts::celery::app::App;
use crate::diagnosis::facts::celery::worker::{ask, node};
use crate::diagnosis::{Halt, Scene};
use crate::engine::containers::Container;
use crate::fault::Fault;
use crate::host::processes;
use crate::host::redis::task;
use crate::host::text::age;
use crate::operation::Kind;

/// A worker that gets on shows it within this time: a page of what it pulls, a file of rows.
const WATCHED: Duration = Duration::from_secs(8);

/// A task younger than this is let come to its end by the stop itself.
const YOUNG: f64 = 5.0;

/// How long a worker that was just started may need to take a task, on a busy machine too.
const TAKES_WITHIN: Duration = Duration::from_secs(60);

/// A task that is under way and gets on.
#[derive(Debug, Clone, PartialEq)]
pub struct Busy {
    /// Its name.
    pub task: String,
    /// For how long.
    pub since: Duration,
}

impl Busy {
    /// "import_contacts_task for 12 min"
    pub fn words(&self) -> String {
        format!("{} for {}", self.task, age(self.since))
    }
}

/// The tasks of a worker that are under way and get on. A worker that does not answer has none
/// that could be known of.
pub async fn busy(
    scene: &Scene,
    app: &'static App,
    container: &Container,
) -> Result<Vec<Busy>, Halt> {
    let limit = scene.time_left().min(Duration::from_millis(1500));
    let answers = ask(scene, app, "active", limit).await?;
    let now = jiff::Timestamp::now().as_millisecond() as f64 / 1000.0;
    let tasks = node(&answers, container).map(|answer| under_way(answer, now));
    let tasks = tasks.unwrap_or_default();
    let pids = tasks.iter().filter_map(|(_, pid)| *pid);
    let moving = moving(scene, app.owner, container, &pids.collect::<Vec<_>>()).await;
    Ok(tasks
        .into_iter()
        .filter(|(_, pid)| pid.is_some_and(|pid| moving.contains(&pid)))
        .map(|(busy, _)| busy)
        .collect())
}

/// Tasks that are no moment old, with the number of their process in the container.
fn under_way(answer: &Value, now: f64) -> Vec<(Busy, Option<u32>)> {
    let tasks = answer.as_array().into_iter().flatten();
    tasks
        .filter_map(|task| {
            let since = now - task["time_start"].as_f64()?;
            let busy = Busy {
                task: task["name"].as_str().unwrap_or("a task").to_owned(),
                since: Duration::try_from_secs_f64(since).ok()?,
            };
            let pid = task["worker_pid"].as_u64();
            (since >= YOUNG).then(|| (busy, pid.and_then(|pid| pid.try_into().ok())))
        })
        .collect()
}

/// Which of these processes of a container (by their numbers in it) do something: they run, now
/// and then at least, or PostgreSQL works for their container. Ends with the first sign of all.
pub async fn moving(
    scene: &Scene,
    owner: &'static str,
    container: &Container,
    inner: &[u32],
) -> Vec<u32> {
    let Some(first) = container.pid.filter(|_| !inner.is_empty()) else {
        return Vec::new();
    };
    let family = processes::family(first).unwrap_or_default();
    let watched: Vec<(u32, u32, Option<u64>)> = family
        .iter()
        .filter(|process| inner.contains(&process.inner_pid))
        .map(|process| {
            let (inner, pid) = (process.inner_pid, process.pid);
            (inner, pid, processes::activity(pid))
        })
        .collect();
    let began = Instant::now();
    let mut queried = 0;
    loop {
        let moved: Vec<u32> = watched
            .iter()
            .filter(|(_, pid, before)| {
                let now = processes::activity(*pid);
                now.is_some() && now != *before
            })
            .map(|(inner, ..)| *inner)
            .collect();
        if moved.len() == watched.len() || began.elapsed() >= WATCHED {
            return moved;
        }
        // Several times in a row: a short one of another process may be met by chance.
        let works = moved.is_empty() && queries(scene, owner, container).await > 0;
        queried = if works { queried + 1 } else { 0 };
        if queried >= 4 {
            return inner.to_vec();
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// How many questions of this container PostgreSQL is working on, those that wait for a lock left
/// out.
async fn queries(scene: &Scene, owner: &'static str, container: &Container) -> i64 {
    let Ok(session) = scene.postgres(owner).await else {
        return 0;
    };
    let addresses: Vec<String> = container
        .addresses
        .iter()
        .map(|address| format!("'{address}'::inet"))
        .collect();
    if addresses.is_empty() {
        return 0;
    }
    let query = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
         AND state = 'active' AND wait_event_type IS DISTINCT FROM 'Lock' \
         AND client_addr IN ({})",
        addresses.join(", ")
    );
    let rows = session.rows(&query).await.unwrap_or_default();
    rows.first().map_or(0, |row| row.number(0))
}

/// The facts for whoever wanted a worker touched that gets on.
pub fn refuses(job: &Job, container: &Container, busy: &[Busy], limit: Option<Duration>) -> Fault {
    let service = &container.service;
    let mut fault = Fault::problem(
        format!("{service}: it is at work and gets on"),
        "a worker that makes progress is not stopped: what it is at would be lost or begun anew",
    );
    for task in busy {
        fault = fault.evidence(format!("{} runs {}", container.name, task.words()));
        if let Some(limit) = limit {
            let left = limit.saturating_sub(task.since);
            fault = fault.evidence(format!(
                "it ends within {} at the latest (CASEPRO_TASK_TIME_LIMIT)",
                age(left)
            ));
        }
    }
    fault
        .why("the repair is for afterwards; until then the rest waits")
        .next(job.command(&format!("logs {service} -f")))
        .next(job.again.clone())
}

/// Waits until a worker has taken a task after this moment: one that does nothing is put before
/// it, and its own count of tasks that its processes have taken is what tells.
pub async fn takes_tasks(
    job: &Job,
    app: &'static App,
    service: &str,
    limit: Duration,
) -> Result<String, Fault> {
    let began = Instant::now();
    let mut seen: Option<(String, u64)> = None;
    let mut published: Option<Instant> = None;
    let mut why = "it does not answer".to_owned();
    while began.elapsed() < limit {
        let scene = job.look();
        match look(&scene, app, service).await {
            Ok((id, taken, list)) => {
                let before = seen.get_or_insert_with(|| (id.clone(), taken));
                if before.0 != id {
                    *before = (id, taken);
                }
                if taken > before.1 {
                    let at = jiff::Timestamp::now().strftime("%H:%M:%S UTC");
                    return Ok(format!("{service} took a task at {at}"));
                }
                why = format!("it answers, and takes no task from its list {list}");
                // Others may take it: again, until this one does.
                if published.is_none_or(|at| at.elapsed() >= Duration::from_secs(1)) {
                    published = Some(Instant::now());
                    let url = scene.redis_database(app.owner).map(|database| database.url);
                    if let Ok(url) = url {
                        let asked = task::publish_nothing(&url, &list, Duration::from_secs(3));
                        if let Err(error) = asked.await {
                            why = format!("Redis: {error}");
                        }
                    }
                }
            }
            Err(Halt::Unused(said) | Halt::Unknown(said) | Halt::Blocked { why: said, .. }) => {
                why = said;
            }
        }
        job.context.reporter.service(
            "proof",
            service,
            Kind::Progress,
            Some(began.elapsed()),
            "until it takes a task",
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Err(Fault::problem(
        format!("{service}: it takes no tasks"),
        format!("it was seen to take none for {} s", limit.as_secs()),
    )
    .evidence(job.context.mask.apply(&why))
    .why(app.without_tasks)
    .next(job.command(&format!(
        "diagnose celery-{} queues-{}",
        app.owner, app.owner
    )))
    .next(job.command(&format!("logs {service} -n 100"))))
}

/// The same with the time that a worker may need which was just started.
pub async fn takes_tasks_again(
    job: &Job,
    app: &'static App,
    service: &str,
) -> Result<String, Fault> {
    takes_tasks(job, app, service, TAKES_WITHIN).await
}

/// Its container, how many tasks its processes have taken, and the list to put one into.
async fn look(
    scene: &Scene,
    app: &'static App,
    service: &str,
) -> Result<(String, u64, String), Halt> {
    let container = scene.running(service).await?;
    let limit = Duration::from_secs(2).min(scene.time_left());
    let stats = ask(scene, app, "stats", limit).await?;
    let silent = || Halt::unknown(format!("{service} does not answer"));
    let stats = node(&stats, container).ok_or_else(silent)?;
    let queues = ask(scene, app, "active_queues", limit).await?;
    let own = node(&queues, container).ok_or_else(silent)?;
    let others = queues.values().filter(|answer| *answer != own);
    let others: Vec<&str> = others.flat_map(names).collect();
    let own = names(own);
    // Best one that nobody else takes from.
    let list = own
        .iter()
        .find(|name| !others.contains(name))
        .or(own.first())
        .ok_or_else(|| Halt::unknown(format!("{service} takes from no list")))?;
    let total = stats["total"].as_object().into_iter().flatten();
    let taken = total.filter_map(|(_, count)| count.as_u64()).sum();
    Ok((container.id.clone(), taken, (*list).to_owned()))
}

fn names(queues: &Value) -> Vec<&str> {
    let queues = queues.as_array().into_iter().flatten();
    queues.filter_map(|queue| queue["name"].as_str()).collect()
}

/// Lets go on what a signal has stopped in a container; how many that were.
pub fn wake(container: &Container) -> usize {
    let family = container.pid.map(processes::family);
    let family = family.and_then(Result::ok).unwrap_or_default();
    family
        .iter()
        .filter(|process| process.is_stopped())
        .filter(|process| processes::wake(process.pid).is_ok())
        .count()
}

/// Whether a signal has stopped something in a container.
pub fn has_stopped(container: &Container) -> bool {
    let family = container.pid.map(processes::family);
    let family = family.and_then(Result::ok).unwrap_or_default();
    family.iter().any(processes::Process::is_stopped)
}

/// The fault of a look that failed while something is repaired.
pub fn not_seen(job: &Job, service: &str, halt: Halt) -> Fault {
    unseen(job, &format!("{service}: cannot be looked at"), halt)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_tasks_that_take_time_are_under_way() {
        let answer = json!([
            {"name": "import_contacts_task", "time_start": 1_000.0, "worker_pid": 7},
            {"name": "squash_msgcounts", "time_start": 1_098.0, "worker_pid": 8},
            {"name": "reserved", "time_start": null},
        ]);
        let found = under_way(&answer, 1_100.0);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0.words(), "import_contacts_task for 100 s");
        assert_eq!(found[0].1, Some(7));
        assert!(under_way(&json!({"error": "x"}), 0.0).is_empty());
    }
}
