//! `ooy fix workspace-flag [SLUG|UUID] [--verify]`: one flagged workspace takes changes again.
//!
//! Through Django in RapidPro's own container, since later releases close an incident with the
//! flag, which SQL would leave open (stack.md section 4). Suspended is another thing, and stays.

use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::looked::unseen;
use super::{Job, Plan, Planning, Refusal, Remedy, Takes};
use crate::diagnosis::{Code, Halt, Scene};
use crate::engine::containers::Container;
use crate::fault::Fault;
use crate::host::postgres::session::Row;
use crate::host::reach::hint::word;
use crate::host::text::sanitize;
use crate::operation::Kind;

mod proof;
mod script;
#[cfg(test)]
mod tests;

/// The repair.
pub const REMEDY: Remedy = Remedy {
    name: "workspace-flag",
    about: "a flagged workspace may send and start flows again",
    codes: &[Code::WorkspaceFlagged],
    takes: Takes::Workspace,
    // RapidPro flags what looks like spam: whether it is, a person has to say.
    unattended: |_| false,
    settles: Duration::from_secs(10),
    otherwise: &["diagnose workspaces", "logs rapidpro"],
    plan: |job| -> Planning { Box::pin(plan(job)) },
};

/// The service whose Django does it.
const SERVICE: &str = "rapidpro";

/// All workspaces that are in use. Releases differ in their columns and in the type of `config`.
const WORKSPACES: &str = "SELECT o.id, coalesce(o.slug, ''), coalesce(to_jsonb(o)->>'uuid', ''), \
     o.name, o.is_flagged, o.is_suspended, o.modified_on::timestamptz(0), \
     coalesce(to_jsonb(o)->>'config', '') FROM orgs_org o WHERE o.is_active ORDER BY o.id";

/// A workspace of RapidPro.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Workspace {
    id: i64,
    slug: String,
    uuid: String,
    name: String,
    flagged: bool,
    suspended: bool,
    modified: String,
    /// An import never flags it.
    verified: bool,
}

impl Workspace {
    fn new(row: &Row) -> Self {
        let config: Value = serde_json::from_str(row.text(7)).unwrap_or_default();
        Self {
            id: row.number(0),
            slug: row.text(1).to_owned(),
            uuid: row.text(2).to_owned(),
            name: sanitize(row.text(3)),
            flagged: row.truth(4),
            suspended: row.truth(5),
            modified: row.text(6).to_owned(),
            verified: config["verified"] == Value::Bool(true),
        }
    }

    /// By which it is asked for, and which no other has.
    fn target(&self) -> &str {
        if self.slug.is_empty() {
            &self.uuid
        } else {
            &self.slug
        }
    }

    fn is_called(&self, wanted: &str) -> bool {
        self.slug == wanted || self.name == wanted || self.uuid.eq_ignore_ascii_case(wanted)
    }

    /// One line for people.
    fn line(&self) -> String {
        let state = match (self.flagged, self.suspended) {
            (true, true) => "flagged and suspended",
            (true, false) => "flagged",
            (false, true) => "suspended",
            (false, false) => "neither flagged nor suspended",
        };
        format!(
            "{} · id {} · slug {} · uuid {} · {state}, last changed {}",
            self.name,
            self.id,
            if self.slug.is_empty() {
                "–"
            } else {
                &self.slug
            },
            self.uuid,
            self.modified
        )
    }
}

/// Which one is meant.
enum Choice<'a> {
    One(&'a Workspace),
    /// None of that name.
    None,
    /// Several of that name; or none was named and several are flagged.
    Several(Vec<&'a Workspace>),
    /// None was named, and none is flagged.
    NoneFlagged,
}

fn choose<'a>(all: &'a [Workspace], wanted: Option<&str>) -> Choice<'a> {
    let meant: Vec<&Workspace> = match wanted {
        Some(wanted) => all.iter().filter(|it| it.is_called(wanted)).collect(),
        None => all.iter().filter(|it| it.flagged).collect(),
    };
    match &meant[..] {
        [one] => Choice::One(one),
        [] if wanted.is_some() => Choice::None,
        [] => Choice::NoneFlagged,
        _ => Choice::Several(meant),
    }
}

