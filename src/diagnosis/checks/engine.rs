//! Docker itself: the Engine and compose.

use std::rc::Rc;

use crate::diagnosis::check::{Check, Checked, Looking, Report, Subject};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Evidence, Finding};
use crate::engine::Error;
use crate::fault::Fault;

/// The checks of this subject.
pub const SUBJECT: Subject = Subject {
    checks: &[
        Check {
            name: "docker-engine",
            about: "whether the Docker Engine answers",
            codes: &[Code::EngineUnreachable],
            run: |scene| -> Looking { Box::pin(engine(scene)) },
        },
        Check {
            name: "docker-compose",
            about: "whether compose is installed, and new enough",
            codes: &[Code::ComposeMissing],
            run: |scene| -> Looking { Box::pin(compose(scene)) },
        },
    ],
    rules: &[],
};

async fn engine(scene: Rc<Scene>) -> Checked {
    let error = match scene.try_engine().await {
        Err(error) => error.clone(),
        // It is asked again: the connection may have been made for another check a while ago.
        Ok(engine) => match engine.ping().await {
            Ok(()) => return Ok(Report::fine()),
            Err(error) => error,
        },
    };
    let fault = error.fault(&scene.command("diagnose"));
    let code = Code::EngineUnreachable;
    let finding = match error {
        Error::Missing { .. } => Finding::error(code, "Docker is not installed, or has never run"),
        Error::Stopped { .. } => {
            Finding::error(code, "Docker does not run: its daemon does not answer")
        }
        // It may be well; only this user cannot know.
        Error::Permission { user, .. } => {
            Finding::warning(code, format!("Docker may not be used by user {user}"))
        }
        Error::Version { .. } => Finding::error(code, "Docker's version does not fit"),
        Error::NotFound(_) | Error::Refused { .. } | Error::Broken(_) => {
            Finding::error(code, "Docker does not do what it is asked")
        }
    };
    let finding = finding.evidence(
        Evidence::new("", fault.what.clone(), "Docker's socket").command("docker version"),
    );
    Ok(with_fault(finding, &fault, "Docker's socket").into())
}

async fn compose(scene: Rc<Scene>) -> Checked {
    let Err(fault) = scene.compose().await else {
        return Ok(Report::fine());
    };
    let summary = if fault.title.contains("too old") {
        "compose is too old for the deployment's file"
    } else {
        "compose is not installed"
    };
    let finding = Finding::warning(Code::ComposeMissing, summary).evidence(
        Evidence::new("", fault.what.clone(), "the host").command("docker compose version"),
    );
    let mut finding = with_fault(finding, fault, "the host");
    finding.impact =
        "what runs goes on; but nothing can be made or made anew: no start, repair or upgrade"
            .to_owned();
    Ok(finding.into())
}

fn with_fault(mut finding: Finding, fault: &Fault, source: &str) -> Finding {
    for line in &fault.evidence {
        finding = finding.evidence(Evidence::new("", line, source));
    }
    for command in &fault.next {
        finding = finding.manual(command);
    }
    finding.impact(fault.why.clone()).interrupts("nothing")
}
