//! The few lines of Python that do it, in RapidPro's container.

use std::time::Duration;

use super::Workspace;
use crate::engine::Engine;
use crate::engine::containers::Container;
use crate::fault::Fault;
use crate::remedy::Job;
use crate::remedy::looked::refused;

/// Loading all of RapidPro takes seconds, on a busy machine many.
const LIMIT: Duration = Duration::from_secs(120);

/// Never put together from anything: which workspace, and what to do, it reads from its
/// environment, as data. `get` raises unless exactly one workspace is meant.
const SCRIPT: &str = "\
import os
from temba.orgs.models import Org
org = Org.objects.get(id=int(os.environ['OOY_WORKSPACE']), is_active=True)
{'unflag': org.unflag, 'verify': org.verify}[os.environ['OOY_WORK']]()
org.refresh_from_db()
print('ooy-workspace:', org.id, org.is_flagged)
";

/// Takes the flag away. `work` is `unflag` or `verify`, the names of RapidPro's own methods.
pub async fn run(
    job: &Job,
    container: &Container,
    workspace: &Workspace,
    work: &str,
) -> Result<(), Fault> {
    let engine = Engine::connect().await;
    let engine = engine.map_err(|error| refused(job, &error))?;
    let command = [
        "/venv/bin/python",
        "/rapidpro/manage.py",
        "shell",
        "-c",
        SCRIPT,
    ];
    let environment = [
        format!("OOY_WORKSPACE={}", workspace.id),
        format!("OOY_WORK={work}"),
    ];
    let run = engine.exec_with(&container.id, &command, &environment);
    let Ok(run) = tokio::time::timeout(LIMIT, run).await else {
        let said = format!("no end within {} s", LIMIT.as_secs());
        return Err(failed(job, container, &[said]));
    };
    let run = run.map_err(|error| refused(job, &error))?;
    let done = format!("ooy-workspace: {} False", workspace.id);
    if run.code == 0 && run.text.lines().any(|line| line.trim() == done) {
        return Ok(());
    }
    let mut said = vec![format!("exit code {}", run.code)];
    let last = run
        .text
        .lines()
        .rev()
        .filter(|line| !line.trim().is_empty());
    let mut last: Vec<String> = last
        .take(3)
        .map(|line| format!("its output: {}", job.context.mask.apply(line.trim())))
        .collect();
    last.reverse();
    said.extend(last);
    Err(failed(job, container, &said))
}

fn failed(job: &Job, container: &Container, said: &[String]) -> Fault {
    let mut fault = Fault::problem(
        "workspace-flag: Django did not do it",
        format!("manage.py shell in {} failed", container.name),
    );
    for line in said {
        fault = fault.evidence(line.clone());
    }
    fault
        .why("the workspace is flagged still: its changes by API are refused")
        .next(job.command("diagnose rapidpro migrations"))
        .next(job.again.clone())
}
