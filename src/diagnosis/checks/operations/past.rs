//! The journal's newest lines and the lock, as they belong together.

use std::collections::BTreeSet;

use jiff::{Timestamp, ToSpan as _};

use crate::deployment::services::Stack;
use crate::diagnosis::check::{Halt, blocking};
use crate::diagnosis::scene::Scene;
use crate::operation::journal::{self, Entry};
use crate::operation::lock::{self, Holder};

/// What `ooy` has done lately, and whether it is doing something.
#[derive(Debug, Default)]
pub struct Past {
    entries: Vec<Entry>,
    /// The process that holds the lock, and what it says of itself.
    pub holder: Option<(u32, Option<Holder>)>,
}

/// The newest operation of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Last {
    /// The command with what it was asked for: `start mailroom`.
    pub operation: String,
    /// Who ran it.
    pub user: String,
    /// When it began.
    pub began: Timestamp,
    /// Its newest line.
    pub latest: Timestamp,
    /// How it ended, if that was written.
    pub ended: Option<String>,
    /// Its lines about services, and other steps that change something.
    steps: Vec<Entry>,
}

impl Past {
    /// Reads both.
    pub async fn look(scene: &Scene) -> Result<Self, Halt> {
        let state = scene.context.settings.places.state.clone();
        blocking(move || {
            let mut past = Self::read(&state)?;
            // One that came to its end between the two looks is not cut off.
            if past.unfinished().is_some() {
                past = Self::read(&state)?;
            }
            Ok(past)
        })
        .await?
        .map_err(|error: std::io::Error| {
            let state = scene.context.settings.places.state.display();
            Halt::unknown(format!("{state}, journal and lock: {error}"))
        })
    }

    fn read(state: &std::path::Path) -> std::io::Result<Self> {
        let holder = lock::holder(state)?;
        let mut entries = journal::recent(state)?;
        // Beside all others, under a lock of its own; one that is cut off leaves nothing to finish.
        entries.retain(|entry| !entry.operation.starts_with("backup "));
        Ok(Self { entries, holder })
    }

    /// The newest operation.
    pub fn last(&self) -> Option<Last> {
        let whole = |entry: &&Entry| entry.step == "operation";
        let began = self
            .entries
            .iter()
            .rfind(|entry| whole(entry) && entry.event == "started")?;
        let its = || self.entries.iter().filter(|entry| entry.id == began.id);
        Some(Last {
            operation: began.operation.clone(),
            user: began.user.clone(),
            began: began.at,
            latest: its().next_back().map_or(began.at, |entry| entry.at),
            ended: its()
                .filter(whole)
                .find(|entry| entry.event != "started")
                .map(|entry| entry.event.clone()),
            steps: its().filter(|entry| changes(entry)).cloned().collect(),
        })
    }

    /// The newest operation, if it had begun to change something and never came to its end.
    pub fn unfinished(&self) -> Option<Last> {
        self.last()
            .filter(|last| self.holder.is_none() && last.ended.is_none() && !last.steps.is_empty())
    }

    /// The operation that is under way at this moment.
    pub fn under_way(&self) -> Option<Last> {
        self.last()
            .filter(|last| self.holder.is_some() && last.ended.is_none())
    }

    /// Who has stopped a service, if the last that `ooy` did to it was that.
    pub fn stopped(&self, service: &str) -> Option<&Entry> {
        self.touched(service).filter(|entry| entry.step == "stop")
    }

    /// The last that `ooy` did to a service: a stop or a start, begun or ended.
    pub fn touched(&self, service: &str) -> Option<&Entry> {
        journal::last_of(&self.entries, service)
    }
}

impl Last {
    /// As it was typed: `ooy start mailroom`.
    pub fn name(&self) -> String {
        format!("ooy {}", self.operation)
    }

    /// Whether it was to bring services up.
    pub fn starts(&self) -> bool {
        !self.operation.starts_with("stop")
    }

