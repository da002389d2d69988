//! `ooy self-update`: the executable replaces itself with a newer release, and can be put back.
//! Prints nothing: it tells a reporter.
//!
//! Nothing that came from outside is believed for itself. The list of releases only says what there
//! is; an archive is taken if one of the built-in keys has signed it under its name; what is in it has
//! to run here and to call itself what was promised. All is made ready beside the present executable,
//! which is there, whole, at every moment.

mod archive;
mod choose;
mod fetch;
mod index;
mod installed;
mod keys;
mod ready;
mod run;
mod swap;
mod trial;
mod turn;

pub use fetch::Origin;
pub use index::Release;
pub use keys::KEYS;
pub use run::{Candidate, Found, Job};
pub use trial::Report;
