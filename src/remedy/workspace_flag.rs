//! `ooy fix workspace-flag`.

use std::rc::Rc;
use std::time::Duration;

use super::{Job, Plan, Planning, Refusal, Remedy, Takes};
use crate::diagnosis::Code;

/// The repair.
pub const REMEDY: Remedy = Remedy {
    name: "workspace-flag",
    about: "a flagged workspace may send and start flows again",
    codes: &[Code::WorkspaceFlagged],
    takes: Takes::Workspace,
    unattended: |_| false,
    settles: Duration::from_secs(30),
    otherwise: &["diagnose"],
    plan: |job| -> Planning { Box::pin(plan(job)) },
};

async fn plan(_job: Rc<Job>) -> Result<Plan, Refusal> {
    Err(Refusal::Nothing("WORK IN PROGRESS".to_owned()))
}
