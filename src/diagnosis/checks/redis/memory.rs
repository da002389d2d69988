//! Memory that is left to Redis. Without any it refuses what is new, or throws away what it has:
//! tasks and messages that wait.

use std::rc::Rc;

use super::{Server, servers_of};
use crate::diagnosis::check::{Checked, Report};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Evidence, Finding};
use crate::host::disk::human;
use crate::host::redis::{RedisOutcome, by_hand};

const SETTING: &str = "REDIS_MEMORY_PERCENT";

pub async fn check(scene: Rc<Scene>) -> Checked {
    let limit = scene.context.settings.number(SETTING);
    let mut report = Report::fine();
    for one in servers_of(&scene).await? {
        let server = one.server;
        let Some((of, percent)) = used(server.used_memory, server.max_memory, server.system_memory)
        else {
            continue;
        };
        if percent >= limit {
            report
                .findings
                .extend(one.each(&finding(&one, of, percent, limit)));
        } else {
            report.figure(format!("{} in Redis", human(server.used_memory)));
        }
    }
    Ok(report)
}

/// What the memory in use is measured by, and how much of it that is, in percent.
fn used(used: u64, max: u64, system: u64) -> Option<(u64, u64)> {
    let of = if max > 0 { max } else { system };
    Some((of, (used.saturating_mul(100)).checked_div(of)?))
}

fn finding(one: &Server<'_>, of: u64, percent: u64, limit: u64) -> Finding {
    let (url, server) = (&one.first.url, one.server);
    let bounded = server.max_memory > 0;
    let whole = if bounded {
        "maxmemory"
    } else {
        "the machine's memory"
    };
    let full = one.report.outcome == RedisOutcome::OutOfMemory;
    let text = format!("Redis uses {percent} % of {whole}, {}", human(of));
    let finding = if full {
        Finding::error(Code::RedisMemoryHigh, text)
    } else {
        Finding::warning(Code::RedisMemoryHigh, text)
    };
    let impact = match (bounded, server.policy.as_str()) {
        (true, "noeviction") => {
            "when it is full every write fails: no message is received, answered or sent"
        }
        (true, _) => {
            "when it is full Redis throws away what it holds: tasks and messages that wait"
        }
        (false, _) => "when the machine has none left Linux ends Redis, or something else",
    };
    finding
        .evidence(
            Evidence::new(
                "used_memory",
                format!(
                    "{} of {} ({percent} %)",
                    human(server.used_memory),
                    human(of)
                ),
                format!("Redis, INFO memory, {}", url.redacted()),
            )
            .threshold(format!("{limit} % ({SETTING})"))
            .command(by_hand::ask(url, "INFO memory")),
        )
        .evidence(
            Evidence::new(
                "when it is full",
                match server.policy.as_str() {
                    "noeviction" => "refuses writes (noeviction)".to_owned(),
                    policy => format!("throws keys away ({policy})"),
                },
                "Redis, maxmemory-policy",
            )
            .command(by_hand::ask(url, "CONFIG GET maxmemory-policy")),
        )
        .impact(impact)
        .manual(by_hand::ask(url, "--bigkeys"))
        .manual(by_hand::ask(
            url,
            &format!(
                "CONFIG SET maxmemory {}",
                if bounded { server.max_memory * 2 } else { 0 }
            ),
        ))
        .manual(by_hand::on_server(
            url,
            "sudo grep -nE '^(maxmemory|maxmemory-policy)' /etc/redis/redis.conf",
        ))
        .interrupts("nothing")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_measured_by_its_bound_or_by_the_machine() {
        assert_eq!(used(80, 100, 1000), Some((100, 80)));
        assert_eq!(used(80, 0, 1000), Some((1000, 8)));
        // Redis before 4.0 does not say how much the machine has.
        assert_eq!(used(80, 0, 0), None);
    }
}
