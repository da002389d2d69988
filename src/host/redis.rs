//! Redis as the services will find it, over its own protocol (RESP2), written by hand: what is
//! needed of it is a hundred lines.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use self::resp::{Connection, RedisError, Reply};
use super::reach::{NotConnected, Unreached, mask, millis};
use super::url::RedisUrl;
use crate::fault::{Fault, Result};

pub mod by_hand;
pub mod config;
mod fault;
pub mod pidbox;
pub mod resp;
pub mod task;
#[cfg(test)]
mod tests;

/// What became of the attempt to use a Redis database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RedisOutcome {
    /// Reads and writes work.
    Usable,
    /// Something accepts the connection and then says nothing until the deadline.
    Silent,
    /// What answers there is not Redis.
    NotRedis,
    /// Redis wants a password and the URL has none.
    PasswordMissing,
    /// The password (or the user) is wrong.
    WrongPassword,
    /// The URL has a password and Redis has none; the services' clients stop at that too.
    PasswordNotWanted,
    /// This user may not do what is needed (access control list).
    NotPermitted,
    /// Protected mode: without a password Redis answers its own host only.
    Protected,
    /// Redis reads its file after a start and answers nothing yet.
    Loading,
    /// Redis cannot save to disk and refuses every write.
    CannotSave,
    /// A read-only replica: every write fails.
    ReadOnly,
    /// No memory left (`maxmemory`) and nothing that may be thrown away: writes fail.
    OutOfMemory,
    /// Redis has fewer databases than the number in the URL asks for.
    DbOutOfRange,
    /// All connections are in use (`maxclients`).
    TooManyClients,
    /// Something else: see the message.
    Failed,
    /// No TCP connection came about.
    #[serde(untagged)]
    Unreached(Unreached),
}

/// What a probe found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedisReport {
    /// What became of it.
    pub outcome: RedisOutcome,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Addresses that were tried and why none accepted; one line each.
    pub attempts: Vec<String>,
    /// Redis's own words, first sentence; without the password.
    pub message: Option<String>,
    /// What Redis says of itself; also where it can be asked but not used.
    pub server: Option<RedisServer>,
}

/// What Redis says of itself (`INFO`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedisServer {
    /// `redis_version`: "7.0.15".
    pub version: String,
    /// The number of the database that was asked.
    pub db: u32,
    /// Number of keys in that database.
    pub keys: u64,
    /// `used_memory`, in bytes.
    pub used_memory: u64,
    /// `maxmemory`, in bytes; 0 is no limit.
    pub max_memory: u64,
    /// `master` or `slave`.
    pub role: String,
    /// `maxmemory_policy`: what is thrown away when it is full; `noeviction`: nothing.
    pub policy: String,
    /// `total_system_memory` of the machine it runs on, in bytes; 0 where it does not say.
    pub system_memory: u64,
    /// The last save to disk, or the last write to the log of commands, failed.
    pub save_failed: bool,
    /// `rdb_changes_since_last_save`: what a restart would lose.
    pub unsaved: u64,
    /// `rdb_last_save_time`, seconds since 1970.
    pub saved_at: i64,
}

/// Connects as a service would and looks around; nothing is changed. `deadline` covers all of
/// it. Never fails: whatever goes wrong is what the report says.
pub async fn probe(url: &RedisUrl, deadline: Duration) -> RedisReport {
    let began = Instant::now();
    let mut report = RedisReport {
        outcome: RedisOutcome::Silent,
        took_ms: 0,
        attempts: Vec::new(),
        message: None,
        server: None,
    };
    match examine(url, began + deadline).await {
        Ok((server, trouble)) => {
            report.server = Some(server);
            let (outcome, message) = trouble.unwrap_or((RedisOutcome::Usable, None));
            report.outcome = outcome;
            report.message = message;
        }
        Err(RedisError::Unreached(NotConnected { kind, attempts })) => {
            report.outcome = RedisOutcome::Unreached(kind);
            report.attempts = attempts;
        }
        Err(RedisError::Silent) => report.outcome = RedisOutcome::Silent,
        Err(error) => {
            report.outcome = classify(&error);
            report.message = Some(error.to_string());
        }
    }
    report.took_ms = millis(began.elapsed());
    report
}

/// What Redis says of itself, and why it cannot be used all the same.
type Examined = (RedisServer, Option<(RedisOutcome, Option<String>)>);

async fn examine(url: &RedisUrl, until: Instant) -> Result<Examined, RedisError> {
    let mut connection = Connection::open(url, until).await?;
    within(until, look_around(&mut connection, url.db())).await
}

async fn look_around(connection: &mut Connection, db: u32) -> Result<Examined, RedisError> {
    let info = parse_info(&connection.call(&["INFO"]).await?.text());
    let keys = match connection.call(&["DBSIZE"]).await? {
        Reply::Integer(keys) => keys.try_into().unwrap_or(0),
        _ => 0,
    };
    let text = |name: &str| info.get(name).cloned().unwrap_or_default();
    let number = |name: &str| info.get(name).and_then(|n| n.parse().ok()).unwrap_or(0);
    let server = RedisServer {
        version: text("redis_version"),
        db,
        keys,
        used_memory: number("used_memory"),
        max_memory: number("maxmemory"),
        role: text("role"),
        policy: text("maxmemory_policy"),
        system_memory: number("total_system_memory"),
        save_failed: text("rdb_last_bgsave_status") == "err"
            || text("aof_last_write_status") == "err",
        unsaved: number("rdb_changes_since_last_save"),
        saved_at: i64::try_from(number("rdb_last_save_time")).unwrap_or(0),
    };
    // Redis answers MISCONF to a PING when it refuses writes because it cannot save.
    if let Err(error) = connection.call(&["PING"]).await {
        return Ok((server, Some((classify(&error), Some(error.to_string())))));
    }
    if server.role == "slave" && text("slave_read_only") != "0" {
        let of = format!("replica of {}:{}", text("master_host"), text("master_port"));
        return Ok((server, Some((RedisOutcome::ReadOnly, Some(of)))));
    }
    let full = server.max_memory > 0 && server.used_memory >= server.max_memory;
    if full && text("maxmemory_policy") == "noeviction" {
        let of = format!(
            "used_memory {} of maxmemory {}, policy noeviction",
            server.used_memory, server.max_memory
        );
        return Ok((server, Some((RedisOutcome::OutOfMemory, Some(of)))));
    }
    Ok((server, None))
}

