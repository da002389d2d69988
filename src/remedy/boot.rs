//! `ooy fix boot`: what runs has its restart policy, and Docker is started at boot.

use std::rc::Rc;
use std::time::Duration;

use super::{Job, Plan, Planning, Refusal, Remedy, Takes};
use crate::diagnosis::{Code, DOCKER_UNIT, docker_is_off, would_stay_down};
use crate::engine::Engine;
use crate::engine::containers::Container;
use crate::fault::Fault;
use crate::host::process;
use crate::host::systemd::Systemd;
use crate::operation::Kind;

/// The repair.
pub const REMEDY: Remedy = Remedy {
    name: "boot",
    about: "what runs comes back by itself after a restart of Docker or the host",
    codes: &[Code::BootDisabled],
    takes: Takes::Nothing,
    // A policy that says what ooy.env says takes nothing from anybody. Docker's unit is of no
    // service, and may have been disabled on purpose.
    unattended: |finding| finding.service.is_some(),
    settles: Duration::from_secs(30),
    otherwise: &["diagnose"],
    plan: |job| -> Planning { Box::pin(plan(job)) },
};

/// How long systemctl may take to answer.
const ANSWER: Duration = Duration::from_secs(20);

/// What is to be put right.
struct Work {
    /// Containers that run, each with the policy that it is to have.
    policies: Vec<(Container, String)>,
    /// Docker's unit, in systemd's word for it.
    docker: Option<String>,
}

async fn plan(job: Rc<Job>) -> Result<Plan, Refusal> {
    let work = look(&job).await?;
    if let Some(state) = &work.docker {
        if state.starts_with("masked") {
            let fault = masked(&job, state);
            // What can be put right is.
            if work.policies.is_empty() {
                return Err(fault.into());
            }
        } else if !process::is_root() {
            return Err(no_permission(&job).into());
        }
    }
    let mut steps: Vec<String> = work
        .policies
        .iter()
        .map(|(container, policy)| {
            format!(
                "restart policy of {}: {} instead of {}",
                container.service, policy, container.restart
            )
        })
        .collect();
    let mut touches: Vec<String> = work
        .policies
        .iter()
        .map(|(container, _)| container.service.clone())
        .collect();
    if work.docker.is_some() {
        steps.push(format!("{DOCKER_UNIT}: started at boot"));
        touches.push(DOCKER_UNIT.to_owned());
    }
    if steps.is_empty() {
        if !job.resumes {
            return Err(Refusal::Nothing("nothing to fix".to_owned()));
        }
        // Cut off after its last step; that it is done is written down now.
        steps.push("see that nothing is left to do".to_owned());
    }
    Ok(Plan {
        steps,
        meanwhile: "nothing is interrupted".to_owned(),
        touches,
        act: Box::pin(async move { act(&job, work).await }),
    })
}

async fn look(job: &Job) -> Result<Work, Refusal> {
    let scene = job.look();
    let mut policies = Vec::new();
    for service in &job.context.stack.services {
        let found = scene.container(&service.name).await;
        let Some(container) = found.map_err(|_| unseen(job))? else {
            continue;
        };
        if would_stay_down(container, &service.restart) {
            policies.push((container.clone(), service.restart.clone()));
        }
    }
    // With nobody looking, only what is allowed then.
    let docker = match job.wishes.unattended {
        true => None,
        false => docker_is_off(ANSWER).await,
    };
    Ok(Work { policies, docker })
}

async fn act(job: &Job, work: Work) -> Result<String, Vec<Fault>> {
    let failed = |error: crate::engine::Error| vec![error.fault(&job.again)];
    let mut seen = Vec::new();
    if !work.policies.is_empty() {
        let engine = Engine::connect().await.map_err(failed)?;
        for (container, policy) in &work.policies {
            let name = &container.service;
            job.context
                .reporter
                .tell("policy", Kind::Started, None, name.clone());
            engine
                .set_restart(&container.id, policy)
                .await
                .map_err(failed)?;
            let now = engine.container(&container.id).await.map_err(failed)?;
            if now.restart != *policy {
                return Err(vec![not_taken(job, name, policy, &now.restart)]);
            }
            let detail = format!("{name}: {policy}");
            job.context
                .reporter
                .tell("policy", Kind::Done, None, detail.clone());
            seen.push(detail);
        }
    }
    if let Some(state) = &work.docker {
        if state.starts_with("masked") {
            return Err(vec![masked(job, state)]);
        }
        let systemd = Systemd::of_this_host();
        let enabled = systemd.tell(&["enable", DOCKER_UNIT]).await;
        let now = match &enabled {
            Ok(()) => systemd.is_enabled(DOCKER_UNIT, ANSWER).await,
            Err(why) => Err(why.clone()),
        };
        match now {
            Ok(word) if word == "enabled" => {
                let detail = format!("{DOCKER_UNIT}: enabled");
                job.context
                    .reporter
                    .tell("docker", Kind::Done, None, detail.clone());
                seen.push(detail);
            }
            Ok(word) => return Err(vec![not_enabled(job, &format!("is-enabled: {word}"))]),
            Err(why) => return Err(vec![not_enabled(job, &why)]),
        }
    }
    Ok(match seen.is_empty() {
        true => "every policy is as configured".to_owned(),
        false => format!("read back: {}", seen.join(" · ")),
    })
}

fn unseen(job: &Job) -> Refusal {
    Fault::problem(
        "boot: cannot be looked at",
        "the containers' restart policies could not be read",
    )
    .evidence("Docker gave no list of the containers")
    .why("nothing was done: a repair without a look may do harm")
    .next(job.command("diagnose docker-engine"))
    .into()
}

fn no_permission(job: &Job) -> Fault {
    Fault::problem(
        "boot: no permission",
        "only root may say what systemd starts at boot",
    )
    .evidence(format!("this is user {}", process::user_name()))
    .why("nothing was done; after the next boot Docker, and so every service, stays down")
    .next(format!("sudo {}", job.again))
}

fn masked(job: &Job, state: &str) -> Fault {
    crate::boot::masked(state, &job.again)
}

fn not_taken(job: &Job, service: &str, policy: &str, now: &str) -> Fault {
    Fault::problem(
        format!("{service}: keeps its restart policy"),
        format!("Docker took the policy {policy}, and shows {now}"),
    )
    .evidence(format!("read back from Docker: {now}"))
    .why("after the next restart of Docker or the host it stays down")
    .next(job.command(&format!("restart {service}")))
    .next(job.again.clone())
}

fn not_enabled(job: &Job, why: &str) -> Fault {
    Fault::problem(
        format!("{DOCKER_UNIT}: not enabled"),
        "systemd was told to start Docker at boot, and does not",
    )
    .evidence(format!("systemctl: {why}"))
    .why("after the next boot Docker, and so every service, stays down")
    .next(format!("systemctl status {DOCKER_UNIT}"))
    .next(job.again.clone())
}
