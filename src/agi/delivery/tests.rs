//! The deliverer on a real spool, with a RapidPro, a clock and chance of our own.

mod play;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use self::play::{FLOW, Fate, Killed, Play, SETTLE, record, rig, start_of};
use super::decide::Stop;
use super::driver::{End, Until};
use super::tell::{Api, look_up};
use crate::agi::record::Moment;
use crate::agi::spool::Folder;
use crate::rapidpro::{FlowStart, Page, Start, Trouble};

const IDLE: Until = Until::Idle(Duration::from_secs(5));

#[test]
fn a_known_contact_is_one_request() {
    let rig = rig(&[1, 2, 1]);
    let (end, play) = rig.run(Until::Tried);
    assert_eq!(end, End::Empty);
    assert_eq!(rig.server.requests.get(), 3);
    assert_eq!(play.told, ["begun 3", "sent c0", "sent c1", "sent c2"]);
    rig.all_arrived_once(&[1, 2, 1]);
}

#[test]
fn an_unknown_contact_is_made_with_both_urns_and_known_the_next_time() {
    let rig = rig(&[1, 1]);
    rig.server.contacts.borrow_mut().clear();
    let (end, _) = rig.run(Until::Tried);
    assert_eq!(end, End::Empty);
    assert_eq!(rig.server.requests.get(), 4 + 1);
    let contacts = rig.server.contacts.borrow();
    assert_eq!(
        contacts["tel:+254712345601"],
        contacts["whatsapp:254712345601"]
    );
    drop(contacts);
    rig.all_arrived_once(&[1, 1]);
}

#[test]
fn a_contact_known_by_whatsapp_only_is_used() {
    let rig = rig(&[1]);
    let mut contacts = rig.server.contacts.borrow_mut();
    let uuid = contacts.remove("tel:+254712345601").unwrap();
    contacts.insert("whatsapp:254712345601".to_owned(), uuid);
    drop(contacts);
    assert_eq!(rig.run(Until::Tried).0, End::Empty);
    assert_eq!(rig.server.requests.get(), 2);
    rig.all_arrived_once(&[1]);
}

#[test]
fn a_contact_that_somebody_makes_at_the_same_moment_is_found() {
    let rig = rig(&[1]);
    rig.server.contacts.borrow_mut().clear();
    rig.server.rival.set(true);
    assert_eq!(rig.run(Until::Tried).0, End::Empty);
    // Two starts, the refused creation, one look, the start.
    assert_eq!(rig.server.requests.get(), 5);
    rig.all_arrived_once(&[1]);
}

#[test]
fn a_lost_answer_is_looked_for_before_the_call_is_sent_again() {
    for (fate, how) in [
        (Fate::Lost(true), "found c0"),
        (Fate::Lost(false), "sent c0"),
        (Fate::Failed(true), "found c0"),
        (Fate::Failed(false), "sent c0"),
    ] {
        let rig = rig(&[1, 1, 2]);
        rig.fates(&[fate]);
        let (end, play) = rig.run(IDLE);
        assert_eq!(end, End::Empty);
        assert_eq!(
            play.told,
            ["begun 3", "later c0 true", "sent c2", how, "sent c1"],
            "{fate:?}"
        );
        assert!(play.elapsed() >= SETTLE);
        rig.all_arrived_once(&[1, 1, 2]);
    }
}

#[test]
fn a_call_that_was_being_sent_when_we_were_killed_is_looked_for_first() {
    for worked in [true, false] {
        let rig = rig(&[1, 1]);
        rig.fates(&[Fate::Killed(worked)]);
        let killed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| rig.run(IDLE)));
        assert!(killed.is_err());
        assert_eq!(rig.count(Folder::Sending), 1);
        let (end, play) = rig.run(IDLE);
        assert_eq!(end, End::Empty);
        let how = if worked { "found c0" } else { "sent c0" };
        assert_eq!(play.told, ["begun 2", how, "sent c1"]);
        rig.all_arrived_once(&[1, 1]);
    }
}

#[test]
fn what_may_have_been_sent_stays_so_although_the_next_attempt_surely_failed() {
    let rig = rig(&[1]);
    // Lost; not there yet when asked; refused connection: it is asked again before it is sent.
    rig.fates(&[Fate::Lost(false), Fate::Good, Fate::NotSent]);
    let (end, _) = rig.run(IDLE);
    assert_eq!(end, End::Empty);
    // start, look, start, look, start
    assert_eq!(rig.server.requests.get(), 5);
    rig.all_arrived_once(&[1]);
}

