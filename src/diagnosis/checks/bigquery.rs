//! The copy to BigQuery: whether it has what it needs, and whether it has been made.

mod log;

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use self::log::Last;
use super::service;
use crate::deployment::services::Stack;
use crate::diagnosis::Code::{
    BigquerySyncStale, BigqueryTokenMissing, ContentrepoUnreachable, OomKilled,
    PostgresUnreachable, RapidproUnreachable, RestartLoop, ServiceExited, ServiceMissing,
    ServicePaused, ServiceUnhealthy,
};
use crate::diagnosis::cause::When::{Always, If, SameService};
use crate::diagnosis::cause::rule;
use crate::diagnosis::check::{Check, Checked, Halt, Looking, Report, Subject, blocking};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::words;
use crate::diagnosis::{Code, Evidence, Finding};
use crate::engine::containers::Container;
use crate::host::inside;

const SERVICE: &str = "bigquery-sync";
const KEY: &str = "BIGQUERY_KEY_FILE";
const TOKEN: &str = "BIGQUERY_RAPIDPRO_TOKEN";

/// Where Debian's cron keeps the table of root.
const CRONTAB: &str = "/var/spool/cron/crontabs/root";

/// The checks of this subject.
pub const SUBJECT: Subject = Subject {
    checks: &[
        Check {
            name: "bigquery-settings",
            about: "key and token of the copy to BigQuery, up to the jobs that use them",
            codes: &[Code::BigqueryTokenMissing],
            run: |scene| -> Looking { Box::pin(token(scene)) },
        },
        Check {
            name: "bigquery-sync",
            about: "when data was last copied to BigQuery",
            codes: &[Code::BigquerySyncStale],
            run: |scene| -> Looking { Box::pin(sync(scene)) },
        },
    ],
    rules: &[
        rule(BigquerySyncStale, PostgresUnreachable, If(of_rapidpro)),
        rule(BigquerySyncStale, ServiceMissing, If(of_rapidpro)),
        rule(BigquerySyncStale, OomKilled, If(of_rapidpro)),
        rule(BigquerySyncStale, RestartLoop, If(of_rapidpro)),
        rule(BigquerySyncStale, ServiceExited, If(of_rapidpro)),
        rule(BigquerySyncStale, ServicePaused, If(of_rapidpro)),
        rule(BigquerySyncStale, ServiceUnhealthy, SameService),
        rule(BigquerySyncStale, RapidproUnreachable, Always),
        rule(BigquerySyncStale, ContentrepoUnreachable, Always),
        rule(BigquerySyncStale, BigqueryTokenMissing, Always),
    ],
};

/// It is what is copied from, or what copies.
fn of_rapidpro(_: &Finding, cause: &Finding, _: &Stack) -> bool {
    cause.owner == Some("rapidpro")
        || matches!(cause.service.as_deref(), Some("rapidpro" | SERVICE))
}

/// Whether the copy is wanted at all.
fn wanted(scene: &Scene) -> Result<(&str, &str), Halt> {
    let settings = &scene.context.settings;
    match (settings.get(KEY), settings.get(TOKEN)) {
        ("", "") => Err(Halt::unused(format!("{KEY} and {TOKEN} are not set"))),
        both => Ok(both),
    }
}

fn missing(scene: &Scene, summary: &str) -> Finding {
    Finding::warning(Code::BigqueryTokenMissing, summary)
        .service(SERVICE)
        .impact("BigQuery gets no new data; reports show old figures")
        .manual(format!(
            "nano {}",
            scene.context.settings.places.env_file.display()
        ))
        .manual(scene.command(&format!("start {SERVICE}")))
        .interrupts("the copy to BigQuery, some seconds")
}

async fn token(scene: Rc<Scene>) -> Checked {
    let (key, token) = wanted(&scene)?;
    let file = scene.context.settings.places.env_file.display();
    let unset = |name: &str, other: &str| {
        missing(
            &scene,
            &format!("The copy to BigQuery is half set up: {name} is not set"),
        )
        .evidence(
            Evidence::new(name, format!("empty, while {other} is set"), "settings")
                .command(format!("grep -c '^{name}=.' {file}")),
        )
    };
    if key.is_empty() {
        return Ok(unset(KEY, TOKEN).into());
    }
    let path = PathBuf::from(key);
    let fault = blocking(move || key_fault(&path)).await?;
    if let Some(fault) = fault {
        let finding = missing(&scene, "The copy to BigQuery has no usable key file").evidence(
            Evidence::new(KEY, fault, key)
                .threshold("a key of a Google service account, JSON")
                .command(format!("sudo head -c 60 {key}")),
        );
        return Ok(finding.into());
    }
    if token.is_empty() {
        return Ok(unset(TOKEN, KEY).into());
    }
    let container = scene.running(SERVICE).await?;
    let in_container = container.environment.get("RAPIDPRO_TOKEN");
    if in_container != Some(token) {
        let value = match in_container {
            None | Some("") => "not set",
            Some(_) => "another than in the settings",
        };
        let finding = missing(&scene, "The copy to BigQuery runs without its token").evidence(
            Evidence::new(
                "RAPIDPRO_TOKEN",
                value,
                format!("container {}", container.name),
            )
            .command(format!(
                "docker exec {} sh -c 'test -n \"$RAPIDPRO_TOKEN\"; echo $?'",
                container.name
            )),
        );
        return Ok(finding.into());
    }
    // cron hands its jobs nothing of the container's environment: the table has to name it.
    let table = match crontab(container).await? {
        Ok(table) => table,
        // Only root may look there, and there may be no such process on this machine.
        Err(_) => {
            let table = scene.engine().await?.file(&container.id, CRONTAB).await;
            table.map_err(|error| Halt::unknown(format!("{SERVICE}'s crontab: {error}")))?
        }
    };
    let table = String::from_utf8_lossy(&table.unwrap_or_default()).into_owned();
    if gives_token(&table, token) {
        return Ok(Report::fine());
    }
    let finding = missing(&scene, "The copy to BigQuery runs without its token").evidence(
        Evidence::new(
            "RAPIDPRO_TOKEN of its jobs",
            "not set: cron hands on nothing of the container's environment",
            format!("{CRONTAB} in container {}", container.name),
        )
        .command(format!(
            "docker exec {} sh -c \"crontab -l | grep -c ^RAPIDPRO_TOKEN=.\"",
            container.name
        )),
    );
    let finding = finding.cause("its command in compose.override.yaml writes another crontab");
    Ok(finding.into())
}

