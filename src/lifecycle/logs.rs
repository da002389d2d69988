//! The logs of several services in the order of time, and how they go on.

use std::collections::{BTreeSet, VecDeque};
use std::io;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use jiff::civil::{Date, DateTime, Time};
use jiff::{Timestamp, ToSpan as _, Zoned};
use regex::Regex;
use tokio::sync::{Notify, mpsc};

use super::Context;
use crate::engine::containers::Container;
use crate::engine::logs::{Line, Wanted};
use crate::engine::{Engine, Error};
use crate::fault::Fault;

/// Severity of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// For developers.
    Debug,
    /// Normal.
    Info,
    /// To look at.
    Warning,
    /// Failed.
    Error,
}

/// Which lines are wanted.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Go on with new lines.
    pub follow: bool,
    /// Only the last so many, over all services.
    pub last: Option<u64>,
    /// From this moment on.
    pub since: Option<Timestamp>,
    /// Up to this moment.
    pub until: Option<Timestamp>,
    /// Only lines that match.
    pub grep: Option<Regex>,
    /// Only lines of this severity or above.
    pub level: Option<Severity>,
    /// Leave out standard output.
    pub without_stdout: bool,
    /// Leave out standard error.
    pub without_stderr: bool,
}

/// A line and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its service.
    pub service: String,
    /// The line.
    pub line: Line,
}

/// Why reading ended early.
pub enum Stopped {
    /// Docker failed.
    Fault(Box<Fault>),
    /// The reader failed (a broken pipe).
    Output(io::Error),
}

/// Gives the lines to `show`, oldest first; with `follow` until cancelled or `show` fails.
pub async fn read(
    context: &Context,
    chosen: &BTreeSet<String>,
    query: &Query,
    show: &mut impl FnMut(&Written) -> io::Result<()>,
) -> Result<(), Stopped> {
    let fault = |error: Error| Stopped::Fault(Box::new(error.fault(&context.command("logs"))));
    let engine = Engine::connect().await.map_err(fault)?;
    let project = context.settings.project();
    // What comes after this moment belongs to the following.
    let now = Timestamp::now();
    let containers = engine.containers(project).await.map_err(fault)?;
    let containers: Vec<Container> = containers
        .into_iter()
        .filter(|container| !container.oneoff && chosen.contains(&container.service))
        .collect();
    past(&engine, &containers, query, now, show).await?;
    if query.follow {
        follow(&engine, project, chosen, query, now, show).await?;
    }
    Ok(())
}

fn wanted(query: &Query) -> Wanted {
    Wanted {
        since: query.since,
        until: query.until,
        without_stdout: query.without_stdout,
        without_stderr: query.without_stderr,
        ..Default::default()
    }
}

async fn past(
    engine: &Engine,
    containers: &[Container],
    query: &Query,
    now: Timestamp,
    show: &mut impl FnMut(&Written) -> io::Result<()>,
) -> Result<(), Stopped> {
    let mut wanted = wanted(query);
    if query.follow {
        wanted.until = Some(query.until.unwrap_or(now));
    }
    // Without a filter the last lines of all are among the last lines of each.
    if query.grep.is_none() && query.level.is_none() {
        wanted.tail = query.last;
    }
    let mut sources: Vec<Source> = containers
        .iter()
        .map(|container| Source {
            service: container.service.clone(),
            lines: engine.log_lines(&container.id, &wanted),
            head: None,
            filter: Filter::default(),
        })
        .collect();
    join_all(sources.iter_mut().map(|source| source.advance(query))).await;
    let mut kept: VecDeque<Written> = VecDeque::new();
    loop {
        let next = sources
            .iter_mut()
            .filter(|source| source.head.is_some())
            .min_by_key(|source| source.head.as_ref().map(|line| line.at));
        let Some(source) = next else { break };
        let Some(line) = source.head.take() else {
            break;
        };
        let written = Written {
            service: source.service.clone(),
            line,
        };
        source.advance(query).await;
        match query.last {
            None => show(&written).map_err(Stopped::Output)?,
            Some(last) => {
                kept.push_back(written);
                if kept.len() as u64 > last {
                    kept.pop_front();
                }
            }
        }
    }
    kept.iter().try_for_each(show).map_err(Stopped::Output)
}

/// One container's lines and the next one that is wanted.
struct Source {
    service: String,
    lines: std::pin::Pin<Box<dyn futures_util::Stream<Item = Result<Line, Error>> + Send>>,
    head: Option<Line>,
    filter: Filter,
}

impl Source {
    /// Reads on to the next wanted line. A log that breaks off ends there: the other services'
    /// lines are worth showing all the same.
    async fn advance(&mut self, query: &Query) {
        self.head = None;
        while let Some(Ok(line)) = self.lines.next().await {
            if self.filter.wants(query, &line.text) {
                self.head = Some(line);
                return;
            }
        }
    }
}

