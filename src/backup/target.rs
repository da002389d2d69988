//! The server on which a backup's database is made anew, or databases change their names.

use std::collections::BTreeSet;

use super::manifest::Dumped;
use super::prepare;
use crate::deployment::settings::Database;
use crate::fault::{Fault, Result};
use crate::host::postgres::admin::Admin;
use crate::host::postgres::by_hand;
use crate::host::postgres::programs::{self, Programs};
use crate::lifecycle::Context;
use crate::lifecycle::surroundings::label;

/// An application's database, and who makes others beside it.
pub struct Target {
    /// Whose, and where.
    pub database: Database,
    /// Who makes, renames and drops databases there.
    pub admin: Admin,
}

impl Target {
    /// For renaming and dropping.
    pub async fn look(context: &Context, owner: &str) -> Result<Self> {
        let again = context.command("resume");
        let target = Self::reached(context, owner).await?;
        prepare::may(&target.admin, &target.database, &[], &again).await?;
        Ok(target)
    }

    /// For making this one anew, and with what.
    pub async fn for_load(
        context: &Context,
        dumped: &Dumped,
        again: &str,
    ) -> Result<(Self, Programs)> {
        let target = Self::reached(context, &dumped.owner).await?;
        let Self { database, admin } = &target;
        let extensions = dumped.census.extension_names();
        prepare::may(admin, database, &extensions, again).await?;
        let version = admin.version().await;
        let version = version.map_err(|why| unanswered(context, database, &why))?;
        let (installed, made_by) = (programs::all().await, dumped.pg_dump_number);
        let programs = prepare::fitting(&installed, &version, made_by, &database.url, again)?;
        Ok((target, programs))
    }

    async fn reached(context: &Context, owner: &str) -> Result<Self> {
        let database = of(context, owner)?;
        let admin = Admin::of(&database.url).await;
        // The database need not be there: a superuser does not go through it.
        if matches!(admin, Admin::Role(_)) {
            prepare::reach(&database).await?;
        }
        Ok(Self { database, admin })
    }

    /// The databases of the server.
    pub async fn names(&self, context: &Context) -> Result<BTreeSet<String>> {
        let all = self.admin.databases().await;
        let all = all.map_err(|why| unanswered(context, &self.database, &why))?;
        Ok(all.into_iter().collect())
    }
}

/// What a person is told when the server does not do what was asked of it.
pub fn unanswered(context: &Context, database: &Database, why: &str) -> Box<Fault> {
    Box::new(
        Fault::problem(
            format!("{}: PostgreSQL refuses", label(database.owner)),
            "what has to be done with its databases could not be done",
        )
        .evidence(database.url.redacted())
        .evidence(context.mask.apply(why))
        .why("a restore or an upgrade that has begun is finished, or taken back, by `ooy resume`")
        .next(by_hand::see(&database.url))
        .next(context.command("resume")),
    )
}

/// The database of an owner, as the settings have it now.
pub fn of(context: &Context, owner: &str) -> Result<Database> {
    let mut all = context.settings.databases().into_iter();
    all.find(|database| database.owner == owner).ok_or_else(|| {
        Box::new(
            Fault::problem(
                format!("{}: not in this deployment", label(owner)),
                format!("a database of {owner} is wanted, of which the settings know nothing"),
            )
            .why("nothing was begun")
            .next(context.command("config env")),
        )
    })
}
