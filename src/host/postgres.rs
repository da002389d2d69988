//! PostgreSQL as the services will find it: can this role use this database from here?
//!
//! Every way in which the answer can be "no" has its own cure, so they are told apart, by
//! SQLSTATE and by the server's routine, since the messages are in the server's language. The
//! report can be sent on as JSON: the probe also runs inside a container, where alone it sees
//! what a service sees.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, Error, NoTls, SimpleQueryMessage, SimpleQueryRow};

use self::session::Session;
use super::reach::{self, Unreached, mask, millis};
use super::url::DatabaseUrl;

pub mod admin;
pub mod admit;
pub mod archive;
pub mod by_hand;
pub mod census;
mod fault;
mod guard;
pub mod hba;
mod migrations;
mod names;
pub mod programs;
pub mod server;
pub mod session;
#[cfg(test)]
mod tests;

/// Why there is no session where the address insists on TLS.
const NO_TLS: &str = "the address asks for TLS, which ooy does not speak";

/// What became of the attempt to use a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PostgresOutcome {
    /// Logged in and asked. There may still be something to complain of: see
    /// [`PostgresReport::fault`].
    Usable,
    /// Something accepts the connection and then says nothing until the deadline.
    Silent,
    /// What answers there is not PostgreSQL.
    NotPostgres,
    /// No line of pg_hba.conf lets this role into this database from this address.
    HbaRejected,
    /// The password is wrong, or the role does not exist: the server does not say which.
    WrongPassword,
    /// The server wants a password and the URL has none.
    PasswordMissing,
    /// The server wants a way of logging in that the services do not have (peer, ident, ...).
    MethodUnusable,
    /// The role does not exist.
    RoleMissing,
    /// The role exists and may not log in.
    RoleMayNotLogIn,
    /// The role may not connect to this database.
    MayNotConnect,
    /// The database does not exist.
    DatabaseMissing,
    /// The server is starting up, or recovering.
    StartingUp,
    /// The server is shutting down.
    ShuttingDown,
    /// All connections that this role may have are in use.
    TooManyConnections,
    /// The server (or a pooler before it) takes connections with TLS only.
    TlsRequired,
    /// The URL insists on TLS and the server has none.
    TlsNotOffered,
    /// Something else: see the message.
    Failed,
    /// No TCP connection came about.
    #[serde(untagged)]
    Unreached(Unreached),
}

/// What a probe found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostgresReport {
    /// What became of it.
    pub outcome: PostgresOutcome,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Addresses that were tried and why none accepted; one line each.
    pub attempts: Vec<String>,
    /// The server's SQLSTATE (PostgreSQL documentation, appendix A).
    pub sqlstate: Option<String>,
    /// The server's own words, or those of the library; without the password.
    pub message: Option<String>,
    /// Whether the server offers TLS; asked only where it matters.
    pub tls_offered: Option<bool>,
    /// The URL insists on TLS, which this probe does not speak: reached and offering TLS is all
    /// that is known, neither the login nor the extensions were looked at.
    pub tls_not_checked: bool,
    /// What a logged-in role sees. `None` unless the outcome is usable and TLS was not in the
    /// way.
    pub server: Option<PostgresServer>,
}

/// What a logged-in role sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostgresServer {
    /// `server_version`: "15.8 (Debian 15.8-0+deb12u1)".
    pub version: String,
    /// `server_version_num`: 150008; 90624 for 9.6.24.
    pub version_number: u32,
    /// The address that the server sees this client come from: what pg_hba.conf has to allow.
    pub client_address: Option<String>,
    /// The role is a superuser.
    pub is_superuser: bool,
    /// The role may create schemas, and trusted extensions, in this database.
    pub may_create: bool,
    /// Nothing can be written: a standby, or `default_transaction_read_only`.
    pub read_only: bool,
    /// Extensions of this database and their versions.
    pub installed: BTreeMap<String, String>,
    /// Wanted extensions that this database does not have.
    pub missing: Vec<MissingExtension>,
    /// Digest of the migrations that Django has applied; `None` before the first.
    pub migrations: Option<String>,
}

/// An extension that a service needs and the database does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingExtension {
    /// Its name.
    pub name: String,
    /// The server's files have it: CREATE EXTENSION is all that is needed.
    pub available: bool,
    /// This role may create it by itself: as superuser, or because it is trusted (PostgreSQL 13
    /// and later) and the role may create in this database.
    pub may_create: bool,
}

/// Connects as a service would and looks around; nothing is changed. `deadline` covers all of
/// it. Never fails: whatever goes wrong is what the report says.
pub async fn probe(
    url: &DatabaseUrl,
    wanted_extensions: &[&str],
    deadline: Duration,
) -> PostgresReport {
    let (report, login) = visit(url, wanted_extensions, deadline).await;
    if let Some(login) = login {
        login.leave().await;
    }
    report
}

