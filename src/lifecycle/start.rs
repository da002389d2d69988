//! `ooy start`: makes everything exist, then starts each service the moment the last thing it
//! needs is ready (design.md section 5). Safe to run again at any point: it looks first and does
//! only what is missing.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::sync::{Mutex, Notify, watch};

use super::Context;
use super::observe::{Action, Observed, compose_answer};
use super::preflight;
use super::readiness::{self, Verdict, look};
use super::release;
use crate::deployment::services::Service;
use crate::engine::compose::Compose;
use crate::engine::containers::{Container, State};
use crate::engine::{Engine, Error};
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
        self.services.values().filter(|end| matches!(end, End::Unchanged | End::Ready)).count()
    }

    /// Whether nothing had to be done.
    pub fn unchanged(&self) -> bool {
        self.services.values().all(|end| *end == End::Unchanged)
    }
}

/// Starts. Faults before anything was started are the error; services that fail are in the
/// outcome, since the others come up all the same.
pub async fn start(context: &Context, options: &Options) -> std::result::Result<Outcome, Vec<Fault>> {
    let began = Instant::now();
    let one = |fault: Box<Fault>| vec![*fault];
    let stack = &context.stack;
    let named = stack.select(&options.services, &context.command("start")).map_err(one)?;
    let chosen = stack.graph.with_needs(named.iter().map(String::as_str));
    let asked = [&["start".to_owned()][..], &options.services].concat().join(" ");
    let again = context.command(&asked);
    let places = &context.settings.places;
    let _operation = if options.dry_run {
        None
    } else {
        Some(Operation::begin(&places.state, "start", &asked, &again, &context.reporter).map_err(one)?)
    };
    let scratch = Scratch::new(options.dry_run).map_err(one)?;
    let folder = scratch.folder().unwrap_or(&places.rendered);
    let observed = Observed::new(context, &chosen, folder).await.map_err(one)?;
    preflight::run(context, &observed, options.dry_run).await?;
    if options.dry_run {
        for (name, action) in &observed.plan {
            context.reporter.service("start", name, Kind::Planned, None, action.word());
        }
        return Ok(Outcome { took: began.elapsed(), ..Default::default() });
    }
    create(context, &observed).await.map_err(one)?;
    let outcome = Run::new(context, observed, options, again).all(&chosen, began).await;
    let summary = format!("{} of {} ready", outcome.ready(), outcome.services.len());
    let failed = outcome.ready() < outcome.services.len();
    let kind = if failed { Kind::Failed } else { Kind::Done };
    context.reporter.tell("operation", kind, Some(outcome.took), summary);
    Ok(outcome)
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
    compose_answer(context, observed.compose.create(&wanted, Duration::from_secs(300)).await)?;
    let unchanged = observed.plan.len() - wanted.len();
    context.reporter.tell(
        "create",
        Kind::Done,
        Some(began.elapsed()),
        format!("{} created · {unchanged} unchanged", wanted.len()),
    );
    Ok(())
}

/// What the event stream has said of each container since the run began.
#[derive(Default)]
struct Deaths {
    /// Exit codes by container.
    codes: HashMap<String, Vec<i64>>,
}

/// A start in its second half: everything exists.
struct Run<'a> {
    context: &'a Context,
    engine: Engine,
    compose: Compose,
    plan: BTreeMap<String, Action>,
    options: &'a Options,
    again: String,
    deaths: RefCell<Deaths>,
    /// Wakes everything that waits when a container died.
    wake: Notify,
    /// Held while a running container is replaced: one at a time.
    replacing: Mutex<()>,
    /// Milliseconds each service took, for the longest path.
    took: RefCell<BTreeMap<String, u64>>,
}

/// After so many deaths in one start a service is not waited for any longer. The first may come
/// from something that was not there yet, and the restart policy tries again at once.
const DEATHS: usize = 3;

/// How old what is known of a container may be while it is probed.
const LOOK_UP_EVERY: Duration = Duration::from_millis(500);

/// How long a stopped or restarting daemon is waited for.
const DAEMON_PATIENCE: Duration = Duration::from_secs(60);

impl<'a> Run<'a> {
    fn new(context: &'a Context, observed: Observed, options: &'a Options, again: String) -> Self {
        Self {
            context,
            engine: observed.engine,
            compose: observed.compose,
            plan: observed.plan,
            options,
            again,
            deaths: RefCell::default(),
            wake: Notify::new(),
            replacing: Mutex::new(()),
            took: RefCell::default(),
        }
    }

    async fn all(self, chosen: &BTreeSet<String>, began: Instant) -> Outcome {
        let mut ends: BTreeMap<String, watch::Sender<Option<End>>> = BTreeMap::new();
        for name in chosen {
            ends.insert(name.clone(), watch::Sender::new(None));
        }
        let ends = Rc::new(ends);
        let services = join_all(chosen.iter().filter_map(|name| self.context.stack.service(name)).map(|service| {
            let ends = Rc::clone(&ends);
            let run = &self;
            async move {
                let end = run.one(service, &ends).await;
                run.report(service, &end);
                if let Some(sender) = ends.get(&service.name) {
                    sender.send_replace(Some(end));
                }
            }
        }));
        tokio::select! {
            _ = services => {}
            () = self.watch_events() => {}
        }
        let (path, length) = self.context.stack.graph.longest_path(&self.took.borrow());
        Outcome {
            services: ends
                .iter()
                .filter_map(|(name, end)| Some((name.clone(), end.borrow().clone()?)))
                .collect(),
            longest_path: (path, Duration::from_millis(length)),
            took: began.elapsed(),
        }
    }

