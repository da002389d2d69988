//! A server that cannot be used: what PostgreSQL and Redis have in common there. The difference
//! between this host and the containers' network is the heart of the evidence.

use std::net::IpAddr;

use crate::diagnosis::check::blocking;
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Evidence, Finding};
use crate::fault::Fault;
use crate::host::ports::{self, Listener};
use crate::host::process;
use crate::host::reach::{self, Unreached};
use crate::lifecycle::surroundings::label;

/// Which of the two programs it is about.
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// What is found where it cannot be used.
    pub code: Code,
    /// The fix of `ooy` that lets the containers in.
    pub fix: &'static str,
    /// Its unit of systemd on Debian.
    pub unit: &'static str,
    /// The commands by which it listens on more addresses.
    pub listen: fn(host: &str) -> Vec<String>,
}

/// One database as the two networks see it.
pub struct Asked {
    /// Whose it is.
    pub owner: &'static str,
    /// The setting that names it.
    pub setting: &'static str,
    /// Host of the server.
    pub host: String,
    /// Port of the server.
    pub port: u16,
    /// Its address without the password.
    pub shown: String,
    /// The command that shows whether somebody answers.
    pub see: String,
    /// The command that logs in.
    pub log_in: String,
    /// From this host.
    pub here: Answer,
    /// From the containers' network, if it was asked.
    pub there: Option<Answer>,
}

/// What one network saw.
pub struct Answer {
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// What was wrong.
    pub trouble: Option<Trouble>,
}

/// Why a database cannot be used.
#[derive(Clone)]
pub struct Trouble {
    /// What it comes down to.
    pub kind: Kind,
    /// The server's words, or what became of the connection.
    pub words: String,
    /// `ooy fix` can let the containers in.
    pub fixable: bool,
    /// Whom the commands of the fault interrupt.
    pub interrupts: &'static str,
    /// The rest, for people.
    pub fault: Fault,
}

/// What trouble comes down to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// No connection.
    Unreached(Unreached),
    /// A connection, and then nothing.
    Silent,
    /// Something that holds for every database of the server.
    Server(String),
    /// Something that holds for this database or its user.
    Database(String),
}

/// The kind of trouble that a line of pg_hba.conf cures.
pub const HBA_REJECTED: &str = "HbaRejected";

impl Kind {
    fn is_of_server(&self) -> bool {
        !matches!(self, Kind::Database(_))
    }
}

impl Asked {
    fn kinds(&self) -> (Option<&Kind>, Option<&Kind>) {
        let here = self.here.trouble.as_ref();
        let there = self.there.as_ref().and_then(|there| there.trouble.as_ref());
        (here.map(|t| &t.kind), there.map(|t| &t.kind))
    }

    fn is_troubled(&self) -> bool {
        self.kinds() != (None, None)
    }

    fn is_of_server(&self) -> bool {
        let (here, there) = self.kinds();
        here.or(there).is_some() && [here, there].into_iter().flatten().all(Kind::is_of_server)
    }

    fn same_server(&self, other: &Self) -> bool {
        (&self.host, self.port) == (&other.host, other.port)
    }
}

/// What belongs together in one finding.
struct Case<'a> {
    members: Vec<&'a Asked>,
    /// `None`: it is about all databases.
    owner: Option<&'static str>,
}

/// One server that is down is one finding, and so is one thing that is wrong with every database
/// in the same way.
fn cases(asked: &[Asked]) -> Vec<Case<'_>> {
    let mut cases: Vec<Case<'_>> = Vec::new();
    let mut left: Vec<&Asked> = asked.iter().filter(|one| one.is_troubled()).collect();
    while !left.is_empty() {
        let first = left.remove(0);
        let alike = |other: &&Asked| {
            first.same_server(other)
                && if first.is_of_server() {
                    other.is_of_server()
                } else {
                    first.kinds() == other.kinds()
                }
        };
        let (mut members, others): (Vec<_>, Vec<_>) = left.into_iter().partition(alike);
        left = others;
        members.insert(0, first);
        // Of a server without a free connection one database may have got the last.
        let all = if first.is_of_server() {
            asked.iter().all(|other| first.same_server(other))
        } else {
            members.len() == asked.len()
        };
        if all && asked.len() > 1 {
            cases.push(Case {
                members,
                owner: None,
            });
        } else {
            cases.extend(members.into_iter().map(|one| Case {
                owner: Some(one.owner),
                members: vec![one],
            }));
        }
    }
    cases
}

/// From where the containers' network was asked, and how a person does.
pub struct From<'a> {
    /// From where, or why not.
    pub there: Result<&'a str, &'a str>,
    /// What a person puts before a command.
    pub enter: Option<&'a str>,
    /// The addresses that the containers come from.
    pub subnet: Option<&'a str>,
}

