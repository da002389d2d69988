//! Finished calls on their way to RapidPro: the real API of the stand-in, and whatever can go
//! wrong between it and us. Each misfortune ends in the same way: every call has arrived exactly
//! once.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::between::{Mishap, PASSING, plain};
use crate::harness::{Ran, until};
use crate::hotline::{FLOW, PATIENCE, Pbx, RapidPro, TOKEN, WRONG_TOKEN, fast_agi};

/// One scenario, since bringing RapidPro up is what costs.
#[test]
fn every_call_reaches_rapidpro_exactly_once() {
    let rapidpro = RapidPro::start();
    calls_of_known_and_unknown_numbers_are_delivered_in_the_background(&rapidpro);
    what_is_sent_is_what_the_flow_reads(&rapidpro);
    answers_that_are_lost_garbled_or_late(&rapidpro);
    several_answers_lost_in_a_row(&rapidpro);
    killed_while_an_answer_is_awaited(&rapidpro);
    nobody_listens_and_then_somebody_does(&rapidpro);
    a_wrong_token(&rapidpro);
    an_unknown_flow(&rapidpro);
    a_flagged_workspace(&rapidpro);
    an_address_where_something_else_answers(&rapidpro);
    a_redirect_to_another_host(&rapidpro);
    no_settings(&rapidpro);
    a_number_that_rapidpro_does_not_take(&rapidpro);
    damaged_files(&rapidpro);
    several_deliverers_at_once(&rapidpro);
    a_clock_that_jumped_back(&rapidpro);
    a_daemon_takes_and_delivers_calls(&rapidpro);
    a_hundred_thousand_calls_wait(&rapidpro);
}

fn calls_of_known_and_unknown_numbers_are_delivered_in_the_background(rapidpro: &RapidPro) {
    let mut pbx = Pbx::new(&rapidpro.between.url());
    let before = rapidpro.between.connections();
    // The first is in RapidPro already, the second is made.
    for number in ["0712000000", "+254733000001", "0712000000", "+254733000001"] {
        pbx.call_ends(number);
    }
    until("all are delivered", PATIENCE, || pbx.nothing_waits());
    pbx.all_arrived_once(rapidpro);
    let contacts = rapidpro.sql(
        "SELECT count(DISTINCT contact_id) || ' ' || count(*) FROM contacts_contacturn \
         WHERE identity IN ('tel:+254733000001', 'whatsapp:254733000001')",
    );
    assert_eq!(contacts, "1 2", "one contact with both URNs");
    assert!(rapidpro.between.connections() - before <= 2, "kept alive");
    // A withheld number is kept and not sent.
    let lock = pbx.hold_when_free();
    let ran = Ran::of(
        &pbx.command(&["agi", "anonymous", "1795345652", "1795345653", "inbound"])
            .output()
            .unwrap(),
    );
    ran.expect(0);
    drop(lock);
    let list = pbx.ooy(&["calls", "list", "--skipped"]).expect(0);
    assert!(list.stdout.contains("anonymous"), "{}", list.stdout);
    assert!(
        list.stdout.contains("4 sent · 1 skipped"),
        "{}",
        list.stdout
    );
}

fn what_is_sent_is_what_the_flow_reads(rapidpro: &RapidPro) {
    let mut pbx = Pbx::new(&rapidpro.between.url());
    pbx.calls_end(&["0712000000"]);
    pbx.ooy(&["calls", "deliver"]).expect(0);
    let sent = rapidpro.sql(&format!(
        "SELECT extra FROM flows_flowstart WHERE extra LIKE '%{}0-%'",
        pbx.prefix
    ));
    let mut sent: serde_json::Value = serde_json::from_str(&sent).unwrap();
    let id = sent["call_id"].take();
    assert!(
        id.as_str()
            .unwrap()
            .starts_with(&format!("{}0-", pbx.prefix))
    );
    assert_eq!(
        sent,
        serde_json::json!({
            "call_start_time": "2026-11-22T11:07:32+03:00",
            "call_end_time": "2026-11-22T11:07:33+03:00",
            "direction": "inbound",
            "call_id": null,
        })
    );
    pbx.all_arrived_once(rapidpro);
    let again = pbx.ooy(&["calls", "deliver"]).expect(0);
    assert!(again.stderr.contains("nothing waits"), "{}", again.stderr);
}