    /// Its newest step in words: "start of rapidpro: started".
    pub fn doing(&self) -> String {
        match self.steps.last() {
            None => "nothing yet".to_owned(),
            Some(entry) => {
                let of = entry
                    .service
                    .as_ref()
                    .map_or(String::new(), |service| format!(" of {service}"));
                format!("{}{of}: {}", entry.step, entry.event)
            }
        }
    }

    /// The services that it was to start or stop.
    pub fn reach(&self, stack: &Stack) -> BTreeSet<String> {
        let mut words = self.operation.split(' ');
        let command = words.next().unwrap_or_default();
        let named: Vec<&str> = words.filter(|word| stack.service(word).is_some()).collect();
        match command {
            "start" | "stop" | "restart" if named.is_empty() => {
                stack.graph.names().map(str::to_owned).collect()
            }
            "start" | "restart" => stack.graph.with_needs(named),
            "stop" => named.into_iter().map(str::to_owned).collect(),
            _ => self
                .steps
                .iter()
                .filter_map(|entry| entry.service.clone())
                .collect(),
        }
    }
}

/// Whether a line tells of something that changes the deployment.
fn changes(entry: &Entry) -> bool {
    !matches!(entry.step.as_str(), "operation" | "preflight")
        && !matches!(entry.event.as_str(), "skipped" | "planned")
}

/// A time of day; with its date, where that is not today's.
pub fn clock(at: Timestamp, now: Timestamp) -> String {
    let recent = now
        .checked_sub(20.hours())
        .is_ok_and(|yesterday| at > yesterday);
    let form = if recent {
        "%H:%M:%S UTC"
    } else {
        "%Y-%m-%d %H:%M UTC"
    };
    at.strftime(form).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str, operation: &str, second: i64, step: &str, event: &str) -> Entry {
        Entry {
            schema: 1,
            id: id.to_owned(),
            at: Timestamp::from_second(1_795_000_000 + second).unwrap(),
            operation: operation.to_owned(),
            user: "root".to_owned(),
            step: step.to_owned(),
            service: (step == "stop" || step == "start").then(|| "mailroom".to_owned()),
            event: event.to_owned(),
            took_ms: None,
            detail: String::new(),
        }
    }

    fn past(entries: Vec<Entry>) -> Past {
        Past {
            entries,
            holder: None,
        }
    }

    #[test]
    fn only_the_newest_operation_can_be_unfinished() {
        let first = [
            entry("1", "start", 0, "operation", "started"),
            entry("1", "start", 1, "create", "started"),
        ];
        let cut = past(first.to_vec()).unfinished().unwrap();
        assert_eq!(cut.name(), "ooy start");
        assert_eq!(cut.doing(), "create: started");
        let mut second = first.to_vec();
        second.push(entry("2", "stop", 2, "operation", "started"));
        second.push(entry("2", "stop", 3, "operation", "done"));
        assert_eq!(past(second).unfinished(), None);
    }

    #[test]
    fn one_that_had_changed_nothing_or_holds_the_lock_is_not_cut_off() {
        let refused = past(vec![
            entry("1", "start", 0, "operation", "started"),
            entry("1", "start", 1, "preflight", "started"),
        ]);
        assert_eq!(refused.unfinished(), None);
        let mut running = past(vec![
            entry("1", "stop", 0, "operation", "started"),
            entry("1", "stop", 1, "stop", "started"),
        ]);
        running.holder = Some((7, None));
        assert_eq!(running.unfinished(), None);
        assert_eq!(
            running.under_way().unwrap().doing(),
            "stop of mailroom: started"
        );
    }

    #[test]
    fn who_stopped_a_service_is_known_until_it_is_started_again() {
        let mut entries = vec![
            entry("1", "stop", 0, "operation", "started"),
            entry("1", "stop", 1, "stop", "done"),
        ];
        assert_eq!(
            past(entries.clone()).stopped("mailroom").unwrap().operation,
            "stop"
        );
        assert_eq!(past(entries.clone()).stopped("nginx"), None);
        entries.push(entry("2", "start", 2, "start", "ready"));
        assert_eq!(past(entries).stopped("mailroom"), None);
    }
}
