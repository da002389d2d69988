//! Where Casepro gets its messages from: without a backend everything seems to work, and nothing
//! is ever pulled (stack.md section 2.3).

use std::rc::Rc;

use super::WORKER;
use crate::diagnosis::check::{Checked, Report};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Evidence, Finding};

/// The variable, and what it has to be.
const VARIABLE: &str = "SITE_BACKEND";
const RAPIDPRO: &str = "casepro.backend.rapidpro.RapidProBackend";

pub(super) async fn check(scene: Rc<Scene>) -> Checked {
    // The worker pulls, the web service sends: both need it. What is not there, another check says.
    let worker = scene.running(WORKER).await?;
    let mut wrong = Vec::new();
    for container in [Some(worker), scene.container("casepro").await?] {
        let Some(container) = container else { continue };
        let backend = container.environment.get(VARIABLE);
        if !is_rapidpro(backend) {
            wrong.push((container, backend));
        }
    }
    let Some((first, _)) = wrong.first() else {
        return Ok(Report::fine());
    };
    let (summary, impact) = if first.service == WORKER {
        (
            "Casepro is not connected with RapidPro: it pulls nothing",
            "operators see no new messages and contacts, and nothing reports an error",
        )
    } else {
        (
            "Casepro's pages are not connected with RapidPro: replies go nowhere",
            "replies that operators write reach nobody, and nothing reports an error",
        )
    };
    let mut finding = Finding::error(Code::CaseproBackendNoop, summary)
        .service(first.service.clone())
        .impact(impact)
        .cause("something sets SITE_BACKEND otherwise: compose.override.yaml, mostly");
    for (container, backend) in &wrong {
        finding = finding.evidence(
            Evidence::new(
                format!("{VARIABLE} of {}", container.service),
                backend.unwrap_or("not set"),
                format!("container {}", container.name),
            )
            .threshold(RAPIDPRO)
            // Not every image has printenv.
            .command(format!(
                "docker exec {} sh -c 'echo \"${VARIABLE}\"'",
                container.name
            )),
        );
    }
    let file = &scene.context.settings.places.compose_override;
    if file.exists() {
        finding = finding.manual(format!("nano {}", file.display()));
    }
    Ok(finding
        .manual(scene.command("start casepro casepro-celery"))
        .interrupts("Casepro, about 30 s")
        .into())
}

/// Unset, Casepro takes its NoopBackend.
fn is_rapidpro(backend: Option<&str>) -> bool {
    backend.is_some_and(|backend| {
        let backend = backend.to_ascii_lowercase();
        backend.contains("rapidpro") && !backend.ends_with("noopbackend")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rapidpro_is_a_backend() {
        assert!(is_rapidpro(Some(RAPIDPRO)));
        assert!(is_rapidpro(Some(
            "casepro.backend.rapidpro.RapidProBackendPush"
        )));
        for wrong in [None, Some(""), Some("casepro.backend.NoopBackend")] {
            assert!(!is_rapidpro(wrong), "{wrong:?}");
        }
    }
}
