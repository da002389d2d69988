use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::sync::Mutex;

use super::*;
use crate::agi::settings::Listen;
use crate::agi::spool::Folder;
use crate::deployment::places::Places;

struct Server {
    folder: tempfile::TempDir,
    spool: Spool,
    address: String,
    told: Arc<Mutex<Vec<String>>>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    fn start() -> Self {
        Self::on(|_| "127.0.0.1:0".to_owned())
    }

    fn on(listen: impl Fn(&std::path::Path) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::new(Some(folder.path()));
        let listen = Listen::parse(&listen(folder.path())).unwrap();
        let spool = Spool::new(&places.spool);
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (say_address, address) = std::sync::mpsc::channel();
        let told = Arc::new(Mutex::new(Vec::new()));
        let (hear, keep) = (told.clone(), spool.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let settings = CallSettings::load(&places);
                let listener = Listener::bind(&listen, &places).await.unwrap().unwrap();
                say_address.send(listener.name()).unwrap();
                let stopped = async {
                    let _ = stopped.await;
                };
                serve(listener, keep, &settings, stopped, move |line| {
                    hear.lock().unwrap().push(line);
                })
                .await
                .unwrap();
            });
        });
        Self {
            address: address.recv().unwrap(),
            folder,
            spool,
            told,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    fn connect(&self) -> std::net::TcpStream {
        std::net::TcpStream::connect(&self.address).unwrap()
    }

    /// Sends bytes and hears all until the server hangs up.
    fn hears(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        let mut heard = String::new();
        let _ = stream.read_to_string(&mut heard);
        heard
    }

    fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn environment(uniqueid: &str, number: &str) -> String {
    format!(
        "agi_network: yes\nagi_request: agi://127.0.0.1/call\nagi_channel: SIP/x\n\
         agi_uniqueid: {uniqueid}\nagi_arg_1: {number}\nagi_arg_2: 2026-11-22T11:07:32\n\
         agi_arg_3: 2026-11-22T11:07:33\nagi_arg_4: inbound\n\n"
    )
}

#[test]
fn a_call_is_on_disk_before_the_channel_hears_of_it() {
    let server = Server::start();
    assert_eq!(
        server.hears(environment("1.1", "0712345678").as_bytes()),
        "SET VARIABLE OOY_STATUS queued\n"
    );
    let waiting = server.spool.entries(Folder::New).unwrap();
    assert_eq!(waiting.len(), 1);
    let record = server.spool.read(Folder::New, &waiting[0].id);
    let record = record.unwrap().unwrap().unwrap();
    assert_eq!(record.number.as_deref(), Some("+254712345678"));
    assert_eq!(record.uniqueid.as_deref(), Some("1.1"));
    assert_eq!(
        server.hears(environment("1.2", "anonymous").as_bytes()),
        "SET VARIABLE OOY_STATUS skipped\n"
    );
    // The same call once more is the same call.
    server.hears(environment("1.1", "0712345678").as_bytes());
    assert_eq!(server.spool.count(Folder::New).unwrap(), 1);
    assert_eq!(server.spool.count(Folder::Batch).unwrap(), 0);
}

#[test]
fn many_channels_that_end_at_once_are_all_kept() {
    let server = Server::start();
    // All are connected, and have said almost all, before the first has said all.
    let mut streams: Vec<_> = (0..200)
        .map(|n| {
            let mut stream = server.connect();
            let text = environment(&format!("2.{n}"), "0712345678");
            stream
                .write_all(&text.as_bytes()[..text.len() - 1])
                .unwrap();
            stream
        })
        .collect();
    for stream in &mut streams {
        stream.write_all(b"\n").unwrap();
    }
    for mut stream in streams {
        let mut heard = String::new();
        stream.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "SET VARIABLE OOY_STATUS queued\n");
    }
    let deliverer = server.spool.deliver().unwrap();
    assert!(deliverer.split_batches().1.is_none());
    assert_eq!(server.spool.count(Folder::New).unwrap(), 200);
}

