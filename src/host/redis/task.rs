//! A task for Celery's workers, put into their list in Redis without Python.
//!
//! The form is that of Celery's message protocol 2 (celery/app/amqp.py) in kombu's envelope
//! (kombu/transport/virtual), the same from Celery 4 to 5.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::resp::{Connection, RedisError};
use super::within;
use crate::host::url::RedisUrl;

/// A task that every Celery has and that does nothing (celery/app/builtins.py).
const NOTHING: &str = "celery.accumulate";

/// One that nobody takes for so long is dropped by whoever takes it then.
const EXPIRES: Duration = Duration::from_secs(600);

/// Puts a task that does nothing into a list, where a worker takes it as any other.
pub async fn publish_nothing(
    url: &RedisUrl,
    list: &str,
    limit: Duration,
) -> Result<(), RedisError> {
    let until = Instant::now() + limit;
    let mut connection = Connection::open(url, until).await?;
    let message = encode(list, &id(), jiff::Timestamp::now() + EXPIRES);
    within(until, connection.call(&["LPUSH", list, &message])).await?;
    Ok(())
}

/// A name that no other task has; Celery wants no certain form.
fn id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!(
        "ooy-{:x}-{:x}-{:x}",
        jiff::Timestamp::now().as_microsecond(),
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    )
}

fn encode(list: &str, id: &str, expires: jiff::Timestamp) -> String {
    let embed = json!({"callbacks": null, "errbacks": null, "chain": null, "chord": null});
    let body: Value = json!([[], {}, embed]);
    json!({
        // Without a `body_encoding` the body is taken as it is.
        "body": body.to_string(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py",
            "task": NOTHING,
            "id": id,
            "root_id": id,
            "parent_id": null,
            "group": null,
            "shadow": null,
            "eta": null,
            "expires": expires.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string(),
            "retries": 0,
            "timelimit": [null, null],
            "argsrepr": "()",
            "kwargsrepr": "{}",
            "origin": "ooy",
            "ignore_result": true,
        },
        "properties": {
            "correlation_id": id,
            "reply_to": "",
            "delivery_mode": 2,
            "delivery_info": { "exchange": "", "routing_key": list },
            "priority": 0,
            "delivery_tag": id,
        },
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_has_celerys_form() {
        let expires = jiff::Timestamp::from_second(1_795_000_000).unwrap();
        let message: Value = serde_json::from_str(&encode("sync", "ooy-1", expires)).unwrap();
        assert_eq!(message["headers"]["task"], NOTHING);
        assert_eq!(message["headers"]["expires"], "2026-11-18T11:06:40+00:00");
        assert_eq!(
            message["properties"]["delivery_info"]["routing_key"],
            "sync"
        );
        let body: Value = serde_json::from_str(message["body"].as_str().unwrap()).unwrap();
        assert_eq!(body[0], json!([]));
        assert_eq!(body[1], json!({}));
        assert_ne!(id(), id());
    }
}
