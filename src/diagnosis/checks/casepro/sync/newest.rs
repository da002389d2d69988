//! The newest message of both: pulls that succeed prove little when they ask the wrong workspace
//! or none at all.

use std::time::Duration;

use jiff::Timestamp;

use super::super::{psql, shown};
use super::unreadable;
use crate::diagnosis::check::Halt;
use crate::diagnosis::scene::Scene;
use crate::diagnosis::words;
use crate::diagnosis::{Evidence, Finding};
use crate::host::postgres::session::{NoAnswer, Row};

/// The newest incoming messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Newest {
    /// RapidPro's, of those that Casepro must have had the time to pull.
    pub(super) rapidpro: Option<Timestamp>,
    /// Casepro's.
    pub(super) casepro: Option<Timestamp>,
    /// When the organisation was made in Casepro: it pulls nothing older.
    pub(super) from: Option<Timestamp>,
    now: Option<Timestamp>,
}

/// Newest by id first: there is no index by time, and there may be millions.
const CASEPRO: &str = "SELECT max(created_on) FROM (SELECT created_on FROM msgs_message \
    ORDER BY id DESC LIMIT 1000) AS newest";

/// RapidPro's newest that is handled, visible, and has been so for some seconds.
fn rapidpro(org: i64, seconds: u64) -> String {
    format!(
        "SELECT max(created_on) FROM (SELECT created_on, direction, status, visibility, msg_type, \
         modified_on FROM msgs_msg WHERE org_id = {org} ORDER BY id DESC LIMIT 1000) AS newest \
         WHERE direction = 'I' AND status = 'H' AND visibility = 'V' AND msg_type IN ('I', 'F') \
         AND modified_on < now() - interval '{seconds} s'"
    )
}

/// Compares them, where it is clear which workspace an organisation belongs to: the one of the
/// same name, or the only one.
pub(super) async fn compare(scene: &Scene, grace: Duration) -> Result<Newest, Halt> {
    let casepro = scene.postgres("casepro").await?;
    let ours = "SELECT subdomain, created_on FROM orgs_org WHERE is_active";
    let ours = read("Casepro's", casepro.rows(ours).await)?;
    let [org] = &ours[..] else {
        return Ok(Newest::default());
    };
    let rapidpro_db = scene.postgres("rapidpro").await?;
    let theirs = "SELECT id, slug FROM orgs_org WHERE is_active";
    let theirs = read("RapidPro's", rapidpro_db.rows(theirs).await)?;
    let workspace = match &theirs[..] {
        [only] => Some(only),
        several => several.iter().find(|row| row.text(1) == org.text(0)),
    };
    let Some(workspace) = workspace else {
        return Ok(Newest::default());
    };
    let query = rapidpro(workspace.number(0), grace.as_secs());
    let theirs = read("RapidPro's", rapidpro_db.rows(&query).await)?;
    let ours = read("Casepro's", casepro.rows(CASEPRO).await)?;
    let first = |rows: &[Row]| rows.first().and_then(|row| time(row.get(0)?));
    Ok(Newest {
        rapidpro: first(&theirs),
        casepro: first(&ours),
        from: org.get(1).and_then(time),
        now: Some(scene.now),
    })
}

/// A release with other tables is not compared.
fn read(whose: &str, rows: Result<Vec<Row>, NoAnswer>) -> Result<Vec<Row>, Halt> {
    match rows {
        Ok(rows) => Ok(rows),
        Err(error) if error.is_unknown_table() => Ok(Vec::new()),
        Err(error) => Err(unreadable(whose, &error.message)),
    }
}

/// `2026-11-25 23:03:32.045+00`, as PostgreSQL writes it.
fn time(text: &str) -> Option<Timestamp> {
    let text = text.replacen(' ', "T", 1);
    let at = text.rfind(['+', '-'])?;
    let zone = &text[at..];
    let zone = if zone.contains(':') {
        zone.to_owned()
    } else {
        format!("{zone}:00")
    };
    format!("{}{zone}", &text[..at]).parse().ok()
}

impl Newest {
    /// RapidPro has one that Casepro should have and has not.
    pub(super) fn is_behind(&self) -> bool {
        let (Some(rapidpro), Some(from)) = (self.rapidpro, self.from) else {
            return false;
        };
        rapidpro > from && self.casepro.is_none_or(|casepro| casepro < rapidpro)
    }

    /// Adds what was seen.
    pub(super) fn evidence(&self, scene: &Scene, mut finding: Finding) -> Finding {
        let Some(now) = self.now else { return finding };
        let ago = |time: Option<Timestamp>| match time {
            Some(time) => {
                let ago = Duration::try_from(now.duration_since(time)).unwrap_or_default();
                format!("{} ago", words::age(ago))
            }
            None => "none".to_owned(),
        };
        let newest = "SELECT max(created_on) FROM";
        for (whose, owner, time, table) in [
            (
                "RapidPro",
                "rapidpro",
                self.rapidpro,
                "msgs_msg WHERE direction = 'I'",
            ),
            ("Casepro", "casepro", self.casepro, "msgs_message"),
        ] {
            finding = finding.evidence(shown(
                Evidence::new(
                    format!("newest incoming message of {whose}"),
                    ago(time),
                    format!("{whose}'s database"),
                ),
                psql(scene, owner, &format!("{newest} {table}")),
            ));
        }
        finding
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_postgresql_are_read() {
        for (text, utc) in [
            ("2026-11-25 23:03:32.045+00", "2026-11-25T23:03:32.045Z"),
            ("2026-11-26 02:03:32+03", "2026-11-25T23:03:32Z"),
            ("2026-11-26 04:33:32+05:30", "2026-11-25T23:03:32Z"),
        ] {
            assert_eq!(time(text), Some(utc.parse().unwrap()), "{text}");
        }
        assert_eq!(time("yesterday"), None);
    }

    #[test]
    fn only_what_casepro_had_to_pull_is_missed() {
        let at = |second: i64| Timestamp::from_second(second).ok();
        let newest = |rapidpro, casepro, from| Newest {
            rapidpro,
            casepro,
            from,
            now: at(1000),
        };
        assert!(newest(at(500), at(400), at(10)).is_behind());
        assert!(newest(at(500), None, at(10)).is_behind());
        assert!(!newest(at(500), at(500), at(10)).is_behind());
        // Older than the organisation, or nothing to compare.
        assert!(!newest(at(500), None, at(600)).is_behind());
        assert!(!newest(None, at(400), at(10)).is_behind());
        assert!(!Newest::default().is_behind());
    }
}
