//! Stopping and starting services within a repair, which holds the lock already.

use std::collections::BTreeSet;

use super::Job;
use crate::fault::Fault;
use crate::lifecycle::start::{self, Options};
use crate::lifecycle::stop;

/// Stops these, each with its own time to end by itself.
pub async fn stop(job: &Job, services: &BTreeSet<String>) -> Result<(), Vec<Fault>> {
    let outcome = stop::stop_locked(&job.context, services, false, &job.again).await?;
    if outcome.faults.is_empty() {
        Ok(())
    } else {
        Err(outcome.faults)
    }
}

/// Brings these up, and what they need, each when what it needs is ready. The answer says how many
/// are ready.
pub async fn start(job: &Job, services: &BTreeSet<String>) -> Result<String, Vec<Fault>> {
    let graph = &job.context.stack.graph;
    let chosen = graph.with_needs(services.iter().map(String::as_str));
    let outcome =
        start::start_locked(&job.context, &Options::default(), &chosen, &job.again).await?;
    let faults = outcome.failures();
    if faults.is_empty() {
        Ok(format!(
            "{} of {} ready",
            outcome.ready(),
            outcome.services.len()
        ))
    } else {
        Err(faults)
    }
}

/// `rapidpro-celery (120 s to end by itself)`
pub fn with_grace(job: &Job, service: &str) -> String {
    let grace = job
        .context
        .stack
        .service(service)
        .map_or(10, |service| service.grace.as_secs());
    format!("{service} ({grace} s to end by itself)")
}
