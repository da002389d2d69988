//! Finished calls, from real Asterisks (the oldest and the newest that Debian has) to RapidPro.
//!
//! The first test has the whole deployment behind it, RapidPro's stand-in behind nginx with TLS.
//! The others have a RapidPro in this process (rapidpro_api.rs), which can be down and can hang.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use serde_json::Value;

use crate::dialplans::{our_dialplan, wiki_dialplan};
use crate::harness::{Home, until};
use crate::pbx::{CallLog, Pbx, ZONE};
use crate::rapidpro_api::{Api, FLOW, Mood, Start, TOKEN};

/// A PBX with our snippet, as the executable prints it there, and the settings for a RapidPro in
/// this process.
fn our_pbx(version: &str, api: &Api, snippet: &[&str]) -> Pbx {
    let pbx = Pbx::new(version, "", &[]);
    pbx.settings(&[
        ("RAPIDPRO_URL", &api.url()),
        ("RAPIDPRO_TOKEN", TOKEN),
        ("RAPIDPRO_FLOW", FLOW),
        ("TIME_ZONE", ZONE),
        ("CALLS_TIMEOUT", "1s"),
        ("CALLS_SETTLE", "1s"),
        ("CALLS_RETRY_MAX", "1s"),
    ]);
    let snippet = pbx.exec(&[&["ooy", "calls", "dialplan"], snippet].concat());
    let snippet = snippet.expect(0).stdout;
    pbx.load(&our_dialplan(&snippet));
    pbx
}

/// Each test for both.
macro_rules! on_both {
    ($($test:ident),* $(,)?) => {$(
        mod $test {
            #[test]
            fn on_asterisk_16() {
                super::$test("16");
            }
            #[test]
            fn on_asterisk_22() {
                super::$test("22");
            }
        }
    )*};
}
on_both!(
    our_snippet_tells_of_every_call,
    fast_agi_tells_of_every_call,
    the_channel_is_gone_at_once_and_the_calls_arrive_later,
    odd_callers_neither_hold_anything_up_nor_get_lost,
    a_call_that_cannot_be_stored_is_logged,
);

#[track_caller]
fn arrived(api: &Api, count: usize) -> Vec<Start> {
    until(
        &format!("{count} calls have arrived"),
        Duration::from_secs(30),
        || api.starts().len() >= count,
    );
    api.starts()
}

/// This call has arrived, once, with what the dialplan knew of it.
#[track_caller]
fn assert_arrived(api: &Api, number: &str, direction: &str, call: &CallLog) {
    let contact = api.contact(&format!("tel:{number}"));
    let starts = api.starts();
    let of_number: Vec<&Start> = starts
        .iter()
        .filter(|start| Some(&start.contact) == contact.as_ref())
        .collect();
    let [start] = of_number[..] else {
        panic!(
            "{number} has arrived {} times: {starts:#?}",
            of_number.len()
        );
    };
    assert_eq!(start.param("direction"), direction, "{start:#?}");
    assert_eq!(
        start.param("call_start_time"),
        call.time("CALL_START"),
        "{start:#?}"
    );
    assert_eq!(
        start.param("call_end_time"),
        call.time("CALL_END"),
        "{start:#?}"
    );
    assert_ne!(start.param("call_id"), "", "{start:#?}");
}

/// The call whose dialplan had this number.
#[track_caller]
fn call_of<'a>(calls: &'a [CallLog], number: &str) -> &'a CallLog {
    let mut found = calls.iter().filter(|call| call.contains(number));
    let call = found
        .next()
        .unwrap_or_else(|| panic!("no call of {number}"));
    assert!(found.next().is_none(), "two calls of {number}");
    call
}

