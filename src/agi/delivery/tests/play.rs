//! A RapidPro, a clock and chance of our own, and calls on a real spool.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::agi::delivery::decide::Stop;
use crate::agi::delivery::driver::{Driver, End, Event, Link, Until, Woken, World};
use crate::agi::delivery::fault;
use crate::agi::delivery::tell::Api;
use crate::agi::record::tests::call;
use crate::agi::record::{Moment, Record};
use crate::agi::spool::{Folder, Incoming, Spool};
use crate::deployment::places::Places;
use crate::fault::Fault;
use crate::rapidpro::{FlowStart, Page, Reference, Start, Trouble};

pub(super) const FLOW: &str = "f10e";
pub(super) const SETTLE: Duration = Duration::from_secs(10);
pub(super) const LONGEST: Duration = Duration::from_secs(300);

/// What a request meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Good,
    NotSent,
    /// No answer; `true`: it worked.
    Lost(bool),
    /// 500; `true`: it worked.
    Failed(bool),
    Throttled(Option<u64>),
    Forbidden,
    Flagged,
    Elsewhere,
    /// We are killed; `true`: after it worked.
    Killed(bool),
}

pub(super) struct Killed;

/// A RapidPro in memory.
#[derive(Default)]
pub(super) struct Server {
    pub(super) fates: RefCell<VecDeque<Fate>>,
    /// Call and contact of each flow start, in their order.
    pub(super) starts: RefCell<Vec<(String, String)>>,
    /// Contact by URN.
    pub(super) contacts: RefCell<HashMap<String, String>>,
    /// These contacts meet a 500 always.
    pub(super) broken: RefCell<HashSet<String>>,
    /// These are refused always.
    pub(super) refused: RefCell<HashSet<String>>,
    /// Somebody else makes each contact a moment before us.
    pub(super) rival: Cell<bool>,
    pub(super) requests: Cell<usize>,
    pub(super) clock: Rc<Cell<Duration>>,
}

impl Server {
    pub(super) fn fate(&self) -> Fate {
        self.requests.set(self.requests.get() + 1);
        let fate = self.fates.borrow_mut().pop_front().unwrap_or(Fate::Good);
        let took = match fate {
            Fate::Lost(_) => Duration::from_secs(10),
            _ => Duration::from_millis(20),
        };
        self.clock.set(self.clock.get() + took);
        fate
    }

    /// Does the work where the fate lets it, and answers as the fate wants.
    pub(super) fn meet<T>(&self, work: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
        let fate = self.fate();
        let words = || "words".to_owned();
        match fate {
            Fate::Good => work(),
            Fate::NotSent => Err(Trouble::NotSent(words())),
            Fate::Lost(worked) => {
                if worked {
                    let _ = work();
                }
                Err(Trouble::Lost(words()))
            }
            Fate::Failed(worked) => {
                if worked {
                    let _ = work();
                }
                Err(Trouble::ServerError(500, words()))
            }
            Fate::Throttled(wait) => Err(Trouble::Throttled(wait.map(Duration::from_secs))),
            Fate::Forbidden => Err(Trouble::Unauthorized(words())),
            Fate::Flagged => Err(Trouble::Blocked("flagged".to_owned())),
            Fate::Elsewhere => Err(Trouble::NotRapidPro(words())),
            Fate::Killed(worked) => {
                if worked {
                    let _ = work();
                }
                // Unlike a panic it says nothing.
                std::panic::resume_unwind(Box::new(Killed))
            }
        }
    }

    pub(super) fn know(&self, number: &str) {
        self.contacts
            .borrow_mut()
            .insert(format!("tel:{number}"), format!("uuid-{number}"));
    }

    pub(super) fn started(&self) -> Vec<String> {
        let starts = self.starts.borrow();
        starts.iter().map(|(call, _)| call.clone()).collect()
    }
}

impl Api for Rc<Server> {
    fn start(&self, start: &FlowStart) -> Result<String, Trouble> {
        assert_eq!(start.flow, FLOW);
        assert!(start.restart_participants);
        self.meet(|| {
            let urn = start.contacts[0];
            let contacts = self.contacts.borrow();
            let contact = match contacts.get(urn) {
                Some(contact) => contact.clone(),
                None if contacts.values().any(|contact| contact == urn) => urn.to_owned(),
                None => return Err(Trouble::NoSuchContact),
            };
            if self.broken.borrow().contains(&contact) {
                return Err(Trouble::ServerError(500, String::new()));
            }
            if self.refused.borrow().contains(&contact) {
                return Err(Trouble::Refused("HTTP 400: no".to_owned()));
            }
            let call = start.params["call_id"].as_str().unwrap().to_owned();
            let mut starts = self.starts.borrow_mut();
            starts.push((call, contact));
            Ok(format!("start-{}", starts.len()))
        })
    }

