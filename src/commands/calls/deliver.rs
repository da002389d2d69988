//! `ooy calls deliver`: what waits, now. In the background, the process that `ooy agi` starts.

use std::io;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

use super::{deliverer, of_spool, set_aside, still_waiting, waiting};
use crate::agi::delivery::{self, Bell, End, Event, Stopper, Until};
use crate::agi::spool::{Busy, Spool};
use crate::cli::CallsDeliver;
use crate::commands::{Failure, Outcome, block};
use crate::deployment::places::Places;
use crate::fault::{Fault, Kind as FaultKind};
use crate::host::{process, text};
use crate::operation::{Kind, Reporter};
use crate::ui::{Ui, human, progress};

/// The background process stays so long after the last call: the next one then needs none.
const LINGER: Duration = Duration::from_secs(10);
/// How often the work of another process is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// So long nothing may move before watching another process is given up.
const PATIENCE: Duration = Duration::from_secs(45);

pub fn run(ui: &Ui, places: &Places, arguments: &CallsDeliver) -> Outcome {
    if arguments.detached {
        return detached(places);
    }
    let stopper = Stopper::new()?;
    let worker = {
        let (ui, places, stopper) = (ui.clone(), places.clone(), stopper.clone());
        move || deliver(&ui, &places, stopper)
    };
    interruptible(&stopper, worker)?
}

/// Runs work in a thread of its own, and stops it at Ctrl-C and SIGTERM: it ends after the
/// request it is at.
fn interruptible<T: Send + 'static>(
    stopper: &Stopper,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    block(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut work = tokio::task::spawn_blocking(work);
        loop {
            tokio::select! {
                done = &mut work => {
                    return done.map_err(|_| io::Error::other("the delivery ended early").into());
                }
                _ = tokio::signal::ctrl_c() => stopper.stop(),
                _ = terminate.recv() => stopper.stop(),
                _ = hangup.recv() => stopper.stop(),
            }
        }
    })
}

fn detached(places: &Places) -> Outcome {
    process::detach();
    let spool = Spool::new(&places.spool);
    let stopper = Stopper::new()?;
    let places = places.clone();
    let worker = {
        let stopper = stopper.clone();
        move || -> Result<(), Failure> {
            let bell = Bell::new(spool.root(), stopper)?;
            // Whoever holds the lock delivers this call too.
            match delivery::run(&places, &spool, Until::Idle(LINGER), &bell, &mut |_| {}) {
                Ok(_) | Err(Busy::Held(_)) => Ok(()),
                Err(Busy::Failed(error)) => Err(error.into()),
            }
        }
    };
    interruptible(&stopper, worker)?.map(|()| 0)
}

fn deliver(ui: &Ui, places: &Places, stopper: Stopper) -> Outcome {
    let spool = Spool::new(&places.spool);
    let reporter = Reporter::new("deliver");
    progress::attach(ui, &reporter, 0);
    let began = Instant::now();
    let failed = |doing: &str, error: io::Error| -> Failure {
        Box::new(spool.fault(doing, &error, places)).into()
    };
    of_spool(&spool, places, "making its folders", spool.make_folders())?;
    let bell = Bell::new(spool.root(), stopper)?;
    let mut teller = Teller {
        reporter: &reporter,
        each: ui.json || ui.verbose,
        sent: 0,
        dead: 0,
        began,
    };
    let end = loop {
        let mut listener = |event: Event| teller.tell(event);
        match delivery::run(places, &spool, Until::Tried, &bell, &mut listener) {
            Ok(End::Gone) => {}
            Ok(end) => break end,
            Err(Busy::Failed(error)) => return Err(failed("delivering calls", error)),
            Err(Busy::Held(_)) => {
                if let Some(end) = watch(&spool, &bell, &mut teller)
                    .map_err(|error| failed("watching the delivery", error))?
                {
                    break end;
                }
            }
        }
    };
    let left = of_spool(&spool, places, "counting what waits", waiting(&spool))?;
    let sent = teller.sent;
    let took = Some(began.elapsed());
    if left > 0 && !spool.is_delivering() {
        // Calls that came meanwhile relied on us.
        // If it cannot be started the next call starts one.
        let _ = delivery::start_detached(places);
    }
    match end {
        End::Empty => {
            let detail = match (sent, teller.dead) {
                (0, 0) => "nothing waits".to_owned(),
                (n, 0) => format!(
                    "{} delivered, nothing waits any more",
                    human::count(n, "call")
                ),
                (n, dead) => format!(
                    "{} delivered, {dead} refused for good ({})",
                    human::count(n, "call"),
                    places.command("calls list --dead")
                ),
            };
            reporter.tell("calls", Kind::Done, took, detail);
            return Ok(u8::from(left > 0));
        }
        End::Told => {}
        _ if sent > 0 => {
            let detail = format!("{} delivered", human::count(sent, "call"));
            reporter.tell("calls", Kind::Progress, None, detail);
        }
        _ => {}
    }
    reporter.tell(
        "operation",
        Kind::Failed,
        took,
        human::count(left, "call") + " left",
    );
    Err(match end {
        End::Stopped(_, fault) => fault.into(),
        End::Spool(kind, words) => failed("delivering calls", io::Error::new(kind, words)),
        End::GaveUp(why) => Box::new(still_waiting(places, left, &why)).into(),
        End::Told | End::Empty | End::Gone => Box::new(
            Fault::new(
                FaultKind::Interrupted,
                "interrupted",
                "the delivery was stopped between two calls",
            )
            .evidence(format!("{} left", human::count(left, "call")))
            .why("they stay on disk; a process in the background goes on with them")
            .next(places.command("calls list")),
        )
        .into(),
    })
}

