//! Whom an upgrade lets in, and for how long it let nobody in.

use std::time::Duration;

use jiff::Timestamp;

use super::Run;
use crate::fault::Fault;
use crate::operation::Kind;
use crate::upgrade::door;

impl Run<'_> {
    /// Closes the web.
    pub(super) fn close(&mut self) -> Result<(), Vec<Fault>> {
        let places = &self.context.settings.places;
        door::close(places, self.procedure.owner).map_err(|error| vec![*self.not_noted(&error)])?;
        if self.state.closed.is_none() {
            self.state.closed = Some(Timestamp::now());
            self.note()?;
            self.tell(
                Kind::Done,
                "the web is closed: 503 for people, Retry-After for programs",
            );
        }
        Ok(())
    }

    /// Closes what providers deliver to, too: what courier took from now on might be lost.
    pub(super) fn close_courier(&mut self) -> Result<(), Vec<Fault>> {
        let Some(courier) = self.procedure.takes_messages else {
            return Ok(());
        };
        let places = &self.context.settings.places;
        door::close(places, courier).map_err(|error| vec![*self.not_noted(&error)])?;
        if self.state.courier_closed.is_none() {
            self.state.courier_closed = Some(Timestamp::now());
            self.note()?;
        }
        Ok(())
    }

    /// Opens both, and counts for how long they were closed.
    pub(super) fn open(&mut self) -> Result<(), Vec<Fault>> {
        let places = &self.context.settings.places;
        let courier = self.procedure.takes_messages;
        for door in courier.into_iter().chain([self.procedure.owner]) {
            door::open(places, door).map_err(|error| vec![*self.not_noted(&error)])?;
        }
        self.state.down_ms = self.down_so_far();
        self.state.closed = None;
        self.state.courier_closed = None;
        Ok(())
    }

    /// For how long the web was closed, and courier, up to now and in all legs; milliseconds.
    pub(super) fn down_so_far(&self) -> (u64, u64) {
        let now = Timestamp::now();
        let since = |closed: Option<Timestamp>| {
            let closed = closed.map(|closed| now.duration_since(closed).as_millis());
            u64::try_from(closed.unwrap_or_default()).unwrap_or_default()
        };
        let (web, courier) = self.state.down_ms;
        (
            web + since(self.state.closed),
            courier + since(self.state.courier_closed),
        )
    }

    pub(super) fn down(&self) -> (Duration, Duration) {
        let (web, courier) = self.state.down_ms;
        (Duration::from_millis(web), Duration::from_millis(courier))
    }
}
