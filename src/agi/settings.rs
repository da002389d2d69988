//! The few settings that calls need, read so that nothing wrong with the others, or with these,
//! can keep a call from being taken over.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::deployment::env_file::{self, Entry};
use crate::deployment::keys::{self, KEYS, PLACEHOLDER};
use crate::deployment::mask::Mask;
use crate::deployment::places::Places;
use crate::fault::{Fault, Result};

/// Where the script that `ooy agi` replaces has its settings.
pub const OLD_FILE: &str = "/opt/rapidpro_connection/environment.env";

/// The settings read here; [`KEYS`] has their defaults and kinds.
const NAMES: &[&str] = &[
    "RAPIDPRO_URL",
    "RAPIDPRO_DOMAIN",
    "RAPIDPRO_TOKEN",
    "RAPIDPRO_FLOW",
    "COUNTRY_CODE",
    "TIME_ZONE",
    "CALLS_CA_FILE",
    "CALLS_TIMEOUT",
    "CALLS_SETTLE",
    "CALLS_RETRY_MAX",
    "CALLS_KEEP",
    "CALLS_LISTEN",
    "OOY_SENTRY_DSN",
];

/// Where RapidPro is and how it is spoken to.
#[derive(Clone, PartialEq, Eq)]
pub struct RapidPro {
    /// `https://host`, without a slash at the end.
    pub url: String,
    /// API token. A secret.
    pub token: String,
    /// The flow each call is started on.
    pub flow: String,
}

// By hand: the token is a secret.
impl std::fmt::Debug for RapidPro {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RapidPro({}, flow {})", self.url, self.flow)
    }
}

/// Where FastAGI listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    Tcp(std::net::SocketAddr),
    Unix(PathBuf),
    Off,
}

impl Listen {
    /// Reads `127.0.0.1:4573`, `unix:/path` or `off`.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "off" {
            return Some(Listen::Off);
        }
        match text.strip_prefix("unix:") {
            Some(path) => path.starts_with('/').then(|| Listen::Unix(path.into())),
            None => text.parse().ok().map(Listen::Tcp),
        }
    }
}

/// What calls need. Wrong or missing values have their default here and their line in `wrong`.
#[derive(Clone)]
pub struct CallSettings {
    /// The file that was read; none: there is none, all are defaults.
    pub file: Option<PathBuf>,
    /// What is wrong with it, one line each, without values.
    pub wrong: Vec<String>,
    url: String,
    token: String,
    flow: String,
    /// What a leading 0 becomes.
    pub country_code: String,
    /// Name of the zone of the calls' times.
    pub time_zone: String,
    /// More root certificates.
    pub ca_file: Option<PathBuf>,
    /// One request at most.
    pub timeout: Duration,
    /// From a lost answer to the question whether the call got through.
    pub settle: Duration,
    /// Longest pause between two attempts.
    pub retry_max: Duration,
    /// How long sent and skipped calls are kept.
    pub keep: Duration,
    /// Where FastAGI listens.
    pub listen: Listen,
    /// Where failures are reported; empty: nowhere. A secret.
    pub sentry_dsn: String,
    places: Places,
}

// By hand: it holds secrets.
impl std::fmt::Debug for CallSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CallSettings({:?}, {:?})", self.file, self.wrong)
    }
}

impl CallSettings {
    /// Reads ooy.env, or the old script's file where there is none. Never fails: see `wrong`.
    pub fn load(places: &Places) -> Self {
        Self::load_with(places, Path::new(OLD_FILE))
    }

    fn load_with(places: &Places, old: &Path) -> Self {
        // A deployment below a folder of its own has nothing to do with the machine's old script.
        let old = places.home.is_none().then_some(old);
        let mut wrong = Vec::new();
        for (file, is_old) in [(Some(places.env_file.as_path()), false), (old, true)] {
            let Some(file) = file else { continue };
            match std::fs::read(file) {
                Ok(bytes) => {
                    let text = String::from_utf8_lossy(&bytes);
                    let mut settings = Self::read(places, &text, is_old);
                    settings.file = Some(file.to_owned());
                    return settings;
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    wrong.push(format!("{}: {error}", file.display()));
                    break;
                }
            }
        }
        let mut settings = Self::read(places, "", false);
        settings.wrong.splice(0..0, wrong);
        settings
    }

