//! Whether a database has the migrations that the running image brings. Which those are is known
//! from the release task of that image (lifecycle/released.rs); loading Django to ask takes seconds.

use std::rc::Rc;
use std::time::Duration;

use crate::deployment::services::Service;
use crate::diagnosis::check::{Checked, Halt, Report};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Evidence, Finding, words};
use crate::engine::containers::Container;
use crate::host::postgres::session::Session;
use crate::lifecycle::released;

/// A migration that waits for a lock for longer will not get it by itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who of this database waits for a lock, and for whom; the longest first.
const WAITING: &str = "SELECT pid, extract(epoch FROM now() - query_start)::bigint, \
     array_to_string(pg_blocking_pids(pid), ', ') FROM pg_stat_activity \
     WHERE datname = current_database() AND wait_event_type = 'Lock' \
     AND query ~* '^\\s*(alter|create|drop)' ORDER BY 2 DESC LIMIT 1";

pub async fn migrations(scene: Rc<Scene>) -> Checked {
    let mut report = Report::fine();
    let mut unknown = Vec::new();
    for service in &scene.context.stack.services {
        let (Some(_), Some(owner)) = (service.task, service.data) else {
            continue;
        };
        let session = scene.postgres(owner).await?;
        match session.migrations().await {
            Ok(applied) => match look(&scene, service, owner, session, &applied).await? {
                Seen::Pending(finding) => report.found(*finding),
                Seen::Complete => {}
                Seen::NotKnown => unknown.push(service.name.as_str()),
            },
            Err(error) if error.is_unknown_table() => {
                report.found(none(&scene, service, owner));
            }
            Err(error) => return Err(Halt::unknown(error.message)),
        }
    }
    if report.findings.is_empty() && !unknown.is_empty() {
        return Err(Halt::unused(format!(
            "ooy has not started {} with the present image yet, which would compare",
            unknown.join(" and ")
        )));
    }
    Ok(report)
}

enum Seen {
    Pending(Box<Finding>),
    Complete,
    NotKnown,
}

async fn look(
    scene: &Scene,
    service: &Service,
    owner: &'static str,
    session: &Session,
    applied: &str,
) -> Result<Seen, Halt> {
    if let Some((task, age)) = task(scene, service).await? {
        return Ok(match stuck(session).await {
            Some((blocked, blocker)) => Seen::Pending(Box::new(waits(
                scene, service, owner, task, blocked, &blocker,
            ))),
            None => Seen::Pending(Box::new(under_way(service, owner, task, age))),
        });
    }
    let container = scene.running(&service.name).await?;
    let state = &scene.context.settings.places.state;
    match released::is_migrated(state, service, container, applied) {
        Some(true) => Ok(Seen::Complete),
        None => Ok(Seen::NotKnown),
        Some(false) => Ok(Seen::Pending(Box::new(differs(
            scene, service, owner, container, applied,
        )))),
    }
}

/// The release task of a service, if it runs, and since when.
async fn task<'a>(
    scene: &'a Scene,
    service: &Service,
) -> Result<Option<(&'a Container, Duration)>, Halt> {
    let containers = scene.containers().await?;
    let task = containers.iter().find(|container| {
        container.oneoff && container.service == service.name && container.is_running()
    });
    Ok(task.map(|task| (task, super::super::service::age(scene, task))))
}

/// How long the migration has waited for a lock, and for which process of PostgreSQL.
async fn stuck(session: &Session) -> Option<(Duration, String)> {
    let rows = session.rows(WAITING).await.ok()?;
    let row = rows.first()?;
    let age = Duration::from_secs(row.number(1).try_into().ok()?);
    (age > PATIENCE).then(|| (age, row.text(2).to_owned()))
}

fn python(service: &Service) -> &'static str {
    if service.name == "rapidpro" {
        "/venv/bin/python /rapidpro/manage.py"
    } else {
        "python manage.py"
    }
}

fn differs(
    scene: &Scene,
    service: &Service,
    owner: &'static str,
    container: &Container,
    applied: &str,
) -> Finding {
    let name = &service.name;
    Finding::error(
        Code::MigrationsPending,
        format!("{name}'s database does not have the migrations of the running image"),
    )
    .service(name.clone())
    .owner(owner)
    .evidence(
        Evidence::new(
            "digest of the applied migrations",
            short(applied),
            format!("django_migrations, {owner}'s database"),
        )
        .threshold(format!("that of {}", container.image))
        .command(format!(
            "docker exec {} {} showmigrations --plan | grep -F '[ ]'",
            container.name,
            python(service)
        )),
    )
    .impact(format!(
        "pages and tasks of {name} fail where they need what is not there; {}",
        service.without_it
    ))
    .cause("the database was restored or changed after the last start, or the image was changed by hand")
    .manual(format!(
        "docker exec {} {} migrate --noinput",
        container.name,
        python(service)
    ))
    .manual(scene.command(&format!("restart {name}")))
    .interrupts(format!("{name}, as long as the migrations take"))
}

fn none(scene: &Scene, service: &Service, owner: &'static str) -> Finding {
    let name = &service.name;
    Finding::error(
        Code::MigrationsPending,
        format!("{name}'s database is empty: no migration has been applied"),
    )
    .service(name.clone())
    .owner(owner)
    .evidence(
        Evidence::new(
            "django_migrations",
            "does not exist",
            format!("{owner}'s database"),
        )
        .command(format!(
            "docker compose -p {} exec {name} {} showmigrations --plan",
            scene.context.settings.project(),
            python(service)
        )),
    )
    .impact(service.without_it)
    .cause("nothing has been started with this database yet, or it was made anew")
    .manual(scene.command(&format!("restart {name}")))
    .interrupts(format!("{name}, as long as the migrations take"))
}

fn under_way(service: &Service, owner: &'static str, task: &Container, age: Duration) -> Finding {
    let name = &service.name;
    Finding::info(
        Code::MigrationsPending,
        format!("{name}'s release task has run for {}", words::age(age)),
    )
    .service(name.clone())
    .owner(owner)
    .evidence(
        Evidence::new("its container", task.name.clone(), "Docker")
            .command(format!("docker logs --tail 5 {}", task.name)),
    )
    .impact(format!("{name} is started when it has ended"))
}

fn waits(
    scene: &Scene,
    service: &Service,
    owner: &'static str,
    task: &Container,
    blocked: Duration,
    blocker: &str,
) -> Finding {
    let name = &service.name;
    let blocked = words::age(blocked);
    Finding::error(
        Code::MigrationsPending,
        format!("A migration of {name} has waited for a lock in PostgreSQL for {blocked}"),
    )
    .service(name.clone())
    .owner(owner)
    .evidence(
        Evidence::new(
            "it waits for PostgreSQL's process",
            blocker,
            "pg_stat_activity",
        )
        .threshold(words::age(PATIENCE))
        .command(format!("ps -fp {}", blocker.replace(", ", ","))),
    )
    .evidence(
        Evidence::new("its container", task.name.clone(), "Docker")
            .command(format!("docker logs --tail 5 {}", task.name)),
    )
    .impact(format!("{name} does not start, nor what needs it"))
    .cause("another session has locked a table and not ended its transaction")
    .manual(scene.command("stop rapidpro-celery rapidpro-beat mailroom courier indexer"))
    .manual(format!(
        "sudo -u postgres psql -c 'SELECT pg_terminate_backend({})'",
        blocker.split(", ").next().unwrap_or_default()
    ))
    .interrupts("whoever holds the lock")
}

fn short(digest: &str) -> String {
    digest.chars().take(12).collect()
}
