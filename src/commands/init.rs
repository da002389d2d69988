//! `ooy init`: the settings file, its secrets made, nothing overwritten.

mod pbx;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::Outcome;
use crate::cli::Init;
use crate::deployment::keys::{self, KEYS, Kind, PLACEHOLDER};
use crate::deployment::places::Places;
use crate::deployment::settings::Settings;
use crate::deployment::{embedded, env_file, import, similar};
use crate::fault::{Fault, Result};
use crate::host::{certs, files};
use crate::lifecycle::preflight::pair;
use crate::ui::{Paint, Ui, human};

/// How long a self-signed certificate is good for, days.
const SELF_SIGNED_DAYS: u32 = 397;

pub fn run(ui: &Ui, places: &Places, arguments: &Init) -> Outcome {
    if arguments.pbx {
        return pbx::run(ui, places, arguments);
    }
    let path = &places.env_file;
    let mut given = given(places, arguments)?;
    if let Some(file) = &arguments.import {
        take_over(ui, places, file, &mut given)?;
    }
    if path.exists() {
        if !given.is_empty() {
            return Err(exists_already(path, &names(&given)).into());
        }
        ui.say(&format!("· {} exists and was not changed", path.display()));
    } else {
        write_settings(places, given)?;
        ui.say(&format!(
            "{} {} written (mode 0600), secret keys and mailroom's token made",
            ui.paint(Paint::Good, "✓"),
            path.display()
        ));
    }
    let settings = Settings::load_with_faults(places)?;
    certificates(ui, places, &settings.0, arguments.self_signed)?;
    if settings.1.is_empty() {
        ui.say(&format!("next: {}", places.command("start")));
        return Ok(0);
    }
    ui.say("\nleft to fill in:");
    for fault in &settings.1 {
        ui.say(&format!("  {fault}"));
    }
    ui.say(&format!(
        "\nnext: edit {}, then {}, then {}",
        path.display(),
        places.command("config --check"),
        places.command("start")
    ));
    Ok(0)
}

fn exists_already(path: &Path, names: &str) -> Box<Fault> {
    Box::new(
        Fault::usage(
            format!("{}: exists already", path.display()),
            "a settings file is never overwritten",
        )
        .evidence(format!("asked to set {names}"))
        .why("its secrets are in use by the databases and the running services")
        .next(format!("nano {}", path.display())),
    )
}

/// Adds the values of an existing compose file; what was given on the command line wins.
fn take_over(
    ui: &Ui,
    places: &Places,
    file: &Path,
    given: &mut Vec<(String, String)>,
) -> Result<()> {
    let shown = file.display();
    let failed = |evidence: String| {
        Box::new(
            Fault::usage(
                format!("{shown}: cannot be taken over"),
                "the file cannot be read as a compose file",
            )
            .evidence(evidence)
            .why("nothing was written")
            .next(format!("docker compose -f {shown} config -q"))
            .next(places.command("init --help")),
        )
    };
    let text = std::fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
    let imported = import::import(&text, file).map_err(failed)?;
    ui.say(&format!(
        "{} {} taken over from {shown}",
        ui.paint(Paint::Good, "✓"),
        human::count(imported.values.len(), "value")
    ));
    for left in &imported.left {
        ui.say(&format!("! not taken over: {left}"));
    }
    for (name, value) in imported.values {
        if !given.iter().any(|(known, _)| *known == name) {
            given.push((name, value));
        }
    }
    Ok(())
}

fn names(values: &[(String, String)]) -> String {
    values
        .iter()
        .map(|(name, _)| name.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}

/// The values of `--set` and `--set-from-env`, checked.
fn given(places: &Places, arguments: &Init) -> Result<Vec<(String, String)>> {
    let mut values = Vec::new();
    for text in &arguments.set {
        let Some((name, value)) = text.split_once('=') else {
            return Err(wrong(places, text, "is not of the form NAME=VALUE"));
        };
        let key = known(places, name)?;
        if key.secret {
            return Err(wrong(
                places,
                name,
                "holds a secret, and everybody on this host can read command lines; \
                 put it into the environment and give --set-from-env",
            ));
        }
        values.push((name.to_owned(), value.to_owned()));
    }
    for name in &arguments.set_from_env {
        known(places, name)?;
        match std::env::var(name) {
            Ok(value) => values.push((name.clone(), value)),
            Err(_) => return Err(wrong(places, name, "is not set in the environment")),
        }
    }
    for (name, value) in &values {
        if let Some(message) = keys::find(name).and_then(|key| key.kind.check(value)) {
            return Err(wrong(places, name, &message));
        }
    }
    Ok(values)
}

fn known(places: &Places, name: &str) -> Result<&'static keys::Key> {
    keys::find(name).ok_or_else(|| {
        let near = similar::nearest(name, KEYS.iter().map(|key| key.name));
        let hint = near
            .map(|near| format!("; did you mean {near}?"))
            .unwrap_or_default();
        wrong(places, name, &format!("is no setting of ooy{hint}"))
    })
}

