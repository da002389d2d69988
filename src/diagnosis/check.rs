//! What a check is, and how it can end.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use super::cause::Rule;
use super::code::Code;
use super::finding::Finding;
use super::scene::Scene;
use crate::host::apart::{Undone, apart};
use crate::host::postgres::session::NoAnswer;
use crate::host::redis::resp::RedisError;

/// One question about the deployment.
pub struct Check {
    /// Its name: `ooy diagnose NAME` runs it.
    pub name: &'static str,
    /// What it looks at, for `--list`.
    pub about: &'static str,
    /// What it can find.
    pub codes: &'static [Code],
    /// Looks. It changes nothing, and may be dropped at any await.
    pub run: fn(Rc<Scene>) -> Looking,
}

/// A look under way.
pub type Looking = Pin<Box<dyn Future<Output = Checked>>>;

/// How a look ended.
pub type Checked = Result<Report, Halt>;

/// The checks of one subject, and what explains their findings.
pub struct Subject {
    /// Its checks.
    pub checks: &'static [Check],
    /// What explains their findings.
    pub rules: &'static [Rule],
}

/// What a check has seen.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// What is wrong; nothing: all is well.
    pub findings: Vec<Finding>,
    /// Figures that an operator watches, where all is well: "disk 61 %".
    pub figures: Vec<String>,
}

impl Report {
    /// All is well.
    pub fn fine() -> Self {
        Self::default()
    }

    /// One more finding.
    pub fn found(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// One more figure.
    pub fn figure(&mut self, text: impl Into<String>) {
        self.figures.push(text.into());
    }
}

impl From<Finding> for Report {
    fn from(finding: Finding) -> Self {
        Self {
            findings: vec![finding],
            figures: Vec::new(),
        }
    }
}

/// Why a check saw nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Halt {
    /// This deployment has nothing of the kind: not asked, and not missed.
    Unused(String),
    /// Something else has to work first. Another check finds out about it, under this code.
    Blocked {
        /// What another check finds.
        by: Code,
        /// In words, with the subject first.
        why: String,
    },
    /// It could not look: no right to, no answer in time, an answer that makes no sense.
    Unknown(String),
}

impl Halt {
    /// It could not look.
    pub fn unknown(why: impl Into<String>) -> Self {
        Halt::Unknown(why.into())
    }

    /// There is nothing of the kind here.
    pub fn unused(why: impl Into<String>) -> Self {
        Halt::Unused(why.into())
    }

    /// Why, in words.
    pub fn why(&self) -> &str {
        let (Halt::Unused(why) | Halt::Unknown(why) | Halt::Blocked { why, .. }) = self;
        why
    }

    /// A question to a database that brought no answer: where its table is not there, `without`
    /// says what the database has none of.
    pub fn unanswered(why: NoAnswer, without: &str) -> Self {
        if why.is_unknown_table() {
            Halt::blocked(Code::MigrationsPending, without)
        } else {
            Halt::Unknown(why.message)
        }
    }

    /// A question to Redis, within a connection, that brought no answer.
    pub fn no_reply(why: RedisError) -> Self {
        let said = format!("Redis: {why}");
        match why {
            why if why.refuses_writes() => Halt::blocked(Code::RedisReadonly, said),
            RedisError::Answer(_) => Halt::Unknown(said),
            _ => Halt::blocked(Code::RedisUnreachable, said),
        }
    }

    /// Something else has to work first.
    pub fn blocked(by: Code, why: impl Into<String>) -> Self {
        Halt::Blocked {
            by,
            why: why.into(),
        }
    }
}

/// Name of the threads that checks have of their own.
pub const THREAD: &str = "check";

/// Work that may block its thread (files, `/proc`), on a thread of its own: a disk or a mount that
/// hangs must hold up neither the other checks nor the end of the program.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Halt> {
    apart(THREAD, work).await.map_err(|why| match why {
        Undone::Panicked => Halt::unknown("the check met a case it was not made for"),
        Undone::NoThread(_) => Halt::unknown(why.to_string()),
    })
}
