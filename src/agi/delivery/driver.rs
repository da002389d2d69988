//! Delivers, call after call, until told to end. What happens outside of the spool (RapidPro, the
//! time, chance, the operator) comes through [`World`], so that tests can play it.

mod attempt;

use std::collections::HashSet;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::decide::{self, Stop};
use super::queue::Queue;
use super::tell::Api;
use crate::agi::record::{Id, Moment, Record};
use crate::agi::spool::{self, Damaged, Folder, Incoming, Place, QueueState, Stopped};
use crate::fault::Fault;

/// When a deliverer ends of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Never.
    Told,
    /// When nothing has waited for so long.
    Idle(Duration),
    /// When everything was tried: at once when nothing waits any more, else after a few attempts.
    Tried,
}

/// Why a deliverer has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Nothing waits any more.
    Empty,
    /// It was told to.
    Told,
    /// Some calls could not be delivered for now.
    GaveUp(String),
    /// The spool was removed; another one may be at its place.
    Gone,
    /// The spool cannot be used: what kind of error, and in words.
    Spool(io::ErrorKind, String),
    /// Nothing can be delivered until something is put right.
    Stopped(Stop, Box<Fault>),
}

/// How calls are to be delivered, and to whom.
#[derive(Debug)]
pub struct Link<A> {
    /// RapidPro.
    pub api: A,
    /// The flow that is started.
    pub flow: String,
    /// The zone of times that name none.
    pub zone: TimeZone,
    /// One request at most.
    pub timeout: Duration,
    /// From a lost answer to the question whether the call got through.
    pub settle: Duration,
    /// Longest pause between two attempts.
    pub retry_max: Duration,
    /// How long calls are kept that RapidPro has.
    pub keep: Duration,
}

/// What has ended a sleep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Woken {
    /// Everything is to be tried now.
    pub kicked: bool,
    /// It is to end.
    pub stopping: bool,
}

/// Something worth telling.
#[derive(Debug)]
pub enum Event<'a> {
    /// It begins, with so many calls.
    Begun(usize),
    /// RapidPro has the call; `found`: it had it already from an attempt whose answer was lost.
    Sent {
        record: &'a Record,
        found: bool,
        took: Duration,
        left: usize,
    },
    /// The call is tried again after this time; `unsure`: after a look whether it got through.
    Later {
        record: &'a Record,
        why: &'a str,
        unsure: bool,
        wait: Duration,
    },
    /// All wait so long.
    AllLater { why: &'a str, wait: Duration },
    /// RapidPro will never take the call.
    Dead { record: &'a Record, why: &'a str },
    /// A file cannot be read and was set aside.
    Damaged(&'a Damaged),
    /// Nothing goes on until something is put right; `news`: it is told for the first time.
    Stopped { fault: &'a Fault, news: bool },
    /// It goes on.
    Resumed,
    /// The spool cannot be used for the moment.
    Trouble(String),
    /// So many old calls were removed.
    Tidied(usize),
}

/// All that is outside of the spool.
pub trait World {
    /// RapidPro, or what stands for it.
    type Api: Api;
    /// A clock that nobody sets.
    fn now(&self) -> Duration;
    /// This moment by all clocks.
    fn moment(&self) -> Moment;
    /// Chance: 0 up to 1.
    fn dice(&mut self) -> f64;
    /// How calls are to be delivered, by the settings as they are now.
    fn link(&mut self) -> Result<Rc<Link<Self::Api>>, Box<Fault>>;
    /// Whether the settings have changed since they were last asked for.
    fn settings_changed(&mut self) -> bool;
    /// Sleeps until a call may have come, but not longer than this.
    fn wait(&mut self, incoming: &Incoming, limit: Duration) -> Woken;
    /// Tells whoever listens.
    fn tell(&mut self, event: Event);
    /// What an operator is told of a stop.
    fn stop_fault(&self, stop: Stop, words: &str, waiting: usize) -> Fault;
    /// Reports a stop to whoever looks after many machines. Answers whether that worked.
    fn report(&mut self, stop: Stop, fault: &Fault, waiting: usize) -> bool;
}

/// Settings are looked at so often while something waits for them.
const LOOK: Duration = Duration::from_secs(2);
/// Longest sleep: now and then everything is looked at anew.
const NAP: Duration = Duration::from_secs(60);
/// Old calls are removed so often.
const TIDY: Duration = Duration::from_secs(3600);
/// The time of the last success is written down no more often.
const NOTE: Duration = Duration::from_secs(5);
/// So many failures in a row, of everything or of each contact that waits, are enough for
/// [`Until::Tried`].
const TRIES: u32 = 3;
/// An operator who asked for delivery now is not kept waiting longer than this at a time.
const PATIENCE: Duration = Duration::from_secs(60);

/// A call's place in time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    /// Left in sending/ by an earlier deliverer.
    Found(usize),
    /// Came since.
    Came(Place),
}

pub struct Driver<'a, W: World> {
    spool: &'a spool::Deliverer,
    incoming: Incoming,
    queue: Queue<Order>,
    world: &'a mut W,
    until: Until,
    state: QueueState,
    /// When `state` was last written down.
    noted: Duration,
    /// Nothing is tried before.
    gate: Option<Duration>,
    /// Failures in a row that were everybody's.
    failures: u32,
    /// Contacts whose calls have failed since the last success.
    failed: HashSet<String>,
    /// Contacts whose calls were refused since the last success.
    refused: HashSet<String>,
    /// Calls handed in once more while they were being sent.
    doubles: HashSet<Id>,
    /// Why the last attempt failed.
    last_words: String,
    /// The last attempt failed because of the disk.
    disk: Option<io::ErrorKind>,
    stopped: Option<(Stop, Box<Fault>)>,
    tidied: Option<Duration>,
    empty_since: Option<Duration>,
}

