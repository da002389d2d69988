//! What the repairs of access to PostgreSQL and to Redis have in common.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::{Job, Refusal};
use crate::diagnosis::Finding;
use crate::fault::{Fault, Result};
use crate::host::process;
use crate::host::reach::host_port;

/// Which of the two it is.
pub struct Access {
    /// The repair, which is the check as well.
    pub name: &'static str,
    /// The program that does not let the containers in.
    pub program: &'static str,
}

impl Access {
    /// A fault with the repair's name before its title.
    pub fn fault(&self, title: impl Into<String>, what: impl Into<String>) -> Fault {
        Fault::problem(format!("{}: {}", self.name, title.into()), what)
    }

    /// Who notices what.
    pub fn impact(&self, job: &Job) -> String {
        job.findings.first().map_or_else(
            || format!("{} may not let the containers in", self.program),
            |finding| finding.impact.clone(),
        )
    }

    /// Closes a fault in front of which nothing was changed.
    pub fn untouched(&self, job: &Job, fault: Fault) -> Box<Fault> {
        Box::new(fault.why(format!("nothing was changed; {}", self.impact(job))))
    }

    /// The commands by which a person does what this repair would do.
    pub fn by_hand(&self, job: &Job, fault: Fault) -> Fault {
        let mut commands: Vec<&String> = Vec::new();
        for command in job.findings.iter().flat_map(|finding| &finding.fix.manual) {
            commands.retain(|known| *known != command);
            commands.push(command);
        }
        commands
            .into_iter()
            .fold(fault, |fault, command| fault.next(command))
            .next(job.command(&format!("diagnose {}", self.name)))
    }

    /// The server is not on this host.
    pub fn elsewhere(&self, job: &Job, host: &str, port: u16) -> Box<Fault> {
        let at = host_port(host, port);
        let mut fault = self.fault(
            format!("{} is on another machine", self.program),
            format!("what has to be changed lies on the machine of {at}, where ooy does nothing"),
        );
        for finding in &job.findings {
            fault = fault.evidence(finding.summary.clone());
        }
        self.untouched(job, self.by_hand(job, fault))
    }

    /// The file, or the copy beside it, cannot be written.
    pub fn unwritable(&self, job: &Job, title: &str, file: &Path, error: &io::Error) -> Box<Fault> {
        self.untouched(
            job,
            self.fault(
                title,
                format!(
                    "{} and a copy beside it have to be written by {}",
                    file.display(),
                    process::user_name()
                ),
            )
            .evidence(error.to_string())
            .next(format!("sudo ls -la {}", file.display()))
            .next(format!("sudo {}", job.again)),
        )
    }
}

/// Whether the findings are about a server that this owner's databases are on; all are concerned
/// where an earlier run is to be finished.
pub fn concerns(job: &Job, owner: &str) -> bool {
    let about = |finding: &Finding| finding.owner.is_none() || finding.owner == Some(owner);
    job.findings.is_empty() || job.findings.iter().any(about)
}

/// What is to be done at each server.
pub async fn surveyed<P, T>(
    job: &Job,
    places: &[P],
    survey: impl AsyncFn(&Job, &P) -> Result<T>,
) -> std::result::Result<Vec<T>, Refusal> {
    let mut todos = Vec::new();
    for place in places {
        match survey(job, place).await {
            Ok(todo) => todos.push(todo),
            // Nothing was found to be wrong there: no matter.
            Err(_) if job.findings.is_empty() => {}
            Err(fault) => return Err(fault.into()),
        }
    }
    Ok(todos)
}

/// Whose databases are there.
pub fn owners<'a>(
    places: impl Iterator<Item = &'a BTreeSet<&'static str>>,
) -> BTreeSet<&'static str> {
    places.flatten().copied().collect()
}
