//! Finished calls: taken over from Asterisk in milliseconds, kept on disk, delivered to RapidPro
//! once. Needs neither Docker nor the rest of the deployment: a PBX has only this executable and
//! a few settings.

pub mod arguments;
pub mod delivery;
pub mod fastagi;
pub mod handler;
pub mod number;
pub mod protocol;
pub mod record;
pub mod settings;
pub mod spool;
pub mod time;
