//! What is checked before anything is started: all faults in one run, and nothing half done.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::observe::{Action, Observed, withdraw};
use super::surroundings::{Migrations, Underway};
use super::{Context, loaded};
use crate::engine::containers::State;
use crate::engine::{Engine, Error};
use crate::fault::{Fault, Result};
use crate::host::{certs, disk, ports, sysctl};
use crate::operation::Kind;

/// Checks what the plan needs; where it changes nothing there is nothing to check. Pulls images
/// that are missing, after everything else was found right. `create` is called when all of this
/// host is as it has to be. Answers what the databases have migrated.
pub async fn run(
    context: &Context,
    observed: &mut Observed,
    dry_run: bool,
    create: impl AsyncFnOnce(&Observed) -> Result<()>,
) -> std::result::Result<Migrations, Vec<Fault>> {
    if observed.changes().next().is_none() {
        return Ok(Migrations::new());
    }
    let began = Instant::now();
    context.reporter.tell("preflight", Kind::Started, None, "");
    let mut seen = vec![
        format!("Engine {}", observed.engine.version),
        format!("compose {}", observed.compose.version),
        "settings".to_owned(),
    ];
    let mut faults = certificates(context, observed);
    match ports(context, observed) {
        Ok(text) => seen.extend(text),
        Err(found) => faults.extend(found),
    }
    match room(context) {
        Ok(text) => seen.push(text),
        Err(fault) => faults.push(*fault),
    }
    if let Some(text) = map_count(context, observed) {
        seen.push(text);
    }
    let missing = missing_images(observed);
    if faults.is_empty() && !missing.is_empty() {
        if dry_run {
            for image in &missing {
                context
                    .reporter
                    .tell("pull", Kind::Planned, None, format!("pull {image}"));
            }
        } else {
            let again = context.command("start");
            faults.extend(pull(context, &observed.engine, &missing, &again).await);
            for image in missing {
                let id = observed.engine.image_id(&image).await.ok().flatten();
                observed.images.insert(image, id);
            }
        }
    }
    for line in loaded::changed(context, &into_force(context, observed)) {
        let reporter = &context.reporter;
        reporter.tell(
            "preflight",
            Kind::Progress,
            None,
            format!("warning: {line}"),
        );
    }
    if faults.is_empty() {
        let underway = observed.underway();
        if underway.is_none() && !dry_run {
            let project = context.settings.project();
            match observed.engine.ensure_network(project).await {
                Ok(made) => observed.made_network = made,
                Err(error) => return Err(vec![error.fault(&context.command("start"))]),
            }
        }
        let told = Told { began, seen };
        match data_services(context, observed, underway, dry_run, told, create).await {
            Ok(migrations) => return Ok(migrations),
            Err(found) => faults = found,
        }
    } else {
        let underway = observed.underway();
        withdraw(context, &observed.engine, underway, observed.made_network).await;
    }
    for fault in &faults {
        context
            .reporter
            .tell("preflight", Kind::Failed, None, fault.title.clone());
    }
    Err(faults)
}

/// What the preflight's line will say.
struct Told {
    began: Instant,
    seen: Vec<String>,
}

/// PostgreSQL and Redis, the last that is looked at. The containers are made meanwhile, since
/// both take time and nearly always all is right; if not, they are removed again.
async fn data_services(
    context: &Context,
    observed: &Observed,
    underway: Option<Underway>,
    dry_run: bool,
    told: Told,
    create: impl AsyncFnOnce(&Observed) -> Result<()>,
) -> std::result::Result<Migrations, Vec<Fault>> {
    let project = context.settings.project();
    let engine = &observed.engine;
    let Told { began, mut seen } = told;
    let look = async {
        let data = observed.data_services(underway, context).await;
        if data.faults.is_empty() {
            seen.extend(data.summary.iter().cloned());
            let took = Some(began.elapsed());
            context
                .reporter
                .tell("preflight", Kind::Done, took, seen.join(" · "));
        }
        data
    };
    let (data, created) = tokio::join!(look, create(observed));
    let mut faults = data.faults;
    if faults.is_empty() && created.is_ok() {
        return Ok(data.migrations);
    }
    if let Some(removal) = data.removal {
        // What is left of it is removed by the next start.
        let _ = removal.await;
    }
    if faults.is_empty() {
        return created
            .map(|()| data.migrations)
            .map_err(|fault| vec![*fault]);
    }
    // A complaint of compose may well come of the same, and is made again if it does not.
    if !dry_run && let Err(error) = undo(context, observed).await {
        faults.push(error.fault(&context.command("start")));
    }
    if observed.made_network {
        engine.remove_network(project).await;
        context
            .reporter
            .tell("network", Kind::Undone, None, "removed again");
    }
    Err(faults)
}