fn answers_that_are_lost_garbled_or_late(rapidpro: &RapidPro) {
    for mishap in PASSING {
        let mut pbx = Pbx::new(&rapidpro.between.url());
        pbx.calls_end(&["0712000000", "0712000000", "0712000001"]);
        rapidpro.between.mishaps(&[*mishap]);
        let ran = pbx.ooy(&["calls", "deliver", "--json"]).expect(0);
        for line in ran.stdout.lines() {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(event["schema"], 1, "{line}");
        }
        assert_eq!(pbx.count("sent"), 3, "{mishap:?}");
        pbx.all_arrived_once(rapidpro);
    }
}

fn several_answers_lost_in_a_row(rapidpro: &RapidPro) {
    let mut pbx = Pbx::new(&rapidpro.between.url());
    pbx.calls_end(&["0712000000", "0712000001", "0712000002", "0712000000"]);
    rapidpro.between.mishaps(&[
        Mishap::AnswerLost,
        Mishap::BadGateway,
        Mishap::AnswerFails,
        Mishap::Closed,
        Mishap::AnswerLost,
    ]);
    // It may give up for now; it never loses or doubles anything.
    until("all are delivered", PATIENCE, || {
        pbx.ooy(&["calls", "deliver"]).code == 0
    });
    pbx.all_arrived_once(rapidpro);
}

