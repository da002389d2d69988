//! healthy.
