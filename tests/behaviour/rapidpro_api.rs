//! RapidPro's API v2 as far as finished calls need it: in this process, strict, quick, and able
//! to misbehave. What it answers is stack.md section 5, as tests/stand-ins/rapidpro has it; that
//! one is the real Django application and takes milliseconds a request, which a thousand crashes
//! have no time for.
//!
//! One thread answers everything in the order in which connections were made: what a killed
//! process had sent completely is done before anything that a later process asks.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::harness::until;
use crate::http::{Request, http_date};

pub const TOKEN: &str = "0123456789abcdef0123456789abcdef01234567";
pub const FLOW: &str = "ecb4b3f1-7b4d-4d8e-9d3a-5a1f3ba7c001";
const PAGE: usize = 250;

/// A flow start that RapidPro has taken.
#[derive(Debug, Clone)]
pub struct Start {
    pub id: usize,
    pub contact: String,
    pub params: Value,
    created_on: Timestamp,
}

impl Start {
    pub fn param(&self, name: &str) -> &str {
        self.params[name].as_str().unwrap_or_default()
    }

    fn as_json(&self) -> Value {
        json!({
            "id": self.id,
            "uuid": uuid("start", self.id),
            "flow": {"uuid": FLOW, "name": "Hotline call"},
            "status": "pending",
            "groups": [],
            "contacts": [{"uuid": self.contact, "name": null}],
            "restart_participants": true,
            "exclude_active": false,
            "extra": self.params,
            "params": self.params,
            "created_on": moment(self.created_on),
            "modified_on": moment(self.created_on),
        })
    }
}

/// What it does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mood {
    Answering,
    /// Nobody listens.
    Down,
    /// Connections are taken and never answered.
    Hanging,
    Ending,
}

#[derive(Default)]
struct State {
    /// URN → uuid.
    contacts: BTreeMap<String, String>,
    starts: Vec<Start>,
    /// Requests that no client which knows the contract makes.
    mistakes: Vec<String>,
}

