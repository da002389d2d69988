//! PostgreSQL as lib/pq speaks to it: its rules for the URL and TLS, and its error texts.

mod connection;
mod options;

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use connection::Connection;
pub use options::Options;

/// A row, each value in PostgreSQL's text form.
pub type Row = Vec<Option<String>>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// What the server said, with its SQLSTATE.
    Server { code: String, message: String },
    /// Everything else, in the words of Go or lib/pq.
    Client(String),
}

impl Error {
    /// The connection still works after it.
    pub fn is_from_server(&self) -> bool {
        matches!(self, Self::Server { .. })
    }

    pub fn code(&self) -> &str {
        match self {
            Self::Server { code, .. } => code,
            Self::Client(_) => "",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server { message, .. } => write!(f, "pq: {message}"),
            Self::Client(message) => f.write_str(message),
        }
    }
}

/// One connection, opened when it is first needed and again when it broke: what is left of
/// database/sql's pool for a server that answers few requests at a time.
pub struct Database {
    options: Result<Options, String>,
    connection: Mutex<Option<Connection>>,
}

const QUERY_LIMIT: Duration = Duration::from_secs(20);

impl Database {
    pub fn new(url: &str) -> Self {
        Self { options: Options::parse(url), connection: Mutex::new(None) }
    }

    pub fn ping(&self, limit: Duration) -> Result<(), Error> {
        self.run(";", limit).map(|_| ())
    }

    pub fn query(&self, sql: &str) -> Result<Vec<Row>, Error> {
        self.run(sql, QUERY_LIMIT)
    }

    /// What `work` asks for happens in one transaction, which its error rolls back.
    pub fn transaction<T>(
        &self,
        work: impl FnOnce(&mut dyn FnMut(&str) -> Result<Vec<Row>, Error>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.ping(QUERY_LIMIT)?;
        let mut guard = self.connection.lock().unwrap();
        let Some(connection) = guard.as_mut() else {
            return Err(Error::Client("driver: bad connection".into()));
        };
        connection.query("BEGIN", QUERY_LIMIT)?;
        let result = work(&mut |sql| connection.query(sql, QUERY_LIMIT));
        let end = if result.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = connection.query(end, QUERY_LIMIT);
        if ended.as_ref().is_err_and(|e| !e.is_from_server()) {
            *guard = None;
        }
        result.and_then(|value| ended.map(|_| value))
    }

    fn run(&self, sql: &str, limit: Duration) -> Result<Vec<Row>, Error> {
        let options = self.options.as_ref().map_err(|e| Error::Client(e.clone()))?;
        let mut guard = self.connection.lock().unwrap();
        // An idle connection may have been closed by a server that was restarted since:
        // database/sql silently tries another one, and so does this.
        if let Some(connection) = guard.as_mut() {
            match connection.query(sql, limit) {
                Err(problem) if !problem.is_from_server() => *guard = None,
                Err(problem) if is_shutdown(&problem) => *guard = None,
                done => return done,
            }
        }
        let mut connection = Connection::open(options, limit)?;
        let done = connection.query(sql, limit);
        if !matches!(&done, Err(problem) if !problem.is_from_server()) {
            *guard = Some(connection);
        }
        done
    }
}

/// The server's farewell on a connection that it is about to close.
fn is_shutdown(problem: &Error) -> bool {
    matches!(problem.code(), "57P01" | "57P02" | "57P03")
}

/// A string as an SQL literal.
pub fn literal(text: &str) -> String {
    let escaped = text.replace('\0', "").replace('\'', "''");
    if escaped.contains('\\') {
        format!("E'{}'", escaped.replace('\\', "\\\\"))
    } else {
        format!("'{escaped}'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_cannot_end_early() {
        assert_eq!(literal("plain"), "'plain'");
        assert_eq!(literal("O'Brien"), "'O''Brien'");
        assert_eq!(literal(r"a\'; DROP"), r"E'a\\''; DROP'");
    }
}
