//! HTTP client of RapidPro's API v2, as far as finished calls need it.
//!
//! The token travels in one header, to the configured host only; it is in no error and no
//! `Debug`.

mod answers;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use crate::host::https::{Exchange, Request, Transport, roots};
pub use answers::{Page, Reference, Start, Trouble};

use crate::deployment::mask::Mask;
use crate::fault::Result as Fallible;

/// What a flow is started with.
#[derive(Debug, Serialize)]
pub struct FlowStart<'a> {
    /// The flow's id.
    pub flow: &'a str,
    /// One contact, by URN or id.
    pub contacts: [&'a str; 1],
    /// Also who is in the flow already.
    pub restart_participants: bool,
    /// What the flow reads.
    pub params: Value,
}

/// One workspace of one RapidPro.
pub struct Client {
    transport: Transport,
    /// `https://host/api/v2/`
    root: String,
    authorization: String,
    mask: Mask,
    limit: Duration,
    /// No request goes on beyond.
    end: Option<Instant>,
}

impl Client {
    /// A client that has not connected yet. `ca_file`: more root certificates, PEM.
    pub fn new(url: &str, token: &str, ca_file: Option<&Path>, limit: Duration) -> Fallible<Self> {
        let url = url.trim().trim_end_matches('/');
        let url = url.strip_suffix("/api/v2").unwrap_or(url);
        let root = if url.contains("://") {
            format!("{url}/api/v2/")
        } else {
            // As the client library of today's script does.
            format!("https://{url}/api/v2/")
        };
        Ok(Self {
            transport: Transport::new(roots::load(ca_file)?),
            root,
            authorization: format!("Token {}", token.trim()),
            mask: Mask::new([token.trim().to_owned()]),
            limit,
            end: None,
        })
    }

    /// Starts a flow; the id of the start.
    pub fn start(&self, start: &FlowStart) -> Result<String, Trouble> {
        self.post("flow_starts.json", start)
    }

    /// Makes a contact that has these URNs; its id.
    pub fn create_contact(&self, urns: &[String]) -> Result<String, Trouble> {
        self.post("contacts.json", &serde_json::json!({ "urns": urns }))
    }

    /// The id of the contact that has this URN.
    pub fn find_contact(&self, urn: &str) -> Result<Option<String>, Trouble> {
        let path = format!("contacts.json?urn={}", encode(urn));
        let exchange = self.exchange(&path, None)?;
        let found: Page<Reference> = answers::page(&exchange).map_err(|why| self.masked(why))?;
        Ok(found.items.into_iter().next().map(|contact| contact.uuid))
    }

    /// The id of the workspace that the token belongs to.
    pub fn workspace(&self) -> Result<String, Trouble> {
        let exchange = self.exchange("workspace.json", None)?;
        answers::made(&exchange).map_err(|why| self.masked(why))
    }

    /// Whether RapidPro takes changes of this workspace. Asks for a flow start without a flow,
    /// which is never made: it is refused for want of the flow, or before that because the
    /// workspace is flagged or suspended (lab.md).
    pub fn takes_changes(&self) -> Result<(), Trouble> {
        match self.post("flow_starts.json", &serde_json::json!({})) {
            Ok(_) | Err(Trouble::NoSuchFlow(_)) => Ok(()),
            Err(trouble) => Err(trouble),
        }
    }

    /// A page of flow starts, the last changed ones first.
    pub fn starts(&self, cursor: Option<&str>) -> Result<Page<Start>, Trouble> {
        let path = match cursor {
            None => "flow_starts.json".to_owned(),
            Some(cursor) => format!("flow_starts.json?cursor={cursor}"),
        };
        let exchange = self.exchange(&path, None)?;
        answers::page(&exchange).map_err(|why| self.masked(why))
    }

    /// The same client, all of whose requests together may take so long from now on.
    pub fn within(mut self, budget: Duration) -> Self {
        self.end = Some(Instant::now() + budget);
        self
    }

    fn post(&self, path: &str, body: &impl Serialize) -> Result<String, Trouble> {
        let body = serde_json::to_vec(body)
            .map_err(|error| Trouble::Refused(format!("cannot be written as JSON: {error}")))?;
        let exchange = self.exchange(path, Some(&body))?;
        answers::made(&exchange).map_err(|why| self.masked(why))
    }

    fn exchange(&self, path: &str, body: Option<&[u8]>) -> Result<Exchange, Trouble> {
        let url = format!("{}{path}", self.root);
        let left = self
            .end
            .map(|end| end.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(Trouble::NotSent("no time is left".to_owned()));
        }
        let request = Request {
            url: &url,
            authorization: Some(&self.authorization),
            headers: &[("Content-Type", "application/json")],
            body,
            limit: left.map_or(self.limit, |left| left.min(self.limit)),
        };
        let exchange = self.transport.exchange(&request);
        exchange.map_err(|broken| self.masked(broken.into()))
    }

    /// A server may say our own token back to us.
    fn masked(&self, trouble: Trouble) -> Trouble {
        let clean = |words: String| self.mask.apply(&words);
        match trouble {
            Trouble::NotSent(words) => Trouble::NotSent(clean(words)),
            Trouble::Lost(words) => Trouble::Lost(clean(words)),
            Trouble::ServerError(status, words) => Trouble::ServerError(status, clean(words)),
            Trouble::NoSuchFlow(words) => Trouble::NoSuchFlow(clean(words)),
            Trouble::UrnTaken(words) => Trouble::UrnTaken(clean(words)),
            Trouble::Unauthorized(words) => Trouble::Unauthorized(clean(words)),
            Trouble::NotRapidPro(words) => Trouble::NotRapidPro(clean(words)),
            Trouble::Refused(words) => Trouble::Refused(clean(words)),
            other @ (Trouble::Throttled(_) | Trouble::NoSuchContact | Trouble::Blocked(_)) => other,
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("root", &self.root)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// For the value of a parameter in an address.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
