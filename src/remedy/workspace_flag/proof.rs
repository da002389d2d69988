//! That RapidPro takes changes of the workspace again, as RapidPro's API itself says it.

use std::path::PathBuf;
use std::time::Duration;

use super::Workspace;
use crate::fault::Fault;
use crate::rapidpro::{Client, Trouble};
use crate::remedy::Job;

/// What the API was asked, and answered.
enum Asked {
    /// It takes changes of this workspace.
    Takes,
    /// It refuses them: the workspace is `flagged` or `suspended`.
    Refuses(String),
    /// It was not asked, or gave no answer; why.
    Unknown(String),
}

/// What was seen in the end.
pub async fn see(job: &Job, workspace: &Workspace, suspended: bool) -> Result<String, Vec<Fault>> {
    let name = workspace.target();
    let at = jiff::Timestamp::now().strftime("%H:%M:%S UTC");
    let verified = if job.wishes.verify {
        ", and is verified"
    } else {
        ""
    };
    let clear = format!("workspace {name} is not flagged since {at}{verified}");
    match ask(job, workspace).await {
        Asked::Takes => Ok(format!("{clear}; RapidPro's API takes changes of it")),
        Asked::Refuses(state) if state == "flagged" => Err(vec![
            Fault::problem(
                format!("workspace-flag: RapidPro refuses changes of {name}"),
                "the flag is gone from the database, and the API still calls the workspace flagged",
            )
            .evidence("POST /api/v2/flow_starts.json {}: the workspace is flagged")
            .why("finished calls start no flow, Casepro cannot answer")
            .next(job.command("diagnose workspaces"))
            .next(job.again.clone()),
        ]),
        Asked::Refuses(state) => Ok(format!("{clear}; but it is {state}, which stays")),
        Asked::Unknown(_) if suspended => Ok(format!("{clear}; but it is suspended, which stays")),
        Asked::Unknown(why) => Ok(format!("{clear}; seen in the database ({why})")),
    }
}

async fn ask(job: &Job, workspace: &Workspace) -> Asked {
    let settings = &job.context.settings;
    let get = |name| settings.get(name).trim().to_owned();
    let (url, token, file) = (
        get("RAPIDPRO_URL"),
        get("RAPIDPRO_TOKEN"),
        get("CALLS_CA_FILE"),
    );
    if url.is_empty() || token.is_empty() {
        return Asked::Unknown("no RAPIDPRO_TOKEN is set to ask the API with".to_owned());
    }
    let limit = settings.interval("CALLS_TIMEOUT");
    let (id, mask) = (workspace.uuid.clone(), job.context.mask.clone());
    let asked = tokio::task::spawn_blocking(move || {
        let file = (!file.is_empty()).then(|| PathBuf::from(file));
        exchange(&url, &token, file, limit, &id)
    });
    match asked.await {
        Ok(Asked::Unknown(why)) => Asked::Unknown(mask.apply(&why)),
        Ok(answer) => answer,
        Err(_) => Asked::Unknown("the API could not be asked".to_owned()),
    }
}

fn exchange(url: &str, token: &str, file: Option<PathBuf>, limit: Duration, id: &str) -> Asked {
    // A connection each: what stands before RapidPro may keep none open.
    let client = || Client::new(url, token, file.as_deref(), limit);
    let (first, second) = match (client(), client()) {
        (Ok(first), Ok(second)) => (first, second),
        (Err(fault), _) | (_, Err(fault)) => return Asked::Unknown(fault.what),
    };
    let no_answer = |trouble: Trouble| Asked::Unknown(format!("its API: {}", trouble.words()));
    match first.workspace() {
        Ok(theirs) if theirs.eq_ignore_ascii_case(id) => match second.takes_changes() {
            Ok(()) => Asked::Takes,
            Err(Trouble::Blocked(state)) => Asked::Refuses(state),
            Err(trouble) => no_answer(trouble),
        },
        Ok(_) => Asked::Unknown("RAPIDPRO_TOKEN is that of another workspace".to_owned()),
        Err(trouble) => no_answer(trouble),
    }
}
