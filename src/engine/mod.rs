//! Docker: the Engine's API (bollard) and compose (xshell). The only place that knows either.
//!
//! What leaves this module are our own small types: bollard's models are closed, and one
//! unknown word from a newer Engine would make the whole answer unreadable further up.

pub mod compose;
pub mod containers;
pub mod events;
pub mod exec;
pub mod files;
pub mod images;
pub mod inventory;
pub mod logs;
pub mod networks;
pub mod oneoff;
pub mod packages;
mod ping;
pub mod reclaim;
pub mod system;

use std::io;
use std::path::Path;

use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};

use crate::fault::Fault;

/// The label that says whose container it is.
pub const PROJECT_LABEL: &str = "com.docker.compose.project";
/// The label that says which service a container is.
pub const SERVICE_LABEL: &str = "com.docker.compose.service";
/// The label of containers that `compose run` or `ooy` made beside a service.
pub const ONEOFF_LABEL: &str = "com.docker.compose.oneoff";
/// The label with compose's digest of a service's configuration.
pub const CONFIG_HASH_LABEL: &str = "com.docker.compose.config-hash";

/// The oldest Engine that `ooy` works with: 20.10.
const OLDEST_API: (u32, u32) = (1, 41);
/// The newest API that bollard 0.21 knows; a newer Engine is asked to speak this one.
const NEWEST_API: (u32, u32) = (1, 53);

/// Why the Engine did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// No socket: Docker is not installed, or its daemon has never run.
    Missing { socket: String },
    /// A socket nobody answers on: the daemon is stopped.
    Stopped { socket: String, cause: String },
    /// The socket belongs to root and the docker group.
    Permission { socket: String, user: String },
    /// An Engine whose API is older or newer than what `ooy` speaks.
    Version { found: String },
    /// No such container, image, network.
    NotFound(String),
    /// The Engine refused, in its own words.
    Refused { status: u16, message: String },
    /// The connection broke, or the answer could not be read.
    Broken(String),
}

impl Error {
    /// Whether the daemon itself went away (and may come back), not just this request.
    pub fn is_gone(&self) -> bool {
        matches!(
            self,
            Error::Missing { .. } | Error::Stopped { .. } | Error::Broken(_)
        )
    }

    /// The four parts for the operator; `again` is the command to repeat afterwards.
    pub fn fault(&self, again: &str) -> Fault {
        let why =
            "all twelve services run in Docker; nothing can be started, stopped or seen without it";
        match self {
            Error::Missing { socket } => Fault::problem(
                "Docker: not found on this host",
                "the Docker Engine is not installed, or was never started",
            )
            .evidence(format!("{socket} does not exist"))
            .why(why)
            .next("sudo apt-get install docker.io")
            .next("sudo systemctl enable --now docker"),
            Error::Stopped { socket, cause } => Fault::problem(
                "Docker: the daemon does not run",
                "its socket is there, and nobody answers on it",
            )
            .evidence(format!("{socket}: {cause}"))
            .why(why)
            .next("sudo systemctl start docker")
            .next("sudo journalctl -u docker -n 50"),
            Error::Permission { socket, user } => Fault::problem(
                "Docker: no permission",
                format!("user {user} may not use the Docker socket"),
            )
            .evidence(format!("{socket}: permission denied"))
            .why(why)
            .next(format!("sudo {again}")),
            Error::Version { found } => Fault::problem(
                "Docker: this Engine's version does not fit",
                format!(
                    "ooy speaks the API {}.{} to {}.{} (Engine 20.10 and later)",
                    OLDEST_API.0, OLDEST_API.1, NEWEST_API.0, NEWEST_API.1
                ),
            )
            .evidence(format!("the Engine speaks {found}"))
            .why(why)
            .next("sudo apt-get install --only-upgrade docker.io"),
            Error::NotFound(message) => {
                Fault::problem("Docker: not there any more", message.clone())
                    .evidence("the Engine's answer: 404")
                    .why("somebody else changed the deployment at the same time")
                    .next(again)
            }
            Error::Refused { status, message } => Fault::problem(
                "Docker: refused by the Engine",
                "the Engine did not do what it was asked",
            )
            .evidence(format!("its answer ({status}): {message}"))
            .why("the step cannot be finished before this is solved")
            .next("sudo journalctl -u docker -n 50")
            .next(again),
            Error::Broken(cause) => Fault::problem(
                "Docker: the connection to the daemon broke",
                "the daemon stopped or restarted in the middle of the work",
            )
            .evidence(cause.clone())
            .why("what was begun is unfinished; running the command again completes it")
            .next("sudo systemctl start docker")
            .next(again),
        }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fault = self.fault("");
        write!(f, "{}: {}", fault.what, fault.evidence.join("; "))
    }
}

