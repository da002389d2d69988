//! The Engine is killed under a running deployment, as when the host crashes: a second, real Engine
//! in a network of its own, into which PostgreSQL and Redis come when the test lets them.

use std::io::{BufRead as _, BufReader, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::Signal;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::daemon::Engine;
use crate::harness::{Home, surroundings, until};

const LIMIT: Duration = Duration::from_secs(60);

/// One of the rig's servers, reached in the Engine's network under the same address as long as this
/// lives.
struct Way {
    over: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
}

impl Way {
    fn open(namespace: &str, host: &str, port: &str) -> Self {
        let address = format!("{host}:{port}");
        let (inside, accepted): (Sender<TcpStream>, Receiver<TcpStream>) = channel();
        // Made first: a thread is in the network of the one that makes it.
        std::thread::spawn(move || {
            for stream in accepted {
                let address = address.clone();
                std::thread::spawn(move || {
                    if let Ok(server) = TcpStream::connect(address) {
                        join(stream, server);
                    }
                });
            }
        });
        let over = Arc::new(AtomicBool::new(false));
        let (bound, is_bound) = channel();
        let flag = Arc::clone(&over);
        let port: u16 = port.parse().unwrap();
        let namespace = format!("/var/run/netns/{namespace}");
        let listener = std::thread::spawn(move || {
            let file = std::fs::File::open(namespace).unwrap();
            move_into_link_name_space(
                std::os::fd::AsFd::as_fd(&file),
                Some(LinkNameSpaceType::Network),
            )
            .unwrap();
            let listener = TcpListener::bind(("0.0.0.0", port)).unwrap();
            listener.set_nonblocking(true).unwrap();
            bound.send(()).unwrap();
            while !flag.load(Ordering::SeqCst) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        stream.set_nonblocking(false).unwrap();
                        inside.send(stream).unwrap();
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        });
        is_bound.recv().unwrap();
        Self {
            over,
            listener: Some(listener),
        }
    }

    fn both(engine: &Engine) -> [Self; 2] {
        ["POSTGRES", "REDIS"].map(|name| {
            let host = surroundings(&format!("OOY_TEST_{name}_HOST"));
            let port = surroundings(&format!("OOY_TEST_{name}_PORT"));
            Self::open(&engine.namespace, &host, &port)
        })
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = self.listener.take().unwrap().join();
    }
}

fn join(one: TcpStream, other: TcpStream) {
    let copy = |mut from: TcpStream, mut to: TcpStream| {
        move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(std::net::Shutdown::Both);
        }
    };
    let back = copy(other.try_clone().unwrap(), one.try_clone().unwrap());
    let back = std::thread::spawn(back);
    copy(one, other)();
    let _ = back.join();
}

/// What ExecStart= of the installed unit runs, in the unit's environment, by hand.
fn exec_start(home: &Home, more: &str) -> Command {
    let text = std::fs::read_to_string(home.unit("")).unwrap();
    let line = |name: &str| {
        let mut lines = text.lines();
        lines
            .find_map(|line| line.strip_prefix(name))
            .unwrap()
            .to_owned()
    };
    let script = format!(
        "exec env -i PATH=\"$PATH\" {} {} {more}",
        line("Environment="),
        line("ExecStart=")
    );
    let mut command = Command::new("nsenter");
    command
        .arg(format!(
            "--net=/var/run/netns/{}",
            home.namespace.as_ref().unwrap()
        ))
        .args(["sh", "-c", &script])
        .stdin(Stdio::null());
    command
}

fn processes(home: &Home, services: &[&str]) -> Vec<String> {
    services
        .iter()
        .map(|service| home.inspect(service, "{{.State.Pid}}"))
        .filter(|pid| pid != "0" && !pid.is_empty())
        .collect()
}

/// dockerd, and everything that it ran: a crash of the host.
fn crash(home: &Home, engine: &mut Engine) {
    let pids = processes(home, &["elasticsearch", "mailroom", "courier"]);
    engine.end(Signal::KILL);
    let killed = Command::new("kill").arg("-KILL").args(&pids).status();
    assert!(killed.unwrap().success());
}

/// What mailroom has said since it was started, on lines of its own.
fn mailroom_says(home: &Home, words: &str) -> bool {
    let since = home.inspect("mailroom", "{{.State.StartedAt}}");
    let id = home.container("mailroom");
    let output = Command::new("docker")
        .args(["logs", "--since", &since, &id])
        .env("DOCKER_HOST", home.docker_host.as_ref().unwrap())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).contains(words)
}

