//! Whoever is to be told, and may be away.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::harness::until;
use crate::http::Request;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mood {
    Answering,
    /// Nobody listens.
    Down,
    /// Connections are taken and never answered.
    Hanging,
}

/// Whoever is to be told: a webhook, or Sentry.
pub struct Receiver {
    pub address: SocketAddr,
    mood: Arc<AtomicU8>,
    present: Arc<AtomicU8>,
    received: Arc<Mutex<Vec<Vec<u8>>>>,
    /// What it has read and not answered.
    swallowed: Arc<Mutex<Vec<Vec<u8>>>>,
    mistakes: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let receiver = Self {
            address,
            mood: Arc::new(AtomicU8::new(Mood::Answering as u8)),
            present: Arc::new(AtomicU8::new(Mood::Answering as u8)),
            received: Arc::default(),
            swallowed: Arc::default(),
            mistakes: Arc::default(),
        };
        let (mood, present) = (Arc::clone(&receiver.mood), Arc::clone(&receiver.present));
        let (received, mistakes) = (
            Arc::clone(&receiver.received),
            Arc::clone(&receiver.mistakes),
        );
        let swallowed = Arc::clone(&receiver.swallowed);
        std::thread::spawn(move || {
            let mut listener = Some(listener);
            let mut hanging: Vec<TcpStream> = Vec::new();
            loop {
                let now = mood.load(Ordering::SeqCst);
                if now == Mood::Down as u8 {
                    listener = None;
                } else if listener.is_none() {
                    listener = Some(TcpListener::bind(address).unwrap());
                }
                if now != Mood::Hanging as u8 {
                    hanging.clear();
                }
                present.store(now, Ordering::SeqCst);
                if let Some(listener) = &listener {
                    listener.set_nonblocking(true).unwrap();
                    while let Ok((stream, _)) = listener.accept() {
                        let answers = now != Mood::Hanging as u8;
                        let kept = if answers { &received } else { &swallowed };
                        match take(stream, kept, answers) {
                            Ok(Some(open)) => hanging.push(open),
                            Ok(None) => {}
                            Err(why) => mistakes.lock().unwrap().push(why),
                        }
                    }
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        receiver
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn be(&self, mood: Mood) {
        self.mood.store(mood as u8, Ordering::SeqCst);
        until(
            "the receiver's mood changes",
            Duration::from_secs(5),
            || self.present.load(Ordering::SeqCst) == mood as u8,
        );
    }

    pub fn mistakes(&self) -> Vec<String> {
        self.mistakes.lock().unwrap().clone()
    }

    /// Ids of what it has taken and never answered.
    pub fn swallowed(&self) -> Vec<Value> {
        ids(&self.swallowed)
    }

    /// Ids of what it has answered, in their order.
    pub fn answered(&self) -> Vec<Value> {
        ids(&self.received)
    }

    /// What a webhook was told. A watch that was killed before it had the answer tells it again,
    /// under the same id.
    fn notices(&self) -> Vec<Value> {
        let received = self.received.lock().unwrap();
        let mut known = BTreeSet::new();
        received
            .iter()
            .map(|body| serde_json::from_slice::<Value>(body).unwrap())
            .filter(|notice| known.insert(notice["id"].as_str().unwrap().to_owned()))
            .collect()
    }

    /// Events about that code, in their order.
    pub fn events(&self, code: &str) -> Vec<String> {
        self.about(code, None)
    }

    /// The same about one service.
    pub fn events_of(&self, code: &str, service: &str) -> Vec<String> {
        self.about(code, Some(service))
    }

    fn about(&self, code: &str, service: Option<&str>) -> Vec<String> {
        self.notices()
            .iter()
            .filter(|notice| notice["finding"]["code"] == code)
            .filter(|notice| service.is_none_or(|service| notice["finding"]["service"] == service))
            .map(|notice| notice["event"].as_str().unwrap().to_owned())
            .collect()
    }

    pub fn notice(&self, code: &str, event: &str) -> Value {
        self.notices()
            .into_iter()
            .find(|notice| notice["finding"]["code"] == code && notice["event"] == event)
            .unwrap()
    }

    /// What Sentry was told about that code.
    pub fn reports(&self, code: &str) -> Vec<Value> {
        let received = self.received.lock().unwrap();
        received
            .iter()
            .map(|body| {
                let text = String::from_utf8_lossy(body).into_owned();
                serde_json::from_str::<Value>(text.lines().nth(2).unwrap()).unwrap()
            })
            .filter(|report| report["tags"]["code"] == code)
            .collect()
    }
}

fn ids(bodies: &Mutex<Vec<Vec<u8>>>) -> Vec<Value> {
    let bodies = bodies.lock().unwrap();
    bodies
        .iter()
        .map(|body| serde_json::from_slice::<Value>(body).unwrap()["id"].clone())
        .collect()
}

/// Reads a request; the connection, where it is to stay open without an answer.
fn take(
    mut stream: TcpStream,
    kept: &Mutex<Vec<Vec<u8>>>,
    answers: bool,
) -> Result<Option<TcpStream>, String> {
    stream.set_nonblocking(false).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let mut bytes = Vec::new();
    let mut buffer = [0; 16384];
    loop {
        if let Some(request) = Request::take(&mut bytes) {
            if request.method != "POST" {
                return Err(format!("{} {}", request.method, request.target));
            }
            kept.lock().unwrap().push(request.body);
            if !answers {
                return Ok(Some(stream));
            }
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
            return Ok(None);
        }
        match stream.read(&mut buffer) {
            // A watch that was killed in the middle of a request.
            Ok(0) | Err(_) => return Ok(None),
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}
