//! Plays Asterisk at the end of many calls, and RapidPro's other clients. Only the standard
//! library: benches/agi.sh compiles it with rustc.
//!
//!     caller processes NAME COUNT AT_ONCE PAUSE_MS PROGRAM ARGUMENT...   `{number}` is filled in
//!     caller fastagi   NAME COUNT AT_ONCE ADDRESS:PORT
//!     caller requests  NAME COUNT AT_ONCE ADDRESS:PORT TOKEN FLOW
//!
//! For each call a line `NAME <tab> microseconds <tab> KiB of the process` (0 where there is
//! none), then one of the whole, NAME-all. A call that did not end well ends this with 1.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// So many different callers, all known to the stand-in (stand_in_seed --contacts).
const CALLERS: usize = 1000;
const START: &str = "2026-11-22T10:00:00";
const END: &str = "2026-11-22T10:04:30";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, name, count, at_once, rest @ ..] = &arguments[..] else {
        fail("see the head of benches/load/caller.rs");
    };
    let (count, at_once): (usize, usize) = (number(count), number(at_once));
    // Calls of an earlier run are other calls.
    let run = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| now.as_secs());
    let work: Box<dyn Fn(&mut Worker) -> Option<Measured> + Sync> = match (mode.as_str(), rest) {
        ("processes", [pause, program, arguments @ ..]) => {
            let pause = Duration::from_millis(number(pause) as u64);
            let (program, arguments) = (program.clone(), arguments.to_vec());
            Box::new(move |worker| {
                std::thread::sleep(pause);
                process(&program, &arguments, run, worker.index)
            })
        }
        ("fastagi", [address]) => {
            let address = address.clone();
            Box::new(move |worker| fast_agi(&address, run, worker.index))
        }
        ("requests", [address, token, flow]) => {
            let (address, token, flow) = (address.clone(), token.clone(), flow.clone());
            Box::new(move |worker| {
                if worker.connection.is_none() {
                    worker.connection = TcpStream::connect(&address).ok().map(BufReader::new);
                }
                request(
                    worker.connection.as_mut()?,
                    &address,
                    &token,
                    &flow,
                    worker.index,
                )
            })
        }
        _ => fail("see the head of benches/load/caller.rs"),
    };

    let (next, lines, failed) = (
        AtomicUsize::new(0),
        Mutex::new(String::new()),
        AtomicUsize::new(0),
    );
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                let mut worker = Worker {
                    index: 0,
                    connection: None,
                };
                loop {
                    worker.index = next.fetch_add(1, Ordering::Relaxed);
                    if worker.index >= count {
                        return;
                    }
                    let Some((took, memory)) = work(&mut worker) else {
                        failed.fetch_add(1, Ordering::Relaxed);
                        continue;
                    };
                    let line = format!("{name}\t{}\t{memory}\n", took.as_micros());
                    if let Ok(mut lines) = lines.lock() {
                        lines.push_str(&line);
                    }
                }
            });
        }
    });
    let all = began.elapsed().as_micros();
    let lines = lines.into_inner().unwrap_or_default();
    print!("{lines}{name}-all\t{all}\t0\n");
    let failed = failed.into_inner();
    if failed > 0 {
        fail(&format!("{name}: {failed} of {count} failed"));
    }
}

/// How long it took, and KiB.
type Measured = (Duration, i64);

struct Worker {
    index: usize,
    connection: Option<BufReader<TcpStream>>,
}

fn fail(text: &str) -> ! {
    eprintln!("caller: {text}");
    std::process::exit(1);
}

fn number(text: &str) -> usize {
    text.parse()
        .unwrap_or_else(|_| fail(&format!("{text} is no number")))
}

fn caller(index: usize) -> String {
    format!("0712{:06}", index % CALLERS)
}

