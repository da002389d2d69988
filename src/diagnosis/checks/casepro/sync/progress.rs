//! Whether a long pull gets on: it writes messages or contacts all the time, or it hangs.

use std::time::Duration;

use crate::diagnosis::check::Halt;
use crate::diagnosis::scene::Scene;

/// PostgreSQL publishes such figures once a second (PGSTAT_MIN_INTERVAL).
const APART: Duration = Duration::from_millis(1500);

/// Earlier figures count for so long.
const EARLIER: Duration = Duration::from_secs(600);

const WRITTEN: &str = "SELECT coalesce(sum(n_tup_ins + n_tup_upd), 0) FROM pg_stat_user_tables \
    WHERE relname LIKE 'msgs\\_%' OR relname LIKE 'contacts\\_%'";

/// Whether rows of messages and contacts were written lately: between this look and an earlier
/// one, or between two looks a moment apart.
pub(super) async fn made(scene: &Scene) -> Result<bool, Halt> {
    let session = scene.postgres("casepro").await?;
    let written = async || match session.rows(WRITTEN).await {
        Ok(rows) => Ok(rows.first().map_or(0, |row| row.number(0))),
        Err(error) => Err(super::unreadable("Casepro's", &error.message)),
    };
    let before = written().await?;
    let name = "casepro:written";
    scene.sample(name, before as f64);
    let earlier = scene.samples.of(name).last();
    if earlier.is_some_and(|earlier| {
        let ago = scene.since(earlier.at);
        ago < EARLIER && earlier.value != before as f64
    }) {
        return Ok(true);
    }
    tokio::time::sleep(APART).await;
    Ok(written().await? != before)
}
