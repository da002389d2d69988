//! What looks like a secret, although no setting has it.

use regex::{Captures, Regex};

use super::{KEY_REMOVED, Redactor, pattern};

/// Words behind a name that say that there is no secret.
const NO_SECRET: &[&str] = &[
    "empty", "none", "null", "nil", "true", "false", "on", "off", "missing", "unset", "not", "is",
];

/// Patterns of secrets.
pub struct Forms {
    /// `scheme://user:password@`
    address: Regex,
    /// `Cookie: a=b; c=d`
    cookie: Regex,
    /// `Authorization: Token abc`
    header: Regex,
    /// `Bearer abc`
    scheme: Regex,
    /// `password=abc`
    named: Regex,
    /// Words that are nothing else.
    word: Regex,
}

impl Forms {
    /// `token` is the pattern of what was replaced already: nothing begins within one.
    pub fn new(token: &str) -> Self {
        let beside = |rule: &str| pattern(&format!("(?:{token})|(?i:{rule})"));
        Self {
            address: pattern(r#"([A-Za-z][A-Za-z0-9+.-]*://)([^\s/?#"'<>\\]+)@"#),
            cookie: beside(r#"(\b(?:set-)?cookie["']?\s*[:=]\s*["']?)([^"'\n]+)"#),
            header: beside(
                r#"((?:authorization|x-auth-token|x-api-key)\\?["']?\s*[:=]\s*\\?["']?(?:(?:token|bearer|basic|digest)\s+)?)([^\s"',;\\]+)"#,
            ),
            scheme: beside(r"(\b(?:token|bearer|basic)\s+)([A-Za-z0-9+/=._~-]{16,})"),
            named: beside(concat!(
                r"([a-z0-9_.-]*(?:passw(?:or)?d|pwd|passphrase|secret|token|api[_-]?key|access[_-]?key",
                r"|private[_-]?key|auth[_-]?key|credentials?|session[_-]?id)[a-z0-9_-]*",
                r#"\\?["']?\s*(?:=>|[:=])\s*)("#,
                r#"\\?"(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?|[^\s,;&"'<>)\]}]+)"#
            )),
            word: pattern(concat!(
                r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?",
                r"|\bAKIA[0-9A-Z]{16}\b",
                r"|\b[0-9a-fA-F]{40}\b",
                r"|[A-Za-z0-9+/_-]{48,}={0,2}",
            )),
        }
    }

    /// By what stands before them.
    pub fn replace(&self, redactor: &Redactor, text: &str) -> String {
        let text = self.address.replace_all(text, |found: &Captures<'_>| {
            let (scheme, credentials) = (&found[1], &found[2]);
            if redactor.is_token(credentials) {
                return found[0].to_owned();
            }
            // A token of what was before may be the user.
            let user_ends = match redactor.token.find(credentials) {
                Some(token) if token.start() == 0 => token.end(),
                _ => 0,
            };
            match credentials[user_ends..].find(':') {
                Some(colon) => {
                    let (user, password) = credentials.split_at(user_ends + colon);
                    let password = redactor.hide(&password[1..]);
                    format!("{scheme}{user}:{password}@")
                }
                None if scheme.starts_with("http") => {
                    format!("{scheme}{}@", redactor.hide(credentials))
                }
                None => found[0].to_owned(),
            }
        });
        let behind = |found: &Captures<'_>| match (found.get(1), found.get(2)) {
            (Some(name), Some(value)) => {
                format!("{}{}", name.as_str(), redactor.hide(value.as_str()))
            }
            _ => found[0].to_owned(),
        };
        let text = self.cookie.replace_all(&text, behind);
        let text = self.header.replace_all(&text, behind);
        let text = self.scheme.replace_all(&text, |found: &Captures<'_>| {
            let value = found.get(2).map_or("", |value| value.as_str());
            match value.bytes().any(|byte| byte.is_ascii_digit()) {
                true => behind(found),
                false => found[0].to_owned(),
            }
        });
        self.named
            .replace_all(&text, |found: &Captures<'_>| {
                let (Some(name), Some(old)) = (found.get(1), found.get(2)) else {
                    return found[0].to_owned();
                };
                let value = old.as_str().trim_matches(is_quote);
                let hidden = value.is_empty()
                    || NO_SECRET.contains(&value.to_lowercase().as_str())
                    || redactor.is_token(value);
                match hidden {
                    true => found[0].to_owned(),
                    // Quotes stay, so that JSON is JSON afterwards.
                    false => {
                        let new = quoted(old.as_str(), &redactor.hide(value));
                        format!("{}{new}", name.as_str())
                    }
                }
            })
            .into_owned()
    }

    /// By themselves.
    pub fn replace_words(&self, redactor: &Redactor, text: &str) -> String {
        self.word
            .replace_all(text, |found: &Captures<'_>| {
                let word = &found[0];
                let has = |kind: fn(&u8) -> bool| word.as_bytes().iter().any(kind);
                let mixed = has(u8::is_ascii_uppercase)
                    && has(u8::is_ascii_lowercase)
                    && has(u8::is_ascii_digit);
                let hex = word.len() == 40 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
                match mixed || hex || word.starts_with("AKIA") || word.starts_with("eyJ") {
                    true => redactor.hide(word),
                    false => word.to_owned(),
                }
            })
            .into_owned()
    }
}

