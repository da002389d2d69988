//! `ooy calls serve`: FastAGI and the delivery in one process, for systemd.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::{named, set_aside};
use crate::agi::delivery::{self, Bell, End, Event, Stopper, Until};
use crate::agi::fastagi::{self, Listener};
use crate::agi::settings::{CallSettings, Listen};
use crate::agi::spool::{Busy, Spool};
use crate::cli::CallsServe;
use crate::commands::lines::Log;
use crate::commands::{Failure, Outcome, block};
use crate::deployment::places::Places;
use crate::fault::Fault;
use crate::host::{notify, text};
use crate::operation::{Kind, Reporter};
use crate::ui::{Ui, human, progress};

/// While another process delivers, or the spool cannot be used: how often it is tried again.
const AGAIN: Duration = Duration::from_secs(1);

pub fn run(ui: &Ui, places: &Places, arguments: &CallsServe) -> Outcome {
    let settings = CallSettings::load(places);
    let listen = listen(&settings, arguments, places)?;
    let stopper = Stopper::new()?;
    block(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let listener = Listener::bind(&listen, places).await?;
        let log = Log(ui.clone());
        let place = listener.as_ref().map(Listener::name);
        let begun = match &place {
            Some(place) => format!("FastAGI on {place}"),
            None => "no FastAGI".to_owned(),
        };
        log.say(&format!(
            "{begun} · calls in {} · deliveries to RapidPro",
            places.spool.display()
        ));
        let mut worker = {
            let (log, places, stopper) = (log.clone(), places.clone(), stopper.clone());
            tokio::task::spawn_blocking(move || deliver(&log, &places, stopper))
        };
        notify::ready(&begun);
        let (tell_end, mut end) = tokio::sync::watch::channel(false);
        let fastagi = async {
            let Some(listener) = listener else {
                let _ = end.wait_for(|ended| *ended).await;
                return Ok(());
            };
            let mut end = end.clone();
            let shutdown = async move {
                let _ = end.wait_for(|ended| *ended).await;
            };
            let log = log.clone();
            let spool = Spool::new(&places.spool);
            fastagi::serve(listener, spool, &settings, shutdown, move |line| {
                log.warn(&line);
            })
            .await
        };
        let ending = async {
            let ended = tokio::select! {
                _ = terminate.recv() => None,
                _ = tokio::signal::ctrl_c() => None,
                done = &mut worker => Some(done),
            };
            notify::stopping();
            log.say("ending: no new connections; the request under way is finished");
            stopper.stop();
            let _ = tell_end.send(true);
            ended
        };
        let (served, ended) = tokio::join!(fastagi, ending);
        let delivered = match ended {
            Some(done) => done,
            None => worker.await,
        };
        served?;
        delivered.map_err(|_| {
            Failure::from(Box::new(
                Fault::problem(
                    "calls serve: the delivery ended early",
                    "a fault of ooy's own has ended the part that delivers",
                )
                .evidence("see the lines above")
                .why("calls are kept; the service is started again by systemd")
                .next(places.command("calls list")),
            ))
        })??;
        log.say("ended");
        Ok(0)
    })
}

fn listen(
    settings: &CallSettings,
    arguments: &CallsServe,
    places: &Places,
) -> Result<Listen, Failure> {
    let Some(given) = &arguments.listen else {
        return Ok(settings.listen.clone());
    };
    Listen::parse(given).ok_or_else(|| {
        Failure::from(Box::new(
            Fault::usage(
                format!(
                    "--listen {}: cannot be understood",
                    text::shorten(given, 80)
                ),
                "it is neither an address with a port, nor unix:/path, nor off",
            )
            .evidence("for example 127.0.0.1:4573, unix:/run/ooy/agi.sock")
            .why("Asterisk has to be told the same place")
            .next(places.command("calls serve --listen 127.0.0.1:4573")),
        ))
    })
}

