//! Which folders of this host have to have room, and where they lie.

use std::net::{IpAddr, ToSocketAddrs as _, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::diagnosis::check::blocking;
use crate::diagnosis::scene::Scene;
use crate::engine::containers::Container;
use crate::host::ports;

/// Images, containers, volumes and logs.
pub const DOCKER: &str = "Docker's data";
/// The cluster's data, its write-ahead log included.
pub const POSTGRES: &str = "PostgreSQL's data";
/// The file that Redis saves to.
pub const REDIS: &str = "Redis's data";
/// The spool of finished calls.
pub const CALLS: &str = "finished calls";
/// Journal, lock and samples.
pub const STATE: &str = "ooy's state";

/// A folder that something writes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Whose.
    pub what: &'static str,
    /// Where.
    pub path: PathBuf,
}

/// Where Docker's data lies where the Engine cannot be asked: a full disk may be why.
const DOCKER_USUAL: &str = "/var/lib/docker";

/// All of this host.
pub async fn places(scene: &Scene) -> Vec<Place> {
    let settings = &scene.context.settings;
    let mut places = Vec::new();
    if !scene.only_calls {
        if let Some(path) = docker(scene).await {
            places.push(Place { what: DOCKER, path });
        }
        let limit = scene.time_left().min(Duration::from_secs(1));
        let table = scene.listening().await.ok();
        let look = async |host: String, port: u16, program: &'static str, usual: &'static str| {
            let Some(table) = table.clone() else {
                return Vec::new();
            };
            // A name server that does not answer leaves it open whether the server is here; the
            // checks of PostgreSQL and Redis say what is wrong with the name.
            tokio::time::timeout(
                limit,
                blocking(move || data_of(&table, &host, port, program, usual)),
            )
            .await
            .ok()
            .and_then(Result::ok)
            .unwrap_or_default()
        };
        let mut asked: Vec<(String, u16)> = Vec::new();
        for database in settings.databases() {
            let server = (database.url.host().to_owned(), database.url.port());
            if !asked.contains(&server) {
                asked.push(server);
            }
        }
        for (host, port) in asked.drain(..) {
            for path in look(host, port, "postgres", "/var/lib/postgresql").await {
                places.push(Place {
                    what: POSTGRES,
                    path,
                });
            }
        }
        for database in settings.redis_databases() {
            let server = (database.url.host().to_owned(), database.url.port());
            if !asked.contains(&server) {
                asked.push(server);
            }
        }
        for (host, port) in asked {
            for path in look(host, port, "redis-server", "/var/lib/redis").await {
                places.push(Place { what: REDIS, path });
            }
        }
    }
    if scene.only_calls || settings.places.spool.is_dir() {
        places.push(Place {
            what: CALLS,
            path: settings.places.spool.clone(),
        });
    }
    places.push(Place {
        what: STATE,
        path: settings.places.state.clone(),
    });
    places
}

async fn docker(scene: &Scene) -> Option<PathBuf> {
    let usual = || Some(PathBuf::from(DOCKER_USUAL)).filter(|path| path.is_dir());
    let Ok(engine) = scene.try_engine().await else {
        return usual();
    };
    // Told by any container; the Engine itself starts programs to answer this.
    if let Ok(containers) = scene.containers().await
        && let Some(root) = containers.iter().find_map(root_of)
    {
        return Some(root);
    }
    match tokio::time::timeout(scene.time_left() / 2, engine.root_folder()).await {
        Ok(Ok(path)) => Some(path),
        _ => usual(),
    }
}

/// The folder that a container's log lies in, `ROOT/containers/ID`.
fn root_of(container: &Container) -> Option<PathBuf> {
    let folder = container.log_path.as_ref()?.parent()?;
    let containers = folder.parent()?;
    (folder.file_name()? == container.id.as_str() && containers.file_name()? == "containers")
        .then(|| containers.parent().map(Path::to_owned))?
}

/// The data folders of a server, where it is one of this host: a server's working directory is its
/// data folder (PostgreSQL: postmaster.c, ChangeToDataDir; Redis: `dir`). One that does not run has
/// its data where the distribution puts it.
fn data_of(
    table: &ports::Table,
    host: &str,
    port: u16,
    program: &str,
    usual: &str,
) -> Vec<PathBuf> {
    if !is_here(host, port) {
        return Vec::new();
    }
    let listeners = table.on(port);
    let mut found: Vec<PathBuf> = listeners
        .iter()
        .filter(|listener| {
            listener
                .process
                .as_deref()
                .is_some_and(|name| name.starts_with(program))
        })
        .filter_map(|listener| working_folder(listener.pid?))
        .collect();
    // The write-ahead log is often on a disk of its own, behind a link.
    let logs: Vec<PathBuf> = found
        .iter()
        .filter_map(|folder| std::fs::canonicalize(folder.join("pg_wal")).ok())
        .collect();
    found.extend(logs);
    let usual = Path::new(usual);
    let hidden = listeners.iter().all(|listener| listener.process.is_none());
    if found.is_empty() && hidden && usual.is_dir() {
        found.push(usual.to_owned());
    }
    found.sort();
    found.dedup();
    found
}

/// Where a process of our own view of the file systems works.
fn working_folder(pid: u32) -> Option<PathBuf> {
    let link = |path: String| std::fs::read_link(path).ok();
    let ours = link("/proc/self/ns/mnt".to_owned())?;
    if link(format!("/proc/{pid}/ns/mnt"))? != ours {
        return None;
    }
    link(format!("/proc/{pid}/cwd"))
}

/// Whether an address of that name is one of this host's.
fn is_here(host: &str, port: u16) -> bool {
    let local = |address: IpAddr| UdpSocket::bind((address, 0)).is_ok();
    match host.parse::<IpAddr>() {
        Ok(address) => local(address),
        Err(_) => (host, port)
            .to_socket_addrs()
            .is_ok_and(|mut found| found.any(|address| local(address.ip()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_host_are_known() {
        assert!(is_here("127.0.0.1", 1));
        assert!(is_here("localhost", 1));
        assert!(!is_here("192.0.2.1", 1));
        assert!(!is_here("no-such-host.invalid", 1));
    }

    #[test]
    fn a_server_of_this_host_is_found_by_its_port() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let name = std::fs::read_to_string("/proc/self/comm").unwrap();
        let table = ports::Table::read();
        let found = data_of(&table, "127.0.0.1", port, name.trim_end(), "/nowhere");
        assert_eq!(found, [std::env::current_dir().unwrap()]);
        // Another program's port says nothing of the server's data.
        assert!(data_of(&table, "127.0.0.1", port, "postgres", "/").is_empty());
        assert!(data_of(&table, "192.0.2.1", port, name.trim_end(), "/").is_empty());
        drop(socket);
        let gone = ports::Table::read();
        // Nobody listens: it is down, and its data is where it mostly is.
        assert_eq!(
            data_of(&gone, "127.0.0.1", port, "postgres", "/"),
            [PathBuf::from("/")]
        );
        assert!(data_of(&gone, "127.0.0.1", port, "postgres", "/nowhere").is_empty());
    }
}
