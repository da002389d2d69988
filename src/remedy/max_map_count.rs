//! `ooy fix max-map-count`: enough memory maps now, and after each boot; and Elasticsearch, which
//! ended because there were too few, answers.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;

use super::{Job, Plan, Planning, Refusal, Remedy, Takes, elasticsearch, services};
use crate::diagnosis::{Code, Severity};
use crate::engine::containers::State;
use crate::fault::Fault;
use crate::host::sysctl::{self, MAX_MAP_COUNT_WANTED as WANTED};
use crate::host::sysctl_files::{self, Line, OURS};
use crate::host::{files, process, text};
use crate::operation::Kind;

/// The repair.
pub const REMEDY: Remedy = Remedy {
    name: "max-map-count",
    about: "enough memory maps for Elasticsearch, now and after each boot",
    codes: &[Code::MaxMapCountLow],
    takes: Takes::Nothing,
    // Nothing is lost by it, and Elasticsearch is down. While it runs a person may decide.
    unattended: |finding| finding.severity == Severity::Error,
    settles: Duration::from_secs(30),
    otherwise: &["diagnose elasticsearch", "logs elasticsearch -n 50"],
    plan: |job| -> Planning { Box::pin(plan(job)) },
};

/// The kernel's name for it.
const NAME: &str = "vm.max_map_count";

const TEXT: &str = "\
# Written by `ooy fix max-map-count`: Elasticsearch needs so many memory maps.
# Taken over at each boot. To take it back, remove this file.
";

fn content() -> String {
    format!("{TEXT}{NAME} = {WANTED}\n")
}

async fn plan(job: Rc<Job>) -> Result<Plan, Refusal> {
    let now = sysctl::max_map_count().map_err(|error| refused(&job, "/proc/sys", &error))?;
    let kept = std::fs::read_to_string(OURS).is_ok_and(|text| text == content());
    let later = sysctl_files::lower_later(Path::new("/"), Path::new(OURS), NAME, WANTED)
        .map_err(|error| refused(&job, "/etc/sysctl.d", &error))?;
    // Those of packages are not ours to change, and not a person's.
    let (own, others): (Vec<Line>, Vec<Line>) = later
        .into_iter()
        .partition(|line| line.path.starts_with("/etc"));
    let services = waiting(&job).await;
    let mut steps = Vec::new();
    let mut touches = Vec::new();
    if now < WANTED {
        steps.push(format!("set {NAME} from {now} to {WANTED}"));
        touches.push(NAME.to_owned());
    }
    if !kept {
        steps.push(format!("write {OURS}, so that it stays so after a boot"));
        touches.push(OURS.to_owned());
    }
    for line in &own {
        let path = line.path.display();
        steps.push(format!(
            "raise it in {path} as well (line {}: {}), which is read later; a copy of the file stays beside it",
            line.number, line.value
        ));
        touches.push(path.to_string());
    }
    if !services.is_empty() {
        let names: Vec<&str> = services.iter().map(String::as_str).collect();
        steps.push(format!("see to it that these run: {}", names.join(", ")));
        touches.extend(services.iter().cloned());
    }
    if steps.is_empty() {
        return Err(Refusal::Nothing("nothing to fix".to_owned()));
    }
    if !process::is_root() {
        let error = io::Error::from(io::ErrorKind::PermissionDenied);
        return Err(refused(&job, "/proc/sys/vm/max_map_count", &error).into());
    }
    Ok(Plan {
        steps,
        meanwhile: "what runs goes on".to_owned(),
        touches,
        act: Box::pin(async move {
            set(&job, now, &own)?;
            if !services.is_empty() {
                start(&job, &services).await?;
            }
            seen(&job, &others).await.map_err(|fault| vec![*fault])
        }),
    })
}

/// Elasticsearch where it ended because of this, and what needs it.
async fn waiting(job: &Job) -> BTreeSet<String> {
    let needed = job.resumes
        || job
            .findings
            .iter()
            .any(|finding| finding.severity == Severity::Error);
    // Without usable settings nothing can be started.
    if !needed || !job.wrong_settings.is_empty() {
        return BTreeSet::new();
    }
    let graph = &job.context.stack.graph;
    let scene = job.look();
    let mut found = BTreeSet::new();
    let mut down = false;
    for name in std::iter::once("elasticsearch").chain(graph.dependants("elasticsearch")) {
        // A service that a person has stopped (policy `no`) stays so. One that runs may be about
        // to end: without Elasticsearch the indexer does so every few seconds.
        if let Ok(Some(container)) = scene.container(name).await
            && container.restart != "no"
        {
            down |= container.state != State::Running;
            found.insert(name.to_owned());
        }
    }
    if !down {
        found.clear();
    }
    found
}

