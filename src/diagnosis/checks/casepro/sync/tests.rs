//! When a task is late, and when it only takes its time.

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

const LIMITS: Limits = Limits {
    lag: Duration::from_secs(300),
    failing: Duration::from_secs(50),
    run: Duration::from_secs(630),
};

fn task() -> Task {
    Task {
        org: 1,
        subdomain: "lvcthealth".into(),
        kind: Kind::Messages,
        started: Some(10 * SECOND),
        ended: true,
        succeeded: Some(10 * SECOND),
        failing: false,
        disabled: false,
        org_made: 60 * MINUTE,
    }
}

/// With a worker and a RapidPro that have been up for so long.
fn up(worker: Duration, rapidpro: Duration) -> Up {
    Up {
        worker: Some(worker),
        rapidpro: Some(rapidpro),
    }
}

/// With both up for an hour.
fn judged(task: &Task) -> Option<Stall> {
    judge(task, LIMITS, up(60 * MINUTE, 60 * MINUTE))
}

#[test]
fn a_task_that_succeeds_is_fine() {
    assert_eq!(judged(&task()), None);
}

#[test]
fn a_success_too_long_ago_is_a_stall_and_a_disabled_task_is_none() {
    let mut task = task();
    task.succeeded = Some(6 * MINUTE);
    assert_eq!(judged(&task), Some(Stall::Behind));
    task.disabled = true;
    assert_eq!(judged(&task), None);
}

#[test]
fn nothing_is_expected_of_a_worker_that_was_just_started() {
    let mut task = task();
    task.succeeded = Some(9 * 60 * MINUTE);
    let judged = |worker, rapidpro| judge(&task, LIMITS, up(worker, rapidpro));
    assert_eq!(judged(MINUTE, 60 * MINUTE), None);
    assert_eq!(judged(60 * MINUTE, MINUTE), None);
    assert_eq!(judged(6 * MINUTE, 6 * MINUTE), Some(Stall::Behind));
    // Of one that is not there nothing will come.
    assert_eq!(judge(&task, LIMITS, Up::default()), Some(Stall::Behind));
}

#[test]
fn an_organisation_made_a_moment_ago_has_time() {
    let mut task = task();
    (task.started, task.succeeded, task.ended) = (None, None, false);
    task.org_made = MINUTE;
    assert_eq!(judged(&task), None);
    task.org_made = 6 * MINUTE;
    assert_eq!(judged(&task), Some(Stall::Behind));
}

#[test]
fn two_runs_that_failed_are_a_stall_and_one_is_not() {
    let mut task = task();
    task.failing = true;
    task.succeeded = Some(40 * SECOND);
    assert_eq!(judged(&task), None);
    task.succeeded = Some(60 * SECOND);
    assert_eq!(judged(&task), Some(Stall::Failing));
    // RapidPro was away, and has come back a moment ago.
    assert_eq!(judge(&task, LIMITS, up(60 * MINUTE, 20 * SECOND)), None);
}

#[test]
fn a_run_under_way_may_take_its_time() {
    let mut task = task();
    task.ended = false;
    task.succeeded = Some(7 * MINUTE);
    // Long after the last success a catch-up began a moment ago.
    task.started = Some(MINUTE);
    assert_eq!(judged(&task), None);
    task.started = Some(6 * MINUTE);
    assert_eq!(judged(&task), Some(Stall::Slow));
    // Begun before this worker: nobody goes on with it.
    assert_eq!(
        judge(&task, LIMITS, up(330 * SECOND, 60 * MINUTE)),
        Some(Stall::Behind)
    );
    task.started = Some(11 * MINUTE);
    assert_eq!(judged(&task), Some(Stall::Killed));
}

#[test]
fn the_line_that_tells_why_is_found() {
    assert!(is_error(
        "casepro.backend.temba_client.TembaTokenError: Authentication with provided token failed"
    ));
    assert!(!is_error(
        "[2026-11-25 23:03:57,509: ERROR/ForkPoolWorker-1] Task x raised"
    ));
    assert!(!is_error("Traceback (most recent call last):"));
    assert!(known_cause("x.TembaTokenError: y").is_some());
    assert!(known_cause("ValueError: y").is_none());
}
