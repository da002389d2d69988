//! Why PostgreSQL is not made to let the containers in, and what a person does then.

use std::io;
use std::path::Path;

use super::survey::Place;
use crate::fault::Fault;
use crate::host::postgres::server::{Cluster, Server};
use crate::host::process;
use crate::remedy::Job;
use crate::remedy::access::Access;

const ACCESS: Access = Access {
    name: "postgres-access",
    program: "PostgreSQL",
};

/// The server is not on this host.
pub fn elsewhere(job: &Job, place: &Place) -> Box<Fault> {
    ACCESS.elsewhere(job, &place.host, place.port)
}

/// Only another user may.
pub fn no_permission(job: &Job, instead: &str) -> Box<Fault> {
    ACCESS.untouched(
        job,
        ACCESS
            .fault(
                "no permission",
                "PostgreSQL's files and its superuser belong to its own user: only root, or that \
             user, may do this",
            )
            .evidence(format!("ooy runs as {}", process::user_name()))
            .next(format!("sudo {}", job.again))
            .next(instead),
    )
}

/// Who holds the port is hidden from us.
pub fn hidden(job: &Job, place: &Place) -> Box<Fault> {
    ACCESS.untouched(
        job,
        ACCESS
            .fault(
                "no permission",
                format!(
                    "which process listens on port {}, and where its files are, only root may see",
                    place.port
                ),
            )
            .evidence(format!("ooy runs as {}", process::user_name()))
            .next(format!("sudo {}", job.again)),
    )
}

/// The port belongs to something else.
pub fn other_program(job: &Job, place: &Place, program: &str) -> Box<Fault> {
    let what = if program == "docker-proxy" {
        "PostgreSQL runs in a container of its own: its pg_hba.conf is inside, and whoever made \
         the container decides what is in it"
    } else {
        "what listens there is not a PostgreSQL of this host"
    };
    let fault = ACCESS
        .fault("PostgreSQL is not this host's own", what)
        .evidence(format!("{program} listens on port {}", place.port));
    ACCESS.untouched(job, ACCESS.by_hand(job, fault))
}

/// Nobody listens, and no cluster is known.
pub fn nobody(job: &Job, place: &Place) -> Box<Fault> {
    let fault = ACCESS.fault(
        "PostgreSQL does not run",
        format!(
            "nothing listens on port {}, and none of this host's clusters has that port: how it \
             is started is not known here",
            place.port
        ),
    )
    .evidence("pg_lsclusters names no cluster of that port")
    .next("pg_lsclusters");
    ACCESS.untouched(job, ACCESS.by_hand(job, fault))
}

/// A line break in a name would end its line, and begin another one.
pub fn odd_name(job: &Job, name: &str) -> Box<Fault> {
    ACCESS.untouched(
        job,
        ACCESS
            .fault(
                "a name that pg_hba.conf cannot hold",
                "the name of a database or a role has a control character in it",
            )
            .evidence(name.escape_default().to_string())
            .next(job.command("config --check")),
    )
}

/// Its superuser was not let in, or its answer makes no sense.
pub fn no_superuser(job: &Job, server: &Server, why: &str) -> Box<Fault> {
    let fault = ACCESS
        .fault(
            "no session of the superuser",
            format!(
                "{} does not do what its superuser {} asks for over its local socket",
                server.label(),
                server.user.name
            ),
        )
        .evidence(why)
        .next(format!(
            "sudo -u {0} psql -p {1}",
            server.user.name, server.port
        ));
    ACCESS.untouched(job, ACCESS.by_hand(job, fault))
}

/// Docker has to be asked for its networks.
pub fn no_docker(job: &Job, why: &str) -> Box<Fault> {
    ACCESS.untouched(
        job,
        ACCESS
            .fault(
                "Docker does not answer",
                "only Docker knows the networks that the containers come from",
            )
            .evidence(why)
            .next(job.command("diagnose docker-engine"))
            .next(job.again.clone()),
    )
}

/// The file has errors before anything is changed: PostgreSQL would refuse all of it.
pub fn hba_is_wrong(job: &Job, file: &Path, errors: &[String]) -> Box<Fault> {
    let mut fault = ACCESS.fault(
        "pg_hba.conf has errors",
        "PostgreSQL takes no line of a file that has an error in it, and does not start with it; \
         it goes on with the lines that it had read before",
    );
    for error in errors {
        fault = fault.evidence(format!("{}, {error}", file.display()));
    }
    ACCESS.untouched(
        job,
        fault
            .next(format!("sudoedit {}", file.display()))
            .next(job.again.clone()),
    )
}

