//! Release tasks: what has to be done once before a service starts with an image (static files,
//! database set-up, migrations), in a container of its own whose progress and failure are shown.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;

use super::{Context, ahead, primed, released};
use crate::deployment::services::{MADE_AHEAD, ReleaseTask, Service};
use crate::engine::containers::Container;
use crate::engine::logs::Wanted;
use crate::engine::oneoff::{OneOff, TASK_LABEL};
use crate::engine::{Engine, Error};
use crate::fault::Fault;
use crate::host::files;
use crate::operation::Kind;

/// Lines of a task's output that are kept.
const LONGEST_OUTPUT: u64 = 100_000;

/// Where a release task is, as read from its output.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Progress {
    step: String,
    planned: Option<u64>,
    applied: u64,
    last: String,
    /// Digest of all that is applied at the end.
    all: Option<String>,
}

impl Progress {
    /// Reads one line of output; answers whether it moved.
    fn read(&mut self, line: &str) -> bool {
        if let Some(step) = line.strip_prefix("ooy-step: ") {
            step.clone_into(&mut self.step);
        } else if let Some(planned) = line.strip_prefix("ooy-migrations: ") {
            self.planned = planned.trim().parse().ok();
        } else if let Some(all) = line.strip_prefix("ooy-applied: ") {
            self.all = Some(all.trim().to_owned());
            return false;
        } else if let Some(applying) = line.trim_start().strip_prefix("Applying ") {
            let name = applying.split("...").next().unwrap_or(applying);
            // `contacts.0149_auto_2021…` is too long for a line; the number tells it.
            name.split('_')
                .next()
                .unwrap_or(name)
                .clone_into(&mut self.last);
            self.applied += u64::from(applying.trim_end().ends_with("OK"));
        } else {
            return false;
        }
        true
    }

    fn text(&self) -> String {
        match self.planned {
            Some(0) => "migrations: none to apply".to_owned(),
            Some(planned) if self.last.is_empty() => format!("migrating 0/{planned}"),
            Some(planned) => format!("migrating {}/{planned}  {}", self.applied, self.last),
            None => self.step.clone(),
        }
    }

    fn summary(&self) -> String {
        match self.applied {
            0 => "migrations: none to apply".to_owned(),
            1 => "migrations: 1 applied".to_owned(),
            n => format!("migrations: {n} applied"),
        }
    }
}

/// What came of a task.
pub enum Outcome {
    /// It ended well.
    Done,
    /// It failed.
    Failed(Box<Fault>),
}

/// Runs the release task of a service whose container was made, or waits for the one that an
/// interrupted start has left running. `applied` is what the database has (see
/// [`released::nothing_to_do`]).
pub async fn run(
    context: &Context,
    engine: &Engine,
    service: &Service,
    task: &ReleaseTask,
    container: &Container,
    applied: Option<&str>,
) -> Result<Outcome, Error> {
    let began = Instant::now();
    let state = &context.settings.places.state;
    if released::nothing_to_do(state, service, task, container, applied) {
        context.reporter.service(
            "release",
            &service.name,
            Kind::Skipped,
            None,
            "static files and migrations: done before",
        );
        return Ok(Outcome::Done);
    }
    let project = context.settings.project();
    let name = container_name(project, &service.name);
    let id = match left(engine, &name).await? {
        Some(id) => id,
        None => make(engine, project, service, task, Made::of(container), &name).await?,
    };
    let ended = follow(context, engine, service, "release", &id, began).await?;
    let log = keep(context, service, &ended.output);
    engine.remove(&id).await?;
    if ended.code == 0 {
        if let Some(all) = &ended.progress.all {
            released::remember(state, service, task, container, all);
        }
        let summary = ended.progress.summary();
        context.reporter.service(
            "release",
            &service.name,
            Kind::Done,
            Some(began.elapsed()),
            summary,
        );
        return Ok(Outcome::Done);
    }
    Ok(Outcome::Failed(Box::new(failed(
        context,
        service,
        &ended,
        &log,
        began.elapsed(),
    ))))
}

/// A task that has ended.
pub(super) struct Ended {
    /// Its exit code.
    pub(super) code: i64,
    progress: Progress,
    /// All that it wrote.
    pub(super) output: Vec<String>,
}

/// Follows a task to its end, and tells how far it is.
pub(super) async fn follow(
    context: &Context,
    engine: &Engine,
    service: &Service,
    step: &'static str,
    id: &str,
    began: Instant,
) -> Result<Ended, Error> {
    let tell = |kind, took, text: &str| {
        let reporter = &context.reporter;
        reporter.service(step, &service.name, kind, took, text);
    };
    tell(Kind::Started, None, "");
    let mut progress = Progress::default();
    let mut output: Vec<String> = Vec::new();
    let wanted = Wanted {
        follow: true,
        ..Default::default()
    };
    let mut lines = engine.log_lines(id, &wanted);
    while let Some(line) = lines.next().await {
        let line = line?.text;
        if progress.read(&line) {
            tell(Kind::Progress, Some(began.elapsed()), &progress.text());
        }
        output.push(line);
    }
    let code = engine.wait(id).await?;
    // Following may end before the last words are out, and they are the ones that count.
    let complete = engine.last_lines(id, LONGEST_OUTPUT, None).await;
    if complete.len() > output.len() {
        progress = Progress::default();
        output = complete.into_iter().map(|line| line.text).collect();
        for line in &output {
            progress.read(line);
        }
    }
    Ok(Ended {
        code,
        progress,
        output,
    })
}

/// What the container of a service's release task is called.
pub fn container_name(project: &str, service: &str) -> String {
    format!("{project}-{service}-release")
}

