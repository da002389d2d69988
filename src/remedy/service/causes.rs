//! What a service that ends again and again has said, and what is known to stand behind it.

use crate::diagnosis::{Code, Finding};
use crate::engine::Engine;
use crate::fault::Fault;
use crate::host::text;
use crate::remedy::Job;

/// A cause that is known by its words.
struct Known {
    /// What is said, in small letters.
    words: &'static [&'static str],
    /// What that means.
    means: &'static str,
    /// What repairs it: a command of `ooy`.
    next: &'static str,
}

const KNOWN: &[Known] = &[
    Known {
        words: &["max virtual memory areas", "vm.max_map_count"],
        means: "the kernel allows too few memory areas",
        next: "fix max-map-count",
    },
    Known {
        words: &["no space left on device", "disk quota exceeded"],
        means: "the disk is full",
        next: "fix disk-space",
    },
    Known {
        words: &["no pg_hba.conf entry", "password authentication failed"],
        means: "PostgreSQL lets it not in",
        next: "fix postgres-access",
    },
    Known {
        words: &[
            "could not open extension",
            "could not access file \"$libdir",
            "type \"hstore\" does not exist",
        ],
        means: "an extension of PostgreSQL is missing",
        next: "fix postgres-extensions",
    },
    Known {
        words: &[
            "noauth",
            "wrongpass",
            "redis.exceptions",
            "error connecting to redis",
        ],
        means: "Redis lets it not in, or does not answer",
        next: "diagnose redis-unreachable",
    },
    Known {
        words: &[
            "could not connect to server",
            "connection refused",
            "could not translate host name",
        ],
        means: "something that it needs does not answer",
        next: "diagnose",
    },
    Known {
        words: &["outofmemoryerror", "cannot allocate memory", "memoryerror"],
        means: "it has too little memory",
        next: "diagnose out-of-memory",
    },
    Known {
        words: &[
            "exec format error",
            "executable file not found",
            "no such file or directory",
        ],
        means: "its image does not hold what the configuration asks for",
        next: "config --check",
    },
    Known {
        words: &[
            "improperlyconfigured",
            "modulenotfounderror",
            "importerror",
            "disallowedhost",
        ],
        means: "a setting does not fit",
        next: "config --check",
    },
    Known {
        words: &["does not exist", "unapplied migration"],
        means: "its database is of another release",
        next: "diagnose migrations-pending",
    },
];

fn known<'a>(lines: impl Iterator<Item = &'a str>) -> Option<&'static Known> {
    let said: Vec<String> = lines.map(str::to_lowercase).collect();
    KNOWN.iter().find(|known| {
        said.iter()
            .any(|line| known.words.iter().any(|words| line.contains(words)))
    })
}

/// What a looping service has said, for the plan: its last words, and what they mean. Hidden secrets
/// stay hidden: it comes from the findings.
pub fn told(findings: &[Finding], service: &str) -> Vec<String> {
    let Some(finding) = findings
        .iter()
        .find(|finding| finding.code == Code::RestartLoop && finding.is_about(service))
    else {
        return Vec::new();
    };
    let lines: Vec<&str> = finding
        .evidence
        .iter()
        .filter(|fact| fact.what.starts_with("its log"))
        .map(|fact| fact.value.as_str())
        .collect();
    let mut told: Vec<String> = lines
        .last()
        .map(|line| format!("its last words are \"{}\"", text::shorten(line, 160)))
        .into_iter()
        .collect();
    if let Some(known) = known(lines.into_iter()) {
        told.push(format!("known of that: {}", known.means));
    }
    told
}

/// A service that did not come up: what its words mean, and what to try beside.
pub fn explained(job: &Job, mut fault: Fault) -> Fault {
    let Some(known) = known(fault.evidence.iter().map(String::as_str)) else {
        return with_check(job, fault);
    };
    fault = fault.evidence(format!("known of that: {}", known.means));
    fault.next.insert(0, job.command(known.next));
    with_check(job, fault)
}

fn with_check(job: &Job, fault: Fault) -> Fault {
    let check = job.command("config --check");
    match fault.next.contains(&check) {
        true => fault,
        false => fault.next(check),
    }
}

/// The same, with the last lines of its log.
pub async fn with_last_words(job: &Job, engine: &Engine, name: &str, mut fault: Fault) -> Fault {
    let project = job.context.settings.project();
    let containers = engine.service_containers(project, name).await;
    for container in containers
        .unwrap_or_default()
        .iter()
        .filter(|it| !it.oneoff)
    {
        for line in engine.last_lines(&container.id, 3, None).await {
            // Masked before it is cut.
            let said = text::shorten(&job.context.mask.apply(&line.text), 160);
            let at = line.at.strftime("%H:%M:%S UTC");
            fault = fault.evidence(format!("its log, {at}: {said}"));
        }
    }
    let without = job
        .context
        .stack
        .service(name)
        .map_or("", |service| service.without_it);
    let fault = fault
        .why(without)
        .next(job.command(&format!("logs {name} -n 50")));
    explained(job, fault)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::Evidence;

    #[test]
    fn last_words_of_a_loop_are_told_and_what_they_mean() {
        let line = |text: &str| Evidence::new("its log, 02:14:07 UTC", text, "docker logs");
        let finding = Finding::error(Code::RestartLoop, "x")
            .service("elasticsearch")
            .evidence(Evidence::new("restarts", "9", "Docker"))
            .evidence(line(
                "ERROR: max virtual memory areas vm.max_map_count [65530] is too low",
            ))
            .evidence(line("stopped"));
        assert_eq!(
            told(std::slice::from_ref(&finding), "elasticsearch"),
            [
                "its last words are \"stopped\"",
                "known of that: the kernel allows too few memory areas"
            ]
        );
        assert!(told(&[finding], "mailroom").is_empty());
    }

    #[test]
    fn every_command_that_is_named_is_there() {
        for known in KNOWN {
            if let Some(name) = known.next.strip_prefix("fix ") {
                assert!(crate::remedy::find(name, "").is_ok(), "{name}");
            }
            if let Some(name) = known.next.strip_prefix("diagnose ") {
                assert!(
                    crate::diagnosis::find(&[name.to_owned()], "").is_ok(),
                    "{name}"
                );
            }
        }
    }
}