/// The findings about the databases that cannot be used.
pub async fn findings(
    scene: &Scene,
    program: &Program,
    asked: &[Asked],
    from: &From<'_>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for case in cases(asked) {
        findings.push(finding(scene, program, &case, from).await);
    }
    findings
}

async fn finding(scene: &Scene, program: &Program, case: &Case<'_>, from: &From<'_>) -> Finding {
    let one = case.members[0];
    let there = one.there.as_ref().and_then(|there| there.trouble.as_ref());
    let here = one.here.trouble.as_ref();
    let Some(trouble) = there.or(here) else {
        // Only what is troubled becomes a case.
        return Finding::info(program.code, format!("{} can be used", program.name));
    };
    let works_for_services = there.is_none() && one.there.is_some();
    let place = Place::look(one).await;
    let told = tell(program, case, trouble, here.is_none(), &place, from);
    let mut finding = if works_for_services {
        Finding::warning(program.code, told.summary)
            .impact("the services work; checks, backups and upgrades of ooy do not reach it")
    } else {
        Finding::error(program.code, told.summary).impact(impact(case, trouble))
    };
    finding.owner = case.owner;
    finding = finding.cause(told.cause);
    for fact in facts(program, case, &place, from) {
        finding = finding.evidence(fact);
    }
    if told.fixable {
        finding = finding.fix(scene.command(program.fix));
    }
    for command in told.manual {
        finding = finding.manual(match command.strip_prefix("ooy ") {
            Some(rest) => scene.command(rest),
            None => command,
        });
    }
    finding.interrupts(told.interrupts)
}

fn impact(case: &Case<'_>, trouble: &Trouble) -> String {
    if case.owner.is_some() {
        return trouble.fault.why.clone();
    }
    "RapidPro, Casepro and ContentRepo do not work: no message is received, answered or sent, and \
     operators see no cases"
        .to_owned()
}

/// What this host knows of the server.
struct Place {
    /// It runs on this host.
    local: bool,
    listeners: Vec<Listener>,
    /// Processes of it that a signal has stopped.
    stopped: Vec<u32>,
}

impl Place {
    async fn look(one: &Asked) -> Self {
        let (host, port) = (one.host.clone(), one.port);
        let seen = blocking(move || {
            let local = reach::is_this_machine(&host);
            let listeners = if local {
                ports::listeners(port)
            } else {
                Vec::new()
            };
            let mut stopped: Vec<u32> = listeners
                .iter()
                .filter_map(|listener| listener.pid)
                .filter(|pid| process::is_stopped(*pid))
                .collect();
            stopped.dedup();
            Self {
                local,
                listeners,
                stopped,
            }
        });
        seen.await.unwrap_or(Self {
            local: false,
            listeners: Vec::new(),
            stopped: Vec::new(),
        })
    }

    fn listens_on(&self, host: &str) -> bool {
        let Ok(wanted) = host.parse::<IpAddr>() else {
            return !self.listeners.is_empty();
        };
        self.listeners
            .iter()
            .any(|listener| listener.address == wanted || listener.address.is_unspecified())
    }

    fn addresses(&self) -> String {
        let mut addresses: Vec<String> = self
            .listeners
            .iter()
            .map(|listener| listener.address.to_string())
            .collect();
        addresses.dedup();
        addresses.join(", ")
    }
}

/// What a person is told of one case.
struct Told {
    summary: String,
    cause: String,
    fixable: bool,
    manual: Vec<String>,
    interrupts: String,
}

