//! Services that have lost their name in the deployment's network, or their place in it, as after
//! `docker network connect` by hand: nobody finds them there any more, also after a restart.

use super::Job;
use crate::engine::containers::Container;
use crate::engine::oneoff::network_name;
use crate::engine::{Engine, Error};
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
