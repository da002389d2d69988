//! Takes the values of an existing compose file over, so that a deployment can move to `ooy` with
//! its secrets, its images and its volumes (`ooy init --import`).

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::compose_file::Environment;
use super::keys;

/// What was found in the file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Settings and their values.
    pub values: Vec<(String, String)>,
    /// Settings whose value in the file `ooy` does not take, and why; no value is repeated.
    pub left: Vec<String>,
}

/// Which variable of which service is which setting. The first that has a value wins.
const VARIABLES: &[(&str, &str, &str)] = &[
    ("rapidpro", "DATABASE_URL", "RAPIDPRO_DATABASE_URL"),
    ("rapidpro", "REDIS_URL", "RAPIDPRO_REDIS_URL"),
    ("rapidpro", "SECRET_KEY", "RAPIDPRO_SECRET_KEY"),
    ("rapidpro", "MAILROOM_AUTH_TOKEN", "MAILROOM_AUTH_TOKEN"),
    ("rapidpro", "DOMAIN_NAME", "RAPIDPRO_DOMAIN"),
    ("rapidpro", "EMAIL_HOST", "EMAIL_HOST"),
    ("rapidpro", "EMAIL_PORT", "EMAIL_PORT"),
    ("rapidpro", "EMAIL_HOST_USER", "EMAIL_HOST_USER"),
    ("rapidpro", "EMAIL_HOST_PASSWORD", "EMAIL_HOST_PASSWORD"),
    ("rapidpro", "EMAIL_USE_TLS", "EMAIL_USE_TLS"),
    ("rapidpro", "DEFAULT_FROM_EMAIL", "DEFAULT_FROM_EMAIL"),
    ("rapidpro", "AWS_STORAGE_BUCKET_NAME", "S3_BUCKET"),
    ("rapidpro", "AWS_S3_REGION_NAME", "S3_REGION"),
    ("rapidpro", "AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID"),
    ("rapidpro", "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY"),
    ("courier", "COURIER_S3_MEDIA_PREFIX", "S3_MEDIA_PREFIX"),
    ("rapidpro", "STORAGE_URL", "STORAGE_URL"),
    ("rapidpro", "SENTRY_DSN", "RAPIDPRO_SENTRY_DSN"),
    ("rapidpro", "API_THROTTLE_V2", "API_THROTTLE"),
    ("rapidpro", "UWSGI_HARAKIRI", "REQUEST_TIMEOUT"),
    ("rapidpro", "UWSGI_WORKERS", "UWSGI_WORKERS"),
    ("rapidpro", "NON_ISO6391_LANGUAGES", "NON_ISO6391_LANGUAGES"),
    ("courier", "COURIER_LOG_LEVEL", "LOG_LEVEL"),
    ("courier", "COURIER_SENTRY_DSN", "COURIER_SENTRY_DSN"),
    ("mailroom", "MAILROOM_SENTRY_DSN", "MAILROOM_SENTRY_DSN"),
    ("indexer", "INDEXER_SENTRY_DSN", "INDEXER_SENTRY_DSN"),
    ("casepro", "CASEPRO_DATABASE", "CASEPRO_DATABASE_URL"),
    ("casepro", "SECRET_KEY", "CASEPRO_SECRET_KEY"),
    ("casepro", "HOSTNAME", "CASEPRO_DOMAIN"),
    ("casepro", "SENTRY_DSN", "CASEPRO_SENTRY_DSN"),
    ("casepro", "SITE_CONTACT_DISPLAY", "CASEPRO_CONTACT_DISPLAY"),
    (
        "casepro",
        "SITE_CASE_RESPONSE_REQUIRED_TIME",
        "CASEPRO_RESPONSE_REQUIRED_TIME",
    ),
    ("casepro", "MESSAGE_SYNC_INTERVAl", "CASEPRO_SYNC_INTERVAL"),
    ("contentrepo", "DATABASE_URL", "CONTENTREPO_DATABASE_URL"),
    ("contentrepo", "REDIS_LOCATION", "CONTENTREPO_REDIS_URL"),
    ("contentrepo", "SECRET_KEY", "CONTENTREPO_SECRET_KEY"),
    ("contentrepo", "ALLOWED_HOSTS", "CONTENTREPO_DOMAIN"),
    ("contentrepo", "PAGE_SIZE", "CONTENTREPO_PAGE_SIZE"),
    ("bigquery-sync", "RAPIDPRO_TOKEN", "BIGQUERY_RAPIDPRO_TOKEN"),
];