fn tell(
    program: &Program,
    case: &Case<'_>,
    trouble: &Trouble,
    usable_here: bool,
    place: &Place,
    from: &From<'_>,
) -> Told {
    let one = case.members[0];
    let (name, unit) = (program.name, program.unit);
    let at = reach::host_port(&one.host, one.port);
    let whose = case
        .owner
        .map_or_else(String::new, |owner| format!("{}: ", label(owner)));
    let told = |summary: String, cause: String| Told {
        summary: format!("{whose}{summary}"),
        cause,
        fixable: false,
        manual: Vec::new(),
        interrupts: "nothing".to_owned(),
    };
    let everybody = format!("everything that uses {name}, about 10 s");
    match &trouble.kind {
        Kind::Unreached(Unreached::Refused)
            if place.local && !usable_here && place.listeners.is_empty() =>
        {
            Told {
                manual: vec![
                    format!("sudo systemctl start {unit}"),
                    format!("sudo journalctl -u '{unit}*' -n 50"),
                ],
                interrupts: "nothing: it does not run".to_owned(),
                ..told(
                    format!(
                        "{name} is not running: nothing listens on port {}",
                        one.port
                    ),
                    format!("{name} was stopped, or ended; its log says why"),
                )
            }
        }
        Kind::Unreached(Unreached::Refused)
            if place.local && !usable_here && !place.listens_on(&one.host) =>
        {
            Told {
                fixable: true,
                manual: (program.listen)(&one.host),
                interrupts: everybody,
                ..told(
                    format!(
                        "{name} listens on {} only, not on {}",
                        place.addresses(),
                        one.host
                    ),
                    format!(
                        "{name} is set to listen on other addresses than {} names",
                        one.setting
                    ),
                )
            }
        }
        Kind::Unreached(_) if usable_here && reach::is_loopback(&one.host) => Told {
            manual: vec!["ooy config --check".to_owned()],
            interrupts: format!(
                "the services of {}, about 1 min, at the next start",
                label(one.owner)
            ),
            ..told(
                format!("the containers cannot reach {name} at {at}"),
                format!(
                    "inside a container {} is the container itself: {} has to name an address of \
                     the machine that runs {name}",
                    one.host, one.setting
                ),
            )
        },
        Kind::Unreached(Unreached::NotResolved) if usable_here => Told {
            manual: vec![
                format!("getent hosts {}", one.host),
                "ooy config --check".to_owned(),
            ],
            ..told(
                format!("the containers do not know the host {}", one.host),
                format!(
                    "the name of the host in {} is known to this host only",
                    one.setting
                ),
            )
        },
        Kind::Unreached(_) if usable_here => Told {
            manual: open_for(from.subnet, one.port),
            ..told(
                format!("{name} at {at} is closed to the containers by a firewall"),
                "the same address can be used from this host: what lies between it and the \
                 containers refuses or drops their packets"
                    .to_owned(),
            )
        },
        Kind::Silent if !place.stopped.is_empty() => Told {
            manual: place
                .stopped
                .iter()
                .map(|pid| format!("sudo kill -CONT {pid}"))
                .collect(),
            interrupts: "nothing: it answers nobody now".to_owned(),
            ..told(
                format!("{name} at {at} does not answer: its process is stopped"),
                "somebody or something has sent it SIGSTOP; it waits for SIGCONT".to_owned(),
            )
        },
        Kind::Silent if place.local => Told {
            manual: vec![
                format!("systemctl status {unit}"),
                format!("sudo systemctl restart {unit}"),
            ],
            interrupts: everybody,
            ..told(
                format!("{name} at {at} accepts connections and says nothing"),
                trouble.fault.what.clone(),
            )
        },
        Kind::Database(name) if usable_here && name == HBA_REJECTED => Told {
            fixable: true,
            manual: manual(case),
            ..told(
                "PostgreSQL does not let the containers in: pg_hba.conf has no line for them"
                    .to_owned(),
                trouble.fault.what.clone(),
            )
        },
        _ => {
            let title = &trouble.fault.title;
            let label = format!("{}: ", label(one.owner));
            Told {
                fixable: trouble.fixable,
                manual: manual(case),
                interrupts: trouble.interrupts.to_owned(),
                ..told(
                    title.strip_prefix(&label).unwrap_or(title).to_owned(),
                    trouble.fault.what.clone(),
                )
            }
        }
    }
}

/// The commands for all members of a case; one that comes up again, such as a reload, only where it
/// comes up last.
fn manual(case: &Case<'_>) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    for one in &case.members {
        let there = one.there.as_ref().and_then(|there| there.trouble.as_ref());
        let Some(trouble) = there.or(one.here.trouble.as_ref()) else {
            continue;
        };
        for command in &trouble.fault.next {
            commands.retain(|known| known != command);
            commands.push(command.clone());
        }
    }
    commands
}

/// The commands that let the containers through the firewall of this host.
fn open_for(subnet: Option<&str>, port: u16) -> Vec<String> {
    let subnet = subnet.unwrap_or("172.16.0.0/12");
    vec![
        "sudo iptables -S INPUT".to_owned(),
        format!("sudo iptables -I INPUT -s {subnet} -p tcp --dport {port} -j ACCEPT"),
    ]
}

