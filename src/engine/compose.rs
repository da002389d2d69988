//! docker compose, v2 as a plugin of the docker command or v1.29 as `docker-compose`.
//!
//! It gets all values through its environment and reads no .env file, so that the settings are
//! parsed once, by us. It only makes containers; starting them is ours (design.md section 5).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::fault::{Fault, Result};
use crate::host::cmd::{self, Output};

/// How compose is called on this host.
#[derive(Clone)]
pub struct Compose {
    program: Vec<String>,
    /// Its version: `2.40.3`.
    pub version: String,
    deployment: Deployment,
}

/// What compose is called for.
#[derive(Clone, Default)]
pub struct Deployment {
    /// Its project name.
    pub project: String,
    /// Where relative paths in its files start.
    pub folder: PathBuf,
    /// Its compose files, in the order in which they are merged.
    pub files: Vec<PathBuf>,
    /// Given in the place of a .env file; holds nothing.
    pub no_env: PathBuf,
    /// All values that the files name.
    pub environment: Vec<(String, String)>,
}

/// The oldest version whose file format the embedded compose file keeps to.
const OLDEST: (u32, u32) = (1, 29);

/// The ways in which compose may be installed, the newer first.
const PROGRAMS: [&[&str]; 2] = [&["docker", "compose"], &["docker-compose"]];

/// Where docker looks for its plugin (docker/cli, cli-plugins/manager), below the user's own folder.
const PLUGIN_FOLDERS: [&str; 4] = [
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
];

/// Every file that could be the compose of this host, there or not: what is called is among them.
pub fn programs() -> Vec<PathBuf> {
    let path = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let own = path("DOCKER_CONFIG").or_else(|| Some(path("HOME")?.join(".docker")));
    let plugins = own
        .into_iter()
        .map(|folder| folder.join("cli-plugins"))
        .chain(PLUGIN_FOLDERS.map(PathBuf::from))
        .map(|folder| folder.join("docker-compose"));
    let search = std::env::var_os("PATH").unwrap_or_default();
    let called = std::env::split_paths(&search)
        .flat_map(|folder| [folder.join("docker"), folder.join("docker-compose")]);
    plugins.chain(called).collect()
}

/// What `config --hash` gives: a digest for each service, or its complaint.
pub type Hashes = std::io::Result<std::result::Result<BTreeMap<String, String>, String>>;

impl Compose {
    /// Finds compose. The error says what is missing or too old, and how to get it.
    pub async fn find() -> Result<Self> {
        Self::find_among(&PROGRAMS, Vec::new()).await
    }

    /// Finds compose and asks it for the digests of a deployment's services. Both at the same
    /// time where it is the usual one: a process of it takes 60 ms to start.
    pub async fn find_and_hash(deployment: Deployment) -> Result<(Self, Hashes)> {
        let usual = Self::called(PROGRAMS[0]).with(deployment);
        let (version, hashes) = tokio::join!(version(PROGRAMS[0]), usual.config_hashes());
        match version {
            Ok(version) => Ok((Self { version, ..usual }, hashes)),
            Err(evidence) => {
                let other = Self::find_among(&PROGRAMS[1..], vec![evidence]).await?;
                let other = other.with(usual.deployment);
                let hashes = other.config_hashes().await;
                Ok((other, hashes))
            }
        }
    }

    /// The usual one, without a look whether it is there.
    pub fn usual() -> Self {
        Self::called(PROGRAMS[0])
    }

    fn called(program: &[&str]) -> Self {
        Self {
            program: program.iter().map(|part| (*part).to_owned()).collect(),
            version: String::new(),
            deployment: Deployment::default(),
        }
    }

