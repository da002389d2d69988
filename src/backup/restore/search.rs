//! The search index after a restore: it knows of contacts that the database no longer has, and would
//! keep what they were until each of them changes.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use crate::engine::Engine;
use crate::host::http;
use crate::lifecycle::Context;
use crate::operation::Kind;

const LIMIT: Duration = Duration::from_secs(10);
/// Elasticsearch's port in its container.
const PORT: u16 = 9200;

/// Deletes RapidPro's index. The indexer, which is stopped, makes a new one when it finds none, from
/// all contacts (stack.md section 1.2). What cannot be done here is only said: it can be done later.
pub async fn forget(context: &Context) {
    let reporter = &context.reporter;
    let Some(address) = address(context).await else {
        return;
    };
    match delete(address).await {
        Ok(0) => {}
        Ok(_) => reporter.tell(
            "search",
            Kind::Done,
            None,
            "index removed; the indexer makes it anew, and searches find little until then",
        ),
        Err(why) => {
            let why = context.mask.apply(&why);
            let told = format!("warning: the search index knows contacts of before: {why}");
            reporter.tell("search", Kind::Progress, None, told);
        }
    }
}

async fn address(context: &Context) -> Option<SocketAddr> {
    let engine = Engine::connect().await.ok()?;
    let containers = engine.containers(context.settings.project()).await.ok()?;
    let node = containers.into_iter().find(|container| {
        container.service == "elasticsearch" && !container.oneoff && container.is_running()
    })?;
    Some(SocketAddr::new(*node.addresses.first()?, PORT))
}

async fn delete(address: SocketAddr) -> Result<usize, String> {
    let path = "/_cat/indices/contacts*?format=json&h=index";
    let answer = http::get(address, "localhost", path, LIMIT).await?;
    let rows: Value = serde_json::from_str(answer.body()).map_err(|_| "it lists no indices")?;
    let names: Vec<&str> = rows
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|row| row["index"].as_str())
        .collect();
    for name in &names {
        let path = format!("/{name}");
        let answer = http::send(address, "DELETE", &path, "", LIMIT).await?;
        if answer.status >= 300 && answer.status != 404 {
            return Err(format!("DELETE {path} is answered with {}", answer.status));
        }
    }
    Ok(names.len())
}
