//! Reaching PostgreSQL and Redis over TCP, and what to tell an operator when that fails.
//!
//! Name resolution and connecting are done apart from each protocol's own library, because the
//! cure for "the name does not resolve", "nothing listens there" and "a firewall swallows it"
//! is a different one each time.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::time::Instant;

use self::hint::on_machine;
use super::apart::apart;
use crate::fault::Fault;

pub mod hint;

pub use hint::is_this_machine;

/// Why no TCP connection came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unreached {
    /// The name has no address, or no name server answered.
    NotResolved,
    /// The machine answered that nothing listens on the port.
    Refused,
    /// Nobody answered at all: a firewall, or no such machine.
    TimedOut,
    /// This side has no way there: no route, no network, no such local address.
    NoRoute,
}

/// A connection that did not come about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotConnected {
    /// What it comes down to.
    pub kind: Unreached,
    /// One line for each address tried: `10.0.10.4:5432: connection refused`.
    pub attempts: Vec<String>,
}

/// Connects to the first address of `host` that accepts, at the latest at `until`.
pub(super) async fn connect(
    host: &str,
    port: u16,
    until: Instant,
) -> Result<TcpStream, NotConnected> {
    let addresses = resolve(host, port, until).await?;
    let mut attempts = Vec::new();
    let mut kind = Unreached::NoRoute;
    for (at, address) in addresses.iter().enumerate() {
        // A mute first address (often IPv6) must not eat the time of the others.
        let left = until.saturating_duration_since(Instant::now());
        let share = left / (addresses.len() - at) as u32;
        let error = match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Small requests, each waiting for its answer: never hold one back.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => error,
            Err(_) => std::io::ErrorKind::TimedOut.into(),
        };
        let (this, text) = classify(&error);
        attempts.push(format!("{address}: {text}"));
        // What says most about the far side wins, when addresses fail in different ways.
        let weight = |kind| match kind {
            Unreached::Refused => 2,
            Unreached::TimedOut => 1,
            Unreached::NoRoute | Unreached::NotResolved => 0,
        };
        if weight(this) > weight(kind) {
            kind = this;
        }
    }
    Err(NotConnected { kind, attempts })
}

fn classify(error: &std::io::Error) -> (Unreached, String) {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => (
            Unreached::Refused,
            "connection refused, nothing listens there".into(),
        ),
        std::io::ErrorKind::TimedOut => (Unreached::TimedOut, "no answer".into()),
        // Includes "no route to host", which a firewall may answer too.
        _ => (Unreached::NoRoute, error.to_string()),
    }
}

/// The addresses of a host, at the latest at `until`.
pub(super) async fn resolve(
    host: &str,
    port: u16,
    until: Instant,
) -> Result<Vec<SocketAddr>, NotConnected> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let failed = |text: String| NotConnected {
        kind: Unreached::NotResolved,
        attempts: vec![format!("{host}: {text}")],
    };
    let name = host.to_owned();
    let asked = apart("resolve", move || {
        let found = (name.as_str(), port).to_socket_addrs();
        found.map(Iterator::collect::<Vec<_>>)
    });
    match tokio::time::timeout_at(until, asked).await {
        Ok(Ok(Ok(addresses))) if !addresses.is_empty() => Ok(addresses),
        Ok(Ok(Ok(_))) => Err(failed("the name has no address".into())),
        Ok(Ok(Err(error))) => Err(failed(error.to_string())),
        Ok(Err(undone)) => Err(failed(undone.to_string())),
        Err(_) => Err(failed("the name servers did not answer in time".into())),
    }
}

