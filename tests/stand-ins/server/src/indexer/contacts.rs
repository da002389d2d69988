//! Contacts out of RapidPro's database, as bulk requests.

use std::time::Instant;

use super::elastic::Elastic;
use crate::clock;
use crate::go::log;
use crate::pg::{Database, Row};

const BATCH: usize = 500;

/// Index everything modified since, until a query brings nothing new. Gives how many were
/// added and deleted.
pub fn index(
    database: &Database,
    elastic: &Elastic,
    index: &str,
    since: Option<i64>,
) -> Result<(u64, u64), String> {
    let started = Instant::now();
    let (mut added, mut deleted, mut seen) = (0, 0, 0);
    let mut since = since;
    loop {
        let rows = database.query(&query(since)).map_err(|problem| problem.to_string())?;
        let before = since;
        let mut new = 0;
        for chunk in rows.chunks(BATCH) {
            let mut batch = String::new();
            for row in chunk {
                let contact = Contact::read(row)?;
                since = Some(contact.modified_on);
                contact.append_to(&mut batch);
            }
            let (chunk_added, chunk_deleted) = elastic.bulk(index, &batch)?;
            new += chunk_added;
            deleted += chunk_deleted;
        }
        added += new;
        seen += rows.len();
        if since == before && new == 0 {
            return Ok((added, deleted));
        }
        let elapsed = started.elapsed();
        log::with("rate", (seen as f64 / elapsed.as_secs_f64()) as u64)
            .with("added", added)
            .with("deleted", deleted)
            .with("elapsed", clock::go_duration(elapsed))
            .with("index", index)
            .info("updated contact index");
    }
}

struct Contact {
    org_id: String,
    id: String,
    modified_on: i64,
    is_active: bool,
    document: String,
}

impl Contact {
    fn read(row: &Row) -> Result<Self, String> {
        let cell = |at: usize| {
            row.get(at)
                .and_then(Clone::clone)
                .ok_or_else(|| format!("sql: Scan error on column index {at}: converting NULL"))
        };
        let modified_on = cell(2)?;
        Ok(Self {
            org_id: cell(0)?,
            id: cell(1)?,
            modified_on: clock::parse_timestamp(&modified_on)
                .ok_or_else(|| format!("pq: invalid timestamp: {modified_on}"))?,
            is_active: cell(3)? == "t",
            document: cell(4)?,
        })
    }

    /// The version is the time of the change, so that an older state never wins.
    fn append_to(&self, batch: &mut String) {
        let version = self.modified_on * 1000;
        let meta = format!(
            r#""_id": {}, "_type": "_doc", "version": {version}, "version_type": "external", "routing": {}"#,
            self.id, self.org_id
        );
        if self.is_active {
            batch.push_str(&format!("{{ \"index\": {{ {meta}}} }}\n{}\n", self.document));
        } else {
            batch.push_str(&format!("{{ \"delete\" : {{ {meta}}} }}\n"));
        }
    }
}

fn query(since: Option<i64>) -> String {
    let since = since.map_or_else(|| "-infinity".into(), |micros| clock::utc_text(micros, 6));
    format!(
        "SELECT org_id, id, modified_on, is_active, row_to_json(t)::text FROM ( \
           SELECT id, org_id, uuid, name, language, status, status = 'S' AS is_stopped, \
             status = 'B' AS is_blocked, is_active, created_on, modified_on, last_seen_on, \
             (EXTRACT(EPOCH FROM modified_on) * 1000000)::bigint AS modified_on_mu, \
             (SELECT json_agg(json_build_object('scheme', u.scheme, 'path', u.path)) \
                FROM contacts_contacturn u WHERE u.contact_id = contacts_contact.id) AS urns, \
             (SELECT jsonb_agg(jsonb_build_object('field', f.key) || f.value) \
                FROM jsonb_each(contacts_contact.fields) f) AS fields, \
             (SELECT json_agg(g.uuid) FROM contacts_contactgroup g \
                JOIN contacts_contactgroup_contacts gc ON gc.contactgroup_id = g.id \
                WHERE gc.contact_id = contacts_contact.id) AS groups \
           FROM contacts_contact WHERE modified_on >= '{since}' \
           ORDER BY modified_on ASC LIMIT 500000 \
         ) t"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_becomes_an_index_or_a_delete() {
        let row = |active: &str| -> Row {
            ["1", "42", "2021-07-21 08:00:00.000001+00", active, "{\"id\":42}"]
                .map(|value| Some(value.to_owned()))
                .to_vec()
        };
        let mut batch = String::new();
        Contact::read(&row("t")).unwrap().append_to(&mut batch);
        Contact::read(&row("f")).unwrap().append_to(&mut batch);
        let lines: Vec<&str> = batch.lines().collect();
        assert_eq!(lines.len(), 3);
        let meta: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
        assert_eq!(meta["index"]["version"], 1_626_854_400_000_001_000_u64);
        assert_eq!(lines[1], "{\"id\":42}");
        assert!(lines[2].starts_with("{ \"delete\""));
        assert!(Contact::read(&vec![None; 5]).is_err());
    }

    #[test]
    fn the_first_query_takes_everything() {
        assert!(query(None).contains("'-infinity'"));
        assert!(query(Some(0)).contains("'1970-01-01T00:00:00.000000Z'"));
    }
}
