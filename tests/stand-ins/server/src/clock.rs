//! Times as the real services write and read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::process;

pub fn now_ms() -> u64 {
    since_epoch().as_millis() as u64
}

pub fn now_micros() -> i64 {
    since_epoch().as_micros() as i64
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// logrus: RFC 3339 in seconds, in the time zone of the image.
pub fn local_seconds() -> String {
    let t = process::local_time(since_epoch().as_secs() as i64);
    let date = format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
        t.year, t.month, t.day, t.hour, t.minute, t.second
    );
    if t.offset == 0 {
        return date + "Z";
    }
    let sign = if t.offset < 0 { '-' } else { '+' };
    let minutes = t.offset.abs() / 60;
    format!("{date}{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

/// Elasticsearch's log: milliseconds after a comma, UTC.
pub fn elastic_log_time(epoch_ms: u64) -> String {
    utc(epoch_ms as i64 * 1000, ',', 3)
}

/// Microseconds since the epoch as RFC 3339 in UTC, `digits` after the point.
pub fn utc_text(epoch_micros: i64, digits: usize) -> String {
    utc(epoch_micros, '.', digits)
}

fn utc(epoch_micros: i64, separator: char, digits: usize) -> String {
    let (days, rest) =
        (epoch_micros.div_euclid(86_400_000_000), epoch_micros.rem_euclid(86_400_000_000));
    let (year, month, day) = civil_from_days(days);
    let (seconds, micros) = (rest / 1_000_000, rest % 1_000_000);
    let fraction = format!("{micros:06}");
    let mut text = format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    );
    if digits > 0 {
        text.push(separator);
        text.push_str(&fraction[..digits.min(6)]);
    }
    text.push('Z');
    text
}

/// Year, month and day of today in UTC, or of any day since 1970-01-01.
pub fn civil_from_days(days: i64) -> (i64, u32, u32) {
    // The proleptic Gregorian calendar in 400-year eras that begin on 1 March, so that the
    // leap day is the last one of its year.
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u32;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 } as u32;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// RFC 3339, and what PostgreSQL writes (a blank for the `T`, `+00` for the zone), as
/// microseconds since the epoch.
pub fn parse_timestamp(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if !text.is_ascii() || bytes.len() < 19 || !matches!(bytes[10], b'T' | b' ') {
        return None;
    }
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let days = days_from_civil(number(0..4)?, number(5..7)?, number(8..10)?);
    let seconds = number(11..13)? * 3600 + number(14..16)? * 60 + number(17..19)?;

    let mut rest = &text[19..];
    let mut micros = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let length = fraction.bytes().take_while(u8::is_ascii_digit).count();
        let padded = format!("{:0<6}", &fraction[..length.min(6)]);
        micros = padded.parse().ok()?;
        rest = &fraction[length..];
    }
    let offset = match rest {
        "" | "Z" => 0,
        zone => {
            let sign = match zone.as_bytes()[0] {
                b'+' => 1,
                b'-' => -1,
                _ => return None,
            };
            let digits: String = zone[1..].chars().filter(|c| *c != ':').collect();
            let hours: i64 = digits.get(0..2)?.parse().ok()?;
            let minutes: i64 = digits.get(2..4).map_or(Some(0), |m| m.parse().ok())?;
            sign * (hours * 3600 + minutes * 60)
        }
    };
    Some(((days * 86_400 + seconds - offset) * 1_000_000) + micros)
}

/// A duration as Go prints one: `1.5ms`, `2.000123s`, `1m5s`.
pub fn go_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let trimmed = |value: u128, unit: u128, suffix: &str| {
        let whole = value / unit;
        let digits = unit.ilog10() as usize;
        let fraction = format!("{:0digits$}", value % unit);
        let fraction = fraction.trim_end_matches('0');
        if fraction.is_empty() || digits == 0 {
            format!("{whole}{suffix}")
        } else {
            format!("{whole}.{fraction}{suffix}")
        }
    };
    match nanos {
        0 => "0s".into(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => trimmed(nanos, 1_000, "µs"),
        1_000_000..1_000_000_000 => trimmed(nanos, 1_000_000, "ms"),
        _ => {
            let minutes = nanos / 60_000_000_000;
            let seconds = trimmed(nanos % 60_000_000_000, 1_000_000_000, "s");
            match (minutes / 60, minutes % 60) {
                (0, 0) => seconds,
                (0, m) => format!("{m}m{seconds}"),
                (h, m) => format!("{h}h{m}m{seconds}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_agree_both_ways() {
        for days in [-719_468, -1, 0, 59, 11_016, 18_600, 20_778] {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, i64::from(month), i64::from(day)), days);
        }
        assert_eq!(civil_from_days(11_016), (2000, 2, 29));
    }

    #[test]
    fn timestamps_are_read_with_any_zone() {
        let noon = 1_624_276_800_000_000;
        assert_eq!(parse_timestamp("2021-06-21T12:00:00Z"), Some(noon));
        assert_eq!(parse_timestamp("2021-06-21 15:00:00+03"), Some(noon));
        assert_eq!(parse_timestamp("2021-06-21T08:30:00.000001-03:30"), Some(noon + 1));
        assert_eq!(parse_timestamp("yesterday"), None);
        assert_eq!(utc_text(noon + 1, 6), "2021-06-21T12:00:00.000001Z");
        assert_eq!(elastic_log_time(1_624_276_800_123), "2021-06-21T12:00:00,123Z");
    }

    #[test]
    fn durations_read_as_in_go() {
        assert_eq!(go_duration(Duration::from_nanos(950)), "950ns");
        assert_eq!(go_duration(Duration::from_micros(1_500)), "1.5ms");
        assert_eq!(go_duration(Duration::from_millis(2_050)), "2.05s");
        assert_eq!(go_duration(Duration::from_secs(3_725)), "1h2m5s");
    }
}
