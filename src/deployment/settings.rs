//! The settings of one deployment: read once, checked once, typed from there on.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use super::env_file;
use super::keys::{self, KEYS, Kind, PLACEHOLDER};
use super::mask::Mask;
use super::places::Places;
use super::similar::nearest;
use crate::fault::{Fault, Result};
use crate::host::url::{DatabaseUrl, RedisUrl};

/// A database that a service needs, as `ooy` probes it.
pub struct Database {
    /// Whose it is: `rapidpro`, `casepro`, `contentrepo`.
    pub owner: &'static str,
    /// The setting it comes from.
    pub setting: &'static str,
    /// Where it is.
    pub url: DatabaseUrl,
    /// Extensions its migrations need (stack.md section 3.1).
    pub extensions: &'static [&'static str],
}

/// A Redis database that a service needs.
pub struct RedisDatabase {
    /// Whose it is.
    pub owner: &'static str,
    /// The setting it comes from.
    pub setting: &'static str,
    /// Where it is.
    pub url: RedisUrl,
}

/// All settings, defaults filled in, every value of the right kind.
#[derive(Clone)]
pub struct Settings {
    values: BTreeMap<&'static str, String>,
    /// Where this deployment lies.
    pub places: Places,
}

// By hand: most of it is secret.
impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Settings({})", self.places.env_file.display())
    }
}

impl Settings {
    /// Reads and checks the settings file. Everything that is wrong with it is one fault.
    pub fn load(places: &Places) -> Result<Self> {
        let (settings, wrong) = Self::load_with_faults(places)?;
        match Self::fault(places, wrong) {
            None => Ok(settings),
            Some(fault) => Err(Box::new(fault)),
        }
    }

    /// Reads the settings file; what is wrong with its values, one line each, beside the settings
    /// with defaults in their place. For checks that want to go on.
    pub fn load_with_faults(places: &Places) -> Result<(Self, Vec<String>)> {
        let check = places.command("config --check");
        let entries = env_file::read(&places.env_file, &places.command("init"), &check)?;
        Ok(Self::from_entries(places, &entries))
    }

    /// The settings of all lines of a file's text that can be read, with defaults for the rest, and
    /// what is wrong with their values. For what must not stand still because of a file that is
    /// broken.
    pub fn of_what_can_be_read(places: &Places, text: &str) -> (Self, Vec<String>) {
        let (entries, unread) = env_file::parse_what_can_be(text);
        let (settings, wrong) = Self::from_entries(places, &entries);
        let unread = unread
            .into_iter()
            .map(|fault| format!("line {}: {}", fault.line, fault.message));
        (settings, unread.chain(wrong).collect())
    }

    /// Whether these faults of [`Settings::load_with_faults`] are those of a file that sets nothing of
    /// a deployment, as `ooy init --pbx` writes it: a host that only hands its calls over.
    pub fn only_calls(wrong: &[String]) -> bool {
        let missing = |name: &str| wrong.iter().any(|line| *line == is_missing(name));
        KEYS.iter()
            .filter(|key| key.default.is_none())
            .all(|key| missing(key.name))
    }

    /// The same with other values for some settings.
    pub fn with(&self, changes: &[(String, String)]) -> Self {
        let mut other = self.clone();
        for (name, value) in changes {
            if let Some(present) = other.values.get_mut(name.as_str()) {
                present.clone_from(value);
            }
        }
        other
    }

    /// What is wrong as one fault; nothing wrong is none.
    pub fn fault(places: &Places, wrong: Vec<String>) -> Option<Fault> {
        let shown = places.env_file.display();
        let count = match wrong.len() {
            0 => return None,
            1 => "1 setting is".to_owned(),
            n => format!("{n} settings are"),
        };
        let mut fault = Fault::usage(
            format!("settings: {count} wrong in {shown}"),
            "the settings are not complete or not valid",
        )
        .why("services started with them would fail later, one by one; nothing was started")
        .next(format!("nano {shown}"))
        .next(places.command("config --check"));
        fault.evidence = wrong;
        Some(fault)
    }

