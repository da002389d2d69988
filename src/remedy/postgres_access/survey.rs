//! What is to be changed at one server. Looks only.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

use super::{SQL, fault};
use crate::deployment::settings::Database;
use crate::engine::Engine;
use crate::fault::Result;
use crate::host::ports;
use crate::host::postgres::admit::{self, Admission, Edit, Network};
use crate::host::postgres::hba;
use crate::host::postgres::server::{self, Cluster, Found, Server};
use crate::host::postgres::{PostgresOutcome, PostgresReport};
use crate::host::reach;
use crate::remedy::Job;

/// A server, as the settings name it, and who is to use it.
pub struct Place {
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whose databases are there.
    pub owners: BTreeSet<&'static str>,
    /// Database and role of each.
    users: Vec<(String, String)>,
    /// Addresses of containers that it has turned away.
    rejected: BTreeSet<IpAddr>,
    /// It has turned somebody away.
    turns_away: bool,
    /// All of them can be used from this host.
    usable_here: bool,
}

impl Place {
    /// One that nobody uses yet.
    pub fn new(host: &str, port: u16) -> Self {
        Self {
            host: host.to_owned(),
            port,
            owners: BTreeSet::new(),
            users: Vec::new(),
            rejected: BTreeSet::new(),
            turns_away: false,
            usable_here: true,
        }
    }

    /// One more database there, and how it was seen from this host and from the containers.
    pub fn add(
        &mut self,
        database: &Database,
        here: &PostgresReport,
        there: Option<&PostgresReport>,
    ) {
        self.owners.insert(database.owner);
        let url = &database.url;
        self.users
            .push((url.database().to_owned(), url.user().to_owned()));
        let rejected = there.and_then(PostgresReport::rejected_address);
        self.rejected.extend(rejected);
        self.turns_away |= rejected.is_some() || here.rejected_address().is_some();
        self.usable_here &= here.outcome == PostgresOutcome::Usable;
    }
}

/// What is to be done.
pub enum Todo {
    /// It is down.
    Start(Cluster),
    /// It runs.
    Change(Box<Change>),
}

impl Todo {
    /// The deployment's network has to be made first.
    pub fn lacks_network(&self) -> bool {
        matches!(self, Todo::Change(change) if change.no_network)
    }

    /// Nothing is written anywhere, and nobody's session ends.
    pub fn is_decided_already(&self) -> bool {
        match self {
            Todo::Start(_) => false,
            Todo::Change(change) => {
                change.hba.is_none()
                    && !change.no_network
                    && match change.listen {
                        Some(Listen::Set(_)) => false,
                        Some(Listen::IsSet) => change.others.is_empty() && change.sessions == 0,
                        None => true,
                    }
            }
        }
    }
}

/// What is to be changed at a server that runs. It may be nothing.
pub struct Change {
    /// The server.
    pub server: Server,
    /// New lines of pg_hba.conf.
    pub hba: Option<Hba>,
    /// The deployment has no network yet: what its containers come from is known when it is made.
    pub no_network: bool,
    /// The file has to be read anew.
    pub reload: bool,
    /// The server can say whether its files are in order (PostgreSQL 10 and later).
    pub can_check: bool,
    /// It has to listen on one more address.
    pub listen: Option<Listen>,
    /// Other settings that a restart brings into force.
    pub others: Vec<String>,
    /// Sessions of others.
    pub sessions: usize,
}

/// New lines of pg_hba.conf.
pub struct Hba {
    /// The file.
    pub file: PathBuf,
    /// The new text.
    pub edit: Edit,
}

/// One more address to listen on.
pub enum Listen {
    /// The new value.
    Set(String),
    /// The setting names it already.
    IsSet,
}

/// Looks what is to be changed.
pub async fn survey(job: &Job, place: &Place) -> Result<Todo> {
    let Some(address) = local_address(place).await else {
        return Err(fault::elsewhere(job, place));
    };
    let mut names = place
        .users
        .iter()
        .flat_map(|(database, user)| [database, user]);
    if let Some(name) = names.find(|name| name.contains(char::is_control)) {
        return Err(fault::odd_name(job, name));
    }
    let server = match server::find(place.port, SQL).await {
        Found::Running(server) => *server,
        Found::Stopped(cluster) if cluster.is_ours() => return Ok(Todo::Start(cluster)),
        Found::Stopped(cluster) => {
            return Err(fault::no_permission(job, &cluster.command("start")));
        }
        Found::Hidden => return Err(fault::hidden(job, place)),
        Found::Other(program) => return Err(fault::other_program(job, place, &program)),
        Found::Nobody => return Err(fault::nobody(job, place)),
    };
    if !server.user.is_ours() {
        return Err(fault::no_permission(job, &server.restart_command()));
    }
    let facts = Facts::ask(&server)
        .await
        .map_err(|why| fault::no_superuser(job, &server, &why))?;
    if let Some(errors) = hba_errors(&server, facts.can_check).await {
        return Err(fault::hba_is_wrong(job, &facts.hba_file, &errors));
    }
    let listen = listen(job, place, address, &server, &facts)?;
    let (networks, no_network) = networks(job, place, address).await?;
    let (hba, reload) = hba(job, place, &networks, &server, &facts).await?;
    Ok(Todo::Change(Box::new(Change {
        hba,
        no_network,
        reload,
        can_check: facts.can_check,
        listen,
        others: facts.waiting,
        sessions: facts.sessions,
        server,
    })))
}

