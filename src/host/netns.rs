//! Asks from inside the network of a running container, with what this host has: no program in
//! the container's image is needed, and nothing of the container is touched.
//!
//! A namespace of the network belongs to a thread (setns(2)): only the one that is started here
//! enters the other, and ends there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::time::Instant;

use super::apart::apart;
use super::{inside, reach};

/// Where a process with a network of its own is reached.
#[derive(Debug, Clone)]
pub struct Network {
    pid: u32,
    /// Host names that mean something of their own there (`/etc/hosts` of the container).
    names: BTreeMap<String, IpAddr>,
}

impl Network {
    /// The network of this process, whose control group has this sign.
    pub fn of(pid: u32, sign: &str) -> io::Result<Self> {
        inside::is_of(pid, sign)?;
        // Readable by root only, as the namespace is.
        let hosts = fs::read_to_string(format!("/proc/{pid}/root/etc/hosts"))?;
        Ok(Self {
            pid,
            names: parse_hosts(&hosts),
        })
    }

    /// The address of a host as a process there finds it, where a file says so.
    pub fn known(&self, host: &str) -> Option<IpAddr> {
        host.parse().ok().or_else(|| self.names.get(host).copied())
    }

    /// Finds these hosts where they are no addresses. Docker hands the names that it does not know
    /// itself to the name servers of this host, so they are asked from here. `false`: one of them
    /// is not found so; only Docker may know it.
    pub async fn find(&mut self, hosts: &[&str], deadline: Duration) -> bool {
        let until = Instant::now() + deadline;
        let mut all = true;
        for host in hosts {
            if self.known(host).is_some() {
                continue;
            }
            match reach::resolve(host, 0, until).await {
                Ok(found) if !found.is_empty() => {
                    let v4 = found.iter().find(|address| address.is_ipv4());
                    let address = v4.unwrap_or(&found[0]).ip();
                    self.names.insert((*host).to_owned(), address);
                }
                _ => all = false,
            }
        }
        all
    }

    /// Does this work there, on a thread and a runtime of its own.
    pub async fn run<T, F>(&self, work: impl FnOnce() -> F + Send + 'static) -> io::Result<T>
    where
        T: Send + 'static,
        F: Future<Output = T>,
    {
        let pid = self.pid;
        let there = move || {
            enter(pid)?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            Ok(runtime.block_on(work()))
        };
        apart("netns", there).await.map_err(io::Error::other)?
    }
}

/// Moves this thread, and no other, into the network of that process.
fn enter(pid: u32) -> io::Result<()> {
    let namespace = File::open(format!("/proc/{pid}/ns/net"))?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
    Ok(())
}

/// Lines of hosts(5); of several addresses of a name the first counts, IPv4 before IPv6.
fn parse_hosts(text: &str) -> BTreeMap<String, IpAddr> {
    let mut names: BTreeMap<String, IpAddr> = BTreeMap::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else {
            continue;
        };
        for name in words {
            let known = names.entry(name.to_owned()).or_insert(address);
            if known.is_ipv6() && address.is_ipv4() {
                *known = address;
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_container_are_read() {
        let names = parse_hosts(
            "127.0.0.1\tlocalhost\n::1 localhost ip6-localhost # loopback\n\
             172.17.0.1 host.docker.internal db\nnonsense\n# 10.0.0.1 off\n",
        );
        let address = |name: &str| names.get(name).map(ToString::to_string);
        assert_eq!(address("localhost").as_deref(), Some("127.0.0.1"));
        assert_eq!(address("ip6-localhost").as_deref(), Some("::1"));
        assert_eq!(address("db").as_deref(), Some("172.17.0.1"));
        assert_eq!(address("off"), None);
    }

    #[test]
    fn a_process_that_is_not_the_container_is_refused() {
        let error = Network::of(std::process::id(), "no-such-container").unwrap_err();
        assert!(error.to_string().contains("another one"), "{error}");
        assert!(Network::of(std::process::id(), "").is_err());
    }

    #[tokio::test]
    async fn only_the_thread_that_asks_is_elsewhere() {
        // Our own namespace: enough to see the way, without a container.
        let network = Network {
            pid: std::process::id(),
            names: BTreeMap::new(),
        };
        if !crate::host::process::is_root() {
            assert!(network.run(|| async {}).await.is_err());
            return;
        }
        let answer = network.run(|| async { 7 }).await.unwrap();
        assert_eq!(answer, 7);
        let gone = Network {
            pid: u32::MAX,
            names: BTreeMap::new(),
        };
        assert!(gone.run(|| async {}).await.is_err());
    }
}
