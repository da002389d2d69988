//! Channels, looked up in RapidPro's database and remembered for a minute. While the
//! database is away, what was remembered goes on being used.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::pg::{Database, literal};
use crate::version;

const REMEMBERED: Duration = Duration::from_secs(60);
const WRONG_TYPE: &str = "channel type wrong";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    pub id: i64,
    pub uuid: String,
    pub org_id: i64,
    pub kind: String,
    pub is_anon: bool,
}

#[derive(Debug, Default)]
pub struct Channels(Mutex<HashMap<String, (Channel, Instant)>>);

impl Channels {
    /// `kind` is what the path says; None takes any.
    pub fn find(
        &self,
        database: &Database,
        kind: Option<&str>,
        uuid: &str,
    ) -> Result<Channel, String> {
        let known = self.0.lock().unwrap().get(uuid).cloned();
        let fits = |channel: &Channel| kind.is_none_or(|kind| kind == channel.kind);
        if let Some((channel, at)) = &known
            && (!fits(channel) || at.elapsed() < REMEMBERED)
        {
            return if fits(channel) { Ok(channel.clone()) } else { Err(WRONG_TYPE.into()) };
        }
        match load(database, uuid) {
            Ok(Some(channel)) if !fits(&channel) => Err(WRONG_TYPE.into()),
            Ok(Some(channel)) => {
                let entry = (channel.clone(), Instant::now());
                self.0.lock().unwrap().insert(uuid.to_owned(), entry);
                Ok(channel)
            }
            Ok(None) => {
                self.0.lock().unwrap().remove(uuid);
                let kind = kind.unwrap_or_default();
                Err(format!("unable to find channel with type: {kind} and uuid: {uuid}"))
            }
            Err(problem) => known.map(|(channel, _)| channel).ok_or(problem),
        }
    }
}

fn load(database: &Database, uuid: &str) -> Result<Option<Channel>, String> {
    let is_anon = if version::since(7, 0) { "is_anonymous" } else { "is_anon" };
    let rows = database.query(&format!(
        "SELECT ch.id, ch.org_id, ch.channel_type, org.{is_anon} \
         FROM channels_channel ch JOIN orgs_org org ON ch.org_id = org.id \
         WHERE ch.uuid = {} AND ch.is_active",
        literal(uuid)
    ));
    let rows = rows.map_err(|problem| problem.to_string())?;
    Ok(rows.first().and_then(|row| {
        let cell = |at: usize| row.get(at)?.as_deref();
        Some(Channel {
            id: cell(0)?.parse().ok()?,
            uuid: uuid.to_owned(),
            org_id: cell(1)?.parse().ok()?,
            kind: cell(2)?.to_owned(),
            is_anon: cell(3)? == "t",
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A database that refuses every connection.
    fn away() -> Database {
        Database::new("postgres://u@127.0.0.1:1/d?sslmode=disable")
    }

    fn remembered(at: Instant) -> Channels {
        let channel =
            Channel { id: 1, uuid: "u".into(), org_id: 1, kind: "EX".into(), is_anon: false };
        Channels(Mutex::new(HashMap::from([("u".to_owned(), (channel, at))])))
    }

    #[test]
    fn what_is_remembered_outlives_the_database() {
        let fresh = remembered(Instant::now());
        assert_eq!(fresh.find(&away(), Some("EX"), "u").unwrap().id, 1);
        assert_eq!(fresh.find(&away(), Some("AT"), "u").unwrap_err(), WRONG_TYPE);
        if let Some(long_ago) = Instant::now().checked_sub(2 * REMEMBERED) {
            assert!(remembered(long_ago).find(&away(), Some("EX"), "u").is_ok());
        }
        let problem = fresh.find(&away(), Some("EX"), "v").unwrap_err();
        assert!(problem.ends_with("connect: connection refused"), "{problem}");
    }
}
