//! `ooy fix casepro-sync [--catch-up]`: Casepro pulls again.
//!
//! A plain restart can leave the very lock behind that it is to take away, for twelve hours
//! (stack.md section 8): a worker that is killed in the middle of a pull keeps it. Here the worker
//! gets its own time to end, then it is made sure that none lives, then the locks that nobody holds
//! are deleted, and it ends only when a pull was seen to succeed.

mod catch_up;
mod locks;
mod pulled;
mod watch;
mod who;

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use super::looked::{refused, unseen};
use super::{Job, Plan, Planning, Refusal, Remedy, Takes, services};
use crate::diagnosis::facts::casepro::WORKER;
use crate::diagnosis::facts::casepro::state::{self, Kind, Task};
use crate::diagnosis::facts::casepro::{locks as held, sync};
use crate::diagnosis::{Code, Halt, Scene};
use crate::engine::Engine;
use crate::fault::Fault;
use crate::host::text::age;
use crate::lifecycle::surroundings::catches_up;
use crate::operation::Kind as Event;

/// The repair.
pub const REMEDY: Remedy = Remedy {
    name: "casepro-sync",
    about: "Casepro pulls again: its worker anew, locks without an owner deleted",
    codes: &[Code::CaseproLockStale, Code::CaseproSyncStalled],
    takes: Takes::Nothing,
    // Casepro serves nobody's new messages meanwhile, and a worker that gets on is left alone.
    unattended: |_| true,
    settles: Duration::from_secs(30),
    otherwise: &["diagnose", "logs casepro-celery -n 100"],
    plan: |job| -> Planning { Box::pin(plan(job)) },
};

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The worker stops, and starts without locks that nobody holds.
    Restart,
    /// The worker is at work and gets on: only locks of others that nobody holds are deleted.
    Around,
    /// The worker runs and is left alone: it only has to be seen to pull.
    Watch,
    /// The worker stops, and what it cannot pull within its time limit is pulled without one.
    CatchUp,
}

async fn plan(job: Rc<Job>) -> Result<Plan, Refusal> {
    let scene = job.look();
    let not_seen = |halt| unseen(&job, "casepro-sync: cannot be looked at", halt);
    let tasks = state::tasks(&scene).await.map_err(not_seen)?;
    let wanted = wanted(&scene, &tasks).await.map_err(not_seen)?;
    if wanted.is_empty() {
        return Err(switched_off(&job).into());
    }
    let (stale, _) = held::stale(&scene).await.map_err(not_seen)?;
    let stale: Vec<String> = stale.iter().map(|lock| lock.task.lock()).collect();
    let container = scene.container(WORKER).await.map_err(not_seen)?;
    let runs = container.is_some_and(|container| container.is_running());
    // One whose policy was taken away is about to end: an earlier run has begun to stop it.
    let ends = container.is_some_and(|container| container.restart == "no");
    let under_way = who::under_way(&job, &tasks).await.map_err(not_seen)?;
    let gets_on: Vec<&who::UnderWay> = under_way.iter().filter(|it| it.gets_on).collect();
    let all = scene.containers().await.map_err(not_seen)?;
    let catching_up = all.iter().find(|container| catches_up(container));
    if let Some(container) = catching_up.filter(|_| !job.wishes.catch_up) {
        return Err(who::catching_up(&job, container).into());
    }
    let way = if job.wishes.catch_up {
        Way::CatchUp
    } else if !gets_on.is_empty() {
        if stale.is_empty() {
            return Err(who::refuses(&job, &gets_on).into());
        }
        Way::Around
    } else if runs && !ends && job.findings.is_empty() {
        Way::Watch
    } else {
        Way::Restart
    };
    let living: Vec<Task> = match way {
        Way::Around | Way::Watch => under_way.iter().map(|run| run.task.clone()).collect(),
        Way::Restart | Way::CatchUp => Vec::new(),
    };
    let mut steps = Vec::new();
    if way == Way::Around {
        for run in &gets_on {
            steps.push(format!("leave {} alone, which gets on", run.words()));
        }
    }
    if matches!(way, Way::Restart | Way::CatchUp) && runs {
        steps.push(format!("stop {}", services::with_grace(&job, WORKER)));
        for run in &under_way {
            let end = match run.gets_on {
                true => "what it has pulled so far stays",
                false => "it hangs, and is killed if it does not end",
            };
            steps.push(format!("with it ends {}; {end}", run.words()));
        }
    }
    steps.push(if !stale.is_empty() {
        format!("delete what nobody holds: {}", stale.join(", "))
    } else {
        "delete locks that nobody holds".to_owned()
    });
    if way == Way::CatchUp {
        steps.push(match catching_up {
            Some(container) => format!("wait for {}, which pulls the backlog", container.name),
            None => "pull the backlog in a container of its own, without the time limit".to_owned(),
        });
    }
    if matches!(way, Way::Restart | Way::CatchUp) {
        steps.push(format!("start {WORKER}"));
    }
    steps.push("wait for a pull that succeeds".to_owned());
    // What hangs uses up the whole time that it is given to end.
    let hangs = runs && !under_way.is_empty() && gets_on.is_empty();
    let grace = job.context.stack.service(WORKER).filter(|_| hangs);
    let pause = 20 + grace.map_or(0, |service| service.grace.as_secs());
    let meanwhile = match way {
        Way::CatchUp => "Casepro stays readable; the backlog comes in as it is pulled, and new \
             messages after it"
            .to_owned(),
        Way::Restart => {
            format!("Casepro stays readable; no message is pulled for about {pause} s")
        }
        Way::Around | Way::Watch => "nobody is interrupted".to_owned(),
    };
    // Locks are not among them: one more without an owner changes nothing for anybody.
    Ok(Plan {
        steps,
        meanwhile,
        touches: vec![WORKER.to_owned()],
        act: Box::pin(async move { act(&job, way, &wanted, &living).await }),
    })
}

