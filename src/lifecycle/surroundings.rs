//! PostgreSQL and Redis as the services will see them: asked from a container in the
//! deployment's own network, since pg_hba rules, listen addresses and firewalls treat a
//! container differently from the host.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use super::Context;
use crate::deployment::services::Service;
use crate::deployment::settings::{Database, RedisDatabase, Settings};
use crate::engine::containers::Container;
use crate::engine::oneoff::{OneOff, TASK_LABEL, network_name};
use crate::engine::{Engine, Error};
use crate::fault::Fault;
use crate::host::postgres::{self, PostgresReport};
use crate::host::redis::{self, RedisReport};
use crate::host::text;
use crate::host::url::{DatabaseUrl, RedisUrl};
use crate::operation::Kind;

/// The hidden command that asks, inside the container.
pub const PROBE_COMMAND: &str = "probe-data-services";
/// Where it finds what to ask: an environment variable, so that no password is in a process list.
const QUESTIONS: &str = "OOY_PROBE_QUESTIONS";
/// How long each server has to answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// What is asked.
#[derive(Serialize, Deserialize)]
pub struct Questions {
    /// Address and wanted extensions.
    databases: Vec<(String, Vec<String>)>,
    redis: Vec<String>,
    /// How long each server has to answer.
    deadline: Duration,
}

/// What was answered, in the order of the questions.
#[derive(Serialize, Deserialize)]
pub struct Answers {
    /// PostgreSQL.
    pub databases: Vec<PostgresReport>,
    /// Redis.
    pub redis: Vec<RedisReport>,
}

impl Questions {
    /// Asks for these databases.
    pub fn new(
        settings: &Settings,
        databases: &[Database],
        redis: &[RedisDatabase],
        deadline: Duration,
    ) -> Self {
        let extensions = |database: &Database| {
            let names = database.extensions.iter();
            names.map(|name| (*name).to_owned()).collect()
        };
        Self {
            databases: databases
                .iter()
                .map(|database| {
                    let url = settings.get(database.setting).to_owned();
                    (url, extensions(database))
                })
                .collect(),
            redis: redis
                .iter()
                .map(|redis| settings.get(redis.setting).to_owned())
                .collect(),
            deadline,
        }
    }

    /// The hosts that are asked.
    pub fn hosts(&self) -> BTreeSet<String> {
        let databases = self.databases.iter();
        let databases = databases.filter_map(|(url, _)| DatabaseUrl::parse(url).ok());
        let redis = self
            .redis
            .iter()
            .filter_map(|url| RedisUrl::parse(url).ok());
        databases
            .map(|url| url.host().to_owned())
            .chain(redis.map(|url| url.host().to_owned()))
            .collect()
    }

    /// Asks all at once, from where this runs. `address` knows hosts that are reached at another
    /// address than their name has here.
    pub async fn ask(&self, address: impl Fn(&str) -> Option<IpAddr>) -> Answers {
        let databases = join_all(self.databases.iter().filter_map(|(url, extensions)| {
            let url = DatabaseUrl::parse(url).ok()?;
            let url = address(url.host()).map_or(url.clone(), |address| url.at(address));
            Some(async move {
                let extensions: Vec<&str> = extensions.iter().map(String::as_str).collect();
                postgres::probe(&url, &extensions, self.deadline).await
            })
        }));
        let redis = join_all(self.redis.iter().filter_map(|url| {
            let url = RedisUrl::parse(url).ok()?;
            let url = address(url.host()).map_or(url.clone(), |address| url.at(address));
            Some(async move { redis::probe(&url, self.deadline).await })
        }));
        let (databases, redis) = tokio::join!(databases, redis);
        Answers { databases, redis }
    }
}

/// PostgreSQL and Redis as seen from the containers' network.
pub struct Seen {
    /// What is wrong; empty when everything can be used.
    pub faults: Vec<Fault>,
    /// Versions for the preflight's line: "PostgreSQL 15.8", "Redis 7.0".
    pub summary: Vec<String>,
    /// Digest of the migrations that each owner's database has.
    pub migrations: Migrations,
    /// What is still going on.
    pub removal: Option<Removal>,
}

/// The removal of the probe's container, which nobody has to wait for unless `ooy` ends.
pub type Removal = JoinHandle<Result<(), Error>>;

