//! What repairs ask of Elasticsearch and tell it.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use crate::diagnosis::{Halt, Scene};
use crate::host::http;

/// The port in the container.
const PORT: u16 = 9200;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The block that Elasticsearch sets by itself on a full disk.
pub const FLOOD_BLOCK: &str = "index.blocks.read_only_allow_delete";

/// From which use on it takes the block back only by hand, in percent: its own default.
const HIGH: u64 = 90;

/// The running node.
pub struct Node {
    address: SocketAddr,
}

/// The disk under the index, as the node sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Percent.
    pub used: u64,
    /// Bytes.
    pub free: u64,
}

/// From where on the node moves its data away, and takes the block back below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watermark {
    /// So much is used, in percent.
    Used(u64),
    /// So little is free, in bytes.
    Free(u64),
}

impl Watermark {
    /// Whether that disk is fuller.
    pub fn is_passed(self, disk: &Disk) -> bool {
        match self {
            Watermark::Used(percent) => disk.used > percent,
            Watermark::Free(bytes) => disk.free < bytes,
        }
    }

    fn read(text: &str) -> Option<Self> {
        if let Some(percent) = text.strip_suffix('%') {
            return percent.parse::<f64>().ok().map(|it| Self::Used(it as u64));
        }
        if let Ok(part) = text.parse::<f64>() {
            return Some(Self::Used((part * 100.0) as u64));
        }
        let at = text.find(|c: char| c.is_ascii_alphabetic())?;
        let number: f64 = text[..at].parse().ok()?;
        let unit: u64 = match &text[at..] {
            "b" => 1,
            "kb" => 1 << 10,
            "mb" => 1 << 20,
            "gb" => 1 << 30,
            "tb" => 1 << 40,
            _ => return None,
        };
        Some(Self::Free((number * unit as f64) as u64))
    }
}

impl std::fmt::Display for Watermark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Watermark::Used(percent) => write!(f, "{percent} % used"),
            Watermark::Free(bytes) => write!(f, "{} free", crate::host::disk::human(*bytes)),
        }
    }
}

/// Blocks of indices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Blocks {
    /// Indices with the block that comes of a full disk.
    pub flood: Vec<String>,
    /// Indices that a person has made read-only.
    pub by_hand: Vec<String>,
}

impl Node {
    /// Where the running one listens.
    pub async fn find(scene: &Scene) -> Result<Self, Halt> {
        let address = scene.address("elasticsearch", PORT).await?;
        Ok(Self { address })
    }

    /// Which indices refuse changes.
    pub async fn blocks(&self) -> Result<Blocks, String> {
        let answer = self.get("/_all/_settings?filter_path=*.settings.index.blocks");
        Ok(read_blocks(&answer.await?))
    }

    /// The disk under its data.
    pub async fn disk(&self) -> Result<Disk, String> {
        let rows = self.get("/_cat/allocation?format=json&bytes=b").await?;
        let number = |name: &str| rows[0][name].as_str()?.parse::<u64>().ok();
        match (number("disk.percent"), number("disk.avail")) {
            (Some(used), Some(free)) => Ok(Disk { used, free }),
            _ => Err("it does not say how full its disk is".to_owned()),
        }
    }

    /// Its high watermark: what a person has set, or its default.
    pub async fn high_watermark(&self) -> Watermark {
        let path = "/_cluster/settings?include_defaults=true&flat_settings=true\
                    &filter_path=*.cluster.routing.allocation.disk.watermark.high";
        let settings = self.get(path).await.unwrap_or_default();
        high(&settings).unwrap_or(Watermark::Used(HIGH))
    }

    /// Takes the block of a full disk away from all indices.
    pub async fn release(&self) -> Result<(), String> {
        let body = format!("{{\"{FLOOD_BLOCK}\":null}}");
        let path = "/_all/_settings?expand_wildcards=all";
        let answer = http::send(self.address, "PUT", path, &body, PATIENCE).await?;
        match answer.status {
            200 => Ok(()),
            status => Err(format!("answer {status}: {}", reason(answer.body()))),
        }
    }

    /// Whether an index takes changes: a document that does not exist is deleted. Elasticsearch
    /// carries that out like every change, through the index's journal, or refuses it for the
    /// block; nothing is left behind, wherever this is cut off.
    pub async fn takes_changes(&self, index: &str) -> Result<(), String> {
        // The indexer's mapping demands a routing; others do not mind one.
        let path = format!("/{index}/_doc/ooy-no-such-document?routing=1");
        let answer = http::send(self.address, "DELETE", &path, "", PATIENCE).await?;
        match answer.status {
            200 | 404 if answer.body().contains("\"not_found\"") => Ok(()),
            status => Err(format!("answer {status}: {}", reason(answer.body()))),
        }
    }

