//! Takes secrets and personal data out of text that leaves the host.
//!
//! What is known (the values of settings, of the containers' environment) is found wherever and in
//! whatever form it stands; what only looks like a secret, a telephone number, an address or a
//! message is found by its form. Each is replaced by a token: the same secret has the same token
//! in every bundle of this host, and without the host's key nobody finds out whose it is.

mod bodies;
mod forms;
mod key;
mod known;
mod people;

use std::collections::HashMap;

use regex::{Captures, Regex};
use serde_json::Value;

pub use key::Key;
pub use known::{Secret, in_environment, in_settings};

/// What stands in the place of a message.
pub const TEXT_REMOVED: &str = "‹text-removed›";
/// What stands in the place of a private key.
pub const KEY_REMOVED: &str = "‹private-key-removed›";

/// Longest line that is kept, characters: a longer one is cut when nothing is to be hidden in it
/// any more.
const LONGEST_LINE: usize = 8_000;

/// Knows the secrets of one deployment and what others look like.
pub struct Redactor {
    key: Key,
    /// Every form of every secret that is known, and whose it is.
    known: HashMap<String, (String, String)>,
    exact: Option<Regex>,
    token: Regex,
    secrets: forms::Forms,
    bodies: bodies::Bodies,
    people: people::People,
}

impl Redactor {
    /// For these secrets, the first name of each counting.
    pub fn new(key: Key, secrets: &[Secret]) -> Self {
        let mut known: HashMap<String, (String, String)> = HashMap::new();
        let mut names = vec![
            "secret".to_owned(),
            "tel".into(),
            "urn".into(),
            "mail".into(),
        ];
        for secret in secrets {
            for form in known::forms(&secret.value) {
                known
                    .entry(form)
                    .or_insert_with(|| (secret.name.clone(), secret.value.clone()));
            }
            names.push(regex::escape(&secret.name));
        }
        let mut forms: Vec<&String> = known.keys().collect();
        // The longest first, so that one that contains another is replaced whole.
        forms.sort_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
        let alternatives: Vec<String> = forms.iter().map(|form| regex::escape(form)).collect();
        names.sort_unstable();
        names.dedup();
        let token = format!(
            "‹(?:{}):[0-9a-f]{{8}}›|{TEXT_REMOVED}|{KEY_REMOVED}",
            names.join("|")
        );
        Self {
            key,
            exact: (!alternatives.is_empty()).then(|| pattern(&alternatives.join("|"))),
            known,
            secrets: forms::Forms::new(&token),
            token: pattern(&token),
            bodies: bodies::Bodies::new(),
            people: people::People::new(),
        }
    }

    /// The text without secrets, numbers, addresses and messages. Whole texts, not pieces of them: of
    /// one that is cut in the middle a half may stay.
    pub fn text(&self, text: &str) -> String {
        let text = forms::without_private_keys(text);
        let text = self.outside_tokens(&text, |piece| self.known_in(piece));
        let text = self.bodies.remove(&text);
        let text = self.secrets.replace(self, &text);
        let text = self.outside_tokens(&text, |piece| self.secrets.replace_words(self, piece));
        self.outside_tokens(&text, |piece| self.people.replace(self, piece))
    }

    /// The same for a log, line by line; what is too long of a line is cut afterwards.
    pub fn log(&self, text: &str) -> String {
        let mut short = String::with_capacity(text.len());
        for line in self.text(text).lines() {
            match line.char_indices().nth(LONGEST_LINE) {
                Some((end, _)) => {
                    short.push_str(&line[..end]);
                    short.push_str(" … (cut)");
                }
                None => short.push_str(line),
            }
            short.push('\n');
        }
        short
    }

    /// Every text of a JSON value, names of fields included.
    pub fn json(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(values) => values.into_iter().map(|value| self.json(value)).collect(),
            Value::Object(fields) => fields
                .into_iter()
                .map(|(name, value)| (self.text(&name), self.json(value)))
                .collect(),
            other => other,
        }
    }

    /// What stands in the place of a value that is called so.
    pub fn token(&self, name: &str, value: &str) -> String {
        format!("‹{name}:{}›", self.key.digest(value))
    }

    /// What stands in the place of a secret that no setting names.
    fn hide(&self, value: &str) -> String {
        // Known all the same, or hidden already, by us or by whoever wrote it.
        if self.is_token(value) || value.bytes().all(|byte| byte == b'*') {
            return value.to_owned();
        }
        match self.known.get(value) {
            Some((name, value)) => self.token(name, value),
            None => self.token("secret", value),
        }
    }

    fn known_in(&self, text: &str) -> String {
        let Some(exact) = &self.exact else {
            return text.to_owned();
        };
        exact
            .replace_all(text, |found: &Captures<'_>| {
                match self.known.get(&found[0]) {
                    Some((name, value)) => self.token(name, value),
                    None => self.token("secret", &found[0]),
                }
            })
            .into_owned()
    }

    /// Whether that is one token and nothing else.
    fn is_token(&self, text: &str) -> bool {
        self.token
            .find(text)
            .is_some_and(|found| found.len() == text.len())
    }

    /// Changes what stands between tokens: a token is never taken for what it replaced.
    fn outside_tokens(&self, text: &str, change: impl Fn(&str) -> String) -> String {
        let mut changed = String::with_capacity(text.len());
        let mut end = 0;
        for token in self.token.find_iter(text) {
            changed.push_str(&change(&text[end..token.start()]));
            changed.push_str(token.as_str());
            end = token.end();
        }
        changed.push_str(&change(&text[end..]));
        changed
    }
}

/// A pattern of ours, or one made of literal text.
fn pattern(text: &str) -> Regex {
    regex::RegexBuilder::new(text)
        // Some hundred forms of secrets, none of which may be left out.
        .size_limit(256 * 1024 * 1024)
        .build()
        .unwrap_or_else(|error| unreachable!("a pattern of ours: {error}"))
}

#[cfg(test)]
mod tests;
