//! Asks Celery's workers what `celery inspect` asks, over Redis and without Python.
//!
//! The form is kombu's (kombu/pidbox.py and kombu/transport/redis.py, the same in 4.6 and 5.2, the
//! releases that Celery 4.4.6 and 5.2 stand on): a question is published on the channel
//! `/DB.celery.pidbox`, to which every worker listens. Each answers into the list that is bound to
//! `reply.celery.pidbox` under the routing key that the question names.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::resp::{Connection, RedisError, Reply};
use super::within;
use crate::host::url::RedisUrl;

/// What a worker answered, by its name: `celery@3f2a9c1e5b7d`.
pub type Answers = BTreeMap<String, Value>;

/// The set of lists in which answers are awaited.
const BINDINGS: &str = "_kombu.binding.reply.celery.pidbox";

/// Between routing key, pattern and list in that set.
const SEPARATOR: &str = "\u{6}\u{16}";

/// What the names of our own lists start with.
const OURS: &str = "ooy-";

/// An answer that comes so much later finds nothing any more, seconds.
const KEPT: u64 = 60;

/// Asks all workers on this database: `ping`, `active`, `stats`, `active_queues`. Answers when as
/// many as expected have answered, or after `limit` with those that did; a worker that is frozen
/// or hangs is simply not among them. `None` expects all that listen at the moment of asking.
///
/// Nothing stays behind in Redis; what an asker left that was killed meanwhile is taken away by
/// the next.
pub async fn inspect(
    url: &RedisUrl,
    method: &str,
    expected: Option<usize>,
    limit: Duration,
) -> Result<Answers, RedisError> {
    Ok(ask(url, method, expected, limit).await?.answers)
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// How many workers it was delivered to.
    pub heard: usize,
    /// What those said that answered in time.
    pub answers: Answers,
}

/// The same, telling also how many workers there are, those that say nothing among them.
pub async fn ask(
    url: &RedisUrl,
    method: &str,
    expected: Option<usize>,
    limit: Duration,
) -> Result<Asked, RedisError> {
    let until = Instant::now() + limit;
    let mut connection = Connection::open(url, until).await?;
    let question = Question::new(method, limit);
    within(until, question.prepare(&mut connection)).await?;
    let asked = question.ask(&mut connection, url.db(), expected, until);
    let asked = asked.await;
    let all = asked
        .as_ref()
        .is_ok_and(|asked| asked.answers.len() >= asked.heard);
    // Also after a failure; a moment of its own, since the limit may be used up.
    let tidied = within(
        Instant::now() + Duration::from_millis(500),
        question.tidy(&mut connection, all),
    );
    let tidied = tidied.await;
    let asked = asked?;
    tidied?;
    Ok(asked)
}

struct Question {
    /// Name of the question and of the list of its answers.
    id: String,
    text: String,
}

impl Question {
    fn new(method: &str, limit: Duration) -> Self {
        static ASKED: AtomicU64 = AtomicU64::new(0);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        // The moment first: `stale` reads it.
        let id = format!(
            "{OURS}{}-{:x}-{:x}-{:x}",
            now.as_secs(),
            now.subsec_nanos(),
            std::process::id(),
            ASKED.fetch_add(1, Ordering::Relaxed)
        );
        let text = encode(method, &id, (now + limit).as_secs_f64());
        Self { id, text }
    }

    fn list(&self) -> String {
        list(&self.id)
    }

    /// Binds a list for the answers. Its first element is no answer: the list must live, and so
    /// its end by itself, before the first answer comes.
    async fn prepare(&self, connection: &mut Connection) -> Result<(), RedisError> {
        let list = self.list();
        connection.call(&["RPUSH", &list, ""]).await?;
        connection
            .call(&["EXPIRE", &list, &KEPT.to_string()])
            .await?;
        let bindings = connection.call(&["SMEMBERS", BINDINGS]).await?;
        if let Reply::Array(members) = bindings {
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            for member in members.iter().map(Reply::text) {
                if stale(&member, now.as_secs()) {
                    connection.call(&["SREM", BINDINGS, &member]).await?;
                }
            }
        }
        connection
            .call(&["SADD", BINDINGS, &binding(&self.id)])
            .await?;
        Ok(())
    }

