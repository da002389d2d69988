//! Which repair is next: causes before effects, only what two looks have seen, nothing that a person
//! has stopped, and none too often.

use std::collections::BTreeSet;

use super::look::{Look, key};
use crate::deployment::services::Stack;
use crate::diagnosis::{Code, Finding, Severity, nothing_there, stopped_on_purpose};
use crate::remedy::{self, Remedy, Takes, Wishes};

/// A repair that may be made now.
pub struct Choice {
    /// The repair.
    pub remedy: &'static Remedy,
    /// What for.
    pub wishes: Wishes,
    /// What it counts as: its name and service, for each service that it is about.
    pub counts_as: Vec<String>,
    /// What it is about.
    pub findings: Vec<Finding>,
}

impl Choice {
    /// As it stands behind `ooy fix`.
    pub fn label(&self) -> String {
        label(self.remedy, &self.wishes)
    }
}

/// As a repair stands behind `ooy fix`.
pub fn label(remedy: &Remedy, wishes: &Wishes) -> String {
    match &wishes.target {
        Some(target) => format!("{} {target}", remedy.name),
        None => remedy.name.to_owned(),
    }
}

/// One that would have its time now, and is left alone; why.
#[derive(Debug, PartialEq, Eq)]
pub struct Left {
    /// What it is about, in the words of its finding.
    pub summary: String,
    /// The repair, as it stands behind `ooy fix`.
    pub label: String,
    /// Why.
    pub why: String,
}

/// What may be done with the findings of a look.
pub struct Choices {
    /// In their order; the first is to be made, and then it is looked again.
    pub choices: Vec<Choice>,
    /// What is left alone.
    pub left: Vec<Left>,
    /// Something may be to be repaired that only one look has seen.
    pub unconfirmed: bool,
}

/// Chooses. `before` is the look before; `may` says whether a repair may be made now, by what it
/// counts as.
pub fn choose(
    findings: &[Finding],
    before: Option<&Look>,
    stack: &Stack,
    may: &dyn Fn(&str) -> Result<(), String>,
) -> Choices {
    let mut found = Choices {
        choices: Vec::new(),
        left: Vec::new(),
        unconfirmed: false,
    };
    let mut done: BTreeSet<(&str, Option<String>)> = BTreeSet::new();
    for finding in findings {
        let Some((remedy, wishes)) = repair_of(finding) else {
            continue;
        };
        if !is_in_turn(finding, findings) || !done.insert((remedy.name, wishes.target.clone())) {
            continue;
        }
        // Everything that this repair would take away together with it.
        let group: Vec<&Finding> = findings
            .iter()
            .filter(|other| {
                is_in_turn(other, findings)
                    && repair_of(other).is_some_and(|(its, w)| {
                        its.name == remedy.name && w.target == wishes.target
                    })
            })
            .collect();
        Group {
            remedy,
            wishes,
            group,
            stack,
            before,
            stopped: stopped(findings),
            changed: changed(findings, stack),
            may,
        }
        .into(&mut found);
    }
    found
}

/// Findings that are taken away by the same command.
struct Group<'a> {
    remedy: &'static Remedy,
    wishes: Wishes,
    group: Vec<&'a Finding>,
    stack: &'a Stack,
    before: Option<&'a Look>,
    stopped: BTreeSet<&'a str>,
    changed: BTreeSet<&'a str>,
    may: &'a dyn Fn(&str) -> Result<(), String>,
}