/// The same, and stays, for more questions: each log-in costs the server a process of its own.
pub async fn probe_and_stay(
    url: &DatabaseUrl,
    wanted_extensions: &[&str],
    deadline: Duration,
) -> (PostgresReport, Result<Session, String>) {
    let until = Instant::now() + deadline;
    let (report, login) = visit(url, wanted_extensions, deadline).await;
    let session = match login {
        Some(login) => Session::of(login, url, deadline, until).await,
        None => Err(report.why_not()),
    };
    (report, session)
}

/// Somebody who is let in.
struct Login {
    client: Client,
    driver: JoinHandle<Result<(), Error>>,
}

impl Login {
    async fn at(stream: TcpStream, url: &DatabaseUrl) -> Result<Self, Error> {
        let mut config = Config::new();
        config
            .user(url.user())
            .dbname(url.database())
            .application_name("ooy")
            .ssl_mode(SslMode::Disable);
        if let Some(password) = url.password() {
            config.password(password);
        }
        let (client, connection) = config.connect_raw(guard::Guard::new(stream), NoTls).await?;
        let driver = tokio::spawn(connection);
        Ok(Self { client, driver })
    }

    /// Says goodbye, so that the server's log holds no "unexpected EOF on client connection".
    async fn leave(self) {
        let Self { client, mut driver } = self;
        drop(client);
        let patience = Duration::from_millis(200);
        if tokio::time::timeout(patience, &mut driver).await.is_err() {
            driver.abort();
        }
    }
}

async fn visit(
    url: &DatabaseUrl,
    wanted_extensions: &[&str],
    deadline: Duration,
) -> (PostgresReport, Option<Login>) {
    let began = Instant::now();
    let mut report = PostgresReport {
        // What stays if the deadline ends the examination after the connection was accepted.
        outcome: PostgresOutcome::Silent,
        took_ms: 0,
        attempts: Vec::new(),
        sqlstate: None,
        message: None,
        tls_offered: None,
        tls_not_checked: false,
        server: None,
    };
    let until = began + deadline;
    let mut login = None;
    match reach::connect(url.host(), url.port(), until).await {
        Ok(stream) => {
            // On timeout the report keeps what was found until then.
            let examined = examine(stream, url, wanted_extensions, until, &mut report);
            login = tokio::time::timeout_at(until, examined)
                .await
                .ok()
                .flatten();
        }
        Err(error) => {
            report.outcome = PostgresOutcome::Unreached(error.kind);
            report.attempts = error.attempts;
        }
    }
    report.took_ms = millis(began.elapsed());
    (report, login)
}

async fn examine(
    mut stream: TcpStream,
    url: &DatabaseUrl,
    wanted: &[&str],
    until: Instant,
    report: &mut PostgresReport,
) -> Option<Login> {
    if url.requires_tls() {
        report.tls_not_checked = true;
        report.tls_offered = ask_for_tls(&mut stream).await;
        report.outcome = match report.tls_offered {
            Some(true) => PostgresOutcome::Usable,
            Some(false) => PostgresOutcome::TlsNotOffered,
            None => PostgresOutcome::NotPostgres,
        };
        return None;
    }
    match look_around(stream, url, wanted).await {
        Ok((server, login)) => {
            report.outcome = PostgresOutcome::Usable;
            report.server = Some(server);
            return Some(login);
        }
        Err(error) => {
            report.outcome = classify(&error);
            report.sqlstate = error.code().map(|code| code.code().to_owned());
            let text = match (error.as_db_error(), error.source()) {
                (Some(answer), _) => answer.message().to_owned(),
                (None, Some(why)) => why.to_string(),
                (None, None) => error.to_string(),
            };
            report.message = Some(mask(&text, url.password(), &[url.user(), url.database()]));
        }
    }
    if report.outcome == PostgresOutcome::HbaRejected
        && let Ok(mut second) = reach::connect(url.host(), url.port(), until).await
    {
        // Says whether a line for TLS only (hostssl) may be what was meant to match.
        report.tls_offered = ask_for_tls(&mut second).await;
    }
    None
}

/// Sends an SSLRequest (PostgreSQL documentation, 55.2.10): the answer is one byte. `None` if it
/// is not one that PostgreSQL gives.
async fn ask_for_tls(stream: &mut TcpStream) -> Option<bool> {
    const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
    stream.write_all(&SSL_REQUEST).await.ok()?;
    match stream.read_u8().await.ok()? {
        b'S' => Some(true),
        b'N' => Some(false),
        _ => None,
    }
}

async fn look_around(
    stream: TcpStream,
    url: &DatabaseUrl,
    wanted: &[&str],
) -> Result<(PostgresServer, Login), Error> {
    let login = Login::at(stream, url).await?;
    match ask(&login.client, wanted).await {
        Ok(server) => Ok((server, login)),
        Err(error) => {
            login.leave().await;
            Err(error)
        }
    }
}

