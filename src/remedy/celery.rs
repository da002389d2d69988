//! `ooy fix celery`: workers that take no tasks, a beat that does not live, and one beat too many.
//!
//! Only the worker concerned is touched. What a signal has stopped is let go on first, which loses
//! nothing; a restart comes after that, with the worker's own time to end by itself. One that is at
//! work and gets on is left alone.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::looked::refused;
use super::worker::{self, Busy};
use super::{Job, Plan, Planning, Refusal, Remedy, Takes, services};
use crate::diagnosis::facts::celery::app::{App, CASEPRO, RAPIDPRO};
use crate::diagnosis::facts::celery::{duplicate, worker as process};
use crate::diagnosis::{Code, Past, Scene};
use crate::engine::containers::Container;
use crate::engine::{CONFIG_HASH_LABEL, Engine};
use crate::fault::Fault;
use crate::operation::Kind;

/// The repair.
pub const REMEDY: Remedy = Remedy {
    name: "celery",
    about: "stalled workers, and the one beat, work again",
    codes: &[Code::CeleryStalled, Code::BeatMissing, Code::BeatDuplicate],
    takes: Takes::Nothing,
    // Who has scaled a service wanted something by it.
    unattended: |finding| finding.code != Code::BeatDuplicate,
    settles: Duration::from_secs(30),
    otherwise: &["diagnose celery-stalled beat-missing", "logs"],
    plan: |job| -> Planning { Box::pin(plan(job)) },
};

/// How long a beat may need to send its first task after a start: what it sends least seldom comes
/// every minute in RapidPro.
const SENDS_WITHIN: Duration = Duration::from_secs(90);

/// What a worker that was let go on has to show before it is restarted after all.
const AWAKE_WITHIN: Duration = Duration::from_secs(15);

/// What is done about one worker.
#[derive(Clone)]
struct Worker {
    app: &'static App,
    service: &'static str,
    container: Option<Container>,
    /// Something in it was stopped by a signal.
    stopped: bool,
    /// It is about its beat.
    beat: bool,
    /// Something was found. Where nothing was, an earlier run did not come to the end of its start.
    found: bool,
}

async fn plan(job: Rc<Job>) -> Result<Plan, Refusal> {
    let scene = job.look();
    let mut workers = Vec::new();
    let mut extras = Vec::new();
    for app in [&RAPIDPRO, &CASEPRO] {
        for service in app.workers.iter().copied() {
            let about = |code| {
                let mut findings = job.findings.iter();
                findings.any(|it| it.code == code && it.service.as_deref() == Some(service))
            };
            let beat = about(Code::BeatMissing);
            let found = beat || about(Code::CeleryStalled);
            if found || was_cut_off(&job, &scene, service).await {
                let worker = look(&job, &scene, app, service, beat).await?;
                workers.push(Worker { found, ..worker });
            }
        }
        let twice = |finding: &&crate::diagnosis::Finding| {
            finding.code == Code::BeatDuplicate && finding.service.as_deref() == Some(app.beat)
        };
        if job.findings.iter().any(|finding| twice(&finding)) {
            let found = duplicate::extras(&scene, app).await;
            let found = found.map_err(|halt| worker::not_seen(&job, app.beat, halt))?;
            for container in found {
                is_free(&job, &scene, app, container).await?;
                extras.push((app, container.clone()));
            }
        }
    }
    if workers.is_empty() && extras.is_empty() {
        return Err(Refusal::Nothing("nothing to fix".to_owned()));
    }
    let mut steps: Vec<String> = workers
        .iter()
        .flat_map(|worker| worker.steps(&job))
        .collect();
    for (_, container) in &extras {
        steps.push(format!(
            "stop and remove {}, one beat too many",
            container.name
        ));
    }
    let touched = workers.iter().map(|worker| worker.service.to_owned());
    let touches: Vec<String> = touched
        .chain(extras.iter().map(|(_, container)| container.name.clone()))
        .collect();
    Ok(Plan {
        steps,
        meanwhile: format!(
            "background work of {} waits for some seconds; nothing of it is lost",
            touches.join(", ")
        ),
        touches,
        act: Box::pin(async move { act(&job, &workers, &extras).await }),
    })
}

