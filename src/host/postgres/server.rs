//! A PostgreSQL server on this host: where its files are, SQL as its superuser over its own socket,
//! and how it is started.
//!
//! Debian runs several servers side by side, each a "cluster" with a name (`15/main`), by programs
//! of its own (postgresql-common); elsewhere it is a unit of systemd, or a process that somebody
//! started.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::names::{sql_name, sql_text};
use crate::host::cmd;
use crate::host::daemon::{self, User};
use crate::host::ports;

/// Between the fields of a row.
const BETWEEN: &str = "\u{1f}";

/// What a port of this host has to do with PostgreSQL.
#[derive(Debug, Clone)]
pub enum Found {
    /// It serves there.
    Running(Box<Server>),
    /// A cluster of Debian's has the port, and is down.
    Stopped(Cluster),
    /// Another program holds the port: its name.
    Other(String),
    /// Somebody holds the port, and we may not see who.
    Hidden,
    /// Nobody, and no cluster is known to have it.
    Nobody,
}

/// A server that runs.
#[derive(Debug, Clone)]
pub struct Server {
    /// Its port.
    pub port: u16,
    /// Its first process.
    pub pid: u32,
    /// Its data.
    pub data: PathBuf,
    /// Whom it runs as, who is its superuser by custom.
    pub user: User,
    /// The folder of its own programs.
    programs: PathBuf,
    /// The folder of its socket.
    socket: Option<PathBuf>,
    way: Option<Way>,
    cluster: Option<Cluster>,
}

/// How a server is started anew.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    /// By its unit of systemd.
    Unit(String),
    /// By Debian's program.
    Cluster(Cluster),
    /// By PostgreSQL's program, with its output going where it goes now.
    Direct(PathBuf),
}

/// A cluster of Debian's postgresql-common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Major version: `15`.
    pub version: String,
    /// Its name: `main`.
    pub name: String,
    port: u16,
    online: bool,
    owner: String,
    data: PathBuf,
}

/// Looks who serves a port, or would.
pub async fn find(port: u16, deadline: Duration) -> Found {
    let mut listeners = ports::listeners(port);
    // A process of the server's that has just begun has its socket too, and may be gone in a moment.
    for _ in 0..10 {
        let Some(listener) = listeners.iter().find(|listener| listener.pid.is_some()) else {
            break;
        };
        let name = listener.process.clone().unwrap_or_default();
        if !matches!(name.as_str(), "postgres" | "postmaster") {
            return Found::Other(name);
        }
        let clusters = clusters(deadline).await;
        let server = listener
            .pid
            .and_then(|pid| Server::of(port, pid, &clusters));
        if let Some(server) = server {
            return Found::Running(Box::new(server));
        }
        listeners = ports::listeners(port);
    }
    if !listeners.is_empty() {
        return Found::Hidden;
    }
    let clusters = clusters(deadline).await;
    let Some(cluster) = clusters.iter().find(|cluster| cluster.port == port) else {
        return Found::Nobody;
    };
    // One that listens on no address at all, only on its socket.
    if cluster.online {
        let pid = first_line_number(&cluster.data.join("postmaster.pid"));
        return pid
            .and_then(|pid| Server::of(port, pid, &clusters))
            .map_or(Found::Hidden, |server| Found::Running(Box::new(server)));
    }
    Found::Stopped(cluster.clone())
}

/// Debian's clusters; none where its programs are not installed.
async fn clusters(deadline: Duration) -> Vec<Cluster> {
    match cmd::run("pg_lsclusters", &["-h"], &[], deadline).await {
        Ok(output) if output.success => output.stdout.lines().filter_map(cluster).collect(),
        _ => Vec::new(),
    }
}

/// `15 main 5432 online postgres /var/lib/postgresql/15/main /var/log/...`
fn cluster(line: &str) -> Option<Cluster> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [version, name, port, status, owner, data, ..] = words.as_slice() else {
        return None;
    };
    Some(Cluster {
        version: (*version).to_owned(),
        name: (*name).to_owned(),
        port: port.parse().ok()?,
        // `online,recovery`, `down,binaries_missing`
        online: status.split(',').any(|word| word == "online"),
        owner: (*owner).to_owned(),
        data: PathBuf::from(data),
    })
}

