//! A PostgreSQL that looks older than it is.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use super::data::Servers;

/// Between the services and the server, this makes it look older: older releases of PostgreSQL are
/// no packages of Debian any more.
pub fn server(servers: &Servers) -> u16 {
    let version = servers.sql("postgres", "SHOW server_version");
    let number = servers.sql("postgres", "SHOW server_version_num");
    let old = |text: &str| format!("10{}", &text[2..]);
    let changes = [
        (version.clone(), old(&version)),
        (number.clone(), old(&number)),
    ];
    let listener = TcpListener::bind((servers.address.as_str(), 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = (servers.address.clone(), servers.postgres);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(client) = client else { return };
            let Ok(upstream) = TcpStream::connect((server.0.as_str(), server.1)) else {
                continue;
            };
            let _ = (client.set_nodelay(true), upstream.set_nodelay(true));
            pass(
                client.try_clone().unwrap(),
                upstream.try_clone().unwrap(),
                Vec::new(),
            );
            pass(upstream, client, changes.to_vec());
        }
    });
    port
}

fn pass(mut from: TcpStream, mut to: TcpStream, changes: Vec<(String, String)>) {
    std::thread::spawn(move || {
        let mut buffer = [0; 65536];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let bytes = &mut buffer[..count];
            for (old, new) in &changes {
                for at in 0..count.saturating_sub(old.len() - 1) {
                    if bytes[at..].starts_with(old.as_bytes()) {
                        bytes[at..at + new.len()].copy_from_slice(new.as_bytes());
                    }
                }
            }
            if to.write_all(bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
}
