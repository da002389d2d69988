//! Whether Casepro's copies keep up: the lag of each scheduled task, and whether the newest message
//! that RapidPro has arrived (stack.md section 8; `/status` and ping see neither).

use std::rc::Rc;
use std::time::Duration;

use super::owners::{Owner, Workers};
use super::state::{self, Kind, QUERY, Task};
use super::{WORKER, psql, shown};
use crate::diagnosis::check::{Checked, Halt, Report};
use crate::diagnosis::checks::{answering, service};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::words;
use crate::diagnosis::{Code, Evidence, Finding};
use crate::engine::containers::Container;
use crate::lifecycle::surroundings::catches_up;

mod newest;
mod progress;

/// From where on something is too much, for one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limits {
    /// Since the last success.
    lag: Duration,
    /// Since the last success, while runs fail: two of them, at least.
    failing: Duration,
    /// Of one run: then Celery ends it.
    run: Duration,
}

/// What is wrong with a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stall {
    /// Its runs end in an error.
    Failing,
    /// No run has succeeded for too long.
    Behind,
    /// A run has begun and can no longer be under way.
    Killed,
    /// A run has been under way for so long that it has to be asked whether it gets on.
    Slow,
}

/// How often a task is begun.
pub fn interval(scene: &Scene, kind: Kind) -> Duration {
    Duration::from_secs(match kind {
        Kind::Messages => scene.context.settings.number("CASEPRO_SYNC_INTERVAL"),
        // The other two are fixed in Casepro's own settings.
        Kind::Handling => 60,
        Kind::Contacts => 180,
    })
}

fn limits(scene: &Scene, kind: Kind) -> Limits {
    let settings = &scene.context.settings;
    let interval = interval(scene, kind).as_secs();
    let lag = match kind {
        Kind::Messages | Kind::Handling => "CASEPRO_SYNC_LAG",
        Kind::Contacts => "CASEPRO_CONTACTS_LAG",
    };
    Limits {
        lag: settings
            .interval(lag)
            .max(Duration::from_secs(5 * interval)),
        failing: Duration::from_secs(2 * interval + 10),
        run: Duration::from_secs(settings.number("CASEPRO_TASK_TIME_LIMIT") + 30),
    }
}

/// How long those have been there that a pull needs; nothing can be expected of it before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Up {
    /// The worker; `None`: it is not there.
    worker: Option<Duration>,
    /// RapidPro; `None`: it is not there, which another finding tells.
    rapidpro: Option<Duration>,
}

fn judge(task: &Task, limits: Limits, up: Up) -> Option<Stall> {
    if task.disabled {
        return None;
    }
    let lag = task.succeeded.unwrap_or(task.org_made);
    let waited = [up.worker, up.rapidpro]
        .into_iter()
        .flatten()
        .fold(lag, Duration::min);
    match task.open_for() {
        Some(run) if run > limits.run => Some(Stall::Killed),
        // Only a run of this worker can be under way.
        Some(run) if up.worker.is_some_and(|up| run < up) => {
            (lag > limits.lag && run > limits.lag).then_some(Stall::Slow)
        }
        _ if task.failing && waited > limits.failing => Some(Stall::Failing),
        _ => (waited > limits.lag).then_some(Stall::Behind),
    }
}

/// The tasks that are late, fail, or were killed, those that people miss first before the others.
pub async fn late(scene: &Scene) -> Result<Vec<Task>, Halt> {
    let tasks = state::tasks(scene).await?;
    let late = stalled(scene, &tasks).await?;
    Ok(late.into_iter().map(|(task, _)| task.clone()).collect())
}

