//! The units of systemd for one deployment: what stands in them, and how they are recognised.

use std::path::Path;

use super::Deployment;
use crate::deployment::embedded;
use crate::fault::{Fault, Result};
use crate::host::systemd::quoted;

/// Who may read and execute them: everybody, and so nothing in them is secret.
pub const MODE: u32 = 0o644;

/// What a unit is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The ordered start after a boot.
    Services,
    /// `ooy watch`.
    Watch,
    /// `ooy calls serve`.
    Calls,
    /// `ooy backup create`.
    Backup,
    /// What starts that each night.
    Timer,
}

impl Role {
    /// Its word in events: `services`, `watch`, `calls`, `backup`, `timer`.
    pub fn word(self) -> &'static str {
        match self {
            Role::Services => "services",
            Role::Watch => "watch",
            Role::Calls => "calls",
            Role::Backup => "backup",
            Role::Timer => "timer",
        }
    }

    /// What it does, for people.
    pub fn does(self) -> &'static str {
        match self {
            Role::Services => "brings up what ran, in its order",
            Role::Watch => "diagnoses, repairs what is safe, reports",
            Role::Calls => "takes finished calls and delivers them",
            Role::Backup => "makes a backup and proves it, when its timer says so",
            Role::Timer => "has a backup made each night",
        }
    }

    /// Whether it is enabled. A backup is not made at each boot: its timer starts it.
    pub fn is_enabled(self) -> bool {
        self != Role::Backup
    }

    /// Whether it is to run from now on. The ordered start is for boots, and a backup for nights:
    /// nothing is started by them now.
    pub fn runs(self) -> bool {
        !matches!(self, Role::Services | Role::Backup)
    }

    fn template(self) -> &'static str {
        match self {
            Role::Services => "systemd/ooy.service",
            Role::Watch => "systemd/ooy-watch.service",
            Role::Calls => "systemd/ooy-calls.service",
            Role::Backup => "systemd/ooy-backup.service",
            Role::Timer => "systemd/ooy-backup.timer",
        }
    }

    fn name(self, base: &str) -> String {
        match self {
            Role::Services => format!("{base}.service"),
            Role::Watch => format!("{base}-watch.service"),
            Role::Calls => format!("{base}-calls.service"),
            Role::Backup => format!("{base}-backup.service"),
            // Of the same name: so it is known what it starts.
            Role::Timer => format!("{base}-backup.timer"),
        }
    }
}

/// One unit as this version of `ooy` writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// What it is for.
    pub role: Role,
    /// Its file name: `ooy-watch.service`.
    pub name: String,
    /// All that stands in it. Holds no secret.
    pub text: String,
}

/// The first line of each unit: whose it is. A unit without one was made by somebody else.
pub fn mark(deployment: &Deployment) -> String {
    format!(
        "{MARK}{}; `ooy boot disable` removes it",
        deployment.places.own_folder().display()
    )
}

/// How the first line of every unit begins, whichever deployment it is of.
pub const MARK: &str = "# Written by `ooy boot enable` for the deployment in ";

/// The units that a deployment has, for this executable.
pub fn units(deployment: &Deployment, executable: &Path) -> Result<Vec<Unit>> {
    let command = command(deployment, executable)?;
    let base = match &deployment.places.home {
        None => "ooy".to_owned(),
        Some(_) => format!("ooy-{}", deployment.project),
    };
    let backups = !deployment.only_calls && deployment.backup_at.is_some();
    let roles = [
        (Role::Services, !deployment.only_calls),
        (Role::Watch, !deployment.only_calls),
        (Role::Calls, deployment.hands_calls_over),
        (Role::Backup, backups),
        (Role::Timer, backups),
    ];
    let first = mark(deployment);
    Ok(roles
        .into_iter()
        .filter(|(_, wanted)| *wanted)
        .map(|(role, _)| {
            let text = embedded::text(role.template()).unwrap_or_default();
            let values = [
                ("OOY", command.clone()),
                ("SERVE", format!("{command} calls serve")),
                ("USER", deployment.calls_user.clone()),
                ("PROJECT", deployment.project.clone()),
                ("START", Role::Services.name(&base)),
                ("AT", deployment.backup_at.clone().unwrap_or_default()),
                ("ENVIRONMENT", environment(deployment)),
            ];
            let text = values.iter().fold(text, |text, (name, value)| {
                text.replace(&format!("{{{{{name}}}}}"), value)
            });
            Unit {
                role,
                name: role.name(&base),
                text: format!("{first}\n{text}"),
            }
        })
        .collect())
}

