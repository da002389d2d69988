//! What the watch remembers from round to round and over its own end: which root causes are known
//! (so that each is reported once), which repairs were made when (so that none is made too often),
//! and what was under way. state/watch.json; a damaged one is as none.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::look::Look;
use super::notices::Notice;
use super::repairs::{Repairs, UnderWay};
use crate::diagnosis::Finding;
use crate::host::files;

/// What comes and goes within so long belongs together, and a flapping cause is told once in it.
const WHILE: Duration = Duration::from_secs(3600);

/// A cause that comes for the third time within [`WHILE`] flaps.
const FLAPS: usize = 3;

/// A known root cause.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cause {
    /// As it was when it was reported: for the report that it is gone.
    pub finding: Value,
    /// The check that finds it.
    check: String,
    /// Since when it is there, or, where it is gone, was.
    pub since: Timestamp,
    /// Since when it is gone.
    gone: Option<Timestamp>,
    /// When it came, lately.
    came: Vec<Timestamp>,
    /// When it was last told that it flaps; none: it does not.
    flapping: Option<Timestamp>,
}

/// Something to report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A root cause that was not there before.
    New(String),
    /// One that is not there any more, and how long it was.
    Gone(String, Duration),
    /// One that comes and goes.
    Flapping(String),
}

/// See the module.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Memory {
    schema: u32,
    causes: BTreeMap<String, Cause>,
    /// Which repairs were made when.
    pub repairs: Repairs,
    /// The repair that has begun and not ended.
    pub under_way: Option<UnderWay>,
    /// Reports that follow from what stands above and may not be in their queues yet.
    pub outbox: Vec<Notice>,
    /// Causes that were there for a single look, and when.
    #[serde(skip)]
    glimpses: BTreeMap<String, Vec<Timestamp>>,
    #[serde(skip)]
    path: PathBuf,
}

impl Memory {
    /// That of this deployment.
    pub fn load(state: &Path) -> Self {
        let path = state.join("watch.json");
        let kept: Memory = std::fs::read(&path)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default();
        Self {
            schema: 1,
            path,
            ..kept
        }
    }

    /// Writes it down, if it has changed.
    pub fn save(&self) -> io::Result<()> {
        let text = serde_json::to_vec(self)?;
        files::write_if_changed(&self.path, &text, 0o600).map(drop)
    }

    /// Whether a second look, soon, would tell more: something has come or gone, and one look says
    /// too little (a service that just restarts is not there for a moment).
    pub fn wants_another_look(&self, before: Option<&Look>, now: &Look) -> bool {
        let came = now.roots.keys().any(|key| {
            !self.is_present(key) && !before.is_some_and(|look| look.roots.contains_key(key))
        });
        let went = self.present().any(|(key, cause)| {
            now.could_see(&cause.check)
                && !now.all.contains(key)
                && before.is_none_or(|look| look.all.contains(key))
        });
        came || went
    }

