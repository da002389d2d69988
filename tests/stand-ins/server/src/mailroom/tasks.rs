//! The queues in Redis. Tasks are taken as the real one takes them; what they leave in the
//! database is the part that RapidPro shows: a start that is complete, a message that is
//! handled.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Mailroom;
use crate::go::log;
use crate::pg::Error;
use crate::rapidpro::{self, NewContact, Urn};
use crate::{boot, clock};

/// How long an idle foreman sleeps between two looks.
const PAUSE: Duration = Duration::from_millis(250);

/// Held while a task is running.
static RUNNING: Mutex<()> = Mutex::new(());

pub fn start(mailroom: &Arc<Mailroom>) {
    for (queue, setting) in [("batch", "batch_workers"), ("handler", "handler_workers")] {
        let workers = mailroom.values.int(setting).max(0);
        log::with("comp", "foreman")
            .with("state", "started")
            .with("workers", workers)
            .with("queue", queue)
            .info("workers started and waiting");
        // Without workers nothing is ever taken; the crons run all the same.
        if workers > 0 {
            let mailroom = mailroom.clone();
            boot::spawn(queue, move || assign(&mailroom, queue));
        }
    }
}

/// Returns when no task is running. None is begun after the quit.
pub fn wait_until_idle() {
    drop(RUNNING.lock());
}

fn assign(mailroom: &Mailroom, queue: &str) {
    while !mailroom.is_stopping() {
        let steer = mailroom.steering.now();
        // A mailroom that hangs takes nothing from its queues either.
        if steer.hang || mailroom.steering.is_unhealthy(&steer) {
            std::thread::sleep(PAUSE);
            continue;
        }
        match pop(mailroom, queue) {
            Ok(Some(task)) => {
                let _running = RUNNING.lock();
                run(mailroom, queue, &task);
            }
            Ok(None) => std::thread::sleep(PAUSE),
            Err(problem) => {
                log::with("comp", "foreman").with("error", problem).error("error popping task");
                std::thread::sleep(PAUSE);
            }
        }
    }
}

/// The most urgent task of the workspace with the fewest running ones.
fn pop(mailroom: &Mailroom, queue: &str) -> Result<Option<String>, String> {
    let active = format!("{queue}:active");
    let groups = mailroom.redis.command(&["ZRANGE", &active, "0", "0"])?;
    let Some(group) = groups.texts().first().map(ToString::to_string) else { return Ok(None) };
    let popped = mailroom.redis.command(&["ZPOPMIN", &format!("{queue}:{group}")])?;
    match popped.texts().first() {
        Some(task) => {
            mailroom.redis.command(&["ZINCRBY", &active, "1", &group])?;
            Ok(Some((*task).to_owned()))
        }
        None => {
            mailroom.redis.command(&["ZREM", &active, &group])?;
            Ok(None)
        }
    }
}

fn run(mailroom: &Mailroom, queue: &str, text: &str) {
    let task: Value = serde_json::from_str(text).unwrap_or(Value::Null);
    let kind = task["type"].as_str().unwrap_or_default();
    let org_id = task["org_id"].as_i64().unwrap_or_default();
    let log = || {
        log::with("queue", queue)
            .with("worker_id", 0)
            .with("task_type", kind)
            .with("org_id", org_id)
    };
    log().info("starting handling of task");
    let started = Instant::now();
    let body = &task["task"];
    let done = match kind {
        "start_flow" => start_flow(mailroom, body),
        "handle_contact_event" => handle_events(mailroom, org_id, body),
        "send_broadcast"
        | "send_broadcast_batch"
        | "start_flow_batch"
        | "start_ivr_flow_batch"
        | "interrupt_sessions"
        | "import_contact_batch"
        | "populate_dynamic_group"
        | "schedule_campaign_event"
        | "interrupt_channel" => Ok(()),
        _ => {
            log().error("unable to find function for task type");
            Ok(())
        }
    };
    if let Err(problem) = done {
        log().with("error", problem).with("task", body).error("error running task");
    }
    let active = format!("{queue}:active");
    let group = org_id.to_string();
    let left = mailroom.redis.command(&["ZINCRBY", &active, "-1", &group]);
    if left.is_ok_and(|score| score.text().starts_with('-')) {
        let _ = mailroom.redis.command(&["ZADD", &active, "0", &group]);
    }
    log().with("elapsed", clock::go_duration(started.elapsed())).info("task complete");
}

/// Every URN is resolved by itself: two of one unknown caller make two contacts.
fn start_flow(mailroom: &Mailroom, task: &Value) -> Result<(), String> {
    let id = task["start_id"].as_i64().unwrap_or_default();
    let done = mailroom.database.transaction(|run| {
        let mut contacts: Vec<i64> =
            list(&task["contact_ids"]).iter().filter_map(Value::as_i64).collect();
        for text in list(&task["urns"]) {
            let text = text.as_str().unwrap_or_default();
            let urn = Urn::parse(text)
                .ok_or_else(|| Error::Client(format!("error getting contact ids from urns: invalid URN: {text}")))?;
            let new = NewContact {
                org_id: task["org_id"].as_i64().unwrap_or_default(),
                user_id: None,
                name: None,
                language: None,
                channel_id: None,
            };
            contacts.push(rapidpro::get_or_create(run, &new, &urn)?.0);
        }
        for group in list(&task["group_ids"]).iter().filter_map(Value::as_i64) {
            let rows = run(&format!(
                "SELECT contact_id FROM contacts_contactgroup_contacts WHERE contactgroup_id = {group}"
            ))?;
            let ids = rows.iter().filter_map(|row| row.first()?.as_deref()?.parse::<i64>().ok());
            contacts.extend(ids);
        }
        contacts.sort_unstable();
        contacts.dedup();
        run(&format!(
            "UPDATE flows_flowstart SET status = 'C', contact_count = {}, modified_on = now() \
             WHERE id = {id}",
            contacts.len()
        ))
    });
    done.map(|_| ()).map_err(|problem| {
        let sql =
            format!("UPDATE flows_flowstart SET status = 'F', modified_on = now() WHERE id = {id}");
        let _ = mailroom.database.query(&sql);
        problem.to_string()
    })
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Everything that waits for this contact.
fn handle_events(mailroom: &Mailroom, org_id: i64, task: &Value) -> Result<(), String> {
    let contact_id = task["contact_id"].as_i64().unwrap_or_default();
    let queue = format!("c:{org_id}:{contact_id}");
    loop {
        let event = mailroom.redis.command(&["LPOP", &queue])?;
        if event.text().is_empty() {
            return Ok(());
        }
        let event: Value = serde_json::from_str(event.text()).map_err(|e| e.to_string())?;
        if event["type"] == "msg_event" {
            let id = event["task"]["msg_id"].as_i64().unwrap_or_default();
            let sql = format!(
                "UPDATE msgs_msg SET status = 'H', msg_type = 'I', modified_on = now() \
                 WHERE id = {id} AND status = 'P'"
            );
            mailroom.database.query(&sql).map_err(|e| e.to_string())?;
        }
    }
}
