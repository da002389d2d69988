//! Workers that run and take no tasks. A ping says nothing of that: the main process answers it
//! although all that do the tasks may hang (stack.md section 1.1).

use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;

use super::app::App;
use super::worker::{Worker, ask, look, node, patience, pool, processes};
use crate::diagnosis::check::{Checked, Halt, Report};
use crate::diagnosis::checks::service;
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Evidence, Finding, words};
use crate::engine::containers::Container;
use crate::host::redis::pidbox::Answers;

/// So much longer than its limit a task may take to be killed.
const KILLED: Duration = Duration::from_secs(60);

pub async fn workers(scene: Rc<Scene>, app: &'static App) -> Checked {
    let mut report = Report::fine();
    let mut halted = None;
    let mut open: Vec<(&Container, Worker)> = Vec::new();
    for service in app.workers {
        let container = match scene.running(service).await {
            Ok(container) => container,
            Err(halt) => {
                halted = halted.or(Some(halt));
                continue;
            }
        };
        match look(container).await? {
            Some(worker) => match stopped(&scene, app, container, &worker) {
                Some(finding) => report.found(finding),
                None => open.push((container, worker)),
            },
            None => report.found(absent(&scene, app, container)),
        }
    }
    if !open.is_empty() {
        let limit = patience(&scene);
        let stats = ask(&scene, app, "stats", limit).await?;
        let active = ask(&scene, app, "active", limit.min(patience(&scene))).await?;
        let waiting = waiting(&scene, app).await?;
        for (container, worker) in &open {
            // A beat alone is no worker and answers nothing.
            if worker.is_beat() {
                continue;
            }
            let Some(stats) = node(&stats, container) else {
                report.found(silent(&scene, app, container, limit));
                continue;
            };
            let stopped =
                pool(stats).and_then(|pool| pool_stopped(&scene, app, container, worker, &pool));
            if let Some(finding) = stopped {
                report.found(finding);
                continue;
            }
            report
                .findings
                .extend(held(&scene, app, container, stats, &active, waiting));
        }
    }
    match halted {
        Some(halt) if report.findings.is_empty() => Err(halt),
        _ => Ok(report),
    }
}

/// How many tasks wait in all lists of the application.
async fn waiting(scene: &Scene, app: &App) -> Result<u64, Halt> {
    let mut redis = scene.redis(app.owner).await?;
    let mut waiting = 0;
    for list in app.lists {
        let length = redis.call(&["LLEN", list]).await;
        let length = length.map_err(|why| Halt::unknown(format!("Redis, LLEN {list}: {why}")))?;
        waiting += length.text().parse::<u64>().unwrap_or_default();
    }
    Ok(waiting)
}

/// What the process table says of a stopped process.
fn state(container: &Container, pids: &str) -> Evidence {
    Evidence::new(
        format!("state of process {pids}"),
        "T (stopped)",
        "process table of this host",
    )
    .threshold("S or R")
    .command(format!("docker top {} -eo pid,stat,args", container.name))
}

/// The main process is stopped by a signal: nobody takes tasks, nobody answers.
fn stopped(scene: &Scene, app: &App, container: &Container, worker: &Worker) -> Option<Finding> {
    worker.main.is_stopped().then(|| {
        let name = &container.service;
        let finding = Finding::error(
            Code::CeleryStalled,
            format!("{name}'s worker is stopped by a signal: it takes no tasks"),
        )
        .evidence(state(container, &worker.main.pid.to_string()))
        .cause("somebody, or a debugger, has sent it SIGSTOP");
        repair(scene, app, container, finding)
    })
}

/// Those that do the tasks are stopped by a signal. The beat, a child as well, is not among them:
/// another check looks at it.
fn pool_stopped(
    scene: &Scene,
    app: &App,
    container: &Container,
    worker: &Worker,
    pool: &[u32],
) -> Option<Finding> {
    let stopped: Vec<String> = worker
        .children
        .iter()
        .filter(|child| child.is_stopped() && pool.contains(&child.inner_pid))
        .map(|child| child.pid.to_string())
        .collect();
    if stopped.is_empty() {
        return None;
    }
    let name = &container.service;
    let finding = if stopped.len() >= pool.len() {
        Finding::error(
            Code::CeleryStalled,
            format!("All processes of {name} that do tasks are stopped by a signal"),
        )
    } else {
        Finding::warning(
            Code::CeleryStalled,
            format!(
                "{} of the {} of {name} that do tasks are stopped by a signal",
                stopped.len(),
                processes(pool.len())
            ),
        )
    };
    let finding = finding
        .evidence(state(container, &stopped.join(", ")))
        .cause("somebody, or a debugger, has sent them SIGSTOP");
    Some(repair(scene, app, container, finding))
}

/// There is no worker in its container.
fn absent(scene: &Scene, app: &App, container: &Container) -> Finding {
    let name = &container.service;
    let evidence = Evidence::new(
        "a process of Celery in it",
        "none",
        "process table of this host",
    )
    .command(format!("docker top {} -eo pid,stat,args", container.name));
    if let Some(age) = service::young(scene, container) {
        return Finding::info(
            Code::CeleryStalled,
            format!(
                "{name} was started {} ago, its worker not yet",
                words::age(age)
            ),
        )
        .service(name.clone())
        .owner(app.owner)
        .evidence(evidence)
        .impact(app.without_tasks);
    }
    let finding = Finding::error(
        Code::CeleryStalled,
        format!("{name} runs, and no Celery worker is in it"),
    )
    .evidence(evidence)
    .cause("its image does something else than the command asks for, or its start hangs");
    repair(scene, app, container, finding)
}