/// Simple queries only: poolers in transaction mode break prepared statements.
async fn ask(client: &Client, wanted: &[&str]) -> Result<PostgresServer, Error> {
    let rows = rows(
        client,
        "SELECT current_setting('server_version'), current_setting('server_version_num'), \
         host(inet_client_addr()), \
         coalesce((SELECT rolsuper FROM pg_roles WHERE rolname = current_user), false), \
         has_database_privilege(current_database(), 'CREATE'), \
         current_setting('transaction_read_only')::bool OR pg_is_in_recovery()",
    )
    .await?;
    let text = |column: usize| {
        rows.first()
            .and_then(|row| row.get(column))
            .map(str::to_owned)
    };
    let truth = |column: usize| text(column).as_deref() == Some("t");
    let version_number = text(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    let (is_superuser, may_create) = (truth(3), truth(4));

    let mut installed = BTreeMap::new();
    for row in self::rows(client, "SELECT extname, extversion FROM pg_extension").await? {
        if let (Some(name), Some(version)) = (row.get(0), row.get(1)) {
            installed.insert(name.to_owned(), version.to_owned());
        }
    }
    let lacking: Vec<&str> = wanted
        .iter()
        .copied()
        .filter(|name| !installed.contains_key(*name))
        .collect();
    let mut missing = Vec::new();
    if !lacking.is_empty() {
        let available = available_extensions(client, version_number).await?;
        for name in lacking {
            let found = available.get(name);
            missing.push(MissingExtension {
                name: name.to_owned(),
                available: found.is_some(),
                may_create: is_superuser || (may_create && found == Some(&true)),
            });
        }
    }
    let migrations = migrations::applied(client).await?;
    Ok(PostgresServer {
        version: text(0).unwrap_or_default(),
        version_number,
        client_address: text(2),
        is_superuser,
        may_create,
        read_only: truth(5),
        installed,
        missing,
        migrations,
    })
}

/// The extensions whose files the server has, and whether an ordinary role that may create in
/// the database may create them.
async fn available_extensions(
    client: &Client,
    version_number: u32,
) -> Result<BTreeMap<String, bool>, Error> {
    let open = if version_number >= 130_000 {
        "v.trusted OR NOT v.superuser"
    } else {
        "NOT v.superuser"
    };
    let query = format!(
        "SELECT v.name, {open} FROM pg_available_extensions e \
         JOIN pg_available_extension_versions v \
         ON v.name = e.name AND v.version = e.default_version"
    );
    let rows = rows(client, &query).await?;
    Ok(rows
        .iter()
        .filter_map(|row| Some((row.get(0)?.to_owned(), row.get(1) == Some("t"))))
        .collect())
}

async fn rows(client: &Client, query: &str) -> Result<Vec<SimpleQueryRow>, Error> {
    let answers = client.simple_query(query).await?;
    Ok(answers
        .into_iter()
        .filter_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        })
        .collect())
}

/// What an error of the library stands for. Messages are consulted only where SQLSTATE and
/// routine leave a choice; `pg_hba.conf` is in them in every language.
fn classify(error: &Error) -> PostgresOutcome {
    let Some(answer) = error.as_db_error() else {
        return classify_local(error);
    };
    classify_answer(
        answer.code().code(),
        answer.routine().unwrap_or_default(),
        answer.message(),
    )
}

fn classify_answer(sqlstate: &str, routine: &str, message: &str) -> PostgresOutcome {
    // Poolers and managed servers answer so, under various codes.
    let tls = message.contains("SSL") && message.contains("required");
    match sqlstate {
        _ if tls => PostgresOutcome::TlsRequired,
        "28P01" => PostgresOutcome::WrongPassword,
        "28000" if message.contains("pg_hba.conf") => PostgresOutcome::HbaRejected,
        "28000" if routine == "InitializeSessionUserId" => {
            if message.contains("permitted") {
                PostgresOutcome::RoleMayNotLogIn
            } else {
                PostgresOutcome::RoleMissing
            }
        }
        "28000" => PostgresOutcome::MethodUnusable,
        "3D000" => PostgresOutcome::DatabaseMissing,
        "42501" => PostgresOutcome::MayNotConnect,
        "53300" => PostgresOutcome::TooManyConnections,
        "57P03" if !message.contains("shutting down") => PostgresOutcome::StartingUp,
        "57P01" | "57P02" | "57P03" => PostgresOutcome::ShuttingDown,
        _ => PostgresOutcome::Failed,
    }
}

/// Errors that the library found by itself. Their kind is private: it shows in the text.
fn classify_local(error: &Error) -> PostgresOutcome {
    let text = error.to_string();
    let io = error
        .source()
        .and_then(|why| why.downcast_ref::<std::io::Error>());
    if text.starts_with("invalid configuration") {
        return PostgresOutcome::PasswordMissing;
    }
    if text.starts_with("authentication error") {
        return PostgresOutcome::MethodUnusable;
    }
    let garbled = io.is_some_and(|e| {
        matches!(
            e.kind(),
            std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData
        )
    });
    if garbled || text.starts_with("unexpected message") || text.starts_with("error parsing") {
        return PostgresOutcome::NotPostgres;
    }
    PostgresOutcome::Failed
}
