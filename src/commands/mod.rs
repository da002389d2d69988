//! One thin file a subcommand: from arguments to a call below, and from its result to the screen.

pub mod agi;
mod backup;
mod boot;
mod bundle;
mod calls;
mod completions;
mod config;
mod diagnose;
mod fix;
mod history;
mod images;
mod init;
mod lines;
mod logs;
mod man;
mod restart;
mod restore;
mod self_update;
mod start;
mod status;
mod stop;
mod upgrade;
pub mod version;
mod watch;

use std::future::Future;
use std::io;
use std::time::Instant;

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{Cli, Command};
use crate::deployment::places::Places;
use crate::diagnosis::Quiet;
use crate::fault::{Fault, Kind};
use crate::lifecycle::{Context, surroundings};
use crate::operation::{Kind as Event, Operation, Reporter};
use crate::ui::{Ui, progress};

/// Why a command ended early.
pub enum Failure {
    /// Something is wrong; the operator is told.
    Faults(Vec<Fault>),
    /// Whoever read our output has gone (`ooy logs | head`): nothing to tell to nobody.
    BrokenPipe,
    /// Ctrl-C in a command that only shows.
    Interrupted,
}

impl From<Box<Fault>> for Failure {
    fn from(fault: Box<Fault>) -> Self {
        Failure::Faults(vec![*fault])
    }
}

impl From<Vec<Fault>> for Failure {
    fn from(faults: Vec<Fault>) -> Self {
        Failure::Faults(faults)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Failure::BrokenPipe;
        }
        Failure::Faults(vec![
            Fault::problem("output: cannot be written", "writing the answer failed")
                .evidence(error.to_string())
                .why("the answer is incomplete")
                .next("df -h"),
        ])
    }
}

/// The exit code of a command, or why it ended early.
pub type Outcome = Result<u8, Failure>;

/// Runs the command; its exit code.
pub fn run(cli: &Cli) -> u8 {
    let ui = Ui::new(&cli.global);
    let places = Places::new(cli.global.home.as_deref());
    let outcome = match &cli.command {
        Command::Init(arguments) => init::run(&ui, &places, arguments),
        Command::Config(arguments) => config::run(&ui, &places, arguments),
        Command::Start(arguments) => start::run(&ui, &places, arguments),
        Command::Stop(arguments) => stop::run(&ui, &places, arguments),
        Command::Restart(arguments) => restart::run(&ui, &places, arguments),
        Command::Status(arguments) => status::run(&ui, &places, arguments),
        Command::Logs(arguments) => logs::run(&ui, &places, arguments),
        Command::Diagnose(arguments) => diagnose::run(&ui, &places, arguments),
        Command::Fix(arguments) => fix::run(&ui, &places, arguments),
        Command::Watch(arguments) => watch::run(&ui, &places, arguments),
        Command::Boot(arguments) => boot::run(&ui, &places, arguments),
        Command::Bundle(arguments) => bundle::run(&ui, &places, arguments),
        Command::Backup(arguments) => backup::run(&ui, &places, arguments),
        Command::Restore(arguments) => restore::run(&ui, &places, arguments),
        Command::Upgrade(arguments) => upgrade::run(&ui, &places, arguments),
        Command::Rollback(arguments) => upgrade::roll_back(&ui, &places, arguments),
        Command::Resume(arguments) => restore::resume(&ui, &places, arguments),
        Command::Images(arguments) => images::run(&ui, &places, arguments),
        Command::History(arguments) => history::run(&ui, &places, arguments),
        // Only with options before it that `ooy agi` has no use for: see agi::recognise.
        Command::Agi(arguments) => {
            return agi::run(&agi::Job {
                home: cli.global.home.clone(),
                arguments: arguments.arguments.clone(),
            });
        }
        Command::Calls(arguments) => calls::run(&ui, &places, arguments),
        Command::SelfUpdate(arguments) => self_update::run(&ui, &places, arguments),
        Command::SelfCheck => self_update::check_self(&ui, &places),
        Command::Completions(arguments) => completions::run(&ui, arguments),
        Command::Man(arguments) => man::run(&ui, &places, arguments),
        Command::ProbeDataServices => block(async { Ok(surroundings::answer_questions().await) })
            .and_then(|answers| Ok(ui.out(&answers).map(|()| 0)?)),
    };
    let outcome = outcome.and_then(|code| Ok(ui.flush().map(|()| code)?));
    match outcome {
        Ok(code) => code,
        Err(Failure::BrokenPipe) => 0,
        Err(Failure::Interrupted) => Kind::Interrupted.exit_code(),
        Err(Failure::Faults(faults)) => {
            show_faults(&ui, &faults);
            faults
                .iter()
                .map(|fault| fault.kind.exit_code())
                .max()
                .unwrap_or(1)
        }
    }
}

