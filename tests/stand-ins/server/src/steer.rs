//! How a test tells a stand-in to be slow, to fail or to hang.
//!
//! Two ways with the same keys: `STAND_IN_*` in the environment (set by an override of
//! compose), and the JSON file /run/stand-in/control, which is read again at every request
//! and wins. Whatever is not understood ends the process with 64: a test that misspelt its
//! fault would otherwise pass for the wrong reason.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

const PREFIX: &str = "STAND_IN_";
const CONTROL_FILE: &str = "/run/stand-in/control";
pub const MISUSE: i32 = 64;

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Steer {
    /// Seconds between the process's start and the moment it listens or logs its readiness.
    pub boot_seconds: f64,
    /// End at once with this code, after one line of log.
    pub exit_code: Option<i32>,
    /// Live, but never listen and never log.
    pub never_ready: bool,
    /// Answer in the real service's own failing way for so long.
    pub unhealthy_seconds: f64,
    /// Accept connections and never answer.
    pub hang: bool,
    /// Elasticsearch: enforce the bootstrap checks although discovery.type is single-node.
    pub enforce_bootstrap_checks: bool,
    /// Elasticsearch: believe this instead of the kernel's vm.max_map_count.
    pub max_map_count: Option<u64>,
    /// Elasticsearch: believe this instead of what the data folder's disk says.
    pub disk_used_percent: Option<f64>,
    /// cron: on SIGUSR1 run only the jobs whose command contains this.
    pub cron_jobs: Option<String>,
}

const KEYS: [&str; 9] = [
    "boot_seconds",
    "exit_code",
    "never_ready",
    "unhealthy_seconds",
    "hang",
    "enforce_bootstrap_checks",
    "max_map_count",
    "disk_used_percent",
    "cron_jobs",
];

impl Steer {
    fn set(&mut self, key: &str, value: &Value) -> Result<(), String> {
        let wrong = |expected| format!("{key}: expected {expected}, got {value}");
        let number = || match value {
            Value::Number(n) => n.as_f64(),
            Value::String(s) => s.parse().ok(),
            _ => None,
        };
        // More than thirty years is a slip, and no duration of the clock.
        let amount = || number().filter(|n| (0.0..1e9).contains(n));
        let whole = || amount().filter(|n| n.fract() == 0.0);
        let switch = || match value {
            Value::Bool(b) => Some(*b),
            Value::Number(n) if n.as_u64() == Some(1) => Some(true),
            Value::Number(n) if n.as_u64() == Some(0) => Some(false),
            Value::String(s) if s == "1" || s == "true" => Some(true),
            Value::String(s) if s == "0" || s == "false" => Some(false),
            _ => None,
        };
        let seconds = || amount().ok_or_else(|| wrong("seconds"));
        let yes_or_no = || switch().ok_or_else(|| wrong("1 or 0"));
        match key {
            "boot_seconds" => self.boot_seconds = seconds()?,
            "unhealthy_seconds" => self.unhealthy_seconds = seconds()?,
            "exit_code" => {
                let code = whole().filter(|n| *n <= 255.0).ok_or_else(|| wrong("0 to 255"))?;
                self.exit_code = Some(code as i32);
            }
            "never_ready" => self.never_ready = yes_or_no()?,
            "hang" => self.hang = yes_or_no()?,
            "enforce_bootstrap_checks" => self.enforce_bootstrap_checks = yes_or_no()?,
            "max_map_count" => {
                self.max_map_count = Some(whole().ok_or_else(|| wrong("a whole number"))? as u64);
            }
            "disk_used_percent" => {
                let percent = amount().filter(|n| *n <= 100.0);
                self.disk_used_percent = Some(percent.ok_or_else(|| wrong("0 to 100"))?);
            }
            "cron_jobs" => {
                let text = value.as_str().ok_or_else(|| wrong("a part of a command"))?;
                self.cron_jobs = Some(text.to_owned());
            }
            _ => return Err(format!("unknown key `{key}`; known: {}", KEYS.join(", "))),
        }
        Ok(())
    }

    /// An empty variable counts as unset, as compose gives one for `${NAME-}`. The version is
    /// the image's own (version.rs).
    fn from_environment(variables: impl Iterator<Item = (String, String)>) -> Result<Self, String> {
        let mut steer = Self::default();
        for (name, value) in variables {
            if let Some(key) = name.strip_prefix(PREFIX)
                && !value.is_empty()
                && key != "VERSION"
            {
                steer
                    .set(&key.to_lowercase(), &Value::String(value))
                    .map_err(|problem| format!("{PREFIX}*: {problem}"))?;
            }
        }
        Ok(steer)
    }

    /// The keys may be written with the prefix of the variables or without. An empty file
    /// is one that is just being written.
    fn overlay(&mut self, control: &str) -> Result<(), String> {
        if control.trim().is_empty() {
            return Ok(());
        }
        let parsed: Value = serde_json::from_str(control).map_err(|e| e.to_string())?;
        let object = parsed.as_object().ok_or("expected a JSON object")?;
        for (key, value) in object {
            self.set(key.strip_prefix("stand_in_").unwrap_or(key), value)?;
        }
        Ok(())
    }
}

/// The environment of this process together with its control file.
#[derive(Debug)]
pub struct Steering {
    environment: Steer,
    control_file: PathBuf,
    /// From when the environment's unhealthy seconds count.
    ready_since: Mutex<Option<Instant>>,
}

