//! A backlog that never fits into a worker's time limit, pulled without one.
//!
//! Casepro 1.3.13 fetches everything since the last success again in each run, so that a pull that
//! is ended by the limit never comes any nearer to its end (stack.md section 8). Here the same task
//! is called as a plain function, in a container like the worker's. dash does the rest as for the
//! worker: it takes the lock, pulls since the last success, and keeps the new one, which makes the
//! worker's next pull short. (`manage.py pullmessages` pulls messages too, and leaves the last
//! success as it was.)

use std::time::{Duration, Instant};

use super::pulled::{self, is_pull, newest, not_seen};
use super::{engine, name, tell};
use crate::diagnosis::facts::casepro::WORKER;
use crate::diagnosis::facts::casepro::state::Task;
use crate::engine::containers::Container;
use crate::engine::oneoff::{OneOff, TASK_LABEL};
use crate::engine::{Engine, Error};
use crate::fault::Fault;
use crate::host::processes;
use crate::host::text::{age, count};
use crate::lifecycle::surroundings::CATCH_UP;
use crate::operation::Kind as Event;
use crate::remedy::Job;
use crate::remedy::looked::refused;

/// One that does nothing at all for so long hangs.
const HANGS: Duration = Duration::from_secs(120);

/// Never put together from anything: what to pull it reads from its environment. Called directly,
/// a task of Celery is a plain function.
const SCRIPT: &str = "\
import os
from importlib import import_module
for pull in os.environ['OOY_PULLS'].split():
    name, _, org = pull.partition(':')
    module, _, function = name.rpartition('.')
    print('ooy-pull:', function, org, flush=True)
    getattr(import_module(module), function)(int(org))
print('ooy-pulled', flush=True)
";

/// Pulls, or follows one that an earlier run has left running; what it brought.
pub async fn run(job: &Job, wanted: &[Task]) -> Result<String, Fault> {
    let began = Instant::now();
    let engine = engine(job).await?;
    let docker = |error: Error| refused(job, &error);
    let first = newest(&job.look())
        .await
        .map_err(|halt| not_seen(job, halt))?;
    let pulls: Vec<&Task> = wanted.iter().filter(|task| is_pull(task)).collect();
    let left = left(job, &engine).await.map_err(docker)?;
    let (id, what) = match left {
        Some(container) => (container.id, "goes on with what an earlier run began"),
        None => {
            let id = make(job, &engine, &pulls).await?;
            (id, "without the time limit")
        }
    };
    let names: Vec<String> = pulls.iter().map(|task| name(task)).collect();
    tell(
        job,
        "catch-up",
        Event::Started,
        None,
        format!("{}, {what}", names.join(", ")),
    );
    let outcome = follow(job, &engine, &id, first, began).await;
    // Whatever came of it: a lock that it has left behind goes when the worker starts.
    engine.remove(&id).await.map_err(docker)?;
    let messages = outcome.inspect_err(|fault| {
        tell(job, "catch-up", Event::Failed, None, fault.title.clone());
    })?;
    let said = format!("caught up with {}", count(messages, "message"));
    tell(
        job,
        "catch-up",
        Event::Done,
        Some(began.elapsed()),
        said.clone(),
    );
    Ok(said)
}

/// The name of its container: a second one of that name is refused by the Engine.
fn container_name(job: &Job) -> String {
    format!("{}-{WORKER}-{CATCH_UP}", job.context.settings.project())
}

/// One that runs still; one that has ended is removed.
async fn left(job: &Job, engine: &Engine) -> Result<Option<Container>, Error> {
    match engine.find_container(&container_name(job)).await? {
        Some(left) if left.is_running() && left.labels.contains_key(TASK_LABEL) => Ok(Some(left)),
        Some(left) => {
            engine.remove(&left.id).await?;
            Ok(None)
        }
        None => Ok(None),
    }
}