    /// Listens to the Engine for as long as services are waited for; never returns.
    async fn watch_events(&self) {
        let mut since = Timestamp::now().as_second();
        loop {
            let mut events = Box::pin(self.engine.events(self.context.settings.project(), since));
            while let Some(Ok(event)) = events.next().await {
                if event.action == "die" {
                    let code = event.exit_code.unwrap_or_default();
                    self.deaths.borrow_mut().codes.entry(event.container).or_default().push(code);
                }
                self.wake.notify_waiters();
            }
            // The daemon is away; those who wait find out by themselves.
            since = Timestamp::now().as_second();
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// One service: waits for what it needs, then brings it up.
    async fn one(&self, service: &Service, ends: &BTreeMap<String, watch::Sender<Option<End>>>) -> End {
        for need in self.context.stack.graph.needs(&service.name) {
            let Some(sender) = ends.get(need) else { continue };
            let mut receiver = sender.subscribe();
            if receiver.borrow().is_none() && self.plan.get(&service.name) != Some(&Action::Keep) {
                let detail = format!("waits for {need}");
                self.context.reporter.service("start", &service.name, Kind::Planned, None, detail);
            }
            // The sender lives as long as this run.
            let Ok(end) = receiver.wait_for(Option::is_some).await.map(|end| end.clone()) else { continue };
            match end {
                Some(End::Failed(_)) if !service.tolerant => return End::NotStarted(need.to_owned()),
                Some(End::NotStarted(cause)) if !service.tolerant => return End::NotStarted(cause),
                _ => {}
            }
        }
        let began = Instant::now();
        let mut away_since: Option<Instant> = None;
        let end = loop {
            match self.bring_up(service).await {
                Ok(end) => break end,
                // The daemon restarts: the containers come back by their policy, and looking
                // again finds out which.
                Err(error) if error.is_gone() => {
                    let since = *away_since.get_or_insert_with(Instant::now);
                    if since.elapsed() > DAEMON_PATIENCE || !self.daemon_back(service, since).await {
                        break End::Failed(Box::new(error.fault(&self.again)));
                    }
                }
                Err(error) => {
                    let fault = error.fault(&self.again);
                    break End::Failed(Box::new(self.masked(fault)));
                }
            }
        };
        if matches!(end, End::Ready) {
            let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.took.borrow_mut().insert(service.name.clone(), took);
        }
        end
    }

    async fn daemon_back(&self, service: &Service, since: Instant) -> bool {
        self.context.reporter.service(
            "start",
            &service.name,
            Kind::Progress,
            None,
            "waits for the Docker daemon to come back",
        );
        while since.elapsed() < DAEMON_PATIENCE {
            if self.engine.ping().await.is_ok() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        false
    }

    /// The service's container as it is now. Made by compose a moment ago, or replaced meanwhile.
    async fn container(&self, service: &str) -> std::result::Result<Option<Container>, Error> {
        let all = self.engine.service_containers(self.context.settings.project(), service).await?;
        Ok(all.into_iter().find(|container| !container.oneoff))
    }

    async fn bring_up(&self, service: &Service) -> std::result::Result<End, Error> {
        let began = Instant::now();
        let action = self.plan.get(&service.name).copied().unwrap_or(Action::Keep);
        let Some(mut container) = self.container(&service.name).await? else {
            return Ok(End::Failed(Box::new(self.vanished(service))));
        };
        let mut replacing = None;
        if action == Action::Replace {
            replacing = Some(self.replacing.lock().await);
            self.context.reporter.service("start", &service.name, Kind::Progress, None, "replacing its container");
            if let Err(fault) = self.replace(service).await {
                return Ok(End::Failed(fault));
            }
            match self.container(&service.name).await? {
                Some(new) => container = new,
                None => return Ok(End::Failed(Box::new(self.vanished(service)))),
            }
        }
        let kept = action == Action::Keep && container.state == State::Running;
        if !kept {
            if container.state == State::Paused {
                self.engine.unpause(&container.id).await?;
            } else if container.state != State::Running && container.state != State::Restarting {
                if let Some(task) = &service.task {
                    let outcome = release::run(self.context, &self.engine, service, task, &container).await?;
                    if let release::Outcome::Failed(fault) = outcome {
                        return Ok(End::Failed(fault));
                    }
                }
                super::surroundings::before_start(self.context, service).await;
                self.context.reporter.service("start", &service.name, Kind::Started, None, "");
                self.engine.start(&container.id).await?;
            }
            // After the start, and only where `ooy stop` took it away.
            if container.restart != service.restart {
                self.engine.set_restart(&container.id, &service.restart).await?;
            }
        }
        let end = self.wait_ready(service, &container.id, began, !kept).await;
        drop(replacing);
        end
    }

    async fn replace(&self, service: &Service) -> Result<()> {
        let grace = service.grace + Duration::from_secs(300);
        compose_answer(self.context, self.compose.create(std::slice::from_ref(&service.name), grace).await)
    }

    async fn wait_ready(
        &self,
        service: &Service,
        id: &str,
        began: Instant,
        young: bool,
    ) -> std::result::Result<End, Error> {
        let limit = self.options.timeout.unwrap_or(service.ready_within);
        let waiting = Instant::now();
        let mut told = Instant::now();
        let mut container = self.engine.container(id).await?;
        let mut looked_up = Instant::now();
        loop {
            let woken = self.wake.notified();
            // Probes go to the container many times a second; the daemon is asked again when it
            // said that something happened, and now and then.
            if !container.is_running() || looked_up.elapsed() >= LOOK_UP_EVERY {
                container = self.engine.container(id).await?;
                looked_up = Instant::now();
            }
            let deaths = self.deaths.borrow().codes.get(id).map_or(0, Vec::len);
            let over = matches!(container.state, State::Exited | State::Dead) && container.restart == "no";
            if deaths >= DEATHS || over {
                return Ok(End::Failed(Box::new(self.died(service, &container, deaths.max(1)).await)));
            }
            let seen = match look(&self.engine, &self.context.settings, service, &container, young).await? {
                Verdict::Ready if young => return Ok(End::Ready),
                Verdict::Ready => return Ok(End::Unchanged),
                Verdict::NotYet(what) => what,
                Verdict::Broken(line) => {
                    let fault = self.not_ready(service, &container, &format!("its log: {line}"), waiting).await;
                    return Ok(End::Failed(Box::new(fault)));
                }
            };
            let waited = waiting.elapsed();
            if waited >= limit {
                return Ok(End::Failed(Box::new(self.not_ready(service, &container, &seen, waiting).await)));
            }
            if told.elapsed() >= Duration::from_secs(1) {
                told = Instant::now();
                self.context.reporter.service("start", &service.name, Kind::Progress, Some(began.elapsed()), &seen);
            }
            tokio::select! {
                () = woken => container = self.engine.container(id).await?,
                () = tokio::time::sleep(readiness::pause(service, waited).min(limit.saturating_sub(waited))) => {}
            }
        }
    }

    fn report(&self, service: &Service, end: &End) {
        let took = self.took.borrow().get(&service.name).map(|ms| Duration::from_millis(*ms));
        let reporter = &self.context.reporter;
        match end {
            End::Unchanged => reporter.service("start", &service.name, Kind::Skipped, took, "unchanged"),
            End::Ready => reporter.service("start", &service.name, Kind::Ready, took, ""),
            End::Failed(fault) => reporter.service("start", &service.name, Kind::Failed, took, fault.title.clone()),
            End::NotStarted(cause) => reporter.service(
                "start",
                &service.name,
                Kind::Skipped,
                None,
                format!("not started because of {cause}"),
            ),
        }
    }

    fn vanished(&self, service: &Service) -> Fault {
        Fault::problem(
            format!("{}: its container is gone", service.name),
            "its container was made, and removed again before it was started",
        )
        .evidence("somebody else removed it while this start ran")
        .why(service.without_it)
        .next(self.again.clone())
    }

    async fn died(&self, service: &Service, container: &Container, deaths: usize) -> Fault {
        let times = if deaths == 1 { "once".to_owned() } else { format!("{deaths} times") };
        let fault = Fault::problem(
            format!("{}: exits at once", service.name),
            format!("{} ended {times} with exit code {}", service.name, container.exit_code),
        );
        self.with_log(fault, service, container).await
    }

    async fn not_ready(&self, service: &Service, container: &Container, seen: &str, since: Instant) -> Fault {
        let fault = Fault::problem(
            format!("{}: not ready after {} s", service.name, since.elapsed().as_secs()),
            match container.state {
                State::Running => format!("{} runs, but does not do its work", service.name),
                _ => format!("{} is {}", service.name, readiness::word(container)),
            },
        )
        .evidence(seen.to_owned());
        self.with_log(fault, service, container).await
    }

    async fn with_log(&self, mut fault: Fault, service: &Service, container: &Container) -> Fault {
        if !container.error.is_empty() {
            fault = fault.evidence(format!("Docker: {}", container.error));
        }
        if container.oom_killed {
            fault = fault.evidence("ended by the kernel: out of memory");
        }
        let lines = self.engine.last_lines(&container.id, 3, None).await;
        for line in lines {
            let text = crate::host::text::shorten(&self.context.mask.apply(&line.text), 160);
            fault = fault.evidence(format!("its log, {}: {text}", line.at.strftime("%H:%M:%S UTC")));
        }
        fault
            .why(service.without_it)
            .next(self.context.command(&format!("logs {} -n 50", service.name)))
            .next(self.context.command(&format!("start {}", service.name)))
    }

    fn masked(&self, mut fault: Fault) -> Fault {
        for line in &mut fault.evidence {
            *line = self.context.mask.apply(line);
        }
        fault
    }
}
