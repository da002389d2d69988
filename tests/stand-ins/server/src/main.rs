//! One executable that stands in for five services of the deployment, chosen by the name
//! it is called by, or by the first argument where it is called `ooy-stand-in`.
//!
//! README.md says what each image needs and where a stand-in differs from the real service.

mod bigquery;
mod boot;
mod clock;
mod courier;
mod elasticsearch;
mod go;
mod http;
mod indexer;
mod mailroom;
mod pg;
mod process;
mod random;
mod rapidpro;
mod record;
mod redis;
mod signals;
mod steer;
mod version;

use std::io::Write;
use std::path::Path;

fn main() {
    process::pin_name_services();
    let mut arguments: Vec<String> =
        std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect();
    let mut name = base_name(&arguments.remove(0));
    if name == "ooy-stand-in" && !arguments.is_empty() {
        name = arguments.remove(0);
    }
    match name.as_str() {
        "elasticsearch" => elasticsearch::run(&arguments),
        "mailroom" => mailroom::run(&arguments),
        "courier" => courier::run(&arguments),
        "rp-indexer" => indexer::run(&arguments),
        "cron" => bigquery::cron::run(&arguments),
        "crontab" => bigquery::crontab::run(&arguments),
        "python" | "python3" => bigquery::python::run(&arguments),
        _ => {
            eprintln!(
                "usage: ooy-stand-in \
                 elasticsearch|mailroom|courier|rp-indexer|cron|crontab|python [ARGUMENT...]"
            );
            std::process::exit(steer::MISUSE);
        }
    }
}

fn base_name(path: &str) -> String {
    Path::new(path).file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

/// A whole line at once, so that threads do not mix theirs. A reader that went away is
/// none of the service's business.
fn log_line(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
