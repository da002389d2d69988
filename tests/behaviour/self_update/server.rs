//! A web server over a folder of releases, which misbehaves where it is told to.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::http::Request;

/// How a file is served.
#[derive(Clone)]
pub enum Manner {
    /// With this status, and no file.
    Status(u16),
    /// By sending whoever asks elsewhere.
    Redirect(String),
    /// By a page for people, as a log-in is.
    Page,
    /// So many bytes of it, then the connection is closed.
    Stops(usize),
    /// So many bytes of it, then nothing any more.
    Stalls(usize),
    /// Bit by bit.
    Slowly,
    /// These bytes instead, without saying how many.
    Bytes(Vec<u8>),
    /// Without an end.
    Endless,
    /// Nothing at all: not even the head.
    Mute,
}

pub struct Server {
    port: u16,
    manners: Arc<Mutex<BTreeMap<String, Manner>>>,
    asked: Arc<Asked>,
}

/// What was asked for so far, and word of it.
#[derive(Default)]
struct Asked {
    paths: Mutex<Vec<String>>,
    news: Condvar,
}

impl Server {
    /// Serves the folder, until the test ends.
    pub fn of(folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            manners: Arc::default(),
            asked: Arc::default(),
        };
        let (manners, asked) = (Arc::clone(&server.manners), Arc::clone(&server.asked));
        let folder = folder.to_owned();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (folder, manners) = (folder.clone(), Arc::clone(&manners));
                let asked = Arc::clone(&asked);
                std::thread::spawn(move || {
                    // Whoever is asked to wait for ever goes away some time.
                    let _ = answer(&mut stream.unwrap(), &folder, &manners, &asked);
                });
            }
        });
        server
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn behave(&self, path: &str, manner: Manner) {
        self.manners.lock().unwrap().insert(path.to_owned(), manner);
    }

    /// What was asked for so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.paths.lock().unwrap().clone()
    }

    /// Waits until that was asked for.
    pub fn is_asked_for(&self, path: &str) {
        let paths = self.asked.paths.lock().unwrap();
        let not_yet = |paths: &mut Vec<String>| !paths.iter().any(|it| it == path);
        drop(self.asked.news.wait_while(paths, not_yet).unwrap());
    }
}

fn answer(
    stream: &mut TcpStream,
    folder: &Path,
    manners: &Mutex<BTreeMap<String, Manner>>,
    asked: &Asked,
) -> std::io::Result<()> {
    let mut received = Vec::new();
    let request = loop {
        let mut part = [0; 4096];
        match stream.read(&mut part)? {
            0 => return Ok(()),
            count => received.extend_from_slice(&part[..count]),
        }
        if let Some(request) = Request::take(&mut received) {
            break request;
        }
    };
    let path = request.target.clone();
    asked.paths.lock().unwrap().push(path.clone());
    asked.news.notify_all();
    let manner = manners.lock().unwrap().get(&path).cloned();
    let file: PathBuf = folder.join(path.trim_start_matches('/'));
    let bytes = std::fs::read(file);
    let (bytes, manner) = match (bytes, manner) {
        (Err(_), None) => (Vec::new(), Some(Manner::Status(404))),
        (bytes, manner) => (bytes.unwrap_or_default(), manner),
    };
    let mut say = |bytes: &[u8]| stream.write_all(bytes).and_then(|()| stream.flush());
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nContent-Type: application/octet-stream\r\nConnection: close\r\n\r\n",
        bytes.len()
    );
    match manner {
        None => {
            say(head.as_bytes())?;
            say(&bytes)
        }
        Some(Manner::Status(status)) => say(format!(
            "HTTP/1.1 {status} As Told\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        .as_bytes()),
        Some(Manner::Redirect(to)) => say(format!(
            "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        .as_bytes()),
        Some(Manner::Page) => say(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nConnection: close\r\n\r\n\
            <!DOCTYPE html>\n<html><head><title>Hotel \x1b[31mWi-Fi</title></head><body>Log in</body></html>",
        ),
        Some(Manner::Stops(count)) => {
            say(head.as_bytes())?;
            say(&bytes[..count])
        }
        Some(Manner::Stalls(count)) => {
            say(head.as_bytes())?;
            say(&bytes[..count])?;
            gone(stream)
        }
        Some(Manner::Slowly) => {
            say(head.as_bytes())?;
            for part in bytes.chunks(bytes.len() / 20 + 1) {
                say(part)?;
                std::thread::sleep(Duration::from_millis(100));
            }
            Ok(())
        }
        Some(Manner::Bytes(bytes)) => {
            say(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            say(&bytes)
        }
        Some(Manner::Endless) => {
            say(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            say(&bytes)?;
            loop {
                say(&[b'\n'; 64 * 1024])?;
            }
        }
        Some(Manner::Mute) => gone(stream),
    }
}

/// Waits until the other side has had enough.
fn gone(stream: &mut TcpStream) -> std::io::Result<()> {
    while stream.read(&mut [0; 1024])? > 0 {}
    Ok(())
}