/// Decides line by line; a line that goes on from the one before shares its severity.
#[derive(Default)]
struct Filter {
    before: Option<Severity>,
}

impl Filter {
    fn wants(&mut self, query: &Query, text: &str) -> bool {
        if let Some(level) = query.level {
            let own = severity(text);
            let continues = own.is_none()
                && (text.starts_with([' ', '\t'])
                    || text.starts_with("Traceback")
                    || text.is_empty());
            let is = match own {
                Some(own) => own,
                None if continues => self.before.unwrap_or(Severity::Info),
                // The last line of a Python traceback names the exception without a level.
                None if self.before == Some(Severity::Error)
                    && text.split(':').next().is_some_and(|word| {
                        word.ends_with("Error") || word.ends_with("Exception")
                    }) =>
                {
                    Severity::Error
                }
                None => Severity::Info,
            };
            self.before = Some(is);
            if is < level {
                return false;
            }
        }
        query.grep.as_ref().is_none_or(|grep| grep.is_match(text))
    }
}

/// The severity that a line names in one of the ways of our services: `level=info` (courier,
/// mailroom, indexer), `[…: INFO/MainProcess]` (Celery), `[error]` (nginx), `"level": "WARN"`
/// (Elasticsearch), `ERROR` as a word near its beginning (Django, PostgreSQL).
pub fn severity(text: &str) -> Option<Severity> {
    if let Some(rest) = text.split_once("level=").map(|(_, rest)| rest) {
        return word(rest.trim_start_matches('"'));
    }
    if let Some(rest) = text.split_once("\"level\": \"").map(|(_, rest)| rest) {
        return word(rest);
    }
    let start: String = text.chars().take(80).collect();
    start
        .split(|c: char| !c.is_ascii_alphabetic())
        .find_map(|piece| match piece {
            // Only these spellings: "error" in the middle of a sentence is no level.
            "DEBUG" | "INFO" | "NOTICE" | "WARN" | "WARNING" | "ERROR" | "CRITICAL" | "FATAL"
            | "PANIC" => word(piece),
            _ => None,
        })
        .or_else(|| {
            let (_, rest) = start.split_once('[')?;
            let inside = rest.split(']').next()?;
            matches!(
                inside,
                "debug" | "info" | "notice" | "warn" | "error" | "crit" | "alert" | "emerg"
            )
            .then(|| word(inside))?
        })
}

fn word(text: &str) -> Option<Severity> {
    let word: String = text
        .chars()
        .take_while(char::is_ascii_alphabetic)
        .collect::<String>()
        .to_lowercase();
    Some(match word.as_str() {
        "debug" | "trace" => Severity::Debug,
        "info" | "notice" => Severity::Info,
        "warn" | "warning" => Severity::Warning,
        "error" | "err" | "crit" | "critical" | "fatal" | "panic" | "alert" | "emerg" => {
            Severity::Error
        }
        _ => return None,
    })
}

async fn follow(
    engine: &Engine,
    project: &str,
    chosen: &BTreeSet<String>,
    query: &Query,
    from: Timestamp,
    show: &mut impl FnMut(&Written) -> io::Result<()>,
) -> Result<(), Stopped> {
    let (sender, mut receiver) = mpsc::channel::<Written>(1024);
    // Something was started: whoever waits for its service looks again.
    let started = Notify::new();
    let readers = join_all(chosen.iter().map(|service| {
        follow_one(
            engine,
            project,
            service,
            query,
            from,
            &started,
            sender.clone(),
        )
    }));
    let events = async {
        loop {
            let mut events = Box::pin(engine.events(project, Timestamp::now().as_second()));
            while let Some(Ok(event)) = events.next().await {
                if event.action == "start" {
                    started.notify_waiters();
                }
            }
            // The daemon is away; it is asked again until it is back.
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            started.notify_waiters();
        }
    };
    let print = async {
        while let Some(written) = receiver.recv().await {
            // All that is there already, so that lines of the same moment come in their order.
            let mut together = vec![written];
            while let Ok(more) = receiver.try_recv() {
                together.push(more);
            }
            together.sort_by_key(|written| written.line.at);
            for written in &together {
                show(written)?;
            }
        }
        io::Result::Ok(())
    };
    tokio::select! {
        _ = readers => Ok(()),
        () = events => Ok(()),
        result = print => result.map_err(Stopped::Output),
    }
}

