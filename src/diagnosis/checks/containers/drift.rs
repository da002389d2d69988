//! Whether what runs is what is configured. Both are put right by the same `ooy start`.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use futures_util::future::join_all;

use super::evidence::docker_inspect;
use crate::deployment::services::Service;
use crate::diagnosis::check::{Checked, Halt, Report};
use crate::diagnosis::checks::settings::{code_of, wrong_values};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Evidence, Finding};
use crate::engine::containers::{Container, State};

type Pair<'a> = (&'a Service, &'a Container);

/// What is up: what is not will be made anew by the next start anyway.
async fn up(scene: &Scene) -> Result<Vec<Pair<'_>>, Halt> {
    let mut up = Vec::new();
    for service in &scene.context.stack.services {
        if let Some(container) = scene.container(&service.name).await?
            && matches!(
                container.state,
                State::Running | State::Paused | State::Restarting
            )
        {
            up.push((service, container));
        }
    }
    Ok(up)
}

pub async fn images(scene: Rc<Scene>) -> Checked {
    if let Some(name) = wrong_values(&scene).find(|name| name.ends_with("_IMAGE")) {
        return Err(Halt::blocked(
            Code::SettingMissing,
            format!("the configured image is not known: {name} is wrong"),
        ));
    }
    let engine = scene.engine().await?;
    let up = up(&scene).await?;
    let references: BTreeSet<&str> = up
        .iter()
        .map(|(service, _)| service.image.as_str())
        .collect();
    let looks = references.into_iter().map(|reference| async move {
        let id = engine.image_id(reference).await;
        (reference, id)
    });
    let mut ids: BTreeMap<&str, Option<String>> = BTreeMap::new();
    for (reference, id) in join_all(looks).await {
        let id = id.map_err(|error| Halt::unknown(format!("image {reference}: {error}")))?;
        ids.insert(reference, id);
    }
    let mut report = Report::fine();
    for (reference, id) in &ids {
        let others: Vec<Pair> = up
            .iter()
            .filter(|(service, _)| service.image == *reference)
            .filter(|(_, container)| differs(container, reference, id.as_deref()))
            .copied()
            .collect();
        if !others.is_empty() {
            report.found(other_image(&scene, reference, id.as_deref(), &others));
        }
    }
    Ok(report)
}

/// An image that is not on this host cannot be compared; the name can.
fn differs(container: &Container, reference: &str, id: Option<&str>) -> bool {
    container.image != reference || id.is_some_and(|id| id != container.image_id)
}

/// One finding an image: three services run RapidPro's.
fn other_image(scene: &Scene, reference: &str, id: Option<&str>, services: &[Pair<'_>]) -> Finding {
    let names: Vec<&str> = services
        .iter()
        .map(|(service, _)| service.name.as_str())
        .collect();
    let renamed = services
        .iter()
        .find(|(_, container)| container.image != reference);
    let listed = names.join(", ");
    let runs = if names.len() == 1 { "runs" } else { "run" };
    let summary = match renamed {
        Some((_, container)) => {
            format!("{listed} {runs} {}, not {reference}", container.image)
        }
        None => format!("{listed} {runs} an older image of the name {reference}"),
    };
    let mut finding = Finding::warning(Code::ImageDrift, summary).evidence(Evidence::new(
        "configured",
        format!("{reference} ({})", id.map_or("not on this host yet", short)),
        "ooy.env",
    ));
    for (service, container) in services {
        finding = finding.evidence(
            Evidence::new(
                service.name.clone(),
                format!("{} ({})", container.image, short(&container.image_id)),
                "Docker",
            )
            .command(docker_inspect(container, ".Config.Image}} {{.Image")),
        );
    }
    if let Some((service, _)) = services.first() {
        finding = finding.service(&service.name);
    }
    finding
        .impact("what was changed or repaired in the other image is not in use")
        .cause(match renamed {
            Some(_) => "the setting was changed, and ooy start did not run since",
            None => "an image was pulled or built under this name, and ooy start did not run since",
        })
        .manual(scene.command(&format!("start {} --dry-run", names.join(" "))))
        .manual(scene.command(&format!("start {}", names.join(" "))))
        .interrupts(format!("{listed}: replaced one after the other"))
}

/// The first digits of an image's id, as `docker images` shows them.
fn short(id: &str) -> &str {
    let digits = id.strip_prefix("sha256:").unwrap_or(id);
    digits.get(..12).unwrap_or(digits)
}

pub async fn configuration(scene: Rc<Scene>) -> Checked {
    if let Some(name) = wrong_values(&scene).next() {
        return Err(Halt::blocked(
            code_of(&scene, &name),
            format!("what is configured is not known: {name} is wrong"),
        ));
    }
    let up = up(&scene).await?;
    let hashes = match scene.compose().await {
        Err(fault) => return Err(Halt::blocked(Code::ComposeMissing, fault.title.clone())),
        Ok(Err(complaint)) => {
            let said = complaint.lines().last().unwrap_or_default();
            return Err(Halt::unknown(format!(
                "compose does not accept the deployment's files: {said}"
            )));
        }
        Ok(Ok(hashes)) => hashes,
    };
    let changed: Vec<Pair> = up
        .into_iter()
        // Another image is another digest too, and found by its own check.
        .filter(|(service, container)| container.image == service.image)
        .filter(|(service, container)| {
            hashes
                .get(&service.name)
                .is_some_and(|hash| *hash != container.config_hash)
        })
        .collect();
    if changed.is_empty() {
        return Ok(Report::fine());
    }
    let names: Vec<&str> = changed
        .iter()
        .map(|(service, _)| service.name.as_str())
        .collect();
    let summary = match names.as_slice() {
        [one] => format!("{one} runs with other settings than ooy.env has now"),
        all => format!(
            "{} services run with other settings than ooy.env has now",
            all.len()
        ),
    };
    let mut finding = Finding::warning(Code::ConfigDrift, summary);
    if let [(service, container)] = changed.as_slice() {
        let wanted = hashes.get(&service.name).map_or("", String::as_str);
        finding = finding.service(&service.name).evidence(
            Evidence::new(
                "compose's digest",
                format!(
                    "{}, configured {}",
                    short(&container.config_hash),
                    short(wanted)
                ),
                "the container's label",
            )
            .command(docker_inspect(
                container,
                "index .Config.Labels \"com.docker.compose.config-hash\"",
            )),
        );
    }
    Ok(finding
        .evidence(
            Evidence::new("made before the change", names.join(", "), "compose config --hash")
                .command(scene.command("start --dry-run")),
        )
        .impact("a changed setting is not in force, or comes into force unexpectedly later")
        .cause("ooy.env, a certificate or your additions to the compose file changed, and ooy start did not run since")
        .manual(scene.command("start --dry-run"))
        .manual(scene.command("start"))
        .interrupts("these services: replaced one after the other")
        .into())
}
