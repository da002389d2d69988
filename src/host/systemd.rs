//! systemd, through its own program: whether it runs this machine, and its units.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cmd::{self, Output};

/// Where systemd is the init system, this folder is there (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";

/// Where units of this machine's own lie; those of packages are elsewhere.
const UNITS: &str = "etc/systemd/system";

/// Where systemd writes down when a timer has last started something.
const STAMPS: &str = "var/lib/systemd/timers";

/// How long systemctl may take. It waits until a unit that it starts says that it is ready.
const LIMIT: Duration = Duration::from_secs(120);

/// Whether systemd runs this machine.
pub fn runs() -> bool {
    Path::new(BOOTED).is_dir()
}

/// The units of a machine.
#[derive(Debug, Clone)]
pub struct Systemd {
    root: Option<PathBuf>,
}

impl Systemd {
    /// Of this machine.
    pub fn of_this_host() -> Self {
        Self { root: None }
    }

    /// Of a machine whose files lie below a folder: an image that is being prepared.
    pub fn below(root: PathBuf) -> Self {
        Self { root: Some(root) }
    }

    /// Whether it can be told to start and stop something: it runs, and is not another machine's.
    pub fn is_live(&self) -> bool {
        self.root.is_none() && runs()
    }

    /// Below which folder it lies, where it is not this machine's.
    pub fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// Where its own units lie.
    pub fn folder(&self) -> PathBuf {
        self.base().join(UNITS)
    }

    /// What systemd remembers a timer by that makes up what it has missed (`Persistent=`).
    pub fn stamp(&self, timer: &str) -> PathBuf {
        self.base().join(STAMPS).join(format!("stamp-{timer}"))
    }

    fn base(&self) -> &Path {
        self.root.as_deref().unwrap_or(Path::new("/"))
    }

    /// What `systemctl is-enabled` says of a unit: `enabled`, `disabled`, `masked`, … Of one that
    /// is not there it says nothing, or `not-found`. The error says that it cannot be asked.
    pub async fn is_enabled(&self, unit: &str, limit: Duration) -> Result<String, String> {
        let said = self.run(&["is-enabled", unit], limit).await?;
        Ok(said.stdout.trim().to_owned())
    }

    /// What `systemctl is-active` says of a unit: `active`, `inactive`, `failed`, …; nothing where
    /// systemd does not run.
    pub async fn is_active(&self, unit: &str) -> Result<String, String> {
        if !self.is_live() {
            return Ok(String::new());
        }
        let said = self.run(&["is-active", unit], LIMIT).await?;
        Ok(said.stdout.trim().to_owned())
    }

    /// The process of a service, if it has one.
    pub async fn main_process(&self, unit: &str) -> Option<u32> {
        let question = ["show", "--property=MainPID", "--value", unit];
        let said = self.run(&question, LIMIT).await.ok()?;
        said.stdout.trim().parse().ok().filter(|pid| *pid != 0)
    }

    /// When a timer starts something next, as systemd shows it (`Fri 2026-11-27 02:30:00 UTC`), if
    /// it says so.
    pub async fn next_run(&self, timer: &str, limit: Duration) -> Option<String> {
        if !self.is_live() {
            return None;
        }
        let question = [
            "show",
            "--property=NextElapseUSecRealtime",
            "--value",
            timer,
        ];
        let said = self.run(&question, limit).await.ok()?;
        let next = said.stdout.trim();
        // There are several words for never, and none has a digit.
        (said.success && next.contains(|c: char| c.is_ascii_digit())).then(|| next.to_owned())
    }

    /// `systemctl` with these arguments, which has to succeed; else what it said.
    pub async fn tell(&self, arguments: &[&str]) -> Result<(), String> {
        let said = self.run(arguments, LIMIT).await?;
        match said.success {
            true => Ok(()),
            false => Err(said.last_error_line()),
        }
    }

    async fn run(&self, arguments: &[&str], limit: Duration) -> Result<Output, String> {
        let root = self
            .root
            .as_ref()
            .map(|root| format!("--root={}", root.display()));
        let arguments: Vec<&str> = root
            .as_deref()
            .into_iter()
            .chain(arguments.iter().copied())
            .collect();
        cmd::run("systemctl", &arguments, &[], limit)
            .await
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => "systemctl is not on this machine".to_owned(),
                _ => error.to_string(),
            })
    }
}

/// A word on a command line of a unit (systemd.service(5), "Command lines"): in quotes, and nothing
/// in it has a meaning. None: it holds a character that no unit can hold.
pub fn quoted(word: &str) -> Option<String> {
    if word.chars().any(char::is_control) {
        return None;
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return Some(word.to_owned());
    }
    let mut text = String::from("\"");
    for letter in word.chars() {
        match letter {
            '"' | '\\' => text.extend(['\\', letter]),
            // Specifiers and variables.
            '%' | '$' => text.extend([letter, letter]),
            letter => text.push(letter),
        }
    }
    text.push('"');
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_unit_keep_their_meaning() {
        assert_eq!(quoted("/srv/ooy").unwrap(), "/srv/ooy");
        assert_eq!(quoted("/srv/my home").unwrap(), "\"/srv/my home\"");
        assert_eq!(quoted("/a\"b\\c").unwrap(), "\"/a\\\"b\\\\c\"");
        assert_eq!(quoted("/100%/$HOME").unwrap(), "\"/100%%/$$HOME\"");
        assert_eq!(quoted("").unwrap(), "\"\"");
        assert_eq!(quoted("/a\nExecStartPre=/bin/sh"), None);
    }

    #[test]
    fn units_of_another_machine_lie_below_its_root() {
        let image = Systemd::below("/mnt/image".into());
        assert_eq!(image.folder(), Path::new("/mnt/image/etc/systemd/system"));
        assert_eq!(
            image.stamp("a.timer"),
            Path::new("/mnt/image/var/lib/systemd/timers/stamp-a.timer")
        );
        assert!(!image.is_live());
        let here = Systemd::of_this_host().folder();
        assert_eq!(here, Path::new("/etc/systemd/system"));
    }
}