#[test]
fn an_unreachable_server_is_tried_less_and_less_often_with_one_call_only() {
    let rig = rig(&[1, 2, 3]);
    rig.fates(&[Fate::NotSent; 12]);
    let (end, play) = rig.run(IDLE);
    assert_eq!(end, End::Empty);
    assert_eq!(rig.server.requests.get(), 12 + 3);
    let pauses: Vec<u64> = play
        .told
        .iter()
        .filter_map(|line| line.strip_prefix("all later ")?.parse().ok())
        .collect();
    assert_eq!(pauses.len(), 12);
    assert!(pauses.iter().all(|pause| *pause <= 300));
    assert!(pauses[11] >= 150, "{pauses:?}");
    let attempts = |index| {
        let id = record(index, index as u8 + 1).id;
        rig.spool
            .read(Folder::Sent, &id)
            .unwrap()
            .unwrap()
            .unwrap()
            .attempts
    };
    assert_eq!((attempts(0), attempts(1)), (13, 1));
    rig.all_arrived_once(&[1, 2, 3]);
}

#[test]
fn a_contact_that_alone_fails_does_not_hold_up_the_others() {
    let rig = rig(&[1, 2, 1, 3, 2]);
    rig.server
        .broken
        .borrow_mut()
        .insert("uuid-+254712345601".to_owned());
    let mut play = Play::new(&rig.server);
    play.patience = 40;
    assert_eq!(rig.play(&mut play, Until::Told), End::Told);
    assert_eq!(rig.server.started().len(), 3);
    assert!(!play.told.iter().any(|line| line.starts_with("all later")));
    rig.server.broken.borrow_mut().clear();
    assert_eq!(rig.run(IDLE).0, End::Empty);
    rig.all_arrived_once(&[1, 2, 1, 3, 2]);
}

