//! What all findings about a container show.

use crate::deployment::services::Service;
use crate::diagnosis::Evidence;
use crate::diagnosis::scene::Scene;
use crate::engine::containers::Container;
use crate::host::text;

/// How many of its last lines are shown, and how much of each.
const LINES: usize = 3;
const WIDTH: usize = 300;

/// The last lines of a container's log: what it said before it ended, or says while it fails.
pub async fn last_lines(scene: &Scene, container: &Container) -> Vec<Evidence> {
    let Ok(engine) = scene.engine().await else {
        return Vec::new();
    };
    let look = engine.last_lines(&container.id, 20, None);
    let Ok(lines) = tokio::time::timeout(scene.time_left() / 2, look).await else {
        return Vec::new();
    };
    let said: Vec<_> = lines
        .iter()
        .filter(|line| !line.text.trim().is_empty())
        .collect();
    let first = said.len().saturating_sub(LINES);
    let mut facts: Vec<Evidence> = said[first..]
        .iter()
        .map(|line| {
            // Masked before it is cut: of a secret no half may stay.
            let masked = scene.context.mask.apply(&line.text);
            Evidence::new(
                format!("its log, {}", line.at.strftime("%H:%M:%S UTC")),
                text::shorten(&masked, WIDTH),
                "",
            )
        })
        .collect();
    for fact in &mut facts {
        fact.source = "docker logs".to_owned();
    }
    if let Some(last) = facts.pop() {
        facts.push(last.command(format!("docker logs --tail 20 {}", container.name)));
    }
    facts
}

/// `docker ps` of one service.
pub fn docker_ps(scene: &Scene, service: &str) -> String {
    let project = scene.context.settings.project();
    format!(
        "docker ps -a --filter label=com.docker.compose.project={project} \
         --filter label=com.docker.compose.service={service}"
    )
}

/// `docker inspect` of one field.
pub fn docker_inspect(container: &Container, template: &str) -> String {
    format!("docker inspect -f '{{{{{template}}}}}' {}", container.name)
}

/// Who notices that a service does not do its work.
pub fn without(service: &Service) -> String {
    service.without_it.to_owned()
}

/// What an exit code tells (Docker: 128 and the signal's number).
pub fn exit_meaning(code: i64) -> &'static str {
    match code {
        0 => " (it ended by itself, without an error)",
        125..=127 => " (its command could not be run)",
        130 => " (ended by SIGINT)",
        134 => " (SIGABRT: it gave up)",
        137 => " (ended by SIGKILL, from outside)",
        139 => " (SIGSEGV: it crashed)",
        143 => " (ended by SIGTERM, from outside)",
        255 => " (also written where Docker or the host went down under it)",
        _ => "",
    }
}