/// What has to succeed in the end: the messages of every organisation, and what else is late or
/// locked by nobody.
async fn wanted(scene: &Scene, tasks: &[Task]) -> Result<Vec<Task>, Halt> {
    let mut stuck = sync::late(scene).await?;
    stuck.extend(
        held::stale(scene)
            .await?
            .0
            .into_iter()
            .map(|lock| lock.task),
    );
    let is = |task: &Task, other: &Task| task.kind == other.kind && task.org == other.org;
    Ok(tasks
        .iter()
        .filter(|task| !task.disabled)
        .filter(|task| task.kind == Kind::Messages || stuck.iter().any(|it| is(task, it)))
        .cloned()
        .collect())
}

async fn act(job: &Job, way: Way, wanted: &[Task], living: &[Task]) -> Result<String, Vec<Fault>> {
    let one = |fault: Fault| vec![fault];
    let worker = BTreeSet::from([WORKER.to_owned()]);
    if matches!(way, Way::Restart | Way::CatchUp) {
        services::stop(job, &worker).await?;
        who::end_one_offs(job).await.map_err(one)?;
    }
    locks::delete(job).await.map_err(one)?;
    let mut caught_up = None;
    let mut failed = None;
    if way == Way::CatchUp {
        match catch_up::run(job, wanted).await {
            Ok(pulled) => caught_up = Some(pulled),
            // Also after a failure: without its worker Casepro would pull nothing at all.
            Err(fault) => failed = Some(fault),
        }
    }
    let mark = pulled::Mark::set(job, wanted, living).await.map_err(one)?;
    if matches!(way, Way::Restart | Way::CatchUp) {
        services::start(job, &worker).await?;
    }
    if let Some(fault) = failed {
        return Err(vec![fault]);
    }
    let seen = mark.wait(job).await.map_err(one)?;
    Ok(match caught_up {
        Some(pulled) => format!("{pulled}; {seen}"),
        None => seen,
    })
}

fn switched_off(job: &Job) -> Fault {
    Fault::problem(
        "casepro-sync: every pull of messages is switched off",
        "the organisations' tasks are disabled in Casepro's database, on purpose",
    )
    .evidence("orgs_taskstate.is_disabled is true for message-pull of every organisation")
    .why("no worker pulls what is disabled")
    .next(job.command("diagnose casepro-sync"))
}

/// Tells a step that has no service.
fn tell(job: &Job, step: &'static str, event: Event, took: Option<Duration>, detail: String) {
    job.context.reporter.tell(step, event, took, detail);
}

/// "message-pull of lvcthealth"
fn name(task: &Task) -> String {
    format!("{} of {}", task.kind.key(), task.subdomain)
}

/// "for 47 s"
fn for_long(time: Option<Duration>) -> String {
    time.map_or_else(String::new, |time| format!(" for {}", age(time)))
}

/// Docker, or why not.
async fn engine(job: &Job) -> Result<Engine, Fault> {
    Engine::connect()
        .await
        .map_err(|error| refused(job, &error))
}
