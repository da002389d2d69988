//! Several beats for one application: everything that is done on a schedule is done twice.

use std::rc::Rc;

use super::app::App;
use super::worker::{ask, host, look, patience};
use crate::diagnosis::check::{Checked, Halt, Report};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Evidence, Finding, words};
use crate::engine::PROJECT_LABEL;
use crate::engine::containers::Container;

/// Those of our own containers with a beat that are one too many: all but the first that `ooy`
/// would start anyway.
pub async fn extras<'a>(scene: &'a Scene, app: &App) -> Result<Vec<&'a Container>, Halt> {
    let mut ours = Vec::new();
    for container in scene.containers().await? {
        let beat = container.service == app.beat && container.is_running();
        if beat
            && look(container)
                .await?
                .is_some_and(|worker| worker.has_beat())
        {
            ours.push(container);
        }
    }
    // By name, after those that compose has made only for one run.
    ours.sort_by_key(|container| container.oneoff);
    Ok(ours.split_off(ours.len().min(1)))
}

pub async fn beats(scene: Rc<Scene>, app: &'static App) -> Checked {
    let engine = scene.engine().await?;
    let project = scene.context.settings.project();
    let answers = ask(&scene, app, "ping", patience(&scene)).await?;
    let own = scene.containers().await?;
    let mut beats: Vec<Container> = Vec::new();
    let mut elsewhere: Vec<String> = Vec::new();
    // Those of the deployment, also where they do not answer.
    for container in own {
        if app.workers.contains(&container.service.as_str()) && container.is_running() {
            beats.push(container.clone());
        }
    }
    for name in answers.keys() {
        let host = host(name);
        if own.iter().any(|container| container.hostname == host) {
            continue;
        }
        match engine.container(host).await {
            Ok(container) => beats.push(container),
            Err(crate::engine::Error::NotFound(_)) => elsewhere.push(name.clone()),
            Err(error) => return Err(Halt::unknown(error.to_string())),
        }
    }
    let mut running = Vec::new();
    for container in beats {
        if look(&container)
            .await?
            .is_some_and(|worker| worker.has_beat())
        {
            running.push(container);
        }
    }
    let mut report = Report::fine();
    if running.len() > 1 {
        report.found(several(&scene, app, project, &running));
    }
    if !elsewhere.is_empty() {
        report.found(foreign(&scene, app, &elsewhere));
    }
    Ok(report)
}

fn several(scene: &Scene, app: &App, project: &str, running: &[Container]) -> Finding {
    let is_ours = |container: &Container| {
        container.labels.get(PROJECT_LABEL).map(String::as_str) == Some(project)
            && container.service == app.beat
    };
    let named: Vec<String> = running
        .iter()
        .map(|container| match container.labels.get(PROJECT_LABEL) {
            Some(other) if other != project => {
                format!("{} (of the deployment {other})", container.name)
            }
            _ => container.name.clone(),
        })
        .collect();
    let mut finding = Finding::error(
        Code::BeatDuplicate,
        format!(
            "{} has {} beats: what it does on a schedule is done that often",
            app.name,
            running.len()
        ),
    )
    .service(app.beat)
    .owner(app.owner)
    .evidence(
        Evidence::new(
            "containers with a beat",
            named.join(", "),
            format!("Docker, and the workers on {}'s Redis database", app.name),
        )
        .threshold("one")
        .command(inspect(scene, app)),
    )
    .impact(match app.owner {
        "casepro" => "pulls meet each other: they block workers, and may leave locks behind",
        _ => "errored messages can be sent twice, and tasks wait for each other",
    })
    .cause("the service was scaled, or an older deployment runs beside this one")
    .interrupts("nothing");
    // One of ours stays.
    let keep = running
        .iter()
        .position(|container| is_ours(container) && !container.oneoff)
        .or(running.iter().position(is_ours))
        .unwrap_or_default();
    if running
        .iter()
        .filter(|container| is_ours(container))
        .count()
        > 1
    {
        finding = finding
            .fix(scene.command("fix celery"))
            .interrupts("tasks of the one too many go to the other one");
    }
    for (index, container) in running.iter().enumerate() {
        if index != keep {
            finding = finding
                .manual(format!("docker update --restart no {}", container.name))
                .manual(format!("docker stop --time 120 {}", container.name));
        }
    }
    finding
}

fn foreign(scene: &Scene, app: &App, names: &[String]) -> Finding {
    let hosts: Vec<&str> = names.iter().map(|name| host(name)).collect();
    Finding::warning(
        Code::BeatDuplicate,
        format!(
            "{} of another host {} {}'s tasks, perhaps with a beat",
            words::count(names.len(), "worker"),
            if names.len() == 1 { "takes" } else { "take" },
            app.name
        ),
    )
    .service(app.beat)
    .owner(app.owner)
    .evidence(
        Evidence::new(
            "workers that are no containers of this host",
            names.join(", "),
            format!("asked over Redis, {}'s database", app.name),
        )
        .threshold("none")
        .command(inspect(scene, app)),
    )
    .impact("tasks are done there, with whatever version and settings it has, and perhaps twice")
    .cause("another host uses the same Redis database")
    .manual(format!(
        "on the host of {}: docker ps, docker stop",
        hosts.join(", ")
    ))
    .interrupts("nothing here")
}

fn inspect(scene: &Scene, app: &App) -> String {
    format!(
        "docker compose -p {} exec {} {} inspect ping",
        scene.context.settings.project(),
        app.beat,
        app.celery
    )
}
