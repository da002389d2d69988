//! What an upgrade would do, looked at before anybody is asked. Changes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use super::catalogue::{App, Catalogue, Change};
use super::path::{self, Leg};
use super::prepare::{self, imagined, name_of_copy};
use super::procedure;
use super::state::{self, State, Step};
use crate::backup::{Store, forecast, prepare as backups};
use crate::deployment::of_versions;
use crate::deployment::version::{Version, retag};
use crate::engine::Engine;
use crate::fault::{Fault, Result};
use crate::host::disk;
use crate::lifecycle::{Context, loaded, status};

/// What was asked for.
#[derive(Debug, Clone)]
pub struct Wishes {
    /// What is upgraded.
    pub app: App,
    /// To which version; without, the newest that is known to work.
    pub to: Option<Version>,
    /// Tags given by hand, by service.
    pub tags: BTreeMap<String, String>,
    /// A person sees to it if it fails.
    pub no_rollback: bool,
    /// The wiki's sequence.
    pub wiki_order: bool,
}

/// What is going to be done.
pub struct Plan {
    /// What will be noted before anything is done.
    pub state: State,
    /// What a person wants to know of each leg.
    pub legs: Vec<About>,
    /// Images that are not on this host.
    pub pulls: Vec<String>,
    /// Bytes that they take, as far as can be foreseen.
    pub pull_bytes: u64,
    /// Bytes that may be written to Docker's disk.
    pub free: u64,
    /// Bytes of the database.
    pub database_bytes: u64,
    /// Bytes of its backup, as far as can be foreseen.
    pub backup_bytes: u64,
    /// The server's version, for people.
    pub server: String,
    /// For how long the web was closed and courier away in the last upgrade of it, a leg.
    pub last: Option<(Duration, Duration)>,
    /// What is not certain.
    pub warnings: Vec<String>,
}

/// A leg, for people.
pub struct About {
    /// Migrations that are new in it, where that is known.
    pub migrations: Option<u32>,
    /// By service: its tag before and after.
    pub tags: Vec<(String, String, String)>,
    /// Settings of containers: added (`true`) or gone, secrets masked.
    pub changes: Vec<(bool, String)>,
    /// What else a person should know.
    pub notes: Vec<String>,
}

/// Looks at everything.
pub async fn plan(context: &Context, wishes: &Wishes, again: &str) -> Result<Plan, Vec<Fault>> {
    let one = |fault: Box<Fault>| vec![*fault];
    nothing_unfinished(context).map_err(one)?;
    let catalogue = Catalogue::embedded().map_err(one)?;
    let from = running(context, wishes.app).map_err(one)?;
    let owner = procedure::of(wishes.app).owner;
    let database = crate::backup::target::of(context, owner).map_err(one)?;
    let about = backups::reach(&database).await.map_err(one)?;
    let command = |rest: &str| context.command(rest);
    let mut warnings = Vec::new();
    let chosen = path::path(
        &catalogue,
        wishes.app,
        from,
        wishes.to,
        Some(about.version.number),
    );
    let (steps, abouts) = match chosen {
        Ok(legs) => of_legs(context, wishes, &legs, &mut warnings),
        Err(refusal) => match by_hand(context, wishes, from, &mut warnings) {
            Some(found) => found,
            None => return Err(vec![refusal.fault(wishes.app, command)]),
        },
    };
    let services = running_services(context, wishes.app, again)
        .await
        .map_err(one)?;
    let name = database.url.database();
    let state = State {
        services,
        no_rollback: wishes.no_rollback,
        wiki_order: wishes.wiki_order,
        ..State::begin(wishes.app, steps, name, name_of_copy(name))
    };
    let store = Store::of(&context.settings);
    let all = store.own().map_err(|error| one(store.unreadable(&error)))?;
    let last = state::last(&context.settings.places.state, wishes.app);
    let mut plan = Plan {
        state,
        legs: abouts,
        pulls: Vec::new(),
        pull_bytes: 0,
        free: 0,
        database_bytes: about.bytes,
        backup_bytes: forecast(owner, about.bytes, &all),
        server: about.version.words.clone(),
        last: last.ok().flatten().map(|last| last.down()),
        warnings,
    };
    look_at_images(context, &mut plan, again)
        .await
        .map_err(one)?;
    let mut faults = Vec::new();
    for fault in [
        values_of_a_person(context, &catalogue, &plan, again),
        room_for_images(context, &plan),
        prepare::room(context, owner).await,
        prepare::usable(&database).await,
    ] {
        faults.extend(fault.err().map(|fault| *fault));
    }
    if faults.is_empty() {
        Ok(plan)
    } else {
        Err(faults)
    }
}

