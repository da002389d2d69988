//! TCP connections whose errors read like those of Go's net package.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// `address` is `host:port`.
pub fn tcp(address: &str, limit: Duration) -> Result<TcpStream, String> {
    let deadline = Instant::now() + limit;
    let (host, port) = split_host_port(address)
        .ok_or_else(|| format!("dial tcp: address {address}: missing port in address"))?;
    let port: u16 = port
        .parse()
        .map_err(|_| format!("dial tcp: lookup tcp/{port}: nodename nor servname provided"))?;

    let mut first_problem = None;
    for target in resolve(&host, port, limit)? {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(&target, left) {
            Ok(stream) => {
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            // Go reports the first address it tried, however many there are.
            Err(problem) => {
                first_problem.get_or_insert_with(|| connect_error(&target, &problem));
            }
        }
    }
    Err(first_problem.unwrap_or_else(|| format!("dial tcp {host}:{port}: i/o timeout")))
}

/// `[::1]:80` and `name:80`; None without a port.
pub fn split_host_port(address: &str) -> Option<(String, String)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    Some((host.to_owned(), port.to_owned()))
}

/// In a thread of its own: the C library has no limit of its own, and a resolver that is
/// away keeps it for ten seconds and more.
fn resolve(host: &str, port: u16, limit: Duration) -> Result<Vec<SocketAddr>, String> {
    if let Ok(address) = host.parse() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let (sender, receiver) = channel();
    let name = if host.is_empty() { "localhost" } else { host }.to_owned();
    std::thread::spawn(move || {
        let found = (name.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
        let _ = sender.send(found);
    });
    match receiver.recv_timeout(limit) {
        Ok(Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
        Ok(Err(problem)) if problem.to_string().contains("Temporary failure") => {
            Err(format!("dial tcp: lookup {host}{}: server misbehaving", name_server()))
        }
        Ok(_) => Err(format!("dial tcp: lookup {host}{}: no such host", name_server())),
        Err(_) => Err(format!("dial tcp: lookup {host}: i/o timeout")),
    }
}

fn name_server() -> String {
    std::fs::read_to_string("/etc/resolv.conf")
        .ok()
        .and_then(|conf| {
            conf.lines().find_map(|l| l.strip_prefix("nameserver ").map(|s| s.trim().to_owned()))
        })
        .map(|server| format!(" on {server}:53"))
        .unwrap_or_default()
}

fn connect_error(target: &SocketAddr, problem: &std::io::Error) -> String {
    let reason = match problem.kind() {
        ErrorKind::ConnectionRefused => "connect: connection refused",
        ErrorKind::HostUnreachable => "connect: no route to host",
        ErrorKind::NetworkUnreachable => "connect: network is unreachable",
        ErrorKind::TimedOut | ErrorKind::WouldBlock => "i/o timeout",
        _ => return format!("dial tcp {target}: connect: {problem}"),
    };
    format!("dial tcp {target}: {reason}")
}

/// An error in the middle of a conversation.
pub fn io_error(problem: &std::io::Error) -> String {
    match problem.kind() {
        ErrorKind::UnexpectedEof => "EOF".into(),
        ErrorKind::ConnectionReset => "read: connection reset by peer".into(),
        ErrorKind::BrokenPipe => "write: broken pipe".into(),
        ErrorKind::TimedOut | ErrorKind::WouldBlock => "i/o timeout".into(),
        _ => problem.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_need_a_port() {
        assert_eq!(split_host_port("a:1"), Some(("a".into(), "1".into())));
        assert_eq!(split_host_port("[::1]:80"), Some(("::1".into(), "80".into())));
        assert_eq!(split_host_port("localhost"), None);
        assert_eq!(split_host_port("::1:80"), None);
        let problem = tcp("localhost", Duration::from_millis(10)).unwrap_err();
        assert_eq!(problem, "dial tcp: address localhost: missing port in address");
    }

    #[test]
    fn a_closed_port_is_refused_as_in_go() {
        let port = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        };
        let address = format!("127.0.0.1:{port}");
        let problem = tcp(&address, Duration::from_secs(1)).unwrap_err();
        assert_eq!(problem, format!("dial tcp {address}: connect: connection refused"));
    }
}