impl<'a, W: World> Driver<'a, W> {
    pub fn new(spool: &'a spool::Deliverer, world: &'a mut W, until: Until) -> Self {
        Self {
            incoming: Incoming::new(spool),
            queue: Queue::new(),
            until,
            state: spool.state(),
            noted: Duration::ZERO,
            gate: None,
            failures: 0,
            failed: HashSet::new(),
            refused: HashSet::new(),
            doubles: HashSet::new(),
            last_words: String::new(),
            disk: None,
            stopped: None,
            tidied: None,
            empty_since: None,
            spool,
            world,
        }
    }

    /// Delivers.
    pub fn run(mut self) -> End {
        while let Err(error) = self.take_up_unfinished() {
            if let Some(end) = self.trouble(&error).and_then(|()| self.rest_at_gate()) {
                return end;
            }
        }
        self.take_up_arrived();
        self.world.tell(Event::Begun(self.queue.len()));
        let end = loop {
            if !self.spool.is_current() {
                // Nothing may be written where it was.
                return End::Gone;
            }
            if let Some(end) = self.step() {
                break end;
            }
        };
        if self.spool.is_current() {
            self.note(true);
        }
        end
    }

    /// One thing: an attempt, or a sleep.
    fn step(&mut self) -> Option<End> {
        self.take_up_arrived();
        self.tidy();
        if self.queue.is_empty() {
            return self.rest_when_empty();
        }
        self.empty_since = None;
        if self.gate.is_some_and(|gate| gate > self.world.now()) {
            return self.rest_at_gate();
        }
        match self.queue.next(self.world.now()) {
            Some(next) => {
                if let Err(error) = self.attempt(&next) {
                    self.trouble(&error);
                    self.put_off(&next.id, LOOK);
                }
                match &self.stopped {
                    Some((stop, fault)) if self.until == Until::Tried => {
                        Some(End::Stopped(*stop, fault.clone()))
                    }
                    // Between two calls, not only when there is nothing to do.
                    _ => self.rest(Duration::ZERO),
                }
            }
            None => self.rest_until_due(),
        }
    }

    // --- what waits -------------------------------------------------------------------------

