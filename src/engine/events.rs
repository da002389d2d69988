//! The Engine's event stream, reduced to what a waiting start or log reader needs.

use std::collections::HashMap;

use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::{Stream, StreamExt as _};

use super::{Engine, Error, PROJECT_LABEL, SERVICE_LABEL};

/// Something that happened to a container of the project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its compose service.
    pub service: String,
    /// Id of the container.
    pub container: String,
    /// `start`, `die`, `destroy`, `health_status: healthy`, …
    pub action: String,
    /// Exit code, with `die`.
    pub exit_code: Option<i64>,
}

impl Engine {
    /// Events of the project's containers from `since` (seconds since 1970) on. Ends or fails
    /// when the daemon goes away.
    pub fn events(
        &self,
        project: &str,
        since: i64,
    ) -> impl Stream<Item = Result<Event, Error>> + use<> {
        let filters = HashMap::from([
            ("type".to_owned(), vec!["container".to_owned()]),
            (
                "label".to_owned(),
                vec![format!("{PROJECT_LABEL}={project}")],
            ),
            // Not the exec_* events: each health check would wake everything.
            (
                "event".to_owned(),
                [
                    "start",
                    "die",
                    "stop",
                    "destroy",
                    "create",
                    "health_status",
                    "oom",
                ]
                .map(str::to_owned)
                .to_vec(),
            ),
        ]);
        let options = EventsOptionsBuilder::default()
            .since(&since.to_string())
            .filters(&filters)
            .build();
        self.docker.clone().events(Some(options)).map(|item| {
            let message = item?;
            let actor = message.actor.unwrap_or_default();
            let attributes = actor.attributes.unwrap_or_default();
            Ok(Event {
                service: attributes.get(SERVICE_LABEL).cloned().unwrap_or_default(),
                container: actor.id.unwrap_or_default(),
                action: message.action.unwrap_or_default(),
                exit_code: attributes
                    .get("exitCode")
                    .and_then(|code| code.parse().ok()),
            })
        })
    }
}
