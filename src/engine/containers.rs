//! Containers of one compose project: what they are, and start, stop, remove.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum, ContainerUpdateBody, HealthStatusEnum,
    RestartPolicy, RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    KillContainerOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
    StopContainerOptionsBuilder,
};
use futures_util::future::try_join_all;
use jiff::Timestamp;
use serde::Serialize;

use super::{CONFIG_HASH_LABEL, Engine, Error, ONEOFF_LABEL, PROJECT_LABEL, SERVICE_LABEL};

/// State of a container, as `status --json` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its process runs.
    Running,
    /// Its process has ended.
    Exited,
    /// Never started.
    Created,
    /// Between two starts by the restart policy.
    Restarting,
    /// Frozen by `docker pause`.
    Paused,
    /// The Engine failed to remove it.
    Dead,
    /// There is no container.
    Missing,
}

/// Verdict of the Engine's own health check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// The last check passed.
    Healthy,
    /// Several checks failed in a row.
    Unhealthy,
    /// No verdict yet.
    Starting,
    /// No check is configured.
    None,
}

/// One container as the Engine sees it now.
#[derive(Debug, Clone)]
pub struct Container {
    /// Full id.
    pub id: String,
    /// Name without the slash.
    pub name: String,
    /// Its compose service.
    pub service: String,
    /// Made beside the service (`compose run`, release tasks), not the service itself.
    pub oneoff: bool,
    /// The image as it was named when the container was made.
    pub image: String,
    /// Id of that image (`sha256:…`).
    pub image_id: String,
    /// Compose's digest of its configuration.
    pub config_hash: String,
    /// State of its process.
    pub state: State,
    /// Verdict of its health check.
    pub health: Health,
    /// Its health check has failed since it last passed.
    pub failing: bool,
    /// Exit code of the last process; meaningful when it is not running.
    pub exit_code: i64,
    /// Ended by the kernel for want of memory.
    pub oom_killed: bool,
    /// What the Engine says when it could not start it.
    pub error: String,
    /// How often the restart policy has started it again.
    pub restarts: i64,
    /// Start of the present or last process.
    pub started_at: Option<Timestamp>,
    /// End of the last process, while none runs.
    pub finished_at: Option<Timestamp>,
    /// What its health check printed the last time.
    pub health_says: String,
    /// Process id on the host, while it runs.
    pub pid: Option<u32>,
    /// Addresses in its networks.
    pub addresses: Vec<IpAddr>,
    /// Where its named volumes lie on the Engine's host.
    pub volumes: Vec<PathBuf>,
    /// Its log file on the host.
    pub log_path: Option<PathBuf>,
    /// What keeps its log (`json-file`).
    pub log_driver: String,
    /// How: `max-size`, `max-file`.
    pub log_options: HashMap<String, String>,
    /// Restart policy (`always`, `no`, …).
    pub restart: String,
    /// Labels, the Engine's order.
    pub labels: HashMap<String, String>,
    /// Its environment, from its image and its configuration.
    pub environment: Environment,
    /// Its host name: what its programs take for their own.
    pub hostname: String,
    /// Its ports that the Engine has published on this host.
    pub published: Vec<Published>,
}

/// A port of a container that can be reached on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The port in the container, with its protocol: `9200/tcp`.
    pub port: String,
    /// The host's address; empty or 0.0.0.0 is every one.
    pub address: String,
    /// The host's port.
    pub host_port: String,
}

impl Published {
    /// Only programs on this host itself reach it.
    pub fn is_local(&self) -> bool {
        self.address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
    }
}

/// The environment of a container. Much of it is secret, so only single values are handed out, and
/// none of them is written by `{:?}`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(Vec<String>);

impl Environment {
    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .filter_map(|line| line.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }

    /// Names and values of all variables: for whoever takes the secrets among them out of texts.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(|line| line.split_once('='))
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Environment({} variables)", self.0.len())
    }
}

impl Container {
    /// Whether its process runs (paused counts as not).
    pub fn is_running(&self) -> bool {
        self.state == State::Running
    }
}

impl Engine {
    /// All containers of a project, one-offs included. Those that vanish meanwhile are left out.
    pub async fn containers(&self, project: &str) -> Result<Vec<Container>, Error> {
        self.labelled(vec![format!("{PROJECT_LABEL}={project}")])
            .await
    }