    /// Calls that an earlier deliverer was at when it ended: perhaps they were sent.
    fn take_up_unfinished(&mut self) -> io::Result<()> {
        let (records, damaged) = self.spool.perhaps_sent()?;
        for damaged in &damaged {
            self.world.tell(Event::Damaged(damaged));
        }
        let (timeout, settle) = match self.world.link() {
            Ok(link) => (link.timeout, link.settle),
            Err(_) => (Duration::ZERO, Duration::ZERO),
        };
        let moment = self.world.moment();
        for (index, record) in records.into_iter().enumerate() {
            let ask_at = self.world.now() + unsettled(&record, &moment, timeout, settle);
            let number = record.number.as_deref().unwrap_or_default();
            self.queue
                .add(record.id.clone(), number, Order::Found(index), Some(ask_at));
        }
        Ok(())
    }

    fn take_up_arrived(&mut self) {
        let arrived = self.incoming.take(self.spool);
        for damaged in &arrived.damaged {
            self.world.tell(Event::Damaged(damaged));
        }
        if let Some(error) = &arrived.trouble {
            let words = words_of(error);
            if self.last_words != words {
                self.world.tell(Event::Trouble(words.clone()));
                self.last_words = words;
            }
        }
        for waiting in arrived.waiting {
            let id = waiting.place.id.clone();
            if self.queue.knows(&id) {
                self.doubles.insert(id);
                continue;
            }
            self.queue
                .add(id, &waiting.number, Order::Came(waiting.place), None);
        }
    }

    fn tidy(&mut self) {
        let now = self.world.now();
        if self.tidied.is_some_and(|at| now < at + TIDY) {
            return;
        }
        self.tidied = Some(now);
        let Ok(link) = self.world.link() else { return };
        match self.spool.tidy(link.keep) {
            Ok(0) => {}
            Ok(removed) => self.world.tell(Event::Tidied(removed)),
            Err(error) => self.world.tell(Event::Trouble(words_of(&error))),
        }
    }

    // --- sleeping ---------------------------------------------------------------------------

    fn rest(&mut self, limit: Duration) -> Option<End> {
        let woken = self.world.wait(&self.incoming, limit);
        if woken.kicked {
            self.gate = None;
            // Also those whose turn comes later because they failed; not those of which RapidPro
            // cannot tell yet whether it has them.
            self.queue.hurry(false);
        }
        woken.stopping.then_some(End::Told)
    }

    fn rest_when_empty(&mut self) -> Option<End> {
        self.note(true);
        let now = self.world.now();
        let since = *self.empty_since.get_or_insert(now);
        match self.until {
            Until::Told => self.rest(NAP),
            Until::Tried => Some(End::Empty),
            Until::Idle(linger) => match (since + linger).checked_sub(now) {
                Some(left) if !left.is_zero() => self.rest(left.min(NAP)),
                _ => Some(End::Empty),
            },
        }
    }

    fn rest_at_gate(&mut self) -> Option<End> {
        let left = self.gate?.saturating_sub(self.world.now());
        if self.until == Until::Tried && (self.failures >= TRIES || left > PATIENCE) {
            return Some(self.gave_up());
        }
        self.note(false);
        if self.stopped.is_some() && self.world.settings_changed() {
            self.gate = None;
            return None;
        }
        let nap = if self.stopped.is_some() { LOOK } else { NAP };
        self.rest(left.min(nap))
    }

    fn gave_up(&mut self) -> End {
        let words = self.last_words.clone();
        match self.disk {
            Some(kind) => End::Spool(kind, words),
            None => End::GaveUp(words),
        }
    }

    fn rest_until_due(&mut self) -> Option<End> {
        let tired = self.queue.fewest_failures().is_some_and(|n| n >= TRIES);
        if self.until == Until::Tried && tired {
            return Some(self.gave_up());
        }
        self.note(false);
        let now = self.world.now();
        let left = self.queue.due().map_or(NAP, |due| due.saturating_sub(now));
        self.rest(left.min(NAP))
    }

    // --- what follows from an attempt -------------------------------------------------------

    /// Everything waits, longer each time.
    fn all_later(&mut self, words: &str, longest: Duration) {
        self.failures = self.failures.saturating_add(1);
        let wait = decide::pause(self.failures, longest, self.world.dice());
        self.close_gate(words, wait);
    }

