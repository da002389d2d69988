//! Containers that `ooy` runs once beside the services: release tasks and the probe that looks
//! at PostgreSQL and Redis from the containers' network. Made over the Engine's API, labelled as
//! compose labels its own one-offs (so that compose's `ps` does not take them for the service),
//! and removed when they have ended.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HostConfig, Mount, NetworkCreateRequest, VolumeCreateRequest,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, ListNetworksOptionsBuilder, RemoveVolumeOptions,
    WaitContainerOptionsBuilder,
};
use futures_util::StreamExt as _;

use super::{Engine, Error, ONEOFF_LABEL, PROJECT_LABEL, SERVICE_LABEL};

/// The label that says what a one-off of ours does: `release`, `probe`, `check`, `catch-up`.
pub const TASK_LABEL: &str = "org.one2oneyouth.ooy.task";

/// What to run once.
#[derive(Debug, Clone, Default)]
pub struct OneOff {
    /// Name of the container; a second one of that name is refused by the Engine.
    pub name: String,
    /// Compose project it belongs to.
    pub project: String,
    /// Service it is run for.
    pub service: String,
    /// What it does, for [`TASK_LABEL`].
    pub task: String,
    /// Image reference or id.
    pub image: String,
    /// Program and arguments, in the place of the image's.
    pub command: Vec<String>,
    /// Environment, `NAME=value`.
    pub env: Vec<String>,
    /// The service's environment, where it is not that of the container which it is made like.
    pub service_env: Option<Vec<String>>,
    /// User, or the image's.
    pub user: Option<String>,
    /// Bind mounts, `HOST:CONTAINER:ro`; and volumes by name.
    pub binds: Vec<String>,
    /// It takes what processor time others leave over.
    pub yields: bool,
    /// Network, or none at all.
    pub network: Option<String>,
}

impl Engine {
    /// Makes and starts a one-off; the answer is its id.
    pub async fn run_once(&self, spec: OneOff) -> Result<String, Error> {
        let body = ContainerCreateBody {
            image: Some(spec.image.clone()),
            env: Some(spec.env.clone()),
            user: spec.user.clone(),
            host_config: Some(HostConfig {
                binds: Some(spec.binds.clone()),
                ..Default::default()
            }),
            ..Default::default()
        };
        self.create_and_start(spec, body).await
    }

    /// The same with environment, volumes and network of a service's container; its image too, where
    /// none is given. What is mounted by `spec` takes the place of what is mounted there.
    pub async fn run_once_like(&self, container: &str, spec: OneOff) -> Result<String, Error> {
        let like = self.docker.inspect_container(container, None).await?;
        let mut config = like.config.unwrap_or_default();
        let host = like.host_config.unwrap_or_default();
        let mut env = config.env.unwrap_or_default();
        if !spec.image.is_empty() {
            // What its own image brought along is not what the service was given.
            let id = like.image.unwrap_or_default();
            let own = self.docker.inspect_image(&id).await.ok();
            let own = own.and_then(|image| image.config).unwrap_or_default();
            let brought = own.env.unwrap_or_default();
            env.retain(|line| !brought.contains(line));
            config.user = config.user.filter(|user| Some(user) != own.user.as_ref());
            config.working_dir = None;
            config.image = Some(spec.image.clone());
        }
        if let Some(of_service) = &spec.service_env {
            env.clone_from(of_service);
        }
        env.extend(spec.env.iter().cloned());
        let is_free = |target: Option<&str>| {
            let ours = spec.binds.iter().map(|bind| bind.split(':').nth(1));
            target.is_none_or(|target| ours.into_iter().flatten().all(|other| other != target))
        };
        let theirs = host.binds.into_iter().flatten();
        let theirs = theirs.filter(|bind| is_free(bind.split(':').nth(1)));
        let mounts = host.mounts.into_iter().flatten();
        let mounts: Vec<Mount> = mounts
            .filter(|mount| is_free(mount.target.as_deref()))
            .collect();
        let body = ContainerCreateBody {
            image: config.image,
            env: Some(env),
            user: spec.user.clone().or(config.user),
            working_dir: config.working_dir,
            host_config: Some(HostConfig {
                binds: Some(theirs.chain(spec.binds.iter().cloned()).collect()),
                mounts: Some(mounts),
                network_mode: host.network_mode,
                log_config: host.log_config,
                extra_hosts: host.extra_hosts,
                dns: host.dns,
                // Of 1024 that others have.
                cpu_shares: spec.yields.then_some(128),
                ..Default::default()
            }),
            ..Default::default()
        };
        self.create_and_start(spec, body).await
    }

