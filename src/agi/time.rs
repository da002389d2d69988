//! The times of a call, as dialplans write them.
//!
//! Whether a text is a time is decided when the call is taken over, without the system's zones;
//! which moment it is, when the call is delivered, in the configured zone.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

/// A time that was understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallTime {
    /// The clock on the wall: `2026-11-22T11:07:32`, as in the wiki.
    Local(DateTime),
    /// A moment: seconds since 1970, or a time with its offset.
    Exact(Timestamp),
}

/// Seconds since 1970 are taken for a time from 2001 to 2100: ten digits, as all telephone
/// exchanges write it for the next centuries.
const EPOCH: std::ops::Range<i64> = 1_000_000_000..4_102_444_800;

impl CallTime {
    /// Reads `2026-11-22T11:07:32` (also with a space, fractions of a second, `Z`, `+03:00`,
    /// `+0300`, `+03`) and seconds since 1970 (also with fractions).
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        // The longest that is meant is 35 long; a megabyte need not be looked at.
        if text.len() > 64 || !text.is_ascii() {
            return None;
        }
        epoch(text).or_else(|| written(text))
    }

    /// RFC 3339 with the zone's offset at that moment: `2026-11-22T14:14:41+03:00`.
    pub fn in_zone(self, zone: &TimeZone) -> String {
        let zoned = match self {
            // A time that a change of clocks skips or repeats: as everybody else takes it.
            CallTime::Local(civil) => match civil.to_zoned(zone.clone()) {
                Ok(zoned) => zoned,
                Err(_) => return civil.strftime("%Y-%m-%dT%H:%M:%S").to_string(),
            },
            CallTime::Exact(moment) => moment.to_zoned(zone.clone()),
        };
        zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
    }
}

fn epoch(text: &str) -> Option<CallTime> {
    let whole = match text.split_once('.') {
        Some((whole, fraction)) if is_digits(fraction) => whole,
        Some(_) => return None,
        None => text,
    };
    if !is_digits(whole) {
        return None;
    }
    let seconds = whole.parse().ok().filter(|s| EPOCH.contains(s))?;
    Timestamp::from_second(seconds).ok().map(CallTime::Exact)
}

fn written(text: &str) -> Option<CallTime> {
    // 2026-11-22T11:07:32
    let (head, rest) = text.split_at_checked(19)?;
    let bytes = head.as_bytes();
    let signs_fit = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')]
        .iter()
        .all(|(at, sign)| bytes[*at] == *sign)
        && matches!(bytes[10], b'T' | b't' | b' ');
    if !signs_fit {
        return None;
    }
    let field = |from: usize, to: usize| -> Option<i16> {
        Some(&head[from..to])
            .filter(|part| is_digits(part))?
            .parse()
            .ok()
    };
    let small = |from: usize, to: usize| field(from, to).and_then(|n| i8::try_from(n).ok());
    // A leap second is the second before: no clock here shows it otherwise.
    let second = small(17, 19)?;
    let civil = DateTime::new(
        field(0, 4)?,
        small(5, 7)?,
        small(8, 10)?,
        small(11, 13)?,
        small(14, 16)?,
        if second == 60 { 59 } else { second },
        0,
    )
    .ok()?;
    let rest = match rest.strip_prefix(['.', ',']) {
        Some(fraction) => {
            let end = fraction
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(fraction.len());
            if end == 0 {
                return None;
            }
            &fraction[end..]
        }
        None => rest,
    };
    match rest.trim_start() {
        "" => Some(CallTime::Local(civil)),
        zone => {
            let offset = offset(zone)?;
            offset.to_timestamp(civil).ok().map(CallTime::Exact)
        }
    }
}

