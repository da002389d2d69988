//! Times for people.

pub use crate::host::text::{age, count, took};

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
