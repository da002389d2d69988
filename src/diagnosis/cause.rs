//! What explains what. Each subject says beside its checks what its findings can come of; here is
//! how that is applied.

use super::code::Code;
use super::finding::Finding;
use crate::deployment::services::Stack;

/// "`effect` can come of `cause`, if the two are related so."
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// What is explained.
    pub effect: Code,
    /// What explains it: one that stands before it in [`Code`].
    pub cause: Code,
    /// How the two have to be related.
    pub when: When,
}

/// How two findings have to be related.
#[derive(Debug, Clone, Copy)]
pub enum When {
    /// In any case: a full disk.
    Always,
    /// They are about the same service.
    SameService,
    /// The effect's service needs the cause's (directly or through others), or is it.
    Needs,
    /// The effect's service uses the database that the cause is about, or both are about it.
    SameData,
    /// Something of its own: effect, cause, services.
    If(fn(&Finding, &Finding, &Stack) -> bool),
}

/// A rule, shortly.
pub const fn rule(effect: Code, cause: Code, when: When) -> Rule {
    Rule {
        effect,
        cause,
        when,
    }
}

/// A table of rules: `rules![Effect <- When::X => [Cause, ...]; ...]`.
macro_rules! rules {
    ($($effect:ident <- $when:expr => [$($cause:ident),* $(,)?];)*) => {
        &[$($($crate::diagnosis::cause::rule(
            $crate::diagnosis::Code::$effect,
            $crate::diagnosis::Code::$cause,
            $when,
        ),)*)*]
    };
}
pub(super) use rules;

/// Sets `caused_by` of all findings. Of several explanations the nearest counts: the one that
/// stands last before the effect.
pub fn explain(findings: &mut [Finding], rules: &[Rule], stack: &Stack) {
    let causes: Vec<Option<Code>> = findings
        .iter()
        .map(|effect| {
            if effect.caused_by.is_some() {
                return effect.caused_by;
            }
            rules
                .iter()
                .filter(|rule| rule.effect == effect.code && rule.cause < rule.effect)
                .filter(|rule| {
                    findings.iter().any(|cause| {
                        cause.code == rule.cause
                            && cause.severity >= super::Severity::Warning
                            && related(rule.when, effect, cause, stack)
                    })
                })
                .map(|rule| rule.cause)
                .max()
        })
        .collect();
    for (finding, cause) in findings.iter_mut().zip(causes) {
        finding.caused_by = cause;
    }
}

fn related(when: When, effect: &Finding, cause: &Finding, stack: &Stack) -> bool {
    match when {
        When::Always => true,
        When::SameService => effect.service.is_some() && effect.service == cause.service,
        When::Needs => match (&effect.service, &cause.service) {
            (Some(effect), Some(cause)) => needs(stack, effect, cause),
            _ => false,
        },
        When::SameData => match (data(effect, stack), data(cause, stack)) {
            (Some(effect), Some(cause)) => effect == cause,
            _ => false,
        },
        When::If(so) => so(effect, cause, stack),
    }
}

/// Whether a service needs another one, directly or through others, or is it.
pub fn needs(stack: &Stack, service: &str, other: &str) -> bool {
    stack.graph.with_needs([service]).contains(other)
}

/// Whose database a finding is about.
fn data(finding: &Finding, stack: &Stack) -> Option<&'static str> {
    finding.owner.or_else(|| {
        let service = finding.service.as_deref()?;
        stack.service(service)?.data
    })
}