#[test]
fn several_contacts_failing_in_a_row_are_the_servers_fault() {
    let rig = rig(&[1, 2, 3, 4, 5, 6]);
    rig.fates(&[Fate::Failed(false); 3]);
    let (end, play) = rig.run(IDLE);
    assert_eq!(end, End::Empty);
    assert!(play.told[4].starts_with("all later"), "{:?}", play.told);
    rig.all_arrived_once(&[1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_throttled_queue_waits_as_it_is_told() {
    let rig = rig(&[1, 2]);
    rig.fates(&[Fate::Throttled(Some(77)), Fate::Throttled(None)]);
    let (end, play) = rig.run(IDLE);
    assert_eq!(end, End::Empty);
    assert_eq!(play.told[1], "all later 77");
    assert!(play.elapsed() >= Duration::from_secs(77));
    assert!(play.elapsed() < Duration::from_secs(90));
    rig.all_arrived_once(&[1, 2]);
}

#[test]
fn a_refused_token_stops_the_queue_not_the_calls_and_is_reported_once() {
    for fate in [Fate::Forbidden, Fate::Flagged, Fate::Elsewhere] {
        let rig = rig(&[1, 2]);
        rig.fates(&[fate; 4]);
        let mut play = Play::new(&rig.server);
        play.patience = 350;
        assert_eq!(rig.play(&mut play, Until::Told), End::Told);
        let stops = play.told.iter().filter(|line| line.starts_with("stopped"));
        assert_eq!(stops.count(), 3, "{:?}", play.told);
        assert_eq!((play.reports, rig.server.requests.get()), (1, 3));
        assert_eq!((rig.count(Folder::New), rig.count(Folder::Dead)), (2, 0));
        let stopped = rig.spool.state().stopped.unwrap();
        assert!(stopped.reported);
        // Another process knows that it has been reported, tries at once, and goes on when it is
        // put right.
        let (end, play) = rig.run(IDLE);
        assert_eq!(end, End::Empty);
        assert_eq!(play.reports, 0);
        assert!(play.told.contains(&"resumed".to_owned()), "{:?}", play.told);
        assert_eq!(rig.spool.state().stopped, None);
        rig.all_arrived_once(&[1, 2]);
    }
}

#[test]
fn a_report_that_failed_is_made_with_the_next_attempt() {
    let rig = rig(&[1]);
    rig.fates(&[Fate::Forbidden; 3]);
    let mut play = Play::new(&rig.server);
    play.report_works = false;
    assert_eq!(rig.play(&mut play, IDLE), End::Empty);
    assert_eq!(play.reports, 3);
}

#[test]
fn the_delivery_an_operator_asked_for_ends_at_a_stop_and_after_a_few_failures() {
    let rig = rig(&[1, 2]);
    rig.fates(&[Fate::Forbidden]);
    let (end, _) = rig.run(Until::Tried);
    assert!(matches!(end, End::Stopped(Stop::Token, _)), "{end:?}");
    rig.fates(&[Fate::NotSent; 3]);
    let (end, _) = rig.run(Until::Tried);
    assert_eq!(end, End::GaveUp("words".to_owned()));
    rig.fates(&[Fate::Throttled(Some(600))]);
    assert!(matches!(rig.run(Until::Tried).0, End::GaveUp(_)));
    rig.server
        .broken
        .borrow_mut()
        .insert("uuid-+254712345601".to_owned());
    assert!(matches!(rig.run(Until::Tried).0, End::GaveUp(_)));
    assert_eq!(rig.server.started().len(), 1, "the other contact's");
    rig.server.broken.borrow_mut().clear();
    assert_eq!(rig.run(Until::Tried).0, End::Empty);
    rig.all_arrived_once(&[1, 2]);
}

#[test]
fn missing_settings_stop_the_queue_until_they_are_there() {
    let rig = rig(&[1]);
    let mut play = Play::new(&rig.server);
    play.settings = Err(());
    play.patience = 10;
    assert_eq!(rig.play(&mut play, Until::Told), End::Told);
    let stopped = rig.spool.state().stopped.unwrap();
    assert_eq!(stopped.code, "settings-incomplete");
    assert_eq!(rig.server.requests.get(), 0);
    // While it waits, the file changes: at once, not at the next attempt.
    let mut play = Play::new(&rig.server);
    play.changed = true;
    let before = play.elapsed();
    assert_eq!(rig.play(&mut play, Until::Tried), End::Empty);
    assert!(play.elapsed() - before < Duration::from_secs(2));
    rig.all_arrived_once(&[1]);
}

#[test]
fn a_kick_ends_every_pause_but_the_one_after_a_lost_answer() {
    let rig = rig(&[1, 2]);
    rig.fates(&[Fate::Lost(true), Fate::Throttled(Some(3000))]);
    let mut play = Play::new(&rig.server);
    play.kick_at = Some(Duration::from_secs(11));
    assert_eq!(rig.play(&mut play, IDLE), End::Empty);
    // The sleep itself is played whole; afterwards nothing waits any more.
    assert!(
        play.elapsed() < Duration::from_secs(100),
        "{:?}",
        play.elapsed()
    );
    rig.all_arrived_once(&[1, 2]);
}

#[test]
fn a_refused_call_is_dead_and_the_others_go_on() {
    let rig = rig(&[1, 2, 1]);
    rig.server
        .refused
        .borrow_mut()
        .insert("uuid-+254712345601".to_owned());
    let (end, play) = rig.run(Until::Tried);
    assert_eq!(end, End::Empty);
    assert_eq!(play.told, ["begun 3", "dead c0", "sent c1", "dead c2"]);
    let dead = rig
        .spool
        .read(Folder::Dead, &record(0, 1).id)
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(dead.dead_reason.as_deref(), Some("HTTP 400: no"));
    rig.server.refused.borrow_mut().clear();
    for index in [0, 2] {
        assert!(rig.spool.retry(&record(index, 1).id).unwrap());
    }
    assert_eq!(rig.run(Until::Tried).0, End::Empty);
    rig.all_arrived_once(&[1, 2, 1]);
}

#[test]
fn when_every_call_is_refused_it_is_not_the_calls() {
    let contacts: Vec<u8> = (1..=9).collect();
    let rig = rig(&contacts);
    for contact in &contacts {
        let number = record(0, *contact).number.unwrap();
        rig.server
            .refused
            .borrow_mut()
            .insert(format!("uuid-{number}"));
    }
    let (end, _) = rig.run(Until::Tried);
    assert!(matches!(end, End::Stopped(Stop::Refusals, _)), "{end:?}");
    assert_eq!((rig.count(Folder::Dead), rig.count(Folder::New)), (4, 5));
}

#[test]
fn a_damaged_file_is_set_aside_and_the_others_go_on() {
    let rig = rig(&[1, 2, 3]);
    let path = rig
        .spool
        .root()
        .join("new")
        .join(format!("{}.json", record(1, 2).id));
    std::fs::write(path, b"{\"schema\":1,\"id\":").unwrap();
    std::fs::write(rig.spool.root().join("sending/half.json"), b"").unwrap();
    let (end, play) = rig.run(Until::Tried);
    assert_eq!(end, End::Empty);
    assert_eq!(
        play.told
            .iter()
            .filter(|line| line.starts_with("damaged"))
            .count(),
        2
    );
    assert_eq!(rig.server.started().len(), 2);
    assert_eq!(rig.count(Folder::Damaged), 2);
}

#[test]
fn a_call_handed_in_again_while_it_is_unsettled_is_sent_once() {
    let rig = rig(&[1]);
    rig.fates(&[Fate::Killed(true)]);
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| rig.run(IDLE)));
    // As if it had been written between the look and the link (see spool/accept.rs).
    let copy = rig
        .spool
        .root()
        .join("new")
        .join(format!("{}.json", record(0, 1).id));
    std::fs::write(copy, record(0, 1).to_json()).unwrap();
    assert_eq!(rig.run(IDLE).0, End::Empty);
    rig.all_arrived_once(&[1]);
}

#[test]
fn a_list_is_searched_page_by_page_down_to_the_attempt_and_again_where_it_moved() {
    /// Pages as they are at each request.
    struct Lists(RefCell<VecDeque<Vec<Start>>>, Timestamp);
    impl Api for Lists {
        fn start(&self, _: &FlowStart) -> Result<String, Trouble> {
            unreachable!()
        }
        fn create_contact(&self, _: &[String]) -> Result<String, Trouble> {
            unreachable!()
        }
        fn find_contact(&self, _: &str) -> Result<Option<String>, Trouble> {
            unreachable!()
        }
        fn starts(&self, _: Option<&str>) -> Result<Page<Start>, Trouble> {
            Ok(Page {
                items: self
                    .0
                    .borrow_mut()
                    .pop_front()
                    .expect("no further page is asked for"),
                cursor: Some("next".to_owned()),
                server_now: Some(self.1),
            })
        }
    }
    // The server's clock is a year behind ours.
    let server_now: Timestamp = "2025-11-22T12:00:00Z".parse().unwrap();
    let ago = |seconds: i64| server_now - jiff::SignedDuration::from_secs(seconds);
    let page = |newest: i64, oldest: i64| {
        vec![
            start_of("a", "other", Some(ago(newest))),
            start_of("b", "other", Some(ago(oldest))),
        ]
    };
    let mut asked = record(0, 1);
    let mut attempt = Moment::now();
    attempt.mono_ms -= 300_000;
    asked.first_attempt = Some(attempt);
    let now = Moment::now();
    let search = |pages: Vec<Vec<Start>>| {
        let lists = Lists(RefCell::new(pages.into()), server_now);
        let found = look_up(&lists, FLOW, &asked, &now).unwrap();
        assert!(lists.0.borrow().is_empty(), "all pages are read");
        found
    };
    let ours = |age| vec![start_of("ours", asked.id.as_str(), Some(ago(age)))];
    // 300 s and 120 s of margin: a page that ends before that is the last one.
    assert_eq!(search(vec![page(1, 421)]), None);
    assert_eq!(search(vec![ours(1)]), Some("ours".to_owned()));
    // Two pages; then the first again, as it is by then: it reaches back far enough.
    assert_eq!(
        search(vec![page(1, 200), page(201, 430), page(0, 20)]),
        None
    );
    // It had moved to the front while the second page was read.
    assert_eq!(
        search(vec![page(1, 200), page(201, 430), ours(0)]),
        Some("ours".to_owned())
    );
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![
        6 => Just(Fate::Good),
        2 => Just(Fate::NotSent),
        4 => any::<bool>().prop_map(Fate::Lost),
        3 => any::<bool>().prop_map(Fate::Failed),
        1 => Just(Fate::Throttled(Some(3))),
        1 => Just(Fate::Throttled(None)),
        1 => Just(Fate::Forbidden),
        1 => Just(Fate::Flagged),
        1 => Just(Fate::Elsewhere),
        4 => any::<bool>().prop_map(Fate::Killed),
    ];
    proptest::collection::vec(fate, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Whatever RapidPro does, and whenever we are killed: each call arrives exactly once, and
    /// those of a contact in their order.
    #[test]
    fn every_call_arrives_exactly_once(
        contacts in proptest::collection::vec(1u8..4, 1..8),
        known in any::<bool>(),
        fates in fates(),
        patience in 1usize..60,
    ) {
        let rig = rig(&contacts);
        if !known {
            rig.server.contacts.borrow_mut().clear();
        }
        rig.fates(&fates);
        for _ in 0..200 {
            let run = || {
                let mut play = Play::new(&rig.server);
                play.patience = patience;
                rig.play(&mut play, IDLE)
            };
            match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
                Ok(End::Empty) => break,
                Ok(_) => {}
                Err(killed) => prop_assert!(killed.is::<Killed>(), "a real panic"),
            }
        }
        rig.all_arrived_once(&contacts);
    }
}