    fn create_contact(&self, urns: &[String]) -> Result<String, Trouble> {
        self.meet(|| {
            if self.rival.get() {
                self.know(urns[0].trim_start_matches("tel:"));
            }
            let mut contacts = self.contacts.borrow_mut();
            if urns.iter().any(|urn| contacts.contains_key(urn)) {
                return Err(Trouble::UrnTaken(
                    "URN belongs to another contact".to_owned(),
                ));
            }
            let uuid = format!("uuid-{}", urns[0].trim_start_matches("tel:"));
            for urn in urns {
                contacts.insert(urn.clone(), uuid.clone());
            }
            Ok(uuid)
        })
    }

    fn find_contact(&self, urn: &str) -> Result<Option<String>, Trouble> {
        self.meet(|| Ok(self.contacts.borrow().get(urn).cloned()))
    }

    fn starts(&self, cursor: Option<&str>) -> Result<Page<Start>, Trouble> {
        self.meet(|| {
            let starts = self.starts.borrow();
            let from: usize = cursor.map_or(0, |cursor| cursor.parse().unwrap());
            let items: Vec<Start> = starts
                .iter()
                .enumerate()
                .rev()
                .skip(from)
                .take(250)
                .map(|(index, (call, _))| start_of(&format!("start-{}", index + 1), call, None))
                .collect();
            let end = from + items.len();
            Ok(Page {
                items,
                cursor: (end < starts.len()).then(|| end.to_string()),
                server_now: None,
            })
        })
    }
}

pub(super) fn start_of(uuid: &str, call: &str, modified_on: Option<Timestamp>) -> Start {
    Start {
        uuid: uuid.to_owned(),
        flow: Some(Reference {
            uuid: FLOW.to_owned(),
        }),
        params: serde_json::json!({ "call_id": call }),
        extra: serde_json::Value::Null,
        modified_on,
    }
}

pub(super) struct Play {
    pub(super) server: Rc<Server>,
    pub(super) clock: Rc<Cell<Duration>>,
    pub(super) told: Vec<String>,
    pub(super) reports: usize,
    pub(super) report_works: bool,
    pub(super) settings: Result<(), ()>,
    pub(super) changed: bool,
    /// After so many sleeps: told to end.
    pub(super) patience: usize,
    pub(super) kick_at: Option<Duration>,
    pub(super) seed: u64,
}

impl Play {
    pub(super) fn new(server: &Rc<Server>) -> Self {
        Self {
            server: Rc::clone(server),
            clock: Rc::clone(&server.clock),
            told: Vec::new(),
            reports: 0,
            report_works: true,
            settings: Ok(()),
            changed: false,
            patience: 10_000,
            kick_at: None,
            seed: 1,
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.clock.get()
    }
}

impl World for Play {
    type Api = Rc<Server>;

    fn now(&self) -> Duration {
        Duration::from_secs(1000) + self.clock.get()
    }

    fn moment(&self) -> Moment {
        let mut now = Moment::now();
        now.mono_ms += u64::try_from(self.clock.get().as_millis()).unwrap();
        now
    }

    fn dice(&mut self) -> f64 {
        self.seed = self.seed.wrapping_mul(6364136223846793005).wrapping_add(1);
        (self.seed >> 40) as f64 / (1u64 << 24) as f64
    }

    fn link(&mut self) -> Result<Rc<Link<Self::Api>>, Box<Fault>> {
        if self.settings.is_err() {
            return Err(Box::new(Fault::usage("settings", "not complete")));
        }
        Ok(Rc::new(Link {
            api: Rc::clone(&self.server),
            flow: FLOW.to_owned(),
            zone: TimeZone::UTC,
            timeout: Duration::from_secs(10),
            settle: SETTLE,
            retry_max: LONGEST,
            keep: Duration::from_secs(86_400),
        }))
    }

    fn settings_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    fn wait(&mut self, _: &Incoming, limit: Duration) -> Woken {
        self.clock.set(self.clock.get() + limit);
        if !limit.is_zero() {
            self.patience = self.patience.saturating_sub(1);
        }
        let kicked = self.kick_at.is_some_and(|at| at <= self.clock.get());
        if kicked {
            self.kick_at = None;
        }
        Woken {
            kicked,
            stopping: self.patience == 0,
        }
    }

