//! One look at the deployment, as the watch compares it with others: which root causes, by names
//! that do not depend on the moment.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::diagnosis::{Code, Diagnosis, Finding, Severity};

/// What one diagnosis has seen.
#[derive(Debug, Clone)]
pub struct Look {
    /// When.
    pub at: Timestamp,
    /// Root causes that are errors or warnings.
    pub roots: BTreeMap<String, Finding>,
    /// Everything that is an error or a warning, explained or not.
    pub all: BTreeSet<String>,
    /// Checks that could not look: that they found nothing means nothing.
    blind: BTreeSet<String>,
}

impl Look {
    /// What a diagnosis has seen.
    pub fn new(diagnosis: &Diagnosis) -> Self {
        // Whatever blocked them: their own findings are told as unknown, explained or not.
        let blind = diagnosis
            .findings
            .iter()
            .filter(|finding| finding.code == Code::Unknown)
            .map(|finding| finding.check.to_owned())
            .collect();
        Self::of(diagnosis.checked_at, &diagnosis.findings, blind)
    }

    pub(super) fn of(at: Timestamp, findings: &[Finding], blind: BTreeSet<String>) -> Self {
        let serious = || {
            findings
                .iter()
                .filter(|finding| finding.severity > Severity::Info)
        };
        Self {
            at,
            roots: serious()
                .filter(|finding| finding.caused_by.is_none())
                .map(|finding| (key(finding), finding.clone()))
                .collect(),
            all: serious().map(key).collect(),
            blind,
        }
    }

    /// Whether that check has looked. What it could not see is not gone.
    pub fn could_see(&self, check: &str) -> bool {
        !self.blind.contains(check)
    }
}

/// The same for the same cause at every look, and another one for every other cause. What is about a
/// service is one cause for each code; what is not, is told apart by its headline, without the
/// numbers in it, which grow.
pub fn key(finding: &Finding) -> String {
    let mut words = vec![finding.code.name().to_owned()];
    match &finding.service {
        _ if finding.code == Code::Unknown => words.push(finding.check.to_owned()),
        Some(service) => words.push(service.clone()),
        None => words.push(without_numbers(&finding.summary)),
    }
    words.extend(finding.owner.map(str::to_owned));
    if let Some((_, Some(target))) = finding.fix.remedy()
        && !finding.is_about(target)
    {
        words.push(target.to_owned());
    }
    words.join(" ")
}

/// `"/var is 97 % full, 1.2 GB left"` is `"/var is full, left"`.
fn without_numbers(text: &str) -> String {
    const UNITS: &[&str] = &[
        "%", "s", "min", "h", "d", "ms", "B", "KB", "MB", "GB", "TB", "days", "day",
    ];
    let mut kept: Vec<&str> = Vec::new();
    let mut after_number = false;
    for word in text.split_whitespace() {
        let is_number = word.contains(|c: char| c.is_ascii_digit())
            && !word.contains(|c: char| c.is_alphabetic() || c == '/');
        let bare = word.trim_end_matches([',', '.', ':', ';', ')']);
        let unit = after_number && UNITS.contains(&bare);
        if !is_number && !unit {
            kept.push(word);
        }
        after_number = is_number;
    }
    kept.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_keeps_its_name_while_its_numbers_grow() {
        let disk = |summary: &str| key(&Finding::error(Code::DiskFull, summary));
        assert_eq!(
            disk("/var is 97 % full, 1.2 GB left"),
            disk("/var is 99 % full, 300 MB left")
        );
        assert_ne!(disk("/var is 97 % full"), disk("/srv is 97 % full"));
        assert_ne!(disk("/mnt/disk1 is full"), disk("/mnt/disk2 is full"));
        let exited =
            |summary: &str| key(&Finding::error(Code::ServiceExited, summary).service("courier"));
        assert_eq!(
            exited("courier does not run: it ended 119 s ago"),
            exited("courier and 3 more ended together")
        );
    }

    #[test]
    fn workspaces_and_databases_are_told_apart() {
        let flagged = |slug: &str| {
            let command = format!("ooy fix workspace-flag {slug}");
            key(&Finding::error(Code::WorkspaceFlagged, "A workspace is flagged").fix(command))
        };
        assert_ne!(flagged("a"), flagged("b"));
        let refused =
            |owner| key(&Finding::error(Code::RedisUnreachable, "Redis refuses").owner(owner));
        assert_ne!(refused("casepro"), refused("rapidpro"));
        assert_eq!(
            key(&Finding::error(Code::ServiceUnhealthy, "")
                .service("mailroom")
                .fix("ooy fix service mailroom")),
            "service-unhealthy mailroom"
        );
    }

    #[test]
    fn a_note_is_no_cause() {
        let note = Finding::info(Code::DockerReclaimable, "3 GB can be freed");
        let look = Look::of(Timestamp::UNIX_EPOCH, &[note], BTreeSet::new());
        assert!(look.roots.is_empty() && look.all.is_empty());
    }
}
