//! Making, renaming and dropping databases: as the server's superuser where that is on this host,
//! else as the applications' own role, if it may.

use std::time::Duration;

use super::census::{self, Census, Rows};
use super::names::{sql_name, sql_text};
use super::server::{self, Found, Server};
use super::session::Session;
use crate::host::reach;
use crate::host::url::DatabaseUrl;

/// How long a question may take. What takes longer (counts, restores) has no limit.
const LOOK: Duration = Duration::from_secs(20);
/// How long a statement about whole databases may take: all of one's files go, or come.
const CHANGE: Duration = Duration::from_secs(600);
/// Counts of a large table.
const COUNT: Duration = Duration::from_secs(6 * 3600);

/// Who makes databases.
#[derive(Debug, Clone)]
pub enum Admin {
    /// The superuser of a server on this host, over its socket.
    Superuser(Box<Server>),
    /// The role of the address.
    Role(DatabaseUrl),
}

/// What a role may not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lack {
    /// Make databases: CREATEDB.
    CreateDatabase,
    /// Make this extension, which only a superuser can.
    Extension(String),
    /// Have this extension at all: its files are not on the server.
    Files(String),
}

/// A database that is to be made like another one.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Form {
    /// Encoding: `UTF8`.
    pub encoding: String,
    /// LC_COLLATE.
    pub collate: String,
    /// LC_CTYPE.
    pub ctype: String,
}

/// What a server says of a database.
const FORM: &str = "SELECT pg_encoding_to_char(encoding), datcollate, datctype, \
    pg_database_size(oid), current_setting('server_version_num'), \
    current_setting('server_version') FROM pg_database WHERE datname = current_database()";

/// A database, as a session in it sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// How it was made.
    pub form: Form,
    /// Bytes that it takes on the server.
    pub bytes: u64,
    /// Its server's version.
    pub version: Version,
}

/// A server's version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// `server_version_num`: 150008.
    pub number: u32,
    /// `server_version`: "15.8 (Debian 15.8-0+deb12u1)".
    pub words: String,
}

/// Asks a session about its database.
pub async fn about(session: &Session) -> Result<About, String> {
    let rows = session.rows(FORM).await.map_err(|why| why.message)?;
    let row = rows.first().ok_or("the server says nothing of it")?;
    let [encoding, collate, ctype] = [0, 1, 2].map(|column| row.text(column).to_owned());
    Ok(About {
        form: Form {
            encoding,
            collate,
            ctype,
        },
        bytes: u64::try_from(row.number(3)).unwrap_or_default(),
        version: Version {
            number: u32::try_from(row.number(4)).unwrap_or_default(),
            words: row.text(5).to_owned(),
        },
    })
}

impl Admin {
    /// Who it is for the server of this address: its superuser, where the server runs on this
    /// host, has a socket, and we may be that user.
    pub async fn of(url: &DatabaseUrl) -> Self {
        let until = tokio::time::Instant::now() + LOOK / 4;
        let addresses = reach::addresses(url.host(), until).await;
        let local = addresses
            .iter()
            .any(|address| reach::is_this_machine(&address.to_string()));
        if local
            && let Found::Running(server) = server::find(url.port(), LOOK).await
            && server.user.is_ours()
            && server.socket().is_some()
            && server.sql("postgres", "SELECT 1", LOOK).await.is_ok()
        {
            return Self::Superuser(server);
        }
        Self::Role(url.clone())
    }

    /// `as PostgreSQL's superuser postgres`, for a plan.
    pub fn label(&self) -> String {
        match self {
            Self::Superuser(server) => format!("PostgreSQL's superuser {}", server.user.name),
            Self::Role(url) => format!("role {}", url.user()),
        }
    }

    /// Where its data lies, if on this host.
    pub fn data(&self) -> Option<&std::path::Path> {
        match self {
            Self::Superuser(server) => Some(&server.data),
            Self::Role(_) => None,
        }
    }