impl Group<'_> {
    fn into(self, found: &mut Choices) {
        let (seen, once): (Vec<&Finding>, Vec<&Finding>) = self.group.iter().partition(|finding| {
            self.before
                .is_some_and(|look| look.all.contains(&key(finding)))
        });
        found.unconfirmed |= !once.is_empty();
        // By itself the repair is about all of them; with a service behind its name, about one.
        let by_service = self.wishes.target.is_none()
            && self.remedy.takes == Takes::Service
            && self.group.iter().all(|finding| finding.service.is_some());
        let mut fit: Vec<(&Finding, String)> = Vec::new();
        let mut held: BTreeSet<&str> = BTreeSet::new();
        for finding in &seen {
            let target = match by_service {
                true => finding.service.clone(),
                false => self.wishes.target.clone(),
            };
            let wishes = Wishes {
                target,
                ..Default::default()
            };
            let counts_as = label(self.remedy, &wishes);
            match self.may_be_made(finding, &counts_as) {
                Ok(()) => fit.push((finding, counts_as)),
                Err(why) => {
                    held.extend(finding.service.as_deref());
                    found.left.push(Left {
                        summary: finding.summary.clone(),
                        label: counts_as,
                        why,
                    });
                }
            }
        }
        if fit.is_empty() {
            return;
        }
        let choice = |findings: &[(&Finding, String)], target: Option<String>| {
            let counts_as: BTreeSet<String> =
                findings.iter().map(|(_, counts)| counts.clone()).collect();
            Choice {
                remedy: self.remedy,
                wishes: Wishes {
                    target,
                    unattended: true,
                    ..Default::default()
                },
                counts_as: counts_as.into_iter().collect(),
                findings: findings.iter().map(|(it, _)| (*it).clone()).collect(),
            }
        };
        if !by_service || (held.is_empty() && once.is_empty()) {
            found.choices.push(choice(&fit, self.wishes.target.clone()));
            return;
        }
        // One at a time, so that those which are held back stay so: also as what another one needs.
        for one in &fit {
            let service = one.0.service.as_deref().unwrap_or_default();
            if self.needs_any(service, &held) {
                continue;
            }
            let target = Some(service.to_owned());
            found
                .choices
                .push(choice(std::slice::from_ref(one), target));
        }
    }

    fn may_be_made(&self, finding: &Finding, counts_as: &str) -> Result<(), String> {
        if nothing_there(finding) {
            // Never started, or taken away by a person: `docker compose down`.
            return Err("nothing of the deployment is there; a person has to start it".to_owned());
        }
        if let Some(service) = &finding.service {
            // To bring it up would start the one as well, and replace the other.
            if self.needs_any(service, &self.stopped) {
                return Err("what it needs was stopped by a person (ooy stop)".to_owned());
            }
            if self.needs_any(service, &self.changed) {
                return Err(
                    "it, or what it needs, runs with other settings or another image than are \
                     configured now: to repair it would bring these into force"
                        .to_owned(),
                );
            }
        }
        (self.may)(counts_as)
    }

    fn needs_any(&self, service: &str, others: &BTreeSet<&str>) -> bool {
        let needed = self.stack.graph.with_needs([service]);
        needed.iter().any(|name| others.contains(name.as_str()))
    }
}

/// Services that a person has stopped, and that are to stay so.
pub fn stopped(findings: &[Finding]) -> BTreeSet<&str> {
    findings
        .iter()
        .filter(|finding| stopped_on_purpose(finding))
        .filter_map(|finding| finding.service.as_deref())
        .collect()
}

/// Services that run and would be replaced by a start.
fn changed<'a>(findings: &[Finding], stack: &'a Stack) -> BTreeSet<&'a str> {
    let drifts: Vec<&Finding> = findings
        .iter()
        .filter(|finding| matches!(finding.code, Code::ConfigDrift | Code::ImageDrift))
        .collect();
    let names = |finding: &Finding, service: &str| {
        finding.is_about(service)
            || finding.evidence.iter().any(|fact| {
                fact.what == service || fact.value.split(", ").any(|name| name == service)
            })
    };
    stack
        .services
        .iter()
        .map(|service| service.name.as_str())
        .filter(|service| drifts.iter().any(|finding| names(finding, service)))
        .collect()
}

/// Its repair, if that may be made while nobody looks.
fn repair_of(finding: &Finding) -> Option<(&'static Remedy, Wishes)> {
    if finding.severity == Severity::Info {
        return None;
    }
    remedy::of(finding).filter(|(remedy, _)| (remedy.unattended)(finding))
}

