//! `ooy watch`: what breaks while nobody looks is brought back, a few times and no more, and whoever
//! is to know of it is told once, also when he cannot be reached for a while.

mod receiver;
mod watching;

use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::diagnose::Gate;
use crate::harness::{Home, until};
use receiver::{Mood, Receiver};

pub use watching::Watching;

/// Long enough for a busy machine; nothing here is measured.
const PATIENCE: Duration = Duration::from_secs(180);

const LOCK: &str = "org-task-lock:1:message-pull";

/// A whole deployment, one misfortune after the other.
#[test]
fn what_breaks_at_night() {
    let home = Home::brought_up(
        "watch",
        &[("CASEPRO_SYNC_INTERVAL", "5"), ("CASEPRO_SYNC_LAG", "1s")],
    );
    let webhook = Receiver::new();
    let sentry = Receiver::new();
    home.set(
        "WATCH_WEBHOOK",
        &format!("WATCH_WEBHOOK={}", webhook.url("/hooks/T0KEN")),
    );
    home.set(
        "OOY_SENTRY_DSN",
        &format!("OOY_SENTRY_DSN=http://abcdef@{}/42", sentry.address),
    );
    home.healthy_again(PATIENCE);

    a_look_alone_repairs_and_reports_nothing(&home, &webhook);
    one_that_is_frozen_is_brought_back_and_told_once(&home, &webhook, &sentry);
    what_a_person_has_stopped_stays_so(&home, &webhook);
    while_somebody_works_it_waits(&home);
    with_the_network_down_notices_come_later_and_once(&home, &webhook, &sentry);
    a_webhook_that_hangs_holds_up_nothing(&home, &webhook, &sentry);
    killed_in_the_middle_of_a_repair(&home, &webhook);
    a_flapping_service_does_not_make_it_flap(&home, &webhook);
    a_repair_that_does_not_help_is_not_made_again_soon(&home, &webhook);
    a_worker_that_is_busy_and_gets_on_is_left_alone(&home);
    assert_eq!(webhook.mistakes(), Vec::<String>::new());
}

fn a_look_alone_repairs_and_reports_nothing(home: &Home, webhook: &Receiver) {
    let fine = home.ooy(&["watch", "--once", "--dry-run"]).expect(0);
    assert!(fine.stderr.contains("nothing is wrong"), "{}", fine.stderr);
    home.docker(&["pause", &home.container("courier")]);
    let looked = home
        .ooy(&["watch", "--once", "--dry-run", "--interval", "5s"])
        .expect(1);
    let said = &looked.stderr;
    assert!(
        said.contains("new: courier is frozen (service-paused)"),
        "{said}"
    );
    assert!(
        said.contains("would repair (not-running): courier is frozen · bring up courier"),
        "{said}"
    );
    assert!(!said.contains("repairing"), "{said}");
    events_for_machines(home);
    assert_eq!(home.service_status("courier")["state"], "paused");
    assert!(webhook.events("service-paused").is_empty());
    assert!(!home.folder.join("state/watch.json").exists());
}

/// The form that the other operations have.
fn events_for_machines(home: &Home) {
    let arguments = ["watch", "--once", "--dry-run", "--json", "--interval", "5s"];
    let ran = home.ooy(&arguments).expect(1);
    let events: Vec<Value> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for event in &events {
        assert_eq!(event["schema"], 1);
        event["at"]
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .unwrap();
    }
    let has = |operation: &str, step: &str, kind: &str| {
        events.iter().any(|event| {
            event["operation"] == operation && event["step"] == step && event["event"] == kind
        })
    };
    assert!(has("watch", "cause", "failed"), "{}", ran.stdout);
    assert!(has("watch", "repair", "planned"), "{}", ran.stdout);
    assert!(has("watch", "round", "done"), "{}", ran.stdout);
}

