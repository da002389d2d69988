//! Whether a web service answers a request as it does when it works, asked directly, without nginx.

use std::net::SocketAddr;
use std::time::Duration;

use super::service;
use crate::diagnosis::check::Halt;
use crate::diagnosis::scene::Scene;
use crate::diagnosis::words;
use crate::diagnosis::{Evidence, Finding};
use crate::engine::containers::{Container, Health};
use crate::host::http;

/// So long after its start a service may still be on its way, as long as its health check has no
/// verdict.
const STARTING: Duration = Duration::from_secs(120);

/// One request to a service.
pub struct Request<'a> {
    /// Whom.
    pub service: &'a str,
    /// Port in the container.
    pub port: u16,
    /// The Host header: Django refuses others than its own.
    pub host: &'a str,
    /// Path and query.
    pub path: &'a str,
}

/// What came of it.
pub struct Response<'a> {
    /// Who was asked.
    pub container: &'a Container,
    /// Where.
    pub address: SocketAddr,
    /// The answer; the error is a short text for people.
    pub answer: Result<http::Answer, String>,
}

impl Request<'_> {
    /// Asks.
    pub async fn send<'s>(&self, scene: &'s Scene) -> Result<Response<'s>, Halt> {
        let container = scene.running(self.service).await?;
        let address = scene.address(self.service, self.port).await?;
        let limit = scene.time_left();
        let answer = http::get(address, self.host, self.path, limit).await;
        Ok(Response {
            container,
            address,
            answer,
        })
    }

    /// What was seen, and the command that shows it.
    pub fn evidence(&self, response: &Response<'_>, expected: &str) -> Evidence {
        let value = match &response.answer {
            Ok(answer) => format!("answer {}", answer.status),
            Err(error) => error.clone(),
        };
        Evidence::new(
            format!("GET {} on port {}", self.path, self.port),
            value,
            format!("container {}", response.container.name),
        )
        .threshold(format!("working: {expected}"))
        .command(format!(
            "curl -sS -i --max-time 10 --noproxy '*' -H 'Host: {}' 'http://{}{}'",
            self.host, response.address, self.path
        ))
    }
}

impl Response<'_> {
    /// It was started a short while ago and may only need more time.
    pub fn is_starting(&self, scene: &Scene) -> bool {
        self.container.health == Health::Starting
            && service::uptime(scene, self.container).is_some_and(|up| up < STARTING)
    }
}

/// A finding of the graver kind, or, for a service that is only starting, a note.
pub fn finding(
    starting: bool,
    code: crate::diagnosis::Code,
    summary: impl Into<String>,
) -> Finding {
    if starting {
        Finding::info(code, summary)
    } else {
        Finding::error(code, summary)
    }
}

/// The last lines of its log that look like trouble, as evidence.
pub async fn trouble(
    scene: &Scene,
    container: &Container,
    is_trouble: impl Fn(&str) -> bool,
) -> Option<Evidence> {
    let engine = scene.engine().await.ok()?;
    let lines = engine
        .last_lines(&container.id, 200, container.started_at)
        .await;
    let line = lines.iter().rev().find(|line| is_trouble(&line.text))?;
    let ago = scene.since(line.at);
    let text: String = line.text.trim().chars().take(200).collect();
    Some(
        Evidence::new(
            format!("its log, {} ago", words::age(ago)),
            format!("\"{text}\""),
            format!("container {}", container.name),
        )
        .command(scene.command(&format!("logs {} -n 100", container.service))),
    )
}
