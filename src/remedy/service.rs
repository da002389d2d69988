//! `ooy fix service`: a service that runs and does not do its work is stopped with the time that it
//! needs for it, and started again after what it needs. Of one that ends again and again its last
//! words are told: a restart cures it only where the cause is gone.

mod busy;
mod causes;

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{Job, Plan, Planning, Refusal, Remedy, Takes, network, services};
use crate::deployment::services::Ready;
use crate::diagnosis::{Code, Finding, Past, Severity};
use crate::engine::containers::Container;
use crate::engine::{Engine, Error};
use crate::fault::Fault;
use crate::lifecycle::readiness::{self, Verdict};
use crate::operation::Kind;

/// The repair.
pub const REMEDY: Remedy = Remedy {
    name: "service",
    about: "a service that is unhealthy, does not answer or restarts again and again",
    codes: &[
        Code::OomKilled,
        Code::RestartLoop,
        Code::ElasticsearchRed,
        Code::MailroomUnreachable,
        Code::RapidproUnreachable,
        Code::CaseproUnreachable,
        Code::ContentrepoUnreachable,
        Code::ServiceUnhealthy,
        Code::UpstreamUnreachable,
        Code::SearchLag,
        Code::QueueGrowing,
        Code::OutboxStuck,
    ],
    takes: Takes::Service,
    unattended,
    settles: Duration::from_secs(45),
    otherwise: &["logs {service} -n 50", "config --check", "diagnose"],
    plan: |job| -> Planning { Box::pin(plan(job)) },
};

/// What does not answer is served badly already. What ends by itself Docker starts again, and of a
/// queue that grows nobody knows whether a restart helps; what another finding explains is not
/// cured by it.
fn unattended(finding: &Finding) -> bool {
    let silent = matches!(
        finding.code,
        Code::ElasticsearchRed
            | Code::MailroomUnreachable
            | Code::RapidproUnreachable
            | Code::CaseproUnreachable
            | Code::ContentrepoUnreachable
            | Code::ServiceUnhealthy
            | Code::UpstreamUnreachable
    );
    silent && finding.severity == Severity::Error && finding.caused_by.is_none()
}

/// One that ends again within this time has not left its loop.
const CALM: Duration = Duration::from_secs(10);

/// Between two looks meanwhile.
const EVERY: Duration = Duration::from_millis(250);

async fn plan(job: Rc<Job>) -> Result<Plan, Refusal> {
    let failed = |error: Error| Refusal::from(error.fault(&job.again));
    let mut wanted: BTreeSet<String> = job
        .findings
        .iter()
        .filter_map(target)
        .map(str::to_owned)
        .collect();
    // Cut off after the stop: the checks of services that run find nothing.
    let begun = match job.resumes {
        true => begun(&job).await,
        false => BTreeSet::new(),
    };
    if job.wishes.unattended && wanted.len() > 1 {
        // One at a time: the first may be the cause of the others.
        let first = job.findings.iter().find_map(target);
        wanted.retain(|name| Some(name.as_str()) == first);
    }
    wanted.extend(begun);
    if wanted.is_empty() {
        return Err(Refusal::Nothing("nothing to fix".to_owned()));
    }
    let engine = Engine::connect().await.map_err(failed)?;
    let project = job.context.settings.project();
    let containers = engine.containers(project).await.map_err(failed)?;
    let of = |service: &str| {
        containers
            .iter()
            .find(|container| !container.oneoff && container.service == service)
    };
    let mut steps = Vec::new();
    let mut meanwhile = Vec::new();
    let mut lost = Vec::new();
    for name in &wanted {
        if let Some(container) = of(name)
            && container.is_running()
        {
            if let Some(fault) = busy::fault(&job, container).await {
                return Err(fault.into());
            }
            if !network::is_found(&job, &engine, container)
                .await
                .map_err(failed)?
            {
                lost.push(container.clone());
            }
        }
        for words in causes::told(&job.findings, name) {
            steps.push(format!("{name}: {words}"));
        }
        steps.push(format!("stop {}", services::with_grace(&job, name)));
        let without = job
            .context
            .stack
            .service(name)
            .map_or("", |service| service.without_it);
        meanwhile.push(format!("{without}, until {name} is ready again"));
    }
    for container in &lost {
        let name = &container.service;
        steps.push(format!("put {name} back into the network under its name"));
    }
    let names = wanted.iter().cloned().collect::<Vec<_>>().join(", ");
    steps.push(format!("start {names} after what it needs"));
    steps.push("wait until it does its work".to_owned());
    Ok(Plan {
        steps,
        meanwhile: meanwhile.join("; "),
        touches: wanted.iter().cloned().collect(),
        act: Box::pin(async move { act(&job, &engine, &wanted, &lost).await }),
    })
}

