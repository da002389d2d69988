//! Go's net/url, as far as the settings of the Go services need it.

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Url {
    pub scheme: String,
    pub user: Option<String>,
    pub password: Option<String>,
    /// With the port, as it stands in the URL.
    pub host: String,
    pub path: String,
    pub query: Vec<(String, String)>,
}

/// The error is the text after `parse "…": `.
pub fn parse(text: &str) -> Result<Url, String> {
    if text.chars().any(|c| c.is_ascii_control()) {
        return Err("net/url: invalid control character in URL".into());
    }
    let text = text.split('#').next().unwrap_or_default();
    let (scheme, rest) = split_scheme(text)?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut url = Url { scheme, query: parse_query(query), ..Url::default() };

    let Some(rest) = rest.strip_prefix("//") else {
        if url.scheme.is_empty() && rest.split('/').next().is_some_and(|s| s.contains(':')) {
            return Err("first path segment in URL cannot contain colon".into());
        }
        url.path = decode(rest, false)?;
        return Ok(url);
    };
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let host = match authority.rsplit_once('@') {
        Some((info, host)) => {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
            if !info.chars().all(allowed) {
                return Err("net/url: invalid userinfo".into());
            }
            let (user, password) = match info.split_once(':') {
                Some((user, password)) => (user, Some(password)),
                None => (info, None),
            };
            url.user = Some(decode(user, false)?);
            url.password = password.map(|p| decode(p, false)).transpose()?;
            host
        }
        None => authority,
    };
    check_port(host)?;
    url.host = host.to_owned();
    url.path = decode(path, false)?;
    Ok(url)
}

fn split_scheme(text: &str) -> Result<(String, &str), String> {
    for (at, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return Err("missing protocol scheme".into()),
            ':' => return Ok((text[..at].to_lowercase(), &text[at + 1..])),
            _ => break,
        }
    }
    Ok((String::new(), text))
}

fn check_port(host: &str) -> Result<(), String> {
    let after = match host.rfind(']') {
        Some(at) => &host[at + 1..],
        None => host.find(':').map_or("", |at| &host[at..]),
    };
    let digits = after.strip_prefix(':').unwrap_or(after);
    if digits.chars().all(|c| c.is_ascii_digit()) {
        Ok(())
    } else {
        Err(format!("invalid port \"{after}\" after host"))
    }
}

/// `a=1&b=2`, also the body of a form. Pairs that are not encoded properly are left out, as
/// Go leaves them out.
pub fn parse_query(query: &str) -> Vec<(String, String)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .filter_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(key, true).ok()?, decode(value, true).ok()?))
        })
        .collect()
}

fn decode(text: &str, plus_is_blank: bool) -> Result<String, String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'%' => {
                let value = text.get(at + 1..at + 3).and_then(|h| u8::from_str_radix(h, 16).ok());
                let Some(value) = value else {
                    let end = text.len().min(at + 3);
                    let shown = text.get(at..end).unwrap_or("%");
                    return Err(format!("invalid URL escape \"{shown}\""));
                };
                out.push(value);
                at += 3;
            }
            b'+' if plus_is_blank => {
                out.push(b' ');
                at += 1;
            }
            other => {
                out.push(other);
                at += 1;
            }
        }
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_url_comes_apart() {
        let url = parse("postgres://temba:p%40ss@db:5432/temba?sslmode=disable&Timezone=UTC");
        let url = url.unwrap();
        assert_eq!(url.scheme, "postgres");
        assert_eq!(url.user.as_deref(), Some("temba"));
        assert_eq!(url.password.as_deref(), Some("p@ss"));
        assert_eq!(url.host, "db:5432");
        assert_eq!(url.path, "/temba");
        assert_eq!(url.query[0], ("sslmode".into(), "disable".into()));
    }

    #[test]
    fn redis_urls_may_have_a_password_only_or_nothing() {
        let url = parse("redis://:secret@redis:6379/15").unwrap();
        assert_eq!((url.user.as_deref(), url.password.as_deref()), (Some(""), Some("secret")));
        let url = parse("redis://localhost").unwrap();
        assert_eq!((url.user, url.host.as_str(), url.path.as_str()), (None, "localhost", ""));
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for (text, problem) in [
            ("postgres://u:a/b@h/d", "invalid port \":a\" after host"),
            ("postgres://u:%zz@h/d", "invalid URL escape \"%zz\""),
            ("postgres://u:a b@h/d", "net/url: invalid userinfo"),
            ("://h", "missing protocol scheme"),
            ("10.0.0.1:5432/db", "first path segment in URL cannot contain colon"),
        ] {
            assert_eq!(parse(text).unwrap_err(), problem, "{text}");
        }
    }

    #[test]
    fn forms_decode_plus_and_percent() {
        let form = parse_query("from=%2B254712345678&text=hello+there&bad=%zz&empty");
        assert_eq!(form[0].1, "+254712345678");
        assert_eq!(form[1].1, "hello there");
        assert_eq!(form[2], ("empty".into(), String::new()));
    }
}
