//! Locks of Casepro's pulls: a worker that is killed leaves its lock behind, and for as long as it
//! lives every run is skipped and counts as a success (stack.md section 8).

use std::rc::Rc;
use std::time::Duration;

use super::owners::{Owner, Workers};
use super::state::{self, Kind, Task};
use super::{WORKER, redis_cli, shown};
use crate::diagnosis::check::{Checked, Halt, Report};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::words;
use crate::diagnosis::{Code, Evidence, Finding};
use crate::host::redis::resp::{Connection, RedisError};
use crate::lifecycle::surroundings::catches_up;

/// A lock younger than this may have been taken a moment before its task shows up anywhere.
const YOUNG: Duration = Duration::from_secs(5);

/// How much longer than the time limit a task may take to be ended by it.
const AFTER_LIMIT: Duration = Duration::from_secs(30);

/// A lock that is there.
#[derive(Debug, Clone)]
pub struct Lock {
    /// Whose it is.
    pub task: Task,
    /// Time until it ends by itself; `None`: never.
    left: Option<Duration>,
    /// How long ago it was taken, as far as that can be told.
    pub age: Option<Duration>,
}

pub(super) async fn check(scene: Rc<Scene>) -> Checked {
    let (stale, workers) = stale(&scene).await?;
    let Some(worst) = stale.first() else {
        return Ok(Report::fine());
    };
    Ok(finding(&scene, worst, &stale, &workers).into())
}

/// All locks of the pulls that are there, whoever has them.
pub async fn all(scene: &Scene) -> Result<Vec<Lock>, Halt> {
    let tasks = state::tasks(scene).await?;
    let worker = scene.container(WORKER).await?;
    let configured = scene.context.settings.get("CASEPRO_IMAGE");
    let image = worker.map_or(configured, |worker| worker.image.as_str());
    let mut redis = scene.redis("casepro").await?;
    let mut locks = Vec::new();
    for task in tasks {
        if let Some(lock) = look(&mut redis, task, image, scene.time_left()).await? {
            locks.push(lock);
        }
    }
    Ok(locks)
}

/// Those that nobody holds any more, and the workers that were asked.
pub async fn stale(scene: &Scene) -> Result<(Vec<Lock>, Workers), Halt> {
    let mut locks = all(scene).await?;
    locks.retain(|lock| lock.age.is_none_or(|age| age >= YOUNG));
    // One that catches up beside the worker holds them as long as it takes.
    let held = scene.containers().await?.iter().any(catches_up);
    if locks.is_empty() || held {
        return Ok((Vec::new(), Workers::default()));
    }
    let workers = Workers::ask(scene).await?;
    let worker = scene.container(WORKER).await?;
    let configured = scene.context.settings.get("CASEPRO_IMAGE");
    let image = worker.map_or(configured, |worker| worker.image.as_str());
    let mut redis = scene.redis("casepro").await?;
    let limit = limit(scene);
    // Not before the ages were read: an owner must not look younger than its lock.
    let now = jiff::Timestamp::now();
    let mut stale = Vec::new();
    for lock in locks {
        if !is_stale(lock.age, limit, workers.owner(&lock.task, lock.age, now)) {
            continue;
        }
        // The same lock as before, not one that was taken meanwhile.
        let (task, age) = (lock.task.clone(), lock.age);
        let again = look(&mut redis, task, image, scene.time_left()).await?;
        if again.is_some_and(|again| again.age >= age) {
            stale.push(lock);
        }
    }
    Ok((stale, workers))
}

fn limit(scene: &Scene) -> Duration {
    Duration::from_secs(scene.context.settings.number("CASEPRO_TASK_TIME_LIMIT"))
}

async fn look(
    redis: &mut Connection,
    task: Task,
    image: &str,
    limit: Duration,
) -> Result<Option<Lock>, Halt> {
    let key = task.lock();
    let asked = tokio::time::timeout(limit, redis.call(&["PTTL", &key])).await;
    let answer = asked
        .unwrap_or(Err(RedisError::Silent))
        .map_err(|error| Halt::unknown(format!("Redis: {error}")))?;
    let left = answer.text().parse().unwrap_or(-2i64);
    Ok(match u64::try_from(left) {
        Ok(left) => {
            let left = Duration::from_millis(left);
            Some(Lock {
                age: lifetime(task.kind, image, left).checked_sub(left),
                left: Some(left),
                task,
            })
        }
        Err(_) if left == -1 => Some(Lock {
            task,
            left: None,
            age: None,
        }),
        Err(_) => None,
    })
}

/// How long a lock lives from its taking on: twelve hours, from Casepro 1.4 on two for the pulls
/// (stack.md section 6). A lock that lives longer than it could is one of the older kind.
fn lifetime(kind: Kind, image: &str, left: Duration) -> Duration {
    const HOUR: Duration = Duration::from_secs(3600);
    let short = kind != Kind::Handling && version(image).is_some_and(|version| version >= (1, 4));
    if short && left <= 2 * HOUR {
        2 * HOUR
    } else {
        12 * HOUR
    }
}

