//! One HTTP exchange: what was sent, what came back, and, when nothing usable did, whether the
//! server can have received the request.
//!
//! Looked up in ureq 3.5.2 (run.rs, pool.rs): a request is written to one connection once. ureq
//! never tries it again, neither on another address after the first byte nor when a kept
//! connection turns out to be dead; the only thing it repeats are redirects, which are off here.
//! So a POST leaves this machine at most once for each call of [`Transport::exchange`].
//!
//! Whether it left at all is not read from the kind of error, which is the same before and
//! after (a reset, a timeout): [`Watch`] notes the moment at which a connection that is ready
//! for use, TLS included, is first written to.

pub mod roots;

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::{HeaderMap, Uri};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, DefaultConnector, NextTimeout, Transport as Wire,
};
use ureq::{Agent, Error, Timeout};

/// Connections idle for longer are not used again: servers and firewalls forget them, and a
/// request on a dead one would have to be taken for perhaps delivered.
const IDLE: Duration = Duration::from_secs(10);

/// How long the addresses of the server's name are used without asking DNS again.
const ADDRESSES: Duration = Duration::from_secs(60);

/// Largest answer that is read: a page of 250 flow starts with all that other programs may have
/// put into their parameters.
const LARGEST: u64 = 32 * 1024 * 1024;

/// An answer of the server, whatever it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// The status code.
    pub status: u16,
    /// The header `Date`: the server's clock.
    pub date: Option<String>,
    /// The header `Retry-After`.
    pub retry_after: Option<String>,
    /// The header `Location`.
    pub location: Option<String>,
    /// The body, whole.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// No byte of the request has left: no address, refused, TLS not agreed upon.
    NotSent(String),
    /// It may have been received and acted on.
    Lost(String),
}

/// A request.
pub struct Request<'a> {
    /// The whole address.
    pub url: &'a str,
    /// The header `Authorization`; a secret.
    pub authorization: Option<&'a str>,
    /// More headers.
    pub headers: &'a [(&'static str, &'a str)],
    /// POST with this body; without one, GET.
    pub body: Option<&'a [u8]>,
    /// The longest it may take, all in all.
    pub limit: Duration,
}

/// The time limits of a request under way. ureq's type for that has no name outside of it.
macro_rules! limited {
    ($call:expr, $limit:expr) => {{
        let (whole, half) = ($limit, $limit / 2);
        $call
            .config()
            .timeout_global(Some(whole))
            .timeout_resolve(Some(half))
            .timeout_connect(Some(half))
            .timeout_send_request(Some(half))
            .timeout_send_body(Some(half))
            .timeout_recv_response(Some(whole))
            .timeout_recv_body(Some(whole))
            .build()
    }};
}

/// One connection, kept alive.
pub struct Transport {
    agent: Agent,
    written: Arc<AtomicBool>,
    addresses: Arc<Mutex<Option<Known>>>,
}

impl Transport {
    /// Nothing is connected yet.
    pub fn new(roots: ureq::tls::RootCerts) -> Self {
        let written = Arc::new(AtomicBool::new(false));
        let addresses = Arc::default();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // Followed nowhere: the token goes to no other host.
            .max_redirects(0)
            // The environment is Asterisk's; a proxy in it was not meant for this.
            .proxy(None)
            .max_idle_connections(1)
            .max_idle_connections_per_host(1)
            .max_idle_age(IDLE)
            .user_agent(concat!("ooy/", env!("CARGO_PKG_VERSION")))
            .accept("application/json")
            .tls_config(
                ureq::tls::TlsConfig::builder()
                    .provider(ureq::tls::TlsProvider::Rustls)
                    .root_certs(roots)
                    .build(),
            )
            .build();
        let agent = Agent::with_parts(
            config,
            DefaultConnector::new().chain(Watch(Arc::clone(&written))),
            Names {
                system: DefaultResolver::default(),
                known: Arc::clone(&addresses),
            },
        );
        Self {
            agent,
            written,
            addresses,
        }
    }

    /// Sends the request, once, and reads the answer.
    pub fn exchange(&self, request: &Request) -> Result<Exchange, Broken> {
        self.written.store(false, Ordering::SeqCst);
        self.attempt(request).map_err(|error| {
            // Perhaps the server has moved.
            if let Ok(mut known) = self.addresses.lock() {
                *known = None;
            }
            let words = words(&error);
            if self.written.load(Ordering::SeqCst) {
                Broken::Lost(words)
            } else {
                Broken::NotSent(words)
            }
        })
    }

