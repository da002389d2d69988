//! The services: what the compose files say of them, and what `ooy` knows beyond (stack.md
//! sections 1.1 to 1.3): when one is ready, how long that may take, what has to be done before.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;

use super::graph::{Cycle, Graph};
use super::settings::Settings;
use super::embedded;
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
}

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
    /// Who notices when it is not there.
    pub without_it: &'static str,
}

/// All services and their graph.
#[derive(Debug, Clone)]
pub struct Stack {
    /// In the order in which they are shown.
    pub services: Vec<Service>,
    /// What needs what.
    pub graph: Graph,
}

/// What `ooy` knows of its own services.
struct Known {
    name: &'static str,
    ready: Ready,
    /// Seconds.
    ready_within: u64,
    tolerant: bool,
    task: Option<ReleaseTask>,
    without_it: &'static str,
}

const fn http(port: u16, path: &'static str, status: u16) -> Http {
    Http { port, path, host: None, status, without: &[], broken_by: None }
}

/// Celery's words when its consumer listens (celery/apps/worker.py, 4.4 and 5).
const CELERY_READY: Ready = Ready::Log(r"celery@\S+ ready\.");

/// Runs in one Python process, since loading RapidPro takes seconds: says how many migrations
/// there are, then applies them.
const RAPIDPRO_RELEASE: ReleaseTask = ReleaseTask {
    user: None,
    script: r#"set -e
cd /rapidpro
if [ "$(cat sitestatic/.ooy-release 2>/dev/null)" != "$OOY_RELEASE" ]; then
  echo 'ooy-step: static files'
  /venv/bin/python manage.py collectstatic --noinput --no-post-process --clear
  echo 'ooy-step: compressing scripts and styles'
  /venv/bin/python manage.py compress --extension=.haml --force -v0
  if [ -e init_db.sql ]; then
    echo 'ooy-step: database set-up'
    /venv/bin/python manage.py dbshell < init_db.sql
  fi
  printf '%s' "$OOY_RELEASE" > sitestatic/.ooy-release
fi
echo 'ooy-step: migrations'
exec /venv/bin/python manage.py shell -c "
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
executor = MigrationExecutor(connection)
plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
print('ooy-migrations: %d' % len(plan), flush=True)
call_command('migrate', interactive=False)
"
"#,
};

/// As root: the volumes of a new deployment belong to root, and the image's user could write
/// neither static files nor media.
const CONTENTREPO_RELEASE: ReleaseTask = ReleaseTask {
    user: Some("0"),
    script: r#"set -e
cd /app
if [ "$(cat static/.ooy-release 2>/dev/null)" != "$OOY_RELEASE" ]; then
  echo 'ooy-step: static files'
  python manage.py collectstatic --noinput
  chown -R wagtail: static media
  printf '%s' "$OOY_RELEASE" > static/.ooy-release
fi
echo 'ooy-step: migrations'
exec python manage.py shell -c "
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
executor = MigrationExecutor(connection)
plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
print('ooy-migrations: %d' % len(plan), flush=True)
call_command('migrate', interactive=False)
"
"#,
};

