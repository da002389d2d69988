//! Faults of the transport, against small servers of our own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::*;

const TOKEN: &str = "0123456789abcdef0123456789abcdef01234567";
const LIMIT: Duration = Duration::from_millis(600);

/// What arrived, one text a request, and over how many connections.
#[derive(Clone, Default)]
struct Seen {
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    closed: Arc<AtomicUsize>,
}

impl Seen {
    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// A server that does something with each request; answering `false` closes the connection.
fn serve(act: impl Fn(usize, &mut TcpStream) -> bool + Send + 'static) -> (SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Seen::default();
    let noted = seen.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            noted.connections.fetch_add(1, Ordering::SeqCst);
            while let Some(request) = read_request(&mut stream) {
                let number = {
                    let mut all = noted.requests.lock().unwrap();
                    all.push(request);
                    all.len()
                };
                if !act(number, &mut stream) {
                    break;
                }
            }
            drop(stream);
            noted.closed.fetch_add(1, Ordering::SeqCst);
        }
    });
    (address, seen)
}

fn read_request(stream: &mut impl Read) -> Option<String> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes).unwrap();
    let length = head
        .to_lowercase()
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(head + &String::from_utf8(body).unwrap())
}

const CREATED: &str = "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n\
                       Content-Length: 14\r\n\r\n{\"uuid\":\"abc\"}";

fn client(address: SocketAddr) -> Client {
    Client::new(&format!("http://{address}"), TOKEN, None, LIMIT).unwrap()
}

fn start(client: &Client) -> Result<String, Trouble> {
    client.start(&FlowStart {
        flow: "f10e",
        contacts: ["tel:+254712345678"],
        restart_participants: true,
        params: serde_json::json!({ "call_id": "1" }),
    })
}

/// The error, which names no secret, and that it came within the limit.
#[track_caller]
fn fails(client: &Client) -> Trouble {
    let began = Instant::now();
    let trouble = start(client).unwrap_err();
    // Generous: the machine may be busy.
    let limit = LIMIT + Duration::from_secs(5);
    assert!(began.elapsed() < limit, "{:?}", began.elapsed());
    assert!(!format!("{trouble:?} {client:?}").contains(TOKEN));
    trouble
}

#[test]
fn a_flow_start_is_sent_as_the_api_wants_it() {
    let (address, seen) = serve(|_, stream| stream.write_all(CREATED.as_bytes()).is_ok());
    let client = client(address);
    assert_eq!(start(&client), Ok("abc".to_owned()));
    assert_eq!(start(&client), Ok("abc".to_owned()));
    let request = seen.requests()[0].clone();
    assert!(request.starts_with("POST /api/v2/flow_starts.json HTTP/1.1\r\n"));
    assert!(
        request
            .to_lowercase()
            .contains(&format!("\r\nauthorization: token {TOKEN}\r\n"))
    );
    assert!(
        request
            .to_lowercase()
            .contains("\r\ncontent-type: application/json\r\n")
    );
    assert!(request.ends_with(
        r#"{"flow":"f10e","contacts":["tel:+254712345678"],"restart_participants":true,"params":{"call_id":"1"}}"#
    ));
    assert_eq!(seen.connections.load(Ordering::SeqCst), 1, "kept alive");
}

#[test]
fn an_urn_in_an_address_is_encoded() {
    let body = r#"{"next":null,"previous":null,"results":[{"uuid":"c1"}]}"#;
    let (address, seen) = serve(move |_, stream| {
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .is_ok()
    });
    let found = client(address).find_contact("tel:+254712345678");
    assert_eq!(found, Ok(Some("c1".to_owned())));
    assert!(seen.requests()[0].starts_with("GET /api/v2/contacts.json?urn=tel%3A%2B254712345678 "));
}

#[test]
fn refused_and_unknown_hosts_have_received_nothing() {
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    assert_eq!(
        fails(&client(address)),
        Trouble::NotSent("connection refused".to_owned())
    );
    let nowhere = Client::new("http://nowhere.invalid", TOKEN, None, LIMIT).unwrap();
    assert!(matches!(fails(&nowhere), Trouble::NotSent(_)));
}

#[test]
fn a_tls_handshake_that_fails_or_never_ends_has_sent_nothing() {
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", mute.local_addr().unwrap());
    let client = Client::new(&url, TOKEN, None, LIMIT).unwrap();
    assert!(matches!(fails(&client), Trouble::NotSent(_)));

    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", plain.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = plain.accept().unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let client = Client::new(&url, TOKEN, None, LIMIT).unwrap();
    let trouble = fails(&client);
    assert!(
        matches!(&trouble, Trouble::NotSent(words) if words.contains("TLS")),
        "{trouble:?}"
    );
}

#[test]
fn a_server_that_never_answers_may_have_received_it() {
    let (address, seen) = serve(|_, _| true);
    assert_eq!(
        fails(&client(address)),
        Trouble::Lost("no answer in time".to_owned())
    );
    assert_eq!(seen.requests().len(), 1);
}