/// What Asterisk sends first.
fn environment(request: &str, run: u64, index: usize) -> String {
    let number = caller(index);
    format!(
        "agi_request: {request}\nagi_channel: SIP/trunk-{index:08x}\nagi_language: en\n\
         agi_type: SIP\nagi_uniqueid: {run}.{index}\nagi_version: 16.28.0\nagi_callerid: {number}\n\
         agi_calleridname: unknown\nagi_callingpres: 0\nagi_callingani2: 0\nagi_callington: 0\n\
         agi_callingtns: 0\nagi_dnid: 1190\nagi_rdnis: unknown\nagi_context: ooy-end\n\
         agi_extension: s\nagi_priority: 2\nagi_enhanced: 0.0\nagi_accountcode: \n\
         agi_threadid: 140000000000000\n"
    )
}

/// Asterisk's answer to a command.
fn answer(command: &str) -> &'static str {
    if command.starts_with("GET VARIABLE") {
        "200 result=1 (1795345652.1)\n"
    } else {
        "200 result=1\n"
    }
}

/// As Asterisk does it: fork and exec, the environment, commands answered, the end waited for.
fn process(program: &str, arguments: &[String], run: u64, index: usize) -> Option<Measured> {
    let began = Instant::now();
    let mut child = Command::new(program)
        .args(
            arguments
                .iter()
                .map(|text| text.replace("{number}", &caller(index))),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let (mut stdin, stdout) = (child.stdin.take()?, child.stdout.take()?);
    let environment = environment(program, run, index) + "\n";
    // A script that never reads is no failure.
    let _ = stdin.write_all(environment.as_bytes());
    for line in BufReader::new(stdout).lines() {
        let _ = stdin.write_all(answer(&line.ok()?).as_bytes());
    }
    let (status, memory) = wait(child.id());
    let took = began.elapsed();
    status.success().then_some((took, memory))
}

fn wait(pid: u32) -> (ExitStatus, i64) {
    unsafe extern "C" {
        fn wait4(pid: i32, status: *mut i32, options: i32, usage: *mut [i64; 18]) -> i32;
    }
    let (mut status, mut usage) = (0, [0; 18]);
    // SAFETY: struct rusage is two struct timeval and fourteen longs, of which the first is the
    // largest resident set in KiB.
    unsafe { wait4(pid as i32, &raw mut status, 0, &raw mut usage) };
    (ExitStatus::from_raw(status), usage[4])
}

fn fast_agi(address: &str, run: u64, index: usize) -> Option<Measured> {
    let began = Instant::now();
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_nodelay(true).ok()?;
    let number = caller(index);
    let environment = environment(&format!("agi://{address}/"), run, index)
        + &format!(
            "agi_network: yes\nagi_network_script: \nagi_arg_1: {number}\nagi_arg_2: {START}\n\
             agi_arg_3: {END}\nagi_arg_4: inbound\n\n"
        );
    stream.write_all(environment.as_bytes()).ok()?;
    let mut queued = false;
    let mut answers = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    while answers.read_line(&mut line).ok()? > 0 {
        queued |= line.contains("queued");
        // The server may have closed by then.
        let _ = stream.write_all(answer(&line).as_bytes());
        line.clear();
    }
    queued.then(|| (began.elapsed(), 0))
}

/// One flow start, on a connection that is kept: the most that a client can do.
fn request(
    connection: &mut BufReader<TcpStream>,
    address: &str,
    token: &str,
    flow: &str,
    index: usize,
) -> Option<Measured> {
    let began = Instant::now();
    let number = &caller(index)[1..];
    let body = format!(
        r#"{{"flow":"{flow}","contacts":["tel:+254{number}"],"restart_participants":true,"params":{{"call_start_time":"{START}+03:00","call_end_time":"{END}+03:00","direction":"inbound","call_id":"limit-{index}"}}}}"#
    );
    let head = format!(
        "POST /api/v2/flow_starts.json HTTP/1.1\r\nHost: {address}\r\nAuthorization: Token {token}\r\n\
         Content-Type: application/json\r\nAccept: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    connection
        .get_mut()
        .write_all((head + &body).as_bytes())
        .ok()?;
    let mut line = String::new();
    connection.read_line(&mut line).ok()?;
    let created = line.contains(" 201 ");
    let mut length = 0usize;
    loop {
        line.clear();
        connection.read_line(&mut line).ok()?;
        let header = line.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut answer = vec![0; length];
    connection.read_exact(&mut answer).ok()?;
    created.then(|| (began.elapsed(), 0))
}
