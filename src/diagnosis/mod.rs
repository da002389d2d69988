//! What is wrong, how that is known, why it matters, and what repairs it. Changes nothing.

mod cause;
mod check;
mod checks;
mod code;
mod configured;
mod data;
mod finding;
mod kept;
mod quiet;
mod run;
mod samples;
mod scene;

pub use check::{Check, Halt};
pub use checks::{
    DOCKER_UNIT, Log, Past, container_logs, docker_is_off, find, nothing_there, stopped_on_purpose,
    unused_images, would_stay_down,
};
pub use code::{Code, Severity};
pub use finding::{Evidence, Finding};
pub use quiet::Quiet;
pub use run::{Diagnosis, Result as Ended, run};
pub use scene::Scene;

/// What repairs have to know as the checks do.
pub mod facts {
    pub use super::checks::{casepro, celery};
}

/// Numbers as people say them.
mod words {
    pub use crate::host::text::{age, count};
}