#[test]
fn garbage_and_early_ends_are_ambiguous_and_nothing_is_sent_twice() {
    for answer in [
        "",
        "garbage\r\n\r\n",
        "HTTP/1.1 201 Cre",
        "HTTP/1.1 201 Created\r\nContent-Length: 14\r\n\r\n{\"uuid\"",
        "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n<html/>",
    ] {
        let (address, seen) = serve(move |_, stream| {
            let _ = stream.write_all(answer.as_bytes());
            false
        });
        let trouble = fails(&client(address));
        assert!(trouble.is_ambiguous(), "{answer:?}: {trouble:?}");
        assert_eq!(seen.requests().len(), 1, "{answer:?}");
    }
}

#[test]
fn a_kept_connection_that_was_closed_is_not_used_again() {
    let (address, seen) = serve(|_, stream| {
        let _ = stream.write_all(CREATED.as_bytes());
        false
    });
    let client = client(address);
    assert!(start(&client).is_ok());
    // The server's FIN is here by then.
    while seen.closed.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    assert!(start(&client).is_ok());
    assert_eq!(seen.connections.load(Ordering::SeqCst), 2);
    assert_eq!(seen.requests().len(), 2);
}

#[test]
fn a_kept_connection_that_dies_under_a_request_is_not_tried_again_by_the_library() {
    let (address, seen) = serve(|number, stream| {
        if number == 2 {
            return false;
        }
        stream.write_all(CREATED.as_bytes()).is_ok()
    });
    let client = client(address);
    assert!(start(&client).is_ok());
    assert!(fails(&client).is_ambiguous());
    assert_eq!(seen.requests().len(), 2);
    assert!(start(&client).is_ok());
}

#[test]
fn a_redirect_is_not_followed_and_the_other_host_receives_nothing() {
    for status in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"] {
        let (other, seen_there) = serve(|_, stream| stream.write_all(CREATED.as_bytes()).is_ok());
        let (address, seen) = serve(move |_, stream| {
            write!(
                stream,
                "HTTP/1.1 {status}\r\nLocation: http://{other}/api/v2/flow_starts.json\r\nContent-Length: 0\r\n\r\n"
            )
            .is_ok()
        });
        let trouble = fails(&client(address));
        assert!(
            matches!(&trouble, Trouble::NotRapidPro(words) if words.contains(&other.to_string())),
            "{trouble:?}"
        );
        assert_eq!(seen.requests().len(), 1);
        assert_eq!(seen_there.connections.load(Ordering::SeqCst), 0);
    }
}

#[test]
fn one_byte_at_a_time_is_an_answer_only_within_the_limit() {
    for (pause, good) in [(1, true), (200, false)] {
        let (address, _) = serve(move |_, stream| {
            CREATED.bytes().all(|byte| {
                std::thread::sleep(Duration::from_millis(pause));
                stream.write_all(&[byte]).is_ok()
            })
        });
        if good {
            let url = format!("http://{address}");
            let patient = Client::new(&url, TOKEN, None, Duration::from_secs(20)).unwrap();
            assert_eq!(start(&patient), Ok("abc".to_owned()));
        } else {
            assert!(fails(&client(address)).is_ambiguous());
        }
    }
}

#[test]
fn an_endless_answer_is_cut_off() {
    let (address, _) = serve(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 201 Created\r\n");
        while stream.write_all(&[b'x'; 4096]).is_ok() {}
        false
    });
    assert!(fails(&client(address)).is_ambiguous());
}

#[test]
fn a_token_said_back_by_the_server_is_masked() {
    let (address, _) = serve(|_, stream| {
        let body = format!("{{\"detail\":\"Invalid token {TOKEN}\"}}");
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 403 Forbidden\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .is_ok()
    });
    assert!(matches!(fails(&client(address)), Trouble::Unauthorized(_)));
}

#[test]
fn a_certificate_of_our_own_is_accepted_only_where_its_root_is_named() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, made.cert.pem()).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![made.cert.der().clone()],
            rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into(),
        )
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!(
        "https://localhost:{}",
        listener.local_addr().unwrap().port()
    );
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(session, stream.unwrap());
            if read_request(&mut stream).is_some() {
                counted.fetch_add(1, Ordering::SeqCst);
                let _ = stream.write_all(CREATED.as_bytes());
            }
        }
    });
    let limit = Duration::from_secs(5);
    let strange = Client::new(&url, TOKEN, None, limit).unwrap();
    let trouble = start(&strange).unwrap_err();
    assert!(
        matches!(&trouble, Trouble::NotSent(words) if words.contains("certificate")),
        "{trouble:?}"
    );
    let known = Client::new(&url, TOKEN, Some(&file), limit).unwrap();
    assert_eq!(start(&known), Ok("abc".to_owned()));
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}