/// Another process delivers: it is asked to try everything now, and watched. Nothing as an answer
/// means that it has gone.
fn watch(spool: &Spool, bell: &Bell, teller: &mut Teller) -> io::Result<Option<End>> {
    let before = spool.state();
    let first = waiting(spool)?;
    if first == 0 {
        return Ok(Some(End::Empty));
    }
    if let Some(who) = deliverer(spool) {
        let detail = format!("{who} delivers; it was told to try everything now");
        teller.reporter.tell("calls", Kind::Progress, None, detail);
    }
    delivery::kick(spool.root())?;
    let (mut fewest, mut moved) = (first, Instant::now());
    loop {
        if bell.is_stopped() {
            return Ok(Some(End::Told));
        }
        let left = waiting(spool)?;
        if left < fewest {
            (fewest, moved) = (left, Instant::now());
            teller.sent = first.saturating_sub(left);
            teller.progress(left);
        }
        if left == 0 {
            return Ok(Some(End::Empty));
        }
        if !spool.is_delivering() {
            return Ok(None);
        }
        let now = spool.state();
        let tried = now.next_attempt != before.next_attempt;
        let why = match (&now.stopped, tried) {
            (Some(stopped), true) => Some(stopped.text.clone()),
            _ => now
                .last_error
                .clone()
                .filter(|_| moved.elapsed() > PATIENCE),
        };
        if let Some(why) = why {
            return Ok(Some(End::GaveUp(why)));
        }
        std::thread::sleep(LOOK);
    }
}

/// Tells an operator of the deliverer's events.
pub(super) struct Teller<'a> {
    pub reporter: &'a Reporter,
    /// Each call that is sent is worth a line.
    pub each: bool,
    pub sent: usize,
    pub dead: usize,
    pub began: Instant,
}

impl Teller<'_> {
    pub fn tell(&mut self, event: Event) {
        let reporter = self.reporter;
        match event {
            Event::Begun(0) => {}
            Event::Begun(waiting) => {
                let detail = format!("{} to deliver", human::count(waiting, "call"));
                reporter.tell("calls", Kind::Started, None, detail);
            }
            Event::Sent {
                record,
                found,
                took,
                left,
            } => {
                self.sent += 1;
                if self.each {
                    let what = match found {
                        true => "RapidPro had it already, from an attempt whose answer was lost",
                        false => "delivered",
                    };
                    reporter.call("call", record.id.as_str(), Kind::Done, Some(took), what);
                } else {
                    self.progress(left);
                }
            }
            Event::Later {
                record,
                why,
                unsure,
                wait,
            } => {
                let then = match unsure {
                    true => "asked after",
                    false => "tried again",
                };
                let detail = format!("warning: {why}; {then} in {}", human::took(wait));
                reporter.call("call", record.id.as_str(), Kind::Progress, None, detail);
            }
            Event::AllLater { why, wait } => {
                let detail = format!("warning: {why}; all wait {}", human::took(wait));
                reporter.tell("calls", Kind::Progress, None, detail);
            }
            Event::Dead { record, why } => {
                self.dead += 1;
                let detail = format!("RapidPro will never take it: {}", text::sanitize(why));
                reporter.call("call", record.id.as_str(), Kind::Failed, None, detail);
            }
            Event::Damaged(damaged) => {
                let detail = format!("warning: {}", set_aside(damaged));
                reporter.tell("calls", Kind::Progress, None, detail);
            }
            Event::Trouble(words) => {
                let detail = format!("warning: {words}");
                reporter.tell("calls", Kind::Progress, None, detail);
            }
            // Told in its four parts at the end.
            Event::Stopped { .. } => {}
            Event::Resumed => {
                reporter.tell("calls", Kind::Progress, None, "RapidPro takes calls again");
            }
            Event::Tidied(count) => {
                let detail = format!("{} removed, sent long ago", human::count(count, "call"));
                reporter.tell("calls", Kind::Progress, None, detail);
            }
        }
    }

    fn progress(&self, left: usize) {
        let detail = format!("{} delivered · {left} left", self.sent);
        let took = Some(self.began.elapsed());
        self.reporter.tell("calls", Kind::Progress, took, detail);
    }
}
