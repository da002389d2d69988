//! One connection: log-in, simple queries, and nothing else.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::{ErrorResponseBody, Message};
use postgres_protocol::message::frontend;

use super::options::Ssl;
use super::{Error, Options, Row};
use crate::go::dial;

pub struct Connection {
    stream: TcpStream,
    received: BytesMut,
}

impl Connection {
    pub fn open(options: &Options, limit: Duration) -> Result<Self, Error> {
        if options.ssl != Ssl::Disable {
            check_ssl(options, limit)?;
        }
        let stream = dial::tcp(&options.address, limit).map_err(Error::Client)?;
        let mut connection = Self { stream, received: BytesMut::new() };
        connection.limit(limit);
        connection.log_in(options)?;
        Ok(connection)
    }

    pub fn query(&mut self, sql: &str, limit: Duration) -> Result<Vec<Row>, Error> {
        self.limit(limit);
        self.send(|out| frontend::query(sql, out))?;
        let mut rows = Vec::new();
        let mut failure = None;
        loop {
            match self.receive()? {
                Message::RowDescription(_) => rows.clear(),
                Message::DataRow(body) => {
                    let buffer = body.buffer();
                    let mut row = Row::new();
                    let mut ranges = body.ranges();
                    while let Some(range) = ranges.next().map_err(broken)? {
                        row.push(range.map(|r| String::from_utf8_lossy(&buffer[r]).into_owned()));
                    }
                    rows.push(row);
                }
                Message::ErrorResponse(body) => failure = Some(server_error(&body)),
                Message::ReadyForQuery(_) => {
                    return match failure {
                        Some(problem) => Err(problem),
                        None => Ok(rows),
                    };
                }
                _ => {}
            }
        }
    }

    fn log_in(&mut self, options: &Options) -> Result<(), Error> {
        let fixed = [
            ("client_encoding", "UTF8"),
            ("datestyle", "ISO, MDY"),
            ("extra_float_digits", "2"),
            ("user", options.user.as_str()),
            ("database", options.database.as_str()),
        ];
        let own = options.parameters.iter().map(|(k, v)| (k.as_str(), v.as_str()));
        self.send(|out| frontend::startup_message(fixed.into_iter().chain(own), out))?;

        let mut scram = None;
        loop {
            match self.receive()? {
                Message::AuthenticationOk | Message::AuthenticationSaslFinal(_) => {}
                Message::AuthenticationCleartextPassword => {
                    self.send(|out| frontend::password_message(options.password.as_bytes(), out))?;
                }
                Message::AuthenticationMd5Password(body) => {
                    let hash =
                        md5_hash(options.user.as_bytes(), options.password.as_bytes(), body.salt());
                    self.send(|out| frontend::password_message(hash.as_bytes(), out))?;
                }
                Message::AuthenticationSasl(_) => {
                    let exchange = ScramSha256::new(
                        options.password.as_bytes(),
                        ChannelBinding::unsupported(),
                    );
                    let first = exchange.message().to_vec();
                    self.send(|out| frontend::sasl_initial_response(SCRAM_SHA_256, &first, out))?;
                    scram = Some(exchange);
                }
                Message::AuthenticationSaslContinue(body) => {
                    let exchange = scram.as_mut().ok_or_else(|| unexpected("SASL"))?;
                    exchange.update(body.data()).map_err(broken)?;
                    let answer = exchange.message().to_vec();
                    self.send(|out| frontend::sasl_response(&answer, out))?;
                }
                Message::ErrorResponse(body) => return Err(server_error(&body)),
                Message::ReadyForQuery(_) => return Ok(()),
                Message::ParameterStatus(_)
                | Message::BackendKeyData(_)
                | Message::NoticeResponse(_) => {}
                _ => return Err(unexpected("authentication")),
            }
        }
    }

    fn limit(&self, limit: Duration) {
        let limit = Some(limit.max(Duration::from_millis(1)));
        let _ = self.stream.set_read_timeout(limit);
        let _ = self.stream.set_write_timeout(limit);
    }

    fn send(
        &mut self,
        write: impl FnOnce(&mut BytesMut) -> std::io::Result<()>,
    ) -> Result<(), Error> {
        let mut out = BytesMut::new();
        write(&mut out).and_then(|()| self.stream.write_all(&out)).map_err(broken)
    }

    fn receive(&mut self) -> Result<Message, Error> {
        let mut chunk = [0; 16 * 1024];
        loop {
            if let Some(message) = Message::parse(&mut self.received).map_err(broken)? {
                return Ok(message);
            }
            match self.stream.read(&mut chunk).map_err(broken)? {
                0 => return Err(Error::Client("EOF".into())),
                length => self.received.extend_from_slice(&chunk[..length]),
            }
        }
    }
}

/// lib/pq asks for TLS unless told not to, and gives up where the server has none. The
/// stand-in has none itself: it makes sure that the server would have agreed, and then
/// connects without.
fn check_ssl(options: &Options, limit: Duration) -> Result<(), Error> {
    let mut stream = dial::tcp(&options.address, limit).map_err(Error::Client)?;
    let _ = stream.set_read_timeout(Some(limit.max(Duration::from_millis(1))));
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    let mut answer = [0];
    stream.write_all(&request).and_then(|()| stream.read_exact(&mut answer)).map_err(broken)?;
    match (answer[0], options.ssl) {
        (b'S', Ssl::Verify) => {
            Err(Error::Client("x509: certificate signed by unknown authority".into()))
        }
        (b'S', _) => Ok(()),
        _ => Err(Error::Client("pq: SSL is not enabled on the server".into())),
    }
}

fn server_error(body: &ErrorResponseBody) -> Error {
    let (mut code, mut message) = (String::new(), String::new());
    let mut fields = body.fields();
    while let Ok(Some(field)) = fields.next() {
        let value = String::from_utf8_lossy(field.value_bytes()).into_owned();
        match field.type_() {
            b'C' => code = value,
            b'M' => message = value,
            _ => {}
        }
    }
    Error::Server { code, message }
}

fn broken(problem: std::io::Error) -> Error {
    Error::Client(dial::io_error(&problem))
}

fn unexpected(what: &str) -> Error {
    Error::Client(format!("pq: unexpected {what} response"))
}
