//! An incoming message: to the database and mailroom's queue, or to the spool.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::channels::Channel;
use super::{Courier, spool};
use crate::clock;
use crate::go::log;
use crate::pg::{Error, literal};
use crate::random;
use crate::rapidpro::{self, NewContact, Urn, scalar};
use crate::version;

#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub uuid: String,
    pub org_id: i64,
    pub channel_id: i64,
    pub channel_uuid: String,
    pub urn: String,
    pub text: String,
    /// When it was made here, and when the sender says that it was sent.
    pub created_on: String,
    pub received_on: String,
}

impl Message {
    pub fn new(channel: &Channel, urn: &Urn, text: &str, received_on: &str) -> Self {
        Self {
            uuid: random::uuid(),
            org_id: channel.org_id,
            channel_id: channel.id,
            channel_uuid: channel.uuid.clone(),
            urn: urn.identity(),
            text: text.chars().filter(|c| *c == '\n' || *c == '\t' || !c.is_control()).collect(),
            created_on: clock::utc_text(clock::now_micros(), 6),
            received_on: received_on.to_owned(),
        }
    }

    /// The form of the spool's files.
    fn to_json(&self) -> Value {
        json!({
            "org_id": self.org_id,
            "id": null,
            "uuid": self.uuid,
            "direction": "I",
            "status": "P",
            "visibility": "V",
            "high_priority": false,
            "urn": self.urn,
            "urn_auth": "",
            "text": self.text,
            "attachments": null,
            "external_id": null,
            "response_to_id": null,
            "response_to_external_id": "",
            "metadata": null,
            "channel_id": self.channel_id,
            "contact_id": null,
            "contact_urn_id": null,
            "msg_count": 1,
            "error_count": 0,
            "channel_uuid": self.channel_uuid,
            "contact_name": "",
            "next_attempt": self.created_on,
            "created_on": self.created_on,
            "modified_on": self.created_on,
            "queued_on": self.created_on,
            "sent_on": self.received_on,
        })
    }

    pub fn from_json(value: &Value) -> Option<Self> {
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        Some(Self {
            uuid: text("uuid")?,
            org_id: value["org_id"].as_i64()?,
            channel_id: value["channel_id"].as_i64()?,
            channel_uuid: text("channel_uuid")?,
            urn: text("urn")?,
            text: text("text")?,
            created_on: text("created_on")?,
            received_on: text("sent_on")?,
        })
    }
}

/// The error is for the sender: neither database nor spool took the message.
pub fn write(courier: &Courier, message: &Message) -> Result<(), String> {
    match write_to_database(courier, message) {
        Ok(()) => Ok(()),
        Err(problem) => {
            log::with("error", &problem).with("msg", &message.uuid).error("error writing to db");
            spool::write(&courier.spool_dir, "msgs", &message.to_json())
        }
    }
}

pub fn write_to_database(courier: &Courier, message: &Message) -> Result<(), String> {
    let urn = Urn::parse(&message.urn).ok_or_else(|| format!("invalid URN: {}", message.urn))?;
    let contact = NewContact {
        org_id: message.org_id,
        user_id: None,
        name: None,
        language: None,
        channel_id: Some(message.channel_id),
    };
    let written = courier.database.transaction(|run| {
        let (contact_id, urn_id, is_new) = rapidpro::get_or_create(run, &contact, &urn)?;
        let errors = if version::since(7, 2) { "failure_count" } else { "error_count" };
        let rows = run(&format!(
            "INSERT INTO msgs_msg (org_id, uuid, direction, text, {errors}, status, visibility, \
             channel_id, contact_id, contact_urn_id, created_on, modified_on, next_attempt, queued_on, sent_on) \
             VALUES ({org}, '{uuid}', 'I', {text}, 0, 'P', 'V', {channel}, {contact_id}, {urn_id}, \
             {created}, {created}, {created}, {created}, {sent}) RETURNING id",
            org = message.org_id,
            uuid = message.uuid,
            text = literal(&message.text),
            channel = message.channel_id,
            created = literal(&message.created_on),
            sent = literal(&message.received_on),
        ))?;
        let id = scalar(&rows).and_then(|id| id.parse::<i64>().ok());
        let id = id.ok_or_else(|| Error::Client("sql: no rows in result set".into()))?;
        Ok((id, contact_id, urn_id, is_new))
    });
    let (id, contact_id, urn_id, is_new) = written.map_err(|problem| {
        log::with("error", &problem)
            .with("urn", &message.urn)
            .with("org_id", message.org_id)
            .error("error looking up contact");
        problem.to_string()
    })?;
    let task = json!({
        "contact_id": contact_id,
        "org_id": message.org_id,
        "channel_id": message.channel_id,
        "msg_id": id,
        "msg_uuid": message.uuid,
        "msg_external_id": "",
        "urn": message.urn,
        "urn_id": urn_id,
        "text": message.text,
        "attachments": null,
        "new_contact": is_new,
        "created_on": message.created_on,
    });
    // It is written; if Redis is away, RapidPro finds it by itself after a while.
    if let Err(problem) = queue(courier, message.org_id, contact_id, &task) {
        log::with("error", problem).with("msg_id", id).error("error queueing msg handling");
    }
    Ok(())
}

fn queue(courier: &Courier, org_id: i64, contact_id: i64, task: &Value) -> Result<(), String> {
    const HIGH_PRIORITY: f64 = 10_000_000.0;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let queued_on = clock::utc_text(clock::now_micros(), 6);
    let wrap = |kind: &str, task: &Value| {
        json!({"type": kind, "org_id": org_id, "task": task, "queued_on": queued_on}).to_string()
    };
    let event = wrap("msg_event", task);
    let contact_task = wrap("handle_contact_event", &json!({"contact_id": contact_id}));
    let contact_queue = format!("c:{org_id}:{contact_id}");
    let handler_queue = format!("handler:{org_id}");
    let score = format!("{:.5}", now - HIGH_PRIORITY);
    let org = org_id.to_string();
    let replies = courier.redis.pipeline(&[
        &["MULTI"],
        &["RPUSH", &contact_queue, &event],
        &["ZADD", &handler_queue, &score, &contact_task],
        &["ZINCRBY", "handler:active", "0", &org],
        &["EXEC"],
    ])?;
    replies.into_iter().collect::<Result<Vec<_>, _>>().map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spooled_message_comes_back_as_it_was() {
        let channel =
            Channel { id: 3, uuid: "u".into(), org_id: 1, kind: "EX".into(), is_anon: false };
        let urn = Urn::parse("tel:+254712345678").unwrap();
        let message = Message::new(&channel, &urn, "hi\u{7}\nyou", "2021-07-21T08:00:00.000000Z");
        assert_eq!(message.text, "hi\nyou");
        assert_eq!(Message::from_json(&message.to_json()), Some(message));
        assert_eq!(Message::from_json(&json!({"uuid": "x"})), None);
    }
}
