//! A flagged workspace may send again.