pub struct Api {
    address: SocketAddr,
    mood: Arc<AtomicU8>,
    /// The mood that the thread has taken on.
    present: Arc<AtomicU8>,
    state: Arc<Mutex<State>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Api {
    pub fn new(host: IpAddr) -> Self {
        let listener = TcpListener::bind((host, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let mood = Arc::new(AtomicU8::new(Mood::Answering as u8));
        let present = Arc::new(AtomicU8::new(Mood::Answering as u8));
        let state = Arc::new(Mutex::new(State::default()));
        let mut server = Server {
            address,
            listener: Some(listener),
            connections: Vec::new(),
            mood: mood.clone(),
            present: present.clone(),
            state: state.clone(),
        };
        Self {
            address,
            mood,
            present,
            state,
            thread: Some(std::thread::spawn(move || server.run())),
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns when it is so.
    pub fn be(&self, mood: Mood) {
        self.mood.store(mood as u8, Ordering::SeqCst);
        until("the server's mood changes", Duration::from_secs(5), || {
            self.present.load(Ordering::SeqCst) == mood as u8
        });
    }

    pub fn add_contact(&self, urns: &[&str]) {
        let mut state = self.state();
        let uuid = uuid("contact", state.contacts.len());
        for urn in urns {
            state.contacts.insert((*urn).to_owned(), uuid.clone());
        }
    }

    pub fn contact(&self, urn: &str) -> Option<String> {
        self.state().contacts.get(urn).cloned()
    }

    pub fn starts(&self) -> Vec<Start> {
        self.state().starts.clone()
    }

    #[track_caller]
    pub fn assert_no_mistakes(&self) {
        assert_eq!(self.state().mistakes, [] as [String; 0]);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.mood.store(Mood::Ending as u8, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

struct Server {
    address: SocketAddr,
    listener: Option<TcpListener>,
    /// In the order in which they were made.
    connections: Vec<Connection>,
    mood: Arc<AtomicU8>,
    present: Arc<AtomicU8>,
    state: Arc<Mutex<State>>,
}

impl Server {
    fn run(&mut self) {
        loop {
            let mood = self.mood.load(Ordering::SeqCst);
            if mood == Mood::Ending as u8 {
                return;
            }
            if mood == Mood::Down as u8 {
                self.listener = None;
                self.connections.clear();
            } else if self.listener.is_none() {
                self.listener = Some(TcpListener::bind(self.address).unwrap());
            }
            self.present.store(mood, Ordering::SeqCst);
            self.wait();
            self.accept();
            if mood == Mood::Hanging as u8 {
                continue;
            }
            let state = self.state.clone();
            self.connections
                .retain_mut(|connection| connection.serve(&state));
        }
    }

    /// Until somebody wants something, or for a moment: the mood may have changed.
    fn wait(&self) {
        let descriptors = self.listener.iter().map(AsRawFd::as_raw_fd);
        // One that hangs has nothing to do with what arrives.
        let connections = (self.mood.load(Ordering::SeqCst) != Mood::Hanging as u8)
            .then_some(&self.connections)
            .into_iter()
            .flatten()
            .map(|connection| connection.stream.as_raw_fd());
        let mut polled: Vec<libc::pollfd> = descriptors
            .chain(connections)
            .map(|fd| libc::pollfd {
                fd,
                events: libc::POLLIN,
                revents: 0,
            })
            .collect();
        // SAFETY: the array lives as long as the call.
        unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, 10) };
    }

    fn accept(&mut self) {
        let Some(listener) = &self.listener else {
            return;
        };
        listener.set_nonblocking(true).unwrap();
        while let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(true).unwrap();
            stream.set_nodelay(true).unwrap();
            self.connections.push(Connection {
                stream,
                received: Vec::new(),
            });
        }
    }
}

impl Connection {
    /// Whether it stays open.
    fn serve(&mut self, state: &Mutex<State>) -> bool {
        let mut open = true;
        let mut buffer = [0; 16384];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => open = false,
                Ok(count) => {
                    self.received.extend_from_slice(&buffer[..count]);
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => open = false,
            }
            break;
        }
        // Also after its end: what was sent completely counts, as it does for any server.
        while let Some(request) = Request::take(&mut self.received) {
            let mut state = state.lock().unwrap();
            let (status, body) = state.answer(&request);
            drop(state);
            let body = body.to_string();
            let answer = format!(
                "HTTP/1.1 {status}\r\nDate: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                http_date(Timestamp::now()),
                body.len()
            );
            self.stream.set_nonblocking(false).unwrap();
            open &= self.stream.write_all(answer.as_bytes()).is_ok();
            self.stream.set_nonblocking(true).unwrap();
        }
        open
    }
}

type Answer = (&'static str, Value);
const BAD: &str = "400 Bad Request";

impl State {
    fn answer(&mut self, request: &Request) -> Answer {
        let path = request.target.split('?').next().unwrap_or_default();
        if request.header("authorization") != format!("Token {TOKEN}") {
            return ("403 Forbidden", json!({"detail": "Invalid token"}));
        }
        let body = if request.method == "POST" {
            if request.header("content-type") != "application/json" {
                return self.mistake("415 Unsupported Media Type", "media type", request);
            }
            match serde_json::from_slice::<Value>(&request.body) {
                Ok(Value::Object(body)) => Value::Object(body),
                _ => return self.mistake(BAD, "body", request),
            }
        } else {
            Value::Null
        };
        match (request.method.as_str(), path) {
            ("POST", "/api/v2/flow_starts.json") => self.start(&body, request),
            ("GET", "/api/v2/flow_starts.json") => self.starts(request),
            ("POST", "/api/v2/contacts.json") => self.create(&body, request),
            ("GET", "/api/v2/contacts.json") => match request.parameter("urn") {
                Some(urn) if urn.contains(':') => {
                    let found = self.contacts.get(&urn).map(|uuid| self.contact(uuid));
                    let results: Vec<Value> = found.into_iter().collect();
                    (
                        "200 OK",
                        json!({"next": null, "previous": null, "results": results}),
                    )
                }
                _ => self.mistake(BAD, "urn", request),
            },
            _ => self.mistake("404 Not Found", "endpoint", request),
        }
    }

    fn mistake(&mut self, status: &'static str, what: &str, request: &Request) -> Answer {
        self.mistakes
            .push(format!("{} {}: {what}", request.method, request.target));
        (status, json!({"detail": format!("wrong {what}")}))
    }

    fn start(&mut self, body: &Value, request: &Request) -> Answer {
        if body["flow"] != FLOW {
            let flow = body["flow"].as_str().unwrap_or_default();
            return (BAD, json!({"flow": [format!("No such object: {flow}")]}));
        }
        let (Some([reference]), Value::Object(params)) = (
            body["contacts"].as_array().map(Vec::as_slice),
            &body["params"],
        ) else {
            return self.mistake(BAD, "one contact and params", request);
        };
        let reference = reference.as_str().unwrap_or_default();
        let known = match self.contacts.get(reference) {
            Some(uuid) => Some(uuid.clone()),
            None => self
                .contacts
                .values()
                .find(|uuid| *uuid == reference)
                .cloned(),
        };
        let Some(contact) = known else {
            return (
                BAD,
                json!({"contacts": [format!("No such object: {reference}")]}),
            );
        };
        let start = Start {
            id: self.starts.len() + 1,
            contact,
            params: Value::Object(params.clone()),
            created_on: Timestamp::now(),
        };
        let answer = start.as_json();
        self.starts.push(start);
        ("201 Created", answer)
    }

    /// The newest first, in pages.
    fn starts(&self, request: &Request) -> Answer {
        let skip: usize = request
            .parameter("cursor")
            .and_then(|cursor| cursor.parse().ok())
            .unwrap_or(0);
        let bound = |name: &str| {
            request
                .parameter(name)
                .and_then(|text| text.parse::<Timestamp>().ok())
        };
        let (after, before) = (bound("after"), bound("before"));
        let found: Vec<&Start> = self
            .starts
            .iter()
            .rev()
            .filter(|start| after.is_none_or(|after| start.created_on >= after))
            .filter(|start| before.is_none_or(|before| start.created_on <= before))
            .collect();
        let page: Vec<Value> = found
            .iter()
            .skip(skip)
            .take(PAGE)
            .map(|start| start.as_json())
            .collect();
        let next = (found.len() > skip + PAGE).then(|| {
            let path = request.target.split('?').next().unwrap_or_default();
            let mut next = format!(
                "http://{}{path}?cursor={}",
                request.header("host"),
                skip + PAGE
            );
            for name in ["after", "before"] {
                if let Some(value) = bound(name) {
                    next += &format!("&{name}={value}");
                }
            }
            next
        });
        (
            "200 OK",
            json!({"next": next, "previous": null, "results": page}),
        )
    }

    fn create(&mut self, body: &Value, request: &Request) -> Answer {
        let urns: Vec<&str> = body["urns"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        if urns.is_empty() {
            return self.mistake(BAD, "urns", request);
        }
        for (index, urn) in urns.iter().enumerate() {
            let valid = match urn.split_once(':') {
                Some(("tel", number)) => number
                    .strip_prefix('+')
                    .is_some_and(|digits| (8..=15).contains(&digits.len()) && all_digits(digits)),
                Some(("whatsapp", number)) => all_digits(number),
                _ => false,
            };
            if !valid {
                let text =
                    format!("Invalid URN: {urn}. Ensure phone numbers contain country codes.");
                return (BAD, json!({"urns": {index.to_string(): [text]}}));
            }
            if self.contacts.contains_key(*urn) {
                return (
                    BAD,
                    json!({"urns": [format!("URN belongs to another contact: {urn}")]}),
                );
            }
        }
        let uuid = uuid("contact", self.contacts.len());
        for urn in urns {
            self.contacts.insert(urn.to_owned(), uuid.clone());
        }
        ("201 Created", self.contact(&uuid))
    }

    fn contact(&self, uuid: &str) -> Value {
        let urns: Vec<&String> = self
            .contacts
            .iter()
            .filter(|(_, owner)| *owner == uuid)
            .map(|(urn, _)| urn)
            .collect();
        let now = moment(Timestamp::now());
        json!({
            "uuid": uuid, "name": null, "language": null, "urns": urns, "groups": [], "fields": {},
            "blocked": false, "stopped": false, "created_on": now, "modified_on": now, "last_seen_on": null,
        })
    }
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn uuid(kind: &str, number: usize) -> String {
    let kind = if kind == "start" { 0xa } else { 0xb };
    format!("{kind:08x}-0000-4000-8000-{number:012x}")
}

fn moment(timestamp: Timestamp) -> String {
    timestamp.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}
