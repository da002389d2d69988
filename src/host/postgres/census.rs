//! What a database holds, counted: its extensions, the rows of each table, its large objects. Two
//! databases with the same census have the same data as far as can be told without comparing it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Tables with rows of their own: partitions rather than what they are parts of, and nothing that
/// an extension made and fills itself. The name is quoted as SQL wants it.
const TABLES: &str = "\
SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c \
JOIN pg_namespace n ON n.oid = c.relnamespace \
WHERE c.relkind = 'r' AND c.relpersistence <> 't' \
AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)' \
AND NOT EXISTS (SELECT 1 FROM pg_depend d \
WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') ORDER BY 1";

const EXTENSIONS: &str = "\
SELECT extname, extversion FROM pg_extension WHERE extname <> 'plpgsql' ORDER BY 1";

/// Tables of extensions into which users may write: pg_dump takes the rows that fit the condition
/// (PostgreSQL documentation, 38.17.3).
const CONFIGURATION: &str = "\
SELECT format('%I.%I', n.nspname, c.relname), w.condition FROM (SELECT unnest(extconfig) AS id, \
unnest(extcondition) AS condition FROM pg_extension) w JOIN pg_class c ON c.oid = w.id \
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' ORDER BY 1";

/// So many tables are counted by one statement: psql gets it as an argument, which has a limit
/// (128 KB on Linux).
const AT_ONCE: usize = 300;

/// The census of one database.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Census {
    /// Extensions and their versions, without plpgsql.
    pub extensions: BTreeMap<String, String>,
    /// Rows of each table, by its quoted name: `public.orgs_org`.
    pub tables: BTreeMap<String, u64>,
    /// Rows that users have put into tables of extensions.
    pub extension_rows: BTreeMap<String, u64>,
    /// Large objects.
    pub large_objects: u64,
}

/// Rows of texts, or why there is no answer.
pub type Rows = Result<Vec<Vec<String>>, String>;

/// Counts. `ask` asks the database; a session whose transaction has a snapshot counts what a dump
/// with that snapshot holds.
pub async fn take(ask: impl AsyncFn(String) -> Rows) -> Result<Census, String> {
    let pairs = |rows: Vec<Vec<String>>| -> Vec<(String, String)> {
        let rows = rows.into_iter();
        rows.filter_map(|row| {
            let mut row = row.into_iter();
            Some((row.next()?, row.next().unwrap_or_default()))
        })
        .collect()
    };
    let extensions = pairs(ask(EXTENSIONS.to_owned()).await?);
    let tables: Vec<String> = ask(TABLES.to_owned())
        .await?
        .into_iter()
        .flatten()
        .collect();
    let own = pairs(ask(CONFIGURATION.to_owned()).await?);
    let everything = tables.iter().map(|table| (table.as_str(), "")).chain(
        own.iter()
            .map(|(table, only)| (table.as_str(), only.as_str())),
    );
    let everything: Vec<(&str, &str)> = everything.collect();
    let mut counts = Vec::new();
    for some in everything.chunks(AT_ONCE) {
        let counted = ask(count(some)).await?;
        counts.extend(counted.into_iter().flatten().map(number));
    }
    if counts.len() != everything.len() {
        return Err("not every table was counted".to_owned());
    }
    let of_extensions = counts.split_off(tables.len());
    let large = ask("SELECT count(*) FROM pg_largeobject_metadata".to_owned()).await?;
    Ok(Census {
        extensions: extensions.into_iter().collect(),
        tables: tables.into_iter().zip(counts).collect(),
        extension_rows: own
            .into_iter()
            .map(|(table, _)| table)
            .zip(of_extensions)
            .collect(),
        large_objects: large.into_iter().flatten().map(number).sum(),
    })
}

fn number(text: String) -> u64 {
    text.parse().unwrap_or_default()
}

/// One row a table, in this order.
fn count(tables: &[(&str, &str)]) -> String {
    let each: Vec<String> = tables
        .iter()
        .enumerate()
        .map(|(index, (table, only))| format!("SELECT {index}, count(*) FROM ONLY {table} {only}"))
        .collect();
    format!(
        "SELECT n FROM ({}) AS c (i, n) ORDER BY i",
        each.join(" UNION ALL ")
    )
}

