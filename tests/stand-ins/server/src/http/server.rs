//! The server: one thread a connection, keep-alive, and a stop that waits for the requests
//! that are being answered.

use std::io::{BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::wire::{self, Length};
use super::{Request, Response, find_header, reason};
use crate::boot;
use crate::steer::Steering;

pub type Handler = Arc<dyn Fn(&Request) -> Response + Send + Sync>;

/// How long a connection may be silent, as in the Go services.
const IDLE_LIMIT: Duration = Duration::from_secs(30);

struct Shared {
    handler: Handler,
    steering: Arc<Steering>,
    stopping: AtomicBool,
    busy: Mutex<usize>,
    all_idle: Condvar,
}

pub struct Server {
    listener: TcpListener,
    shared: Arc<Shared>,
}

impl Server {
    /// Listen and answer from now on.
    pub fn start(
        address: impl ToSocketAddrs,
        steering: Arc<Steering>,
        handler: Handler,
    ) -> std::io::Result<Self> {
        let mut addresses: Vec<SocketAddr> = address.to_socket_addrs()?.collect();
        // A name such as localhost means its IPv4 address, as in Go.
        addresses.sort_by_key(SocketAddr::is_ipv6);
        let listener = TcpListener::bind(&addresses[..])?;
        let shared = Arc::new(Shared {
            handler,
            steering,
            stopping: AtomicBool::new(false),
            busy: Mutex::new(0),
            all_idle: Condvar::new(),
        });
        let accepting = listener.try_clone()?;
        let for_connections = shared.clone();
        boot::spawn("accept", move || accept(&accepting, &for_connections));
        Ok(Self { listener, shared })
    }

    /// Take no more connections, and return when the last running request is answered.
    pub fn stop(&self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        crate::process::stop_accepting(&self.listener);
        let busy = self.shared.busy.lock().unwrap();
        let _done = self.shared.all_idle.wait_while(busy, |busy| *busy > 0).unwrap();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                let shared = shared.clone();
                boot::spawn("connection", move || {
                    let _ = serve(&stream, &shared);
                });
            }
            Err(_) if shared.stopping.load(Ordering::SeqCst) => return,
            // No descriptors left, or a client that was gone before it was accepted.
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn serve(stream: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(IDLE_LIMIT))?;
    let mut source = BufReader::new(stream);
    loop {
        let (request, keep_alive) = match read_request(&mut source, stream) {
            Ok(Some(read)) => read,
            Ok(None) => return Ok(()),
            Err(problem) => return refuse(stream, problem.kind()),
        };
        let _busy = Busy::new(shared);
        if shared.steering.checkpoint().hang {
            hang(shared);
            return Ok(());
        }
        let response = (shared.handler)(&request);
        let keep_alive = keep_alive && !shared.stopping.load(Ordering::SeqCst);
        write_response(stream, &request, &response, keep_alive)?;
        if !keep_alive {
            return Ok(());
        }
    }
}

/// Until the control file says otherwise, or the service is told to stop.
fn hang(shared: &Shared) {
    while shared.steering.checkpoint().hang && !shared.stopping.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Counts a request for as long as it lives.
struct Busy<'a>(&'a Shared);

impl<'a> Busy<'a> {
    fn new(shared: &'a Shared) -> Self {
        *shared.busy.lock().unwrap() += 1;
        Self(shared)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let mut busy = self.0.busy.lock().unwrap();
        *busy -= 1;
        if *busy == 0 {
            self.0.all_idle.notify_all();
        }
    }
}

/// The request, and whether the connection may serve another one.
fn read_request(
    source: &mut BufReader<&TcpStream>,
    mut stream: &TcpStream,
) -> std::io::Result<Option<(Request, bool)>> {
    let Some(head) = wire::read_head(source)? else { return Ok(None) };
    let mut words = head.start.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(ErrorKind::InvalidData.into());
    };
    if !matches!(version, "HTTP/1.0" | "HTTP/1.1") || method.is_empty() {
        return Err(ErrorKind::InvalidData.into());
    }
    let header = |name| find_header(&head.headers, name);
    let connection = header("connection").to_lowercase();
    let keep_alive = match version {
        "HTTP/1.1" if header("host").is_empty() => return Err(ErrorKind::InvalidInput.into()),
        "HTTP/1.1" => !connection.contains("close"),
        _ => connection.contains("keep-alive"),
    };
    let length = if header("transfer-encoding").eq_ignore_ascii_case("chunked") {
        Length::Chunked
    } else {
        match header("content-length") {
            "" => Length::Exactly(0),
            size => Length::Exactly(size.parse().map_err(|_| ErrorKind::InvalidData)?),
        }
    };
    // curl waits a second for this before it sends a large body.
    if header("expect").eq_ignore_ascii_case("100-continue") {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let body = wire::read_body(source, &length)?;
    let request = Request {
        method: method.to_owned(),
        target: path_and_query(target),
        headers: head.headers,
        body,
    };
    Ok(Some((request, keep_alive)))
}

/// A proxy may send the whole URL.
fn path_and_query(target: &str) -> String {
    match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => {
            rest.find('/').map_or("/", |at| &rest[at..]).to_owned()
        }
        _ => target.to_owned(),
    }
}

fn refuse(mut stream: &TcpStream, problem: ErrorKind) -> std::io::Result<()> {
    let text = match problem {
        ErrorKind::InvalidData => "400 Bad Request",
        ErrorKind::InvalidInput => "400 Bad Request: missing required Host header",
        ErrorKind::FileTooLarge => "413 Request Entity Too Large",
        // Silence or a lost connection gets no answer.
        _ => return Ok(()),
    };
    write!(
        stream,
        "HTTP/1.1 {text}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n{text}"
    )
}

fn write_response(
    mut stream: &TcpStream,
    request: &Request,
    response: &Response,
    keep_alive: bool,
) -> std::io::Result<()> {
    let mut out = format!("HTTP/1.1 {} {}\r\n", response.status, reason(response.status));
    for (name, value) in &response.headers {
        out.push_str(&format!("{name}: {value}\r\n"));
    }
    // Not in the real services: lets a test see what a proxy in front made of the path.
    let path: String = request.target.chars().filter(|c| !c.is_control()).collect();
    out.push_str(&format!("X-Stand-In-Path: {path}\r\n"));
    out.push_str(&format!("Content-Length: {}\r\n", response.body.len()));
    if !keep_alive {
        out.push_str("Connection: close\r\n");
    }
    out.push_str("\r\n");
    let mut bytes = out.into_bytes();
    if request.method != "HEAD" {
        bytes.extend_from_slice(&response.body);
    }
    stream.write_all(&bytes)
}
