//! What is there, and what has to be done to each service: the plan, without doing anything.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;

use super::Context;
use super::surroundings::{Inquiry, Seen, Underway};
use crate::deployment::render::NO_ENV;
use crate::engine::compose::{self, Compose};
use crate::engine::containers::{Container, State};
use crate::engine::{self, Engine};
use crate::fault::{Fault, Result};

/// What has to be done to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It runs as configured.
    Keep,
    /// It is there, as configured, and not running.
    Start,
    /// It is frozen.
    Unpause,
    /// It is not there.
    Create,
    /// It is not running and differs from its configuration.
    Recreate,
    /// It runs and differs from its configuration.
    Replace,
}

impl Action {
    /// What it is called in a plan.
    pub fn word(self) -> &'static str {
        match self {
            Action::Keep => "unchanged",
            Action::Start => "start",
            Action::Unpause => "unpause",
            Action::Create => "create and start",
            Action::Recreate => "make anew and start",
            Action::Replace => "replace the running container (its configuration or image changed)",
        }
    }
}

/// The deployment as it is now.
pub struct Observed {
    /// Docker.
    pub engine: Engine,
    /// compose, for this deployment.
    pub compose: Compose,
    /// The container of each service that has one.
    pub containers: BTreeMap<String, Container>,
    /// Id of each image on this host, by its reference.
    pub images: BTreeMap<String, Option<String>>,
    /// What has to be done, for the chosen services.
    pub plan: BTreeMap<String, Action>,
    /// Whether the deployment's network was made for it.
    pub made_network: bool,
    /// PostgreSQL and Redis, asked already where nothing runs and so all of it will be started.
    underway: Option<Underway>,
}

impl Observed {
    /// Looks at Docker and compares with the configuration. Writes only the rendered files, which
    /// compose reads; `folder` is where.
    pub async fn new(
        context: &Context,
        chosen: &BTreeSet<String>,
        folder: &std::path::Path,
        may_change: bool,
    ) -> Result<Self> {
        let settings = &context.settings;
        context.rendered.write(folder)?;
        let references: BTreeSet<&str> = chosen
            .iter()
            .filter_map(|name| context.stack.service(name))
            .map(|service| service.image.as_str())
            .collect();
        let look = async {
            let engine = Engine::connect().await?;
            let containers = engine.containers(settings.project());
            let images = try_join_all(references.iter().map(|reference| {
                let engine = engine.clone();
                async move {
                    Ok::<_, engine::Error>((
                        (*reference).to_owned(),
                        engine.image_id(reference).await?,
                    ))
                }
            }));
            let (containers, images) = tokio::try_join!(containers, images)?;
            let images: BTreeMap<String, Option<String>> = images.into_iter().collect();
            let containers = by_service(containers);
            let idle = !containers.values().any(Container::is_running);
            let early = may_change && idle && images.values().any(Option::is_some);
            // Before anything else could make it: two of the same name are possible.
            let made = early && engine.ensure_network(settings.project()).await?;
            let underway = early.then(|| {
                let inquiry = inquiry(context, &engine, &images, chosen.clone());
                tokio::task::spawn_local(inquiry.make())
            });
            Ok::<_, engine::Error>((engine, containers, images, underway, made))
        };
        let configured = Compose::find_and_hash(for_compose(context, folder));
        let (look, configured) = tokio::join!(look, configured);
        // Without Docker the other answer is worth nothing.
        let (engine, containers, images, underway, made_network) =
            look.map_err(|error| error.fault(&context.command("start")))?;
        let answered = configured.and_then(|(compose, hashes)| {
            compose_answer(context, hashes).map(|hashes| (compose, hashes))
        });
        let (compose, hashes) = match answered {
            Ok(answer) => answer,
            Err(fault) => {
                withdraw(context, &engine, underway, made_network).await;
                return Err(fault);
            }
        };
        let plan = chosen
            .iter()
            .filter_map(|name| {
                let service = context.stack.service(name)?;
                let image = images.get(&service.image).and_then(Option::as_deref);
                let hash = hashes.get(name).map(String::as_str);
                Some((name.clone(), action(containers.get(name), image, hash)))
            })
            .collect();
        Ok(Self {
            engine,
            compose,
            containers,
            images,
            plan,
            made_network,
            underway,
        })
    }

    /// What an operation has made itself: what does not run is to be started. `None`: not all is there.
    pub async fn made(context: &Context, chosen: &BTreeSet<String>) -> Result<Option<Self>> {
        let again = context.command("start");
        let look = async {
            let engine = Engine::connect().await?;
            let containers = engine.containers(context.settings.project()).await?;
            Ok::<_, engine::Error>((engine, by_service(containers)))
        };
        let (engine, containers) = look.await.map_err(|error| error.fault(&again))?;
        let mut plan = BTreeMap::new();
        for name in chosen {
            let action = match containers.get(name).map(|container| container.state) {
                Some(State::Running | State::Restarting) => Action::Keep,
                Some(State::Paused) => Action::Unpause,
                Some(_) => Action::Start,
                None => return Ok(None),
            };
            plan.insert(name.clone(), action);
        }
        Ok(Some(Self {
            engine,
            // Nothing is made.
            compose: Compose::usual(),
            containers,
            images: BTreeMap::new(),
            plan,
            made_network: false,
            underway: None,
        }))
    }

