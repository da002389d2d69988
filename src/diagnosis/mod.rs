//! What is wrong, how that is known, why it matters, and what repairs it. Changes nothing.

mod cause;
mod check;
mod checks;
mod code;
mod configured;
mod data;
mod finding;
mod run;
mod samples;
mod scene;

pub use check::Check;
pub use checks::{Past, find, stopped_on_purpose};
pub use code::{Code, Severity};
pub use finding::{Evidence, Finding};
pub use run::{Diagnosis, Result as Ended, run};
pub use scene::Scene;

/// Numbers as people say them.
mod words {
    pub use crate::host::text::{age, count};
}