impl Cluster {
    /// `15/main`
    pub fn label(&self) -> String {
        format!("{}/{}", self.version, self.name)
    }

    /// Whether we may start it.
    pub fn is_ours(&self) -> bool {
        crate::host::process::is_root() || crate::host::process::user_name() == self.owner
    }

    /// The command that does so, for people.
    pub fn command(&self, verb: &str) -> String {
        if daemon::has_systemd() {
            let Self { version, name, .. } = self;
            return format!("sudo systemctl {verb} postgresql@{version}-{name}");
        }
        format!("sudo pg_ctlcluster {} {} {verb}", self.version, self.name)
    }

    /// Starts it, or starts it anew. The error is its own complaint.
    pub async fn ctl(&self, verb: &str, deadline: Duration) -> Result<(), String> {
        // Under systemd it hands the work to systemd.
        let arguments = [self.version.as_str(), &self.name, verb];
        let done = cmd::run("pg_ctlcluster", &arguments, &[], deadline).await;
        // 2: it runs already, which is what is wanted.
        success(done, &[2])
    }
}

fn success(done: io::Result<cmd::Output>, also: &[i32]) -> Result<(), String> {
    match done {
        Ok(output) if output.success => Ok(()),
        Ok(output) if output.code.is_some_and(|code| also.contains(&code)) => Ok(()),
        Ok(output) => Err(output.error_text()),
        Err(error) => Err(error.to_string()),
    }
}

fn first_line_number(path: &Path) -> Option<u32> {
    fs::read_to_string(path)
        .ok()?
        .lines()
        .next()?
        .trim()
        .parse()
        .ok()
}

impl Server {
    fn of(port: u16, pid: u32, clusters: &[Cluster]) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;
        // Its working folder is its data folder (PostgreSQL documentation, 19.2).
        let data = fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
        // The first of its processes, whichever was found.
        let pid = first_line_number(&data.join("postmaster.pid")).unwrap_or(pid);
        let program = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
        let uid = fs::metadata(format!("/proc/{pid}")).ok()?.uid();
        let user = User::of(uid)?;
        let cluster = clusters
            .iter()
            .find(|cluster| cluster.online && is_same_folder(&cluster.data, &data))
            .cloned();
        let log = fs::read_link(format!("/proc/{pid}/fd/2"))
            .ok()
            .filter(|log| log.is_absolute() && log.exists());
        let way = daemon::unit_of(pid)
            .map(Way::Unit)
            .or_else(|| cluster.clone().map(Way::Cluster))
            .or_else(|| log.map(Way::Direct));
        Some(Self {
            port,
            pid,
            socket: socket_in(&fs::read_to_string(data.join("postmaster.pid")).ok()?),
            programs: program.parent()?.to_owned(),
            data,
            user,
            way,
            cluster,
        })
    }

    /// `PostgreSQL 15/main`, or where its data is.
    pub fn label(&self) -> String {
        match &self.cluster {
            Some(cluster) => format!("PostgreSQL {}", cluster.label()),
            None => format!("PostgreSQL in {}", self.data.display()),
        }
    }

    /// The folder of its socket, if it has one.
    pub fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    /// Runs a statement as its superuser, over its own socket; rows of texts, empty for NULL. The
    /// statement is seen in the list of processes: no secret in it. The error is in the server's
    /// words.
    pub async fn sql(
        &self,
        database: &str,
        statement: &str,
        deadline: Duration,
    ) -> Result<Vec<Vec<String>>, String> {
        let Some(socket) = &self.socket else {
            return Err("the server has no local socket (unix_socket_directories)".to_owned());
        };
        let (socket, port) = (socket.display().to_string(), self.port.to_string());
        // Nothing of a person's own settings, no question for a password; ends at the first error.
        let arguments = [
            "-X",
            "-w",
            "-q",
            "-t",
            "-A",
            "-F",
            BETWEEN,
            "-0",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            &socket,
            "-p",
            &port,
            "-U",
            &self.user.name,
            "-d",
            database,
            "-c",
            statement,
        ];
        let own = self.programs.join("psql");
        let psql = if own.exists() {
            own.display().to_string()
        } else {
            "psql".to_owned()
        };
        let output = self
            .user
            .run(&psql, &arguments, deadline)
            .await
            .map_err(|error| format!("{psql}: {error}"))?;
        if !output.success {
            let text = output.error_text();
            return Err(text.lines().next().unwrap_or_default().to_owned());
        }
        Ok(rows(&output.stdout))
    }

    /// Whether a change that needs it can be brought into force by us.
    pub fn can_restart(&self) -> bool {
        match &self.way {
            Some(Way::Unit(_)) => crate::host::process::is_root(),
            Some(Way::Cluster(_) | Way::Direct(_)) => self.user.is_ours(),
            None => false,
        }
    }

    /// The command by which a person starts it anew.
    pub fn restart_command(&self) -> String {
        match &self.way {
            Some(Way::Unit(unit)) => {
                format!(
                    "sudo systemctl restart {}",
                    unit.trim_end_matches(".service")
                )
            }
            Some(Way::Cluster(cluster)) => cluster.command("restart"),
            Some(Way::Direct(_)) | None => format!(
                "sudo -u {} {} restart -D {}",
                self.user.name,
                self.programs.join("pg_ctl").display(),
                self.data.display()
            ),
        }
    }

    /// Starts it anew: ends sessions at once, and loses nothing that was committed ("fast"). The
    /// error is the complaint of whatever does it.
    pub async fn restart(&self, deadline: Duration) -> Result<(), String> {
        match &self.way {
            Some(Way::Unit(unit)) => success(
                cmd::run("systemctl", &["restart", unit], &[], deadline).await,
                &[],
            ),
            Some(Way::Cluster(cluster)) => cluster.ctl("restart", deadline).await,
            Some(Way::Direct(log)) => {
                let (data, log) = (self.data.display().to_string(), log.display().to_string());
                let program = self.programs.join("pg_ctl").display().to_string();
                let limit = deadline.as_secs().to_string();
                let arguments = [
                    "restart", "-s", "-w", "-t", &limit, "-m", "fast", "-D", &data, "-l", &log,
                ];
                success(self.user.run(&program, &arguments, deadline).await, &[])
            }
            None => Err("how it was started is not known".to_owned()),
        }
    }
}

