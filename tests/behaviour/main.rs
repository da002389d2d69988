//! What `ooy` does, seen from outside, against real parts (tests/behaviour/harness.rs).

mod agi;
mod api_contract;
mod asterisk;
mod between;
mod calls;
mod command_line;
mod crash;
mod daemon;
mod dialplans;
mod fast_agi;
mod harness;
mod hotline;
mod http;
mod init_pbx;
mod interrupted;
mod logs;
mod misfortunes;
mod nginx;
mod pbx;
mod pull;
mod rapidpro_api;
mod settings;
mod start;
mod tracer;
mod whole;
mod world;