/// Runs what replaces databases: under both locks, the deployment's and that of backups, with begin
/// and end in the journal. What was cut off and can be resumed has not ended. The words are what was
/// asked, the command to repeat, and the one to go on with.
fn under_both_locks<T>(
    context: &Context,
    (asked, again, resume): (&str, &str, &str),
    has_ended: impl Fn() -> bool,
    summary: impl Fn(&T) -> String,
    work: impl AsyncFnOnce() -> Result<T, Vec<Fault>>,
) -> Result<T, Failure> {
    let state = &context.settings.places.state;
    let _backups = crate::backup::lock(state, asked, again)?;
    let _operation = Operation::begin(state, asked, asked, again, &context.reporter)?;
    let began = Instant::now();
    let done = block_interruptible(resume, async { work().await.map_err(Failure::from) });
    let (kind, told) = match &done {
        Ok(value) => (Event::Done, summary(value)),
        Err(Failure::Faults(faults)) => (
            Event::Failed,
            faults
                .first()
                .map_or(String::new(), |fault| fault.title.clone()),
        ),
        Err(_) => (Event::Failed, String::new()),
    };
    if has_ended() {
        let took = Some(began.elapsed());
        context.reporter.tell("operation", kind, took, told);
    }
    done
}

/// Faults in four parts; for machines as objects on standard output.
fn show_faults(ui: &Ui, faults: &[Fault]) {
    if ui.json {
        let value = serde_json::json!({ "schema": 1, "faults": faults });
        let _ = ui.json(&value);
        return;
    }
    for fault in faults {
        ui.fault(fault);
    }
}

/// A question was not answered with yes.
fn declined(title: &str, why: &str, again: String) -> Failure {
    Failure::from(Box::new(
        Fault::problem(title, "nobody agreed to it")
            .evidence("the answer was not y, or there is no terminal to ask on")
            .why(why)
            .next(again),
    ))
}

/// Settings, services and a reporter whose events are shown.
fn context(ui: &Ui, places: &Places, operation: &'static str) -> Result<Context, Failure> {
    let context = Context::load(places, Reporter::new(operation))?;
    show_events(ui, &context);
    Ok(context)
}

/// Shows what the context's reporter tells, in a column as wide as the names of its services.
fn show_events(ui: &Ui, context: &Context) {
    let services = context.stack.services.iter();
    let width = services.map(|service| service.name.chars().count()).max();
    progress::attach(ui, &context.reporter, width.unwrap_or_default());
}

/// Runs a future to its end on a runtime of its own: one thread, made only where it is needed.
fn block<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::from)?;
    // Tasks in the background stay on this thread too.
    tokio::task::LocalSet::new().block_on(&runtime, work)
}

/// The same for work that changes something: Ctrl-C, a closed terminal and SIGTERM end it between
/// two steps, and the operator is told how it is continued.
fn block_interruptible<T>(
    again: &str,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    block(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let signal = tokio::select! {
            result = work => return result,
            _ = tokio::signal::ctrl_c() => "Ctrl-C",
            _ = terminate.recv() => "SIGTERM",
            _ = hangup.recv() => "the terminal was closed",
        };
        Err(Failure::Faults(vec![
            Fault::new(
                Kind::Interrupted,
                "interrupted",
                "the work was stopped in the middle; what was done so far stays",
            )
            .evidence(signal)
            .why("services that were not reached are as they were before")
            .next(again.to_owned()),
        ]))
    })
}

/// A fault of ours is told like any other: no backtrace, no type names. One of a check is a finding.
pub fn catch_panics() {
    std::panic::set_hook(Box::new(|info| {
        use std::io::Write as _;
        if Quiet::is_on() {
            return;
        }
        let place = info
            .location()
            .map(|at| format!("{}:{}", at.file(), at.line()))
            .unwrap_or_default();
        let _ = writeln!(
            io::stderr(),
            "x ooy: internal error\n\n  what      ooy met a case it was not made for; the deployment is as it was left\n  \
             evidence  ooy {} at {place}\n  why       the command did not finish its work\n  next      ooy status\n",
            env!("CARGO_PKG_VERSION")
        );
    }));
}
