//! casepro.