fn set(job: &Job, now: u64, own: &[Line]) -> Result<(), Vec<Fault>> {
    let reporter = &job.context.reporter;
    // In the journal before anything is done: cut off after the first half, the next run has to
    // know that there is a second.
    reporter.tell("kernel", Kind::Started, None, format!("setting {NAME}"));
    if now < WANTED {
        sysctl::write(NAME, &WANTED.to_string())
            .map_err(|error| vec![*refused(job, "/proc/sys/vm/max_map_count", &error)])?;
        let detail = format!("{NAME} is {WANTED} now");
        reporter.tell("kernel", Kind::Done, None, detail);
    }
    let folder = Path::new(OURS).parent().unwrap_or(Path::new("/etc"));
    std::fs::create_dir_all(folder)
        .and_then(|()| files::write_if_changed(Path::new(OURS), content().as_bytes(), 0o644))
        .map_err(|error| vec![*refused(job, OURS, &error)])?;
    let stamp = Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string();
    let mut paths: Vec<&Path> = own.iter().map(|line| line.path.as_path()).collect();
    paths.dedup();
    for path in paths {
        let shown = path.display().to_string();
        let copy = sysctl_files::raise(path, own, WANTED, &stamp)
            .map_err(|error| vec![*refused(job, &shown, &error)])?;
        let detail = format!("raised in {shown}; before: {}", copy.display());
        reporter.tell("boot", Kind::Done, None, detail);
    }
    let detail = format!("{OURS}: it stays so after a boot");
    reporter.tell("boot", Kind::Done, None, detail);
    Ok(())
}

async fn start(job: &Job, names: &BTreeSet<String>) -> Result<(), Vec<Fault>> {
    // Docker lets one that fails again and again wait for up to a minute.
    let scene = job.look();
    let mut looping = BTreeSet::new();
    for name in names {
        if let Ok(Some(container)) = scene.container(name).await
            && container.state == State::Restarting
        {
            looping.insert(name.clone());
        }
    }
    if !looping.is_empty() {
        services::stop(job, &looping).await?;
    }
    services::start(job, names).await.map(drop)
}

/// What the kernel says and what Elasticsearch answers.
async fn seen(job: &Job, others: &[Line]) -> Result<String, Box<Fault>> {
    let now = sysctl::max_map_count().map_err(|error| refused(job, "/proc/sys", &error))?;
    let mut said = format!("{NAME} is {now}, after each boot too");
    if let Some(line) = others.first() {
        said = format!(
            "{NAME} is {now}, but {} (line {}) sets it to {} at each boot, later than {OURS}",
            line.path.display(),
            line.number,
            line.value
        );
    }
    if let Ok(health) = elasticsearch::health(&job.look()).await {
        said += &format!("; Elasticsearch answers: {health}");
    }
    Ok(said)
}

/// It may not be changed; who keeps us from it.
fn refused(job: &Job, what: &str, error: &io::Error) -> Box<Fault> {
    let fault = Fault::problem(
        format!("{NAME}: cannot be changed"),
        match error.kind() {
            io::ErrorKind::ReadOnlyFilesystem => {
                "it is shown read-only here: ooy runs in a container or another sandbox, and the \
                 host's own kernel settings are changed on the host"
            }
            io::ErrorKind::PermissionDenied if process::is_root() => {
                "root may not change it here: ooy runs in a container or another sandbox without \
                 that right"
            }
            io::ErrorKind::PermissionDenied => "only root may change it",
            _ => "the kernel or the file system refused it",
        },
    )
    .evidence(format!("{what}: {error}"))
    .evidence(format!("user {}", text::sanitize(&process::user_name())))
    .why("Elasticsearch does not start, or fails under load, with fewer memory maps");
    let fault = if process::is_root() {
        fault.next(format!("sysctl -w {NAME}={WANTED}    (on the host)"))
    } else {
        fault.next(format!("sudo {}", job.again))
    };
    Box::new(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_one_that_sysctl_reads() {
        let text = content();
        let set: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(set, ["vm.max_map_count = 262144"]);
    }
}