async fn stalled<'a>(scene: &Scene, tasks: &'a [Task]) -> Result<Vec<(&'a Task, Stall)>, Halt> {
    let worker = scene.container(WORKER).await?;
    let since = |container: Option<&Container>| {
        service::uptime(scene, container.filter(|it| it.is_running())?)
    };
    let up = Up {
        worker: since(worker),
        rapidpro: since(scene.container("rapidpro").await?),
    };
    let mut stalled: Vec<(&Task, Stall)> = tasks
        .iter()
        .filter_map(|task| Some((task, judge(task, limits(scene, task.kind), up)?)))
        .collect();
    if stalled.iter().any(|(_, stall)| *stall == Stall::Slow) {
        let workers = Workers::ask(scene).await?;
        let now = jiff::Timestamp::now();
        let gets_on = progress::made(scene).await?;
        stalled.retain_mut(|(task, stall)| {
            if *stall == Stall::Slow && workers.owner(task, task.open_for(), now) == Owner::Nobody {
                *stall = Stall::Killed;
            }
            *stall != Stall::Slow || !gets_on
        });
    }
    Ok(stalled)
}

pub(super) async fn check(scene: Rc<Scene>) -> Checked {
    let tasks = state::tasks(&scene).await?;
    let worker = scene.container(WORKER).await?;
    let running = worker.filter(|worker| worker.is_running());
    let stalled = stalled(&scene, &tasks).await?;
    let newest = newest::compare(&scene, limits(&scene, Kind::Messages).lag).await;
    let Some((worst, stall)) = stalled.first().copied() else {
        // Nothing is late; whether the right messages come is another question.
        let newest = newest?;
        scene.running(WORKER).await?;
        let waits = tasks
            .iter()
            .any(|task| task.kind == Kind::Messages && !task.disabled);
        if waits && newest.is_behind() {
            return Ok(missing(&scene, &newest).into());
        }
        let mut report = Report::fine();
        let pulled = tasks.iter().filter(|task| task.kind == Kind::Messages);
        if let Some(ago) = pulled.filter_map(|task| task.succeeded).max() {
            report.figure(format!("Casepro pulled {} ago", words::age(ago)));
        }
        return Ok(report);
    };
    let mut finding = Finding::error(
        Code::CaseproSyncStalled,
        format!("Casepro {}{}", how_long(worst), of_org(worst, &tasks)),
    )
    .service(WORKER)
    .owner("casepro")
    .impact(worst.kind.impact());
    for (task, stall) in &stalled {
        finding = finding.evidence(evidence(&scene, task, *stall));
    }
    if let Ok(newest) = &newest {
        finding = newest.evidence(&scene, finding);
    }
    // Without its worker, which waits for the end of that.
    if let Some(beside) = scene.containers().await?.iter().find(|it| catches_up(it)) {
        let cause = format!("{} pulls a backlog without the time limit", beside.name);
        let finding = finding
            .cause(cause)
            .manual(scene.command("fix casepro-sync --catch-up"))
            .interrupts("nothing");
        return Ok(finding.into());
    }
    let mut cause = String::new();
    if let Some(worker) = running {
        let trouble = answering::trouble(&scene, worker, is_error).await;
        cause = trouble
            .as_ref()
            .and_then(|evidence| known_cause(&evidence.value))
            .unwrap_or_default()
            .to_owned();
        if let (Some(evidence), Stall::Failing) = (trouble, stall) {
            finding = finding.evidence(evidence);
        }
    }
    Ok(repair(&scene, finding.cause(cause), stall, running).into())
}

/// "has not pulled messages for 47 min"
fn how_long(task: &Task) -> String {
    let done = task.kind.done();
    match task.succeeded {
        Some(ago) => format!("has not {done} for {}", words::age(ago)),
        None => format!("has never {done}"),
    }
}

/// Which organisation, where there are several.
fn of_org(task: &Task, all: &[Task]) -> String {
    if all.iter().all(|other| other.org == task.org) {
        String::new()
    } else {
        format!(" (organisation {})", task.subdomain)
    }
}

