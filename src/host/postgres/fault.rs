//! What to tell an operator about a database that cannot be used.

use std::net::IpAddr;

use super::admit::Network;
use super::names::{address_in, hba_word, package_of, sql_name};
use super::{PostgresOutcome, PostgresReport, PostgresServer};
use crate::fault::Fault;
use crate::host::reach::hint::{on_machine, quoted, word};
use crate::host::reach::{self, Place, host_port, seen_from};
use crate::host::url::DatabaseUrl;

impl PostgresReport {
    /// Why there is no session, in a line; without the password.
    pub fn why_not(&self) -> String {
        if self.tls_not_checked {
            return super::NO_TLS.to_owned();
        }
        if !self.attempts.is_empty() {
            return self.attempts.join(", ");
        }
        let said = self.message.clone();
        said.unwrap_or_else(|| "no answer in time".to_owned())
    }

    /// The address that the server saw and that no line of its pg_hba.conf lets in.
    pub fn rejected_address(&self) -> Option<IpAddr> {
        (self.outcome == PostgresOutcome::HbaRejected)
            .then(|| address_in(self.message.as_deref()?))?
    }

    /// The fault, if there is one; `None` for a database that the services can use.
    ///
    /// `label` says whose database it is and decides what the fault says about consequences:
    /// "RapidPro", "Casepro", "ContentRepo". `from` says where the probe ran: "this host", "a
    /// container of network ooy_default". `subnet` is the addresses that the services come from
    /// ("172.18.0.0/16"), for the line that pg_hba.conf lacks; without it the line allows the
    /// one address that the server named.
    pub fn fault(
        &self,
        label: &str,
        url: &DatabaseUrl,
        from: &str,
        subnet: Option<&str>,
    ) -> Option<Fault> {
        let at = Where { label, url };
        let mut fault = match self.outcome {
            PostgresOutcome::Usable => match &self.server {
                Some(server) => at.shortcomings(server)?,
                None => return None,
            },
            PostgresOutcome::Unreached(kind) => {
                let place = Place {
                    label,
                    program: "PostgreSQL",
                    host: url.host(),
                    port: url.port(),
                    from,
                };
                let refused = [
                    at.on_server("systemctl status postgresql"),
                    // Not by this port: the server may well be there under another one.
                    at.on_server("pg_lsclusters"),
                    at.on_server("sudo -u postgres psql -c 'SHOW listen_addresses'"),
                    at.on_server(&format!("sudo ss -ltnp 'sport = :{}'", url.port())),
                ];
                reach::explain(kind, &place, &self.attempts, &refused)
            }
            PostgresOutcome::HbaRejected => self.hba(&at, subnet),
            _ => self.other(&at),
        };
        if fault.why.is_empty() {
            fault = fault.why(consequences(label));
        }
        // First in the list: which database all the rest is about.
        fault
            .evidence
            .insert(0, format!("{} {}", url.redacted(), seen_from(from)));
        if let Some(message) = &self.message {
            let code = self
                .sqlstate
                .as_ref()
                .map_or_else(String::new, |c| format!("SQLSTATE {c}: "));
            fault.evidence.insert(1, format!("{code}{message}"));
        }
        Some(fault)
    }

    fn hba(&self, at: &Where<'_>, subnet: Option<&str>) -> Fault {
        let (user, database) = (at.url.user(), at.url.database());
        let message = self.message.as_deref().unwrap_or_default();
        let rejected = message.contains("rejects");
        let client = address_in(message);
        // A server on another machine sees this host's address, not the containers'.
        let subnet = subnet.filter(|subnet| match (client, Network::parse(subnet)) {
            (Some(client), Some(network)) => network.holds(client),
            _ => true,
        });
        let allowed = match (subnet, client) {
            (Some(subnet), _) => subnet.to_owned(),
            (None, Some(ip)) => Network::only(ip).to_string(),
            (None, None) => "ADDRESS/32".to_owned(),
        };
        // md5 also takes passwords stored as scram-sha-256 (PostgreSQL 10 and later), and is
        // what the old client libraries in the images can do.
        let line = format!(
            "host  {}  {}  {allowed}  md5",
            hba_word(database),
            hba_word(user)
        );
        let mut fault = at.fault(
            format!("pg_hba.conf does not let {user} in"),
            format!(
                "the server's pg_hba.conf {} role {user} into database {database} from {}",
                if rejected {
                    "has a line that does not let"
                } else {
                    "has no line that lets"
                },
                client.map_or_else(|| "there".to_owned(), |ip| ip.to_string()),
            ),
        );
        if self.tls_offered == Some(true) {
            fault = fault.evidence(
                "the server offers TLS; a `hostssl` line lets in only those who use it, and \
                 without sslmode=require in the URL the Go services do not",
            );
        }
        if rejected {
            return fault
                .evidence("a `reject` line matches first: the new line has to stand above it")
                .evidence(format!("line to add: {line}"))
                .next(at.psql(
                    "SELECT line_number, type, database, user_name, address, auth_method \
                     FROM pg_hba_file_rules",
                ))
                .next(at.on_server(&format!("sudoedit {}", at.hba_file())))
                .next(at.on_server("sudo systemctl reload postgresql"));
        }
        fault
            .next(at.on_server(&format!(
                "echo {} | sudo tee -a {}",
                quoted(&line),
                at.hba_file()
            )))
            .next(at.on_server("sudo systemctl reload postgresql"))
    }

