//! A PostgreSQL of a test's own as Debian makes it: a cluster with its files in /etc/postgresql, a
//! superuser who logs in over the local socket, and a pg_hba.conf that knows no containers.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::harness::{Home, Ran, free_port, surroundings};

const PASSWORD: &str = "pOfTheTest";

pub struct Cluster {
    version: String,
    name: String,
    pub port: u16,
}

/// How the three applications' databases are called.
pub const OWNERS: [&str; 3] = ["rapidpro", "casepro", "contentrepo"];

impl Cluster {
    /// Made, started, with roles, databases and extensions.
    pub fn up(name: &str) -> Self {
        let bin = surroundings("OOY_TEST_POSTGRES_BIN");
        let version = Path::new(&bin).iter().rev().nth(1).unwrap();
        let cluster = Self {
            version: version.to_string_lossy().into_owned(),
            name: format!("{name}{}", std::process::id()),
            port: free_port(),
        };
        let port = cluster.port.to_string();
        run(
            "pg_createcluster",
            &[
                &cluster.version,
                &cluster.name,
                "--port",
                &port,
                "--start-conf",
                "manual",
                "--locale",
                "C.UTF-8",
                "--",
                "--no-sync",
                "--auth-local=peer",
                "--auth-host=scram-sha-256",
            ],
        );
        std::fs::write(
            cluster.etc().join("conf.d/fast.conf"),
            "fsync = off\nsynchronous_commit = off\nshared_buffers = 16MB\n",
        )
        .unwrap();
        cluster.ctl("start");
        for owner in OWNERS {
            cluster.sql(
                "postgres",
                &format!("CREATE ROLE {owner} LOGIN PASSWORD '{PASSWORD}'"),
            );
            cluster.sql(
                "postgres",
                &format!("CREATE DATABASE {owner} OWNER {owner}"),
            );
        }
        cluster.sql("rapidpro", "CREATE EXTENSION postgis");
        cluster.sql("rapidpro", "CREATE EXTENSION hstore");
        cluster.sql("casepro", "CREATE EXTENSION hstore");
        cluster
    }

    /// Has a deployment use it, at this address.
    pub fn serve(&self, home: &Home, host: &str) {
        for owner in OWNERS {
            self.serve_one(home, owner, host);
        }
    }

    pub fn serve_one(&self, home: &Home, owner: &str, host: &str) {
        let name = format!("{}_DATABASE_URL", owner.to_uppercase());
        let port = self.port;
        home.set(
            &name,
            &format!("{name}=postgres://{owner}:{PASSWORD}@{host}:{port}/{owner}"),
        );
    }

    pub fn label(&self) -> String {
        format!("{}/{}", self.version, self.name)
    }

    pub fn etc(&self) -> PathBuf {
        Path::new("/etc/postgresql").join(self.label())
    }

    pub fn data(&self) -> PathBuf {
        Path::new("/var/lib/postgresql").join(self.label())
    }

    pub fn hba(&self) -> PathBuf {
        self.etc().join("pg_hba.conf")
    }

    /// The folder of the extensions' files, which all clusters of a version share.
    pub fn sharedir(&self) -> String {
        format!("/usr/share/postgresql/{}/extension", self.version)
    }

    /// Replaces pg_hba.conf in place, and has it read.
    pub fn set_hba(&self, text: &str) {
        std::fs::write(self.hba(), text).unwrap();
        self.sql("postgres", "SELECT pg_reload_conf()");
    }

    /// `pg_ctlcluster`
    pub fn ctl(&self, verb: &str) {
        let mut arguments = vec![self.version.as_str(), &self.name, verb];
        if verb == "stop" {
            // Sessions of containers would be waited for.
            arguments.extend(["-m", "immediate"]);
        }
        run("pg_ctlcluster", &arguments);
    }

    /// Starts it with options on its command line, in a network namespace where one is named.
    pub fn start_with(&self, options: &str, namespace: Option<&str>) {
        let mut words: Vec<&str> = Vec::new();
        if let Some(namespace) = namespace {
            words.extend(["ip", "netns", "exec", namespace]);
        }
        words.extend(["pg_ctlcluster", &self.version, &self.name, "start"]);
        words.extend(["-o", options]);
        run(words[0], &words[1..]);
    }

    /// The same in surroundings that a shell prepares first.
    pub fn start_after(&self, preparation: &str) {
        let Self { version, name, .. } = self;
        let script = format!("{preparation} && exec pg_ctlcluster {version} {name} start");
        run("unshare", &["--mount", "sh", "-c", &script]);
    }

    /// SQL as the superuser.
    pub fn sql(&self, database: &str, statement: &str) -> String {
        let port = self.port.to_string();
        let ran = run(
            "setpriv",
            &[
                "--reuid=postgres",
                "--regid=postgres",
                "--init-groups",
                "psql",
                "-h",
                "/var/run/postgresql",
                "-p",
                &port,
                "-d",
                database,
                "-qtAXc",
                statement,
            ],
        );
        ran.stdout.trim().to_owned()
    }

    /// SQL as an application's own role, over TCP.
    pub fn sql_as(&self, owner: &str, statement: &str) -> String {
        let port = self.port.to_string();
        let output = Command::new("psql")
            .args(["-h", "127.0.0.1", "-p", &port, "-U", owner, "-d", owner])
            .args(["-qtAXc", statement])
            .env("PGPASSWORD", PASSWORD)
            .output()
            .unwrap();
        Ran::of(&output).expect(0).stdout.trim().to_owned()
    }

    /// Gives a role its password anew, kept in this form.
    pub fn keep_password_as(&self, owner: &str, form: &str) {
        self.sql(
            "postgres",
            &format!(
                "BEGIN; SET LOCAL password_encryption = '{form}'; \
                 ALTER ROLE {owner} PASSWORD '{PASSWORD}'; COMMIT"
            ),
        );
    }

    /// The copies that repairs have left of a file, the oldest first.
    pub fn copies(of: &Path) -> Vec<PathBuf> {
        let name = of.file_name().unwrap().to_string_lossy().into_owned();
        let mut copies: Vec<PathBuf> = std::fs::read_dir(of.parent().unwrap())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| {
                let copy = path.file_name().unwrap().to_string_lossy();
                copy.starts_with(&format!("{name}.ooy-"))
            })
            .collect();
        copies.sort();
        copies
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = Command::new("pg_ctlcluster")
            .args([&self.version, &self.name, "stop", "-m", "immediate"])
            .stderr(Stdio::null())
            .status();
        let _ = Command::new("pg_dropcluster")
            .args(["--stop", &self.version, &self.name])
            .status();
    }
}

#[track_caller]
fn run(program: &str, arguments: &[&str]) -> Ran {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Ran::of(&output).expect(0)
}