fn offset(text: &str) -> Option<Offset> {
    if matches!(text, "Z" | "z") {
        return Some(Offset::UTC);
    }
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let digits: String = rest.chars().filter(|c| *c != ':').collect();
    if !is_digits(&digits) || !matches!(rest.len(), 2 | 4 | 5) {
        return None;
    }
    let (hours, minutes) = match digits.len() {
        2 => (digits.parse::<i32>().ok()?, 0),
        4 => (digits[..2].parse().ok()?, digits[2..].parse::<i32>().ok()?),
        _ => return None,
    };
    if hours > 23 || minutes > 59 {
        return None;
    }
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The zone of that name. Machines without the zones' files, and names that are none, get
/// Nairobi's offset where the name is Nairobi's, else nothing.
pub fn zone(name: &str) -> Option<TimeZone> {
    TimeZone::get(name).ok().or_else(|| {
        // The PBX may have no tzdata; the users' zone has had one offset since 1960.
        (name == "Africa/Nairobi").then(|| TimeZone::fixed(Offset::constant(3)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nairobi() -> TimeZone {
        TimeZone::fixed(Offset::constant(3))
    }

    #[test]
    fn the_wikis_times_get_the_offset_of_the_zone() {
        for (text, expected) in [
            ("2026-11-22T11:07:32", "2026-11-22T11:07:32+03:00"),
            ("2026-11-22 11:07:32", "2026-11-22T11:07:32+03:00"),
            ("2026-11-22T11:07:32.123", "2026-11-22T11:07:32+03:00"),
            ("2026-11-22T11:07:32Z", "2026-11-22T14:07:32+03:00"),
            ("2026-11-22T11:07:32+0300", "2026-11-22T11:07:32+03:00"),
            ("2026-11-22T11:07:32+03:00", "2026-11-22T11:07:32+03:00"),
            ("2026-11-22T11:07:32.5 -05", "2026-11-22T19:07:32+03:00"),
            ("1795345652", "2026-11-22T14:07:32+03:00"),
            ("1795345652.99", "2026-11-22T14:07:32+03:00"),
            (" 2026-11-22T11:07:60 ", "2026-11-22T11:07:59+03:00"),
        ] {
            let time = CallTime::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(time.in_zone(&nairobi()), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_not_guessed() {
        for text in [
            "",
            "inbound",
            "0712345678",
            "254712345678",
            "2026-11-22",
            "2026-13-22T11:07:32",
            "2026-02-30T11:07:32",
            "2026-11-22T25:07:32",
            "2026-11-22T11:07:32+3",
            "2026-11-22T11:07:32+03:60",
            "2026-11-22T11:07:32 Nairobi",
            "2026-11-22T11:07:32.",
            "+026-11-22T11:07:32",
            "٢٠٢٦-11-22T11:07:32",
            "999999999",
            "1795345652.",
        ] {
            assert_eq!(CallTime::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_zone_with_summer_time_is_taken_as_it_was_on_that_day() {
        let Some(zone) = zone("Europe/Berlin") else {
            return; // This machine has no zones.
        };
        let text = |t| CallTime::parse(t).unwrap().in_zone(&zone);
        assert_eq!(text("2026-07-01T12:00:00"), "2026-07-01T12:00:00+02:00");
        assert_eq!(text("2026-12-01T12:00:00"), "2026-12-01T12:00:00+01:00");
        // Skipped and repeated hours have an answer too.
        assert_eq!(text("2026-03-29T02:30:00"), "2026-03-29T03:30:00+02:00");
        assert_eq!(text("2026-10-25T02:30:00"), "2026-10-25T02:30:00+02:00");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5000))]
        #[test]
        fn no_text_makes_it_panic(text in any::<String>(), near in "[0-9TZ:+. -]{0,40}") {
            for text in [text, near] {
                if let Some(time) = CallTime::parse(&text) {
                    time.in_zone(&nairobi());
                }
            }
        }

        #[test]
        fn seconds_since_1970_and_the_written_time_are_the_same_moment(second in 1_000_000_000i64..4_102_444_800) {
            let exact = CallTime::parse(&second.to_string()).unwrap();
            let written = exact.in_zone(&nairobi());
            prop_assert_eq!(CallTime::parse(&written), Some(exact));
        }
    }
}
