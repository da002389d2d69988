//! cron's table: environment lines and jobs, as Debian's cron reads them.

use crate::process::LocalTime;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    schedule: Schedule,
    pub command: String,
    /// What follows the first `%`, with the others as line feeds.
    pub input: Option<String>,
    /// The environment lines above it.
    pub environment: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Schedule {
    Reboot,
    Times(Times),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Times {
    minutes: Vec<u32>,
    hours: Vec<u32>,
    days: Vec<u32>,
    months: Vec<u32>,
    weekdays: Vec<u32>,
    /// Either of the two days is enough when neither is a star.
    any_day: bool,
}

impl Job {
    pub fn is_due(&self, now: &LocalTime) -> bool {
        match &self.schedule {
            Schedule::Reboot => false,
            Schedule::Times(times) => times.match_at(now),
        }
    }

    pub fn runs_at_reboot(&self) -> bool {
        self.schedule == Schedule::Reboot
    }
}

impl Times {
    fn match_at(&self, now: &LocalTime) -> bool {
        let day = self.days.contains(&now.day);
        let weekday = self.weekdays.contains(&now.weekday);
        self.minutes.contains(&now.minute)
            && self.hours.contains(&now.hour)
            && self.months.contains(&now.month)
            && if self.any_day { day || weekday } else { day && weekday }
    }
}

/// A line number, counted from 1, and what crontab says about it.
pub type Problem = (usize, &'static str);

pub fn parse(text: &str) -> Result<Vec<Job>, Problem> {
    let mut environment = Vec::new();
    let mut jobs = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let line = line.trim_start_matches([' ', '\t']);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some((name, value)) = environment_line(line) {
            environment.push((name, value));
            continue;
        }
        let (schedule, rest) = read_schedule(line).map_err(|problem| (number, problem))?;
        let command = rest.trim_start_matches([' ', '\t']);
        if command.is_empty() {
            return Err((number, "bad command"));
        }
        let (command, input) = split_input(command);
        jobs.push(Job { schedule, command, input, environment: environment.clone() });
    }
    Ok(jobs)
}

/// `NAME = value`, either of them in quotes or not. A line that begins with a field of a
/// schedule is none, whatever follows.
fn environment_line(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once('=')?;
    let name = name.trim_end_matches([' ', '\t']);
    let unquoted = unquote(name);
    let quoted = unquoted != name;
    if name.is_empty() || (!quoted && name.contains([' ', '\t', '*', '@', '/'])) {
        return None;
    }
    Some((unquoted.to_owned(), unquote(value.trim_matches([' ', '\t'])).to_owned()))
}

fn unquote(text: &str) -> &str {
    for quote in ['"', '\''] {
        let inner = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        if let Some(inner) = inner {
            return inner;
        }
    }
    text
}

fn split_input(command: &str) -> (String, Option<String>) {
    let mut plain = String::new();
    let mut input: Option<String> = None;
    let mut characters = command.chars().peekable();
    while let Some(c) = characters.next() {
        let target = input.as_mut().unwrap_or(&mut plain);
        match c {
            '\\' if characters.peek() == Some(&'%') => {
                target.push('%');
                characters.next();
            }
            '%' => match &mut input {
                Some(input) => input.push('\n'),
                None => input = Some(String::new()),
            },
            other => target.push(other),
        }
    }
    (plain, input)
}

fn read_schedule(line: &str) -> Result<(Schedule, &str), &'static str> {
    if let Some(word) = line.strip_prefix('@') {
        let end = word.find([' ', '\t']).unwrap_or(word.len());
        let (name, rest) = word.split_at(end);
        let fields = match name {
            "reboot" => return Ok((Schedule::Reboot, rest)),
            "yearly" | "annually" => "0 0 1 1 *",
            "monthly" => "0 0 1 * *",
            "weekly" => "0 0 * * 0",
            "daily" | "midnight" => "0 0 * * *",
            "hourly" => "0 * * * *",
            _ => return Err("bad time specifier"),
        };
        return Ok((read_times(fields)?.0, rest));
    }
    read_times(line)
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 8] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun"];

fn read_times(line: &str) -> Result<(Schedule, &str), &'static str> {
    let mut rest = line;
    let mut next = |low: u32, high: u32, names: &[&str], problem: &'static str| {
        let end = rest.find([' ', '\t']).unwrap_or(rest.len());
        let (field, after) = rest.split_at(end);
        rest = after.trim_start_matches([' ', '\t']);
        let starred = field.starts_with('*');
        read_field(field, low, high, names).map(|values| (values, starred)).ok_or(problem)
    };
    let (minutes, _) = next(0, 59, &[], "bad minute")?;
    let (hours, _) = next(0, 23, &[], "bad hour")?;
    let (days, any_day_of_month) = next(1, 31, &[], "bad day-of-month")?;
    let (months, _) = next(1, 12, &MONTHS, "bad month")?;
    let (mut weekdays, any_weekday) = next(0, 7, &WEEKDAYS, "bad day-of-week")?;
    if weekdays.contains(&7) {
        weekdays.push(0);
    }
    let any_day = !any_day_of_month && !any_weekday;
    Ok((Schedule::Times(Times { minutes, hours, days, months, weekdays, any_day }), rest))
}

