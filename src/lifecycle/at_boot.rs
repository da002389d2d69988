//! The ordered start after a boot of the host or a restart of Docker (`ooy start --at-boot`, run by
//! systemd). What ran comes back, what was stopped stays stopped, and what Docker has brought back
//! too early is started again in its turn.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::Context;
use super::start::{Options, Outcome, start_locked, tell_end};
use super::surroundings::{Answers, Questions, label};
use crate::deployment::services::Service;
use crate::engine::containers::{Container, State};
use crate::engine::{Engine, Error};
use crate::fault::{Fault, Kind as FaultKind};
use crate::host::postgres::PostgresOutcome;
use crate::host::reach::Unreached;
use crate::host::redis::RedisOutcome;
use crate::operation::journal::{self, Entry};
use crate::operation::{Kind, Operation};

/// Between two looks at what is not there yet.
const AGAIN: Duration = Duration::from_secs(1);

/// How long PostgreSQL or Redis has for one answer.
const ONE_ANSWER: Duration = Duration::from_secs(5);

/// A name that this host does not know may be known to Docker alone: it is not waited for any
/// longer than name servers need to come up.
const NAMES: Duration = Duration::from_secs(60);

/// A container that ended within so long of the end of `ooy stop` was ended by it.
const TOGETHER: Duration = Duration::from_secs(10);

/// What is written in the journal, and the command to repeat.
pub const ASKED: &str = "start --at-boot";

/// Starts what is to run. Waits up to `patience` for each: for Docker, for PostgreSQL and Redis of
/// the services that it will start, and for another operation to end. Faults before anything was
/// started are the error.
pub async fn start(
    context: &Context,
    options: &Options,
    patience: Duration,
) -> Result<Outcome, Vec<Fault>> {
    let began = Instant::now();
    let options = Options {
        at_boot: true,
        services: Vec::new(),
        ..options.clone()
    };
    let again = context.command(ASKED);
    let failed = |error: Error| vec![error.fault(&again)];
    if options.dry_run {
        let chosen = choose(context, &options.held_back).await.map_err(failed)?;
        return start_locked(context, &options, &chosen, &again).await;
    }
    docker(context, patience).await.map_err(failed)?;
    let chosen = choose(context, &options.held_back).await.map_err(failed)?;
    data_services(context, &chosen, patience).await;
    let _operation = operation(context, &again, patience).await?;
    let outcome = async {
        // Whoever held the lock meanwhile may have stopped something.
        let chosen = choose(context, &options.held_back).await.map_err(failed)?;
        tell_the_rest(context, &chosen, &options.held_back);
        start_locked(context, &options, &chosen, &again).await
    }
    .await;
    tell_end(context, &outcome, began);
    outcome
}