fn killed_while_an_answer_is_awaited(rapidpro: &RapidPro) {
    for mishap in [Mishap::AnswerHangs, Mishap::Mute] {
        let mut pbx = Pbx::new(&rapidpro.between.url());
        pbx.calls_end(&["0712000000", "0712000000"]);
        pbx.settings(&[("CALLS_TIMEOUT", "30s")]);
        let before = rapidpro.between.starts();
        rapidpro.between.mishaps(&[mishap]);
        let mut child = pbx.command(&["calls", "deliver"]).spawn().unwrap();
        until("the request is out", PATIENCE, || {
            rapidpro.between.starts() > before
        });
        if mishap == Mishap::AnswerHangs {
            until("RapidPro has it", PATIENCE, || {
                rapidpro.arrived(&pbx).len() == 1
            });
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(pbx.count("sending"), 1);
        let list = pbx.list();
        assert_eq!(list["calls"][0]["state"], "sending");
        assert_eq!(list["queue"]["state"], "unattended");
        pbx.settings(&[("CALLS_TIMEOUT", "2s")]);
        pbx.ooy(&["calls", "deliver"]).expect(0);
        pbx.all_arrived_once(rapidpro);
    }
}

fn nobody_listens_and_then_somebody_does(rapidpro: &RapidPro) {
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut pbx = Pbx::new(&format!("http://{closed}"));
    pbx.calls_end(&["0712000000"]);
    let ran = pbx.ooy(&["calls", "deliver"]).expect(1);
    insta::assert_snapshot!("deliver-refused", pbx.tidy(&ran.stderr));
    // Somebody goes on with it in the background, and learns of the new address by himself.
    pbx.call_ends("0712000001");
    pbx.settings(&[("RAPIDPRO_URL", &rapidpro.between.url())]);
    until("all are delivered", PATIENCE, || pbx.nothing_waits());
    pbx.all_arrived_once(rapidpro);
}

/// The queue stops, the calls stay; they are delivered when it is put right.
fn stops(rapidpro: &RapidPro, name: &str, wrong: &[(&str, &str)], right: &[(&str, &str)]) {
    let mut pbx = Pbx::new(&rapidpro.between.url());
    pbx.settings(&[("CALLS_RETRY_MAX", "10m")]);
    pbx.settings(wrong);
    pbx.calls_end(&["0712000000", "0712000001"]);
    let ran = pbx.ooy(&["calls", "deliver"]);
    assert_ne!(ran.code, 0);
    insta::assert_snapshot!(format!("deliver-{name}"), pbx.tidy(&ran.stderr));
    let list = pbx.list();
    assert_eq!(list["queue"]["state"], "stopped", "{list:#}");
    // The process in the background may be at one of them.
    let count = |name: &str| list["counts"][name].as_u64().unwrap();
    assert_eq!(count("waiting") + count("sending"), 2, "{list:#}");
    assert_eq!(count("dead"), 0);
    assert_eq!(rapidpro.arrived(&pbx).len(), 0);
    // The process in the background has tried as well.
    let tries = if wrong.len() > 1 { 0 } else { 2 };
    until("somebody goes on in the background", PATIENCE, || {
        let list = pbx.list();
        list["queue"]["delivering"] == true
            && list["calls"][0]["attempts"] == tries
            && list["counts"]["sending"] == 0
    });
    let shown = pbx.ooy(&["calls", "list"]).expect(0).stdout;
    insta::assert_snapshot!(format!("list-{name}"), pbx.tidy(&shown));
    // What goes on in the background notices that the settings have changed.
    pbx.settings(right);
    until("all are delivered", PATIENCE, || pbx.nothing_waits());
    pbx.all_arrived_once(rapidpro);
    until("it is written down", PATIENCE, || {
        pbx.list()["queue"]["state"] == "empty"
    });
}

fn a_wrong_token(rapidpro: &RapidPro) {
    stops(
        rapidpro,
        "token",
        &[("RAPIDPRO_TOKEN", WRONG_TOKEN)],
        &[("RAPIDPRO_TOKEN", TOKEN)],
    );
}

fn an_unknown_flow(rapidpro: &RapidPro) {
    stops(
        rapidpro,
        "flow",
        &[("RAPIDPRO_FLOW", "00000000-0000-4000-8000-000000000000")],
        &[("RAPIDPRO_FLOW", FLOW)],
    );
}

fn no_settings(rapidpro: &RapidPro) {
    stops(
        rapidpro,
        "settings",
        &[("RAPIDPRO_TOKEN", ""), ("RAPIDPRO_FLOW", "")],
        &[("RAPIDPRO_TOKEN", TOKEN), ("RAPIDPRO_FLOW", FLOW)],
    );
}

fn a_flagged_workspace(rapidpro: &RapidPro) {
    let mut pbx = Pbx::new(&rapidpro.between.url());
    pbx.settings(&[("CALLS_RETRY_MAX", "10m")]);
    pbx.calls_end(&["0712000000"]);
    rapidpro.sql("UPDATE orgs_org SET is_flagged = TRUE");
    let ran = pbx.ooy(&["calls", "deliver"]).expect(1);
    insta::assert_snapshot!("deliver-flagged", pbx.tidy(&ran.stderr));
    assert_eq!(pbx.list()["queue"]["reason"]["code"], "workspace-blocked");
    rapidpro.sql("UPDATE orgs_org SET is_flagged = FALSE");
    // The background process would try in ten minutes; it is asked to try now.
    let ran = pbx.ooy(&["calls", "deliver"]).expect(0);
    assert!(
        ran.stderr.contains("told to try everything now"),
        "{}",
        ran.stderr
    );
    pbx.all_arrived_once(rapidpro);
}

fn an_address_where_something_else_answers(rapidpro: &RapidPro) {
    for (name, answer) in [
        (
            "not-found",
            plain("404 Not Found", "<html>Not Found</html>"),
        ),
        ("page", plain("200 OK", "<html>welcome</html>")),
        (
            "bad-host",
            plain("400 Bad Request", "<h1>Bad Request (400)</h1>"),
        ),
        (
            "forbidden",
            plain("403 Forbidden", "<html>Forbidden</html>"),
        ),
    ] {
        let mut pbx = Pbx::new(&rapidpro.between.url());
        pbx.calls_end(&["0712000000"]);
        rapidpro.between.instead(Some(&answer));
        let ran = pbx.ooy(&["calls", "deliver"]).expect(1);
        assert!(
            ran.stderr.contains("this is not RapidPro"),
            "{name}: {}",
            ran.stderr
        );
        if name == "not-found" {
            insta::assert_snapshot!("deliver-not-rapidpro", pbx.tidy(&ran.stderr));
        }
        assert_eq!(pbx.list()["counts"]["dead"], 0, "{name}");
        rapidpro.between.instead(None);
        until("all are delivered", PATIENCE, || pbx.nothing_waits());
        pbx.all_arrived_once(rapidpro);
    }
}

fn a_redirect_to_another_host(rapidpro: &RapidPro) {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    other.set_nonblocking(true).unwrap();
    let place = other.local_addr().unwrap();
    let mut pbx = Pbx::new(&rapidpro.between.url());
    pbx.calls_end(&["0712000000"]);
    let status =
        format!("308 Permanent Redirect\r\nLocation: http://{place}/api/v2/flow_starts.json");
    rapidpro.between.instead(Some(&plain(&status, "")));
    let ran = pbx.ooy(&["calls", "deliver"]).expect(1);
    insta::assert_snapshot!("deliver-redirect", pbx.tidy(&ran.stderr));
    rapidpro.between.instead(None);
    until("all are delivered", PATIENCE, || pbx.nothing_waits());
    pbx.all_arrived_once(rapidpro);
    assert!(other.accept().is_err(), "the token goes to no other host");
}

fn a_number_that_rapidpro_does_not_take(rapidpro: &RapidPro) {
    let mut pbx = Pbx::new(&rapidpro.between.url());
    // So many digits are possible somewhere, but not in this country.
    pbx.calls_end(&["0712000000", "+99900000000", "0712000001"]);
    let ran = pbx.ooy(&["calls", "deliver"]).expect(0);
    insta::assert_snapshot!("deliver-dead", pbx.tidy(&ran.stderr));
    let list = pbx.list();
    assert_eq!(list["counts"]["dead"], 1, "{list:#}");
    let id = list["calls"][0]["id"].as_str().unwrap().to_owned();
    let shown = pbx.ooy(&["calls", "list"]).expect(0).stdout;
    insta::assert_snapshot!("list-dead", pbx.tidy(&shown));

    let mistyped = id.replace(&pbx.prefix, "q");
    let ran = pbx.ooy(&["calls", "retry", &mistyped]).expect(2);
    assert!(ran.stderr.contains(&id), "{}", ran.stderr);
    let sent = rapidpro.arrived(&pbx)[0].clone();
    let ran = pbx.ooy(&["calls", "retry", &sent, &id]).expect(2);
    insta::assert_snapshot!("retry-sent", pbx.tidy(&ran.stderr));
    assert_eq!(pbx.count("dead"), 1, "nothing was done");
    pbx.ooy(&["calls", "retry", &id]).expect(0);
    assert_eq!((pbx.count("dead"), pbx.count("new")), (0, 1));
    pbx.ooy(&["calls", "deliver"]).expect(0);
    let ran = pbx.ooy(&["calls", "retry", "--dead"]).expect(0);
    assert!(
        ran.stderr.contains("1 call among the waiting"),
        "{}",
        ran.stderr
    );
    pbx.ooy(&["calls", "deliver"]).expect(0);
    assert_eq!(pbx.count("dead"), 1);
    pbx.calls.remove(1);
    pbx.all_arrived_once(rapidpro);
}

fn damaged_files(rapidpro: &RapidPro) {
    let mut pbx = Pbx::new(&rapidpro.between.url());
    pbx.calls_end(&["0712000000", "0712000001"]);
    let new = pbx.spool().join("new");
    let good = std::fs::read_dir(&new)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let half = std::fs::read(&good).unwrap();
    std::fs::write(new.join("half.json"), &half[..half.len() / 2]).unwrap();
    std::fs::write(new.join("empty.json"), b"").unwrap();
    std::fs::write(new.join("garbage.json"), [0xff; 4096]).unwrap();
    // The same call under another name must not be sent twice.
    std::fs::write(new.join("copy.json"), &half).unwrap();
    std::fs::write(new.join("\u{1b}[31mred.json"), b"{}").unwrap();
    std::fs::create_dir_all(pbx.spool().join("sending")).unwrap();
    std::fs::write(pbx.spool().join("sending/half.json"), b"{\"schema\":1").unwrap();
    std::fs::create_dir_all(pbx.spool().join("batch")).unwrap();
    std::fs::write(
        pbx.spool().join("batch/1-1-0.jsonl"),
        b"{\"schema\":1\n\n{}\n",
    )
    .unwrap();
    let ran = pbx.ooy(&["calls", "deliver"]).expect(0);
    assert!(!ran.stderr.contains('\u{1b}'), "{:?}", ran.stderr);
    let shown = pbx.ooy(&["calls", "list"]).expect(0).stdout;
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
    insta::assert_snapshot!("list-damaged", pbx.tidy(&shown));
    pbx.all_arrived_once(rapidpro);
}

fn several_deliverers_at_once(rapidpro: &RapidPro) {
    let mut pbx = Pbx::new(&rapidpro.between.url());
    let numbers: Vec<String> = (0..12).map(|n| format!("07120000{:02}", n % 3)).collect();
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    pbx.calls_end(&numbers);
    let children: Vec<Child> = (0..4)
        .map(|_| pbx.command(&["calls", "deliver"]).spawn().unwrap())
        .collect();
    pbx.call_ends("0712000000");
    for child in children {
        Ran::of(&child.wait_with_output().unwrap()).expect(0);
    }
    until("the last is delivered", PATIENCE, || pbx.nothing_waits());
    pbx.all_arrived_once(rapidpro);
}

fn a_clock_that_jumped_back(rapidpro: &RapidPro) {
    let mut pbx = Pbx::new(&rapidpro.between.url());
    pbx.calls_end(&["0712000000", "0712000000", "0712000000"]);
    // As if the wall's clock had been set back by a year between the first and the others.
    for entry in std::fs::read_dir(pbx.spool().join("new")).unwrap() {
        let path = entry.unwrap().path();
        let mut record: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        if !record["id"]
            .as_str()
            .unwrap()
            .starts_with(&format!("{}0", pbx.prefix))
        {
            record["accepted_at"] = "2025-11-22T11:00:00Z".into();
        }
        std::fs::write(&path, record.to_string()).unwrap();
    }
    rapidpro.between.mishaps(&[Mishap::AnswerLost]);
    pbx.ooy(&["calls", "deliver"]).expect(0);
    pbx.all_arrived_once(rapidpro);
}

fn a_daemon_takes_and_delivers_calls(rapidpro: &RapidPro) {
    let mut pbx = Pbx::new(&rapidpro.between.url());
    pbx.calls_end(&["0712000000"]);
    let serving = pbx.serve(&["--listen", "127.0.0.1:0"]);
    until("what waited is delivered", PATIENCE, || pbx.nothing_waits());
    // Over FastAGI, many at once; and from `ooy agi` beside it, noticed at once.
    std::thread::scope(|scope| {
        for n in 1..40 {
            let (address, prefix) = (&serving.address, &pbx.prefix);
            let number = format!("07120000{:02}", n % 3);
            scope.spawn(move || {
                assert_eq!(
                    fast_agi(address, &number, &format!("{prefix}{n}")),
                    "queued"
                );
            });
        }
    });
    until("all are delivered", PATIENCE, || pbx.nothing_waits());
    assert_eq!(rapidpro.arrived(&pbx).len(), 40);
    let began = Instant::now();
    pbx.calls = (0..40)
        .map(|n| (format!("call {n}"), format!("{}{n}", pbx.prefix)))
        .collect();
    pbx.call_ends("0712000000");
    until("it is delivered", PATIENCE, || {
        rapidpro.arrived(&pbx).len() == 41
    });
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    // Another one is told who holds the port.
    let ran = pbx
        .ooy(&["calls", "serve", "--listen", &serving.address])
        .expect(1);
    insta::assert_snapshot!("serve-port-taken", pbx.tidy(&ran.stderr));
    let list = pbx.list();
    assert_eq!(list["queue"]["process"], serving.child.id());
    // While it waits for an answer that never comes, it still ends when told.
    rapidpro.between.mishaps(&[Mishap::AnswerHangs]);
    let before = rapidpro.between.starts();
    pbx.call_ends("0712000001");
    until("the request is out", PATIENCE, || {
        rapidpro.between.starts() > before
    });
    let began = Instant::now();
    let log = serving.end();
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    assert!(log.ends_with("ended") && !log.contains("+254"), "{log}");
    pbx.ooy(&["calls", "deliver"]).expect(0);
    pbx.all_arrived_once(rapidpro);
}

fn a_hundred_thousand_calls_wait(rapidpro: &RapidPro) {
    let mut pbx = Pbx::new(&rapidpro.between.url());
    pbx.calls_end(&["0712000000"]);
    let new = pbx.spool().join("new");
    let path = std::fs::read_dir(&new)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let text = std::fs::read_to_string(&path).unwrap();
    let id = path.file_stem().unwrap().to_str().unwrap();
    let record: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mono = record["mono_ms"].as_u64().unwrap();
    for n in 1..100_000u64 {
        let name = format!("{}{n}-00000000", pbx.prefix);
        let text = text
            .replace(id, &name)
            .replace(
                &format!("\"mono_ms\":{mono}"),
                &format!("\"mono_ms\":{}", mono + n),
            )
            .replace("+254712000000", &format!("+25471200{:04}", n % 5000));
        std::fs::write(new.join(format!("{name}.json")), text).unwrap();
    }
    let began = Instant::now();
    let shown = pbx.ooy(&["calls", "list"]).expect(0).stdout;
    assert!(shown.contains("100000 calls waiting"), "{shown}");
    let listed = began.elapsed();
    let before = rapidpro.between.starts();
    let began = Instant::now();
    let serving = pbx.serve(&["--listen", "off"]);
    until("the first ones are delivered", PATIENCE, || {
        rapidpro.between.starts() > before + 100
    });
    let first = began.elapsed();
    let memory = std::fs::read_to_string(format!("/proc/{}/status", serving.child.id())).unwrap();
    let memory: u64 = memory
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmHWM:")?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
        .unwrap();
    serving.end();
    let took = format!("list {listed:?}, first hundred {first:?}, memory {memory} kB");
    assert!(listed < Duration::from_secs(10), "{took}");
    assert!(memory < 200_000, "{took}");
    let arrived = rapidpro.arrived(&pbx);
    let mut once = arrived.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), arrived.len());
    assert_eq!(arrived[0], id);
    assert_eq!(arrived[1], format!("{}1-00000000", pbx.prefix));
    assert_eq!(pbx.count("sent"), arrived.len());
}

