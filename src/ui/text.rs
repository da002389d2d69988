//! Text in lines that fit.

use std::io::stdout;

/// Wider lines are hard to read.
const WIDEST: usize = 110;
const NARROWEST: usize = 60;

/// Columns of the terminal that standard output leads to; none where it is no terminal: what reads
/// there breaks lines as it likes, or searches them.
pub fn width() -> Option<usize> {
    rustix::termios::tcgetwinsize(stdout())
        .ok()
        .map(|size| usize::from(size.ws_col))
        .filter(|columns| *columns > 0)
        .map(|columns| columns.clamp(NARROWEST, WIDEST))
}

/// Lines of at most so many characters, broken between words; a longer word stays whole.
pub fn wrap(text: &str, width: Option<usize>) -> Vec<String> {
    let width = width.unwrap_or(usize::MAX);
    let mut lines: Vec<String> = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split(' ').filter(|word| !word.is_empty()) {
            let longer = line.chars().count() + 1 + word.chars().count();
            if !line.is_empty() && longer > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        if !line.is_empty() {
            lines.push(line);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_and_a_long_word_stays_whole() {
        assert_eq!(wrap("a bb ccc", Some(4)), ["a bb", "ccc"]);
        assert_eq!(wrap("abcdefgh i", Some(4)), ["abcdefgh", "i"]);
        assert_eq!(wrap("", Some(4)), Vec::<String>::new());
        assert_eq!(wrap("a bb ccc", None), ["a bb ccc"]);
    }
}
