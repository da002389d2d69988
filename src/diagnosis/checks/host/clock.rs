//! The clock of this host and those of its databases. Celery, locks in Redis and "newer than" in SQL
//! all rely on them being the same.

use std::rc::Rc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::diagnosis::check::{Checked, Halt, Report};
use crate::diagnosis::scene::{NO_DEPLOYMENT, Scene};
use crate::diagnosis::words;
use crate::diagnosis::{Code, Evidence, Finding};
use crate::host::postgres::by_hand;
use crate::host::redis::resp::Reply;
use crate::host::url::RedisUrl;

const OWNERS: [&str; 3] = ["rapidpro", "casepro", "contentrepo"];

/// A clock that was asked.
struct Asked {
    /// Whose: "PostgreSQL on 10.0.10.4:5432".
    whose: String,
    /// By how much it is ahead of ours, at least; negative: behind.
    ahead: SignedDuration,
    /// The command that shows it.
    command: String,
    owner: &'static str,
}

/// The check `clock-postgres`.
pub async fn postgres(scene: Rc<Scene>) -> Checked {
    if scene.only_calls {
        return Err(Halt::unused(NO_DEPLOYMENT));
    }
    let mut servers: Vec<(String, u16)> = Vec::new();
    let mut asked = Vec::new();
    for owner in OWNERS {
        let url = scene.database(owner)?.url;
        let server = (url.host().to_owned(), url.port());
        if servers.contains(&server) {
            continue;
        }
        servers.push(server);
        let session = scene.postgres(owner).await?;
        let before = Timestamp::now();
        let rows = session
            .rows("SELECT extract(epoch FROM clock_timestamp())")
            .await
            .map_err(|error| Halt::unknown(format!("PostgreSQL's clock: {}", error.message)))?;
        let theirs = rows
            .first()
            .and_then(|row| row.text(0).parse::<f64>().ok())
            .and_then(from_seconds)
            .ok_or_else(|| Halt::unknown("PostgreSQL gave no time"))?;
        asked.push(Asked {
            whose: format!("PostgreSQL on {}:{}", url.host(), url.port()),
            ahead: ahead(before, theirs, Timestamp::now()),
            command: format!(
                "{}; date --iso-8601=ns",
                by_hand::ask(&url, "SELECT clock_timestamp()")
            ),
            owner,
        });
    }
    Ok(judge(&scene, &asked))
}

/// The check `clock-redis`.
pub async fn redis(scene: Rc<Scene>) -> Checked {
    if scene.only_calls {
        return Err(Halt::unused(NO_DEPLOYMENT));
    }
    let mut servers: Vec<(String, u16)> = Vec::new();
    let mut asked = Vec::new();
    for owner in OWNERS {
        let url = scene.redis_database(owner)?.url;
        let server = (url.host().to_owned(), url.port());
        if servers.contains(&server) {
            continue;
        }
        servers.push(server);
        let mut connection = scene.redis(owner).await?;
        let before = Timestamp::now();
        let answer = tokio::time::timeout(scene.time_left(), connection.call(&["TIME"]))
            .await
            .map_err(|_| Halt::unknown("Redis did not tell its time"))?;
        let theirs = match answer {
            Ok(Reply::Array(parts)) => seconds_of(&parts),
            Ok(_) => None,
            Err(error) => return Err(Halt::unknown(format!("Redis's clock: {error}"))),
        }
        .ok_or_else(|| Halt::unknown("Redis gave no time"))?;
        asked.push(Asked {
            whose: format!("Redis on {}:{}", url.host(), url.port()),
            ahead: ahead(before, theirs, Timestamp::now()),
            command: redis_command(&url),
            owner,
        });
    }
    Ok(judge(&scene, &asked))
}

fn redis_command(url: &RedisUrl) -> String {
    let ask = match url.password() {
        // The password is asked for, so that it stands in no history.
        Some(_) => " --askpass",
        None => "",
    };
    format!(
        "redis-cli -h {} -p {}{ask} TIME; date +%s",
        url.host(),
        url.port()
    )
}

/// Seconds and microseconds, as Redis gives them.
fn seconds_of(parts: &[Reply]) -> Option<Timestamp> {
    let number = |at: usize| parts.get(at)?.text().parse::<f64>().ok();
    from_seconds(number(0)? + number(1)? / 1e6)
}

fn from_seconds(seconds: f64) -> Option<Timestamp> {
    let time = SignedDuration::try_from_secs_f64(seconds).ok()?;
    Timestamp::from_duration(time).ok()
}

/// By how much their clock is ahead of ours, at least: the answer was given somewhen between the
/// question and now.
fn ahead(asked: Timestamp, theirs: Timestamp, answered: Timestamp) -> SignedDuration {
    if theirs > answered {
        answered.duration_until(theirs)
    } else if theirs < asked {
        asked.duration_until(theirs)
    } else {
        SignedDuration::ZERO
    }
}

fn judge(scene: &Scene, asked: &[Asked]) -> Report {
    let limit = scene.context.settings.interval("CLOCK_SKEW");
    let mut report = Report::fine();
    for clock in asked {
        let off = clock.ahead.unsigned_abs();
        if off > limit {
            report.found(found(clock, off, limit));
        }
    }
    report
}

fn found(clock: &Asked, off: Duration, limit: Duration) -> Finding {
    let (off, way) = (
        words::age(off),
        if clock.ahead.is_positive() {
            "ahead of"
        } else {
            "behind"
        },
    );
    Finding::warning(
        Code::ClockSkew,
        format!("The clock of {} is {off} {way} this host's", clock.whose),
    )
    .owner(clock.owner)
    .evidence(
        Evidence::new("difference", off, clock.whose.clone())
            .threshold(format!("{} (CLOCK_SKEW)", words::age(limit)))
            .command(clock.command.clone()),
    )
    .impact("locks, schedules and \"newer than\" go wrong: messages are pulled twice or not at all")
    .manual("timedatectl")
    .manual("sudo timedatectl set-ntp true")
    .interrupts("nothing, if the clock is moved slowly; on the other host the same")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(1_795_000_000_000 + milliseconds).unwrap()
    }

    #[test]
    fn a_slow_answer_is_no_difference() {
        assert_eq!(ahead(at(0), at(1), at(9000)), SignedDuration::ZERO);
        assert_eq!(ahead(at(0), at(9001), at(9000)).as_millis(), 1);
        assert_eq!(ahead(at(0), at(-7000), at(9000)).as_millis(), -7000);
    }

    #[test]
    fn times_are_read() {
        let parts = [
            Reply::Bulk(b"1795000000".into()),
            Reply::Bulk(b"500000".into()),
        ];
        assert_eq!(seconds_of(&parts).unwrap(), at(500));
        assert_eq!(seconds_of(&parts[..1]), None);
        assert_eq!(from_seconds(f64::NAN), None);
        assert_eq!(from_seconds(1e300), None);
    }

    #[test]
    fn the_command_holds_no_password() {
        let url = RedisUrl::parse("redis://:hunter2@redis.test:6380/4").unwrap();
        assert_eq!(
            redis_command(&url),
            "redis-cli -h redis.test -p 6380 --askpass TIME; date +%s"
        );
    }
}