/// The jobs' table as the container has it.
async fn crontab(container: &Container) -> Result<io::Result<Option<Vec<u8>>>, Halt> {
    let (pid, id) = (container.pid, container.id.clone());
    blocking(move || match pid {
        Some(pid) => inside::read(pid, &id, CRONTAB),
        None => Err(io::ErrorKind::NotFound.into()),
    })
    .await
}

fn gives_token(crontab: &str, token: &str) -> bool {
    crontab
        .lines()
        .filter_map(|line| line.trim().split_once('='))
        .any(|(name, value)| {
            name.trim() == "RAPIDPRO_TOKEN" && value.trim().trim_matches(['"', '\'']) == token
        })
}

/// What is wrong with a key file, in words.
fn key_fault(path: &Path) -> Option<String> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) => return Some(error.to_string()),
    };
    if text.iter().all(u8::is_ascii_whitespace) {
        return Some("empty".to_owned());
    }
    let Ok(key) = serde_json::from_slice::<serde_json::Value>(&text) else {
        return Some("not JSON".to_owned());
    };
    let lacks = ["private_key", "client_email"]
        .into_iter()
        .find(|name| key[name].as_str().is_none_or(str::is_empty))?;
    Some(format!("JSON without {lacks}"))
}

async fn sync(scene: Rc<Scene>) -> Checked {
    wanted(&scene)?;
    let container = scene.running(SERVICE).await?;
    let engine = scene.engine().await?;
    // An hourly line and two runs a day: weeks.
    let lines = engine.last_lines(&container.id, 1000, None).await;
    let last = Last::read(lines.iter().map(|line| (line.at, line.text.as_str())));
    let hours = scene.context.settings.number("BIGQUERY_HOURS");
    let limit = Duration::from_secs(3600 * hours);
    let done = last.done.map(|time| scene.since(time));
    let up = service::age(&scene, container);
    let stale = done.is_none_or(|done| done > limit) && up > limit;
    if !stale && last.error.is_none() {
        let mut report = Report::fine();
        if let Some(done) = done {
            report.figure(format!("BigQuery copied {} ago", words::age(done)));
        }
        return Ok(report);
    }
    let summary = match (done, &last.error) {
        (Some(done), _) => format!("BigQuery has got no data for {}", words::age(done)),
        (None, Some(_)) => "BigQuery has got no data: the last copy ended in an error".to_owned(),
        (None, None) => format!("BigQuery has got no data for {} at least", words::age(up)),
    };
    let when = match done {
        Some(done) => format!("{} ago", words::age(done)),
        None => format!("none in the {} that it has run", words::age(up)),
    };
    let mut finding = Finding::warning(Code::BigquerySyncStale, summary)
        .service(SERVICE)
        .evidence(
            Evidence::new("last \"Done\"", when, format!("log of {}", container.name))
                .threshold(format!("{hours} h (BIGQUERY_HOURS)"))
                .command(scene.command(&format!("logs {SERVICE} -n 50"))),
        )
        .impact("reports made from BigQuery show old figures; the next run copies what is missing");
    if let Some((at, error)) = &last.error {
        let text: String = error.chars().take(200).collect();
        finding = finding.evidence(Evidence::new(
            format!("the last run, {} ago", words::age(scene.since(*at))),
            format!("\"{text}\""),
            format!("log of {}", container.name),
        ));
    }
    Ok(finding
        .manual(format!(
            "docker exec {} sh -c 'cd /app && python -u rapidpro_to_bigquery.py \
             >> /var/log/cron.log 2>&1'",
            container.name
        ))
        .interrupts("nothing")
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_jobs_have_the_token_if_the_table_gives_it() {
        let table = "RAPIDPRO_TOKEN=abc\nBQ_KEY_PATH=/x\n0 * * * * true\n";
        assert!(gives_token(table, "abc"));
        assert!(gives_token("RAPIDPRO_TOKEN=\"abc\"\n", "abc"));
        assert!(!gives_token(table, "abcd"));
        assert!(!gives_token("#RAPIDPRO_TOKEN=abc\n", "abc"));
        assert!(!gives_token("", "abc"));
    }

    #[test]
    fn a_key_file_has_to_be_one() {
        let folder = tempfile::tempdir().unwrap();
        let fault = |text: &str| {
            let path = folder.path().join("key.json");
            std::fs::write(&path, text).unwrap();
            key_fault(&path)
        };
        assert_eq!(fault(" \n").as_deref(), Some("empty"));
        assert_eq!(fault("hello").as_deref(), Some("not JSON"));
        assert_eq!(fault("{}").as_deref(), Some("JSON without private_key"));
        assert_eq!(fault(r#"{"private_key": "k", "client_email": "e"}"#), None);
        assert!(key_fault(&folder.path().join("none")).is_some());
    }
}
