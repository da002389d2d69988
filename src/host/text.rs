//! Texts from outside, made fit to be shown on a terminal, and numbers as people say them.

use std::fmt::Display;
use std::time::Duration;

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The text without control characters (a log carries strangers' messages; an escape sequence in
/// one must not steer the operator's terminal) and no longer than `limit` characters.
pub fn shorten(text: &str, limit: usize) -> String {
    let clean = sanitize(text);
    if clean.chars().count() <= limit {
        return clean;
    }
    let mut short: String = clean.chars().take(limit.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// The text without control characters and without marks that turn its direction.
pub fn sanitize(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' => ' ',
            c if c.is_control() => '\u{fffd}',
            '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{feff}' => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// A time that has passed or is left, in one unit, rounded down: "12 s", "47 min", "3 h", "6 d".
pub fn age(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A number with its noun: "1 task", "3 tasks".
pub fn count<N: Display + PartialEq + From<u8>>(number: N, noun: &str) -> String {
    let plural = if number == N::from(1) { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// How long something took: `0.4 s`, `41 s`, `2 min 5 s`, `1 h 3 min`.
pub fn took(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..=9 => format!("{:.1} s", time.as_secs_f64()),
        10..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_and_direction_marks_are_taken_out() {
        assert_eq!(
            sanitize("a\u{1b}[31mred\u{202e}b"),
            "a\u{fffd}[31mred\u{fffd}b"
        );
        assert_eq!(shorten("abcdef", 4), "abc…");
    }

    #[test]
    fn times_are_rounded_for_people() {
        for (seconds, said) in [
            (0, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (2_820, "47 min"),
            (7_200, "2 h"),
            (172_799, "47 h"),
            (6 * 86_400, "6 d"),
        ] {
            assert_eq!(age(Duration::from_secs(seconds)), said);
        }
    }

    #[test]
    fn one_is_not_several() {
        assert_eq!(count(1u64, "task"), "1 task");
        assert_eq!(count(0u64, "task"), "0 tasks");
        assert_eq!(count(1_400u64, "message"), "1400 messages");
    }
}
