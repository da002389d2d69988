//! Whether a version does its work, asked through nginx behind the closed door.

use std::time::{Duration, Instant};

use super::procedure::{self, Procedure};
use super::state::State;
use crate::deployment::render::TRIAL_PORT;
use crate::deployment::version::Version;
use crate::engine::Engine;
use crate::engine::containers::Container;
use crate::fault::{Fault, Result};
use crate::host::http;
use crate::lifecycle::{Context, readiness};
use crate::operation::Kind;

/// How long a service that is ready may take until all answers are right: nginx asks for names
/// anew after a second or two.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long an answer may take: the first page of RapidPro compiles its templates.
const LIMIT: Duration = Duration::from_secs(15);

/// A question and what its answer has to be.
struct Question {
    what: &'static str,
    /// The service that is asked: `nginx` is asked on its [`TRIAL_PORT`].
    service: &'static str,
    port: u16,
    /// The setting whose value is the Host header.
    host: Option<&'static str>,
    path: &'static str,
    statuses: &'static [u16],
}

const fn through_nginx(
    what: &'static str,
    host: &'static str,
    path: &'static str,
    statuses: &'static [u16],
) -> Question {
    Question {
        what,
        service: "nginx",
        port: TRIAL_PORT,
        host: Some(host),
        path,
        statuses,
    }
}

/// What RapidPro is asked (stack.md section 1.1).
const RAPIDPRO: &[Question] = &[
    through_nginx(
        "the page to sign in",
        "RAPIDPRO_DOMAIN",
        "/users/login/",
        &[200],
    ),
    // Without a token: that it is refused in this way shows that the API is there.
    through_nginx(
        "the API",
        "RAPIDPRO_DOMAIN",
        "/api/v2/workspace.json",
        &[401, 403],
    ),
    through_nginx("courier", "RAPIDPRO_DOMAIN", "/c/", &[404]),
    Question {
        what: "mailroom",
        service: "mailroom",
        port: 8090,
        host: None,
        path: "/mr/",
        statuses: &[200],
    },
    Question {
        what: "a search",
        service: "elasticsearch",
        port: 9200,
        host: None,
        path: "/_search?size=0",
        statuses: &[200],
    },
];
const CASEPRO: &[Question] = &[through_nginx("its ping", "CASEPRO_DOMAIN", "/ping", &[200])];
const CONTENTREPO: &[Question] = &[through_nginx(
    "the page to sign in",
    "CONTENTREPO_DOMAIN",
    "/admin/login/",
    &[200],
)];

fn questions(owner: &str) -> &'static [Question] {
    match owner {
        "rapidpro" => RAPIDPRO,
        "casepro" => CASEPRO,
        _ => CONTENTREPO,
    }
}

/// Asks everything of what is to run, until all is right. The version is the one of the settings.
pub async fn run(context: &Context, state: &State) -> Result<()> {
    let began = Instant::now();
    let procedure = procedure::of(state.app);
    let reporter = &context.reporter;
    reporter.tell("trial", Kind::Started, None, "");
    loop {
        let wrong = match look(context, state, procedure).await {
            Ok(seen) => {
                reporter.tell("trial", Kind::Done, Some(began.elapsed()), seen.join(" · "));
                return Ok(());
            }
            Err(wrong) => wrong,
        };
        if began.elapsed() >= PATIENCE {
            reporter.tell("trial", Kind::Failed, Some(began.elapsed()), wrong.clone());
            return Err(failed(context, state, &wrong));
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Asks once: what was seen, or the first that is not right.
async fn look(
    context: &Context,
    state: &State,
    procedure: &Procedure,
) -> std::result::Result<Vec<String>, String> {
    let engine = Engine::connect().await.map_err(|error| error.to_string())?;
    let containers = engine.containers(context.settings.project()).await;
    let containers = containers.map_err(|error| error.to_string())?;
    let of = |service: &str| {
        containers
            .iter()
            .find(|container| container.service == service && !container.oneoff)
            .filter(|container| container.is_running())
    };
    let mut seen = Vec::new();
    // Only what ran before runs now.
    let ran = |service: &str| state.services.iter().any(|ran| ran == service);
    for service in procedure.services().filter(|service| ran(service)) {
        right_version(context, service, of(service))?;
    }
    for question in questions(procedure.owner) {
        let Some(container) = of(question.service) else {
            if ran(question.service) {
                return Err(format!("{} does not run", question.service));
            }
            continue;
        };
        ask(context, question, container).await?;
        seen.push(question.what.to_owned());
    }
    let image = context
        .stack
        .service(procedure.owner)
        .map(|service| service.image.clone());
    seen.extend(image);
    Ok(seen)
}

/// That it was made of the image that the settings name, and that this is what its tag says.
fn right_version(
    context: &Context,
    service: &str,
    container: Option<&Container>,
) -> std::result::Result<(), String> {
    let Some(container) = container else {
        return Err(format!("{service} does not run"));
    };
    let wanted = context
        .stack
        .service(service)
        .map_or("", |service| service.image.as_str());
    if container.image != wanted {
        return Err(format!("{service} runs {}, not {wanted}", container.image));
    }
    // Baked into RapidPro's images (stack.md section 2.1).
    let told = container
        .environment
        .get("RAPIDPRO_VERSION")
        .and_then(Version::of_tag);
    match (told, Version::of_image(wanted)) {
        (Some(told), Some(tag)) if told != tag => Err(format!(
            "{service}: the image {wanted} holds version {told}"
        )),
        _ => Ok(()),
    }
}

async fn ask(
    context: &Context,
    question: &Question,
    container: &Container,
) -> std::result::Result<(), String> {
    let Some(address) = readiness::address(container, question.port) else {
        return Err(format!("{} has no address", question.service));
    };
    let host = question
        .host
        .map_or("localhost", |setting| context.settings.get(setting));
    let asked = format!("{}: GET {} of {host}", question.what, question.path);
    let answer = http::get(address, host, question.path, LIMIT).await;
    let answer = answer.map_err(|why| format!("{asked}: {why}"))?;
    if !question.statuses.contains(&answer.status) {
        return Err(format!("{asked}: answer {}", answer.status));
    }
    if question.service == "mailroom" {
        let image = context
            .stack
            .service("mailroom")
            .map_or("", |service| &service.image);
        if let Some(version) = Version::of_image(image)
            && !answer.body().contains(&version.to_string())
        {
            let said: String = answer.body().chars().take(120).collect();
            return Err(format!("mailroom is not version {version}: it says {said}"));
        }
    }
    Ok(())
}

fn failed(context: &Context, state: &State, wrong: &str) -> Box<Fault> {
    let label = state.app.label();
    Box::new(
        Fault::problem(
            format!("{label}: does not do its work"),
            "all its services are ready, and an answer is not what it has to be",
        )
        .evidence(context.mask.apply(wrong))
        .evidence("asked by way of nginx, while the door is closed for everybody else")
        .why("people would meet the same fault")
        .next(context.command(&format!("logs {} -n 50", procedure::of(state.app).owner)))
        .next(context.command("diagnose")),
    )
}
