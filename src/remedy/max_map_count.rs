//! `ooy fix max-map-count`.

use std::rc::Rc;
use std::time::Duration;

use super::{Job, Plan, Planning, Refusal, Remedy, Takes};
use crate::diagnosis::Code;

/// The repair.
pub const REMEDY: Remedy = Remedy {
    name: "max-map-count",
    about: "enough memory maps for Elasticsearch, now and after each boot",
    codes: &[Code::MaxMapCountLow],
    takes: Takes::Nothing,
    unattended: |_| false,
    settles: Duration::from_secs(30),
    otherwise: &["diagnose"],
    plan: |job| -> Planning { Box::pin(plan(job)) },
};

async fn plan(_job: Rc<Job>) -> Result<Plan, Refusal> {
    Err(Refusal::Nothing("WORK IN PROGRESS".to_owned()))
}
