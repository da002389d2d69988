//! `ooy fix nginx-upstreams`: nginx reaches the services behind it again. What has lost its name in
//! the network gets it back, and nginx looks for all of them anew.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{Job, Plan, Planning, Refusal, Remedy, Takes, network};
use crate::diagnosis::Code;
use crate::engine::containers::Container;
use crate::engine::{Engine, Error};
use crate::fault::Fault;
use crate::host::text;
use crate::operation::Kind;

/// The repair.
pub const REMEDY: Remedy = Remedy {
    name: "nginx-upstreams",
    about: "nginx reaches the services behind it again",
    codes: &[Code::UpstreamUnreachable],
    takes: Takes::Nothing,
    // Whom it interrupts is not reached anyway.
    unattended: |finding| finding.caused_by.is_none(),
    settles: Duration::from_secs(20),
    otherwise: &["restart nginx", "logs nginx -n 50"],
    plan: |job| -> Planning { Box::pin(plan(job)) },
};

/// What compose starts nginx with, and what it is asked.
const TEST: [&str; 5] = ["nginx", "-t", "-q", "-c", "/etc/ooy/nginx/nginx.conf"];
const RELOAD: [&str; 5] = ["nginx", "-c", "/etc/ooy/nginx/nginx.conf", "-s", "reload"];

/// How long either may take.
const PATIENCE: Duration = Duration::from_secs(20);

async fn plan(job: Rc<Job>) -> Result<Plan, Refusal> {
    let failed = |error: Error| Refusal::from(error.fault(&job.again));
    let engine = Engine::connect().await.map_err(failed)?;
    let project = job.context.settings.project();
    let containers = engine.containers(project).await.map_err(failed)?;
    let running = |service: &str| {
        containers.iter().find(|container| {
            !container.oneoff && container.service == service && container.is_running()
        })
    };
    let Some(nginx) = running("nginx") else {
        return Err(Refusal::Nothing(format!(
            "nginx does not run: {}",
            job.command("fix not-running")
        )));
    };
    // Cut off, one may be out of the network, where no check reaches it.
    let behind: BTreeSet<&str> = match job.resumes {
        true => job.context.stack.graph.needs("nginx").collect(),
        false => job
            .findings
            .iter()
            .filter_map(|finding| finding.service.as_deref())
            .collect(),
    };
    let mut lost: Vec<Container> = Vec::new();
    for service in &behind {
        if let Some(container) = running(service)
            && !network::is_found(&job, &engine, container)
                .await
                .map_err(failed)?
        {
            lost.push(container.clone());
        }
    }
    let names: Vec<&str> = lost.iter().map(|lost| lost.service.as_str()).collect();
    let mut steps = Vec::new();
    let mut meanwhile = "pages stay open: nginx lets what is under way end".to_owned();
    if !lost.is_empty() {
        steps.push(format!(
            "put {} back into the network under its name",
            names.join(", ")
        ));
        meanwhile += &format!("; connections of {} end", names.join(", "));
    }
    steps.push("nginx -t".to_owned());
    steps.push("reload nginx".to_owned());
    steps.push("ask for a page through nginx".to_owned());
    let mut touches: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    touches.push("nginx".to_owned());
    let asked: Vec<String> = behind.iter().map(|name| (*name).to_owned()).collect();
    let nginx = nginx.id.clone();
    Ok(Plan {
        steps,
        meanwhile,
        touches,
        act: Box::pin(async move {
            let failed = |error: Error| vec![error.fault(&job.again)];
            for container in &lost {
                network::rejoin(&job, &engine, container)
                    .await
                    .map_err(failed)?;
            }
            reload(&job, &engine, &nginx)
                .await
                .map_err(|fault| vec![*fault])?;
            let names = asked.join(", ");
            let answered = network::answers_through_nginx(&job, &asked).await;
            // If not, the checks that follow say what is left.
            Ok(match answered.map_err(|fault| vec![*fault])? {
                Some(at) => format!("{names} answered through nginx at {at}"),
                None => format!("nginx does not reach {names} yet"),
            })
        }),
    })
}

/// A configuration that nginx refuses is not loaded, and it goes on with the one before.
async fn reload(job: &Job, engine: &Engine, nginx: &str) -> Result<(), Box<Fault>> {
    let began = Instant::now();
    for command in [TEST, RELOAD] {
        let ran = tokio::time::timeout(PATIENCE, engine.exec(nginx, &command)).await;
        let ran = match ran {
            Ok(ran) => ran.map_err(|error| error.fault(&job.again))?,
            Err(_) => {
                return Err(Box::new(
                    Fault::problem("nginx: not reloaded", "nginx gave no answer")
                        .evidence(format!(
                            "{}: no end after {} s",
                            command.join(" "),
                            PATIENCE.as_secs()
                        ))
                        .why("it goes on as before, and does not reach what is behind it")
                        .next(job.command("restart nginx")),
                ));
            }
        };
        if ran.code != 0 {
            let mut fault =
                Fault::problem("nginx: not reloaded", "nginx refuses its configuration")
                    .why("it goes on with the one before; its next start would fail")
                    .next(job.command("restart nginx"))
                    .next(job.command("diagnose nginx-config"));
            for line in ran
                .text
                .lines()
                .filter(|line| !line.trim().is_empty())
                .take(5)
            {
                let line = job.context.mask.apply(line);
                fault = fault.evidence(text::shorten(&line, 300));
            }
            return Err(Box::new(fault));
        }
    }
    let reporter = &job.context.reporter;
    reporter.service(
        "reload",
        "nginx",
        Kind::Done,
        Some(began.elapsed()),
        "reloaded",
    );
    Ok(())
}