    /// Takes in what two looks, one after the other, have seen. What both saw has come, what both
    /// missed is gone; `sure` are causes whose end was proved by a repair. The answer is what has to
    /// be reported.
    pub fn observe(
        &mut self,
        before: Option<&Look>,
        now: &Look,
        sure: &BTreeSet<String>,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for (key, finding) in &now.roots {
            if self.is_present(key) {
                continue;
            }
            let twice = before.is_some_and(|look| look.roots.contains_key(key));
            if twice || self.often_glimpsed(key, now.at) {
                changes.extend(self.came(key, finding, now.at, twice));
            }
        }
        let gone: Vec<String> = self
            .present()
            .filter(|(key, cause)| {
                let missed = before.is_some_and(|look| !look.all.contains(*key));
                now.could_see(&cause.check)
                    && !now.all.contains(*key)
                    && (missed || sure.contains(*key))
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            if let Some(cause) = self.causes.get_mut(&key) {
                cause.gone = Some(now.at);
                if cause.flapping.is_none() {
                    changes.push(Change::Gone(key, since(cause.since, now.at)));
                }
            }
        }
        changes.extend(self.calmed(now.at));
        changes
    }

    fn came(
        &mut self,
        key: &str,
        finding: &Finding,
        now: Timestamp,
        stays: bool,
    ) -> Option<Change> {
        let finding_json = serde_json::to_value(finding).unwrap_or_default();
        let cause = self.causes.entry(key.to_owned()).or_insert_with(|| Cause {
            finding: Value::Null,
            check: finding.check.to_owned(),
            since: now,
            gone: None,
            came: Vec::new(),
            flapping: None,
        });
        cause.finding = finding_json;
        cause.since = now;
        cause.gone = None;
        cause.came.retain(|at| since(*at, now) < WHILE);
        cause.came.push(now);
        if stays && cause.flapping.is_none() && cause.came.len() < FLAPS {
            return Some(Change::New(key.to_owned()));
        }
        let told = cause.flapping.is_some_and(|told| since(told, now) < WHILE);
        if told {
            return None;
        }
        cause.flapping = Some(now);
        Some(Change::Flapping(key.to_owned()))
    }

    /// Whether it has been there for single looks so often that this is no accident.
    fn often_glimpsed(&mut self, key: &str, now: Timestamp) -> bool {
        let seen = self.glimpses.entry(key.to_owned()).or_default();
        seen.retain(|at| since(*at, now) < WHILE);
        seen.push(now);
        if seen.len() >= FLAPS {
            self.glimpses.remove(key);
            return true;
        }
        false
    }

    /// What was flapping and has been one or the other for long.
    fn calmed(&mut self, now: Timestamp) -> Vec<Change> {
        let mut changes = Vec::new();
        self.causes.retain(|key, cause| {
            if let Some(gone) = cause.gone {
                if since(gone, now) < WHILE {
                    return true;
                }
                // One look more, so that its report finds what it was.
                if cause.flapping.take().is_some() {
                    changes.push(Change::Gone(key.clone(), since(cause.since, gone)));
                    return true;
                }
                return false;
            }
            if since(cause.since, now) >= WHILE {
                // That it is there was told when it flapped.
                cause.flapping = None;
            }
            true
        });
        changes
    }

    fn is_present(&self, key: &str) -> bool {
        self.causes.get(key).is_some_and(|it| it.gone.is_none())
    }

    /// The causes that are there.
    pub fn present(&self) -> impl Iterator<Item = (&String, &Cause)> {
        self.causes.iter().filter(|(_, cause)| cause.gone.is_none())
    }

    /// A cause, also one that is gone since a short while.
    pub fn cause(&self, key: &str) -> Option<&Cause> {
        self.causes.get(key)
    }

    /// Whether it is told of this cause that it comes and goes: its repairs are no news either.
    pub fn flaps(&self, key: &str) -> bool {
        self.causes.get(key).is_some_and(|it| it.flapping.is_some())
    }
}

/// From one moment to a later one; a clock that was set back has let no time go by.
pub(super) fn since(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::Code;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + second).unwrap()
    }

    fn paused() -> Finding {
        let mut finding =
            Finding::error(Code::ServicePaused, "courier is frozen").service("courier");
        finding.check = "containers";
        finding
    }

    fn look(second: i64, findings: &[Finding]) -> Look {
        Look::of(at(second), findings, BTreeSet::new())
    }

    fn sure() -> BTreeSet<String> {
        BTreeSet::new()
    }

    const KEY: &str = "service-paused courier";

    #[test]
    fn a_cause_is_new_once_and_gone_once_each_after_two_looks() {
        let mut memory = Memory::default();
        let (with, without) = (look(0, &[paused()]), look(30, &[]));
        assert!(memory.wants_another_look(None, &with));
        assert_eq!(memory.observe(None, &with, &sure()), []);
        let again = look(10, &[paused()]);
        assert!(!memory.wants_another_look(Some(&with), &again));
        assert_eq!(
            memory.observe(Some(&with), &again, &sure()),
            [Change::New(KEY.to_owned())]
        );
        assert_eq!(memory.observe(Some(&again), &again, &sure()), []);
        assert!(memory.wants_another_look(Some(&again), &without));
        assert_eq!(memory.observe(Some(&again), &without, &sure()), []);
        assert_eq!(
            memory.observe(Some(&without), &look(40, &[]), &sure()),
            [Change::Gone(KEY.to_owned(), Duration::from_secs(30))]
        );
        assert_eq!(memory.observe(Some(&without), &without, &sure()), []);
    }

    #[test]
    fn a_proved_repair_needs_no_second_look_and_a_blind_check_proves_nothing() {
        let mut memory = Memory::default();
        let with = look(0, &[paused()]);
        memory.observe(Some(&with), &with, &sure());
        let blind = Look::of(at(5), &[], BTreeSet::from(["containers".to_owned()]));
        let proved = BTreeSet::from([KEY.to_owned()]);
        assert_eq!(memory.observe(Some(&blind), &blind, &proved), []);
        let changes = memory.observe(Some(&with), &look(9, &[]), &proved);
        assert_eq!(
            changes,
            [Change::Gone(KEY.to_owned(), Duration::from_secs(9))]
        );
    }

    #[test]
    fn what_is_explained_by_something_else_now_is_not_gone() {
        let mut memory = Memory::default();
        let with = look(0, &[paused()]);
        memory.observe(Some(&with), &with, &sure());
        let mut effect = paused();
        effect.caused_by = Some(Code::DiskFull);
        let full = Finding::error(Code::DiskFull, "/ is full");
        let now = look(10, &[full, effect]);
        let changes = memory.observe(Some(&now), &now, &sure());
        assert_eq!(changes, [Change::New("disk-full / is full".to_owned())]);
    }

    #[test]
    fn what_comes_and_goes_is_told_as_flapping_once_an_hour_and_as_gone_when_it_is_calm() {
        let mut memory = Memory::default();
        let mut told = Vec::new();
        for turn in 0..30 {
            let second = turn * 300;
            let with = look(second, &[paused()]);
            told.extend(memory.observe(Some(&with), &with, &sure()));
            let without = look(second + 100, &[]);
            told.extend(memory.observe(Some(&without), &without, &sure()));
        }
        let flapping = |change: &&Change| matches!(change, Change::Flapping(_));
        // Two and a half hours.
        assert_eq!(told.iter().filter(flapping).count(), 3, "{told:?}");
        assert_eq!(told.len(), 3 + 2 * (FLAPS - 1), "{told:?}");
        let calm = look(30 * 300 + 3600, &[]);
        let changes = memory.observe(Some(&calm), &calm, &sure());
        assert!(matches!(&changes[..], [Change::Gone(..)]), "{changes:?}");
        assert_eq!(memory.observe(Some(&calm), &calm, &sure()), []);
        assert!(memory.causes.is_empty());
    }

    #[test]
    fn what_is_there_at_every_other_look_only_is_told_in_the_end() {
        let mut memory = Memory::default();
        let mut told = Vec::new();
        let mut before = look(0, &[]);
        for turn in 1..12 {
            let findings = if turn % 2 == 0 {
                vec![paused()]
            } else {
                vec![]
            };
            let now = look(turn * 30, &findings);
            told.extend(memory.observe(Some(&before), &now, &sure()));
            before = now;
        }
        assert_eq!(told, [Change::Flapping(KEY.to_owned())]);
    }

    #[test]
    fn it_is_kept_over_the_end_and_a_damaged_file_is_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let mut memory = Memory::load(folder.path());
        let with = look(0, &[paused()]);
        memory.observe(Some(&with), &with, &sure());
        memory.save().unwrap();
        let mut memory = Memory::load(folder.path());
        assert_eq!(memory.observe(Some(&with), &with, &sure()), []);
        assert!(memory.is_present(KEY));
        std::fs::write(folder.path().join("watch.json"), b"{\"causes").unwrap();
        assert!(!Memory::load(folder.path()).is_present(KEY));
    }
}
