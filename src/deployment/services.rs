//! The services: what the compose files say of them, and what `ooy` knows beyond (stack.md
//! sections 1.1 to 1.3): when one is ready, how long that may take, what has to be done before.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use super::compose_file::environment as environment_in;
use super::compose_file::{ComposeService, duration, interpolate, merge, needs as needs_of, read};
use super::graph::{Cycle, Graph};
use super::known::KNOWN;
pub use super::known::{CASEPRO_MIGRATIONS, OF_UWSGI};
use super::settings::Settings;
use crate::fault::{Fault, Result};

/// How to see that a service is ready: that it does its work, not that its process exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    /// It answers this request as it does when it works.
    Http(Http),
    /// It has written this (a regular expression) since its process started. For services that
    /// listen nowhere; once they run, the Engine's health check speaks for them.
    Log(&'static str),
    /// Its process has lived this long: there is nothing to ask.
    Alive(Duration),
    /// The Engine's health check passes, or it runs and has none: services that the operator
    /// added.
    Health,
}

/// A request and the answer that means "ready".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Http {
    /// Port in the container.
    pub port: u16,
    /// Path and query.
    pub path: &'static str,
    /// The setting whose value is the Host header (Django refuses others), or none.
    pub host: Option<&'static str>,
    /// The status of a ready service.
    pub status: u16,
    /// Texts in the answer that mean it is not ready all the same.
    pub without: &'static [&'static str],
    /// A log line after which it will not become ready by itself.
    pub broken_by: Option<&'static str>,
}

/// Work that has to be done once before a service starts, in a container of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReleaseTask {
    /// The user it needs, where it is not the image's.
    pub user: Option<&'static str>,
    /// What `sh -c` runs. `OOY_RELEASE` holds the id of the image.
    pub script: &'static str,
    /// What of it can be done ahead, while an older version serves.
    pub files: Option<StaticFiles>,
}

/// The part of a release task that makes static files: it takes minutes, and asks no database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StaticFiles {
    /// The folder in the container that they are made in, a volume of the service.
    pub folder: &'static str,
    /// What `sh -c` runs to make them there.
    pub script: &'static str,
}

/// Where a release task finds static files that were made ahead.
pub const MADE_AHEAD: &str = "/ooy/static";

/// One service of the deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name in the compose file.
    pub name: String,
    /// The image reference, values put in.
    pub image: String,
    /// Its restart policy in the compose file.
    pub restart: String,
    /// How long it may take to stop.
    pub grace: Duration,
    /// How to see that it is ready.
    pub ready: Ready,
    /// How long it may take to become ready.
    pub ready_within: Duration,
    /// It waits for what it needs, but starts without what failed.
    pub tolerant: bool,
    /// What has to be done before its first start with an image.
    pub task: Option<ReleaseTask>,
    /// Whose PostgreSQL and Redis databases it uses (`rapidpro`, `casepro`, `contentrepo`).
    pub data: Option<&'static str>,
    /// Who notices when it is not there.
    pub without_it: &'static str,
}

/// The names of the services that `ooy` itself brings, in the order in which they are shown.
pub fn names() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().map(|known| known.name)
}

/// All services and their graph.
#[derive(Debug, Clone)]
pub struct Stack {
    /// In the order in which they are shown.
    pub services: Vec<Service>,
    /// What needs what.
    pub graph: Graph,
}

