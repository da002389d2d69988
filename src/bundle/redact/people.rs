//! Telephone numbers, contacts' other addresses, and e-mail addresses.

use regex::{Captures, Regex};

use super::{Redactor, pattern};

/// Digits of hexadecimal that stand together belong to a digest, not to a telephone.
const DIGEST: usize = 32;

/// Patterns of numbers and addresses.
pub struct People {
    /// `tel:+254712345678`, `facebook:1234567`
    urn: Regex,
    /// `msisdn=712345678`
    named: Regex,
    number: Regex,
    mail: Regex,
}

impl People {
    pub fn new() -> Self {
        Self {
            urn: pattern(concat!(
                r"(?i)\b(tel|whatsapp|viber|facebook|telegram|twitter|twitterid|instagram|jiochat",
                r"|wechat|fcm|ext|discord|webchat|vk|mailto)(:|%3A)((?:\+|%2B)?[A-Za-z0-9_.@-]{5,})",
            )),
            named: pattern(concat!(
                r#"(?i)((?:msisdn|phone(?:_?number)?|caller(?:_?id)?|callerid|urn|recipient|sender|from|to)"#,
                r#"\\?["']?\s*[:=]\s*\\?["']?)((?:\+|%2B)?[0-9]{6,15})"#,
            )),
            number: pattern(concat!(
                // With the country's number; with 00 or nothing before 254; as dialled in Kenya.
                r"(?:\+|%2B)[1-9](?:[ .()-]{0,2}[0-9]){6,14}",
                r"|(?:00)?254[ -]?[17][0-9]{2}[ -]?[0-9]{3}[ -]?[0-9]{3}",
                r"|0[17][0-9]{2}[ -]?[0-9]{3}[ -]?[0-9]{3}",
            )),
            mail: pattern(
                r"[A-Za-z0-9._%+-]*[A-Za-z0-9_+-]@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}",
            ),
        }
    }

    pub fn replace(&self, redactor: &Redactor, text: &str) -> String {
        let text = self.urn.replace_all(text, |found: &Captures<'_>| {
            let scheme = found[1].to_lowercase();
            match scheme.as_str() {
                "tel" | "whatsapp" => redactor.token("tel", &digits(&found[3])),
                "mailto" => redactor.token("mail", &found[3].to_lowercase()),
                _ => redactor.token("urn", &format!("{scheme}:{}", &found[3])),
            }
        });
        let text = redactor.outside_tokens(&text, |text| {
            self.named
                .replace_all(text, |found: &Captures<'_>| {
                    format!("{}{}", &found[1], redactor.token("tel", &digits(&found[2])))
                })
                .into_owned()
        });
        let text = redactor.outside_tokens(&text, |text| self.numbers(redactor, text));
        redactor.outside_tokens(&text, |text| {
            self.mail
                .replace_all(text, |found: &Captures<'_>| {
                    redactor.token("mail", &found[0].to_lowercase())
                })
                .into_owned()
        })
    }

    fn numbers(&self, redactor: &Redactor, text: &str) -> String {
        let mut changed = String::with_capacity(text.len());
        let mut kept = 0;
        let mut from = 0;
        while let Some(found) = self.number.find_at(text, from) {
            if is_number(text, found.start(), found.end()) {
                changed.push_str(&text[kept..found.start()]);
                changed.push_str(&redactor.token("tel", &digits(found.as_str())));
                kept = found.end();
                from = found.end();
            } else {
                // One may begin within it; what matches begins with an ASCII sign.
                from = found.start() + 1;
            }
        }
        changed.push_str(&text[kept..]);
        changed
    }
}

/// Whether what matched stands by itself: not within a longer number, nor within a digest.
fn is_number(text: &str, start: usize, end: usize) -> bool {
    let bytes = text.as_bytes();
    let is = |at: Option<usize>, kind: fn(&u8) -> bool| {
        at.and_then(|at| bytes.get(at)).is_some_and(kind)
    };
    // %2B is no digit of the number before it.
    let signed = matches!(bytes.get(start), Some(b'+' | b'%'));
    if is(Some(end), u8::is_ascii_digit) || !signed && is(start.checked_sub(1), u8::is_ascii_digit)
    {
        return false;
    }
    let hex = |byte: &&u8| byte.is_ascii_hexdigit();
    let before = bytes[..start].iter().rev().take_while(hex).count();
    let after = bytes[start..].iter().take_while(hex).count();
    before + after < DIGEST
}

/// As it is dialled from abroad, so that all ways to write one number have one token.
fn digits(number: &str) -> String {
    let number = number.replace("%2B", "+").replace("%2b", "+");
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    if let Some(rest) = digits.strip_prefix("00") {
        return rest.to_owned();
    }
    match digits.strip_prefix('0') {
        Some(rest) if digits.len() == 10 => format!("254{rest}"),
        _ if digits.len() == 9 && digits.starts_with(['1', '7']) => format!("254{digits}"),
        _ => digits,
    }
}
