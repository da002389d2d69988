//! Dumps in PostgreSQL's custom format, made by `pg_dump` and put back by `pg_restore`.

use std::path::Path;
use std::time::Duration;

use super::admin::Admin;
use super::programs::Programs;
use super::session::Session;
use crate::host::cmd::{self, Output};
use crate::host::secret::Secret;
use crate::host::url::DatabaseUrl;

/// A dump takes as long as it takes; what stands still is seen by whoever watches its file grow.
const LIMIT: Duration = Duration::from_secs(24 * 3600);
/// How long a migration may hold a table that the dump wants.
const LOCK_WAIT: &str = "--lock-wait-timeout=120000";

/// A moment of a database that a session holds open: what is counted in it and what is dumped with
/// it is the same.
pub struct Snapshot {
    session: Session,
    id: String,
}

impl Snapshot {
    /// Opens one.
    pub async fn open(url: &DatabaseUrl, deadline: Duration) -> Result<Self, String> {
        let session = Session::open(url, deadline).await?;
        session.unlimited().await.map_err(|why| why.message)?;
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT pg_export_snapshot()";
        let rows = session.rows(begin).await.map_err(|why| why.message)?;
        let id = rows.last().map(|row| row.text(0).to_owned());
        Ok(Self {
            session,
            id: id.ok_or("the server names no snapshot")?,
        })
    }

    /// The session, in whose transaction it is.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Writes all of the database into a file, which is made anew.
    pub async fn dump(
        &self,
        programs: &Programs,
        url: &DatabaseUrl,
        file: &Path,
    ) -> Result<(), String> {
        // With our mode rather than pg_dump's: it writes into what is there.
        crate::host::files::write_new(file, b"", 0o600).map_err(|error| error.to_string())?;
        let secret = Secret::new(&password_file(url)).map_err(|error| error.to_string())?;
        let (program, path) = (programs.pg_dump(), file.display().to_string());
        let snapshot = format!("--snapshot={}", self.id);
        // Into a file rather than through us: only so can it note where each table begins, which
        // pg_restore needs to work on several at once.
        let arguments = [
            "--format=custom",
            "--no-password",
            LOCK_WAIT,
            &snapshot,
            "--file",
            &path,
        ];
        done(cmd::run(&program, &arguments, &environment(url, &secret), LIMIT).await)
    }
}

/// How a dump is put back.
pub struct Restore<'a> {
    /// The programs.
    pub programs: &'a Programs,
    /// Who does it.
    pub by: &'a Admin,
    /// Who owns what is restored.
    pub role: &'a str,
    /// The database, which has to be there, and empty but for its extensions.
    pub database: &'a str,
    /// The dump.
    pub file: &'a Path,
    /// So many tables and indexes at once.
    pub jobs: usize,
    /// Tables of extensions into which nobody has put rows: the role may not write to them.
    pub untouched: &'a [&'a str],
    /// A file for the list of what is restored; gone afterwards.
    pub list: &'a Path,
}

impl Restore<'_> {
    /// Puts it back. Ends at the first error.
    pub async fn run(&self) -> Result<(), String> {
        let listed = self.call(&["--list"], None).await?;
        let wanted = wanted(&listed.stdout, self.untouched);
        crate::host::files::write_atomic(self.list, wanted.as_bytes(), 0o600)
            .map_err(|error| error.to_string())?;
        let _gone = Gone(self.list);
        let jobs = format!("--jobs={}", self.jobs);
        let list = format!("--use-list={}", self.list.display());
        let role = format!("--role={}", self.role);
        let arguments = [
            "--no-password",
            // Whoever owned it there: here the application has to.
            "--no-owner",
            "--exit-on-error",
            &role,
            &jobs,
            &list,
        ];
        self.call(&arguments, Some(self.database)).await.map(drop)
    }

    async fn call(&self, arguments: &[&str], database: Option<&str>) -> Result<Output, String> {
        let program = self.programs.pg_restore();
        let file = self.file.display().to_string();
        let into = database.map(|name| format!("--dbname=dbname={}", conninfo_value(name)));
        let mut arguments = arguments.to_vec();
        arguments.extend(into.as_deref());
        arguments.push(&file);
        let output = match (self.by, database) {
            (Admin::Superuser(server), Some(_)) => {
                let socket = server.socket().map(|folder| folder.display().to_string());
                let connection = [
                    ("PGHOST", socket.unwrap_or_default()),
                    ("PGPORT", server.port.to_string()),
                    ("PGUSER", server.user.name.clone()),
                ];
                let environment = connection.map(|(name, value)| (name.to_owned(), value));
                // He may not read our files; pg_restore may.
                server
                    .user
                    .run_reading(&program, &arguments, &environment, LIMIT)
                    .await
            }
            (Admin::Role(url), Some(_)) => {
                let secret = Secret::new(&password_file(url)).map_err(|error| error.to_string())?;
                cmd::run(&program, &arguments, &environment(url, &secret), LIMIT).await
            }
            (_, None) => cmd::run(&program, &arguments, &[], LIMIT).await,
        };
        let output = output.map_err(|error| error.to_string())?;
        if output.success {
            return Ok(output);
        }
        Err(complaint(&output))
    }
}

