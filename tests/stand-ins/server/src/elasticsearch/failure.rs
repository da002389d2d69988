//! Errors as Elasticsearch's REST layer writes them.

use serde_json::{Map, Value, json};

#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    pub status: u16,
    /// In a box: a failure is rare, and a result is passed around everywhere.
    parts: Box<Parts>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Parts {
    kind: String,
    reason: String,
    /// Further fields beside type and reason.
    details: Map<String, Value>,
    /// Where the cause is another than the failure itself.
    root_cause: Option<Value>,
    /// Set where the whole body is one sentence.
    bare: bool,
}

pub type Outcome<T> = Result<T, Failure>;

impl Failure {
    pub fn new(status: u16, kind: &str, reason: impl Into<String>) -> Self {
        let parts = Parts { kind: kind.into(), reason: reason.into(), ..Parts::default() };
        Self { status, parts: Box::new(parts) }
    }

    /// `{"error":"…","status":…}` without a type: what the REST controller itself refuses.
    pub fn bare(status: u16, reason: impl Into<String>) -> Self {
        let mut failure = Self::new(status, "", reason);
        failure.parts.bare = true;
        failure
    }

    pub fn illegal_argument(reason: impl Into<String>) -> Self {
        Self::new(400, "illegal_argument_exception", reason)
    }

    pub fn parsing(reason: impl Into<String>) -> Self {
        Self::new(400, "parsing_exception", reason)
    }

    pub fn no_such_index(name: &str) -> Self {
        Self::new(404, "index_not_found_exception", format!("no such index [{name}]"))
            .with("resource.type", json!("index_or_alias"))
            .with("resource.id", json!(name))
            .with("index_uuid", json!("_na_"))
            .with("index", json!(name))
    }

    #[must_use]
    pub fn with(mut self, key: &str, value: Value) -> Self {
        self.parts.details.insert(key.into(), value);
        self
    }

    /// The inner object, as it stands in a bulk item too.
    pub fn cause(&self) -> Value {
        let mut cause = Map::new();
        cause.insert("type".into(), json!(self.parts.kind));
        cause.insert("reason".into(), json!(self.parts.reason));
        cause.extend(self.parts.details.clone());
        Value::Object(cause)
    }

    pub fn body(&self) -> Value {
        if self.parts.bare {
            return json!({"error": self.parts.reason, "status": self.status});
        }
        let Value::Object(cause) = self.cause() else { return Value::Null };
        let root = self.parts.root_cause.clone().unwrap_or_else(|| self.cause());
        let mut error = Map::new();
        error.insert("root_cause".into(), json!([root]));
        error.extend(cause);
        json!({"error": error, "status": self.status})
    }

    /// A search that failed on every shard wraps its cause.
    #[must_use]
    pub fn on_all_shards(self, index: &str) -> Self {
        let cause = self.cause();
        let kind = "search_phase_execution_exception";
        let shards = json!([{"shard": 0, "index": index, "reason": cause}]);
        let mut wrapped = Self::new(self.status, kind, "all shards failed")
            .with("phase", json!("query"))
            .with("grouped", json!(true))
            .with("failed_shards", shards);
        wrapped.parts.root_cause = Some(cause);
        wrapped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_have_the_cause_twice() {
        let body = Failure::no_such_index("contacts").body();
        assert_eq!(body["status"], 404);
        assert_eq!(body["error"]["type"], "index_not_found_exception");
        assert_eq!(body["error"]["root_cause"][0]["index"], "contacts");
        let everywhere = Failure::parsing("no").on_all_shards("contacts").body();
        assert_eq!(everywhere["error"]["type"], "search_phase_execution_exception");
        assert_eq!(everywhere["error"]["root_cause"][0]["type"], "parsing_exception");
        let bare = Failure::bare(405, "no").body();
        assert_eq!(bare, json!({"error": "no", "status": 405}));
    }
}
