//! Debian's cron: a daemon that reads the tables of /var/spool/cron/crontabs each minute and
//! gives its jobs nothing of its own environment.
//!
//! SIGUSR1 runs jobs at once, for tests: all of them, or those whose command contains what
//! the steering key `cron_jobs` says.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::crontab::SPOOL;
use super::table::{self, Job};
use crate::signals::Signals;
use crate::steer::{Steer, Steering};
use crate::{boot, process, record};

const NAME: &str = "cron";
/// What the process is called while it is not to be taken for a healthy cron.
const NAME_WHILE_UNWELL: &str = "cron-unwell";
const PID_FILE: &str = "/run/crond.pid";

pub fn run(arguments: &[String]) -> ! {
    let foreground = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["-f"] => true,
        _ => {
            eprintln!("usage:  cron [-f]");
            std::process::exit(1);
        }
    };
    let steering = Arc::new(Steering::of_this_process());
    hold_back(&steering.now());
    let pid_file = lock_pid_file();
    if !foreground {
        match process::fork_daemon() {
            Ok(true) => {}
            Ok(false) => std::process::exit(0),
            Err(problem) => {
                eprintln!("cron: can't fork: {problem}");
                std::process::exit(1);
            }
        }
    }
    let _ = writeln!(&pid_file, "{}", std::process::id());

    // From here on there are threads.
    let signals = Signals::take(|_| std::process::exit(0));
    signals.arm();
    record::write_soon("bigquery-sync");
    record::wait();
    if !foreground {
        let _ = process::detach_standard_streams();
    }
    steering.mark_ready();
    process::set_process_name(NAME);
    for job in jobs().into_iter().filter(Job::runs_at_reboot) {
        start(job);
    }
    tick(&signals, &steering)
}

/// The faults before the daemon exists. The real cron is ready the moment it runs, so until
/// then the process has another name.
fn hold_back(steer: &Steer) {
    if let Some(code) = steer.exit_code {
        eprintln!("cron: can't open or create {PID_FILE}: Permission denied");
        record::write_soon("bigquery-sync");
        boot::exit(code);
    }
    if steer.never_ready || steer.boot_seconds > 0.0 {
        process::set_process_name(NAME_WHILE_UNWELL);
    }
    if steer.never_ready {
        loop {
            std::thread::park();
        }
    }
    std::thread::sleep(Duration::from_secs_f64(steer.boot_seconds));
}

fn lock_pid_file() -> File {
    let mut options = File::options();
    let opened = options.read(true).write(true).create(true).truncate(false).open(PID_FILE);
    let file = opened.unwrap_or_else(|problem| {
        eprintln!("cron: can't open or create {PID_FILE}: {problem}");
        std::process::exit(1)
    });
    if !process::lock_exclusively(&file) {
        let other = std::fs::read_to_string(PID_FILE).unwrap_or_default();
        eprintln!(
            "cron: can't lock {PID_FILE}, otherpid may be {}: Resource temporarily unavailable",
            other.trim()
        );
        std::process::exit(1);
    }
    let _ = file.set_len(0);
    file
}

/// Sleep to the next full minute, run what is due, and listen for signals meanwhile.
fn tick(signals: &Signals, steering: &Steering) -> ! {
    let mut done = minute_now();
    loop {
        let steer = steering.checkpoint();
        let unwell = steering.is_unhealthy(&steer);
        process::set_process_name(if unwell { NAME_WHILE_UNWELL } else { NAME });
        let now = minute_now();
        if now > done {
            done = now;
            let local = process::local_time(now as i64 * 60);
            if !steer.hang && !unwell {
                jobs().into_iter().filter(|job| job.is_due(&local)).for_each(start);
            }
        }
        match signals.next_within(until_next_look(unwell)) {
            Some(process::SIGUSR1) if !steering.now().hang => {
                let wanted = steering.now().cron_jobs.unwrap_or_default();
                jobs().into_iter().filter(|job| job.command.contains(&wanted)).for_each(start);
            }
            Some(process::SIGHUP | process::SIGUSR1) | None => {}
            Some(_) => std::process::exit(0),
        }
    }
}

fn minute_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / 60
}

fn until_next_look(unwell: bool) -> Duration {
    if unwell {
        return Duration::from_millis(200);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let minute = Duration::from_secs(60);
    let into = Duration::from_nanos((now.as_nanos() % minute.as_nanos()) as u64);
    // A little past the minute, so that the clock agrees that it has begun.
    minute - into + Duration::from_millis(5)
}

/// Read anew each time: a table that was changed needs no signal.
fn jobs() -> Vec<Job> {
    let file = Path::new(SPOOL).join("root");
    let text = std::fs::read_to_string(file).unwrap_or_default();
    table::parse(&text).unwrap_or_default()
}

fn start(job: Job) {
    boot::spawn("job", move || {
        let _ = execute(&job);
    });
}

fn execute(job: &Job) -> std::io::Result<()> {
    let environment = environment(job);
    let shell = value(&environment, "SHELL");
    let mut command = Command::new(shell);
    command
        .args(["-c", &job.command])
        .env_clear()
        .envs(environment.iter().map(|(k, v)| (k.as_str(), v.as_str())))
        .current_dir(value(&environment, "HOME"))
        .stdin(if job.input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    process::give_signals_back(&mut command);
    let mut child = command.spawn()?;
    if let (Some(input), Some(mut pipe)) = (&job.input, child.stdin.take()) {
        let _ = pipe.write_all(input.as_bytes());
    }
    child.wait().map(|_| ())
}

/// cron's own four, changed and completed by the table's lines. LOGNAME stays.
fn environment(job: &Job) -> Vec<(String, String)> {
    let mut environment: Vec<(String, String)> =
        [("HOME", "/root"), ("LOGNAME", "root"), ("SHELL", "/bin/sh"), ("PATH", "/usr/bin:/bin")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
    for (name, value) in &job.environment {
        if name == "LOGNAME" {
            continue;
        }
        environment.retain(|(known, _)| known != name);
        environment.push((name.clone(), value.clone()));
    }
    environment
}

fn value<'a>(environment: &'a [(String, String)], name: &str) -> &'a str {
    environment.iter().find(|(key, _)| key == name).map_or("/", |(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_has_cron_s_environment_and_the_table_s() {
        let jobs = table::parse("PATH=/x\nLOGNAME=me\nTOKEN=a\n* * * * * true\n").unwrap();
        let environment = environment(&jobs[0]);
        assert_eq!(environment.len(), 5);
        assert_eq!(value(&environment, "PATH"), "/x");
        assert_eq!(value(&environment, "LOGNAME"), "root");
        assert_eq!(value(&environment, "TOKEN"), "a");
    }

    #[test]
    fn the_next_look_is_within_a_minute() {
        assert!(until_next_look(false) <= Duration::from_millis(60_005));
        assert!(until_next_look(false) >= Duration::from_millis(5));
    }
}