/// Removes the containers that were made for this start and never ran. Volumes stay: the next
/// start takes them.
async fn undo(context: &Context, observed: &Observed) -> std::result::Result<(), Error> {
    let mut removed = 0;
    for container in observed
        .engine
        .containers(context.settings.project())
        .await?
    {
        let ours = observed.plan.get(&container.service) == Some(&Action::Create);
        if ours && container.state == State::Created && !container.oneoff {
            observed.engine.remove(&container.id).await?;
            removed += 1;
        }
    }
    if removed > 0 {
        let noun = if removed == 1 {
            "container"
        } else {
            "containers"
        };
        let detail = format!("{removed} {noun} removed again");
        context.reporter.tell("create", Kind::Undone, None, detail);
    }
    Ok(())
}

/// A folder of our own under the system's temporary one, for files that only a check needs.
pub fn scratch_folder() -> Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt as _;
    let name = format!(
        "ooy-{}-{}",
        std::process::id(),
        jiff::Timestamp::now().as_nanosecond()
    );
    let folder = std::env::temp_dir().join(name);
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(&folder)
        .map_err(|error| {
            Box::new(
                Fault::problem(
                    format!("{}: cannot be made", folder.display()),
                    "no room or no permission for a temporary folder",
                )
                .evidence(error.to_string())
                .why("the files to be checked have to lie somewhere")
                .next("df -h /tmp"),
            )
        })?;
    Ok(folder)
}

/// nginx starts only with certificates that it can use.
fn certificates(context: &Context, observed: &Observed) -> Vec<Fault> {
    if !will_start(observed, "nginx") {
        return Vec::new();
    }
    certificate_faults(context, false)
}

/// What is wrong with the three certificates; with `warnings`, what only will be or might matter.
pub fn certificate_faults(context: &Context, warnings: bool) -> Vec<Fault> {
    let settings = &context.settings;
    let make = context.command("init --self-signed");
    let now = jiff::Timestamp::now();
    [
        ("rapidpro", "RAPIDPRO_DOMAIN", false),
        ("casepro", "CASEPRO_DOMAIN", true),
        ("contentrepo", "CONTENTREPO_DOMAIN", false),
    ]
    .into_iter()
    .flat_map(|(name, setting, wildcard)| {
        let (cert, key) = pair(&settings.places.ssl, name);
        certs::inspect(&cert, &key, settings.get(setting), wildcard, now).problems
    })
    .filter(|problem| (problem.severity() == certs::Severity::Warning) == warnings)
    .map(|problem| match problem.trouble {
        // The shortest way, where nothing is there yet.
        certs::CertTrouble::Missing(_) => problem.fault().next(make.clone()),
        _ => problem.fault(),
    })
    .collect()
}

/// Where the certificate and the key of a host lie.
pub fn pair(ssl: &Path, name: &str) -> (PathBuf, PathBuf) {
    (
        ssl.join(format!("{name}.crt")),
        ssl.join(format!("{name}.key")),
    )
}

/// Whether a service that is not running now will be started.
fn will_start(observed: &Observed, name: &str) -> bool {
    matches!(
        observed.plan.get(name),
        Some(Action::Start | Action::Create | Action::Recreate)
    )
}

fn ports(
    context: &Context,
    observed: &Observed,
) -> std::result::Result<Option<String>, Vec<Fault>> {
    if !will_start(observed, "nginx") {
        return Ok(None);
    }
    let settings = &context.settings;
    let names = ["HTTP_PORT", "HTTPS_PORT"];
    let faults: Vec<Fault> = names
        .iter()
        .filter_map(|setting| {
            let port = u16::try_from(settings.number(setting)).ok()?;
            let listener = ports::listener(port)?;
            let (who, stop) = match (&listener.process, listener.pid) {
                (Some(process), Some(pid)) => (
                    format!("{process}, process {pid}"),
                    format!("ps -o pid,user,etime,args -p {pid}"),
                ),
                _ => (
                    format!("a process of user {}", listener.uid),
                    format!("sudo ss -ltnp 'sport = :{port}'"),
                ),
            };
            Some(
                Fault::problem(
                    format!("port {port}: taken"),
                    format!(
                        "another program listens on port {port}, which nginx needs ({setting})"
                    ),
                )
                .evidence(format!("{}:{port} is held by {who}", listener.address))
                .why("nginx cannot start without it, and no page would open")
                .next(stop)
                .next(context.command("start")),
            )
        })
        .collect();
    if faults.is_empty() {
        Ok(Some(format!(
            "ports {}",
            names.map(|name| settings.get(name)).join(" ")
        )))
    } else {
        Err(faults)
    }
}

