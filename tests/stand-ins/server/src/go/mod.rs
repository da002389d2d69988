//! What mailroom, courier and rp-indexer share because they are Go programs.

pub mod conf;
pub mod crash;
pub mod dial;
pub mod log;
pub mod storage;
pub mod url;