    /// What it may not do of what a restore needs.
    pub async fn lacks(&self, extensions: &[&str]) -> Result<Vec<Lack>, String> {
        let names: Vec<String> = extensions.iter().map(|name| sql_text(name)).collect();
        let mut lacks = Vec::new();
        let home = self.home("").await;
        // Before version 13 no extension was trusted, and the column is not there.
        let trusted = "coalesce((to_jsonb(v) ->> 'trusted')::boolean, false)";
        let query = format!(
            "SELECT v.name, bool_or(NOT v.superuser OR {trusted}) \
             FROM pg_available_extension_versions v JOIN pg_available_extensions a \
             ON a.name = v.name AND a.default_version = v.version \
             WHERE v.name IN ({}) GROUP BY 1",
            match names.is_empty() {
                true => "''".to_owned(),
                false => names.join(", "),
            }
        );
        let available = self.rows(&home, &query, LOOK).await?;
        for extension in extensions {
            match available.iter().find(|row| row[0] == **extension) {
                None => lacks.push(Lack::Files((*extension).to_owned())),
                Some(row) if row[1] != "t" && matches!(self, Self::Role(_)) => {
                    lacks.push(Lack::Extension((*extension).to_owned()));
                }
                Some(_) => {}
            }
        }
        if let Self::Role(_) = self {
            let may = "SELECT rolcreatedb OR rolsuper, rolsuper FROM pg_roles WHERE rolname = current_user";
            let rows = self.rows(&home, may, LOOK).await?;
            let of = |column: usize| rows.first().is_some_and(|row| row[column] == "t");
            if of(1) {
                lacks.retain(|lack| !matches!(lack, Lack::Extension(_)));
            }
            if !of(0) {
                lacks.insert(0, Lack::CreateDatabase);
            }
        }
        Ok(lacks)
    }

    /// The server's version.
    pub async fn version(&self) -> Result<Version, String> {
        let query =
            "SELECT current_setting('server_version_num'), current_setting('server_version')";
        let rows = self.rows(&self.home("").await, query, LOOK).await?;
        let row = rows.first().ok_or("the server does not say its version")?;
        Ok(Version {
            number: row[0].parse().unwrap_or_default(),
            words: row[1].clone(),
        })
    }

    /// The names of all databases.
    pub async fn databases(&self) -> Result<Vec<String>, String> {
        let query = "SELECT datname FROM pg_database ORDER BY 1";
        let rows = self.rows(&self.home("").await, query, LOOK).await?;
        Ok(rows.into_iter().flatten().collect())
    }

    /// Makes an empty database for `owner`.
    pub async fn create(&self, database: &str, owner: &str, form: &Form) -> Result<(), String> {
        let statement = format!(
            "CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {}",
            sql_name(database),
            sql_name(owner),
            sql_text(&form.encoding),
            sql_text(&form.collate),
            sql_text(&form.ctype)
        );
        self.run(&self.home("").await, &statement).await
    }

    /// Makes an exact copy of a database, for `owner`; whoever is in it is thrown out.
    pub async fn copy(&self, from: &str, to: &str, owner: &str) -> Result<(), String> {
        // The files rather than each page through the log (PostgreSQL 15 and later; before, always).
        let by_files = self.version().await?.number >= 150_000;
        let statement = format!(
            "CREATE DATABASE {} TEMPLATE {} OWNER {}{}",
            sql_name(to),
            sql_name(from),
            sql_name(owner),
            if by_files { " STRATEGY FILE_COPY" } else { "" }
        );
        self.undisturbed(from, &statement).await
    }

    /// What a database has beside its content (settings, limits, who may connect), taken over from
    /// another one: where `from` is not there, nothing.
    pub async fn take_over(&self, from: &str, to: &str) -> Result<(), String> {
        let (from, to) = (sql_text(from), sql_text(to));
        // Lists are written as they are, all else as a text: quoted once more, a list of schemas
        // would be one schema with a comma in its name.
        let query = format!(
            "WITH d AS (SELECT * FROM pg_database WHERE datname = {from}), s AS (SELECT \
             split_part(c, '=', 1) AS name, substr(c, strpos(c, '=') + 1) AS value FROM d JOIN \
             pg_db_role_setting r ON r.setdatabase = d.oid AND r.setrole = 0, unnest(r.setconfig) c) \
             SELECT format('ALTER DATABASE %I SET %I TO %s', {to}, name, CASE WHEN name IN \
             ('search_path', 'temp_tablespaces', 'session_preload_libraries', \
             'local_preload_libraries') THEN value ELSE quote_literal(value) END) FROM s \
             UNION ALL SELECT format('ALTER DATABASE %I CONNECTION LIMIT %s', {to}, datconnlimit) \
             FROM d WHERE datconnlimit <> -1 \
             UNION ALL SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', {to}) \
             FROM d WHERE datacl IS NOT NULL \
             UNION ALL SELECT format('GRANT %s ON DATABASE %I TO %s', a.privilege_type, {to}, \
             CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END) \
             FROM d, aclexplode(d.datacl) a"
        );
        let home = self.home("").await;
        for row in self.rows(&home, &query, LOOK).await? {
            self.run(&home, &row[0]).await?;
        }
        Ok(())
    }