    fn read(places: &Places, text: &str, is_old: bool) -> Self {
        let (mut entries, faults) = env_file::parse_what_can_be(text);
        let mut wrong: Vec<String> = Vec::new();
        for fault in faults {
            // The old file was read by more lenient readers; what they understood is kept.
            match text.lines().nth(fault.line - 1).and_then(lenient) {
                Some((key, value)) if is_old => entries.push(Entry {
                    line: fault.line,
                    key,
                    value,
                }),
                // Lines of the deployment's other settings are `ooy config --check`'s business.
                _ if NAMES.iter().any(|name| fault.message.contains(name)) => {
                    wrong.push(format!("line {}: {}", fault.line, fault.message));
                }
                _ => {}
            }
        }
        let mut value = |name: &str| -> String {
            let Some(key) = KEYS.iter().find(|key| key.name == name) else {
                return String::new();
            };
            let default = key.default.unwrap_or_default();
            let Some(entry) = entries.iter().find(|entry| entry.key == name) else {
                return default.to_owned();
            };
            let given = entry.value.trim();
            let given = match name {
                "RAPIDPRO_URL" => with_scheme(given),
                _ => given.to_owned(),
            };
            let message = if given.contains(PLACEHOLDER) {
                Some(format!("still holds {PLACEHOLDER}"))
            } else {
                key.kind.check(&given)
            };
            match message {
                None => given,
                Some(message) => {
                    wrong.push(format!("line {}: {name} {message}", entry.line));
                    default.to_owned()
                }
            }
        };
        let path = |text: String| (!text.is_empty()).then(|| PathBuf::from(text));
        let domain = value("RAPIDPRO_DOMAIN");
        let url = match value("RAPIDPRO_URL") {
            url if url.is_empty() => format!("https://{domain}"),
            url => url,
        };
        let mut duration = |name: &str| keys::interval(&value(name)).unwrap_or_default();
        let (timeout, settle, retry_max) = (
            duration("CALLS_TIMEOUT"),
            duration("CALLS_SETTLE"),
            duration("CALLS_RETRY_MAX"),
        );
        let days: u64 = value("CALLS_KEEP").parse().unwrap_or_default();
        Self {
            file: None,
            token: value("RAPIDPRO_TOKEN"),
            flow: value("RAPIDPRO_FLOW"),
            country_code: value("COUNTRY_CODE"),
            time_zone: value("TIME_ZONE"),
            ca_file: path(value("CALLS_CA_FILE")),
            timeout,
            settle,
            retry_max,
            keep: Duration::from_secs(days * 24 * 3600),
            listen: Listen::parse(&value("CALLS_LISTEN")).unwrap_or(Listen::Off),
            sentry_dsn: value("OOY_SENTRY_DSN"),
            url,
            places: places.clone(),
            wrong,
        }
    }

    /// What a delivery needs, or a fault that names all that is missing.
    pub fn rapidpro(&self) -> Result<RapidPro> {
        let mut missing = self.wrong.clone();
        for (name, value) in [
            ("RAPIDPRO_TOKEN", &self.token),
            ("RAPIDPRO_FLOW", &self.flow),
        ] {
            // What is wrong with a value has been said already.
            if value.is_empty() && !missing.iter().any(|line| line.contains(name)) {
                missing.push(format!("{name} is not set"));
            }
        }
        if missing.is_empty() {
            return Ok(RapidPro {
                url: self.url.clone(),
                token: self.token.clone(),
                flow: self.flow.clone(),
            });
        }
        let file = self.file.as_deref().unwrap_or(&self.places.env_file);
        let shown = file.display();
        let mut fault = match &self.file {
            Some(_) => Fault::usage(
                format!("settings: calls cannot be delivered with {shown}"),
                "what RapidPro has to be told, and as whom, is not complete or not valid",
            ),
            None => Fault::usage(
                "settings: there are none, so calls cannot be delivered",
                "RapidPro's address, token and flow are not known on this machine",
            )
            .evidence(format!("{shown} does not exist or cannot be read")),
        };
        fault.evidence.extend(missing);
        Err(Box::new(
            fault
                .why("calls are kept and delivered once this is put right; none is lost")
                .next(format!("nano {shown}"))
                .next(self.places.command("calls deliver")),
        ))
    }

    /// Hides the secrets in text from outside.
    pub fn mask(&self) -> Mask {
        Mask::new([self.token.clone(), self.sentry_dsn.clone()])
    }
}

/// The old client put https:// before a bare host name, and took a slash at the end away.
fn with_scheme(url: &str) -> String {
    let url = url.trim_end_matches('/');
    let url = url.strip_suffix("/api/v2").unwrap_or(url);
    if url.is_empty() || url.starts_with("http") {
        url.to_owned()
    } else {
        format!("https://{url}")
    }
}