    /// The settings, and what is wrong with them, one line each.
    fn from_entries(places: &Places, entries: &[env_file::Entry]) -> (Self, Vec<String>) {
        let mut values: BTreeMap<&'static str, String> = KEYS
            .iter()
            .map(|key| (key.name, key.default.unwrap_or_default().to_owned()))
            .collect();
        let mut faults: Vec<(usize, String)> = Vec::new();
        for entry in entries {
            let Some(key) = keys::find(&entry.key) else {
                let hint = nearest(&entry.key, KEYS.iter().map(|key| key.name))
                    .map(|name| format!("; did you mean {name}?"))
                    .unwrap_or_default();
                faults.push((
                    entry.line,
                    format!("{} is no setting of ooy{hint}", entry.key),
                ));
                continue;
            };
            if entry.value.contains(PLACEHOLDER) {
                faults.push((
                    entry.line,
                    format!("{} still holds {PLACEHOLDER}", key.name),
                ));
            } else if let Some(message) = key.kind.check(&entry.value) {
                faults.push((entry.line, format!("{} {message}", key.name)));
            } else if entry.value.is_empty() && key.default.is_none() {
                faults.push((entry.line, format!("{} is empty", key.name)));
            } else {
                values.insert(key.name, entry.value.clone());
            }
        }
        let mut faults_text: Vec<String> = faults
            .iter()
            .map(|(line, message)| format!("line {line}: {message}"))
            .collect();
        for key in KEYS.iter().filter(|key| key.default.is_none()) {
            if !entries.iter().any(|entry| entry.key == key.name) {
                faults_text.push(is_missing(key.name));
            }
        }
        let settings = Self {
            values,
            places: places.clone(),
        };
        if faults_text.is_empty() {
            faults_text.extend(settings.contradictions());
        }
        (settings, faults_text)
    }

