//! Connections that are left. One that finds none is refused, and with it a message, a page or a
//! pull.

use std::rc::Rc;

use crate::deployment::settings::Database;
use crate::diagnosis::check::{Checked, Halt, Report};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::words::count;
use crate::diagnosis::{Code, Evidence, Finding};
use crate::host::postgres::by_hand;
use crate::host::postgres::session::{NoAnswer, Row, Session};
use crate::host::reach::host_port;

const SETTING: &str = "POSTGRES_CONNECTIONS_PERCENT";

/// Reserved for superusers since ever; for other roles since PostgreSQL 16. Of connections of
/// others an ordinary role sees database and program, not the state; workers of PostgreSQL's own
/// do not count, and those that have a database are not told apart from clients by it.
const LIMITS: &str = "SELECT setting, name FROM pg_settings WHERE name IN \
    ('max_connections', 'superuser_reserved_connections', 'reserved_connections')";
const HOLDERS: &str = "SELECT count(*), datname, \
    coalesce(nullif(application_name, ''), usename::text), coalesce(state, '') \
    FROM pg_stat_activity \
    WHERE datid IS NOT NULL AND usesysid IS NOT NULL \
    AND coalesce(backend_type, 'client backend') = 'client backend' \
    GROUP BY 2, 3, 4 ORDER BY 1 DESC, 2, 3";

pub async fn check(scene: Rc<Scene>) -> Checked {
    let databases = scene.context.settings.databases();
    if databases.is_empty() {
        scene.database("rapidpro")?;
    }
    let mut servers: Vec<(String, u16)> = Vec::new();
    let mut report = Report::fine();
    let mut refused = None;
    let mut seen = false;
    for database in databases {
        let place = (database.url.host().to_owned(), database.url.port());
        if servers.contains(&place) {
            continue;
        }
        let session = match scene.postgres(database.owner).await {
            Ok(session) => session,
            // Another database of the same server may let us in.
            Err(halt) => {
                refused = Some(halt);
                continue;
            }
        };
        servers.push(place);
        seen = true;
        let used = Used::read(session).await.map_err(|error| {
            Halt::unknown(format!(
                "PostgreSQL does not say who is connected: {}",
                error.message
            ))
        })?;
        let limit = scene.context.settings.number(SETTING);
        if used.percent() >= limit {
            report.found(finding(&scene, &database, &used, limit));
        } else {
            report.figure(format!(
                "{} of {} connections to PostgreSQL",
                used.taken, used.places
            ));
        }
    }
    match refused {
        Some(halt) if !seen => Err(halt),
        _ => Ok(report),
    }
}

/// How many connections there are, and whose they are.
struct Used {
    /// Connections that ordinary roles can have.
    places: u64,
    /// Connections that there are.
    taken: u64,
    max: u64,
    /// "31 rapidpro (uwsgi, idle)".
    holders: Vec<String>,
}

impl Used {
    async fn read(session: &Session) -> Result<Self, NoAnswer> {
        let limits = session.rows(LIMITS).await?;
        let holders = session.rows(HOLDERS).await?;
        Ok(Self::of(&limits, &holders))
    }

    fn of(limits: &[Row], holders: &[Row]) -> Self {
        let limit = |name: &str| {
            let row = limits.iter().find(|row| row.text(1) == name);
            row.map_or(0, |row| u64::try_from(row.number(0)).unwrap_or(0))
        };
        let max = limit("max_connections");
        let reserved = limit("superuser_reserved_connections") + limit("reserved_connections");
        Self {
            places: max.saturating_sub(reserved),
            taken: holders
                .iter()
                .map(|row| u64::try_from(row.number(0)).unwrap_or(0))
                .sum(),
            max,
            holders: holders
                .iter()
                .map(|row| {
                    let state = match row.text(3) {
                        "" => String::new(),
                        state => format!(", {state}"),
                    };
                    format!("{} {} ({}{state})", row.text(0), row.text(1), row.text(2))
                })
                .collect(),
        }
    }

    fn percent(&self) -> u64 {
        (self.taken * 100).checked_div(self.places).unwrap_or(100)
    }
}

fn finding(scene: &Scene, database: &Database, used: &Used, limit: u64) -> Finding {
    let url = &database.url;
    let at = host_port(url.host(), url.port());
    let mut finding = Finding::warning(
        Code::PostgresConnectionsHigh,
        format!(
            "PostgreSQL has {} left of {}",
            count(used.places.saturating_sub(used.taken), "connection"),
            used.places
        ),
    )
    .evidence(
        Evidence::new(
            "connections in use",
            format!("{} of {} ({} %)", used.taken, used.places, used.percent()),
            format!("pg_stat_activity, {at}"),
        )
        .threshold(format!("{limit} % ({SETTING})"))
        .command(by_hand::ask(
            url,
            "SELECT datname, usename, application_name, count(*) FROM pg_stat_activity \
             GROUP BY 1, 2, 3 ORDER BY 4 DESC",
        )),
    )
    .evidence(
        Evidence::new("max_connections", used.max.to_string(), at)
            .command(by_hand::ask(url, "SHOW max_connections")),
    );
    for holder in used.holders.iter().take(5) {
        finding = finding.evidence(Evidence::new("held by", holder, "pg_stat_activity"));
    }
    finding
        .impact("with none left every page, message and pull that needs a new one fails")
        .manual(by_hand::superuser(
            url,
            None,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle' \
             AND state_change < now() - interval '10 min'",
        ))
        .manual(by_hand::superuser(
            url,
            None,
            &format!(
                "ALTER SYSTEM SET max_connections = {}",
                (used.max * 2).max(100)
            ),
        ))
        .manual(by_hand::on_server(url, "sudo systemctl restart postgresql"))
        .manual(scene.command("restart"))
        .interrupts("everything, about 2 min; ending idle connections alone nobody")
}