    fn close_gate(&mut self, words: &str, wait: Duration) {
        self.gate = Some(self.world.now() + wait);
        self.world.tell(Event::AllLater { why: words, wait });
        self.note(false);
    }

    /// Nothing goes on until something is put right: reported once, tried again now and then.
    fn stop(&mut self, stop: Stop, fault: Box<Fault>, retry: Duration) {
        self.gate = Some(self.world.now() + retry);
        let code = decide::code(stop);
        let known = self.state.stopped.take().filter(|old| old.code == code);
        let mut stopped = known.unwrap_or_else(|| Stopped {
            code: code.to_owned(),
            text: String::new(),
            since: self.world.moment().at,
            reported: false,
        });
        let title = fault.title.as_str();
        stopped.text = title.strip_prefix("calls: ").unwrap_or(title).to_owned();
        let news = !stopped.reported
            || self
                .stopped
                .as_ref()
                .is_none_or(|(before, _)| *before != stop);
        self.world.tell(Event::Stopped {
            fault: &fault,
            news,
        });
        if !stopped.reported {
            stopped.reported = self.world.report(stop, &fault, self.queue.len());
        }
        self.state.stopped = Some(stopped);
        self.last_words.clone_from(&fault.title);
        self.stopped = Some((stop, fault));
        self.note(true);
    }

    /// The spool cannot be used: a full disk, mostly. Tried again, longer each time.
    fn trouble(&mut self, error: &io::Error) -> Option<()> {
        let words = words_of(error);
        self.last_words.clone_from(&words);
        self.disk = Some(error.kind());
        self.all_later(&words, NAP);
        Some(())
    }

    /// The call has left the queue.
    fn forget(&mut self, id: &Id) {
        self.queue.settled(id);
        self.incoming.forget(id);
        if self.doubles.remove(id) {
            // Removes the second copy, since the first is known by now.
            let _ = self.spool.begin_attempt(id);
        }
    }

    /// Something came between: the call is where it is on disk. In sending/ it may have been sent,
    /// whatever is remembered of it.
    fn put_off(&mut self, id: &Id, wait: Duration) {
        if !self.queue.knows(id) {
            return;
        }
        let until = self.world.now() + wait;
        match self.spool.read(Folder::Sending, id) {
            Ok(None) => match self.spool.read(Folder::New, id) {
                Ok(None) => self.forget(id),
                _ => self.queue.postpone(id, false, until),
            },
            _ => self.queue.postpone(id, true, until),
        }
    }

    /// Writes down how the queue is, for `ooy calls list`.
    fn note(&mut self, at_once: bool) {
        let now = self.world.now();
        if !at_once && now < self.noted + NOTE && self.noted != Duration::ZERO {
            return;
        }
        let until = match self.gate {
            Some(gate) if !self.queue.is_empty() => Some(gate),
            _ => self.queue.due(),
        };
        self.state.next_attempt = until
            .filter(|at| *at > now)
            .and_then(|at| self.world.moment().at.checked_add(at - now).ok());
        // That this cannot be written keeps no call from being delivered.
        if self.spool.set_state(&self.state).is_ok() {
            self.noted = now;
        }
    }
}

/// Without the number that only programmers know.
fn words_of(error: &io::Error) -> String {
    let words = error.to_string();
    let words = words.split(" (os error").next().unwrap_or_default();
    format!("spool: {words}")
}

/// How long until RapidPro can tell whether it has a call that an earlier deliverer was sending:
/// its request has ended by now, or at its time limit, and then has to settle.
fn unsettled(record: &Record, now: &Moment, timeout: Duration, settle: Duration) -> Duration {
    let attempt = record.last_attempt.as_ref();
    let same_boot = attempt.filter(|attempt| !now.boot.is_empty() && attempt.boot == now.boot);
    match same_boot {
        Some(attempt) => {
            let age = Duration::from_millis(now.mono_ms.saturating_sub(attempt.mono_ms));
            let over = age.saturating_sub(timeout);
            settle.saturating_sub(over)
        }
        None => settle,
    }
}