/// Follows one service through stops, replacements and restarts of the daemon.
async fn follow_one(
    engine: &Engine,
    project: &str,
    service: &str,
    query: &Query,
    from: Timestamp,
    started: &Notify,
    sender: mpsc::Sender<Written>,
) {
    let mut after = from;
    let mut filter = Filter::default();
    loop {
        let again = started.notified();
        let containers = engine.containers(project).await.unwrap_or_default();
        let running = containers.into_iter().find(|container| {
            !container.oneoff && container.service == service && container.is_running()
        });
        if let Some(container) = running {
            let wanted = Wanted {
                follow: true,
                since: after.checked_add(1.nanosecond()).ok(),
                until: query.until,
                without_stdout: query.without_stdout,
                without_stderr: query.without_stderr,
                ..Default::default()
            };
            let mut lines = engine.log_lines(&container.id, &wanted);
            while let Some(Ok(line)) = lines.next().await {
                after = line.at;
                if !filter.wants(query, &line.text) {
                    continue;
                }
                if sender
                    .send(Written {
                        service: service.to_owned(),
                        line,
                    })
                    .await
                    .is_err()
                {
                    return;
                }
            }
        }
        // Its process has ended, or there is none. A start between our look and the waiting is
        // not missed for long: the look is repeated.
        let _ = tokio::time::timeout(std::time::Duration::from_secs(2), again).await;
    }
}

/// A time as people write it: `10m`, `2h`, `3d` ago, `02:14` today, `2026-11-22`,
/// `2026-11-22T02:14`, or with an offset.
pub fn parse_time(text: &str, now: &Zoned) -> Option<Timestamp> {
    let text = text.trim();
    if let Some(split) = text.find(|c: char| !c.is_ascii_digit())
        && let Ok(number) = text[..split].parse::<i64>()
    {
        let span = match &text[split..] {
            "s" => Some(number.seconds()),
            "m" | "min" => Some(number.minutes()),
            "h" => Some(number.hours()),
            // 24 hours each, whatever the calendar does.
            "d" => number.checked_mul(24).map(|hours| hours.hours()),
            _ => None,
        };
        if let Some(span) = span {
            return now.timestamp().checked_sub(span).ok();
        }
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let zone = now.time_zone().clone();
    let civil = if let Ok(time) = text.parse::<DateTime>() {
        time
    } else if let Ok(date) = text.parse::<Date>() {
        date.to_datetime(Time::midnight())
    } else {
        now.date().to_datetime(text.parse::<Time>().ok()?)
    };
    Some(civil.to_zoned(zone).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_of_all_our_services_are_recognised() {
        for (line, expected) in [
            (
                r#"time="2026-11-22T10:00:00Z" level=info msg="db ok""#,
                Some(Severity::Info),
            ),
            (
                r#"time="2026" level=error msg="unable to connect to elastic""#,
                Some(Severity::Error),
            ),
            (
                "[2026-11-22 10:00:00,123: WARNING/MainProcess] x",
                Some(Severity::Warning),
            ),
            (
                "2026/11/22 10:00:00 [error] 7#7: *1 connect() failed",
                Some(Severity::Error),
            ),
            (
                r#"{"type": "server", "level": "WARN", "message": "x"}"#,
                Some(Severity::Warning),
            ),
            (
                "ERROR:  extension \"postgis\" already exists",
                Some(Severity::Error),
            ),
            ("the word error in a sentence", None),
        ] {
            assert_eq!(severity(line), expected, "{line}");
        }
    }

    #[test]
    fn a_traceback_stays_with_its_error() {
        let query = Query {
            level: Some(Severity::Error),
            ..Default::default()
        };
        let mut filter = Filter::default();
        assert!(!filter.wants(&query, "INFO fine"));
        assert!(filter.wants(&query, "ERROR failed"));
        assert!(filter.wants(&query, "Traceback (most recent call last):"));
        assert!(filter.wants(&query, "  File \"x.py\", line 1"));
        assert!(filter.wants(&query, "ValueError: x"));
        assert!(!filter.wants(&query, "a new line of its own"));
    }

    #[test]
    fn times_are_understood_as_people_write_them() {
        let now: Zoned = "2026-11-22T12:00:00+03:00[Africa/Nairobi]"
            .parse()
            .unwrap_or_else(|_| "2026-11-22T12:00:00+03:00[+03:00]".parse().unwrap());
        let at = |text: &str| parse_time(text, &now).map(|time| time.to_string());
        assert_eq!(at("2h").unwrap(), "2026-11-22T07:00:00Z");
        assert_eq!(at("1d").unwrap(), "2026-11-21T09:00:00Z");
        assert_eq!(at("02:14").unwrap(), "2026-11-21T23:14:00Z");
        assert_eq!(at("2026-11-22").unwrap(), "2026-11-21T21:00:00Z");
        assert_eq!(at("2026-11-22T02:14:05").unwrap(), "2026-11-21T23:14:05Z");
        assert_eq!(at("2026-11-22T02:14:05Z").unwrap(), "2026-11-22T02:14:05Z");
        assert_eq!(at("yesterday"), None);
        assert_eq!(at(""), None);
    }
}
