//! PostgreSQL: whether the services can use their databases, and for how long yet.

mod connections;
mod exposure;
mod extensions;
mod version;

use std::rc::Rc;

use super::access::{self, Answer, Asked, From, Kind, Program, Trouble};
use super::disk;
use crate::diagnosis::cause::{When, rule};
use crate::diagnosis::check::{Check, Checked, Halt, Looking, Report, Subject};
use crate::diagnosis::data::Look;
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Finding};
use crate::host::postgres::{PostgresOutcome, PostgresReport, PostgresServer, by_hand};
use crate::host::url::DatabaseUrl;
use crate::lifecycle::surroundings::label;

/// The checks of this subject.
pub const SUBJECT: Subject = Subject {
    checks: &[
        Check {
            name: "postgres-access",
            about: "PostgreSQL, from this host and from the containers' network",
            codes: &[Code::PostgresUnreachable],
            run: |scene| -> Looking { Box::pin(access(scene)) },
        },
        Check {
            name: "postgres-extensions",
            about: "extensions that the applications' databases need",
            codes: &[Code::PostgresExtensionMissing],
            run: |scene| -> Looking { Box::pin(extensions::check(scene)) },
        },
        Check {
            name: "postgres-version",
            about: "PostgreSQL's version, for the deployed releases and the next ones",
            codes: &[Code::PostgresVersionUnsupported],
            run: |scene| -> Looking { Box::pin(version::check(scene)) },
        },
        Check {
            name: "postgres-connections",
            about: "connections that are left in PostgreSQL",
            codes: &[Code::PostgresConnectionsHigh],
            run: |scene| -> Looking { Box::pin(connections::check(scene)) },
        },
        Check {
            name: "postgres-exposure",
            about: "who can reach PostgreSQL from outside: addresses, pg_hba.conf, firewall",
            codes: &[Code::PostgresExposed],
            run: |scene| -> Looking { Box::pin(exposure::check(scene)) },
        },
    ],
    rules: &[
        // Without room for its log PostgreSQL ends, and does not come up again.
        rule(
            Code::PostgresUnreachable,
            Code::DiskFull,
            When::If(|effect, cause, _| {
                disk::lies_on(cause, disk::POSTGRES) && access::is_down(effect)
            }),
        ),
        rule(
            Code::PostgresConnectionsHigh,
            Code::PostgresUnreachable,
            When::If(connections_are_all_used),
        ),
    ],
};

/// The same fault seen twice: one database got the last connection, another one none.
fn connections_are_all_used(
    _: &Finding,
    cause: &Finding,
    _: &crate::deployment::services::Stack,
) -> bool {
    cause.summary.contains("no connection left")
}

const PROGRAM: Program = Program {
    name: "PostgreSQL",
    code: Code::PostgresUnreachable,
    fix: "fix postgres-access",
    unit: "postgresql",
    listen: |host| {
        vec![
            format!(
                "sudo -u postgres psql -c \"ALTER SYSTEM SET listen_addresses = 'localhost,{host}'\""
            ),
            "sudo systemctl restart postgresql".to_owned(),
        ]
    },
};