/// An earlier run of this repair had stopped it and did not come to the end of its start.
async fn was_cut_off(job: &Job, scene: &Scene, service: &str) -> bool {
    if !job.resumes {
        return false;
    }
    // What was started without coming to its end has not got its policy back yet.
    let container = scene.container(service).await;
    if let Ok(Some(container)) = container
        && container.is_running()
    {
        return container.restart == "no";
    }
    let past = Past::look(scene).await;
    past.is_ok_and(|past| {
        past.touched(service).is_some_and(|entry| {
            entry.operation == format!("fix {}", REMEDY.name)
                && !matches!(entry.event.as_str(), "ready" | "failed")
        })
    })
}

/// Looks at a worker; refuses where it is at work and gets on, or where no restart would help.
async fn look(
    job: &Job,
    scene: &Scene,
    app: &'static App,
    service: &'static str,
    beat: bool,
) -> Result<Worker, Fault> {
    let seen = scene.container(service).await;
    let container = seen.map_err(|halt| worker::not_seen(job, service, halt))?;
    let mut found = Worker {
        app,
        service,
        container: container.cloned(),
        stopped: false,
        beat,
        found: true,
    };
    let Some(container) = container.filter(|container| container.is_running()) else {
        return Ok(found);
    };
    found.stopped = worker::has_stopped(container);
    let celery = process::look(container).await;
    let celery = celery.map_err(|halt| worker::not_seen(job, service, halt))?;
    if beat
        && celery.is_some_and(|celery| !celery.has_beat())
        && !has_drifted(scene, container).await
    {
        return Err(not_asked(job, app, container));
    }
    is_free(job, scene, app, container).await?;
    Ok(found)
}

/// A worker that gets on is nobody's to stop.
async fn is_free(
    job: &Job,
    scene: &Scene,
    app: &'static App,
    container: &Container,
) -> Result<(), Fault> {
    // One that cannot be asked gets the time that a stop gives to end by itself.
    let busy: Vec<Busy> = worker::busy(scene, app, container)
        .await
        .unwrap_or_default();
    if busy.is_empty() {
        return Ok(());
    }
    let limit = app.task_limit(&job.context.settings);
    Err(worker::refuses(job, container, &busy, limit))
}

/// Whether the present settings make another container than this one.
async fn has_drifted(scene: &Scene, container: &Container) -> bool {
    let Ok(Ok(hashes)) = scene.compose().await else {
        return false;
    };
    let now = hashes.get(&container.service);
    now.is_some_and(|now| container.labels.get(CONFIG_HASH_LABEL) != Some(now))
}

fn not_asked(job: &Job, app: &App, container: &Container) -> Fault {
    let file = &job.context.settings.places.compose_override;
    let mut fault = Fault::problem(
        format!("{}: it was started without --beat", container.service),
        "no restart gives it a beat: its command asks for none",
    )
    .evidence(format!("the command of {} has no --beat", container.name))
    .why(app.without_beat);
    if file.exists() {
        fault = fault
            .evidence(format!("{} changes what ooy deploys", file.display()))
            .next(format!("nano {}", file.display()));
    }
    fault.next(job.command(&format!("start {}", container.service)))
}

impl Worker {
    fn steps(&self, job: &Job) -> Vec<String> {
        let restart = format!("restart {}", services::with_grace(job, self.service));
        let mut steps = match &self.container {
            Some(container) if container.is_running() && self.found && self.stopped => vec![
                format!("let go on what a signal has stopped in {}", self.service),
                format!("if that does not help, {restart}"),
            ],
            Some(container) if container.is_running() && self.found => vec![restart],
            _ => vec![format!("start {}", self.service)],
        };
        steps.push(match self.beat {
            true => format!("see the beat of {} send tasks", self.service),
            false => format!("see {} take a task", self.service),
        });
        steps
    }

    async fn act(&self, job: &Job) -> Result<String, Vec<Fault>> {
        let one = |fault: Fault| vec![fault];
        let running = self.container.as_ref().filter(|it| it.is_running());
        if let Some(container) = running.filter(|_| self.found) {
            if self.stopped
                && let Some(seen) = self.wake(job, container).await
            {
                return Ok(seen);
            }
            services::stop(job, &BTreeSet::from([self.service.to_owned()])).await?;
        }
        let since = Timestamp::now();
        services::start(job, &BTreeSet::from([self.service.to_owned()])).await?;
        self.prove(job, since).await.map_err(one)
    }

