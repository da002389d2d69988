//! A container's place in a network: the names under which others find it there.

use std::collections::HashMap;

use bollard::models::{EndpointSettings, NetworkConnectRequest, NetworkDisconnectRequest};

use super::{Engine, Error};

impl Engine {
    /// Whether others find a container by this name in a network. One that is in other networks only
    /// was put there on purpose; one that is in none was taken out.
    pub async fn is_named_in(&self, id: &str, network: &str, name: &str) -> Result<bool, Error> {
        let networks = self.networks_of(id).await?;
        Ok(match networks.get(network) {
            Some(endpoint) => endpoint.aliases.iter().flatten().any(|alias| alias == name),
            None => !networks.is_empty(),
        })
    }

    async fn networks_of(&self, id: &str) -> Result<HashMap<String, EndpointSettings>, Error> {
        let inspected = self.docker.inspect_container(id, None).await?;
        Ok(inspected
            .network_settings
            .and_then(|settings| settings.networks)
            .unwrap_or_default())
    }

    /// Takes a container out of a network, if it is in it, and puts it in again under this name. It
    /// gets another address, and its connections end. Interrupted in the middle it is out.
    pub async fn rejoin(&self, id: &str, network: &str, name: &str) -> Result<(), Error> {
        if self.networks_of(id).await?.contains_key(network) {
            let request = NetworkDisconnectRequest {
                container: id.to_owned(),
                force: Some(true),
            };
            self.docker.disconnect_network(network, request).await?;
        }
        let request = NetworkConnectRequest {
            container: id.to_owned(),
            endpoint_config: Some(EndpointSettings {
                aliases: Some(vec![name.to_owned()]),
                ..Default::default()
            }),
        };
        Ok(self.docker.connect_network(network, request).await?)
    }
}
