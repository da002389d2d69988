//! After there is room again: what a full disk has stopped works, or is named.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use super::super::{Job, elasticsearch_read_only, services};
use super::tell;
use crate::diagnosis::{self, Code, Diagnosis, Severity, stopped_on_purpose};
use crate::engine::containers::State;
use crate::fault::Fault;
use crate::host::failed_units;
use crate::host::postgres::session::Session;
use crate::host::postgres::{self, PostgresOutcome};
use crate::host::url::DatabaseUrl;
use crate::operation::Kind;

/// How long PostgreSQL may take to come up by itself, its recovery included.
const RECOVERY: Duration = Duration::from_secs(60);

/// How long one answer of it may take.
const ANSWER: Duration = Duration::from_secs(10);

/// How long a service that answers badly may take to recover by itself, now that there is room.
const BY_ITSELF: Duration = Duration::from_secs(45);

/// Between two looks.
const AGAIN: Duration = Duration::from_secs(1);

/// Looks at what needs the disk that holds `root`, and starts what it has ended. `was_full`: not
/// only low, which hurts nothing but Elasticsearch. Answers what was seen.
pub async fn see_to_it(job: &Job, root: &Path, was_full: bool) -> Result<Vec<String>, Vec<Fault>> {
    let mut said = Vec::new();
    let mut faults = Vec::new();
    if was_full {
        match data(job).await {
            Ok(told) => said.extend(told),
            Err(fault) => faults.push(*fault),
        }
    }
    // Without PostgreSQL nothing that is started would stay.
    if was_full && faults.is_empty() {
        match revive(job).await {
            Ok(told) => said.extend(told),
            Err(found) => faults.extend(found),
        }
    }
    match elasticsearch(job, root).await {
        Ok(told) => said.extend(told),
        Err(fault) => faults.push(*fault),
    }
    if faults.is_empty() {
        Ok(said)
    } else {
        Err(faults)
    }
}

/// Each server writes something for real: a transaction number, which goes through its log to the
/// disk and leaves nothing behind.
async fn data(job: &Job) -> Result<Option<String>, Box<Fault>> {
    let mut asked: Vec<(String, u16)> = Vec::new();
    for database in job.context.settings.databases() {
        let url = &database.url;
        let server = (url.host().to_owned(), url.port());
        // ooy speaks no TLS with it: the services themselves are looked at below.
        if asked.contains(&server) || url.requires_tls() {
            continue;
        }
        asked.push(server);
        writes(job, url).await?;
    }
    Ok((!asked.is_empty()).then(|| "PostgreSQL writes".to_owned()))
}

async fn writes(job: &Job, url: &DatabaseUrl) -> Result<(), Box<Fault>> {
    let began = Instant::now();
    let mut started = Vec::new();
    loop {
        let why = match write(url).await {
            Ok(()) => {
                let mut detail = "PostgreSQL writes".to_owned();
                if !started.is_empty() {
                    detail += &format!(" (started: {})", started.join(", "));
                }
                let took = Some(began.elapsed());
                job.context.reporter.tell("check", Kind::Done, took, detail);
                return Ok(());
            }
            Err(why) => why,
        };
        let report = postgres::probe(url, &[], ANSWER).await;
        let passes = match report.outcome {
            PostgresOutcome::Unreached(_) => {
                // It ends where it cannot write its log, and systemd does not try again.
                if started.is_empty() {
                    started = failed_units::start("postgresql*").await;
                }
                !started.is_empty() || began.elapsed() < ANSWER
            }
            PostgresOutcome::StartingUp
            | PostgresOutcome::ShuttingDown
            | PostgresOutcome::Silent
            | PostgresOutcome::Usable => true,
            _ => false,
        };
        if !passes || began.elapsed() >= RECOVERY {
            return Err(no_postgres(job, url, &why));
        }
        let took = Some(began.elapsed());
        let detail = format!("until PostgreSQL writes: {why}");
        job.context
            .reporter
            .tell("check", Kind::Progress, took, detail);
        tokio::time::sleep(AGAIN).await;
    }
}

async fn write(url: &DatabaseUrl) -> Result<(), String> {
    let session = Session::open(url, ANSWER).await?;
    let asked = session.rows("SELECT txid_current()");
    match tokio::time::timeout(ANSWER, asked).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.message),
        Err(_) => Err("no answer in time".to_owned()),
    }
}

fn no_postgres(job: &Job, url: &DatabaseUrl, why: &str) -> Box<Fault> {
    Box::new(
        Fault::problem(
            "PostgreSQL: does not write",
            "there is room on the disk again, and PostgreSQL does not take changes all the same",
        )
        .evidence(format!("{}:{}: {}", url.host(), url.port(), job.context.mask.apply(why)))
        .why("RapidPro and Casepro work again only with it; after a full disk it mostly has to be started by hand")
        .next("sudo systemctl restart postgresql")
        .next(job.command("diagnose postgres-access"))
        .next(job.again.clone()),
    )
}

