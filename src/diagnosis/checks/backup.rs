//! Backups: whether there are any, how old they are, whether they were proved, and whether the next
//! one has room.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;

use crate::backup::{Backup, Store, forecast};
use crate::deployment::services::Stack;
use crate::diagnosis::Code::{
    BackupMissing, BackupOld, BackupSpace, DiskFull, DiskLow, PostgresUnreachable,
};
use crate::diagnosis::cause::When::{Always, If};
use crate::diagnosis::cause::rule;
use crate::diagnosis::check::{Check, Checked, Halt, Looking, Report, Subject, blocking};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::words::age;
use crate::diagnosis::{Code, Evidence, Finding};
use crate::host::disk::{self, human};
use crate::lifecycle::surroundings::label;
use crate::operation::journal;

/// A backup that was just made may be in its proof.
const PROOF: Duration = Duration::from_secs(3600);

/// The checks of this subject.
pub const SUBJECT: Subject = Subject {
    checks: &[
        Check {
            name: "backup-age",
            about: "whether each database has a backup that is not too old",
            codes: &[Code::BackupMissing, Code::BackupOld],
            run: |scene| -> Looking { Box::pin(ages(scene)) },
        },
        Check {
            name: "backup-proof",
            about: "whether backups were proved by restoring them",
            codes: &[Code::BackupUnproved],
            run: |scene| -> Looking { Box::pin(proofs(scene)) },
        },
        Check {
            name: "backup-space",
            about: "whether the next backup has room",
            codes: &[Code::BackupSpace],
            run: |scene| -> Looking { Box::pin(space(scene)) },
        },
    ],
    rules: &[
        rule(BackupSpace, DiskFull, Always),
        rule(BackupSpace, DiskLow, Always),
        rule(BackupOld, BackupSpace, Always),
        rule(BackupMissing, BackupSpace, Always),
        rule(BackupOld, PostgresUnreachable, If(same_owner)),
        rule(BackupMissing, PostgresUnreachable, If(same_owner)),
    ],
};

fn same_owner(effect: &Finding, cause: &Finding, _: &Stack) -> bool {
    cause.owner.is_none() || effect.owner == cause.owner
}

/// Everything that the checks want to know of the files.
struct Seen {
    folder: PathBuf,
    absent: Vec<PathBuf>,
    backups: Vec<Backup>,
    /// How long this deployment is ours.
    since: Option<Timestamp>,
}

async fn look(scene: &Scene) -> Result<Seen, Halt> {
    let settings = Rc::clone(&scene.context.settings);
    let (store, state) = (Store::of(&settings), settings.places.state.clone());
    let folder = store.folder.clone();
    blocking(move || -> std::io::Result<Seen> {
        Ok(Seen {
            folder: store.folder.clone(),
            absent: store.absent().into_iter().map(PathBuf::from).collect(),
            backups: store.own()?,
            since: journal::begin(&state),
        })
    })
    .await?
    .map_err(|error| Halt::unknown(format!("backups in {}: {error}", folder.display())))
}

/// The limit of age; none: backups are made by something else.
fn limit(scene: &Scene) -> Result<Duration, Halt> {
    match scene.context.settings.number("BACKUP_HOURS") {
        0 => Err(Halt::unused("BACKUP_HOURS is 0")),
        hours => Ok(Duration::from_secs(hours * 3600)),
    }
}

/// The newest that has an owner's database and can be read.
fn newest<'a>(backups: &'a [Backup], owner: &str) -> Option<(&'a Backup, Timestamp)> {
    backups.iter().find_map(|backup| {
        let manifest = backup.manifest.as_ref().ok()?;
        manifest.database(owner)?;
        Some((backup, manifest.made_at))
    })
}