fn is_quote(c: char) -> bool {
    matches!(c, '"' | '\'' | '\\')
}

/// The new value in the quotes of the old one.
fn quoted(old: &str, new: &str) -> String {
    let start = old.len() - old.trim_start_matches(is_quote).len();
    let end = old.trim_end_matches(is_quote).len();
    format!("{}{new}{}", &old[..start], &old[end.max(start)..])
}

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const OF_KEY: &str = "PRIVATE KEY-----";

/// No key is longer, also with a time before each of its lines.
const LONGEST_KEY: usize = 20_000;

/// Without private keys in PEM, also where only a part of one is there.
pub fn without_private_keys(text: &str) -> String {
    if !text.contains(OF_KEY) {
        return text.to_owned();
    }
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(OF_KEY) {
        let head = &rest[..at];
        let after = at + OF_KEY.len();
        let line = head.rfind('\n').map_or(0, |end| end + 1);
        if let Some(begin) = head[line..].rfind(BEGIN).map(|begin| line + begin) {
            kept.push_str(&rest[..begin]);
            kept.push_str(KEY_REMOVED);
            rest = &rest[after..];
            let end = rest
                .find(OF_KEY)
                .filter(|end| *end < LONGEST_KEY && rest[..*end].contains(END));
            rest = match end {
                Some(end) => &rest[end + OF_KEY.len()..],
                None => &rest[body(rest)..],
            };
        } else {
            // Its beginning was cut away: what stands before the end is its body.
            let from = body_before(head);
            kept.push_str(&rest[..from]);
            kept.push_str(KEY_REMOVED);
            rest = &rest[after..];
        }
    }
    kept.push_str(rest);
    kept
}

/// Where the body of a key ends that has no end: behind the last line that is Base64.
fn body(text: &str) -> usize {
    let mut end = 0;
    for line in text.split_inclusive('\n') {
        // The rest of the first line is empty, or all of it with \n for line feeds.
        if end > 0 && !is_body(line) {
            break;
        }
        end += line.len();
    }
    end
}

/// Where the body of a key begins that ends there.
fn body_before(text: &str) -> usize {
    let mut from = text.rfind('\n').map_or(0, |end| end + 1);
    while let Some(line_end) = text[..from].strip_suffix('\n') {
        let line = line_end.rfind('\n').map_or(0, |end| end + 1);
        if !is_body(&text[line..from]) {
            break;
        }
        from = line;
    }
    from
}

/// A line of Base64, a time before it or not.
fn is_body(line: &str) -> bool {
    line.split_whitespace().next_back().is_some_and(|word| {
        word.len() >= 16
            && word
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='))
    })
}
