//! When a disk will be full, if it goes on filling as it has.

use std::time::Duration;

use crate::diagnosis::samples::Sample;

/// From how far apart on two figures say anything: within minutes a disk breathes.
const SHORTEST: f64 = 6.0 * HOUR;
/// From when on, and from how many figures on, it is said as a warning.
const SURE: f64 = 24.0 * HOUR;
const SURE_POINTS: usize = 4;
/// So many times the observed time is what can be said of the time to come.
const REACH: f64 = 60.0;
/// So many figures are enough for a line; all pairs of them are compared.
const MOST: usize = 64;

const HOUR: f64 = 3600.0;
const DAY: f64 = 24.0 * HOUR;

/// How a disk fills.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Forecast {
    /// Until nothing is free.
    pub left: Duration,
    /// Bytes a day.
    pub daily: f64,
    /// How long it was watched.
    pub watched: Duration,
    /// Watched long enough for a warning.
    pub sure: bool,
}

/// What follows from the free room (in bytes) of earlier looks and of now, on a disk of that size.
/// Nothing where it does not fill, or was not watched long enough.
pub fn forecast(earlier: &[Sample], now: &Sample, total: u64) -> Option<Forecast> {
    let mut points: Vec<(f64, f64)> = earlier
        .iter()
        .chain([now])
        .map(|sample| (sample.at.as_millisecond() as f64 / 1000.0, sample.value))
        .collect();
    // A clock that was set back.
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Somebody has tidied up: what was before says nothing any more.
    let jump = total as f64 / 50.0;
    let start = points
        .windows(2)
        .rposition(|pair| pair[1].1 - pair[0].1 > jump)
        .map_or(0, |at| at + 1);
    let points = thin(&points[start..]);
    let (first, last) = (points.first()?, points.last()?);
    let watched = last.0 - first.0;
    if watched < SHORTEST {
        return None;
    }
    let mut rate = -slope(&points, watched)?;
    // What came in one step, such as an image, does not go on: the later half has to fill as well.
    let later: Vec<(f64, f64)> = points
        .iter()
        .copied()
        .filter(|point| point.0 >= first.0 + watched / 2.0)
        .collect();
    if points.len() >= SURE_POINTS {
        rate = rate.min(-slope(&later, watched / 2.0)?);
    }
    let left = now.value / rate;
    if rate <= 0.0 || left > (watched * REACH).min(365.0 * DAY) {
        return None;
    }
    Some(Forecast {
        left: Duration::try_from_secs_f64(left).ok()?,
        daily: rate * DAY,
        watched: Duration::try_from_secs_f64(watched).ok()?,
        sure: watched >= SURE && points.len() >= SURE_POINTS,
    })
}

/// A part of the points, the first and the last among them.
fn thin(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= MOST {
        return points.to_vec();
    }
    (0..MOST)
        .map(|at| points[at * (points.len() - 1) / (MOST - 1)])
        .collect()
}

/// Theil and Sen: the median of the slopes between all pairs, which single outliers do not move.
/// Pairs that are close together are left out.
fn slope(points: &[(f64, f64)], span: f64) -> Option<f64> {
    let mut slopes: Vec<f64> = Vec::new();
    for (at, a) in points.iter().enumerate() {
        for b in &points[at + 1..] {
            if b.0 - a.0 >= span / 8.0 {
                slopes.push((b.1 - a.1) / (b.0 - a.0));
            }
        }
    }
    slopes.sort_by(f64::total_cmp);
    slopes.get(slopes.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    const GB: f64 = 1e9;
    const TOTAL: u64 = 29_000_000_000;

    fn sample(hour: f64, free: f64) -> Sample {
        Sample {
            at: Timestamp::from_millisecond((1_795_000_000_000.0 + hour * 3_600_000.0) as i64)
                .unwrap(),
            value: free,
        }
    }

    /// A look each hour, the last one now.
    fn of(free: impl Fn(f64) -> f64, hours: usize) -> Option<Forecast> {
        let all: Vec<Sample> = (0..=hours)
            .map(|hour| sample(hour as f64, free(hour as f64)))
            .collect();
        let (now, earlier) = all.split_last().unwrap();
        forecast(earlier, now, TOTAL)
    }

    #[test]
    fn a_disk_that_fills_evenly() {
        let found = of(|hour| 20.0 * GB - hour * GB / 24.0, 48).unwrap();
        assert!(
            (found.left.as_secs_f64() / DAY - 18.0).abs() < 0.1,
            "{found:?}"
        );
        assert!((found.daily / GB - 1.0).abs() < 0.01);
        assert!(found.sure);
    }

    #[test]
    fn two_looks_far_apart_give_a_figure_and_no_warning() {
        let now = sample(30.0, 9.0 * GB);
        let found = forecast(&[sample(0.0, 10.0 * GB)], &now, TOTAL).unwrap();
        assert!((found.left.as_secs_f64() / HOUR - 270.0).abs() < 1.0);
        assert!(!found.sure);
        assert_eq!(forecast(&[sample(29.9, 10.0 * GB)], &now, TOTAL), None);
        assert_eq!(forecast(&[], &now, TOTAL), None);
    }

    #[test]
    fn a_disk_that_does_not_fill() {
        assert_eq!(of(|_| 10.0 * GB, 48), None);
        assert_eq!(of(|hour| 10.0 * GB + hour * GB / 100.0, 48), None);
        // Full in ten years.
        assert_eq!(of(|hour| 20.0 * GB - hour * GB / 4000.0, 48), None);
    }

    #[test]
    fn one_step_is_not_a_trend() {
        for step in [1.0, 10.0, 24.0, 40.0, 47.5] {
            let found = of(|hour| if hour < step { 10.0 * GB } else { 8.0 * GB }, 48);
            assert_eq!(found, None, "{step}");
        }
    }

    #[test]
    fn what_comes_and_goes_is_not_a_trend() {
        let found = of(|hour| 10.0 * GB - (hour % 6.0) * GB / 12.0, 48);
        assert_eq!(found, None);
    }

    #[test]
    fn after_tidying_up_it_is_watched_anew() {
        let free = |hour: f64| match hour {
            0.0..40.0 => 10.0 * GB - hour * GB / 5.0,
            _ => 20.0 * GB,
        };
        assert_eq!(of(free, 48), None);
        // Filling again, watched for nine hours only.
        let again = |hour: f64| {
            if hour < 39.0 {
                GB
            } else {
                20.0 * GB - (hour - 39.0) * GB / 5.0
            }
        };
        let found = of(again, 48).unwrap();
        assert!(!found.sure);
        assert!((found.daily / GB - 4.8).abs() < 0.1);
    }

    #[test]
    fn many_figures_and_a_clock_set_back_are_no_trouble() {
        let mut all: Vec<Sample> = (0..600)
            .map(|at| sample(f64::from(at) / 10.0, 20.0 * GB - f64::from(at) * GB / 100.0))
            .collect();
        all.reverse();
        let now = sample(60.0, 14.0 * GB);
        let found = forecast(&all, &now, TOTAL).unwrap();
        assert!((found.daily / GB - 2.4).abs() < 0.1, "{found:?}");
    }
}