impl Census {
    /// What a restored database lacks or has otherwise, one line each; empty: nothing.
    pub fn differences(&self, restored: &Self) -> Vec<String> {
        let mut found: Vec<String> = self
            .extensions
            .iter()
            .filter(|(name, _)| !restored.extensions.contains_key(*name))
            .map(|(name, version)| format!("extension {name} {version} is missing"))
            .collect();
        found.extend(rows(&self.tables, &restored.tables));
        // What an extension keeps itself may differ between its versions; users' rows only.
        let own = self.extension_rows.iter().filter(|(_, rows)| **rows > 0);
        let own: BTreeMap<_, _> = own.map(|(name, rows)| (name.clone(), *rows)).collect();
        found.extend(
            rows(&own, &restored.extension_rows)
                .into_iter()
                .filter(|line| !line.ends_with("was not in the backup")),
        );
        if self.large_objects != restored.large_objects {
            found.push(format!(
                "{} large objects, {} were backed up",
                restored.large_objects, self.large_objects
            ));
        }
        found
    }

    /// The names of its extensions.
    pub fn extension_names(&self) -> Vec<&str> {
        self.extensions.keys().map(String::as_str).collect()
    }

    /// All rows.
    pub fn rows(&self) -> u64 {
        self.tables.values().sum()
    }
}

fn rows(wanted: &BTreeMap<String, u64>, there: &BTreeMap<String, u64>) -> Vec<String> {
    let differing = wanted
        .iter()
        .filter_map(|(table, wanted)| match there.get(table) {
            None => Some(format!("table {table} is missing ({wanted} rows)")),
            Some(rows) if rows != wanted => Some(format!(
                "table {table} has {rows} rows, {wanted} were backed up"
            )),
            Some(_) => None,
        });
    let beside = there
        .keys()
        .filter(|table| !wanted.contains_key(*table))
        .map(|table| format!("table {table} was not in the backup"));
    differing.chain(beside).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn census(tables: &[(&str, u64)]) -> Census {
        Census {
            extensions: [("hstore".to_owned(), "1.8".to_owned())].into(),
            tables: tables
                .iter()
                .map(|(name, rows)| ((*name).to_owned(), *rows))
                .collect(),
            extension_rows: [("public.spatial_ref_sys".to_owned(), 0)].into(),
            large_objects: 2,
        }
    }

    #[test]
    fn what_is_missing_or_different_is_named() {
        let backed_up = census(&[("public.a", 3), ("public.b", 1)]);
        assert_eq!(backed_up.differences(&backed_up), Vec::<String>::new());
        let mut restored = census(&[("public.a", 2), ("public.c", 0)]);
        restored.extensions.clear();
        restored.large_objects = 0;
        // Another version of PostGIS may come with other rows of its own.
        restored.extension_rows.clear();
        assert_eq!(
            backed_up.differences(&restored),
            [
                "extension hstore 1.8 is missing",
                "table public.a has 2 rows, 3 were backed up",
                "table public.b is missing (1 rows)",
                "table public.c was not in the backup",
                "0 large objects, 2 were backed up",
            ]
        );
    }

    #[tokio::test]
    async fn tables_are_counted_in_their_order() {
        let asked = std::cell::RefCell::new(Vec::new());
        let census = take(async |query: String| {
            asked.borrow_mut().push(query.clone());
            Ok(match query.as_str() {
                TABLES => vec![vec!["public.a".to_owned()], vec!["public.b".to_owned()]],
                EXTENSIONS => vec![vec!["hstore".to_owned(), "1.8".to_owned()]],
                CONFIGURATION => vec![vec!["public.srs".to_owned(), "WHERE srid > 9".to_owned()]],
                query if query.contains("pg_largeobject") => vec![vec!["4".to_owned()]],
                _ => ["10", "20", "0"].map(|n| vec![n.to_owned()]).to_vec(),
            })
        })
        .await
        .unwrap();
        assert_eq!(census.tables["public.b"], 20);
        assert_eq!(census.extension_rows["public.srs"], 0);
        assert_eq!((census.large_objects, census.rows()), (4, 30));
        assert!(asked.borrow()[3].contains("2, count(*) FROM ONLY public.srs WHERE srid > 9"));
    }
}
