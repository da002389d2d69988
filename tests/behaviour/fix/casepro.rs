//! Casepro pulls again.
