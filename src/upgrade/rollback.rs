//! `ooy rollback`: to the version and the database from before the last upgrade.

use jiff::Timestamp;

use super::catalogue::App;
use super::procedure;
use super::state::{self, Phase, State, Upgraded};
use crate::backup::target::Target;
use crate::engine::Engine;
use crate::fault::{Fault, Result};
use crate::host::postgres::session::Session;
use crate::lifecycle::Context;

/// What is going to be done, and lost.
pub struct Plan {
    /// What will be noted before anything is done.
    pub state: State,
    /// The upgrade that is taken back.
    pub upgraded: Upgraded,
    /// Messages that were written since, where that can be told.
    pub messages: Option<i64>,
}

/// The last upgrade of an application, or of any.
pub fn last(context: &Context, app: Option<App>) -> Result<Upgraded> {
    let places = &context.settings.places;
    let mut found: Vec<Upgraded> = Vec::new();
    for one in App::ALL
        .into_iter()
        .filter(|one| app.is_none_or(|app| app == *one))
    {
        match state::last(&places.state, one) {
            Ok(upgraded) => found.extend(upgraded),
            Err(error) => return Err(Box::new(unreadable(context, one, &error))),
        }
    }
    found.sort_by_key(|upgraded| upgraded.since);
    found.pop().ok_or_else(|| {
        Box::new(
            Fault::problem(
                "rollback: nothing to go back to",
                "no upgrade was made here, or it was taken back already",
            )
            .evidence(format!("looked in {}", places.state.display()))
            .why("only the database from before an upgrade fits the version from before it")
            .next(context.command("history"))
            .next(context.command("backup list")),
        )
    })
}

fn unreadable(context: &Context, app: App, error: &std::io::Error) -> Fault {
    let state = context.settings.places.state.display();
    Fault::problem(
        "rollback: the last upgrade cannot be read",
        "what was upgraded, and from where, is not known",
    )
    .evidence(format!("{state}/upgraded-{}.json: {error}", app.name()))
    .why("nothing was done")
    .next(format!("ls -l {state}"))
}

/// Looks at everything; changes nothing.
pub async fn plan(context: &Context, app: Option<App>, again: &str) -> Result<Plan> {
    super::plan::nothing_unfinished(context)?;
    let upgraded = last(context, app)?;
    let procedure = procedure::of(upgraded.app);
    let target = Target::look(context, procedure.owner).await?;
    if !target.names(context).await?.contains(&upgraded.kept) {
        return Err(Box::new(gone(context, &upgraded)));
    }
    let failed = |error: crate::engine::Error| Box::new(error.fault(again));
    let engine = Engine::connect().await.map_err(failed)?;
    for (_, image, _) in &upgraded.step.images {
        if engine.image_id(image).await.map_err(failed)?.is_none() {
            return Err(Box::new(no_image(context, image, again)));
        }
    }
    let state = State {
        phase: Phase::Undoing,
        services: super::plan::running_services(context, upgraded.app, again).await?,
        copied: true,
        backup: upgraded.backup.clone(),
        rollback: true,
        ..State::begin(
            upgraded.app,
            vec![upgraded.step.clone()],
            &upgraded.database,
            upgraded.kept.clone(),
        )
    };
    let messages = written_since(&target, procedure.messages, upgraded.since).await;
    Ok(Plan {
        state,
        upgraded,
        messages,
    })
}

async fn written_since(target: &Target, query: Option<&str>, since: Timestamp) -> Option<i64> {
    let url = &target.database.url;
    let session = Session::open(url, std::time::Duration::from_secs(20))
        .await
        .ok()?;
    // A time that we have read ourselves: nothing of a person stands in it.
    let rows = session.rows(&format!("{}'{since}'", query?)).await.ok()?;
    Some(rows.first()?.number(0))
}

/// Whether a person has agreed to lose what was written since.
pub fn accepted(context: &Context, plan: &Plan, since: Option<Timestamp>) -> Result<()> {
    // To the second: as it is shown.
    if since.is_some_and(|since| since.as_second() <= plan.upgraded.since.as_second()) {
        return Ok(());
    }
    let shown = plan.upgraded.since.strftime("%Y-%m-%dT%H:%M:%SZ");
    let app = plan.upgraded.app;
    let what = match since {
        Some(_) => "more would be lost than was agreed to",
        None => "what was written since the upgrade is not in the database that would be put back",
    };
    Err(Box::new(
        Fault::usage(format!("rollback: data since {shown} would be missing"), what)
            .evidence(lost(plan))
            .why("the newer database is kept beside, but nothing of it comes back by itself; nothing was done")
            .next(context.command(&format!("rollback {} --accept-loss-since {shown}", app.name()))),
    ))
}

/// What would be missing afterwards, in words.
pub fn lost(plan: &Plan) -> String {
    let since = plan.upgraded.since.strftime("%Y-%m-%d %H:%M:%S UTC");
    match plan.messages {
        Some(count) => format!(
            "{}, and everything else that was written since {since}",
            crate::host::text::count(u64::try_from(count).unwrap_or_default(), "message")
        ),
        None => format!("everything that was written since {since}"),
    }
}

fn gone(context: &Context, upgraded: &Upgraded) -> Fault {
    let label = upgraded.app.label();
    let mut fault = Fault::problem(
        format!("{label}: the database from before is gone"),
        "its copy was dropped, by hand or by a later upgrade",
    )
    .evidence(format!("not on the server: {}", upgraded.kept))
    .why("the old version cannot work with the database of the new one; nothing was done");
    if let Some(backup) = &upgraded.backup {
        fault = fault
            .evidence(format!(
                "backup {backup}, proved, is from before the upgrade"
            ))
            .next(context.command(&format!("restore {backup} --dry-run")));
    }
    fault.next(context.command("backup list"))
}

fn no_image(context: &Context, image: &str, again: &str) -> Fault {
    Fault::problem(
        format!("image {image}: not on this host any more"),
        "the old version cannot be started without it",
    )
    .evidence("it was removed since the upgrade")
    .why("nothing was done")
    .next(format!("docker pull {image}"))
    .next(again.to_owned())
    .next(context.command("status"))
}
