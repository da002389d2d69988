//! That the containers can use PostgreSQL and Redis: asked from their own network, until it is so.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::Job;
use crate::engine::Engine;
use crate::fault::Fault;
use crate::host::postgres::{PostgresOutcome, PostgresReport};
use crate::host::reach::Unreached;
use crate::host::redis::{RedisOutcome, RedisReport};
use crate::lifecycle::surroundings::label;
use crate::operation::Kind;

/// Between two looks.
const AGAIN: Duration = Duration::from_millis(300);

/// Waits until the databases of these owners can be used from the containers' network. The answer
/// says what was seen; the error is what is in the way of one of them.
pub async fn postgres(
    job: &Job,
    owners: &BTreeSet<&'static str>,
    limit: Duration,
) -> Result<String, Vec<Fault>> {
    until_usable(job, owners, limit, "PostgreSQL", Subject::Postgres).await
}

/// The same for Redis.
pub async fn redis(
    job: &Job,
    owners: &BTreeSet<&'static str>,
    limit: Duration,
) -> Result<String, Vec<Fault>> {
    until_usable(job, owners, limit, "Redis", Subject::Redis).await
}

/// Makes the network of the deployment, if it is missing, as its first start would. Without it
/// nobody can be asked from there.
pub async fn network(job: &Job) -> Result<(), Vec<Fault>> {
    let project = job.context.settings.project();
    let made = match Engine::connect().await {
        Ok(engine) => engine.ensure_network(project).await,
        Err(error) => Err(error),
    };
    made.map(drop).map_err(|error| {
        vec![
            Fault::problem(
                "the deployment's network cannot be made",
                "Docker does not make the network that its containers come from",
            )
            .evidence(error.to_string())
            .why("what they reach can be seen from their own network only")
            .next(job.command("diagnose docker-engine"))
            .next(job.again.clone()),
        ]
    })
}

#[derive(Clone, Copy)]
enum Subject {
    Postgres,
    Redis,
}

/// What one look has seen.
struct Seen {
    /// Whose databases can be used.
    usable: Vec<&'static str>,
    /// Faults of the others, and whether they may go away by themselves in a moment.
    faults: Vec<(Fault, bool)>,
    from: String,
    /// Why the containers' network could not be asked.
    blind: Option<String>,
}

async fn until_usable(
    job: &Job,
    owners: &BTreeSet<&'static str>,
    limit: Duration,
    program: &str,
    subject: Subject,
) -> Result<String, Vec<Fault>> {
    network(job).await?;
    let began = Instant::now();
    loop {
        let seen = look(job, owners, subject).await;
        if seen.faults.is_empty() && seen.blind.is_none() {
            let names: Vec<&str> = seen.usable.iter().map(|owner| label(owner)).collect();
            return Ok(format!(
                "{program} can be used for {} from {}",
                names.join(", "),
                seen.from
            ));
        }
        let lasting = seen.faults.iter().any(|(_, passes)| !passes);
        if lasting || began.elapsed() > limit {
            return Err(faults(job, seen, program));
        }
        let took = Some(began.elapsed());
        let detail = format!("until the containers can use {program}");
        job.context
            .reporter
            .tell("check", Kind::Progress, took, detail);
        tokio::time::sleep(AGAIN).await;
    }
}

fn faults(job: &Job, seen: Seen, program: &str) -> Vec<Fault> {
    if let (true, Some(why)) = (seen.faults.is_empty(), seen.blind) {
        return vec![
            Fault::problem(
                format!("{program}: not seen from the containers"),
                format!("{program} can be used from this host; from the containers was not asked"),
            )
            .evidence(why)
            .why("only a log-in from their own network proves that the services can do it")
            .next(job.command("start"))
            .next(job.command("diagnose")),
        ];
    }
    let again = job.command("diagnose");
    let faults = seen.faults.into_iter();
    faults
        .map(|(fault, _)| Fault {
            next: fault
                .next
                .iter()
                .map(|command| match command.strip_prefix("ooy ") {
                    Some(rest) => job.command(rest),
                    None => command.clone(),
                })
                .chain([again.clone()])
                .collect(),
            ..fault
        })
        .collect()
}

async fn look(job: &Job, owners: &BTreeSet<&'static str>, subject: Subject) -> Seen {
    let scene = job.look();
    let look = scene.data().await;
    let (answers, from, blind) = match &look.there {
        Ok(there) => (&there.answers, there.from.clone(), None),
        Err(halt) => (
            &look.here,
            "this host".to_owned(),
            Some(halt.why().to_owned()),
        ),
    };
    let mut seen = Seen {
        usable: Vec::new(),
        faults: Vec::new(),
        from,
        blind,
    };
    match subject {
        Subject::Postgres => {
            for (database, report) in look.databases.iter().zip(&answers.databases) {
                if !owners.contains(database.owner) {
                    continue;
                }
                let name = label(database.owner);
                // Another repair's matter: what is missing in a database that can be used.
                match report.fault(name, &database.url, &seen.from, None) {
                    Some(fault) if report.outcome != PostgresOutcome::Usable => {
                        seen.faults.push((fault, postgres_passes(report)));
                    }
                    _ => seen.usable.push(database.owner),
                }
            }
        }
        Subject::Redis => {
            for (redis, report) in look.redis.iter().zip(&answers.redis) {
                if !owners.contains(redis.owner) {
                    continue;
                }
                match report.fault(label(redis.owner), &redis.url, &seen.from) {
                    Some(fault) if !lets_in(report) => {
                        seen.faults.push((fault, redis_passes(report)));
                    }
                    _ => seen.usable.push(redis.owner),
                }
            }
        }
    }
    seen
}

/// Whether the state is one that a server goes through when it starts or takes over new settings.
fn postgres_passes(report: &PostgresReport) -> bool {
    matches!(
        report.outcome,
        PostgresOutcome::Unreached(Unreached::Refused)
            | PostgresOutcome::StartingUp
            | PostgresOutcome::ShuttingDown
            | PostgresOutcome::HbaRejected
            | PostgresOutcome::Silent
            | PostgresOutcome::Failed
    )
}

fn redis_passes(report: &RedisReport) -> bool {
    matches!(
        report.outcome,
        RedisOutcome::Unreached(Unreached::Refused)
            | RedisOutcome::Loading
            | RedisOutcome::Silent
            | RedisOutcome::Failed
    )
}

/// What it refuses to do then, other repairs see to.
fn lets_in(report: &RedisReport) -> bool {
    matches!(
        report.outcome,
        RedisOutcome::Usable
            | RedisOutcome::CannotSave
            | RedisOutcome::ReadOnly
            | RedisOutcome::OutOfMemory
    )
}
