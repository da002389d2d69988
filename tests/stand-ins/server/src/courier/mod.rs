//! Courier 6.4.0 to 8.0.2: its start and stop, its pages, and what it receives for External
//! channels. It sends nothing.

mod channels;
mod handlers;
mod messages;
mod receive;
mod spool;
mod web;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::boot::{self, Booted};
use crate::go::conf::{Program, Values, int, switch, text};
use crate::go::log::{self, Level};
use crate::go::storage::Storage;
use crate::go::url;
use crate::http::server::Server;
use crate::pg::Database;
use crate::process;
use crate::redis::Redis;
use crate::signals::{go_name, unhandled_in_go};
use crate::steer::Steering;
use crate::version;
use channels::Channels;

const PROGRAM: Program = Program {
    name: "courier",
    description: "Courier - A fast message broker for SMS and IP messages",
    settings: &[
        text("backend", "rapidpro"),
        text("sentry_dsn", ""),
        text("domain", "localhost"),
        text("address", ""),
        int("port", "8080"),
        text("db", "postgres://temba:temba@localhost/temba?sslmode=disable"),
        text("redis", "redis://localhost:6379/15"),
        text("spool_dir", "/var/spool/courier"),
        text("s3_endpoint", "https://s3.amazonaws.com"),
        text("s3_region", "us-east-1"),
        text("s3_media_bucket", "courier-media"),
        text("s3_media_prefix", "/media/"),
        switch("s3_disable_ssl", "false"),
        switch("s3_force_path_style", "false"),
        text("aws_access_key_id", ""),
        text("aws_secret_access_key", ""),
        text("facebook_application_secret", "missing_facebook_app_secret"),
        text("facebook_webhook_secret", "missing_facebook_webhook_secret"),
        int("max_workers", "32"),
        text("librato_username", ""),
        text("librato_token", ""),
        text("status_username", ""),
        text("status_password", ""),
        text("log_level", "error"),
        text("version", "Dev"),
    ],
};

pub struct Courier {
    pub values: Values,
    pub database: Database,
    pub redis: Redis,
    pub channels: Channels,
    pub spool_dir: PathBuf,
    pub steering: Arc<Steering>,
    stopping: AtomicBool,
}

impl Courier {
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Sleep, but not past the end of the service.
    pub fn sleep(&self, duration: Duration) {
        let until = Instant::now() + duration;
        while Instant::now() < until && !self.is_stopping() {
            let left = until.saturating_duration_since(Instant::now());
            std::thread::sleep(left.min(Duration::from_millis(500)));
        }
    }
}

pub fn run(arguments: &[String]) -> ! {
    let booted = boot::begin("courier", unhandled_in_go);
    version::set("6.4.0");
    let values = PROGRAM.load(arguments);
    let level = Level::parse(values.text("log_level"));
    // The real one prints the zero value of the level, not what was set.
    log::set_level(level.unwrap_or_else(|| log::fatal("Invalid log level 'panic'")));
    if values.text("backend") != "rapidpro" {
        let name = values.text("backend");
        log::fatal(&format!("Error creating backend: no such backend type: '{name}'"));
    }
    booted.hold_back(|| {
        log::with("comp", "backend").with("state", "starting").error("db not reachable");
    });

    let courier = Arc::new(start_backend(values, booted.steering.clone()));
    spool::start_flushers(&courier);
    for handler in handlers::HANDLERS {
        log::with("comp", "server")
            .with("handler", handler.name)
            .with("handler_type", handler.kind)
            .info("handler initialized");
    }
    let port = courier.values.int("port");
    let server = listen(&courier, port as u16);
    start_heartbeat(&courier);
    courier.steering.mark_ready();
    log::with("comp", "server")
        .with("port", port)
        .with("state", "started")
        .with("version", version::text())
        .info(&format!("server listening on {port}"));
    start_senders(&courier);
    wait_and_stop(&booted, &courier, server.as_ref())
}

