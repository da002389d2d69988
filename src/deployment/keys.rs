//! Every setting there is: its name, default and kind of value. What each one means is
//! written for people in `embedded/ooy.env`; a test holds the two together.

use std::path::Path;

/// What a value has to look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A host name without scheme, port or path.
    Domain,
    /// 1 to 65535.
    Port,
    /// A whole number in these bounds.
    Number(u64, u64),
    /// An image reference with a tag or digest; `latest` is refused.
    Image,
    /// postgres:// address.
    Database,
    /// redis:// address with a database number.
    Redis,
    /// http:// or https:// address.
    Web,
    /// A secret key: nothing that Python could take for something else than a text (RapidPro
    /// evaluates its values as literals).
    Token,
    /// Number with k, m or g.
    Size,
    /// Number with s or m.
    Interval,
    /// The same, and 0s for none at all.
    Pause,
    /// `on` or `off`.
    Switch,
    /// One of these.
    OneOf(&'static [&'static str]),
    /// A file of this host, absolute, or empty.
    File,
    /// A time zone by its name, `Africa/Nairobi`: Asterisk takes an unknown one for UTC without
    /// a word.
    Zone,
    /// Lower-case letters, digits, - and _: a compose project.
    Project,
    /// A flow's id in RapidPro, or empty.
    Uuid,
    /// Where FastAGI listens: address:port, unix:/path or off.
    Listen,
    /// Hours and minutes, `03:15`, or empty.
    TimeOfDay,
    /// Where releases of ooy are: github:OWNER/NAME, an address or a folder.
    Releases,
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name in the file.
    pub name: &'static str,
    /// The value when the file does not set it; `None`: it has to be set.
    pub default: Option<&'static str>,
    /// What a value has to look like.
    pub kind: Kind,
    /// Never shown.
    pub secret: bool,
}

/// Where the system keeps its time zones, one file each.
const ZONES: &str = "/usr/share/zoneinfo";

/// What stands in the template where only a person knows the value.
pub const PLACEHOLDER: &str = "CHANGE_ME";

const fn key(name: &'static str, default: &'static str, kind: Kind) -> Key {
    Key {
        name,
        default: Some(default),
        kind,
        secret: false,
    }
}

const fn required(name: &'static str, kind: Kind) -> Key {
    Key {
        name,
        default: None,
        kind,
        secret: false,
    }
}

const fn secret(name: &'static str) -> Key {
    Key {
        name,
        default: Some(""),
        kind: Kind::Text,
        secret: true,
    }
}

/// An address that is a secret: a token stands in it.
const fn secret_address(name: &'static str) -> Key {
    Key {
        secret: true,
        ..key(name, "", Kind::Web)
    }
}

/// A secret that `ooy init` makes.
const fn token(name: &'static str) -> Key {
    Key {
        name,
        default: None,
        kind: Kind::Token,
        secret: true,
    }
}