async fn all(scene: &Scene) -> Result<Vec<Workspace>, Halt> {
    let session = scene.postgres("rapidpro").await?;
    let unseen = |error| Halt::unanswered(error, "RapidPro's database has no workspaces");
    let rows = session.rows(WORKSPACES).await.map_err(unseen)?;
    Ok(rows.iter().map(Workspace::new).collect())
}

async fn plan(job: Rc<Job>) -> Result<Plan, Refusal> {
    let scene = job.look();
    let title = "workspace-flag: cannot be looked at";
    let all = all(&scene).await;
    let all = all.map_err(|halt| unseen(&job, title, halt))?;
    let wanted = job.wishes.target.as_deref();
    let workspace = match choose(&all, wanted) {
        Choice::One(one) => one.clone(),
        Choice::NoneFlagged => return Err(Refusal::Nothing("nothing to fix".to_owned())),
        Choice::None => return Err(none_of_that_name(&job, wanted, &all).into()),
        Choice::Several(meant) => return Err(several(&job, wanted, &meant).into()),
    };
    if !workspace.flagged {
        let more = job.wishes.verify && !workspace.verified;
        if workspace.suspended {
            return Err(suspended(&job, &workspace).into());
        }
        if !more {
            let verified = if job.wishes.verify {
                ", and is verified"
            } else {
                ""
            };
            return Err(Refusal::Nothing(format!(
                "nothing to fix: workspace {} is not flagged{verified}",
                workspace.target()
            )));
        }
    }
    let container = scene.running(SERVICE).await;
    let container = container.map_err(|halt| unseen(&job, title, halt))?.clone();
    let named = format!(
        "{} ({}, id {})",
        workspace.target(),
        workspace.name,
        workspace.id
    );
    let mut steps = vec![if job.wishes.verify {
        format!(
            "verify workspace {named} through Django in {SERVICE}: its flag is taken away, and no \
             import of neighbouring numbers flags it again; from then on only staff can"
        )
    } else {
        format!("take the flag off workspace {named} through Django in {SERVICE}")
    }];
    steps.push("see that RapidPro takes changes of it".to_owned());
    let mut meanwhile = "nobody is interrupted".to_owned();
    if let Some(imports) = newest_imports(&job) {
        meanwhile += &format!(
            "; an import may have flagged it, the newest: {imports}. Were they spam, leave it flagged"
        );
    }
    Ok(Plan {
        steps,
        meanwhile,
        touches: vec![format!("workspace {}", workspace.id)],
        act: Box::pin(async move { act(&job, &workspace, &container).await }),
    })
}

/// What the check has seen of its imports.
fn newest_imports(job: &Job) -> Option<String> {
    let evidence = job.findings.iter().flat_map(|finding| &finding.evidence);
    evidence
        .filter(|fact| fact.what.contains("imports") && fact.value != "none")
        .map(|fact| fact.value.clone())
        .next()
}

async fn act(
    job: &Job,
    workspace: &Workspace,
    container: &Container,
) -> Result<String, Vec<Fault>> {
    let began = Instant::now();
    let reporter = &job.context.reporter;
    let work = if job.wishes.verify {
        "verify"
    } else {
        "unflag"
    };
    reporter.tell(
        "flag",
        Kind::Started,
        None,
        format!("{work} {}", workspace.target()),
    );
    script::run(job, container, workspace, work)
        .await
        .map_err(|fault| vec![fault])?;
    // The row, as everybody else sees it.
    let scene = job.look();
    let now = all(&scene).await;
    let now = now.map_err(|halt| vec![unseen(job, "workspace-flag: cannot be looked at", halt)])?;
    let row = now.iter().find(|it| it.id == workspace.id);
    match row {
        Some(row) if !row.flagged && (!job.wishes.verify || row.verified) => {}
        _ => return Err(vec![still_flagged(job, workspace, row)]),
    }
    let detail = if job.wishes.verify {
        "taken away, and verified"
    } else {
        "taken away"
    };
    reporter.tell("flag", Kind::Done, Some(began.elapsed()), detail);
    proof::see(job, workspace, row.is_some_and(|row| row.suspended)).await
}

