//! Addresses of databases and of Redis, as they stand in the settings.
//!
//! One URL is read by programs that disagree about what a URL is: Django (Python's urllib),
//! the Go services (net/url, lib/pq, redigo) and the images' start-up scripts (`cut`). So this
//! parser is strict: it takes what all of them understand alike and says in plain words what is
//! wrong with the rest. Such a message never holds the password, nor any part of it.

use std::fmt;

use self::syntax::{Authority, Parts, after_scheme, decode, encode};

mod syntax;
#[cfg(test)]
mod tests;

/// What each part of a database URL may not be given as, since it has a place of its own.
const MISPLACED: [&str; 6] = ["host", "hostaddr", "port", "user", "password", "dbname"];

/// The values of `sslmode` that PostgreSQL's clients know (libpq's documentation, 34.1.2).
const SSL_MODES: [&str; 6] = [
    "disable",
    "allow",
    "prefer",
    "require",
    "verify-ca",
    "verify-full",
];

/// The address of a PostgreSQL database: `postgres://user:password@host:port/database`.
///
/// Holds a password. `Debug` and [`redacted`](Self::redacted) show it as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    /// Everything after `://`, as it was typed.
    typed: String,
    authority: Authority,
    database: String,
    parameters: Vec<(String, String)>,
}

impl DatabaseUrl {
    /// Reads a URL with the scheme `postgres` or `postgresql`. The port is 5432 where none is
    /// given; user and database are required, because the programs' own defaults for them
    /// differ. The error is a sentence without a full stop, and without any secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let typed = after_scheme(
            text,
            &["postgres", "postgresql"],
            "postgres://user:password@host:5432/database",
        )?;
        let parts = Parts::split(typed)?;
        let authority = Authority::parse(&parts, 5432)?;
        if authority.user.as_deref().is_none_or(str::is_empty) {
            return Err("the user is missing: postgres://user:password@host/database".into());
        }
        let database = decode(parts.path).map_err(|why| format!("the database name {why}"))?;
        if database.is_empty() {
            return Err(
                "the database name is missing: it stands behind the host, after a /".into(),
            );
        }
        if parts.path.contains('/') {
            return Err("the database name holds an unescaped /: write it as %2F".into());
        }
        Ok(Self {
            typed: typed.to_owned(),
            authority,
            database,
            parameters: parse_parameters(parts.query)?,
        })
    }

    /// A name or an address; an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.authority.host
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.authority.port
    }

    /// The same with an address in the place of the host: where the name means something else.
    pub fn at(&self, address: std::net::IpAddr) -> Self {
        let mut url = self.clone();
        url.authority.host = address.to_string();
        url
    }

    /// The same server and role with another database.
    pub fn in_database(&self, database: &str) -> Self {
        let mut url = self.clone();
        database.clone_into(&mut url.database);
        url
    }

    /// The role to log in as, decoded.
    pub fn user(&self) -> &str {
        self.authority.user.as_deref().unwrap_or_default()
    }

    /// The password, decoded. A secret: hand it to the server and to nobody else.
    pub fn password(&self) -> Option<&str> {
        self.authority.password.as_deref()
    }

    /// The name of the database, decoded.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The value of a parameter after `?`, decoded; the last one wins, as in libpq.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let mut found = self.parameters.iter().rev();
        found
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether the URL insists on TLS (`sslmode` is require, verify-ca or verify-full).
    pub fn requires_tls(&self) -> bool {
        self.parameter("sslmode")
            .is_some_and(|mode| matches!(mode, "require" | "verify-ca" | "verify-full"))
    }

    /// The form that the Go services need. Mailroom and courier refuse any scheme but
    /// `postgres`, and lib/pq takes a missing `sslmode` for `require` where Django takes it for
    /// `prefer`; so it is set to `disable` where none is given. lib/pq does not know `prefer`
    /// and `allow`: they become `disable` too, which both permit. Everything else stays as it
    /// was typed. Holds the password.
    pub fn go_form(&self) -> String {
        let (address, query) = self.typed.split_once('?').unwrap_or((&self.typed, ""));
        let mut pairs: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).collect();
        if matches!(self.parameter("sslmode"), None | Some("prefer" | "allow")) {
            pairs.retain(|pair| !is_named(pair, "sslmode"));
            pairs.push("sslmode=disable");
        }
        format!("postgres://{address}?{}", pairs.join("&"))
    }

    /// For showing: no password, no parameter but `sslmode`.
    pub fn redacted(&self) -> String {
        let tls = self
            .parameter("sslmode")
            .map_or_else(String::new, |mode| format!("?sslmode={mode}"));
        format!(
            "postgres://{}/{}{tls}",
            self.authority.redacted(),
            encode(&self.database)
        )
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({})", self.redacted())
    }
}

