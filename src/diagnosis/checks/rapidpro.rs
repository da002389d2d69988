//! RapidPro, and mailroom and courier, which do its work.

mod courier;
mod mailroom;
mod migrations;
mod outbox;
mod web;
mod workspaces;

use crate::deployment::services::Stack;
use crate::diagnosis::cause::{When, needs, rules};
use crate::diagnosis::check::{Check, Looking, Subject};
use crate::diagnosis::{Code, Finding};

/// The checks of this subject.
pub const SUBJECT: Subject = Subject {
    checks: &[
        Check {
            name: "rapidpro",
            about: "whether RapidPro's pages answer, directly and through nginx",
            codes: &[Code::RapidproUnreachable],
            run: |scene| -> Looking { Box::pin(web::web(scene)) },
        },
        Check {
            name: "migrations",
            about: "whether RapidPro's and ContentRepo's databases are those of the running images",
            codes: &[Code::MigrationsPending],
            run: |scene| -> Looking { Box::pin(migrations::migrations(scene)) },
        },
        Check {
            name: "mailroom",
            about: "whether mailroom answers, and can search contacts in Elasticsearch",
            codes: &[Code::MailroomUnreachable],
            run: |scene| -> Looking { Box::pin(mailroom::mailroom(scene)) },
        },
        Check {
            name: "mailroom-token",
            about: "whether mailroom asks for a token, and RapidPro has the same",
            codes: &[Code::MailroomTokenEmpty],
            run: |scene| -> Looking { Box::pin(mailroom::token(scene)) },
        },
        Check {
            name: "courier",
            about: "whether courier reaches its PostgreSQL and Redis",
            codes: &[Code::CourierDependencyDown],
            run: |scene| -> Looking { Box::pin(courier::courier(scene)) },
        },
        Check {
            name: "workspaces",
            about: "whether RapidPro's workspaces are flagged or suspended",
            codes: &[Code::WorkspaceFlagged, Code::WorkspaceSuspended],
            run: |scene| -> Looking { Box::pin(workspaces::workspaces(scene)) },
        },
        Check {
            name: "outbox",
            about: "whether messages wait too long to be sent",
            codes: &[Code::OutboxStuck],
            run: |scene| -> Looking { Box::pin(outbox::outbox(scene)) },
        },
    ],
    rules: rules![
        MigrationsPending <- When::Always => [DiskFull, OperationUnfinished];
        MigrationsPending <- When::SameData => [PostgresExtensionMissing, PostgresVersionUnsupported];
        MailroomTokenEmpty <- When::SameService => [ConfigDrift];

        CourierDependencyDown <- When::Always => [DiskFull];
        CourierDependencyDown <- When::SameData => [
            PostgresUnreachable, PostgresConnectionsHigh, RedisUnreachable, RedisMemoryHigh,
            RedisReadonly,
        ];

        MailroomUnreachable <- When::Always => [DiskFull, ElasticsearchRed];
        MailroomUnreachable <- When::SameData => [
            PostgresUnreachable, PostgresConnectionsHigh, MigrationsPending,
        ];
        MailroomUnreachable <- When::Needs => [
            ServiceMissing, OomKilled, RestartLoop, ServiceExited, ServicePaused,
        ];

        RapidproUnreachable <- When::Always => [DiskFull];
        RapidproUnreachable <- When::SameData => [
            PostgresUnreachable, PostgresConnectionsHigh, RedisUnreachable, RedisReadonly,
            MigrationsPending,
        ];
        RapidproUnreachable <- When::SameService => [
            MemoryLow, ImageDrift, ConfigDrift, OomKilled, RestartLoop,
        ];

        ServiceUnhealthy <- When::SameService => [
            CourierDependencyDown, MailroomUnreachable, RapidproUnreachable,
        ];

        OutboxStuck <- When::Always => [DiskFull];
        OutboxStuck <- When::SameData => [
            PostgresUnreachable, RedisUnreachable, RedisMemoryHigh, RedisReadonly,
        ];
        OutboxStuck <- When::If(on_the_way_out) => [
            ServiceMissing, OomKilled, RestartLoop, ServiceExited, ServicePaused,
            CourierDependencyDown, MailroomUnreachable, ServiceUnhealthy, QueueGrowing,
        ];
        OutboxStuck <- When::Always => [WorkspaceSuspended];
    ],
};

/// A service that a message passes on its way out: mailroom or courier, or what one of them needs.
fn on_the_way_out(_: &Finding, cause: &Finding, stack: &Stack) -> bool {
    cause.service.as_deref().is_some_and(|cause| {
        ["courier", "mailroom"]
            .iter()
            .any(|service| needs(stack, service, cause))
    })
}