/// Whether it is a cause, or what it comes of is no reason to wait: one of its own kind that stands
/// for all, or an operation that was cut off.
fn is_in_turn(finding: &Finding, findings: &[Finding]) -> bool {
    let Some(mut cause) = finding.caused_by else {
        return true;
    };
    // The order of codes keeps it from a ring.
    while let Some(above) = findings
        .iter()
        .filter(|other| other.code == cause)
        .filter_map(|other| other.caused_by)
        .find(|above| *above < cause)
    {
        cause = above;
    }
    cause == Code::OperationUnfinished || cause == finding.code
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::places::Places;
    use crate::deployment::settings::Settings;
    use crate::diagnosis::Evidence;
    use jiff::Timestamp;

    fn stack() -> Stack {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::new(Some(folder.path()));
        std::fs::write(&places.env_file, "").unwrap();
        Stack::load(&Settings::load_with_faults(&places).unwrap().0).unwrap()
    }

    fn exited(service: &str) -> Finding {
        Finding::error(Code::ServiceExited, format!("{service} does not run"))
            .service(service)
            .fix("ooy fix not-running")
    }

    fn by_person(service: &str) -> Finding {
        exited(service).cause("it was stopped by ooy stop (root, 02:14:07 UTC), and stays so")
    }

    fn all(findings: &[Finding]) -> Look {
        Look::of(Timestamp::UNIX_EPOCH, findings, BTreeSet::new())
    }

    fn made(findings: &[Finding], spent: &str) -> (Vec<String>, Vec<String>) {
        let before = all(findings);
        let may = |what: &str| match what == spent {
            true => Err("too often".to_owned()),
            false => Ok(()),
        };
        let found = choose(findings, Some(&before), &stack(), &may);
        (
            found.choices.iter().map(Choice::label).collect(),
            found.left.iter().map(|left| left.label.clone()).collect(),
        )
    }

    #[test]
    fn what_ended_together_comes_up_together() {
        let mut second = exited("mailroom");
        second.caused_by = Some(Code::ServiceExited);
        let (choices, left) = made(&[exited("elasticsearch"), second], "");
        assert_eq!(choices, ["not-running"]);
        assert!(left.is_empty());
    }

    #[test]
    fn one_that_was_repaired_too_often_holds_up_only_what_needs_it() {
        let findings = [
            exited("elasticsearch"),
            exited("mailroom"),
            exited("contentrepo"),
        ];
        let (choices, left) = made(&findings, "not-running elasticsearch");
        assert_eq!(choices, ["not-running contentrepo"]);
        assert_eq!(left, ["not-running elasticsearch"]);
    }

    #[test]
    fn what_a_person_has_stopped_stays_so_also_as_what_another_needs() {
        let findings = [
            by_person("elasticsearch"),
            exited("mailroom"),
            exited("courier"),
        ];
        let (choices, left) = made(&findings, "");
        assert_eq!(choices, ["not-running courier"]);
        assert_eq!(left, ["not-running mailroom"]);
    }

    #[test]
    fn changed_settings_come_into_force_by_no_repair() {
        let evidence = Evidence::new("made before the change", "rapidpro, casepro", "compose");
        let drift = Finding::warning(Code::ConfigDrift, "2 services run with other settings")
            .evidence(evidence);
        let findings = [drift, exited("rapidpro-beat"), exited("courier")];
        let (choices, left) = made(&findings, "");
        assert_eq!(choices, ["not-running courier"]);
        assert_eq!(left, ["not-running rapidpro-beat"]);
    }

    #[test]
    fn a_deployment_of_which_nothing_is_there_is_started_by_a_person() {
        let evidence = Evidence::new("containers", "none of the whole deployment", "Docker");
        let missing = Finding::error(Code::ServiceMissing, "The deployment is not up")
            .service("courier")
            .evidence(evidence)
            .fix("ooy fix not-running");
        assert!(made(&[missing], "").0.is_empty());
    }

    #[test]
    fn an_effect_waits_for_its_cause_and_what_was_cut_off_does_not() {
        let full = Finding::error(Code::PostgresUnreachable, "PostgreSQL does not answer");
        let mut effect = exited("courier");
        effect.caused_by = Some(Code::PostgresUnreachable);
        assert!(made(&[full, effect.clone()], "").0.is_empty());
        let cut = Finding::error(Code::OperationUnfinished, "ooy start was cut off");
        effect.caused_by = Some(Code::OperationUnfinished);
        assert_eq!(made(&[cut, effect], "").0, ["not-running"]);
    }

    #[test]
    fn one_look_is_not_enough() {
        let findings = [exited("courier")];
        let found = choose(&findings, None, &stack(), &|_| Ok(()));
        assert!(found.choices.is_empty() && found.unconfirmed);
        let found = choose(&findings, Some(&all(&[])), &stack(), &|_| Ok(()));
        assert!(found.choices.is_empty() && found.unconfirmed);
    }
}