/// `NAME = value`, quoted or not, with anything in it.
fn lenient(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=')?;
    let value = value.trim();
    let unquoted = ['"', '\'']
        .iter()
        .find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote))
        .unwrap_or(value);
    Some((name.trim().to_owned(), unquoted.to_owned()))
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub const FLOW: &str = "3f2a9c1e-5b7d-4e1f-9a6b-0c8d7e6f5a4b";

    fn read(text: &str) -> CallSettings {
        CallSettings::read(&Places::new(None), text, false)
    }

    #[test]
    fn a_pbx_needs_three_lines() {
        let settings = read(&format!(
            "RAPIDPRO_URL=https://r.example.org/\nRAPIDPRO_TOKEN=tok\nRAPIDPRO_FLOW={FLOW}\n"
        ));
        assert_eq!(settings.wrong, [""; 0]);
        let rapidpro = settings.rapidpro().unwrap();
        assert_eq!(rapidpro.url, "https://r.example.org");
        assert_eq!(settings.country_code, "254");
        assert_eq!(settings.timeout, Duration::from_secs(10));
        assert_eq!(settings.retry_max, Duration::from_secs(300));
        assert_eq!(settings.keep, Duration::from_secs(30 * 86400));
        assert_eq!(
            settings.listen,
            Listen::Tcp("127.0.0.1:4573".parse().unwrap())
        );
        assert!(!format!("{rapidpro:?} {settings:?}").contains("tok"));
    }

    #[test]
    fn without_an_address_it_is_the_deployments() {
        let settings = read(&format!(
            "RAPIDPRO_DOMAIN=r.test\nRAPIDPRO_TOKEN=t\nRAPIDPRO_FLOW={FLOW}\n"
        ));
        assert_eq!(settings.rapidpro().unwrap().url, "https://r.test");
    }

    #[test]
    fn what_is_wrong_elsewhere_in_the_file_disturbs_nothing() {
        let settings = read(&format!(
            "EMAIL_HOST=CHANGE_ME\nnonsense\nX=a b\nRAPIDPRO_TOKEN=t\nRAPIDPRO_FLOW={FLOW}\nCOUNTRY_CODE=256\n"
        ));
        assert!(settings.rapidpro().is_ok());
        assert_eq!(settings.country_code, "256");
    }

    #[test]
    fn wrong_values_are_named_without_the_value_and_replaced_by_the_default() {
        let settings = read(
            "RAPIDPRO_TOKEN='se\nRAPIDPRO_FLOW=s3cret\nCOUNTRY_CODE=Kenya\nRAPIDPRO_URL=ftp://x\n",
        );
        assert_eq!(settings.country_code, "254");
        let fault = settings.rapidpro().unwrap_err();
        let said = fault.evidence.join("\n");
        for name in [
            "line 1: RAPIDPRO_TOKEN",
            "line 2: RAPIDPRO_FLOW",
            "line 3: COUNTRY_CODE",
        ] {
            assert!(said.contains(name), "{said}");
        }
        assert!(!said.contains("s3cret"), "{said}");
        assert_eq!(said.matches("RAPIDPRO_TOKEN").count(), 1, "{said}");
    }

    #[test]
    fn the_old_scripts_file_is_read_where_there_is_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let old = folder.path().join("environment.env");
        std::fs::write(
            &old,
            format!("RAPIDPRO_URL = r.example.org/\nexport RAPIDPRO_TOKEN=\"a$b\"\nRAPIDPRO_FLOW={FLOW}\n"),
        )
        .unwrap();
        let mut places = Places::new(None);
        places.env_file = folder.path().join("ooy.env");
        let settings = CallSettings::load_with(&places, &old);
        let rapidpro = settings.rapidpro().unwrap();
        assert_eq!(rapidpro.url, "https://r.example.org");
        assert_eq!(rapidpro.token, "a$b");
        assert_eq!(settings.file, Some(old.clone()));
        // ooy.env, even without these three, is the one that counts.
        std::fs::write(&places.env_file, "COUNTRY_CODE=1\n").unwrap();
        let settings = CallSettings::load_with(&places, &old);
        assert_eq!(settings.country_code, "1");
        assert!(settings.rapidpro().is_err());
        // A deployment below a folder of its own does not read the machine's.
        let home = Places::new(Some(&folder.path().join("home")));
        assert_eq!(CallSettings::load_with(&home, &old).file, None);
    }

    #[test]
    fn no_settings_at_all_are_said_so() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::new(Some(folder.path()));
        let settings = CallSettings::load(&places);
        assert_eq!(settings.country_code, "254");
        let fault = settings.rapidpro().unwrap_err();
        assert!(fault.title.contains("there are none"), "{fault}");
        assert_eq!(fault.evidence.len(), 3);
    }

    #[test]
    fn bytes_that_are_no_text_do_not_hide_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::new(Some(folder.path()));
        std::fs::write(&places.env_file, b"# \xff\nCOUNTRY_CODE=255\n").unwrap();
        assert_eq!(CallSettings::load(&places).country_code, "255");
    }
}
