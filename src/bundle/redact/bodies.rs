//! What callers have written, and their names, where our services are known to log them: courier
//! and mailroom (`text="..."`, requests of providers), web servers (`?text=...`), Python and
//! PostgreSQL. What stands in free text without a name cannot be recognised.

use regex::{Captures, Regex};

use super::{TEXT_REMOVED, pattern};

/// Names of fields with what people write.
const FIELDS: &str = "text|msg_text|message_text|caption|quick_replies|contact_name|first_name\
    |last_name|full_name|msg_body|message_body";

/// Whole requests and answers, in which the same stands.
const TRACES: &str =
    "body|request|response|request_body|response_body|request_trace|response_trace|trace";

/// Patterns of messages.
pub struct Bodies(Vec<Regex>);

impl Bodies {
    pub fn new() -> Self {
        let go = r#""(?:\\.|[^"\\\n])*"?"#;
        Self(vec![
            // key="value" and key=value of logrus, and of addresses and forms.
            pattern(&format!(
                r#"(?i)(\b(?:{FIELDS}|{TRACES})=)(?:{go}|[^\s&"]+)"#
            )),
            pattern(r#"(?i)([?&](?:name|search|query|q|content|message|msg)=)[^\s&"]+"#),
            // JSON, and JSON within a text.
            pattern(&format!(
                r#"(?i)("(?:{FIELDS}|body|content)"\s*:\s*)(?:{go})"#
            )),
            pattern(&format!(
                r#"(?i)(\\"(?:{FIELDS}|body|content)\\"\s*:\s*)\\"(?:[^\n]*?[^\\\n])??\\""#
            )),
            // Python.
            pattern(&format!(
                r#"(?i)('(?:{FIELDS}|body|content)':\s*u?)(?:'(?:\\.|[^'\\\n])*'?|"(?:\\.|[^"\\\n])*"?)"#
            )),
            // PostgreSQL.
            pattern(r"(Failing row contains )[^\n]+"),
            pattern(r"(Key \((?:text|name)\)=)[^\n]+"),
        ])
    }

    pub fn remove(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, pattern| {
            pattern
                .replace_all(&text, |found: &Captures<'_>| {
                    let value = &found[0][found[1].len()..];
                    // What is quoted stays quoted: JSON is JSON afterwards.
                    let quote = ["\\\"", "\"", "'"]
                        .into_iter()
                        .find(|quote| value.starts_with(quote))
                        .unwrap_or_default();
                    format!("{}{quote}{TEXT_REMOVED}{quote}", &found[1])
                })
                .into_owned()
        })
    }
}
