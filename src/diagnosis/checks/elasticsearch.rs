//! Elasticsearch, and the index of contacts in it.

mod lag;
mod port;

use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;

use super::service;
use crate::diagnosis::cause::{When, needs, rules};
use crate::diagnosis::check::{Check, Checked, Halt, Looking, Report, Subject};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Evidence, Finding, words};
use crate::engine::containers::Container;
use crate::host::http;

/// The checks of this subject.
pub const SUBJECT: Subject = Subject {
    checks: &[
        Check {
            name: "elasticsearch",
            about: "whether Elasticsearch answers and has all of its data (yellow is normal here)",
            codes: &[Code::ElasticsearchRed],
            run: |scene| -> Looking { Box::pin(health(scene)) },
        },
        Check {
            name: "elasticsearch-writes",
            about: "whether Elasticsearch accepts changes of the contacts' index",
            codes: &[Code::ElasticsearchReadOnly],
            run: |scene| -> Looking { Box::pin(writes(scene)) },
        },
        Check {
            name: "elasticsearch-port",
            about: "whether Elasticsearch, which has no password, can be reached from outside",
            codes: &[Code::ElasticsearchExposed],
            run: |scene| -> Looking { Box::pin(port::exposed(scene)) },
        },
        Check {
            name: "search-index",
            about: "whether the search index knows what the database knows of contacts",
            codes: &[Code::SearchLag],
            run: |scene| -> Looking { Box::pin(lag::lag(scene)) },
        },
    ],
    rules: rules![
        ElasticsearchExposed <- When::SameService => [ConfigDrift];
        ElasticsearchReadOnly <- When::Always => [DiskFull];
        ElasticsearchReadOnly <- When::If(disk_is_short) => [DiskLow];
        ElasticsearchRed <- When::Always => [DiskFull];
        ElasticsearchRed <- When::SameService => [
            MaxMapCountLow, ImageDrift, ConfigDrift, OomKilled, RestartLoop,
        ];
        ServiceUnhealthy <- When::Needs => [ElasticsearchRed];
        SearchLag <- When::Always => [DiskFull, ElasticsearchReadOnly, ElasticsearchRed];
        SearchLag <- When::SameData => [PostgresUnreachable, PostgresConnectionsHigh];
        SearchLag <- When::If(of_indexer) => [
            ServiceMissing, OomKilled, RestartLoop, ServiceExited, ServicePaused, ServiceUnhealthy,
        ];
    ],
};

/// A service whose failure stops the indexer: itself and Elasticsearch. RapidPro's pages, which it
/// only waits for at start, do not.
fn of_indexer(_: &Finding, cause: &Finding, stack: &crate::deployment::services::Stack) -> bool {
    cause
        .service
        .as_deref()
        .is_some_and(|cause| cause != "rapidpro" && needs(stack, "indexer", cause))
}

/// What is said of the disk under the index.
const DISK: &str = "disk under the index";

/// Elasticsearch itself has seen a disk that is as good as full (its marks: 85, 90, 95 %).
fn disk_is_short(effect: &Finding, _: &Finding, _: &crate::deployment::services::Stack) -> bool {
    effect
        .evidence
        .iter()
        .filter(|evidence| evidence.what == DISK)
        .filter_map(|evidence| evidence.value.split(' ').next()?.parse::<u64>().ok())
        .any(|percent| percent >= 85)
}

/// The port in the container.
const PORT: u16 = 9200;

/// What a GET answers, as JSON; `Err` in words.
async fn get(scene: &Scene, path: &str, limit: Duration) -> Result<Result<Answer, String>, Halt> {
    let address = scene.address("elasticsearch", PORT).await?;
    let answer = http::get(address, "localhost", path, limit).await;
    Ok(answer.and_then(|answer| {
        let json = read(answer.body());
        match json {
            Some(json) => Ok(Answer {
                status: answer.status,
                json,
            }),
            None => Err(format!("the answer {} is no JSON", answer.status)),
        }
    }))
}

struct Answer {
    status: u16,
    json: Value,
}

/// Elasticsearch answers with a length; others might not, so what stands around JSON is left out.
fn read(body: &str) -> Option<Value> {
    let start = body.find(['{', '['])?;
    let end = body.rfind(['}', ']'])?;
    serde_json::from_str(body.get(start..=end)?).ok()
}

/// For checks that need Elasticsearch: it does not answer, which the check `elasticsearch` finds.
fn silent(why: &str) -> Halt {
    Halt::blocked(
        Code::ElasticsearchRed,
        format!("Elasticsearch does not answer: {why}"),
    )
}

fn curl(container: &Container, path: &str) -> String {
    format!("docker exec {} curl -s '{PORT_URL}{path}'", container.name)
}

const PORT_URL: &str = "localhost:9200";

