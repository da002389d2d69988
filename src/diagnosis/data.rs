//! PostgreSQL and Redis, asked once for all checks: from this host and, at the same time, from the
//! network of the containers. pg_hba rules, listen addresses and firewalls treat the two
//! differently, and what the services get is what counts.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::check::Halt;
use super::code::Code;
use super::scene::Scene;
use crate::deployment::settings::{Database, RedisDatabase};
use crate::engine::containers::Container;
use crate::host::netns::Network;
use crate::lifecycle::surroundings::{Answers, Questions, from_container, from_network};

/// What was asked and what was answered; all in the order of the databases.
pub struct Look {
    /// The PostgreSQL databases whose settings can be read.
    pub databases: Vec<Database>,
    /// The Redis databases whose settings can be read.
    pub redis: Vec<RedisDatabase>,
    /// As seen from this host.
    pub here: Answers,
    /// As seen from the containers' network, or why nobody could look from there.
    pub there: Result<There, Halt>,
}

/// The look from the containers' network.
pub struct There {
    /// What was answered.
    pub answers: Answers,
    /// From where, in words.
    pub from: String,
    /// What a person puts before a command to have it run there; nothing where no container runs.
    pub enter: Option<String>,
}

/// Looks.
pub async fn look(scene: &Scene) -> Look {
    let settings = &scene.context.settings;
    let databases = settings.databases();
    let redis = settings.redis_databases();
    let ask = |deadline| Questions::new(settings, &databases, &redis, deadline);
    let here = async {
        let limit = scene.time_left();
        let questions = Questions::new(settings, &[], &redis, limit);
        let visits = join_all(databases.iter().map(|database| scene.visit(database)));
        let (visits, answers) = tokio::join!(visits, questions.ask(|_| None));
        let reports = visits.into_iter().flatten();
        Answers {
            databases: reports.map(|(report, _)| report.clone()).collect(),
            ..answers
        }
    };
    let there = async {
        let limit = scene.time_left();
        tokio::time::timeout(limit, from_there(scene, &ask))
            .await
            .unwrap_or_else(|_| {
                Err(Halt::unknown(
                    "the containers' network gave no answer in time",
                ))
            })
    };
    let (here, there) = tokio::join!(here, there);
    Look {
        databases,
        redis,
        here,
        there,
    }
}

async fn from_there(
    scene: &Scene,
    questions: &impl Fn(Duration) -> Questions,
) -> Result<There, Halt> {
    let settings = &scene.context.settings;
    let containers = scene.containers().await?;
    let inside = containers
        .iter()
        // Paused counts too: its network is there.
        .filter(|container| !container.oneoff && !container.addresses.is_empty())
        .find_map(|container| {
            let network = Network::of(container.pid?, &container.id).ok()?;
            Some((container, network))
        });
    if let Some((container, mut network)) = inside {
        // A little less than the caller waits: what is mute there has to be said.
        let deadline = scene.time_left().mul_f32(0.9);
        let asked = Arc::new(questions(deadline));
        let hosts = asked.hosts();
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        // A name that only Docker knows is asked for by a container.
        if network.find(&hosts, deadline / 4).await {
            let (names, asked) = (network.clone(), Arc::clone(&asked));
            let answers = network
                .run(move || async move { asked.ask(|host| names.known(host)).await })
                .await;
            // No right to enter: the same.
            if let Ok(answers) = answers {
                return Ok(There {
                    answers,
                    from: from_network(settings),
                    enter: Some(enter(container)),
                });
            }
        }
    }
    from_new_container(scene, containers, questions).await
}

/// Where no running container can be entered: one that is made for the question.
async fn from_new_container(
    scene: &Scene,
    containers: &[Container],
    questions: &impl Fn(Duration) -> Questions,
) -> Result<There, Halt> {
    let why_not = |why: &str| {
        let why = format!("the containers' network was not asked: {why}");
        if containers.iter().any(|container| !container.oneoff) {
            Halt::blocked(Code::ServiceExited, why)
        } else {
            Halt::blocked(Code::ServiceMissing, why)
        }
    };
    let engine = scene.engine().await?;
    let settings = &scene.context.settings;
    if engine.network_subnet(settings.project()).await.is_none() {
        return Err(why_not("no container runs, and there is no network yet"));
    }
    let mut image = None;
    for service in &scene.context.stack.services {
        if let Ok(Some(id)) = engine.image_id(&service.image).await {
            image = Some(id);
            break;
        }
    }
    let image = image.ok_or_else(|| why_not("no image is on this host"))?;
    let questions = questions(scene.time_left().mul_f32(0.6));
    let (answers, _removal) = from_container(&scene.context, engine, &image, &questions)
        .await
        .map_err(|why| why_not(&why))?;
    Ok(There {
        answers,
        from: from_network(settings),
        enter: None,
    })
}

/// Puts a person's command into the network of a container; the command itself is this host's.
fn enter(container: &Container) -> String {
    format!(
        "sudo nsenter -n -t $(docker inspect -f '{{{{.State.Pid}}}}' {})",
        container.name
    )
}
