//! `ooy fix postgres-extensions`: the extensions that the applications' databases need.
//!
//! An extension that the application's own role may make is made by that role, which needs nobody
//! else; the others by the server's superuser, where the server is on this host. Packages are not
//! installed: what is installed on a database server, its administrator decides.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{Job, Plan, Planning, Refusal, Remedy, Takes};
use crate::deployment::settings::Database;
use crate::diagnosis::{Code, Finding};
use crate::fault::{Fault, Result};
use crate::host::postgres::server::{self, Found, Server};
use crate::host::postgres::session::Session;
use crate::host::postgres::{PostgresServer, by_hand};
use crate::host::{process, reach};
use crate::lifecycle::surroundings::label;
use crate::operation::Kind;

/// How long an extension may take to be made: PostGIS has some 5,000 statements.
const LIMIT: Duration = Duration::from_secs(120);
/// How long a question may take.
const LOOK: Duration = Duration::from_secs(20);

/// The repair.
pub const REMEDY: Remedy = Remedy {
    name: "postgres-extensions",
    about: "the databases have the extensions that they need",
    codes: &[Code::PostgresExtensionMissing],
    takes: Takes::Nothing,
    // It adds, interrupts nobody, and what needs it fails until then. Where files are missing only a
    // person can help.
    unattended: |finding| !lacks_files(finding),
    settles: Duration::from_secs(15),
    otherwise: &["diagnose postgres-extensions"],
    plan: |job| -> Planning { Box::pin(plan(job)) },
};

fn lacks_files(finding: &Finding) -> bool {
    finding
        .evidence
        .iter()
        .any(|fact| fact.what.starts_with("files of "))
}

/// An extension to be made.
struct Missing {
    database: Database,
    name: String,
    by: By,
}

/// Who makes it.
#[derive(Clone)]
enum By {
    /// The application's own role.
    Role,
    /// The superuser of a server on this host.
    Superuser(Rc<Server>),
}

async fn plan(job: Rc<Job>) -> std::result::Result<Plan, Refusal> {
    let missing = missing(&job).await?;
    let mut steps: Vec<String> = missing
        .iter()
        .map(|one| {
            let by = match &one.by {
                By::Role => format!("as role {}", one.database.url.user()),
                By::Superuser(server) => format!("as PostgreSQL's superuser {}", server.user.name),
            };
            let database = one.database.url.database();
            format!("CREATE EXTENSION {} in database {database} {by}", one.name)
        })
        .collect();
    steps.push("see that it is there".to_owned());
    Ok(Plan {
        steps,
        meanwhile: "nobody notices".to_owned(),
        touches: missing
            .iter()
            .map(|one| format!("{} in {}", one.name, one.database.url.database()))
            .collect(),
        act: Box::pin(async move { act(&job, missing).await.map_err(|fault| vec![*fault]) }),
    })
}

/// What the databases lack, and who can make it.
async fn missing(job: &Job) -> Result<Vec<Missing>> {
    let scene = job.look();
    let look = scene.data().await;
    let mut servers: BTreeMap<u16, Rc<Server>> = BTreeMap::new();
    let mut all = Vec::new();
    for (index, database) in scene.context.settings.databases().into_iter().enumerate() {
        let owner = Some(database.owner);
        if !job.findings.is_empty() && !job.findings.iter().any(|found| found.owner == owner) {
            continue;
        }
        let there = look.there.as_ref().ok();
        let here = look.here.databases.get(index);
        let seen_here = here.and_then(|report| report.server.as_ref());
        let seen = seen_here.or_else(|| there?.answers.databases.get(index)?.server.as_ref());
        let Some(seen) = seen.filter(|seen| !seen.missing.is_empty()) else {
            continue;
        };
        if seen.missing.iter().any(|extension| !extension.available) {
            return Err(no_files(job, &database, seen));
        }
        for extension in &seen.missing {
            // From this host alone can we log in as the role.
            let by = if extension.may_create && seen_here.is_some() {
                By::Role
            } else {
                let port = database.url.port();
                let server = match servers.get(&port) {
                    Some(server) => Rc::clone(server),
                    None => Rc::new(superuser(job, &database, seen).await?),
                };
                servers.insert(port, Rc::clone(&server));
                By::Superuser(server)
            };
            all.push(Missing {
                database: copy(&database),
                name: extension.name.clone(),
                by,
            });
        }
    }
    Ok(all)
}

fn copy(database: &Database) -> Database {
    Database {
        url: database.url.clone(),
        ..*database
    }
}

