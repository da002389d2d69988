//! logrus' text formatter as it writes when standard output is no terminal.

use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU8, Ordering};

use crate::{boot, clock, log_line};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    Panic,
    Fatal,
    Error,
    Warning,
    Info,
    Debug,
    Trace,
}

impl Level {
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.to_lowercase().as_str() {
            "panic" => Self::Panic,
            "fatal" => Self::Fatal,
            "error" => Self::Error,
            "warn" | "warning" => Self::Warning,
            "info" => Self::Info,
            "debug" => Self::Debug,
            "trace" => Self::Trace,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Fatal => "fatal",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);

pub fn set_level(level: Level) {
    LEVEL.store(level as u8, Ordering::Relaxed);
}

/// The fields of a line, to be finished with a level and a message.
#[derive(Debug, Default)]
pub struct Entry(Vec<(&'static str, String)>);

pub fn with(key: &'static str, value: impl Display) -> Entry {
    Entry::default().with(key, value)
}

pub fn info(message: &str) {
    Entry::default().info(message);
}

pub fn error(message: &str) {
    Entry::default().error(message);
}

pub fn fatal(message: &str) -> ! {
    Entry::default().write_fatal(message)
}

impl Entry {
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Display) -> Self {
        self.0.retain(|(k, _)| *k != key);
        self.0.push((key, value.to_string()));
        self
    }

    pub fn debug(self, message: &str) {
        self.write(Level::Debug, message);
    }

    pub fn info(self, message: &str) {
        self.write(Level::Info, message);
    }

    pub fn warning(self, message: &str) {
        self.write(Level::Warning, message);
    }

    pub fn error(self, message: &str) {
        self.write(Level::Error, message);
    }

    /// Log, and end the program.
    pub fn write_fatal(self, message: &str) -> ! {
        self.write(Level::Fatal, message);
        boot::exit(1)
    }

    fn write(self, level: Level, message: &str) {
        if level as u8 <= LEVEL.load(Ordering::Relaxed) {
            log_line(&self.render(&clock::local_seconds(), level, message));
        }
    }

    fn render(mut self, time: &str, level: Level, message: &str) -> String {
        let mut line = String::new();
        append(&mut line, "time", time);
        append(&mut line, "level", level.name());
        if !message.is_empty() {
            append(&mut line, "msg", message);
        }
        self.0.sort_by_key(|(key, _)| *key);
        for (key, value) in &self.0 {
            append(&mut line, key, value);
        }
        line
    }
}

fn append(line: &mut String, key: &str, value: &str) {
    if !line.is_empty() {
        line.push(' ');
    }
    line.push_str(key);
    line.push('=');
    let plain = value.chars().all(|c| c.is_ascii_alphanumeric() || "-._/@^+".contains(c));
    if plain {
        line.push_str(value);
    } else {
        quote(line, value);
    }
}

/// Go's `%q`.
pub fn quote(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_sorted_and_quoted_where_logrus_quotes() {
        let line = with("state", "starting")
            .with("comp", "backend")
            .with("error", "dial tcp 10.0.0.1:5432: \"x\"\n")
            .render("2021-07-21T08:00:00Z", Level::Error, "db not reachable");
        assert_eq!(
            line,
            r#"time="2021-07-21T08:00:00Z" level=error msg="db not reachable" comp=backend error="dial tcp 10.0.0.1:5432: \"x\"\n" state=starting"#
        );
    }

    #[test]
    fn an_empty_message_is_left_out_and_an_empty_value_stays_bare() {
        let line = with("err", "").render("T", Level::Warning, "");
        assert_eq!(line, "time=T level=warning err=");
    }

    #[test]
    fn levels_have_both_names_of_warning() {
        assert_eq!(Level::parse("WARN"), Some(Level::Warning));
        assert_eq!(Level::parse("warning"), Some(Level::Warning));
        assert_eq!(Level::parse("verbose"), None);
    }
}