fn none_of_that_name(job: &Job, wanted: Option<&str>, all: &[Workspace]) -> Fault {
    let wanted = wanted.map(sanitize).unwrap_or_default();
    let flagged: Vec<&Workspace> = all.iter().filter(|it| it.flagged).collect();
    let mut fault = Fault::usage(
        format!("workspace-flag: no workspace {wanted}"),
        "no workspace has this slug, uuid or name",
    );
    for workspace in &flagged {
        fault = fault.evidence(workspace.line());
    }
    if flagged.is_empty() {
        fault = fault.evidence(match all.len() {
            0 => "RapidPro has no workspace".to_owned(),
            1 => "none of RapidPro's 1 workspace is flagged".to_owned(),
            n => format!("none of RapidPro's {n} workspaces is flagged"),
        });
        return fault
            .why("nothing was done")
            .next(job.command("diagnose workspaces"));
    }
    with_commands(job, fault.why("nothing was done"), &flagged)
}

fn several(job: &Job, wanted: Option<&str>, meant: &[&Workspace]) -> Fault {
    let mut fault = match wanted {
        Some(wanted) => Fault::usage(
            format!(
                "workspace-flag: {} workspaces {}",
                meant.len(),
                sanitize(wanted)
            ),
            "several workspaces are called so, and exactly one has to be meant",
        ),
        None => Fault::usage(
            format!("workspace-flag: {} workspaces are flagged", meant.len()),
            "which of them is meant was not said",
        ),
    };
    for workspace in meant {
        fault = fault.evidence(workspace.line());
    }
    let fault = fault.why("nothing was done: each may have been flagged for a reason of its own");
    with_commands(job, fault, meant)
}

/// The command for each, by a name that no other has.
fn with_commands(job: &Job, mut fault: Fault, meant: &[&Workspace]) -> Fault {
    let verify = if job.wishes.verify { " --verify" } else { "" };
    for workspace in meant {
        // A slug may be what another one is called.
        let alone = meant
            .iter()
            .filter(|it| it.is_called(workspace.target()))
            .count()
            == 1;
        let target = if alone {
            workspace.target()
        } else {
            &workspace.uuid
        };
        fault = fault.next(job.command(&format!("fix workspace-flag {}{verify}", word(target))));
    }
    fault
}

fn suspended(job: &Job, workspace: &Workspace) -> Fault {
    Fault::problem(
        format!("workspace-flag: {} is suspended, not flagged", workspace.target()),
        "a suspended workspace sends nothing at all; RapidPro suspends one that pays by credit when \
         none is left, or staff does it by hand",
    )
    .evidence(workspace.line())
    .why("taking a flag away would not help; credit, or whoever suspended it, has to")
    .next(job.command("diagnose workspaces"))
}

fn still_flagged(job: &Job, workspace: &Workspace, row: Option<&Workspace>) -> Fault {
    Fault::problem(
        format!("workspace-flag: {} is flagged still", workspace.target()),
        "Django has taken the flag away, and the database does not show it",
    )
    .evidence(row.map_or_else(
        || "the workspace is not there any more".to_owned(),
        Workspace::line,
    ))
    .why("changes by API are refused: finished calls start no flow, Casepro cannot answer")
    .next(job.command("diagnose workspaces"))
    .next(job.again.clone())
}
