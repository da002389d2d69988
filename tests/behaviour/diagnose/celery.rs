//! Celery's workers and beats, and the queues.

use std::process::Command;

use super::services::{PATIENCE, Stopped, processes, signal};
use crate::harness::{Home, redis_cli, until};

#[test]
fn workers_beats_and_queues() {
    let home = Home::with_databases("dce");
    // This machine may be busy with other tests.
    home.set("DIAGNOSE_TIMEOUT", "DIAGNOSE_TIMEOUT=10s");
    home.ooy(&["start"]).expect(0);
    home.seed_rapidpro();
    for service in ["rapidpro-celery", "rapidpro-beat", "casepro-celery"] {
        home.until_healthy(service);
    }
    home.healthy_again(PATIENCE);
    a_pool_that_is_stopped(&home);
    a_worker_that_is_stopped(&home);
    a_worker_that_hangs(&home);
    a_beat_that_was_killed(&home);
    a_beat_that_is_stopped(&home);
    a_beat_that_does_not_work(&home);
    a_second_beat(&home);
    messages_that_courier_does_not_take(&home);
    queues_without_workers(&home);
}

/// A worker on the host: its main process, those that do tasks, and its beat, if it has one.
pub struct Family {
    pub main: u32,
    pub pool: Vec<u32>,
    pub beat: Option<u32>,
}

impl Family {
    pub fn of(home: &Home, service: &str) -> Self {
        let all = processes(home, service);
        // Health checks run beside it, in processes that are not of its family.
        let first: u32 = home.inspect(service, "{{.State.Pid}}").parse().unwrap();
        let python = |line: &str| line.split(' ').next().unwrap().contains("python");
        let (main, ..) = all
            .iter()
            .filter(|(pid, parent, _)| *pid == first || *parent == first)
            .filter(|(.., line)| python(line))
            // An init stands before it, or it is the first itself.
            .min_by_key(|(pid, ..)| *pid != first)
            .unwrap();
        let children: Vec<u32> = all
            .iter()
            .filter(|(_, parent, _)| parent == main)
            .map(|(pid, ..)| *pid)
            .collect();
        // The beat has closed the pipes of the pool.
        let (pool, beat): (Vec<u32>, Vec<u32>) =
            children.into_iter().partition(|pid| has_pipes(*pid));
        Self {
            main: *main,
            pool,
            beat: beat.first().copied(),
        }
    }
}

fn has_pipes(pid: u32) -> bool {
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let number: u32 = entry.file_name().to_str()?.parse().ok()?;
            (number > 2).then(|| std::fs::read_link(entry.path()).ok())?
        })
        .any(|target| target.to_string_lossy().starts_with("pipe:"))
}

fn a_pool_that_is_stopped(home: &Home) {
    let family = Family::of(home, "rapidpro-celery");
    let stopped = Stopped::new(family.pool);
    let diagnosed = home.diagnose_until("celery-stalled", PATIENCE);
    let finding = diagnosed.finding("celery-stalled");
    assert_eq!(finding["service"], "rapidpro-celery");
    assert_eq!(
        finding["summary"],
        "All processes of rapidpro-celery that do tasks are stopped by a signal"
    );
    assert_eq!(finding["evidence"][0]["value"], "T (stopped)");
    let seen = home.shell(finding["evidence"][0]["command"].as_str().unwrap());
    assert!(
        seen.lines().any(|line| line
            .split_whitespace()
            .nth(1)
            .is_some_and(|s| s.starts_with('T'))),
        "{seen}"
    );
    insta::assert_snapshot!("diagnose-celery-stalled", home.shown("celery-stalled"));
    drop(stopped);
    home.healthy_again(PATIENCE);
}

fn a_worker_that_is_stopped(home: &Home) {
    let family = Family::of(home, "casepro-celery");
    let stopped = Stopped::new(vec![family.main]);
    // Long enough for its health check to fail as well.
    until("casepro-celery is unhealthy", PATIENCE, || {
        home.inspect("casepro-celery", "{{.State.Health.Status}}") == "unhealthy"
    });
    let diagnosed = home.diagnose_until("celery-stalled", PATIENCE);
    let finding = diagnosed.finding("celery-stalled");
    assert_eq!(finding["service"], "casepro-celery");
    assert!(
        diagnosed.explained().contains(&"service-unhealthy"),
        "{}",
        diagnosed.text()
    );
    drop(stopped);
    home.healthy_again(PATIENCE);
}