fn wrong(places: &Places, name: &str, message: &str) -> Box<Fault> {
    Box::new(
        Fault::usage(
            format!("{name}: cannot be set so"),
            format!("{name} {message}"),
        )
        .evidence("given on the command line")
        .why("nothing was written")
        .next(places.command("init --help")),
    )
}

fn write_settings(places: &Places, given: Vec<(String, String)>) -> Result<()> {
    let failed = |error: std::io::Error| unwritable(places, "init", &error);
    let mut values = given;
    for key in KEYS.iter().filter(|key| key.kind == Kind::Token) {
        if !values.iter().any(|(name, _)| name == key.name) {
            values.push((key.name.to_owned(), secret(50).map_err(failed)?));
        }
    }
    let template = embedded::text("ooy.env").unwrap_or_default();
    let text = env_file::fill(&template, &values);
    if let Some(folder) = places.env_file.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    files::write_new(&places.env_file, text.as_bytes(), 0o600).map_err(failed)
}

fn unwritable(places: &Places, command: &str, error: &std::io::Error) -> Box<Fault> {
    let path = places.env_file.display();
    let fault = Fault::problem(
        format!("{path}: cannot be written"),
        "the settings file could not be made",
    )
    .evidence(error.to_string())
    .why("nothing works without settings");
    Box::new(match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            fault.next(format!("sudo {}", places.command(command)))
        }
        _ => fault.next(format!("df -h {path}")),
    })
}

/// Letters and digits from the kernel's random source, the first a letter.
fn secret(length: usize) -> std::io::Result<String> {
    const ALPHABET: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let mut random = File::open("/dev/urandom")?;
    let mut secret = String::with_capacity(length);
    let mut byte = [0u8; 1];
    while secret.len() < length {
        random.read_exact(&mut byte)?;
        // Six bits, those beyond the alphabet thrown away: each letter is equally likely.
        let Some(letter) = ALPHABET.get(usize::from(byte[0] & 63)) else {
            continue;
        };
        if !(secret.is_empty() && letter.is_ascii_digit()) {
            secret.push(char::from(*letter));
        }
    }
    debug_assert!(!secret.contains(PLACEHOLDER));
    Ok(secret)
}

fn certificates(ui: &Ui, places: &Places, settings: &Settings, wanted: bool) -> Result<()> {
    let hosts = [
        ("rapidpro", "RAPIDPRO_DOMAIN", false),
        ("casepro", "CASEPRO_DOMAIN", true),
        ("contentrepo", "CONTENTREPO_DOMAIN", false),
    ];
    let missing: Vec<_> = hosts
        .iter()
        .filter(|(name, ..)| {
            let (cert, key) = pair(&places.ssl, name);
            !cert.exists() && !key.exists()
        })
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing
        .iter()
        .map(|(name, ..)| format!("{name}.crt"))
        .collect::<Vec<_>>()
        .join(", ");
    let folder = places.ssl.display();
    ui.say(&format!("! no certificate yet in {folder}: {list}"));
    if !wanted && !ui.ask("  make self-signed ones for now?") {
        ui.say(&format!(
            "  put them there with their .key files, or: {}",
            places.command("init --self-signed")
        ));
        return Ok(());
    }
    let failed = |error: std::io::Error| {
        Box::new(
            Fault::problem(
                format!("{folder}: cannot be written"),
                "the certificates could not be made",
            )
            .evidence(error.to_string())
            .why("nginx does not start without certificates")
            .next(format!("ls -ld {folder}")),
        )
    };
    std::fs::create_dir_all(&places.ssl).map_err(failed)?;
    for (name, setting, wildcard) in missing {
        let host = settings.get(setting);
        let below = format!("*.{host}");
        let extra: &[&str] = if *wildcard { &[&below] } else { &[] };
        let (cert, key) = certs::self_signed(host, extra, SELF_SIGNED_DAYS)?;
        let (cert_path, key_path) = pair(&places.ssl, name);
        certs::write_pair(&cert_path, &key_path, &cert, &key)?;
    }
    ui.say(&format!(
        "{} self-signed certificates made: browsers will warn, and message providers refuse them; \
         replace them before the first real message",
        ui.paint(Paint::Warn, "!")
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_letters_and_digits_and_never_the_same() {
        let a = secret(50).unwrap();
        let b = secret(50).unwrap();
        assert_ne!(a, b);
        assert_eq!(Kind::Token.check(&a), None);
        assert_eq!(a.len(), 50);
    }
}
