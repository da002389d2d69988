//! What happens before a Python stand-in's own program: the faults that concern the start,
//! the record of who answered at that moment, then the program itself in this process, so
//! that it keeps its process id. Native, because it runs at every start and may cost nothing.
//!
//!     boot SERVICE COMMAND [ARGUMENT...]
//!     su-exec USER COMMAND [ARGUMENT...]     the same file under another name
//!
//! Built by rustc alone, without cargo: standard library only.

mod process;
mod record;
mod steering;
mod user;

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MISUSE: i32 = 64;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let name = Path::new(&arguments[0]).file_name().unwrap_or_default();
    if name == "su-exec" {
        let [_, user, command @ ..] = arguments.as_slice() else { usage() };
        user::exec_as(user, command);
    }
    match arguments.get(1).map(String::as_str) {
        Some(record::FLAG) => record::write(&arguments[2..]),
        Some(service) if arguments.len() > 2 => boot(service, &arguments[2..]),
        _ => usage(),
    }
}

fn boot(service: &str, command: &[String]) -> ! {
    let steering = steering::from_environment().unwrap_or_else(|problem| misuse(&problem));
    let booted_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let recorder = record::start(service, booted_at);

    if let Some(code) = steering.exit_code {
        println!("{}", steering::last_words(service));
        process::wait_for(recorder);
        std::process::exit(code);
    }
    if steering.never_ready {
        process::sleep_until_told(None);
    }
    if steering.boot_seconds > 0.0 {
        process::sleep_until_told(Some(Duration::from_secs_f64(steering.boot_seconds)));
    }
    process::exec(
        command,
        &[("OOY_BOOTED_AT_MS", booted_at.to_string()), ("OOY_RECORDER", recorder.to_string())],
    )
}

fn usage() -> ! {
    misuse("usage: boot SERVICE COMMAND [ARGUMENT...]  or  su-exec USER COMMAND [ARGUMENT...]")
}

fn misuse(problem: &str) -> ! {
    eprintln!("stand-in: {problem}");
    std::process::exit(MISUSE)
}