/// The address that this host takes for a connection to that one. Nothing is sent.
pub fn own_address(to: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = if to.is_ipv4() {
        std::net::Ipv4Addr::UNSPECIFIED.into()
    } else {
        std::net::Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = std::net::UdpSocket::bind((any, 0)).ok()?;
    socket.connect((to, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// The addresses of a host, at the latest at `until`; none where it has none.
pub async fn addresses(host: &str, until: Instant) -> Vec<IpAddr> {
    let found = resolve(host, 0, until).await.unwrap_or_default();
    found.iter().map(SocketAddr::ip).collect()
}

/// Adds what is known about a connection that did not come about: evidence and commands.
///
/// `program` is what should answer there ("PostgreSQL"), `refused` the commands that help when
/// nothing listens.
pub(super) fn explain(
    kind: Unreached,
    place: &Place<'_>,
    attempts: &[String],
    refused: &[String],
) -> Fault {
    let Place {
        label,
        program,
        host,
        port,
        from,
    } = *place;
    let seen = seen_from(from);
    let at = host_port(host, port);
    let mut fault = match kind {
        Unreached::NotResolved => Fault::problem(
            format!("{label}: the name {host} does not resolve"),
            format!("{program}'s host is given as {host}, and no address is known for it {seen}"),
        ),
        Unreached::Refused => Fault::problem(
            format!("{label}: {program} does not listen on {at}"),
            format!("the machine answers, but nothing listens on port {port} {seen}"),
        ),
        Unreached::TimedOut => Fault::problem(
            format!("{label}: {at} does not answer"),
            format!("connecting to {at} {seen} gets no answer at all, not even a refusal"),
        ),
        Unreached::NoRoute => Fault::problem(
            format!("{label}: no way to {at}"),
            format!("{at} cannot be reached {seen}"),
        ),
    };
    for attempt in attempts {
        fault = fault.evidence(attempt.clone());
    }
    if is_loopback(host) {
        fault = fault.evidence(format!(
            "inside a container {host} is the container itself: services need the address of \
             the machine that runs {program}"
        ));
    }
    match kind {
        Unreached::NotResolved => fault.next(format!("getent hosts {host}")),
        Unreached::Refused => refused
            .iter()
            .fold(fault, |f, command| f.next(command.clone())),
        Unreached::TimedOut => fault
            .evidence("usual causes: a firewall that drops packets, or a wrong address")
            .next(on_machine(host, "sudo ufw status verbose"))
            .next(format!("nc -vz -w 3 {host} {port}")),
        Unreached::NoRoute => fault.next(format!("ip route get {host}")),
    }
}

/// What should answer, where, and from where that was tried.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) label: &'a str,
    pub(super) program: &'a str,
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) from: &'a str,
}

/// "seen from a container of network ooy_default".
pub(super) fn seen_from(from: &str) -> String {
    format!("(seen from {from})")
}

/// `host:port`, an IPv6 address in brackets.
pub fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// Whether a host is the loopback of whoever asks: in a container, the container itself.
pub fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|a| a.is_loopback())
}

/// Takes the password out of a text that came from outside, where it stands as a word of its
/// own: a short password inside other words would be given away by what is left of them. Not
/// where it is one of the `known` words (the user, the database), which such texts do hold.
pub(super) fn mask(text: &str, password: Option<&str>, known: &[&str]) -> String {
    let Some(secret) = password.filter(|p| !p.is_empty() && !known.contains(p)) else {
        return text.to_owned();
    };
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(secret) {
        let (before, after) = (&rest[..at], &rest[at + secret.len()..]);
        let joined = before.ends_with(char::is_alphanumeric)
            || (before.is_empty() && shown.ends_with(char::is_alphanumeric))
            || after.starts_with(char::is_alphanumeric);
        shown.push_str(before);
        shown.push_str(if joined { secret } else { "***" });
        rest = after;
    }
    shown.push_str(rest);
    shown
}

/// Whole milliseconds.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_taken_out_where_it_is_a_word() {
        let masked = |text: &str| mask(text, Some("pw"), &["u"]);
        assert_eq!(masked("got 'pw' and pw"), "got '***' and ***");
        assert_eq!(masked("pwpw, spw, pws"), "pwpw, spw, pws");
        assert_eq!(masked(""), "");
        assert_eq!(mask("user u", Some("u"), &["u"]), "user u");
        assert_eq!(mask("text", Some(""), &[]), "text");
        assert_eq!(mask("é@é", Some("@"), &[]), "é@é");
    }

    #[tokio::test]
    async fn resolving_keeps_the_deadline() {
        let began = Instant::now();
        let until = began + Duration::from_millis(400);
        let error = connect("no-such-name.invalid", 1, until).await.unwrap_err();
        assert_eq!(error.kind, Unreached::NotResolved);
        assert!(began.elapsed() < Duration::from_secs(2));
    }

    #[tokio::test]
    async fn a_name_for_this_machine_is_tried_at_every_address() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let until = Instant::now() + Duration::from_secs(2);
        // IPv6 comes first where there is some, and nothing listens there.
        connect("localhost", port, until).await.unwrap();
        drop(listener);
        let error = connect("localhost", port, until).await.unwrap_err();
        assert_eq!(error.kind, Unreached::Refused);
        assert!(!error.attempts.is_empty());
    }
}
