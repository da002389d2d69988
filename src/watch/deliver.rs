//! Brings notices to Sentry and to the webhook. Each destination has a thread and a queue of its
//! own, so that one that hangs or is away holds up neither the rounds nor the other.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedSender;

use super::notices::{Event, Notice, Queue};
use crate::deployment::settings::Settings;
use crate::host::https::{Broken, Exchange, Request, Transport};
use crate::host::sentry::{self, Dsn, Level, Report};
use crate::host::text::{age, count};

/// The longest a webhook may take.
const LIMIT: Duration = Duration::from_secs(10);

/// After a delivery that failed; doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// The longest of these pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Where notices go.
enum Address {
    Sentry(Dsn),
    /// An address that is a secret: it holds a token.
    Webhook(String),
}

/// A kind of destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sentry,
    Webhook,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Sentry => "Sentry",
            Kind::Webhook => "the webhook",
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Kind::Sentry => "sentry",
            Kind::Webhook => "webhook",
        }
    }

    fn setting(self) -> &'static str {
        match self {
            Kind::Sentry => "OOY_SENTRY_DSN",
            Kind::Webhook => "WATCH_WEBHOOK",
        }
    }

    fn wants(self, event: Event) -> bool {
        // Sentry keeps what is wrong; the repair's end is there as "gone".
        self == Kind::Webhook || event != Event::Repaired
    }
}

/// All destinations.
pub struct Couriers(Vec<Courier>);

impl Couriers {
    /// Those of this deployment, with what still waits for them. `told` hears, in words for the log,
    /// when one cannot be reached and when it can again.
    pub fn new(state: &Path, told: &UnboundedSender<String>) -> Self {
        let couriers = [Kind::Sentry, Kind::Webhook].map(|kind| {
            let folder = state.join("notices").join(kind.folder());
            Courier::new(kind, &folder, told.clone())
        });
        Self(couriers.into())
    }

    /// Takes over where to deliver to.
    pub fn set(&self, settings: &Settings) {
        for courier in &self.0 {
            courier.set(settings.get(courier.kind.setting()));
        }
    }

    /// Hands a notice to everybody who is to have it.
    pub fn push(&self, notice: &Notice) {
        for courier in &self.0 {
            courier.push(notice);
        }
    }

    /// Waits until everything is delivered or has been tried, at most so long. Blocks the thread.
    pub fn settle(&self, limit: Duration) {
        let until = Instant::now() + limit;
        for courier in &self.0 {
            courier.settle(until);
        }
    }
}

struct Courier {
    kind: Kind,
    desk: Arc<Desk>,
    told: UnboundedSender<String>,
}

/// What the rounds and the delivering thread share.
struct Desk {
    state: Mutex<State>,
    bell: Condvar,
}

struct State {
    queue: Queue,
    /// The setting's value, and what it means; none: there is no such destination.
    setting: String,
    address: Option<Arc<Address>>,
    /// How often one after the other it failed.
    failed: u32,
    not_before: Option<Instant>,
    /// A thread is there.
    runs: bool,
}

impl Desk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Courier {
    fn new(kind: Kind, folder: &Path, told: UnboundedSender<String>) -> Self {
        let state = State {
            queue: Queue::load(folder),
            setting: String::new(),
            address: None,
            failed: 0,
            not_before: None,
            runs: false,
        };
        Self {
            kind,
            desk: Arc::new(Desk {
                state: Mutex::new(state),
                bell: Condvar::new(),
            }),
            told,
        }
    }