    /// `modified_on` of the newest contact in the index, in microseconds.
    pub async fn newest_contact(&self) -> Result<i64, String> {
        let path = "/contacts/_search?size=1&sort=modified_on_mu:desc&_source=false";
        let answer = self.get(path).await?;
        Ok(answer["hits"]["hits"][0]["sort"][0]
            .as_i64()
            .unwrap_or_default())
    }

    async fn get(&self, path: &str) -> Result<Value, String> {
        let answer = http::get(self.address, "localhost", path, PATIENCE).await?;
        if answer.status != 200 {
            return Err(format!(
                "answer {}: {}",
                answer.status,
                reason(answer.body())
            ));
        }
        json(answer.body()).ok_or_else(|| "the answer is no JSON".to_owned())
    }
}

/// The health of the cluster in words: "yellow, 1 shard active".
pub async fn health(scene: &Scene) -> Result<String, String> {
    let node = Node::find(scene)
        .await
        .map_err(|_| "it does not run".to_owned())?;
    let health = node.get("/_cluster/health").await?;
    let shards = health["active_shards"].as_u64().unwrap_or_default();
    Ok(format!(
        "{}, {} active",
        health["status"].as_str().unwrap_or("no status"),
        crate::host::text::count(shards, "shard")
    ))
}

/// Elasticsearch answers with a length; what stands around JSON otherwise is left out.
fn json(body: &str) -> Option<Value> {
    let start = body.find(['{', '['])?;
    let end = body.rfind(['}', ']'])?;
    serde_json::from_str(body.get(start..=end)?).ok()
}

/// Why it refused, in its own words.
fn reason(body: &str) -> String {
    let answer = json(body).unwrap_or_default();
    let said = answer["error"]["reason"].as_str().unwrap_or(body);
    crate::host::text::shorten(said.trim(), 200)
}

fn read_blocks(settings: &Value) -> Blocks {
    let is_true = |value: &Value| value == "true" || value == true;
    let mut blocks = Blocks::default();
    for (name, index) in settings.as_object().into_iter().flatten() {
        let of = &index["settings"]["index"]["blocks"];
        if is_true(&of["read_only_allow_delete"]) {
            blocks.flood.push(name.clone());
        }
        if is_true(&of["read_only"]) || is_true(&of["write"]) {
            blocks.by_hand.push(name.clone());
        }
    }
    blocks
}

/// What was set last wins: transient over persistent over the default.
fn high(settings: &Value) -> Option<Watermark> {
    let name = "cluster.routing.allocation.disk.watermark.high";
    ["transient", "persistent", "defaults"]
        .iter()
        .find_map(|scope| Watermark::read(settings[scope][name].as_str()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn blocks_of_both_kinds_are_told_apart() {
        let settings = json!({
            "contacts_a": {"settings": {"index": {"blocks": {"read_only_allow_delete": "true"}}}},
            "contacts_b": {"settings": {"index": {"blocks": {"read_only": "true"}}}},
            "contacts_c": {"settings": {"index": {"blocks": {"read_only_allow_delete": "false"}}}},
        });
        let blocks = read_blocks(&settings);
        assert_eq!(blocks.flood, ["contacts_a"]);
        assert_eq!(blocks.by_hand, ["contacts_b"]);
    }

    #[test]
    fn watermarks_are_read_in_all_their_forms() {
        let disk = |used, free| Disk { used, free };
        for (text, passed, not) in [
            ("90%", disk(91, 1), disk(90, 1)),
            ("0.85", disk(86, 1), disk(85, 1)),
            ("20gb", disk(1, 19 << 30), disk(99, 20 << 30)),
            ("500mb", disk(1, 499 << 20), disk(99, 500 << 20)),
        ] {
            let mark = Watermark::read(text).unwrap();
            assert!(mark.is_passed(&passed), "{text}");
            assert!(!mark.is_passed(&not), "{text}");
        }
        assert_eq!(Watermark::read("much"), None);
        let name = "cluster.routing.allocation.disk.watermark.high";
        let settings =
            json!({"persistent": {name: "80%"}, "transient": {}, "defaults": {name: "90%"}});
        assert_eq!(high(&settings), Some(Watermark::Used(80)));
        assert_eq!(high(&json!({})), None);
    }

    #[test]
    fn a_refusal_is_told_in_its_own_words() {
        let body = r#"{"error":{"reason":"index [a] blocked by: [x];"},"status":429}"#;
        assert_eq!(reason(body), "index [a] blocked by: [x];");
        assert_eq!(reason("gone"), "gone");
    }
}
