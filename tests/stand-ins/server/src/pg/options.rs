//! The connection URL, read as lib/pq reads it.

use crate::go::{dial, log, url};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// `host:port`.
    pub address: String,
    pub user: String,
    pub password: String,
    pub database: String,
    pub ssl: Ssl,
    /// Sent to the server as run-time parameters, as lib/pq does with all it does not know.
    pub parameters: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ssl {
    Disable,
    /// The default. The certificate is not checked.
    Require,
    /// `verify-ca` and `verify-full`.
    Verify,
}

/// What lib/pq keeps for itself.
const DRIVER_SETTINGS: [&str; 10] = [
    "host",
    "port",
    "password",
    "dbname",
    "sslmode",
    "sslcert",
    "sslkey",
    "sslrootcert",
    "connect_timeout",
    "fallback_application_name",
];

impl Options {
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = url::parse(text).map_err(|problem| {
            let mut message = "parse ".to_owned();
            log::quote(&mut message, text);
            format!("{message}: {problem}")
        })?;
        if !matches!(url.scheme.as_str(), "postgres" | "postgresql") {
            return Err(format!("invalid connection protocol: {}", url.scheme));
        }

        let (host, port) = match dial::split_host_port(&url.host) {
            Some((host, port)) if !port.is_empty() => (host, port),
            Some((host, _)) => (host, "5432".into()),
            None => (url.host.clone(), "5432".into()),
        };
        let host = if host.is_empty() { "localhost".into() } else { host };
        let user = url.user.filter(|u| !u.is_empty()).unwrap_or_else(|| "root".into());
        let database = url.path.strip_prefix('/').unwrap_or_default();
        let mut options = Self {
            address: if host.contains(':') {
                format!("[{host}]:{port}")
            } else {
                format!("{host}:{port}")
            },
            database: if database.is_empty() { user.clone() } else { database.to_owned() },
            user,
            password: url.password.unwrap_or_default(),
            ssl: Ssl::Require,
            parameters: Vec::new(),
        };
        for (key, value) in url.query {
            match (key.as_str(), value.as_str()) {
                (_, "") => {}
                ("sslmode", "disable") => options.ssl = Ssl::Disable,
                ("sslmode", "require") => options.ssl = Ssl::Require,
                ("sslmode", "verify-ca" | "verify-full") => options.ssl = Ssl::Verify,
                ("sslmode", other) => {
                    return Err(format!(
                        "pq: unsupported sslmode \"{other}\"; only \"require\" (default), \
                         \"verify-full\", \"verify-ca\", and \"disable\" supported"
                    ));
                }
                (known, _) if DRIVER_SETTINGS.contains(&known) => {}
                _ => options.parameters.push((key, value)),
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_lib_pq() {
        let options = Options::parse("postgres://").unwrap();
        assert_eq!(options.address, "localhost:5432");
        assert_eq!(options.ssl, Ssl::Require);

        let options =
            Options::parse("postgresql://temba:x%2Fy@db/temba?sslmode=disable&Timezone=UTC");
        let options = options.unwrap();
        assert_eq!((options.address.as_str(), options.user.as_str()), ("db:5432", "temba"));
        assert_eq!((options.password.as_str(), options.database.as_str()), ("x/y", "temba"));
        assert_eq!(options.ssl, Ssl::Disable);
        assert_eq!(options.parameters, [("Timezone".to_owned(), "UTC".to_owned())]);
    }

    #[test]
    fn what_lib_pq_refuses_is_refused() {
        for (url, problem) in [
            ("mysql://h/d", "invalid connection protocol: mysql"),
            ("postgres://h/d?sslmode=prefer", "unsupported sslmode \"prefer\""),
            ("postgres://u:p w@h/d", "net/url: invalid userinfo"),
        ] {
            let error = Options::parse(url).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }
}