/// Deletes every key that matches `pattern` (as `KEYS` takes it) and names those that were
/// deleted, sorted. Goes through the keys in steps (`SCAN`), so that Redis serves others
/// meanwhile; keys made while it runs may be missed. A pattern that starts with a wildcard is
/// refused: it would reach keys of everybody.
pub async fn delete_matching(
    url: &RedisUrl,
    pattern: &str,
    deadline: Duration,
) -> Result<Vec<String>> {
    if pattern.is_empty() || pattern.starts_with(['*', '?', '[', '\\']) {
        return Err(Box::new(Fault::usage(
            "Redis: pattern too wide",
            format!("a pattern of keys to delete starts with plain text, not as `{pattern}` does"),
        )));
    }
    let mut deleted = BTreeSet::new();
    let until = Instant::now() + deadline;
    let work = async {
        let mut connection = Connection::open(url, until).await?;
        within(until, delete_all(&mut connection, pattern, &mut deleted)).await
    };
    let result = work.await;
    result.map_err(|error| {
        let mut fault = as_fault(error, url, deadline);
        for key in &deleted {
            fault.evidence.push(format!("deleted before that: {key}"));
        }
        fault
    })?;
    Ok(deleted.into_iter().collect())
}

async fn delete_all(
    connection: &mut Connection,
    pattern: &str,
    deleted: &mut BTreeSet<String>,
) -> Result<(), RedisError> {
    let mut cursor = b"0".to_vec();
    loop {
        let scan: [&[u8]; 6] = [
            b"SCAN",
            &cursor,
            b"MATCH",
            pattern.as_bytes(),
            b"COUNT",
            b"1000",
        ];
        let Reply::Array(parts) = connection.call(&scan).await? else {
            return Err(RedisError::NotRedis);
        };
        let Ok([Reply::Bulk(next), Reply::Array(keys)]) = <[Reply; 2]>::try_from(parts) else {
            return Err(RedisError::NotRedis);
        };
        for key in keys {
            let Reply::Bulk(key) = key else { continue };
            let gone = connection.call(&[b"DEL", key.as_slice()]).await?;
            // SCAN may name a key twice, and others delete too: only what we removed counts.
            if gone == Reply::Integer(1) {
                deleted.insert(String::from_utf8_lossy(&key).into_owned());
            }
        }
        cursor = next;
        if cursor == b"0" {
            return Ok(());
        }
    }
}

async fn within<T>(
    until: Instant,
    work: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, RedisError> {
    tokio::time::timeout_at(until, work)
        .await
        .unwrap_or(Err(RedisError::Silent))
}

fn as_fault(error: RedisError, url: &RedisUrl, deadline: Duration) -> Box<Fault> {
    let mut report = RedisReport {
        outcome: classify(&error),
        took_ms: millis(deadline),
        attempts: Vec::new(),
        message: None,
        server: None,
    };
    match error {
        RedisError::Unreached(NotConnected { attempts, .. }) => report.attempts = attempts,
        other => report.message = Some(other.to_string()),
    }
    let fault = report.fault("Redis", url, "this host");
    Box::new(fault.unwrap_or_else(|| Fault::problem("Redis: not usable", "it did not answer")))
}

/// What an error stands for. Redis's errors begin with a word that does not change.
fn classify(error: &RedisError) -> RedisOutcome {
    let text = match error {
        RedisError::Unreached(why) => return RedisOutcome::Unreached(why.kind),
        RedisError::Silent => return RedisOutcome::Silent,
        RedisError::NotRedis => return RedisOutcome::NotRedis,
        RedisError::Closed(_) => return RedisOutcome::Failed,
        RedisError::Answer(text) => text,
    };
    match text.split(' ').next().unwrap_or_default() {
        "NOAUTH" => RedisOutcome::PasswordMissing,
        "WRONGPASS" => RedisOutcome::WrongPassword,
        "NOPERM" => RedisOutcome::NotPermitted,
        "DENIED" => RedisOutcome::Protected,
        "LOADING" => RedisOutcome::Loading,
        "MISCONF" => RedisOutcome::CannotSave,
        "READONLY" => RedisOutcome::ReadOnly,
        "OOM" => RedisOutcome::OutOfMemory,
        // Redis before version 6.
        _ if text.contains("invalid password") => RedisOutcome::WrongPassword,
        // "without any password configured" since version 6, "no password is set" before.
        _ if text.contains("any password configured") || text.contains("no password is set") => {
            RedisOutcome::PasswordNotWanted
        }
        _ if text.contains("max number of clients") => RedisOutcome::TooManyClients,
        _ if text.contains("DB index") => RedisOutcome::DbOutOfRange,
        _ => RedisOutcome::Failed,
    }
}

/// Lines `name:value`, between headings that start with `#`.
fn parse_info(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim_end().to_owned()))
        .collect()
}
