//! What man pages say beyond the help.

use std::path::PathBuf;

use crate::deployment::places::Places;

/// More about a command.
pub struct About {
    /// The command, without the program's name: `backup create`; empty: the whole.
    command: &'static str,
    /// Paragraphs that follow the one sentence of its help.
    pub description: &'static [&'static str],
    /// Related commands, by the names of their pages without the program's.
    pub see_also: &'static [&'static str],
}

/// What is said about a command; nothing about one that is not in the table.
pub fn about(command: &str) -> &'static About {
    const NOTHING: &About = &about_of("", &[], &[]);
    ALL.iter()
        .find(|it| it.command == command)
        .unwrap_or(NOTHING)
}

const fn about_of(
    command: &'static str,
    description: &'static [&'static str],
    see_also: &'static [&'static str],
) -> About {
    About {
        command,
        description,
        see_also,
    }
}

const ALL: &[About] = &[
    about_of(
        "",
        &[
            "ooy carries the whole deployment: RapidPro (web, celery, beat, courier, mailroom, indexer, \
         Elasticsearch), Casepro (web, celery), the Content Repository, the BigQuery sync, and nginx in \
         front of them. PostgreSQL and Redis run on the host. Each command shows what it will do, does \
         it, and ends only when the effect was seen.",
            "What changes something asks first, unless --yes is given, and shows its plan with --dry-run. One \
         such command at a time: a second one says who is at work, and ends. Whatever was cut off is \
         finished by running the same command again, or by ooy resume.",
            "Data goes to standard output, talk to standard error. With --json the answer is one JSON \
         document, or one object a line where a command reports its progress; the first field is the \
         number of its schema.",
        ],
        &[],
    ),
    about_of(
        "init",
        &[
            "Every setting is explained in the file, which only its owner may read. Secret keys are made. A \
         file that exists is never overwritten: what is missing in it is added to what is there by hand.",
            "With --import values, images and the name of the project come from the compose file of an \
         existing deployment, so that its containers and volumes are taken over and not made a second \
         time. With --pbx only what a telephone exchange needs is written, owned by the user asterisk.",
        ],
        &["config", "start"],
    ),
    about_of(
        "config",
        &[
            "The parts are env (the settings in force), compose (the compose file, every value in its place), \
         nginx (its files) and dialplan (the lines for Asterisk).",
            "--check validates settings, certificates and their keys, the compose file, nginx's configuration \
         and the order of services, and tells all faults in one run. With --verbose it draws the order.",
        ],
        &["init", "start"],
    ),
    about_of(
        "start",
        &[
            "Before anything changes it checks the Engine, settings, certificates, ports, disk, images, and \
         PostgreSQL and Redis as containers see them. Then it pulls what is missing, runs migrations, and \
         starts each service the moment what it needs is ready. Run again it does only what is missing.",
            "A service that does not become ready stops nothing that does not need it. Its last log lines are \
         shown, and what was not started because of it.",
        ],
        &["stop", "restart", "status", "diagnose"],
    ),
    about_of(
        "stop",
        &[
            "nginx goes first, and each service has the time it needs to end by itself. What was stopped stays \
         stopped, also after a boot, until ooy start.",
        ],
        &["start", "restart"],
    ),
    about_of("restart", &[], &["start", "stop"]),
    about_of(
        "status",
        &[
            "For each service: its state, whether it is ready, image, time since its start, restarts, use of \
         processor and memory, and the size of its log. The exit status is 1 when something is not ready.",
        ],
        &["diagnose", "logs"],
    ),
    about_of(
        "logs",
        &["It follows containers that are made anew. Secrets are masked."],
        &["status", "bundle"],
    ),
    about_of(
        "diagnose",
        &[
            "The root cause comes first, with the evidence and a command by which you see the same, why it \
         matters, the repair, and whom that interrupts; what it explains stands under it. Nothing is \
         changed. What could not be looked at is told, and never taken for fine.",
            "The exit status is 1 when something is wrong.",
        ],
        &["fix", "status", "bundle"],
    ),
    about_of(
        "fix",
        &[
            "It shows what it will do and whom that interrupts, asks, acts, and ends when the same check finds \
         nothing any more and the service was seen to work. Without a name it offers whatever applies, \
         causes first. Cut off, it is finished by running it again.",
        ],
        &["diagnose", "watch"],
    ),
    about_of(
        "watch",
        &[
            "It repairs only what loses nothing, never the same more than WATCH_REPAIRS_PER_HOUR times an hour, \
         nothing that was found once only, and nothing while somebody else is at work. Each new and each \
         gone cause is reported once, to the log, to Sentry (OOY_SENTRY_DSN) and to a webhook \
         (WATCH_WEBHOOK). ooy boot enable has systemd run it.",
        ],
        &["boot", "diagnose", "fix"],
    ),
    about_of(
        "boot",
        &[
            "The units are an ordered start after each boot, the watch, the delivery of calls where calls are \
         handed over, and, where BACKUP_AT says when, a backup each night.",
        ],
        &["watch", "start", "backup"],
    ),
    about_of(
        "boot enable",
        &["Run it again after BACKUP_AT was changed or emptied."],
        &[],
    ),
    about_of(
        "bundle",
        &[
            "Inside are the diagnosis, the status, versions, settings, rendered files and the last log lines. \
         Secrets, telephone numbers and addresses are replaced by tokens, and messages are taken out. It \
         lists what it left out.",
        ],
        &["diagnose", "logs"],
    ),
    about_of(
        "backup",
        &[
            "A backup counts as one only when it was restored and compared, table by table. Expired ones \
         (BACKUP_KEEP, BACKUP_KEEP_DAYS) go when a new one was made, but never the last that is proved.",
        ],
        &["restore"],
    ),
    about_of(
        "backup create",
        &[
            "The folder gets its name only when it is complete. It says beforehand how large the backup will \
         be, and ends before the disk falls below DISK_RESERVE_MB.",
        ],
        &["restore"],
    ),
    about_of(
        "backup verify",
        &[
            "Extensions and the rows of every table are compared with what was counted when the backup was \
         made; then the scratch database is dropped. A dump cut short or a flipped bit is found.",
        ],
        &["restore"],
    ),
    about_of(
        "restore",
        &[
            "The databases are made anew beside the present ones and compared. Then what writes is stopped, \
         and they change places. What was there is kept under another name, and ooy restore with that name \
         goes back to it.",
        ],
        &["backup", "resume"],
    ),
    about_of(
        "upgrade",
        &[
            "The plan comes first: each release that has to be passed, images, room, settings, what stops and \
         for how long. The new static files are made, and the backup is made and proved, while the old \
         version serves. Then the web is closed, the database is copied and migrated, and the new version is tried behind the closed door. If that \
         fails everything goes back by itself: images, settings and database together.",
        ],
        &["rollback", "resume", "backup"],
    ),
    about_of(
        "rollback",
        &[
            "It says what was written since, and wants that to be agreed to with --accept-loss-since. The newer \
         database is kept under another name.",
        ],
        &["upgrade", "resume"],
    ),
    about_of(
        "resume",
        &["A restore or an upgrade can be cut off anywhere, also by kill -9 or a power failure."],
        &["restore", "upgrade"],
    ),
    about_of("history", &[], &["status"]),
    about_of(
        "agi",
        &[
            "The call is on disk before the hangup handler goes on, and RapidPro hears of it once, however long \
         it was away. Nothing after agi is an option. The channel variable OOY_STATUS becomes queued, \
         skipped or failed.",
            "Under the name update_user_rapidpro.py or send_to_rapidpro.py, a link for example, ooy takes calls \
         as the script of that name did.",
        ],
        &["calls"],
    ),
    about_of(
        "calls",
        &[
            "A call that RapidPro refuses for good is dead: it waits for a person, and the others go on. A \
         refused token, an unknown flow or a flagged workspace stop the queue, and it is told once why.",
        ],
        &["agi"],
    ),
    about_of(
        "calls serve",
        &["It prints nothing but what goes wrong, and tells systemd when it is ready."],
        &["agi", "boot"],
    ),
    about_of(
        "calls dialplan",
        &[
            "The lines say where they go. --old is for a dialplan that keeps the lines of the wiki, and prints \
         the commands for a link in the place of the script, and the way back.",
        ],
        &["agi"],
    ),
    about_of(
        "images",
        &[
            "For a host that reaches no registry. The package says which images it holds and what they are; \
         what is read from it is compared with that before Docker gets it.",
        ],
        &["start", "upgrade"],
    ),
    about_of(
        "self-update",
        &[
            "What is new is shown first. The archive's checksum and its signature are verified before anything \
         is taken out of it; the new executable has to say that it is what the archive's name promises, and \
         that it understands the settings, before it takes the place of this one in one step. This one stays \
         beside it as ooy.previous. Units of systemd that run ooy are restarted.",
            "Releases come from where RELEASES says: GitHub, another server, a folder. With --check the exit \
         status is 1 when there is a newer one.",
        ],
        &["upgrade"],
    ),
    about_of(
        "completions",
        &[
            "The script is read by the shell when it starts, or when ooy is first completed; nothing of ooy \
         runs while you type. Write it again after an update of ooy.",
        ],
        &["man"],
    ),
    about_of(
        "man",
        &[
            "The page goes to standard output as man(1) takes it. COMMAND is in words, or with dashes between \
         them: backup create, or backup-create.",
        ],
        &["completions"],
    ),
];

