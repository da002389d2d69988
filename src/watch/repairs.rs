//! Which repairs were made when: none too often, and one that did not help not again soon.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::memory::since;

const HOUR: Duration = Duration::from_secs(3600);

/// After a repair that did not help; doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(600);
/// The longest of these pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(6 * 3600);

/// What has been quiet for so long is begun afresh.
const FORGOTTEN: Duration = Duration::from_secs(24 * 3600);

/// A repair that has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnderWay {
    /// Its name.
    pub name: String,
    /// What for.
    pub target: Option<String>,
    /// What it counts as, each a repair and a service.
    pub counts_as: Vec<String>,
}

/// How a repair has come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// The service works again.
    Helped,
    /// It did not.
    Failed,
    /// There was nothing to do any more.
    Nothing,
    /// It could not begin: somebody else is at work.
    Prevented,
}

/// One repair's past.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Past {
    /// When it was begun, lately.
    at: Vec<Timestamp>,
    /// How often one after the other it did not help.
    failed: u32,
    /// Not before.
    not_before: Option<Timestamp>,
}

/// See the module. By what a repair counts as: its name and service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Repairs(BTreeMap<String, Past>);

impl Repairs {
    /// Whether it may be made now; else why not, in words that stay the same while it is so.
    pub fn may(&self, what: &str, most_an_hour: u64, now: Timestamp) -> Result<(), String> {
        if most_an_hour == 0 {
            return Err("nothing is repaired unattended (WATCH_REPAIRS_PER_HOUR=0)".to_owned());
        }
        let Some(past) = self.0.get(what) else {
            return Ok(());
        };
        if past.not_before.is_some_and(|then| then > now) {
            return Err(match past.failed {
                0 => "there was nothing to do a short while ago".to_owned(),
                1 => "it did not help the last time; it is tried again later".to_owned(),
                n => format!("it did not help {n} times; it is tried again later"),
            });
        }
        let lately = past.at.iter().filter(|at| since(**at, now) < HOUR).count() as u64;
        if lately >= most_an_hour {
            return Err(format!(
                "it was made {most_an_hour} times within an hour (WATCH_REPAIRS_PER_HOUR); a person has to look"
            ));
        }
        Ok(())
    }

    /// It begins.
    pub fn begin(&mut self, counts_as: &[String], now: Timestamp) {
        self.forget(now);
        for what in counts_as {
            self.0.entry(what.clone()).or_default().at.push(now);
        }
    }

    /// It has ended so. Answers whether this is the first time that it did not help.
    pub fn ended(&mut self, counts_as: &[String], came: Came, now: Timestamp) -> bool {
        let mut first = false;
        for what in counts_as {
            let past = self.0.entry(what.clone()).or_default();
            match came {
                Came::Helped => {
                    past.failed = 0;
                    past.not_before = None;
                }
                Came::Failed => {
                    first |= past.failed == 0;
                    past.failed += 1;
                    past.not_before = later(now, pause(past.failed));
                }
                Came::Nothing => {
                    past.at.pop();
                    past.not_before = later(now, FIRST_PAUSE);
                }
                Came::Prevented => {
                    past.at.pop();
                }
            }
        }
        first
    }

    /// Drops what counts no more, and what a clock that was wrong has written.
    fn forget(&mut self, now: Timestamp) {
        let believable = |at: &Timestamp| since(now, *at) < HOUR;
        self.0.retain(|_, past| {
            past.at
                .retain(|at| since(*at, now) < FORGOTTEN && believable(at));
            if past
                .not_before
                .is_some_and(|then| since(now, then) > LONGEST_PAUSE)
            {
                past.not_before = None;
            }
            !past.at.is_empty() || past.not_before.is_some_and(|then| then > now)
        });
    }
}

fn pause(failed: u32) -> Duration {
    let doublings = failed.saturating_sub(1).min(10);
    (FIRST_PAUSE * 2u32.pow(doublings)).min(LONGEST_PAUSE)
}

fn later(now: Timestamp, by: Duration) -> Option<Timestamp> {
    now.checked_add(by).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + second).unwrap()
    }

    fn one() -> Vec<String> {
        vec!["not-running courier".to_owned()]
    }

    #[test]
    fn the_same_repair_is_made_a_few_times_an_hour_and_others_are_not_held_up() {
        let mut repairs = Repairs::default();
        for number in 0..3 {
            let now = at(number * 60);
            assert!(repairs.may("not-running courier", 3, now).is_ok());
            repairs.begin(&one(), now);
            repairs.ended(&one(), Came::Helped, now);
        }
        let why = repairs.may("not-running courier", 3, at(200)).unwrap_err();
        assert!(why.contains("3 times within an hour"), "{why}");
        assert!(repairs.may("not-running mailroom", 3, at(200)).is_ok());
        assert!(repairs.may("not-running courier", 4, at(200)).is_ok());
        assert!(repairs.may("not-running courier", 3, at(3601)).is_ok());
        assert!(repairs.may("not-running mailroom", 0, at(200)).is_err());
    }

    #[test]
    fn one_that_did_not_help_waits_longer_each_time_and_is_told_once() {
        let mut repairs = Repairs::default();
        let mut now = 0;
        let mut firsts = 0;
        for pause in [600, 1200, 2400, 4800] {
            assert!(repairs.may("not-running courier", 60, at(now)).is_ok());
            repairs.begin(&one(), at(now));
            firsts += i32::from(repairs.ended(&one(), Came::Failed, at(now)));
            assert!(
                repairs
                    .may("not-running courier", 60, at(now + pause - 1))
                    .is_err()
            );
            now += pause;
        }
        assert_eq!(firsts, 1);
        repairs.begin(&one(), at(now));
        repairs.ended(&one(), Came::Helped, at(now));
        assert!(repairs.may("not-running courier", 60, at(now)).is_ok());
        assert_eq!(pause(40), LONGEST_PAUSE);
    }

    #[test]
    fn what_could_not_begin_does_not_count() {
        let mut repairs = Repairs::default();
        for _ in 0..5 {
            repairs.begin(&one(), at(0));
            repairs.ended(&one(), Came::Prevented, at(0));
        }
        assert!(repairs.may("not-running courier", 1, at(0)).is_ok());
    }

    #[test]
    fn a_clock_that_was_wrong_stops_no_repair() {
        let mut repairs = Repairs::default();
        let years = at(90_000_000);
        repairs.begin(&one(), years);
        repairs.ended(&one(), Came::Failed, years);
        repairs.begin(&["other".to_owned()], at(0));
        assert!(repairs.may("not-running courier", 1, at(0)).is_ok());
    }
}
