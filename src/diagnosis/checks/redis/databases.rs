//! That each application has a Redis database of its own, and all parts of RapidPro the same one.
//! Two that share one take tasks from each other's `celery` list; courier and mailroom with another
//! number than RapidPro deliver nothing, without a word (stack.md section 2.2).

use std::rc::Rc;

use crate::diagnosis::check::{Checked, Halt, Report};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Evidence, Finding};
use crate::engine::containers::Container;
use crate::host::reach::host_port;
use crate::host::url::RedisUrl;
use crate::lifecycle::surroundings::label;

/// The variable of each service that names its Redis (stack.md section 2). Casepro's has the form
/// `:password@host:port`, and calls the number of the database a port.
const VARIABLES: &[(&str, &str)] = &[
    ("rapidpro", "REDIS_URL"),
    ("rapidpro-celery", "REDIS_URL"),
    ("rapidpro-beat", "REDIS_URL"),
    ("courier", "COURIER_REDIS"),
    ("mailroom", "MAILROOM_REDIS"),
    ("casepro", "REDIS_HOST"),
    ("casepro-celery", "REDIS_HOST"),
    ("contentrepo", "REDIS_LOCATION"),
];

pub async fn check(scene: Rc<Scene>) -> Checked {
    let settings = &scene.context.settings;
    let mut uses: Vec<Use> = settings
        .redis_databases()
        .into_iter()
        .map(|redis| Use {
            owner: redis.owner,
            service: None,
            place: Place::of(&redis.url),
            said: redis.setting.to_owned(),
        })
        .collect();
    if uses.is_empty() {
        scene.redis_database("rapidpro")?;
    }
    let containers = scene.containers().await;
    for container in containers.as_ref().ok().into_iter().copied().flatten() {
        let Some(service) = scene.context.stack.service(&container.service) else {
            continue;
        };
        if let (false, Some(owner)) = (container.oneoff, service.data)
            && let Some((place, variable)) = place_of(container)
        {
            uses.push(Use {
                owner,
                service: Some(container.service.clone()),
                place,
                said: format!("{variable} of {}", container.service),
            });
        }
    }
    let mut report = Report::fine();
    for (a, b) in shared(&uses) {
        report.found(two_on_one(&scene, a, b));
    }
    for (part, rapidpro) in apart(&uses) {
        report.found(elsewhere(&scene, part, rapidpro));
    }
    match containers {
        Err(halt @ (Halt::Unknown(_) | Halt::Blocked { .. })) if report.findings.is_empty() => {
            Err(halt)
        }
        _ => Ok(report),
    }
}

/// Who uses which database.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Use {
    owner: &'static str,
    /// A container has it so; `None`: the settings.
    service: Option<String>,
    place: Place,
    /// Where that is said.
    said: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    host: String,
    port: u16,
    db: u32,
}

impl Place {
    fn of(url: &RedisUrl) -> Self {
        Self {
            host: url.host().to_owned(),
            port: url.port(),
            db: url.db(),
        }
    }

    /// Names may stand for any address: only two addresses tell two servers apart.
    fn is(&self, other: &Self) -> bool {
        let differ = |a: &str, b: &str| {
            a != b && a.parse::<std::net::IpAddr>().is_ok() && b.parse::<std::net::IpAddr>().is_ok()
        };
        (self.port, self.db) == (other.port, other.db) && !differ(&self.host, &other.host)
    }

    fn shown(&self) -> String {
        format!("redis://{}/{}", host_port(&self.host, self.port), self.db)
    }
}

fn place_of(container: &Container) -> Option<(Place, &'static str)> {
    let (_, variable) = VARIABLES
        .iter()
        .find(|(service, _)| *service == container.service)?;
    let value = container.environment.get(variable)?;
    let url = match container.environment.get("REDIS_PORT") {
        Some(number) if *variable == "REDIS_HOST" => format!("redis://{value}/{number}"),
        _ => value.to_owned(),
    };
    Some((Place::of(&RedisUrl::parse(&url).ok()?), variable))
}

/// Pairs of applications on one database, each pair once.
fn shared(uses: &[Use]) -> Vec<(&Use, &Use)> {
    let mut pairs: Vec<(&Use, &Use)> = Vec::new();
    for (index, a) in uses.iter().enumerate() {
        for b in &uses[index + 1..] {
            let known = |(x, y): &(&Use, &Use)| {
                (x.owner, y.owner) == (a.owner, b.owner) || (x.owner, y.owner) == (b.owner, a.owner)
            };
            // What the settings say is not in force in a container that is older.
            let alike = a.service.is_some() == b.service.is_some();
            if a.owner != b.owner && alike && a.place.is(&b.place) && !pairs.iter().any(known) {
                pairs.push((a, b));
            }
        }
    }
    pairs
}

