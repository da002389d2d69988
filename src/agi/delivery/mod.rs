//! Brings waiting calls to RapidPro, each exactly once as far as the other side allows, and calls
//! of one contact in their order.
//!
//! [`tell`] knows the requests, [`decide`] what follows from an answer, [`queue`] whose turn it
//! is, [`driver`] puts them together with the spool, [`world`] is everything else.

pub mod decide;
pub mod driver;
mod fault;
mod queue;
mod tell;
#[cfg(test)]
mod tests;
mod wake;
mod world;

use std::ffi::OsString;
use std::time::Duration;

use super::record::Record;
use super::settings::CallSettings;
use super::spool::{Busy, Spool};
use crate::deployment::places::Places;
use crate::host::process;

pub use driver::{End, Event, Until};
pub use wake::{Bell, Stopper, kick};

/// Delivers this one call within so long, without writing anything: for when the spool cannot be
/// used. RapidPro's id of the flow start, or why there is none, in words for people.
pub fn direct(
    record: &Record,
    settings: &CallSettings,
    within: Duration,
) -> Result<String, String> {
    let link = world::link(settings).map_err(|fault| {
        let mut words = vec![fault.title.clone()];
        words.extend(fault.evidence.iter().cloned());
        words.join("; ")
    })?;
    let api = link.api.within(within);
    let times = record.times(&link.zone);
    match tell::tell(&api, &link.flow, record, &times) {
        Ok(told) => Ok(told.start),
        Err(untold) => Err(settings.mask().apply(&untold.trouble.words())),
    }
}

/// Delivers what waits, as the only one who does. `listener` is told of everything.
pub fn run(
    places: &Places,
    spool: &Spool,
    until: Until,
    bell: &Bell,
    listener: &mut dyn FnMut(Event),
) -> Result<End, Busy> {
    loop {
        let held = spool.deliver()?;
        let mut world = world::Real::new(places, bell, listener);
        let end = driver::Driver::new(&held, &mut world, until).run();
        drop(held);
        // A call that came after the last look and before the lock was free: whoever took it
        // over saw the lock held and started nobody.
        let lost = matches!(end, End::Empty) && spool.has_waiting().unwrap_or(false);
        if !lost {
            return Ok(end);
        }
    }
}

/// Starts a process that delivers what waits and then ends.
pub fn start_detached(places: &Places) -> std::io::Result<()> {
    let mut arguments: Vec<OsString> = Vec::new();
    if let Some(home) = &places.home {
        arguments.push("--home".into());
        arguments.push(home.into());
    }
    arguments.extend(["calls", "deliver", "--detached"].map(OsString::from));
    process::start_detached(&arguments)
}