#[test]
fn a_stop_is_reported_once_without_numbers_or_secrets() {
    let rapidpro = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", rapidpro.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in rapidpro.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let body = "{\"detail\":\"Invalid token\"}";
            let _ = stream.write_all(plain("403 Forbidden", body).as_bytes());
        }
    });
    let sentry = TcpListener::bind("127.0.0.1:0").unwrap();
    let dsn = format!("http://abcdef@{}/42", sentry.local_addr().unwrap());
    let (told, reports) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in sentry.incoming() {
            let mut stream = stream.unwrap();
            let mut bytes = Vec::new();
            let mut part = [0; 4096];
            while !bytes.windows(11).any(|w| w == b"fingerprint") {
                let count = stream.read(&mut part).unwrap();
                bytes.extend_from_slice(&part[..count]);
            }
            let _ = stream.write_all(plain("200 OK", "{}").as_bytes());
            told.send(String::from_utf8(bytes).unwrap()).unwrap();
        }
    });
    let mut pbx = Pbx::new(&url);
    pbx.settings(&[("OOY_SENTRY_DSN", &dsn)]);
    pbx.calls_end(&["0712000000"]);
    for _ in 0..3 {
        pbx.ooy(&["calls", "deliver"]).expect(1);
    }
    let report = reports.recv_timeout(PATIENCE).unwrap();
    assert!(report.starts_with("POST /api/42/envelope/ "), "{report}");
    assert!(report.contains("RapidPro refuses the token"), "{report}");
    assert!(
        !report.contains("71200") && !report.contains(TOKEN),
        "{report}"
    );
    assert!(
        reports.recv_timeout(Duration::from_secs(3)).is_err(),
        "once"
    );
}

