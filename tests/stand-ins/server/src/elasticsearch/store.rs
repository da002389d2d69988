//! What the node knows: its indices in memory, and one JSON file of them in the data folder,
//! so that a container made anew finds them again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::{boot, clock, process, random};

/// Settings in their flat form, each key with its `index.` or group in front.
pub type FlatSettings = BTreeMap<String, Value>;

#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub version: i64,
    pub routing: Option<String>,
    pub source: Value,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Index {
    pub uuid: String,
    pub created_ms: u64,
    pub settings: FlatSettings,
    pub mappings: Value,
    pub aliases: BTreeSet<String>,
    pub documents: BTreeMap<String, Document>,
    /// Deleted documents still count until their segment is merged, which here is never.
    pub deleted: u64,
}

impl Index {
    pub fn new() -> Self {
        Self {
            uuid: random::short_id(),
            created_ms: clock::now_ms(),
            mappings: json!({}),
            ..Self::default()
        }
    }

    pub fn shards(&self) -> u64 {
        self.number("index.number_of_shards")
    }

    pub fn replicas(&self) -> u64 {
        self.number("index.number_of_replicas")
    }

    /// 1 where it is not set, which is Elasticsearch's default for both.
    fn number(&self, key: &str) -> u64 {
        self.settings.get(key).and_then(Value::as_str).and_then(|v| v.parse().ok()).unwrap_or(1)
    }

    pub fn has(&self, setting: &str) -> bool {
        self.settings.get(setting).and_then(Value::as_str) == Some("true")
    }

    pub fn routing_required(&self) -> bool {
        self.mappings.pointer("/_routing/required") == Some(&Value::Bool(true))
    }

    /// The sources as text: near enough to what the files of the index would take.
    pub fn size_in_bytes(&self) -> u64 {
        const EMPTY_SHARD: u64 = 208;
        let documents: usize = self.documents.values().map(|d| d.source.to_string().len()).sum();
        documents as u64 + EMPTY_SHARD * self.shards()
    }

    /// How the mapping describes a field, given by its path with dots.
    pub fn mapping_of(&self, path: &str) -> Option<&Value> {
        let mut place = &self.mappings;
        for name in path.split('.') {
            place = match place.get("properties").and_then(|p| p.get(name)) {
                Some(found) => found,
                None => place.get("fields").and_then(|f| f.get(name))?,
            };
        }
        Some(place)
    }
}

#[derive(Debug, Default, PartialEq)]
pub struct Store {
    pub cluster_uuid: String,
    pub node_id: String,
    pub cluster_settings: FlatSettings,
    pub indices: BTreeMap<String, Index>,
}