fn facts(program: &Program, case: &Case<'_>, place: &Place, from: &From<'_>) -> Vec<Evidence> {
    let one = case.members[0];
    let mut facts = Vec::new();
    let fact = |what: &str, answer: &Answer, source: &str, enter: &str| {
        let (value, command) = match &answer.trouble {
            None => (format!("usable, in {} ms", answer.took_ms), &one.log_in),
            Some(trouble) => match trouble.kind {
                Kind::Unreached(_) | Kind::Silent => (trouble.words.clone(), &one.see),
                _ => (trouble.words.clone(), &one.log_in),
            },
        };
        let command = format!("{enter}{command}");
        Evidence::new(what, value, source.to_owned()).command(command)
    };
    facts.push(fact("from this host", &one.here, &one.shown, ""));
    match (&one.there, from.there) {
        (Some(there), Ok(words)) => {
            let enter = from.enter.map(|enter| format!("{enter} "));
            let mut seen = fact(
                "from the containers",
                there,
                words,
                enter.as_deref().unwrap_or_default(),
            );
            if enter.is_none() {
                seen.command = None;
            }
            facts.push(seen);
        }
        (_, Err(why)) => facts.push(Evidence::new("from the containers", why, "ooy")),
        (None, Ok(_)) => {}
    }
    if case.owner.is_none() {
        let names: Vec<&str> = case.members.iter().map(|one| label(one.owner)).collect();
        let settings: Vec<&str> = case.members.iter().map(|one| one.setting).collect();
        facts.push(Evidence::new(
            "databases concerned",
            names.join(", "),
            settings.join(", "),
        ));
    }
    if place.local {
        let value = match place.listeners.first() {
            None => "nobody".to_owned(),
            Some(first) => format!(
                "{} on {}",
                first.process.as_deref().unwrap_or("a process"),
                place.addresses()
            ),
        };
        let port = one.port;
        facts.push(
            Evidence::new(format!("who listens on port {port}"), value, "this host")
                .command(format!("sudo ss -ltnp 'sport = :{port}'")),
        );
    }
    for pid in &place.stopped {
        facts.push(
            Evidence::new(
                format!("process {pid} of {}", program.name),
                "stopped (state T)",
                format!("/proc/{pid}/stat"),
            )
            .command(format!("ps -o pid,stat,cmd -p {pid}")),
        );
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(kind: Option<Kind>) -> Answer {
        Answer {
            took_ms: 1,
            trouble: kind.map(|kind| Trouble {
                kind,
                words: "words".into(),
                fixable: false,
                interrupts: "nothing",
                fault: Fault::problem("RapidPro: title", "what").why("why"),
            }),
        }
    }

    fn asked(owner: &'static str, host: &str, here: Option<Kind>, there: Option<Kind>) -> Asked {
        Asked {
            owner,
            setting: "SETTING",
            host: host.into(),
            port: 5432,
            shown: String::new(),
            see: String::new(),
            log_in: String::new(),
            here: answer(here),
            there: Some(answer(there)),
        }
    }

    fn owners(asked: &[Asked]) -> Vec<(Option<&'static str>, usize)> {
        cases(asked)
            .iter()
            .map(|case| (case.owner, case.members.len()))
            .collect()
    }

    const REFUSED: Option<Kind> = Some(Kind::Unreached(Unreached::Refused));

    fn password() -> Option<Kind> {
        Some(Kind::Database("WrongPassword".into()))
    }

    #[test]
    fn a_server_that_is_down_is_one_finding() {
        let all =
            ["rapidpro", "casepro", "contentrepo"].map(|owner| asked(owner, "a", REFUSED, REFUSED));
        assert_eq!(owners(&all), [(None, 3)]);
        // One has got the last connection.
        let full = || Some(Kind::Server("TooManyConnections".into()));
        let some = [
            asked("rapidpro", "a", full(), full()),
            asked("casepro", "a", None, full()),
            asked("contentrepo", "a", None, None),
        ];
        assert_eq!(owners(&some), [(None, 2)]);
    }

    #[test]
    fn of_two_servers_each_has_its_own() {
        let two = [
            asked("rapidpro", "a", REFUSED, REFUSED),
            asked("casepro", "a", REFUSED, REFUSED),
            asked("contentrepo", "b", None, None),
        ];
        assert_eq!(owners(&two), [(Some("rapidpro"), 1), (Some("casepro"), 1)]);
    }

    #[test]
    fn what_is_wrong_with_one_database_is_about_its_owner() {
        let one = [
            asked("rapidpro", "a", None, None),
            asked("casepro", "a", password(), password()),
            asked("contentrepo", "a", None, None),
        ];
        assert_eq!(owners(&one), [(Some("casepro"), 1)]);
        let all = ["rapidpro", "casepro", "contentrepo"]
            .map(|owner| asked(owner, "a", password(), password()));
        assert_eq!(owners(&all), [(None, 3)]);
        assert_eq!(owners(&[asked("rapidpro", "a", None, None)]), []);
    }
}
