//! `ooy`: parse, run, print, exit code.

mod agi;
mod cli;
mod commands;
mod deployment;
mod engine;
mod fault;
#[allow(dead_code)]
mod host;
mod lifecycle;
mod operation;
#[allow(dead_code)] // until `ooy calls` uses it
mod rapidpro;
mod ui;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    host::process::prepare();
    commands::catch_panics();
    let cli = cli::Cli::parse();
    ExitCode::from(commands::run(&cli))
}
