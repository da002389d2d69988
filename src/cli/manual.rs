//! `ooy completions`, `ooy man`.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

/// A shell that completes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU Bash.
    Bash,
    /// Z shell.
    Zsh,
    /// fish.
    Fish,
}

#[derive(Debug, Args)]
pub struct Completions {
    /// Whose: bash, zsh or fish
    #[arg(hide_possible_values = true)]
    pub shell: Shell,
}

#[derive(Debug, Args)]
pub struct Man {
    /// Whose page; none: the one about all of ooy
    #[arg(value_name = "COMMAND")]
    pub command: Vec<String>,
    /// Write all pages into this folder, which is made where there is none
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "command")]
    pub write: Option<PathBuf>,
}