async fn health(scene: Rc<Scene>) -> Checked {
    let container = scene.running("elasticsearch").await?;
    let path = "/_cluster/health";
    let seen = get(&scene, path, scene.time_left()).await?;
    let (value, summary) = match seen {
        Ok(Answer { status: 200, json }) => {
            let status = json["status"].as_str().unwrap_or("no status");
            if matches!(status, "green" | "yellow") {
                return Ok(Report::fine());
            }
            (
                format!(
                    "{status}, {} of {} shards active",
                    json["active_shards"],
                    json["active_shards"].as_u64().unwrap_or_default()
                        + json["unassigned_shards"].as_u64().unwrap_or_default()
                ),
                format!("Elasticsearch is {status}: parts of its data cannot be used"),
            )
        }
        Ok(Answer { status, .. }) => (
            format!("answer {status}"),
            format!("Elasticsearch answers with an error ({status})"),
        ),
        Err(why) => (why, "Elasticsearch runs and does not answer".to_owned()),
    };
    let evidence = Evidence::new("health of the cluster", value, "Elasticsearch, port 9200")
        .threshold("yellow or green")
        .command(curl(container, &format!("{path}?pretty")));
    if let Some(age) = service::young(&scene, container) {
        // Java takes its time, and until its shards are read it is red.
        let age = words::age(age);
        return Ok(Finding::info(
            Code::ElasticsearchRed,
            format!("Elasticsearch was started {age} ago and is not ready yet"),
        )
        .service("elasticsearch")
        .evidence(evidence)
        .impact("contact search does not work yet")
        .into());
    }
    Ok(Finding::error(Code::ElasticsearchRed, summary)
        .service("elasticsearch")
        .evidence(evidence)
        .impact("contact search fails, groups by query are not brought up to date, and mailroom cannot start")
        .fix(scene.command("fix service elasticsearch"))
        .manual(format!("docker logs --tail 50 {}", container.name))
        .manual(curl(container, "/_cat/shards?v"))
        .manual(format!("docker restart {}", container.name))
        .interrupts("contact search, about a minute")
        .into())
}

async fn writes(scene: Rc<Scene>) -> Checked {
    let container = scene.running("elasticsearch").await?;
    let path = "/contacts*/_settings?filter_path=*.settings.index.blocks";
    let answer = get(&scene, path, scene.time_left())
        .await?
        .map_err(|why| silent(&why))?;
    if answer.status != 200 {
        return Err(silent(&format!("answer {}", answer.status)));
    }
    let blocked = blocked(&answer.json);
    if blocked.is_empty() {
        return Ok(Report::fine());
    }
    let mut finding = Finding::error(
        Code::ElasticsearchReadOnly,
        format!(
            "Elasticsearch accepts no changes: {} read-only",
            match blocked.as_slice() {
                [one] => format!("{one} is"),
                several => format!(
                    "{} are",
                    words::count(several.len(), "index").replace("indexs", "indices")
                ),
            }
        ),
    )
    .service("elasticsearch")
    .evidence(
        Evidence::new(
            "index.blocks.read_only_allow_delete",
            format!("true on {}", blocked.join(", ")),
            "Elasticsearch, port 9200",
        )
        .command(curl(
            container,
            "/contacts*/_settings?filter_path=*.settings.index.blocks&pretty",
        )),
    );
    let space = get(&scene, "/_cat/allocation?format=json", scene.time_left()).await?;
    let percent = space.ok().and_then(|answer| {
        let percent = answer.json[0]["disk.percent"].as_str()?.parse::<u64>();
        percent.ok()
    });
    if let Some(percent) = percent {
        finding = finding.evidence(
            Evidence::new(
                DISK,
                format!("{percent} % used"),
                "Elasticsearch, port 9200",
            )
            .threshold("95 % (its flood stage)")
            .command(curl(container, "/_cat/allocation?v")),
        );
    }
    Ok(finding
        .impact("new and changed contacts are not found by search, and groups by query miss them")
        .cause("Elasticsearch does so by itself when its disk is 95 % full, and takes it back only below 90 %")
        .fix(scene.command("fix elasticsearch-read-only"))
        .manual("df -h")
        .manual(scene.command("fix disk-space"))
        .manual(format!(
            "docker exec {} curl -s -X PUT -H 'Content-Type: application/json' \
             '{PORT_URL}/contacts*/_settings' -d '{{\"index.blocks.read_only_allow_delete\": null}}'",
            container.name
        ))
        .interrupts("nothing")
        .into())
}

/// Indices that refuse changes.
fn blocked(settings: &Value) -> Vec<String> {
    let is_true = |value: &Value| value == "true" || value == true;
    let indices = settings.as_object().into_iter().flatten();
    indices
        .filter(|(_, index)| {
            let blocks = &index["settings"]["index"]["blocks"];
            is_true(&blocks["read_only_allow_delete"]) || is_true(&blocks["read_only"])
        })
        .map(|(name, _)| name.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_blocked_index_is_told_from_others() {
        let settings = json!({
            "contacts_a": {"settings": {"index": {"blocks": {"read_only_allow_delete": "true"}}}},
            "contacts_b": {"settings": {"index": {"blocks": {"read_only_allow_delete": "false"}}}},
            "contacts_c": {"settings": {"index": {}}},
        });
        assert_eq!(blocked(&settings), ["contacts_a"]);
        assert!(blocked(&json!({})).is_empty());
    }

    #[test]
    fn an_answer_in_chunks_is_read() {
        assert_eq!(read("2\r\n{}\r\n0\r\n").unwrap(), json!({}));
        assert_eq!(read("bad gateway"), None);
    }
}
