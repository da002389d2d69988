//! `ooy fix elasticsearch-read-only`: the search index takes changes again, once there is room.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::elasticsearch::{Blocks, FLOOD_BLOCK, Node, Watermark};
use super::{Job, Plan, Planning, Refusal, Remedy, Takes};
use crate::diagnosis::{Code, Halt, Scene};
use crate::fault::Fault;
use crate::operation::Kind;

/// The repair.
pub const REMEDY: Remedy = Remedy {
    name: "elasticsearch-read-only",
    about: "the search index takes writes again",
    codes: &[Code::ElasticsearchReadOnly],
    takes: Takes::Nothing,
    // It loses nothing, interrupts nobody, and refuses where there is no room.
    unattended: |_| true,
    settles: Duration::from_secs(30),
    otherwise: &["fix disk-space", "diagnose elasticsearch-writes"],
    plan: |job| -> Planning { Box::pin(plan(job)) },
};

/// The title of the fault where there is no room yet.
pub(super) const NO_ROOM: &str = "Elasticsearch: its disk is too full";

/// How long the indexer may take to bring what was missed: it looks every ten seconds.
const CATCH_UP: Duration = Duration::from_secs(30);

async fn plan(job: Rc<Job>) -> Result<Plan, Refusal> {
    let scene = job.look();
    let node = match Node::find(&scene).await {
        Ok(node) => node,
        Err(halt) => return Err(unreached(&job, &words(halt)).into()),
    };
    let asked = |why: String| Refusal::from(unreached(&job, &why));
    let blocks = node.blocks().await.map_err(asked)?;
    if blocks.flood.is_empty() {
        if !blocks.by_hand.is_empty() {
            return Err(by_hand(&job, &scene, &blocks).await.into());
        }
        return Err(Refusal::Nothing("nothing to fix".to_owned()));
    }
    let disk = node.disk().await.map_err(asked)?;
    let mark = node.high_watermark().await;
    if mark.is_passed(&disk) {
        return Err(no_room(&job, disk.used, mark).into());
    }
    let names = blocks.flood.join(", ");
    Ok(Plan {
        steps: vec![
            format!("take {FLOOD_BLOCK} away from {names}"),
            "see that Elasticsearch takes a change".to_owned(),
        ],
        meanwhile: format!("search goes on; the disk has room ({} % used)", disk.used),
        touches: blocks.flood,
        act: Box::pin(async move {
            let released = release(&job, &scene)
                .await
                .map_err(|fault| vec![*fault])?
                .unwrap_or_else(|| "Elasticsearch takes changes".to_owned());
            Ok(match caught_up(&job, &scene).await {
                Some(told) => format!("{released}; {told}"),
                None => released,
            })
        }),
    })
}

/// Takes the block away where there is one, and sees that changes are taken. Answers what was
/// seen; `None`: nothing was blocked. Elasticsearch has to run.
pub(super) async fn release(job: &Job, scene: &Scene) -> Result<Option<String>, Box<Fault>> {
    let began = Instant::now();
    let node = Node::find(scene)
        .await
        .map_err(|halt| unreached(job, &words(halt)))?;
    let asked = |why: String| unreached(job, &why);
    let blocked = node.blocks().await.map_err(asked)?.flood;
    if blocked.is_empty() {
        return Ok(None);
    }
    let disk = node.disk().await.map_err(asked)?;
    let mark = node.high_watermark().await;
    if mark.is_passed(&disk) {
        return Err(no_room(job, disk.used, mark));
    }
    let reporter = &job.context.reporter;
    reporter.tell("unblock", Kind::Started, None, "taking the block away");
    node.release().await.map_err(asked)?;
    let index = blocked
        .iter()
        .find(|name| name.starts_with("contacts"))
        .unwrap_or(&blocked[0]);
    node.takes_changes(index)
        .await
        .map_err(|why| still_refuses(job, index, &why))?;
    let what = match blocked.as_slice() {
        [one] => one.clone(),
        several => format!("{} indices", several.len()),
    };
    let detail = format!("{what} may be written again");
    let took = Some(began.elapsed());
    reporter.tell("unblock", Kind::Done, took, detail);
    Ok(Some(
        "Elasticsearch takes changes again (it has just carried out one)".to_owned(),
    ))
}

