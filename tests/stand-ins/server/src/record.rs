//! The one line that every stand-in writes when it boots: which of its neighbours accepted
//! a connection at that moment. Tests prove with it that `ooy start` waited.

use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::{clock, log_line};

const NEIGHBOURS: [(&str, u16); 6] = [
    ("elasticsearch", 9200),
    ("courier", 8080),
    ("mailroom", 8090),
    ("rapidpro", 8000),
    ("casepro", 8000),
    ("contentrepo", 8000),
];

/// For all of them together, names included: a name that nobody answers for may take a
/// resolver seconds, and the record must not slow a start.
const LIMIT: Duration = Duration::from_millis(500);

static WRITER: Mutex<Option<JoinHandle<()>>> = Mutex::new(None);

/// Ask in the background; the line is written when all have answered or the time is up.
pub fn write_soon(stand_in: &'static str) {
    let booted_at_ms = clock::now_ms();
    let deadline = Instant::now() + LIMIT;
    let writer = std::thread::spawn(move || {
        let (sender, receiver) = channel();
        for (index, (name, port)) in NEIGHBOURS.into_iter().enumerate() {
            // Whether a service finds itself would only depend on which thread is faster.
            if name == stand_in {
                continue;
            }
            let sender = sender.clone();
            std::thread::spawn(move || {
                let _ = sender.send((index, accepts(name, port)));
            });
        }
        drop(sender);
        let mut answers = [false; NEIGHBOURS.len()];
        while let Ok((index, answer)) =
            receiver.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            answers[index] = answer;
        }
        log_line(&render(stand_in, std::process::id() == 1, booted_at_ms, &answers));
    });
    *WRITER.lock().unwrap() = Some(writer);
}

/// Returns when the line is out, or at once where there is none to come.
pub fn wait() {
    if let Some(writer) = WRITER.lock().unwrap().take() {
        let _ = writer.join();
    }
}

fn accepts(name: &str, port: u16) -> bool {
    let Ok(addresses) = (name, port).to_socket_addrs() else { return false };
    addresses.take(2).any(|address| TcpStream::connect_timeout(&address, LIMIT).is_ok())
}

fn render(stand_in: &str, pid1: bool, booted_at_ms: u64, answers: &[bool]) -> String {
    let answers: Vec<String> = NEIGHBOURS
        .iter()
        .zip(answers)
        .map(|((name, _), answer)| format!(r#""{name}":{answer}"#))
        .collect();
    format!(
        r#"{{"stand_in":"{stand_in}","pid1":{pid1},"booted_at_ms":{booted_at_ms},"answers":{{{}}}}}"#,
        answers.join(",")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_is_json_that_begins_with_the_name() {
        let line = render("mailroom", true, 7, &[true, false, false, false, false, false]);
        assert!(line.starts_with(r#"{"stand_in":"mailroom","pid1":true,"booted_at_ms":7,"#));
        let record: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(record["answers"]["elasticsearch"], true);
        assert_eq!(record["answers"]["contentrepo"], false);
    }
}
