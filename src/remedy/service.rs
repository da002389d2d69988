//! `ooy fix service`.

use std::rc::Rc;
use std::time::Duration;

use super::{Job, Plan, Planning, Refusal, Remedy, Takes};
use crate::diagnosis::Code;

/// The repair.
pub const REMEDY: Remedy = Remedy {
    name: "service",
    about: "a service that is unhealthy, does not answer or restarts again and again",
    codes: &[
        Code::OomKilled,
        Code::RestartLoop,
        Code::ElasticsearchRed,
        Code::MailroomUnreachable,
        Code::RapidproUnreachable,
        Code::CaseproUnreachable,
        Code::ContentrepoUnreachable,
        Code::ServiceUnhealthy,
        Code::UpstreamUnreachable,
        Code::SearchLag,
        Code::QueueGrowing,
        Code::OutboxStuck,
    ],
    takes: Takes::Service,
    unattended: |_| false,
    settles: Duration::from_secs(30),
    otherwise: &["diagnose"],
    plan: |job| -> Planning { Box::pin(plan(job)) },
};

async fn plan(_job: Rc<Job>) -> Result<Plan, Refusal> {
    Err(Refusal::Nothing("WORK IN PROGRESS".to_owned()))
}
