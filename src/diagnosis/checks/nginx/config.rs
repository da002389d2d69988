//! Whether nginx would start again with the files that it has.

use std::rc::Rc;

use crate::deployment::render::Difference;
use crate::diagnosis::check::{Checked, Halt, Report, blocking};
use crate::diagnosis::kept::{self, Inputs};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Evidence, Finding};
use crate::engine::containers::Container;
use crate::host::text::shorten;

/// How a finding names files that somebody edited.
const EDITED: &str = "edited by hand";

/// What compose starts nginx with, and `-t`: read everything, start nothing.
const TEST: [&str; 5] = ["nginx", "-t", "-q", "-c", "/etc/ooy/nginx/nginx.conf"];

/// Where nginx's files lie in its container.
const INSIDE: &str = "/etc/ooy/";

/// The check `nginx-config`.
pub async fn nginx_config(scene: Rc<Scene>) -> Checked {
    let container = match scene.running("nginx").await {
        Ok(container) => container,
        Err(halt) => {
            // It does not run: its last words say whether this is why.
            let container = scene.container("nginx").await?;
            return match container {
                Some(container) => stopped(&scene, container, halt).await,
                None => Err(halt),
            };
        }
    };
    // To run something in a container takes most of the time of a diagnosis.
    let path = scene
        .context
        .settings
        .places
        .state
        .join("nginx-tested.json");
    let from = inputs(&scene, container);
    let before = from
        .as_deref()
        .and_then(|from| kept::find::<bool>(&path, from));
    if before == Some(true) {
        let edited = edited(&scene, container).await?;
        return Ok(accepted(&scene, container, &edited));
    }
    let engine = scene.engine().await?;
    let test = engine.exec(&container.id, &TEST);
    let tested = match tokio::time::timeout(scene.time_left(), test).await {
        Ok(Ok(tested)) => tested,
        Err(_) => return Err(Halt::unknown("nginx -t did not end in time")),
        // It may have ended meanwhile, as it does again and again with a wrong configuration.
        Ok(Err(error)) => {
            let halt = Halt::unknown(format!("nginx -t cannot be run: {error}"));
            return stopped(&scene, container, halt).await;
        }
    };
    let edited = edited(&scene, container).await?;
    if tested.code == 0 {
        if let Some(from) = from {
            kept::keep(&path, &from, &true);
        }
        return Ok(accepted(&scene, container, &edited));
    }
    // Without [emerg] it was not nginx that said no: no such program, no memory.
    let Some(complaint) = complaint(tested.text.lines()) else {
        return Err(Halt::unknown(format!(
            "nginx -t ended with exit code {}: {}",
            tested.code,
            shorten(tested.text.trim(), 200)
        )));
    };
    let mut finding = Finding::warning(
        Code::NginxConfigInvalid,
        "nginx runs with an earlier configuration: it refuses the present one",
    )
    .service("nginx")
    .evidence(
        Evidence::new(
            "nginx -t",
            complaint,
            format!("in container {}", container.name),
        )
        .command(format!("docker exec {} {}", container.name, TEST.join(" "))),
    )
    .impact("nothing now; the next start of nginx fails, and then every site is down");
    if !edited.is_empty() {
        finding = finding.evidence(fact(&scene, &edited));
    }
    Ok(repaired(&scene, finding).into())
}

/// A digest of all that nginx's verdict follows from: the program, which is its container's, and the
/// files that are mounted into it. None where the operator's own file may mount others.
fn inputs(scene: &Scene, container: &Container) -> Option<String> {
    let places = &scene.context.settings.places;
    if places.compose_override.exists() {
        return None;
    }
    let mut inputs = Inputs::default();
    inputs.add(container.id.as_bytes());
    inputs.add_folder(&places.rendered.join("nginx"));
    inputs.add_folder(&places.ssl);
    Some(inputs.digest())
}

/// nginx takes its files; somebody may have edited them all the same.
fn accepted(scene: &Scene, container: &Container, edited: &[(String, Difference)]) -> Report {
    if edited.is_empty() {
        Report::fine()
    } else {
        by_hand(scene, container, edited).into()
    }
}

/// `[emerg]` and what follows, the last of several.
fn complaint<'a>(lines: impl Iterator<Item = &'a str>) -> Option<String> {
    lines
        .filter_map(|line| Some(&line[line.find("[emerg]")?..]))
        .last()
        // "[emerg] 7#7: …": who said it is of no interest.
        .map(|text| match text.split_once("#") {
            Some((_, rest)) => rest.split_once(": ").map_or(text, |(_, rest)| rest),
            None => text
                .trim_start_matches("[emerg]")
                .trim_start_matches(':')
                .trim(),
        })
        .map(|text| shorten(text, 300))
}

