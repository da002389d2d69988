//! A server that cannot be used: what PostgreSQL and Redis have in common there. The difference
//! between this host and the containers' network is the heart of the evidence.

mod place;
mod told;

use self::place::Place;
use self::told::{facts, tell};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Finding};
use crate::fault::Fault;
use crate::host::reach::Unreached;

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

/// Parts of summaries by which a server that has ended, or cannot begin, is known.
const DOWN: &[&str] = &[
    " is not running: ",
    "accepts connections and says nothing",
    "is starting up",
    "is shutting down",
    "does not let the services in",
];

/// Whether a finding of these is about a server that has ended or cannot begin, rather than about
/// the way to it.
pub fn is_down(finding: &Finding) -> bool {
    DOWN.iter().any(|part| finding.summary.contains(part))
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
    let place = Place::look(scene, one).await;
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
