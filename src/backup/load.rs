//! A dump put into an empty database and compared with what its manifest says: what a proof and a
//! restore have in common.

use std::path::Path;
use std::time::{Duration, Instant};

use super::manifest::Dumped;
use super::prepare::LOOK;
use super::room::{Room, watched};
use super::store::Backup;
use crate::fault::{Fault, Result};
use crate::host::disk::human;
use crate::host::postgres::admin::Admin;
use crate::host::postgres::archive::{self, Restore};
use crate::host::postgres::by_hand;
use crate::host::postgres::programs::Programs;
use crate::host::postgres::session::Session;
use crate::host::text;
use crate::host::url::DatabaseUrl;
use crate::lifecycle::Context;
use crate::lifecycle::surroundings::label;
use crate::operation::Kind;

/// So many tables and indexes are restored at once at most: more than a small server has disks for.
const MOST_JOBS: usize = 4;

/// What goes where.
pub struct Load<'a> {
    /// Whom to tell, and of which deployment.
    pub context: &'a Context,
    /// The step that it is part of: `verify`, `restore`.
    pub step: &'static str,
    /// From where.
    pub backup: &'a Backup,
    /// Which of its databases.
    pub dumped: &'a Dumped,
    /// Programs that fit the server.
    pub programs: &'a Programs,
    /// Who makes databases there.
    pub admin: &'a Admin,
    /// The application's address, whose role owns what is restored.
    pub url: &'a DatabaseUrl,
    /// The database's name; one of that name is dropped before.
    pub into: &'a str,
}

/// Why nothing was proved.
pub enum Unproved {
    /// The backup does not come to what it should.
    ByItself(Box<Fault>),
    /// Something else stood in the way.
    Hindered(Box<Fault>),
}

impl Unproved {
    /// What the operator is told.
    pub fn into_fault(self) -> Box<Fault> {
        match self {
            Self::ByItself(fault) | Self::Hindered(fault) => fault,
        }
    }
}

/// What a restore needs on the server's disk: the database as it was, and a tenth for what is
/// written before it (WAL).
pub fn needs(bytes: u64) -> u64 {
    bytes.saturating_add(bytes / 10)
}

/// The disk of a server of this host, that a restore fills.
pub fn room_of(context: &Context, data: &Path) -> Room {
    let reserve = context.settings.megabytes("DISK_RESERVE_MB");
    Room::new("restore", data, reserve, context.command("fix disk-space"))
}

