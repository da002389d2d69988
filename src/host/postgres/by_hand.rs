//! Commands by which a person sees and repairs what concerns a database; no secret in any.

use super::PostgresServer;
use super::names::{package_of, sql_name};
use crate::host::reach::hint::{on_machine, quoted, word};
use crate::host::url::DatabaseUrl;

/// Whether somebody answers.
pub fn see(url: &DatabaseUrl) -> String {
    format!("pg_isready -h {} -p {}", word(url.host()), url.port())
}

/// Asks as the services' role; psql asks for the password.
pub fn ask(url: &DatabaseUrl, query: &str) -> String {
    format!(
        "psql -h {} -p {} -U {} -d {} -c {}",
        word(url.host()),
        url.port(),
        word(url.user()),
        word(url.database()),
        quoted(query)
    )
}

/// Runs SQL as PostgreSQL's superuser, on the server's machine.
pub fn superuser(url: &DatabaseUrl, database: Option<&str>, sql: &str) -> String {
    let port = match url.port() {
        5432 => String::new(),
        port => format!(" -p {port}"),
    };
    let database = database.map_or_else(String::new, |name| format!(" -d {}", word(name)));
    on_machine(
        url.host(),
        &format!("sudo -u postgres psql{port}{database} -c {}", quoted(sql)),
    )
}

/// A command for the server's machine, with a remark where that is another one.
pub fn on_server(url: &DatabaseUrl, command: &str) -> String {
    on_machine(url.host(), command)
}

/// What makes the missing extensions, in order.
pub fn create_extensions(url: &DatabaseUrl, server: &PostgresServer) -> Vec<String> {
    let files = server
        .missing
        .iter()
        .filter(|extension| !extension.available)
        .map(|extension| {
            on_machine(
                url.host(),
                &package_of(&extension.name, server.version_number),
            )
        });
    let create = server.missing.iter().map(|extension| {
        let sql = format!(
            "CREATE EXTENSION IF NOT EXISTS {}",
            sql_name(&extension.name)
        );
        superuser(url, Some(url.database()), &sql)
    });
    files.chain(create).collect()
}
