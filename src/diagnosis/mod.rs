//! What is wrong, how that is known, why it matters, and what repairs it. Changes nothing.

mod cause;
mod check;
mod checks;
mod code;
mod data;
mod finding;
mod run;
mod samples;
mod scene;
mod words;

pub use check::Check;
pub use checks::{all, find};
pub use code::{Code, Severity};
pub use finding::{Evidence, Finding};
pub use run::{Diagnosis, Made, Result, run};
pub use scene::Scene;