const LOST: &str = "unable to connect to elastic";

#[track_caller]
fn mailroom_works(home: &Home) {
    assert_eq!(home.service_status("mailroom")["ready"], true);
    // It writes this before it answers; the Engine may take a moment to have it in the log.
    until("mailroom reached Elasticsearch", LIMIT, || {
        mailroom_says(home, "elastic ok")
    });
    assert!(!mailroom_says(home, LOST));
}

fn state(home: &Home, service: &str) -> String {
    home.inspect(service, "{{.State.Status}}")
}

/// One scenario, since making an Engine is what costs.
#[test]
fn the_engine_is_killed_and_the_boot_brings_back_what_ran_in_order() {
    let mut engine = Engine::new("boot", &["elasticsearch", "mailroom", "courier"]);
    let mut home = Home::new("boot");
    home.docker_host = Some(engine.host());
    home.namespace = Some(engine.namespace.clone());
    home.set("LOG_LEVEL", "LOG_LEVEL=info");
    let mut ways = Some(Way::both(&engine));
    home.ooy(&["start", "mailroom", "courier"]).expect(0);
    home.ooy(&["stop", "courier"]).expect(0);
    home.boot(&["enable"]).expect(0);
    // As the deployment before ooy had it.
    let elasticsearch = home.container("elasticsearch");
    home.docker(&["update", "--restart", "unless-stopped", &elasticsearch]);

    // Alone: its containers live on, the next dockerd ends them, and takes that for a stop.
    engine.end(Signal::KILL);
    ways.take();
    engine.start();
    until("mailroom is back by itself, too early", LIMIT, || {
        mailroom_says(&home, LOST)
    });
    assert_eq!(state(&home, "elasticsearch"), "exited");
    assert_eq!(state(&home, "courier"), "exited");

    // PostgreSQL comes up later than Docker.
    let mut child = exec_start(&home, "")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut said = String::new();
    while !said.contains("for PostgreSQL of RapidPro") {
        said += &(lines.next().unwrap().unwrap() + "\n");
    }
    ways = Some(Way::both(&engine));
    lines.for_each(|line| said += &(line.unwrap() + "\n"));
    assert!(child.wait().unwrap().success(), "{said}");
    assert!(said.contains("PostgreSQL and Redis came"), "{said}");
    assert!(said.contains("2 of 2 ready"), "{said}");
    let of = |name: &str, words: &str| {
        said.lines()
            .any(|line| line.contains(name) && line.contains(words))
    };
    assert!(of("mailroom", "is started again"), "{said}");
    assert!(of("courier", "stays down"), "{said}");
    mailroom_works(&home);
    let policy = home.inspect("elasticsearch", "{{.HostConfig.RestartPolicy.Name}}");
    assert_eq!(policy, "always");
    assert_eq!(state(&home, "courier"), "exited");

    once_more_is_harmless(&home);
    killed_while_mailroom_is_down(&home);
    comes_back_unordered_and_is_put_in_order(&home, &mut engine);
    drop(ways);
    drop(home);
}

fn once_more_is_harmless(home: &Home) {
    let started = home.inspect("mailroom", "{{.State.StartedAt}}");
    let output = exec_start(home, "").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("2 of 2 ready, nothing to do"), "{said}");
    assert_eq!(home.inspect("mailroom", "{{.State.StartedAt}}"), started);
}

fn killed_while_mailroom_is_down(home: &Home) {
    home.docker(&["stop", "-t", "1", &home.container("elasticsearch")]);
    home.docker(&["restart", "-t", "1", &home.container("mailroom")]);
    until("mailroom is up, too early", LIMIT, || {
        mailroom_says(home, LOST)
    });
    let mut child: Child = exec_start(home, "--json")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let found = lines.any(|line| line.unwrap().contains("is started again"));
    assert!(found);
    child.kill().unwrap();
    child.wait().unwrap();
    let output = exec_start(home, "").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    mailroom_works(home);
    assert_eq!(state(home, "courier"), "exited");
}

/// Both have `always` and are started by Docker at the same time; Elasticsearch takes longer.
fn comes_back_unordered_and_is_put_in_order(home: &Home, engine: &mut Engine) {
    home.control("elasticsearch", "{\"boot_seconds\": 8}");
    crash(home, engine);
    engine.start();
    let output = exec_start(home, "").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    mailroom_works(home);
    assert_eq!(state(home, "courier"), "exited");
}