/// Whose image is which setting.
const IMAGES: &[(&str, &str)] = &[
    ("rapidpro", "RAPIDPRO_IMAGE"),
    ("courier", "COURIER_IMAGE"),
    ("mailroom", "MAILROOM_IMAGE"),
    ("indexer", "INDEXER_IMAGE"),
    ("elasticsearch", "ELASTICSEARCH_IMAGE"),
    ("casepro", "CASEPRO_IMAGE"),
    ("contentrepo", "CONTENTREPO_IMAGE"),
    ("bigquery-sync", "BIGQUERY_SYNC_IMAGE"),
    ("nginx", "NGINX_IMAGE"),
];

#[derive(Deserialize)]
struct File {
    services: BTreeMap<String, Service>,
}

#[derive(Deserialize)]
struct Service {
    image: Option<String>,
    environment: Option<Environment>,
}

impl Service {
    fn variable(&self, name: &str) -> Option<String> {
        self.environment.as_ref()?.get(name)
    }
}

/// The settings in a compose file. The error says what cannot be read, in a line.
pub fn import(text: &str, path: &Path) -> Result<Imported, String> {
    let file: File = serde_saphyr::from_str(text).map_err(|error| {
        error
            .to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned()
    })?;
    let mut found: Vec<(&str, String, String)> = Vec::new();
    for (service, variable, setting) in VARIABLES {
        if let Some(value) = file
            .services
            .get(*service)
            .and_then(|s| s.variable(variable))
        {
            found.push((setting, value, format!("{service}, {variable}")));
        }
    }
    for (service, setting) in IMAGES {
        if let Some(image) = file.services.get(*service).and_then(|s| s.image.clone()) {
            found.push((setting, image, format!("{service}, image")));
        }
    }
    if let Some(casepro) = file.services.get("casepro")
        && let (Some(host), Some(number)) = (
            casepro.variable("REDIS_HOST"),
            casepro.variable("REDIS_PORT"),
        )
    {
        // What Casepro calls a port is the number of the database.
        found.push((
            "CASEPRO_REDIS_URL",
            format!("redis://{host}/{number}"),
            "casepro, REDIS_HOST".to_owned(),
        ));
    }
    if let Some(project) = project(path) {
        found.push(("PROJECT_NAME", project, "the file's folder".to_owned()));
    }
    let mut imported = Imported::default();
    for (setting, value, place) in found {
        let wrong = if value.is_empty() {
            continue;
        } else if value.contains("${") || value == "[secret]" {
            Some("its value is not in the file".to_owned())
        } else {
            keys::find(setting).and_then(|key| key.kind.check(&value))
        };
        match wrong {
            None => imported.values.push((setting.to_owned(), value)),
            Some(message) => imported
                .left
                .push(format!("{setting} ({place}): {message}")),
        }
    }
    Ok(imported)
}

/// The name compose gives a deployment: its folder's, so that volumes and containers are taken
/// over instead of made a second time.
fn project(path: &Path) -> Option<String> {
    let folder = std::path::absolute(path).ok()?;
    let name = folder.parent()?.file_name()?.to_str()?.to_lowercase();
    let name: String = name
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        .collect();
    let name = name.trim_start_matches(['-', '_']);
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "
version: '2'
services:
  nginx:
    image: nginx:latest
  rapidpro:
    image: praekeltfoundation/rapidpro:v6.4.8
    environment:
      - DOMAIN_NAME=rapidpro.example.org
      - DATABASE_URL=postgresql://rapidpro:pa$$word@10.0.10.4/rapidpro
      - SECRET_KEY=[secret]
      - EMAIL_PORT=587
  casepro:
    image: praekeltfoundation/casepro-docker:v1.3.13
    environment:
      REDIS_HOST: 10.0.10.4:6379
      REDIS_PORT: 0
      SECRET_KEY: abcdefghijklmnopqrstuvwxyz
";

    #[test]
    fn values_of_the_old_file_are_taken_over() {
        let imported = import(OLD, Path::new("/srv/combined/compose-combined.yml")).unwrap();
        let value = |name: &str| {
            imported
                .values
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.as_str())
        };
        assert_eq!(value("RAPIDPRO_DOMAIN"), Some("rapidpro.example.org"));
        assert_eq!(
            value("RAPIDPRO_DATABASE_URL"),
            Some("postgresql://rapidpro:pa$word@10.0.10.4/rapidpro")
        );
        assert_eq!(value("CASEPRO_REDIS_URL"), Some("redis://10.0.10.4:6379/0"));
        assert_eq!(
            value("CASEPRO_SECRET_KEY"),
            Some("abcdefghijklmnopqrstuvwxyz")
        );
        assert_eq!(value("PROJECT_NAME"), Some("combined"));
        assert_eq!(value("RAPIDPRO_SECRET_KEY"), None);
        assert_eq!(value("NGINX_IMAGE"), None);
        assert_eq!(imported.left.len(), 2, "{:?}", imported.left);
    }

    #[test]
    fn a_file_that_is_no_compose_file_is_refused() {
        assert!(import("- a\n- b\n", Path::new("/x/y.yml")).is_err());
    }
}
