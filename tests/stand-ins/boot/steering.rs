//! The faults that a test asks for, as far as they concern the start.

#[derive(Default)]
pub struct Steering {
    pub boot_seconds: f64,
    pub exit_code: Option<i32>,
    pub never_ready: bool,
}

const KEYS: &str = include_str!("../steering.txt");
const PREFIX: &str = "STAND_IN_";

/// An empty variable counts as unset: compose gives one for `${NAME-}`.
pub fn from_environment() -> Result<Steering, String> {
    let mut steering = Steering::default();
    for (name, value) in std::env::vars() {
        let Some(key) = name.strip_prefix(PREFIX).filter(|_| !value.is_empty()) else { continue };
        let kind = kind_of(key).ok_or_else(|| format!("unknown variable {name}"))?;
        check(kind, &value)
            .map_err(|expected| format!("{name}: expected {expected}, got {value}"))?;
        match key {
            "BOOT_SECONDS" => steering.boot_seconds = value.parse().unwrap_or_default(),
            "EXIT_CODE" => steering.exit_code = value.parse().ok(),
            "NEVER_READY" => steering.never_ready = flag(&value) == Some(true),
            _ => {}
        }
    }
    Ok(steering)
}

fn kind_of(key: &str) -> Option<&'static str> {
    KEYS.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(name, _)| *name == key)
        .map(|(_, kind)| kind)
}

fn check(kind: &str, value: &str) -> Result<(), &'static str> {
    let (good, expected) = match kind {
        "seconds" => (value.parse::<f64>().is_ok_and(|n| n >= 0.0 && n.is_finite()), "seconds"),
        "code" => (value.parse::<u8>().is_ok(), "0 to 255"),
        "flag" => (flag(value).is_some(), "1 or 0"),
        _ => (value.split('.').count() == 2 && !value.contains(' '), "APP.NAME"),
    };
    if good { Ok(()) } else { Err(expected) }
}

fn flag(value: &str) -> Option<bool> {
    match value {
        "1" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

/// One line such as the real service leaves behind when it dies at once.
pub fn last_words(service: &str) -> &'static str {
    match service {
        "rapidpro" => {
            "django.db.utils.OperationalError: could not connect to server: Connection refused"
        }
        "rapidpro-celery" | "rapidpro-beat" | "casepro-celery" => {
            "[CRITICAL/MainProcess] Unrecoverable error: OperationalError('Error 111 connecting to redis. Connection refused.')"
        }
        _ => "gunicorn.errors.HaltServer: <HaltServer 'Worker failed to boot.' 3>",
    }
}