/// All settings. Defaults are the values of the users' wiki where those are public, and the
/// images those of its compose file (stack.md section 0), nginx pinned instead of `latest`.
pub const KEYS: &[Key] = &[
    Key {
        secret: true,
        ..required("RAPIDPRO_DATABASE_URL", Kind::Database)
    },
    Key {
        secret: true,
        ..required("CASEPRO_DATABASE_URL", Kind::Database)
    },
    Key {
        secret: true,
        ..required("CONTENTREPO_DATABASE_URL", Kind::Database)
    },
    Key {
        secret: true,
        ..required("RAPIDPRO_REDIS_URL", Kind::Redis)
    },
    Key {
        secret: true,
        ..required("CASEPRO_REDIS_URL", Kind::Redis)
    },
    Key {
        secret: true,
        ..required("CONTENTREPO_REDIS_URL", Kind::Redis)
    },
    required("EMAIL_HOST", Kind::Domain),
    token("RAPIDPRO_SECRET_KEY"),
    token("CASEPRO_SECRET_KEY"),
    token("CONTENTREPO_SECRET_KEY"),
    token("MAILROOM_AUTH_TOKEN"),
    key(
        "RAPIDPRO_DOMAIN",
        "one2one.rapidpro.lvcthealth.org",
        Kind::Domain,
    ),
    key("CASEPRO_DOMAIN", "casepro.lvcthealth.org", Kind::Domain),
    key(
        "CONTENTREPO_DOMAIN",
        "one2one.content.lvcthealth.org",
        Kind::Domain,
    ),
    key("PROJECT_NAME", "ooy", Kind::Project),
    key("HTTP_PORT", "80", Kind::Port),
    key("HTTPS_PORT", "443", Kind::Port),
    key("EMAIL_PORT", "587", Kind::Port),
    key("EMAIL_HOST_USER", "", Kind::Text),
    secret("EMAIL_HOST_PASSWORD"),
    key("EMAIL_USE_TLS", "on", Kind::Switch),
    key(
        "DEFAULT_FROM_EMAIL",
        "youthhotline@lvcthealth.org",
        Kind::Text,
    ),
    key("S3_BUCKET", "", Kind::Text),
    key("S3_REGION", "us-east-2", Kind::Text),
    key("S3_MEDIA_PREFIX", "attachments", Kind::Text),
    secret("AWS_ACCESS_KEY_ID"),
    secret("AWS_SECRET_ACCESS_KEY"),
    key("STORAGE_URL", "", Kind::Web),
    key("BIGQUERY_KEY_FILE", "", Kind::File),
    secret("BIGQUERY_RAPIDPRO_TOKEN"),
    secret("RAPIDPRO_SENTRY_DSN"),
    secret("CASEPRO_SENTRY_DSN"),
    secret("COURIER_SENTRY_DSN"),
    secret("MAILROOM_SENTRY_DSN"),
    secret("INDEXER_SENTRY_DSN"),
    key("API_THROTTLE", "2500000/hour", Kind::Text),
    key("REQUEST_TIMEOUT", "300", Kind::Number(5, 3600)),
    key("UPLOAD_MAX_SIZE", "32m", Kind::Size),
    key("UWSGI_WORKERS", "8", Kind::Number(1, 64)),
    key("NON_ISO6391_LANGUAGES", "swh", Kind::Text),
    key(
        "LOG_LEVEL",
        "info",
        Kind::OneOf(&["debug", "info", "warn", "error"]),
    ),
    key("CASEPRO_RAPIDPRO_URL", "http://rapidpro:8000/", Kind::Web),
    key("CASEPRO_SYNC_INTERVAL", "20", Kind::Number(5, 3600)),
    key(
        "CASEPRO_RESPONSE_REQUIRED_TIME",
        "60",
        Kind::Number(1, 100_000),
    ),
    key(
        "CASEPRO_CONTACT_DISPLAY",
        "name",
        Kind::OneOf(&["name", "uuid", "urns"]),
    ),
    key("CASEPRO_CELERY_CONCURRENCY", "2", Kind::Number(1, 32)),
    key("CASEPRO_TASK_TIME_LIMIT", "600", Kind::Number(30, 7200)),
    key("CONTENTREPO_PAGE_SIZE", "20", Kind::Number(1, 1000)),
    key("ELASTICSEARCH_HEAP", "512m", Kind::Size),
    key("LOG_MAX_SIZE", "10m", Kind::Size),
    key("LOG_MAX_FILES", "5", Kind::Number(2, 100)),
    key("DISK_RESERVE_MB", "1024", Kind::Number(0, 1_000_000)),
    key("HEALTH_INTERVAL", "15s", Kind::Interval),
    key("CELERY_HEALTH_INTERVAL", "60s", Kind::Interval),
    key("TIME_ZONE", "Africa/Nairobi", Kind::Zone),
    key("RAPIDPRO_URL", "", Kind::Web),
    secret("RAPIDPRO_TOKEN"),
    key("RAPIDPRO_FLOW", "", Kind::Uuid),
    key("COUNTRY_CODE", "254", Kind::Number(1, 999)),
    key("CALLS_CA_FILE", "", Kind::File),
    key("CALLS_TIMEOUT", "10s", Kind::Interval),
    key("CALLS_SETTLE", "10s", Kind::Pause),
    key("CALLS_RETRY_MAX", "5m", Kind::Interval),
    key("CALLS_KEEP", "30", Kind::Number(0, 3650)),
    key("CALLS_LISTEN", "127.0.0.1:4573", Kind::Listen),
    secret("OOY_SENTRY_DSN"),
    key("DIAGNOSE_TIMEOUT", "5s", Kind::Interval),
    key("DISK_LOW_PERCENT", "85", Kind::Number(1, 100)),
    key("DISK_FULL_PERCENT", "97", Kind::Number(1, 100)),
    key("DISK_FORECAST_DAYS", "7", Kind::Number(0, 365)),
    key("LOG_OVERSIZED_MB", "200", Kind::Number(1, 1_000_000)),
    key("RECLAIMABLE_MB", "2048", Kind::Number(1, 1_000_000)),
    key("MEMORY_LOW_PERCENT", "8", Kind::Number(1, 99)),
    key("CLOCK_SKEW", "5s", Kind::Interval),
    key("RESTART_LOOP", "3", Kind::Number(1, 1000)),
    key("OPERATION_STALL", "30m", Kind::Interval),
    key("POSTGRES_CONNECTIONS_PERCENT", "80", Kind::Number(1, 100)),
    key("REDIS_MEMORY_PERCENT", "80", Kind::Number(1, 100)),
    key("SEARCH_LAG", "5m", Kind::Interval),
    key("QUEUE_AGE", "5m", Kind::Interval),
    key("BEAT_AGE", "5m", Kind::Interval),
    key("OUTBOX_AGE", "10m", Kind::Interval),
    key("CASEPRO_SYNC_LAG", "5m", Kind::Interval),
    key("CASEPRO_CONTACTS_LAG", "15m", Kind::Interval),
    key("CERTIFICATE_DAYS", "21", Kind::Number(1, 365)),
    key("BIGQUERY_HOURS", "26", Kind::Number(1, 1000)),
    key("CALLS_BACKLOG_AGE", "15m", Kind::Interval),
    key("BACKUP_DIR", "", Kind::File),
    key("BACKUP_AT", "", Kind::TimeOfDay),
    key("BACKUP_KEEP", "7", Kind::Number(1, 1000)),
    key("BACKUP_KEEP_DAYS", "30", Kind::Number(1, 3650)),
    key("BACKUP_HOURS", "48", Kind::Number(0, 10_000)),
    key("BACKUP_HOOK", "", Kind::File),
    key("UPGRADE_WATCH", "15s", Kind::Pause),
    key("WATCH_REPAIRS_PER_HOUR", "3", Kind::Number(0, 60)),
    secret_address("WATCH_WEBHOOK"),
    key("RELEASES", super::releases::DEFAULT, Kind::Releases),
    key(
        "RAPIDPRO_IMAGE",
        "praekeltfoundation/rapidpro:v6.4.8",
        Kind::Image,
    ),
    key(
        "COURIER_IMAGE",
        "praekeltfoundation/courier:6.4.0",
        Kind::Image,
    ),
    key(
        "MAILROOM_IMAGE",
        "praekeltfoundation/mailroom:6.4.3",
        Kind::Image,
    ),
    key(
        "INDEXER_IMAGE",
        "praekeltfoundation/rp-indexer:6.4.0",
        Kind::Image,
    ),
    key("ELASTICSEARCH_IMAGE", "elasticsearch:7.10.1", Kind::Image),
    key(
        "CASEPRO_IMAGE",
        "praekeltfoundation/casepro-docker:v1.3.13",
        Kind::Image,
    ),
    key(
        "CONTENTREPO_IMAGE",
        "praekeltfoundation/contentrepo:v0.0.41",
        Kind::Image,
    ),
    key(
        "BIGQUERY_SYNC_IMAGE",
        "ghcr.io/praekeltfoundation/ooy-bigquery-sync:sha-e8b016e",
        Kind::Image,
    ),
    key("NGINX_IMAGE", "nginx:1.28.0", Kind::Image),
];

