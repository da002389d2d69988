//! Containers: whether each is there, runs, stays running, is as configured, and does its work.

mod boot;
mod drift;
mod evidence;
mod memory;
mod ports;
mod readiness;
mod restarts;
mod state;

pub use boot::{DOCKER_UNIT, docker_is_off, would_stay_down};
pub use state::{nothing_there, stopped_on_purpose};

use super::operations::concerned;
use crate::deployment::services::Stack;
use crate::diagnosis::cause::{Rule, When, needs, rules};
use crate::diagnosis::check::{Check, Looking, Subject};
use crate::diagnosis::{Code, Finding};

/// The checks of this subject.
pub const SUBJECT: Subject = Subject {
    checks: &[
        Check {
            name: "containers",
            about: "whether each service has a container, and it runs",
            codes: &[
                Code::ServiceMissing,
                Code::ServiceExited,
                Code::ServicePaused,
            ],
            run: |scene| -> Looking { Box::pin(state::check(scene)) },
        },
        Check {
            name: "restarts",
            about: "containers that end again and again",
            codes: &[Code::RestartLoop],
            run: |scene| -> Looking { Box::pin(restarts::check(scene)) },
        },
        Check {
            name: "out-of-memory",
            about: "containers of which the kernel killed a process for want of memory",
            codes: &[Code::OomKilled],
            run: |scene| -> Looking { Box::pin(memory::check(scene)) },
        },
        Check {
            name: "readiness",
            about: "whether each running service does its work, asked directly",
            codes: &[Code::ServiceUnhealthy],
            run: |scene| -> Looking { Box::pin(readiness::check(scene)) },
        },
        Check {
            name: "images",
            about: "whether what runs is the configured image",
            codes: &[Code::ImageDrift],
            run: |scene| -> Looking { Box::pin(drift::images(scene)) },
        },
        Check {
            name: "configuration",
            about: "whether what runs was made with the present settings",
            codes: &[Code::ConfigDrift],
            run: |scene| -> Looking { Box::pin(drift::configuration(scene)) },
        },
        Check {
            name: "boot",
            about: "whether what runs comes back after a restart of Docker or the host",
            codes: &[Code::BootDisabled],
            run: |scene| -> Looking { Box::pin(boot::check(scene)) },
        },
        Check {
            name: "nginx-ports",
            about: "whether somebody else holds the ports of nginx",
            codes: &[Code::PortConflict],
            run: |scene| -> Looking { Box::pin(ports::check(scene)) },
        },
    ],
    rules: RULES,
};

const RULES: &[Rule] = rules![
    // An operation that did not get to its end leaves what it was to start or stop.
    ConfigDrift <- OF_IT => [OperationUnfinished, LockStale];
    ImageDrift <- OF_IT => [OperationUnfinished, LockStale];
    ServiceMissing <- OF_IT => [OperationUnfinished, LockStale];
    ServiceExited <- OF_IT => [OperationUnfinished, LockStale];
    ServiceUnhealthy <- BEING_STARTED => [OperationUnfinished, LockStale];
    // What keeps a deployment from being started at all.
    ServiceMissing <- NOTHING_THERE => [
        SettingMissing, SettingPlaceholder, SettingInsecureDefault, ComposeMissing,
        PostgresUnreachable, RedisUnreachable,
    ];
    // nginx.
    ServiceMissing <- When::SameService => [PortConflict];
    ServiceExited <- When::SameService => [PortConflict];
    ServiceExited <- OF_NGINX => [NginxConfigInvalid, FilePermissions];
    RestartLoop <- OF_NGINX => [NginxConfigInvalid, CertificateMismatch, FilePermissions];
    ServiceUnhealthy <- OF_NGINX => [NginxConfigInvalid];
    // The host.
    RestartLoop <- When::Always => [DiskFull];
    ServiceExited <- When::Always => [DiskFull];
    ServiceUnhealthy <- When::Always => [DiskFull];
    RestartLoop <- When::SameService => [OomKilled];
    ServiceExited <- When::SameService => [OomKilled];
    ServiceUnhealthy <- When::SameService => [OomKilled];
    // Data services: some end without them (Casepro migrates at its start), others say so.
    RestartLoop <- When::SameData => [
        PostgresUnreachable, PostgresExtensionMissing, RedisUnreachable, RedisReadonly,
    ];
    ServiceExited <- NEVER_RAN_ITS_DATA => [PostgresUnreachable, RedisUnreachable];
    ServiceUnhealthy <- When::SameData => [
        PostgresUnreachable, PostgresExtensionMissing, PostgresConnectionsHigh,
        RedisUnreachable, RedisMemoryHigh, RedisReadonly,
    ];
    // Services that need each other: not started because of it, or asking it while they run.
    ServiceExited <- NOT_STARTED_WITHOUT => [ServiceMissing, RestartLoop];
    ServiceUnhealthy <- ASKS_IT => [
        ServiceMissing, RestartLoop, ServiceExited, ServicePaused, ElasticsearchRed,
    ];
    // What exactly is wrong with the service.
    ServiceUnhealthy <- When::SameService => [
        RestartLoop, ElasticsearchRed, ElasticsearchReadOnly, MigrationsPending,
        CourierDependencyDown, MailroomUnreachable, RapidproUnreachable, CaseproUnreachable,
        ContentrepoUnreachable,
    ];
];

/// Of the operation that was cut off, or stands still.
const OF_IT: When = When::If(|effect, operation, _| concerned(effect, operation));

/// The same, and not ready because it was started only a moment ago.
const BEING_STARTED: When =
    When::If(|effect, operation, _| young(effect) && concerned(effect, operation));

/// Nothing of the deployment is there.
const NOTHING_THERE: When = When::If(|effect, _, _| state::nothing_there(effect));

/// The effect is about nginx; the cause may be about a file of it.
const OF_NGINX: When = When::If(|effect, _, _| effect.service.as_deref() == Some("nginx"));

/// It was made and never started: the start waits for PostgreSQL and Redis.
const NEVER_RAN_ITS_DATA: When = When::If(|effect, cause, stack| {
    let data = effect
        .service
        .as_deref()
        .and_then(|service| stack.service(service)?.data);
    state::never_ran(effect) && data.is_some() && data == cause.owner
});

/// It was made and never started, since something that it needs did not come up.
const NOT_STARTED_WITHOUT: When =
    When::If(|effect, cause, stack| state::never_ran(effect) && pair(effect, cause, stack, needs));

/// While it runs it depends on the other one.
const ASKS_IT: When = When::If(|effect, cause, stack| pair(effect, cause, stack, asks));

fn young(effect: &Finding) -> bool {
    readiness::is_starting(effect)
}

fn pair(
    effect: &Finding,
    cause: &Finding,
    stack: &Stack,
    related: fn(&Stack, &str, &str) -> bool,
) -> bool {
    match (&effect.service, &cause.service) {
        (Some(effect), Some(cause)) => effect != cause && related(stack, effect, cause),
        _ => false,
    }
}

/// `depends_on` is an order of starting; what a running service cannot be without is less: the
/// indexer's health check and mailroom's start ask Elasticsearch, and of services that the
/// operator added nothing is known.
fn asks(stack: &Stack, service: &str, other: &str) -> bool {
    match service {
        "indexer" | "mailroom" => other == "elasticsearch",
        _ => {
            let own = stack
                .service(service)
                .is_some_and(|service| service.ready == crate::deployment::services::Ready::Health);
            own && needs(stack, service, other)
        }
    }
}