    fn set(&self, value: &str) {
        let mut state = self.desk.state();
        if state.setting == value {
            return;
        }
        value.clone_into(&mut state.setting);
        state.failed = 0;
        state.not_before = None;
        state.address = match self.kind {
            _ if value.is_empty() => None,
            Kind::Webhook => Some(Arc::new(Address::Webhook(value.to_owned()))),
            Kind::Sentry => match Dsn::parse(value) {
                Ok(dsn) => Some(Arc::new(Address::Sentry(dsn))),
                Err(why) => {
                    let _ = self.told.send(format!("OOY_SENTRY_DSN {why}"));
                    None
                }
            },
        };
        if state.address.is_some() && !state.runs {
            let (kind, desk, told) = (self.kind, Arc::clone(&self.desk), self.told.clone());
            let thread = std::thread::Builder::new()
                .name(kind.folder().to_owned())
                .spawn(move || deliver(kind, &desk, &told));
            state.runs = thread.is_ok();
        }
        drop(state);
        self.desk.bell.notify_all();
    }

    fn push(&self, notice: &Notice) {
        let mut state = self.desk.state();
        if state.address.is_none() || !self.kind.wants(notice.event) {
            return;
        }
        if let Err(error) = state.queue.push(notice) {
            let _ = self.told.send(format!(
                "a notice for {} waits in memory only: {error}",
                self.kind.name()
            ));
        }
        drop(state);
        self.desk.bell.notify_all();
    }

    fn settle(&self, until: Instant) {
        let mut state = self.desk.state();
        while state.runs && state.queue.first().is_some() && state.failed == 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = match self.desk.bell.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}

/// Delivers what waits, for ever.
fn deliver(kind: Kind, desk: &Desk, told: &UnboundedSender<String>) {
    loop {
        let (address, notice) = next(kind, desk, told);
        let sent = send(&address, &notice);
        let mut state = desk.state();
        match sent {
            Ok(()) => {
                state.queue.done(&notice.id);
                if state.failed > 0 {
                    let _ = told.send(format!("{} takes notices again", kind.name()));
                }
                state.failed = 0;
                state.not_before = None;
            }
            Err(Trouble::Refused(why)) => {
                state.queue.done(&notice.id);
                let _ = told.send(format!("{} refuses a notice for good: {why}", kind.name()));
            }
            Err(Trouble::Later(why, after)) => {
                state.failed += 1;
                let wait = after.unwrap_or_else(|| pause(state.failed));
                state.not_before = Some(Instant::now() + wait);
                if state.failed == 1 {
                    let _ = told.send(format!(
                        "{} is not to be reached: {why}; {} to be delivered later",
                        kind.name(),
                        count(state.queue.len() as u64, "notice")
                    ));
                }
            }
        }
        drop(state);
        desk.bell.notify_all();
    }
}

/// Waits for the next notice and its time.
fn next(kind: Kind, desk: &Desk, told: &UnboundedSender<String>) -> (Arc<Address>, Notice) {
    let mut state = desk.state();
    loop {
        let dropped = state.queue.tidy(Timestamp::now());
        if dropped > 0 {
            let _ = told.send(format!(
                "{} for {} given up: too old or too many",
                count(dropped as u64, "notice"),
                kind.name()
            ));
        }
        let wait = state
            .not_before
            .map(|then| then.saturating_duration_since(Instant::now()))
            .filter(|wait| !wait.is_zero());
        if let (None, Some(address), Some(notice)) = (wait, &state.address, state.queue.first()) {
            return (Arc::clone(address), notice.clone());
        }
        state = match wait {
            Some(wait) => match desk.bell.wait_timeout(state, wait) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            },
            None => desk
                .bell
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner),
        };
    }
}

fn pause(failed: u32) -> Duration {
    let doublings = failed.saturating_sub(1).min(10);
    (FIRST_PAUSE * 2u32.pow(doublings)).min(LONGEST_PAUSE)
}

/// Why a notice was not taken.
#[derive(Debug, PartialEq, Eq)]
enum Trouble {
    /// It never will be.
    Refused(String),
    /// Perhaps later; after that time, where that was said.
    Later(String, Option<Duration>),
}

