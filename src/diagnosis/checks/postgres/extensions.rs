//! Extensions that the applications' databases need (stack.md section 3.1): a restore by another
//! role than the superuser loses them.

use std::rc::Rc;

use super::{nobody_was_let_in, server, short_version};
use crate::deployment::settings::Database;
use crate::diagnosis::check::{Checked, Report};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Evidence, Finding};
use crate::host::postgres::{MissingExtension, PostgresServer, by_hand};
use crate::lifecycle::surroundings::label;

pub async fn check(scene: Rc<Scene>) -> Checked {
    let look = scene.data().await;
    if look.databases.is_empty() {
        scene.database("rapidpro")?;
    }
    let mut report = Report::fine();
    let mut seen = false;
    for (index, database) in look.databases.iter().enumerate() {
        let Some(server) = server(look, index) else {
            continue;
        };
        seen = true;
        if !lacking(server).is_empty() {
            report.found(finding(&scene, database, server));
        }
    }
    // One that lets nobody in is said by `postgres-access`.
    if seen {
        Ok(report)
    } else {
        Err(nobody_was_let_in())
    }
}

/// What is missing and will not come by itself: the first migrations create what their role may.
fn lacking(server: &PostgresServer) -> Vec<&MissingExtension> {
    let migrated = server.migrations.is_some();
    server
        .missing
        .iter()
        .filter(|extension| migrated || !(extension.available && extension.may_create))
        .collect()
}

fn finding(scene: &Scene, database: &Database, server: &PostgresServer) -> Finding {
    let url = &database.url;
    let lacking = lacking(server);
    let names: Vec<&str> = lacking.iter().map(|one| one.name.as_str()).collect();
    let names = names.join(", ");
    let installed: Vec<&str> = server.installed.keys().map(String::as_str).collect();
    let mut finding = Finding::error(
        Code::PostgresExtensionMissing,
        format!(
            "{}: database {} lacks {names}",
            label(database.owner),
            url.database()
        ),
    )
    .owner(database.owner)
    .evidence(
        Evidence::new(
            format!("extensions of {}", url.database()),
            installed.join(", "),
            url.redacted(),
        )
        .threshold(format!("{} needed", database.extensions.join(", ")))
        .command(by_hand::ask(url, "SELECT extname FROM pg_extension")),
    )
    .evidence(Evidence::new(
        "PostgreSQL",
        short_version(server),
        url.redacted(),
    ));
    for extension in lacking.iter().filter(|extension| !extension.available) {
        finding = finding.evidence(Evidence::new(
            format!("files of {}", extension.name),
            "not installed on the server",
            "pg_available_extensions",
        ));
    }
    finding = finding
        .impact(format!(
            "{} fails wherever it uses {names}, and cannot be set up or upgraded",
            label(database.owner)
        ))
        .cause("a restore without PostgreSQL's superuser leaves extensions out")
        .fix(scene.command("fix postgres-extensions"))
        .interrupts("nothing");
    for command in by_hand::create_extensions(url, server) {
        finding = finding.manual(command);
    }
    finding
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn server(migrations: Option<&str>, available: bool, may_create: bool) -> PostgresServer {
        PostgresServer {
            version: "15.8 (Debian)".into(),
            version_number: 150_008,
            client_address: None,
            is_superuser: false,
            may_create: true,
            read_only: false,
            installed: BTreeMap::new(),
            missing: vec![MissingExtension {
                name: "hstore".into(),
                available,
                may_create,
            }],
            migrations: migrations.map(str::to_owned),
        }
    }

    #[test]
    fn what_the_first_migrations_will_make_is_not_missed() {
        assert!(lacking(&server(None, true, true)).is_empty());
        assert_eq!(lacking(&server(None, true, false)).len(), 1);
        assert_eq!(lacking(&server(None, false, true)).len(), 1);
        assert_eq!(lacking(&server(Some("digest"), true, true)).len(), 1);
    }
}
