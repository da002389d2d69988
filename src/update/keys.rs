//! The keys with which a release has to be signed, as this build knows them (build.rs): the one in
//! use, and while keys are changed another one.

/// Their names and public halves.
pub const KEYS: &[(&str, [u8; 32])] = include!(concat!(env!("OUT_DIR"), "/release_keys.rs"));

/// For which machines this build is, as Rust names them.
pub const TARGET: &str = env!("OOY_TARGET");
