//! The last lines of each service's log: bounded by lines, bytes and time.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use jiff::{Timestamp, ToSpan as _};

use super::Part;
use super::setting::Setting;
use crate::engine::Engine;
use crate::engine::containers::Container;
use crate::engine::logs::Wanted;
use crate::host::text::count;

/// Bytes of one service's log.
const MOST: usize = 1024 * 1024;

/// Older lines tell nothing of tonight.
const DAYS: i64 = 7;

/// How long the lines of one container may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// The logs of all containers of the deployment.
pub async fn logs(setting: &Setting, lines: u64) -> Result<Part, String> {
    setting.needs_settings()?;
    let engine = setting.engine()?;
    let containers = setting.containers()?;
    let read = containers.iter().map(|container| async move {
        let read = tokio::time::timeout(PATIENCE, last_lines(engine, container, lines)).await;
        let read = read.unwrap_or_else(|_| {
            Err(format!(
                "its lines were not there after {} s",
                PATIENCE.as_secs()
            ))
        });
        (container, read)
    });
    let mut part = Part::default();
    let mut services = 0_usize;
    for (container, read) in join_all(read).await {
        // A second container of a service, and what was run beside it, has its own name.
        let first = !container.oneoff
            && containers
                .iter()
                .find(|other| !other.oneoff && other.service == container.service)
                .is_some_and(|other| other.id == container.id);
        let name = if first {
            &container.service
        } else {
            &container.name
        };
        match read {
            Ok(read) => {
                services += 1;
                part = part.file(format!("logs/{name}.log"), setting.redactor.log(&read.text));
                if let Some(why) = read.cut {
                    part = part.without(format!("earlier lines of {name}"), why);
                }
            }
            Err(why) => part = part.without(format!("log of {name}"), why),
        }
    }
    Ok(part.note(format!("of {}", count(services, "container"))))
}

struct Read {
    text: String,
    /// Why there are less than wanted.
    cut: Option<String>,
}

async fn last_lines(engine: &Engine, container: &Container, lines: u64) -> Result<Read, String> {
    let wanted = Wanted {
        tail: Some(lines),
        since: Timestamp::now().checked_sub((DAYS * 24).hours()).ok(),
        ..Default::default()
    };
    let mut stream = engine.log_lines(&container.id, &wanted);
    let mut kept: VecDeque<String> = VecDeque::new();
    let mut bytes = 0;
    let mut dropped = 0_usize;
    let mut broken = None;
    while let Some(line) = stream.next().await {
        let line = match line {
            Ok(line) => line,
            Err(error) => {
                broken = Some(error.to_string());
                break;
            }
        };
        let side = if line.stderr { "err" } else { "out" };
        let mut text = String::new();
        let _ = writeln!(text, "{} {side} {}", line.at, line.text);
        bytes += text.len();
        kept.push_back(text);
        // The newest always stays, however long it is.
        while bytes > MOST && kept.len() > 1 {
            bytes -= kept.pop_front().map_or(0, |line| line.len());
            dropped += 1;
        }
    }
    if kept.is_empty()
        && let Some(why) = broken
    {
        return Err(why);
    }
    let cut = match (broken, dropped) {
        (Some(why), _) => Some(format!("the log breaks off: {why}")),
        (None, 0) => None,
        (None, dropped) => Some(format!("{dropped} of {lines} lines are beyond 1 MB")),
    };
    Ok(Read {
        text: kept.into_iter().collect(),
        cut,
    })
}