fn one_that_is_frozen_is_brought_back_and_told_once(
    home: &Home,
    webhook: &Receiver,
    sentry: &Receiver,
) {
    let mut watching = Watching::begin(home);
    until("courier is told to be back", PATIENCE, || {
        webhook
            .events("service-paused")
            .contains(&"gone".to_owned())
    });
    assert_eq!(home.service_status("courier")["ready"], true);
    let second = home.ooy(&["watch"]).expect(3);
    let pid = format!("process {}", watching.child.id());
    assert!(second.stderr.contains(&pid), "{}", second.stderr);
    assert!(second.stderr.contains("another watch"), "{}", second.stderr);

    watching.more_looks(1);
    assert_eq!(
        webhook.events("service-paused"),
        ["new", "repaired", "gone"]
    );
    // Nothing was killed so far: none has come twice.
    let mut answered = webhook.answered();
    answered.sort_by_key(Value::to_string);
    answered.dedup();
    assert_eq!(answered.len(), webhook.answered().len());
    let notice = webhook.notice("service-paused", "new");
    assert_eq!(notice["schema"], 1);
    assert_eq!(notice["project"], home.project.as_str());
    assert_eq!(notice["finding"]["service"], "courier");
    assert_eq!(notice["finding"]["evidence"][0]["value"], "paused");
    let text = notice["text"].as_str().unwrap();
    assert!(
        text.contains("new: courier is frozen") && text.ends_with("fix not-running"),
        "{text}"
    );
    let repaired = webhook.notice("service-paused", "repaired");
    assert_eq!(repaired["repair"]["name"], "not-running");
    assert_eq!(repaired["repair"]["result"], "1 of 1 ready");
    until("Sentry has been told", PATIENCE, || {
        sentry.reports("service-paused").len() == 2
    });
    let [new, gone] = &sentry.reports("service-paused")[..] else {
        panic!("one entry each")
    };
    assert_eq!(new["event_id"], notice["id"]);
    assert_eq!(
        (&new["level"], &gone["level"]),
        (&"error".into(), &"info".into())
    );
    assert_eq!(new["logger"], "ooy.watch");
    let said = watching.said();
    assert_eq!(said.matches("new: courier is frozen").count(), 1, "{said}");
    assert_eq!(said.matches("gone: courier is frozen").count(), 1, "{said}");
    assert!(
        said.contains("repaired (not-running): courier is frozen · 1 of 1 ready"),
        "{said}"
    );
    assert!(
        !said.contains("T0KEN") && !said.contains("abcdef"),
        "{said}"
    );
    assert_eq!(watching.end(), 0);
}

fn what_a_person_has_stopped_stays_so(home: &Home, webhook: &Receiver) {
    home.ooy(&["stop", "elasticsearch"]).expect(0);
    // What it needs would be started with it.
    home.docker(&["kill", &home.container("mailroom")]);
    let mut watching = Watching::begin(home);
    until("it is told", PATIENCE, || {
        watching.said().contains("elasticsearch does not run")
    });
    watching.more_looks(1);
    assert_eq!(home.service_status("elasticsearch")["state"], "exited");
    let said = watching.said();
    assert!(!said.contains("repairing"), "{said}");
    assert_eq!(watching.end(), 0);
    home.ooy(&["start"]).expect(0);
    // What was known is gone at the next watch.
    let watching = Watching::begin(home);
    until("it is told that it runs again", PATIENCE, || {
        let events = webhook.events_of("service-exited", "elasticsearch");
        events == ["new", "gone"]
    });
    drop(watching);
    home.healthy_again(PATIENCE);
}

/// `ooy restart` takes a while, during which services are not there.
fn while_somebody_works_it_waits(home: &Home) {
    let mut watching = Watching::begin(home);
    watching.more_looks(1);
    home.ooy(&["restart", "--yes"]).expect(0);
    home.healthy_again(PATIENCE);
    watching.more_looks(1);
    let said = watching.said();
    assert!(!said.contains("repairing"), "{said}");
    assert_eq!(watching.end(), 0);
}

fn with_the_network_down_notices_come_later_and_once(
    home: &Home,
    webhook: &Receiver,
    sentry: &Receiver,
) {
    webhook.be(Mood::Down);
    home.docker(&["kill", &home.container("contentrepo")]);
    let mut watching = Watching::begin(home);
    until("Sentry knows that it is back", PATIENCE, || {
        sentry.reports("service-exited").iter().any(|report| {
            report["tags"]["service"] == "contentrepo" && report["tags"]["event"] == "gone"
        })
    });
    assert_eq!(home.service_status("contentrepo")["ready"], true);
    assert!(
        webhook
            .events_of("service-exited", "contentrepo")
            .is_empty()
    );
    assert_eq!(waiting(home), 3);
    let said = watching.said();
    assert!(
        said.contains("the webhook is not to be reached: connection refused"),
        "{said}"
    );
    // The watch is killed as well.
    watching.child.kill().unwrap();
    watching.child.wait().unwrap();
    let watching = Watching::begin(home);
    webhook.be(Mood::Answering);
    until("the notices have come", PATIENCE, || waiting(home) == 0);
    assert_eq!(
        webhook.events_of("service-exited", "contentrepo"),
        ["new", "repaired", "gone"]
    );
    drop(watching);
}

/// How many notices wait for the webhook.
fn waiting(home: &Home) -> usize {
    std::fs::read_dir(home.folder.join("state/notices/webhook")).map_or(0, |folder| folder.count())
}