/// The legs to a version, told from the settings and the catalogue alone: PostgreSQL is not asked, as
/// it need not be reached from where their images are fetched.
pub fn legs(context: &Context, app: App, to: Option<Version>) -> Result<Vec<Step>> {
    let catalogue = Catalogue::embedded()?;
    let from = running(context, app)?;
    let legs = path::path(&catalogue, app, from, to, None)
        .map_err(|refusal| Box::new(refusal.fault(app, |rest| context.command(rest))))?;
    let wishes = Wishes {
        app,
        to,
        tags: BTreeMap::new(),
        no_rollback: false,
        wiki_order: false,
    };
    Ok(of_legs(context, &wishes, &legs, &mut Vec::new()).0)
}

/// Whether nothing else was cut off.
pub fn nothing_unfinished(context: &Context) -> Result<()> {
    let Ok(None) = state::read(&context.settings.places.state) else {
        return Err(Box::new(unfinished(context)));
    };
    Ok(())
}

/// One was cut off, and has to come to its end before anything else is begun.
pub fn unfinished(context: &Context) -> Fault {
    let (name, how_far) = match state::read(&context.settings.places.state) {
        Ok(Some(state)) => (state.name(), state.phase.words().to_owned()),
        Ok(None) => (
            "an upgrade".to_owned(),
            "it has ended this moment".to_owned(),
        ),
        Err(error) => ("an upgrade".to_owned(), format!("upgrade.json: {error}")),
    };
    Fault::problem(
        "upgrade: one was cut off in the middle",
        format!("{name} has begun and not come to its end"),
    )
    .evidence(how_far)
    .why("what is begun now could meet a database of one version and images of another")
    .next(context.command("resume"))
    .next(context.command("resume --undo"))
}

/// The version that is configured, by the tag of its image.
fn running(context: &Context, app: App) -> Result<Version> {
    let key = app.images()[0].setting;
    let image = context.settings.get(key);
    Version::of_image(image).ok_or_else(|| {
        Box::new(
            Fault::usage(
                format!("{}: which version runs cannot be told", app.label()),
                "the tag of its image is no version",
            )
            .evidence(format!("{key}={image}"))
            .why("which releases lie between it and the wanted one cannot be told")
            .next(format!(
                "nano {}    ({key})",
                context.settings.places.env_file.display()
            )),
        )
    })
}

/// The services of the application that run now, in the order in which they are stopped.
pub(super) async fn running_services(
    context: &Context,
    app: App,
    again: &str,
) -> Result<Vec<String>> {
    let services: Vec<&str> = procedure::of(app).services().collect();
    let running = status::running(context, &services, again).await?;
    let running = services.into_iter().filter(|name| running.contains(*name));
    Ok(running.map(str::to_owned).collect())
}

type Steps = (Vec<Step>, Vec<About>);

fn of_legs(context: &Context, wishes: &Wishes, legs: &[Leg], warnings: &mut Vec<String>) -> Steps {
    let mut steps: Vec<Step> = Vec::new();
    let mut abouts = Vec::new();
    for (index, leg) in legs.iter().enumerate() {
        let by_hand = (index + 1 == legs.len()).then_some(&wishes.tags);
        let tag = |service: &str| {
            by_hand
                .and_then(|tags| tags.get(service))
                .or_else(|| leg.to.tags.get(service))
                .cloned()
        };
        let step = step(
            context,
            wishes.app,
            &leg.from,
            &leg.to.version,
            steps.last(),
            tag,
        );
        for broken in leg.broken() {
            if tag(&broken.service).as_deref() == Some(broken.tag.as_str()) {
                warnings.push(format!("{}:{}: {}", broken.service, broken.tag, broken.why));
            }
        }
        abouts.push(about(
            context,
            wishes.app,
            leg.from,
            leg.to.version,
            &step,
            Some(leg),
        ));
        steps.push(step);
    }
    for (service, tag) in &wishes.tags {
        warnings.push(format!(
            "{service}: tag {tag} was given by hand, and is not checked"
        ));
    }
    (steps, abouts)
}