impl Load<'_> {
    /// Loads, and compares. On a difference the database is left for whoever called to drop.
    pub async fn run(&self) -> Result<(), Unproved> {
        let began = Instant::now();
        let reporter = &self.context.reporter;
        let owner = self.dumped.owner.as_str();
        let whole = human(self.dumped.bytes);
        let started = format!("restoring {whole} into database {}", self.into);
        reporter.service(self.step, owner, Kind::Started, None, started);
        let room = self.room();
        let mut told = Instant::now();
        watched(self.load(), async || {
            if let Some(room) = &room {
                room.is_left().map_err(Unproved::Hindered)?;
            }
            if told.elapsed() >= Duration::from_secs(2) {
                told = Instant::now();
                let size = self.admin.bytes(self.into).await.unwrap_or_default();
                let detail = format!("restored {} of about {whole}", human(size));
                reporter.service(
                    self.step,
                    owner,
                    Kind::Progress,
                    Some(began.elapsed()),
                    detail,
                );
            }
            Ok(())
        })
        .await?;
        let census = self.admin.census(self.into).await;
        let census = census.map_err(|why| self.hindered(&why))?;
        let differences = self.dumped.census.differences(&census);
        if !differences.is_empty() {
            return Err(self.differs(&differences));
        }
        let detail = format!(
            "restored, and the same: {} in {}, {}",
            text::count(census.rows(), "row"),
            text::count(census.tables.len() as u64, "table"),
            text::count(census.extensions.len() as u64, "extension"),
        );
        reporter.service(self.step, owner, Kind::Done, Some(began.elapsed()), detail);
        Ok(())
    }

    /// The disk of the server, where that is this host's.
    fn room(&self) -> Option<Room> {
        Some(room_of(self.context, self.admin.data()?))
    }

    /// Whether there is room for it, where that can be told.
    pub fn has_room(&self) -> Result<()> {
        match self.room() {
            Some(room) => room.has(needs(self.dumped.bytes)),
            None => Ok(()),
        }
    }

    async fn load(&self) -> Result<(), Unproved> {
        let hindered = |why: String| self.hindered(&why);
        let admin = self.admin;
        admin.drop(self.into).await.map_err(hindered)?;
        admin
            .create(self.into, self.url.user(), &self.dumped.form)
            .await
            .map_err(hindered)?;
        for extension in self.dumped.census.extension_names() {
            let made = admin.extension(self.into, extension).await;
            made.map_err(hindered)?;
        }
        let rows = &self.dumped.census.extension_rows;
        let touched = rows.iter().filter(|(_, rows)| **rows > 0);
        let touched: Vec<&str> = touched.map(|(table, _)| table.as_str()).collect();
        let untouched: Vec<&str> = rows
            .keys()
            .map(String::as_str)
            .filter(|table| !touched.contains(table))
            .collect();
        self.writable(&touched, "GRANT INSERT ON", "TO")
            .await
            .map_err(hindered)?;
        // As the application itself, where pg_hba.conf lets it into a database of that name: what
        // stands in a dump should not be executed by a superuser.
        let role = Admin::Role(self.url.clone());
        let into = self.url.in_database(self.into);
        let by = match Session::open(&into, LOOK).await {
            Ok(_) => &role,
            Err(_) => admin,
        };
        let restore = Restore {
            programs: self.programs,
            by,
            role: self.url.user(),
            database: self.into,
            file: &self.backup.path.join(&self.dumped.part),
            jobs: jobs(),
            untouched: &untouched,
            list: &self.list(),
        };
        restore
            .run()
            .await
            .map_err(|why| match archive::is_the_servers(&why) {
                true => self.hindered(&why),
                false => self.failed("its dump could not be restored", &why),
            })?;
        self.writable(&touched, "REVOKE INSERT ON", "FROM")
            .await
            .map_err(hindered)
    }

    /// Rows of users in a table of an extension belong to whoever made the extension.
    async fn writable(
        &self,
        tables: &[&str],
        change: &str,
        whom: &str,
    ) -> std::result::Result<(), String> {
        if !matches!(self.admin, Admin::Superuser(_)) {
            return Ok(());
        }
        let role = crate::host::postgres::server::name(self.url.user());
        for table in tables {
            let statement = format!("{change} {table} {whom} {role}");
            self.admin.run(self.into, &statement).await?;
        }
        Ok(())
    }

    fn list(&self) -> std::path::PathBuf {
        let state: &Path = &self.context.settings.places.state;
        state.join(format!("restore-{}.list", self.dumped.owner))
    }

    fn failed(&self, what: &str, why: &str) -> Unproved {
        let fault = self.fault(what);
        let why = self.context.mask.apply(why);
        Unproved::ByItself(Box::new(fault.evidence(text::shorten(&why, 400))))
    }

    /// What happens on the server says nothing of the backup.
    fn hindered(&self, why: &str) -> Unproved {
        let why = self.context.mask.apply(why);
        let title = format!("{}: PostgreSQL could not do it", label(&self.dumped.owner));
        let what = format!(
            "the server failed while backup {} was restored",
            self.backup.id
        );
        Unproved::Hindered(Box::new(
            Fault::problem(title, what)
                .evidence(self.url.redacted())
                .evidence(text::shorten(&why, 400))
                .why("that says nothing of the backup; the databases are as they were")
                .next(by_hand::see(self.url))
                .next(self.context.command("diagnose postgres")),
        ))
    }

    fn differs(&self, differences: &[String]) -> Unproved {
        let mut fault = self.fault("what was restored is not what was backed up");
        for line in differences.iter().take(5) {
            fault = fault.evidence(line.clone());
        }
        if differences.len() > 5 {
            fault = fault.evidence(format!("and {} more", differences.len() - 5));
        }
        Unproved::ByItself(Box::new(fault))
    }

    fn fault(&self, what: &str) -> Fault {
        let id = &self.backup.id;
        let title = format!("{}: backup {id} is not proved", label(&self.dumped.owner));
        Fault::problem(title, what)
            .evidence(format!(
                "{}/{}",
                self.backup.path.display(),
                self.dumped.part
            ))
            .why("this backup cannot be relied on; the databases are as they were")
            .next(self.context.command("backup create --prove"))
            .next(self.context.command("backup list"))
    }
}

fn jobs() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores.min(MOST_JOBS)
}

/// Whether all parts are what was written.
pub async fn check_parts(context: &Context, backup: &Backup) -> Result<()> {
    let manifest = usable(context, backup)?;
    let began = Instant::now();
    let reporter = &context.reporter;
    reporter.tell("digests", Kind::Started, None, "reading all parts");
    let (path, copy) = (backup.path.clone(), manifest.clone());
    let faults = super::reading(move |goes_on| copy.faults_of_parts(&path, goes_on)).await;
    let faults = faults.unwrap_or_else(|error| vec![error.to_string()]);
    if faults.is_empty() {
        let detail = format!(
            "{} are as they were written",
            text::count(manifest.parts.len() as u64, "file")
        );
        reporter.tell("digests", Kind::Done, Some(began.elapsed()), detail);
        return Ok(());
    }
    reporter.tell(
        "digests",
        Kind::Failed,
        Some(began.elapsed()),
        "not what was written",
    );
    let fault = Fault::problem(
        format!("backup {}: damaged", backup.id),
        "its files are not what was written when it was made",
    );
    let fault = faults.into_iter().take(5).fold(fault, Fault::evidence);
    Err(Box::new(
        fault
            .evidence(format!(
                "{} ({})",
                backup.path.display(),
                super::manifest::SUMS
            ))
            .why("it cannot be restored as it was; nothing was begun")
            .next(context.command("backup list"))
            .next(context.command("backup create --prove")),
    ))
}

/// The manifest of a backup that this version can read.
pub fn usable<'a>(context: &Context, backup: &'a Backup) -> Result<&'a super::manifest::Manifest> {
    use super::manifest::Broken;
    let broken = match &backup.manifest {
        Ok(manifest) => return Ok(manifest),
        Err(broken) => broken,
    };
    let fault = Fault::problem(
        format!("backup {}: cannot be used", backup.id),
        broken.words(),
    )
    .evidence(backup.path.display().to_string())
    .why("what is in it cannot be told; nothing was begun");
    Err(Box::new(match broken {
        Broken::Newer(_) => fault.next(context.command("self-update")),
        _ => fault.next(context.command("backup list")),
    }))
}
