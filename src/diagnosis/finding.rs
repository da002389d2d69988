//! What was found: the same object for screen, JSON, bundle and Sentry.

use serde::Serialize;

use super::code::{Code, Severity};

/// One thing that is so and should not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is.
    pub code: Code,
    /// The check that found it.
    pub check: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The service it is about, if it is about one.
    pub service: Option<String>,
    /// In one line, the subject first: "Casepro has not pulled messages for 47 min".
    pub summary: String,
    /// How that is known.
    pub evidence: Vec<Evidence>,
    /// Who notices what.
    pub impact: String,
    /// How it came about, where that is known.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cause: String,
    /// What repairs it.
    pub fix: Fix,
    /// The code of the finding that explains this one.
    pub caused_by: Option<Code>,
    /// Whose PostgreSQL or Redis database it is about (`rapidpro`, `casepro`, `contentrepo`): for
    /// rules of cause and effect only.
    #[serde(skip)]
    pub owner: Option<&'static str>,
    /// Other names of what it is about, by which a person may ask for its repair: a workspace's
    /// uuid and name.
    #[serde(skip)]
    pub names: Vec<String>,
    /// Of a check that saw nothing: what has to work first, whether that was looked for or not.
    #[serde(skip)]
    pub blocked_by: Option<Code>,
}

/// One fact behind a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// What was looked at: "oldest task in celery".
    pub what: String,
    /// What was seen: "12 min".
    pub value: String,
    /// From where on that is too much, if it is a matter of degree: "5 min (QUEUE_AGE)".
    pub threshold: Option<String>,
    /// Where it was seen: "Redis, database 1".
    pub source: String,
    /// The command by which a person can see the same.
    pub command: Option<String>,
}

/// What repairs it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Fix {
    /// One command of `ooy`, if there is one.
    pub command: Option<String>,
    /// The plain commands that do the same by hand, in order.
    pub manual: Vec<String>,
    /// Whom that interrupts, and for how long: "nothing", "Casepro's workers, about 20 s".
    pub interrupts: String,
}

impl Fix {
    /// The repair that its command names, and what for: `casepro-sync`, or `service` and `mailroom`.
    pub fn remedy(&self) -> Option<(&str, Option<&str>)> {
        let (_, rest) = self.command.as_deref()?.rsplit_once(" fix ")?;
        Some(match rest.split_once(' ') {
            Some((name, target)) => (name, Some(target)),
            None => (rest, None),
        })
    }
}

impl Evidence {
    /// A fact and where it was seen.
    pub fn new(
        what: impl Into<String>,
        value: impl Into<String>,
        source: impl Into<String>,
    ) -> Self {
        Self {
            what: what.into(),
            value: value.into(),
            threshold: None,
            source: source.into(),
            command: None,
        }
    }

    /// From where on it is too much.
    pub fn threshold(mut self, threshold: impl Into<String>) -> Self {
        self.threshold = Some(threshold.into());
        self
    }

    /// The command by which a person can see the same. Never with a secret in it.
    pub fn command(mut self, command: impl Into<String>) -> Self {
        self.command = Some(command.into());
        self
    }
}

impl Finding {
    fn new(code: Code, severity: Severity, summary: impl Into<String>) -> Self {
        Self {
            code,
            check: "",
            severity,
            service: None,
            summary: summary.into(),
            evidence: Vec::new(),
            impact: String::new(),
            cause: String::new(),
            fix: Fix::default(),
            caused_by: None,
            owner: None,
            names: Vec::new(),
            blocked_by: None,
        }
    }

    /// Something that people need does not work.
    pub fn error(code: Code, summary: impl Into<String>) -> Self {
        Self::new(code, Severity::Error, summary)
    }

    /// It works, and will not for long, or not for everybody.
    pub fn warning(code: Code, summary: impl Into<String>) -> Self {
        Self::new(code, Severity::Warning, summary)
    }

    /// Worth knowing; nothing to do tonight.
    pub fn info(code: Code, summary: impl Into<String>) -> Self {
        Self::new(code, Severity::Info, summary)
    }

    /// The service it is about.
    pub fn service(mut self, service: impl Into<String>) -> Self {
        self.service = Some(service.into());
        self
    }

    /// Whose database it is about: `rapidpro`, `casepro` or `contentrepo`.
    pub fn owner(mut self, owner: &'static str) -> Self {
        self.owner = Some(owner);
        self
    }

    /// One more fact.
    pub fn evidence(mut self, evidence: Evidence) -> Self {
        self.evidence.push(evidence);
        self
    }

    /// Who notices what.
    pub fn impact(mut self, text: impl Into<String>) -> Self {
        self.impact = text.into();
        self
    }

    /// How it came about.
    pub fn cause(mut self, text: impl Into<String>) -> Self {
        self.cause = text.into();
        self
    }

    /// The command of `ooy` that repairs it, as it has to be typed (`Scene::command`).
    pub fn fix(mut self, command: impl Into<String>) -> Self {
        self.fix.command = Some(command.into());
        self
    }

    /// One more of the plain commands that do the same by hand.
    pub fn manual(mut self, command: impl Into<String>) -> Self {
        self.fix.manual.push(command.into());
        self
    }

    /// Whom the repair interrupts, and for how long.
    pub fn interrupts(mut self, text: impl Into<String>) -> Self {
        self.fix.interrupts = text.into();
        self
    }

    /// Other names of what it is about.
    pub fn names(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.names.extend(names);
        self
    }

    /// Whether it is about that service, or what has that name.
    pub fn is_about(&self, name: &str) -> bool {
        self.service.as_deref() == Some(name)
            || self
                .names
                .iter()
                .any(|known| known.eq_ignore_ascii_case(name))
    }

    /// Every text of it goes through `change`: secrets are taken out here, once, whoever wrote it.
    pub fn map_texts(&mut self, change: impl Fn(&str) -> String) {
        let mut texts: Vec<&mut String> =
            vec![&mut self.summary, &mut self.impact, &mut self.cause];
        for evidence in &mut self.evidence {
            texts.extend([
                &mut evidence.what,
                &mut evidence.value,
                &mut evidence.source,
            ]);
            texts.extend(evidence.threshold.as_mut());
            texts.extend(evidence.command.as_mut());
        }
        texts.extend(self.fix.command.as_mut());
        texts.extend(self.fix.manual.iter_mut());
        texts.push(&mut self.fix.interrupts);
        for text in texts {
            *text = change(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repair_and_its_target_are_read_from_the_command() {
        let remedy = |command: &str| {
            let fix = Fix {
                command: Some(command.to_owned()),
                ..Default::default()
            };
            fix.remedy()
                .map(|(name, target)| (name.to_owned(), target.map(str::to_owned)))
        };
        assert_eq!(
            remedy("ooy --home /srv/a fix b/demo fix service mailroom"),
            Some(("service".to_owned(), Some("mailroom".to_owned())))
        );
        assert_eq!(remedy("ooy fix boot"), Some(("boot".to_owned(), None)));
        assert_eq!(remedy("ooy start"), None);
        assert_eq!(Fix::default().remedy(), None);
    }
}
