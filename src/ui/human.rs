//! Times for people.

use std::time::Duration;

pub use crate::host::text::{age, count};

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
    fn times_are_rounded_for_people() {
        assert_eq!(took(Duration::from_millis(440)), "0.4 s");
        assert_eq!(took(Duration::from_secs(41)), "41 s");
        assert_eq!(took(Duration::from_secs(125)), "2 min 5 s");
        assert_eq!(age(Duration::from_secs(90_000)), "25 h");
        assert_eq!(age(Duration::from_secs(600_000)), "6 d");
    }
}
