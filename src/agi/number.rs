//! From what Asterisk calls the caller's number to one that RapidPro can look up.
//!
//! A few rules instead of a phone-number library, whose first use costs 50 ms: more than the
//! whole of `ooy agi` may take. Tests compare them with such a library.

use std::fmt;

/// Why a call is not told to RapidPro: there is nobody to tell about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// No number came with the call, on purpose or not.
    Withheld,
    /// A SIP address instead of a number.
    SipAddress,
    /// A telephone of the call centre itself.
    Extension,
    /// Letters or signs that no number has.
    NoNumber,
    /// Digits, but no number in the world has so few or so many of them.
    Impossible,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Skip::Withheld => "the number is withheld",
            Skip::SipAddress => "a SIP address, not a telephone number",
            Skip::Extension => "an internal extension",
            Skip::NoNumber => "not a telephone number",
            Skip::Impossible => "not a possible telephone number",
        })
    }
}

/// What telephone systems write where a number is withheld. `asterisk` is the caller id that
/// Asterisk itself makes up (the user part of its From header).
const WITHHELD: &[&str] = &[
    "anonymous",
    "asterisk",
    "blocked",
    "none",
    "null",
    "private",
    "restricted",
    "unavailable",
    "unknown",
    "withheld",
];

/// Longest extension of a call centre.
const EXTENSION_DIGITS: usize = 6;
/// E.164: at most 15 digits after the +; shorter than 8 is none that is called from abroad.
const POSSIBLE_DIGITS: std::ops::RangeInclusive<usize> = 8..=15;

/// The number with + and country code, or why there is none.
pub fn normalise(raw: &str, country_code: &str) -> Result<String, Skip> {
    let text = between_brackets(raw);
    let text = strip_prefix_ignoring_case(text, "tel:").unwrap_or(text);
    let compact: String = text
        .chars()
        .filter(|c| !is_decoration(*c))
        .collect::<String>()
        .to_ascii_lowercase();
    if compact.is_empty() || WITHHELD.contains(&compact.as_str()) {
        return Err(Skip::Withheld);
    }
    if compact.contains('@') || compact.starts_with("sip:") || compact.starts_with("sips:") {
        return Err(Skip::SipAddress);
    }
    let (plus, digits) = match compact.strip_prefix('+') {
        Some(rest) => (true, rest),
        None => (false, compact.as_str()),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Skip::NoNumber);
    }
    if !plus && digits.len() <= EXTENSION_DIGITS {
        return Err(Skip::Extension);
    }
    let international = if plus {
        digits.to_owned()
    } else if let Some(rest) = digits.strip_prefix("00") {
        // In Kenya calls to abroad begin with 000; no country code begins with 0.
        rest.strip_prefix('0').unwrap_or(rest).to_owned()
    } else if let Some(rest) = digits.strip_prefix('0') {
        format!("{country_code}{rest}")
    } else {
        digits.to_owned()
    };
    // +254 (0)712 345 678: the 0 is dialled within the country only.
    let international = match international
        .strip_prefix(country_code)
        .and_then(|rest| rest.strip_prefix('0'))
    {
        Some(rest) => format!("{country_code}{rest}"),
        None => international,
    };
    // No country code begins with 0.
    if international.starts_with('0') || !POSSIBLE_DIGITS.contains(&international.len()) {
        return Err(Skip::Impossible);
    }
    Ok(format!("+{international}"))
}

/// `"Amina" <0712345678>`: what stands between the brackets.
fn between_brackets(text: &str) -> &str {
    text.rsplit_once('<')
        .and_then(|(_, rest)| rest.split_once('>'))
        .map_or(text, |(inner, _)| inner)
}

/// What people and dialplans put around and between the digits.
fn is_decoration(c: char) -> bool {
    c.is_whitespace() || matches!(c, '(' | ')' | '-' | '.' | '/' | '"' | '\'' | '\0')
}

fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let text = text.trim_start();
    text.get(..prefix.len())
        .filter(|start| start.eq_ignore_ascii_case(prefix))
        .map(|_| &text[prefix.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(raw: &str) -> String {
        normalise(raw, "254").unwrap_or_else(|skip| format!("skipped: {skip}"))
    }

    #[test]
    fn a_number_gets_its_country_code_as_todays_script_does_it() {
        for (raw, expected) in [
            ("0712345678", "+254712345678"),
            ("254712345678", "+254712345678"),
            ("+254712345678", "+254712345678"),
            ("0712 345 678", "+254712345678"),
            ("\"0712-345-678\"", "+254712345678"),
            ("'0712.345/678'", "+254712345678"),
            ("+254 (0) 712 345 678", "+254712345678"),
            ("00254712345678", "+254712345678"),
            ("0044 20 7946 0958", "+442079460958"),
            ("000 44 20 7946 0958", "+442079460958"),
            ("tel:+254712345678", "+254712345678"),
            ("\"Amina\" <0712345678>", "+254712345678"),
            ("0202345678", "+254202345678"),
        ] {
            assert_eq!(number(raw), expected, "{raw}");
        }
    }

    #[test]
    fn the_country_code_is_the_settings() {
        assert_eq!(normalise("0712345678", "256").unwrap(), "+256712345678");
    }

    #[test]
    fn callers_that_nobody_can_be_called_back_by_are_skipped() {
        for (raw, reason) in [
            ("", Skip::Withheld),
            ("  ", Skip::Withheld),
            ("\"\"", Skip::Withheld),
            ("anonymous", Skip::Withheld),
            ("Anonymous", Skip::Withheld),
            ("\"unknown\"", Skip::Withheld),
            ("Restricted", Skip::Withheld),
            ("asterisk", Skip::Withheld),
            ("sip:amina@example.org", Skip::SipAddress),
            ("<sip:amina@example.org>", Skip::SipAddress),
            ("0712345678@10.0.0.1", Skip::SipAddress),
            ("anonymous@anonymous.invalid", Skip::SipAddress),
            ("101", Skip::Extension),
            ("0", Skip::Extension),
            ("123456", Skip::Extension),
            ("amina", Skip::NoNumber),
            ("254712345678;drop", Skip::NoNumber),
            ("--home", Skip::NoNumber),
            ("+", Skip::NoNumber),
            ("++254712345678", Skip::NoNumber),
            ("#31#0712345678", Skip::NoNumber),
            ("٠٧١٢٣٤٥٦٧٨", Skip::NoNumber),
            ("1234567", Skip::Impossible),
            ("+12345", Skip::Impossible),
            ("1234567890123456", Skip::Impossible),
            ("0000712345678", Skip::Impossible),
        ] {
            assert_eq!(normalise(raw, "254"), Err(reason), "{raw:?}");
        }
    }

    /// What the library that knows all countries' numbers makes of it, where it takes it for a
    /// number that is in use.
    fn oracle(text: &str) -> Option<String> {
        let number = phonenumber::parse(Some(phonenumber::country::KE), text).ok()?;
        number
            .is_valid()
            .then(|| number.format().mode(phonenumber::Mode::E164).to_string())
    }

    #[test]
    fn the_library_that_is_compared_with_knows_these_numbers() {
        assert_eq!(oracle("0712345678").as_deref(), Some("+254712345678"));
        assert_eq!(oracle("+442079460958").as_deref(), Some("+442079460958"));
        assert_eq!(oracle("0712"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]
        #[test]
        fn kenyan_numbers_are_what_the_library_makes_of_them(
            area in prop_oneof![Just("7"), Just("1"), Just("20"), Just("4"), Just("5"), Just("6")],
            rest in "[0-9]{5,8}",
            prefix in prop_oneof![Just("0"), Just("+254"), Just("00254"), Just("000254"), Just("254"), Just("+254 (0)")],
            sign in "[ ().-]",
            at in 0usize..5,
        ) {
            let mut national = format!("{area}{rest}");
            national.insert_str(at, &sign);
            let text = format!("{prefix}{national}");
            // 00 is not how one calls abroad from Kenya, so the library cannot know it.
            let known = text.strip_prefix("00254").map(|rest| format!("+254{rest}"));
            if let Some(expected) = oracle(known.as_deref().unwrap_or(&text)) {
                prop_assert_eq!(number(&text), expected, "{}", text);
            }
        }

        #[test]
        fn foreign_numbers_are_what_the_library_makes_of_them(
            digits in "[1-9][0-9]{7,14}",
            prefix in prop_oneof![Just("+"), Just("00"), Just("000"), Just("")],
        ) {
            // The library removes a 0 that is dialled within a country only from foreign numbers
            // too. Nobody's caller id has one there, and some countries (Italy) keep it.
            if let Some(expected) = oracle(&format!("+{digits}"))
                && expected.len() == digits.len() + 1
            {
                let text = format!("{prefix}{digits}");
                prop_assert_eq!(number(&text), expected, "{}", text);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5000))]
        #[test]
        fn whatever_comes_out_is_a_plus_and_8_to_15_digits(raw in any::<String>()) {
            if let Ok(number) = normalise(&raw, "254") {
                let digits = number.strip_prefix('+').unwrap();
                prop_assert!((8..=15).contains(&digits.len()));
                prop_assert!(digits.bytes().all(|b| b.is_ascii_digit()));
                // What is normalised stays as it is.
                prop_assert_eq!(normalise(&number, "254"), Ok(number.clone()));
            }
        }

        #[test]
        fn decoration_changes_nothing(digits in "[0-9]{7,15}", at in 0usize..7, sign in "[ ().\"'/-]") {
            let mut decorated = digits.clone();
            decorated.insert_str(at, &sign);
            prop_assert_eq!(normalise(&decorated, "254"), normalise(&digits, "254"));
        }
    }
}