/// Delivers until stopped.
fn deliver(log: &Log, places: &Places, stopper: Stopper) -> Result<(), Failure> {
    let spool = Spool::new(&places.spool);
    let reporter = Reporter::new("serve");
    if log.0.json {
        progress::attach(&log.0, &reporter, 0);
    }
    let mut told = String::new();
    // Once a state, not once a second.
    let mut once = |words: String| {
        if told != words {
            log.warn(&words);
            told = words;
        }
    };
    while !stopper.is_stopped() {
        let bell = match spool
            .make_folders()
            .and_then(|()| Bell::new(spool.root(), stopper.clone()))
        {
            Ok(bell) => bell,
            Err(error) => {
                once(format!("{}: {error}", spool.root().display()));
                std::thread::sleep(AGAIN);
                continue;
            }
        };
        let mut listener = |event: Event| tell(log, &reporter, event);
        match delivery::run(places, &spool, Until::Told, &bell, &mut listener) {
            Ok(End::Gone) => once("the spool was removed; it is made anew".to_owned()),
            Ok(_) => return Ok(()),
            Err(Busy::Held(process)) => once(format!("{} delivers at present", named(process))),
            Err(Busy::Failed(error)) => once(format!("{}: {error}", spool.root().display())),
        }
        std::thread::sleep(AGAIN);
    }
    Ok(())
}

fn tell(log: &Log, reporter: &Reporter, event: Event) {
    if log.0.json {
        json(reporter, &event);
    }
    match event {
        Event::Begun(0) => {}
        Event::Begun(waiting) => log.say(&format!("{} to deliver", human::count(waiting, "call"))),
        // Numbers are personal data: a log is read by more people than a list.
        Event::Sent {
            record,
            found,
            took,
            left,
        } => {
            let how = if found { "had it already" } else { "has it" };
            log.detail(&format!(
                "{}: RapidPro {how} · {} · {left} left",
                record.id,
                human::took(took)
            ));
            notify::status(&format!("{left} waiting"));
        }
        Event::Later {
            record,
            why,
            unsure,
            wait,
        } => {
            let then = if unsure { "asked after" } else { "tried again" };
            log.warn(&format!(
                "{}: {why}; {then} in {}",
                record.id,
                human::took(wait)
            ));
        }
        Event::AllLater { why, wait } => {
            log.warn(&format!("{why}; all wait {}", human::took(wait)));
        }
        Event::Dead { record, why } => {
            log.warn(&format!(
                "{}: RapidPro will never take it: {why}",
                record.id
            ));
        }
        Event::Damaged(damaged) => log.warn(&set_aside(damaged)),
        Event::Trouble(words) => log.warn(&words),
        Event::Stopped { news: false, .. } => {}
        Event::Stopped { fault, .. } => {
            log.fault("nothing is delivered:", fault);
            notify::status(&fault.title);
        }
        Event::Resumed => {
            log.say("RapidPro takes calls again");
            notify::status("delivering");
        }
        Event::Tidied(count) => log.detail(&format!(
            "{} removed, sent long ago",
            human::count(count, "call")
        )),
    }
}

/// For machines: the events that matter to them.
fn json(reporter: &Reporter, event: &Event) {
    match event {
        Event::Sent { record, took, .. } => {
            reporter.call(
                "call",
                record.id.as_str(),
                Kind::Done,
                Some(*took),
                "delivered",
            );
        }
        Event::Later { record, why, .. } => {
            reporter.call("call", record.id.as_str(), Kind::Progress, None, *why);
        }
        Event::Dead { record, why } => {
            reporter.call("call", record.id.as_str(), Kind::Failed, None, *why);
        }
        Event::Stopped { fault, .. } => {
            reporter.tell("calls", Kind::Failed, None, fault.title.clone());
        }
        Event::Resumed => reporter.tell("calls", Kind::Ready, None, ""),
        _ => {}
    }
}
