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
}

impl Role {
    /// Its word in events: `services`, `watch`, `calls`.
    pub fn word(self) -> &'static str {
        match self {
            Role::Services => "services",
            Role::Watch => "watch",
            Role::Calls => "calls",
        }
    }

    /// What it does, for people.
    pub fn does(self) -> &'static str {
        match self {
            Role::Services => "brings up what ran, in its order",
            Role::Watch => "diagnoses, repairs what is safe, reports",
            Role::Calls => "takes finished calls and delivers them",
        }
    }

    fn template(self) -> &'static str {
        match self {
            Role::Services => "systemd/ooy.service",
            Role::Watch => "systemd/ooy-watch.service",
            Role::Calls => "systemd/ooy-calls.service",
        }
    }

    fn name(self, base: &str) -> String {
        match self {
            Role::Services => format!("{base}.service"),
            Role::Watch => format!("{base}-watch.service"),
            Role::Calls => format!("{base}-calls.service"),
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
    let roles = [
        (Role::Services, !deployment.only_calls),
        (Role::Watch, !deployment.only_calls),
        (Role::Calls, deployment.hands_calls_over),
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
                let start = unit
                    .text
                    .lines()
                    .find_map(|line| line.strip_prefix("ExecStart="))
                    .unwrap();
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
            ["ooy.service", "ooy-watch.service", "ooy-calls.service"]
        );
        assert_eq!(
            names(Some("/srv")),
            [
                "ooy-hotline.service",
                "ooy-hotline-watch.service",
                "ooy-hotline-calls.service"
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
        assert_eq!(roles(&host), [Role::Services, Role::Watch]);
        host.hands_calls_over = true;
        host.only_calls = true;
        assert_eq!(roles(&host), [Role::Calls]);
    }

    #[test]
    fn a_name_that_would_be_a_line_of_its_own_is_refused() {
        let home = deployment(Some("/srv/x\nExecStartPre=/bin/sh"));
        let fault = units(&home, Path::new("/usr/local/bin/ooy")).unwrap_err();
        assert_eq!(fault.kind.exit_code(), 2);
    }
}
