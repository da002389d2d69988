//! `ooy start`: makes everything exist, then starts each service the moment the last thing it
//! needs is ready (design.md section 5). Safe to run again at any point: it looks first and does
//! only what is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::bring_up::Run;
use super::observe::{Action, Observed, compose_answer};
use super::surroundings::Migrations;
use super::{Context, preflight};
use crate::fault::{Fault, Result};
use crate::operation::{Kind, Operation};

/// What to start, and how.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// These services and what they need; none named: all.
    pub services: Vec<String>,
    /// How long each may take to become ready, in the place of its own limit.
    pub timeout: Option<Duration>,
    /// Only show what would be done.
    pub dry_run: bool,
    /// After a boot these stay down: a restore or an upgrade of their database was cut off.
    pub held_back: BTreeSet<String>,
    /// After a boot: what is there comes up as it is, and a changed configuration waits for a
    /// person. What Docker has brought back too early, and so does not do its work, is started
    /// once more. See [`super::at_boot`], which chooses the services.
    pub at_boot: bool,
    /// The release task of this service has just been run: what runs of the same image need not wait
    /// for it.
    pub released: Option<&'static str>,
}

/// How a service has come out of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Ready; it was so before.
    Unchanged,
    /// Ready; it was started.
    Ready,
    /// Failed or not ready in time.
    Failed(Box<Fault>),
    /// Not started, because of this service.
    NotStarted(String),
}

/// What came of a start.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Each chosen service and its end.
    pub services: BTreeMap<String, End>,
    /// The chain of services that took longest, and how long it took.
    pub longest_path: (Vec<String>, Duration),
    /// How long the whole took.
    pub took: Duration,
}

impl Outcome {
    /// How many are ready.
    pub fn ready(&self) -> usize {
        self.services
            .values()
            .filter(|end| matches!(end, End::Unchanged | End::Ready))
            .count()
    }

    /// Why services failed.
    pub fn failures(&self) -> Vec<Fault> {
        let ends = self.services.values();
        ends.filter_map(|end| match end {
            End::Failed(fault) => Some((**fault).clone()),
            _ => None,
        })
        .collect()
    }

    /// Whether nothing had to be done.
    pub fn unchanged(&self) -> bool {
        self.services.values().all(|end| *end == End::Unchanged)
    }
}

/// Starts. Faults before anything was started are the error; services that fail are in the
/// outcome, since the others come up all the same.
pub async fn start(
    context: &Context,
    options: &Options,
) -> std::result::Result<Outcome, Vec<Fault>> {
    let began = Instant::now();
    let one = |fault: Box<Fault>| vec![*fault];
    let stack = &context.stack;
    let named = stack
        .select(&options.services, &context.command("start"))
        .map_err(one)?;
    let chosen = stack.graph.with_needs(named.iter().map(String::as_str));
    let asked = super::asked("start", &options.services);
    let again = context.command(&asked);
    let places = &context.settings.places;
    let _operation = if options.dry_run {
        None
    } else {
        Some(
            Operation::begin(&places.state, "start", &asked, &again, &context.reporter)
                .map_err(one)?,
        )
    };
    let outcome = start_locked(context, options, &chosen, &again).await;
    if !options.dry_run {
        tell_end(context, &outcome, began);
    }
    outcome
}

/// The journal's last line of a start.
pub(super) fn tell_end(
    context: &Context,
    outcome: &std::result::Result<Outcome, Vec<Fault>>,
    began: Instant,
) {
    let (kind, took, summary) = match outcome {
        Ok(outcome) => (
            if outcome.ready() < outcome.services.len() {
                Kind::Failed
            } else {
                Kind::Done
            },
            outcome.took,
            format!("{} of {} ready", outcome.ready(), outcome.services.len()),
        ),
        Err(_) => (
            Kind::Failed,
            began.elapsed(),
            "nothing was started".to_owned(),
        ),
    };
    context
        .reporter
        .tell("operation", kind, Some(took), summary);
}

/// The same, for an operation that holds the lock already. `chosen` are all services that are to
/// run in the end, what they need among them; `again` is the command to repeat.
pub async fn start_locked(
    context: &Context,
    options: &Options,
    chosen: &BTreeSet<String>,
    again: &str,
) -> std::result::Result<Outcome, Vec<Fault>> {
    let began = Instant::now();
    let one = |fault: Box<Fault>| vec![*fault];
    let scratch = Scratch::new(options.dry_run).map_err(one)?;
    let folder = scratch
        .folder()
        .unwrap_or(&context.settings.places.rendered);
    let mut observed = Observed::new(context, chosen, folder, !options.dry_run)
        .await
        .map_err(one)?;
    if options.at_boot {
        observed.as_it_is();
    }
    if !options.dry_run {
        for (name, action) in observed.changes() {
            let reporter = &context.reporter;
            reporter.service("plan", name, Kind::Planned, None, action.word());
        }
    }
    let make = async |observed: &Observed| match options.dry_run {
        true => Ok(()),
        false => create(context, observed).await,
    };
    let migrations = preflight::run(context, &mut observed, options.dry_run, make).await?;
    if options.dry_run {
        for (name, action) in &observed.plan {
            context
                .reporter
                .service("start", name, Kind::Planned, None, action.word());
        }
        return Ok(Outcome {
            took: began.elapsed(),
            ..Default::default()
        });
    }
    if observed.changes().next().is_some() {
        observed.look_again(context).await.map_err(one)?;
    }
    Ok(
        Run::new(context, observed, migrations, options, again.to_owned())
            .all(chosen, began)
            .await,
    )
}

/// The same, for an operation that has just made the containers of what it starts, with everything
/// looked at before: they are started as they are. Where one is missing after all, it is a start like
/// any other.
pub async fn start_made(
    context: &Context,
    options: &Options,
    chosen: &BTreeSet<String>,
    again: &str,
) -> std::result::Result<Outcome, Vec<Fault>> {
    let began = Instant::now();
    let made = Observed::made(context, chosen).await;
    let Some(observed) = made.map_err(|fault| vec![*fault])? else {
        return start_locked(context, options, chosen, again).await;
    };
    let run = Run::new(
        context,
        observed,
        Migrations::new(),
        options,
        again.to_owned(),
    );
    Ok(run.all(chosen, began).await)
}

/// A folder for rendered files while nothing may be written to the deployment's own.
struct Scratch(Option<std::path::PathBuf>);

impl Scratch {
    fn new(wanted: bool) -> Result<Self> {
        if !wanted {
            return Ok(Self(None));
        }
        super::preflight::scratch_folder().map(|folder| Self(Some(folder)))
    }

    fn folder(&self) -> Option<&std::path::Path> {
        self.0.as_deref()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(folder) = &self.0 {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// Makes what is missing and makes anew what is not running and differs, in one call of compose.
async fn create(context: &Context, observed: &Observed) -> Result<()> {
    let began = Instant::now();
    let wanted: Vec<String> = observed
        .changes()
        .filter(|(_, action)| matches!(action, Action::Create | Action::Recreate))
        .map(|(name, _)| name.to_owned())
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    context.reporter.tell("create", Kind::Started, None, "");
    compose_answer(
        context,
        observed
            .compose
            .create(&wanted, Duration::from_secs(300))
            .await,
    )?;
    let unchanged = observed.plan.len() - wanted.len();
    context.reporter.tell(
        "create",
        Kind::Done,
        Some(began.elapsed()),
        format!("{} created · {unchanged} unchanged", wanted.len()),
    );
    Ok(())
}
