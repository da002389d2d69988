//! `ooy agi`, also under the names of the scripts that it replaces.

use std::ffi::{OsStr, OsString};
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::agi::delivery;
use crate::agi::handler::{self, Status};
use crate::agi::record::Record;
use crate::agi::settings::CallSettings;
use crate::cli::Global;
use crate::deployment::places::Places;
use crate::fault::Fault;
use crate::host::process;
use crate::ui::Ui;

/// What an existing dialplan calls: the script's name, and the one that its README has.
const OLD_NAMES: &[&str] = &["update_user_rapidpro.py", "send_to_rapidpro.py"];

/// A call that is handed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// `--home` or OOY_HOME.
    pub home: Option<PathBuf>,
    /// All of it data.
    pub arguments: Vec<OsString>,
}

/// Whether this command line hands in a call: `ooy agi …`, `ooy --home DIR agi …`, or anything
/// under an old name. Nothing after that is looked at.
pub fn recognise(command_line: &[OsString]) -> Option<Job> {
    let mut rest = command_line.iter();
    let name = Path::new(rest.next()?).file_name();
    let mut home = std::env::var_os("OOY_HOME")
        .filter(|home| !home.is_empty())
        .map(PathBuf::from);
    let is_old = name.is_some_and(|name| OLD_NAMES.iter().any(|old| name == *old));
    if !is_old {
        let mut first = rest.next()?;
        if first == "--home" {
            home = Some(rest.next()?.into());
            first = rest.next()?;
        } else if let Some(folder) = option_value(first, "--home=") {
            home = Some(folder.into());
            first = rest.next()?;
        }
        if first != "agi" {
            return None;
        }
    }
    Some(Job {
        home,
        arguments: rest.cloned().collect(),
    })
}

fn option_value<'a>(argument: &'a OsStr, prefix: &str) -> Option<&'a OsStr> {
    use std::os::unix::ffi::OsStrExt as _;
    argument
        .as_bytes()
        .strip_prefix(prefix.as_bytes())
        .map(OsStr::from_bytes)
}

/// Takes the call over; the exit code.
pub fn run(job: &Job) -> u8 {
    process::ignore_hangup();
    super::catch_panics();
    let places = Places::new(job.home.as_deref());
    if job.arguments.is_empty() {
        ui().fault(&usage(&places));
        return 2;
    }
    // An operator who tries it out would have to end the environment by hand.
    let from_terminal = std::io::stdin().is_terminal();
    let outcome = handler::take_over(
        &places,
        &job.arguments,
        (!from_terminal).then(rustix::stdio::stdin),
        rustix::stdio::stdout(),
        direct,
    );
    if let Some(fault) = &outcome.fault {
        ui().fault(fault);
    }
    if std::io::stderr().is_terminal() {
        ui().say(&outcome.said);
    }
    match outcome.status {
        Status::Queued | Status::Skipped => 0,
        Status::Failed => 1,
    }
}

/// [`delivery::direct`]; only here are names looked up, so only here it has to be prepared for.
fn direct(record: &Record, settings: &CallSettings, within: Duration) -> Result<String, String> {
    process::prepare();
    delivery::direct(record, settings, within)
}

/// Asterisk passes no options about the screen.
fn ui() -> Ui {
    Ui::new(&Global::default())
}

fn usage(places: &Places) -> Fault {
    Fault::usage(
        "agi: no call was handed in",
        "`ooy agi` needs the caller's number and the times of the call",
    )
    .evidence("there is no argument after agi")
    .why("Asterisk calls it when a call ends; without arguments there is nothing to keep")
    .next(places.command("agi MSISDN CALL_START CALL_END [DIRECTION]"))
    .next(places.command("calls dialplan"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recognised(line: &[&str]) -> Option<(Option<PathBuf>, Vec<String>)> {
        let line: Vec<OsString> = line.iter().map(OsString::from).collect();
        recognise(&line).map(|job| {
            let arguments = job
                .arguments
                .iter()
                .map(|argument| argument.to_string_lossy().into_owned())
                .collect();
            (job.home, arguments)
        })
    }

    fn data(arguments: &[&str]) -> Vec<String> {
        arguments.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn everything_after_agi_is_data() {
        for first in ["--home", "--home=x", "serve", "-h", "--help", "agi", "--"] {
            assert_eq!(
                recognised(&["/usr/local/bin/ooy", "agi", first, "x"]),
                Some((None, data(&[first, "x"])))
            );
        }
        assert_eq!(recognised(&["ooy", "agi"]), Some((None, data(&[]))));
    }

    #[test]
    fn a_folder_may_be_named_before_it() {
        for line in [
            &["ooy", "--home", "/d", "agi", "--home", "x"][..],
            &["ooy", "--home=/d", "agi", "--home", "x"],
        ] {
            assert_eq!(
                recognised(line),
                Some((Some("/d".into()), data(&["--home", "x"])))
            );
        }
    }

    #[test]
    fn the_old_scripts_names_mean_the_same() {
        for name in OLD_NAMES {
            let path = format!("/opt/rapidpro_connection/{name}");
            assert_eq!(
                recognised(&[&path, "agi", "--home"]),
                Some((None, data(&["agi", "--home"])))
            );
        }
    }

    #[test]
    fn other_commands_are_left_to_clap() {
        for line in [
            &["ooy"][..],
            &["ooy", "start"],
            &["ooy", "--home"],
            &["ooy", "--home", "agi"],
            &["ooy", "-q", "agi"],
            &["ooy", "calls", "agi"],
        ] {
            assert_eq!(recognised(line), None, "{line:?}");
        }
    }
}