/// The address of a server on this host; none for one elsewhere.
async fn local_address(place: &Place) -> Option<IpAddr> {
    let until = tokio::time::Instant::now() + SQL / 4;
    let found = reach::addresses(&place.host, until).await;
    found
        .into_iter()
        .find(|address| reach::is_this_machine(&address.to_string()))
}

/// What the server says of itself.
struct Facts {
    hba_file: PathBuf,
    can_check: bool,
    /// `listen_addresses` in force, and whether the command line has set it.
    listens: String,
    by_command_line: bool,
    /// The same in the files: what a restart would bring.
    written: Option<String>,
    waiting: Vec<String>,
    sessions: usize,
}

impl Facts {
    async fn ask(server: &Server) -> std::result::Result<Self, String> {
        let query = "SELECT current_setting('hba_file'), \
             to_regclass('pg_catalog.pg_hba_file_rules') IS NOT NULL, \
             current_setting('listen_addresses'), \
             (SELECT source FROM pg_settings WHERE name = 'listen_addresses'), \
             (SELECT count(*) FROM pg_stat_activity \
              WHERE datname IS NOT NULL AND pid <> pg_backend_pid())";
        let rows = server.sql("postgres", query, SQL).await?;
        let Some([hba_file, can_check, listens, source, sessions]) =
            rows.first().map(Vec::as_slice)
        else {
            return Err("an answer that makes no sense".to_owned());
        };
        let query = "SELECT 'listen', setting FROM (SELECT setting FROM pg_file_settings \
             WHERE name = 'listen_addresses' ORDER BY seqno DESC LIMIT 1) AS written \
             UNION ALL SELECT 'waits', name FROM pg_settings \
             WHERE pending_restart AND name <> 'listen_addresses'";
        let rows = server.sql("postgres", query, SQL).await?;
        let of = |kind: &str| -> Vec<String> {
            rows.iter()
                .filter(|row| row.first().is_some_and(|found| found == kind))
                .filter_map(|row| row.get(1).cloned())
                .collect()
        };
        Ok(Self {
            hba_file: PathBuf::from(hba_file),
            can_check: can_check == "t",
            listens: listens.clone(),
            by_command_line: source == "command line",
            written: of("listen").pop(),
            waiting: of("waits"),
            sessions: sessions.parse().unwrap_or(usize::MAX),
        })
    }
}

/// What the server finds wrong with its pg_hba.conf as it lies on the disk now; nothing where all
/// is well.
pub async fn hba_errors(server: &Server, can_check: bool) -> Option<Vec<String>> {
    if !can_check {
        return None;
    }
    let query = "SELECT line_number, error FROM pg_hba_file_rules WHERE error IS NOT NULL";
    let errors: Vec<String> = match server.sql("postgres", query, SQL).await {
        Ok(rows) => rows
            .iter()
            .map(|row| format!("line {}", row.join(": ")))
            .collect(),
        Err(why) => vec![why],
    };
    (!errors.is_empty()).then_some(errors)
}

fn listen(
    job: &Job,
    place: &Place,
    address: IpAddr,
    server: &Server,
    facts: &Facts,
) -> Result<Option<Listen>> {
    let listens = ports::listeners(place.port)
        .iter()
        .any(|listener| listener.address == address || listener.address.is_unspecified());
    if listens {
        return Ok(None);
    }
    if facts.by_command_line {
        return Err(fault::by_command_line(job, place, server, &facts.listens));
    }
    if !server.can_restart() {
        return Err(fault::cannot_restart(job, place, server, &facts.listens));
    }
    let value = facts.written.as_ref().unwrap_or(&facts.listens);
    Ok(Some(match with_address(value, address) {
        Some(value) => Listen::Set(value),
        None => Listen::IsSet,
    }))
}