/// By whose database it is (`rapidpro`), the digest of its applied migrations.
pub type Migrations = BTreeMap<&'static str, String>;

/// Asks all that the questions in the environment name; the answers as JSON. Runs inside the
/// container.
pub async fn answer_questions() -> String {
    let Ok(questions) =
        serde_json::from_str::<Questions>(&std::env::var(QUESTIONS).unwrap_or_default())
    else {
        return String::new();
    };
    serde_json::to_string(&questions.ask(|_| None).await).unwrap_or_default()
}

/// For whom PostgreSQL and Redis are asked, and how.
#[derive(Clone)]
pub struct Inquiry {
    /// The deployment.
    pub context: Context,
    /// Docker.
    pub engine: Engine,
    /// An image that is on this host. Any will do: the program in the container is this
    /// executable, which needs nothing of it.
    pub image: Option<String>,
    /// The services that will be started.
    pub services: BTreeSet<String>,
}

/// An inquiry that is being made.
pub type Underway = JoinHandle<Seen>;

impl Inquiry {
    /// Asks.
    pub async fn make(self) -> Seen {
        look(&self).await
    }
}

/// Asks for the databases of the services that will be started. Looks from the containers'
/// network; from the host, and saying so, where no container can be run for it.
async fn look(inquiry: &Inquiry) -> Seen {
    let context = &inquiry.context;
    let settings = &context.settings;
    let owners: BTreeSet<&str> = inquiry
        .services
        .iter()
        .filter_map(|name| context.stack.service(name)?.data)
        .collect();
    if owners.is_empty() {
        return Seen {
            faults: Vec::new(),
            summary: Vec::new(),
            migrations: Migrations::new(),
            removal: None,
        };
    }
    let databases: Vec<Database> = settings
        .databases()
        .into_iter()
        .filter(|database| owners.contains(database.owner))
        .collect();
    let redis: Vec<RedisDatabase> = settings
        .redis_databases()
        .into_iter()
        .filter(|redis| owners.contains(redis.owner))
        .collect();
    let questions = Questions::new(settings, &databases, &redis, DEADLINE);
    let asked = match &inquiry.image {
        Some(image) => from_container(context, &inquiry.engine, image, &questions).await,
        None => Err("no image is on this host yet".to_owned()),
    };
    let (answers, from, removal) = match asked {
        Ok((answers, removal)) => (answers, from_network(settings), Some(removal)),
        Err(cause) => {
            context.reporter.tell(
                "preflight",
                Kind::Progress,
                None,
                format!(
                    "PostgreSQL and Redis are asked from this host only: {}",
                    context.mask.apply(&cause)
                ),
            );
            (questions.ask(|_| None).await, "this host".to_owned(), None)
        }
    };
    let subnet = inquiry.engine.network_subnet(settings.project()).await;
    let seen = judge(
        context,
        &databases,
        &redis,
        &answers,
        &from,
        subnet.as_deref(),
    );
    Seen { removal, ..seen }
}

fn judge(
    context: &Context,
    databases: &[Database],
    redis: &[RedisDatabase],
    answers: &Answers,
    from: &str,
    subnet: Option<&str>,
) -> Seen {
    let again = context.command("start");
    let mut faults = Vec::new();
    let mut summary = Vec::new();
    for (database, report) in databases.iter().zip(&answers.databases) {
        if let Some(fault) = report.fault(label(database.owner), &database.url, from, subnet) {
            faults.push(fault.next(again.clone()));
        } else if let Some(server) = &report.server {
            let number = server
                .version
                .split_whitespace()
                .next()
                .unwrap_or(&server.version);
            summary.push(format!("PostgreSQL {number}"));
        }
    }
    for (redis, report) in redis.iter().zip(&answers.redis) {
        if let Some(fault) = report.fault(label(redis.owner), &redis.url, from) {
            faults.push(fault.next(again.clone()));
        } else if let Some(server) = &report.server {
            summary.push(format!("Redis {}", server.version));
        }
    }
    summary.dedup();
    let migrations = databases
        .iter()
        .zip(&answers.databases)
        .filter_map(|(database, report)| {
            Some((database.owner, report.server.as_ref()?.migrations.clone()?))
        })
        .collect();
    Seen {
        faults,
        summary,
        migrations,
        removal: None,
    }
}