    /// Settings that are right by themselves and wrong together.
    fn contradictions(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let redis = self.redis_databases();
        for (index, a) in redis.iter().enumerate() {
            for b in &redis[index + 1..] {
                if (a.url.host(), a.url.port(), a.url.db())
                    == (b.url.host(), b.url.port(), b.url.db())
                {
                    // Casepro and RapidPro would take tasks from each other's `celery` list.
                    faults.push(format!(
                        "{} and {} name the same Redis database; each needs a number of its own",
                        a.setting, b.setting
                    ));
                }
            }
        }
        if self.get("HTTP_PORT") == self.get("HTTPS_PORT") {
            faults.push("HTTP_PORT and HTTPS_PORT are the same".to_owned());
        }
        let domains = ["RAPIDPRO_DOMAIN", "CASEPRO_DOMAIN", "CONTENTREPO_DOMAIN"];
        for (index, a) in domains.iter().enumerate() {
            for b in &domains[index + 1..] {
                if self.get(a) == self.get(b) {
                    faults.push(format!("{a} and {b} are the same host name"));
                }
            }
        }
        if !self.get("S3_BUCKET").is_empty() {
            for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
                if self.get(name).is_empty() {
                    faults.push(format!("S3_BUCKET is set, {name} is not"));
                }
            }
        }
        let key_file = self.get("BIGQUERY_KEY_FILE");
        if !key_file.is_empty() && !std::path::Path::new(key_file).is_file() {
            faults.push(format!("BIGQUERY_KEY_FILE: {key_file} is no file"));
        }
        faults
    }

    /// What works, but not as its owner may expect; shown by `config --check`.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Ok(metadata) = std::fs::metadata(&self.places.env_file)
            && metadata.permissions().mode() & 0o077 != 0
        {
            let path = self.places.env_file.display();
            warnings.push(format!(
                "{path} can be read by others and holds secrets: chmod 600 {path}"
            ));
        }
        // django-getenv evaluates every value as a Python literal (stack.md section 2.1).
        for name in [
            "EMAIL_HOST_USER",
            "EMAIL_HOST_PASSWORD",
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
        ] {
            if self.get(name).parse::<f64>().is_ok() {
                warnings.push(format!(
                    "{name} looks like a number, and RapidPro will take it for one; use a value with a letter"
                ));
            }
        }
        if self.get("BIGQUERY_KEY_FILE").is_empty()
            || self.get("BIGQUERY_RAPIDPRO_TOKEN").is_empty()
        {
            warnings.push(
                "BIGQUERY_KEY_FILE and BIGQUERY_RAPIDPRO_TOKEN are not set: bigquery-sync runs, but copies nothing".to_owned(),
            );
        }
        warnings
    }

    /// The value of a setting.
    ///
    /// A name that is no setting gives an empty text; the tests of [`keys`] and the compose
    /// file's variables hold the names together.
    pub fn get(&self, name: &str) -> &str {
        debug_assert!(self.values.contains_key(name), "{name} is no setting");
        self.values.get(name).map_or("", String::as_str)
    }

    /// The compose project: the prefix of containers, networks and volumes.
    pub fn project(&self) -> &str {
        self.get("PROJECT_NAME")
    }

    /// A setting of kind [`Kind::Number`] or [`Kind::Port`], checked when it was read.
    pub fn number(&self, name: &str) -> u64 {
        self.get(name).parse().unwrap_or_default()
    }

    /// The same, of a setting that counts megabytes (`DISK_RESERVE_MB`): bytes.
    pub fn megabytes(&self, name: &str) -> u64 {
        self.number(name).saturating_mul(1024 * 1024)
    }

    /// A setting of kind [`Kind::Interval`] or [`Kind::Pause`], checked when it was read.
    pub fn interval(&self, name: &str) -> std::time::Duration {
        keys::interval(self.get(name)).unwrap_or_default()
    }

    /// The three PostgreSQL databases.
    pub fn databases(&self) -> Vec<Database> {
        [
            (
                "rapidpro",
                "RAPIDPRO_DATABASE_URL",
                &["postgis", "hstore"][..],
            ),
            ("casepro", "CASEPRO_DATABASE_URL", &["hstore"][..]),
            ("contentrepo", "CONTENTREPO_DATABASE_URL", &[][..]),
        ]
        .into_iter()
        .filter_map(|(owner, setting, extensions)| {
            let url = DatabaseUrl::parse(self.get(setting)).ok()?;
            Some(Database {
                owner,
                setting,
                url,
                extensions,
            })
        })
        .collect()
    }

    /// The three Redis databases.
    pub fn redis_databases(&self) -> Vec<RedisDatabase> {
        [
            ("rapidpro", "RAPIDPRO_REDIS_URL"),
            ("casepro", "CASEPRO_REDIS_URL"),
            ("contentrepo", "CONTENTREPO_REDIS_URL"),
        ]
        .into_iter()
        .filter_map(|(owner, setting)| {
            let url = RedisUrl::parse(self.get(setting)).ok()?;
            Some(RedisDatabase {
                owner,
                setting,
                url,
            })
        })
        .collect()
    }

    /// Everything that must never be shown, the passwords inside addresses too.
    pub fn mask(&self) -> Mask {
        let mut secrets: Vec<String> = KEYS
            .iter()
            .filter(|key| key.secret && !matches!(key.kind, Kind::Database | Kind::Redis))
            .map(|key| self.get(key.name).to_owned())
            .collect();
        for name in KEYS
            .iter()
            .filter(|key| matches!(key.kind, Kind::Database | Kind::Redis))
            .map(|key| key.name)
        {
            secrets.extend(passwords(self.get(name)));
        }
        // A token within an address may be shown without the rest of it.
        secrets.extend(
            KEYS.iter()
                .filter(|key| key.secret && key.kind == Kind::Web)
                .filter_map(|key| {
                    let (_, rest) = self.get(key.name).split_once("://")?;
                    Some(rest.split_once('/')?.1.to_owned())
                }),
        );
        Mask::new(secrets)
    }

    /// The environment that compose gets: every setting, and what follows from them.
    pub fn environment(&self, nginx_digest: &str) -> Vec<(String, String)> {
        let mut environment: Vec<(String, String)> = self
            .values
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        let mut add = |name: &str, value: String| environment.push((name.to_owned(), value));
        if let Ok(url) = DatabaseUrl::parse(self.get("RAPIDPRO_DATABASE_URL")) {
            // lib/pq reads only postgres:// and asks for TLS unless told not to.
            add("OOY_RAPIDPRO_DATABASE_URL_GO", url.go_form());
        }
        if let Ok(url) = RedisUrl::parse(self.get("CASEPRO_REDIS_URL")) {
            add("OOY_CASEPRO_REDIS_HOST", url.host_port_with_password());
            add("OOY_CASEPRO_REDIS_DB", url.db().to_string());
        }
        let bucket = self.get("S3_BUCKET");
        add(
            "OOY_S3_MEDIA",
            if bucket.is_empty() { "False" } else { "True" }.to_owned(),
        );
        let storage = match (self.get("STORAGE_URL"), bucket) {
            ("", "") => format!("https://{}/media", self.get("RAPIDPRO_DOMAIN")),
            ("", bucket) => format!("https://{bucket}.s3.amazonaws.com"),
            (set, _) => set.to_owned(),
        };
        add("OOY_STORAGE_URL", storage);
        // Something has to be mounted; an empty file makes the sync say that it has no key.
        let key_file = match self.get("BIGQUERY_KEY_FILE") {
            "" => "/dev/null",
            path => path,
        };
        add("OOY_BIGQUERY_KEY_FILE", key_file.to_owned());
        add(
            "OOY_RENDERED_DIR",
            self.places.rendered.display().to_string(),
        );
        add("OOY_SSL_DIR", self.places.ssl.display().to_string());
        add("OOY_NGINX_DIGEST", nginx_digest.to_owned());
        environment
    }

    /// The settings as they are in force, secrets masked, in the order of the template.
    pub fn shown(&self) -> Vec<(&'static str, String)> {
        let mask = self.mask();
        KEYS.iter()
            .map(|key| {
                let value = self.get(key.name);
                let shown = match key.kind {
                    Kind::Database => DatabaseUrl::parse(value)
                        .map(|url| url.redacted())
                        .unwrap_or_default(),
                    Kind::Redis => RedisUrl::parse(value)
                        .map(|url| url.redacted())
                        .unwrap_or_default(),
                    _ if key.secret && !value.is_empty() => super::mask::MASK.to_owned(),
                    _ => mask.apply(value),
                };
                (key.name, shown)
            })
            .collect()
    }
}

