//! As much of a compose file as `ooy` reads: images, needs, stop times. The rest is compose's.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
struct ComposeFile {
    #[serde(default)]
    services: Option<BTreeMap<String, ComposeService>>,
}

/// One service of a compose file.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ComposeService {
    pub(super) image: Option<String>,
    pub(super) restart: Option<String>,
    pub(super) stop_grace_period: Option<String>,
    pub(super) depends_on: Option<DependsOn>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum DependsOn {
    List(BTreeSet<String>),
    Map(BTreeMap<String, serde::de::IgnoredAny>),
}

/// What a service is given, as compose's `config` writes a file with every value in its place
/// (`NAME=value`, its `$$` for a `$` undone); `None`: that says nothing of it.
pub fn environment(config: &str, service: &str) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct File {
        services: BTreeMap<String, Service>,
    }
    #[derive(Deserialize)]
    struct Service {
        environment: Option<Environment>,
    }
    let mut file: File = serde_saphyr::from_str(config).ok()?;
    let given = file.services.remove(service)?.environment?;
    let lines = given
        .all()
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"));
    Some(lines.collect())
}

/// The environment of a service, in either of its forms.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Environment {
    List(Vec<String>),
    Map(BTreeMap<String, Option<Scalar>>),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Scalar {
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
}

impl Environment {
    /// The variables that have a value, and their values.
    pub(super) fn all(&self) -> Vec<(&str, String)> {
        // compose's own escape.
        let value = |text: &str| text.replace("$$", "$");
        match self {
            Self::List(list) => list
                .iter()
                .filter_map(|entry| entry.split_once('='))
                .map(|(name, text)| (name, value(text)))
                .collect(),
            Self::Map(map) => map
                .iter()
                .filter_map(|(name, given)| Some((name.as_str(), value(&given.as_ref()?.text()))))
                .collect(),
        }
    }

    /// The value of a variable that has one.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        let mut all = self.all().into_iter();
        all.find(|(given, _)| *given == name)
            .map(|(_, value)| value)
    }
}

impl Scalar {
    fn text(&self) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Float(value) => value.to_string(),
            Self::Text(value) => value.clone(),
        }
    }
}

/// The services of a file, or what is wrong with it in a line.
pub(super) fn read(text: &str) -> std::result::Result<BTreeMap<String, ComposeService>, String> {
    serde_saphyr::from_str::<ComposeFile>(text)
        .map(|file| file.services.unwrap_or_default())
        .map_err(|error| {
            error
                .to_string()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned()
        })
}

/// The names in a `depends_on`, in either of its forms.
pub(super) fn needs(depends_on: Option<DependsOn>) -> BTreeSet<String> {
    match depends_on {
        None => BTreeSet::new(),
        Some(DependsOn::List(names)) => names,
        Some(DependsOn::Map(names)) => names.into_keys().collect(),
    }
}

/// As compose merges two files: single values from the later one, needs from both.
pub(super) fn merge(
    base: &mut BTreeMap<String, ComposeService>,
    own: BTreeMap<String, ComposeService>,
) {
    for (name, service) in own {
        let into = base.entry(name).or_default();
        into.image = service.image.or(into.image.take());
        into.restart = service.restart.or(into.restart.take());
        into.stop_grace_period = service.stop_grace_period.or(into.stop_grace_period.take());
        let mut all = needs(into.depends_on.take());
        all.extend(needs(service.depends_on));
        into.depends_on = Some(DependsOn::List(all));
    }
}

/// `${NAME}` replaced by its value; other forms stay, and compose judges them.
pub(super) fn interpolate(text: &str, environment: &BTreeMap<String, String>) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        result.push_str(before);
        match after.split_once('}') {
            Some((name, behind)) if environment.contains_key(name) => {
                result.push_str(&environment[name]);
                rest = behind;
            }
            _ => {
                result.push_str("${");
                rest = after;
            }
        }
    }
    result + rest
}

/// Compose's durations: `60s`, `1m30s`, `500ms`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit_length = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        total += match &rest[..unit_length] {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(number * 60),
            "h" => Duration::from_secs(number * 3600),
            _ => return None,
        };
        rest = &rest[unit_length..];
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_services_environment_is_read_from_what_compose_writes() {
        let config = "name: x\nservices:\n  a:\n    environment:\n      SECRET: pa$$word\n      \
                      PORT: \"8000\"\n      DEBUG: \"off\"\n      EMPTY: \"\"\n      UNSET: null\n  b:\n    image: b\n";
        let all = ["DEBUG=off", "EMPTY=", "PORT=8000", "SECRET=pa$word"];
        assert_eq!(environment(config, "a").unwrap(), all);
        assert_eq!(environment(config, "b"), None);
        assert_eq!(environment(config, "c"), None);
        assert_eq!(environment("services: [", "a"), None);
    }
}