    /// Asks, and waits for the answers.
    async fn ask(
        &self,
        connection: &mut Connection,
        db: u32,
        expected: Option<usize>,
        until: Instant,
    ) -> Result<Asked, RedisError> {
        let channel = format!("/{db}.celery.pidbox");
        let publish = [b"PUBLISH", channel.as_bytes(), self.text.as_bytes()];
        let heard = match within(until, connection.call(&publish)).await? {
            Reply::Integer(heard) => usize::try_from(heard).unwrap_or_default(),
            _ => return Err(RedisError::NotRedis),
        };
        let wanted = expected.map_or(heard, |expected| expected.min(heard));
        let mut answers = Answers::new();
        let mut pause = Duration::from_millis(2);
        let range = ["LRANGE", &self.list(), "0", "-1"].map(str::to_owned);
        while answers.len() < wanted {
            let Ok(reply) = tokio::time::timeout_at(until, connection.call(&range)).await else {
                break;
            };
            if let Reply::Array(messages) = reply? {
                for message in &messages {
                    answers.extend(decode(&message.text(), &self.id));
                }
            }
            if answers.len() >= wanted || Instant::now() + pause >= until {
                break;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
        Ok(Asked { heard, answers })
    }

    /// Takes the binding away, and with it the place for answers that come later: a worker that
    /// finds none drops them. One that was just about to answer finds the list, which ends by
    /// itself.
    async fn tidy(&self, connection: &mut Connection, all: bool) -> Result<(), RedisError> {
        connection
            .call(&["SREM", BINDINGS, &binding(&self.id)])
            .await?;
        if all {
            connection.call(&["DEL", &self.list()]).await?;
        }
        Ok(())
    }
}

fn list(id: &str) -> String {
    format!("{id}.reply.celery.pidbox")
}

/// Routing key, pattern (none) and list.
fn binding(id: &str) -> String {
    format!("{id}{SEPARATOR}{SEPARATOR}{}", list(id))
}

/// A binding of ours whose list has long been gone.
fn stale(binding: &str, now: u64) -> bool {
    binding
        .strip_prefix(OURS)
        .and_then(|rest| rest.split('-').next())
        .and_then(|seconds| seconds.parse::<u64>().ok())
        .is_some_and(|seconds| seconds + 10 * KEPT < now)
}

fn encode(method: &str, id: &str, expires: f64) -> String {
    let body = json!({
        "method": method,
        "arguments": {},
        "destination": null,
        "pattern": null,
        "matcher": null,
        "ticket": id,
        "reply_to": { "exchange": "reply.celery.pidbox", "routing_key": id },
    });
    // Without a `body_encoding` the body is taken as it is.
    json!({
        "body": body.to_string(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": { "clock": 0, "expires": expires },
        "properties": {
            "delivery_mode": 2,
            "delivery_info": { "exchange": "celery.pidbox", "routing_key": "" },
            "priority": 0,
            "delivery_tag": id,
        },
    })
    .to_string()
}

/// What a message of the list answers to this question; nothing for what is no answer to it.
fn decode(message: &str, id: &str) -> Answers {
    let read = || {
        let message: Value = serde_json::from_str(message).ok()?;
        let ticket = message["headers"]["ticket"].as_str();
        if ticket.is_some_and(|ticket| ticket != id) {
            return None;
        }
        let body = message["body"].as_str()?;
        let body = match message["properties"]["body_encoding"].as_str() {
            Some("base64") => String::from_utf8(base64(body)?).ok()?,
            _ => body.to_owned(),
        };
        serde_json::from_str(&body).ok()
    };
    read().unwrap_or_default()
}

/// What base64 stands for.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As a worker of Celery 5.2.6 wrote it.
    const PONG: &str = r#"{"body": "eyJjZWxlcnlAMDA1Mjk1OTZjZmI3IjogeyJvayI6ICJwb25nIn19", "content-encoding": "utf-8", "content-type": "application/json", "headers": {"ticket": "3a356226-ef33-4d82-9cb3-b56676339ecc", "clock": 3}, "properties": {"delivery_mode": 1, "delivery_info": {"exchange": "reply.celery.pidbox", "routing_key": "053523e4-a7c1-34dc-8797-530508f9d971"}, "priority": 0, "body_encoding": "base64", "delivery_tag": "fa4f23ed-09ea-4928-ac6f-ffe4a336b15f"}}"#;

    #[test]
    fn an_answer_is_read() {
        let answers = decode(PONG, "3a356226-ef33-4d82-9cb3-b56676339ecc");
        assert_eq!(answers["celery@00529596cfb7"]["ok"], "pong");
    }

    #[test]
    fn an_answer_to_another_question_and_rubbish_are_none() {
        assert!(decode(PONG, "other").is_empty());
        for rubbish in ["", "{", "[]", r#"{"body": "!", "properties": {}}"#] {
            assert!(decode(rubbish, "x").is_empty(), "{rubbish}");
        }
    }

    #[test]
    fn a_question_has_kombus_form() {
        let question: Value = serde_json::from_str(&encode("active", "ooy-1", 12.5)).unwrap();
        assert_eq!(question["headers"]["expires"], 12.5);
        let body: Value = serde_json::from_str(question["body"].as_str().unwrap()).unwrap();
        assert_eq!(body["method"], "active");
        assert_eq!(body["ticket"], "ooy-1");
        assert_eq!(body["reply_to"]["routing_key"], "ooy-1");
        assert_eq!(
            binding("ooy-1"),
            "ooy-1\u{6}\u{16}\u{6}\u{16}ooy-1.reply.celery.pidbox"
        );
    }

    #[test]
    fn what_a_killed_asker_left_is_told_from_what_is_under_way() {
        let now = 1_795_000_000;
        assert!(stale(&binding("ooy-1794000000-1-1-1"), now));
        assert!(!stale(&binding("ooy-1794999990-1-1-1"), now));
        assert!(!stale(
            &binding("053523e4-a7c1-34dc-8797-530508f9d971"),
            now
        ));
    }

    proptest! {
        #[test]
        fn any_message_is_read(text in ".{0,200}") {
            let _ = decode(&text, "x");
            let _ = base64(&text);
        }
    }
}
