//! `ooy config --check`: everything that can be validated without starting anything, all faults
//! in one run.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::Context;
use super::observe::{compose_answer, for_compose};
use super::preflight::{certificate_faults, scratch_folder};
use crate::deployment::keys::KEYS;
use crate::deployment::places::Places;
use crate::deployment::services::Stack;
use crate::deployment::settings::Settings;
use crate::engine::Engine;
use crate::engine::compose::Compose;
use crate::engine::oneoff::OneOff;
use crate::fault::{Fault, Result};

/// What a check has found.
#[derive(Debug, Default)]
pub struct Report {
    /// What was found right, one line each.
    pub checked: Vec<String>,
    /// What works, but not as its owner may expect, and what could not be checked here.
    pub warnings: Vec<String>,
    /// The graph of the services, drawn.
    pub graph: Vec<String>,
    /// What is wrong.
    pub faults: Vec<Fault>,
}

/// Checks all. The error is for what makes any check impossible.
pub async fn check(places: &Places) -> Result<Report> {
    let mut report = Report::default();
    let (settings, wrong) = Settings::load_with_faults(places)?;
    match Settings::fault(places, wrong) {
        None => report
            .checked
            .push(format!("settings: {} known, all valid", KEYS.len())),
        Some(fault) => report.faults.push(fault),
    }
    report.warnings.extend(settings.warnings());
    let stack = match Stack::load(&settings) {
        Ok(stack) => stack,
        Err(fault) => {
            report.faults.push(*fault);
            return Ok(report);
        }
    };
    report.checked.push(format!(
        "depends_on: {} services, no ring",
        stack.services.len()
    ));
    report.graph = draw(&stack);
    let context = Context::assemble(settings, stack, crate::operation::Reporter::new("config"));
    let faults = certificate_faults(&context, false);
    if faults.is_empty() {
        report
            .checked
            .push("certificates: match their keys and their hosts, and are valid now".to_owned());
    } else {
        report.faults.extend(faults);
    }
    report.warnings.extend(
        certificate_faults(&context, true)
            .into_iter()
            .map(|fault| format!("{}: {}", fault.title, fault.what)),
    );
    let folder = scratch_folder()?;
    let checked = async {
        context.rendered.write(&folder)?;
        compose(&context, &folder, &mut report).await;
        nginx(&context, &folder, &mut report).await;
        Ok(())
    }
    .await;
    let _ = std::fs::remove_dir_all(&folder);
    checked.map(|()| report)
}

async fn compose(context: &Context, folder: &Path, report: &mut Report) {
    let compose = match Compose::find().await {
        Ok(compose) => compose,
        Err(fault) => {
            report.warnings.push(format!(
                "docker compose config: not checked; {}",
                fault.title
            ));
            return;
        }
    };
    match composed(context, compose, folder).await {
        Ok(_) => report
            .checked
            .push("docker compose config: accepted".to_owned()),
        Err(fault) => report.faults.push(*fault),
    }
}

async fn composed(context: &Context, compose: Compose, folder: &Path) -> Result<String> {
    let compose = compose.with(for_compose(context, folder));
    compose_answer(context, compose.config().await)
}

/// The compose file with every value in its place, secrets masked.
pub async fn compose_text(context: &Context) -> Result<String> {
    let compose = Compose::find().await?;
    let folder = scratch_folder()?;
    let text = match context.rendered.write(&folder) {
        Ok(()) => composed(context, compose, &folder).await,
        Err(fault) => Err(fault),
    };
    let _ = std::fs::remove_dir_all(&folder);
    Ok(context.mask.apply(&text?))
}

/// `nginx -t` in the image that will run, with the certificates that it will have.
async fn nginx(context: &Context, folder: &Path, report: &mut Report) {
    let image = context
        .stack
        .service("nginx")
        .map(|service| service.image.clone())
        .unwrap_or_default();
    let engine = match Engine::connect().await {
        Ok(engine) => engine,
        Err(error) => {
            report
                .warnings
                .push(format!("nginx -t: not checked; {}", error.fault("").title));
            return;
        }
    };
    if !matches!(engine.image_id(&image).await, Ok(Some(_))) {
        report.warnings.push(format!(
            "nginx -t: not checked; image {image} is not on this host yet"
        ));
        return;
    }
    if !context.settings.places.ssl.is_dir() {
        return;
    }
    let project = context.settings.project();
    let spec = OneOff {
        name: format!("{project}-ooy-check-{}", std::process::id()),
        project: project.to_owned(),
        service: "ooy-check".to_owned(),
        task: "check".to_owned(),
        image,
        command: ["nginx", "-t", "-q", "-c", "/etc/ooy/nginx/nginx.conf"]
            .map(str::to_owned)
            .to_vec(),
        binds: vec![
            format!("{}/nginx:/etc/ooy/nginx:ro", folder.display()),
            format!("{}:/etc/ooy/ssl:ro", context.settings.places.ssl.display()),
        ],
        ..Default::default()
    };
    let run = async {
        let id = engine.run_once(spec).await?;
        let code = engine.wait(&id).await;
        let lines = engine.last_lines(&id, 20, None).await;
        engine.remove(&id).await?;
        Ok::<_, crate::engine::Error>((code?, lines))
    };
    match tokio::time::timeout(Duration::from_secs(60), run).await {
        Ok(Ok((0, _))) => report.checked.push("nginx -t: accepted".to_owned()),
        Ok(Ok((code, lines))) => {
            let mut fault = Fault::usage(
                "nginx: refuses its configuration",
                format!("nginx -t ended with exit code {code}"),
            )
            .why("nginx would not start, and no page would open")
            .next(context.command("config nginx"));
            fault.evidence = lines
                .iter()
                .map(|line| context.mask.apply(&line.text))
                .collect();
            report.faults.push(fault);
        }
        Ok(Err(error)) => report.warnings.push(format!(
            "nginx -t: not checked; {}",
            context.mask.apply(&error.to_string())
        )),
        Err(_) => report
            .warnings
            .push("nginx -t: not checked; it did not end within 60 s".to_owned()),
    }
}

/// One line a service, in an order in which it can be started.
fn draw(stack: &Stack) -> Vec<String> {
    let order = stack.graph.order().unwrap_or_default();
    let width = order.iter().map(String::len).max().unwrap_or_default();
    order
        .iter()
        .map(|name| {
            let needs: BTreeSet<&str> = stack.graph.needs(name).collect();
            if needs.is_empty() {
                format!("  {name}")
            } else {
                format!(
                    "  {name:<width$}  needs {}",
                    needs.into_iter().collect::<Vec<_>>().join(", ")
                )
            }
        })
        .collect()
}
