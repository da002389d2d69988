//! What to tell of a service that did not come up: its last words are the evidence.

use std::time::Duration;

use super::{Context, readiness};
use crate::deployment::services::Service;
use crate::engine::Engine;
use crate::engine::containers::{Container, State};
use crate::fault::Fault;
use crate::host::text;

/// Its container disappeared between two steps.
pub fn vanished(service: &Service, again: &str) -> Fault {
    Fault::problem(
        format!("{}: its container is gone", service.name),
        "its container was made, and removed again before it was started",
    )
    .evidence("somebody else removed it while this start ran")
    .why(service.without_it)
    .next(again)
}

/// Its process ended, again and again; `codes` are its exit codes.
pub async fn died(
    context: &Context,
    engine: &Engine,
    service: &Service,
    container: &Container,
    codes: &[i64],
) -> Fault {
    let code = codes.last().copied().unwrap_or(container.exit_code);
    let times = match codes.len() {
        0 | 1 => "once".to_owned(),
        n => format!("{n} times"),
    };
    let fault = Fault::problem(
        format!("{}: exits at once", service.name),
        format!("{} ended {times} with exit code {code}", service.name),
    );
    with_log(context, engine, service, container, fault).await
}

/// It was ready, passed its trial, and ended so long after the door was opened.
pub async fn ended_later(
    context: &Context,
    engine: &Engine,
    service: &Service,
    container: &Container,
    after: Duration,
) -> Fault {
    let after = text::took(after);
    let fault = Fault::problem(
        format!("{}: ended {after} after the door was opened", service.name),
        match container.is_running() {
            true => format!("{} was ready, ended, and was started again", service.name),
            false => format!(
                "{} was ready, and ended with exit code {}",
                service.name, container.exit_code
            ),
        },
    );
    with_log(context, engine, service, container, fault).await
}

/// It was waited for in vain; `seen` is what the last look has shown.
pub async fn not_ready(
    context: &Context,
    engine: &Engine,
    service: &Service,
    container: &Container,
    seen: &str,
    waited: Duration,
) -> Fault {
    let fault = Fault::problem(
        format!("{}: not ready after {} s", service.name, waited.as_secs()),
        match container.state {
            State::Running => format!("{} runs, but does not do its work", service.name),
            _ => format!("{} is {}", service.name, readiness::word(container)),
        },
    )
    .evidence(context.mask.apply(seen));
    with_log(context, engine, service, container, fault).await
}

async fn with_log(
    context: &Context,
    engine: &Engine,
    service: &Service,
    container: &Container,
    mut fault: Fault,
) -> Fault {
    if !container.error.is_empty() {
        fault = fault.evidence(format!("Docker: {}", context.mask.apply(&container.error)));
    }
    if container.oom_killed {
        fault = fault.evidence("ended by the kernel: out of memory");
    }
    for line in engine.last_lines(&container.id, 3, None).await {
        let text = text::shorten(&context.mask.apply(&line.text), 160);
        fault = fault.evidence(format!(
            "its log, {}: {text}",
            line.at.strftime("%H:%M:%S UTC")
        ));
    }
    fault
        .why(service.without_it)
        .next(context.command(&format!("logs {} -n 50", service.name)))
        .next(context.command(&format!("start {}", service.name)))
}

/// The fault without the secrets that Docker's own words may quote.
pub fn masked(context: &Context, mut fault: Fault) -> Fault {
    for line in &mut fault.evidence {
        *line = context.mask.apply(line);
    }
    fault
}
