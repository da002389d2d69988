//! `ooy fix not-running`: what has no container, ended or is frozen comes up in its order.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use super::{Job, Plan, Planning, Refusal, Remedy, Takes, services};
use crate::diagnosis::{Code, stopped_on_purpose};

/// The repair.
pub const REMEDY: Remedy = Remedy {
    name: "not-running",
    about: "what is not there, ended or frozen runs again, in its order",
    codes: &[
        Code::ServiceMissing,
        Code::ServiceExited,
        Code::ServicePaused,
    ],
    takes: Takes::Service,
    // What `ooy stop` has stopped stays so until a person says otherwise.
    unattended: |finding| !stopped_on_purpose(finding),
    settles: Duration::from_secs(10),
    otherwise: &["status", "diagnose"],
    plan: |job| -> Planning { Box::pin(plan(job)) },
};

async fn plan(job: Rc<Job>) -> Result<Plan, Refusal> {
    let wanted: BTreeSet<String> = job
        .findings
        .iter()
        .filter_map(|finding| finding.service.clone())
        .collect();
    if wanted.is_empty() {
        // One that was cut off had got to its end all the same: that is to be written down.
        return Ok(Plan {
            steps: vec!["see that nothing was left to start".to_owned()],
            meanwhile: "nothing is interrupted".to_owned(),
            touches: Vec::new(),
            act: Box::pin(async { Ok("all that was to be started runs".to_owned()) }),
        });
    }
    let names: Vec<&str> = wanted.iter().map(String::as_str).collect();
    Ok(Plan {
        steps: vec![
            format!("bring up {}", names.join(", ")),
            "each as soon as what it needs is ready".to_owned(),
        ],
        meanwhile: "what runs goes on".to_owned(),
        touches: wanted.iter().cloned().collect(),
        act: Box::pin(async move { services::start(&job, &wanted).await }),
    })
}
