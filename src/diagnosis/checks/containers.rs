//! Containers: whether each is there, runs, stays running, is as configured, and does its work.

mod boot;
mod drift;
mod evidence;
mod memory;
mod ports;
mod readiness;
mod restarts;
mod state;

use super::operations::concerned;
use crate::deployment::services::Stack;
use crate::diagnosis::cause::{When, needs, rule};
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
    rules: &[
        // An operation that did not get to its end leaves what it was to start or stop.
        rule(Code::ConfigDrift, Code::OperationUnfinished, OF_IT),
        rule(Code::ImageDrift, Code::OperationUnfinished, OF_IT),
        rule(Code::ServiceMissing, Code::OperationUnfinished, OF_IT),
        rule(Code::ServiceExited, Code::OperationUnfinished, OF_IT),
        rule(
            Code::ServiceUnhealthy,
            Code::OperationUnfinished,
            BEING_STARTED,
        ),
        rule(Code::ConfigDrift, Code::LockStale, OF_IT),
        rule(Code::ImageDrift, Code::LockStale, OF_IT),
        rule(Code::ServiceMissing, Code::LockStale, OF_IT),
        rule(Code::ServiceExited, Code::LockStale, OF_IT),
        rule(Code::ServiceUnhealthy, Code::LockStale, BEING_STARTED),
        // What keeps a deployment from being started at all.
        rule(Code::ServiceMissing, Code::SettingMissing, NOTHING_THERE),
        rule(
            Code::ServiceMissing,
            Code::SettingPlaceholder,
            NOTHING_THERE,
        ),
        rule(
            Code::ServiceMissing,
            Code::SettingInsecureDefault,
            NOTHING_THERE,
        ),
        rule(Code::ServiceMissing, Code::ComposeMissing, NOTHING_THERE),
        rule(
            Code::ServiceMissing,
            Code::PostgresUnreachable,
            NOTHING_THERE,
        ),
        rule(Code::ServiceMissing, Code::RedisUnreachable, NOTHING_THERE),
        // nginx.
        rule(Code::ServiceExited, Code::PortConflict, When::SameService),
        rule(Code::ServiceMissing, Code::PortConflict, When::SameService),
        rule(Code::ServiceExited, Code::NginxConfigInvalid, OF_NGINX),
        rule(Code::RestartLoop, Code::NginxConfigInvalid, OF_NGINX),
        rule(Code::ServiceUnhealthy, Code::NginxConfigInvalid, OF_NGINX),
        rule(Code::RestartLoop, Code::CertificateMismatch, OF_NGINX),
        rule(Code::RestartLoop, Code::FilePermissions, OF_NGINX),
        rule(Code::ServiceExited, Code::FilePermissions, OF_NGINX),
        // The host.
        rule(Code::OomKilled, Code::MemoryLow, When::Always),
        rule(Code::RestartLoop, Code::DiskFull, When::Always),
        rule(Code::ServiceExited, Code::DiskFull, When::Always),
        rule(Code::ServiceUnhealthy, Code::DiskFull, When::Always),
        rule(Code::RestartLoop, Code::OomKilled, When::SameService),
        rule(Code::ServiceExited, Code::OomKilled, When::SameService),
        rule(Code::ServiceUnhealthy, Code::OomKilled, When::SameService),
        // Data services: some end without them (Casepro migrates at its start), others say so.
        rule(Code::RestartLoop, Code::PostgresUnreachable, When::SameData),
        rule(
            Code::RestartLoop,
            Code::PostgresExtensionMissing,
            When::SameData,
        ),
        rule(Code::RestartLoop, Code::RedisUnreachable, When::SameData),
        rule(Code::RestartLoop, Code::RedisReadonly, When::SameData),
        rule(
            Code::ServiceExited,
            Code::PostgresUnreachable,
            BEING_STARTED_DATA,
        ),
        rule(
            Code::ServiceExited,
            Code::RedisUnreachable,
            BEING_STARTED_DATA,
        ),
        rule(
            Code::ServiceUnhealthy,
            Code::PostgresUnreachable,
            When::SameData,
        ),
        rule(
            Code::ServiceUnhealthy,
            Code::PostgresExtensionMissing,
            When::SameData,
        ),
        rule(
            Code::ServiceUnhealthy,
            Code::PostgresConnectionsHigh,
            When::SameData,
        ),
        rule(
            Code::ServiceUnhealthy,
            Code::RedisUnreachable,
            When::SameData,
        ),
        rule(
            Code::ServiceUnhealthy,
            Code::RedisMemoryHigh,
            When::SameData,
        ),
        rule(Code::ServiceUnhealthy, Code::RedisReadonly, When::SameData),
        // Services that need each other: not started because of it, or asking it while they run.
        rule(
            Code::ServiceExited,
            Code::ServiceMissing,
            NOT_STARTED_WITHOUT,
        ),
        rule(Code::ServiceExited, Code::RestartLoop, NOT_STARTED_WITHOUT),
        rule(Code::ServiceUnhealthy, Code::ServiceMissing, ASKS_IT),
        rule(Code::ServiceUnhealthy, Code::RestartLoop, ASKS_IT),
        rule(Code::ServiceUnhealthy, Code::ServiceExited, ASKS_IT),
        rule(Code::ServiceUnhealthy, Code::ServicePaused, ASKS_IT),
        rule(Code::ServiceUnhealthy, Code::ElasticsearchRed, ASKS_IT),
        // What exactly is wrong with the service.
        rule(Code::ServiceUnhealthy, Code::RestartLoop, When::SameService),
        rule(
            Code::ServiceUnhealthy,
            Code::ElasticsearchRed,
            When::SameService,
        ),
        rule(
            Code::ServiceUnhealthy,
            Code::ElasticsearchReadOnly,
            When::SameService,
        ),
        rule(
            Code::ServiceUnhealthy,
            Code::MigrationsPending,
            When::SameService,
        ),
        rule(
            Code::ServiceUnhealthy,
            Code::CourierDependencyDown,
            When::SameService,
        ),
        rule(
            Code::ServiceUnhealthy,
            Code::MailroomUnreachable,
            When::SameService,
        ),
        rule(
            Code::ServiceUnhealthy,
            Code::RapidproUnreachable,
            When::SameService,
        ),
        rule(
            Code::ServiceUnhealthy,
            Code::CaseproUnreachable,
            When::SameService,
        ),
        rule(
            Code::ServiceUnhealthy,
            Code::ContentrepoUnreachable,
            When::SameService,
        ),
    ],
};

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
const BEING_STARTED_DATA: When = When::If(|effect, cause, stack| {
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