/// Docker is there, or why it is not after all that time.
async fn docker(context: &Context, patience: Duration) -> Result<(), Error> {
    let began = Instant::now();
    let mut told = false;
    loop {
        match Engine::connect().await {
            Ok(_) => {
                if told {
                    came(context, began, "Docker");
                }
                return Ok(());
            }
            // No right to use it, or too old a version: no time changes that.
            Err(error) if !error.is_gone() || began.elapsed() >= patience => return Err(error),
            Err(_) => {}
        }
        if !told {
            told = true;
            waits(context, "Docker", patience);
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// PostgreSQL and Redis answer, or have not come in all that time. Then it is gone on without: the
/// preflight says what is wrong, in full, where something needs them.
async fn data_services(context: &Context, chosen: &BTreeSet<String>, patience: Duration) {
    let settings = &context.settings;
    let owners: BTreeSet<&str> = chosen
        .iter()
        .filter_map(|name| context.stack.service(name)?.data)
        .collect();
    let mut databases = settings.databases();
    databases.retain(|database| owners.contains(database.owner));
    let mut redis = settings.redis_databases();
    redis.retain(|redis| owners.contains(redis.owner));
    let questions = Questions::new(settings, &databases, &redis, ONE_ANSWER);
    let of_postgres: Vec<&str> = databases.iter().map(|database| database.owner).collect();
    let of_redis: Vec<&str> = redis.iter().map(|redis| redis.owner).collect();
    let began = Instant::now();
    let mut told = String::new();
    loop {
        let answers = questions.ask(|_| None).await;
        let waited = began.elapsed();
        let away = away(&answers, (&of_postgres, &of_redis), waited);
        if away.is_empty() {
            if !told.is_empty() {
                came(context, began, "PostgreSQL and Redis");
            }
            return;
        }
        let names = away.join(", ");
        if waited >= patience {
            let detail = format!("warning: goes on without: {names}");
            context
                .reporter
                .tell("wait", Kind::Progress, Some(waited), detail);
            return;
        }
        if names != told {
            waits(context, &names, patience);
            told = names;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Which of them do not answer yet, after they were waited for so long. Whoever answers, with
/// whatever refusal, is there.
fn away(
    answers: &Answers,
    (of_postgres, of_redis): (&[&str], &[&str]),
    waited: Duration,
) -> Vec<String> {
    let postgres = answers.databases.iter().zip(of_postgres);
    let postgres = postgres.filter(|(report, _)| match report.outcome {
        PostgresOutcome::Unreached(why) => may_come(why, waited),
        PostgresOutcome::Silent | PostgresOutcome::StartingUp | PostgresOutcome::ShuttingDown => {
            true
        }
        _ => false,
    });
    let redis = answers.redis.iter().zip(of_redis);
    let redis = redis.filter(|(report, _)| match report.outcome {
        RedisOutcome::Unreached(why) => may_come(why, waited),
        RedisOutcome::Silent | RedisOutcome::Loading => true,
        _ => false,
    });
    let postgres = postgres.map(|(_, owner)| format!("PostgreSQL of {}", label(owner)));
    let redis = redis.map(|(_, owner)| format!("Redis of {}", label(owner)));
    postgres.chain(redis).collect()
}

fn may_come(why: Unreached, waited: Duration) -> bool {
    why != Unreached::NotResolved || waited < NAMES
}

/// The lock, and the journal. An operation that is under way may bring up the same, or stop it.
async fn operation(
    context: &Context,
    again: &str,
    patience: Duration,
) -> Result<Operation, Vec<Fault>> {
    let state = &context.settings.places.state;
    let began = Instant::now();
    let mut told = false;
    loop {
        match Operation::begin(state, "start", ASKED, again, &context.reporter) {
            Ok(operation) => return Ok(operation),
            Err(fault) if fault.kind == FaultKind::Locked && began.elapsed() < patience => {}
            Err(fault) => return Err(vec![*fault]),
        }
        if !told {
            told = true;
            waits(context, "another operation to end", patience);
        }
        tokio::time::sleep(AGAIN).await;
    }
}

fn waits(context: &Context, for_whom: &str, patience: Duration) {
    let detail = format!("for {for_whom}, up to {} s", patience.as_secs());
    context.reporter.tell("wait", Kind::Progress, None, detail);
}

fn came(context: &Context, began: Instant, who: &str) {
    let took = Some(began.elapsed());
    context
        .reporter
        .tell("wait", Kind::Done, took, format!("{who} came"));
}

/// The services that are to run: all but those that somebody wanted to be down.
async fn choose(
    context: &Context,
    held_back: &BTreeSet<String>,
) -> Result<BTreeSet<String>, Error> {
    let engine = Engine::connect().await?;
    let containers = engine.containers(context.settings.project()).await?;
    let mut of_service: BTreeMap<&str, &Container> = BTreeMap::new();
    for container in containers.iter().filter(|container| !container.oneoff) {
        let present = of_service
            .entry(container.service.as_str())
            .or_insert(container);
        if !present.is_running() && container.is_running() {
            *present = container;
        }
    }
    // Without a journal the containers alone have to say it.
    let entries = journal::recent(&context.settings.places.state).unwrap_or_default();
    Ok(context
        .stack
        .services
        .iter()
        .filter(|service| {
            let container = of_service.get(service.name.as_str()).copied();
            !held_back.contains(&service.name)
                && !stays_down(&entries, service, container.map(Held::of))
        })
        .map(|service| service.name.clone())
        .collect())
}

fn tell_the_rest(context: &Context, chosen: &BTreeSet<String>, held_back: &BTreeSet<String>) {
    for service in &context.stack.services {
        if !chosen.contains(&service.name) {
            let why = match held_back.contains(&service.name) {
                true => "stays down: what was done to its database was cut off (ooy resume)",
                false => "stays down: it was stopped, or never started",
            };
            context
                .reporter
                .service("start", &service.name, Kind::Skipped, None, why);
        }
    }
}

/// What a container says of who wanted it down.
struct Held<'a> {
    state: State,
    restart: &'a str,
    finished_at: Option<Timestamp>,
}

impl<'a> Held<'a> {
    fn of(container: &'a Container) -> Self {
        Self {
            state: container.state,
            restart: &container.restart,
            finished_at: container.finished_at,
        }
    }
}

/// Whether a service is to stay down: `ooy stop` was the last that was done to it, or nothing at
/// all. What a restart or a repair had stopped when the host went down was to come back.
fn stays_down(entries: &[Entry], service: &Service, container: Option<Held<'_>>) -> bool {
    let last = journal::last_of(entries, &service.name);
    let stopped = last.filter(|entry| entry.step == "stop" && entry.operation.starts_with("stop"));
    let Some(container) = container else {
        return last.is_none() || stopped.is_some();
    };
    if matches!(
        container.state,
        State::Running | State::Restarting | State::Paused
    ) {
        return false;
    }
    match (stopped, container.finished_at) {
        // Somebody else has started it after that, and it ended of something else.
        (Some(entry), Some(ended)) if entry.event == "done" => {
            let later = Duration::try_from(ended.duration_since(entry.at)).unwrap_or_default();
            later <= TOGETHER
        }
        (Some(_), _) => true,
        // The journal does not go back that far; `ooy stop` takes the policy away.
        (None, _) => last.is_none() && container.restart == "no" && service.restart != "no",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::services::Ready;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + second).unwrap()
    }

    fn entry(operation: &str, step: &str, event: &str) -> Entry {
        Entry {
            schema: 1,
            id: "1".to_owned(),
            at: at(100),
            operation: operation.to_owned(),
            user: "root".to_owned(),
            step: step.to_owned(),
            service: Some("courier".to_owned()),
            event: event.to_owned(),
            took_ms: None,
            detail: String::new(),
        }
    }

    fn courier() -> Service {
        Service {
            name: "courier".to_owned(),
            image: String::new(),
            restart: "always".to_owned(),
            grace: Duration::from_secs(10),
            ready: Ready::Health,
            ready_within: Duration::from_secs(60),
            tolerant: false,
            task: None,
            data: None,
            without_it: "",
        }
    }

    fn ended(restart: &str, second: i64) -> Option<Held<'_>> {
        Some(Held {
            state: State::Exited,
            restart,
            finished_at: Some(at(second)),
        })
    }

    #[test]
    fn what_was_stopped_on_purpose_stays_down() {
        let courier = courier();
        let stopped = [
            entry("start", "start", "ready"),
            entry("stop", "stop", "done"),
        ];
        assert!(stays_down(&stopped, &courier, ended("no", 99)));
        assert!(stays_down(&stopped, &courier, None));
        // The host went down while it was being stopped.
        let stopping = [entry("stop courier", "stop", "started")];
        assert!(stays_down(&stopping, &courier, ended("no", 900)));
        // Long ago.
        assert!(stays_down(&[], &courier, ended("no", 0)));
        // Never there.
        assert!(stays_down(&[], &courier, None));
    }

    #[test]
    fn what_ran_comes_back() {
        let courier = courier();
        let started = [
            entry("stop", "stop", "done"),
            entry("start", "start", "ready"),
        ];
        assert!(!stays_down(&started, &courier, ended("always", 900)));
        // Killed before it could give the policy back.
        assert!(!stays_down(&started, &courier, ended("no", 900)));
        // Its container was to be replaced at that moment.
        assert!(!stays_down(&started, &courier, None));
        let restarting = [entry("restart courier", "stop", "done")];
        assert!(!stays_down(&restarting, &courier, ended("no", 99)));
        // docker start, after it.
        let stopped = [entry("stop", "stop", "done")];
        assert!(!stays_down(&stopped, &courier, ended("no", 900)));
        // Made by compose alone.
        assert!(!stays_down(&[], &courier, ended("unless-stopped", 900)));
        let running = Held {
            state: State::Running,
            restart: "no",
            finished_at: None,
        };
        assert!(!stays_down(&stopped, &courier, Some(running)));
    }
}
