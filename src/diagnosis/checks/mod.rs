//! The checks, one file a subject.

mod access;
mod answering;
mod backup;
mod bigquery;
mod calls;
pub mod casepro;
pub mod celery;
mod certificates;
mod containers;
mod contentrepo;
mod disk;
mod elasticsearch;
mod engine;
mod host;
mod nginx;
mod operations;
mod outside;
mod postgres;
mod rapidpro;
mod redis;
mod service;
mod settings;

pub use self::containers::{
    DOCKER_UNIT, docker_is_off, nothing_there, stopped_on_purpose, would_stay_down,
};
pub use self::disk::{Log, container_logs, unused_images};
pub use self::operations::past::Past;
use super::cause::Rule;
use super::check::{Check, Subject};
use crate::deployment::similar::nearest;
use crate::fault::{Fault, Result};

/// All subjects, from ground to roof; `--list` shows them so.
const SUBJECTS: &[&Subject] = &[
    &engine::SUBJECT,
    &operations::SUBJECT,
    &settings::SUBJECT,
    &certificates::SUBJECT,
    &disk::SUBJECT,
    &host::SUBJECT,
    &postgres::SUBJECT,
    &redis::SUBJECT,
    &containers::SUBJECT,
    &nginx::SUBJECT,
    &elasticsearch::SUBJECT,
    &rapidpro::SUBJECT,
    &celery::SUBJECT,
    &casepro::SUBJECT,
    &contentrepo::SUBJECT,
    &bigquery::SUBJECT,
    &calls::SUBJECT,
    &backup::SUBJECT,
];

/// Whether a check is of use on a host without a deployment, a telephone exchange.
pub fn is_for_any_host(check: &Check) -> bool {
    [
        &settings::SUBJECT,
        &disk::SUBJECT,
        &host::SUBJECT,
        &calls::SUBJECT,
    ]
    .iter()
    .flat_map(|subject| subject.checks)
    .any(|known| known.name == check.name)
}

/// All checks.
pub fn all() -> impl Iterator<Item = &'static Check> {
    SUBJECTS.iter().flat_map(|subject| subject.checks)
}

/// What explains what.
pub fn rules() -> Vec<Rule> {
    SUBJECTS
        .iter()
        .flat_map(|subject| subject.rules)
        .copied()
        .collect()
}

/// The checks of these names, or, for the code of a finding, those that can find it. `again` is
/// the command that is to be repeated with a name that exists.
pub fn find(names: &[String], again: &str) -> Result<Vec<&'static Check>> {
    if names.is_empty() {
        return Ok(all().collect());
    }
    for name in names {
        if !all().any(|check| answers_to(check, name)) {
            let candidates = || {
                all().flat_map(|check| {
                    std::iter::once(check.name).chain(check.codes.iter().map(|code| code.name()))
                })
            };
            let next = match nearest(name, candidates()) {
                Some(near) => format!("{again} {near}"),
                None => format!("{again} --list"),
            };
            return Err(Box::new(
                Fault::usage(
                    format!("{name}: no such check"),
                    "there is no check, and no finding, of that name",
                )
                .evidence(format!("{} checks are known", all().count()))
                .why("nothing was checked")
                .next(next),
            ));
        }
    }
    Ok(all()
        .filter(|check| names.iter().any(|name| answers_to(check, name)))
        .collect())
}

fn answers_to(check: &Check, name: &str) -> bool {
    check.name == name || check.codes.iter().any(|code| code.name() == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::diagnosis::Code;

    #[test]
    fn every_code_has_a_check_and_every_name_is_used_once() {
        let found: BTreeSet<Code> = all().flat_map(|check| check.codes).copied().collect();
        let missing: Vec<&str> = Code::ALL
            .iter()
            .filter(|code| **code != Code::Unknown && !found.contains(code))
            .map(|code| code.name())
            .collect();
        assert_eq!(missing, Vec::<&str>::new());
        let names: BTreeSet<&str> = all().map(|check| check.name).collect();
        assert_eq!(names.len(), all().count());
    }

    #[test]
    fn a_cause_stands_before_its_effect() {
        for rule in rules() {
            assert!(rule.cause < rule.effect, "{rule:?}");
        }
    }

    #[test]
    fn a_check_is_found_by_its_name_and_by_what_it_finds() {
        for check in all() {
            for name in std::iter::once(check.name).chain(check.codes.iter().map(|c| c.name())) {
                let chosen = find(&[name.to_owned()], "ooy diagnose").unwrap();
                assert!(
                    chosen.iter().any(|found| found.name == check.name),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn a_mistyped_check_is_answered_with_the_nearest() {
        let fault = find(&["disk-ful".to_owned()], "ooy diagnose")
            .err()
            .unwrap();
        assert_eq!(fault.next, ["ooy diagnose disk-full"]);
        assert_eq!(fault.kind.exit_code(), 2);
    }
}