/// Whether a complaint of `pg_restore` is of what the server lacks or suffers, and would be the same
/// with any other dump: room, memory, connections, or that it was stopped. In English only: libpq's
/// own words always are here, a server's mostly.
pub fn is_the_servers(complaint: &str) -> bool {
    [
        "No space left on device",
        "Input/output error",
        "Read-only file system",
        "out of memory",
        "out of shared memory",
        "server closed the connection unexpectedly",
        "connection to server",
        "terminating connection",
        "the database system is",
        "no connection to the server",
    ]
    .iter()
    .any(|words| complaint.contains(words))
}

/// A file that goes when this does.
struct Gone<'a>(&'a Path);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.0);
    }
}

/// The entries of a dump's list that are to be restored: extensions are there already, made by
/// whoever may.
fn wanted(list: &str, untouched: &[&str]) -> String {
    let kept = list.lines().filter(|line| {
        // `2; 3079 16385 EXTENSION - hstore`
        let Some((_, entry)) = line.split_once("; ") else {
            return true;
        };
        let entry = entry.splitn(3, ' ').nth(2).unwrap_or_default();
        let is_extension =
            entry.starts_with("EXTENSION - ") || entry.starts_with("COMMENT - EXTENSION ");
        let is_untouched = entry.strip_prefix("TABLE DATA ").is_some_and(|rest| {
            untouched
                .iter()
                .filter_map(|table| table.split_once('.'))
                .any(|(schema, table)| {
                    rest.strip_prefix(schema)
                        .and_then(|rest| rest.strip_prefix(' '))
                        .and_then(|rest| rest.strip_prefix(table))
                        .is_some_and(|rest| rest.starts_with(' '))
                })
        });
        !is_extension && !is_untouched
    });
    kept.map(|line| format!("{line}\n")).collect()
}

fn done(output: std::io::Result<Output>) -> Result<(), String> {
    match output {
        Ok(output) if output.success => Ok(()),
        Ok(output) => Err(complaint(&output)),
        Err(error) => Err(error.to_string()),
    }
}

/// What it says is wrong; the first lines, since the others follow from them.
fn complaint(output: &Output) -> String {
    let text = output.error_text();
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.contains("warning: "))
        .take(4)
        .collect();
    match lines.is_empty() {
        true => output.last_error_line(),
        false => lines.join("; "),
    }
}

/// Where libpq finds the server. The password stands in no variable: see [`Secret`].
fn environment(url: &DatabaseUrl, secret: &Secret) -> Vec<(String, String)> {
    let mode = url.parameter("sslmode").unwrap_or("prefer");
    [
        ("PGHOST", url.host().to_owned()),
        ("PGPORT", url.port().to_string()),
        ("PGUSER", url.user().to_owned()),
        ("PGDATABASE", url.database().to_owned()),
        ("PGSSLMODE", mode.to_owned()),
        ("PGPASSFILE", secret.path()),
        ("PGCONNECT_TIMEOUT", "20".to_owned()),
        ("PGAPPNAME", "ooy".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// A line of a password file (libpq's documentation, 34.16), for whatever server.
fn password_file(url: &DatabaseUrl) -> String {
    let password = url.password().unwrap_or_default();
    let escaped = password.replace('\\', "\\\\").replace(':', "\\:");
    format!("*:*:*:*:{escaped}\n")
}

/// A value in a connection string (libpq's documentation, 34.1.1.1).
fn conninfo_value(value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('\'', "\\'");
    format!("'{escaped}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_and_their_untouched_tables_are_left_out() {
        let list = "\
;
; Archive created at 2026-11-26
2; 3079 16385 EXTENSION - postgis
4211; 0 0 COMMENT - EXTENSION postgis
215; 1259 17600 TABLE public orgs_org rapidpro
4210; 0 16703 TABLE DATA public spatial_ref_sys postgres
4205; 0 17600 TABLE DATA public orgs_org rapidpro
4206; 0 17601 TABLE DATA public spatial_ref_sys_2 rapidpro
";
        let kept = wanted(list, &["public.spatial_ref_sys"]);
        let entries: Vec<&str> = kept.lines().skip(2).collect();
        assert_eq!(
            entries,
            [
                "215; 1259 17600 TABLE public orgs_org rapidpro",
                "4205; 0 17600 TABLE DATA public orgs_org rapidpro",
                "4206; 0 17601 TABLE DATA public spatial_ref_sys_2 rapidpro",
            ]
        );
        assert!(wanted(list, &[]).contains("DATA public spatial_ref_sys postgres"));
    }

    #[test]
    fn a_password_stands_in_no_variable_and_is_escaped_in_the_file() {
        let url = DatabaseUrl::parse("postgres://a:p%3Aw%5C@h/d").unwrap();
        assert_eq!(password_file(&url), "*:*:*:*:p\\:w\\\\\n");
        let secret = Secret::new(&password_file(&url)).unwrap();
        let all = format!("{:?}", environment(&url, &secret));
        assert!(!all.contains("p:w"), "{all}");
        assert_eq!(conninfo_value("a'b"), "'a\\'b'");
    }
}
