//! contentrepo.

use crate::diagnosis::check::Subject;

/// The checks of this subject.
pub const SUBJECT: Subject = Subject {
    checks: &[],
    rules: &[],
};