fn our_snippet_tells_of_every_call(version: &str) {
    let api = Api::new(Pbx::host());
    // A known contact of each kind, and two that have never called.
    api.add_contact(&["tel:+254712000001", "whatsapp:254712000001"]);
    api.add_contact(&["whatsapp:254712000002"]);
    let pbx = our_pbx(version, &api, &[]);
    pbx.call("254712000001@in-far", "1");
    pbx.call("+254712000002@in-near", "30");
    pbx.call("0712000003@out-far", "1");
    pbx.call("0712000004@out-near", "30");
    let calls = pbx.finished_calls(4);
    arrived(&api, 4);
    for call in &calls {
        assert_eq!(call.report(), "SUCCESS queued");
    }
    for (number, direction) in [
        ("712000001", "inbound"),
        ("712000003", "outbound"),
        ("712000004", "outbound"),
    ] {
        let call = call_of(&calls, number);
        assert_arrived(&api, &format!("+254{number}"), direction, call);
    }
    let known = api.contact("whatsapp:254712000002").unwrap();
    assert!(
        api.starts().iter().any(|start| start.contact == known),
        "found by its whatsapp number"
    );
    assert_eq!(
        api.contact("tel:+254712000003"),
        api.contact("whatsapp:254712000003"),
        "a new contact has both"
    );
    api.assert_no_mistakes();

    // What an administrator finds: records that only Asterisk's user reads, nothing waiting.
    until("all are filed as sent", Duration::from_secs(5), || {
        pbx.spool("sent").len() == 4
    });
    assert!(pbx.spool("new").is_empty() && pbx.spool("sending").is_empty());
    for path in pbx.spool("sent") {
        let about = std::fs::metadata(&path).unwrap();
        assert_eq!(about.permissions().mode() & 0o777, 0o600, "{path:?}");
        assert_eq!(about.uid(), 106, "{path:?}");
    }
    assert!(!pbx.log().contains(TOKEN));
}

fn fast_agi_tells_of_every_call(version: &str) {
    let api = Api::new(Pbx::host());
    let pbx = our_pbx(version, &api, &["--fastagi"]);
    let mut serve = pbx.background(&["sh", "-c", "echo $$ >/tmp/serve; exec ooy calls serve"]);
    until("the FastAGI port is open", Duration::from_secs(10), || {
        // 4573 in hexadecimal, listening.
        pbx.exec(&["cat", "/proc/net/tcp"])
            .stdout
            .contains(":11DD 00000000:0000 0A")
    });
    for number in ["0722000001", "0722000002", "0722000003"] {
        pbx.call(&format!("{number}@in-near"), "30");
        pbx.call(&format!("{}@out-far", number.replace("072", "073")), "1");
    }
    let calls = pbx.finished_calls(6);
    arrived(&api, 6);
    for number in ["722000001", "722000002", "722000003"] {
        let call = call_of(&calls, number);
        assert_eq!(call.report(), "SUCCESS queued");
        assert_arrived(&api, &format!("+254{number}"), "inbound", call);
        let number = number.replace("72", "73");
        assert_arrived(
            &api,
            &format!("+254{number}"),
            "outbound",
            call_of(&calls, &number),
        );
    }
    api.assert_no_mistakes();

    pbx.exec(&["sh", "-c", "kill -TERM $(cat /tmp/serve)"])
        .expect(0);
    assert_eq!(serve.ended(Duration::from_secs(10)), 0, "a clean end");
    // Without the server Asterisk is refused at once, and the handler is started instead.
    pbx.call("0722000009@in-near", "30");
    let calls = pbx.finished_calls(7);
    arrived(&api, 7);
    let refused = call_of(&calls, "722000009");
    assert!(refused.contains("Connection refused"), "{refused:#?}");
    assert_eq!(refused.report(), "SUCCESS queued");
    assert_arrived(&api, "+254722000009", "inbound", refused);
}

fn the_channel_is_gone_at_once_and_the_calls_arrive_later(version: &str) {
    let api = Api::new(Pbx::host());
    api.add_contact(&["tel:+254744000001"]);
    let pbx = our_pbx(version, &api, &[]);
    api.be(Mood::Down);
    pbx.call("0744000001@in-near", "30");
    pbx.call("0744000002@in-far", "1");
    pbx.finished_calls(2);
    until("no channel is left", Duration::from_secs(2), || {
        pbx.is_quiet()
    });
    api.be(Mood::Hanging);
    pbx.call("0744000003@in-near", "30");
    pbx.call("0744000004@out-far", "1");
    let calls = pbx.finished_calls(4);
    until("no channel is left", Duration::from_secs(2), || {
        pbx.is_quiet()
    });
    for call in &calls {
        assert_eq!(call.report(), "SUCCESS queued");
        // A request would be given up after 1 s here and after 10 s elsewhere. On a machine
        // with nothing else to do these are 5 ms.
        assert!(call.held_ms() < 500, "{} ms: {call:#?}", call.held_ms());
    }
    assert!(api.starts().is_empty());

    api.be(Mood::Answering);
    arrived(&api, 4);
    until("nothing waits", Duration::from_secs(30), || {
        pbx.spool("sent").len() == 4
    });
    for (number, direction) in [
        ("744000001", "inbound"),
        ("744000002", "inbound"),
        ("744000003", "inbound"),
        ("744000004", "outbound"),
    ] {
        let call = call_of(&calls, number);
        assert_arrived(&api, &format!("+254{number}"), direction, call);
    }
    assert_eq!(api.starts().len(), 4);
    api.assert_no_mistakes();
}

