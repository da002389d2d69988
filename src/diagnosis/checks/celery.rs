//! Celery: its workers, the beats that give them their regular work, and what waits, in the queues
//! of mailroom and courier too.

pub mod app;
mod beat;
pub mod duplicate;
mod lists;
mod queues;
mod squash;
mod stalled;
pub mod worker;

use self::app::{CASEPRO, RAPIDPRO};
use crate::deployment::services::Stack;
use crate::diagnosis::cause::{When, rules};
use crate::diagnosis::check::{Check, Looking, Subject};
use crate::diagnosis::{Code, Finding};

/// The checks of this subject.
pub const SUBJECT: Subject = Subject {
    checks: &[
        Check {
            name: "celery-rapidpro",
            about: "whether RapidPro's workers take their tasks",
            codes: &[Code::CeleryStalled],
            run: |scene| -> Looking { Box::pin(stalled::workers(scene, &RAPIDPRO)) },
        },
        Check {
            name: "celery-casepro",
            about: "whether Casepro's workers take their tasks",
            codes: &[Code::CeleryStalled],
            run: |scene| -> Looking { Box::pin(stalled::workers(scene, &CASEPRO)) },
        },
        Check {
            name: "beat-rapidpro",
            about: "whether RapidPro's beat lives, which starts all that is done on a schedule",
            codes: &[Code::BeatMissing],
            run: |scene| -> Looking { Box::pin(beat::beat(scene, &RAPIDPRO)) },
        },
        Check {
            name: "beat-casepro",
            about: "whether Casepro's beat lives, which starts every pull of messages",
            codes: &[Code::BeatMissing],
            run: |scene| -> Looking { Box::pin(beat::beat(scene, &CASEPRO)) },
        },
        Check {
            name: "beats-rapidpro",
            about: "whether one beat alone gives RapidPro's workers their tasks",
            codes: &[Code::BeatDuplicate],
            run: |scene| -> Looking { Box::pin(duplicate::beats(scene, &RAPIDPRO)) },
        },
        Check {
            name: "beats-casepro",
            about: "whether one beat alone gives Casepro's workers their tasks",
            codes: &[Code::BeatDuplicate],
            run: |scene| -> Looking { Box::pin(duplicate::beats(scene, &CASEPRO)) },
        },
        Check {
            name: "queues-rapidpro",
            about: "whether tasks wait for RapidPro's workers and do not move",
            codes: &[Code::QueueGrowing],
            run: |scene| -> Looking { Box::pin(lists::lists(scene, &RAPIDPRO)) },
        },
        Check {
            name: "queues-casepro",
            about: "whether tasks wait for Casepro's workers and do not move",
            codes: &[Code::QueueGrowing],
            run: |scene| -> Looking { Box::pin(lists::lists(scene, &CASEPRO)) },
        },
        Check {
            name: "queues-mailroom",
            about: "whether tasks wait for mailroom and do not move",
            codes: &[Code::QueueGrowing],
            run: |scene| -> Looking { Box::pin(queues::mailroom(scene)) },
        },
        Check {
            name: "queues-courier",
            about: "whether messages wait for courier and do not move",
            codes: &[Code::QueueGrowing],
            run: |scene| -> Looking { Box::pin(queues::courier(scene)) },
        },
    ],
    rules: rules![
        CeleryStalled <- When::Always => [DiskFull];
        CeleryStalled <- When::SameData => [
            RedisUnreachable, RedisReadonly, PostgresUnreachable, PostgresConnectionsHigh,
        ];
        CeleryStalled <- When::SameService => [
            MemoryLow, ImageDrift, ConfigDrift, OomKilled, RestartLoop,
        ];
        ServiceUnhealthy <- When::SameService => [CeleryStalled];
        ServiceUnhealthy <- When::SameData => [RedisUnreachable, RedisReadonly];
        BeatMissing <- When::SameData => [RedisUnreachable, RedisReadonly];
        BeatMissing <- When::SameService => [
            ConfigDrift, OomKilled, RestartLoop, CeleryStalled, ServiceUnhealthy,
        ];
        BeatDuplicate <- When::SameData => [RedisDatabaseShared];

        QueueGrowing <- When::Always => [DiskFull];
        QueueGrowing <- When::SameData => [
            PostgresUnreachable, PostgresConnectionsHigh, RedisReadonly, MigrationsPending,
        ];
        QueueGrowing <- When::If(of_the_takers) => [
            ServiceMissing, OomKilled, RestartLoop, ServiceExited, ServicePaused,
            CourierDependencyDown, MailroomUnreachable, CeleryStalled, ServiceUnhealthy,
            CaseproLockStale, CaseproSyncStalled,
        ];
    ],
};

/// The cause is about a service that takes from this queue. RapidPro's beat is a worker as well.
fn of_the_takers(effect: &Finding, cause: &Finding, _: &Stack) -> bool {
    let (Some(effect), Some(cause)) = (effect.service.as_deref(), cause.service.as_deref()) else {
        return false;
    };
    effect == cause
        || [&RAPIDPRO, &CASEPRO]
            .iter()
            .any(|app| app.workers.contains(&effect) && app.workers.contains(&cause))
        // Courier's queues are filled by mailroom, and mailroom's handlers wait for Elasticsearch.
        || (effect == "mailroom" && cause == "elasticsearch")
}