/// The server of a database, if it is on this host and we may ask its superuser.
async fn superuser(job: &Job, database: &Database, seen: &PostgresServer) -> Result<Server> {
    let url = &database.url;
    let until = tokio::time::Instant::now() + LOOK / 4;
    let addresses = reach::addresses(url.host(), until).await;
    let local = addresses
        .iter()
        .any(|address| reach::is_this_machine(&address.to_string()));
    let role = url.user();
    let needs = format!("role {role} may not create the extension by itself");
    if !local {
        let fault = fault(
            "PostgreSQL is on another machine",
            format!("{needs}, and the server's superuser has to be asked on its own machine"),
        )
        .evidence(url.redacted());
        return Err(by_hand_instead(job, fault, database, seen));
    }
    match server::find(url.port(), LOOK).await {
        Found::Running(server) if server.user.is_ours() => Ok(*server),
        Found::Running(_) | Found::Hidden | Found::Stopped(_) => {
            let fault = fault(
                "no permission",
                format!("{needs}, and as PostgreSQL's superuser only root, or that user, logs in"),
            )
            .evidence(format!("ooy runs as {}", process::user_name()))
            .next(format!("sudo {}", job.again));
            Err(by_hand_instead(job, fault, database, seen))
        }
        Found::Other(_) | Found::Nobody => {
            let fault = fault(
                "PostgreSQL is not this host's own",
                format!("{needs}, and how to ask the server's superuser is not known here"),
            )
            .evidence(url.redacted());
            Err(by_hand_instead(job, fault, database, seen))
        }
    }
}

fn fault(title: &str, what: impl Into<String>) -> Fault {
    Fault::problem(format!("postgres-extensions: {title}"), what)
}

fn by_hand_instead(
    job: &Job,
    fault: Fault,
    database: &Database,
    seen: &PostgresServer,
) -> Box<Fault> {
    let impact = format!(
        "nothing was changed; {} fails wherever it uses what is missing",
        label(database.owner)
    );
    let commands = by_hand::create_extensions(&database.url, seen);
    let fault = commands
        .into_iter()
        .fold(fault.why(impact), Fault::next)
        .next(job.command("diagnose postgres-extensions"));
    Box::new(fault)
}

/// Files have to be installed first.
fn no_files(job: &Job, database: &Database, seen: &PostgresServer) -> Box<Fault> {
    let mut fault = fault(
        "a package is missing on the database server",
        "the files of an extension are not installed; ooy installs nothing on a database server",
    )
    .evidence(format!("PostgreSQL {}", seen.version));
    let absent = seen.missing.iter().filter(|extension| !extension.available);
    for extension in absent {
        fault = fault.evidence(format!(
            "not in pg_available_extensions: {}",
            extension.name
        ));
    }
    let mut fault = by_hand_instead(job, fault, database, seen);
    // The package first; what is left this repair does.
    fault
        .next
        .retain(|command| !command.contains("CREATE EXTENSION"));
    let at = fault.next.len().saturating_sub(1);
    fault.next.insert(at, job.again.clone());
    fault
}

async fn act(job: &Job, missing: Vec<Missing>) -> Result<String> {
    let mut seen = Vec::new();
    for one in &missing {
        let began = Instant::now();
        let database = one.database.url.database();
        let what = format!("{} in database {database}", one.name);
        let reporter = &job.context.reporter;
        reporter.tell("postgres", Kind::Started, None, format!("creating {what}"));
        let version = create(one).await.map_err(|why| refused(job, one, &why))?;
        let took = Some(began.elapsed());
        reporter.tell("postgres", Kind::Done, took, format!("{what} created"));
        seen.push(format!("{database} has {} {version}", one.name));
    }
    if seen.is_empty() {
        seen.push("every database has its extensions".to_owned());
    }
    Ok(seen.join(", "))
}

/// Makes it; the answer is its version, as the database has it afterwards.
async fn create(one: &Missing) -> std::result::Result<String, String> {
    let create = format!("CREATE EXTENSION IF NOT EXISTS {}", server::name(&one.name));
    let see = format!(
        "SELECT extversion FROM pg_extension WHERE extname = {}",
        server::text(&one.name)
    );
    let version = match &one.by {
        By::Role => {
            let session = Session::open(&one.database.url, LIMIT).await?;
            let created = session.write(&create).await;
            created.map_err(|why| why.message)?;
            let rows = session.rows(&see).await.map_err(|why| why.message)?;
            rows.first().map(|row| row.text(0).to_owned())
        }
        By::Superuser(server) => {
            let database = one.database.url.database();
            server.sql(database, &create, LIMIT).await?;
            let rows = server.sql(database, &see, LOOK).await?;
            rows.into_iter().flatten().next()
        }
    };
    version.ok_or_else(|| "it is not in pg_extension afterwards".to_owned())
}

fn refused(job: &Job, one: &Missing, why: &str) -> Box<Fault> {
    let url = &one.database.url;
    let sql = format!("CREATE EXTENSION IF NOT EXISTS {}", server::name(&one.name));
    Box::new(
        fault(
            &format!("{} was not created", one.name),
            format!(
                "PostgreSQL refuses to create it in database {}",
                url.database()
            ),
        )
        .evidence(why)
        .why(format!(
            "{} fails wherever it uses {}",
            label(one.database.owner),
            one.name
        ))
        .next(by_hand::superuser(url, Some(url.database()), &sql))
        .next(job.again.clone()),
    )
}
