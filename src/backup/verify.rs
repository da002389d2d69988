//! `ooy backup verify`: a backup is proved by restoring it into a scratch database.

use std::time::{Duration, Instant};

use super::load::{Load, Unproved, check_parts, usable};
use super::store::Backup;
use super::target::Target;
use crate::fault::{Fault, Result};
use crate::host::disk::human;
use crate::host::postgres::admin::Admin;
use crate::lifecycle::Context;
use crate::operation::Kind;

/// What scratch databases are called.
const SCRATCH: &str = "verify";

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Databases that were restored and compared.
    pub databases: Vec<String>,
    /// Rows in all of them.
    pub rows: u64,
    /// How long it took.
    pub took: Duration,
}

/// What is going to be done: by database, in words.
pub async fn plan(
    context: &Context,
    backup: &Backup,
    again: &str,
) -> Result<Vec<(String, String)>> {
    let manifest = usable(context, backup)?;
    let mut lines = Vec::new();
    for dumped in &manifest.databases {
        let (target, _) = Target::for_load(context, dumped, again).await?;
        let detail = format!(
            "restored as {} into a scratch database ({} for a moment), compared, dropped",
            target.admin.label(),
            human(dumped.bytes)
        );
        lines.push((dumped.owner.clone(), detail));
    }
    Ok(lines)
}

/// Restores each of its databases into a scratch database, one after the other, compares, and drops
/// it. How it ended is noted in the backup, unless it was not the backup's fault. To be called with
/// the lock of backups.
pub async fn verify(context: &Context, backup: &Backup, again: &str) -> Result<Proof, Vec<Fault>> {
    let began = Instant::now();
    let one = |fault: Box<Fault>| vec![*fault];
    let manifest = usable(context, backup).map_err(one)?;
    if let Err(fault) = check_parts(context, backup).await {
        return Err(refuted(context, backup, *fault));
    }
    let mut rows = 0;
    for dumped in &manifest.databases {
        let found = Target::for_load(context, dumped, again).await;
        let (Target { database, admin }, programs) = found.map_err(one)?;
        let into = super::beside(&context.settings, SCRATCH, &dumped.owner);
        let load = Load {
            context,
            step: "verify",
            backup,
            dumped,
            programs: &programs,
            admin: &admin,
            url: &database.url,
            into: &into,
        };
        // What a killed proof has left takes room too.
        drop_scratch(context, &admin, &into).await.map_err(one)?;
        load.has_room().map_err(one)?;
        let loaded = load.run().await;
        let dropped = drop_scratch(context, &admin, &into).await;
        match loaded {
            Ok(()) => {}
            Err(Unproved::ByItself(fault)) => return Err(refuted(context, backup, *fault)),
            Err(Unproved::Hindered(fault)) => return Err(vec![*fault]),
        }
        dropped.map_err(one)?;
        rows += dumped.census.rows();
    }
    backup.note(None).map_err(|error| {
        vec![
            Fault::problem(
                format!("backup {}: proved, and not marked so", backup.id),
                "that it was restored could not be written down",
            )
            .evidence(error.to_string())
            .why("it still counts as not proved")
            .next(again.to_owned()),
        ]
    })?;
    Ok(Proof {
        databases: manifest
            .databases
            .iter()
            .map(|one| one.owner.clone())
            .collect(),
        rows,
        took: began.elapsed(),
    })
}

fn refuted(context: &Context, backup: &Backup, fault: Fault) -> Vec<Fault> {
    let why = fault.evidence.first().cloned().unwrap_or_default();
    // It may lie on a disk that was unplugged; then there is nothing to note it in.
    let _ = backup.note(Some(context.mask.apply(&format!("{}: {why}", fault.what))));
    vec![fault]
}

async fn drop_scratch(context: &Context, admin: &Admin, name: &str) -> Result<()> {
    admin.drop(name).await.map_err(|why| {
        Box::new(
            Fault::problem(
                format!("{name}: not dropped"),
                "a scratch database is left on the server",
            )
            .evidence(context.mask.apply(&why))
            .why("it takes room; the next proof drops it")
            .next(context.command("backup verify")),
        )
    })
}

/// Drops what proofs that were ended in the middle have left. To be called with the lock of backups.
pub async fn sweep(context: &Context) {
    let databases = context.settings.databases();
    let mut seen: Vec<(String, u16)> = Vec::new();
    for database in &databases {
        let server = (database.url.host().to_owned(), database.url.port());
        // One who may do everything does it once; roles see to their own.
        if seen.contains(&server) {
            continue;
        }
        let admin = Admin::of(&database.url).await;
        if matches!(admin, Admin::Superuser(_)) {
            seen.push(server);
        }
        let Ok(there) = admin.databases().await else {
            continue;
        };
        for owner in &databases {
            let name = super::beside(&context.settings, SCRATCH, owner.owner);
            if there.contains(&name) && admin.drop(&name).await.is_ok() {
                let told = format!("{name}, left by a proof that was cut off, is dropped");
                context.reporter.tell("scratch", Kind::Done, None, told);
            }
        }
    }
}