/// `/usr/local/bin/ooy`, or with the folder of the deployment behind it.
fn command(deployment: &Deployment, executable: &Path) -> Result<String> {
    let word =
        |path: &Path| {
            path.to_str().and_then(quoted).ok_or_else(|| {
                Box::new(
                Fault::usage(
                    format!("{}: cannot stand in a unit", path.to_string_lossy().escape_debug()),
                    "systemd takes no name with a line break or another control character in it",
                )
                .evidence("it would be a part of ExecStart=")
                .why("nothing was installed")
                .next(deployment.places.command("boot enable")),
            )
            })
        };
    let executable = word(executable)?;
    Ok(match &deployment.places.home {
        None => executable,
        Some(home) => format!("{executable} --home {}", word(home)?),
    })
}

/// systemd gives services no HOME, where Docker's command line has its plugins, and no locale.
fn environment(deployment: &Deployment) -> String {
    let mut words = vec!["HOME=/root".to_owned(), "LC_ALL=C.UTF-8".to_owned()];
    let docker = deployment.docker_host.as_ref();
    words.extend(docker.and_then(|host| quoted(&format!("DOCKER_HOST={host}"))));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::places::Places;

    fn deployment(home: Option<&str>) -> Deployment {
        Deployment {
            places: Places::new(home.map(Path::new)),
            project: "hotline".to_owned(),
            hands_calls_over: true,
            only_calls: false,
            calls_user: "asterisk".to_owned(),
            backup_at: Some("02:30".to_owned()),
            docker_host: None,
        }
    }

    fn all(deployment: &Deployment) -> Vec<Unit> {
        units(deployment, Path::new("/usr/local/bin/ooy")).unwrap()
    }

    #[test]
    fn nothing_is_left_to_fill_in_and_every_command_is_absolute() {
        for home in [None, Some("/srv/the hotline")] {
            for unit in all(&deployment(home)) {
                assert!(!unit.text.contains("{{"), "{}", unit.text);
                let mut lines = unit.text.lines();
                let start = lines.find_map(|line| line.strip_prefix("ExecStart="));
                if unit.role == Role::Timer {
                    assert_eq!(start, None);
                    continue;
                }
                let start = start.unwrap();
                let before = match home {
                    None => "/usr/local/bin/ooy ",
                    Some(_) => "/usr/local/bin/ooy --home \"/srv/the hotline\" ",
                };
                assert!(start.starts_with(before), "{start}");
            }
        }
    }

    #[test]
    fn two_deployments_have_names_of_their_own() {
        let names = |home| {
            all(&deployment(home))
                .into_iter()
                .map(|unit| unit.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            names(None),
            [
                "ooy.service",
                "ooy-watch.service",
                "ooy-calls.service",
                "ooy-backup.service",
                "ooy-backup.timer"
            ]
        );
        assert_eq!(
            names(Some("/srv")),
            [
                "ooy-hotline.service",
                "ooy-hotline-watch.service",
                "ooy-hotline-calls.service",
                "ooy-hotline-backup.service",
                "ooy-hotline-backup.timer"
            ]
        );
        let watch = &all(&deployment(Some("/srv")))[1];
        assert!(
            watch
                .text
                .contains("After=network-online.target ooy-hotline.service\n")
        );
    }

    #[test]
    fn a_host_has_the_units_of_what_it_does() {
        let roles = |deployment: &Deployment| {
            all(deployment)
                .iter()
                .map(|unit| unit.role)
                .collect::<Vec<_>>()
        };
        let mut host = deployment(None);
        host.hands_calls_over = false;
        host.backup_at = None;
        assert_eq!(roles(&host), [Role::Services, Role::Watch]);
        host.backup_at = Some("02:30".to_owned());
        assert_eq!(
            roles(&host),
            [Role::Services, Role::Watch, Role::Backup, Role::Timer]
        );
        host.hands_calls_over = true;
        host.only_calls = true;
        assert_eq!(roles(&host), [Role::Calls]);
    }

    #[test]
    fn a_backup_is_started_by_its_timer_alone() {
        let units = all(&deployment(None));
        let text = |role| &units.iter().find(|unit| unit.role == role).unwrap().text;
        let (backup, timer) = (text(Role::Backup), text(Role::Timer));
        assert!(timer.contains("\nOnCalendar=*-*-* 02:30:00\n"), "{timer}");
        assert!(timer.contains("\nWantedBy=timers.target\n"), "{timer}");
        assert!(!backup.contains("[Install]"), "{backup}");
        let start = "\nExecStart=/usr/local/bin/ooy --yes backup create --prove\n";
        assert!(backup.contains(start), "{backup}");
    }

    #[test]
    fn a_name_that_would_be_a_line_of_its_own_is_refused() {
        let home = deployment(Some("/srv/x\nExecStartPre=/bin/sh"));
        let fault = units(&home, Path::new("/usr/local/bin/ooy")).unwrap_err();
        assert_eq!(fault.kind.exit_code(), 2);
    }
}
