//! One HTTPS request to an address, whatever certificate is shown there: for looking at the
//! certificate, and at what answers behind it. Nothing secret may be sent this way.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, Stream};

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The server's own certificate (DER).
    pub certificate: Vec<u8>,
    /// Status code of the answer.
    pub status: u16,
    /// The first 64 KB of head and body.
    pub text: String,
}

/// Where to ask, for whom, and what.
#[derive(Debug, Clone)]
pub struct Request {
    /// Where.
    pub address: SocketAddr,
    /// The host name, for the choice of the certificate and as the header Host.
    pub host: String,
    /// The path; none: only the certificate is looked at.
    pub path: Option<String>,
    /// The longest it may take, all in all.
    pub limit: Duration,
}

/// Why nothing was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotSeen {
    /// No connection, or no TLS: nobody behind was asked. In words.
    NoTls(String),
    /// The certificate was shown, and no answer came. The certificate, and why in words.
    NoAnswer(Vec<u8>, String),
}

impl NotSeen {
    /// The server knows no host of the name that was asked for (TLS alert `unrecognized_name`).
    pub fn is_unknown_host(&self) -> bool {
        matches!(self, NotSeen::NoTls(why) if why.to_lowercase().contains("unrecogni"))
    }
}

/// Largest part of an answer that is read.
const LIMIT: usize = 64 * 1024;

/// Asks. Blocks its thread.
pub fn get(request: &Request) -> Result<Seen, NotSeen> {
    let until = Instant::now() + request.limit;
    let (mut connection, mut socket) =
        handshake(request, until).map_err(|error| NotSeen::NoTls(words(&error)))?;
    let certificate = connection
        .peer_certificates()
        .and_then(<[_]>::first)
        .map(|certificate| certificate.to_vec())
        .unwrap_or_default();
    let Some(path) = &request.path else {
        return Ok(Seen {
            certificate,
            status: 0,
            text: String::new(),
        });
    };
    match exchange(&mut connection, &mut socket, &request.host, path, until) {
        Ok((status, text)) => Ok(Seen {
            certificate,
            status,
            text,
        }),
        Err(error) => Err(NotSeen::NoAnswer(certificate, words(&error))),
    }
}

fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(left)
}

fn handshake(request: &Request, until: Instant) -> io::Result<(ClientConnection, TcpStream)> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Any(provider)))
        .with_no_client_auth();
    let name = ServerName::try_from(request.host.clone()).map_err(io::Error::other)?;
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let mut socket = TcpStream::connect_timeout(&request.address, left(until)?)?;
    while connection.is_handshaking() {
        socket.set_read_timeout(Some(left(until)?))?;
        socket.set_write_timeout(Some(left(until)?))?;
        connection.complete_io(&mut socket)?;
    }
    Ok((connection, socket))
}

fn exchange(
    connection: &mut ClientConnection,
    socket: &mut TcpStream,
    host: &str,
    path: &str,
    until: Instant,
) -> io::Result<(u16, String)> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: ooy\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    socket.set_write_timeout(Some(left(until)?))?;
    Stream::new(connection, socket).write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut buffer = [0; 8192];
    while answer.len() < LIMIT {
        socket.set_read_timeout(Some(left(until)?))?;
        match Stream::new(connection, socket).read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            // Closed without TLS's goodbye: what came is all there is.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        }
    }
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.get(2..5))
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is no HTTP"))?;
    Ok((status, text))
}

fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "no answer in time".to_owned(),
        io::ErrorKind::UnexpectedEof => "the connection was closed".to_owned(),
        _ => error.to_string(),
    }
}

/// Takes every certificate; only the handshake itself has to be right.
#[derive(Debug)]
struct Any(Arc<CryptoProvider>);

impl ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::certs;
    use rustls::ServerConfig;
    use rustls::pki_types::PrivateKeyDer;
    use rustls::pki_types::pem::PemObject as _;

    /// A server that shows an expired-or-not certificate of its own and answers once.
    fn serve(answer: &'static str) -> (SocketAddr, Vec<u8>) {
        let (certificate, key) = certs::self_signed("site.test", &[], 30).unwrap();
        let der = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![der.clone()], key)
            .unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut connection = rustls::ServerConnection::new(Arc::new(config)).unwrap();
            let mut stream = Stream::new(&mut connection, &mut socket);
            let mut request = [0; 1024];
            let Ok(count) = stream.read(&mut request) else {
                return;
            };
            assert!(request[..count].starts_with(b"GET /a HTTP/1.1\r\nHost: other.test\r\n"));
            if answer.is_empty() {
                // Silent until the other side gives up.
                let _ = stream.read(&mut request);
            }
            let _ = stream.write_all(answer.as_bytes());
        });
        (address, der.to_vec())
    }

    fn request(address: SocketAddr) -> Request {
        Request {
            address,
            host: "other.test".to_owned(),
            path: Some("/a".to_owned()),
            limit: Duration::from_secs(5),
        }
    }

    #[test]
    fn certificate_and_answer_are_seen_whoever_it_is() {
        let (address, der) = serve("HTTP/1.1 502 Bad Gateway\r\n\r\nno");
        let seen = get(&request(address)).unwrap();
        assert_eq!((seen.status, seen.certificate), (502, der));
        assert!(seen.text.ends_with("no"));
    }

    #[test]
    fn only_the_certificate() {
        let (address, der) = serve("");
        let request = Request {
            path: None,
            ..request(address)
        };
        assert_eq!(get(&request).unwrap().certificate, der);
    }

    #[test]
    fn a_server_that_says_nothing() {
        let (address, der) = serve("");
        let request = Request {
            limit: Duration::from_millis(300),
            ..request(address)
        };
        assert_eq!(
            get(&request),
            Err(NotSeen::NoAnswer(der, "no answer in time".to_owned()))
        );
    }

    #[test]
    fn nobody_and_no_tls() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        assert_eq!(
            get(&request(address)),
            Err(NotSeen::NoTls("connection refused".to_owned()))
        );
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        });
        assert!(matches!(get(&request(address)), Err(NotSeen::NoTls(_))));
    }
}
