//! What the command line says of itself, in other forms: completions for shells, and man pages. Made
//! from clap's definition, whatever that holds.

pub mod completions;
pub mod page;
mod texts;

use clap::{Arg, Command};

/// The commands of a command, without hidden ones.
fn commands(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|it| !it.is_hide_set())
}

/// Whether all that stands behind the command is data: not even `--help` is an option there.
fn takes_only_data(command: &Command) -> bool {
    command.is_disable_help_flag_set()
}

/// An argument of this command itself, to be shown: neither hidden nor one that every command has.
fn is_own(argument: &Arg) -> bool {
    !argument.is_hide_set() && !is_common(argument)
}

/// An argument that every command has.
fn is_common(argument: &Arg) -> bool {
    argument.is_global_set() || argument.get_id() == "help"
}
