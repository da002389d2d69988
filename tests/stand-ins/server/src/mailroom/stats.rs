//! The line about queues and connections that is logged each minute.

use std::sync::Arc;
use std::time::Duration;

use super::Mailroom;
use crate::go::log;
use crate::{boot, clock, process, random};

const LOCK: &str = "lock:stats_lock";
/// The real one's crons; the others have nothing to do here.
const CRONS: [&str; 8] = [
    "campaign_event",
    "expire_ivr_calls",
    "fire_schedules",
    "retry_ivr_calls",
    "retry_msgs",
    "run_expirations",
    "sessions_timeouts",
    "stats",
];

pub fn start(mailroom: &Arc<Mailroom>) {
    let mailroom = mailroom.clone();
    boot::spawn("stats", move || {
        loop {
            let value = random::short_id();
            let lock = mailroom.redis.command(&["SET", LOCK, &value, "EX", "300", "NX"]);
            if lock.is_ok_and(|reply| reply.text() == "OK") {
                // The real one waits as long, so that the crons of the full minute are done.
                sleep(&mailroom, Duration::from_secs(15));
                write(&mailroom);
                let _ = mailroom.redis.command(&["DEL", LOCK]);
            }
            let second = process::local_time((clock::now_ms() / 1000) as i64).second;
            sleep(&mailroom, Duration::from_secs(u64::from(61 - second.min(60))));
            if mailroom.is_stopping() {
                return;
            }
        }
    });
}

/// In short steps, to end with the service.
fn sleep(mailroom: &Mailroom, duration: Duration) {
    let step = Duration::from_secs(1);
    let mut left = duration;
    while !left.is_zero() && !mailroom.is_stopping() {
        std::thread::sleep(left.min(step));
        left = left.saturating_sub(step);
    }
}

fn write(mailroom: &Mailroom) {
    let size = |queue: &str| {
        size_of(mailroom, queue).unwrap_or_else(|problem| {
            log::with("error", problem).error(&format!("error calculating {queue} queue size"));
            0
        })
    };
    log::with("db_idle", 1)
        .with("db_busy", 0)
        .with("db_waiting", 0)
        .with("db_wait", "0s")
        .with("batch_size", size("batch"))
        .with("handler_size", size("handler"))
        .info("current stats");
}

fn size_of(mailroom: &Mailroom, queue: &str) -> Result<i64, String> {
    let groups = mailroom
        .redis
        .command(&["ZRANGE", &format!("{queue}:active"), "0", "-1"])
        .map_err(|problem| format!("error getting active queues for: {queue}: {problem}"))?;
    let mut size = 0;
    for group in groups.texts() {
        size += mailroom.redis.command(&["ZCARD", &format!("{queue}:{group}")])?.int();
    }
    Ok(size)
}

pub fn log_exits() {
    for cron in CRONS {
        log::with("cron", cron).with("lockName", format!("{cron}_lock")).info("exiting");
    }
}
