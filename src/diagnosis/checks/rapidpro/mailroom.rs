//! Mailroom: it answers even where it reaches nothing (stack.md section 1.2). It makes its client
//! for Elasticsearch once, at its start; without it every search fails until it is restarted.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::diagnosis::check::{Checked, Halt, Report};
use crate::diagnosis::checks::service;
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Evidence, Finding, words};
use crate::engine::containers::Container;
use crate::engine::logs::Wanted;
use crate::host::http;

/// What it logs at its start when Elasticsearch is away (mailroom.go, 6.4.3).
const NO_CLIENT: &str = "unable to connect to elastic";
/// And where it is there.
const CLIENT: &str = "elastic ok";
/// What it answers to a search without the client (search/search.go, 6.4.3).
const NO_CLIENT_ANSWER: &str = "no elastic client";

/// Within this time of its start it has logged either.
const START: Duration = Duration::from_secs(60);

/// A workspace and a group to search in.
const GROUP: &str = "SELECT g.org_id, g.uuid FROM contacts_contactgroup g \
     JOIN orgs_org o ON o.id = g.org_id WHERE o.is_active AND g.is_active LIMIT 1";

pub async fn mailroom(scene: Rc<Scene>) -> Checked {
    let container = scene.running("mailroom").await?;
    let address = scene.address("mailroom", 8090).await?;
    let path = "/mr/";
    let answer = http::get(address, "localhost", path, scene.time_left() * 2 / 3).await;
    let trouble = match answer {
        Ok(answer) if answer.status == 200 => None,
        Ok(answer) => Some(format!("answer {}", answer.status)),
        Err(why) => Some(why),
    };
    if let Some(why) = trouble {
        return Ok(unreachable(&scene, container, address, &why));
    }
    let found = match search(&scene, container, address).await? {
        Search::Works => None,
        Search::Failed(answer) => Some(Evidence::new(
            "a search for contacts",
            answer,
            format!("POST /mr/contact/search on {address}"),
        )),
        Search::NotPossible => said(&scene, container)
            .await?
            .map(|line| Evidence::new("its log since its start", line, "Docker")),
    };
    let Some(evidence) = found else {
        return Ok(Report::fine());
    };
    let lost = evidence.value.contains(NO_CLIENT_ANSWER) || evidence.value.contains(NO_CLIENT);
    let finding = if lost {
        Finding::error(
            Code::MailroomUnreachable,
            "Mailroom runs without Elasticsearch: it was not there when mailroom started",
        )
        .cause("mailroom looks for Elasticsearch once, when it starts, and never again")
        .evidence(evidence.command(format!(
            "docker logs {} 2>&1 | grep -E '{NO_CLIENT}|{CLIENT}' | tail -1",
            container.name
        )))
    } else {
        Finding::error(
            Code::MailroomUnreachable,
            "Mailroom answers and cannot search for contacts",
        )
        .evidence(evidence.command(format!(
            "docker logs --tail 200 {} 2>&1 | grep level=error",
            container.name
        )))
    };
    Ok(restart(&scene, container, finding)
        .impact("contact search fails, and groups by query and flow starts by query do not work")
        .into())
}

fn unreachable(scene: &Scene, container: &Container, address: SocketAddr, why: &str) -> Report {
    let evidence = Evidence::new("GET /mr/", why, format!("{address}, the container"))
        .threshold("answer 200")
        .command(format!("curl -sS -m 10 -i http://{address}/mr/"));
    if let Some(age) = service::young(scene, container) {
        let age = words::age(age);
        return Finding::info(
            Code::MailroomUnreachable,
            format!("Mailroom was started {age} ago and does not answer yet"),
        )
        .service("mailroom")
        .owner("rapidpro")
        .evidence(evidence)
        .impact("flows do not run yet")
        .into();
    }
    let finding = Finding::error(
        Code::MailroomUnreachable,
        format!("Mailroom runs and does not answer as it should ({why})"),
    )
    .evidence(evidence);
    restart(scene, container, finding)
        .impact("flows do not run: contacts get no answers, and RapidPro cannot search or change contacts")
        .into()
}

fn restart(scene: &Scene, container: &Container, finding: Finding) -> Finding {
    finding
        .service("mailroom")
        .owner("rapidpro")
        .fix(scene.command("fix service mailroom"))
        .manual(format!("docker logs --tail 50 {}", container.name))
        .manual(format!("docker restart --time 60 {}", container.name))
        .interrupts("flows, a few seconds; what waits is done afterwards")
}

enum Search {
    Works,
    Failed(String),
    /// There is nothing to search in, or it may not be asked.
    NotPossible,
}