async fn access(scene: Rc<Scene>) -> Checked {
    let look = scene.data().await;
    if look.databases.is_empty() {
        // Says which setting it is.
        scene.database("rapidpro")?;
    }
    let subnet = match scene.engine().await {
        Ok(engine) => {
            engine
                .network_subnet(scene.context.settings.project())
                .await
        }
        Err(_) => None,
    };
    let there = from(look);
    let from = From {
        subnet: subnet.as_deref(),
        ..there
    };
    let asked: Vec<Asked> = look
        .databases
        .iter()
        .enumerate()
        .map(|(index, database)| {
            let url = &database.url;
            let answer = |report: &PostgresReport, from: &str| Answer {
                took_ms: report.took_ms,
                trouble: trouble(report, label(database.owner), url, from, subnet.as_deref()),
            };
            Asked {
                owner: database.owner,
                setting: database.setting,
                host: url.host().to_owned(),
                port: url.port(),
                shown: url.redacted(),
                see: by_hand::see(url),
                log_in: by_hand::ask(url, "SELECT 1"),
                here: answer(&look.here.databases[index], "this host"),
                there: look
                    .there
                    .as_ref()
                    .ok()
                    .map(|there| answer(&there.answers.databases[index], &there.from)),
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
        if let Some(server) = servers(look).next() {
            report.figure(format!("PostgreSQL {}", short_version(server)));
        }
    }
    Ok(report)
}

/// From where the containers' network was asked.
pub(super) fn from(look: &Look) -> From<'_> {
    From {
        there: match &look.there {
            Ok(there) => Ok(&there.from),
            Err(Halt::Unknown(why) | Halt::Unused(why) | Halt::Blocked { why, .. }) => Err(why),
        },
        enter: look
            .there
            .as_ref()
            .ok()
            .and_then(|there| there.enter.as_deref()),
        subnet: None,
    }
}

/// What logged-in roles have seen, each database once.
fn servers(look: &Look) -> impl Iterator<Item = &PostgresServer> {
    (0..look.databases.len()).filter_map(|index| server(look, index))
}

/// What the role of a database has seen, from wherever it was let in.
fn server(look: &Look, index: usize) -> Option<&PostgresServer> {
    let there = look.there.as_ref().ok();
    look.here.databases[index]
        .server
        .as_ref()
        .or_else(|| there?.answers.databases[index].server.as_ref())
}

/// "15.8" of "15.8 (Debian 15.8-0+deb12u1)".
fn short_version(server: &PostgresServer) -> &str {
    let version = server.version.as_str();
    version.split_whitespace().next().unwrap_or(version)
}

/// Nothing can be said about a database that lets nobody in; why, `postgres-access` finds out.
fn nobody_was_let_in() -> Halt {
    Halt::blocked(Code::PostgresUnreachable, "PostgreSQL lets nobody in")
}

fn trouble(
    report: &PostgresReport,
    label: &str,
    url: &DatabaseUrl,
    from: &str,
    subnet: Option<&str>,
) -> Option<Trouble> {
    use PostgresOutcome::{
        Failed, NotPostgres, ShuttingDown, Silent, StartingUp, TlsNotOffered, TlsRequired,
        TooManyConnections, Unreached, Usable,
    };
    let outcome = report.outcome;
    let name = || format!("{outcome:?}");
    let kind = match outcome {
        // Other shortcomings are found by a check of their own.
        Usable
            if report
                .server
                .as_ref()
                .is_some_and(|server| server.read_only) =>
        {
            Kind::Database("ReadOnly".to_owned())
        }
        Usable => return None,
        Unreached(kind) => Kind::Unreached(kind),
        Silent => Kind::Silent,
        NotPostgres | StartingUp | ShuttingDown | TooManyConnections | TlsRequired
        | TlsNotOffered | Failed => Kind::Server(name()),
        _ => Kind::Database(name()),
    };
    let mut fault = report.fault(label, url, from, subnet)?;
    let words = match (&report.message, report.attempts.is_empty()) {
        (Some(message), _) => match &report.sqlstate {
            Some(code) => format!("{message} (SQLSTATE {code})"),
            None => message.clone(),
        },
        (None, false) => report.attempts.join(", "),
        (None, true) => fault.what.clone(),
    };
    if outcome == TooManyConnections {
        fault.next.push(by_hand::superuser(
            url,
            None,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle' \
             AND state_change < now() - interval '1 min'",
        ));
    }
    Some(Trouble {
        kind,
        words,
        fixable: outcome == PostgresOutcome::HbaRejected,
        interrupts: match outcome {
            TooManyConnections => "whoever holds an idle connection; programs connect again",
            _ => "nothing",
        },
        fault,
    })
}
