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
mod words;

pub use check::Check;
pub use checks::find;
pub use code::{Code, Severity};
pub use finding::{Evidence, Finding};
pub use run::{Diagnosis, run};
pub use scene::Scene;