    async fn find_among(programs: &[&[&str]], mut evidence: Vec<String>) -> Result<Self> {
        for program in programs {
            match version(program).await {
                Ok(version) => {
                    return Ok(Self {
                        version,
                        ..Self::called(program)
                    });
                }
                Err(line) => evidence.push(line),
            }
        }
        let too_old = evidence.iter().any(|line| line.contains("needed is"));
        let mut fault = Fault::problem(
            if too_old {
                "compose: too old"
            } else {
                "compose: not found on this host"
            },
            if too_old {
                "the compose of this host cannot read the deployment's file"
            } else {
                "neither the compose plugin of docker nor docker-compose is installed"
            },
        )
        .why("ooy lets compose make the containers, so that you can leave ooy behind at any time")
        .next("sudo apt-get install docker-compose-plugin || sudo apt-get install docker-compose");
        fault.evidence = evidence;
        Err(Box::new(fault))
    }

    /// The same compose for one deployment.
    pub fn with(mut self, deployment: Deployment) -> Self {
        self.deployment = deployment;
        self
    }

    async fn run(&self, arguments: &[&str], deadline: Duration) -> std::io::Result<Output> {
        let Deployment {
            project,
            folder,
            files,
            no_env,
            environment,
        } = &self.deployment;
        let shown = |path: &PathBuf| path.display().to_string();
        let mut all: Vec<String> = self.program[1..].to_vec();
        all.extend(["--project-name".to_owned(), project.clone()]);
        all.extend(["--project-directory".to_owned(), shown(folder)]);
        all.extend(["--env-file".to_owned(), shown(no_env)]);
        for file in files {
            all.extend(["--file".to_owned(), shown(file)]);
        }
        let mut all: Vec<&str> = all.iter().map(String::as_str).collect();
        all.extend(arguments);
        cmd::run(&self.program[0], &all, environment, deadline).await
    }

    /// Compose's digest of each service's configuration, as it stands in the containers' labels.
    pub async fn config_hashes(&self) -> Hashes {
        let output = self
            .run(&["config", "--hash", "*"], Duration::from_secs(60))
            .await?;
        if !output.success {
            return Ok(Err(output.error_text()));
        }
        Ok(Ok(output
            .stdout
            .lines()
            .filter_map(|line| line.split_once(char::is_whitespace))
            .map(|(service, hash)| (service.to_owned(), hash.trim().to_owned()))
            .collect()))
    }

    /// The whole file with every value in its place, as compose understands it, or what it
    /// refuses. Holds secrets.
    pub async fn config(&self) -> std::io::Result<std::result::Result<String, String>> {
        let output = self.run(&["config"], Duration::from_secs(60)).await?;
        Ok(if output.success {
            Ok(output.stdout)
        } else {
            Err(output.error_text())
        })
    }

    /// Makes what is missing and makes anew what is stopped and differs from its configuration,
    /// for these services only (all: none named). Nothing is started.
    pub async fn create(
        &self,
        services: &[String],
        deadline: Duration,
    ) -> std::io::Result<std::result::Result<(), String>> {
        let mut arguments = vec!["up", "--no-start", "--no-build"];
        if !services.is_empty() {
            arguments.push("--no-deps");
            arguments.extend(services.iter().map(String::as_str));
        }
        let output = self.run(&arguments, deadline).await?;
        Ok(if output.success {
            Ok(())
        } else {
            Err(output.error_text())
        })
    }
}

/// The version of compose called so, if it is new enough; else a line of evidence.
async fn version(program: &[&str]) -> std::result::Result<String, String> {
    let shown = format!("{} version", program.join(" "));
    let arguments = [&program[1..], &["version", "--short"]].concat();
    match cmd::run(program[0], &arguments, &[], Duration::from_secs(20)).await {
        Ok(output) if output.success => {
            let version = output.stdout.trim().trim_start_matches('v').to_owned();
            match parse_version(&version) {
                Some(found) if found >= OLDEST => Ok(version),
                _ => Err(format!("{shown}: {version}, needed is 1.29 or later")),
            }
        }
        Ok(output) => Err(format!("{shown}: {}", output.last_error_line())),
        Err(error) => Err(format!("{shown}: {error}")),
    }
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split(['.', '-', '+']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_both_generations_are_read() {
        assert_eq!(parse_version("2.40.3-3"), Some((2, 40)));
        assert_eq!(parse_version("1.29.2"), Some((1, 29)));
        assert_eq!(parse_version("unknown"), None);
    }
}
