//! `ooy watch`: the diagnosis every few minutes, the repairs that lose nothing, and a report of each
//! root cause that comes or goes, while nobody looks.
//!
//! A round looks, looks again after some seconds where something has changed, reports what both
//! looks saw, and makes one repair after the other, each followed by a look. It decides by what it
//! sees; what it remembers ([`memory`]) only keeps it from saying or doing the same too often.

mod alone;
mod choose;
mod deliver;
mod discreet;
mod engine;
mod look;
mod memory;
mod notices;
mod repairs;
mod round;

use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::deployment::places::Places;
use crate::deployment::services::Stack;
use crate::deployment::settings::Settings;
use crate::diagnosis::Diagnosis;
use crate::fault::{Fault, Result};
use crate::host::process;
use crate::lifecycle::Context;
use crate::operation::{self, Reporter};

use alone::Alone;
use deliver::Couriers;
use look::Look;
use memory::Memory;

pub use notices::Event;

/// Between two looks of which the second is to tell whether the first saw something that stays.
const SECOND_LOOK: Duration = Duration::from_secs(10);

/// With `--once`: how long notices may take to be delivered before the rest is left to the next
/// time; and at the end of a watch, how long one that is under way.
const LAST_DELIVERIES: Duration = Duration::from_secs(12);
const PARTING: Duration = Duration::from_millis(300);

/// How to watch.
#[derive(Debug, Clone)]
pub struct Options {
    /// From one round to the next.
    pub interval: Duration,
    /// A single round.
    pub once: bool,
    /// Repairs nothing, and reports nothing but to whoever reads along.
    pub dry_run: bool,
}

/// What whoever reads along is told.
pub enum Told<'a> {
    /// A root cause (as `diagnose --json` has it) has come, gone or flaps; how long it was there.
    Cause(Event, &'a Value, Option<Duration>),
    /// A repair begins.
    Repairing(&'a str, &'a str),
    /// A repair has ended: its name, what it was about, what was seen or why it did not help.
    Repaired(Event, &'a str, &'a str, &'a str),
    /// It would be made: its name, what it is about, its steps.
    Planned(&'a str, &'a str, &'a str),
    /// It is not made: its name, what it is about, why.
    LeftAlone(&'a str, &'a str, &'a str),
    /// A step of a repair under way.
    Step(&'a operation::Event),
    /// A round has ended.
    Looked(&'a Diagnosis, Duration),
    /// Somebody else works on the deployment.
    Waits(&'a str),
    /// Docker answers again.
    DockerIsBack,
    /// Something of the watch's own does not work.
    Trouble(&'a str),
}

/// Hears what happens.
pub type Listener = Rc<dyn Fn(&Told<'_>)>;

/// A watch over one deployment.
pub struct Watch {
    places: Places,
    options: Options,
    listener: Listener,
    memory: Memory,
    couriers: Couriers,
    /// What couriers have to say.
    lines: UnboundedReceiver<String>,
    /// The last look.
    before: Option<Look>,
    /// What was told last, so that the same is not told in each round.
    said: round::Said,
    _alone: Option<Alone>,
}

impl Watch {
    /// Begins, as the only one. Nothing is looked at yet.
    pub fn new(places: &Places, options: Options, listener: Listener) -> Result<Self> {
        // A look changes nothing: it needs no lock and leaves no trace.
        let alone = match options.dry_run {
            true => None,
            false => Some(Alone::take(places)?),
        };
        let (told, lines) = unbounded_channel();
        Ok(Self {
            places: places.clone(),
            memory: Memory::load(&places.state),
            couriers: Couriers::new(&places.state, &told),
            options,
            listener,
            lines,
            before: None,
            said: round::Said::default(),
            _alone: alone,
        })
    }

    /// Watches. Ends only with `--once`; the answer is whether all is well. May be dropped at any
    /// await: a repair that is under way then is finished by the next watch.
    pub async fn run(&mut self) -> Result<bool> {
        let (context, wrong) = self.context()?;
        self.resend();
        if self.options.once {
            let began = Instant::now();
            let diagnosis = self.round(&context, &wrong).await;
            (self.listener)(&Told::Looked(&diagnosis, began.elapsed()));
            if !self.options.dry_run {
                self.couriers.settle(LAST_DELIVERIES);
            }
            self.hear();
            return Ok(diagnosis.ok);
        }
        let (told, mut restarted) = unbounded_channel();
        if !Settings::only_calls(&wrong) {
            let project = context.settings.project().to_owned();
            tokio::task::spawn_local(engine::restarts(project, told.clone()));
        }
        drop((context, wrong));
        loop {
            let began = Instant::now();
            match self.context() {
                Ok((context, wrong)) => {
                    let diagnosis = self.round(&context, &wrong).await;
                    (self.listener)(&Told::Looked(&diagnosis, began.elapsed()));
                }
                // Somebody is editing them, perhaps. What runs goes on with what it was started with.
                Err(fault) => self.trouble(&fault),
            }
            process::give_back_memory();
            let next = tokio::time::sleep(self.options.interval.saturating_sub(began.elapsed()));
            tokio::pin!(next);
            loop {
                tokio::select! {
                    () = &mut next => break,
                    Some(()) = restarted.recv() => {
                        (self.listener)(&Told::DockerIsBack);
                        break;
                    }
                    Some(line) = self.lines.recv() => (self.listener)(&Told::Trouble(&line)),
                }
            }
        }
    }

    /// Before the process ends: a delivery that is under way may just be finished.
    pub fn part(&mut self) {
        if !self.options.dry_run {
            self.couriers.settle(PARTING);
        }
        self.hear();
    }

    /// The deployment as its settings have it now: they may have changed since the last round.
    fn context(&self) -> Result<(Context, Vec<String>)> {
        let (settings, wrong) = Settings::load_with_faults(&self.places)?;
        let stack = Stack::load(&settings)?;
        if !self.options.dry_run {
            self.couriers.set(&settings);
        }
        Ok((
            Context::assemble(settings, stack, Reporter::new("watch")),
            wrong,
        ))
    }

    /// What the last watch was about to report when it was killed.
    fn resend(&mut self) {
        if self.options.dry_run || self.memory.outbox.is_empty() {
            return;
        }
        for notice in std::mem::take(&mut self.memory.outbox) {
            self.couriers.push(&notice);
        }
        self.remember();
    }

    /// Writes down what has to be known later. Where that fails it is known as long as this process
    /// lives.
    fn remember(&mut self) {
        if self.options.dry_run {
            return;
        }
        let written = self.memory.save();
        let words = match &written {
            Ok(()) => String::new(),
            Err(error) => format!(
                "{}: {error}; a restarted watch will report again what is known",
                self.places.state.join("watch.json").display()
            ),
        };
        if self.said.is_news("memory", &words) && !words.is_empty() {
            (self.listener)(&Told::Trouble(&words));
        }
    }

    fn trouble(&mut self, fault: &Fault) {
        let words = format!("{}: {}", fault.title, fault.evidence.join("; "));
        if self.said.is_news("round", &words) {
            (self.listener)(&Told::Trouble(&words));
        }
    }

    fn hear(&mut self) {
        while let Ok(line) = self.lines.try_recv() {
            (self.listener)(&Told::Trouble(&line));
        }
    }
}