fn is_missing(name: &str) -> String {
    format!("{name} is missing")
}

/// The password of an address, as it is written and as it is meant.
fn passwords(url: &str) -> Vec<String> {
    let Some((_, rest)) = url.split_once("://") else {
        return Vec::new();
    };
    let Some((credentials, _)) = rest.rsplit_once('@') else {
        return Vec::new();
    };
    let written = credentials
        .split_once(':')
        .map_or("", |(_, password)| password);
    let decoded = match (DatabaseUrl::parse(url), RedisUrl::parse(url)) {
        (Ok(url), _) => url.password().map(str::to_owned),
        (_, Ok(url)) => url.password().map(str::to_owned),
        _ => None,
    };
    std::iter::once(written.to_owned()).chain(decoded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPLETE: &str = "\
RAPIDPRO_DATABASE_URL=postgres://rapidpro:hunter2%40x@10.0.10.4/rapidpro
CASEPRO_DATABASE_URL=postgres://casepro:hunter3@10.0.10.4/casepro
CONTENTREPO_DATABASE_URL=postgres://contentrepo:hunter4@10.0.10.4/contentrepo
RAPIDPRO_REDIS_URL=redis://:redispw@10.0.10.4:6379/1
CASEPRO_REDIS_URL=redis://:redispw@10.0.10.4:6379/0
CONTENTREPO_REDIS_URL=redis://:redispw@10.0.10.4:6379/2
EMAIL_HOST=smtp.example.org
RAPIDPRO_SECRET_KEY=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1
CASEPRO_SECRET_KEY=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa2
CONTENTREPO_SECRET_KEY=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa3
MAILROOM_AUTH_TOKEN=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa4
";

    fn read(text: &str) -> (Settings, Vec<String>) {
        let places = Places::new(Some(std::path::Path::new("/nowhere")));
        Settings::from_entries(&places, &env_file::parse(text).unwrap())
    }

    #[test]
    fn a_complete_file_has_no_fault() {
        let (_, faults) = read(COMPLETE);
        assert_eq!(faults, Vec::<String>::new());
    }

    #[test]
    fn all_faults_are_reported_in_one_run() {
        let text = COMPLETE
            .replace(
                "EMAIL_HOST=smtp.example.org\n",
                "EMAIL_HOTS=smtp.example.org\nHTTP_PORT=eighty\n",
            )
            .replace("hunter3", "CHANGE_ME");
        let (_, faults) = read(&text);
        assert_eq!(
            faults,
            [
                "line 2: CASEPRO_DATABASE_URL still holds CHANGE_ME",
                "line 7: EMAIL_HOTS is no setting of ooy; did you mean EMAIL_HOST?",
                "line 8: HTTP_PORT is not a whole number from 1 to 65535",
                "EMAIL_HOST is missing",
            ]
        );
    }

    #[test]
    fn two_applications_on_one_redis_database_are_refused() {
        let (_, faults) = read(&COMPLETE.replace("6379/2", "6379/0"));
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].contains("CASEPRO_REDIS_URL and CONTENTREPO_REDIS_URL"));
    }

    #[test]
    fn nothing_shown_holds_a_secret() {
        let (settings, _) = read(COMPLETE);
        let shown = format!("{:?} {settings:?}", settings.shown());
        for secret in ["hunter", "redispw", "aaaaaaaa"] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
        let mask = settings.mask();
        assert_eq!(mask.apply("hunter2%40x hunter2@x"), "******** ********");
    }

    #[test]
    fn a_token_within_an_address_is_a_secret_with_and_without_the_rest() {
        let (settings, faults) = read(&format!(
            "{COMPLETE}WATCH_WEBHOOK=https://hooks.example.org/services/T0/s3cret\n"
        ));
        assert_eq!(faults, Vec::<String>::new());
        let shown = format!("{:?}", settings.shown());
        assert!(!shown.contains("s3cret"), "{shown}");
        let mask = settings.mask();
        let said =
            mask.apply("POST https://hooks.example.org/services/T0/s3cret, /services/T0/s3cret");
        assert!(!said.contains("s3cret"), "{said}");
    }

    #[test]
    fn the_go_services_get_the_address_they_can_read() {
        let (settings, _) = read(COMPLETE);
        let environment: BTreeMap<_, _> = settings.environment("digest").into_iter().collect();
        assert_eq!(
            environment["OOY_RAPIDPRO_DATABASE_URL_GO"],
            "postgres://rapidpro:hunter2%40x@10.0.10.4/rapidpro?sslmode=disable"
        );
        assert_eq!(
            environment["OOY_CASEPRO_REDIS_HOST"],
            ":redispw@10.0.10.4:6379"
        );
        assert_eq!(environment["OOY_CASEPRO_REDIS_DB"], "0");
    }
}