/// The address of a Redis database: `redis://[[user]:password@]host[:port][/db]`.
///
/// May hold a password. `Debug` and [`redacted`](Self::redacted) show it as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    /// What was typed before the `@`; empty where there was none.
    typed_userinfo: String,
    authority: Authority,
    db: Option<u32>,
}

impl RedisUrl {
    /// Reads a URL with the scheme `redis`. The port is 6379 where none is given. The error is a
    /// sentence without a full stop, and without any secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with("rediss://") {
            return Err(
                "TLS (rediss://) is understood by neither mailroom nor courier: \
                        use redis://"
                    .into(),
            );
        }
        let typed = after_scheme(text, &["redis"], "redis://:password@host:6379/0")?;
        let parts = Parts::split(typed)?;
        let authority = Authority::parse(&parts, 6379)?;
        if authority.user.is_some() && authority.password.is_none() {
            // Whatever stands there is most likely the password: never repeat it.
            return Err(
                "what stands before the @ is taken for a user name: a password alone \
                        needs a colon in front of it, redis://:password@host"
                    .into(),
            );
        }
        if authority.password.as_deref() == Some("") {
            return Err("the password is empty: leave out `:@` where Redis has none".into());
        }
        if parts.query.is_some() {
            return Err(
                "parameters after ? are not understood by the Go services: the database number \
                 stands behind the host, redis://host:6379/0"
                    .into(),
            );
        }
        let db = match parts.path {
            "" => None,
            digits if digits.bytes().all(|b| b.is_ascii_digit()) => Some(
                digits
                    .parse()
                    .map_err(|_| "the database number is too large".to_owned())?,
            ),
            _ => {
                return Err(
                    "what stands behind the host is no database number: redis://host:6379/0".into(),
                );
            }
        };
        Ok(Self {
            typed_userinfo: parts.userinfo.unwrap_or_default().to_owned(),
            authority,
            db,
        })
    }

    /// A name or an address; an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.authority.host
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.authority.port
    }

    /// The same with an address in the place of the host: where the name means something else.
    pub fn at(&self, address: std::net::IpAddr) -> Self {
        let mut url = self.clone();
        url.authority.host = address.to_string();
        url
    }

    /// The user of an access control list (Redis 6 and later); mailroom and courier ignore it.
    pub fn user(&self) -> Option<&str> {
        self.authority.user.as_deref().filter(|u| !u.is_empty())
    }

    /// The password, decoded. A secret: hand it to the server and to nobody else.
    pub fn password(&self) -> Option<&str> {
        self.authority.password.as_deref()
    }

    /// The number of the database, 0 where none was given.
    pub fn db(&self) -> u32 {
        self.db.unwrap_or(0)
    }

    /// Whether the number of the database was given. Courier and mailroom fail without it.
    pub fn db_given(&self) -> bool {
        self.db.is_some()
    }

    /// What Casepro's REDIS_HOST wants: `host:port`, with `:password@` before it, as it was
    /// typed, where there is one. Holds the password.
    pub fn host_port_with_password(&self) -> String {
        let place = self.authority.place();
        if self.typed_userinfo.is_empty() {
            place
        } else {
            format!("{}@{place}", self.typed_userinfo)
        }
    }

    /// For showing: no password.
    pub fn redacted(&self) -> String {
        let db = self.db.map_or_else(String::new, |db| format!("/{db}"));
        format!("redis://{}{db}", self.authority.redacted())
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({})", self.redacted())
    }
}

fn parse_parameters(query: Option<&str>) -> Result<Vec<(String, String)>, String> {
    let mut parameters = Vec::new();
    for pair in query.unwrap_or_default().split('&') {
        if pair.is_empty() {
            continue;
        }
        let (name, value) = pair
            .split_once('=')
            .ok_or("a parameter after ? has no value: ?name=value")?;
        let bad = |why: String| format!("a parameter after ? {why}");
        let (name, value) = (decode(name).map_err(bad)?, decode(value).map_err(bad)?);
        if MISPLACED.contains(&name.as_str()) {
            return Err(format!(
                "the parameter {name} after ? is not understood by all services: \
                 postgres://user:password@host:port/database"
            ));
        }
        if name == "sslmode" && !SSL_MODES.contains(&value.as_str()) {
            return Err(format!(
                "sslmode is none of {}: `disable` fits a database on this host",
                SSL_MODES.join(", ")
            ));
        }
        parameters.push((name, value));
    }
    Ok(parameters)
}

fn is_named(pair: &str, name: &str) -> bool {
    let key = pair.split('=').next().unwrap_or_default();
    decode(key).is_ok_and(|key| key == name)
}
