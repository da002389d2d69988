//! `ooy restart`: stops, then starts, as one operation: cut off in between, the journal does not
//! say that anything was stopped on purpose.

use std::time::Instant;

use super::start::{self, Outcome};
use super::{Context, stop};
use crate::fault::Fault;
use crate::operation::Operation;

/// Restarts; what needs the restarted services keeps running. `again` is the command to repeat.
pub async fn restart(
    context: &Context,
    options: &start::Options,
    again: &str,
) -> Result<Outcome, Vec<Fault>> {
    let began = Instant::now();
    let one = |fault: Box<Fault>| vec![*fault];
    let chosen = context
        .stack
        .select(&options.services, again)
        .map_err(one)?;
    let with_needs = context
        .stack
        .graph
        .with_needs(chosen.iter().map(String::as_str));
    let asked = super::asked("restart", &options.services);
    let state = &context.settings.places.state;
    let _operation = match options.dry_run {
        true => None,
        false => {
            let begun = Operation::begin(state, "restart", &asked, again, &context.reporter);
            Some(begun.map_err(one)?)
        }
    };
    let outcome = async {
        let stopped = stop::stop_locked(context, &chosen, options.dry_run, again).await?;
        match stopped.faults.is_empty() {
            true => start::start_locked(context, options, &with_needs, again).await,
            false => Err(stopped.faults),
        }
    }
    .await;
    if !options.dry_run {
        start::tell_end(context, &outcome, began);
    }
    outcome
}
