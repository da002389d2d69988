//! `ooy watch`.

use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use super::lines::Log;
use super::{Failure, Outcome};
use crate::cli;
use crate::deployment::keys;
use crate::deployment::places::Places;
use crate::diagnosis::{Diagnosis, Severity};
use crate::fault::Fault;
use crate::host::{notify, process, text};
use crate::operation::{Kind, Reporter};
use crate::ui::{Ui, human, progress};
use crate::watch::{Event, Options, Told, Watch};

/// Bounds of the interval: more often costs more than it finds, and more seldom is none.
const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(3600);

/// What still runs in other threads at the end (a name that DNS does not answer for) is not waited
/// for longer.
const LEFT_BEHIND: Duration = Duration::from_millis(100);

pub fn run(ui: &Ui, places: &Places, arguments: &cli::Watch) -> Outcome {
    let interval = interval(&arguments.interval, places)?;
    process::share_memory_pools();
    let options = Options {
        interval,
        once: arguments.once,
        dry_run: arguments.dry_run,
    };
    let teller = Teller::new(ui, arguments);
    let mut watch = Watch::new(places, options, Rc::new(move |told| teller.hear(told)))?;
    let log = Log(ui.clone());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let tasks = tokio::task::LocalSet::new();
    let outcome = tasks.block_on(&runtime, async {
        // All before anything is looked at: a look keeps this thread busy for a while.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        if !arguments.once && !ui.json {
            log.say(&format!("watching every {}", human::age(interval)));
        }
        notify::ready("looking for the first time");
        // Whatever it is at is dropped: each step of a round allows that.
        let signal = tokio::select! {
            ended = watch.run() => return Ok(u8::from(!ended?)),
            _ = interrupt.recv() => "Ctrl-C",
            _ = terminate.recv() => "SIGTERM",
            _ = hangup.recv() => "the terminal was closed",
        };
        notify::stopping();
        watch.part();
        if arguments.once {
            return Err(Failure::Interrupted);
        }
        if !ui.json {
            log.say(&format!("ended: {signal}"));
        }
        Ok(0)
    });
    drop(tasks);
    runtime.shutdown_timeout(LEFT_BEHIND);
    outcome
}

fn interval(given: &str, places: &Places) -> Result<Duration, Failure> {
    let fault = |title: &str, what: &str| {
        Failure::from(Box::new(
            Fault::usage(
                format!("--interval {}: {title}", text::shorten(given, 40)),
                what,
            )
            .evidence("from 5s to 60m, for example 30s or 5m")
            .why("nothing is watched")
            .next(places.command("watch --interval 5m")),
        ))
    };
    let Some(interval) = keys::interval(given) else {
        return Err(fault(
            "cannot be understood",
            "it is not a time such as 30s or 5m",
        ));
    };
    if interval < SHORTEST {
        return Err(fault("too short", "looking costs more than it finds"));
    }
    if interval > LONGEST {
        return Err(fault("too long", "what is broken would stay so for hours"));
    }
    Ok(interval)
}

/// Tells what happens: lines for people, events for machines, a status for systemd.
struct Teller {
    ui: Ui,
    log: Log,
    reporter: Reporter,
    once: bool,
}

impl Teller {
    fn new(ui: &Ui, arguments: &cli::Watch) -> Self {
        let reporter = Reporter::new("watch");
        if ui.json {
            progress::attach(ui, &reporter, 0);
        }
        Self {
            ui: ui.clone(),
            log: Log(ui.clone()),
            reporter,
            once: arguments.once,
        }
    }

    fn hear(&self, told: &Told<'_>) {
        if self.ui.json {
            self.json(told);
        } else {
            self.line(told);
        }
        match told {
            Told::Looked(diagnosis, took) if !self.once => {
                notify::status(&status(diagnosis, *took));
            }
            Told::Repairing(label, about) => {
                notify::status(&format!("repairing ({label}): {about}"))
            }
            _ => {}
        }
    }

