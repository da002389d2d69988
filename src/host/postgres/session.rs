//! A session for questions about what the applications keep: read-only but for
//! [`Session::write`], each question with a limit.

use std::error::Error as _;
use std::time::Duration;

use tokio_postgres::{Client, Error, SimpleQueryMessage};

use super::super::reach::{self, mask};
use super::{Login, NO_TLS, migrations};
use crate::host::url::DatabaseUrl;

/// A session; dropped, it says goodbye to the server.
pub struct Session {
    client: Client,
    secret: Option<String>,
}

/// A row of an answer; every value as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row(Vec<Option<String>>);

impl Row {
    /// The value of a column, from 0; empty for NULL.
    pub fn text(&self, column: usize) -> &str {
        self.get(column).unwrap_or_default()
    }

    /// The same, with NULL told apart.
    pub fn get(&self, column: usize) -> Option<&str> {
        self.0.get(column)?.as_deref()
    }

    /// All values; empty for NULL.
    pub fn into_texts(self) -> Vec<String> {
        let values = self.0.into_iter();
        values.map(Option::unwrap_or_default).collect()
    }

    /// The value as a number; 0 for what is none.
    pub fn number(&self, column: usize) -> i64 {
        self.get(column)
            .and_then(|text| {
                text.parse()
                    .ok()
                    .or_else(|| text.parse::<f64>().ok().map(|number| number as i64))
            })
            .unwrap_or_default()
    }

    /// Whether the value is true.
    pub fn truth(&self, column: usize) -> bool {
        self.get(column) == Some("t")
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoAnswer {
    /// SQLSTATE, where the server gave one: `42P01` is "no such table".
    pub sqlstate: Option<String>,
    /// In words, without the password.
    pub message: String,
}

impl NoAnswer {
    /// The table or column that was asked for does not exist (another release has others).
    pub fn is_unknown_table(&self) -> bool {
        matches!(self.sqlstate.as_deref(), Some("42P01" | "42703"))
    }
}

impl Session {
    /// Logs in. The error is in words, without the password; `probe` tells the causes apart.
    pub async fn open(url: &DatabaseUrl, deadline: Duration) -> Result<Self, String> {
        if url.requires_tls() {
            return Err(NO_TLS.to_owned());
        }
        let until = tokio::time::Instant::now() + deadline;
        let stream = reach::connect(url.host(), url.port(), until)
            .await
            .map_err(|error| error.attempts.join(", "))?;
        let login = tokio::time::timeout_at(until, Login::at(stream, url))
            .await
            .map_err(|_| "no answer in time".to_owned())?
            .map_err(|error| no_answer(&error, url.password()).message)?;
        Self::of(login, url, deadline, until).await
    }

    /// One that has logged in already. No question may take longer than `limit`.
    pub(super) async fn of(
        login: Login,
        url: &DatabaseUrl,
        limit: Duration,
        until: tokio::time::Instant,
    ) -> Result<Self, String> {
        let session = Self {
            // Its driver ends by itself when the client is dropped, with a goodbye to the server.
            client: login.client,
            secret: url.password().map(str::to_owned),
        };
        // Not as options of the log-in, which poolers refuse.
        let limits = format!(
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY; SET statement_timeout = {}",
            limit.as_millis()
        );
        let limited = tokio::time::timeout_at(until, session.rows(&limits));
        match limited.await {
            Ok(Ok(_)) => Ok(session),
            Ok(Err(error)) => Err(error.message),
            Err(_) => Err("no answer in time".to_owned()),
        }
    }

    /// Asks. Simple queries only: poolers in transaction mode break prepared statements.
    pub async fn rows(&self, query: &str) -> Result<Vec<Row>, NoAnswer> {
        let answers = self
            .client
            .simple_query(query)
            .await
            .map_err(|error| no_answer(&error, self.secret.as_deref()))?;
        Ok(answers
            .into_iter()
            .filter_map(|answer| match answer {
                SimpleQueryMessage::Row(row) => Some(Row((0..row.len())
                    .map(|column| row.get(column).map(str::to_owned))
                    .collect())),
                _ => None,
            })
            .collect())
    }

    /// The one way to change something: a statement in a transaction of its own that may write.
    pub async fn write(&self, statement: &str) -> Result<(), NoAnswer> {
        self.rows(&format!("BEGIN READ WRITE; {statement}; COMMIT"))
            .await
            .map(drop)
    }

    /// A statement that must stand alone, in no transaction: `CREATE DATABASE`.
    pub async fn write_alone(&self, statement: &str) -> Result<(), NoAnswer> {
        let access = |how: &str| format!("SET SESSION CHARACTERISTICS AS TRANSACTION {how}");
        self.rows(&access("READ WRITE")).await?;
        let written = self.rows(statement).await;
        self.rows(&access("READ ONLY")).await?;
        written.map(drop)
    }

    /// Takes all limits away: for counts and backups, which take as long as they take.
    pub async fn unlimited(&self) -> Result<(), NoAnswer> {
        let lift = "SET statement_timeout = 0; SET lock_timeout = 0; \
                    SET idle_in_transaction_session_timeout = 0";
        self.rows(lift).await.map(drop)
    }

    /// Digest of the migrations that Django has applied to this database, as a release task prints
    /// it; an unknown table before the first.
    pub async fn migrations(&self) -> Result<String, NoAnswer> {
        let rows = self.rows(migrations::NAMES).await?;
        let names = rows.iter().map(|row| row.text(0).to_owned()).collect();
        Ok(migrations::digest(names))
    }
}

fn no_answer(error: &Error, secret: Option<&str>) -> NoAnswer {
    let text = match (error.as_db_error(), error.source()) {
        (Some(answer), _) => answer.message().to_owned(),
        (None, Some(why)) => why.to_string(),
        (None, None) => error.to_string(),
    };
    NoAnswer {
        sqlstate: error.code().map(|code| code.code().to_owned()),
        message: mask(&text, secret, &[]),
    }
}