    fn other(&self, at: &Where<'_>) -> Fault {
        let (user, database) = (at.url.user(), at.url.database());
        let place = host_port(at.url.host(), at.url.port());
        match self.outcome {
            PostgresOutcome::Silent => at
                .fault(
                    format!("{place} accepts the connection and says nothing"),
                    format!("no answer from PostgreSQL within {} ms", self.took_ms),
                )
                .next(at.on_server("systemctl status postgresql"))
                .next(at.on_server("sudo journalctl -u 'postgresql*' -n 50"))
                .next(at.on_server(&format!("sudo ss -ltnp 'sport = :{}'", at.url.port()))),
            PostgresOutcome::NotPostgres => at
                .fault(
                    format!("{place} is not PostgreSQL"),
                    "what answers there does not speak PostgreSQL's protocol: \
                     the port belongs to something else",
                )
                .next(at.on_server(&format!("sudo ss -ltnp 'sport = :{}'", at.url.port()))),
            PostgresOutcome::WrongPassword => at
                .fault(
                    format!("PostgreSQL does not accept the password of {user}"),
                    format!(
                        "the password in the settings is not that of role {user}, or there is no \
                         such role: the server says which in its own log only"
                    ),
                )
                .next(at.psql("\\du"))
                .next(at.psql(&format!("\\password {}", sql_name(user)))),
            PostgresOutcome::PasswordMissing => at
                .fault(
                    format!("PostgreSQL wants a password for {user}"),
                    "the URL in the settings has no password, and the server asks for one",
                )
                .evidence("written as postgres://user:password@host:port/database")
                .next("ooy config --check"),
            PostgresOutcome::MethodUnusable => at
                .fault(
                    format!("PostgreSQL wants {user} to log in another way"),
                    "pg_hba.conf asks for a method that the services do not have (peer, ident, \
                     gss, cert): they log in with a password",
                )
                .next(at.psql(
                    "SELECT line_number, type, database, user_name, address, auth_method \
                     FROM pg_hba_file_rules",
                ))
                .next(at.on_server("sudo systemctl reload postgresql")),
            PostgresOutcome::RoleMissing => at
                .fault(
                    format!("PostgreSQL has no role {user}"),
                    format!("the server knows no role {user}"),
                )
                .next(at.as_postgres("createuser", &format!("--pwprompt {}", word(user)))),
            PostgresOutcome::RoleMayNotLogIn => at
                .fault(
                    format!("role {user} may not log in"),
                    format!("role {user} exists, without the right to log in"),
                )
                .next(at.psql(&format!("ALTER ROLE {} LOGIN", sql_name(user)))),
            PostgresOutcome::MayNotConnect => at
                .fault(
                    format!("{user} may not connect to database {database}"),
                    format!("role {user} lacks the privilege CONNECT on database {database}"),
                )
                .next(at.psql(&format!(
                    "GRANT CONNECT ON DATABASE {} TO {}",
                    sql_name(database),
                    sql_name(user)
                ))),
            PostgresOutcome::DatabaseMissing => at
                .fault(
                    format!("database {database} does not exist"),
                    format!("the server is there and lets {user} in, but has no database {database}"),
                )
                .next(at.as_postgres("psql", "-l"))
                .next(at.as_postgres("createdb", &format!("-O {} {}", word(user), word(database)))),
            PostgresOutcome::StartingUp => at
                .fault(
                    "PostgreSQL is starting up",
                    "the server accepts nobody yet: it is starting, or recovering after a crash",
                )
                .next(at.on_server("sudo journalctl -u 'postgresql*' -n 50"))
                .next(format!("pg_isready -h {} -p {}", at.url.host(), at.url.port())),
            PostgresOutcome::ShuttingDown => at
                .fault(
                    "PostgreSQL is shutting down",
                    "the server lets nobody in any more: somebody or something is stopping it",
                )
                .next(at.on_server("systemctl status postgresql"))
                .next(at.on_server("sudo systemctl start postgresql")),
            PostgresOutcome::TooManyConnections => at
                .fault(
                    "PostgreSQL has no connection left",
                    format!("all connections that role {user} may have are in use"),
                )
                .next(at.psql(
                    "SELECT usename, client_addr, state, count(*) FROM pg_stat_activity \
                     GROUP BY 1, 2, 3 ORDER BY 4 DESC",
                ))
                .next(at.psql("SHOW max_connections")),
            PostgresOutcome::TlsRequired => at
                .fault(
                    "PostgreSQL takes connections with TLS only",
                    "the server refuses this connection because it is not encrypted",
                )
                .evidence("add ?sslmode=require to the URL in the settings")
                .next("ooy config --check"),
            PostgresOutcome::TlsNotOffered => at
                .fault(
                    "PostgreSQL has no TLS",
                    format!(
                        "the URL asks for TLS (sslmode={}), and the server answers that it has none",
                        at.url.parameter("sslmode").unwrap_or_default()
                    ),
                )
                .evidence("put sslmode=disable in the URL, or switch TLS on in the server")
                .next(at.psql("SHOW ssl")),
            _ => at
                .fault(
                    "PostgreSQL does not let the services in",
                    "the server, or what stands before it, ended the connection",
                )
                .next(at.on_server("sudo journalctl -u 'postgresql*' -n 50")),
        }
    }
}

