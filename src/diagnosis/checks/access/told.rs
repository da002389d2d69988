//! What a person is told: what it is, how it came about, what repairs it, and how it is known.

use super::place::Place;
use super::{Answer, Case, From, HBA_REJECTED, Kind, Program, Trouble};
use crate::diagnosis::Evidence;
use crate::host::reach::{self, Unreached};
use crate::lifecycle::surroundings::label;

/// What a person is told of one case.
pub(super) struct Told {
    pub(super) summary: String,
    pub(super) cause: String,
    pub(super) fixable: bool,
    pub(super) manual: Vec<String>,
    pub(super) interrupts: String,
}

pub(super) fn tell(
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
                fixable: true,
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

pub(super) fn facts(
    program: &Program,
    case: &Case<'_>,
    place: &Place,
    from: &From<'_>,
) -> Vec<Evidence> {
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
