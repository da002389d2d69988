//! Numbers as people say them, in findings.

use std::time::Duration;

/// A time that has passed or is left, rounded: "12 s", "47 min", "3 h", "6 d".
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
pub fn count(number: u64, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(count(1, "task"), "1 task");
        assert_eq!(count(0, "task"), "0 tasks");
        assert_eq!(count(1_400, "message"), "1400 messages");
    }
}
