//! The node and its cluster: identity, health, statistics, settings.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::failure::{Failure, Outcome};
use super::names::{flatten, nest, resolve};
use super::rest::{Answer, Call};
use super::store::Store;
use super::{BUILD_DATE, BUILD_HASH, Elastic, VERSION, disk};
use crate::clock;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    Green,
    Yellow,
    Red,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Self::Green => "green",
            Self::Yellow => "yellow",
            Self::Red => "red",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Green, Self::Yellow, Self::Red]
            .into_iter()
            .find(|status| status.name().eq_ignore_ascii_case(text))
    }
}

/// There is one node, so a replica is never assigned anywhere.
pub fn status_of(elastic: &Elastic, replicas: u64) -> Status {
    if elastic.is_red() {
        Status::Red
    } else if replicas > 0 {
        Status::Yellow
    } else {
        Status::Green
    }
}

pub fn root(elastic: &Elastic, _: &Call) -> Outcome<Answer> {
    let uuid = elastic.node.read(|store| store.cluster_uuid.clone());
    Ok(Answer::Json(
        200,
        json!({
            "name": elastic.node_name,
            "cluster_name": elastic.cluster_name,
            "cluster_uuid": uuid,
            "version": {
                "number": VERSION,
                "build_flavor": "default",
                "build_type": "docker",
                "build_hash": BUILD_HASH,
                "build_date": BUILD_DATE,
                "build_snapshot": false,
                "lucene_version": "8.7.0",
                "minimum_wire_compatibility_version": "6.8.0",
                "minimum_index_compatibility_version": "6.0.0-beta1",
            },
            "tagline": "You Know, for Search",
        }),
    ))
}