/// It hangs when it is pinged, as its health check does.
fn a_worker_that_hangs(home: &Home) {
    home.control("rapidpro-celery", r#"{"hang": true}"#);
    let diagnosed = home.diagnose_until("celery-stalled", PATIENCE);
    let finding = diagnosed.finding("celery-stalled");
    assert_eq!(
        finding["summary"],
        "rapidpro-celery runs and does not answer: it takes no tasks"
    );
    home.control("rapidpro-celery", "");
    home.healthy_again(PATIENCE);
}

fn a_beat_that_was_killed(home: &Home) {
    let beat = Family::of(home, "rapidpro-beat").beat.unwrap();
    signal("-KILL", &[beat]);
    let diagnosed = home.diagnose_until("beat-missing", PATIENCE);
    let finding = diagnosed.finding("beat-missing");
    assert_eq!(finding["service"], "rapidpro-beat");
    assert_eq!(
        finding["summary"],
        "RapidPro's beat has died; its worker lives on without it"
    );
    home.docker(&["restart", "-t", "1", &home.container("rapidpro-beat")]);
    home.healthy_again(PATIENCE);
}

fn a_beat_that_is_stopped(home: &Home) {
    let beat = Family::of(home, "casepro-celery").beat.unwrap();
    let stopped = Stopped::new(vec![beat]);
    let diagnosed = home.diagnose_until("beat-missing", PATIENCE);
    let finding = diagnosed.finding("beat-missing");
    assert_eq!(finding["service"], "casepro-celery");
    assert_eq!(finding["summary"], "Casepro's beat is stopped by a signal");
    drop(stopped);
    home.healthy_again(PATIENCE);
}

/// As it would be seen of one that hangs: what it has done every minute is not done for longer than
/// the limit, which is a second here.
fn a_beat_that_does_not_work(home: &Home) {
    home.set("BEAT_AGE", "BEAT_AGE=1s");
    let began = std::time::Instant::now();
    let finding = loop {
        // The beat may have it summed up in between.
        home.rapidpro_sql(
            "INSERT INTO msgs_systemlabelcount (label_type, is_archived, count, is_squashed, org_id) \
             SELECT 'I', false, 1, false, min(id) FROM orgs_org",
        );
        home.diagnose(&["beat-rapidpro"]);
        std::thread::sleep(std::time::Duration::from_secs(2));
        let diagnosed = home.diagnose(&[]);
        if diagnosed.roots() == ["beat-missing"] || began.elapsed() > PATIENCE {
            break diagnosed.only_root("beat-missing").clone();
        }
    };
    assert_eq!(finding["evidence"][0]["threshold"], "1 s (BEAT_AGE)");
    let what = finding["evidence"][0]["what"].as_str().unwrap();
    assert!(what.contains("msgs_systemlabelcount"), "{what}");
    home.set("BEAT_AGE", "BEAT_AGE=5m");
    home.healthy_again(PATIENCE);
}

/// A container that is removed, also when the test fails.
pub struct Extra<'a>(&'a Home, String);

impl Drop for Extra<'_> {
    fn drop(&mut self) {
        self.0.docker(&["rm", "-fv", &self.1]);
    }
}

/// One more beat of RapidPro, of this deployment or of another one.
pub fn one_more_beat<'a>(home: &'a Home, name: &str, project: &str) -> Extra<'a> {
    let beat = home.container("rapidpro-beat");
    let environment = home.docker(&["inspect", "--format", "{{json .Config.Env}}", &beat]);
    let environment: Vec<String> = serde_json::from_str(&environment).unwrap();
    let network = format!("{}_default", home.project);
    let mut command = Command::new("docker");
    if let Ok(host) = std::env::var("DOCKER_HOST") {
        command.env("DOCKER_HOST", host);
    }
    command.args(["run", "-d", "--restart", "always", "--network", &network]);
    command.args(["--name", name]);
    for label in [
        format!("com.docker.compose.project={project}"),
        "com.docker.compose.service=rapidpro-beat".to_owned(),
        "com.docker.compose.oneoff=False".to_owned(),
        "com.docker.compose.container-number=2".to_owned(),
    ] {
        command.args(["--label", &label]);
    }
    for variable in &environment {
        command.args(["-e", variable]);
    }
    command.arg(home.inspect("rapidpro-beat", "{{.Config.Image}}"));
    command.args([
        "/venv/bin/celery",
        "--app=temba",
        "worker",
        "--beat",
        "--queues=celery",
    ]);
    let extra = Extra(home, name.to_owned());
    assert!(command.output().unwrap().status.success());
    extra
}