/// With the wiki's lines, which let everything through.
fn odd_callers_neither_hold_anything_up_nor_get_lost(version: &str) {
    let api = Api::new(Pbx::host());
    let pbx = Pbx::new(version, &wiki_dialplan(), &[]);
    pbx.old_installation(&[
        ("RAPIDPRO_URL", &api.url()),
        ("RAPIDPRO_TOKEN", TOKEN),
        ("RAPIDPRO_FLOW", FLOW),
    ]);
    // The quotation mark makes one argument of all four.
    pbx.call("quote@odd", "30");
    pbx.call("nobody@odd", "30");
    pbx.call("sip@odd", "30");
    pbx.call("option@odd", "30");
    pbx.call("spaces@odd", "30");
    pbx.call("anonymous@in-near", "30");
    pbx.call("1042@in-near", "30");
    let calls = pbx.finished_calls(7);
    arrived(&api, 2);
    until("all are filed", Duration::from_secs(10), || {
        pbx.spool("sent").len() == 2
    });
    let quote = call_of(&calls, "quote@odd");
    assert_eq!(quote.report(), "SUCCESS queued");
    assert_arrived(&api, "+254712345678", "inbound", quote);
    let spaces = call_of(&calls, "spaces@odd");
    assert_arrived(&api, "+254733345678", "inbound", spaces);
    for extension in [
        "nobody@odd",
        "sip@odd",
        "option@odd",
        "anonymous@in-near",
        "1042@in-near",
    ] {
        let call = call_of(&calls, extension);
        assert_eq!(call.report(), "SUCCESS skipped", "{call:#?}");
    }
    let skipped = pbx.records("skipped");
    let reasons: Vec<(&str, &str)> = skipped
        .iter()
        .map(|(number, record)| (number.as_str(), record["skip_reason"].as_str().unwrap()))
        .collect();
    assert_eq!(
        skipped.keys().collect::<Vec<_>>(),
        ["", "--home", "1042", "alice@sip.example.org", "anonymous"],
        "{reasons:?}"
    );
    assert!(
        reasons.iter().all(|(_, reason)| !reason.is_empty()),
        "{reasons:?}"
    );
    assert_eq!(api.starts().len(), 2);
    api.assert_no_mistakes();
}

fn a_call_that_cannot_be_stored_is_logged(version: &str) {
    let api = Api::new(Pbx::host());
    api.add_contact(&["tel:+254755000001"]);
    let pbx = our_pbx(version, &api, &[]);
    // Not the spool's owner, and RapidPro answers: told directly, within the handler.
    std::os::unix::fs::chown(pbx.path("spool"), Some(0), Some(0)).unwrap();
    pbx.call("0755000001@in-near", "30");
    let calls = pbx.finished_calls(1);
    let direct = call_of(&calls, "755000001");
    assert!(direct.report().starts_with("SUCCESS"), "{direct:#?}");
    assert_arrived(&api, "+254755000001", "inbound", direct);
    assert!(!direct.contains("call not taken by ooy"), "{direct:#?}");

    api.be(Mood::Down);
    pbx.call("0755000002@in-near", "30");
    let calls = pbx.finished_calls(2);
    let lost = call_of(&calls, "755000002");
    assert_eq!(lost.report(), "FAILURE failed");
    let line = lost.hand_in_line();
    for part in [
        "0755000002",
        &lost.variable("CALL_START"),
        &lost.variable("CALL_END"),
        "inbound",
    ] {
        assert!(line.contains(part), "{line}");
    }

    // RapidPro hangs: the handler may wait for the direct delivery, 2 s at most.
    api.be(Mood::Hanging);
    pbx.call("0755000003@in-near", "30");
    let calls = pbx.finished_calls(3);
    let hung = call_of(&calls, "755000003");
    assert_eq!(hung.report(), "FAILURE failed");
    assert!(hung.held_ms() < 3000, "{} ms", hung.held_ms());
    api.be(Mood::Down);

    // The log's line, as an administrator pastes it once the disk is in order.
    std::os::unix::fs::chown(pbx.path("spool"), Some(106), Some(108)).unwrap();
    api.be(Mood::Answering);
    pbx.exec(&["sh", "-c", &line]).expect(0);
    pbx.exec(&["sh", "-c", &line]).expect(0);
    arrived(&api, 2);
    until("nothing waits", Duration::from_secs(10), || {
        pbx.spool("sent").len() == 1 && pbx.spool("new").is_empty()
    });
    assert_arrived(&api, "+254755000002", "inbound", lost);
    assert_eq!(api.starts().len(), 2, "handed in twice, told once");
    api.assert_no_mistakes();
}