/// The folder of the first socket: the fifth line of postmaster.pid (`miscadmin.h`), empty where
/// there is none.
fn socket_in(text: &str) -> Option<PathBuf> {
    text.lines()
        .nth(4)
        .map(str::trim)
        .filter(|line| line.starts_with('/'))
        .map(PathBuf::from)
}

fn is_same_folder(one: &Path, other: &Path) -> bool {
    match (fs::canonicalize(one), fs::canonicalize(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}

/// What psql prints with a zero byte behind each row and a unit separator between fields. A row of
/// one empty field is none.
fn rows(text: &str) -> Vec<Vec<String>> {
    let text = text.trim_end_matches(['\n', '\0']);
    text.split('\0')
        .filter(|row| !row.is_empty())
        .map(|row| row.split(BETWEEN).map(str::to_owned).collect())
        .collect()
}

/// A text in SQL.
pub fn text(text: &str) -> String {
    sql_text(text)
}

/// A name in SQL.
pub fn name(name: &str) -> String {
    sql_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_are_read() {
        let line = "15  main    5433 down,recovery postgres /var/lib/postgresql/15/main /var/log/a";
        let found = cluster(line).unwrap();
        assert_eq!((found.label().as_str(), found.port), ("15/main", 5433));
        assert!(!found.online);
        assert!(cluster(&line.replace("down,", "online,")).unwrap().online);
        assert!(cluster("").is_none());
    }

    #[test]
    fn rows_and_fields_are_told_apart() {
        assert_eq!(rows("a\u{1f}b\nc\0\u{1f}\0"), [["a", "b\nc"], ["", ""]]);
        assert_eq!(rows("t\n"), [["t"]]);
        assert!(rows("").is_empty());
    }

    #[test]
    fn the_socket_stands_in_the_fifth_line() {
        let text = |socket: &str| format!("12\n/data\n1700000000\n5432\n{socket}\n*\n1 2\nready\n");
        assert_eq!(
            socket_in(&text("/var/run/postgresql")).unwrap(),
            Path::new("/var/run/postgresql")
        );
        assert_eq!(socket_in(&text("")), None);
        assert_eq!(socket_in("12\n"), None);
    }
}