impl Stack {
    /// The services of the embedded file and of the operator's own additions.
    pub fn load(settings: &Settings) -> Result<Self> {
        let again = settings.places.command("config --check");
        let mut merged = read(&super::render::compose(settings)).map_err(|error| {
            // Guarded by a test: the embedded file is what this executable was built from.
            Fault::problem(
                "compose.yaml: cannot be read",
                "the embedded compose file is damaged",
            )
            .evidence(error)
            .why("nothing can be started without it")
            .next("ooy self-update")
        })?;
        let path = &settings.places.compose_override;
        match std::fs::read_to_string(path) {
            Ok(text) => {
                let own = read(&text).map_err(|error| {
                    Fault::usage(
                        format!("{}: cannot be read", path.display()),
                        "your additions to the compose file are not valid YAML of that form",
                    )
                    .evidence(error)
                    .why("nothing is started while it is unclear what")
                    .next(format!("nano {}", path.display()))
                    .next(again.clone())
                })?;
                merge(&mut merged, own);
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(Box::new(
                    Fault::usage(
                        format!("{}: cannot be read", path.display()),
                        "your additions to the compose file are there, but closed to this user",
                    )
                    .evidence(error.to_string())
                    .why("started without them, services would be made anew with other settings")
                    .next(format!("sudo {again}")),
                ));
            }
        }
        let environment: BTreeMap<String, String> = settings.environment("").into_iter().collect();
        let stack = Self::build(merged, &environment);
        match stack.graph.order() {
            Ok(_) => Ok(stack),
            Err(Cycle(ring)) => Err(Box::new(
                Fault::usage(
                    "depends_on: a ring",
                    "services need each other in a ring; none of them can be first",
                )
                .evidence(ring.join(" → "))
                .why("nothing of it can ever be started")
                .next(format!("nano {}", path.display()))
                .next(again),
            )),
        }
    }

    fn build(
        file: BTreeMap<String, ComposeService>,
        environment: &BTreeMap<String, String>,
    ) -> Self {
        let mut needs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut services: Vec<Service> = Vec::new();
        for (name, service) in file {
            needs.insert(name.clone(), needs_of(service.depends_on));
            let known = KNOWN.iter().find(|known| known.name == name);
            services.push(Service {
                image: interpolate(&service.image.unwrap_or_default(), environment),
                restart: service.restart.unwrap_or_else(|| "no".to_owned()),
                // Docker's own default.
                grace: service
                    .stop_grace_period
                    .as_deref()
                    .and_then(duration)
                    .unwrap_or(Duration::from_secs(10)),
                ready: known.map_or(Ready::Health, |known| known.ready),
                ready_within: Duration::from_secs(known.map_or(120, |known| known.ready_within)),
                tolerant: known.is_some_and(|known| known.tolerant),
                task: known.and_then(|known| known.task),
                data: known.and_then(|known| known.data),
                without_it: known.map_or("what it does is not done", |known| known.without_it),
                name,
            });
        }
        let place = |name: &str| {
            KNOWN
                .iter()
                .position(|known| known.name == name)
                .unwrap_or(usize::MAX)
        };
        services.sort_by(|a, b| {
            place(&a.name)
                .cmp(&place(&b.name))
                .then(a.name.cmp(&b.name))
        });
        Self {
            services,
            graph: Graph::new(needs),
        }
    }

