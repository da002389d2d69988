//! The disk under the data folder and its watermarks. Past the flood stage every index is
//! made read-only; below the high mark that ends by itself, whoever asked for it.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::json;

use super::Elastic;
use super::log;
use super::store::Store;
use crate::process::{self, DiskSpace};

const COMPONENT: &str = "o.e.c.r.a.DiskThresholdMonitor";
const BLOCK: &str = "index.blocks.read_only_allow_delete";
/// How often the real node looks; it has the same effect to look when someone asks.
const INTERVAL: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub struct Monitor {
    last: Mutex<Option<(Instant, Option<f64>)>>,
}

/// What the node believes about its disk.
pub fn space(elastic: &Elastic) -> DiskSpace {
    let nothing = DiskSpace { total: 1, free: 1, available: 1 };
    let mut space = process::disk_space(&elastic.node.data_path).unwrap_or(nothing);
    if let Some(percent) = elastic.steering.now().disk_used_percent {
        space.free = (space.total as f64 * (100.0 - percent) / 100.0) as u64;
        space.available = space.free;
    }
    space
}

pub fn used_percent(space: &DiskSpace) -> f64 {
    100.0 - space.available as f64 * 100.0 / space.total.max(1) as f64
}

/// Called at every request. A disk that a test made up is looked at without delay.
pub fn look(elastic: &Elastic) {
    let pretended = elastic.steering.now().disk_used_percent;
    {
        let mut last = elastic.monitor.last.lock().unwrap();
        if let Some((at, before)) = *last
            && at.elapsed() < INTERVAL
            && before == pretended
        {
            return;
        }
        *last = Some((Instant::now(), pretended));
    }
    let space = space(elastic);
    let mark = |name: &str, default: f64| {
        elastic.node.read(|store| watermark(store, name).unwrap_or(default))
    };
    let (low, high, flood) = (mark("low", 85.0), mark("high", 90.0), mark("flood_stage", 95.0));
    let used = used_percent(&space);
    let place = format!(
        "[{}][{}][{}] free: {}[{:.1}%]",
        elastic.node.read(|store| store.node_id.clone()),
        elastic.node_name,
        elastic.node.data_path.display(),
        human_bytes(space.available),
        100.0 - used
    );
    if used > flood {
        log::warn(
            COMPONENT,
            &format!(
                "flood stage disk watermark [{flood}%] exceeded on {place}, all indices on this \
                 node will be marked read-only"
            ),
        );
        elastic.node.change(|store| {
            for index in store.indices.values_mut() {
                index.settings.insert(BLOCK.into(), json!("true"));
            }
        });
    } else if used > high {
        log::warn(
            COMPONENT,
            &format!(
                "high disk watermark [{high}%] exceeded on {place}, shards will be relocated away \
                 from this node; currently relocating away shards totalling [0] bytes; the node is \
                 expected to continue to exceed the high disk watermark when these relocations are \
                 complete"
            ),
        );
    } else {
        if used > low {
            log::info(
                COMPONENT,
                &format!(
                    "low disk watermark [{low}%] exceeded on {place}, replicas will not be \
                     assigned to this node"
                ),
            );
        }
        release(elastic);
    }
}

fn release(elastic: &Elastic) {
    let blocked: Vec<String> = elastic.node.read(|store| {
        let blocked = store.indices.iter().filter(|(_, index)| index.has(BLOCK));
        blocked.map(|(name, _)| name.clone()).collect()
    });
    if blocked.is_empty() {
        return;
    }
    log::info(
        COMPONENT,
        &format!("releasing read-only-allow-delete block on indices: [[{}]]", blocked.join(", ")),
    );
    elastic.node.change(|store| {
        for name in &blocked {
            if let Some(index) = store.indices.get_mut(name) {
                index.settings.remove(BLOCK);
            }
        }
    });
}

fn watermark(store: &Store, name: &str) -> Option<f64> {
    let key = format!("cluster.routing.allocation.disk.watermark.{name}");
    store.cluster_settings.get(&key)?.as_str()?.strip_suffix('%')?.parse().ok()
}

pub fn human_bytes(bytes: u64) -> String {
    let units = [(1u64 << 40, "tb"), (1 << 30, "gb"), (1 << 20, "mb"), (1 << 10, "kb")];
    for (size, unit) in units {
        if bytes >= size {
            let text = format!("{:.1}", (bytes as f64 / size as f64 * 10.0).floor() / 10.0);
            return text.trim_end_matches(".0").to_owned() + unit;
        }
    }
    format!("{bytes}b")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_in_elasticsearch() {
        assert_eq!(human_bytes(208), "208b");
        assert_eq!(human_bytes(1 << 30), "1gb");
        assert_eq!(human_bytes(1_677_721), "1.5mb");
    }

    #[test]
    fn watermarks_come_from_the_cluster_settings() {
        let mut store = Store::default();
        let key = "cluster.routing.allocation.disk.watermark.flood_stage".to_owned();
        store.cluster_settings.insert(key, json!("97%"));
        assert_eq!(watermark(&store, "flood_stage"), Some(97.0));
        assert_eq!(watermark(&store, "low"), None);
        let space = DiskSpace { total: 200, free: 60, available: 50 };
        assert_eq!(used_percent(&space), 75.0);
    }
}