/// A version that is not known, with all its tags given by hand.
fn by_hand(
    context: &Context,
    wishes: &Wishes,
    from: Version,
    warnings: &mut Vec<String>,
) -> Option<Steps> {
    let to = wishes.to.filter(|to| *to > from)?;
    let others = &wishes.app.images()[1..];
    let given = others
        .iter()
        .all(|image| wishes.tags.contains_key(image.service));
    if !given || others.is_empty() {
        return None;
    }
    warnings.push(format!(
        "{} {to} is not in the catalogue, or no image of it: whether a release is skipped, and what it \
         needs, is not checked",
        wishes.app.label()
    ));
    let tag = |service: &str| {
        let tag = wishes.tags.get(service).cloned();
        tag.or_else(|| Some(format!("v{to}")))
    };
    let step = step(context, wishes.app, &from, &to, None, tag);
    let about = about(context, wishes.app, from, to, &step, None);
    Some((vec![step], vec![about]))
}

fn step(
    context: &Context,
    app: App,
    from: &Version,
    to: &Version,
    before: Option<&Step>,
    tag: impl Fn(&str) -> Option<String>,
) -> Step {
    let images = app.images().iter().filter_map(|image| {
        let key = image.setting;
        let earlier = before.and_then(|step| step.images.iter().find(|(name, ..)| name == key));
        let present = earlier.map_or(context.settings.get(key), |(_, _, to)| to.as_str());
        let wanted = retag(present, &tag(image.service)?);
        Some((key.to_owned(), present.to_owned(), wanted))
    });
    Step {
        from: from.to_string(),
        to: to.to_string(),
        images: images.collect(),
    }
}

fn tag_of(image: &str) -> String {
    let tag = image.rsplit(':').next().unwrap_or(image);
    tag.to_owned()
}

fn about(
    context: &Context,
    app: App,
    from: Version,
    to: Version,
    step: &Step,
    leg: Option<&Leg>,
) -> About {
    let services = app.images();
    let tags = step.images.iter().map(|(key, before, after)| {
        let service = services.iter().find(|image| image.setting == key);
        let service = service.map_or(key.as_str(), |image| image.service);
        (service.to_owned(), tag_of(before), tag_of(after))
    });
    let text = crate::deployment::embedded::text("compose.yaml").unwrap_or_default();
    let environment = context.settings.environment("");
    let changes = of_versions::changes(&text, services[0].setting, &from, &to);
    let mut changes: Vec<(bool, String)> = changes
        .into_iter()
        .map(|(added, line)| {
            let (name, value) = line.split_once(": ").unwrap_or((&line, ""));
            let value = environment
                .iter()
                .fold(value.to_owned(), |value, (name, put)| {
                    value.replace(&format!("${{{name}}}"), put)
                });
            let value = context.mask.apply(&value);
            (added, format!("{name}={}", value.trim_matches('"')))
        })
        .collect();
    changes.dedup();
    let mut notes: Vec<String> =
        leg.map_or(Vec::new(), |leg| leg.notes().map(str::to_owned).collect());
    notes.extend(leg.map_or(Vec::new(), |leg| no_longer_read(context, leg)));
    About {
        migrations: leg.and_then(Leg::migrations),
        tags: tags.collect(),
        changes,
        notes,
    }
}

/// What the operator's own additions set and the release does not read any more, or under another
/// name.
fn no_longer_read(context: &Context, leg: &Leg) -> Vec<String> {
    let file = &context.settings.places.compose_override;
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let stands =
        |name: &str| text.contains(&format!("{name}:")) || text.contains(&format!("{name}="));
    let told = leg.settings().filter_map(|setting| match &setting.change {
        Change::Drop(name) if stands(name) => Some(format!("{name}: {}", setting.from)),
        Change::Rename { old, new } if stands(old) => Some(format!("{old} is {new} now")),
        _ => None,
    });
    told.map(|line| format!("{line} (it stands in {})", file.display()))
        .collect()
}