/// The task of that name that works: two migrations at the same time would lock each other, so it is
/// followed. One that has ended, or waits, is removed.
pub(super) async fn left(engine: &Engine, name: &str) -> Result<Option<String>, Error> {
    match engine.find_container(name).await? {
        Some(left) if is_under_way(engine, &left).await? => Ok(Some(left.id)),
        Some(left) => {
            engine.remove(&left.id).await?;
            Ok(None)
        }
        None => Ok(None),
    }
}

/// Whether it is a task that works: it runs, and does not wait to be told to go.
pub(super) async fn is_under_way(engine: &Engine, container: &Container) -> Result<bool, Error> {
    Ok(container.is_running()
        && container.labels.contains_key(TASK_LABEL)
        && (!primed::is_primed(container) || primed::went(engine, container).await?))
}

/// Of what a task's container is made.
pub(super) struct Made<'a> {
    /// A container of the service, of this image or of an older one.
    pub(super) like: &'a str,
    /// The image, where it is not the same.
    pub(super) image: String,
    /// Its id.
    pub(super) image_id: String,
    /// The service's environment, where it is not the same.
    pub(super) service_env: Option<Vec<String>>,
    /// For [`TASK_LABEL`].
    pub(super) task: &'static str,
    /// What the task is given besides.
    pub(super) env: Vec<String>,
}

impl<'a> Made<'a> {
    fn of(container: &'a Container) -> Self {
        Self {
            like: &container.id,
            image: String::new(),
            image_id: container.image_id.clone(),
            service_env: None,
            task: "release",
            env: Vec::new(),
        }
    }
}

pub(super) async fn make(
    engine: &Engine,
    project: &str,
    service: &Service,
    task: &ReleaseTask,
    made: Made<'_>,
    name: &str,
) -> Result<String, Error> {
    let made_ahead = ahead::volume_name(project, &service.name);
    let binds = match engine.has_volume(&made_ahead).await? {
        true => vec![format!("{made_ahead}:{MADE_AHEAD}:ro")],
        false => Vec::new(),
    };
    let mut env = environment(&made.image_id);
    env.extend(made.env);
    let spec = OneOff {
        name: name.to_owned(),
        project: project.to_owned(),
        service: service.name.clone(),
        task: made.task.to_owned(),
        image: made.image,
        command: ["sh", "-c", task.script].map(str::to_owned).to_vec(),
        env,
        service_env: made.service_env,
        user: task.user.map(str::to_owned),
        binds,
        ..Default::default()
    };
    engine.run_once_like(made.like, spec).await
}

/// What a task is given beside the service's environment.
pub(super) fn environment(image_id: &str) -> Vec<String> {
    vec![
        format!("OOY_RELEASE={image_id}"),
        // Progress is read line by line while it runs.
        "PYTHONUNBUFFERED=1".to_owned(),
    ]
}

/// Keeps the whole output for whoever has to read it; its path.
pub(super) fn keep(context: &Context, service: &Service, output: &[String]) -> String {
    let folder = context.settings.places.state.join("release");
    let path = folder.join(format!("{}.log", service.name));
    let text = context.mask.apply(&output.join("\n")) + "\n";
    // Without room for it the task is still judged by its exit code.
    let _ = std::fs::create_dir_all(&folder)
        .and_then(|()| files::write_atomic(&path, text.as_bytes(), 0o600));
    path.display().to_string()
}

fn failed(context: &Context, service: &Service, ended: &Ended, log: &str, took: Duration) -> Fault {
    let (name, progress) = (&service.name, &ended.progress);
    let stopped_at = match (progress.planned, progress.last.as_str()) {
        (Some(planned), last) if !last.is_empty() => {
            format!(
                "{} of {planned} migrations were applied; it stopped at {last}",
                progress.applied
            )
        }
        _ => format!(
            "it stopped at: {}",
            if progress.step.is_empty() {
                "its start"
            } else {
                &progress.step
            }
        ),
    };
    let fault = Fault::problem(
        format!("{name}: release task failed after {} s", took.as_secs()),
        format!(
            "static files or migrations of {name} ended with exit code {}",
            ended.code
        ),
    )
    .evidence(stopped_at)
    .why(format!(
        "{name} was not started, because it would work on a database that does not fit it: {}",
        service.without_it
    ))
    .next(format!("less {log}"))
    .next(context.command(&format!("start {name}")));
    with_last_lines(context, fault, &ended.output)
}

/// What a task wrote last, beside what it tells `ooy`. psql's harmless complaints of the set-up stand far
/// above; the end counts.
pub(super) fn with_last_lines(context: &Context, mut fault: Fault, output: &[String]) -> Fault {
    let said = output.iter().rev();
    let said = said.filter(|line| !line.trim().is_empty() && !line.starts_with("ooy-"));
    let tail: Vec<&String> = said.take(4).collect();
    for line in tail.into_iter().rev() {
        fault = fault.evidence(format!("its output: {}", context.mask.apply(line)));
    }
    fault
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_read_from_real_output() {
        let mut progress = Progress::default();
        for line in [
            "ooy-step: static files",
            "12 static files copied to '/rapidpro/sitestatic'.",
            "ooy-step: migrations",
            "ooy-migrations: 54",
            "Operations to perform:",
            "  Applying contacts.0149_auto_20210721... OK",
            "  Applying orgs.0077_x... OK",
        ] {
            progress.read(line);
        }
        assert_eq!(progress.text(), "migrating 2/54  orgs.0077");
        assert_eq!(progress.summary(), "migrations: 2 applied");
    }
}
