//! Secrets that are known by their value, and the forms in which they may stand in a text.

use std::collections::BTreeSet;

use crate::deployment::env_file;
use crate::deployment::keys::{self, KEYS, Kind};

/// A secret and what it is called.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// The setting, or the variable of a container.
    pub name: String,
    /// Its value.
    pub value: String,
}

// By hand: it is a secret.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}=…", self.name)
    }
}

/// Shorter ones are everywhere: replacing every "on" would make the text unreadable and hide
/// nothing.
const SHORTEST: usize = 4;

/// Shorter values of containers are words such as "redis" and "false".
const SHORTEST_OF_CONTAINER: usize = 8;

/// Shorter ones have no form in Base64 of their own that could be told from others.
const SHORTEST_BASE64: usize = 6;

/// All secrets of a settings file, whatever is wrong with it: those of lines that cannot be read
/// and of names that are no setting count too, and so do those that are commented out.
pub fn in_settings(text: &str) -> Vec<Secret> {
    let mut secrets = Vec::new();
    let (entries, _) = env_file::parse_what_can_be(text);
    for entry in &entries {
        add(&mut secrets, &entry.key, &entry.value);
    }
    for line in text.lines() {
        let line = line.trim_start().trim_start_matches("export ");
        let commented = line.starts_with('#');
        let Some((name, value)) = line.trim_start_matches(['#', ' ']).split_once('=') else {
            // Not of the form NAME=value: all of it may be one.
            if !commented && !line.trim().is_empty() {
                push(
                    &mut secrets,
                    "settings-line",
                    line.trim(),
                    SHORTEST_OF_CONTAINER,
                );
            }
            continue;
        };
        // A comment in words is no setting.
        if name.contains(char::is_whitespace) || (commented && !is_secret(name)) {
            continue;
        }
        add(&mut secrets, name, value.trim());
        add(&mut secrets, name, value.trim().trim_matches(['\'', '"']));
    }
    // In the order of the settings, so that one that two have is called the same every time.
    let place = |secret: &Secret| KEYS.iter().position(|key| key.name == secret.name);
    secrets.sort_by_key(|secret| place(secret).unwrap_or(usize::MAX));
    secrets
}

/// The secrets in the environment of a container.
pub fn in_environment<'a>(variables: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<Secret> {
    let mut secrets = Vec::new();
    for (name, value) in variables {
        for password in passwords(value) {
            push(&mut secrets, name, &password, SHORTEST);
        }
        if sounds_secret(name) && !value.starts_with('/') {
            push(&mut secrets, name, value, SHORTEST_OF_CONTAINER);
        }
    }
    secrets
}

fn is_secret(name: &str) -> bool {
    keys::find(name).map_or_else(|| sounds_secret(name), |key| key.secret)
}

/// Whether a variable of that name holds a secret.
fn sounds_secret(name: &str) -> bool {
    let name = name.to_uppercase();
    [
        "PASS",
        "SECRET",
        "TOKEN",
        "_KEY",
        "APIKEY",
        "DSN",
        "CREDENTIAL",
    ]
    .iter()
    .any(|word| name.contains(word))
}

/// The value of a line of the settings, if it is secret, and what is secret of it.
fn add(secrets: &mut Vec<Secret>, name: &str, value: &str) {
    for password in passwords(value) {
        push(secrets, name, &password, SHORTEST);
    }
    let known = keys::find(name);
    // The rest of an address is what a helper wants to see, and a name that is no setting is a
    // mistyped one.
    let address = known.is_some_and(|key| matches!(key.kind, Kind::Database | Kind::Redis));
    if known.is_none() || is_secret(name) && !(address && value.contains("://")) {
        push(secrets, name, value, SHORTEST);
    }
}

fn push(secrets: &mut Vec<Secret>, name: &str, value: &str, shortest: usize) {
    let name: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .take(60)
        .collect();
    if value.len() >= shortest && !secrets.iter().any(|known| known.value == value) {
        secrets.push(Secret {
            name,
            value: value.to_owned(),
        });
    }
}

/// What stands before the @ of an address: the password as it is written and as it is meant, or
/// the user, where that is all there is (a Sentry DSN). Also of an address that is written wrongly.
fn passwords(address: &str) -> Vec<String> {
    let Some((before, _)) = address.rsplit_once('@') else {
        return Vec::new();
    };
    let Some(credentials) = before.split_once("//").map(|(_, rest)| rest) else {
        return Vec::new();
    };
    let written = match credentials.split_once(':') {
        Some((_, password)) => password,
        None if address.starts_with("http") => credentials,
        None => return Vec::new(),
    };
    vec![written.to_owned(), decoded(written)]
}

/// With `%2B` and the like resolved.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// All forms in which a secret may stand in a text.
pub fn forms(secret: &str) -> BTreeSet<String> {
    let mut forms = BTreeSet::from([secret.to_owned()]);
    // As addresses have it: everything encoded that may be, what must be, and the form of forms.
    for plain in ["-._~", "-._~/", "-._~!$&'()*+,;=", "-._~/:@!$&'()*+,;="] {
        let encoded = percent(secret, plain);
        forms.insert(encoded.replace("%20", "+"));
        forms.insert(lower_digits(&encoded));
        forms.insert(encoded);
    }
    // Within JSON, Go's and Python's quotes, and HTML.
    let json = serde_json::Value::from(secret).to_string();
    let json = json[1..json.len() - 1].to_owned();
    forms.insert(json.replace('/', "\\/"));
    forms.insert(json.replace('\\', "\\\\"));
    forms.insert(json);
    forms.insert(secret.replace('\'', "\\'"));
    let html = secret
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    forms.insert(html.replace('"', "&quot;").replace('\'', "&#x27;"));
    forms.insert(html.replace('"', "&#34;").replace('\'', "&#39;"));
    if secret.len() >= SHORTEST_BASE64 {
        let digits = crate::host::text::hex(secret.as_bytes());
        forms.insert(digits.to_uppercase());
        forms.insert(digits);
        for before in 0..3 {
            let standard = base64_inside(secret.as_bytes(), before);
            forms.insert(standard.replace('+', "-").replace('/', "_"));
            forms.insert(standard);
        }
    }
    forms
}

