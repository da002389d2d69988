//! Finished calls on their way from Asterisk to RapidPro.

mod queue;
mod spool;

use super::disk;
use crate::agi::settings::{CallSettings, OLD_FILE};
use crate::agi::spool::Spool;
use crate::deployment::services::Stack;
use crate::diagnosis::cause::{Rule, When, rule};
use crate::diagnosis::check::{Check, Halt, Looking, Subject, blocking};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Finding, Severity};

/// The checks of this subject.
pub const SUBJECT: Subject = Subject {
    checks: &[
        Check {
            name: "calls-spool",
            about: "whether Asterisk's user can keep a finished call on disk",
            codes: &[Code::SpoolUnwritable],
            run: |scene| -> Looking { Box::pin(spool::calls_spool(scene)) },
        },
        Check {
            name: "calls-queue",
            about: "finished calls that wait for RapidPro, and what keeps them",
            codes: &[
                Code::AgiTokenRefused,
                Code::AgiFlowMissing,
                Code::AgiBacklog,
            ],
            run: |scene| -> Looking { Box::pin(queue::calls_queue(scene)) },
        },
        Check {
            name: "calls-refused",
            about: "finished calls that RapidPro has refused for good, or that cannot be read",
            codes: &[Code::AgiDeadLetters],
            run: |scene| -> Looking { Box::pin(queue::calls_refused(scene)) },
        },
    ],
    rules: &[
        rule(Code::SpoolUnwritable, Code::DiskFull, When::If(calls_there)),
        rule(Code::AgiBacklog, Code::DiskFull, When::If(calls_there)),
        rule(Code::AgiBacklog, Code::SpoolUnwritable, When::Always),
        rule(Code::AgiBacklog, Code::AgiTokenRefused, When::Always),
        rule(Code::AgiBacklog, Code::AgiFlowMissing, When::Always),
        rule(Code::AgiBacklog, Code::SettingMissing, When::If(incomplete)),
        rule(
            Code::AgiBacklog,
            Code::SettingPlaceholder,
            When::If(incomplete),
        ),
        rule(Code::AgiBacklog, Code::WorkspaceFlagged, When::If(blocked)),
        rule(
            Code::AgiBacklog,
            Code::WorkspaceSuspended,
            When::If(blocked),
        ),
        unreachable(Code::CertificateExpired),
        unreachable(Code::CertificateMismatch),
        unreachable(Code::PortConflict),
        unreachable(Code::NginxConfigInvalid),
        unreachable(Code::ServiceMissing),
        unreachable(Code::OomKilled),
        unreachable(Code::RestartLoop),
        unreachable(Code::ServiceExited),
        unreachable(Code::ServicePaused),
        unreachable(Code::ServiceUnhealthy),
        unreachable(Code::RapidproUnreachable),
        unreachable(Code::UpstreamUnreachable),
        unreachable(Code::MigrationsPending),
        rule(
            Code::AgiBacklog,
            Code::PostgresUnreachable,
            When::If(of_rapidpro),
        ),
        rule(
            Code::AgiBacklog,
            Code::RedisUnreachable,
            When::If(of_rapidpro),
        ),
    ],
};

/// How a backlog says why nothing is delivered: the code of the stop, or this.
const STANDS_STILL: &str = "nothing is delivered";

/// RapidPro, as calls reach it, is not there.
const fn unreachable(cause: Code) -> Rule {
    rule(Code::AgiBacklog, cause, When::If(on_the_way))
}

fn calls_there(_: &Finding, cause: &Finding, _: &Stack) -> bool {
    disk::lies_on(cause, disk::CALLS)
}

/// The backlog's own words for why it stands still.
fn says(effect: &Finding, word: &str) -> bool {
    effect
        .evidence
        .iter()
        .any(|fact| fact.what == STANDS_STILL && fact.source.ends_with(word))
}

fn incomplete(effect: &Finding, cause: &Finding, _: &Stack) -> bool {
    let names = ["RAPIDPRO_TOKEN", "RAPIDPRO_FLOW", "RAPIDPRO_URL"];
    says(effect, "settings-incomplete")
        && names.iter().any(|name| {
            cause.summary.contains(name)
                || cause
                    .evidence
                    .iter()
                    .any(|fact| fact.what.contains(name) || fact.value.contains(name))
        })
}

fn blocked(effect: &Finding, _: &Finding, _: &Stack) -> bool {
    says(effect, "workspace-blocked")
}

fn on_the_way(effect: &Finding, cause: &Finding, _: &Stack) -> bool {
    cause.severity == Severity::Error
        && matches!(cause.service.as_deref(), Some("rapidpro" | "nginx"))
        && !says(effect, "settings-incomplete")
        && !says(effect, "workspace-blocked")
}

fn of_rapidpro(effect: &Finding, cause: &Finding, _: &Stack) -> bool {
    cause.owner == Some("rapidpro")
        && !says(effect, "settings-incomplete")
        && !says(effect, "workspace-blocked")
}

/// The spool, where this host has anything to do with calls.
async fn used(scene: &Scene) -> Result<Spool, Halt> {
    let settings = &scene.context.settings;
    let places = settings.places.clone();
    let named = ["RAPIDPRO_TOKEN", "RAPIDPRO_FLOW"]
        .iter()
        .any(|name| !settings.get(name).is_empty());
    let only_calls = scene.only_calls;
    blocking(move || {
        let old = || {
            CallSettings::load(&places)
                .file
                .is_some_and(|file| file == std::path::Path::new(OLD_FILE))
        };
        // One that is a file, or may not be looked at, is there.
        let there = std::fs::symlink_metadata(&places.spool).map_or_else(
            |error| error.kind() != std::io::ErrorKind::NotFound,
            |_| true,
        );
        if there || named || only_calls || old() {
            Ok(Spool::new(&places.spool))
        } else {
            Err(Halt::unused("this host hands no calls over"))
        }
    })
    .await?
}

/// What strangers have said, without what could be a telephone number, and not at length.
fn said(text: &str) -> String {
    let mut out = String::new();
    let mut digits = String::new();
    for letter in text.chars().chain(['\0']) {
        if letter.is_ascii_digit() {
            digits.push(letter);
            continue;
        }
        if digits.len() >= 7 {
            out.push('…');
        } else {
            out.push_str(&digits);
        }
        digits.clear();
        if letter != '\0' {
            out.push(letter);
        }
    }
    crate::host::text::shorten(&out, 200)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_callers_do_not_stand_in_findings() {
        assert_eq!(
            said("400: urn tel:+254712345678 taken, 3 of 20"),
            "400: urn tel:+… taken, 3 of 20"
        );
        assert_eq!(said("0712345678"), "…");
        assert_eq!(said(""), "");
    }
}