/// The twelve, in the order in which they are shown: what people see first, what it stands on
/// after it.
const KNOWN: &[Known] = &[
    Known {
        name: "nginx",
        ready: Ready::Http(Http { host: Some("RAPIDPRO_DOMAIN"), ..http(80, "/", 301) }),
        ready_within: 60,
        // It resolves names while it runs: one missing application must not take the others'
        // front door away.
        tolerant: true,
        task: None,
        without_it: "no page opens and no provider can deliver a message",
    },
    Known {
        name: "rapidpro",
        ready: Ready::Http(Http { host: Some("RAPIDPRO_DOMAIN"), ..http(8000, "/users/login/", 200) }),
        ready_within: 300,
        tolerant: false,
        task: Some(RAPIDPRO_RELEASE),
        without_it: "RapidPro's pages and API do not answer; Casepro cannot pull messages",
    },
    Known {
        name: "rapidpro-celery",
        ready: CELERY_READY,
        ready_within: 180,
        tolerant: false,
        task: None,
        without_it: "imports, exports and retries of messages do not run",
    },
    Known {
        name: "rapidpro-beat",
        ready: CELERY_READY,
        ready_within: 180,
        tolerant: false,
        task: None,
        without_it: "nothing that RapidPro does on a schedule is done",
    },
    Known {
        name: "mailroom",
        // It answers although it reached nothing, and builds its Elasticsearch client only once.
        ready: Ready::Http(Http {
            broken_by: Some("unable to connect to elastic"),
            ..http(8090, "/mr/", 200)
        }),
        ready_within: 60,
        tolerant: false,
        task: None,
        without_it: "flows do not run: contacts get no answers",
    },
    Known {
        name: "courier",
        // Always 200; the body names what fails.
        ready: Ready::Http(Http { without: &["redis err", "db err"], ..http(8080, "/", 200) }),
        ready_within: 60,
        tolerant: false,
        task: None,
        without_it: "no message comes in or goes out",
    },
    Known {
        name: "indexer",
        ready: Ready::Log("completed indexing"),
        // A first index of all contacts takes its time.
        ready_within: 600,
        tolerant: false,
        task: None,
        without_it: "new contacts are not found by search, and groups miss them",
    },
    Known {
        name: "elasticsearch",
        // Yellow is its normal state here; red, or none yet, is a 408.
        ready: Ready::Http(http(9200, "/_cluster/health?wait_for_status=yellow&timeout=500ms", 200)),
        ready_within: 180,
        tolerant: false,
        task: None,
        without_it: "contact search fails, and mailroom cannot start",
    },
    Known {
        name: "casepro",
        ready: Ready::Http(http(8000, "/ping", 200)),
        // Its own entrypoint migrates before it listens.
        ready_within: 600,
        tolerant: false,
        task: None,
        without_it: "operators cannot open Casepro",
    },
    Known {
        name: "casepro-celery",
        ready: CELERY_READY,
        ready_within: 180,
        tolerant: false,
        task: None,
        without_it: "Casepro pulls no messages; operators see nothing new",
    },
    Known {
        name: "contentrepo",
        ready: Ready::Http(Http { host: Some("CONTENTREPO_DOMAIN"), ..http(8000, "/admin/login/", 200) }),
        ready_within: 180,
        tolerant: false,
        task: Some(CONTENTREPO_RELEASE),
        without_it: "flows that fetch content get none",
    },
    Known {
        name: "bigquery-sync",
        ready: Ready::Alive(Duration::from_millis(300)),
        ready_within: 60,
        tolerant: false,
        task: None,
        without_it: "BigQuery gets no new data",
    },
];

/// As much of a compose file as `ooy` reads; the rest is compose's.
#[derive(Debug, Default, Deserialize)]
struct ComposeFile {
    #[serde(default)]
    services: Option<BTreeMap<String, ComposeService>>,
}

#[derive(Debug, Default, Deserialize)]
struct ComposeService {
    image: Option<String>,
    restart: Option<String>,
    stop_grace_period: Option<String>,
    depends_on: Option<DependsOn>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum DependsOn {
    List(BTreeSet<String>),
    Map(BTreeMap<String, serde::de::IgnoredAny>),
}

impl Stack {
    /// The services of the embedded file and of the operator's own additions.
    pub fn load(settings: &Settings) -> Result<Self> {
        let again = settings.places.command("config --check");
        let mut merged = read(&embedded::text("compose.yaml").unwrap_or_default()).map_err(|error| {
            // Guarded by a test: the embedded file is what this executable was built from.
            Fault::problem("compose.yaml: cannot be read", "the embedded compose file is damaged")
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
                Fault::usage("depends_on: a ring", "services need each other in a ring; none of them can be first")
                    .evidence(ring.join(" → "))
                    .why("nothing of it can ever be started")
                    .next(format!("nano {}", path.display()))
                    .next(again),
            )),
        }
    }

