//! Why Redis is not made to let the containers in, and what a person does then.

use std::io;
use std::path::Path;

use super::survey::{Place, Starter};
use crate::fault::Fault;
use crate::host::ports::Listener;
use crate::host::process;
use crate::host::reach::host_port;
use crate::host::redis::config::Config;
use crate::host::redis::resp::RedisError;
use crate::remedy::Job;
use crate::remedy::access::Access;

const ACCESS: Access = Access {
    name: "redis-access",
    program: "Redis",
};

/// The server is not on this host.
pub fn elsewhere(job: &Job, place: &Place) -> Box<Fault> {
    ACCESS.elsewhere(job, place.host(), place.port())
}

/// Only another user may.
pub fn no_permission(job: &Job, listener: &Listener) -> Box<Fault> {
    let owner = process::name_of(listener.uid).unwrap_or_else(|| listener.uid.to_string());
    ACCESS.untouched(
        job,
        ACCESS
            .fault(
                "no permission",
                format!("redis.conf belongs to {owner}: only root, or that user, may change it"),
            )
            .evidence(format!("ooy runs as {}", process::user_name()))
            .next(format!("sudo {}", job.again)),
    )
}

/// Only root starts daemons.
pub fn no_permission_to_start(job: &Job, starter: &Starter) -> Box<Fault> {
    ACCESS.untouched(
        job,
        ACCESS
            .fault("no permission", "only root may start Redis")
            .evidence(format!("ooy runs as {}", process::user_name()))
            .next(format!("sudo {}", job.again))
            .next(starter.command("start")),
    )
}

/// The port belongs to something else.
pub fn other_program(job: &Job, place: &Place, program: &str) -> Box<Fault> {
    let what = if program == "docker-proxy" {
        "Redis runs in a container of its own: whoever made the container decides where it listens"
    } else {
        "what listens there is not a Redis of this host"
    };
    let fault = ACCESS
        .fault("Redis is not this host's own", what)
        .evidence(format!("{program} listens on port {}", place.port()));
    ACCESS.untouched(job, ACCESS.by_hand(job, fault))
}

/// It takes neither the settings' password nor none.
pub fn no_login(job: &Job, place: &Place, why: &RedisError) -> Box<Fault> {
    let fault = ACCESS
        .fault(
            "Redis does not let ooy in",
            "Redis can be asked what it is set to only by whoever may log in and use CONFIG",
        )
        .evidence(format!("{}: {why}", host_port(place.host(), place.port())))
        .next("sudo grep -nE '^(bind|requirepass|rename-command)' /etc/redis/redis.conf");
    ACCESS.untouched(job, ACCESS.by_hand(job, fault))
}

/// Neither side has a password.
pub fn no_password(job: &Job, place: &Place, config: &Config) -> Box<Fault> {
    let file = config
        .file
        .as_ref()
        .map_or("/etc/redis/redis.conf".to_owned(), |file| {
            file.display().to_string()
        });
    let settings = &job.context.settings.places.env_file;
    ACCESS.untouched(
        job,
        ACCESS.fault(
            "Redis has no password",
            "opened to the containers without a password it would be open to whoever else reaches \
             the host; both sides need the same password first",
        )
        .evidence(format!(
            "requirepass is not set (Redis {}, {})",
            config.version,
            host_port(place.host(), place.port())
        ))
        .evidence("the addresses in the settings have not one password for all either")
        .next("openssl rand -hex 24   # a password")
        .next(format!(
            "nano {}   # redis://:PASSWORD@{}/N, in the three _REDIS_URL",
            settings.display(),
            host_port(place.host(), place.port())
        ))
        // Puts it into Redis too, which then lets the containers in.
        .next(format!(
            "{}   # gives it to Redis ({file}) as well",
            job.again
        ))
        .next(job.command("start")),
    )
}

/// `bind` needs a start, and how it is started is not known.
pub fn cannot_restart(job: &Job, config: &Config) -> Box<Fault> {
    let fault = ACCESS
        .fault(
            "Redis has to be restarted by hand",
            format!(
                "Redis {} reads `bind` at its start only, and how it is started is not known here",
                config.version
            ),
        )
        .evidence(match &config.file {
            Some(file) => format!("started with {}", file.display()),
            None => "started without a file".to_owned(),
        });
    ACCESS.untouched(job, ACCESS.by_hand(job, fault))
}

/// It is down, and which Redis it was is not known.
pub fn unknown_start(job: &Job, place: &Place, why: &str) -> Box<Fault> {
    let fault = ACCESS.fault(
        "Redis does not run",
        format!(
            "nothing listens on port {}, and how the Redis of that port is started is not known \
             here",
            place.port()
        ),
    )
    .evidence(why);
    ACCESS.untouched(job, ACCESS.by_hand(job, fault))
}

/// It was told to start and did not.
pub fn does_not_start(job: &Job, starter: &Starter, why: &str) -> Box<Fault> {
    let mut fault = ACCESS.fault(
        "Redis does not start",
        "it was told to start, and ended; its log says why",
    );
    for line in why.lines().take(5) {
        fault = fault.evidence(line);
    }
    Box::new(
        fault
            .why(ACCESS.impact(job))
            .next("sudo tail -n 50 /var/log/redis/redis-server.log")
            .next(starter.command("start")),
    )
}

/// The file, or the copy beside it, cannot be written.
pub fn unwritable(job: &Job, file: &Path, error: &io::Error) -> Box<Fault> {
    ACCESS.unwritable(job, "redis.conf cannot be written", file, error)
}

/// Redis refuses the new settings; the file is what it was.
pub fn refused(job: &Job, why: &str) -> Box<Fault> {
    let fault = ACCESS
        .fault(
            "Redis does not take the new settings",
            "it refuses them; its file is again what it was",
        )
        .evidence(why);
    Box::new(ACCESS.by_hand(job, fault.why(ACCESS.impact(job))))
}

/// The copy could not be put back.
pub fn not_put_back(job: &Job, file: &Path, copy: &Path, error: &io::Error) -> Box<Fault> {
    Box::new(
        ACCESS
            .fault(
                "redis.conf is not what it was",
                "Redis refuses the new settings, and the copy of its file could not be put back",
            )
            .evidence(format!("{}: {error}", file.display()))
            .why("Redis goes on as it is, and may not start with this file")
            .next(format!("sudo cp -p {} {}", copy.display(), file.display()))
            .next(job.again.clone()),
    )
}
