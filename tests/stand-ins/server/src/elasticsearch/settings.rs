//! The node's settings, which the image takes from environment variables with a dot in
//! their names. A setting that the node does not know stops it.

#[derive(Debug, PartialEq, Eq)]
pub struct Settings {
    pub cluster_name: String,
    pub node_name: Option<String>,
    pub single_node: bool,
    /// Any of the settings that tell a node how to find its cluster.
    pub discovery_configured: bool,
    pub port: u16,
}

const ALSO_KNOWN: [&str; 14] = [
    "action.auto_create_index",
    "action.destructive_requires_name",
    "bootstrap.memory_lock",
    "http.cors.enabled",
    "http.max_content_length",
    "indices.query.bool.max_clause_count",
    "network.host",
    "network.publish_host",
    "node.master",
    "node.data",
    "path.repo",
    "thread_pool.write.queue_size",
    "transport.port",
    "transport.tcp.port",
];

const KNOWN_GROUPS: [&str; 4] = ["cluster.routing.", "indices.breaker.", "logger.", "xpack."];

/// The error is the message of the exception that ends the node.
pub fn from_environment(
    variables: impl Iterator<Item = (String, String)>,
) -> Result<Settings, String> {
    let mut settings = Settings {
        cluster_name: "docker-cluster".into(),
        node_name: None,
        single_node: false,
        discovery_configured: false,
        port: 9200,
    };
    for (name, value) in variables.filter(|(name, _)| is_setting(name)) {
        match name.as_str() {
            "cluster.name" => settings.cluster_name = value,
            "node.name" => settings.node_name = Some(value),
            "discovery.type" => match value.as_str() {
                "single-node" => settings.single_node = true,
                "zen" => settings.single_node = false,
                other => return Err(format!("Unknown discovery type [{other}]")),
            },
            "discovery.seed_hosts"
            | "discovery.seed_providers"
            | "cluster.initial_master_nodes" => settings.discovery_configured = true,
            "http.port" => {
                settings.port = value.parse().map_err(|_| {
                    format!("Failed to parse value [{value}] for setting [http.port]")
                })?;
            }
            other if ALSO_KNOWN.contains(&other) => {}
            other if KNOWN_GROUPS.iter().any(|group| other.starts_with(group)) => {}
            other => {
                return Err(format!(
                    "unknown setting [{other}] please check that any required plugins are \
                     installed, or check the breaking changes documentation for removed settings"
                ));
            }
        }
    }
    Ok(settings)
}

/// Lower case words with dots between them; all else is left to the shell.
fn is_setting(name: &str) -> bool {
    name.contains('.')
        && name.split('.').all(|word| {
            !word.is_empty()
                && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, String> {
        from_environment(pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())))
    }

    #[test]
    fn only_names_with_dots_are_settings() {
        let settings = read(&[("PATH", "/bin"), ("discovery.type", "single-node")]).unwrap();
        assert!(settings.single_node && !settings.discovery_configured);
        assert_eq!(settings.cluster_name, "docker-cluster");
        assert!(read(&[("cluster.routing.allocation.disk.threshold_enabled", "false")]).is_ok());
    }

    #[test]
    fn unknown_settings_and_values_stop_the_node() {
        for (name, value, words) in [
            ("discovery.typ", "single-node", "unknown setting [discovery.typ]"),
            ("discovery.type", "one-node", "Unknown discovery type [one-node]"),
            ("http.port", "http", "[http.port]"),
        ] {
            assert!(read(&[(name, value)]).unwrap_err().contains(words));
        }
    }
}
