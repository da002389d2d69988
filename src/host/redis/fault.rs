//! What to tell an operator about a Redis that cannot be used.

use super::{RedisOutcome, RedisReport};
use crate::fault::Fault;
use crate::host::reach::hint::on_machine;
use crate::host::reach::{self, Place, host_port, seen_from};
use crate::host::url::RedisUrl;

impl RedisReport {
    /// The fault, if there is one; `None` for a database that the services can use.
    ///
    /// `label` says whose it is and decides what the fault says about consequences: "RapidPro",
    /// "Casepro", "ContentRepo". `from` says where the probe ran: "this host".
    pub fn fault(&self, label: &str, url: &RedisUrl, from: &str) -> Option<Fault> {
        let fault = match self.outcome {
            RedisOutcome::Usable => return None,
            RedisOutcome::Unreached(kind) => {
                let place = Place {
                    label,
                    program: "Redis",
                    host: url.host(),
                    port: url.port(),
                    from,
                };
                let refused = [
                    on_machine(url.host(), "systemctl status redis-server"),
                    "grep -nE '^(bind|port|protected-mode)' /etc/redis/redis.conf".to_owned(),
                    on_machine(
                        url.host(),
                        &format!("sudo ss -ltnp 'sport = :{}'", url.port()),
                    ),
                ];
                reach::explain(kind, &place, &self.attempts, &refused)
            }
            _ => self.other(label, url),
        };
        let mut fault = fault.why(consequences(label, self.outcome));
        fault
            .evidence
            .insert(0, format!("{} {}", url.redacted(), seen_from(from)));
        if let Some(message) = &self.message {
            fault.evidence.insert(1, message.clone());
        }
        if let Some(server) = &self.server {
            fault = fault.evidence(format!(
                "Redis {}, {} keys in database {}",
                server.version, server.keys, server.db
            ));
        }
        Some(fault)
    }

    fn other(&self, label: &str, url: &RedisUrl) -> Fault {
        let place = host_port(url.host(), url.port());
        let fault =
            |headline: String, what: &str| Fault::problem(format!("{label}: {headline}"), what);
        let login = match url.password() {
            Some(_) => " --askpass",
            None => "",
        };
        let (host, port) = (url.host(), url.port());
        let cli = |command: &str| format!("redis-cli -h {host} -p {port}{login} {command}");
        let settings = "ooy config --check";
        match self.outcome {
            RedisOutcome::Silent => fault(
                format!("{place} accepts the connection and says nothing"),
                "no answer from Redis in time: it hangs, or something else listens there",
            )
            .evidence(format!("waited {} ms", self.took_ms))
            .next(on_machine(url.host(), "systemctl status redis-server"))
            .next(on_machine(url.host(), &format!("sudo ss -ltnp 'sport = :{}'", url.port()))),
            RedisOutcome::NotRedis => fault(
                format!("{place} is not Redis"),
                "what answers there does not speak Redis's protocol: the port belongs to something else",
            )
            .next(on_machine(url.host(), &format!("sudo ss -ltnp 'sport = :{}'", url.port()))),
            RedisOutcome::PasswordMissing => fault(
                "Redis wants a password".into(),
                "the URL in the settings has no password, and Redis asks for one",
            )
            .evidence("written as redis://:password@host:port/db")
            .next(on_machine(url.host(), "sudo grep -n '^requirepass' /etc/redis/redis.conf"))
            .next(settings),
            RedisOutcome::WrongPassword => fault(
                "Redis does not accept the password".into(),
                "the password in the settings is not the one that Redis has",
            )
            .next(on_machine(url.host(), "sudo grep -n '^requirepass' /etc/redis/redis.conf"))
            .next(settings),
            RedisOutcome::PasswordNotWanted => fault(
                "Redis has no password".into(),
                "the URL in the settings has a password, Redis has none, and so refuses the login",
            )
            .next(on_machine(url.host(), "sudo grep -n '^requirepass' /etc/redis/redis.conf"))
            .next(settings),
            RedisOutcome::NotPermitted => fault(
                format!("Redis does not permit {} enough", url.user().unwrap_or("the default user")),
                "an access control list of Redis forbids commands that the services need",
            )
            .next(cli("ACL LIST")),
            RedisOutcome::Protected => fault(
                "Redis is in protected mode".into(),
                "Redis has no password and so answers its own host only: containers are refused",
            )
            .evidence("set `requirepass` in /etc/redis/redis.conf, then the password in the settings")
            .next(on_machine(url.host(), "sudoedit /etc/redis/redis.conf"))
            .next(on_machine(url.host(), "sudo systemctl restart redis-server"))
            .next(settings),
            RedisOutcome::Loading => fault(
                "Redis is loading its data".into(),
                "Redis was started a moment ago and reads its file; it answers nothing until then",
            )
            .next(cli("INFO persistence")),
            RedisOutcome::CannotSave => fault(
                "Redis cannot save and refuses every write".into(),
                "the last save to disk failed (disk full, or no permission), so Redis stopped taking writes",
            )
            .next(on_machine(url.host(), "df -h /var/lib/redis"))
            .next("sudo tail -n 20 /var/log/redis/redis-server.log")
            .next(cli("BGSAVE")),
            RedisOutcome::ReadOnly => fault(
                "Redis is a read-only replica".into(),
                "this Redis is a copy of another one: every write fails",
            )
            .next(cli("INFO replication"))
            .next(cli("REPLICAOF NO ONE")),
            RedisOutcome::OutOfMemory => fault(
                "Redis has no memory left".into(),
                "maxmemory is reached and nothing may be thrown away: every write fails",
            )
            .next(cli("INFO memory"))
            .next(cli("--bigkeys")),
            RedisOutcome::DbOutOfRange => fault(
                format!("Redis has no database {}", url.db()),
                "the number in the URL is beyond what Redis is set up for (16 unless changed, counted from 0)",
            )
            .next(cli("CONFIG GET databases"))
            .next(settings),
            RedisOutcome::TooManyClients => fault(
                "Redis has no connection left".into(),
                "all connections that Redis allows (maxclients) are in use",
            )
            .next(cli("INFO clients"))
            .next(cli("CONFIG GET maxclients")),
            _ => fault(
                "Redis does not let the services in".into(),
                "Redis, or what stands before it, answered with an error or ended the connection",
            )
            .next(on_machine(url.host(), "sudo tail -n 20 /var/log/redis/redis-server.log")),
        }
    }
}

fn consequences(label: &str, outcome: RedisOutcome) -> String {
    let label = label.to_lowercase();
    let who = if label.contains("casepro") {
        "casepro-celery does not work: no message and no contact is pulled, operators see nothing new"
    } else if label.contains("content") {
        "contentrepo does not work: its cache is there"
    } else if ["rapidpro", "mailroom", "courier"]
        .iter()
        .any(|s| label.contains(s))
    {
        "rapidpro, rapidpro-celery, rapidpro-beat, mailroom and courier do not work: their queues \
         are there, so no message is received, answered or sent"
    } else {
        "every service that uses this Redis fails"
    };
    if outcome == RedisOutcome::Loading {
        format!("until it is done: {who}")
    } else {
        who.to_owned()
    }
}