/// A list of `*`, numbers, names, ranges and steps.
fn read_field(field: &str, low: u32, high: u32, names: &[&str]) -> Option<Vec<u32>> {
    let number = |text: &str| -> Option<u32> {
        let named = names.iter().position(|name| text.eq_ignore_ascii_case(name));
        match named {
            // Months are counted from one, days of the week from zero.
            Some(at) => Some(at as u32 + low),
            None if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
            None => None,
        }
    };
    let mut values = Vec::new();
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step.parse::<u32>().ok().filter(|s| *s > 0)?)),
            None => (part, None),
        };
        let (first, last) = if range == "*" {
            (low, high)
        } else if let Some((first, last)) = range.split_once('-') {
            (number(first)?, number(last)?)
        } else {
            let only = number(range)?;
            // `5/10` is no range to step through.
            if step.is_some() {
                return None;
            }
            (only, only)
        };
        if first < low || last > high || first > last {
            return None;
        }
        values.extend((first..=last).step_by(step.unwrap_or(1) as usize));
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(month: u32, day: u32, weekday: u32, hour: u32, minute: u32) -> LocalTime {
        LocalTime { year: 2021, month, day, hour, minute, second: 0, weekday, offset: 0 }
    }

    fn due(schedule: &str, now: LocalTime) -> bool {
        parse(&format!("{schedule} true\n")).unwrap()[0].is_due(&now)
    }

    #[test]
    fn the_real_table_is_read() {
        let table = "RAPIDPRO_TOKEN=abc\nBQ_KEY_PATH=\n\
            0 5,10 * * * cd /app && /usr/local/bin/python -u rapidpro_to_bigquery.py >> /var/log/cron.log 2>&1\n\
            0 * * * * cd /app && /usr/local/bin/python -u ping.py >> /var/log/cron.log 2>&1\n";
        let jobs = parse(table).unwrap();
        assert_eq!(jobs.len(), 2);
        assert_eq!(jobs[0].environment[0], ("RAPIDPRO_TOKEN".into(), "abc".into()));
        assert_eq!(jobs[0].environment[1], ("BQ_KEY_PATH".into(), String::new()));
        assert!(jobs[0].is_due(&at(7, 21, 3, 10, 0)));
        assert!(!jobs[0].is_due(&at(7, 21, 3, 10, 1)));
        assert!(!jobs[0].is_due(&at(7, 21, 3, 11, 0)));
        assert!(jobs[1].is_due(&at(7, 21, 3, 11, 0)));
    }

    #[test]
    fn schedules_have_ranges_steps_names_and_words() {
        assert!(due("*/15 * * * *", at(1, 1, 5, 0, 45)));
        assert!(!due("*/15 * * * *", at(1, 1, 5, 0, 46)));
        assert!(due("0 8-17/3 * jul mon-fri", at(7, 21, 3, 14, 0)));
        assert!(due("0 0 * * 7", at(7, 18, 0, 0, 0)));
        assert!(due("@hourly", at(7, 18, 0, 9, 0)));
        // Day of month or day of week, when both are given.
        assert!(due("0 0 1 * wed", at(7, 21, 3, 0, 0)));
        assert!(due("0 0 1 * wed", at(7, 1, 4, 0, 0)));
        assert!(!due("0 0 1 * *", at(7, 21, 3, 0, 0)));
        assert!(parse("@reboot true\n").unwrap()[0].runs_at_reboot());
    }

    #[test]
    fn percent_signs_are_input() {
        let job = &parse("* * * * * cat%a%b\\%c\n").unwrap()[0];
        assert_eq!((job.command.as_str(), job.input.as_deref()), ("cat", Some("a\nb%c")));
    }

    #[test]
    fn wrong_lines_are_named() {
        for (line, problem) in [
            ("60 * * * * true", "bad minute"),
            ("0 24 * * * true", "bad hour"),
            ("0 0 0 * * true", "bad day-of-month"),
            ("0 0 1 13 * true", "bad month"),
            ("0 0 1 1 8 true", "bad day-of-week"),
            ("0 0 1 1 *", "bad command"),
            ("0 0", "bad day-of-month"),
            ("5/10 * * * * true", "bad minute"),
            ("@often true", "bad time specifier"),
            ("nonsense", "bad minute"),
        ] {
            assert_eq!(parse(&format!("# first\n{line}\n")), Err((2, problem)), "{line}");
        }
    }

    #[test]
    fn environment_lines_may_be_quoted() {
        let jobs = parse("A = 'b c' \n\"D\"=\"e\"\n* * * * * x=1 true\n").unwrap();
        assert_eq!(
            jobs[0].environment,
            [("A".to_owned(), "b c".to_owned()), ("D".to_owned(), "e".to_owned())]
        );
        assert_eq!(jobs[0].command, "x=1 true");
    }
}