    /// Drops a database, its sessions before; one that is not there is fine.
    pub async fn drop(&self, database: &str) -> Result<(), String> {
        let statement = format!("DROP DATABASE IF EXISTS {}", sql_name(database));
        self.undisturbed(database, &statement).await
    }

    /// Renames a database, its sessions ended before.
    pub async fn rename(&self, from: &str, to: &str) -> Result<(), String> {
        let statement = format!(
            "ALTER DATABASE {} RENAME TO {}",
            sql_name(from),
            sql_name(to)
        );
        self.undisturbed(from, &statement).await
    }

    /// A statement that wants nobody in the database. Whoever was thrown out may be back at once.
    async fn undisturbed(&self, database: &str, statement: &str) -> Result<(), String> {
        let home = self.home(database).await;
        let end = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = {} AND pid <> pg_backend_pid()",
            sql_text(database)
        );
        let mut last = String::new();
        for _ in 0..20 {
            self.rows(&home, &end, LOOK).await?;
            match self.run(&home, statement).await {
                Ok(()) => return Ok(()),
                Err(why) => last = why,
            }
            // What was told to end takes a moment to.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(last)
    }

    /// Makes an extension, if it is not there.
    pub async fn extension(&self, database: &str, name: &str) -> Result<(), String> {
        let statement = format!("CREATE EXTENSION IF NOT EXISTS {}", sql_name(name));
        self.run(database, &statement).await
    }

    /// Counts what a database holds.
    pub async fn census(&self, database: &str) -> Result<Census, String> {
        match self {
            Self::Superuser(server) => {
                census::take(async |query: String| server.sql(database, &query, COUNT).await).await
            }
            Self::Role(url) => {
                let session = Session::open(&url.in_database(database), LOOK).await?;
                session.unlimited().await.map_err(|why| why.message)?;
                of_session(&session).await
            }
        }
    }

    /// Bytes that a database has reached.
    pub async fn bytes(&self, database: &str) -> Option<u64> {
        let query = format!("SELECT pg_database_size({})", sql_text(database));
        let rows = self.rows(&self.home("").await, &query, LOOK).await.ok()?;
        rows.first()?.first()?.parse().ok()
    }

    /// The database from which others are managed; not this one.
    async fn home(&self, without: &str) -> String {
        let own = match self {
            Self::Superuser(_) => return "postgres".to_owned(),
            // The only one of which we know that it lets the role in, unless it is being replaced.
            Self::Role(url) => url.database(),
        };
        for database in [own, "postgres", "template1"] {
            if database != without && self.rows(database, "SELECT 1", LOOK).await.is_ok() {
                return database.to_owned();
            }
        }
        own.to_owned()
    }

    async fn rows(&self, database: &str, query: &str, limit: Duration) -> Rows {
        match self {
            Self::Superuser(server) => server.sql(database, query, limit).await,
            Self::Role(url) => {
                let session = Session::open(&url.in_database(database), limit).await?;
                rows(&session, query).await
            }
        }
    }

    /// A statement in a transaction of its own.
    pub async fn run(&self, database: &str, statement: &str) -> Result<(), String> {
        match self {
            Self::Superuser(server) => server.sql(database, statement, CHANGE).await.map(drop),
            Self::Role(url) => {
                let session = Session::open(&url.in_database(database), CHANGE).await?;
                let done = session.write_alone(statement).await;
                done.map_err(|why| why.message)
            }
        }
    }
}

/// What a session's database holds, within its transaction.
pub async fn of_session(session: &Session) -> Result<Census, String> {
    census::take(async |query: String| rows(session, &query).await).await
}

async fn rows(session: &Session, query: &str) -> Rows {
    let rows = session.rows(query).await.map_err(|why| why.message)?;
    Ok(rows
        .into_iter()
        .map(super::session::Row::into_texts)
        .collect())
}
