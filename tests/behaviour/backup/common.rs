//! What tests of backups have in common.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Home, Ran, executable, read_env, sql, surroundings, until};

/// What takes longer never comes.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Something of every type and kind of object that the applications have.
pub const EVERYTHING: &str = include_str!("everything.sql");

impl Home {
    /// SQL as the application's own role.
    #[track_caller]
    pub fn as_role(&self, owner: &str, statement: &str) -> String {
        self.psql(owner, &self.database(owner), &["-c", statement])
    }

    fn psql(&self, owner: &str, database: &str, arguments: &[&str]) -> String {
        let output = self
            .client("psql", owner)
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-v"])
            .arg(format!("database={database}"))
            .args(["-d", database])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{:?} {output:?}", arguments);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Nothing is listed, and nothing lies in the folder of backups.
    #[track_caller]
    pub fn has_no_backup(&self) {
        assert_eq!(self.backups().len(), 0);
        assert_eq!(self.databases_beside(), Vec::<String>::new());
        let left: Vec<_> = std::fs::read_dir(self.folder.join("backups"))
            .into_iter()
            .flatten()
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }

    /// `ooy` after a command of a shell, in mounts of its own.
    pub fn after(&self, preparation: &str, arguments: &[&str]) -> Ran {
        let script = format!("{preparation} && exec \"$0\" \"$@\"");
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", &script])
            .arg(executable())
            .arg("--home")
            .arg(&self.folder)
            .args(arguments)
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null());
        Ran::of(&command.output().unwrap())
    }

    /// A program of PostgreSQL's that logs in as the application's role.
    pub fn client(&self, program: &str, owner: &str) -> Command {
        let passwords = read_env(&std::path::Path::new(&surroundings("OOY_TEST_DATA")).join("env"));
        let bin = PathBuf::from(surroundings("OOY_TEST_POSTGRES_BIN"));
        let mut command = Command::new(bin.join(program));
        command
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", surroundings("OOY_TEST_POSTGRES_PORT"))
            .env("PGUSER", owner)
            .env(
                "PGPASSWORD",
                &passwords[&format!("{}_PASSWORD", owner.to_uppercase())],
            )
            .stdin(Stdio::null());
        command
    }

    /// Fills RapidPro's database.
    pub fn fill(&self) {
        let file = self.folder.join("everything.sql");
        std::fs::write(&file, EVERYTHING).unwrap();
        let path = file.display().to_string();
        self.psql("rapidpro", &self.database("rapidpro"), &["-f", &path]);
    }

    /// All that is in a database, as text whose lines do not depend on the order in which rows lie on
    /// the disk.
    pub fn content(&self, owner: &str) -> String {
        self.content_of(owner, &self.database(owner))
    }

    pub fn content_of(&self, owner: &str, database: &str) -> String {
        let output = self
            .client("pg_dump", owner)
            .arg(format!("--dbname={database}"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // A key of its own for each run (PostgreSQL 15.14 and later).
        let lines = text.lines().filter(|line| !line.contains("restrict "));
        let mut lines: Vec<&str> = lines.collect();
        lines.sort_unstable();
        let settings = sql(
            "postgres",
            &format!(
                "SELECT coalesce(string_agg(s, ' ' ORDER BY s), '') FROM pg_db_role_setting r \
                 JOIN pg_database d ON d.oid = r.setdatabase, unnest(setconfig) s \
                 WHERE datname = '{database}'"
            ),
        );
        lines.join("\n") + &settings
    }

    /// The backups as `ooy backup list` shows them, the newest first.
    #[track_caller]
    pub fn backups(&self) -> Vec<Value> {
        let listed = self.ooy(&["--json", "backup", "list"]).expect(0).json();
        listed["backups"].as_array().unwrap().clone()
    }

    /// Makes a backup; its name.
    #[track_caller]
    pub fn back_up(&self, more: &[&str]) -> String {
        let made = [&["--yes", "backup", "create"], more].concat();
        self.ooy(&made).expect(0);
        self.backups()[0]["id"].as_str().unwrap().to_owned()
    }

    pub fn backup_folder(&self, id: &str) -> PathBuf {
        self.folder.join("backups").join(id)
    }

    /// Databases on the server that are of this deployment and not the applications' own.
    pub fn databases_beside(&self) -> Vec<String> {
        let own = ["rapidpro", "casepro", "contentrepo"].map(|owner| self.database(owner));
        let project = format!("{} {}/state", self.project, self.folder.display());
        let digest = Command::new("sh")
            .args([
                "-c",
                "printf %s \"$1\" | sha256sum | cut -c 1-8",
                "",
                &project,
            ])
            .output()
            .unwrap();
        let digest = String::from_utf8_lossy(&digest.stdout).trim().to_owned();
        let all = sql("postgres", "SELECT datname FROM pg_database ORDER BY 1");
        all.lines()
            .filter(|name| {
                name.contains(&digest)
                    || own
                        .iter()
                        .any(|own| name.starts_with(&format!("{own}_before_")))
            })
            .map(str::to_owned)
            .collect()
    }

    /// Runs it, and kills it with -9 at its `at`th event, from 0. What that event was; `None`: it had
    /// come to its end before.
    pub fn killed_at(&self, arguments: &[&str], at: usize) -> Option<String> {
        let mut child = self
            .command(&[&["--yes", "--json"], arguments].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let event = lines.map_while(Result::ok).nth(at);
        let _ = child.kill();
        let status = child.wait().unwrap();
        let event = event?;
        (!status.success()).then_some(event)
    }

    /// Drops what a test of restores has kept.
    pub fn drop_databases_beside(&self) {
        for name in self.databases_beside() {
            sql(
                "postgres",
                &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
            );
        }
    }
}

/// A table that nobody else may read: a dump waits for it.
pub struct Held {
    child: std::process::Child,
    name: String,
}

impl Held {
    pub fn table(home: &Home, owner: &str, table: &str) -> Self {
        let name = format!("held-{}", home.database(owner));
        let child = home
            .client("psql", owner)
            .env("PGAPPNAME", &name)
            .args(["-X", "-d", &home.database(owner), "-c"])
            .arg(format!(
                "BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(60)"
            ))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        until("the table is locked", LIMIT, || {
            let held = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted \
                        AND relation = ";
            home.as_role(owner, &format!("{held}'{table}'::regclass")) == "1"
        });
        Self { child, name }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // The server would go on sleeping without its client.
        let end =
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = ";
        sql("postgres", &format!("{end}left('{}', 63)", self.name));
        let _ = self.child.wait();
    }
}

pub fn dumping(home: &Home) -> bool {
    let text = std::fs::read_to_string(home.folder.join("state/journal.jsonl")).unwrap_or_default();
    let last = text.lines().last().unwrap_or_default();
    last.contains("\"step\":\"dump\"") && last.contains("\"started\"")
}