impl From<bollard::errors::Error> for Error {
    fn from(error: bollard::errors::Error) -> Self {
        use bollard::errors::Error as B;
        match error {
            B::DockerResponseServerError {
                status_code: 404,
                message,
            } => Error::NotFound(message),
            B::DockerResponseServerError {
                status_code,
                message,
            } => Error::Refused {
                status: status_code,
                message,
            },
            B::DockerStreamError { error } => Error::Refused {
                status: 500,
                message: error,
            },
            other => {
                // The chain's last link is the one that says something ("connection refused").
                let mut cause: &dyn std::error::Error = &other;
                while let Some(deeper) = cause.source() {
                    cause = deeper;
                }
                Error::Broken(cause.to_string())
            }
        }
    }
}

/// A connection to the Docker Engine of this host.
#[derive(Clone)]
pub struct Engine {
    docker: Docker,
    socket: String,
    /// The version of the API that is spoken.
    api: (u32, u32),
    /// The Engine's version: `20.10.24`.
    pub version: String,
}

impl Engine {
    /// Connects to `DOCKER_HOST` (a unix socket) or /var/run/docker.sock, and agrees on the
    /// version of the API.
    pub async fn connect() -> Result<Self, Error> {
        let socket = std::env::var("DOCKER_HOST")
            .ok()
            .and_then(|host| host.strip_prefix("unix://").map(str::to_owned))
            .unwrap_or_else(|| "/var/run/docker.sock".to_owned());
        Self::connect_to(socket).await
    }

    async fn connect_to(socket: String) -> Result<Self, Error> {
        // Asked first with a plain connect: the client's own errors do not tell these apart.
        if let Err(error) = std::os::unix::net::UnixStream::connect(&socket) {
            return Err(match error.kind() {
                io::ErrorKind::PermissionDenied => Error::Permission {
                    socket,
                    user: crate::host::process::user_name(),
                },
                io::ErrorKind::NotFound if !Path::new(&socket).exists() => {
                    Error::Missing { socket }
                }
                _ => Error::Stopped {
                    socket,
                    cause: error.to_string(),
                },
            });
        }
        // The client's limit covers the time until an answer begins, and `stop` answers only
        // after the grace; what needs a shorter one sets it itself.
        let docker = Docker::connect_with_unix(&socket, 900, API_DEFAULT_VERSION)?;
        let ask = async {
            if let Ok(Some(versions)) = ping::ask(&socket).await {
                return Ok((versions.engine, versions.api));
            }
            let answer = docker.version().await?;
            Ok::<_, Error>((
                answer.version.unwrap_or_default(),
                answer.api_version.unwrap_or_default(),
            ))
        };
        let (version, found) = tokio::time::timeout(std::time::Duration::from_secs(10), ask)
            .await
            .map_err(|_| Error::Stopped {
                socket: socket.clone(),
                cause: "no answer for 10 s".to_owned(),
            })??;
        let newest = parse_api(&found).ok_or_else(|| Error::Version {
            found: found.clone(),
        })?;
        if newest < OLDEST_API {
            return Err(Error::Version { found });
        }
        let api = newest.min(NEWEST_API);
        Ok(Self {
            // bollard 0.21 never sends the version (crates.md, finding 1), so that every Engine
            // would answer in its own newest dialect. To be removed with bollard 0.22.
            docker: docker.with_request_modifier(move |request| with_version(request, api)),
            socket,
            api,
            version,
        })
    }

    /// Whether the daemon answers now.
    pub async fn ping(&self) -> Result<(), Error> {
        self.docker.ping().await?;
        Ok(())
    }
}

fn parse_api(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn with_version(mut request: BollardRequest, api: (u32, u32)) -> BollardRequest {
    let mut parts = request.uri().clone().into_parts();
    let path = parts
        .path_and_query
        .as_ref()
        .map_or("/", |path| path.as_str());
    parts.path_and_query = format!("/v{}.{}{path}", api.0, api.1).parse().ok();
    if let Ok(uri) = http::Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixListener;

    #[test]
    fn versions_are_read() {
        assert_eq!(parse_api("1.41"), Some((1, 41)));
        assert_eq!(parse_api("x"), None);
    }

    /// Guards the move to bollard 0.22, where the prefix would be doubled.
    #[test]
    fn every_request_but_the_first_names_the_agreed_version_once() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("docker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let server = std::thread::spawn(move || {
            let mut lines = Vec::new();
            // One connection each: the plain connect, our own /_ping, that of the client.
            while lines.len() < 2 {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                let mut buffer = [0; 4096];
                while !request.windows(4).any(|w| w == b"\r\n\r\n") {
                    match stream.read(&mut buffer).unwrap() {
                        0 => break,
                        n => request.extend_from_slice(&buffer[..n]),
                    }
                }
                let Some(line) = String::from_utf8(request)
                    .unwrap()
                    .lines()
                    .next()
                    .map(str::to_owned)
                else {
                    continue;
                };
                write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nServer: Docker/20.10.24 (linux)\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK",
                )
                .unwrap();
                lines.push(line);
            }
            lines
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let socket = socket.to_str().unwrap().to_owned();
            let engine = Engine::connect_to(socket).await.unwrap();
            assert_eq!(engine.version, "20.10.24");
            engine.ping().await.unwrap();
        });
        assert_eq!(
            server.join().unwrap(),
            ["GET /_ping HTTP/1.1", "GET /v1.41/_ping HTTP/1.1"]
        );
    }
}