fn send(address: &Address, notice: &Notice) -> Result<(), Trouble> {
    match address {
        Address::Sentry(dsn) => {
            sentry::send(dsn, &report(notice)).map_err(|why| Trouble::Later(why, None))
        }
        Address::Webhook(url) => {
            let body = serde_json::to_vec(notice).unwrap_or_default();
            let answer = Transport::new(ureq::tls::RootCerts::WebPki).exchange(&Request {
                url,
                authorization: None,
                headers: &[("Content-Type", "application/json")],
                body: Some(&body),
                limit: LIMIT,
            });
            match answer {
                Ok(answer) => taken(&answer),
                Err(Broken::NotSent(why) | Broken::Lost(why)) => Err(Trouble::Later(why, None)),
            }
        }
    }
}

fn taken(answer: &Exchange) -> Result<(), Trouble> {
    let said = format!("it answers HTTP {}", answer.status);
    match answer.status {
        200..300 => Ok(()),
        // About this notice. All others are about the address or the moment.
        400 | 413 | 422 => Err(Trouble::Refused(said)),
        _ => {
            let after = answer.retry_after.as_ref().and_then(|text| {
                let seconds: u64 = text.trim().parse().ok()?;
                Some(Duration::from_secs(seconds.clamp(1, 3600)))
            });
            let said = match after {
                Some(after) => format!("{said}, to be asked again after {}", age(after)),
                None => said,
            };
            Err(Trouble::Later(said, after))
        }
    }
}

fn report(notice: &Notice) -> Report {
    let word = |name: &str| notice.finding[name].as_str().unwrap_or_default().to_owned();
    let level = match (notice.event.is_bad(), word("severity").as_str()) {
        (false, _) => Level::Info,
        (true, "warning") => Level::Warning,
        (true, _) => Level::Error,
    };
    // Its end is an entry of its own: it does not open one again that somebody has closed.
    let end = if notice.event.is_bad() { "" } else { "-gone" };
    let (code, service) = (word("code"), word("service"));
    Report {
        message: notice.text.clone(),
        logger: "ooy.watch",
        level,
        id: Some(notice.id.clone()),
        fingerprint: format!("ooy-watch-{code}-{service}{end}"),
        tags: vec![
            ("code", code),
            ("event", notice.event.word().to_owned()),
            ("service", service),
            ("host", notice.host.clone()),
            ("project", notice.project.clone()),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, retry_after: Option<&str>) -> Exchange {
        Exchange {
            status,
            date: None,
            retry_after: retry_after.map(str::to_owned),
            location: None,
            body: Vec::new(),
        }
    }

    #[test]
    fn an_answer_decides_what_becomes_of_a_notice() {
        assert_eq!(taken(&answer(204, None)), Ok(()));
        let refused = taken(&answer(422, None));
        assert!(matches!(refused, Err(Trouble::Refused(_))), "{refused:?}");
        for status in [301, 401, 404, 500, 503] {
            let later = taken(&answer(status, None));
            assert!(matches!(later, Err(Trouble::Later(_, None))), "{later:?}");
        }
        let limited = taken(&answer(429, Some("7")));
        let Err(Trouble::Later(_, after)) = limited else {
            panic!("{limited:?}");
        };
        assert_eq!(after, Some(Duration::from_secs(7)));
    }

    #[test]
    fn pauses_grow_to_their_limit() {
        let pauses: Vec<u64> = [1, 2, 3, 30].map(|n| pause(n).as_secs()).to_vec();
        assert_eq!(pauses, [2, 4, 8, 300]);
    }

    #[test]
    fn sentry_is_told_the_end_without_opening_the_issue_again() {
        let finding = serde_json::json!({
            "code": "service-paused", "service": "courier", "severity": "error",
            "summary": "courier is frozen",
        });
        let bad = report(&Notice::new("ooy", Event::New, &finding, ""));
        let good = report(&Notice::new("ooy", Event::Gone, &finding, ""));
        assert_eq!((bad.level, good.level), (Level::Error, Level::Info));
        assert_ne!(bad.fingerprint, good.fingerprint);
        assert_eq!(bad.logger, "ooy.watch");
    }
}