/// `listen_addresses` with one more address; none where it has it. What it has stays: a list of one
/// address of a network would leave out this host itself.
fn with_address(value: &str, address: IpAddr) -> Option<String> {
    let mut words: Vec<&str> = value
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .collect();
    let any = if address.is_ipv4() { "0.0.0.0" } else { "::" };
    let text = address.to_string();
    if words.iter().any(|word| [any, "*", &text].contains(word)) {
        return None;
    }
    if words.is_empty() {
        words.push("localhost");
    }
    words.push(&text);
    Some(words.join(","))
}

async fn hba(
    job: &Job,
    place: &Place,
    networks: &[(Network, bool)],
    server: &Server,
    facts: &Facts,
) -> Result<(Option<Hba>, bool)> {
    let methods = methods(server, place)
        .await
        .map_err(|why| fault::no_superuser(job, server, &why))?;
    let wanted: Vec<Admission> = place
        .users
        .iter()
        .flat_map(|(database, user)| {
            let method = methods.get(user).copied().unwrap_or("md5");
            networks.iter().map(move |(from, own)| Admission {
                database: database.clone(),
                user: user.clone(),
                from: *from,
                own: *own,
                method,
            })
        })
        .collect();
    let file = &facts.hba_file;
    let text = fs::read_to_string(file).map_err(|error| fault::unreadable(job, file, &error))?;
    let remark = format!(
        "# Containers of {} (ooy fix postgres-access)",
        job.context.settings.project()
    );
    let included = |name: &str| {
        let folder = file.parent()?;
        hba::read(&folder.join(name)).ok()
    };
    let edit = admit::admit(&text, &wanted, &remark, &included);
    let change = !edit.added.is_empty();
    let reload = change || place.turns_away;
    let hba = change.then(|| Hba {
        file: file.clone(),
        edit,
    });
    Ok((hba, reload))
}

/// From where the server is to be used: the networks of the deployment, whatever address of a
/// container it has turned away beside them, and, for the checks and backups of `ooy`, this host
/// itself (true). And whether the deployment has no network yet.
async fn networks(
    job: &Job,
    place: &Place,
    address: IpAddr,
) -> Result<(Vec<(Network, bool)>, bool)> {
    let project = job.context.settings.project();
    let engine = Engine::connect().await;
    let subnets = match &engine {
        Ok(engine) => engine.network_subnets(project).await,
        Err(error) => return Err(fault::no_docker(job, &error.to_string())),
    };
    let subnets = subnets.map_err(|error| fault::no_docker(job, &error.to_string()))?;
    let mut networks: Vec<Network> = subnets
        .iter()
        .filter_map(|subnet| Network::parse(subnet))
        .filter(|network| network.address.is_ipv4() == address.is_ipv4())
        .collect();
    for rejected in &place.rejected {
        if !networks.iter().any(|network| network.holds(*rejected)) {
            networks.push(Network::only(*rejected));
        }
    }
    let mut networks: Vec<(Network, bool)> = networks.into_iter().map(|it| (it, false)).collect();
    if !place.usable_here {
        let own = reach::own_address(address).unwrap_or(address);
        networks.push((Network::only(own), true));
    }
    Ok((networks, subnets.is_empty()))
}

/// How each role logs in: a password that is kept as md5 cannot be proved by SCRAM.
async fn methods(
    server: &Server,
    place: &Place,
) -> std::result::Result<BTreeMap<String, &'static str>, String> {
    let names: Vec<String> = place
        .users
        .iter()
        .map(|(_, user)| server::text(user))
        .collect();
    // What is kept of a password does not leave the server.
    let query = format!(
        "SELECT rolname, rolpassword LIKE 'SCRAM-SHA-256$%' FROM pg_authid WHERE rolname IN ({})",
        names.join(", ")
    );
    let rows = server.sql("postgres", &query, SQL).await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            let [name, scram] = <[String; 2]>::try_from(row).ok()?;
            Some((name, if scram == "t" { "scram-sha-256" } else { "md5" }))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_added_to_what_is_there() {
        let with = |value: &str| with_address(value, "172.17.0.1".parse().unwrap());
        assert_eq!(with("localhost").as_deref(), Some("localhost,172.17.0.1"));
        assert_eq!(
            with("127.0.0.1, 10.0.0.4").as_deref(),
            Some("127.0.0.1,10.0.0.4,172.17.0.1")
        );
        assert_eq!(with("").as_deref(), Some("localhost,172.17.0.1"));
        for has in ["*", "0.0.0.0", "localhost, 172.17.0.1"] {
            assert_eq!(with(has), None, "{has}");
        }
        assert_eq!(
            with_address("0.0.0.0", "fd00::1".parse().unwrap()).as_deref(),
            Some("0.0.0.0,fd00::1")
        );
    }
}
