//! `ooy calls serve` as its clients see it. The client that matters is Asterisk (asterisk.rs):
//! libraries speak the other side, so these connections are written by hand.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{free_port, until};
use crate::rapidpro_api::Mood;
use crate::world::{World, number};

/// A running `ooy calls serve`.
struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn new(world: &World) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let process = serve(world, &address.to_string());
        until("the FastAGI port is open", Duration::from_secs(10), || {
            TcpStream::connect(address).is_ok()
        });
        Self { process, address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream
    }

    fn signal(&self, signal: libc::c_int) {
        // SAFETY: plain system call; the process is ours and has not been waited for.
        unsafe { libc::kill(self.process.id() as libc::pid_t, signal) };
    }

    /// Its exit code after SIGTERM.
    fn terminate(mut self) -> Option<i32> {
        self.signal(libc::SIGTERM);
        let mut status = None;
        until("the server ends", Duration::from_secs(15), || {
            status = self.process.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn serve(world: &World, listen: &str) -> Child {
    world
        .ooy(&["calls", "serve", "--listen", listen])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// What Asterisk sends first, for the call with this number among the world's.
fn environment(index: usize, number: &str) -> String {
    format!(
        "agi_network: yes\nagi_network_script: call\nagi_request: agi://127.0.0.1/call\n\
         agi_channel: SIP/trunk-{index:08}\nagi_uniqueid: 1795345652.{index}\n\
         agi_callerid: {number}\nagi_arg_1: {number}\nagi_arg_2: 2026-11-22T10:00:00\n\
         agi_arg_3: 2026-11-22T10:01:00\nagi_arg_4: inbound\n\n"
    )
}

/// Answers what the server says until it closes; whether the call was taken.
fn converse(stream: impl Read, mut answers: impl Write) -> bool {
    let mut taken = false;
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { break };
        taken |= line.contains("OOY_STATUS queued");
        let _ = answers.write_all(b"200 result=1\n");
    }
    taken
}

#[track_caller]
fn arrived(world: &World, count: usize) {
    let began = Instant::now();
    while world.api.starts().len() < count {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "not all have arrived: {}",
            world.describe()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn many_channels_are_served_at_once() {
    let mut world = World::new();
    let server = Server::new(&world);
    let streams: Vec<TcpStream> = (0..200).map(|_| server.connect()).collect();
    for (index, mut stream) in streams.iter().enumerate() {
        stream
            .write_all(environment(index, &number(index)).as_bytes())
            .unwrap();
    }
    for stream in &streams {
        world.calls.push(converse(stream, stream));
    }
    assert!(world.calls.iter().all(|taken| *taken));
    arrived(&world, 200);
    assert_eq!(server.terminate(), Some(0));
    world.deliver();
    world.assert_exactly_once();
}

#[test]
fn rude_clients_hold_up_nobody() {
    let mut world = World::new();
    let server = Server::new(&world);
    // Each stays connected to the end of the test.
    let mute = server.connect();
    let mut unfinished = server.connect();
    unfinished.write_all(b"agi_network: yes\nagi_req").unwrap();
    let mut garbage = server.connect();
    garbage
        .write_all(&[0xff, 0, b'\r', 0xfe, b'\n', b':', b'\n'])
        .unwrap();
    let mut endless = server.connect();
    let line = vec![b'x'; 1 << 20];
    let _ = endless.write_all(b"agi_network: yes\nagi_callerid: ");
    let _ = endless.write_all(&line);
    let mut web = server.connect();
    let _ = web.write_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");

    let began = Instant::now();
    for index in 0..20 {
        let mut stream = server.connect();
        // In pieces, as a slow network brings it.
        for piece in environment(index, &number(index)).as_bytes().chunks(100) {
            stream.write_all(piece).unwrap();
        }
        let answers = stream.try_clone().unwrap();
        world.calls.push(converse(stream, answers));
    }
    assert!(world.calls.iter().all(|taken| *taken));
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );

    // Whoever goes after the environment, without an answer, has handed in a call too.
    let mut hurried = server.connect();
    hurried
        .write_all(environment(20, &number(20)).as_bytes())
        .unwrap();
    hurried.shutdown(std::net::Shutdown::Both).unwrap();
    world.calls.push(true);
    arrived(&world, 21);
    assert_eq!(server.terminate(), Some(0), "also with mute clients");
    drop((mute, unfinished, garbage, endless, web));
    world.deliver();
    world.assert_exactly_once();
}

#[test]
fn a_stopped_server_has_kept_what_it_has_acknowledged() {
    let mut world = World::new();
    world.api.be(Mood::Down);
    let server = Server::new(&world);
    let clients: Vec<_> = (0..64)
        .map(|index| {
            let mut stream = server.connect();
            std::thread::spawn(move || {
                let sent = stream.write_all(environment(index, &number(index)).as_bytes());
                let answers = stream.try_clone().unwrap();
                sent.is_ok() && converse(stream, answers)
            })
        })
        .collect();
    assert_eq!(server.terminate(), Some(0));
    for client in clients {
        world.calls.push(client.join().unwrap());
    }
    world.api.be(Mood::Answering);
    world.deliver();
    world.assert_exactly_once();
}

#[test]
fn a_killed_server_has_kept_what_it_has_acknowledged() {
    let mut world = World::new();
    for round in 0..15u64 {
        let mut server = Server::new(&world);
        let first = world.calls.len();
        let address = server.address;
        let clients: Vec<_> = (first..first + 40)
            .map(|index| {
                std::thread::spawn(move || {
                    let Ok(mut stream) = TcpStream::connect(address) else {
                        return false;
                    };
                    let sent = stream.write_all(environment(index, &number(index)).as_bytes());
                    let answers = stream.try_clone().unwrap();
                    sent.is_ok() && converse(stream, answers)
                })
            })
            .collect();
        // Somewhere among them: this is not waited for, it is the point of time that is tested.
        std::thread::sleep(Duration::from_millis(round * 2));
        server.signal(libc::SIGKILL);
        server.process.wait().unwrap();
        for client in clients {
            world.calls.push(client.join().unwrap());
        }
    }
    world.deliver();
    world.assert_exactly_once();
    let taken = world.calls.iter().filter(|taken| **taken).count();
    assert!(taken > 0 && taken < world.calls.len(), "{taken}");
}

#[test]
fn it_listens_on_a_unix_socket() {
    let mut world = World::new();
    let path = world.folder().join("agi.socket");
    // A socket that a killed server left behind is no obstacle.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let mut process = serve(&world, &format!("unix:{}", path.display()));
    let mut stream = None;
    until("the socket is there", Duration::from_secs(10), || {
        stream = UnixStream::connect(&path).ok();
        stream.is_some()
    });
    let mut stream = stream.unwrap();
    stream
        .write_all(environment(0, &number(0)).as_bytes())
        .unwrap();
    let answers = stream.try_clone().unwrap();
    world.calls.push(converse(stream, answers));
    assert!(world.calls[0]);
    arrived(&world, 1);
    // SAFETY: plain system call; the process is ours and has not been waited for.
    unsafe { libc::kill(process.id() as libc::pid_t, libc::SIGTERM) };
    assert_eq!(process.wait().unwrap().code(), Some(0));
    world.deliver();
    world.assert_exactly_once();
}
