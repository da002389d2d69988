//! The machine itself: kernel settings, memory, clock.

mod clock;
mod kernel;
mod memory;

use crate::diagnosis::Code;
use crate::diagnosis::cause::{When, rule};
use crate::diagnosis::check::{Check, Looking, Subject};

/// The checks of this subject.
pub const SUBJECT: Subject = Subject {
    checks: &[
        Check {
            name: "max-map-count",
            about: "memory maps that Linux allows a process; Elasticsearch wants many",
            codes: &[Code::MaxMapCountLow],
            run: |scene| -> Looking { Box::pin(kernel::max_map_count(scene)) },
        },
        Check {
            name: "memory",
            about: "memory of this host that is left, and who has most of it",
            codes: &[Code::MemoryLow],
            run: |scene| -> Looking { Box::pin(memory::memory(scene)) },
        },
        Check {
            name: "clock-postgres",
            about: "this host's clock and that of PostgreSQL",
            codes: &[Code::ClockSkew],
            run: |scene| -> Looking { Box::pin(clock::postgres(scene)) },
        },
        Check {
            name: "clock-redis",
            about: "this host's clock and that of Redis",
            codes: &[Code::ClockSkew],
            run: |scene| -> Looking { Box::pin(clock::redis(scene)) },
        },
    ],
    rules: &[
        // Where it is more than an info, Elasticsearch's log names it as the reason.
        rule(Code::ServiceExited, Code::MaxMapCountLow, When::SameService),
        rule(Code::RestartLoop, Code::MaxMapCountLow, When::SameService),
    ],
};
