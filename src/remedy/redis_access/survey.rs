//! What is to be changed at one Redis. Looks only.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{LOOK, fault};
use crate::deployment::settings::RedisDatabase;
use crate::fault::Result;
use crate::host::ports::{self, Listener};
use crate::host::postgres::hba::is_public;
use crate::host::redis::config::{self, Config};
use crate::host::redis::resp::{Connection, RedisError};
use crate::host::url::RedisUrl;
use crate::host::{cmd, daemon, process, reach};
use crate::remedy::Job;

/// Where Debian keeps the settings of its Redis, and the script that starts it without systemd.
const DEBIAN_CONF: &str = "/etc/redis/redis.conf";
const DEBIAN_INIT: &str = "/etc/init.d/redis-server";
const DEBIAN_PID: &str = "/run/redis/redis-server.pid";
const DEBIAN_UNIT: &str = "redis-server";

/// A server, as the settings name it, and who is to use it.
pub struct Place {
    url: RedisUrl,
    /// Whose databases are there.
    pub owners: BTreeSet<&'static str>,
    passwords: BTreeSet<Option<String>>,
}

impl Place {
    /// The server of a database.
    pub fn new(redis: &RedisDatabase) -> Self {
        let mut place = Self {
            url: redis.url.clone(),
            owners: BTreeSet::new(),
            passwords: BTreeSet::new(),
        };
        place.add(redis);
        place
    }

    /// Whether a database is there.
    pub fn is_of(&self, url: &RedisUrl) -> bool {
        (self.url.host(), self.url.port()) == (url.host(), url.port())
    }

    /// One more database there.
    pub fn add(&mut self, redis: &RedisDatabase) {
        self.owners.insert(redis.owner);
        self.passwords
            .insert(redis.url.password().map(str::to_owned));
    }

    /// Its host.
    pub fn host(&self) -> &str {
        self.url.host()
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.url.port()
    }

    /// The one password that all have.
    fn password(&self) -> Option<&str> {
        match (self.passwords.len(), self.passwords.first()) {
            (1, Some(Some(password))) => Some(password),
            _ => None,
        }
    }
}

/// What is to be done.
pub enum Todo {
    /// It is down.
    Start(Starter),
    /// It runs.
    Change(Box<Change>),
}

impl Todo {
    /// Only what its settings have said already comes into force, and nobody notices.
    pub fn is_decided_already(&self) -> bool {
        match self {
            Todo::Start(_) => false,
            Todo::Change(change) => {
                change.was_set && change.password.is_none() && change.restart.is_none()
            }
        }
    }
}

/// What is to be changed at a Redis that runs. It may be nothing. Holds a password: never shown.
pub struct Change {
    /// Where it can be logged in to now, with what it takes now.
    pub login: RedisUrl,
    /// The file that it was started with.
    pub file: Option<PathBuf>,
    /// The address that the settings look for it at.
    pub address: IpAddr,
    /// That is an address of the internet.
    pub is_public: bool,
    /// What it binds to now.
    pub binds_now: Vec<String>,
    /// What it shall bind to.
    pub bind: Option<String>,
    /// It was told so before, and did not get that address when it started.
    pub was_set: bool,
    /// An address that is not there must not keep it from starting (Redis 6.2 and later).
    pub may_be_absent: bool,
    /// The password it shall want.
    pub password: Option<String>,
    /// It takes this from its file only, at a start (before Redis 7).
    pub restart: Option<Starter>,
}

/// How a Redis of this host is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Starter {
    /// By systemd.
    Unit(String),
    /// By Debian's script.
    Script,
}

impl Starter {
    /// The command, for people.
    pub fn command(&self, verb: &str) -> String {
        match self {
            Starter::Unit(unit) => {
                format!(
                    "sudo systemctl {verb} {}",
                    unit.trim_end_matches(".service")
                )
            }
            Starter::Script => format!("sudo {DEBIAN_INIT} {verb}"),
        }
    }

