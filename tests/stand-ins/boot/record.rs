//! One line on stdout that says which of the deployment's services took connections at the
//! moment this one started: the evidence for tests of the order of start.

use std::net::{TcpStream, ToSocketAddrs};
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

pub const FLAG: &str = "--record";

const TARGETS: [(&str, u16); 6] = [
    ("elasticsearch", 9200),
    ("courier", 8080),
    ("mailroom", 8090),
    ("rapidpro", 8000),
    ("casepro", 8000),
    ("contentrepo", 8000),
];

/// Docker's name server takes long over the name of a container that does not run.
const PATIENCE: Duration = Duration::from_millis(500);

/// In a child, so that the start does not wait for it. Whatever is started afterwards in
/// this process reaps it (OOY_RECORDER).
pub fn start(service: &str, booted_at: u128) -> u32 {
    let first_process = std::process::id() == 1;
    Command::new("/proc/self/exe")
        .args([FLAG, service, &first_process.to_string(), &booted_at.to_string()])
        .env_clear()
        .spawn()
        .map_or(0, |child| child.id())
}

pub fn write(arguments: &[String]) -> ! {
    let [service, first_process, booted_at] = arguments else { std::process::exit(64) };
    let (answer, answers) = mpsc::channel();
    for (index, target) in TARGETS.into_iter().enumerate() {
        // Not itself: that could only be another container of the same service.
        if target.0 == service {
            continue;
        }
        let answer = answer.clone();
        std::thread::spawn(move || {
            let _ = answer.send((index, accepts(target)));
        });
    }
    let deadline = Instant::now() + PATIENCE;
    let mut found = [false; TARGETS.len()];
    drop(answer);
    for _ in TARGETS {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok((index, accepted)) = answers.recv_timeout(left) else { break };
        found[index] = accepted;
    }
    let list: Vec<String> =
        TARGETS.iter().zip(found).map(|((name, _), up)| format!("\"{name}\":{up}")).collect();
    println!(
        "{{\"stand_in\":\"{service}\",\"pid1\":{first_process},\"booted_at_ms\":{booted_at},\"answers\":{{{}}}}}",
        list.join(",")
    );
    // Threads may still wait for a name; they end with the process.
    std::process::exit(0)
}

fn accepts(target: (&str, u16)) -> bool {
    let Ok(mut addresses) = target.to_socket_addrs() else { return false };
    addresses.any(|address| TcpStream::connect_timeout(&address, PATIENCE).is_ok())
}
