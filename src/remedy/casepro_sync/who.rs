//! Who is at work on Casepro's pulls: the worker, one-offs beside it, and workers elsewhere on the
//! same Redis.

use std::time::{Duration, Instant};

use super::{engine, for_long, name, tell};
use crate::diagnosis::facts::casepro::WORKER;
use crate::diagnosis::facts::casepro::locks as held;
use crate::diagnosis::facts::casepro::owners::{Running, Workers};
use crate::diagnosis::facts::casepro::state::Task;
use crate::diagnosis::facts::celery::worker::host;
use crate::diagnosis::{Halt, Scene};
use crate::engine::containers::Container;
use crate::fault::Fault;
use crate::host::text::age;
use crate::lifecycle::surroundings::catches_up;
use crate::operation::Kind as Event;
use crate::remedy::Job;
use crate::remedy::looked::refused;
use crate::remedy::worker::moving;

/// A pull that somebody is at.
#[derive(Debug, Clone)]
pub struct UnderWay {
    /// What is pulled.
    pub task: Task,
    /// In which container, or on which host.
    place: String,
    since: Option<Duration>,
    /// It does something, and does not only wait.
    pub gets_on: bool,
}

impl UnderWay {
    /// "message-pull of lvcthealth in ooy-casepro-celery-1 for 47 s"
    pub fn words(&self) -> String {
        format!(
            "{} in {}{}",
            name(&self.task),
            self.place,
            for_long(self.since)
        )
    }
}

/// A run younger than this, that gets on, is first let come to its end: most take a second.
const SHORT: Duration = Duration::from_secs(10);

/// The pulls that somebody is at, with their locks, and whether they get on.
pub async fn under_way(job: &Job, tasks: &[Task]) -> Result<Vec<UnderWay>, Halt> {
    let began = Instant::now();
    loop {
        let found = look(&job.look(), tasks).await?;
        let short = |run: &UnderWay| run.gets_on && run.since.is_some_and(|since| since < SHORT);
        if !found.iter().any(short) || began.elapsed() >= 2 * SHORT {
            return Ok(found);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn look(scene: &Scene, tasks: &[Task]) -> Result<Vec<UnderWay>, Halt> {
    let locks = held::all(scene).await?;
    if locks.is_empty() {
        return Ok(Vec::new());
    }
    let workers = Workers::ask(scene).await?;
    let now = jiff::Timestamp::now();
    let mut found = Vec::new();
    for task in tasks {
        let lock = locks
            .iter()
            .find(|lock| lock.task.kind == task.kind && lock.task.org == task.org);
        let Some(lock) = lock else { continue };
        let Some(run) = workers.run_of(task, lock.age, now) else {
            continue;
        };
        let container = container_of(scene, run).await?;
        let gets_on = match (container, run.pid) {
            (Some(container), Some(pid)) => {
                let moved = moving(scene, "casepro", container, &[pid]).await;
                !moved.is_empty()
            }
            // What is not on this host is only seen by what it writes.
            _ => writes(scene).await?,
        };
        found.push(UnderWay {
            task: task.clone(),
            place: container.map_or_else(|| run.node.clone(), |it| it.name.clone()),
            since: lock.age.or(task.open_for()),
            gets_on,
        });
    }
    Ok(found)
}

async fn container_of<'a>(scene: &'a Scene, run: &Running) -> Result<Option<&'a Container>, Halt> {
    let all = scene.containers().await?;
    Ok(all
        .iter()
        .find(|container| container.is_running() && container.hostname == host(&run.node)))
}

/// Whether rows of messages or contacts are written, in two looks that people who work in Casepro
/// would hardly meet both.
async fn writes(scene: &Scene) -> Result<bool, Halt> {
    let session = scene.postgres("casepro").await?;
    let mut before = None;
    for _ in 0..3 {
        let rows = session.rows(WRITTEN).await;
        let rows = rows.map_err(|error| Halt::unanswered(error, "Casepro has no tables yet"))?;
        let now = rows.first().map_or(0, |row| row.number(0));
        if before == Some(now) {
            return Ok(false);
        }
        before = Some(now);
        // PostgreSQL publishes such figures once a second.
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    Ok(true)
}

const WRITTEN: &str = "SELECT coalesce(sum(n_tup_ins + n_tup_upd), 0) FROM pg_stat_user_tables \
    WHERE relname LIKE 'msgs\\_%' OR relname LIKE 'contacts\\_%'";

/// A pull without a time limit is under way beside the worker, which it holds the locks against.
pub fn catching_up(job: &Job, container: &Container) -> Fault {
    let since = container
        .started_at
        .map(|at| jiff::Timestamp::now().duration_since(at));
    let since = since.and_then(|since| Duration::try_from(since).ok());
    Fault::problem(
        "casepro-sync: a backlog is being pulled",
        "a pull without a time limit is under way, which an earlier repair began",
    )
    .evidence(format!("{} has run{}", container.name, for_long(since)))
    .why("its messages come in as they are pulled; the worker starts after it")
    .next(job.command("fix casepro-sync --catch-up"))
}

/// The facts, for whoever wanted a worker touched that gets on.
pub fn refuses(job: &Job, under_way: &[&UnderWay]) -> Fault {
    let limit = job.context.settings.number("CASEPRO_TASK_TIME_LIMIT");
    let limit = Duration::from_secs(limit);
    let mut fault = Fault::problem(
        "casepro-sync: the worker is at work and gets on",
        "a pull that makes progress is not stopped: a new one would begin from the start again",
    );
    for run in under_way {
        fault = fault.evidence(run.words());
        if let Some(since) = run.since {
            fault = fault.evidence(match limit.checked_sub(since) {
                Some(left) => format!(
                    "it ends within {} at the latest (CASEPRO_TASK_TIME_LIMIT is {})",
                    age(left),
                    age(limit)
                ),
                None => "it is past its limit and about to be ended".to_owned(),
            });
        }
    }
    fault
        .why("messages come in as they are pulled; if the limit ends it before that, it never comes to its end")
        .next(job.command(&format!("logs {WORKER} -f")))
        .next(job.again.clone())
        .next(job.command("fix casepro-sync --catch-up"))
}

/// Ends workers that somebody has started beside the service (`docker compose run`): one of them
/// may hold a lock. One that catches up is no such worker.
pub async fn end_one_offs(job: &Job) -> Result<(), Fault> {
    let engine = engine(job).await?;
    let project = job.context.settings.project();
    let grace = job.context.stack.service(WORKER);
    let grace = grace.map_or(Duration::from_secs(120), |service| service.grace);
    let all = engine.service_containers(project, WORKER).await;
    let all = all.map_err(|error| refused(job, &error))?;
    for container in all {
        if !container.oneoff || !container.is_running() || catches_up(&container) {
            continue;
        }
        let began = Instant::now();
        tell(
            job,
            "one-off",
            Event::Started,
            None,
            format!("stops {}", container.name),
        );
        let stopped = engine.stop(&container.id, grace).await;
        stopped.map_err(|error| refused(job, &error))?;
        let took = Some(began.elapsed());
        tell(
            job,
            "one-off",
            Event::Done,
            took,
            format!("{} stopped", container.name),
        );
    }
    Ok(())
}