pub fn health(elastic: &Elastic, call: &Call) -> Outcome<Answer> {
    let wanted = match call.parameter("wait_for_status") {
        None => Status::Red,
        Some(text) => Status::parse(text).ok_or_else(|| {
            Failure::illegal_argument(format!("unknown cluster health status [{text}]"))
        })?,
    };
    let limit = call.parameter("timeout").map_or(Ok(Duration::from_secs(30)), |text| {
        time_value(text).ok_or_else(|| {
            Failure::illegal_argument(format!(
                "failed to parse setting [timeout] with value [{text}] as a time value: unit is \
                 missing or unrecognized"
            ))
        })
    })?;
    let level = call.parameter("level").unwrap_or("cluster");
    if !matches!(level, "cluster" | "indices" | "shards") {
        let reason = format!(
            "level parameter must be one of [cluster], [indices] or [shards] but was [{level}]"
        );
        return Err(Failure::illegal_argument(reason));
    }
    let deadline = Instant::now() + limit;
    loop {
        let (status, mut body) = measure(elastic, call.target(), level);
        if status <= wanted {
            return Ok(Answer::Json(200, body));
        }
        if Instant::now() >= deadline {
            body["timed_out"] = json!(true);
            return Ok(Answer::Json(408, body));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// An index that does not exist is not an error here but a cluster that is not yet well.
fn measure(elastic: &Elastic, target: &str, level: &str) -> (Status, Value) {
    let (status, primaries, unassigned, indices) = elastic.node.read(|store| {
        let Ok(names) = resolve(store, target) else {
            return (Status::Red, 0, 0, Map::new());
        };
        let mut worst = status_of(elastic, 0);
        let (mut primaries, mut unassigned) = (0, 0);
        let mut indices = Map::new();
        for name in names {
            let index = &store.indices[&name];
            let (shards, replicas) = (index.shards(), index.replicas());
            let status = status_of(elastic, replicas);
            worst = worst.max(status);
            primaries += shards;
            unassigned += shards * replicas;
            indices.insert(
                name,
                json!({
                    "status": status.name(),
                    "number_of_shards": shards,
                    "number_of_replicas": replicas,
                    "active_primary_shards": shards,
                    "active_shards": shards,
                    "relocating_shards": 0,
                    "initializing_shards": 0,
                    "unassigned_shards": shards * replicas,
                }),
            );
        }
        (worst, primaries, unassigned, indices)
    });
    let all = primaries + unassigned;
    let percent = if all == 0 { 100.0 } else { primaries as f64 * 100.0 / all as f64 };
    let mut body = json!({
        "cluster_name": elastic.cluster_name,
        "status": status.name(),
        "timed_out": false,
        "number_of_nodes": 1,
        "number_of_data_nodes": 1,
        "active_primary_shards": primaries,
        "active_shards": primaries,
        "relocating_shards": 0,
        "initializing_shards": 0,
        "unassigned_shards": unassigned,
        "delayed_unassigned_shards": 0,
        "number_of_pending_tasks": 0,
        "number_of_in_flight_fetch": 0,
        "task_max_waiting_in_queue_millis": 0,
        "active_shards_percent_as_number": percent,
    });
    if level != "cluster" {
        body["indices"] = Value::Object(indices);
    }
    (status, body)
}

fn time_value(text: &str) -> Option<Duration> {
    let units: [(&str, f64); 5] =
        [("ms", 0.001), ("micros", 0.000_001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let (number, scale) =
        units.iter().find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, scale)))?;
    let number: f64 = number.trim().parse().ok().filter(|n| *n >= 0.0)?;
    Duration::try_from_secs_f64(number * scale).ok()
}

pub fn stats(elastic: &Elastic, _: &Call) -> Outcome<Answer> {
    let space = disk::space(elastic);
    let used = elastic.heap.maximum_bytes() / 4;
    let body = elastic.node.read(|store| {
        let (primaries, documents, deleted, size) = totals(store);
        let replicas = store.indices.values().map(super::store::Index::replicas).max();
        json!({
            "_nodes": {"total": 1, "successful": 1, "failed": 0},
            "cluster_name": elastic.cluster_name,
            "cluster_uuid": store.cluster_uuid,
            "timestamp": clock::now_ms(),
            "status": status_of(elastic, replicas.unwrap_or(0)).name(),
            "indices": {
                "count": store.indices.len(),
                "shards": {"total": primaries, "primaries": primaries, "replication": 0.0},
                "docs": {"count": documents, "deleted": deleted},
                "store": {"size_in_bytes": size, "reserved_in_bytes": 0},
            },
            "nodes": {
                "count": {"total": 1, "coordinating_only": 0, "data": 1, "ingest": 1, "master": 1},
                "versions": [VERSION],
                "jvm": {
                    "mem": {
                        "heap_used_in_bytes": used,
                        "heap_max_in_bytes": elastic.heap.maximum_bytes(),
                    },
                },
                "fs": {
                    "total_in_bytes": space.total,
                    "free_in_bytes": space.free,
                    "available_in_bytes": space.available,
                },
            },
        })
    });
    Ok(Answer::Json(200, body))
}

/// Primary shards, documents, deleted documents, bytes.
pub fn totals(store: &Store) -> (u64, u64, u64, u64) {
    store.indices.values().fold((0, 0, 0, 0), |(shards, documents, deleted, size), index| {
        (
            shards + index.shards(),
            documents + index.documents.len() as u64,
            deleted + index.deleted,
            size + index.size_in_bytes(),
        )
    })
}

fn node_identity(elastic: &Elastic) -> Map<String, Value> {
    let address = &elastic.address;
    let Value::Object(identity) = json!({
        "name": elastic.node_name,
        "transport_address": format!("{address}:9300"),
        "host": address,
        "ip": address,
        "roles": ["data", "ingest", "master", "remote_cluster_client", "transform"],
    }) else {
        return Map::new();
    };
    identity
}

fn of_the_node(elastic: &Elastic, node: Map<String, Value>) -> Answer {
    let id = elastic.node.read(|store| store.node_id.clone());
    let mut nodes = Map::new();
    nodes.insert(id, Value::Object(node));
    Answer::Json(
        200,
        json!({
            "_nodes": {"total": 1, "successful": 1, "failed": 0},
            "cluster_name": elastic.cluster_name,
            "nodes": nodes,
        }),
    )
}

pub fn nodes(elastic: &Elastic, _: &Call) -> Outcome<Answer> {
    let mut node = node_identity(elastic);
    node.insert("version".into(), json!(VERSION));
    node.insert("build_flavor".into(), json!("default"));
    node.insert("build_type".into(), json!("docker"));
    node.insert("build_hash".into(), json!(BUILD_HASH));
    node.insert(
        "jvm".into(),
        json!({
            "pid": std::process::id(),
            "version": "15.0.1",
            "mem": {
                "heap_init_in_bytes": elastic.heap.initial_bytes(),
                "heap_max_in_bytes": elastic.heap.maximum_bytes(),
            },
        }),
    );
    Ok(of_the_node(elastic, node))
}

pub fn node_stats(elastic: &Elastic, call: &Call) -> Outcome<Answer> {
    let known = ["fs", "indices", "jvm"];
    let metrics: Vec<&str> = match call.name("metric") {
        "" | "_all" => known.to_vec(),
        text => text.split(',').collect(),
    };
    if let Some(unknown) = metrics.iter().find(|metric| !known.contains(metric)) {
        return Err(Failure::illegal_argument(format!(
            "request [/_nodes/stats/{}] contains unrecognized metric: [{unknown}]",
            call.name("metric")
        )));
    }
    let mut node = node_identity(elastic);
    node.insert("timestamp".into(), json!(clock::now_ms()));
    if metrics.contains(&"indices") {
        let (_, documents, deleted, size) = elastic.node.read(totals);
        node.insert(
            "indices".into(),
            json!({
                "docs": {"count": documents, "deleted": deleted},
                "store": {"size_in_bytes": size, "reserved_in_bytes": 0},
            }),
        );
    }
    if metrics.contains(&"jvm") {
        let maximum = elastic.heap.maximum_bytes();
        node.insert(
            "jvm".into(),
            json!({
                "timestamp": clock::now_ms(),
                "uptime_in_millis": elastic.started.elapsed().as_millis() as u64,
                "mem": {
                    "heap_used_in_bytes": maximum / 4,
                    "heap_used_percent": 25,
                    "heap_committed_in_bytes": elastic.heap.initial_bytes(),
                    "heap_max_in_bytes": maximum,
                },
            }),
        );
    }
    if metrics.contains(&"fs") {
        let space = disk::space(elastic);
        let sizes = json!({
            "total_in_bytes": space.total,
            "free_in_bytes": space.free,
            "available_in_bytes": space.available,
        });
        let mut place = json!({
            "path": elastic.node.data_path.display().to_string(),
            "mount": "/usr/share/elasticsearch/data",
            "type": "ext4",
        });
        if let (Some(place), Some(sizes)) = (place.as_object_mut(), sizes.as_object()) {
            place.extend(sizes.clone());
        }
        node.insert(
            "fs".into(),
            json!({"timestamp": clock::now_ms(), "total": sizes, "data": [place]}),
        );
    }
    Ok(of_the_node(elastic, node))
}

pub fn settings(elastic: &Elastic, call: &Call) -> Outcome<Answer> {
    let flat = elastic.node.read(|store| store.cluster_settings.clone());
    let shown = if call.wants("flat_settings") { json!(flat) } else { nest(&flat) };
    Ok(Answer::Json(200, json!({"persistent": shown, "transient": {}})))
}

/// Transient settings are kept like persistent ones: the difference shows only after a
/// restart of the whole cluster.
pub fn update_settings(elastic: &Elastic, call: &Call) -> Outcome<Answer> {
    let body = call.required_json()?;
    let known = [
        "cluster.routing.",
        "cluster.info.",
        "cluster.max_shards_per_node",
        "cluster.blocks.",
        "action.",
        "indices.",
        "logger.",
    ];
    let mut shown = json!({"acknowledged": true, "persistent": {}, "transient": {}});
    for (scope, values) in body.as_object().into_iter().flatten() {
        if !matches!(scope.as_str(), "persistent" | "transient") {
            return Err(Failure::illegal_argument(format!("unknown field [{scope}]")));
        }
        let changes = flatten(values);
        if let Some(unknown) =
            changes.keys().find(|key| !known.iter().any(|prefix| key.starts_with(prefix)))
        {
            return Err(Failure::illegal_argument(format!(
                "{scope} setting [{unknown}], not recognized"
            )));
        }
        elastic.node.change(|store| {
            for (key, value) in &changes {
                if value.is_null() {
                    store.cluster_settings.remove(key);
                } else {
                    store.cluster_settings.insert(key.clone(), value.clone());
                }
            }
        });
        shown[scope] = nest(&changes);
    }
    let _ = elastic.node.save();
    Ok(Answer::Json(200, shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(time_value("5s"), Some(Duration::from_secs(5)));
        assert_eq!(time_value("1500ms"), Some(Duration::from_millis(1500)));
        assert_eq!(time_value("2m"), Some(Duration::from_secs(120)));
        assert_eq!(time_value("5"), None);
        assert_eq!(time_value("soon"), None);
    }

    #[test]
    fn a_worse_status_is_greater() {
        assert!(Status::Green < Status::Yellow && Status::Yellow < Status::Red);
        assert_eq!(Status::parse("YELLOW"), Some(Status::Yellow));
        assert_eq!(Status::parse("blue"), None);
    }
}
