//! Lines of a container's log, with their times and streams.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::{Stream, StreamExt as _, stream};
use jiff::Timestamp;

use super::{Engine, Error};

/// Which lines are wanted.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Go on with new lines as they come.
    pub follow: bool,
    /// Only the last so many.
    pub tail: Option<u64>,
    /// Only from this moment on.
    pub since: Option<Timestamp>,
    /// Only up to this moment.
    pub until: Option<Timestamp>,
    /// Leave out what came on standard output / standard error.
    pub without_stdout: bool,
    /// Leave out what came on standard error.
    pub without_stderr: bool,
}

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When the daemon received it.
    pub at: Timestamp,
    /// It came on standard error.
    pub stderr: bool,
    /// The line without its end.
    pub text: String,
}

impl Engine {
    /// The lines of one container, oldest first.
    pub fn log_lines(
        &self,
        id: &str,
        wanted: &Wanted,
    ) -> Pin<Box<dyn Stream<Item = Result<Line, Error>> + Send>> {
        let seconds = |time: Timestamp| i32::try_from(time.as_second()).unwrap_or(i32::MAX);
        let mut options = LogsOptionsBuilder::default()
            .follow(wanted.follow)
            .stdout(!wanted.without_stdout)
            .stderr(!wanted.without_stderr)
            .timestamps(true)
            .tail(
                &wanted
                    .tail
                    .map_or_else(|| "all".to_owned(), |n| n.to_string()),
            );
        if let Some(since) = wanted.since {
            options = options.since(seconds(since));
        }
        if let Some(until) = wanted.until {
            // Whole seconds on the wire; the rest is cut below.
            options = options.until(seconds(until).saturating_add(1));
        }
        let (since, until) = (wanted.since, wanted.until);
        let partial = Arc::new(Mutex::new(Partial::default()));
        let rest = Arc::clone(&partial);
        let stream = self
            .docker
            .clone()
            .logs(id, Some(options.build()))
            .flat_map(move |item| {
                let lines = match item {
                    Ok(output) => {
                        let mut partial = partial.lock().unwrap_or_else(PoisonError::into_inner);
                        split(output, &mut partial).into_iter().map(Ok).collect()
                    }
                    Err(error) => vec![Err(Error::from(error))],
                };
                stream::iter(lines)
            })
            // What a process wrote last, before it died in the middle of a line.
            .chain(
                stream::once(async move {
                    let mut partial = rest.lock().unwrap_or_else(PoisonError::into_inner);
                    let held = std::mem::take(&mut *partial);
                    let lines = held.into_iter().zip([false, true]);
                    stream::iter(lines.filter_map(|(text, stderr)| line(&text, stderr).map(Ok)))
                })
                .flatten(),
            );
        Box::pin(stream.filter(move |item| {
            let keep = match item {
                Ok(line) => {
                    since.is_none_or(|since| line.at >= since)
                        && until.is_none_or(|until| line.at <= until)
                }
                Err(_) => true,
            };
            std::future::ready(keep)
        }))
    }

    /// The last lines of a container from `since` on, for evidence; an unreadable log gives none.
    pub async fn last_lines(&self, id: &str, count: u64, since: Option<Timestamp>) -> Vec<Line> {
        let wanted = Wanted {
            tail: Some(count),
            since,
            ..Default::default()
        };
        let read = self
            .log_lines(id, &wanted)
            .filter_map(|line| std::future::ready(line.ok()))
            .collect();
        tokio::time::timeout(std::time::Duration::from_secs(5), read)
            .await
            .unwrap_or_default()
    }
}

/// What has come of a line that is not complete yet: of standard output, of standard error.
type Partial = [String; 2];

/// A line with its time in front.
fn line(text: &str, stderr: bool) -> Option<Line> {
    let (stamp, rest) = text.split_once(' ').unwrap_or((text, ""));
    Some(Line {
        at: stamp.parse().ok()?,
        stderr,
        text: rest.to_owned(),
    })
}

/// Frames into lines: a frame may hold several lines or, above 16 KB, a part of one.
fn split(output: LogOutput, partial: &mut Partial) -> Vec<Line> {
    let (stderr, message) = match output {
        LogOutput::StdErr { message } => (true, message),
        LogOutput::StdOut { message } | LogOutput::StdIn { message } => (false, message),
        // An error of the daemon itself: bollard leaves the frame's 8-byte head on it.
        LogOutput::Console { message } if message.len() > 8 => (true, message.slice(8..)),
        LogOutput::Console { message } => (true, message),
    };
    let text = String::from_utf8_lossy(&message);
    let mut lines = Vec::new();
    for piece in text.split_inclusive('\n') {
        let held = &mut partial[usize::from(stderr)];
        let complete = piece.ends_with('\n');
        let piece = piece.trim_end_matches(['\n', '\r']);
        // Every piece of a long line carries the time in front again.
        let (stamp, rest) = piece.split_once(' ').unwrap_or((piece, ""));
        match (stamp.parse::<Timestamp>(), held.is_empty()) {
            (Ok(_), true) => held.push_str(piece),
            (Ok(_), false) => held.push_str(rest),
            (Err(_), _) => held.push_str(piece),
        }
        if complete {
            let whole = std::mem::take(held);
            lines.extend(line(&whole, stderr));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(text: &str) -> LogOutput {
        LogOutput::StdOut {
            message: text.to_owned().into(),
        }
    }

    #[test]
    fn a_line_in_two_frames_becomes_one_line() {
        let mut partial = Default::default();
        assert_eq!(
            split(out("2026-11-22T10:00:00.5Z first half, "), &mut partial),
            []
        );
        let lines = split(out("2026-11-22T10:00:00.6Z second half\n"), &mut partial);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].text, "first half, second half");
        assert_eq!(lines[0].at.to_string(), "2026-11-22T10:00:00.5Z");
    }

    #[test]
    fn an_empty_line_stays_a_line() {
        let mut partial = Default::default();
        let lines = split(
            out("2026-11-22T10:00:00Z \n2026-11-22T10:00:01Z x\n"),
            &mut partial,
        );
        assert_eq!(
            lines.iter().map(|l| l.text.as_str()).collect::<Vec<_>>(),
            ["", "x"]
        );
    }
}