/// The server found an error in what was written.
pub fn hba_refused(job: &Job, file: &Path, errors: &[String]) -> Box<Fault> {
    let mut fault = ACCESS.fault(
        "PostgreSQL refuses the new pg_hba.conf",
        "the server cannot read what was written; the file is again what it was, and the server \
         was not told to read it",
    );
    for error in errors {
        fault = fault.evidence(format!("{}, {error}", file.display()));
    }
    Box::new(ACCESS.by_hand(job, fault.why(ACCESS.impact(job))))
}

/// The copy could not be put back.
pub fn not_put_back(job: &Job, file: &Path, copy: &Path, error: &io::Error) -> Box<Fault> {
    Box::new(
        ACCESS
            .fault(
                "a file of PostgreSQL is not what it was",
                "the server refuses what was written, and the copy could not be put back",
            )
            .evidence(format!("{}: {error}", file.display()))
            .why("PostgreSQL goes on with what it has read, and would not start with this file")
            .next(format!("sudo cp -p {} {}", copy.display(), file.display()))
            .next(job.again.clone()),
    )
}

/// The file cannot be read.
pub fn unreadable(job: &Job, file: &Path, error: &io::Error) -> Box<Fault> {
    ACCESS.untouched(
        job,
        ACCESS
            .fault(
                "pg_hba.conf cannot be read",
                format!("whom PostgreSQL lets in stands in {}", file.display()),
            )
            .evidence(error.to_string())
            .next(format!("sudo {}", job.again)),
    )
}

/// The file, or the copy beside it, cannot be written.
pub fn unwritable(job: &Job, file: &Path, error: &io::Error) -> Box<Fault> {
    ACCESS.unwritable(job, "a file of PostgreSQL cannot be written", file, error)
}

/// `-c listen_addresses=...` outweighs every file.
pub fn by_command_line(job: &Job, place: &Place, server: &Server, listens: &str) -> Box<Fault> {
    let fault = ACCESS
        .fault(
            "PostgreSQL's command line says where it listens",
            format!(
                "{} was started with -c listen_addresses, which outweighs its files: {} has to be \
             added where it is started",
                server.label(),
                place.host
            ),
        )
        .evidence(format!(
            "listen_addresses = {listens} (source: command line)"
        ))
        .next(format!("ps -o args= -p {}", server.pid));
    ACCESS.untouched(job, ACCESS.by_hand(job, fault))
}

/// Nobody here knows how to start it anew.
pub fn cannot_restart(job: &Job, place: &Place, server: &Server, listens: &str) -> Box<Fault> {
    let fault = ACCESS.fault(
        "PostgreSQL has to be restarted by hand",
        format!(
            "it has to listen on {} as well, which only a restart brings about, and ooy does not \
             know how {} is started",
            place.host,
            server.label()
        ),
    )
    .evidence(format!("listen_addresses = {listens}"));
    ACCESS.untouched(
        job,
        ACCESS.by_hand(job, fault.next(server.restart_command())),
    )
}

/// Its files are wrong, so that it was not told to end.
pub fn would_not_start(job: &Job, server: &Server, errors: &[String]) -> Box<Fault> {
    let mut fault = ACCESS.fault(
        "PostgreSQL would not start again",
        format!(
            "{} has errors in its files, with which it could not start: it was left running",
            server.label()
        ),
    );
    for error in errors {
        fault = fault.evidence(error);
    }
    ACCESS.untouched(job, fault.next(job.again.clone()))
}

/// A cluster that was down stays so.
pub fn does_not_start(job: &Job, cluster: &Cluster, why: &str) -> Box<Fault> {
    let mut fault = ACCESS.fault(
        format!("PostgreSQL {} does not start", cluster.label()),
        "it was told to start, and ended or did not answer; its log says why",
    );
    for line in last_lines(why) {
        fault = fault.evidence(line);
    }
    Box::new(
        fault
            .why(ACCESS.impact(job))
            .next(format!(
                "sudo tail -n 50 /var/log/postgresql/postgresql-{}-{}.log",
                cluster.version, cluster.name
            ))
            .next(cluster.command("start")),
    )
}

/// It was told to start anew and did not.
pub fn restart_failed(job: &Job, server: &Server, why: &str, up_again: bool) -> Box<Fault> {
    let what = if up_again {
        "it did not come up with the new setting, which was taken back: it runs as before"
    } else {
        "it was told to restart and did not come up; its log says why"
    };
    let mut fault = ACCESS.fault(format!("{} did not restart", server.label()), what);
    for line in last_lines(why) {
        fault = fault.evidence(line);
    }
    Box::new(
        fault
            .why(ACCESS.impact(job))
            .next("sudo journalctl -u 'postgresql*' -n 50")
            .next(server.restart_command())
            .next(job.again.clone()),
    )
}

fn last_lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().rev().take(5).collect();
    lines.reverse();
    lines
}