#[test]
fn a_spool_that_cannot_be_written() {
    let mut pbx = Pbx::new("http://127.0.0.1:9");
    pbx.calls_end(&["0712000000"]);
    // A file where a folder has to be: also root cannot get around that.
    std::fs::remove_dir_all(pbx.spool().join("tmp")).unwrap();
    std::fs::write(pbx.spool().join("tmp"), b"").unwrap();
    let ran = pbx.ooy(&["calls", "deliver"]).expect(1);
    insta::assert_snapshot!("deliver-spool", pbx.tidy(&ran.stderr));
    assert_eq!(pbx.count("new"), 1);
}

#[test]
fn nothing_was_ever_handed_in() {
    let pbx = Pbx::new("http://127.0.0.1:9");
    let list = pbx.ooy(&["calls", "list"]).expect(0);
    insta::assert_snapshot!("list-empty", pbx.tidy(&list.stdout));
    assert!(!pbx.spool().exists(), "looking makes nothing");
    let deliver = pbx.ooy(&["calls", "deliver"]).expect(0);
    assert!(
        deliver.stderr.contains("nothing waits"),
        "{}",
        deliver.stderr
    );
    let retry = pbx.ooy(&["calls", "retry", "--dead"]).expect(0);
    assert!(retry.stderr.contains("no call is dead"), "{}", retry.stderr);
    let retry = pbx.ooy(&["calls", "retry", "\u{1b}[31m../x"]).expect(2);
    insta::assert_snapshot!("retry-unknown", pbx.tidy(&retry.stderr));
    let listen = pbx.ooy(&["calls", "serve", "--listen", "4573"]).expect(2);
    insta::assert_snapshot!("serve-listen", pbx.tidy(&listen.stderr));
}