/// A search as RapidPro makes it: the only request that needs the client and changes nothing.
async fn search(scene: &Scene, container: &Container, address: SocketAddr) -> Result<Search, Halt> {
    let Ok(session) = scene.postgres("rapidpro").await else {
        return Ok(Search::NotPossible);
    };
    let rows = session.rows(GROUP).await.unwrap_or_default();
    let Some(row) = rows.first() else {
        return Ok(Search::NotPossible);
    };
    let token = container
        .environment
        .get("MAILROOM_AUTH_TOKEN")
        .unwrap_or_default();
    let body = json!({
        "org_id": row.number(0),
        "group_uuid": row.text(1),
        "query": "",
        "page_size": 1,
        "offset": 0,
        "sort": "-id",
    })
    .to_string();
    let token = format!("Token {token}");
    let path = "/mr/contact/search";
    let answer = http::post(address, path, &token, &body, scene.time_left());
    let answer = match answer.await {
        Ok(answer) => answer,
        Err(why) => return Ok(Search::Failed(why)),
    };
    let text = error_of(answer.body());
    // An index that is not there, or that no contact has come into yet (what it is to be sorted by
    // is unknown then, which Elasticsearch answers with 400), is the indexer's business: search-lag.
    let missing = text.contains("index_not_found") || text.contains("Error 400");
    Ok(match answer.status {
        200 => Search::Works,
        500 if !missing => Search::Failed(text),
        500 => Search::Works,
        // Another release asks for other fields.
        _ => Search::NotPossible,
    })
}

/// `{"error": "..."}`
fn error_of(body: &str) -> String {
    let json: Value = serde_json::from_str(body).unwrap_or_default();
    let text = json["error"].as_str().unwrap_or(body);
    text.chars().take(200).collect()
}

/// The line of its log that says that it has no client, if its present process has written it.
async fn said(scene: &Scene, container: &Container) -> Result<Option<String>, Halt> {
    let Some(started) = container.started_at else {
        return Ok(None);
    };
    let wanted = Wanted {
        since: Some(started),
        until: Some(started + START),
        ..Default::default()
    };
    let mut lines = scene.engine().await?.log_lines(&container.id, &wanted);
    let search = async {
        while let Some(Ok(line)) = lines.next().await {
            if line.text.contains(NO_CLIENT) {
                return Some(line.text);
            }
            if line.text.contains(CLIENT) {
                return None;
            }
        }
        None
    };
    // A log of gigabytes before this start: not worth more time.
    Ok(tokio::time::timeout(scene.time_left(), search)
        .await
        .unwrap_or(None))
}

/// The services that call mailroom.
const CALLERS: &[&str] = &["rapidpro", "rapidpro-celery", "rapidpro-beat"];

const TOKEN: &str = "MAILROOM_AUTH_TOKEN";

pub async fn token(scene: Rc<Scene>) -> Checked {
    let mailroom = scene.running("mailroom").await?;
    // Empty switches the check off for every path (MR web/wrappers.go).
    let own = mailroom.environment.get(TOKEN).unwrap_or_default();
    let see = |container: &Container| {
        format!(
            "docker exec {} sh -c 'printf %s \"${TOKEN}\" | wc -c'    (its length)",
            container.name
        )
    };
    if own.is_empty() {
        return Ok(repair(
            &scene,
            "mailroom",
            Finding::warning(
                Code::MailroomTokenEmpty,
                "Mailroom runs without a token: it does what anybody asks",
            ),
        )
        .evidence(
            Evidence::new(TOKEN, "empty", "environment of the container")
                .threshold("the token of ooy.env")
                .command(see(mailroom)),
        )
        .impact("whoever reaches mailroom can read and change contacts and send messages")
        .into());
    }
    let mut report = Report::fine();
    for service in CALLERS {
        let Some(container) = scene.container(service).await? else {
            continue;
        };
        let token = container.environment.get(TOKEN).unwrap_or_default();
        if !container.is_running() || token == own {
            continue;
        }
        let what = if token.is_empty() {
            "empty"
        } else {
            "another than mailroom's"
        };
        report.found(
            repair(
                &scene,
                service,
                Finding::error(
                    Code::MailroomTokenEmpty,
                    format!("Mailroom refuses what {service} asks: its token is {what}"),
                ),
            )
            .evidence(
                Evidence::new(TOKEN, what, format!("environment of {service}'s container"))
                    .threshold("the same in both")
                    .command(see(container)),
            )
            .impact("RapidPro can neither search nor change contacts nor start flows"),
        );
    }
    Ok(report)
}

fn repair(scene: &Scene, service: &str, finding: Finding) -> Finding {
    let mut finding = finding.service(service).owner("rapidpro");
    let own = &scene.context.settings.places.compose_override;
    if std::fs::read_to_string(own).is_ok_and(|text| text.contains(TOKEN)) {
        finding = finding
            .cause(format!("{} sets it", own.display()))
            .manual(format!("nano {}    (take {TOKEN} away)", own.display()));
    } else {
        finding = finding.cause("the container was made with another setting");
    }
    finding
        .manual(scene.command(&format!("start {service}")))
        .interrupts(format!("{service}, a few seconds"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_taken_from_its_answer() {
        assert_eq!(
            error_of(r#"{"error": "no elastic client available, check your configuration"}"#),
            "no elastic client available, check your configuration"
        );
        assert_eq!(error_of("<html>"), "<html>");
    }
}
