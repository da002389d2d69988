//! Completions for shells, static ones: nothing of `ooy` runs while somebody types.
//!
//! clap_complete writes them. Two things it leaves to us: it offers hidden commands and options too,
//! so it gets a copy of the definition without them; and for fish it writes nothing about arguments
//! without an option.

use std::fmt::Write as _;

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Arg, Command, ValueHint};
use clap_complete::aot::{Bash, Fish, Zsh, generate};

use super::takes_only_data;
use crate::cli::Shell;

/// Names that an argument takes, and that the definition of the command line does not know.
pub struct Names {
    /// The command: `backup create`.
    pub command: &'static str,
    /// The argument, by its field's name.
    pub argument: &'static str,
    /// The names, each with a word about it or an empty one.
    pub names: Vec<(String, String)>,
}

/// The script that a shell reads.
pub fn script(mut definition: Command, shell: Shell, names: &[Names]) -> String {
    // Now every command has the options that all have.
    definition.build();
    let mut visible = visible(&definition, "", names);
    let program = definition.get_name().to_owned();
    let mut script = Vec::new();
    match shell {
        Shell::Bash => generate(Bash, &mut visible, program, &mut script),
        Shell::Zsh => generate(Zsh, &mut visible, program, &mut script),
        Shell::Fish => generate(Fish, &mut visible, program, &mut script),
    }
    let mut script = String::from_utf8_lossy(&script).into_owned();
    if matches!(shell, Shell::Fish) {
        fish_arguments(&visible, &[], &mut script);
    }
    script
}

/// A copy without what is hidden, with the names put in.
fn visible(command: &Command, path: &str, names: &[Names]) -> Command {
    // clap wants a name for ever. This runs once, and then the program ends.
    let mut copy = Command::new(&*command.get_name().to_owned().leak())
        .about(command.get_about().cloned().unwrap_or_default())
        .subcommand_required(command.is_subcommand_required_set())
        // The options for help and version are among what is copied; clap wants a version for the latter.
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_flag(true)
        .disable_version_flag(true)
        .disable_help_subcommand(true);
    if !takes_only_data(command) {
        let arguments = command.get_arguments().filter(|it| !it.is_hide_set());
        copy = copy.args(arguments.map(|it| with_values(it, path, names)));
    }
    copy.subcommands(super::commands(command).map(|it| {
        let path = format!("{path} {}", it.get_name());
        visible(it, path.trim_start(), names)
    }))
}

fn with_values(argument: &Arg, path: &str, names: &[Names]) -> Arg {
    // Every command has its own already.
    let argument = argument.clone().global(false);
    let known = names
        .iter()
        .find(|it| it.command == path && argument.get_id() == it.argument);
    if let Some(known) = known {
        return argument.value_parser(PossibleValuesParser::new(known.names.iter().map(
            |(name, about)| {
                let value = PossibleValue::new(&*name.clone().leak());
                match about.is_empty() {
                    true => value,
                    false => value.help(about.clone()),
                }
            },
        )));
    }
    // Nothing is known about it: better no answer than the names of files.
    match argument.get_value_hint() {
        ValueHint::Unknown
            if argument.get_possible_values().is_empty() && takes_value(&argument) =>
        {
            argument.value_hint(ValueHint::Other)
        }
        _ => argument,
    }
}

fn takes_value(argument: &Arg) -> bool {
    argument.get_action().takes_values()
}

/// What fish offers for arguments without an option: their values, and names of files only where one
/// of them is a file.
fn fish_arguments(command: &Command, path: &[&str], script: &mut String) {
    for below in command.get_subcommands() {
        fish_arguments(below, &[path, &[below.get_name()]].concat(), script);
    }
    let (Some((first, below)), false) = (path.split_first(), command.has_subcommands()) else {
        return;
    };
    let mut condition = format!("__fish_ooy_using_subcommand {first}");
    for name in below {
        let _ = write!(condition, "; and __fish_seen_subcommand_from {name}");
    }
    let takes_files = command
        .get_positionals()
        .any(|it| !matches!(it.get_value_hint(), ValueHint::Unknown | ValueHint::Other));
    let files = if takes_files { "" } else { " -f" };
    let values: Vec<String> = command
        .get_positionals()
        .flat_map(Arg::get_possible_values)
        .map(|value| {
            let about = value
                .get_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            format!("{}\\t{}", value.get_name(), quoted(&about))
        })
        .collect();
    let values = match values.is_empty() {
        true => String::new(),
        false => format!(" -a {}", quoted(&values.join("\n"))),
    };
    if !(files.is_empty() && values.is_empty()) {
        let _ = writeln!(
            script,
            "complete -c ooy -n {}{files}{values}",
            quoted(&condition)
        );
    }
}

/// Text as fish takes it literally.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
