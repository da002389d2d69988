//! The application's database: copied before it is migrated, put back if that fails.
//!
//! A copy on the same server (its files, not its rows) takes seconds where a restore takes minutes,
//! and holds every message up to the moment at which the last writer had stopped. The proved backup
//! from before stays for the case that the server itself is lost.

use std::io;

use crate::backup::kept::{self, Kept};
use crate::backup::target::{Target, unanswered};
use crate::fault::Result;
use crate::host::postgres::session::Session;
use crate::lifecycle::Context;
use crate::operation::Kind;

use super::state::State;

/// Makes the copy anew, under the name that the state has for it. Nobody may write.
pub async fn copy(context: &Context, state: &State, owner: &str) -> Result<()> {
    let target = Target::look(context, owner).await?;
    let refused = |why: String| unanswered(context, &target.database, &why);
    let admin = &target.admin;
    // Of a run that was cut off: whether it is complete nobody knows.
    admin.drop(&state.kept).await.map_err(refused)?;
    admin
        .copy(&state.database, &state.kept, target.database.url.user())
        .await
        .map_err(refused)?;
    let taken = admin.take_over(&state.database, &state.kept).await;
    taken.map_err(refused)
}

/// Drops a copy that nothing is needed of any more.
pub async fn drop_copy(context: &Context, owner: &str, name: &str) -> Result<()> {
    let target = Target::look(context, owner).await?;
    let dropped = target.admin.drop(name).await;
    dropped.map_err(|why| unanswered(context, &target.database, &why))?;
    let forgotten = kept::forget(&context.settings.places.state, name);
    forgotten.map_err(|error| unanswered(context, &target.database, &error.to_string()))
}

/// Puts the copy into the place of the present database, as far as that has not happened yet.
/// `aside`: under this name the present one is kept; without, it is dropped.
pub async fn put_back(
    context: &Context,
    state: &State,
    owner: &str,
    aside: Option<&str>,
) -> Result<()> {
    let target = Target::look(context, owner).await?;
    let refused = |why: String| unanswered(context, &target.database, &why);
    let names = target.names(context).await?;
    let (present, copy) = (state.database.as_str(), state.kept.as_str());
    let reporter = &context.reporter;
    if names.contains(copy) {
        if names.contains(present) {
            match aside {
                Some(aside) => {
                    keep(context, state, owner, aside)
                        .map_err(|error| refused(error.to_string()))?;
                    target.admin.rename(present, aside).await.map_err(refused)?;
                }
                None => target.admin.drop(present).await.map_err(refused)?,
            }
        }
        target.admin.rename(copy, present).await.map_err(refused)?;
        reporter.service("database", owner, Kind::Undone, None, "as it was before");
    } else if !names.contains(present) {
        return Err(refused(format!(
            "neither {present} nor its copy {copy} is on the server"
        )));
    }
    let forgotten = kept::forget(&context.settings.places.state, copy);
    forgotten.map_err(|error| refused(error.to_string()))
}

/// Notes that a database is kept, so that it is listed and can be dropped.
pub fn keep(context: &Context, state: &State, owner: &str, name: &str) -> io::Result<()> {
    let kept = Kept {
        name: name.to_owned(),
        owner: owner.to_owned(),
        at: jiff::Timestamp::now(),
        replaced_by: state.name(),
    };
    kept::add(&context.settings.places.state, kept)
}

/// Who keeps migrations of this database waiting for a lock, for people; nothing where nobody does
/// or that cannot be asked.
pub async fn who_holds_it_up(session: &Session) -> Option<String> {
    let query = "SELECT b.pid, coalesce(nullif(b.application_name, ''), 'a program'), b.usename, \
                 extract(epoch FROM now() - b.xact_start)::bigint, coalesce(host(b.client_addr), 'this host') \
                 FROM pg_stat_activity w CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) AS p(pid) \
                 JOIN pg_stat_activity b ON b.pid = p.pid \
                 WHERE w.datname = current_database() AND b.datname = current_database() LIMIT 1";
    let rows = session.rows(query).await.ok()?;
    let row = rows.first()?;
    Some(format!(
        "waits for a lock of {} (process {} of PostgreSQL, role {}, from {}, since {} s)",
        row.text(1),
        row.number(0),
        row.text(2),
        row.text(4),
        row.number(3)
    ))
}