    async fn create_and_start(
        &self,
        spec: OneOff,
        mut body: ContainerCreateBody,
    ) -> Result<String, Error> {
        let mut command = spec.command.into_iter();
        body.entrypoint = command.next().map(|program| vec![program]);
        body.cmd = Some(command.collect());
        body.labels = Some(HashMap::from([
            (PROJECT_LABEL.to_owned(), spec.project),
            (SERVICE_LABEL.to_owned(), spec.service),
            (ONEOFF_LABEL.to_owned(), "True".to_owned()),
            (TASK_LABEL.to_owned(), spec.task),
        ]));
        if let Some(host) = body.host_config.as_mut() {
            if let Some(network) = spec.network {
                host.network_mode = Some(network);
            }
            if host.network_mode.is_none() {
                host.network_mode = Some("none".to_owned());
            }
        }
        let options = CreateContainerOptionsBuilder::default()
            .name(&spec.name)
            .build();
        let id = self.docker.create_container(Some(options), body).await?.id;
        if let Err(error) = self.start(&id).await {
            self.remove(&id).await?;
            return Err(error);
        }
        Ok(id)
    }

    /// Makes a volume of the project, unless it is there.
    pub async fn ensure_volume(&self, project: &str, name: &str) -> Result<(), Error> {
        let request = VolumeCreateRequest {
            name: Some(name.to_owned()),
            labels: Some(HashMap::from([(
                PROJECT_LABEL.to_owned(),
                project.to_owned(),
            )])),
            ..Default::default()
        };
        self.docker.create_volume(request).await?;
        Ok(())
    }

    /// Whether there is a volume of that name.
    pub async fn has_volume(&self, name: &str) -> Result<bool, Error> {
        match self.docker.inspect_volume(name).await.map_err(Error::from) {
            Ok(_) => Ok(true),
            Err(Error::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes a volume; one that is gone is fine.
    pub async fn remove_volume(&self, name: &str) -> Result<(), Error> {
        let removed = self
            .docker
            .remove_volume(name, None::<RemoveVolumeOptions>)
            .await;
        match removed.map_err(Error::from) {
            Ok(()) | Err(Error::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Waits until a container has ended; its exit code.
    pub async fn wait(&self, id: &str) -> Result<i64, Error> {
        let options = WaitContainerOptionsBuilder::default()
            .condition("not-running")
            .build();
        let mut stream = Box::pin(self.docker.wait_container(id, Some(options)));
        match stream.next().await {
            Some(Ok(answer)) => Ok(answer.status_code),
            // bollard makes an error of every exit code but 0.
            Some(Err(bollard::errors::Error::DockerContainerWaitError { code, .. })) => Ok(code),
            Some(Err(error)) => Err(error.into()),
            None => Err(Error::Broken(
                "the daemon ended the wait without an answer".to_owned(),
            )),
        }
    }

    /// Makes the project's network, if it is missing, as compose would (which takes it over), so
    /// that addresses and firewall rules can be tried before anything else exists. Answers
    /// whether it was made now.
    pub async fn ensure_network(&self, project: &str) -> Result<bool, Error> {
        let name = network_name(project);
        match self
            .docker
            .inspect_network(&name, None)
            .await
            .map_err(Error::from)
        {
            Ok(_) => return Ok(false),
            Err(Error::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
        let request = NetworkCreateRequest {
            name,
            driver: Some("bridge".to_owned()),
            labels: Some(HashMap::from([
                (PROJECT_LABEL.to_owned(), project.to_owned()),
                (
                    "com.docker.compose.network".to_owned(),
                    "default".to_owned(),
                ),
            ])),
            ..Default::default()
        };
        self.docker.create_network(request).await?;
        Ok(true)
    }

    /// Removes the project's network again; one in use stays.
    pub async fn remove_network(&self, project: &str) {
        // Best effort: it is empty, harmless, and taken over by the next start.
        let _ = self.docker.remove_network(&network_name(project)).await;
    }

    /// The subnet of the project's network (`172.18.0.0/16`), for pg_hba rules.
    pub async fn network_subnet(&self, project: &str) -> Option<String> {
        let network = self
            .docker
            .inspect_network(&network_name(project), None)
            .await
            .ok()?;
        network
            .ipam?
            .config?
            .into_iter()
            .find_map(|config| config.subnet)
    }

    /// The subnets of all networks of the project: those that its containers come from.
    pub async fn network_subnets(&self, project: &str) -> Result<Vec<String>, Error> {
        let label = format!("{PROJECT_LABEL}={project}");
        let filters = HashMap::from([("label", vec![label])]);
        let options = ListNetworksOptionsBuilder::default()
            .filters(&filters)
            .build();
        let networks = self.docker.list_networks(Some(options)).await?;
        let mut subnets: Vec<String> = networks
            .into_iter()
            .filter_map(|network| network.ipam?.config)
            .flatten()
            .filter_map(|config| config.subnet)
            .collect();
        subnets.sort();
        Ok(subnets)
    }
}

/// The name compose gives the default network of a project.
pub fn network_name(project: &str) -> String {
    format!("{project}_default")
}
