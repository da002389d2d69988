//! The beat: a child of a worker (`worker --beat`) that nobody starts again when it dies.

use std::rc::Rc;
use std::time::Duration;

use super::app::App;
use super::squash;
use super::worker::{Worker, ask, look, node, patience, pool};
use crate::diagnosis::check::{Checked, Halt, Report, blocking};
use crate::diagnosis::checks::service;
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Evidence, Finding, words};
use crate::engine::containers::Container;
use crate::host::processes::{self, Process};

/// A worker of this age has started its beat, also on a busy machine.
const STARTED: Duration = Duration::from_secs(30);

pub async fn beat(scene: Rc<Scene>, app: &'static App) -> Checked {
    let container = scene.running(app.beat).await?;
    let mut found = find(&scene, app, container).await?;
    while found == Found::Missing
        && service::age(&scene, container) < STARTED
        && scene.time_left() > Duration::from_secs(1)
    {
        tokio::time::sleep(Duration::from_millis(200)).await;
        found = find(&scene, app, container).await?;
    }
    let (summary, value, cause) = match found {
        Found::Alive if app.owner == "rapidpro" => return work(&scene, app, container).await,
        Found::Alive => return Ok(Report::fine()),
        Found::Missing => (
            format!(
                "{}'s beat has died; its worker lives on without it",
                app.name
            ),
            "none",
            "the process was killed (out of memory, or by hand); Celery does not start it again",
        ),
        Found::Stopped => (
            format!("{}'s beat is stopped by a signal", app.name),
            "in state T (stopped)",
            "somebody, or a debugger, has sent it SIGSTOP",
        ),
        Found::NotAsked => (
            format!(
                "{} has no beat: its worker was started without --beat",
                app.beat
            ),
            "none, and not asked for",
            "the command in the compose file, or in your additions to it, has no --beat",
        ),
    };
    let evidence = Evidence::new(
        format!("the beat's process in {}", app.beat),
        value,
        "process table of this host",
    )
    .command(format!(
        "docker top {} -eo pid,ppid,stat,args",
        container.name
    ));
    let age = service::age(&scene, container);
    if found == Found::Missing && age < STARTED {
        return Ok(Finding::info(
            Code::BeatMissing,
            format!(
                "{} was started {} ago, its beat not yet",
                app.beat,
                words::age(age)
            ),
        )
        .service(app.beat)
        .owner(app.owner)
        .evidence(evidence)
        .impact(app.without_beat)
        .into());
    }
    Ok(Finding::error(Code::BeatMissing, summary)
        .service(app.beat)
        .owner(app.owner)
        .evidence(evidence)
        .impact(app.without_beat)
        .cause(cause)
        .fix(scene.command("fix celery"))
        .manual(format!("docker restart --time 120 {}", container.name))
        .interrupts(format!("the background work of {}, about 10 s", app.name))
        .into())
}

/// Its process lives; whether it works as well, only RapidPro's tables tell.
async fn work(scene: &Scene, app: &App, container: &Container) -> Checked {
    let limit = scene.context.settings.interval("BEAT_AGE");
    let Some(left) = squash::left(scene, limit).await? else {
        return Ok(Report::fine());
    };
    let age = words::age(left.age);
    Ok(Finding::error(
        Code::BeatMissing,
        format!(
            "{}'s beat lives, and has not begun its regular work for {age}",
            app.name
        ),
    )
    .service(app.beat)
    .owner(app.owner)
    .evidence(
        Evidence::new(
            format!("rows of {} that are not summed up", left.table),
            format!("there since {age} at least, and no task waits for a worker"),
            "RapidPro's database, and earlier diagnoses",
        )
        .threshold(format!("{} (BEAT_AGE)", words::age(limit)))
        .command(format!(
            "docker logs --since 10m {} 2>&1 | grep -c 'Sending due task'",
            container.name
        )),
    )
    .impact(app.without_beat)
    .cause("the beat hangs, or has lost its connection to Redis")
    .fix(scene.command("fix celery"))
    .manual(format!("docker restart --time 120 {}", container.name))
    .interrupts(format!("the background work of {}, about 10 s", app.name))
    .into())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Alive,
    Missing,
    Stopped,
    NotAsked,
}

async fn find(scene: &Scene, app: &App, container: &Container) -> Result<Found, Halt> {
    let no_worker = || {
        Halt::blocked(
            Code::CeleryStalled,
            format!("no Celery worker is in {}", app.beat),
        )
    };
    let worker = look(container).await?.ok_or_else(no_worker)?;
    if !worker.has_beat() {
        return Ok(Found::NotAsked);
    }
    if worker.is_beat() {
        return Ok(judge(&worker.main));
    }
    if worker.has_word("threads") || worker.has_word("solo") || worker.has_word("gevent") {
        return Err(Halt::unused(
            "with this kind of pool the beat is no process of its own",
        ));
    }
    let titled = worker
        .children
        .iter()
        .find(|child| child.words.iter().any(|word| word.starts_with("beat")));
    if let Some(beat) = titled {
        return Ok(judge(beat));
    }
    // Which children do tasks, the worker itself says.
    let answers = ask(scene, app, "stats", patience(scene) / 2).await?;
    let of_pool = node(&answers, container).and_then(pool);
    let beat = match of_pool {
        Some(pool) => worker
            .children
            .iter()
            .find(|child| !pool.contains(&child.inner_pid)),
        None => without_pipes(&worker).await?,
    };
    Ok(beat.map_or(Found::Missing, judge))
}

fn judge(beat: &Process) -> Found {
    if beat.is_stopped() {
        Found::Stopped
    } else {
        Found::Alive
    }
}

/// Those that do tasks hold the pipes through which they get them; the beat has closed its own
/// (celery/beat.py, EmbeddedService).
async fn without_pipes(worker: &Worker) -> Result<Option<&Process>, Halt> {
    let pids: Vec<u32> = worker.children.iter().map(|child| child.pid).collect();
    let counted = blocking(move || {
        pids.into_iter()
            .map(|pid| Ok((pid, processes::pipes(pid)?)))
            .collect::<std::io::Result<Vec<_>>>()
    })
    .await?
    .map_err(|error| {
        Halt::blocked(
            Code::CeleryStalled,
            format!(
                "the worker does not answer, and its processes may not be looked into: {error}"
            ),
        )
    })?;
    let beat = counted.iter().find(|(_, pipes)| *pipes == 0);
    Ok(beat.and_then(|(pid, _)| worker.children.iter().find(|child| child.pid == *pid)))
}