    fn attempt(&self, request: &Request) -> Result<Exchange, Error> {
        let authorization = request.authorization.map(|value| ("Authorization", value));
        let headers = authorization.iter().chain(request.headers);
        let mut answer = match request.body {
            None => {
                let call = headers.fold(self.agent.get(request.url), |call, (name, value)| {
                    call.header(*name, *value)
                });
                limited!(call, request.limit).call()?
            }
            Some(body) => {
                let call = headers.fold(self.agent.post(request.url), |call, (name, value)| {
                    call.header(*name, *value)
                });
                limited!(call, request.limit).send(body)?
            }
        };
        let status = answer.status().as_u16();
        let headers = answer.headers();
        let (date, retry_after, location) = (
            header(headers, "date"),
            header(headers, "retry-after"),
            header(headers, "location"),
        );
        let body = answer
            .body_mut()
            .with_config()
            .limit(LARGEST)
            .read_to_vec()?;
        Ok(Exchange {
            status,
            date,
            retry_after,
            location,
            body,
        })
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.to_owned())
}

/// For people; holds nothing that was sent.
pub(super) fn words(error: &Error) -> String {
    match error {
        Error::Timeout(Timeout::Resolve) => "DNS did not answer in time".to_owned(),
        Error::Timeout(Timeout::Connect) => "no connection in time".to_owned(),
        Error::Timeout(Timeout::SendRequest | Timeout::SendBody) => {
            "the request was not taken in time".to_owned()
        }
        Error::Timeout(_) => "no answer in time".to_owned(),
        Error::HostNotFound => "the name has no address".to_owned(),
        Error::Io(error) => io_words(error),
        Error::Rustls(error) => format!("TLS: {error}"),
        Error::Tls(error) => format!("TLS: {error}"),
        Error::Protocol(_) => "the answer is no HTTP".to_owned(),
        Error::LargeResponseHeader(..) => "the answer's head is too long".to_owned(),
        Error::BodyExceedsLimit(_) => "the answer is too long".to_owned(),
        other => other.to_string(),
    }
}

fn io_words(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        ErrorKind::UnexpectedEof => "the connection was closed before the answer".to_owned(),
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
            "the connection was broken off".to_owned()
        }
        ErrorKind::TimedOut | ErrorKind::WouldBlock => "no answer in time".to_owned(),
        // A TLS failure comes as "invalid data" and says itself what it is.
        ErrorKind::InvalidData => format!("TLS: {error}"),
        _ => {
            let text = error.to_string();
            if text.contains("failed to lookup address") {
                return "the name has no address, or DNS does not answer".to_owned();
            }
            text.split(" (os error").next().unwrap_or(&text).to_owned()
        }
    }
}

/// The last link of the chain that makes a connection: notes when it is written to.
#[derive(Debug)]
struct Watch(Arc<AtomicBool>);

impl<In: Wire> Connector<In> for Watch {
    type Out = Watched<In>;

    fn connect(
        &self,
        _details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        Ok(chained.map(|wire| Watched {
            wire,
            written: Arc::clone(&self.0),
        }))
    }
}

#[derive(Debug)]
struct Watched<W> {
    wire: W,
    written: Arc<AtomicBool>,
}

impl<W: Wire> Wire for Watched<W> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.wire.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.written.store(true, Ordering::SeqCst);
        self.wire.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.wire.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.wire.is_open()
    }

    fn is_tls(&self) -> bool {
        self.wire.is_tls()
    }
}

struct Known {
    of: Uri,
    at: Instant,
    addresses: ResolvedSocketAddrs,
}

/// ureq asks DNS for every request, also for one on a kept connection, in a thread of its own:
/// for a thousand calls that is a thousand questions. The answer is kept for a minute.
struct Names {
    system: DefaultResolver,
    known: Arc<Mutex<Option<Known>>>,
}

/// The names below `localhost` are this machine (RFC 6761), and no DNS knows them.
fn loopback(uri: &Uri) -> Option<SocketAddr> {
    let host = uri.host()?.trim_end_matches('.').to_ascii_lowercase();
    let port = uri
        .port_u16()
        .unwrap_or(if uri.scheme_str() == Some("http") {
            80
        } else {
            443
        });
    host.ends_with(".localhost")
        .then(|| SocketAddr::from(([127, 0, 0, 1], port)))
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names")
    }
}

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let Ok(mut known) = self.known.lock() else {
            return self.system.resolve(uri, config, timeout);
        };
        if let Some(found) = known.as_ref()
            && found.of.authority() == uri.authority()
            && found.of.scheme() == uri.scheme()
            && found.at.elapsed() < ADDRESSES
        {
            let mut addresses = self.system.empty();
            for address in found.addresses.iter() {
                addresses.push(*address);
            }
            return Ok(addresses);
        }
        let fresh = match loopback(uri) {
            Some(address) => {
                let mut here = self.system.empty();
                here.push(address);
                here
            }
            None => self.system.resolve(uri, config, timeout)?,
        };
        let mut addresses = self.system.empty();
        for address in fresh.iter() {
            addresses.push(*address);
        }
        *known = Some(Known {
            of: uri.clone(),
            at: Instant::now(),
            addresses,
        });
        Ok(fresh)
    }
}