/// Test everything, log what came of it, and go on whatever it was: only settings that
/// cannot be understood are fatal.
fn start_backend(values: Values, steering: Arc<Steering>) -> Courier {
    let log = || log::with("comp", "backend").with("state", "starting");
    let refuse =
        |problem: String| -> ! { log::fatal(&format!("Error starting server: {problem}")) };
    log().info("starting backend");

    let db = values.text("db");
    match url::parse(db) {
        Ok(parsed) if parsed.scheme == "postgres" => {}
        Ok(_) => refuse(format!("invalid DB URL: '{db}', only postgres is supported")),
        Err(problem) => refuse(format!("unable to parse DB URL '{db}': parse \"{db}\": {problem}")),
    }
    let database = Database::new(db);
    match database.ping(Duration::from_secs(1)) {
        Ok(()) => log().info("db ok"),
        Err(problem) => log().with("error", problem).error("db not reachable"),
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

    let storage = Storage::from_settings(&values, "s3_media_bucket");
    match storage.test() {
        Ok(()) => log().info(&format!("{} storage ok", storage.name())),
        Err(problem) => {
            log().with("error", problem).error(&format!("{} storage not available", storage.name()))
        }
    }

    let spool_dir = PathBuf::from(values.text("spool_dir"));
    match spool::ensure_folders(&spool_dir) {
        Ok(()) => log().info("spool directories ok"),
        Err(problem) => log().with("error", problem).error("spool directories not writable"),
    }
    log::with("comp", "backend").with("state", "started").info("backend started");
    Courier {
        values,
        database,
        redis,
        channels: Channels::default(),
        spool_dir,
        steering,
        stopping: AtomicBool::new(false),
    }
}

fn listen(courier: &Arc<Courier>, port: u16) -> Option<Server> {
    let answering = courier.clone();
    let address = match courier.values.text("address") {
        "" => "0.0.0.0",
        address => address,
    };
    let server = Server::start(
        (address, port),
        courier.steering.clone(),
        Arc::new(move |request| web::answer(&answering, request)),
    );
    server
        .map_err(|problem| {
            log::with("comp", "server")
                .with("state", "stopping")
                .with("err", format!("listen tcp {address}:{port}: bind: {problem}"))
                .error("");
        })
        .ok()
}

fn start_heartbeat(courier: &Arc<Courier>) {
    let courier = courier.clone();
    boot::spawn("heartbeat", move || {
        loop {
            courier.sleep(Duration::from_secs(60));
            if courier.is_stopping() {
                return;
            }
            match web::queue_sizes(&courier) {
                Ok((bulk, priority)) => log::with("bulk_queue", bulk)
                    .with("priority_queue", priority)
                    .info("heartbeat queue sizes calculated"),
                Err(problem) => {
                    log::with("error", problem).error("error running backend heartbeat");
                }
            }
        }
    });
}

/// The senders of the real one look for work four times a second and unthrottle queues each
/// second. Nothing is taken here, but a Redis that is away is noticed and logged the same.
fn start_senders(courier: &Arc<Courier>) {
    let senders = courier.values.int("max_workers").max(0);
    log::with("comp", "foreman")
        .with("state", "started")
        .with("senders", senders)
        .info("senders started and waiting");
    if senders == 0 {
        return;
    }
    let courier = courier.clone();
    boot::spawn("senders", move || {
        while !courier.is_stopping() {
            if let Err(problem) = courier.redis.command(&["PING"]) {
                log::with("error", &problem).error("error dethrottling");
                log::with("comp", "foreman")
                    .with("error", problem)
                    .error("error popping outgoing msg");
            }
            courier.sleep(Duration::from_secs(1));
        }
    });
}

fn wait_and_stop(booted: &Booted, courier: &Courier, server: Option<&Server>) -> ! {
    booted.signals.arm();
    let signal = booted.signals.next();
    if !matches!(signal, process::SIGINT | process::SIGTERM) {
        unhandled_in_go(signal);
    }
    log::with("comp", "main").with("signal", go_name(signal)).info("stopping");
    log::with("comp", "server").with("state", "stopping").info("stopping server");
    let foreman = |state| log::with("comp", "foreman").with("state", state);
    foreman("stopping").info("foreman stopping");
    foreman("stopped").info("foreman stopped");
    if let Some(server) = server {
        server.stop();
    }
    courier.stopping.store(true, Ordering::SeqCst);
    spool::wait_until_idle();
    log::with("comp", "spool").with("state", "stopped").info("spool stopped");
    for label in ["status committer", "log committer"] {
        log::with("label", label).info("committer flushed and exiting");
    }
    log::with("comp", "server").with("state", "stopped").info("server stopped");
    std::process::exit(0)
}
