//! `ooy`: parse, run, print, exit code.

mod agi;
mod backup;
mod boot;
mod bundle;
mod cli;
mod commands;
mod deployment;
mod diagnosis;
mod engine;
mod fault;
mod host;
mod images;
mod lifecycle;
mod manual;
mod operation;
mod rapidpro;
mod remedy;
mod ui;
mod update;
mod upgrade;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    // Before clap, to which a caller id of `--help` would be a question; and before anything else,
    // because Asterisk waits.
    if let Some(call) = commands::agi::recognise(&arguments) {
        return ExitCode::from(commands::agi::run(&call));
    }
    host::process::prepare();
    commands::catch_panics();
    ExitCode::from(match cli::Cli::try_parse_from(&arguments) {
        Ok(cli) => commands::run(&cli),
        Err(answer) => commands::version::or_usage(&answer, &arguments),
    })
}
