//! What the runs of a task do while they are waited for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::pulled::{Key, Run, key};
use crate::diagnosis::facts::casepro::WORKER;
use crate::diagnosis::facts::casepro::owners::{Owner, Workers};
use crate::diagnosis::facts::casepro::state::Task;
use crate::diagnosis::{Halt, Scene};
use crate::host::processes;

/// The runs of one task since the mark.
#[derive(Debug)]
pub(super) struct Watch {
    /// As it was at the mark.
    before: Run,
    /// Its run at the mark is that of a living worker, which goes on.
    lives: bool,
    last: Run,
    /// Since when a run of the new worker is seen under way.
    open_since: Option<Instant>,
    /// How many have failed.
    pub(super) failed: usize,
    /// One was ended by its limit, or with its worker.
    pub(super) killed: bool,
}

impl Watch {
    pub(super) fn new(before: &Run, lives: bool) -> Self {
        Self {
            before: before.clone(),
            lives,
            last: before.clone(),
            open_since: None,
            failed: 0,
            killed: false,
        }
    }

    pub(super) fn look(&mut self, run: &Run) {
        let began = run.started != self.last.started;
        let of_now = self.lives || run.started != self.before.started;
        let open = run.ended.is_empty() && !run.started.is_empty() && of_now;
        let was_open = self.open_since.is_some();
        // Another one, and the one before has neither succeeded nor failed.
        let ended_well = run.succeeded != self.last.succeeded;
        if began && was_open && open && !ended_well && !run.failing {
            self.killed = true;
        }
        if run.failing && !run.ended.is_empty() && run.ended != self.last.ended {
            self.failed += 1;
        }
        if !open {
            self.open_since = None;
        } else if began || !was_open {
            self.open_since = Some(Instant::now());
        }
        self.last = run.clone();
    }

    /// How long the present run has been under way.
    pub(super) fn runs_for(&self) -> Option<Duration> {
        self.open_since.map(|since| since.elapsed())
    }
}

/// Whether the worker's processes that pull do anything.
pub(super) struct Movement {
    seen: (i64, u64),
    looked: Option<Instant>,
    moved: Instant,
    /// What the workers said they run, and how often in a row they all said that it is not this
    /// task: by its name and organisation.
    idle: BTreeMap<Key, usize>,
}

impl Movement {
    pub(super) fn new() -> Self {
        Self {
            seen: (0, 0),
            looked: None,
            moved: Instant::now(),
            idle: BTreeMap::new(),
        }
    }

    /// Nobody runs this task, although it has begun and not ended: it was killed. Asked several
    /// times, since one may end between two looks.
    pub(super) fn nobody_runs(&self, task: &Task) -> bool {
        self.idle.get(&key(task)).is_some_and(|times| *times >= 3)
    }

    pub(super) fn still_for(&self) -> Duration {
        self.moved.elapsed()
    }

    pub(super) async fn look(&mut self, scene: &Scene, messages: i64, open: &[&Task]) {
        // Asking the workers costs them something.
        let soon = |at: Instant| at.elapsed() < Duration::from_secs(3);
        if self.looked.is_some_and(soon) && messages == self.seen.0 {
            return;
        }
        self.looked = Some(Instant::now());
        let Ok(workers) = Workers::ask(scene).await else {
            return;
        };
        for task in open {
            let times = self.idle.entry(key(task)).or_default();
            let now = jiff::Timestamp::now();
            match workers.owner(task, None, now) {
                Owner::Nobody => *times += 1,
                Owner::Alive | Owner::Unclear => *times = 0,
            }
        }
        self.idle
            .retain(|key, _| open.iter().any(|task| super::pulled::key(task) == *key));
        let activity = activity(scene, &workers).await;
        let seen = (messages, activity.unwrap_or_default());
        if seen != self.seen {
            self.seen = seen;
            self.moved = Instant::now();
        }
    }
}

/// What all processes have done that run a pull; other ones of the worker do something all the
/// time.
async fn activity(scene: &Scene, workers: &Workers) -> Result<u64, Halt> {
    let container = scene.running(WORKER).await?;
    let pids: Vec<u32> = workers.running.iter().filter_map(|run| run.pid).collect();
    let family = container.pid.map(processes::family);
    let family = family.and_then(Result::ok).unwrap_or_default();
    Ok(family
        .iter()
        .filter(|process| pids.contains(&process.inner_pid))
        .filter_map(|process| processes::activity(process.pid))
        .sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(started: &str, ended: &str, succeeded: &str, failing: bool) -> Run {
        Run {
            succeeded: succeeded.to_owned(),
            started: started.to_owned(),
            ended: ended.to_owned(),
            failing,
        }
    }

    #[test]
    fn a_run_that_was_left_by_the_old_worker_is_none_of_the_new_one() {
        let before = run("1", "", "0", false);
        let mut watch = Watch::new(&before, false);
        watch.look(&before);
        assert!(watch.runs_for().is_none());
        watch.look(&run("2", "", "0", false));
        assert!(watch.runs_for().is_some());
        assert!(!watch.killed);
    }

    #[test]
    fn a_run_that_goes_on_is_under_way_from_the_start() {
        let before = run("1", "", "0", false);
        let mut watch = Watch::new(&before, true);
        watch.look(&before);
        assert!(watch.runs_for().is_some());
        // One that has never begun is not.
        let never = Run::default();
        let mut watch = Watch::new(&never, true);
        watch.look(&never);
        assert!(watch.runs_for().is_none());
    }

    #[test]
    fn a_run_that_another_follows_without_its_end_was_killed() {
        let mut watch = Watch::new(&run("1", "1", "1", false), false);
        watch.look(&run("2", "", "1", false));
        watch.look(&run("3", "", "1", false));
        assert!(watch.killed);
        // One that succeeded between two looks was not.
        let mut watch = Watch::new(&run("1", "1", "1", false), false);
        watch.look(&run("2", "", "1", false));
        watch.look(&run("3", "", "2", false));
        assert!(!watch.killed);
    }

    #[test]
    fn failed_runs_are_counted_once_each() {
        let mut watch = Watch::new(&run("1", "1", "1", true), false);
        watch.look(&run("1", "1", "1", true));
        assert_eq!(watch.failed, 0);
        watch.look(&run("2", "", "1", true));
        watch.look(&run("2", "2", "1", true));
        watch.look(&run("2", "2", "1", true));
        watch.look(&run("3", "3", "1", true));
        assert_eq!(watch.failed, 2);
    }
}