/// Elasticsearch makes its indices read-only on a disk that is nearly full.
async fn elasticsearch(job: &Job, root: &Path) -> Result<Option<String>, Box<Fault>> {
    let scene = job.look();
    // Where it does not run, this is told with the services.
    if scene.running("elasticsearch").await.is_err() {
        return Ok(None);
    }
    let released = elasticsearch_read_only::release(job, &scene).await;
    match released {
        Err(mut fault) if fault.title == elasticsearch_read_only::NO_ROOM => {
            // All that this repair can free is freed: a person has to go on.
            fault.next.clear();
            let fault = tell::with_largest(*fault, root, &job.context.mask).await;
            let next = job.command("fix elasticsearch-read-only");
            Err(Box::new(fault.next(next)))
        }
        other => other,
    }
}

/// What the checks find of services.
struct Broken {
    /// Ended, or ending again and again: they do not come back by themselves, or late.
    down: BTreeSet<String>,
    /// They run and do not do their work.
    sick: BTreeSet<String>,
}

/// Starts what the full disk has ended, and what does not recover by itself.
async fn revive(job: &Job) -> Result<Option<String>, Vec<Fault>> {
    if !job.wrong_settings.is_empty() {
        // A start would refuse; what is wrong there is another cause.
        return Ok(None);
    }
    let began = Instant::now();
    let mut started = false;
    let mut done = BTreeSet::new();
    loop {
        let broken = look(job).await;
        let fresh = |names: &BTreeSet<String>| -> BTreeSet<String> {
            names.difference(&done).cloned().collect()
        };
        let down = fresh(&broken.down);
        if !down.is_empty() {
            services::stop(job, &down).await?;
            services::start(job, &down).await?;
            done.extend(down);
            started = true;
            continue;
        }
        let sick = fresh(&broken.sick);
        if broken.down.is_empty() && broken.sick.is_empty() {
            return Ok(Some(if started {
                let names: Vec<&str> = done.iter().map(String::as_str).collect();
                format!("started again: {}", names.join(", "))
            } else {
                "no service is broken".to_owned()
            }));
        }
        if began.elapsed() < BY_ITSELF {
            let names: Vec<&str> = broken.sick.iter().map(String::as_str).collect();
            let detail = format!("until {} recovers by itself", names.join(", "));
            let took = Some(began.elapsed());
            job.context
                .reporter
                .tell("check", Kind::Progress, took, detail);
            tokio::time::sleep(AGAIN).await;
            continue;
        }
        if sick.is_empty() {
            return Err(vec![still_broken(job, &broken)]);
        }
        services::stop(job, &sick).await?;
        services::start(job, &sick).await?;
        done.extend(sick);
        started = true;
    }
}

async fn look(job: &Job) -> Broken {
    let names = ["containers", "restarts", "readiness"].map(str::to_owned);
    let mut broken = Broken {
        down: BTreeSet::new(),
        sick: BTreeSet::new(),
    };
    let Ok(checks) = diagnosis::find(&names, &job.again) else {
        return broken;
    };
    let scene = job.look();
    let mut restarting = BTreeSet::new();
    if let Ok(containers) = scene.containers().await {
        restarting.extend(
            containers
                .iter()
                .filter(|container| container.state == State::Restarting)
                .map(|container| container.service.clone()),
        );
    }
    let Diagnosis { findings, .. } = diagnosis::run(job.scene(), &checks, |_| {}).await;
    for finding in findings {
        let Some(service) = finding.service.clone() else {
            continue;
        };
        match finding.code {
            Code::ServiceExited if !stopped_on_purpose(&finding) => {
                broken.down.insert(service);
            }
            // Its history stays when it has calmed down.
            Code::RestartLoop if restarting.contains(&service) => {
                broken.down.insert(service);
            }
            Code::ServiceUnhealthy if finding.severity > Severity::Info => {
                broken.sick.insert(service);
            }
            _ => {}
        }
    }
    broken
}

fn still_broken(job: &Job, broken: &Broken) -> Fault {
    let names: Vec<&str> = broken
        .down
        .union(&broken.sick)
        .map(String::as_str)
        .collect();
    Fault::problem(
        format!("{}: still broken", names.join(", ")),
        "there is room on the disk again; these were started anew and do not work all the same",
    )
    .evidence("the checks containers, restarts and readiness still find them")
    .why("what they do is not done")
    .next(job.command("diagnose"))
    .next(job.command(&format!("logs {} -n 50", names.join(" "))))
}