    /// The containers of one service.
    pub async fn service_containers(
        &self,
        project: &str,
        service: &str,
    ) -> Result<Vec<Container>, Error> {
        self.labelled(vec![
            format!("{PROJECT_LABEL}={project}"),
            format!("{SERVICE_LABEL}={service}"),
        ])
        .await
    }

    /// The one that compose made for a service, no one-off; `None`: there is none.
    pub async fn service_container(
        &self,
        project: &str,
        service: &str,
    ) -> Result<Option<Container>, Error> {
        let all = self.service_containers(project, service).await?;
        Ok(all.into_iter().find(|container| !container.oneoff))
    }

    async fn labelled(&self, labels: Vec<String>) -> Result<Vec<Container>, Error> {
        let filters = HashMap::from([("label", labels)]);
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&filters)
            .build();
        let listed = self.docker.list_containers(Some(options)).await?;
        let inspected = try_join_all(
            listed
                .into_iter()
                .filter_map(|summary| summary.id)
                .map(|id| async move { self.find_container(&id).await }),
        )
        .await?;
        let mut containers: Vec<Container> = inspected.into_iter().flatten().collect();
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(containers)
    }

    /// One container, by id or name.
    pub async fn container(&self, id: &str) -> Result<Container, Error> {
        Ok(read(self.docker.inspect_container(id, None).await?))
    }

    /// The same; `None`: there is none.
    pub async fn find_container(&self, id: &str) -> Result<Option<Container>, Error> {
        match self.container(id).await {
            Ok(container) => Ok(Some(container)),
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Starts it; one that runs already is fine.
    pub async fn start(&self, id: &str) -> Result<(), Error> {
        self.docker.start_container(id, None).await?;
        Ok(())
    }

    /// Sends its stop signal and, after `grace`, KILL; answers when it has ended.
    pub async fn stop(&self, id: &str, grace: Duration) -> Result<(), Error> {
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::default().t(seconds).build();
        match self.docker.stop_container(id, Some(options)).await {
            // 304: it has ended already.
            Err(bollard::errors::Error::DockerResponseServerError {
                status_code: 304, ..
            }) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Sends a signal to its first process; one that has ended is fine.
    pub async fn signal(&self, id: &str, signal: &str) -> Result<(), Error> {
        let options = KillContainerOptionsBuilder::default()
            .signal(signal)
            .build();
        let sent = self.docker.kill_container(id, Some(options)).await;
        match sent.map_err(Error::from) {
            Err(Error::NotFound(_) | Error::Refused { status: 409, .. }) => Ok(()),
            other => other,
        }
    }

    /// Lets a paused one go on, so that it can be stopped.
    pub async fn unpause(&self, id: &str) -> Result<(), Error> {
        self.docker.unpause_container(id).await?;
        Ok(())
    }

    /// Removes it, running or not; its named volumes stay.
    pub async fn remove(&self, id: &str) -> Result<(), Error> {
        let options = RemoveContainerOptionsBuilder::default()
            .force(true)
            .v(true)
            .build();
        match self
            .docker
            .remove_container(id, Some(options))
            .await
            .map_err(Error::from)
        {
            Err(Error::NotFound(_)) => Ok(()),
            // Somebody else is removing it at this moment.
            Err(Error::Refused { status: 409, .. }) => Ok(()),
            other => other,
        }
    }

    /// Sets what the daemon does when the container ends or the daemon starts: `always` or `no`.
    pub async fn set_restart(&self, id: &str, policy: &str) -> Result<(), Error> {
        let name = match policy {
            "always" => RestartPolicyNameEnum::ALWAYS,
            "unless-stopped" => RestartPolicyNameEnum::UNLESS_STOPPED,
            "on-failure" => RestartPolicyNameEnum::ON_FAILURE,
            _ => RestartPolicyNameEnum::NO,
        };
        let body = ContainerUpdateBody {
            restart_policy: Some(RestartPolicy {
                name: Some(name),
                maximum_retry_count: None,
            }),
            ..Default::default()
        };
        // An Engine 20.10 passes it on to runc as long as it takes the process for running, and runc
        // knows already that it has ended: a moment later both know.
        for _ in 0..20 {
            match self.docker.update_container(id, body.clone()).await {
                Err(bollard::errors::Error::DockerResponseServerError { message, .. })
                    if ENDED_MEANWHILE.iter().any(|words| message.contains(words)) =>
                {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                other => return Ok(other.map(drop)?),
            }
        }
        Ok(self.docker.update_container(id, body).await.map(drop)?)
    }
}

/// What runc says of a process that has ended, through containerd or by itself.
const ENDED_MEANWHILE: [&str; 2] = ["cannot update a stopped container", "container not running"];

fn read(answer: ContainerInspectResponse) -> Container {
    let state = answer.state.unwrap_or_default();
    let config = answer.config.unwrap_or_default();
    let labels = config.labels.unwrap_or_default();
    let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
    let host = answer.host_config.unwrap_or_default();
    let log = host.log_config.unwrap_or_default();
    let restart = host
        .restart_policy
        .and_then(|policy| policy.name)
        .map(|name| name.to_string())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "no".to_owned());
    let published = host
        .port_bindings
        .iter()
        .flatten()
        .flat_map(|(port, bindings)| {
            bindings.iter().flatten().map(|binding| Published {
                port: port.clone(),
                address: binding.host_ip.clone().unwrap_or_default(),
                host_port: binding.host_port.clone().unwrap_or_default(),
            })
        })
        .collect();
    Container {
        id: answer.id.unwrap_or_default(),
        name: answer
            .name
            .unwrap_or_default()
            .trim_start_matches('/')
            .to_owned(),
        service: label(SERVICE_LABEL),
        oneoff: label(ONEOFF_LABEL).eq_ignore_ascii_case("true"),
        image: config.image.unwrap_or_default(),
        image_id: answer.image.unwrap_or_default(),
        config_hash: label(CONFIG_HASH_LABEL),
        state: match state.status {
            Some(ContainerStateStatusEnum::RUNNING) => State::Running,
            Some(ContainerStateStatusEnum::PAUSED) => State::Paused,
            Some(ContainerStateStatusEnum::RESTARTING) => State::Restarting,
            Some(ContainerStateStatusEnum::DEAD | ContainerStateStatusEnum::REMOVING) => {
                State::Dead
            }
            Some(ContainerStateStatusEnum::CREATED) => State::Created,
            _ => State::Exited,
        },
        failing: state
            .health
            .as_ref()
            .and_then(|health| health.failing_streak)
            .is_some_and(|streak| streak > 0),
        health_says: state
            .health
            .as_ref()
            .and_then(|health| health.log.as_ref()?.last()?.output.clone())
            .unwrap_or_default(),
        health: match state.health.and_then(|health| health.status) {
            Some(HealthStatusEnum::HEALTHY) => Health::Healthy,
            Some(HealthStatusEnum::UNHEALTHY) => Health::Unhealthy,
            Some(HealthStatusEnum::STARTING) => Health::Starting,
            _ => Health::None,
        },
        exit_code: state.exit_code.unwrap_or_default(),
        oom_killed: state.oom_killed.unwrap_or_default(),
        error: state.error.unwrap_or_default(),
        restarts: answer.restart_count.unwrap_or_default(),
        started_at: time(state.started_at.as_deref()),
        finished_at: time(state.finished_at.as_deref()),
        pid: state
            .pid
            .and_then(|pid| u32::try_from(pid).ok())
            .filter(|pid| *pid > 0),
        addresses: answer
            .network_settings
            .and_then(|settings| settings.networks)
            .into_iter()
            .flatten()
            .filter_map(|(_, endpoint)| endpoint.ip_address?.parse().ok())
            .collect(),
        volumes: answer
            .mounts
            .into_iter()
            .flatten()
            .filter(|mount| mount.typ.as_deref() == Some("volume"))
            .filter_map(|mount| mount.source.map(PathBuf::from))
            .collect(),
        log_path: answer
            .log_path
            .filter(|path| !path.is_empty())
            .map(PathBuf::from),
        log_driver: log.typ.unwrap_or_default(),
        log_options: log.config.unwrap_or_default(),
        restart,
        labels,
        environment: Environment(config.env.unwrap_or_default()),
        hostname: config.hostname.unwrap_or_default(),
        published,
    }
}

/// The Engine writes "0001-01-01T00:00:00Z" for "never".
fn time(text: Option<&str>) -> Option<Timestamp> {
    text?
        .parse()
        .ok()
        .filter(|time: &Timestamp| time.as_second() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_gives_single_values_and_shows_none() {
        let environment = Environment(vec!["A=1".into(), "SECRET=hemmelig=x".into(), "B".into()]);
        assert_eq!(environment.get("SECRET"), Some("hemmelig=x"));
        assert_eq!(environment.get("B"), None);
        assert_eq!(format!("{environment:?}"), "Environment(3 variables)");
    }
}
