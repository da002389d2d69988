//! Which migrations Django has applied to a database, as one digest.

use sha2::{Digest as _, Sha256};
use tokio_postgres::{Client, Error};

use super::rows;
use crate::host::text;

/// All that are applied, as `app.name`.
pub(super) const NAMES: &str = "SELECT app || '.' || name FROM django_migrations";

/// SHA-256 over the sorted `app.name` lines of django_migrations; `None` where Django has not
/// migrated anything yet. A release task prints the same digest when it has ended.
pub(super) async fn applied(client: &Client) -> Result<Option<String>, Error> {
    // Asked for first: a query to a missing table would be an error in the server's log.
    let there = rows(
        client,
        "SELECT has_table_privilege(to_regclass('django_migrations'), 'SELECT')",
    )
    .await?;
    if there.first().and_then(|row| row.get(0)) != Some("t") {
        return Ok(None);
    }
    let rows = rows(client, NAMES).await?;
    let names = rows.iter().filter_map(|row| row.get(0));
    Ok(Some(digest(names.map(str::to_owned).collect())))
}

/// The digest of these names, in whatever order and however often they come.
pub(super) fn digest(mut names: Vec<String>) -> String {
    names.sort_unstable();
    names.dedup();
    text::hex(&Sha256::digest(names.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_the_one_that_python_prints() {
        // hashlib.sha256('\n'.join(sorted({...})).encode()).hexdigest()
        let names = ["orgs.0002_b", "orgs.0001_a", "orgs.0001_a"];
        assert_eq!(
            digest(names.map(str::to_owned).to_vec()),
            "bb3931a3ae91404d3dfcbb194256fd6a2a1b7e11301b71aba814246f5b2a89e9"
        );
    }
}
