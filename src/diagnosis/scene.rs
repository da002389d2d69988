//! What the checks of one diagnosis look at together: each thing is fetched once, when the first
//! check wants it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::OnceCell;

use super::check::{Halt, blocking};
use super::code::Code;
use super::configured::{self, Hashes};
use super::data::{self, Look};
use super::samples::{Sample, Samples};
use crate::deployment::keys;
use crate::deployment::settings::{Database, RedisDatabase, Settings};
use crate::engine::containers::{Container, State};
use crate::engine::{self, Engine};
use crate::fault::Fault;
use crate::host::ports;
use crate::host::postgres::session::Session;
use crate::host::postgres::{self, PostgresReport};
use crate::host::redis::resp::Connection;
use crate::lifecycle::Context;

/// Why most checks have nothing to look at on a telephone exchange.
pub const NO_DEPLOYMENT: &str = "this host only hands its calls over";

/// What this host sees of a database, and a session there.
pub type Visit = (PostgresReport, Result<Session, String>);

/// The deployment under the eyes of its checks.
pub struct Scene {
    /// Its settings (with defaults where a value is wrong), services and secrets.
    pub context: Context,
    /// What is wrong with the settings, one line each, as `ooy config --check` says it.
    pub wrong_settings: Vec<String>,
    /// This host has no deployment: it is a telephone exchange that hands its calls over.
    pub only_calls: bool,
    /// When the diagnosis began.
    pub now: Timestamp,
    /// How long a check may take.
    pub deadline: Duration,
    /// Figures of earlier diagnoses.
    pub samples: Samples,
    ends: Instant,
    new_samples: RefCell<Vec<(String, Sample)>>,
    engine: OnceCell<Result<Engine, engine::Error>>,
    containers: OnceCell<Result<Vec<Container>, engine::Error>>,
    data: OnceCell<Look>,
    visits: BTreeMap<&'static str, OnceCell<Visit>>,
    compose: OnceCell<Result<Hashes, Box<Fault>>>,
    listening: OnceCell<Result<Arc<ports::Table>, Halt>>,
}

impl Scene {
    /// The scene of a deployment.
    pub fn new(context: Context, wrong_settings: Vec<String>) -> Self {
        let deadline = context.settings.interval("DIAGNOSE_TIMEOUT");
        let samples = Samples::load(&context.settings.places.state);
        let only_calls = Settings::only_calls(&wrong_settings);
        let wrong_settings = if only_calls {
            wrong_settings
                .into_iter()
                .filter(|line| !line.ends_with(" is missing"))
                .collect()
        } else {
            wrong_settings
        };
        Self {
            context,
            wrong_settings,
            only_calls,
            now: Timestamp::now(),
            deadline,
            samples,
            ends: Instant::now() + deadline,
            new_samples: RefCell::default(),
            engine: OnceCell::new(),
            containers: OnceCell::new(),
            compose: OnceCell::new(),
            data: OnceCell::new(),
            listening: OnceCell::new(),
            visits: ["rapidpro", "casepro", "contentrepo"]
                .into_iter()
                .map(|owner| (owner, OnceCell::new()))
                .collect(),
        }
    }

    /// Time that is left to a single step of a check, so that the check itself can still say what
    /// did not answer: a little less than until its deadline.
    pub fn time_left(&self) -> Duration {
        let left = self.ends.saturating_duration_since(Instant::now());
        left.saturating_sub(self.deadline / 10)
            .max(Duration::from_millis(50))
    }

    /// How long ago that was when the diagnosis began; a time to come is no time ago.
    pub fn since(&self, then: Timestamp) -> Duration {
        Duration::try_from(self.now.duration_since(then)).unwrap_or_default()
    }

    /// A command line of `ooy` for this deployment, as the operator has to type it.
    pub fn command(&self, rest: &str) -> String {
        self.context.command(rest)
    }

    /// Keeps a figure for later diagnoses (`Samples::of`).
    pub fn sample(&self, name: impl Into<String>, value: f64) {
        let sample = Sample {
            at: self.now,
            value,
        };
        self.new_samples.borrow_mut().push((name.into(), sample));
    }

    /// Writes the new figures beside the old ones.
    pub fn keep_samples(self) {
        self.samples.keep(self.new_samples.into_inner());
    }

    /// Docker.
    pub async fn engine(&self) -> Result<&Engine, Halt> {
        if self.only_calls {
            return Err(Halt::unused(NO_DEPLOYMENT));
        }
        self.try_engine().await.as_ref().map_err(|error| {
            Halt::blocked(
                Code::EngineUnreachable,
                format!("Docker does not answer: {error}"),
            )
        })
    }

    /// Docker, and why not.
    pub async fn try_engine(&self) -> &Result<Engine, engine::Error> {
        self.engine.get_or_init(Engine::connect).await
    }

    /// compose's digests of the present configuration of each service, or its complaint; the error
    /// says that there is no compose.
    pub async fn compose(&self) -> &Result<Hashes, Box<Fault>> {
        self.compose
            .get_or_init(|| configured::hashes(&self.context))
            .await
    }