/// nginx that does not run: its last words, or whatever other check finds out why.
async fn stopped(scene: &Scene, container: &Container, halt: Halt) -> Checked {
    let engine = scene.engine().await?;
    let last = engine.last_lines(&container.id, 30, container.started_at);
    let lines = tokio::time::timeout(scene.time_left(), last)
        .await
        .map_err(|_| Halt::unknown("nginx's log cannot be read in time"))?;
    let Some(complaint) = complaint(lines.iter().map(|line| line.text.as_str())) else {
        return Err(halt);
    };
    let mut finding = Finding::error(
        Code::NginxConfigInvalid,
        "nginx does not start: it refuses its configuration",
    )
    .service("nginx")
    .evidence(
        Evidence::new(
            "its log",
            complaint,
            format!("container {}", container.name),
        )
        .command(scene.command("logs nginx -n 20")),
    )
    .impact("every site is down, and no provider can deliver a message");
    let edited = edited(scene, container).await?;
    if !edited.is_empty() {
        finding = finding.evidence(fact(scene, &edited));
    }
    Ok(repaired(scene, finding).into())
}

/// The next start writes the files anew, from the template.
fn repaired(scene: &Scene, finding: Finding) -> Finding {
    finding
        .manual(scene.command("config --check"))
        .manual(scene.command("restart nginx"))
        .interrupts("all sites, about 5 s")
}

/// nginx's files that are not as ooy has written them. Where settings or certificates have changed
/// since nginx was made, the files are of that time, and none of them counts as edited.
async fn edited(scene: &Scene, container: &Container) -> Result<Vec<(String, Difference)>, Halt> {
    let made_with = container.environment.get("OOY_NGINX_DIGEST");
    if made_with != Some(scene.context.rendered.nginx_digest.as_str()) {
        return Ok(Vec::new());
    }
    // For another thread: what is shared here belongs to this one.
    let rendered = (*scene.context.rendered).clone();
    let folder = scene.context.settings.places.rendered.clone();
    blocking(move || rendered.differing(&folder))
        .await?
        .map_err(|error| {
            Halt::unknown(format!(
                "{}: {error}",
                scene.context.settings.places.rendered.display()
            ))
        })
}

fn fact(scene: &Scene, files: &[(String, Difference)]) -> Evidence {
    let said: Vec<String> = files
        .iter()
        .map(|(path, difference)| match difference {
            Difference::Missing => format!("{path} is missing"),
            Difference::Changed => format!("{path} is another"),
            Difference::Foreign => format!("{path} is none of ooy's"),
        })
        .collect();
    let folder = &scene.context.settings.places.rendered;
    Evidence::new(EDITED, said.join(", "), folder.display().to_string()).command(format!(
        "ls -l --time-style=full-iso {}/nginx",
        folder.display()
    ))
}

fn by_hand(scene: &Scene, container: &Container, files: &[(String, Difference)]) -> Finding {
    let finding = Finding::warning(
        Code::NginxConfigInvalid,
        "nginx's files were edited by hand",
    )
    .service("nginx")
    .evidence(fact(scene, files))
    .evidence(Evidence::new(
        "mounted as",
        format!("{INSIDE}nginx"),
        format!("container {}", container.name),
    ))
    .impact("the edit is lost with the next start of nginx, which writes the files again")
    .cause("nginx may run without the edit: it reads its files when it starts or is told to");
    finding
        .manual(scene.command("config nginx"))
        .manual(scene.command("restart nginx"))
        .interrupts("all sites, about 5 s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_complaint_is_taken_without_its_number() {
        let test = "nginx: [warn] 1#1: conflicting\n\
            nginx: [emerg] cannot load certificate \"/etc/ooy/ssl/rapidpro.crt\": no such file\n\
            nginx: configuration file /etc/ooy/nginx/nginx.conf test failed\n";
        assert_eq!(
            complaint(test.lines()).unwrap(),
            "cannot load certificate \"/etc/ooy/ssl/rapidpro.crt\": no such file"
        );
        let log = [
            "2026/11/25 02:14:07 [emerg] 1#1: unknown directive \"lisen\" in /etc/ooy/nginx/nginx.conf:88",
        ];
        assert_eq!(
            complaint(log.into_iter()).unwrap(),
            "unknown directive \"lisen\" in /etc/ooy/nginx/nginx.conf:88"
        );
        assert_eq!(complaint("2026/11/25 [notice] 1#1: start".lines()), None);
    }
}