    /// Brings what is there up as it is: configuration and images that were changed since are put
    /// into force by a person's `ooy start`, not by the next boot of the host.
    pub fn as_it_is(&mut self) {
        for (name, action) in &mut self.plan {
            let state = self.containers.get(name).map(|container| container.state);
            *action = match (*action, state) {
                (Action::Replace, Some(State::Paused)) => Action::Unpause,
                (Action::Replace, _) => Action::Keep,
                (Action::Recreate, Some(State::Exited | State::Created)) => Action::Start,
                (action, _) => action,
            };
        }
    }

    /// PostgreSQL and Redis as the services that will be started will see them.
    pub async fn data_services(&self, underway: Option<Underway>, context: &Context) -> Seen {
        // One that was lost is made again.
        if let Some(underway) = underway
            && let Ok(seen) = underway.await
        {
            return seen;
        }
        let services = self.changes().map(|(name, _)| name.to_owned()).collect();
        inquiry(context, &self.engine, &self.images, services)
            .make()
            .await
    }

    /// What is being asked already.
    pub fn underway(&mut self) -> Option<Underway> {
        self.underway.take()
    }

    /// The containers as they are now, after some were made; the plan stays.
    pub async fn look_again(&mut self, context: &Context) -> Result<()> {
        let project = context.settings.project();
        let containers = self.engine.containers(project).await;
        let again = context.command("start");
        self.containers = by_service(containers.map_err(|error| error.fault(&again))?);
        Ok(())
    }

    /// The services to which something has to be done.
    pub fn changes(&self) -> impl Iterator<Item = (&str, Action)> {
        self.plan
            .iter()
            .map(|(name, action)| (name.as_str(), *action))
            .filter(|(_, action)| *action != Action::Keep)
    }
}

fn inquiry(
    context: &Context,
    engine: &Engine,
    images: &BTreeMap<String, Option<String>>,
    services: BTreeSet<String>,
) -> Inquiry {
    Inquiry {
        context: context.clone(),
        engine: engine.clone(),
        image: images.values().flatten().next().cloned(),
        services,
    }
}

/// Lets what is being asked come to its end, and removes what was made for it.
pub async fn withdraw(
    context: &Context,
    engine: &Engine,
    underway: Option<Underway>,
    made_network: bool,
) {
    if let Some(underway) = underway
        && let Ok(Seen {
            removal: Some(removal),
            ..
        }) = underway.await
    {
        // What is left of it is removed by the next start.
        let _ = removal.await;
    }
    if made_network {
        engine.remove_network(context.settings.project()).await;
    }
}

/// What compose is called for; the rendered files lie in `folder`.
pub fn for_compose(context: &Context, folder: &std::path::Path) -> compose::Deployment {
    let settings = &context.settings;
    let mut files = vec![folder.join("compose.yaml")];
    let own = &settings.places.compose_override;
    if own.exists() {
        files.push(own.clone());
    }
    compose::Deployment {
        project: settings.project().to_owned(),
        folder: settings.places.own_folder(),
        files,
        no_env: folder.join(NO_ENV),
        environment: settings.environment(&context.rendered.nginx_digest),
    }
}

/// The answer of a compose command, or its complaint as a fault; secrets are masked.
pub fn compose_answer<T>(
    context: &Context,
    answer: std::io::Result<std::result::Result<T, String>>,
) -> Result<T> {
    let complaint = match answer {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(text)) => text,
        Err(error) => error.to_string(),
    };
    let mut fault = Fault::problem(
        "compose: refused",
        "compose did not accept the deployment's files or could not do its work",
    )
    .why("the containers are made by compose; nothing was started")
    .next(context.command("config --check"));
    let own = &context.settings.places.compose_override;
    if own.exists() {
        fault = fault.next(format!("nano {}", own.display()));
    }
    fault.evidence = context
        .mask
        .apply(&complaint)
        .lines()
        .filter(|line| !line.trim().is_empty())
        .rev()
        .take(5)
        .map(str::to_owned)
        .collect::<Vec<_>>();
    fault.evidence.reverse();
    Err(Box::new(fault))
}

/// One container a service: of several (scaled, or left by an interrupted replacement) the one
/// that runs, else the newest name.
fn by_service(containers: Vec<Container>) -> BTreeMap<String, Container> {
    let mut services: BTreeMap<String, Container> = BTreeMap::new();
    for container in containers.into_iter().filter(|container| !container.oneoff) {
        match services.get(&container.service) {
            Some(present) if present.is_running() => {}
            _ => {
                services.insert(container.service.clone(), container);
            }
        }
    }
    services
}

fn action(container: Option<&Container>, image: Option<&str>, hash: Option<&str>) -> Action {
    let Some(container) = container else {
        return Action::Create;
    };
    // An image that is not here is pulled first, and what it brings is not known yet; a running
    // container of that name is kept, as compose keeps it.
    let same = hash.is_none_or(|hash| hash == container.config_hash)
        && image.is_none_or(|image| image == container.image_id);
    match (container.state, same) {
        (State::Running | State::Restarting, true) => Action::Keep,
        (State::Running | State::Restarting, false) => Action::Replace,
        (State::Paused, true) => Action::Unpause,
        (State::Paused, false) => Action::Replace,
        (State::Exited | State::Created, true) => Action::Start,
        _ => Action::Recreate,
    }
}