impl Store {
    fn to_json(&self) -> Value {
        let indices: Map<String, Value> = self
            .indices
            .iter()
            .map(|(name, index)| {
                let documents: Map<String, Value> = index
                    .documents
                    .iter()
                    .map(|(id, d)| {
                        (id.clone(), json!({"v": d.version, "r": d.routing, "s": d.source}))
                    })
                    .collect();
                let value = json!({
                    "uuid": index.uuid,
                    "created_ms": index.created_ms,
                    "settings": index.settings,
                    "mappings": index.mappings,
                    "aliases": index.aliases,
                    "deleted": index.deleted,
                    "documents": documents,
                });
                (name.clone(), value)
            })
            .collect();
        json!({
            "cluster_uuid": self.cluster_uuid,
            "node_id": self.node_id,
            "cluster_settings": self.cluster_settings,
            "indices": indices,
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        let text = |v: &Value, key: &str| v[key].as_str().map(str::to_owned);
        let flat = |v: &Value| -> Option<FlatSettings> {
            Some(v.as_object()?.iter().map(|(k, v)| (k.clone(), v.clone())).collect())
        };
        let mut indices = BTreeMap::new();
        for (name, index) in value["indices"].as_object()? {
            let mut documents = BTreeMap::new();
            for (id, document) in index["documents"].as_object()? {
                let document = Document {
                    version: document["v"].as_i64()?,
                    routing: text(document, "r"),
                    source: document["s"].clone(),
                };
                documents.insert(id.clone(), document);
            }
            let aliases = index["aliases"].as_array()?;
            let index = Index {
                uuid: text(index, "uuid")?,
                created_ms: index["created_ms"].as_u64()?,
                settings: flat(&index["settings"])?,
                mappings: index["mappings"].clone(),
                aliases: aliases.iter().filter_map(|a| a.as_str().map(str::to_owned)).collect(),
                deleted: index["deleted"].as_u64()?,
                documents,
            };
            indices.insert(name.clone(), index);
        }
        Some(Self {
            cluster_uuid: text(value, "cluster_uuid")?,
            node_id: text(value, "node_id")?,
            cluster_settings: flat(&value["cluster_settings"])?,
            indices,
        })
    }
}

struct State {
    store: Store,
    unsaved: bool,
}

/// The store with its file. The node holds the folder's lock for as long as it lives.
pub struct Node {
    state: Mutex<State>,
    changed: Condvar,
    pub data_path: PathBuf,
    file: PathBuf,
    _lock: File,
}

/// Why a node cannot use its data folder: the message of the exception.
pub type Unusable = String;

impl Node {
    /// `folder` is the image's data folder.
    pub fn open(folder: &Path) -> Result<Arc<Self>, Unusable> {
        let data_path = folder.join("nodes/0");
        std::fs::create_dir_all(&data_path).map_err(|problem| {
            let place = data_path.display();
            format!("java.nio.file.AccessDeniedException: {place} ({problem})")
        })?;
        let not_locked = || {
            format!(
                "java.lang.IllegalStateException: failed to obtain node locks, tried [[{}]] with \
                 lock id [0]; maybe these locations are not writable or multiple nodes were \
                 started without increasing [node.max_local_storage_nodes] (was [1])?",
                folder.display()
            )
        };
        let lock = File::create(data_path.join("node.lock")).map_err(|_| not_locked())?;
        if !process::lock_exclusively(&lock) {
            return Err(not_locked());
        }
        let file = data_path.join("stand-in.json");
        let store = match std::fs::read_to_string(&file) {
            Ok(text) => serde_json::from_str(&text)
                .ok()
                .and_then(|value| Store::from_json(&value))
                .ok_or_else(|| {
                    format!(
                        "org.elasticsearch.gateway.CorruptStateException: {} is not readable",
                        file.display()
                    )
                })?,
            Err(_) => Store {
                cluster_uuid: random::short_id(),
                node_id: random::short_id(),
                ..Store::default()
            },
        };
        let node = Arc::new(Self {
            state: Mutex::new(State { store, unsaved: true }),
            changed: Condvar::new(),
            data_path,
            file,
            _lock: lock,
        });
        node.save().map_err(|problem| format!("java.io.IOException: {problem}"))?;
        let saving = node.clone();
        boot::spawn("save", move || saving.keep_saving());
        Ok(node)
    }

    pub fn read<T>(&self, look: impl FnOnce(&Store) -> T) -> T {
        look(&self.lock().store)
    }

    pub fn change<T>(&self, work: impl FnOnce(&mut Store) -> T) -> T {
        let mut state = self.lock();
        let result = work(&mut state.store);
        state.unsaved = true;
        self.changed.notify_all();
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Several changes in a row become one write: the whole file is written each time.
    fn keep_saving(&self) {
        loop {
            drop(self.changed.wait_while(self.lock(), |state| !state.unsaved).unwrap());
            std::thread::sleep(Duration::from_millis(50));
            if let Err(problem) = self.save() {
                super::log::error(
                    "o.e.i.e.Engine",
                    &format!("failed to write {}: {problem}", self.file.display()),
                );
                std::thread::sleep(Duration::from_secs(1));
            }
        }
    }

    pub fn save(&self) -> std::io::Result<()> {
        let text = {
            let mut state = self.lock();
            if !state.unsaved {
                return Ok(());
            }
            state.unsaved = false;
            state.store.to_json().to_string()
        };
        let fresh = self.file.with_extension("new");
        let written =
            std::fs::write(&fresh, text).and_then(|()| std::fs::rename(&fresh, &self.file));
        if written.is_err() {
            self.lock().unsaved = true;
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_survives_its_file() {
        let mut store = Store { cluster_uuid: "c".into(), node_id: "n".into(), ..Store::default() };
        let mut index = Index::new();
        index.settings.insert("index.number_of_shards".into(), json!("2"));
        index.mappings = json!({"_routing": {"required": true}, "properties": {
            "name": {"type": "text", "fields": {"keyword": {"type": "keyword"}}}}});
        index.aliases.insert("contacts".into());
        let document =
            Document { version: 7, routing: Some("1".into()), source: json!({"name": "Bob"}) };
        index.documents.insert("42".into(), document);
        store.indices.insert("contacts_2021_07_21".into(), index);
        assert_eq!(Store::from_json(&store.to_json()), Some(store));
        assert_eq!(Store::from_json(&json!({"indices": {}})), None);
    }

    #[test]
    fn an_index_knows_its_settings_and_mapping() {
        let mut index = Index::new();
        assert_eq!((index.shards(), index.replicas()), (1, 1));
        index.settings.insert("index.number_of_replicas".into(), json!("0"));
        assert_eq!(index.replicas(), 0);
        index.mappings = json!({"properties": {"name": {"type": "text",
            "fields": {"keyword": {"type": "keyword"}}}}});
        assert_eq!(index.mapping_of("name.keyword"), Some(&json!({"type": "keyword"})));
        assert_eq!(index.mapping_of("nam"), None);
    }

    #[test]
    fn a_second_node_does_not_get_the_folder() {
        let folder = std::env::temp_dir().join(random::uuid());
        let node = Node::open(&folder).unwrap();
        node.change(|store| store.indices.insert("a".into(), Index::new()));
        assert!(Node::open(&folder).err().unwrap().contains("failed to obtain node locks"));
        node.save().unwrap();
        let saved: Value =
            serde_json::from_str(&std::fs::read_to_string(&node.file).unwrap()).unwrap();
        assert!(Store::from_json(&saved).unwrap().indices.contains_key("a"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
