//! The JSON lines that Elasticsearch's image writes to standard output.

use std::sync::OnceLock;

use serde_json::json;

use crate::{clock, log_line};

/// What every line repeats. The ids are known, and written, once the node has joined its
/// own cluster.
#[derive(Debug, Default)]
pub struct Node {
    pub cluster_name: String,
    pub name: String,
}

static NODE: OnceLock<Node> = OnceLock::new();
static IDS: OnceLock<(String, String)> = OnceLock::new();

pub fn set_node(node: Node) {
    let _ = NODE.set(node);
}

pub fn set_ids(cluster_uuid: &str, node_id: &str) {
    let _ = IDS.set((cluster_uuid.to_owned(), node_id.to_owned()));
}

pub fn info(component: &str, message: &str) {
    write("INFO", component, message);
}

pub fn warn(component: &str, message: &str) {
    write("WARN", component, message);
}

pub fn error(component: &str, message: &str) {
    write("ERROR", component, message);
}

fn write(level: &str, component: &str, message: &str) {
    let empty = Node::default();
    let node = NODE.get().unwrap_or(&empty);
    let mut line = format!(
        r#"{{"type": "server", "timestamp": "{}", "level": "{level}", "component": "{component}", "cluster.name": {}, "node.name": {}, "message": {}"#,
        clock::elastic_log_time(clock::now_ms()),
        json!(node.cluster_name),
        json!(node.name),
        json!(message),
    );
    if let Some((cluster, id)) = IDS.get() {
        line.push_str(&format!(r#", "cluster.uuid": "{cluster}", "node.id": "{id}" "#));
    }
    line.push_str(" }");
    log_line(&line);
}