/// The service that a finding's repair restarts.
fn target(finding: &Finding) -> Option<&str> {
    finding
        .fix
        .remedy()
        .and_then(|(_, target)| target)
        .or(finding.service.as_deref())
}

/// What an earlier run of this repair has stopped and not started. Not by the last operation: that
/// is this very one as soon as it has begun.
async fn begun(job: &Job) -> BTreeSet<String> {
    let Ok(past) = Past::look(&job.look()).await else {
        return BTreeSet::new();
    };
    let asked = match &job.wishes.target {
        Some(target) => format!("fix {} {target}", REMEDY.name),
        None => format!("fix {}", REMEDY.name),
    };
    job.context
        .stack
        .graph
        .names()
        .filter(|name| {
            past.stopped(name)
                .is_some_and(|entry| entry.operation == asked)
        })
        .map(str::to_owned)
        .collect()
}

async fn act(
    job: &Job,
    engine: &Engine,
    wanted: &BTreeSet<String>,
    lost: &[Container],
) -> Result<String, Vec<Fault>> {
    services::stop(job, wanted).await?;
    for container in lost {
        let rejoined = network::rejoin(job, engine, container).await;
        rejoined.map_err(|error| vec![error.fault(&job.again)])?;
    }
    if let Err(faults) = services::start(job, wanted).await {
        return Err(faults
            .into_iter()
            .map(|fault| causes::explained(job, fault))
            .collect());
    }
    let looping: BTreeSet<&str> = job
        .findings
        .iter()
        .filter(|finding| matches!(finding.code, Code::RestartLoop | Code::OomKilled))
        .filter_map(target)
        .filter(|name| wanted.contains(*name))
        .collect();
    let failed = |error: Error| vec![error.fault(&job.again)];
    for name in looping {
        stays_up(job, engine, name).await?;
    }
    let mut seen = Vec::new();
    for name in wanted {
        seen.push(proof(job, engine, name).await.map_err(failed)?);
    }
    let names: Vec<String> = wanted.iter().cloned().collect();
    let through = network::answers_through_nginx(job, &names).await;
    if let Some(at) = through.map_err(|fault| vec![*fault])? {
        seen.push(format!("through nginx at {at}"));
    }
    Ok(seen.join("; "))
}

async fn container(job: &Job, engine: &Engine, name: &str) -> Result<Option<Container>, Error> {
    let project = job.context.settings.project();
    engine.service_container(project, name).await
}

/// Being ready once is no proof of a service that ended after it was.
async fn stays_up(job: &Job, engine: &Engine, name: &str) -> Result<(), Vec<Fault>> {
    let failed = |error: Error| vec![error.fault(&job.again)];
    let began = Instant::now();
    while began.elapsed() < CALM {
        let container = container(job, engine, name).await.map_err(failed)?;
        let ended = container.is_none_or(|it| !it.is_running() || it.restarts > 0);
        if ended {
            let fault = Fault::problem(
                format!("{name}: it did not help"),
                format!("{name} was started and has ended again"),
            )
            .evidence(format!(
                "it lived less than {} s",
                began.elapsed().as_secs() + 1
            ));
            return Err(vec![
                causes::with_last_words(job, engine, name, fault).await,
            ]);
        }
        let took = Some(began.elapsed());
        let detail = format!("whether it stays up, {} s", CALM.as_secs());
        job.context
            .reporter
            .service("watch", name, Kind::Progress, took, detail);
        tokio::time::sleep(EVERY).await;
    }
    Ok(())
}

/// What is seen of a service at last: `contentrepo: GET /admin/login/ answered 200 at 02:19:44 UTC`.
async fn proof(job: &Job, engine: &Engine, name: &str) -> Result<String, Error> {
    let now = || Timestamp::now().strftime("%H:%M:%S UTC").to_string();
    let (Some(service), Some(container)) = (
        job.context.stack.service(name),
        container(job, engine, name).await?,
    ) else {
        return Ok(format!("{name}: not there any more"));
    };
    let verdict = readiness::look(engine, &job.context.settings, service, &container).await?;
    Ok(match (verdict, service.ready) {
        (Verdict::Ready, Ready::Http(http)) => {
            format!(
                "{name}: GET {} answered {} at {}",
                http.path,
                http.status,
                now()
            )
        }
        (Verdict::Ready, _) => format!("{name}: ready at {}", now()),
        (Verdict::NotYet(why) | Verdict::Broken(why), _) => {
            format!("{name}: {}", job.context.mask.apply(&why))
        }
    })
}
