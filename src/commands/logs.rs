//! `ooy logs`.

use regex::Regex;

use super::{Failure, Outcome, block, context};
use crate::cli::{Level, Logs};
use crate::deployment::places::Places;
use crate::fault::{Fault, Result};
use crate::lifecycle::logs::{self, Query, Severity, Written};
use crate::ui::{Paint, Ui};

/// Lines shown before following begins, when none are asked for.
const BEFORE_FOLLOWING: u64 = 50;

pub fn run(ui: &Ui, places: &Places, arguments: &Logs) -> Outcome {
    let context = context(ui, places, "logs")?;
    let query = query(arguments)?;
    let chosen = context
        .stack
        .select(&arguments.services, &context.command("logs"))?;
    let width = chosen
        .iter()
        .map(|name| name.chars().count())
        .max()
        .unwrap_or_default();
    let numbers: Vec<String> = context
        .stack
        .services
        .iter()
        .map(|service| service.name.clone())
        .collect();
    // Raw on a pipe, for whoever searches it; on a terminal a stranger's message must not steer it.
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stdout());
    let mut show = |written: &Written| -> std::io::Result<()> {
        let masked = context.mask.apply(&written.line.text);
        if ui.json {
            return ui.json(&serde_json::json!({
                "schema": 1,
                "at": written.line.at,
                "service": written.service,
                "stream": if written.line.stderr { "stderr" } else { "stdout" },
                "text": masked,
            }));
        }
        let text = if terminal {
            crate::host::text::sanitize(&masked)
        } else {
            masked
        };
        let number = numbers
            .iter()
            .position(|name| *name == written.service)
            .unwrap_or_default();
        let name = ui.paint_out(
            Paint::Number(number),
            &format!("{:<width$}", written.service),
        );
        let at = written.line.at.to_zoned(jiff::tz::TimeZone::system());
        ui.raw(&format!(
            "{} {name}  {text}\n",
            at.strftime("%m-%d %H:%M:%S")
        ))
    };
    block(async {
        tokio::select! {
            result = logs::read(&context, &chosen, &query, &mut show) => result.map_err(|stopped| match stopped {
                logs::Stopped::Fault(fault) => Failure::from(fault),
                logs::Stopped::Output(error) => Failure::from(error),
            }),
            _ = tokio::signal::ctrl_c() => Err(Failure::Interrupted),
        }
    })?;
    Ok(0)
}

fn query(arguments: &Logs) -> Result<Query> {
    let wrong = |name: &str, message: String, example: &str| {
        Box::new(
            Fault::usage(format!("{name}: not understood"), message)
                .evidence("given on the command line")
                .why("without it other lines would be shown than you asked for")
                .next(format!("ooy logs {example}")),
        )
    };
    let time = |name: &str, text: &Option<String>| {
        text.as_deref()
            .map(|text| {
                logs::parse_time(text, &jiff::Zoned::now()).ok_or_else(|| {
                    wrong(
                        name,
                        format!("\"{text}\" is no time"),
                        "--since 2h    or  --since 2026-11-22T02:14",
                    )
                })
            })
            .transpose()
    };
    Ok(Query {
        follow: arguments.follow,
        last: arguments
            .lines
            .or((arguments.follow && arguments.since.is_none()).then_some(BEFORE_FOLLOWING)),
        since: time("--since", &arguments.since)?,
        until: time("--until", &arguments.until)?,
        grep: arguments
            .grep
            .as_deref()
            .map(|pattern| {
                Regex::new(pattern).map_err(|error| {
                    // Its last line names the mistake; the ones before draw it.
                    let message = error
                        .to_string()
                        .lines()
                        .last()
                        .unwrap_or_default()
                        .to_owned();
                    wrong(
                        "--grep",
                        format!("\"{pattern}\" is no regular expression: {message}"),
                        "--grep 'time(d )?out'",
                    )
                })
            })
            .transpose()?,
        level: arguments.level.map(|level| match level {
            Level::Debug => Severity::Debug,
            Level::Info => Severity::Info,
            Level::Warn => Severity::Warning,
            Level::Error => Severity::Error,
        }),
        without_stdout: arguments.stderr,
        without_stderr: arguments.stdout,
    })
}