#[test]
fn what_a_caller_has_chosen_does_not_steer_the_terminal() {
    let pbx = Pbx::new("http://127.0.0.1:9");
    let lock = pbx.hold();
    let hostile = "\u{1b}]0;owned\u{7}\u{202e}0712";
    Ran::of(
        &pbx.command(&["agi", hostile, "\u{1b}[2J", "b\nc", "\u{9b}x"])
            .output()
            .unwrap(),
    )
    .expect(0);
    drop(lock);
    let shown = pbx
        .ooy(&["calls", "list", "--skipped", "--waiting"])
        .expect(0);
    let control = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
    assert!(!shown.stdout.contains(control), "{:?}", shown.stdout);
    assert!(shown.stdout.contains("1 skipped"), "{}", shown.stdout);
}

#[test]
fn systemd_is_told_when_it_serves_and_when_it_ends() {
    let pbx = Pbx::new("http://127.0.0.1:9");
    let path = pbx.folder().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut child = pbx
        .command(&["calls", "serve", "--listen", "127.0.0.1:0"])
        .env("NOTIFY_SOCKET", &path)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let hear = || {
        let mut bytes = [0; 256];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    assert!(hear().starts_with("READY=1\nSTATUS=FastAGI on 127.0.0.1:"));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(hear(), "STOPPING=1");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn three_dialplans_are_printed() {
    let pbx = Pbx::new("http://127.0.0.1:9");
    let text = |arguments: &[&str]| {
        pbx.ooy(&[&["calls", "dialplan"], arguments].concat())
            .expect(0)
            .stdout
    };
    assert!(text(&[]).contains("AGI(/usr/local/bin/ooy"));
    assert!(text(&["--fastagi"]).contains("agi://127.0.0.1:4573/"));
    assert!(text(&["--old"]).contains("update_user_rapidpro.py"));
    assert!(text(&[]).contains(&pbx.folder().display().to_string()));
    pbx.ooy(&["calls", "dialplan", "--old", "--fastagi"])
        .expect(2);
}
