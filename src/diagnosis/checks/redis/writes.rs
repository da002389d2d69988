//! Whether Redis takes writes. After a save that failed it refuses them all (MISCONF), as a replica
//! does and one without memory.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use super::{Server, servers_of};
use crate::diagnosis::check::{Checked, Report, blocking};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::words::{age, count};
use crate::diagnosis::{Code, Evidence, Finding};
use crate::host::redis::resp::{Connection, Reply};
use crate::host::redis::{RedisOutcome, by_hand};
use crate::host::{disk, reach};

pub async fn check(scene: Rc<Scene>) -> Checked {
    let mut report = Report::fine();
    for one in servers_of(&scene).await? {
        let finding = match one.report.outcome {
            RedisOutcome::CannotSave => cannot_save(&scene, &one, true).await,
            RedisOutcome::ReadOnly => replica(&one),
            RedisOutcome::OutOfMemory => out_of_memory(&one),
            _ if one.server.save_failed => cannot_save(&scene, &one, false).await,
            _ => continue,
        };
        report.findings.extend(one.each(&finding));
    }
    Ok(report)
}

const NOT_SAVED: &str = "Redis refuses every write: its last save to disk failed";
const NOT_SAVING: &str = "Redis cannot save to disk, and takes writes all the same";
const NO_MEMORY: &str = "Redis refuses every write: it has no memory left";

/// Whether a save failed.
pub fn is_unsaved(finding: &Finding) -> bool {
    [NOT_SAVED, NOT_SAVING].contains(&finding.summary.as_str())
}

/// Whether its memory is used up.
pub fn is_full(finding: &Finding) -> bool {
    finding.summary == NO_MEMORY
}

const IMPACT: &str = "nothing new gets into the queues: no message is received, answered or sent, \
    and Casepro pulls none";

async fn cannot_save(scene: &Scene, one: &Server<'_>, refuses: bool) -> Finding {
    let (url, server) = (&one.first.url, one.server);
    let finding = if refuses {
        Finding::error(Code::RedisReadonly, NOT_SAVED).impact(IMPACT)
    } else {
        Finding::warning(Code::RedisReadonly, NOT_SAVING).impact(format!(
            "a restart of Redis would lose {}: tasks and messages that wait",
            count(server.unsaved, "change")
        ))
    };
    let saved = u64::try_from(scene.now.as_second() - server.saved_at).unwrap_or(0);
    let mut finding = finding
        .evidence(
            Evidence::new("rdb_last_bgsave_status", "err", "Redis, INFO persistence")
                .command(by_hand::ask(url, "INFO persistence")),
        )
        .evidence(Evidence::new(
            "last save",
            format!(
                "{} ago, {} since",
                age(Duration::from_secs(saved)),
                count(server.unsaved, "change")
            ),
            "Redis, INFO persistence",
        ));
    if let Some(words) = one.report.message.as_ref().filter(|_| refuses) {
        finding = finding.evidence(Evidence::new("Redis says", words, url.redacted()));
    }
    let folder = folder(scene, one).await;
    let shown = folder.as_ref().map_or_else(
        || "/var/lib/redis".to_owned(),
        |folder| folder.path.display().to_string(),
    );
    if let Some(folder) = &folder {
        finding = finding.evidence(
            Evidence::new("its folder", &folder.state, &shown)
                .command(format!("ls -ld {shown}; df -h {shown}")),
        );
    }
    finding
        .cause(
            "the disk is full, the folder is missing or not writable for Redis, or there was no \
             memory for the process that saves",
        )
        .manual(by_hand::on_server(
            url,
            "sudo tail -n 20 /var/log/redis/redis-server.log",
        ))
        .manual(by_hand::on_server(url, &format!("df -h {shown}")))
        .manual(by_hand::on_server(
            url,
            &format!("sudo install -d -o redis -g redis -m 750 {shown}"),
        ))
        .manual(by_hand::ask(url, "BGSAVE"))
        .interrupts("nothing")
}

/// Where Redis saves to, where that is on this host and may be seen.
struct Folder {
    path: PathBuf,
    state: String,
}

async fn folder(scene: &Scene, one: &Server<'_>) -> Option<Folder> {
    let host = one.first.url.host().to_owned();
    let mut connection: Connection = scene.redis(one.first.owner).await.ok()?;
    let asked = connection.call(&["CONFIG", "GET", "dir"]);
    let answer = tokio::time::timeout(scene.time_left(), asked).await.ok()?;
    let Ok(Reply::Array(parts)) = answer else {
        return None;
    };
    let path = PathBuf::from(parts.get(1)?.text());
    blocking(move || {
        if !reach::is_this_machine(&host) {
            return None;
        }
        let state = match (std::fs::metadata(&path), disk::space(&path)) {
            (Ok(metadata), Ok(space)) => {
                use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
                format!(
                    "mode {:o}, user {}, {} free",
                    metadata.permissions().mode() & 0o7777,
                    metadata.uid(),
                    disk::human(space.available)
                )
            }
            (Err(error), _) | (_, Err(error)) => error.to_string(),
        };
        Some(Folder { path, state })
    })
    .await
    .ok()?
}

fn replica(one: &Server<'_>) -> Finding {
    let url = &one.first.url;
    let of = one.report.message.clone().unwrap_or_default();
    Finding::error(
        Code::RedisReadonly,
        "Redis refuses every write: it is a replica of another one",
    )
    .evidence(
        Evidence::new("role", format!("slave, {of}"), "Redis, INFO replication")
            .command(by_hand::ask(url, "INFO replication")),
    )
    .impact(IMPACT)
    .cause(
        "somebody has told it REPLICAOF; strangers do that to a Redis which they can reach without \
         a password",
    )
    .manual(by_hand::ask(url, "REPLICAOF NO ONE"))
    .manual(by_hand::on_server(
        url,
        "sudo grep -nE '^(replicaof|slaveof)' /etc/redis/redis.conf",
    ))
    .interrupts("nothing")
}

fn out_of_memory(one: &Server<'_>) -> Finding {
    let (url, server) = (&one.first.url, one.server);
    Finding::error(Code::RedisReadonly, NO_MEMORY)
        .evidence(
            Evidence::new(
                "used_memory",
                format!(
                    "{} of {}, policy {}",
                    disk::human(server.used_memory),
                    disk::human(server.max_memory),
                    server.policy
                ),
                "Redis, INFO memory",
            )
            .command(by_hand::ask(url, "INFO memory")),
        )
        .impact(IMPACT)
        .manual(by_hand::ask(
            url,
            &format!("CONFIG SET maxmemory {}", server.max_memory * 2),
        ))
        .interrupts("nothing")
}
