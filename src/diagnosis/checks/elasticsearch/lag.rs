//! Whether the indexer has brought every change of a contact to Elasticsearch.

use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;

use super::{curl, get, silent};
use crate::diagnosis::check::{Checked, Halt, Report};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Evidence, Finding, words};

/// The alias under which the indexer keeps its index (INDEXER_INDEX's default).
const NEWEST: &str = "/contacts/_search?size=1&sort=modified_on_mu:desc&_source=false";

/// A change counts as missing a little after what the index has: equal to the microsecond is the
/// same contact.
fn oldest_missing(newest: i64) -> String {
    // Workspace by workspace: there the index on (org_id, modified_on) helps.
    format!(
        "WITH missing AS (SELECT first.* FROM orgs_org o CROSS JOIN LATERAL (\
         SELECT c.modified_on FROM contacts_contact c WHERE c.org_id = o.id AND c.is_active \
         AND c.modified_on > timestamptz 'epoch' + {newest} * interval '1 microsecond' \
         ORDER BY c.modified_on LIMIT 1) first) \
         SELECT min(modified_on)::timestamptz(0), \
         extract(epoch FROM now() - min(modified_on))::bigint FROM missing"
    )
}

pub async fn lag(scene: Rc<Scene>) -> Checked {
    let session = scene.postgres("rapidpro").await?;
    let elasticsearch = scene.running("elasticsearch").await?;
    let answer = get(&scene, NEWEST, scene.time_left())
        .await?
        .map_err(|why| silent(&why))?;
    // An index that is not there has nothing.
    let newest = match answer.status {
        200 => Some(newest(&answer.json).unwrap_or_default()),
        404 => None,
        status => return Err(silent(&format!("answer {status}"))),
    };
    let rows = session
        .rows(&oldest_missing(newest.unwrap_or_default()))
        .await
        .map_err(|error| Halt::unanswered(error, "RapidPro's database has no contacts"))?;
    let Some((since, seconds)) = rows
        .first()
        .and_then(|row| Some((row.get(0)?, row.number(1))))
    else {
        return Ok(Report::fine());
    };
    let age = Duration::from_secs(seconds.try_into().unwrap_or_default());
    let limit = scene.context.settings.interval("SEARCH_LAG");
    if age <= limit {
        return Ok(Report::fine());
    }
    let behind = words::age(age);
    let summary = match newest {
        Some(_) => format!("The search index is {behind} behind the database"),
        None => "The search index does not exist".to_owned(),
    };
    let mut finding = Finding::error(Code::SearchLag, summary)
        .service("indexer")
        .owner("rapidpro")
        .evidence(
            Evidence::new(
                "oldest change that the index does not have",
                format!("{since}, {behind} ago"),
                "contacts_contact.modified_on, RapidPro's database",
            )
            .threshold(format!("{} (SEARCH_LAG)", words::age(limit))),
        )
        .evidence(
            Evidence::new(
                "newest contact in the index",
                match newest {
                    Some(0) => "the index is empty".to_owned(),
                    Some(micros) => jiff::Timestamp::from_microsecond(micros)
                        .map_or_else(|_| micros.to_string(), |time| format!("{time:.0}")),
                    None => "index_not_found_exception".to_owned(),
                },
                "Elasticsearch, port 9200",
            )
            .command(curl(
                elasticsearch,
                "/contacts/_search?size=1&sort=modified_on_mu:desc&pretty",
            )),
        );
    if let Ok(indexer) = scene.running("indexer").await {
        finding = finding.evidence(last_word(&scene, &indexer.id, &indexer.name).await?);
        finding = finding
            .manual(format!("docker logs --tail 20 {}", indexer.name))
            .manual(format!("docker restart {}", indexer.name));
    } else {
        finding = finding.manual(scene.command("start indexer"));
    }
    Ok(finding
        .impact("new and changed contacts are not found by search, and groups by query miss them")
        .fix(scene.command("fix service indexer"))
        .interrupts("nothing; the indexer goes on where it was")
        .into())
}

/// `modified_on_mu` of the newest document.
fn newest(answer: &Value) -> Option<i64> {
    answer["hits"]["hits"][0]["sort"][0].as_i64()
}

async fn last_word(scene: &Scene, id: &str, name: &str) -> Result<Evidence, Halt> {
    let lines = scene.engine().await?.last_lines(id, 1, None).await;
    let line = lines.last().map_or("nothing", |line| line.text.as_str());
    Ok(
        Evidence::new("the indexer's last line of log", line, "Docker")
            .command(format!("docker logs --tail 20 {name}")),
    )
}
