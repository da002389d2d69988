//! The names of what can be found. Other tools rely on them; they never change their meaning.

use serde::{Serialize, Serializer};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nothing to do tonight.
    Info,
    /// It works, and will not for long, or not for everybody.
    Warning,
    /// Something that people need does not work.
    Error,
}

macro_rules! codes {
    ($($variant:ident = $name:literal,)*) => {
        /// What was found. In the order from ground to roof: a finding is explained only by one
        /// whose code stands before its own, so that no two can explain each other.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs, reason = "the name says it, and the check's page the rest")]
        pub enum Code {
            $($variant,)*
        }

        impl Code {
            /// All of them, from ground to roof.
            #[cfg(test)]
            pub const ALL: &'static [Code] = &[$(Code::$variant,)*];

            /// As it is written: `disk-full`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Code::$variant => $name,)*
                }
            }
        }
    };
}

codes! {
    // The host.
    DiskFull = "disk-full",
    DiskLow = "disk-low",
    LogOversized = "log-oversized",
    DockerReclaimable = "docker-reclaimable",
    MaxMapCountLow = "max-map-count-low",
    MemoryLow = "memory-low",
    ClockSkew = "clock-skew",
    PortConflict = "port-conflict",
    // What the deployment is made of.
    SettingMissing = "setting-missing",
    SettingPlaceholder = "setting-placeholder",
    SettingUnknown = "setting-unknown",
    SettingInsecureDefault = "setting-insecure-default",
    FilePermissions = "file-permissions",
    CertificateExpired = "certificate-expired",
    CertificateMismatch = "certificate-mismatch",
    CertificateExpiring = "certificate-expiring",
    // Docker.
    EngineUnreachable = "engine-unreachable",
    ComposeMissing = "compose-missing",
    BootDisabled = "boot-disabled",
    LockStale = "lock-stale",
    OperationUnfinished = "operation-unfinished",
    // PostgreSQL and Redis.
    PostgresUnreachable = "postgres-unreachable",
    PostgresVersionUnsupported = "postgres-version-unsupported",
    PostgresExtensionMissing = "postgres-extension-missing",
    PostgresConnectionsHigh = "postgres-connections-high",
    PostgresExposed = "postgres-exposed",
    RedisUnreachable = "redis-unreachable",
    RedisMemoryHigh = "redis-memory-high",
    RedisReadonly = "redis-readonly",
    RedisDatabaseShared = "redis-database-shared",
    RedisExposed = "redis-exposed",
    // Containers.
    ConfigDrift = "config-drift",
    ImageDrift = "image-drift",
    NginxConfigInvalid = "nginx-config-invalid",
    ServiceMissing = "service-missing",
    OomKilled = "oom-killed",
    RestartLoop = "restart-loop",
    ServiceExited = "service-exited",
    ServicePaused = "service-paused",
    // What the services do.
    ElasticsearchExposed = "elasticsearch-exposed",
    ElasticsearchReadOnly = "elasticsearch-read-only",
    ElasticsearchRed = "elasticsearch-red",
    MigrationsPending = "migrations-pending",
    MailroomTokenEmpty = "mailroom-token-empty",
    CourierDependencyDown = "courier-dependency-down",
    MailroomUnreachable = "mailroom-unreachable",
    RapidproUnreachable = "rapidpro-unreachable",
    CaseproUnreachable = "casepro-unreachable",
    ContentrepoUnreachable = "contentrepo-unreachable",
    CeleryStalled = "celery-stalled",
    ServiceUnhealthy = "service-unhealthy",
    UpstreamUnreachable = "upstream-unreachable",
    WorkspaceSuspended = "workspace-suspended",
    WorkspaceFlagged = "workspace-flagged",
    BeatMissing = "beat-missing",
    BeatDuplicate = "beat-duplicate",
    CaseproBackendNoop = "casepro-backend-noop",
    CaseproLockStale = "casepro-lock-stale",
    CaseproSyncStalled = "casepro-sync-stalled",
    SearchLag = "search-lag",
    QueueGrowing = "queue-growing",
    OutboxStuck = "outbox-stuck",
    ContentrepoDebug = "contentrepo-debug",
    BigqueryTokenMissing = "bigquery-token-missing",
    BigquerySyncStale = "bigquery-sync-stale",
    // Backups.
    BackupSpace = "backup-space",
    BackupMissing = "backup-missing",
    BackupOld = "backup-old",
    BackupUnproved = "backup-unproved",
    // Finished calls.
    SpoolUnwritable = "spool-unwritable",
    AgiTokenRefused = "agi-token-refused",
    AgiFlowMissing = "agi-flow-missing",
    AgiDeadLetters = "agi-dead-letters",
    AgiBacklog = "agi-backlog",
    // A check that saw nothing.
    Unknown = "unknown",
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
