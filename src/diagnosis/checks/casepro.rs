//! Casepro: whether it answers, and whether its copies of RapidPro's messages keep up. The facts
//! are those of stack.md section 8 and of dash, which Casepro's scheduled tasks come from.

mod backend;
pub mod locks;
pub mod owners;
mod rules;
pub mod state;
pub mod sync;

use std::rc::Rc;

use super::answering::{self, Request};
use crate::diagnosis::check::{Check, Checked, Looking, Report, Subject};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Evidence};
use crate::host::{postgres, redis};

/// The service that pulls.
pub const WORKER: &str = "casepro-celery";

/// The checks of this subject.
pub const SUBJECT: Subject = Subject {
    checks: &[
        Check {
            name: "casepro",
            about: "whether Casepro answers, its database and its cache with it",
            codes: &[Code::CaseproUnreachable],
            run: |scene| -> Looking { Box::pin(reach(scene)) },
        },
        Check {
            name: "casepro-backend",
            about: "whether Casepro is connected with RapidPro at all",
            codes: &[Code::CaseproBackendNoop],
            run: |scene| -> Looking { Box::pin(backend::check(scene)) },
        },
        Check {
            name: "casepro-locks",
            about: "locks of Casepro's pulls that nobody holds any more",
            codes: &[Code::CaseproLockStale],
            run: |scene| -> Looking { Box::pin(locks::check(scene)) },
        },
        Check {
            name: "casepro-sync",
            about: "when Casepro last pulled messages and contacts, and whether the newest came",
            codes: &[Code::CaseproSyncStalled],
            run: |scene| -> Looking { Box::pin(sync::check(scene)) },
        },
    ],
    rules: rules::RULES,
};

async fn reach(scene: Rc<Scene>) -> Checked {
    let request = Request {
        service: "casepro",
        port: 8000,
        host: scene.context.settings.get("CASEPRO_DOMAIN"),
        path: "/ping",
    };
    let response = request.send(&scene).await?;
    let starting = response.is_starting(&scene);
    let (summary, cause) = match &response.answer {
        Ok(answer) if answer.status == 200 => return Ok(Report::fine()),
        _ if starting => ("Casepro is still starting".to_owned(), ""),
        Ok(answer) if answer.status == 500 => (
            "Casepro answers 500: it cannot use its database or its cache".to_owned(),
            "its own /ping asks PostgreSQL and Redis, and one of them failed",
        ),
        Ok(answer) => (format!("Casepro answers {}", answer.status), ""),
        Err(error) => (format!("Casepro does not answer: {error}"), ""),
    };
    let mut finding = answering::finding(starting, Code::CaseproUnreachable, summary)
        .service("casepro")
        .evidence(request.evidence(&response, "200"))
        .impact("operators cannot open Casepro; messages are still pulled by casepro-celery")
        .cause(cause)
        .fix(scene.command("fix service casepro"))
        .manual(format!("docker restart -t 30 {}", response.container.name))
        .interrupts("Casepro's pages, about 20 s");
    let is_trouble = |line: &str| {
        ["Error", "ERROR", "Exception", "FATAL"]
            .iter()
            .any(|word| line.contains(word))
    };
    if let Some(evidence) = answering::trouble(&scene, response.container, is_trouble).await {
        finding = finding.evidence(evidence);
    }
    Ok(finding.into())
}

/// `redis-cli` for Casepro's database, as a person has to type it.
fn redis_cli(scene: &Scene, command: &str) -> Option<String> {
    let database = scene.redis_database("casepro").ok()?;
    Some(redis::by_hand::ask(&database.url, command))
}

/// `psql` for a database, as a person has to type it.
fn psql(scene: &Scene, owner: &str, query: &str) -> Option<String> {
    let database = scene.database(owner).ok()?;
    Some(postgres::by_hand::ask(&database.url, query))
}

/// A fact with the command that shows it, where there is one.
fn shown(evidence: Evidence, command: Option<String>) -> Evidence {
    match command {
        Some(command) => evidence.command(command),
        None => evidence,
    }
}
