//! Fetches a file over HTTP: redirects by a rule of ours, and no more patience with a server that has
//! gone silent than was agreed on.

use std::io::{Read, Result as IoResult};
use std::time::Duration;

use ureq::tls::{RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, BodyReader, Error};

use super::https::words;
use super::text::shorten;

/// Redirects that are followed; GitHub needs one.
const REDIRECTS: usize = 5;

/// How long a name may take to become an address, and that a connection.
const CONNECT: Duration = Duration::from_secs(15);

/// Asks for files.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
}

/// A file that is coming.
pub struct Coming {
    /// The header `Content-Type`.
    pub kind: String,
    /// The header `Content-Length`.
    pub length: Option<u64>,
    body: BodyReader<'static>,
}

/// Why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The server answers with another status than 200; where, and which.
    Status(String, u16),
    /// No usable answer, in words.
    Broken(String),
}

impl Client {
    /// `silence` is the longest time the server may say nothing. A proxy is taken from the environment,
    /// as other programs do.
    pub fn new(roots: RootCerts, silence: Duration) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_idle_connections(0)
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(silence))
            .timeout_per_read(Some(silence))
            .timeout_per_write(Some(silence))
            .user_agent(concat!("ooy/", env!("CARGO_PKG_VERSION")))
            // As it lies there: sizes and digests are those of the file.
            .accept_encoding("identity")
            .tls_config(
                TlsConfig::builder()
                    .provider(TlsProvider::Rustls)
                    .root_certs(roots)
                    .build(),
            )
            .build();
        Self {
            agent: config.new_agent(),
        }
    }

    /// Asks for the file; `whole` is the longest time that all of it may take.
    pub fn open(&self, url: &str, whole: Duration) -> Result<Coming, Refused> {
        let mut url = url.to_owned();
        for _ in 0..=REDIRECTS {
            let call = self.agent.get(&url).config().timeout_global(Some(whole));
            let answer = call
                .build()
                .call()
                .map_err(|error| Refused::Broken(words(&error)))?;
            let header = |name: &str| {
                let value = answer.headers().get(name)?.to_str().ok()?;
                Some(shorten(value, 2000))
            };
            match answer.status().as_u16() {
                200 => {
                    let length = header("content-length").and_then(|length| length.parse().ok());
                    return Ok(Coming {
                        kind: header("content-type").unwrap_or_default(),
                        length,
                        body: answer.into_body().into_reader(),
                    });
                }
                301 | 302 | 303 | 307 | 308 => {
                    let to = header("location").unwrap_or_default();
                    url = redirected(&url, &to).map_err(Refused::Broken)?;
                }
                status => return Err(Refused::Status(url, status)),
            }
        }
        Err(Refused::Broken(format!(
            "more than {REDIRECTS} redirects, the last one to {}",
            shorten(&url, 200)
        )))
    }
}

impl Read for Coming {
    /// Errors are in words.
    fn read(&mut self, buffer: &mut [u8]) -> IoResult<usize> {
        self.body
            .read(buffer)
            .map_err(|error| std::io::Error::new(error.kind(), words(&Error::from(error))))
    }
}

/// Where a redirect leads, or why it is not followed.
fn redirected(from: &str, to: &str) -> Result<String, String> {
    let (scheme, rest) = from.split_once("://").unwrap_or(("https", from));
    let to = to.split('#').next().unwrap_or_default().trim();
    if to.is_empty() {
        return Err("a redirect that says not where to".to_owned());
    }
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let url = match to {
        _ if to.contains("://") && !to.starts_with('/') => to.to_owned(),
        _ if to.starts_with("//") => format!("{scheme}:{to}"),
        _ if to.starts_with('/') => format!("{scheme}://{host}{to}"),
        _ => {
            let path = path.split('?').next().unwrap_or_default();
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let slash = if folder.is_empty() { "" } else { "/" };
            format!("{scheme}://{host}/{folder}{slash}{to}")
        }
    };
    let shown = shorten(&url, 200);
    match url.split_once("://") {
        Some(("https", _)) => Ok(url),
        // Whoever asked for TLS is not to be talked out of it.
        Some(("http", _)) if scheme == "http" => Ok(url),
        Some(("http", _)) => Err(format!(
            "a redirect from https to http, which is not followed: {shown}"
        )),
        _ => Err(format!("a redirect to something else than https: {shown}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_leads_where_a_browser_would_go() {
        for (from, to, led) in [
            ("https://a/x/y.json", "https://b/z", "https://b/z"),
            ("http://a/x/y.json", "https://b/z", "https://b/z"),
            ("http://a/x/y.json", "http://b/z", "http://b/z"),
            ("https://a:1/x/y.json", "/z?a=b#c", "https://a:1/z?a=b"),
            ("https://a/x/y.json?q=/w", "z", "https://a/x/z"),
            ("https://a/y.json", "z", "https://a/z"),
            ("https://a", "z", "https://a/z"),
            ("https://a/x", "//b/z", "https://b/z"),
            (
                "https://a/x",
                "/to?url=http://b",
                "https://a/to?url=http://b",
            ),
        ] {
            assert_eq!(redirected(from, to).as_deref(), Ok(led), "{from} {to}");
        }
    }

    #[test]
    fn tls_is_not_given_up_on_the_way() {
        for (to, why) in [
            ("http://a/x", "from https to http"),
            ("HTTP://a/x", "something else"),
            ("file:///etc/shadow", "something else"),
            ("ftp://a/x", "something else"),
            ("", "says not where"),
            ("#top", "says not where"),
        ] {
            let said = redirected("https://a/y", to).unwrap_err();
            assert!(said.contains(why), "{to}: {said}");
        }
    }
}