    fn build(file: BTreeMap<String, ComposeService>, environment: &BTreeMap<String, String>) -> Self {
        let mut needs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut services: Vec<Service> = Vec::new();
        for (name, service) in file {
            needs.insert(
                name.clone(),
                match service.depends_on {
                    None => BTreeSet::new(),
                    Some(DependsOn::List(names)) => names,
                    Some(DependsOn::Map(names)) => names.into_keys().collect(),
                },
            );
            let known = KNOWN.iter().find(|known| known.name == name);
            services.push(Service {
                image: interpolate(&service.image.unwrap_or_default(), environment),
                restart: service.restart.unwrap_or_else(|| "no".to_owned()),
                // Docker's own default.
                grace: service.stop_grace_period.as_deref().and_then(duration).unwrap_or(Duration::from_secs(10)),
                ready: known.map_or(Ready::Health, |known| known.ready),
                ready_within: Duration::from_secs(known.map_or(120, |known| known.ready_within)),
                tolerant: known.is_some_and(|known| known.tolerant),
                task: known.and_then(|known| known.task),
                without_it: known.map_or("what it does is not done", |known| known.without_it),
                name,
            });
        }
        let place = |name: &str| KNOWN.iter().position(|known| known.name == name).unwrap_or(usize::MAX);
        services.sort_by(|a, b| place(&a.name).cmp(&place(&b.name)).then(a.name.cmp(&b.name)));
        Self { services, graph: Graph::new(needs) }
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
                let all: Vec<&str> = self.services.iter().map(|service| service.name.as_str()).collect();
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

fn read(text: &str) -> std::result::Result<BTreeMap<String, ComposeService>, String> {
    serde_saphyr::from_str::<ComposeFile>(text)
        .map(|file| file.services.unwrap_or_default())
        .map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())
}

/// As compose merges two files: single values from the later one, needs from both.
fn merge(base: &mut BTreeMap<String, ComposeService>, own: BTreeMap<String, ComposeService>) {
    for (name, service) in own {
        let into = base.entry(name).or_default();
        into.image = service.image.or(into.image.take());
        into.restart = service.restart.or(into.restart.take());
        into.stop_grace_period = service.stop_grace_period.or(into.stop_grace_period.take());
        let needs = |depends_on: Option<DependsOn>| match depends_on {
            None => BTreeSet::new(),
            Some(DependsOn::List(names)) => names,
            Some(DependsOn::Map(names)) => names.into_keys().collect(),
        };
        let mut all = needs(into.depends_on.take());
        all.extend(needs(service.depends_on));
        into.depends_on = Some(DependsOn::List(all));
    }
}

/// `${NAME}` replaced by its value; other forms stay, and compose judges them.
fn interpolate(text: &str, environment: &BTreeMap<String, String>) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        result.push_str(before);
        match after.split_once('}') {
            Some((name, behind)) if environment.contains_key(name) => {
                result.push_str(&environment[name]);
                rest = behind;
            }
            _ => {
                result.push_str("${");
                rest = after;
            }
        }
    }
    result + rest
}

/// Compose's durations: `60s`, `1m30s`, `500ms`.
fn duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit_length = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        total += match &rest[..unit_length] {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(number * 60),
            "h" => Duration::from_secs(number * 3600),
            _ => return None,
        };
        rest = &rest[unit_length..];
    }
    Some(total)
}


#[cfg(test)]
mod tests {
    use super::*;

    fn embedded_stack() -> Stack {
        let file = read(&embedded::text("compose.yaml").unwrap()).unwrap();
        Stack::build(file, &BTreeMap::from([("NGINX_IMAGE".to_owned(), "nginx:1.28.0".to_owned())]))
    }

    #[test]
    fn the_embedded_file_has_the_twelve_known_services() {
        let stack = embedded_stack();
        let names: Vec<&str> = stack.services.iter().map(|service| service.name.as_str()).collect();
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
        assert_eq!(needs("nginx"), "casepro contentrepo courier mailroom rapidpro");
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
        assert_eq!(stack.service("rapidpro-celery").unwrap().grace, Duration::from_secs(120));
    }

    #[test]
    fn an_override_adds_and_replaces() {
        let mut base = read(&embedded::text("compose.yaml").unwrap()).unwrap();
        merge(
            &mut base,
            read("services:\n  nginx:\n    stop_grace_period: 1m30s\n    depends_on: [extra]\n  extra:\n    image: x:1\n").unwrap(),
        );
        let stack = Stack::build(base, &BTreeMap::new());
        assert_eq!(stack.service("nginx").unwrap().grace, Duration::from_secs(90));
        assert!(stack.graph.needs("nginx").any(|need| need == "extra"));
        assert_eq!(stack.service("extra").unwrap().ready, Ready::Health);
        assert_eq!(stack.services.len(), 13);
    }

    #[test]
    fn every_variable_of_the_file_is_given_a_value() {
        let text = embedded::text("compose.yaml").unwrap();
        let mut derived: BTreeSet<&str> = crate::deployment::keys::KEYS.iter().map(|key| key.name).collect();
        derived.extend([
            "OOY_RAPIDPRO_DATABASE_URL_GO", "OOY_CASEPRO_REDIS_HOST", "OOY_CASEPRO_REDIS_DB", "OOY_S3_MEDIA",
            "OOY_STORAGE_URL", "OOY_BIGQUERY_KEY_FILE", "OOY_RENDERED_DIR", "OOY_SSL_DIR", "OOY_NGINX_DIGEST",
        ]);
        for piece in text.lines().filter(|line| !line.trim_start().starts_with('#')).flat_map(|line| line.split("${").skip(1)) {
            let name = piece.split('}').next().unwrap();
            assert!(derived.contains(name), "{name} has no value");
        }
    }
}