/// `praekeltfoundation/casepro-docker:v1.3.13` is 1.3.
fn version(image: &str) -> Option<(u32, u32)> {
    let (_, tag) = image.rsplit_once(':')?;
    let mut parts = tag.trim_start_matches('v').split(['.', '-']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn is_stale(age: Option<Duration>, limit: Duration, owner: Owner) -> bool {
    let too_old = age.is_some_and(|age| age > limit + AFTER_LIMIT);
    match owner {
        Owner::Nobody => true,
        // Who is frozen cannot be asked; who says it runs that task should have been ended.
        Owner::Unclear | Owner::Alive => too_old,
    }
}

fn finding(scene: &Scene, worst: &Lock, stale: &[Lock], workers: &Workers) -> Finding {
    let limit = limit(scene);
    let doing = worst.task.kind.doing();
    let no_owner = worst.age.map_or_else(
        || "has no owner".to_owned(),
        |age| format!("has had no owner for {}", words::age(age)),
    );
    let mut finding = Finding::error(
        Code::CaseproLockStale,
        format!("Casepro cannot {doing}: its lock {no_owner}"),
    )
    .service(WORKER)
    .owner("casepro")
    .impact(worst.task.kind.impact());
    let place = scene
        .redis_database("casepro")
        .map(|database| format!("Redis, database {}", database.url.db()))
        .unwrap_or_default();
    for lock in stale {
        let age = match lock.age {
            Some(age) => format!("{} old", words::age(age)),
            None => "of unknown age".to_owned(),
        };
        let left = match lock.left {
            Some(left) => format!("{} to live", words::age(left)),
            None => "never ends".to_owned(),
        };
        let key = lock.task.lock();
        let mut fact = Evidence::new(format!("lock {key}"), format!("{age}, {left}"), &place);
        if lock.age.is_some_and(|age| age > limit) {
            fact = fact.threshold(format!("{} (CASEPRO_TASK_TIME_LIMIT)", words::age(limit)));
        }
        finding = finding.evidence(shown(fact, redis_cli(scene, &format!("pttl {key}"))));
    }
    let who = match (workers.count, workers.silent) {
        (0, _) => "no worker is there".to_owned(),
        (all, 0) => format!("none of {}", words::count(all, "worker")),
        (all, silent) => format!("{silent} of {} do not answer", words::count(all, "worker")),
    };
    let project = scene.context.settings.project();
    finding = finding.evidence(
        Evidence::new(
            format!("who runs {}", worst.task.kind.task()),
            who,
            "Celery",
        )
        .command(format!(
            "docker exec $(docker ps -qf label=com.docker.compose.project={project} \
                 -f label=com.docker.compose.service={WORKER}) \
                 sh -c 'cd /app && celery --app=casepro inspect active'"
        )),
    );
    let begun = worst
        .task
        .open_for()
        .map(|ago| format!(", in the run that began {} ago", words::age(ago)))
        .unwrap_or_default();
    let keys: Vec<String> = stale.iter().map(|lock| lock.task.lock()).collect();
    finding = finding
        .cause(format!(
            "a worker was killed while it held the lock{begun} (docker restart does that); \
             restarting it again does not help"
        ))
        .fix(scene.command("fix casepro-sync"))
        .manual(scene.command(&format!("stop {WORKER}")));
    if let Some(command) = redis_cli(scene, &format!("del {}", keys.join(" "))) {
        finding = finding.manual(command);
    }
    finding
        .manual(scene.command(&format!("start {WORKER}")))
        .interrupts("Casepro's workers, about 20 s")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_lock_without_owner_is_stale_and_one_with_a_living_owner_is_not() {
        let (age, limit) = (Some(MINUTE), 10 * MINUTE);
        assert!(is_stale(age, limit, Owner::Nobody));
        assert!(!is_stale(age, limit, Owner::Alive));
        assert!(!is_stale(age, limit, Owner::Unclear));
        assert!(is_stale(None, limit, Owner::Nobody));
        assert!(!is_stale(None, limit, Owner::Alive));
    }

    #[test]
    fn a_lock_older_than_any_task_may_be_is_stale() {
        let limit = 10 * MINUTE;
        for owner in [Owner::Alive, Owner::Unclear, Owner::Nobody] {
            assert!(is_stale(Some(11 * MINUTE), limit, owner));
        }
        assert!(!is_stale(Some(limit + AFTER_LIMIT), limit, Owner::Alive));
    }

    #[test]
    fn the_lifetime_of_a_lock_is_that_of_the_release() {
        let hours = |n: u64| Duration::from_secs(3600 * n);
        let (old, new) = ("praekeltfoundation/casepro-docker:v1.3.13", "x:v1.10.0");
        assert_eq!(lifetime(Kind::Messages, old, hours(1)), hours(12));
        assert_eq!(lifetime(Kind::Messages, new, hours(1)), hours(2));
        assert_eq!(lifetime(Kind::Handling, new, hours(1)), hours(12));
        // Taken by the release before.
        assert_eq!(lifetime(Kind::Contacts, new, hours(5)), hours(12));
        assert_eq!(version("localhost:5000/casepro"), None);
        assert_eq!(version(""), None);
    }
}