/// As an old deployment that was never taken down.
fn a_second_beat(home: &Home) {
    let name = format!("{}-old", home.project);
    let extra = one_more_beat(home, &name, "combined");
    let diagnosed = home.diagnose_until("beat-duplicate", PATIENCE);
    let finding = diagnosed.finding("beat-duplicate");
    let value = finding["evidence"][0]["value"].as_str().unwrap();
    assert!(
        value.contains(&format!("{name} (of the deployment combined)")),
        "{value}"
    );
    assert!(value.contains("rapidpro-beat"), "{value}");
    // What has to go is the other one.
    let manual = finding["fix"]["manual"].to_string();
    assert!(
        manual.contains(&format!("docker stop --time 120 {name}")),
        "{manual}"
    );
    drop(extra);
    home.healthy_again(PATIENCE);
}

fn messages_that_courier_does_not_take(home: &Home) {
    let db = home.redis_number("rapidpro");
    let redis = |arguments: &[&str]| redis_cli(&[&["-n", &db], arguments].concat());
    let queue = "msgs:4f0b3f3e-7a51-4c9c-9c8f-0d9a2f3e1b6d|10";
    let message = |minutes: i64| {
        let queued = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(minutes);
        let message =
            format!(r#"[{{"id": {minutes}, "text": "habari", "queued_on": "{queued}"}}]"#);
        redis(&[
            "ZADD",
            &format!("{queue}/1"),
            &queued.as_second().to_string(),
            &message,
        ]);
    };
    redis(&["ZADD", "msgs:active", "0", queue]);
    message(1);
    home.healthy_again(PATIENCE);
    message(47);
    let diagnosed = home.diagnose_until("queue-growing", PATIENCE);
    let finding = diagnosed.finding("queue-growing");
    assert_eq!(finding["service"], "courier");
    assert_eq!(
        finding["summary"],
        "Courier does not take from its queue: 2 messages waiting in replies of channel \
         4f0b3f3e-7a51-4c9c-9c8f-0d9a2f3e1b6d, the oldest for 47 min"
    );
    redis(&["DEL", "msgs:active", &format!("{queue}/1")]);
    home.healthy_again(PATIENCE);
}

/// Left so after an upgrade by the wiki (mailroom), and a worker whose queues do not fit.
fn queues_without_workers(home: &Home) {
    let db = home.redis_number("rapidpro");
    let redis = |arguments: &[&str]| redis_cli(&[&["-n", &db], arguments].concat());
    std::fs::write(
        home.folder.join("compose.override.yaml"),
        "services:\n  mailroom:\n    environment:\n      MAILROOM_BATCH_WORKERS: '0'\n      \
         MAILROOM_HANDLER_WORKERS: '0'\n  rapidpro-celery:\n    command: [/venv/bin/celery, \
         --app=temba, worker, --loglevel=INFO, --queues=celery]\n",
    )
    .unwrap();
    home.ooy(&["start", "mailroom", "rapidpro-celery"])
        .expect(0);
    home.healthy_again(PATIENCE);

    let queued = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(20);
    let task = format!(
        r#"{{"type": "handle_contact_event", "org_id": 1, "task": {{"contact_id": 1}}, "queued_on": "{queued}"}}"#
    );
    redis(&["ZADD", "handler:1", &queued.as_second().to_string(), &task]);
    redis(&["ZADD", "handler:active", "0", "1"]);
    let diagnosed = home.diagnose_until("queue-growing", PATIENCE);
    let finding = diagnosed.finding("queue-growing");
    assert_eq!(finding["service"], "mailroom");
    assert_eq!(
        finding["summary"],
        "Mailroom does not take from its queue: 1 task waiting in handler of workspace 1, the oldest for 20 min"
    );
    let cause = finding["cause"].as_str().unwrap();
    assert!(cause.ends_with("sets the number of its workers"), "{cause}");
    redis(&["DEL", "handler:1", "handler:active"]);
    home.healthy_again(PATIENCE);

    for _ in 0..7 {
        redis(&[
            "LPUSH",
            "batch",
            r#"{"headers": {"task": "squash_msgcounts", "argsrepr": "()"}}"#,
        ]);
    }
    let diagnosed = home.diagnose_until("queue-growing", PATIENCE);
    let finding = diagnosed.finding("queue-growing");
    assert_eq!(finding["service"], "rapidpro-celery");
    let summary = finding["summary"].as_str().unwrap();
    assert_eq!(
        summary,
        "RapidPro's queue batch has not moved for 6 min: 7 tasks wait"
    );
    redis(&["DEL", "batch"]);
    home.healthy_again(PATIENCE);
    std::fs::remove_file(home.folder.join("compose.override.yaml")).unwrap();
}
