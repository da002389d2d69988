use super::*;
use clap::{Command, CommandFactory as _, error::ErrorKind};

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

/// Every command that is shown, with its name in words.
fn all(command: &Command, name: &str, to: &mut Vec<(String, Command)>) {
    to.push((name.to_owned(), command.clone()));
    for below in command.get_subcommands().filter(|it| !it.is_hide_set()) {
        all(below, &format!("{name} {}", below.get_name()), to);
    }
}

fn commands() -> Vec<(String, Command)> {
    let mut definition = Cli::command().term_width(80);
    definition.build();
    let mut commands = Vec::new();
    all(&definition, "ooy", &mut commands);
    commands
}

/// Lines below "Examples:", and all other lines in which something is to be typed.
fn typed(command: &Command) -> Vec<String> {
    let help = command.get_after_help().map(ToString::to_string);
    let help = help.unwrap_or_default();
    let lines = help.lines().filter_map(|line| line.strip_prefix("  "));
    lines.map(str::to_owned).collect()
}

/// The words of a line as a shell parts them, up to where it leads the output elsewhere. `sudo` and
/// `sh -c '…'` only say who runs it.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for (number, part) in line.split('\'').enumerate() {
        if number % 2 == 1 {
            words.last_mut().unwrap().push_str(part);
            continue;
        }
        for (number, word) in part.split(' ').enumerate() {
            if number > 0 {
                words.push(String::new());
            }
            words.last_mut().unwrap().push_str(word);
        }
    }
    words.retain(|word| !word.is_empty());
    if words[0] == "sudo" {
        words.remove(0);
    }
    if let ["sh", "-c", inner] | ["echo", inner, ..] =
        words.iter().map(String::as_str).collect::<Vec<_>>()[..]
    {
        let inner = inner.trim_start_matches("source <(").trim_end_matches(')');
        return self::words(inner);
    }
    let end = words
        .iter()
        .position(|word| matches!(word.as_str(), ">" | "|" | "#"));
    words.truncate(end.unwrap_or(words.len()));
    words
}

#[test]
fn every_example_in_the_help_is_a_line_that_ooy_takes() {
    for (name, command) in commands() {
        let typed = typed(&command);
        assert!(!typed.is_empty(), "{name}: no examples");
        for line in typed {
            let words = words(&line);
            assert_eq!(words[0], "ooy", "{name}: {line}");
            if let Err(error) = Cli::try_parse_from(&words) {
                assert_eq!(
                    error.kind(),
                    ErrorKind::DisplayHelp,
                    "{name}: {line}: {error}"
                );
            }
            // Its own, not those of its neighbour.
            let named: Vec<&str> = name.split(' ').collect();
            assert_eq!(named, words[..named.len()], "{name}: {line}");
        }
    }
}

/// What `--help` or `-h` behind the command prints on 80 columns.
fn help(name: &str, option: &str) -> String {
    let line = name.split(' ').chain([option]);
    let shown = Cli::command().term_width(80).try_get_matches_from(line);
    shown.unwrap_err().render().to_string()
}

#[test]
fn the_help_of_every_command_fits_a_terminal_of_80_columns() {
    for (name, command) in commands() {
        if command.is_disable_help_flag_set() {
            continue;
        }
        let help = help(&name, "--help");
        for line in help.lines() {
            assert!(line.chars().count() <= 80, "{name}: {line}");
        }
        for line in typed(&command) {
            assert!(
                help.contains(&format!("\n  {line}\n")),
                "{name}: {line}\n{help}"
            );
        }
        // One layout for all: where one argument has more to say than its line, clap spreads them all.
        assert_eq!(
            help,
            self::help(&name, "-h"),
            "{name}: hide_possible_values?"
        );
    }
}

#[test]
fn the_first_line_of_every_help_is_an_imperative() {
    for (name, command) in commands() {
        let about = command
            .get_about()
            .unwrap_or_else(|| panic!("{name}: no help"))
            .to_string();
        let first = about.split(' ').next().unwrap_or_default();
        assert!(
            first.starts_with(char::is_uppercase) && !first.ends_with('s'),
            "{name}: {about}"
        );
        assert!(
            !about.ends_with('.') && !about.contains('\n'),
            "{name}: {about}"
        );
        for argument in command.get_arguments().filter(|it| !it.is_hide_set()) {
            let help = argument
                .get_help()
                .unwrap_or_else(|| panic!("{name}: {}: no help", argument.get_id()));
            assert!(!help.to_string().ends_with('.'), "{name}: {help}");
            if argument.get_id() == "dry_run"
                && !["ooy watch", "ooy rollback"].contains(&name.as_str())
            {
                assert_eq!(
                    help.to_string(),
                    "Show what would be done, and do nothing",
                    "{name}"
                );
            }
        }
    }
}
