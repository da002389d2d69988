//! What explains findings about Casepro.

use super::WORKER;
use crate::deployment::services::Stack;
use crate::diagnosis::Code::{
    BeatMissing, CaseproBackendNoop, CaseproLockStale, CaseproSyncStalled, CaseproUnreachable,
    CeleryStalled, MigrationsPending, OomKilled, PostgresUnreachable, RapidproUnreachable,
    RedisMemoryHigh, RedisReadonly, RedisUnreachable, RestartLoop, ServiceExited, ServiceMissing,
    ServicePaused, ServiceUnhealthy, UpstreamUnreachable, WorkspaceFlagged, WorkspaceSuspended,
};
use crate::diagnosis::cause::When::{Always, If, SameData, SameService};
use crate::diagnosis::cause::{Rule, rule};
use crate::diagnosis::{Finding, Severity};

pub(super) const RULES: &[Rule] = &[
    // Its pages.
    rule(CaseproUnreachable, PostgresUnreachable, SameData),
    rule(CaseproUnreachable, RedisUnreachable, SameData),
    rule(CaseproUnreachable, RedisReadonly, SameData),
    rule(CaseproUnreachable, MigrationsPending, SameData),
    rule(CaseproUnreachable, RestartLoop, SameService),
    rule(CaseproUnreachable, OomKilled, SameService),
    // The Engine's health check asks the same as we do.
    rule(ServiceUnhealthy, CaseproUnreachable, SameService),
    rule(UpstreamUnreachable, CaseproUnreachable, SameService),
    // Its locks: without a worker nobody needs them, and `ooy start` takes them away.
    rule(CaseproLockStale, ServiceMissing, SameService),
    rule(CaseproLockStale, OomKilled, SameService),
    rule(CaseproLockStale, RestartLoop, SameService),
    rule(CaseproLockStale, ServiceExited, SameService),
    rule(CaseproLockStale, ServicePaused, SameService),
    // A worker that answers nobody may hold one for longer than it should.
    rule(CaseproLockStale, ServiceUnhealthy, SameService),
    rule(CaseproLockStale, CeleryStalled, SameService),
    // Refused writes are refused releases too.
    rule(CaseproLockStale, RedisReadonly, SameData),
    // Its pulls.
    rule(CaseproSyncStalled, PostgresUnreachable, If(data_of_either)),
    rule(CaseproSyncStalled, RedisUnreachable, If(data_of_either)),
    rule(CaseproSyncStalled, RedisReadonly, SameData),
    rule(CaseproSyncStalled, RedisMemoryHigh, If(full)),
    rule(CaseproSyncStalled, ServiceMissing, If(either)),
    rule(CaseproSyncStalled, OomKilled, If(either)),
    rule(CaseproSyncStalled, RestartLoop, If(either)),
    rule(CaseproSyncStalled, ServiceExited, If(either)),
    rule(CaseproSyncStalled, ServicePaused, If(either)),
    rule(CaseproSyncStalled, ServiceUnhealthy, If(either)),
    rule(CaseproSyncStalled, MigrationsPending, If(data_of_either)),
    rule(CaseproSyncStalled, RapidproUnreachable, Always),
    rule(CaseproSyncStalled, WorkspaceFlagged, If(only_sorting)),
    rule(CaseproSyncStalled, WorkspaceSuspended, If(only_sorting)),
    rule(CaseproSyncStalled, BeatMissing, SameService),
    rule(CaseproSyncStalled, CeleryStalled, SameService),
    rule(CaseproSyncStalled, CaseproBackendNoop, Always),
    rule(CaseproSyncStalled, CaseproLockStale, Always),
];

/// A pull needs the worker that makes it, and RapidPro, which it asks.
fn either(_: &Finding, cause: &Finding, _: &Stack) -> bool {
    matches!(cause.service.as_deref(), Some(WORKER | "rapidpro"))
}

fn data_of_either(_: &Finding, cause: &Finding, stack: &Stack) -> bool {
    let of_service = || stack.service(cause.service.as_deref()?)?.data;
    matches!(
        cause.owner.or_else(of_service),
        Some("casepro" | "rapidpro")
    )
}

/// No memory left at all: a warning beforehand stops no pull.
fn full(effect: &Finding, cause: &Finding, stack: &Stack) -> bool {
    cause.severity == Severity::Error && data_of_either(effect, cause, stack)
}

/// Reading goes on in a workspace that is flagged; archiving, which sorting does, is refused.
fn only_sorting(effect: &Finding, _: &Finding, _: &Stack) -> bool {
    effect.summary.contains("sorted new messages")
}