impl Steering {
    pub fn of_this_process() -> Self {
        Self::new(std::env::vars(), Path::new(CONTROL_FILE))
            .unwrap_or_else(|problem| misuse(&problem))
    }

    fn new(
        variables: impl Iterator<Item = (String, String)>,
        control_file: &Path,
    ) -> Result<Self, String> {
        Ok(Self {
            environment: Steer::from_environment(variables)?,
            control_file: control_file.to_owned(),
            ready_since: Mutex::new(None),
        })
    }

    /// What holds right now.
    pub fn now(&self) -> Steer {
        self.read().unwrap_or_else(|problem| misuse(&problem))
    }

    fn read(&self) -> Result<Steer, String> {
        let mut steer = self.environment.clone();
        if let Ok(control) = std::fs::read_to_string(&self.control_file) {
            steer
                .overlay(&control)
                .map_err(|problem| format!("{}: {problem}", self.control_file.display()))?;
        }
        Ok(steer)
    }

    pub fn mark_ready(&self) {
        *self.ready_since.lock().unwrap() = Some(Instant::now());
    }

    /// To be asked at every request or turn of a loop. Ends the process when the control
    /// file says so.
    pub fn checkpoint(&self) -> Steer {
        let steer = self.now();
        if let Some(code) = steer.exit_code {
            std::process::exit(code);
        }
        steer
    }

    /// The seconds of the control file count from when it was written, those of the
    /// environment from when the service became ready.
    pub fn is_unhealthy(&self, steer: &Steer) -> bool {
        if steer.unhealthy_seconds <= 0.0 {
            return false;
        }
        let limit = Duration::from_secs_f64(steer.unhealthy_seconds);
        if steer.unhealthy_seconds != self.environment.unhealthy_seconds {
            let written = std::fs::metadata(&self.control_file).and_then(|m| m.modified());
            return written
                .is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age < limit));
        }
        let since = *self.ready_since.lock().unwrap();
        since.is_none_or(|at| at.elapsed() < limit)
    }
}

fn misuse(problem: &str) -> ! {
    eprintln!("ooy-stand-in: {problem}");
    std::process::exit(MISUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Result<Steer, String> {
        Steer::from_environment(pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())))
    }

    #[test]
    fn the_environment_is_read_strictly() {
        let steer = environment(&[
            ("PATH", "/bin"),
            ("STAND_IN_BOOT_SECONDS", "1.5"),
            ("STAND_IN_HANG", "1"),
            ("STAND_IN_EXIT_CODE", "78"),
            ("STAND_IN_UNHEALTHY_SECONDS", ""),
            ("STAND_IN_VERSION", "v7.0.1"),
        ])
        .unwrap();
        assert_eq!(steer.boot_seconds, 1.5);
        assert_eq!(steer.exit_code, Some(78));
        assert!(steer.hang && !steer.never_ready);

        for (name, value) in [
            ("STAND_IN_BOOT_SECOND", "1"),
            ("STAND_IN_BOOT_SECONDS", "-1"),
            ("STAND_IN_BOOT_SECONDS", "1e30"),
            ("STAND_IN_BOOT_SECONDS", "NaN"),
            ("STAND_IN_HANG", "yes"),
            ("STAND_IN_EXIT_CODE", "256"),
            ("STAND_IN_DISK_USED_PERCENT", "101"),
        ] {
            assert!(environment(&[(name, value)]).is_err(), "{name}={value}");
        }
    }

    #[test]
    fn the_control_file_wins_and_is_as_strict() {
        let mut steer = environment(&[("STAND_IN_HANG", "1")]).unwrap();
        steer.overlay(r#"{"hang": false, "stand_in_unhealthy_seconds": 2}"#).unwrap();
        assert!(!steer.hang);
        assert_eq!(steer.unhealthy_seconds, 2.0);
        steer.overlay("").unwrap();
        assert!(steer.overlay(r#"{"hangs": 1}"#).unwrap_err().contains("known: boot_seconds"));
        assert!(steer.overlay(r#"{"hang": 2}"#).is_err());
        assert!(steer.overlay("[]").is_err());
        assert!(steer.overlay(r#"{"hang":"#).is_err());
    }

    #[test]
    fn unhealthy_seconds_of_the_environment_count_from_readiness() {
        let variables = [("STAND_IN_UNHEALTHY_SECONDS".to_owned(), "0.05".to_owned())];
        let steering = Steering::new(variables.into_iter(), Path::new("/nonexistent")).unwrap();
        let steer = steering.now();
        assert!(steering.is_unhealthy(&steer));
        steering.mark_ready();
        assert!(steering.is_unhealthy(&steer));
        std::thread::sleep(Duration::from_millis(60));
        assert!(!steering.is_unhealthy(&steer));
    }

    #[test]
    fn unhealthy_seconds_of_the_control_file_count_from_its_writing() {
        let file = std::env::temp_dir().join(format!("stand-in-control-{}", std::process::id()));
        std::fs::write(&file, r#"{"unhealthy_seconds": 0.05}"#).unwrap();
        let steering = Steering::new(std::iter::empty(), &file).unwrap();
        steering.mark_ready();
        assert!(steering.is_unhealthy(&steering.now()));
        std::thread::sleep(Duration::from_millis(80));
        assert!(!steering.is_unhealthy(&steering.now()));
        std::fs::remove_file(&file).unwrap();
        assert!(!steering.is_unhealthy(&steering.now()));
    }
}
