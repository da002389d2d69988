//! Mailroom 6.4.3 to 8.0.0: its start and stop, its web server and its queues. No flow engine.

mod contacts;
mod elastic;
mod flows;
mod modifiers;
mod public;
mod routes;
mod search;
mod stats;
mod tasks;
mod validate;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::go::conf::{Program, Values, float, int, switch, text};
use crate::go::log::{self, Level};
use crate::go::storage::Storage;
use crate::go::{crash, url};
use crate::http::server::Server;
use crate::pg::Database;
use crate::redis::Redis;
use crate::signals::{go_name, unhandled_in_go};
use crate::steer::Steering;
use crate::{boot, process, version};
use elastic::Elastic;

const PROGRAM: Program = Program {
    name: "mailroom",
    description: "Mailroom - flow event handler for RapidPro",
    settings: &[
        text("sentry_dsn", ""),
        text("db", "postgres://temba:temba@localhost/temba?sslmode=disable&Timezone=UTC"),
        int("db_pool_size", "36"),
        text("redis", "redis://localhost:6379/15"),
        text("elastic", "http://localhost:9200"),
        text("version", "Dev"),
        text("log_level", "error"),
        int("batch_workers", "4"),
        int("handler_workers", "32"),
        switch("retry_pending_messages", "true"),
        int("webhooks_timeout", "15000"),
        int("webhooks_max_retries", "2"),
        int("webhooks_max_body_bytes", "1048576"),
        int("webhooks_initial_backoff", "5000"),
        float("webhooks_backoff_jitter", "0.5"),
        text("smtp_server", ""),
        text(
            "disallowed_networks",
            "127.0.0.1,::1,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,169.254.0.0/16,fe80::/10",
        ),
        int("max_steps_per_sprint", "100"),
        int("max_value_length", "640"),
        text("librato_username", ""),
        text("librato_token", ""),
        text("domain", ""),
        text("attachment_domain", ""),
        text("s3_endpoint", "https://s3.amazonaws.com"),
        text("s3_region", "us-east-1"),
        text("s3_media_bucket", "mailroom-media"),
        text("s3_media_prefix", "/media/"),
        text("s3_session_bucket", "mailroom-sessions"),
        text("s3_session_prefix", "/"),
        switch("s3_disable_ssl", "false"),
        switch("s3_force_path_style", "false"),
        text("aws_access_key_id", ""),
        text("aws_secret_access_key", ""),
        text("fcm_key", ""),
        text("mailgun_signing_key", ""),
        text("auth_token", ""),
        text("address", "localhost"),
        int("port", "8090"),
        int("uuid_seed", "0"),
    ],
};

/// Everything that a request or a task needs.
pub struct Mailroom {
    pub values: Values,
    pub database: Database,
    pub redis: Redis,
    /// None for good when Elasticsearch was away at start.
    pub elastic: Option<Elastic>,
    pub steering: Arc<Steering>,
    quit: AtomicBool,
}

impl Mailroom {
    pub fn is_stopping(&self) -> bool {
        self.quit.load(Ordering::SeqCst)
    }
}

pub fn run(arguments: &[String]) -> ! {
    let booted = boot::begin("mailroom", unhandled_in_go);
    version::set("6.4.3");
    let values = PROGRAM.load(arguments);
    check_networks(values.text("disallowed_networks"));
    let level = Level::parse(values.text("log_level"));
    // The real one prints the zero value of the level, not what was set.
    log::set_level(level.unwrap_or_else(|| log::fatal("invalid log level 'panic'")));
    booted.hold_back(|| log::with("state", "starting").error("db not reachable"));

    let mailroom = Arc::new(connect(values, booted.steering.clone()));
    if mailroom.values.text("fcm_key").is_empty() {
        log::error("fcm not configured, no syncing of android channels");
    }
    stats::start(&mailroom);
    tasks::start(&mailroom);
    let address = mailroom.values.text("address").to_owned();
    let port = mailroom.values.int("port");
    let server = listen(&mailroom, &address, port as u16);
    mailroom.steering.mark_ready();
    log::with("address", address).with("port", port).info("server started");
    log::info("mailroom started");

    booted.signals.arm();
    loop {
        let signal = booted.signals.next();
        match signal {
            process::SIGQUIT => {
                log::with("comp", "main")
                    .with("signal", "quit")
                    .info("received quit signal, dumping stack");
                log::info("\ngoroutine 1 [running]:\nmain.handleSignals()\n");
            }
            process::SIGINT | process::SIGTERM => {
                log::with("comp", "main")
                    .with("signal", go_name(signal))
                    .info("received exit signal, exiting");
                stop(&mailroom, server.as_ref());
            }
            other => unhandled_in_go(other),
        }
    }
}

