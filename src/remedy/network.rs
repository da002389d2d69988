//! Services that have lost their name in the deployment's network, or their place in it, as after
//! `docker network connect` by hand: nobody finds them there any more, also after a restart.

use std::rc::Rc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::Job;
use crate::diagnosis;
use crate::engine::containers::Container;
use crate::engine::oneoff::network_name;
use crate::engine::{Engine, Error};
use crate::fault::Fault;
use crate::operation::Kind;

/// Whether others find the container by its service's name.
pub async fn is_found(job: &Job, engine: &Engine, container: &Container) -> Result<bool, Error> {
    let network = network_name(job.context.settings.project());
    let service = &container.service;
    engine.is_named_in(&container.id, &network, service).await
}

/// Gives it its name again.
pub async fn rejoin(job: &Job, engine: &Engine, container: &Container) -> Result<(), Error> {
    let network = network_name(job.context.settings.project());
    let service = &container.service;
    engine.rejoin(&container.id, &network, service).await?;
    let detail = format!("found again by its name in {network}");
    let reporter = &job.context.reporter;
    reporter.service("network", service, Kind::Done, None, detail);
    Ok(())
}

/// How long nginx remembers an address, and what starts again may take.
const UNTIL_FOUND: Duration = Duration::from_secs(15);

/// Asks for the same pages as the checks do, until each of these services has answered through
/// nginx: when that was. None where one did not in time, or nobody reaches it through nginx.
pub async fn answers_through_nginx(
    job: &Job,
    services: &[String],
) -> Result<Option<String>, Box<Fault>> {
    let names: Vec<String> = services
        .iter()
        .map(|service| format!("nginx-to-{service}"))
        .filter(|name| diagnosis::find(std::slice::from_ref(name), "").is_ok())
        .collect();
    if names.is_empty() {
        return Ok(None);
    }
    let checks = diagnosis::find(&names, &job.again)?;
    let began = Instant::now();
    while let Some(scene) = Rc::into_inner(job.look()) {
        let left = diagnosis::run(scene, &checks, |_| {}).await.findings;
        if left.is_empty() {
            let now = Timestamp::now().strftime("%H:%M:%S UTC");
            return Ok(Some(now.to_string()));
        }
        // Where nginx does not run, or does not know the host, there is nothing to wait for.
        let blocked = left.iter().all(|finding| finding.blocked_by.is_some());
        if blocked || began.elapsed() > UNTIL_FOUND {
            break;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    Ok(None)
}
