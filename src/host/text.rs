//! Texts from outside, made fit to be shown on a terminal.

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
}