    fn line(&self, told: &Told<'_>) {
        let log = &self.log;
        match told {
            Told::Cause(event, finding, lasted) => {
                let word = |name: &str| finding[name].as_str().unwrap_or_default();
                let mut line = format!("{}: {} ({})", event.word(), word("summary"), word("code"));
                if let Some(lasted) = lasted {
                    line += &format!(", after {}", human::age(*lasted));
                }
                let fix = finding["fix"]["command"].as_str();
                if let (true, Some(fix)) = (event.is_bad(), fix) {
                    line += &format!(" · {fix}");
                }
                match event.is_bad() {
                    true => log.tell(&line),
                    false => log.say(&line),
                }
            }
            Told::Repairing(label, about) => log.say(&format!("repairing ({label}): {about}")),
            Told::Repaired(event, label, about, result) => {
                let line = format!("{} ({label}): {about} · {result}", event.word());
                match event.is_bad() {
                    true => log.tell(&line),
                    false => log.say(&line),
                }
            }
            Told::Planned(label, about, steps) => {
                log.say(&format!("would repair ({label}): {about} · {steps}"));
            }
            Told::LeftAlone(label, about, why) => {
                log.say(&format!("left alone ({label}): {about} · {why}"));
            }
            Told::Step(event) => {
                if event.step != "operation" && event.event != Kind::Progress {
                    let who = event.service.as_deref().unwrap_or(event.step);
                    let word = kind_word(event.event);
                    log.detail(&format!("{}: {who} {word} {}", event.step, event.detail));
                }
            }
            Told::Looked(diagnosis, took) if self.once => log.say(&status(diagnosis, *took)),
            Told::Looked(diagnosis, took) => log.detail(&status(diagnosis, *took)),
            Told::Waits(who) => log.say(&format!(
                "{who} is under way: nothing is repaired or reported until it has ended"
            )),
            Told::DockerIsBack => log.say("Docker was away and answers again"),
            Told::Trouble(words) => log.warn(words),
        }
    }

    fn json(&self, told: &Told<'_>) {
        let tell = |step, kind, took, detail: String| {
            self.reporter.tell(step, kind, took, detail);
        };
        match told {
            Told::Cause(event, finding, lasted) => {
                let (kind, detail) = cause_event(*event, finding);
                match finding["service"].as_str() {
                    Some(service) => self
                        .reporter
                        .service("cause", service, kind, *lasted, detail),
                    None => tell("cause", kind, *lasted, detail),
                }
            }
            Told::Repairing(label, about) => {
                tell("repair", Kind::Started, None, format!("{label}: {about}"));
            }
            Told::Repaired(event, label, _, result) => {
                let kind = match event.is_bad() {
                    true => Kind::Failed,
                    false => Kind::Done,
                };
                tell("repair", kind, None, format!("{label}: {result}"));
            }
            Told::Planned(label, _, steps) => {
                tell("repair", Kind::Planned, None, format!("{label}: {steps}"));
            }
            Told::LeftAlone(label, _, why) => {
                tell("repair", Kind::Skipped, None, format!("{label}: {why}"));
            }
            Told::Step(event) => {
                // A reader that went away must not stop the repair.
                let _ = self.ui.json(event);
                let _ = self.ui.flush();
            }
            Told::Looked(diagnosis, took) => {
                tell("round", Kind::Done, Some(*took), status(diagnosis, *took));
            }
            Told::Waits(who) => tell("round", Kind::Skipped, None, format!("{who} is under way")),
            Told::DockerIsBack => tell("docker", Kind::Ready, None, String::new()),
            Told::Trouble(words) => {
                tell("watch", Kind::Progress, None, format!("warning: {words}"))
            }
        }
    }
}

fn cause_event(event: Event, finding: &Value) -> (Kind, String) {
    let word = |name: &str| finding[name].as_str().unwrap_or_default();
    let kind = match event {
        Event::Gone => Kind::Done,
        Event::Flapping => Kind::Progress,
        _ => Kind::Failed,
    };
    let said = format!("{}: {}: {}", event.word(), word("code"), word("summary"));
    (kind, said)
}

fn kind_word(kind: Kind) -> String {
    let word = serde_json::to_value(kind).unwrap_or_default();
    word.as_str().unwrap_or_default().to_owned()
}

/// How it was at the last look: "nothing is wrong · looked at 02:14:07, 1.1 s".
fn status(diagnosis: &Diagnosis, took: Duration) -> String {
    let causes = diagnosis
        .roots()
        .filter(|finding| finding.severity > Severity::Info)
        .count();
    let how = match causes {
        0 => "nothing is wrong".to_owned(),
        n => format!("{} known", human::count(n, "cause")),
    };
    let at = jiff::Zoned::now().strftime("%H:%M:%S").to_string();
    format!("{how} · looked at {at}, {}", human::took(took))
}
