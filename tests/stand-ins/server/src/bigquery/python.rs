//! `python SCRIPT` for the two scripts of the image. They are built in; the files have to
//! exist all the same, as the real interpreter needs them.

use std::path::Path;

use super::etl;
use crate::{clock, process};

pub fn run(arguments: &[String]) -> ! {
    std::process::exit(act(arguments))
}

fn act(arguments: &[String]) -> i32 {
    let mut words = arguments.iter().map(String::as_str).peekable();
    while words.next_if(|word| *word == "-u").is_some() {}
    let Some(script) = words.next() else {
        eprintln!("ooy-stand-in: only `python [-u] SCRIPT` is stood in for");
        return 2;
    };
    if matches!(script, "-V" | "--version") {
        println!("Python 3.8.1");
        return 0;
    }
    if script.starts_with('-') {
        eprintln!("ooy-stand-in: only `python [-u] SCRIPT` is stood in for, not {script}");
        return 2;
    }
    if !Path::new(script).is_file() {
        eprintln!(
            "/usr/local/bin/python: can't open file '{script}': [Errno 2] No such file or directory"
        );
        return 2;
    }
    match Path::new(script).file_name().and_then(|name| name.to_str()) {
        Some("ping.py") => {
            println!("{} - PONG", timestamp());
            0
        }
        Some("rapidpro_to_bigquery.py") => etl::run(),
        _ => {
            eprintln!("ooy-stand-in: {script} is not one of the scripts that are stood in for");
            2
        }
    }
}

/// Local time, as both scripts print it.
pub fn timestamp() -> String {
    let t = process::local_time((clock::now_ms() / 1000) as i64);
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
        t.year, t.month, t.day, t.hour, t.minute, t.second
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_scripts_are_run() {
        let run = |words: &[&str]| act(&words.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(run(&[]), 2);
        assert_eq!(run(&["-c", "pass"]), 2);
        assert_eq!(run(&["-u", "/nonexistent/ping.py"]), 2);
        assert_eq!(run(&["/proc/version"]), 2);
        assert_eq!(run(&["-V"]), 0);
    }
}