/// Wrong parts of the list end the program before anything is logged.
fn check_networks(list: &str) {
    for part in list.split(',').filter(|part| !part.is_empty()) {
        let (address, bits) = part.split_once('/').unwrap_or((part, ""));
        let valid = match address.parse::<std::net::IpAddr>() {
            Ok(ip) => {
                let most = if ip.is_ipv4() { 32 } else { 128 };
                !part.contains('/') || bits.parse::<u8>().is_ok_and(|bits| bits <= most)
            }
            Err(_) => false,
        };
        if !valid {
            let kind = if part.contains('/') { "network" } else { "address" };
            log::fatal(&format!(
                "invalid config: unable to parse DisallowedNetworks: couldn't parse '{part}' as an \
                 IP {kind}"
            ));
        }
    }
}

/// Test everything, log what came of it, and go on whatever it was: only settings that
/// cannot be understood are fatal.
fn connect(values: Values, steering: Arc<Steering>) -> Mailroom {
    let log = || log::with("state", "starting");
    let refuse =
        |problem: String| -> ! { log::fatal(&format!("error starting server: {problem}")) };

    let db = values.text("db");
    match url::parse(db) {
        Ok(parsed) if parsed.scheme == "postgres" => {}
        Ok(_) => refuse(format!("invalid DB URL: '{db}', only postgres is supported")),
        Err(problem) => refuse(format!("unable to parse DB URL '{db}': parse \"{db}\": {problem}")),
    }
    let database = Database::new(db);
    match database.ping(Duration::from_secs(1)) {
        Ok(()) => log().info("db ok"),
        Err(_) => log().error("db not reachable"),
    }

    let redis_url = values.text("redis");
    let parsed = url::parse(redis_url).unwrap_or_else(|problem| {
        refuse(format!("unable to parse Redis URL '{redis_url}': parse \"{redis_url}\": {problem}"))
    });
    let redis = Redis::new(&parsed);
    match redis.command(&["PING"]) {
        Ok(_) => log().info("redis ok"),
        Err(problem) => log().with("error", problem).error("redis not reachable"),
    }

    let media = Storage::from_settings(&values, "s3_media_bucket");
    match media.test() {
        Ok(()) => log().info(&format!("{} media storage ok", media.name())),
        Err(problem) => log()
            .with("error", problem)
            .error(&format!("{} media storage not available", media.name())),
    }
    let sessions = Storage::from_settings(&values, "s3_session_bucket");
    match sessions.test() {
        Ok(()) => log().info(&format!("{} session storage ok", sessions.name())),
        Err(problem) => log()
            .with("error", problem)
            .warning(&format!("{} session storage not available", sessions.name())),
    }

    let elastic = match Elastic::connect(values.text("elastic")) {
        Ok(elastic) => {
            log().info("elastic ok");
            Some(elastic)
        }
        Err(problem) => {
            log().with("error", problem).error("unable to connect to elastic, check configuration");
            None
        }
    };
    Mailroom { values, database, redis, elastic, steering, quit: AtomicBool::new(false) }
}

fn listen(mailroom: &Arc<Mailroom>, address: &str, port: u16) -> Option<Server> {
    let answering = mailroom.clone();
    let address = if address.is_empty() { "0.0.0.0" } else { address };
    let server = Server::start(
        (address, port),
        mailroom.steering.clone(),
        Arc::new(move |request| routes::answer(&answering, request)),
    );
    server
        .map_err(|problem| {
            // The real one lives on without a web server, too.
            log::with("comp", "server")
                .with("state", "stopping")
                .with("err", format!("listen tcp {address}:{port}: bind: {problem}"))
                .error("");
        })
        .ok()
}

fn stop(mailroom: &Mailroom, server: Option<&Server>) -> ! {
    log::info("mailroom stopping");
    let foreman = |state| log::with("comp", "foreman").with("state", state);
    foreman("stopping").info("foreman stopping");
    foreman("stopping").info("foreman stopping");
    mailroom.quit.store(true, Ordering::SeqCst);
    tasks::wait_until_idle();
    foreman("stopped").info("foreman stopped");
    foreman("stopped").info("foreman stopped");
    stats::log_exits();
    if let Some(server) = server {
        server.stop();
    }
    if mailroom.elastic.is_none() {
        crash::nil_pointer(
            "github.com/olivere/elastic/v7.(*Client).Stop(0x0)\n\
             github.com/nyaruka/mailroom.(*Mailroom).Stop(0xc0000b6000, 0x0, 0x0)\n\
             main.handleSignals(0xc0000b6000)\nmain.main()",
        );
    }
    log::info("mailroom stopped");
    std::process::exit(0)
}