async fn make(job: &Job, engine: &Engine, pulls: &[&Task]) -> Result<String, Fault> {
    let project = job.context.settings.project();
    let docker = |error: Error| refused(job, &error);
    let like = engine.service_container(project, WORKER).await;
    let Some(like) = like.map_err(docker)? else {
        return Err(Fault::problem(
            format!("casepro-sync: {WORKER} has no container"),
            "what catches up is made like the worker's container, and there is none",
        )
        .evidence(format!("no container of {WORKER} in project {project}"))
        .why("the backlog was not pulled")
        .next(job.command(&format!("start {WORKER}")))
        .next(job.again.clone()));
    };
    let list: Vec<String> = pulls
        .iter()
        .map(|task| format!("{}:{}", task.kind.task(), task.org))
        .collect();
    let spec = OneOff {
        name: container_name(job),
        project: project.to_owned(),
        service: WORKER.to_owned(),
        task: CATCH_UP.to_owned(),
        // As the image itself calls Django (its entrypoint), by the user that its worker has.
        command: ["django-admin", "shell", "-c", SCRIPT]
            .map(str::to_owned)
            .to_vec(),
        env: vec![format!("OOY_PULLS={}", list.join(" "))],
        user: Some("django".to_owned()),
        ..Default::default()
    };
    engine.run_once_like(&like.id, spec).await.map_err(docker)
}

/// Follows it to its end; how many messages came.
async fn follow(
    job: &Job,
    engine: &Engine,
    id: &str,
    first: i64,
    began: Instant,
) -> Result<i64, Fault> {
    let docker = |error: Error| refused(job, &error);
    let mut still = (0, Instant::now());
    loop {
        let container = engine.container(id).await.map_err(docker)?;
        // PostgreSQL may be away for a moment, which the pull itself will tell.
        let messages = pulled::since(&job.look(), first).await.unwrap_or_default();
        if !container.is_running() {
            return match container.exit_code {
                0 => Ok(messages),
                code => Err(failed(job, engine, &container, code, messages).await),
            };
        }
        let activity = activity(&container);
        if activity != still.0 {
            still = (activity, Instant::now());
        }
        if still.1.elapsed() > HANGS {
            return Err(hangs(job, messages));
        }
        let detail = format!("{} so far", count(messages, "message"));
        tell(
            job,
            "catch-up",
            Event::Progress,
            Some(began.elapsed()),
            detail,
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn activity(container: &Container) -> u64 {
    let family = container.pid.map(processes::family);
    let family = family.and_then(Result::ok).unwrap_or_default();
    family
        .iter()
        .filter_map(|process| processes::activity(process.pid))
        .sum()
}

async fn failed(
    job: &Job,
    engine: &Engine,
    container: &Container,
    code: i64,
    messages: i64,
) -> Fault {
    let mut fault = Fault::problem(
        "casepro-sync: the backlog was not pulled to its end",
        format!("the pull without a time limit ended with exit code {code}"),
    )
    .evidence(format!(
        "{} came until then, which stay",
        count(messages, "message")
    ));
    let lines = engine.last_lines(&container.id, 50, None).await;
    let words: Vec<&str> = lines
        .iter()
        .map(|line| line.text.trim())
        .filter(|line| !line.is_empty())
        .collect();
    for line in &words[words.len().saturating_sub(3)..] {
        let line: String = line.chars().take(200).collect();
        fault = fault.evidence(format!("its output: {}", job.context.mask.apply(&line)));
    }
    fault
        .why("operators miss the messages of the backlog; new ones wait behind them")
        .next(job.command("diagnose rapidpro workspaces"))
        .next(job.again.clone())
}

fn hangs(job: &Job, messages: i64) -> Fault {
    Fault::problem(
        "casepro-sync: RapidPro does not answer the pull",
        "the pull without a time limit waits for RapidPro's API, and was ended",
    )
    .evidence(format!("it has done nothing for {}", age(HANGS)))
    .evidence(format!(
        "{} came until then, which stay",
        count(messages, "message")
    ))
    .evidence(format!(
        "CASEPRO_RAPIDPRO_URL is {}",
        job.context.settings.get("CASEPRO_RAPIDPRO_URL")
    ))
    .why("operators miss the messages of the backlog; new ones wait behind them")
    .next(job.command("diagnose rapidpro workspaces"))
    .next(job.again.clone())
}