/// A deployment whose RapidPro has a workspace, a token and a flow.
struct Deployment {
    home: Home,
    seed: Value,
}

impl Deployment {
    fn new() -> Self {
        let home = Home::with_databases("calls");
        // Everything nginx needs comes with it.
        home.ooy(&["start", "nginx"]).expect(0);
        let seed = home.docker(&[
            "exec",
            &home.container("rapidpro"),
            "/venv/bin/python",
            "/rapidpro/manage.py",
            "stand_in_seed",
            "--token",
            TOKEN,
        ]);
        let seed = serde_json::from_str(&seed).unwrap_or_else(|_| panic!("{seed}"));
        Self { home, seed }
    }

    /// All flow starts that RapidPro tells of.
    fn starts(&self) -> Vec<Value> {
        let header = format!("Authorization: Token {TOKEN}");
        let (status, text) = self.home.get(
            "rapidpro.test",
            "/api/v2/flow_starts.json",
            &["-H", &header],
        );
        assert_eq!(status, 200, "{text}");
        let body = text.split_once("\r\n\r\n").unwrap().1;
        let answer: Value = serde_json::from_str(body).unwrap();
        answer["results"].as_array().unwrap().clone()
    }

    /// A PBX with the wiki's dialplan and the old settings, which reaches RapidPro as the world
    /// does: by its name, through nginx, with TLS.
    fn pbx(&self, version: &str) -> Pbx {
        let name = format!("rapidpro.test:{}", Pbx::host());
        let pbx = Pbx::new(version, &wiki_dialplan(), &["--add-host", &name]);
        let url = format!("https://rapidpro.test:{}", self.home.https);
        let lines = [
            ("RAPIDPRO_URL", url.as_str()),
            ("RAPIDPRO_TOKEN", TOKEN),
            ("RAPIDPRO_FLOW", self.seed["flow"].as_str().unwrap()),
            // The one line that is new: a certificate that nobody has signed.
            ("CALLS_CA_FILE", "/opt/rapidpro_connection/ca.pem"),
        ];
        pbx.old_installation(&lines);
        let certificate = self.home.folder.join("ssl/rapidpro.crt");
        std::fs::copy(certificate, pbx.path("old/ca.pem")).unwrap();
        pbx
    }
}

/// One test for both: the deployment behind them is what costs.
#[test]
fn the_wikis_own_lines_reach_a_whole_deployment() {
    let deployment = Deployment::new();
    let pbxes = ["16", "22"].map(|version| deployment.pbx(version));
    for (index, pbx) in pbxes.iter().enumerate() {
        // Contact 0 is known to RapidPro, the others are new.
        let known = "254712000000";
        pbx.call(&format!("{known}@in-near"), "30");
        pbx.call(&format!("071100001{index}@in-far"), "1");
        pbx.call(&format!("071100002{index}@out-near"), "30");
        pbx.call(&format!("071100003{index}@out-far"), "1");
    }
    let mut expected = Vec::new();
    for pbx in &pbxes {
        for call in pbx.finished_calls(4) {
            assert_eq!(call.report(), "SUCCESS queued");
            let direction = call.variable("CALL_DIRECTION").replace('"', "");
            expected.push((call.time("CALL_START"), call.time("CALL_END"), direction));
        }
    }
    until("all calls have arrived", Duration::from_secs(60), || {
        deployment.starts().len() >= expected.len()
    });
    let mut found: Vec<(String, String, String)> = deployment
        .starts()
        .iter()
        .map(|start| {
            let param = |name: &str| start["params"][name].as_str().unwrap().to_owned();
            (
                param("call_start_time"),
                param("call_end_time"),
                param("direction"),
            )
        })
        .collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    let known = deployment.seed["contacts"][0]["uuid"].as_str().unwrap();
    let of_known = deployment
        .starts()
        .iter()
        .filter(|start| start["contacts"][0]["uuid"] == known)
        .count();
    assert_eq!(of_known, 2, "one from each PBX");
}
