//! Redis: whether the services can read and write their databases, and for how long yet.

mod databases;
mod exposure;
mod memory;
mod writes;

use std::rc::Rc;

use super::access::{self, Answer, Asked, Kind, Program, Trouble};
use super::disk;
use super::postgres::from;
use crate::deployment::settings::RedisDatabase;
use crate::diagnosis::cause::{When, rule};
use crate::diagnosis::check::{Check, Checked, Halt, Looking, Report, Subject};
use crate::diagnosis::data::Look;
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Finding};
use crate::host::redis::{RedisOutcome, RedisReport, RedisServer, by_hand};
use crate::host::url::RedisUrl;
use crate::lifecycle::surroundings::label;

/// The checks of this subject.
pub const SUBJECT: Subject = Subject {
    checks: &[
        Check {
            name: "redis-access",
            about: "Redis, from this host and from the containers' network",
            codes: &[Code::RedisUnreachable],
            run: |scene| -> Looking { Box::pin(access(scene)) },
        },
        Check {
            name: "redis-writes",
            about: "whether Redis takes writes and can save them",
            codes: &[Code::RedisReadonly],
            run: |scene| -> Looking { Box::pin(writes::check(scene)) },
        },
        Check {
            name: "redis-memory",
            about: "memory that is left to Redis",
            codes: &[Code::RedisMemoryHigh],
            run: |scene| -> Looking { Box::pin(memory::check(scene)) },
        },
        Check {
            name: "redis-databases",
            about: "that each application has a Redis database of its own",
            codes: &[Code::RedisDatabaseShared],
            run: |scene| -> Looking { Box::pin(databases::check(scene)) },
        },
        Check {
            name: "redis-exposure",
            about: "who can reach Redis from outside: password, addresses, firewall",
            codes: &[Code::RedisExposed],
            run: |scene| -> Looking { Box::pin(exposure::check(scene)) },
        },
    ],
    rules: &[
        rule(
            Code::RedisReadonly,
            Code::DiskFull,
            When::If(|effect, cause, _| {
                disk::lies_on(cause, disk::REDIS) && writes::is_unsaved(effect)
            }),
        ),
        rule(
            Code::RedisReadonly,
            Code::RedisMemoryHigh,
            When::If(|effect, _, _| writes::is_full(effect)),
        ),
    ],
};

const PROGRAM: Program = Program {
    name: "Redis",
    code: Code::RedisUnreachable,
    fix: "fix redis-access",
    unit: "redis-server",
    listen: |host| {
        vec![
            format!("sudo sed -i 's/^bind .*/bind 127.0.0.1 {host}/' /etc/redis/redis.conf"),
            "sudo systemctl restart redis-server".to_owned(),
        ]
    },
};

async fn access(scene: Rc<Scene>) -> Checked {
    let look = scene.data().await;
    if look.redis.is_empty() {
        scene.redis_database("rapidpro")?;
    }
    let subnet = match scene.engine().await {
        Ok(engine) => {
            engine
                .network_subnet(scene.context.settings.project())
                .await
        }
        Err(_) => None,
    };
    let from = access::From {
        subnet: subnet.as_deref(),
        ..from(look)
    };
    let asked: Vec<Asked> = look
        .redis
        .iter()
        .enumerate()
        .map(|(index, redis)| {
            let url = &redis.url;
            let answer = |report: &RedisReport, from: &str| Answer {
                took_ms: report.took_ms,
                trouble: trouble(report, label(redis.owner), url, from),
            };
            Asked {
                owner: redis.owner,
                setting: redis.setting,
                host: url.host().to_owned(),
                port: url.port(),
                shown: url.redacted(),
                see: by_hand::see(url),
                log_in: by_hand::ask(url, "PING"),
                here: answer(&look.here.redis[index], "this host"),
                there: look
                    .there
                    .as_ref()
                    .ok()
                    .map(|there| answer(&there.answers.redis[index], &there.from)),
            }
        })
        .collect();
    let mut report = Report {
        findings: access::findings(&scene, &PROGRAM, &asked, &from).await,
        figures: Vec::new(),
    };
    if report.findings.is_empty() {
        if let Err(halt) = &look.there {
            return Err(halt.clone());
        }
        if let Some(one) = servers(look).first() {
            report.figure(format!("Redis {}", one.server.version));
        }
    }
    Ok(report)
}

