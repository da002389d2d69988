//! The tables for people: `_cat`.

use serde_json::{Map, Value};

use super::cluster::{status_of, totals};
use super::disk::{self, human_bytes};
use super::failure::{Failure, Outcome};
use super::names::resolve;
use super::rest::{Answer, Call};
use super::{Elastic, names};
use crate::clock;

/// A column's name, and whether its cells are pushed to the right.
type Column = (&'static str, bool);

pub fn indices(elastic: &Elastic, call: &Call) -> Outcome<Answer> {
    let columns: &[Column] = &[
        ("health", false),
        ("status", false),
        ("index", false),
        ("uuid", false),
        ("pri", true),
        ("rep", true),
        ("docs.count", true),
        ("docs.deleted", true),
        ("store.size", true),
        ("pri.store.size", true),
    ];
    let rows = elastic.node.read(|store| {
        let names = resolve(store, call.target())?;
        Ok(names
            .into_iter()
            .map(|name| {
                let index = &store.indices[&name];
                let size = bytes(call, index.size_in_bytes());
                vec![
                    status_of(elastic, index.replicas()).name().to_owned(),
                    "open".into(),
                    name,
                    index.uuid.clone(),
                    index.shards().to_string(),
                    index.replicas().to_string(),
                    index.documents.len().to_string(),
                    index.deleted.to_string(),
                    size.clone(),
                    size,
                ]
            })
            .collect())
    })?;
    table(call, columns, rows)
}

pub fn health(elastic: &Elastic, call: &Call) -> Outcome<Answer> {
    let columns: &[Column] = &[
        ("epoch", true),
        ("timestamp", false),
        ("cluster", false),
        ("status", false),
        ("node.total", true),
        ("node.data", true),
        ("shards", true),
        ("pri", true),
        ("relo", true),
        ("init", true),
        ("unassign", true),
        ("pending_tasks", true),
        ("max_task_wait_time", true),
        ("active_shards_percent", true),
    ];
    let (shards, unassigned, replicas) = elastic.node.read(|store| {
        let unassigned: u64 = store.indices.values().map(|i| i.shards() * i.replicas()).sum();
        let replicas = store.indices.values().map(super::store::Index::replicas).max();
        (totals(store).0, unassigned, replicas.unwrap_or(0))
    });
    let all = shards + unassigned;
    let percent = if all == 0 { 100.0 } else { shards as f64 * 100.0 / all as f64 };
    let now = clock::now_ms();
    let time = clock::utc_text(now as i64 * 1000, 0);
    let row = vec![
        (now / 1000).to_string(),
        time[11..19].to_owned(),
        elastic.cluster_name.clone(),
        status_of(elastic, replicas).name().to_owned(),
        "1".into(),
        "1".into(),
        shards.to_string(),
        shards.to_string(),
        "0".into(),
        "0".into(),
        unassigned.to_string(),
        "0".into(),
        "-".into(),
        format!("{percent:.1}%"),
    ];
    table(call, columns, vec![row])
}

pub fn aliases(elastic: &Elastic, call: &Call) -> Outcome<Answer> {
    let columns: &[Column] = &[
        ("alias", false),
        ("index", false),
        ("filter", false),
        ("routing.index", false),
        ("routing.search", false),
        ("is_write_index", false),
    ];
    let rows = elastic.node.read(|store| {
        let pairs = store
            .indices
            .iter()
            .flat_map(|(name, index)| index.aliases.iter().map(move |alias| (alias, name)));
        pairs
            .map(|(alias, name)| {
                let mut row = vec![alias.clone(), name.clone()];
                row.extend(["-"; 4].map(str::to_owned));
                row
            })
            .collect()
    });
    table(call, columns, rows)
}

pub fn allocation(elastic: &Elastic, call: &Call) -> Outcome<Answer> {
    let columns: &[Column] = &[
        ("shards", true),
        ("disk.indices", true),
        ("disk.used", true),
        ("disk.avail", true),
        ("disk.total", true),
        ("disk.percent", true),
        ("host", false),
        ("ip", false),
        ("node", false),
    ];
    let space = disk::space(elastic);
    let (shards, .., size) = elastic.node.read(totals);
    let row = vec![
        shards.to_string(),
        bytes(call, size),
        bytes(call, space.total - space.free),
        bytes(call, space.available),
        bytes(call, space.total),
        (disk::used_percent(&space) as u64).to_string(),
        elastic.address.clone(),
        elastic.address.clone(),
        elastic.node_name.clone(),
    ];
    table(call, columns, vec![row])
}

pub fn count(elastic: &Elastic, call: &Call) -> Outcome<Answer> {
    let documents = elastic.node.read(|store| {
        let names = resolve(store, call.target())?;
        Ok(names.iter().map(|name| store.indices[name].documents.len()).sum::<usize>())
    })?;
    let now = clock::now_ms();
    let time = clock::utc_text(now as i64 * 1000, 0);
    let row = vec![(now / 1000).to_string(), time[11..19].to_owned(), documents.to_string()];
    table(call, &[("epoch", true), ("timestamp", false), ("count", true)], vec![row])
}

fn bytes(call: &Call, size: u64) -> String {
    match call.parameter("bytes") {
        Some("b") => size.to_string(),
        Some("k" | "kb") => (size >> 10).to_string(),
        Some("m" | "mb") => (size >> 20).to_string(),
        Some("g" | "gb") => (size >> 30).to_string(),
        _ => human_bytes(size),
    }
}

/// `h` chooses columns, `s` sorts, `v` adds the heading, `format=json` makes objects.
fn table(call: &Call, columns: &[Column], mut rows: Vec<Vec<String>>) -> Outcome<Answer> {
    if let Some(order) = call.parameter("s") {
        for key in order.split(',').rev() {
            let (name, direction) = key.split_once(':').unwrap_or((key, "asc"));
            let at = columns.iter().position(|(column, _)| *column == name).ok_or_else(|| {
                Failure::new(
                    400,
                    "unsupported_operation_exception",
                    format!("Unable to sort by unknown sort key `{name}`"),
                )
            })?;
            rows.sort_by(|a, b| match (a[at].parse::<u64>(), b[at].parse::<u64>()) {
                (Ok(left), Ok(right)) => left.cmp(&right),
                _ => a[at].cmp(&b[at]),
            });
            if direction == "desc" {
                rows.reverse();
            }
        }
    }
    let shown: Vec<usize> = match call.parameter("h") {
        None => (0..columns.len()).collect(),
        // A heading that does not exist is left out, as the real one leaves it out.
        Some(wanted) => wanted
            .split(',')
            .flat_map(|pattern| {
                (0..columns.len()).filter(move |at| names::matches(pattern, columns[*at].0))
            })
            .collect(),
    };
    if call.parameter("format") == Some("json") {
        let objects = rows
            .iter()
            .map(|row| {
                let fields: Map<String, Value> = shown
                    .iter()
                    .map(|at| (columns[*at].0.to_owned(), Value::String(row[*at].clone())))
                    .collect();
                Value::Object(fields)
            })
            .collect();
        return Ok(Answer::Json(200, Value::Array(objects)));
    }
    if call.wants("v") {
        rows.insert(0, columns.iter().map(|(name, _)| (*name).to_owned()).collect());
    }
    let widths: Vec<usize> = shown
        .iter()
        .map(|at| rows.iter().map(|row| row[*at].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = shown
            .iter()
            .zip(&widths)
            .map(|(at, width)| {
                let (cell, right) = (&row[*at], columns[*at].1);
                if right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            })
            .collect();
        // Nothing is filled up after the last column.
        text.push_str(cells.join(" ").trim_end());
        text.push('\n');
    }
    Ok(Answer::Text(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(parameters: &[(&str, &str)]) -> Outcome<String> {
        let call = Call {
            parameters: parameters.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            ..Call::default()
        };
        let rows = vec![vec!["b".into(), "10".into()], vec!["aa".into(), "9".into()]];
        match table(&call, &[("index", false), ("docs.count", true)], rows)? {
            Answer::Text(text) => Ok(text),
            Answer::Json(_, value) => Ok(value.to_string()),
            Answer::Empty(_) => Ok(String::new()),
        }
    }

    #[test]
    fn tables_can_be_shaped() {
        assert_eq!(text(&[]).unwrap(), "b  10\naa  9\n");
        assert_eq!(text(&[("v", "")]).unwrap().lines().next(), Some("index docs.count"));
        assert_eq!(text(&[("h", "index"), ("s", "docs.count")]).unwrap(), "aa\nb\n");
        assert_eq!(
            text(&[("format", "json"), ("h", "docs.*")]).unwrap(),
            r#"[{"docs.count":"10"},{"docs.count":"9"}]"#
        );
        assert!(text(&[("s", "size")]).is_err());
    }
}