/// Which database it is about.
struct Where<'a> {
    label: &'a str,
    url: &'a DatabaseUrl,
}

impl Where<'_> {
    fn fault(&self, headline: impl AsRef<str>, what: impl Into<String>) -> Fault {
        Fault::problem(format!("{}: {}", self.label, headline.as_ref()), what)
    }

    /// A command for the machine of the server, with a remark where that is another one.
    fn on_server(&self, command: &str) -> String {
        on_machine(self.url.host(), command)
    }

    /// One of PostgreSQL's programs, run as its superuser on its machine.
    fn as_postgres(&self, program: &str, arguments: &str) -> String {
        self.on_server(&format!("{}{arguments}", self.program(program)))
    }

    fn psql(&self, sql: &str) -> String {
        self.as_postgres("psql", &format!("-c {}", quoted(sql)))
    }

    /// The beginning of such a command; the port only where it is not the usual one.
    fn program(&self, name: &str) -> String {
        match self.url.port() {
            5432 => format!("sudo -u postgres {name} "),
            port => format!("sudo -u postgres {name} -p {port} "),
        }
    }

    /// `"$(sudo -u postgres psql -tAc 'SHOW hba_file')"`
    fn hba_file(&self) -> String {
        format!("\"$({}-tAc 'SHOW hba_file')\"", self.program("psql"))
    }

    /// What is wrong with a database that lets the role in.
    fn shortcomings(&self, server: &PostgresServer) -> Option<Fault> {
        let database = self.url.database();
        if server.read_only {
            return Some(
                self.fault(
                    format!("database {database} is read-only"),
                    "the server is a standby, or switched to read-only: every write fails",
                )
                .next(self.psql("SELECT pg_is_in_recovery()"))
                .next(self.psql("SHOW default_transaction_read_only")),
            );
        }
        let missing: Vec<_> = server
            .missing
            .iter()
            .filter(|e| !(e.available && e.may_create))
            .collect();
        let names: Vec<&str> = missing.iter().map(|e| e.name.as_str()).collect();
        if names.is_empty() {
            return None;
        }
        let mut fault = self
            .fault(
                format!("database {database} lacks {}", names.join(", ")),
                format!(
                    "role {} cannot create the extension by itself, so the migrations that need \
                     it will fail",
                    self.url.user()
                ),
            )
            .evidence(format!("PostgreSQL {}", server.version))
            .why(format!(
                "{} can be neither set up nor upgraded: its migrations stop there",
                self.label
            ));
        for extension in &missing {
            if !extension.available {
                fault = fault
                    .evidence(format!(
                        "the server's files of {} are not installed",
                        extension.name
                    ))
                    .next(self.on_server(&package_of(&extension.name, server.version_number)));
            }
        }
        for name in names {
            let create = format!("CREATE EXTENSION {}", sql_name(name));
            fault = fault.next(self.as_postgres(
                "psql",
                &format!("-d {} -c {}", word(database), quoted(&create)),
            ));
        }
        Some(fault)
    }
}

fn consequences(label: &str) -> &'static str {
    let label = label.to_lowercase();
    if label.contains("casepro") {
        "casepro and casepro-celery do not work: operators see no cases and no new messages"
    } else if label.contains("content") {
        "contentrepo does not work: its pages and its API fail"
    } else if ["rapidpro", "mailroom", "courier", "indexer"]
        .iter()
        .any(|s| label.contains(s))
    {
        "rapidpro, rapidpro-celery, rapidpro-beat, mailroom, courier and indexer do not work: \
         no message is received, answered or sent"
    } else {
        "every service that uses this database fails"
    }
}
