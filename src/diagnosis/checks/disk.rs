//! Room on the host's file systems, and what takes it.

mod forecast;
mod leftovers;
mod logs;
mod places;
mod space;
mod told;

use crate::deployment::services::Stack;
use crate::diagnosis::cause::{When, rule};
use crate::diagnosis::check::{Check, Looking, Subject};
use crate::diagnosis::{Code, Finding};

pub use leftovers::beside as unused_images;
pub use logs::{Log, logs as container_logs};
pub use places::{CALLS, DOCKER, POSTGRES, REDIS};

/// The checks of this subject.
pub const SUBJECT: Subject = Subject {
    checks: &[
        Check {
            name: "disk-space",
            about: "room and inodes where Docker, PostgreSQL, Redis, finished calls and ooy write",
            codes: &[Code::DiskFull, Code::DiskLow],
            run: |scene| -> Looking { Box::pin(space::file_systems(scene)) },
        },
        Check {
            name: "container-logs",
            about: "sizes of the containers' log files, and how large they may become",
            codes: &[Code::LogOversized],
            run: |scene| -> Looking { Box::pin(logs::container_logs(scene)) },
        },
        Check {
            name: "docker-leftovers",
            about: "images that nothing uses, and containers of others that do not run",
            codes: &[Code::DockerReclaimable],
            run: |scene| -> Looking { Box::pin(leftovers::leftovers(scene)) },
        },
    ],
    rules: &[
        // The full disk is told with what takes its room; the rest is under it.
        rule(Code::LogOversized, Code::DiskFull, When::If(docker_there)),
        rule(Code::LogOversized, Code::DiskLow, When::If(docker_there)),
        rule(
            Code::DockerReclaimable,
            Code::DiskFull,
            When::If(docker_there),
        ),
        rule(
            Code::DockerReclaimable,
            Code::DiskLow,
            When::If(docker_there),
        ),
    ],
};

/// What a finding about a file system names as lying on it.
const LIES_THERE: &str = "on it";

fn docker_there(_: &Finding, cause: &Finding, _: &Stack) -> bool {
    lies_on(cause, DOCKER)
}

/// Whether a finding `disk-full` or `disk-low` is about the file system that holds this: one of
/// [`DOCKER`], [`POSTGRES`], [`REDIS`], [`CALLS`], [`STATE`]. For rules of cause and effect.
pub fn lies_on(finding: &Finding, what: &str) -> bool {
    finding
        .evidence
        .iter()
        .any(|fact| fact.what == LIES_THERE && fact.value.split(", ").any(|found| found == what))
}