    /// Who listens on which port of this host. To find it out means to look at every process.
    pub async fn listening(&self) -> Result<Arc<ports::Table>, Halt> {
        let table = self.listening.get_or_init(async || {
            let read = blocking(ports::Table::read).await;
            read.map(Arc::new)
        });
        table.await.clone()
    }

    /// All containers of the deployment, one-offs included.
    pub async fn containers(&self) -> Result<&[Container], Halt> {
        let engine = self.engine().await?;
        let project = self.context.settings.project();
        match self
            .containers
            .get_or_init(|| engine.containers(project))
            .await
        {
            Ok(containers) => Ok(containers),
            Err(error) => Err(Halt::unknown(format!(
                "the containers cannot be listed: {error}"
            ))),
        }
    }

    /// The container of a service: of several the one that runs.
    pub async fn container(&self, service: &str) -> Result<Option<&Container>, Halt> {
        let containers = self.containers().await?;
        let of_service = || {
            containers
                .iter()
                .filter(|container| !container.oneoff && container.service == service)
        };
        Ok(of_service()
            .find(|container| container.is_running())
            .or_else(|| of_service().next()))
    }

    /// The container of a service that runs; another check finds out why it does not.
    pub async fn running(&self, service: &str) -> Result<&Container, Halt> {
        let Some(container) = self.container(service).await? else {
            return Err(Halt::blocked(
                Code::ServiceMissing,
                format!("{service} has no container"),
            ));
        };
        let by = match container.state {
            State::Running => return Ok(container),
            State::Paused => Code::ServicePaused,
            State::Restarting => Code::RestartLoop,
            _ => Code::ServiceExited,
        };
        let state = crate::lifecycle::readiness::word(container);
        Err(Halt::blocked(by, format!("{service} is {state}")))
    }

    /// Where a running service listens in the deployment's network.
    pub async fn address(&self, service: &str, port: u16) -> Result<SocketAddr, Halt> {
        let container = self.running(service).await?;
        let addresses = &container.addresses;
        addresses
            .iter()
            .find(|address| matches!(address, IpAddr::V4(_)))
            .or(addresses.first())
            .map(|address| SocketAddr::new(*address, port))
            .ok_or_else(|| Halt::unknown(format!("{service} has no address in the network")))
    }

    /// The PostgreSQL database of `rapidpro`, `casepro` or `contentrepo`, as the settings have it.
    pub fn database(&self, owner: &str) -> Result<Database, Halt> {
        let databases = self.context.settings.databases();
        let found = databases
            .into_iter()
            .find(|database| database.owner == owner);
        found.ok_or_else(|| self.not_set(&format!("{}_DATABASE_URL", owner.to_uppercase())))
    }

    /// The Redis database of `rapidpro`, `casepro` or `contentrepo`, as the settings have it.
    pub fn redis_database(&self, owner: &str) -> Result<RedisDatabase, Halt> {
        let databases = self.context.settings.redis_databases();
        let found = databases
            .into_iter()
            .find(|database| database.owner == owner);
        found.ok_or_else(|| self.not_set(&format!("{}_REDIS_URL", owner.to_uppercase())))
    }

    fn not_set(&self, setting: &str) -> Halt {
        let placeholder = self
            .wrong_settings
            .iter()
            .any(|wrong| wrong.contains(setting) && wrong.contains(keys::PLACEHOLDER));
        let by = if placeholder {
            Code::SettingPlaceholder
        } else {
            Code::SettingMissing
        };
        Halt::blocked(by, format!("{setting} is not set"))
    }

    /// What PostgreSQL and Redis answer, here and in the containers' network.
    pub async fn data(&self) -> &Look {
        self.data.get_or_init(|| data::look(self)).await
    }

    /// A read-only session on the database of `rapidpro`, `casepro` or `contentrepo`, shared by all
    /// checks.
    pub async fn postgres(&self, owner: &'static str) -> Result<&Session, Halt> {
        let database = self.database(owner)?;
        let Some((_, session)) = self.visit(&database).await else {
            return Err(Halt::unknown(format!("{owner} has no database")));
        };
        session.as_ref().map_err(|why| {
            let name = database.url.database();
            Halt::blocked(
                Code::PostgresUnreachable,
                format!("PostgreSQL, database {name}: {why}"),
            )
        })
    }

    /// How this host finds one of these databases. Who looks stays, for the questions of other checks.
    pub async fn visit(&self, database: &Database) -> Option<&Visit> {
        let (url, extensions, limit) = (&database.url, database.extensions, self.time_left());
        let visit = self.visits.get(database.owner)?;
        let look = || postgres::probe_and_stay(url, extensions, limit);
        Some(visit.get_or_init(look).await)
    }

    /// A connection of its own to the Redis database of `rapidpro`, `casepro` or `contentrepo`.
    pub async fn redis(&self, owner: &str) -> Result<Connection, Halt> {
        let database = self.redis_database(owner)?;
        let until = tokio::time::Instant::now() + self.time_left();
        Connection::open(&database.url, until).await.map_err(|why| {
            Halt::blocked(
                Code::RedisUnreachable,
                format!("Redis, database {}: {why}", database.url.db()),
            )
        })
    }
}
