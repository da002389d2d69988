//! The log of the copy to BigQuery: each run prints `Start` and `Done`, cron a `PONG` each hour, and
//! a run that fails a traceback of Python, before or after its `Start` (stack.md section 1.1).

use jiff::Timestamp;

/// What the log says last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Last {
    /// When a run last ended well.
    pub(super) done: Option<Timestamp>,
    /// When the last run failed, if none has ended well since, and its last words.
    pub(super) error: Option<(Timestamp, String)>,
}

impl Last {
    /// From its lines, oldest first.
    pub(super) fn read<'a>(lines: impl Iterator<Item = (Timestamp, &'a str)>) -> Self {
        let mut last = Last::default();
        let mut in_traceback = false;
        for (at, line) in lines {
            if line.ends_with("- Done") {
                last = Last {
                    done: Some(at),
                    error: None,
                };
            } else if line.starts_with("Traceback (most recent call last)") {
                in_traceback = true;
            } else if in_traceback && !line.starts_with([' ', '\t']) && !line.trim().is_empty() {
                // "During handling of the above exception, ...": the last one counts.
                last.error = Some((at, line.trim().to_owned()));
                in_traceback = false;
            }
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Last {
        let at = |n: usize| Timestamp::from_second(1_795_000_000 + n as i64).unwrap();
        Last::read(text.lines().enumerate().map(|(n, line)| (at(n), line)))
    }

    const GOOD: &str = "2026-11-25 05:00:01 - Start\n2026-11-25 05:00:09 - Done\n";
    const BAD: &str = "2026-11-25 10:00:01 - Start\nTraceback (most recent call last):\n  File \"x\"\n    call()\nrequests.HTTPError: 403\n";

    #[test]
    fn the_last_run_counts() {
        assert!(read(GOOD).done.is_some());
        assert_eq!(read(GOOD).error, None);
        let failed = read(&format!("{GOOD}{BAD}"));
        assert!(failed.done.is_some());
        assert_eq!(failed.error.unwrap().1, "requests.HTTPError: 403");
        assert_eq!(read(&format!("{BAD}{GOOD}")).error, None);
    }

    #[test]
    fn a_log_without_a_run_says_nothing() {
        assert_eq!(
            read("Start time: x\n2026-11-25 06:00:00 - PONG\n"),
            Last::default()
        );
        // A run that is under way.
        assert_eq!(read("2026-11-25 05:00:01 - Start\n"), Last::default());
        // Cut off in the middle of a traceback.
        assert_eq!(
            read("Traceback (most recent call last):\n  File\n"),
            Last::default()
        );
    }
}
