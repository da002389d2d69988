//! Who can reach a server of this host from outside: the addresses on which it really listens, and
//! what the firewall makes of it.

use std::net::IpAddr;

use crate::diagnosis::Evidence;
use crate::diagnosis::check::{Halt, blocking};
use crate::diagnosis::scene::Scene;
use crate::host::firewall::{self, Verdict};
use crate::host::ports::Listener;
use crate::host::postgres::hba::is_public;
use crate::host::reach;

/// A server on a port of this host.
pub struct Outside {
    /// The port.
    pub port: u16,
    /// All that listen on it.
    pub listeners: Vec<Listener>,
    /// The firewall, where an address can be reached from outside; `Closed` where none can.
    pub firewall: Verdict,
}

/// Looks; `None` for a server that is not on this host.
pub async fn look(scene: &Scene, host: &str, port: u16) -> Result<Option<Outside>, Halt> {
    let host = host.to_owned();
    let here = blocking(move || {
        reach::is_this_machine(&host) || !host.chars().any(|c| c == '.' || c == ':')
    });
    let listeners = match here.await? {
        true => Some(scene.listening().await?.on(port)),
        false => None,
    };
    let Some(listeners) = listeners.filter(|listeners| !listeners.is_empty()) else {
        return Ok(None);
    };
    let mut outside = Outside {
        port,
        listeners,
        firewall: Verdict::Closed,
    };
    let mut verdicts = Vec::new();
    for ipv6 in [false, true] {
        let open = outside
            .listeners
            .iter()
            .map(|listener| listener.address)
            .any(|address| address.is_ipv6() == ipv6 && is_outer(address));
        // `::` takes IPv4 as well.
        if open {
            verdicts.push(firewall::from_outside(port, ipv6, scene.time_left() / 2).await);
            if ipv6 {
                verdicts.push(firewall::from_outside(port, false, scene.time_left() / 2).await);
            }
        }
    }
    verdicts.sort_by_key(|verdict| match verdict {
        Verdict::Open => 0,
        Verdict::Unknown(_) => 1,
        Verdict::Closed => 2,
    });
    if let Some(worst) = verdicts.into_iter().next() {
        outside.firewall = worst;
    }
    Ok(Some(outside))
}

/// Every address of the host, or one that the internet can name.
fn is_outer(address: IpAddr) -> bool {
    address.is_unspecified() || is_public(address)
}

impl Outside {
    /// Whether it listens on an address that strangers may reach.
    pub fn is_outer(&self) -> bool {
        self.listeners
            .iter()
            .any(|listener| is_outer(listener.address))
    }

    /// Whether it listens on more than this host's loopback.
    pub fn is_more_than_loopback(&self) -> bool {
        self.listeners
            .iter()
            .any(|listener| !listener.address.is_loopback())
    }

    /// Whether strangers get through to it, as far as can be seen.
    pub fn is_open(&self) -> bool {
        self.is_outer() && self.firewall != Verdict::Closed
    }

    /// "0.0.0.0, ::"
    pub fn addresses(&self) -> String {
        let mut addresses: Vec<String> = self
            .listeners
            .iter()
            .map(|listener| listener.address.to_string())
            .collect();
        addresses.dedup();
        addresses.join(", ")
    }

    /// What was seen.
    pub fn facts(&self) -> Vec<Evidence> {
        let port = self.port;
        let mut facts = vec![
            Evidence::new(
                "listens on",
                self.addresses(),
                format!("this host, port {port}"),
            )
            .command(format!("sudo ss -ltnp 'sport = :{port}'")),
        ];
        if self.is_outer() {
            let value = match &self.firewall {
                Verdict::Open => {
                    "does not close the port (a provider's firewall is not seen from here)"
                }
                Verdict::Closed => "closes the port to strangers",
                Verdict::Unknown(why) => why,
            };
            facts.push(Evidence::new("firewall", value, "iptables").command("sudo iptables -S"));
        }
        facts
    }
}
