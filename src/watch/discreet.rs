//! Takes telephone numbers out of texts that leave the machine: the last log lines of a service are
//! evidence, and may name whoever wrote to it.

/// What stands in the place of a number.
const HIDDEN: &str = "(number)";

/// Digits from which on it may be somebody's number; a year and a size in MB are shorter.
const LEAST: usize = 9;
/// Longer ones are ids.
const MOST: usize = 15;

/// The text without what looks like a telephone number.
pub fn discreet(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit() || c == '+') {
        let run = &rest[start..];
        let length = run
            .find(|c: char| !(c.is_ascii_digit() || "+ -()".contains(c)))
            .unwrap_or(run.len());
        let (run, behind) = run.split_at(length);
        let run_bare = run.trim_end_matches(|c: char| !c.is_ascii_digit());
        let before = rest[..start].chars().next_back();
        // Within a word or an id of letters and digits it is part of that.
        let within = before.is_some_and(|c| c.is_alphanumeric() || "_.".contains(c))
            || (run_bare.len() == run.len()
                && behind.starts_with(|c: char| c.is_alphanumeric() || c == '_'));
        kept.push_str(&rest[..start]);
        if !within && is_number(run_bare) {
            kept.push_str(HIDDEN);
            kept.push_str(&run[run_bare.len()..]);
        } else {
            kept.push_str(run);
        }
        rest = behind;
    }
    kept.push_str(rest);
    kept
}

/// `+254712345678`, `0712 345 678`; not `2026-11-26 03` and not `12 345`.
fn is_number(run: &str) -> bool {
    let digits = run.bytes().filter(u8::is_ascii_digit).count();
    if !(LEAST..=MOST).contains(&digits) {
        return false;
    }
    let bare = run.bytes().all(|byte| byte.is_ascii_digit());
    bare || run.starts_with(['+', '0', '('])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_in_every_form() {
        for number in [
            "+254712345678",
            "254712345678",
            "0712345678",
            "0712 345 678",
            "+254 (712) 345-678",
        ] {
            assert_eq!(
                discreet(&format!("call of {number}, ended")),
                "call of (number), ended"
            );
            assert_eq!(discreet(&format!("tel:{number}")), "tel:(number)");
        }
    }

    #[test]
    fn times_sizes_and_ids_stay() {
        for text in [
            "2026-11-26 03:39:40 UTC",
            "2026-11-26T03:39:40.123456789Z",
            "3f2a9c1e-5b7d-4e1f-9a6b-0c8d7e6f5a4b",
            "sha256:0123456789abcdef",
            "12 345 messages, 97 %",
            "org-task-lock:1:message-pull",
            "10.0.10.4:6379",
            "",
        ] {
            assert_eq!(discreet(text), text);
        }
    }
}
