//! The parts of a URL that database and Redis addresses share, and their encoding.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Who and where, decoded.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Authority {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) host: String,
    pub(super) port: u16,
}

impl Authority {
    pub(super) fn parse(parts: &Parts<'_>, default_port: u16) -> Result<Self, String> {
        let (user, password) = match parts.userinfo {
            None => (None, None),
            Some(info) => {
                let (user, password) = match info.split_once(':') {
                    Some((user, password)) => (user, Some(password)),
                    None => (info, None),
                };
                (
                    Some(decode_login(user, "user")?),
                    password.map(|p| decode_login(p, "password")).transpose()?,
                )
            }
        };
        let (host, port) = split_host(parts.place)?;
        check_host(host)?;
        let port = match port {
            None => default_port,
            Some(digits) => match digits.parse::<u16>() {
                Ok(port) if port > 0 && digits.bytes().all(|b| b.is_ascii_digit()) => port,
                _ => return Err("the port is not a number from 1 to 65535".into()),
            },
        };
        Ok(Self {
            user,
            password,
            host: host.to_owned(),
            port,
        })
    }

    /// `host:port`, an IPv6 address in brackets.
    pub(super) fn place(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    pub(super) fn redacted(&self) -> String {
        let user = encode(self.user.as_deref().unwrap_or_default());
        let place = self.place();
        match (&self.password, user.as_str()) {
            (Some(_), user) => format!("{user}:***@{place}"),
            (None, "") => place,
            (None, user) => format!("{user}@{place}"),
        }
    }
}

/// A URL cut at its separators, nothing decoded yet.
pub(super) struct Parts<'a> {
    pub(super) userinfo: Option<&'a str>,
    pub(super) place: &'a str,
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
}

impl<'a> Parts<'a> {
    pub(super) fn split(typed: &'a str) -> Result<Self, String> {
        if typed.contains('#') {
            return Err("the URL holds an unescaped #: write it as %23".into());
        }
        let (before, query) = match typed.split_once('?') {
            Some((before, query)) => (before, Some(query)),
            None => (typed, None),
        };
        let (authority, path) = before.split_once('/').unwrap_or((before, ""));
        let (userinfo, place) = match authority.rsplit_once('@') {
            Some((userinfo, place)) => (Some(userinfo), place),
            None => (None, authority),
        };
        // An @ that comes after the first / or ? ends no user and password, although it was
        // meant to: the / or the ? belongs to the password.
        if path.contains('@') {
            return Err(match userinfo {
                None => "the password holds an unescaped /: write it as %2F",
                Some(_) => {
                    "there is an @ behind the first /: in a password write / as %2F and @ as %40"
                }
            }
            .into());
        }
        if userinfo.is_none() && !before.contains('/') && query.is_some_and(|q| q.contains('@')) {
            return Err("the password holds an unescaped ?: write it as %3F".into());
        }
        if userinfo.is_some_and(|info| info.contains('@')) {
            return Err("the password holds an unescaped @: write it as %40".into());
        }
        Ok(Self {
            userinfo,
            place,
            path,
            query,
        })
    }
}

pub(super) fn after_scheme<'a>(
    text: &'a str,
    schemes: &[&str],
    example: &str,
) -> Result<&'a str, String> {
    if text.is_empty() {
        return Err(format!("it is empty: {example}"));
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("it holds a space or a control character: write a space as %20".into());
    }
    match text.split_once("://") {
        Some((scheme, rest)) if schemes.contains(&scheme) => Ok(rest),
        _ => Err(format!(
            "it does not start with {}://: {example}",
            schemes[0]
        )),
    }
}

/// Splits `host`, `host:port`, `[v6]` or `[v6]:port`; the host comes back without brackets.
fn split_host(place: &str) -> Result<(&str, Option<&str>), String> {
    if let Some(rest) = place.strip_prefix('[') {
        let (host, after) = rest
            .split_once(']')
            .ok_or("the bracket around the IPv6 address is not closed")?;
        let host: &str = host;
        if host.parse::<Ipv6Addr>().is_err() {
            return Err("what stands in the brackets is no IPv6 address".into());
        }
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err("after the IPv6 address only :port may follow".into()),
        };
    }
    match place.split_once(':') {
        // Also what `user:pa:ss@…` without its @ comes down to, so nothing is repeated.
        Some((_, port)) if port.contains(':') => {
            Err("the host holds a colon: an IPv6 address stands in brackets, as in [::1]".into())
        }
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((place, None)),
    }
}

fn check_host(host: &str) -> Result<(), String> {
    if host.is_empty() {
        return Err("the host is empty".into());
    }
    if host.contains(':') {
        return Ok(()); // IPv6, checked where the brackets were taken off
    }
    let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if !host.bytes().all(known) || host.starts_with(['.', '-']) || host.contains("..") {
        return Err("the host is neither a name nor an address".into());
    }
    let numeric = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if numeric && host.parse::<Ipv4Addr>().is_err() {
        return Err("the host is not a valid IPv4 address".into());
    }
    Ok(())
}

/// Decodes a user or a password. What may stand unescaped is what Go's net/url takes, the
/// strictest of the readers (its `validUserinfo`).
fn decode_login(text: &str, what: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%".contains(&b);
    if !text.bytes().all(plain) {
        return Err(format!(
            "the {what} holds a character that must be escaped: letters, digits and - . _ ~ may \
             stand as they are, anything else is written as % and two hexadecimal digits"
        ));
    }
    decode(text).map_err(|why| format!("the {what} {why}"))
}

/// Undoes percent-encoding. A `+` stays a plus: only forms write spaces so. The error continues
/// a sentence and repeats nothing of the text.
pub(super) fn decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
        match (digit(rest.next()), digit(rest.next())) {
            (Some(high), Some(low)) => bytes.push((high * 16 + low) as u8),
            _ => {
                return Err("holds a % that two hexadecimal digits do not follow: \
                            write a % itself as %25"
                    .into());
            }
        }
    }
    match String::from_utf8(bytes) {
        Ok(text) if text.contains('\0') => Err("holds a zero byte (%00)".into()),
        Ok(text) => Ok(text),
        Err(_) => Err("is not UTF-8 once its % are decoded".into()),
    }
}

/// Percent-encodes everything but what RFC 3986 calls unreserved.
pub(super) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