fn a_webhook_that_hangs_holds_up_nothing(home: &Home, webhook: &Receiver, sentry: &Receiver) {
    webhook.be(Mood::Hanging);
    let before = sentry.reports("service-paused").len();
    home.docker(&["pause", &home.container("mailroom")]);
    let mut watching = Watching::begin(home);
    until("Sentry knows both", PATIENCE, || {
        sentry.reports("service-paused").len() == before + 2
    });
    assert_eq!(home.service_status("mailroom")["ready"], true);
    watching.more_looks(1);
    // Also the end is not held up.
    let began = Instant::now();
    assert_eq!(watching.end(), 0);
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    assert!(waiting(home) > 0);
    webhook.be(Mood::Answering);
    let watching = Watching::begin(home);
    until("the notices have come", PATIENCE, || waiting(home) == 0);
    assert_eq!(
        webhook.events_of("service-paused", "mailroom"),
        ["new", "repaired", "gone"]
    );
    // It cannot be known whether it had taken the first one: it comes again, and says so.
    let (swallowed, answered) = (webhook.swallowed(), webhook.answered());
    assert!(!swallowed.is_empty());
    assert!(swallowed.iter().all(|id| answered.contains(id)));
    drop(watching);
}

fn killed_in_the_middle_of_a_repair(home: &Home, webhook: &Receiver) {
    home.docker(&["kill", &home.container("rapidpro-celery")]);
    let mut watching = Watching::begin(home);
    until("the repair has begun", PATIENCE, || {
        watching.said().contains("start: rapidpro-celery started")
    });
    watching.child.kill().unwrap();
    watching.child.wait().unwrap();
    let kept = std::fs::read_to_string(home.folder.join("state/watch.json")).unwrap();
    assert!(
        kept.contains("\"under_way\":{\"name\":\"not-running\""),
        "{kept}"
    );
    let mut watching = Watching::begin(home);
    until("it is told that it is back", PATIENCE, || {
        let events = webhook.events_of("service-exited", "rapidpro-celery");
        events.contains(&"gone".to_owned())
    });
    watching.more_looks(1);
    assert_eq!(home.service_status("rapidpro-celery")["ready"], true);
    let events = webhook.events_of("service-exited", "rapidpro-celery");
    let told = |event: &str| events.iter().filter(|it| *it == event).count();
    assert_eq!((told("new"), told("gone")), (1, 1), "{events:?}");
    // Nothing is left to be finished, neither of the watch nor of the operation.
    let kept = std::fs::read_to_string(home.folder.join("state/watch.json")).unwrap();
    assert!(kept.contains("\"under_way\":null"), "{kept}");
    assert_eq!(watching.end(), 0);
    home.healthy_again(PATIENCE);
}

fn a_flapping_service_does_not_make_it_flap(home: &Home, webhook: &Receiver) {
    let id = home.container("bigquery-sync");
    let runs = || home.inspect("bigquery-sync", "{{.State.Running}}") == "true";
    let mut watching = Watching::begin(home);
    for turn in 0..3 {
        home.docker(&["kill", &id]);
        until("it is brought back", PATIENCE, || {
            let said = watching.said();
            said.matches("repaired (not-running): bigquery-sync")
                .count()
                == turn + 1
                && runs()
        });
        // Until it has looked at what it did; else it is the same fault that goes on.
        watching.more_looks(0);
        if turn == 1 {
            // A new watch has not forgotten what the last one did.
            assert_eq!(watching.end(), 0);
            watching = Watching::after(home, watching);
        }
    }
    home.docker(&["kill", &id]);
    until("it is left alone", PATIENCE, || {
        watching
            .said()
            .contains("left alone (not-running bigquery-sync)")
    });
    // Something else is repaired all the same.
    home.docker(&["pause", &home.container("nginx")]);
    until("nginx is brought back", PATIENCE, || {
        watching.said().contains("repaired (not-running nginx)")
    });
    watching.more_looks(1);
    assert!(!runs());
    let said = watching.said();
    assert_eq!(
        said.matches("repairing (not-running): bigquery-sync")
            .count(),
        3,
        "{said}"
    );
    assert_eq!(
        said.matches("left alone (not-running bigquery-sync)")
            .count(),
        1,
        "{said}"
    );
    let events = webhook.events_of("service-exited", "bigquery-sync");
    let flapping = events.iter().filter(|it| *it == "flapping").count();
    assert_eq!(flapping, 1, "{events:?}");
    assert!(events.len() <= 8, "{events:?}");
    assert_eq!(watching.end(), 0);
    home.ooy(&["start"]).expect(0);
    home.healthy_again(PATIENCE);
}