    /// Runs it; the error is its complaint.
    pub async fn run(&self, verb: &str, deadline: Duration) -> std::result::Result<(), String> {
        let done = match self {
            Starter::Unit(unit) => cmd::run("systemctl", &[verb, unit], &[], deadline).await,
            Starter::Script => cmd::run(DEBIAN_INIT, &[verb], &[], deadline).await,
        };
        match done {
            Ok(output) if output.success => Ok(()),
            Ok(output) => Err(output.error_text()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// How Debian's own Redis is started; none where its package is not there.
    async fn of_debian() -> Option<Self> {
        if !daemon::has_systemd() {
            return Path::new(DEBIAN_INIT).exists().then_some(Starter::Script);
        }
        let arguments = ["show", "-p", "LoadState", "--value", DEBIAN_UNIT];
        let shown = cmd::run("systemctl", &arguments, &[], LOOK).await.ok()?;
        (shown.stdout.trim() == "loaded").then(|| Starter::Unit(DEBIAN_UNIT.to_owned()))
    }

    /// How the Redis of this process is started.
    fn of(pid: u32) -> Option<Self> {
        if let Some(unit) = daemon::unit_of(pid) {
            return Some(Starter::Unit(unit));
        }
        let written = fs::read_to_string(DEBIAN_PID).ok()?;
        (written.trim() == pid.to_string() && Path::new(DEBIAN_INIT).exists())
            .then_some(Starter::Script)
    }
}

/// Looks what is to be changed.
pub async fn survey(job: &Job, place: &Place) -> Result<Todo> {
    let until = tokio::time::Instant::now() + LOOK / 2;
    let addresses = reach::addresses(place.host(), until).await;
    let local = addresses
        .into_iter()
        .find(|address| reach::is_this_machine(&address.to_string()));
    let Some(address) = local else {
        return Err(fault::elsewhere(job, place));
    };
    let listeners = ports::listeners(place.port());
    let Some(first) = listeners.first() else {
        return stopped(job, place).await;
    };
    if !process::is_root() && rustix::process::geteuid().as_raw() != first.uid {
        return Err(fault::no_permission(job, first));
    }
    let program = first.process.as_deref().unwrap_or_default();
    if !matches!(program, "redis-server" | "valkey-server") {
        return Err(fault::other_program(job, place, program));
    }
    let (login, config) = log_in(place, &listeners)
        .await
        .map_err(|why| fault::no_login(job, place, &why))?;
    if !config.has_password && place.password().is_none() {
        return Err(fault::no_password(job, place, &config));
    }
    let listens = listeners
        .iter()
        .any(|listener| listener.address == address || listener.address.is_unspecified());
    let password = (!config.has_password)
        .then(|| place.password().map(str::to_owned))
        .flatten();
    let change = Change {
        restart: restart(job, first, &config, !listens)?,
        login,
        address,
        is_public: is_public(address),
        // Redis before 6.2 takes no minus there.
        may_be_absent: config.major() >= 7,
        bind: (!listens).then(|| with_address(&config.bind, address, config.major() >= 7)),
        was_set: config.bind.iter().any(|word| is_address(word, address)),
        binds_now: config.bind,
        file: config.file,
        password,
    };
    Ok(Todo::Change(Box::new(change)))
}

/// Who restarts it, where that is needed: before Redis 7 `bind` is read at the start only.
fn restart(
    job: &Job,
    listener: &Listener,
    config: &Config,
    binds: bool,
) -> Result<Option<Starter>> {
    if config.major() >= 7 || !binds {
        return Ok(None);
    }
    match listener.pid.and_then(Starter::of) {
        Some(starter) if config.file.is_some() => Ok(Some(starter)),
        _ => Err(fault::cannot_restart(job, config)),
    }
}

/// A Redis that is down can be started only if it is known which: Debian's own.
async fn stopped(job: &Job, place: &Place) -> Result<Todo> {
    let Some(starter) = Starter::of_debian().await else {
        return Err(fault::unknown_start(
            job,
            place,
            "no redis-server of Debian's is installed",
        ));
    };
    if !process::is_root() {
        return Err(fault::no_permission_to_start(job, &starter));
    }
    let text = fs::read_to_string(DEBIAN_CONF).unwrap_or_default();
    let port = config::directive(&text, "port").unwrap_or("6379");
    if port != place.port().to_string() {
        let why = format!("{DEBIAN_CONF} is about port {port}");
        return Err(fault::unknown_start(job, place, &why));
    }
    Ok(Todo::Start(starter))
}

/// Logs in where it listens now: with the settings' password, or with none where it has none.
async fn log_in(
    place: &Place,
    listeners: &[Listener],
) -> std::result::Result<(RedisUrl, Config), RedisError> {
    let at = reachable(listeners);
    let with = place.url.at(at);
    let bare = format!(
        "redis://{}/0",
        reach::host_port(&at.to_string(), place.port())
    );
    let bare = RedisUrl::parse(&bare).unwrap_or_else(|_| with.clone());
    let mut last = RedisError::Silent;
    for login in [with, bare] {
        match ask(&login).await {
            Ok(config) => return Ok((login, config)),
            // Says most: what became of the settings' own password.
            Err(why) if last == RedisError::Silent => last = why,
            Err(_) => {}
        }
    }
    Err(last)
}

async fn ask(login: &RedisUrl) -> std::result::Result<Config, RedisError> {
    let until = tokio::time::Instant::now() + LOOK;
    let work = async {
        let mut connection = Connection::open(login, until).await?;
        config::read(&mut connection).await
    };
    tokio::time::timeout_at(until, work)
        .await
        .unwrap_or(Err(RedisError::Silent))
}

/// The address at which this host reaches it: its loopback before others, since protected mode
/// lets in from there.
fn reachable(listeners: &[Listener]) -> IpAddr {
    let own = |address: IpAddr| match address {
        IpAddr::V4(v4) if v4.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(v6) if v6.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    };
    let mut all: Vec<IpAddr> = listeners.iter().map(|one| own(one.address)).collect();
    all.sort_by_key(|address| (!address.is_loopback(), address.is_ipv6()));
    all.first().copied().unwrap_or(Ipv4Addr::LOCALHOST.into())
}

/// Whether a word of `bind` is this address.
fn is_address(word: &str, address: IpAddr) -> bool {
    word.strip_prefix('-').unwrap_or(word).parse() == Ok(address)
}

/// The words of `bind` with one more address, unless it is there.
pub fn with_address(words: &[String], address: IpAddr, may_be_absent: bool) -> String {
    let mut words = words.to_vec();
    if !words.iter().any(|word| is_address(word, address)) {
        let minus = if may_be_absent { "-" } else { "" };
        words.push(format!("{minus}{address}"));
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_added_once() {
        let with = |words: &[&str], absent| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            with_address(&words, "172.17.0.1".parse().unwrap(), absent)
        };
        assert_eq!(
            with(&["127.0.0.1", "-::1"], true),
            "127.0.0.1 -::1 -172.17.0.1"
        );
        assert_eq!(with(&["127.0.0.1"], false), "127.0.0.1 172.17.0.1");
        for has in ["172.17.0.1", "-172.17.0.1"] {
            assert_eq!(with(&[has], true), has);
        }
    }

    #[test]
    fn it_is_asked_on_the_loopback_first() {
        let listener = |address: &str| Listener {
            address: address.parse().unwrap(),
            pid: None,
            process: None,
            uid: 0,
        };
        let at = |addresses: &[&str]| {
            let all: Vec<Listener> = addresses.iter().map(|one| listener(one)).collect();
            reachable(&all).to_string()
        };
        assert_eq!(at(&["172.17.0.1", "::1", "127.0.0.1"]), "127.0.0.1");
        assert_eq!(at(&["0.0.0.0"]), "127.0.0.1");
        assert_eq!(at(&["10.0.0.4"]), "10.0.0.4");
    }
}
