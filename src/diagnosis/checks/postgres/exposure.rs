//! Whether strangers can log in: where it listens, what the firewall lets through, and whom
//! pg_hba.conf lets in, judged together.

use std::rc::Rc;

use super::super::outside::{self, Outside};
use crate::diagnosis::check::{Checked, Halt, Report, blocking};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Evidence, Finding};
use crate::host::postgres::{by_hand, hba};
use crate::host::url::DatabaseUrl;

pub async fn check(scene: Rc<Scene>) -> Checked {
    let databases = scene.context.settings.databases();
    if databases.is_empty() {
        scene.database("rapidpro")?;
    }
    let mut report = Report::fine();
    let mut places: Vec<(String, u16)> = Vec::new();
    let mut elsewhere = None;
    for database in &databases {
        let url = &database.url;
        let place = (url.host().to_owned(), url.port());
        if places.contains(&place) {
            continue;
        }
        places.push(place);
        match outside::look(&scene, url.host(), url.port()).await? {
            None => elsewhere = Some(url.host().to_owned()),
            // Strangers do not get as far as pg_hba.conf.
            Some(outside) if !outside.is_open() => {}
            Some(outside) => report.findings.extend(judge(url, outside).await?),
        }
    }
    match elsewhere {
        Some(host) if places.len() == 1 => Err(Halt::unused(format!(
            "no PostgreSQL on this host: it is at {host}"
        ))),
        _ => Ok(report),
    }
}

async fn judge(url: &DatabaseUrl, outside: Outside) -> Result<Option<Finding>, Halt> {
    let Some(pid) = outside.listeners.iter().find_map(|listener| listener.pid) else {
        return Err(Halt::unknown(format!(
            "PostgreSQL listens on {}; whom pg_hba.conf lets in only root can read",
            outside.addresses()
        )));
    };
    let (path, rules) = blocking(move || {
        let path = hba::file_of(pid)?;
        let rules = hba::read(&path)?;
        Ok((path, rules))
    })
    .await?
    .map_err(|error: std::io::Error| {
        Halt::unknown(format!(
            "PostgreSQL listens on {}; its pg_hba.conf cannot be read: {error}",
            outside.addresses()
        ))
    })?;
    let lets_in: Vec<_> = rules.iter().filter(|rule| rule.admits_outside()).collect();
    let Some(first) = lets_in.first() else {
        return Ok(None);
    };
    let port = url.port();
    let summary = format!(
        "PostgreSQL can be reached from the internet on port {port}, and pg_hba.conf lets it in"
    );
    // Without a password whoever finds it has everything; with one he may try.
    let unlocked = lets_in.iter().find(|rule| rule.method == "trust");
    let mut finding = match unlocked {
        Some(_) => Finding::error(
            Code::PostgresExposed,
            format!("{summary} without a password"),
        ),
        None => Finding::warning(Code::PostgresExposed, summary),
    };
    for fact in outside.facts() {
        finding = finding.evidence(fact);
    }
    let shown = unlocked.unwrap_or(first);
    finding = finding.evidence(
        Evidence::new(
            format!("pg_hba.conf, line {}", shown.line),
            &shown.text,
            path.display().to_string(),
        )
        .command(format!("sudo grep -n '^host' {}", path.display())),
    );
    Ok(Some(
        finding
            .impact(
                "strangers can try passwords, or log in: names, numbers and messages of callers \
                 are in these databases",
            )
            .cause("the line was meant for the containers and is wider than their networks")
            .manual(by_hand::superuser(
                url,
                None,
                "SELECT DISTINCT client_addr, usename FROM pg_stat_activity",
            ))
            .manual(format!("sudoedit {}", path.display()))
            .manual(by_hand::superuser(url, None, "SELECT pg_reload_conf()"))
            .interrupts("nobody but those who come from outside"),
    ))
}
