//! What an operator is told when something is wrong.
//!
//! Every failure that can reach a person is a [`Fault`]: what is wrong, the evidence, why it
//! matters, and the exact command to run next. The lowest layers make them too, so that the
//! evidence is collected where it is known. A fault never holds a secret: whoever puts text
//! from outside into one (a log line, the output of a program) masks it first.

use std::fmt;

use serde::Serialize;

/// Decides the exit code; documented in design.md section 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A problem was found or the work failed: exit code 1.
    Problem,
    /// Wrong usage or settings: exit code 2.
    Usage,
    /// Another operation holds the lock: exit code 3.
    Locked,
    /// Interrupted by a signal: exit code 130.
    Interrupted,
}

impl Kind {
    /// The exit code of the process.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Problem => 1,
            Kind::Usage => 2,
            Kind::Locked => 3,
            Kind::Interrupted => 130,
        }
    }
}

/// One thing that is wrong, in the four parts an operator needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Which exit code it leads to.
    pub kind: Kind,
    /// The headline, subject first: "mailroom: not ready after 60 s".
    pub title: String,
    /// What is wrong, in a sentence.
    pub what: String,
    /// How that is known: values, log lines, file and line. One string a line.
    pub evidence: Vec<String>,
    /// Why it matters, and to whom.
    pub why: String,
    /// The exact commands to run next, in order.
    pub next: Vec<String>,
}

impl Fault {
    /// A problem or failed work (exit code 1).
    pub fn problem(title: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(Kind::Problem, title, what)
    }

    /// Wrong usage or settings (exit code 2).
    pub fn usage(title: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(Kind::Usage, title, what)
    }

    /// A fault of any kind.
    pub fn new(kind: Kind, title: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            kind,
            title: title.into(),
            what: what.into(),
            evidence: Vec::new(),
            why: String::new(),
            next: Vec::new(),
        }
    }

    /// Adds one line of evidence.
    pub fn evidence(mut self, line: impl Into<String>) -> Self {
        let line: String = line.into();
        // The number behind the system's words helps nobody at night.
        let line = match line.find(" (os error ") {
            Some(at) => match line[at..].find(')') {
                Some(end) => format!("{}{}", &line[..at], &line[at + end + 1..]),
                None => line,
            },
            None => line,
        };
        self.evidence.push(line);
        self
    }

    /// Says why it matters.
    pub fn why(mut self, text: impl Into<String>) -> Self {
        self.why = text.into();
        self
    }

    /// Adds one command to run next.
    pub fn next(mut self, command: impl Into<String>) -> Self {
        self.next.push(command.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.title, self.what)
    }
}

/// The result of everything that can fail towards the operator. Boxed: faults are rare and
/// large, results are common.
pub type Result<T, E = Box<Fault>> = std::result::Result<T, E>;