fn percent(text: &str, plain: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            byte if byte.is_ascii_alphanumeric() || plain.as_bytes().contains(&byte) => {
                encoded.push(char::from(byte));
            }
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// `%2B` as `%2b`.
fn lower_digits(encoded: &str) -> String {
    let mut lower = String::with_capacity(encoded.len());
    let mut digits = 0;
    for c in encoded.chars() {
        lower.push(if digits > 0 {
            c.to_ascii_lowercase()
        } else {
            c
        });
        digits = if c == '%' { 2 } else { digits.max(1) - 1 };
    }
    lower
}

/// The part of a text's Base64 that does not depend on what stands around it, where so many bytes
/// stand before it in its group of three.
fn base64_inside(secret: &[u8], before: usize) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = |index: usize| -> Option<u8> {
        // Six bits of the whole, if the secret alone decides them.
        let mut digit = 0;
        for bit in index * 6..index * 6 + 6 {
            let byte = (bit / 8).checked_sub(before)?;
            digit = (digit << 1) | ((secret.get(byte)? >> (7 - bit % 8)) & 1);
        }
        Some(digit)
    };
    (0..(before + secret.len()).div_ceil(3) * 4)
        .filter_map(bits)
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(secrets: &[Secret]) -> Vec<(&str, &str)> {
        secrets
            .iter()
            .map(|secret| (secret.name.as_str(), secret.value.as_str()))
            .collect()
    }

    #[test]
    fn secrets_of_a_file_are_found_whatever_is_wrong_with_it() {
        let text = "\
# Password of the mail server, or so=nothing
RAPIDPRO_DATABASE_URL=postgres://rapidpro:hunter%2B2@10.0.0.1/rapidpro
CASEPRO_DATABASE_URL=postgres//casepro:mistaken@nowhere/casepro
RAPIDPRO_SECRET_KY=mistyped
RAPIDPRO_TOKEN=\"unclosed
#EMAIL_HOST_PASSWORD='earlier one'
#LOG_LEVEL=information
PROJECT_NAME=ooy-demo
OOY_SENTRY_DSN=http://sentrykey@127.0.0.1:9/1
only a secret word
";
        let found = in_settings(text);
        let found = names(&found);
        for expected in [
            ("RAPIDPRO_DATABASE_URL", "hunter%2B2"),
            ("RAPIDPRO_DATABASE_URL", "hunter+2"),
            ("CASEPRO_DATABASE_URL", "mistaken"),
            ("RAPIDPRO_SECRET_KY", "mistyped"),
            ("RAPIDPRO_TOKEN", "unclosed"),
            ("EMAIL_HOST_PASSWORD", "earlier one"),
            ("OOY_SENTRY_DSN", "sentrykey"),
            ("settings_line", "only a secret word"),
        ] {
            assert!(found.contains(&expected), "{expected:?} of {found:?}");
        }
        for plain in ["ooy-demo", "information", "nothing"] {
            assert!(!found.iter().any(|(_, value)| *value == plain), "{plain}");
        }
    }

    #[test]
    fn secrets_of_a_container_are_told_by_their_names_and_addresses() {
        let environment = [
            ("DATABASE_URL", "postgres://u:pass1@h/d"),
            ("SECRET_KEY", "averysecretkey"),
            ("CSRF_COOKIE_SECURE", "True"),
            ("TOKEN_URL", "false"),
            ("KEY_FILE_TOKEN", "/run/secrets/token"),
            ("HOME", "/root"),
        ];
        let found = in_environment(environment.into_iter());
        assert_eq!(
            names(&found),
            [("DATABASE_URL", "pass1"), ("SECRET_KEY", "averysecretkey")]
        );
    }

    #[test]
    fn a_secret_is_known_in_base64_wherever_it_begins() {
        // "user:hunter2!x", "a:hunter2!x" and "ab:hunter2!x!" by coreutils' base64.
        for whole in [
            "dXNlcjpodW50ZXIyIXg=",
            "YTpodW50ZXIyIXg=",
            "YWI6aHVudGVyMiF4IQ==",
        ] {
            let forms = forms("hunter2!x");
            assert!(
                forms
                    .iter()
                    .any(|form| form.len() > 8 && whole.contains(form.as_str())),
                "{whole} {forms:?}"
            );
        }
    }

    #[test]
    fn encoded_forms_are_those_of_urls_json_and_html() {
        let forms = forms("p+a s\"/<é");
        for form in [
            "p%2Ba%20s%22%2F%3C%C3%A9",
            "p%2ba%20s%22%2f%3c%c3%a9",
            "p+a s\\\"/<é",
            "p+a s&quot;/&lt;é",
        ] {
            assert!(forms.contains(form), "{form}: {forms:?}");
        }
    }
}
