//! The screen: the only place that prints. Data goes to standard output, talk to standard error.

pub mod human;
pub mod progress;
pub mod table;
pub mod text;

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use crate::cli::{Color, Global};
use crate::fault::Fault;

/// Colours that carry a meaning; the text says the same without them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// Done, ready.
    Good,
    /// Failed.
    Bad,
    /// To look at.
    Warn,
    /// Less important.
    Dim,
    /// A headline.
    Bold,
    /// One of the colours that tell services apart in logs.
    Number(usize),
}

/// How to speak to whoever reads.
#[derive(Debug, Clone)]
pub struct Ui {
    /// Colour on standard output.
    color_out: bool,
    /// Colour on standard error.
    color_err: bool,
    /// The locale can show signs beyond ASCII.
    unicode: bool,
    /// Only faults are told.
    pub quiet: bool,
    /// More is told.
    pub verbose: bool,
    /// Machines read.
    pub json: bool,
    /// Standard error is a terminal: lines may settle in place.
    pub live: bool,
    /// Questions are answered with yes.
    pub yes: bool,
    /// What is kept instead of written to standard output.
    kept: Option<Arc<Mutex<String>>>,
}

impl Ui {
    /// From the options and the environment.
    pub fn new(global: &Global) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        let wants = |terminal: bool| match global.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && !set("NO_COLOR") && !dumb,
        };
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .iter()
            .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
            .unwrap_or_default()
            .to_uppercase();
        Self {
            color_out: wants(io::stdout().is_terminal()),
            color_err: wants(io::stderr().is_terminal()),
            unicode: locale.contains("UTF-8") || locale.contains("UTF8"),
            quiet: global.quiet,
            verbose: global.verbose,
            json: global.json,
            live: io::stderr().is_terminal() && !dumb && !global.json,
            yes: global.yes,
            kept: None,
        }
    }

    /// What `show` writes to standard output for people, as text: without colours, and wrapped for
    /// nobody's terminal where there is none.
    pub fn text_of(&self, show: impl FnOnce(&Ui)) -> String {
        let kept = Arc::new(Mutex::new(String::new()));
        show(&Ui {
            color_out: false,
            unicode: true,
            verbose: true,
            json: false,
            kept: Some(Arc::clone(&kept)),
            ..self.clone()
        });
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut kept)
    }

    /// The text with its signs in ASCII where the locale has no others.
    fn signs(&self, text: &str) -> String {
        if self.unicode || text.is_ascii() {
            return text.to_owned();
        }
        let mut plain = String::with_capacity(text.len());
        for c in text.chars() {
            match c {
                '✓' => plain.push_str("ok"),
                '✗' => plain.push('x'),
                '→' => plain.push_str("->"),
                '·' | '–' => plain.push('-'),
                '…' => plain.push_str("..."),
                c => plain.push(c),
            }
        }
        plain
    }

    /// Text for standard output in a colour.
    pub fn paint_out(&self, paint: Paint, text: &str) -> String {
        painted(self.color_out, paint, text)
    }

    /// Text for standard error in a colour.
    pub fn paint(&self, paint: Paint, text: &str) -> String {
        painted(self.color_err, paint, text)
    }

    /// Data: one line on standard output.
    pub fn out(&self, line: &str) -> io::Result<()> {
        if let Some(kept) = &self.kept {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push_str(&self.signs(line));
            kept.push('\n');
            return Ok(());
        }
        let mut out = io::stdout().lock();
        out.write_all(self.signs(line).as_bytes())?;
        out.write_all(b"\n")
    }

    /// Data for machines: one JSON document on standard output.
    pub fn json(&self, value: &impl serde::Serialize) -> io::Result<()> {
        let mut out = io::stdout().lock();
        serde_json::to_writer(&mut out, value)?;
        out.write_all(b"\n")
    }

    /// Data as it is, signs and all (configuration files).
    pub fn raw(&self, text: &str) -> io::Result<()> {
        io::stdout().lock().write_all(text.as_bytes())
    }

    /// Everything written so far reaches its reader.
    pub fn flush(&self) -> io::Result<()> {
        io::stdout().lock().flush()
    }

    /// Talk: one line on standard error. A closed standard error stops nothing.
    pub fn say(&self, line: &str) {
        if !self.quiet {
            self.tell(line);
        }
    }

    /// The same, also when quiet: what went wrong.
    pub fn tell(&self, line: &str) {
        let _ = writeln!(io::stderr().lock(), "{}", self.signs(line));
    }

    /// A fault in its four parts.
    pub fn fault(&self, fault: &Fault) {
        for line in self.fault_lines(fault) {
            self.tell(&line);
        }
    }

    fn fault_lines(&self, fault: &Fault) -> Vec<String> {
        let mut lines = vec![
            format!(
                "{} {}",
                self.paint(Paint::Bad, "✗"),
                self.paint(Paint::Bold, &fault.title)
            ),
            String::new(),
        ];
        let mut part = |label: &str, texts: &[String]| {
            for (index, text) in texts.iter().enumerate() {
                let label = if index == 0 { label } else { "" };
                lines.push(format!(
                    "  {} {text}",
                    self.paint(Paint::Dim, &format!("{label:<9}"))
                ));
            }
        };
        part("what", std::slice::from_ref(&fault.what));
        part("evidence", &fault.evidence);
        part("why", std::slice::from_ref(&fault.why));
        part("next", &fault.next);
        lines.push(String::new());
        lines
    }

    /// Asks a question on the terminal; without one, or with an answer that is not yes, no.
    pub fn ask(&self, question: &str) -> bool {
        if self.yes {
            return true;
        }
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return false;
        }
        let _ = write!(io::stderr().lock(), "{} [y/N] ", self.signs(question));
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
    }
}

fn painted(color: bool, paint: Paint, text: &str) -> String {
    if !color || text.is_empty() {
        return text.to_owned();
    }
    let code = match paint {
        Paint::Good => "32",
        Paint::Bad => "31",
        Paint::Warn => "33",
        Paint::Dim => "2",
        Paint::Bold => "1",
        Paint::Number(number) => {
            ["36", "33", "32", "35", "34", "96", "93", "92", "95", "94"][number % 10]
        }
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}