fn trouble(report: &RedisReport, label: &str, url: &RedisUrl, from: &str) -> Option<Trouble> {
    use RedisOutcome::{
        CannotSave, Failed, Loading, NotRedis, OutOfMemory, PasswordNotWanted, Protected, ReadOnly,
        Silent, TooManyClients, Unreached, Usable,
    };
    let outcome = report.outcome;
    let name = || format!("{outcome:?}");
    let kind = match outcome {
        // The last three let everybody in; `redis-writes` finds them.
        Usable | CannotSave | ReadOnly | OutOfMemory => return None,
        Unreached(kind) => Kind::Unreached(kind),
        Silent => Kind::Silent,
        NotRedis | Loading | Protected | TooManyClients | Failed => Kind::Server(name()),
        _ => Kind::Database(name()),
    };
    let fault = report.fault(label, url, from)?;
    let words = match (&report.message, report.attempts.is_empty()) {
        (Some(message), _) => message.clone(),
        (None, false) => report.attempts.join(", "),
        (None, true) => fault.what.clone(),
    };
    Some(Trouble {
        kind,
        words,
        // The settings know the password that Redis has lost.
        fixable: matches!(outcome, Protected | PasswordNotWanted),
        interrupts: match outcome {
            Protected => "everything that uses Redis, about 10 s",
            _ => "nothing",
        },
        fault,
    })
}

/// One server, and what it says of itself to whoever was let in.
struct Server<'a> {
    /// The first database that is on it.
    first: &'a RedisDatabase,
    /// What it says of itself.
    server: &'a RedisServer,
    /// Whether it can be used.
    report: &'a RedisReport,
    /// Whose databases are on it: `None` for all, as findings have it.
    owners: Vec<Option<&'static str>>,
}

/// Each server that lets somebody in, once.
fn servers(look: &Look) -> Vec<Server<'_>> {
    let mut servers: Vec<Server<'_>> = Vec::new();
    let there = look.there.as_ref().ok();
    for (index, redis) in look.redis.iter().enumerate() {
        let place = |redis: &RedisDatabase| (redis.url.host().to_owned(), redis.url.port());
        if servers.iter().any(|one| place(one.first) == place(redis)) {
            continue;
        }
        let on_it = look
            .redis
            .iter()
            .filter(|other| place(other) == place(redis));
        let owners: Vec<_> = on_it.map(|other| Some(other.owner)).collect();
        let all = owners.len() == look.redis.len() && owners.len() > 1;
        let reports = [
            Some(&look.here.redis[index]),
            there.map(|there| &there.answers.redis[index]),
        ];
        let said = reports.into_iter().flatten();
        if let Some((report, server)) = said
            .filter_map(|report| Some((report, report.server.as_ref()?)))
            .next()
        {
            servers.push(Server {
                first: redis,
                server,
                report,
                owners: if all { vec![None] } else { owners },
            });
        }
    }
    servers
}

impl Server<'_> {
    /// The finding for each of those whom it concerns.
    fn each(&self, finding: &Finding) -> Vec<Finding> {
        self.owners
            .iter()
            .map(|owner| Finding {
                owner: *owner,
                ..finding.clone()
            })
            .collect()
    }
}

/// The servers, or why nothing can be said of them.
async fn servers_of(scene: &Scene) -> Result<Vec<Server<'_>>, Halt> {
    let look = scene.data().await;
    if look.redis.is_empty() {
        scene.redis_database("rapidpro")?;
    }
    let servers = servers(look);
    if servers.is_empty() {
        return Err(Halt::blocked(
            Code::RedisUnreachable,
            "Redis lets nobody in",
        ));
    }
    Ok(servers)
}