#[test]
fn garbage_and_halves_are_no_calls_and_hold_nobody_up() {
    let server = Server::start();
    let mute = server.connect();
    let half = {
        let mut stream = server.connect();
        stream
            .write_all(b"agi_network: yes\nagi_arg_1: 07123")
            .unwrap();
        stream
    };
    assert_eq!(server.hears(b"GET / HTTP/1.1\r\nHost: pbx\r\n\r\n"), "");
    assert_eq!(server.hears(&[0xff; 70_000]), "");
    assert_eq!(
        server.hears(b"agi_network: yes\n\n"),
        "SET VARIABLE OOY_STATUS failed\n"
    );
    // Gone in the middle.
    half.shutdown(Shutdown::Both).unwrap();
    assert_eq!(
        server.hears(environment("3.1", "0712345678").as_bytes()),
        "SET VARIABLE OOY_STATUS queued\n"
    );
    drop(mute);
    assert_eq!(server.spool.count(Folder::New).unwrap(), 1);
}

#[test]
fn a_channel_that_answers_finds_somebody_who_listens() {
    let server = Server::start();
    let mut stream = server.connect();
    stream
        .write_all(environment("4.1", "0712345678").as_bytes())
        .unwrap();
    let mut heard = [0; 31];
    stream.read_exact(&mut heard).unwrap();
    stream.write_all(b"200 result=1\n").unwrap();
    // Its end is heard, not a reset.
    assert_eq!(stream.read(&mut heard).unwrap(), 0);
}

#[test]
fn a_full_spool_is_said_to_each_channel_and_once_to_the_operator() {
    let server = Server::start();
    std::fs::write(server.folder.path().join("spool"), b"").unwrap();
    for n in 0..3 {
        assert_eq!(
            server.hears(environment(&format!("5.{n}"), "0712345678").as_bytes()),
            "SET VARIABLE OOY_STATUS failed\n"
        );
    }
    std::fs::remove_file(server.folder.path().join("spool")).unwrap();
    assert_eq!(
        server.hears(environment("5.9", "0712345678").as_bytes()),
        "SET VARIABLE OOY_STATUS queued\n"
    );
    let told = server.told.lock().unwrap().clone();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("cannot be kept"), "{told:?}");
    assert!(told[1].contains("again"), "{told:?}");
}

#[test]
fn what_was_begun_is_ended_before_it_stops() {
    let mut server = Server::start();
    let mut stream = server.connect();
    let text = environment("6.1", "0712345678");
    stream.write_all(&text.as_bytes()[..40]).unwrap();
    // A second connection that was answered: the first has been accepted by then.
    server.hears(environment("6.2", "0712345678").as_bytes());
    drop(server.stop.take());
    stream.write_all(&text.as_bytes()[40..]).unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "SET VARIABLE OOY_STATUS queued\n");
    server.stop();
    assert!(std::net::TcpStream::connect(&server.address).is_err());
    assert_eq!(server.spool.count(Folder::New).unwrap(), 2);
}

#[test]
fn a_unix_socket_serves_as_well_and_a_stale_one_is_replaced() {
    let mut server = Server::on(|folder| {
        // Left by one that was killed.
        let path = folder.join("socket");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        format!("unix:{}", path.display())
    });
    let path = server.folder.path().join("socket");
    let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
    stream
        .write_all(environment("7.1", "0712345678").as_bytes())
        .unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "SET VARIABLE OOY_STATUS queued\n");
    server.stop();
    assert!(!path.exists());
}

#[test]
fn a_port_that_is_taken_is_named() {
    let server = Server::start();
    let listen = Listen::parse(&server.address).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let places = Places::new(None);
    let fault = runtime
        .block_on(Listener::bind(&listen, &places))
        .unwrap_err();
    assert!(fault.title.contains(&server.address), "{fault}");
    let own = format!("process {}", std::process::id());
    assert!(fault.evidence[0].contains(&own), "{fault:?}");
    assert!(
        runtime
            .block_on(Listener::bind(&Listen::Off, &places))
            .unwrap()
            .is_none()
    );
}