fn evidence(scene: &Scene, task: &Task, stall: Stall) -> Evidence {
    let ago = |time: Option<Duration>| match time {
        Some(time) => format!("{} ago", words::age(time)),
        None => "never".to_owned(),
    };
    let setting = match task.kind {
        Kind::Contacts => "CASEPRO_CONTACTS_LAG",
        _ => "CASEPRO_SYNC_LAG",
    };
    let limits = limits(scene, task.kind);
    let (last, threshold) = match stall {
        Stall::Failing => (
            format!("; the last run, {}, failed", ago(task.started)),
            words::age(limits.failing),
        ),
        Stall::Killed => (
            format!("; the run of {} never ended", ago(task.started)),
            format!("{} ({setting})", words::age(limits.lag)),
        ),
        Stall::Slow => (
            format!("; the run of {} does not get on", ago(task.started)),
            format!("{} ({setting})", words::age(limits.lag)),
        ),
        Stall::Behind => (
            String::new(),
            format!("{} ({setting})", words::age(limits.lag)),
        ),
    };
    shown(
        Evidence::new(
            format!("last success of {} for {}", task.kind.key(), task.subdomain),
            format!("{}{last}", ago(task.succeeded)),
            "Casepro's database, orgs_taskstate",
        )
        .threshold(threshold),
        psql(scene, "casepro", QUERY),
    )
}

/// A line of the worker's log that tells why a run failed.
pub fn is_error(line: &str) -> bool {
    // The last line of a traceback: "casepro....TembaTokenError: Authentication with ...".
    let name = line.split([':', ' ']).next().unwrap_or_default();
    name.contains("Error") || name.contains("Exception")
}

/// What such a line means, where that is known.
pub fn known_cause(line: &str) -> Option<&'static str> {
    [
        (
            "TembaTokenError",
            "RapidPro refuses the API token that Casepro has for this organisation",
        ),
        (
            "TembaConnectionError",
            "Casepro does not reach RapidPro (CASEPRO_RAPIDPRO_URL)",
        ),
        (
            "TembaBadRequestError",
            "RapidPro refuses what Casepro asks of it; a flagged workspace does",
        ),
        (
            "TembaRateExceededError",
            "RapidPro refuses so many requests (API_THROTTLE)",
        ),
    ]
    .into_iter()
    .find(|(name, _)| line.contains(name))
    .map(|(_, cause)| cause)
}

/// What helps: a refused token only a person can put right.
fn repair(scene: &Scene, finding: Finding, stall: Stall, worker: Option<&Container>) -> Finding {
    let refused = finding.cause.contains("API token");
    if stall == Stall::Failing && refused {
        let domain = scene.context.settings.get("CASEPRO_DOMAIN");
        return finding
            .manual(format!(
                "in RapidPro: workspace, API token; copy it to https://ORGANISATION.{domain}/org/home/"
            ))
            .interrupts("nothing");
    }
    if worker.is_none() {
        return finding
            .manual(scene.command(&format!("start {WORKER}")))
            .interrupts("nothing");
    }
    finding
        .fix(scene.command("fix casepro-sync"))
        .manual(scene.command(&format!("restart {WORKER}")))
        .interrupts("Casepro's workers, about 20 s")
}

/// Pulls succeed and bring nothing.
fn missing(scene: &Scene, newest: &newest::Newest) -> Finding {
    let finding = Finding::error(
        Code::CaseproSyncStalled,
        "Casepro pulls, but new messages of RapidPro do not arrive",
    )
    .service(WORKER)
    .owner("casepro")
    .impact(Kind::Messages.impact())
    .cause("its token may belong to another workspace, or its backend is not RapidPro");
    let file = scene.context.settings.places.env_file.display();
    newest
        .evidence(scene, finding)
        .manual(scene.command("diagnose casepro-backend"))
        .manual(format!("grep CASEPRO_RAPIDPRO_URL {file}"))
        .interrupts("nothing")
}

/// The check cannot be made.
fn unreadable(whose: &str, message: &str) -> Halt {
    Halt::unknown(format!("{whose} database: {message}"))
}

#[cfg(test)]
mod tests;