/// Room where Docker keeps containers and where our state lies.
fn room(context: &Context) -> Result<String> {
    let reserve = context.settings.megabytes("DISK_RESERVE_MB");
    let mut least: Option<disk::Space> = None;
    for place in [Path::new("/var/lib/docker"), &context.settings.places.state] {
        // A file system that cannot be asked is not the reason to refuse a start.
        let Ok(space) = disk::space(place) else {
            continue;
        };
        if least
            .as_ref()
            .is_none_or(|least| space.available < least.available)
        {
            least = Some(space);
        }
    }
    let Some(space) = least else {
        return Ok("disk unknown".to_owned());
    };
    if space.available < reserve {
        return Err(Box::new(
            Fault::problem(
                format!("disk: only {} free", disk::human(space.available)),
                format!(
                    "there is less room than the reserve of {} (DISK_RESERVE_MB)",
                    disk::human(reserve)
                ),
            )
            .evidence(format!(
                "{} on {}: {} % used, {} of {} free",
                space.device,
                space.mount_point.display(),
                space.used_percent,
                disk::human(space.available),
                disk::human(space.total)
            ))
            .why("PostgreSQL and Elasticsearch stop writing on a full disk, and data can be lost")
            .next("sudo du -xhd1 /var/lib/docker /var/lib/postgresql | sort -h | tail")
            .next("docker image prune --all")
            .next(context.command("start")),
        ));
    }
    Ok(format!("disk {} free", disk::human(space.available)))
}

/// A warning only: with one node Elasticsearch starts with less, and fails later under load.
fn map_count(context: &Context, observed: &Observed) -> Option<String> {
    if !will_start(observed, "elasticsearch") {
        return None;
    }
    let count = sysctl::max_map_count().ok()?;
    let wanted = sysctl::MAX_MAP_COUNT_WANTED;
    if count >= wanted {
        return Some(format!("vm.max_map_count {count}"));
    }
    context.reporter.tell(
        "preflight",
        Kind::Progress,
        None,
        format!(
            "warning: vm.max_map_count is {count}, Elasticsearch wants {wanted}: \
             sudo sysctl -w vm.max_map_count={wanted}"
        ),
    );
    None
}

/// The images that containers will be made of. Once they are, what was told is known.
fn into_force(context: &Context, observed: &Observed) -> BTreeMap<String, Option<String>> {
    let made = observed
        .changes()
        .filter(|(_, action)| !matches!(action, Action::Start | Action::Unpause));
    made.filter_map(|(name, _)| {
        let image = &context.stack.service(name)?.image;
        Some((image.clone(), observed.images.get(image)?.clone()))
    })
    .collect()
}

fn missing_images(observed: &Observed) -> BTreeSet<String> {
    observed
        .images
        .iter()
        .filter(|(_, id)| id.is_none())
        .map(|(reference, _)| reference.clone())
        .collect()
}

/// Pulls all at the same time; what cannot be pulled is a fault each. `again` is the command to
/// repeat.
pub async fn pull(
    context: &Context,
    engine: &Engine,
    images: &BTreeSet<String>,
    again: &str,
) -> Vec<Fault> {
    let began = Instant::now();
    context.reporter.tell(
        "pull",
        Kind::Started,
        None,
        format!("{} to pull", images.len()),
    );
    let results = join_all(images.iter().map(|image| async move {
        let mut told = Instant::now() - Duration::from_secs(1);
        let pulled = engine
            .pull(image, |progress| {
                if told.elapsed() >= Duration::from_millis(500) {
                    told = Instant::now();
                    let (done, total) = (disk::human(progress.done), disk::human(progress.total));
                    context.reporter.tell(
                        "pull",
                        Kind::Progress,
                        Some(began.elapsed()),
                        format!("{image}  {done} of {total}"),
                    );
                }
            })
            .await;
        match pulled {
            Ok(()) => {
                loaded::forget(&context.settings.places.state, image);
                context
                    .reporter
                    .tell("pull", Kind::Ready, Some(began.elapsed()), image.clone());
                None
            }
            Err(error) => Some(not_pulled(context, image, &error, again)),
        }
    }))
    .await;
    results.into_iter().flatten().collect()
}

fn not_pulled(context: &Context, image: &str, error: &Error, again: &str) -> Fault {
    let answer = match error {
        Error::Refused { message, .. } | Error::NotFound(message) | Error::Broken(message) => {
            message.clone()
        }
        other => return other.fault(again),
    };
    let unreachable = [
        "dial tcp",
        "no such host",
        "timeout",
        "Client.Timeout",
        "connection refused",
        "i/o timeout",
    ]
    .iter()
    .any(|sign| answer.contains(sign));
    let setting = crate::deployment::keys::KEYS
        .iter()
        .find(|key| {
            key.kind == crate::deployment::keys::Kind::Image
                && context.settings.get(key.name) == image
        })
        .map_or("the image", |key| key.name);
    let fault = if unreachable {
        Fault::problem(
            format!("image {image}: its registry cannot be reached"),
            "the image is not on this host, and the registry it comes from does not answer",
        )
        .next(format!("docker pull {image}"))
        .next(format!(
            "{}    (a package, made by ooy images save where the registry answers)",
            context.command("images load FILE")
        ))
    } else {
        Fault::problem(
            format!("image {image}: does not exist"),
            "the image is not on this host, and its registry has none of that name and tag, or only with a login",
        )
        .next(format!("docker pull {image}"))
        .next(format!("nano {}    ({setting})", context.settings.places.env_file.display()))
    };
    fault
        .evidence(format!("Docker: {}", context.mask.apply(&answer)))
        .why("its services cannot be made; nothing was started")
        .next(again)
}