/// Waits until the indexer has brought what was missed, where both can be asked.
async fn caught_up(job: &Job, scene: &Scene) -> Option<String> {
    let node = Node::find(scene).await.ok()?;
    scene.running("indexer").await.ok()?;
    let began = Instant::now();
    loop {
        let wanted = newest_change(scene).await?;
        let have = node.newest_contact().await.ok()?;
        let shown = |micros: i64| {
            let time = jiff::Timestamp::from_microsecond(micros).unwrap_or_default();
            time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
        };
        if have >= wanted {
            return Some(match wanted {
                0 => "there are no contacts to index".to_owned(),
                _ => format!("it has the newest contact, of {}", shown(wanted)),
            });
        }
        if began.elapsed() >= CATCH_UP {
            return Some(format!(
                "the indexer is on its way: it has contacts up to {}",
                shown(have)
            ));
        }
        let detail = "until the indexer has brought what was missed";
        let took = Some(began.elapsed());
        job.context
            .reporter
            .tell("index", Kind::Progress, took, detail);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// `modified_on` of the newest contact in the database, in microseconds. Workspace by workspace:
/// there the index on (org_id, modified_on) helps.
async fn newest_change(scene: &Scene) -> Option<i64> {
    let session = scene.postgres("rapidpro").await.ok()?;
    let query = "SELECT (extract(epoch FROM max(newest.modified_on)) * 1000000)::bigint \
         FROM orgs_org o CROSS JOIN LATERAL (SELECT c.modified_on FROM contacts_contact c \
         WHERE c.org_id = o.id AND c.is_active ORDER BY c.modified_on DESC LIMIT 1) newest";
    let rows = session.rows(query).await.ok()?;
    Some(rows.first().map_or(0, |row| row.number(0)))
}

fn words(halt: Halt) -> String {
    match halt {
        Halt::Unused(why) | Halt::Blocked { why, .. } | Halt::Unknown(why) => why,
    }
}

fn unreached(job: &Job, why: &str) -> Box<Fault> {
    Box::new(
        Fault::problem(
            "Elasticsearch: cannot be asked",
            "what it refuses, and whether it has room, could not be found out",
        )
        .evidence(why)
        .why("changes of contacts do not come into the search index")
        .next(job.command("diagnose elasticsearch"))
        .next(job.command("start elasticsearch")),
    )
}

fn no_room(job: &Job, used: u64, mark: Watermark) -> Box<Fault> {
    Box::new(
        Fault::problem(
            NO_ROOM,
            "the index is read-only since the disk is full, and there is no room yet",
        )
        .evidence(format!(
            "its disk: {used} % used; it takes the block back below {mark} (its high watermark)"
        ))
        .why("released now, it would be blocked again within half a minute, or fill the disk")
        .next(job.command("fix disk-space"))
        .next(job.again.clone()),
    )
}

fn still_refuses(job: &Job, index: &str, why: &str) -> Box<Fault> {
    Box::new(
        Fault::problem(
            "Elasticsearch: still refuses changes",
            "the block was taken away, and a change was refused all the same",
        )
        .evidence(format!("{index}: {why}"))
        .why("new and changed contacts are not found by search")
        .next(job.command("fix disk-space"))
        .next(job.command("logs elasticsearch -n 50")),
    )
}

/// A person's own decision is not undone.
async fn by_hand(job: &Job, scene: &Scene, blocks: &Blocks) -> Box<Fault> {
    let container = match scene.running("elasticsearch").await {
        Ok(container) => container.name.clone(),
        Err(_) => "elasticsearch".to_owned(),
    };
    let names = blocks.by_hand.join(",");
    let number = u64::try_from(blocks.by_hand.len()).unwrap_or(u64::MAX);
    let (noun, verb) = if number == 1 {
        ("index", "was")
    } else {
        ("indices", "were")
    };
    Box::new(
        Fault::problem(
            "Elasticsearch: made read-only by hand",
            format!("{number} {noun} {verb} made read-only by a person or a program, not for want of room"),
        )
        .evidence(format!("index.blocks.read_only or .write on {names}"))
        .why("ooy takes back only what Elasticsearch itself does on a full disk")
        .next(format!(
            "docker exec {container} curl -s -X PUT -H 'Content-Type: application/json' \
             'localhost:9200/{names}/_settings' -d '{{\"index.blocks.read_only\": null, \"index.blocks.write\": null}}'"
        ))
        .next(job.again.clone()),
    )
}
