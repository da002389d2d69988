//! Databases and programs, looked at before anything is begun: whatever is wrong is said at once.

use std::time::Duration;

use crate::deployment::settings::Database;
use crate::fault::{Fault, Result};
use crate::host::postgres::admin::{self, About, Admin, Lack, Version};
use crate::host::postgres::by_hand;
use crate::host::postgres::programs::{self, Programs};
use crate::host::postgres::session::Session;
use crate::host::postgres::{self, PostgresOutcome};
use crate::host::url::DatabaseUrl;
use crate::lifecycle::Context;
use crate::lifecycle::surroundings::label;

/// How long the server may take to let us in.
pub const LOOK: Duration = Duration::from_secs(20);

/// A database that can be dumped.
pub struct Prepared {
    /// Whose, and where.
    pub database: Database,
    /// What the server says of it.
    pub about: About,
    /// Programs that fit its server.
    pub programs: Programs,
}

/// The chosen databases; all faults at once. `again` is the command to repeat.
pub async fn databases(
    context: &Context,
    owners: &[&str],
    again: &str,
) -> Result<Vec<Prepared>, Vec<Fault>> {
    let installed = programs::all().await;
    let mut prepared = Vec::new();
    let mut faults: Vec<Fault> = Vec::new();
    for database in context.settings.databases() {
        if !owners.is_empty() && !owners.contains(&database.owner) {
            continue;
        }
        match one(&database, &installed, again).await {
            Ok((about, programs)) => prepared.push(Prepared {
                database,
                about,
                programs,
            }),
            Err(fault) => add(&mut faults, *fault),
        }
    }
    if faults.is_empty() {
        Ok(prepared)
    } else {
        Err(faults)
    }
}

/// One more, unless the same was found before: one server lacks it for all its databases.
pub fn add(faults: &mut Vec<Fault>, fault: Fault) {
    if !faults.iter().any(|other| other.title == fault.title) {
        faults.push(fault);
    }
}

async fn one(
    database: &Database,
    installed: &[Programs],
    again: &str,
) -> Result<(About, Programs)> {
    let about = reach(database).await?;
    let programs = fitting(installed, &about.version, 0, &database.url, again)?;
    Ok((about, programs))
}

/// Logs in and asks; if that fails, the fault says which of the many reasons it is.
pub async fn reach(database: &Database) -> Result<About> {
    let url = &database.url;
    let answer = match Session::open(url, LOOK).await {
        Ok(session) => admin::about(&session).await,
        Err(why) => Err(why),
    };
    let why = match answer {
        Ok(about) => return Ok(about),
        Err(why) => why,
    };
    let report = postgres::probe(url, &[], LOOK / 4).await;
    let told = (report.outcome != PostgresOutcome::Usable)
        .then(|| report.fault(label(database.owner), url, "this host", None))
        .flatten();
    let fault = told.unwrap_or_else(|| {
        Fault::problem(
            format!("{}: PostgreSQL does not answer", label(database.owner)),
            "the database could not be asked from this host",
        )
        .evidence(url.redacted())
        .evidence(why)
        .next(by_hand::see(url))
    });
    Err(Box::new(fault.why(
        "a database that cannot be reached can neither be backed up nor restored",
    )))
}

/// The programs for a server, and for a dump that `pg_dump` of a version has made (0: for none yet).
pub fn fitting(
    installed: &[Programs],
    version: &Version,
    pg_dump: u32,
    url: &DatabaseUrl,
    again: &str,
) -> Result<Programs> {
    let wanted = version.number.max(pg_dump);
    if let Some(programs) = programs::fitting(installed, wanted) {
        return Ok(programs.clone());
    }
    let major = programs::major_name(wanted);
    let fault = match installed.last() {
        None => Fault::problem(
            "pg_dump: not on this host",
            "pg_dump and pg_restore make and restore backups, and neither was found",
        )
        .evidence("looked in /usr/lib/postgresql/*/bin, /usr/pgsql-*/bin and PATH"),
        Some(newest) => Fault::problem(
            "pg_dump: too old for the server",
            format!("pg_dump of this host does not read a PostgreSQL {major}"),
        )
        .evidence(format!("{}: version {}", newest.pg_dump(), newest.version)),
    };
    Err(Box::new(
        fault
            .evidence(format!("{}: version {}", url.redacted(), version.words))
            .why("without it there is neither a backup nor a restore")
            .next(format!("sudo apt-get install -y postgresql-client-{major}"))
            .next(again.to_owned()),
    ))
}

/// Whether everything that a restore needs may be made there; the fault names the grant that is
/// missing.
pub async fn may(
    admin: &Admin,
    database: &Database,
    extensions: &[&str],
    again: &str,
) -> Result<()> {
    let url = &database.url;
    let lacks = admin.lacks(extensions).await.map_err(|why| {
        Box::new(
            Fault::problem(
                format!("{}: PostgreSQL does not answer", label(database.owner)),
                "what may be done on the server could not be asked",
            )
            .evidence(url.redacted())
            .evidence(why)
            .why("nothing was begun")
            .next(by_hand::see(url)),
        )
    })?;
    let Some(first) = lacks.first() else {
        return Ok(());
    };
    let role = url.user();
    let mut fault = match first {
        Lack::Files(extension) => Fault::problem(
            format!("{extension}: not on the server"),
            format!(
                "the backup needs extension {extension}, and its files are not installed there"
            ),
        ),
        _ => Fault::problem(
            format!("{role}: may not do this on the server"),
            format!(
                "a restore is made into a database beside the present one, and role {role} may not make it"
            ),
        ),
    };
    fault = fault.evidence(url.redacted());
    let as_role = postgres::server::name(role);
    for lack in &lacks {
        fault = match lack {
            Lack::CreateDatabase => {
                fault
                    .evidence(format!("{role} lacks CREATEDB"))
                    .next(by_hand::superuser(
                        url,
                        None,
                        &format!("ALTER ROLE {as_role} CREATEDB"),
                    ))
            }
            // There is no smaller right than this one for an extension that is not trusted.
            Lack::Extension(extension) => fault
                .evidence(format!(
                    "only a superuser makes extension {extension}; {role} is none"
                ))
                .next(by_hand::superuser(
                    url,
                    None,
                    &format!("ALTER ROLE {as_role} SUPERUSER"),
                )),
            Lack::Files(extension) => {
                fault.evidence(format!("not in pg_available_extensions: {extension}"))
            }
        };
    }
    let mut fault = fault.why("nothing was begun; a backup is proved only by restoring it");
    if lacks.iter().any(|lack| matches!(lack, Lack::Extension(_))) {
        fault = fault.next(again.to_owned()).next(by_hand::superuser(
            url,
            None,
            &format!("ALTER ROLE {as_role} NOSUPERUSER"),
        ));
    } else if lacks.iter().any(|lack| matches!(lack, Lack::Files(_))) {
        fault = fault.next(by_hand::on_server(url, "apt-cache search postgis"));
    } else {
        fault = fault.next(again.to_owned());
    }
    fault.next.dedup();
    Err(Box::new(fault))
}