fn silent(scene: &Scene, app: &App, container: &Container, limit: Duration) -> Finding {
    let name = &container.service;
    let evidence = Evidence::new(
        "its answer to `celery inspect stats`",
        "none",
        format!("asked over Redis, {}'s database", app.name),
    )
    .threshold(format!("within {} s", limit.as_secs().max(1)))
    .command(inspect(app, container, "ping"));
    if let Some(age) = service::young(scene, container) {
        // It has not connected yet.
        return Finding::info(
            Code::CeleryStalled,
            format!(
                "{name} was started {} ago and does not listen yet",
                words::age(age)
            ),
        )
        .service(name.clone())
        .owner(app.owner)
        .evidence(evidence)
        .impact(app.without_tasks);
    }
    let finding = Finding::error(
        Code::CeleryStalled,
        format!("{name} runs and does not answer: it takes no tasks"),
    )
    .evidence(evidence)
    .cause("its main process hangs, or has lost its connection to Redis");
    repair(scene, app, container, finding)
}

/// All that can do tasks are held by tasks that do not end, and others wait.
fn held(
    scene: &Scene,
    app: &App,
    container: &Container,
    stats: &Value,
    active: &Answers,
    waiting: u64,
) -> Option<Finding> {
    let settings = &scene.context.settings;
    let slots = pool(stats)?.len();
    let tasks = node(active, container)?.as_array()?;
    let limit = app.task_limit(settings).map(|limit| limit + KILLED);
    let patience = limit.unwrap_or_else(|| settings.interval("QUEUE_AGE"));
    let now = scene.now.as_millisecond() as f64 / 1000.0;
    let old = older(tasks, now, patience);
    // Without a limit of their own long tasks are allowed, as long as something is left to do
    // the others.
    let stalled = match limit {
        Some(_) => !old.is_empty(),
        None => slots > 0 && old.len() >= slots && waiting > 0,
    };
    let (age, _) = old.last().filter(|_| stalled)?;
    let name = &container.service;
    let named: Vec<String> = old
        .iter()
        .map(|(age, task)| format!("{task} for {}", words::age(*age)))
        .collect();
    let threshold = match limit {
        Some(limit) => format!(
            "{} (CASEPRO_TASK_TIME_LIMIT and a minute)",
            words::age(limit)
        ),
        None => format!("{} (QUEUE_AGE)", words::age(patience)),
    };
    let finding = Finding::error(
        Code::CeleryStalled,
        format!(
            "{name} does nothing else: {} of its {} held by tasks for {} or longer",
            old.len(),
            processes(slots),
            words::age(old.first().map_or(*age, |(age, _)| *age))
        ),
    )
    .evidence(
        Evidence::new(
            "running tasks",
            named.join("; "),
            format!("asked over Redis, {}'s database", app.name),
        )
        .threshold(threshold)
        .command(inspect(app, container, "active")),
    )
    .evidence(Evidence::new(
        "tasks that wait",
        waiting.to_string(),
        format!("Redis, {}'s database", app.name),
    ));
    Some(repair(scene, app, container, finding))
}

/// Running tasks that are older than this, the youngest first. `time_start` is in seconds since
/// 1970 (celery/worker/request.py).
fn older(tasks: &[Value], now: f64, patience: Duration) -> Vec<(Duration, &str)> {
    let mut old: Vec<(Duration, &str)> = tasks
        .iter()
        .filter_map(|task| {
            let age = Duration::try_from_secs_f64(now - task["time_start"].as_f64()?).ok()?;
            (age > patience).then(|| (age, task["name"].as_str().unwrap_or("a task")))
        })
        .collect();
    old.sort();
    old
}

fn inspect(app: &App, container: &Container, question: &str) -> String {
    format!(
        "docker exec {} {} inspect {question} -d celery@{} -t 5",
        container.name, app.celery, container.hostname
    )
}

fn repair(scene: &Scene, app: &App, container: &Container, finding: Finding) -> Finding {
    let name = &container.service;
    finding
        .service(name.clone())
        .owner(app.owner)
        .impact(app.without_tasks)
        .fix(scene.command("fix celery"))
        .manual(format!("docker kill --signal KILL {}", container.name))
        .manual(scene.command(&format!("start {name}")))
        .interrupts(format!("the background work of {}, about 10 s", app.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_old_by_the_time_of_their_start() {
        let tasks = [
            serde_json::json!({"name": "a", "time_start": 1_000.0}),
            serde_json::json!({"name": "b", "time_start": 1_500.5}),
            serde_json::json!({"name": "reserved", "time_start": null}),
            serde_json::json!({"name": "of a clock that goes ahead", "time_start": 3_000.0}),
        ];
        let old = older(&tasks, 2_000.0, Duration::from_secs(300));
        assert_eq!(
            old.iter().map(|(_, name)| *name).collect::<Vec<_>>(),
            ["b", "a"]
        );
        assert!(older(&tasks, 2_000.0, Duration::from_secs(1_000)).is_empty());
    }
}
