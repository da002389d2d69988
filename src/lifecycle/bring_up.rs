//! The second half of a start: everything exists, and each service is started the moment the last
//! thing it needs is ready, as many at once as the graph allows.

mod early;

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::sync::{Mutex, Notify, watch};

use self::early::Waited;
use super::Context;
use super::failed;
use super::observe::{Action, Observed, compose_answer};
use super::readiness::{self, Verdict, look};
use super::release;
use super::start::{End, Options, Outcome};
use super::surroundings::{self, Migrations};
use super::turns::Turns;
use crate::deployment::services::Service;
use crate::engine::compose::Compose;
use crate::engine::containers::{Container, State};
use crate::engine::{Engine, Error};
use crate::fault::Result;
use crate::operation::Kind;

/// What the event stream has said of each container since the run began.
#[derive(Default)]
struct Deaths {
    /// Exit codes by container.
    codes: HashMap<String, Vec<i64>>,
}

/// A start in its second half: everything exists.
pub struct Run<'a> {
    context: &'a Context,
    engine: Engine,
    compose: Compose,
    plan: BTreeMap<String, Action>,
    /// What the databases had migrated at preflight.
    migrations: Migrations,
    /// The containers as they were when all were made; each is taken out once.
    seen: RefCell<BTreeMap<String, Container>>,
    options: &'a Options,
    again: String,
    deaths: RefCell<Deaths>,
    /// Wakes everything that waits when a container died.
    wake: Notify,
    /// Held while a running container is replaced: one at a time.
    replacing: Mutex<()>,
    /// Who is started next, where several may be.
    turns: Turns,
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
    /// A run of what was observed.
    pub fn new(
        context: &'a Context,
        observed: Observed,
        migrations: Migrations,
        options: &'a Options,
        again: String,
    ) -> Self {
        Self {
            context,
            engine: observed.engine,
            compose: observed.compose,
            seen: RefCell::new(observed.containers),
            plan: observed.plan,
            migrations,
            options,
            again,
            deaths: RefCell::default(),
            wake: Notify::new(),
            replacing: Mutex::new(()),
            turns: Turns::one_a_core(),
            took: RefCell::default(),
        }
    }

    /// Brings all chosen services up and answers how each came out of it.
    pub async fn all(self, chosen: &BTreeSet<String>, began: Instant) -> Outcome {
        let mut ends: BTreeMap<String, watch::Sender<Option<End>>> = BTreeMap::new();
        for name in chosen {
            ends.insert(name.clone(), watch::Sender::new(None));
        }
        let ends = Rc::new(ends);
        // What the longest chain waits for goes first.
        let mut services: Vec<&Service> = chosen
            .iter()
            .filter_map(|name| self.context.stack.service(name))
            .collect();
        services.sort_by_key(|service| Reverse(self.context.stack.graph.height(&service.name)));
        let services = join_all(services.into_iter().map(|service| {
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
                    self.deaths
                        .borrow_mut()
                        .codes
                        .entry(event.container)
                        .or_default()
                        .push(code);
                }
                self.wake.notify_waiters();
            }
            // The daemon is away; those who wait find out by themselves.
            since = Timestamp::now().as_second();
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// One service: waits for what it needs, then brings it up.
    async fn one(
        &self,
        service: &Service,
        ends: &BTreeMap<String, watch::Sender<Option<End>>>,
    ) -> End {
        for need in self.context.stack.graph.needs(&service.name) {
            let Some(sender) = ends.get(need).filter(|_| !self.is_met(service, need)) else {
                continue;
            };
            let mut receiver = sender.subscribe();
            if receiver.borrow().is_none() && self.plan.get(&service.name) != Some(&Action::Keep) {
                let detail = format!("waits for {need}");
                self.context
                    .reporter
                    .service("start", &service.name, Kind::Planned, None, detail);
            }
            // The sender lives as long as this run.
            let Ok(end) = receiver
                .wait_for(Option::is_some)
                .await
                .map(|end| end.clone())
            else {
                continue;
            };
            match end {
                Some(End::Failed(_)) if !service.tolerant => {
                    return End::NotStarted(need.to_owned());
                }
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
                    if since.elapsed() > DAEMON_PATIENCE || !self.daemon_back(service, since).await
                    {
                        break End::Failed(Box::new(error.fault(&self.again)));
                    }
                }
                Err(error) => {
                    let fault = error.fault(&self.again);
                    break End::Failed(Box::new(failed::masked(self.context, fault)));
                }
            }
        };
        if matches!(end, End::Ready) {
            let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.took.borrow_mut().insert(service.name.clone(), took);
        }
        end
    }

    /// Whether it need not wait for that one. What runs of the same image waits for its release task,
    /// and where that has just been run they boot side by side: each is slow, and people wait.
    fn is_met(&self, service: &Service, need: &str) -> bool {
        let image = |name: &str| Some(&self.context.stack.service(name)?.image);
        let released = self.options.released.and_then(image);
        released == Some(&service.image) && image(need) == released
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
        let project = self.context.settings.project();
        self.engine.service_container(project, service).await
    }

    async fn bring_up(&self, service: &Service) -> std::result::Result<End, Error> {
        let began = Instant::now();
        let name = &service.name;
        let action = self.plan.get(name).copied().unwrap_or(Action::Keep);
        let vanished = || {
            Ok(End::Failed(Box::new(failed::vanished(
                service,
                &self.again,
            ))))
        };
        let observed = self.seen.borrow_mut().remove(name);
        let mut container = match observed {
            Some(container) => container,
            None => match self.container(name).await? {
                Some(container) => container,
                None => return vanished(),
            },
        };
        // It has booted while its database was migrated, of this very operation.
        let booted = self.options.released == Some(service.name.as_str());
        // Whether this start has started its process, after what it needs.
        let mut fresh = action == Action::Replace || booted;
        let mut replacing = None;
        if action == Action::Replace {
            replacing = Some(self.replacing.lock().await);
            let detail = "replacing its container";
            self.context
                .reporter
                .service("replace", name, Kind::Started, None, detail);
            if let Err(fault) = self.replace(service).await {
                return Ok(End::Failed(fault));
            }
            match self.container(name).await? {
                Some(new) => container = new,
                None => return vanished(),
            }
        }
        // A stop that was killed has told it to end: it runs, and will not for long.
        if container.is_running() && container.restart == "no" && service.restart != "no" {
            self.engine.stop(&container.id, service.grace).await?;
            container = self.engine.container(&container.id).await?;
        }
        let kept = action == Action::Keep && container.is_running() && !booted;
        match container.state {
            // Its pauses between two attempts get longer and longer, while nothing is there yet.
            State::Restarting if self.options.at_boot => {
                let seen = "Docker would wait before it tries again";
                self.start_again(service, &container, seen).await?;
                fresh = true;
            }
            State::Running | State::Restarting => {}
            State::Paused => self.engine.unpause(&container.id).await?,
            _ => {
                if let Some(task) = &service.task
                    && self.options.released != Some(service.name.as_str())
                {
                    let applied = service.data.and_then(|owner| self.migrations.get(owner));
                    let outcome = release::run(
                        self.context,
                        &self.engine,
                        service,
                        task,
                        &container,
                        applied.map(String::as_str),
                    )
                    .await?;
                    if let release::Outcome::Failed(fault) = outcome {
                        return Ok(End::Failed(fault));
                    }
                }
                match self.start_process(service, &container).await {
                    Err(Error::NotFound(_)) => return vanished(),
                    other => other?,
                }
                fresh = true;
            }
        }
        // After the start, and only where `ooy stop` took it away.
        if container.restart != service.restart {
            self.engine
                .set_restart(&container.id, &service.restart)
                .await?;
        }
        if !kept {
            container = self.engine.container(&container.id).await?;
            // It ended before its policy was set, and nobody else starts it again.
            if container.state == State::Exited && service.restart != "no" {
                self.engine.start(&container.id).await?;
            }
        }
        let end = loop {
            let waited = self.wait_ready(service, container.clone(), began, kept, fresh);
            match waited.await? {
                Waited::End(end) => break end,
                Waited::TooEarly(seen) => {
                    self.start_again(service, &container, &seen).await?;
                    container = self.engine.container(&container.id).await?;
                    fresh = true;
                }
            }
        };
        drop(replacing);
        Ok(end)
    }

    async fn start_process(
        &self,
        service: &Service,
        container: &Container,
    ) -> std::result::Result<(), Error> {
        surroundings::before_start(self.context, &self.engine, service).await;
        let height = self.context.stack.graph.height(&service.name);
        let _turn = self.turns.take(height).await;
        self.context
            .reporter
            .service("start", &service.name, Kind::Started, None, "");
        self.engine.start(&container.id).await
    }

    async fn replace(&self, service: &Service) -> Result<()> {
        let grace = service.grace + Duration::from_secs(300);
        compose_answer(
            self.context,
            self.compose
                .create(std::slice::from_ref(&service.name), grace)
                .await,
        )
    }

    async fn wait_ready(
        &self,
        service: &Service,
        mut container: Container,
        began: Instant,
        kept: bool,
        fresh: bool,
    ) -> std::result::Result<Waited, Error> {
        let id = container.id.clone();
        let id = id.as_str();
        let limit = self.options.timeout.unwrap_or(service.ready_within);
        let waiting = Instant::now();
        let mut told = Instant::now();
        let mut looked_up = Instant::now();
        let mut looks = 0;
        loop {
            looks += 1;
            let woken = self.wake.notified();
            // Probes go to the container many times a second; the daemon is asked again when it
            // said that something happened, and now and then.
            if !container.is_running() || looked_up.elapsed() >= LOOK_UP_EVERY {
                container = self.engine.container(id).await?;
                looked_up = Instant::now();
            }
            let codes = self
                .deaths
                .borrow()
                .codes
                .get(id)
                .cloned()
                .unwrap_or_default();
            let over =
                matches!(container.state, State::Exited | State::Dead) && container.restart == "no";
            if codes.len() >= DEATHS || over {
                let fault = failed::died(self.context, &self.engine, service, &container, &codes);
                return Ok(Waited::End(End::Failed(Box::new(fault.await))));
            }
            let seen = match look(&self.engine, &self.context.settings, service, &container).await?
            {
                Verdict::Ready => {
                    let unchanged = kept && !fresh && looks == 1;
                    // In an old log nobody has looked for that yet.
                    if unchanged
                        && self.options.at_boot
                        && let Some(line) =
                            readiness::came_up_broken(&self.engine, service, &container).await?
                    {
                        return Ok(Waited::TooEarly(line));
                    }
                    let end = if unchanged {
                        End::Unchanged
                    } else {
                        End::Ready
                    };
                    return Ok(Waited::End(end));
                }
                Verdict::NotYet(what) => what,
                // Somebody else has started it, and at that time something was missing.
                Verdict::Broken(line) if !fresh => return Ok(Waited::TooEarly(line)),
                Verdict::Broken(line) => {
                    let seen = format!("its log: {line}");
                    let fault = failed::not_ready(
                        self.context,
                        &self.engine,
                        service,
                        &container,
                        &seen,
                        waiting.elapsed(),
                    )
                    .await;
                    return Ok(Waited::End(End::Failed(Box::new(fault))));
                }
            };
            let waited = waiting.elapsed();
            if waited >= limit {
                if self.options.at_boot
                    && !fresh
                    && self.came_before_its_needs(service, &container).await?
                {
                    return Ok(Waited::TooEarly(seen));
                }
                let fault = failed::not_ready(
                    self.context,
                    &self.engine,
                    service,
                    &container,
                    &seen,
                    waited,
                );
                return Ok(Waited::End(End::Failed(Box::new(fault.await))));
            }
            if told.elapsed() >= Duration::from_secs(1) {
                told = Instant::now();
                self.context.reporter.service(
                    "start",
                    &service.name,
                    Kind::Progress,
                    Some(began.elapsed()),
                    &seen,
                );
            }
            tokio::select! {
                () = woken => container = self.engine.container(id).await?,
                () = tokio::time::sleep(readiness::pause(service, waited).min(limit.saturating_sub(waited))) => {}
            }
        }
    }

    fn report(&self, service: &Service, end: &End) {
        let took = self
            .took
            .borrow()
            .get(&service.name)
            .map(|ms| Duration::from_millis(*ms));
        let reporter = &self.context.reporter;
        match end {
            End::Unchanged => {
                reporter.service("start", &service.name, Kind::Skipped, took, "unchanged")
            }
            End::Ready => reporter.service("start", &service.name, Kind::Ready, took, ""),
            End::Failed(fault) => reporter.service(
                "start",
                &service.name,
                Kind::Failed,
                took,
                fault.title.clone(),
            ),
            End::NotStarted(cause) => reporter.service(
                "start",
                &service.name,
                Kind::Skipped,
                None,
                format!("not started because of {cause}"),
            ),
        }
    }
}
