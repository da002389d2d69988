//! What is on the Engine, for somebody who looks at it from afar: described by our own words, and
//! of every environment only the names.

use std::collections::HashMap;

use bollard::query_parameters::{
    EventsOptionsBuilder, ListImagesOptionsBuilder, ListNetworksOptionsBuilder,
    ListVolumesOptionsBuilder,
};
use futures_util::StreamExt as _;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Engine, Error, PROJECT_LABEL, SERVICE_LABEL};

impl Engine {
    /// The containers of a project, one-offs included.
    pub async fn described_containers(&self, project: &str) -> Result<Vec<Value>, Error> {
        let containers = self.containers(project).await?;
        let mut described = Vec::new();
        for container in containers {
            let inspected = self.docker.inspect_container(&container.id, None).await;
            let inspected = inspected.unwrap_or_default();
            let config = inspected.config.unwrap_or_default();
            let host = inspected.host_config.unwrap_or_default();
            let networks = inspected
                .network_settings
                .and_then(|settings| settings.networks);
            let networks: serde_json::Map<String, Value> = networks
                .into_iter()
                .flatten()
                .map(|(name, endpoint)| {
                    (
                        name,
                        json!({ "address": endpoint.ip_address, "aliases": endpoint.aliases }),
                    )
                })
                .collect();
            let variables: Vec<&str> = container
                .environment
                .variables()
                .map(|(name, _)| name)
                .collect();
            let mounts: Vec<Value> = inspected
                .mounts
                .into_iter()
                .flatten()
                .map(|mount| {
                    json!({ "kind": mount.typ, "name": mount.name, "source": mount.source,
                            "target": mount.destination, "writable": mount.rw })
                })
                .collect();
            let published: Vec<String> = container
                .published
                .iter()
                .map(|port| format!("{}:{} -> {}", port.address, port.host_port, port.port))
                .collect();
            described.push(json!({
                "service": container.service,
                "container": container.name,
                "id": container.id,
                "oneoff": container.oneoff,
                "image": container.image,
                "image_id": container.image_id,
                "config_hash": container.config_hash,
                "state": container.state,
                "health": container.health,
                "health_says": container.health_says,
                "exit_code": container.exit_code,
                "oom_killed": container.oom_killed,
                "error": container.error,
                "restarts": container.restarts,
                "restart_policy": container.restart,
                "created_at": inspected.created,
                "started_at": container.started_at,
                "finished_at": container.finished_at,
                "entrypoint": config.entrypoint,
                "command": config.cmd,
                "user": config.user,
                "environment_names": variables,
                "networks": networks,
                "published": published,
                "mounts": mounts,
                "memory_limit": host.memory,
                "log": { "driver": container.log_driver, "options": container.log_options },
            }));
        }
        Ok(described)
    }

    /// All images, the largest first.
    pub async fn described_images(&self) -> Result<Vec<Value>, Error> {
        let options = ListImagesOptionsBuilder::default().build();
        let mut images = self.docker.list_images(Some(options)).await?;
        images.sort_by_key(|image| std::cmp::Reverse(image.size));
        Ok(images
            .into_iter()
            .map(|image| {
                json!({ "id": image.id, "tags": image.repo_tags, "size": image.size,
                        "created": image.created })
            })
            .collect())
    }

    /// The networks of a project.
    pub async fn described_networks(&self, project: &str) -> Result<Vec<Value>, Error> {
        let options = ListNetworksOptionsBuilder::default()
            .filters(&of_project(project))
            .build();
        let networks = self.docker.list_networks(Some(options)).await?;
        Ok(networks
            .into_iter()
            .map(|network| {
                let subnets: Vec<Option<String>> = network
                    .ipam
                    .and_then(|ipam| ipam.config)
                    .into_iter()
                    .flatten()
                    .map(|config| config.subnet)
                    .collect();
                json!({ "name": network.name, "id": network.id, "driver": network.driver,
                        "subnets": subnets, "internal": network.internal })
            })
            .collect())
    }

    /// The named volumes of a project. Their sizes only a walk through them would tell.
    pub async fn described_volumes(&self, project: &str) -> Result<Vec<Value>, Error> {
        let options = ListVolumesOptionsBuilder::default()
            .filters(&of_project(project))
            .build();
        let volumes = self.docker.list_volumes(Some(options)).await?;
        Ok(volumes
            .volumes
            .into_iter()
            .flatten()
            .map(|volume| {
                json!({ "name": volume.name, "driver": volume.driver,
                        "mountpoint": volume.mountpoint })
            })
            .collect())
    }

    /// What happened to the containers of a project between two moments, as far as the Engine
    /// remembers it.
    pub async fn past_events(
        &self,
        project: &str,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Value>, Error> {
        let mut filters = of_project(project);
        filters.insert("type".to_owned(), vec!["container".to_owned()]);
        let words = [
            "start",
            "die",
            "stop",
            "kill",
            "oom",
            "destroy",
            "create",
            "pause",
            "unpause",
            "health_status",
        ];
        filters.insert("event".to_owned(), words.map(str::to_owned).to_vec());
        let options = EventsOptionsBuilder::default()
            .since(&since.as_second().to_string())
            .until(&until.as_second().to_string())
            .filters(&filters)
            .build();
        let mut stream = Box::pin(self.docker.clone().events(Some(options)));
        let mut events = Vec::new();
        while let Some(message) = stream.next().await {
            let message = message?;
            let actor = message.actor.unwrap_or_default();
            let attributes = actor.attributes.unwrap_or_default();
            let at = message
                .time
                .and_then(|time| Timestamp::from_second(time).ok());
            events.push(json!({
                "at": at,
                "service": attributes.get(SERVICE_LABEL),
                "container": attributes.get("name"),
                "event": message.action,
                "exit_code": attributes.get("exitCode"),
                "signal": attributes.get("signal"),
            }));
        }
        Ok(events)
    }
}

fn of_project(project: &str) -> HashMap<String, Vec<String>> {
    HashMap::from([(
        "label".to_owned(),
        vec![format!("{PROJECT_LABEL}={project}")],
    )])
}