async fn look_at_images(context: &Context, plan: &mut Plan, again: &str) -> Result<()> {
    let failed = |error: crate::engine::Error| Box::new(error.fault(again));
    let engine = Engine::connect().await.map_err(failed)?;
    let missing = prepare::missing(&engine, &plan.state.legs)
        .await
        .map_err(failed)?;
    for (image, before) in missing {
        // Nobody says how large one is before it is pulled; as large as the one before.
        plan.pull_bytes += engine.image_bytes(&before).await.unwrap_or_default();
        plan.pulls.push(image);
    }
    let mut here = BTreeMap::new();
    for (_, _, image) in plan.state.legs.iter().flat_map(|step| &step.images) {
        let id = engine.image_id(image).await.map_err(failed)?;
        here.insert(image.clone(), id);
    }
    plan.warnings.extend(loaded::changed(context, &here));
    let root = engine.root_folder().await.map_err(failed)?;
    plan.free = disk::space(&root).map_or(0, |space| space.available);
    Ok(())
}

fn room_for_images(context: &Context, plan: &Plan) -> Result<()> {
    let reserve = context.settings.megabytes("DISK_RESERVE_MB");
    if plan.pulls.is_empty() || plan.free >= plan.pull_bytes.saturating_add(reserve) {
        return Ok(());
    }
    let human = disk::human;
    Err(Box::new(
        Fault::problem(
            "upgrade: not enough room for its images",
            "Docker's disk would fall below its reserve",
        )
        .evidence(format!("about {} would be pulled", human(plan.pull_bytes)))
        .evidence(format!(
            "{} free, {} have to stay free (DISK_RESERVE_MB)",
            human(plan.free),
            human(reserve)
        ))
        .why("a full disk stops PostgreSQL, and with it every message; nothing was done")
        .next(context.command("fix disk-space"))
        .next("df -h /var/lib/docker"),
    ))
}

/// Values that a leg needs and only a person knows.
fn values_of_a_person(
    context: &Context,
    catalogue: &Catalogue,
    plan: &Plan,
    again: &str,
) -> Result<()> {
    let own = &context.settings.places.compose_override;
    let text = std::fs::read_to_string(own).unwrap_or_default();
    let (app, last) = (plan.state.app, plan.state.legs.last());
    let from = plan
        .state
        .legs
        .first()
        .and_then(|step| Version::parse(&step.from));
    let to = last.and_then(|step| Version::parse(&step.to));
    let passed = catalogue.app(app).iter().filter(|release| {
        Some(release.version) > from && to.is_none_or(|to| release.version <= to)
    });
    let missing: Vec<String> = passed
        .flat_map(|release| release.settings.iter().map(move |of| (release.version, of)))
        .filter(|(_, setting)| setting.ask)
        .filter_map(|(version, setting)| match &setting.change {
            Change::Add(name) | Change::Rename { new: name, .. } => Some((version, setting, name)),
            Change::Drop(_) => None,
        })
        .filter(|(_, _, name)| !text.contains(name.as_str()))
        .map(|(version, setting, name)| {
            format!(
                "{name} of {}, from {version} on: {}",
                setting.service, setting.from
            )
        })
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut fault = Fault::usage(
        format!("{}: settings are missing", plan.state.app.label()),
        "the new version needs values that only a person knows",
    );
    for line in missing {
        fault = fault.evidence(line);
    }
    Err(Box::new(
        fault
            .why("without them it would start and not work; nothing was done")
            .next(format!(
                "nano {}    (environment of its services)",
                own.display()
            ))
            .next(again.to_owned()),
    ))
}

/// The deployment as the last leg would leave it: what cannot even be written is found now.
pub fn is_possible(context: &Context, plan: &Plan) -> Result<()> {
    for step in &plan.state.legs {
        imagined(context, step)?;
    }
    Ok(())
}
