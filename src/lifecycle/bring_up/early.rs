//! Services that somebody else has started before what they need was there: after a restart of
//! Docker or the host all containers come back at once, in any order.

use super::Run;
use crate::deployment::services::Service;
use crate::engine::Error;
use crate::engine::containers::Container;
use crate::lifecycle::start::End;
use crate::operation::Kind;

/// What waiting for a service has come to.
pub(super) enum Waited {
    /// Its end.
    End(End),
    /// It runs since before what it needs was ready, and will not get well by itself; what was
    /// seen.
    TooEarly(String),
}

impl Run<'_> {
    /// Ends a process that came up too early, and starts it now that all it needs is ready. Between
    /// the two it is a stopped container, which the next start brings up.
    pub(super) async fn start_again(
        &self,
        service: &Service,
        container: &Container,
        seen: &str,
    ) -> std::result::Result<(), Error> {
        let detail = format!("is started again: {}", self.context.mask.apply(seen));
        self.context
            .reporter
            .service("start", &service.name, Kind::Progress, None, detail);
        self.engine.stop(&container.id, service.grace).await?;
        // Its deaths so far were not those of the process that is waited for from now on.
        self.deaths.borrow_mut().codes.remove(&container.id);
        self.start_process(service, container).await
    }

    /// Whether something that it needs was started after it.
    pub(super) async fn came_before_its_needs(
        &self,
        service: &Service,
        container: &Container,
    ) -> std::result::Result<bool, Error> {
        for need in self.context.stack.graph.needs(&service.name) {
            let Some(need) = self.container(need).await? else {
                continue;
            };
            if need.started_at > container.started_at {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