/// Parts of RapidPro with another database than its web application.
fn apart(uses: &[Use]) -> Vec<(&Use, &Use)> {
    let is = |one: &&Use, service: Option<&str>| {
        one.owner == "rapidpro" && one.service.as_deref() == service
    };
    let web = uses.iter().find(|one| is(one, Some("rapidpro")));
    // Without a container of it, as the next one will be.
    let Some(rapidpro) = web.or_else(|| uses.iter().find(|one| is(one, None))) else {
        return Vec::new();
    };
    uses.iter()
        .filter(|one| one.owner == "rapidpro" && one.service.is_some())
        .filter(|one| !one.place.is(&rapidpro.place))
        .map(|one| (one, rapidpro))
        .collect()
}

fn fact(one: &Use, command: &str) -> Evidence {
    let source = one.service.as_deref().unwrap_or("the settings");
    Evidence::new(&one.said, one.place.shown(), source).command(command)
}

fn two_on_one(scene: &Scene, a: &Use, b: &Use) -> Finding {
    let command = scene.command("config env");
    let settings = &scene.context.settings.places.env_file;
    Finding::error(
        Code::RedisDatabaseShared,
        format!(
            "{} and {} share Redis database {}",
            label(a.owner),
            label(b.owner),
            a.place.db
        ),
    )
    .evidence(fact(a, &command))
    .evidence(fact(b, &command))
    .impact(
        "each takes tasks out of the other's queue and drops them: messages and pulls are lost now \
         and then",
    )
    .cause("both settings end with the same number; each application needs one of its own")
    .manual(format!(
        "nano {}   # another number at the end of {}_REDIS_URL",
        settings.display(),
        b.owner.to_uppercase()
    ))
    .manual(scene.command("config --check"))
    .manual(scene.command("start"))
    .interrupts(format!("{}, about 1 min", label(b.owner)))
}

fn elsewhere(scene: &Scene, part: &Use, rapidpro: &Use) -> Finding {
    let service = part.service.as_deref().unwrap_or_default();
    let see = |one: &Use| {
        scene.command(&format!(
            "config compose   # {} of {}",
            one.said.split(' ').next().unwrap_or_default(),
            one.service.as_deref().unwrap_or_default()
        ))
    };
    Finding::error(
        Code::RedisDatabaseShared,
        format!(
            "{service} uses another Redis database than RapidPro: {} instead of {}",
            part.place.db, rapidpro.place.db
        ),
    )
    .service(service)
    .owner("rapidpro")
    .evidence(fact(part, &see(part)))
    .evidence(fact(rapidpro, &see(rapidpro)))
    .impact("what one puts into a queue the other never finds: messages stay where they are")
    .cause("RapidPro, mailroom and courier meet in one Redis database; this one was given another")
    .manual(format!(
        "nano {}",
        scene.context.settings.places.compose_override.display()
    ))
    .manual(scene.command(&format!("start {service}")))
    .interrupts(format!("{service}, about 10 s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(owner: &'static str, service: Option<&str>, url: &str) -> Use {
        Use {
            owner,
            service: service.map(str::to_owned),
            place: Place::of(&RedisUrl::parse(url).unwrap()),
            said: String::new(),
        }
    }

    #[test]
    fn two_applications_on_one_database_are_found_once() {
        let uses = [
            one("rapidpro", None, "redis://10.0.0.1/1"),
            one("casepro", None, "redis://10.0.0.1:6379/1"),
            one("contentrepo", None, "redis://10.0.0.1/2"),
            one("rapidpro", Some("rapidpro"), "redis://10.0.0.1/1"),
            one("casepro", Some("casepro"), "redis://10.0.0.1/1"),
        ];
        assert_eq!(shared(&uses).len(), 1);
        assert_eq!(shared(&uses[1..4]).len(), 0);
        let other = [
            one("rapidpro", None, "redis://10.0.0.1/1"),
            one("casepro", None, "redis://10.0.0.2/1"),
        ];
        assert_eq!(shared(&other), []);
        // A name may be that address.
        let name = [
            one("rapidpro", None, "redis://10.0.0.1/1"),
            one("casepro", None, "redis://redis.lan/1"),
        ];
        assert_eq!(shared(&name).len(), 1);
    }

    #[test]
    fn a_part_of_rapidpro_with_another_number_is_found() {
        let uses = [
            one("rapidpro", None, "redis://10.0.0.1/1"),
            one("rapidpro", Some("rapidpro"), "redis://10.0.0.1/1"),
            one("rapidpro", Some("courier"), "redis://10.0.0.1/5"),
            one("rapidpro", Some("mailroom"), "redis://10.0.0.1/1"),
            one("casepro", Some("casepro"), "redis://10.0.0.1/5"),
        ];
        let found = apart(&uses);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0.service.as_deref(), Some("courier"));
    }
}
