//! What `ooy` does, seen from outside, against real parts (tests/behaviour/harness.rs).

mod agi;
mod between;
mod calls;
mod command_line;
mod daemon;
mod harness;
mod hotline;
mod interrupted;
mod logs;
mod misfortunes;
mod nginx;
mod pull;
mod settings;
mod start;
mod whole;
