//! `ooy init --pbx`: what a telephone exchange needs to hand its finished calls over. That is
//! mostly another machine, without Docker and without the deployment's settings.

use std::os::unix::fs::chown;
use std::path::Path;

use super::{given, names, unwritable};
use crate::agi::settings::{CallSettings, OLD_FILE};
use crate::agi::spool::Spool;
use crate::cli::Init;
use crate::commands::Outcome;
use crate::deployment::places::Places;
use crate::deployment::{embedded, env_file};
use crate::fault::Result;
use crate::host::{files, process};
use crate::ui::{Paint, Ui};

/// As whom Asterisk runs, and so `ooy agi`.
const ASTERISK: &str = "asterisk";
/// The settings of the old script.
const OLD_NAMES: [&str; 3] = ["RAPIDPRO_URL", "RAPIDPRO_TOKEN", "RAPIDPRO_FLOW"];

pub(super) fn run(ui: &Ui, places: &Places, arguments: &Init) -> Outcome {
    let path = &places.env_file;
    let asterisk = process::user_ids(ASTERISK).filter(|_| process::is_root());
    let values = given(places, arguments)?;
    if path.exists() {
        if !values.is_empty() {
            return Err(super::exists_already(path, &names(&values)).into());
        }
        ui.say(&format!("· {} exists and was not changed", path.display()));
    } else {
        write(ui, places, values, asterisk)?;
    }
    let spool = Spool::new(&places.spool);
    spool
        .make_folders()
        .map_err(|error| Box::new(spool.fault("making the spool", &error, places)))?;
    let root = places.spool.display();
    ui.say(&format!(
        "{} {root} keeps calls until RapidPro has them",
        ui.paint(Paint::Good, "✓")
    ));
    if asterisk.is_none() {
        ui.say(&format!(
            "! they belong to {}: Asterisk has to run as the same user{}",
            process::user_name(),
            if process::is_root() {
                format!(" (there is no user {ASTERISK} on this machine)")
            } else {
                format!("; as root this would give them to user {ASTERISK}")
            }
        ));
    }
    let settings = CallSettings::load(places);
    let left = match settings.rapidpro() {
        Ok(_) => Vec::new(),
        Err(fault) => fault.evidence,
    };
    if !left.is_empty() {
        ui.say("\nleft to fill in:");
        for line in left {
            ui.say(&format!("  {line}"));
        }
        ui.say(&format!("\nnext: nano {}", path.display()));
    }
    ui.say(&format!(
        "next: {}, which says where its lines go (with --old: how the wiki's lines can stay)",
        places.command("calls dialplan")
    ));
    Ok(0)
}

fn write(
    ui: &Ui,
    places: &Places,
    mut values: Vec<(String, String)>,
    owner: Option<(u32, u32)>,
) -> Result<()> {
    let path = &places.env_file;
    let taken = old_values(Path::new(OLD_FILE), &values);
    if !taken.is_empty() {
        ui.say(&format!(
            "{} {} taken over from {OLD_FILE}",
            ui.paint(Paint::Good, "✓"),
            names(&taken)
        ));
        values.extend(taken);
    }
    let text = env_file::fill(&section(), &values);
    let failed = |error| unwritable(places, "init --pbx", &error);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    files::write_new(path, text.as_bytes(), 0o600).map_err(failed)?;
    let whose = match owner {
        Some((user, group)) => {
            chown(path, Some(user), Some(group)).map_err(failed)?;
            ASTERISK.to_owned()
        }
        None => process::user_name(),
    };
    ui.say(&format!(
        "{} {} written (mode 0600, {whose})",
        ui.paint(Paint::Good, "✓"),
        path.display()
    ));
    Ok(())
}

/// What the old script's file has of what was not given.
fn old_values(file: &Path, given: &[(String, String)]) -> Vec<(String, String)> {
    let Ok(text) = std::fs::read_to_string(file) else {
        return Vec::new();
    };
    CallSettings::old_values(&text)
        .into_iter()
        .filter(|(name, value)| {
            OLD_NAMES.contains(&name.as_str())
                && !value.is_empty()
                && !given.iter().any(|(known, _)| known == name)
        })
        .collect()
}

/// The part of the settings template that is about calls, and the time zone of their times.
fn section() -> String {
    let template = embedded::text("ooy.env").unwrap_or_default();
    let mut text = String::from(
        "# Settings of `ooy agi` and `ooy calls` on a telephone exchange. NAME=value; a line that\n\
         # begins with # leaves a setting at its default, which the line shows.\n\n\
         # Time zone of the calls' times.\n#TIME_ZONE=Africa/Nairobi\n\n",
    );
    let lines = template
        .lines()
        .skip_while(|line| !line.starts_with("# --- Finished calls"));
    for (index, line) in lines.enumerate() {
        if index > 0 && line.starts_with("# --- ") {
            break;
        }
        text.push_str(line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section_has_all_that_calls_need_and_nothing_else() {
        let text = section();
        for name in [
            "RAPIDPRO_URL",
            "RAPIDPRO_TOKEN",
            "RAPIDPRO_FLOW",
            "CALLS_KEEP",
            "OOY_SENTRY_DSN",
        ] {
            assert!(text.contains(&format!("\n#{name}=")), "{name} in {text}");
        }
        assert!(
            !text.contains("DATABASE_URL") && !text.contains("_IMAGE"),
            "{text}"
        );
    }

    #[test]
    fn the_old_scripts_values_are_taken_where_none_is_given() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("environment.env");
        std::fs::write(
            &file,
            "RAPIDPRO_URL = rapidpro.example.org\nRAPIDPRO_TOKEN='abc'\nOTHER=1\nRAPIDPRO_FLOW=x\n",
        )
        .unwrap();
        let given = [("RAPIDPRO_FLOW".to_owned(), "y".to_owned())];
        let taken = old_values(&file, &given);
        assert_eq!(
            taken,
            [
                (
                    "RAPIDPRO_URL".to_owned(),
                    "https://rapidpro.example.org".to_owned()
                ),
                ("RAPIDPRO_TOKEN".to_owned(), "abc".to_owned())
            ]
        );
        assert!(old_values(&folder.path().join("none"), &[]).is_empty());
    }
}
