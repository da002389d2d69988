//! The checks that a node makes of its host before it accepts requests.

use super::java::Heap;
use super::log;
use super::settings::Settings;
use crate::steer::Steer;
use crate::{boot, process};

const LEAST_MAP_COUNT: u64 = 262_144;
const COMPONENT: &str = "o.e.b.BootstrapChecks";

/// Warn about the host, or end with 78. A node of `discovery.type: single-node` only warns,
/// whatever address it binds.
pub fn check(settings: &Settings, heap: &Heap, steer: &Steer) {
    let failures = failures(settings, heap, max_map_count(steer));
    if settings.single_node && !heap.enforce_bootstrap_checks && !steer.enforce_bootstrap_checks {
        for failure in failures {
            log::warn(COMPONENT, &failure);
        }
        return;
    }
    log::info(
        COMPONENT,
        if settings.single_node {
            "explicitly enforcing bootstrap checks"
        } else {
            "bound or publishing to a non-loopback address, enforcing bootstrap checks"
        },
    );
    if failures.is_empty() {
        return;
    }
    let mut text = format!("[{}] bootstrap checks failed", failures.len());
    for (index, failure) in failures.iter().enumerate() {
        text.push_str(&format!("\n[{}]: {failure}", index + 1));
    }
    eprintln!("ERROR: {text}");
    eprintln!(
        "ERROR: Elasticsearch did not exit normally - check the logs at \
         /usr/share/elasticsearch/logs/{}.log",
        settings.cluster_name
    );
    log::error("o.e.b.Bootstrap", &format!("node validation exception\n{text}"));
    for message in ["stopping ...", "stopped", "closing ...", "closed"] {
        log::info("o.e.n.Node", message);
    }
    boot::exit(78)
}

fn max_map_count(steer: &Steer) -> u64 {
    steer.max_map_count.unwrap_or_else(|| {
        std::fs::read_to_string("/proc/sys/vm/max_map_count")
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(u64::MAX)
    })
}

fn failures(settings: &Settings, heap: &Heap, max_map_count: u64) -> Vec<String> {
    let mut failures = Vec::new();
    if heap.initial_bytes() != heap.maximum_bytes() {
        failures.push(format!(
            "initial heap size [{}] not equal to maximum heap size [{}]; this can cause resize \
             pauses and prevents mlockall from locking the entire heap",
            heap.initial_bytes(),
            heap.maximum_bytes()
        ));
    }
    if max_map_count < LEAST_MAP_COUNT {
        failures.push(format!(
            "max virtual memory areas vm.max_map_count [{max_map_count}] is too low, increase to \
             at least [{LEAST_MAP_COUNT}]"
        ));
    }
    if !settings.single_node && !settings.discovery_configured {
        failures.push(
            "the default discovery settings are unsuitable for production use; at least one of \
             [discovery.seed_hosts, discovery.seed_providers, cluster.initial_master_nodes] must \
             be configured"
                .into(),
        );
    }
    failures
}

/// What the node says about itself first.
pub fn log_version() {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    log::info(
        "o.e.n.Node",
        &format!(
            "version[{}], pid[{}], build[default/docker/{}/{}], OS[Linux/{}/amd64], \
             JVM[AdoptOpenJDK/OpenJDK 64-Bit Server VM/15.0.1/15.0.1+9]",
            super::VERSION,
            std::process::id(),
            super::BUILD_HASH,
            super::BUILD_DATE,
            kernel.trim()
        ),
    );
}

/// The image begins as root and gives it up, as its entrypoint does.
pub fn give_up_root() {
    if process::user_id() == 0
        && let Err(problem) = process::become_user(1000, 0)
    {
        eprintln!("chroot: failed to set user-ID: {problem}");
        std::process::exit(125);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elasticsearch::{java, settings};

    fn with(discovery: Option<&str>, options: &str, map_count: u64) -> Vec<String> {
        let variables = discovery.map(|kind| ("discovery.type".to_owned(), kind.to_owned()));
        let settings = settings::from_environment(variables.into_iter()).unwrap();
        failures(&settings, &java::parse(options).unwrap(), map_count)
    }

    #[test]
    fn each_check_has_its_words() {
        assert!(with(Some("single-node"), "-Xms1g -Xmx1g", 262_144).is_empty());
        let failures = with(None, "-Xms512m -Xmx1g", 65_530);
        assert_eq!(failures.len(), 3);
        assert!(failures[0].starts_with("initial heap size [536870912] not equal"));
        assert_eq!(
            failures[1],
            "max virtual memory areas vm.max_map_count [65530] is too low, increase to at least \
             [262144]"
        );
    }
}
