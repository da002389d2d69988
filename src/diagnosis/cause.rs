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
    /// The effect's service uses the database that the cause is about, or both are about it. A
    /// cause that names neither database nor service is about all databases.
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
            (Some(_), None) => cause.service.is_none(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::places::Places;
    use crate::deployment::settings::Settings;

    fn stack() -> Stack {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::new(Some(folder.path()));
        std::fs::write(&places.env_file, "").unwrap();
        Stack::load(&Settings::load_with_faults(&places).unwrap().0).unwrap()
    }

    fn explained(findings: Vec<Finding>, rules: &[Rule]) -> Vec<Option<Code>> {
        let mut findings = findings;
        explain(&mut findings, rules, &stack());
        findings.iter().map(|finding| finding.caused_by).collect()
    }

    #[test]
    fn the_nearest_cause_explains() {
        let rules = [
            rule(Code::RapidproUnreachable, Code::DiskFull, When::Always),
            rule(
                Code::RapidproUnreachable,
                Code::PostgresUnreachable,
                When::Always,
            ),
            rule(Code::PostgresUnreachable, Code::DiskFull, When::Always),
        ];
        let findings = vec![
            Finding::error(Code::DiskFull, ""),
            Finding::error(Code::PostgresUnreachable, ""),
            Finding::error(Code::RapidproUnreachable, ""),
        ];
        assert_eq!(
            explained(findings, &rules),
            [None, Some(Code::DiskFull), Some(Code::PostgresUnreachable)]
        );
    }

    #[test]
    fn services_explain_what_needs_them_and_nothing_else() {
        let rules = [rule(Code::QueueGrowing, Code::ServicePaused, When::Needs)];
        let paused = |service: &str| Finding::error(Code::ServicePaused, "").service(service);
        let growing = || Finding::error(Code::QueueGrowing, "").service("rapidpro-celery");
        for (service, explains) in [
            ("rapidpro-celery", true),
            ("rapidpro", true),
            ("elasticsearch", true),
            ("casepro", false),
            ("nginx", false),
        ] {
            let causes = explained(vec![growing(), paused(service)], &rules);
            assert_eq!(causes[0].is_some(), explains, "{service}");
        }
    }

    #[test]
    fn a_database_explains_what_uses_it() {
        let rules = [rule(
            Code::CaseproSyncStalled,
            Code::RedisUnreachable,
            When::SameData,
        )];
        let stalled = || Finding::error(Code::CaseproSyncStalled, "").service("casepro-celery");
        for (owner, explains) in [("casepro", true), ("rapidpro", false)] {
            let cause = Finding::error(Code::RedisUnreachable, "").owner(owner);
            assert_eq!(
                explained(vec![stalled(), cause], &rules)[0].is_some(),
                explains
            );
        }
    }

    #[test]
    fn a_server_that_is_down_explains_whatever_uses_it() {
        let rules = [
            rule(
                Code::ServiceExited,
                Code::PostgresUnreachable,
                When::SameData,
            ),
            rule(Code::QueueGrowing, Code::ServiceExited, When::SameData),
        ];
        let exited = |service: &str| Finding::error(Code::ServiceExited, "").service(service);
        for (service, explains) in [
            ("casepro-celery", true),
            ("mailroom", true),
            ("nginx", false),
        ] {
            let findings = vec![
                exited(service),
                Finding::error(Code::PostgresUnreachable, "of all"),
            ];
            assert_eq!(
                explained(findings, &rules)[0].is_some(),
                explains,
                "{service}"
            );
        }
        // What is about a service that uses no database is about none.
        let growing = Finding::error(Code::QueueGrowing, "").owner("rapidpro");
        let findings = vec![growing, exited("elasticsearch")];
        assert_eq!(explained(findings, &rules)[0], None);
    }

    #[test]
    fn an_info_explains_nothing() {
        let rules = [rule(
            Code::ElasticsearchRed,
            Code::MaxMapCountLow,
            When::Always,
        )];
        let findings = vec![
            Finding::error(Code::ElasticsearchRed, ""),
            Finding::info(Code::MaxMapCountLow, ""),
        ];
        assert_eq!(explained(findings, &rules)[0], None);
    }
}