/// Variables that `ooy` looks at.
pub const ENVIRONMENT: &[(&str, &str)] = &[
    (
        "OOY_HOME",
        "The folder below which everything is kept, as --home has it.",
    ),
    (
        "NO_COLOR",
        "Set to anything: no colours, unless --color always asks for them.",
    ),
    (
        "TERM",
        "With the value dumb: no colours, and no lines that settle in place.",
    ),
    (
        "COLUMNS",
        "The width of the help, where it is written to no terminal.",
    ),
    (
        "LC_ALL, LC_CTYPE, LANG",
        "Signs beyond ASCII are shown where the first that is set names UTF-8.",
    ),
    (
        "DOCKER_HOST",
        "The socket of the Docker Engine, where it is not /var/run/docker.sock.",
    ),
];

/// A file or folder of the deployment.
pub struct FileOf {
    /// Where it is.
    pub place: fn(&Places) -> &PathBuf,
    /// What it is.
    pub about: &'static str,
    /// The commands that have to do with it, by their first word.
    pub used_by: &'static [&'static str],
}

/// What lies where.
pub const FILES: &[FileOf] = &[
    FileOf {
        place: |places| &places.env_file,
        about: "Settings and secrets, mode 0600.",
        used_by: &[
            "init", "config", "start", "stop", "restart", "status", "logs", "diagnose", "fix",
            "watch", "boot", "bundle", "backup", "restore", "upgrade", "rollback", "resume", "agi",
            "calls",
        ],
    },
    FileOf {
        place: |places| &places.ssl,
        about: "Certificates and their keys: rapidpro, casepro and contentrepo, each .crt and .key.",
        used_by: &["init", "config", "start", "restart"],
    },
    FileOf {
        place: |places| &places.compose_override,
        about: "Your own additions to the compose file; need not exist.",
        used_by: &["config", "start", "restart"],
    },
    FileOf {
        place: |places| &places.rendered,
        about: "The compose file and nginx's files, written by ooy only.",
        used_by: &["config", "start", "restart", "upgrade", "rollback"],
    },
    FileOf {
        place: |places| &places.state,
        about: "The journal, the lock, and what unfinished work has to know.",
        used_by: &[
            "start",
            "stop",
            "restart",
            "fix",
            "watch",
            "backup",
            "restore",
            "upgrade",
            "rollback",
            "resume",
            "history",
            "images",
            "self-update",
        ],
    },
    FileOf {
        place: |places| &places.backups,
        about: "Backups, unless BACKUP_DIR names another folder.",
        used_by: &["backup", "restore", "upgrade", "rollback"],
    },
    FileOf {
        place: |places| &places.spool,
        about: "Finished calls, until RapidPro has them and 30 days longer.",
        used_by: &["agi", "calls"],
    },
];

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;
    use crate::manual::{commands, page};

    #[test]
    fn every_text_is_about_a_command_that_exists() {
        let names: Vec<String> = page::pages(Cli::command())
            .into_iter()
            .map(|it| it.name)
            .collect();
        let has_page = |words: &str| {
            let page = format!("ooy {words}").trim().replace(' ', "-");
            names.contains(&page)
        };
        for about in ALL {
            assert!(has_page(about.command), "{}", about.command);
            for other in about.see_also {
                assert!(
                    has_page(&other.replace('-', " ")),
                    "{}: {other}",
                    about.command
                );
            }
        }
        let all = Cli::command();
        for file in FILES {
            for name in file.used_by {
                assert!(commands(&all).any(|it| it.get_name() == *name), "{name}");
            }
        }
    }
}
