//! What this host knows of a server.

use std::net::IpAddr;

use super::Asked;
use crate::diagnosis::check::blocking;
use crate::diagnosis::scene::Scene;
use crate::host::ports::Listener;
use crate::host::{process, reach};

/// What this host knows of the server.
pub(super) struct Place {
    /// It runs on this host.
    pub(super) local: bool,
    pub(super) listeners: Vec<Listener>,
    /// Processes of it that a signal has stopped.
    pub(super) stopped: Vec<u32>,
}

impl Place {
    pub(super) async fn look(scene: &Scene, one: &Asked) -> Self {
        let (host, port) = (one.host.clone(), one.port);
        let table = scene.listening().await.ok();
        let seen = blocking(move || {
            let local = reach::is_this_machine(&host);
            let here = table.filter(|_| local);
            let listeners = here.map(|table| table.on(port)).unwrap_or_default();
            let mut stopped: Vec<u32> = listeners
                .iter()
                .filter_map(|listener| listener.pid)
                .filter(|pid| process::is_stopped(*pid))
                .collect();
            stopped.dedup();
            Self {
                local,
                listeners,
                stopped,
            }
        });
        seen.await.unwrap_or(Self {
            local: false,
            listeners: Vec::new(),
            stopped: Vec::new(),
        })
    }

    pub(super) fn listens_on(&self, host: &str) -> bool {
        let Ok(wanted) = host.parse::<IpAddr>() else {
            return !self.listeners.is_empty();
        };
        self.listeners
            .iter()
            .any(|listener| listener.address == wanted || listener.address.is_unspecified())
    }

    pub(super) fn addresses(&self) -> String {
        let mut addresses: Vec<String> = self
            .listeners
            .iter()
            .map(|listener| listener.address.to_string())
            .collect();
        // /proc has them in no order.
        addresses.sort();
        addresses.dedup();
        addresses.join(", ")
    }
}