/// From where a container asks, in words.
pub fn from_network(settings: &Settings) -> String {
    format!(
        "a container of network {}",
        network_name(settings.project())
    )
}

/// Whose database it is, as people call it.
pub fn label(owner: &str) -> &'static str {
    match owner {
        "casepro" => "Casepro",
        "contentrepo" => "ContentRepo",
        _ => "RapidPro",
    }
}

/// Asks from a container that is made for it, of any image that is on this host.
pub async fn from_container(
    context: &Context,
    engine: &Engine,
    image: &str,
    questions: &Questions,
) -> Result<(Answers, Removal), String> {
    let project = context.settings.project();
    let executable = std::env::current_exe().map_err(|error| error.to_string())?;
    let spec = OneOff {
        name: format!("{project}-ooy-probe"),
        project: project.to_owned(),
        service: "ooy-probe".to_owned(),
        task: "probe".to_owned(),
        image: image.to_owned(),
        command: vec!["/ooy".to_owned(), PROBE_COMMAND.to_owned()],
        env: vec![format!(
            "{QUESTIONS}={}",
            serde_json::to_string(questions).unwrap_or_default()
        )],
        user: Some("0".to_owned()),
        binds: vec![format!("{}:/ooy:ro", executable.display())],
        network: Some(network_name(project)),
        service_env: None,
        yields: false,
    };
    let work = async {
        // One that a killed start has left.
        if let Ok(left) = engine.container(&spec.name).await {
            engine.remove(&left.id).await?;
        }
        let id = engine.run_once(spec).await?;
        let answer = read_answer(engine, &id).await;
        let engine = engine.clone();
        let removal = tokio::spawn(async move { engine.remove(&id).await });
        answer.map(|text| (text, removal))
    };
    let (text, removal) = tokio::time::timeout(DEADLINE * 4, work)
        .await
        .map_err(|_| "the probe's container did not end in time".to_owned())?
        .map_err(|error| error.to_string())?;
    let answers = serde_json::from_str(&text)
        .map_err(|_| "the probe's container gave no answer".to_owned())?;
    Ok((answers, removal))
}

async fn read_answer(engine: &Engine, id: &str) -> Result<String, Error> {
    engine.wait(id).await?;
    let lines = engine.last_lines(id, 1000, None).await;
    Ok(lines.into_iter().map(|line| line.text).collect())
}

/// What a one-off of Casepro's worker does that pulls without its time limit
/// ([`crate::engine::oneoff::TASK_LABEL`]).
pub const CATCH_UP: &str = "catch-up";

/// Whether this is such a one-off, and runs: it holds the locks of what it pulls.
pub fn catches_up(container: &Container) -> bool {
    container.is_running()
        && container.oneoff
        && container.labels.get(TASK_LABEL).map(String::as_str) == Some(CATCH_UP)
}

/// Whether workers listen on this Redis database.
async fn others_work(url: &RedisUrl) -> bool {
    let asked = redis::pidbox::ask(url, "ping", None, Duration::from_millis(500)).await;
    asked.is_ok_and(|asked| asked.heard > 0)
}

/// What has to be set right outside before a service is started.
///
/// A worker of Casepro that was killed leaves its locks in Redis for twelve hours, and whoever
/// comes after it skips its work without a word (stack.md section 8). While no worker runs no
/// lock has a living owner.
pub async fn before_start(context: &Context, engine: &Engine, service: &Service) {
    if service.name != "casepro-celery" {
        return;
    }
    let Ok(url) = RedisUrl::parse(context.settings.get("CASEPRO_REDIS_URL")) else {
        return;
    };
    let project = context.settings.project();
    let beside = engine.service_containers(project, &service.name).await;
    // Where that cannot be seen, or others work on the same Redis, they may be theirs.
    let Ok(beside) = beside else { return };
    if beside.iter().any(catches_up) || others_work(&url).await {
        return;
    }
    // A Redis that does not answer is the service's own failure in a moment, with its evidence.
    if let Ok(keys) = redis::delete_matching(&url, "org-task-lock:*", DEADLINE).await
        && !keys.is_empty()
    {
        context.reporter.service(
            "start",
            &service.name,
            Kind::Progress,
            None,
            format!(
                "{} left by a killed worker removed: {}",
                text::count(keys.len(), "lock"),
                keys.join(", ")
            ),
        );
    }
}
