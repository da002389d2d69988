//! Between `ooy` and RapidPro, as nginx is: passes requests on to the real API, adds the time to
//! answers, and loses, garbles or holds back what a test wants.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What becomes of a flow start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// It is passed on; the answer never comes.
    AnswerHangs,
    /// It is passed on; the connection ends instead of an answer.
    AnswerLost,
    /// It is passed on; the answer ends in the middle.
    AnswerCut,
    /// It is passed on; something else comes back.
    AnswerGarbled,
    /// It is passed on; 200 and a page come back.
    AnswerReplaced,
    /// It is passed on; 500 comes back.
    AnswerFails,
    /// It is passed on and the answer comes a byte at a time, for longer than anybody waits.
    AnswerDrips,
    /// It is not passed on; the answer never comes.
    Mute,
    /// It is not passed on; the connection ends.
    Closed,
    /// It is not passed on; 502 comes back, as from nginx.
    BadGateway,
    /// It is not passed on; too many requests, wait a second.
    Throttled,
}

/// All that lose or hide an answer, or do not let the request through, and pass by themselves.
pub const PASSING: &[Mishap] = &[
    Mishap::AnswerHangs,
    Mishap::AnswerLost,
    Mishap::AnswerCut,
    Mishap::AnswerGarbled,
    Mishap::AnswerReplaced,
    Mishap::AnswerFails,
    Mishap::AnswerDrips,
    Mishap::Mute,
    Mishap::Closed,
    Mishap::BadGateway,
    Mishap::Throttled,
];

#[derive(Default)]
struct State {
    mishaps: Mutex<VecDeque<Mishap>>,
    /// Answered to everything, whole, while it is set.
    instead: Mutex<Option<String>>,
    starts: AtomicUsize,
    connections: AtomicUsize,
}

/// See the module.
pub struct Between {
    pub address: SocketAddr,
    state: Arc<State>,
}

impl Between {
    pub fn new(upstream: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (upstream, state) = (upstream.clone(), Arc::clone(&shared));
                state.connections.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || converse(stream.unwrap(), &upstream, &state));
            }
        });
        Self { address, state }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What the next flow starts meet, one after the other.
    pub fn mishaps(&self, mishaps: &[Mishap]) {
        self.state.mishaps.lock().unwrap().extend(mishaps);
    }

    /// This is answered to everything, or not any more.
    pub fn instead(&self, answer: Option<&str>) {
        *self.state.instead.lock().unwrap() = answer.map(str::to_owned);
    }

    /// How many flow starts have come.
    pub fn starts(&self) -> usize {
        self.state.starts.load(Ordering::SeqCst)
    }

    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }
}

fn converse(mut client: TcpStream, upstream: &str, state: &State) {
    while let Some(request) = read_message(&mut client) {
        let is_start = request.starts_with(b"POST /api/v2/flow_starts.json ");
        if is_start {
            state.starts.fetch_add(1, Ordering::SeqCst);
        }
        let instead = state.instead.lock().unwrap().clone();
        if let Some(answer) = instead {
            let _ = client.write_all(answer.as_bytes());
            return;
        }
        let mishap = match is_start {
            true => state.mishaps.lock().unwrap().pop_front(),
            false => None,
        };
        match mishap {
            Some(Mishap::Mute) => return hang(client),
            Some(Mishap::Closed) => return,
            Some(Mishap::BadGateway) => {
                let _ = client.write_all(plain("502 Bad Gateway", "<html>").as_bytes());
                continue;
            }
            Some(Mishap::Throttled) => {
                let body = r#"{"detail":"Request was throttled. Expected available in 1 second."}"#;
                let answer = plain("429 Too Many Requests\r\nRetry-After: 1", body);
                let _ = client.write_all(answer.as_bytes());
                continue;
            }
            _ => {}
        }
        let answer = ask(upstream, &request);
        match mishap {
            Some(Mishap::AnswerHangs) => return hang(client),
            Some(Mishap::AnswerLost) => return,
            Some(Mishap::AnswerCut) => {
                let _ = client.write_all(&answer[..answer.len() - 40]);
                return;
            }
            Some(Mishap::AnswerGarbled) => {
                let _ = client.write_all(b"\x00\xffnot what was asked for\r\n\r\n");
                return;
            }
            Some(Mishap::AnswerReplaced) => {
                let _ = client.write_all(plain("200 OK", "<html>welcome</html>").as_bytes());
            }
            Some(Mishap::AnswerFails) => {
                let words = "Server Error. Site administrators have been notified.";
                let answer = plain("500 Internal Server Error", words);
                let _ = client.write_all(answer.as_bytes());
            }
            Some(Mishap::AnswerDrips) => {
                for byte in answer {
                    std::thread::sleep(Duration::from_millis(200));
                    if client.write_all(&[byte]).is_err() {
                        return;
                    }
                }
            }
            _ => {
                if client.write_all(&answer).is_err() {
                    return;
                }
            }
        }
    }
}

/// Until the other side has had enough.
fn hang(mut client: TcpStream) {
    let _ = client.read(&mut [0]);
}

pub fn plain(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Head and body by its Content-Length.
fn read_message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        bytes.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&bytes).to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    bytes.extend(body);
    Some(bytes)
}

/// The real API's answer, with its length and the time.
fn ask(upstream: &str, request: &[u8]) -> Vec<u8> {
    let end = request
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    let head = String::from_utf8_lossy(&request[..end]);
    let lines: Vec<&str> = head
        .split("\r\n")
        .filter(|line| {
            let line = line.to_lowercase();
            !line.starts_with("host:") && !line.starts_with("connection:")
        })
        .collect();
    let mut stream = TcpStream::connect(upstream).unwrap();
    let head = lines.join("\r\n") + "\r\nHost: rapidpro\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&request[end + 4..]).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&answer)));
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let body = &answer[end + 4..];
    let kept: Vec<&str> = head
        .split("\r\n")
        .filter(|line| {
            let line = line.to_lowercase();
            !["connection:", "content-length:", "transfer-encoding:"]
                .iter()
                .any(|name| line.starts_with(name))
        })
        .collect();
    let date = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT");
    let length = body.len();
    let head = format!(
        "{}\r\nDate: {date}\r\nContent-Length: {length}\r\n\r\n",
        kept.join("\r\n")
    );
    [head.as_bytes(), body].concat()
}