    fn tell(&mut self, event: Event) {
        self.told.push(match event {
            Event::Begun(waiting) => format!("begun {waiting}"),
            Event::Sent { record, found, .. } => {
                let how = if found { "found" } else { "sent" };
                format!("{how} {}", unique(record))
            }
            Event::Later { record, unsure, .. } => format!("later {} {unsure}", unique(record)),
            Event::AllLater { wait, .. } => format!("all later {}", wait.as_secs()),
            Event::Dead { record, .. } => format!("dead {}", unique(record)),
            Event::Damaged(damaged) => format!("damaged {}", damaged.name),
            Event::Stopped { news, .. } => format!("stopped {news}"),
            Event::Resumed => "resumed".to_owned(),
            Event::Trouble(words) => format!("trouble {words}"),
            Event::Tidied(count) => format!("tidied {count}"),
        });
    }

    fn stop_fault(&self, stop: Stop, words: &str, waiting: usize) -> Fault {
        fault::of(stop, words, waiting, &Places::new(None))
    }

    fn report(&mut self, _: Stop, _: &Fault, _: usize) -> bool {
        self.reports += 1;
        self.report_works
    }
}

pub(super) fn unique(record: &Record) -> String {
    record.uniqueid.clone().unwrap_or_default()
}

pub(super) struct Rig {
    pub(super) _folder: tempfile::TempDir,
    pub(super) spool: Spool,
    pub(super) server: Rc<Server>,
}

/// Calls `c0`, `c1`, … of these contacts, each known to RapidPro.
pub(super) fn rig(contacts: &[u8]) -> Rig {
    // In memory where there is such a place: what the disk does is tested elsewhere.
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let folder = folder.unwrap();
    let spool = Spool::new(folder.path());
    let server = Rc::new(Server::default());
    for (index, contact) in contacts.iter().enumerate() {
        let record = record(index, *contact);
        server.know(record.number.as_deref().unwrap());
        spool.accept(&record).unwrap();
    }
    Rig {
        _folder: folder,
        spool,
        server,
    }
}

pub(super) fn record(index: usize, contact: u8) -> Record {
    let mut call = call(&format!("c{index}"));
    call.msisdn = format!("07123456{contact:02}");
    let mut now = Moment::now();
    // One after the other, whatever the clock's resolution.
    now.mono_ms = now.mono_ms - 1000 + index as u64;
    Record::new(call, "254", now)
}

impl Rig {
    pub(super) fn fates(&self, fates: &[Fate]) {
        self.server.fates.borrow_mut().extend(fates.iter().copied());
    }

    pub(super) fn run(&self, until: Until) -> (End, Play) {
        let mut play = Play::new(&self.server);
        let end = self.play(&mut play, until);
        (end, play)
    }

    pub(super) fn play(&self, play: &mut Play, until: Until) -> End {
        let held = self.spool.deliver().unwrap();
        Driver::new(&held, play, until).run()
    }

    pub(super) fn count(&self, folder: Folder) -> usize {
        self.spool.count(folder).unwrap()
    }

    /// RapidPro has each call exactly once, in the order of each contact, and so says the spool.
    #[track_caller]
    pub(super) fn all_arrived_once(&self, contacts: &[u8]) {
        let expected: Vec<String> = contacts
            .iter()
            .enumerate()
            .map(|(index, contact)| record(index, *contact).id.to_string())
            .collect();
        let starts = self.server.starts.borrow();
        let mut calls: Vec<&String> = starts.iter().map(|(call, _)| call).collect();
        for contact in contacts {
            let number = record(0, *contact).number.unwrap();
            let of: Vec<&String> = starts
                .iter()
                .filter(|(_, to)| *to == format!("uuid-{number}"))
                .map(|(call, _)| call)
                .collect();
            let wanted: Vec<&String> = expected
                .iter()
                .zip(contacts)
                .filter(|(_, of)| *of == contact)
                .map(|(id, _)| id)
                .collect();
            assert_eq!(of, wanted, "order of contact {contact}");
        }
        calls.sort();
        let mut expected: Vec<&String> = expected.iter().collect();
        expected.sort();
        assert_eq!(calls, expected);
        assert_eq!(self.count(Folder::Sent), contacts.len());
        for folder in [Folder::New, Folder::Sending, Folder::Dead, Folder::Damaged] {
            assert_eq!(self.count(folder), 0, "{folder:?}");
        }
    }
}