    /// The service of that name.
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name == name)
    }

    /// These services, or all when none is named; an unknown name is a fault that suggests the
    /// nearest.
    pub fn select(&self, names: &[String], command: &str) -> Result<BTreeSet<String>> {
        if names.is_empty() {
            return Ok(self.graph.names().map(str::to_owned).collect());
        }
        for name in names {
            if self.service(name).is_none() {
                let all: Vec<&str> = self
                    .services
                    .iter()
                    .map(|service| service.name.as_str())
                    .collect();
                let near = super::similar::nearest(name, all.iter().copied());
                let mut fault = Fault::usage(
                    format!("{name}: no such service"),
                    "the deployment has no service of that name",
                )
                .evidence(format!("its services: {}", all.join(", ")))
                .why("nothing was done");
                if let Some(near) = near {
                    fault = fault.next(format!("{command} {near}"));
                } else {
                    fault = fault.next(command.to_owned());
                }
                return Err(Box::new(fault));
            }
        }
        Ok(names.iter().cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::embedded;
    use super::*;

    fn embedded_stack() -> Stack {
        let file = read(&embedded::text("compose.yaml").unwrap()).unwrap();
        Stack::build(
            file,
            &BTreeMap::from([("NGINX_IMAGE".to_owned(), "nginx:1.28.0".to_owned())]),
        )
    }

    #[test]
    fn the_embedded_file_has_the_twelve_known_services() {
        let stack = embedded_stack();
        let names: Vec<&str> = stack
            .services
            .iter()
            .map(|service| service.name.as_str())
            .collect();
        let known: Vec<&str> = KNOWN.iter().map(|known| known.name).collect();
        assert_eq!(names, known);
        assert_eq!(names.len(), 12);
    }

    #[test]
    fn the_graph_is_the_documented_one() {
        let stack = embedded_stack();
        let needs = |name: &str| stack.graph.needs(name).collect::<Vec<_>>().join(" ");
        assert_eq!(needs("elasticsearch"), "");
        assert_eq!(needs("courier"), "");
        assert_eq!(needs("rapidpro"), "");
        assert_eq!(needs("casepro"), "");
        assert_eq!(needs("contentrepo"), "");
        assert_eq!(needs("mailroom"), "elasticsearch");
        assert_eq!(needs("casepro-celery"), "casepro");
        assert_eq!(needs("rapidpro-celery"), "mailroom rapidpro");
        assert_eq!(needs("rapidpro-beat"), "rapidpro rapidpro-celery");
        assert_eq!(needs("indexer"), "elasticsearch rapidpro");
        assert_eq!(needs("bigquery-sync"), "rapidpro");
        assert_eq!(
            needs("nginx"),
            "casepro contentrepo courier mailroom rapidpro"
        );
        assert!(stack.graph.order().is_ok());
    }

    #[test]
    fn merged_parts_of_the_file_are_seen() {
        let stack = embedded_stack();
        assert_eq!(stack.service("nginx").unwrap().image, "nginx:1.28.0");
        for service in &stack.services {
            assert_eq!(service.restart, "always", "{}", service.name);
            assert!(!service.image.is_empty(), "{}", service.name);
        }
        assert_eq!(
            stack.service("rapidpro-celery").unwrap().grace,
            Duration::from_secs(120)
        );
    }

    #[test]
    fn an_override_adds_and_replaces() {
        let mut base = read(&embedded::text("compose.yaml").unwrap()).unwrap();
        merge(
            &mut base,
            read("services:\n  nginx:\n    stop_grace_period: 1m30s\n    depends_on: [extra]\n  extra:\n    image: x:1\n").unwrap(),
        );
        let stack = Stack::build(base, &BTreeMap::new());
        assert_eq!(
            stack.service("nginx").unwrap().grace,
            Duration::from_secs(90)
        );
        assert!(stack.graph.needs("nginx").any(|need| need == "extra"));
        assert_eq!(stack.service("extra").unwrap().ready, Ready::Health);
        assert_eq!(stack.services.len(), 13);
    }

    #[test]
    fn every_variable_of_the_file_is_given_a_value() {
        let text = embedded::text("compose.yaml").unwrap();
        let mut derived: BTreeSet<&str> = crate::deployment::keys::KEYS
            .iter()
            .map(|key| key.name)
            .collect();
        derived.extend([
            "OOY_RAPIDPRO_DATABASE_URL_GO",
            "OOY_CASEPRO_REDIS_HOST",
            "OOY_CASEPRO_REDIS_DB",
            "OOY_S3_MEDIA",
            "OOY_STORAGE_URL",
            "OOY_BIGQUERY_KEY_FILE",
            "OOY_RENDERED_DIR",
            "OOY_SSL_DIR",
            "OOY_NGINX_DIGEST",
        ]);
        for piece in text
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'))
            .flat_map(|line| line.split("${").skip(1))
        {
            let name = piece.split('}').next().unwrap();
            assert!(derived.contains(name), "{name} has no value");
        }
    }
}