    /// Loses nothing, and mostly helps: what was stopped goes on where it was.
    async fn wake(&self, job: &Job, container: &Container) -> Option<String> {
        let reporter = &job.context.reporter;
        let began = Instant::now();
        reporter.service("wake", self.service, Kind::Started, None, "lets it go on");
        let since = Timestamp::now();
        let woken = worker::wake(container);
        if woken == 0 {
            return None;
        }
        // A beat whose worker takes tasks may still be hung up: what it sends counts.
        let proof = if self.beat {
            self.prove(job, since).await
        } else {
            worker::takes_tasks(job, self.app, self.service, AWAKE_WITHIN).await
        };
        let detail = match proof {
            Ok(_) => "goes on",
            Err(_) => "does not help: it is restarted",
        };
        let took = Some(began.elapsed());
        reporter.service("wake", self.service, Kind::Done, took, detail);
        proof.ok()
    }

    async fn prove(&self, job: &Job, since: Timestamp) -> Result<String, Fault> {
        if !self.beat {
            return worker::takes_tasks_again(job, self.app, self.service).await;
        }
        let began = Instant::now();
        while began.elapsed() < SENDS_WITHIN {
            let scene = job.look();
            if let Some((task, at)) = sent(&scene, self.service, since).await {
                let at = at.strftime("%H:%M:%S UTC");
                return Ok(format!("the beat of {} sent {task} at {at}", self.service));
            }
            job.context.reporter.service(
                "proof",
                self.service,
                Kind::Progress,
                Some(began.elapsed()),
                "until its beat sends a task, which may take a minute",
            );
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Err(Fault::problem(
            format!("{}: its beat sends nothing", self.service),
            format!("no task was sent within {} s", SENDS_WITHIN.as_secs()),
        )
        .evidence(format!(
            "no line \"Sending due task\" in the log of {}",
            self.service
        ))
        .why(self.app.without_beat)
        .next(job.command(&format!("diagnose beat-{}", self.app.owner)))
        .next(job.command(&format!("logs {} -n 100", self.service))))
    }
}

/// The first task that the beat has sent since then, as its log tells (celery/beat.py).
async fn sent(scene: &Scene, service: &str, since: Timestamp) -> Option<(String, Timestamp)> {
    let container = scene.running(service).await.ok()?;
    let engine = scene.engine().await.ok()?;
    let lines = engine.last_lines(&container.id, 500, Some(since)).await;
    lines
        .iter()
        .find_map(|line| Some((task_sent(&line.text)?.to_owned(), line.at)))
}

/// `[...: INFO/Beat] Scheduler: Sending due task squash-msgcounts (squash_msgcounts)`
fn task_sent(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("Sending due task ")?;
    rest.split_whitespace().next()
}

async fn act(
    job: &Job,
    workers: &[Worker],
    extras: &[(&'static App, Container)],
) -> Result<String, Vec<Fault>> {
    let mut seen = Vec::new();
    for (app, container) in extras {
        seen.push(
            remove(job, app, container)
                .await
                .map_err(|fault| vec![fault])?,
        );
    }
    for worker in workers {
        seen.push(worker.act(job).await?);
    }
    Ok(seen.join("; "))
}

/// Stops one beat too many with the time that its service has, and removes it, as compose does
/// when a service is scaled down.
async fn remove(job: &Job, app: &App, container: &Container) -> Result<String, Fault> {
    let reporter = &job.context.reporter;
    let began = Instant::now();
    let grace = job.context.stack.service(&container.service);
    let grace = grace.map_or(Duration::from_secs(120), |service| service.grace);
    let name = &container.name;
    let work = async {
        let engine = Engine::connect().await?;
        let detail = format!("has {} s to end by itself", grace.as_secs());
        reporter.service("stop", name, Kind::Started, None, detail);
        if container.restart != "no" {
            engine.set_restart(&container.id, "no").await?;
        }
        engine.stop(&container.id, grace).await?;
        engine.remove(&container.id).await
    };
    work.await.map_err(|error| refused(job, &error))?;
    reporter.service("stop", name, Kind::Done, Some(began.elapsed()), "");
    Ok(format!(
        "{} is {}'s only beat of this deployment",
        app.beat, app.name
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_beat_has_sent_is_read_from_its_log() {
        let line = "[2026-11-26 02:19:44,031: INFO/Beat] Scheduler: Sending due task \
                    squash-msgcounts (squash_msgcounts)";
        assert_eq!(task_sent(line), Some("squash-msgcounts"));
        assert_eq!(task_sent("[...: INFO/MainProcess] celery@a ready."), None);
    }
}
