//! Events: one line each with `--json`, one settled line each on a terminal.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

/// What happened (design.md section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It is going to be done.
    Planned,
    /// It has begun.
    Started,
    /// It is so far.
    Progress,
    /// A service does its work.
    Ready,
    /// There was nothing to do, or it could not be begun.
    Skipped,
    /// It failed.
    Failed,
    /// It was taken back.
    Undone,
    /// It is finished.
    Done,
}

/// One event of a running operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Version of this form.
    pub schema: u32,
    /// When.
    pub at: Timestamp,
    /// The command: `start`, `stop`, …
    pub operation: &'static str,
    /// The part of it: `preflight`, `pull`, `create`, `release`, `start`, `stop`, or the
    /// operation itself.
    pub step: &'static str,
    /// The service, where it is about one.
    pub service: Option<String>,
    /// The finished call, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// What happened.
    pub event: Kind,
    /// How long it took, milliseconds.
    pub took_ms: Option<u64>,
    /// In words, for people. Holds no secret.
    pub detail: String,
}

type Sink = Box<dyn FnMut(&Event)>;

/// Hands events to everybody who wants them. Cheap to clone; one thread only.
#[derive(Clone)]
pub struct Reporter {
    operation: &'static str,
    sinks: Rc<RefCell<Vec<Sink>>>,
    /// What was planned: told before anybody agreed to it, and so before there was a journal.
    planned: Rc<RefCell<Vec<Event>>>,
}

/// So many lines of a plan are kept.
const LONGEST_PLAN: usize = 64;

impl Reporter {
    /// A reporter for one operation.
    pub fn new(operation: &'static str) -> Self {
        Self {
            operation,
            sinks: Rc::default(),
            planned: Rc::default(),
        }
    }

    /// What was planned since this was asked for the last time.
    pub fn take_planned(&self) -> Vec<Event> {
        self.planned.take()
    }

    /// One more listener.
    pub fn listen(&self, sink: impl FnMut(&Event) + 'static) {
        self.sinks.borrow_mut().push(Box::new(sink));
    }

    /// Something happened to the operation as a whole.
    pub fn tell(
        &self,
        step: &'static str,
        event: Kind,
        took: Option<Duration>,
        detail: impl Into<String>,
    ) {
        self.send(step, (None, None), event, took, detail.into());
    }

    /// Something happened to a service.
    pub fn service(
        &self,
        step: &'static str,
        service: &str,
        event: Kind,
        took: Option<Duration>,
        detail: impl Into<String>,
    ) {
        let about = (Some(service.to_owned()), None);
        self.send(step, about, event, took, detail.into());
    }

    /// Something happened to a finished call.
    pub fn call(
        &self,
        step: &'static str,
        call: &str,
        event: Kind,
        took: Option<Duration>,
        detail: impl Into<String>,
    ) {
        let about = (None, Some(call.to_owned()));
        self.send(step, about, event, took, detail.into());
    }

    fn send(
        &self,
        step: &'static str,
        (service, call): (Option<String>, Option<String>),
        event: Kind,
        took: Option<Duration>,
        detail: String,
    ) {
        let event = Event {
            schema: 1,
            at: Timestamp::now(),
            operation: self.operation,
            step,
            service,
            call,
            event,
            took_ms: took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
            detail,
        };
        for sink in self.sinks.borrow_mut().iter_mut() {
            sink(&event);
        }
        let mut planned = self.planned.borrow_mut();
        if event.event == Kind::Planned && planned.len() < LONGEST_PLAN {
            planned.push(event);
        }
    }
}