/// The setting of that name.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

impl Kind {
    /// What is wrong with a value, in a few words that never repeat it; `None`: nothing.
    pub fn check(self, value: &str) -> Option<String> {
        use crate::host::disk::parse_size;
        use crate::host::url::{DatabaseUrl, RedisUrl};
        let no = |wrong: bool, message: &str| wrong.then(|| message.to_owned());
        match self {
            Kind::Text => None,
            Kind::Domain => no(
                value.is_empty()
                    || value.len() > 253
                    || !value.split('.').all(|label| {
                        !label.is_empty()
                            && label.len() <= 63
                            && !label.starts_with('-')
                            && !label.ends_with('-')
                            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
                    }),
                "is not a host name; write it without https:// and without a path",
            ),
            Kind::Port => Kind::Number(1, 65535).check(value),
            Kind::Number(low, high) => no(
                !value
                    .parse::<u64>()
                    .is_ok_and(|n| (low..=high).contains(&n)),
                &format!("is not a whole number from {low} to {high}"),
            ),
            Kind::Image => check_image(value),
            Kind::Database => DatabaseUrl::parse(value).err(),
            Kind::Redis => match RedisUrl::parse(value) {
                Err(message) => Some(message),
                Ok(url) => no(
                    !url.db_given(),
                    "names no database number; end it with /0, /1, ...",
                ),
            },
            Kind::Web => no(
                !value.is_empty()
                    && !value
                        .strip_prefix("https://")
                        .or_else(|| value.strip_prefix("http://"))
                        .is_some_and(|rest| {
                            !rest.is_empty() && !rest.contains(char::is_whitespace)
                        }),
                "is not an http:// or https:// address",
            ),
            Kind::Token => no(
                value.len() < 20
                    || !value.starts_with(|c: char| c.is_ascii_alphabetic())
                    || !value
                        .chars()
                        .all(|c| c.is_ascii_graphic() && !"'\"()[]{}\\".contains(c)),
                "has to be at least 20 characters without quotes and brackets, the first a letter",
            ),
            Kind::Size => no(
                parse_size(value).is_none(),
                "is not a size such as 10m or 2g",
            ),
            Kind::Interval => no(
                !value
                    .strip_suffix(['s', 'm'])
                    .is_some_and(|n| n.parse::<u32>().is_ok_and(|n| n > 0)),
                "is not a time such as 15s or 2m",
            ),
            Kind::Pause => no(
                interval(value).is_none(),
                "is not a time such as 0s, 15s or 2m",
            ),
            Kind::Switch => no(value != "on" && value != "off", "is neither on nor off"),
            Kind::OneOf(allowed) => no(
                !allowed.contains(&value),
                &format!("is none of {}", allowed.join(", ")),
            ),
            Kind::File => no(
                !value.is_empty() && !value.starts_with('/'),
                "is not an absolute path",
            ),
            Kind::Zone => no(
                value.is_empty()
                    || value.contains("..")
                    || value.contains(|c: char| !(c.is_ascii_alphanumeric() || "/_+-".contains(c)))
                    // A host without the zones' files cannot tell.
                    || (Path::new(ZONES).is_dir() && !Path::new(ZONES).join(value).is_file()),
                "is no time zone of this host; write it as Africa/Nairobi",
            ),
            Kind::Uuid => no(
                !value.is_empty() && !is_uuid(value),
                "is no uuid such as 3f2a9c1e-5b7d-4e1f-9a6b-0c8d7e6f5a4b; RapidPro shows it in \
                 the address of the flow's page",
            ),
            Kind::Listen => no(
                value != "off"
                    && !value
                        .strip_prefix("unix:")
                        .is_some_and(|path| path.starts_with('/'))
                    && value.parse::<std::net::SocketAddr>().is_err(),
                "is neither an address with a port such as 127.0.0.1:4573, nor unix:/path, nor off",
            ),
            Kind::TimeOfDay => no(
                !value.is_empty() && !is_time_of_day(value),
                "is no time of day such as 02:30",
            ),
            Kind::Releases => super::releases::check(value),
            Kind::Project => no(
                !value.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                    || !value.chars().all(|c| {
                        c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_'
                    }),
                "may hold only lower-case letters, digits, - and _, the first a letter or digit",
            ),
        }
    }
}