/// It ends as soon as it is started.
fn a_repair_that_does_not_help_is_not_made_again_soon(home: &Home, webhook: &Receiver) {
    home.steer(&[("courier", &[("STAND_IN_EXIT_CODE", "3")])]);
    home.docker(&["kill", &home.container("courier")]);
    let mut watching = Watching::begin(home);
    until("it is told that it did not help", PATIENCE, || {
        webhook
            .events_of("service-exited", "courier")
            .contains(&"repair-failed".to_owned())
    });
    home.docker(&["stop", &home.container("courier")]);
    watching.more_looks(2);
    let said = watching.said();
    assert_eq!(said.matches("repairing (not-running").count(), 1, "{said}");
    assert!(said.contains("it did not help the last time"), "{said}");
    let failed = webhook.notice("service-exited", "repair-failed");
    let result = failed["repair"]["result"].as_str().unwrap();
    assert!(result.starts_with("courier: "), "{failed:#}");
    assert_eq!(watching.end(), 0);
    std::fs::remove_file(home.folder.join("compose.override.yaml")).unwrap();
    home.ooy(&["start", "courier"]).expect(0);
    home.healthy_again(PATIENCE);
}

/// A long pull that writes what it gets: it holds its lock for long, and all is well.
fn a_worker_that_is_busy_and_gets_on_is_left_alone(home: &Home) {
    home.seed();
    let gate = Gate::before(home);
    home.pulls_again();
    home.healthy_again(PATIENCE);
    let started = || home.inspect("casepro-celery", "{{.State.StartedAt}}");
    let before = started();
    gate.mute(true);
    let writing = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while writing.load(Ordering::SeqCst) {
                home.sql("casepro", "UPDATE msgs_message SET modified_on = now()");
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        let ends = Ends(&writing);
        until("a long pull is under way", PATIENCE, || {
            let open = "SELECT count(*) FROM orgs_taskstate WHERE task_key = 'message-pull' \
                AND ended_on IS NULL AND started_on < now() - interval '10 s'";
            home.sql("casepro", open) == "1"
        });
        let mut watching = Watching::begin(home);
        watching.more_looks(2);
        let said = watching.said();
        assert!(!said.contains("repairing"), "{said}");
        assert_eq!(watching.end(), 0);
        assert_eq!(home.casepro_redis(&["EXISTS", LOCK]), "1");
        drop(ends);
    });
    assert_eq!(started(), before);
    gate.mute(false);
    home.pulls_again();
}

/// Ends the writing, also when the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

#[test]
fn what_cannot_be_watched_is_told() {
    let home = Home::new("wbad");
    for interval in ["soon", "1s", "61m", "0s", "-5m"] {
        let ran = home
            .ooy(&["watch", &format!("--interval={interval}")])
            .expect(2);
        assert!(ran.stderr.contains("from 5s to 60m"), "{}", ran.stderr);
    }
    home.set("WATCH_WEBHOOK", "WATCH_WEBHOOK=ftp://S3CRET@nowhere");
    let ran = home.ooy(&["config", "--check"]).expect(2);
    assert!(
        ran.stderr.contains("WATCH_WEBHOOK is not an http"),
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains("S3CRET"), "{}", ran.stderr);
    let exchange = Home::empty("wpbx");
    exchange
        .ooy(&["init", "--pbx", "--set", "RAPIDPRO_URL=http://127.0.0.1:9"])
        .expect(0);
    let looked = exchange.ooy(&["watch", "--once", "--interval", "5s"]);
    assert_eq!(looked.code, exchange.ooy(&["diagnose"]).code, "{looked:?}");
    assert!(looked.stderr.contains("looked at"), "{looked:?}");
    let nothing = Home::empty("wnone");
    let ran = nothing.ooy(&["watch"]).expect(2);
    assert!(ran.stderr.contains("ooy.env"), "{}", ran.stderr);
}

/// Told to end while it looks, it does so at once: within a second, and two where many tests run.
#[test]
fn it_ends_at_once_also_in_the_middle_of_a_look() {
    let home = Home::new("wend");
    let systemd = UnixDatagram::bind(home.folder.join("notify")).unwrap();
    let told = || {
        let mut buffer = [0; 512];
        let length = systemd.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    for signal in [2, 15, 1] {
        let mut watching = Watching::begin(&home);
        until("it has begun", PATIENCE, || {
            watching.said().contains("watching every 5 s")
        });
        std::thread::sleep(Duration::from_millis(100));
        let began = Instant::now();
        assert_eq!(watching.end_by(signal), 0);
        assert!(
            began.elapsed() < Duration::from_secs(2),
            "{:?}",
            began.elapsed()
        );
        assert!(told().starts_with("READY=1\nSTATUS="));
        // Perhaps after the status of a first look.
        assert!((0..3).any(|_| told() == "STOPPING=1"));
    }
}