async fn ages(scene: Rc<Scene>) -> Checked {
    let limit = limit(&scene)?;
    let seen = look(&scene).await?;
    let mut report = Report::fine();
    let is_young = seen.since.is_none_or(|since| scene.since(since) < limit);
    let databases = scene.context.settings.databases();
    let mut missing = Vec::new();
    let mut old: Vec<(&'static str, &Backup, Timestamp)> = Vec::new();
    for owner in databases.iter().map(|database| database.owner) {
        match newest(&seen.backups, owner) {
            None if !is_young => missing.push(owner),
            Some((backup, made_at)) if scene.since(made_at) > limit => {
                old.push((owner, backup, made_at));
            }
            None | Some(_) => {}
        }
    }
    if !missing.is_empty() {
        let finding = Finding::warning(
            Code::BackupMissing,
            format!("{} no backup", have(&missing, databases.len())),
        )
        .evidence(Evidence::new(
            "backups that hold it",
            "none",
            seen.folder.display().to_string(),
        ));
        report.found(told(&scene, &seen, finding, &missing));
    }
    if let Some((_, backup, made_at)) = old.iter().min_by_key(|(_, _, made_at)| *made_at) {
        let owners: Vec<&'static str> = old.iter().map(|(owner, ..)| *owner).collect();
        let passed = age(scene.since(*made_at));
        let finding = Finding::warning(
            Code::BackupOld,
            format!(
                "{} no backup of the last {}",
                have(&owners, databases.len()),
                age(limit)
            ),
        )
        .evidence(
            Evidence::new("the last one", format!("{passed} old"), backup.id.clone())
                .threshold(format!("{} (BACKUP_HOURS)", age(limit))),
        );
        report.found(told(&scene, &seen, finding, &owners));
    }
    if report.findings.is_empty()
        && let Some(backup) = seen.backups.iter().find(|backup| backup.manifest.is_ok())
        && let Some(made_at) = backup.made_at()
    {
        let proved = if backup.is_proved() {
            "proved"
        } else {
            "not proved"
        };
        let passed = age(scene.since(made_at));
        report.figure(format!("last backup {passed} ago, {proved}"));
    }
    Ok(report)
}

/// `RapidPro's and Casepro's databases have`
fn have(owners: &[&str], of_all: usize) -> String {
    match owners {
        all if all.len() == of_all => "The databases have".to_owned(),
        [one] => format!("{}'s database has", label(one)),
        some => {
            let names: Vec<String> = some.iter().map(|one| format!("{}'s", label(one))).collect();
            format!("{} databases have", names.join(" and "))
        }
    }
}

/// What holds for one that is missing and for one that is old.
fn told(scene: &Scene, seen: &Seen, finding: Finding, owners: &[&'static str]) -> Finding {
    let settings = &scene.context.settings;
    let nightly = match settings.get("BACKUP_AT") {
        "" => "not set: none is made by itself",
        at => at,
    };
    let listed = scene.command("backup list");
    let mut finding = finding
        .evidence(Evidence::new("BACKUP_AT", nightly, "settings").command(listed))
        .impact("nobody notices until data is lost; then what was written since is gone for good")
        .manual(scene.command("backup create --prove"))
        .interrupts("nothing; it takes some of the server's time");
    if settings.get("BACKUP_AT").is_empty() {
        let enable = scene.command("boot enable");
        finding = finding.cause(format!(
            "none is made by itself: for one each night set BACKUP_AT, then {enable}"
        ));
    }
    if let [owner] = owners {
        finding = finding.owner(owner);
    }
    for folder in &seen.absent {
        finding = finding.evidence(Evidence::new(
            "folder of backups",
            "not there: its disk may not be mounted",
            folder.display().to_string(),
        ));
    }
    finding
}

async fn proofs(scene: Rc<Scene>) -> Checked {
    let seen = look(&scene).await?;
    let Some(newest) = seen.backups.first() else {
        return Err(Halt::unused("there is no backup"));
    };
    let id = newest.id.as_str();
    let damaged = match (&newest.manifest, &newest.status.failed_at) {
        (Err(broken), _) => Some(broken.words()),
        (Ok(_), Some(_)) => newest.status.failure.clone(),
        (Ok(_), None) => None,
    };
    if let Some(why) = damaged {
        let finding = Finding::error(
            Code::BackupUnproved,
            format!("The last backup cannot be relied on ({id})"),
        )
        .evidence(
            Evidence::new("its proof", why, newest.path.display().to_string())
                .command(scene.command("backup list")),
        )
        .impact("nobody notices until data is lost; this backup would not bring it back")
        .manual(scene.command("backup create --prove"))
        .interrupts("nothing; it takes some of the server's time")
        .manual(scene.command(&format!("backup verify {id}")));
        return Ok(finding.into());
    }
    let limit = limit(&scene)?;
    let made = |backup: &Backup| backup.made_at().map(|at| scene.since(at));
    let is_proved = seen
        .backups
        .iter()
        .any(|backup| backup.is_proved() && made(backup).is_some_and(|passed| passed <= limit));
    if is_proved || made(newest).is_none_or(|passed| passed < PROOF || passed > limit) {
        return Ok(Report::fine());
    }
    let finding = Finding::warning(
        Code::BackupUnproved,
        format!("The last backup was never restored to see whether it can be ({id})"),
    )
    .evidence(
        Evidence::new("backups that are proved", "none", "their folders")
            .threshold(format!("one within {} (BACKUP_HOURS)", age(limit)))
            .command(scene.command("backup list")),
    )
    .impact("nobody notices until data is lost; what it is worth is seen only then")
    .manual(scene.command(&format!("backup verify {id}")))
    .interrupts("nothing; it takes some of the server's time, and room for a moment");
    Ok(finding.into())
}

async fn space(scene: Rc<Scene>) -> Checked {
    let settings = &scene.context.settings;
    let seen = look(&scene).await?;
    if seen.backups.is_empty() && settings.get("BACKUP_AT").is_empty() {
        return Err(Halt::unused("no backup was made, and BACKUP_AT is not set"));
    }
    let mut needed = 0;
    for database in settings.databases() {
        let size = match scene.postgres(database.owner).await {
            Ok(session) => size_now(session).await,
            Err(_) => None,
        };
        let last = seen
            .backups
            .iter()
            .find_map(|backup| backup.manifest.as_ref().ok()?.database(database.owner));
        // Where the server is down: as large as it was.
        let size = size.or(last.map(|dumped| dumped.bytes)).unwrap_or_default();
        needed += forecast(database.owner, size, &seen.backups);
    }
    let folder = seen.folder.clone();
    let space = blocking(move || disk::space(&folder)).await?;
    let space = space.map_err(|error| {
        Halt::unknown(format!("the disk of {}: {error}", seen.folder.display()))
    })?;
    let reserve = settings.megabytes("DISK_RESERVE_MB");
    if space.available >= needed + reserve {
        return Ok(Report::fine());
    }
    let folder = seen.folder.display().to_string();
    let finding = Finding::warning(Code::BackupSpace, "The next backup has no room")
        .evidence(
            Evidence::new("free", human(space.available), folder.clone())
                .threshold(format!(
                    "{} for the backup, {} that stay free (DISK_RESERVE_MB)",
                    human(needed),
                    human(reserve)
                ))
                .command(format!("df -h {folder}")),
        )
        .impact("no new backup is made; nobody notices until data is lost")
        .manual(scene.command("backup delete --expired"))
        .interrupts("nothing")
        .manual(scene.command("backup list"))
        .manual(scene.command("fix disk-space"));
    Ok(finding.into())
}

async fn size_now(session: &crate::host::postgres::session::Session) -> Option<u64> {
    let query = "SELECT pg_database_size(current_database())";
    let rows = session.rows(query).await.ok()?;
    u64::try_from(rows.first()?.number(0)).ok()
}