fn is_uuid(value: &str) -> bool {
    value.len() == 36
        && value.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// How long a value of kind [`Kind::Interval`] or [`Kind::Pause`] is.
pub fn interval(value: &str) -> Option<std::time::Duration> {
    let unit = match value.as_bytes().last()? {
        b's' => 1,
        b'm' => 60,
        _ => return None,
    };
    let number: u64 = value[..value.len() - 1].parse::<u32>().ok()?.into();
    Some(std::time::Duration::from_secs(number * unit))
}

/// Docker's rules for a reference, as far as a typing mistake breaks them, and ours: a tag.
fn check_image(value: &str) -> Option<String> {
    let odd = |c: char| !(c.is_ascii_alphanumeric() || "./:@_-".contains(c));
    if value.is_empty() || value.contains(odd) {
        return Some("is not an image reference such as nginx:1.28.0".to_owned());
    }
    if value.contains('@') {
        return None;
    }
    let name = value.rsplit('/').next().unwrap_or(value);
    match name.split_once(':') {
        None | Some((_, "")) => Some("names no tag; write name:tag".to_owned()),
        Some((_, "latest")) => {
            Some("is :latest, which is another image every day; name a version".to_owned())
        }
        Some(_) => None,
    }
}

/// `02:30`
fn is_time_of_day(value: &str) -> bool {
    let two = |text: &str, most: u8| {
        text.len() == 2
            && text.bytes().all(|b| b.is_ascii_digit())
            && text.parse::<u8>().is_ok_and(|number| number <= most)
    };
    value
        .split_once(':')
        .is_some_and(|(hour, minute)| two(hour, 23) && two(minute, 59))
}

#[cfg(test)]
mod tests;
