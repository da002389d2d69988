//! What a Redis is set to, and lines of redis.conf.

use std::path::PathBuf;

use super::parse_info;
use super::resp::{Connection, RedisError, Reply};

/// What a running Redis is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `redis_version`: "7.0.15".
    pub version: String,
    /// The file that it was started with; none where there was none.
    pub file: Option<PathBuf>,
    /// Addresses that it binds to: "127.0.0.1", "-::1" (which may be absent).
    pub bind: Vec<String>,
    /// Whether it wants a password of those who give no user.
    pub has_password: bool,
}

impl Config {
    /// Major version.
    pub fn major(&self) -> u32 {
        let major = self.version.split('.').next();
        major.and_then(|text| text.parse().ok()).unwrap_or(0)
    }
}

/// Asks a Redis for it.
pub async fn read(connection: &mut Connection) -> Result<Config, RedisError> {
    let info = parse_info(&connection.call(&["INFO", "server"]).await?.text());
    let text = |name: &str| info.get(name).cloned().unwrap_or_default();
    let bind = get(connection, "bind").await?;
    Ok(Config {
        version: text("redis_version"),
        file: Some(text("config_file"))
            .filter(|file| !file.is_empty())
            .map(PathBuf::from),
        bind: bind.split_whitespace().map(str::to_owned).collect(),
        has_password: !get(connection, "requirepass").await?.is_empty(),
    })
}

async fn get(connection: &mut Connection, name: &str) -> Result<String, RedisError> {
    match connection.call(&["CONFIG", "GET", name]).await? {
        Reply::Array(pair) => Ok(pair.get(1).map(Reply::text).unwrap_or_default()),
        _ => Err(RedisError::NotRedis),
    }
}

/// Changes a setting of a running Redis, until it ends.
pub async fn set(connection: &mut Connection, name: &str, value: &str) -> Result<(), RedisError> {
    connection
        .call(&["CONFIG", "SET", name, value])
        .await
        .map(drop)
}

/// The value of a directive in redis.conf as it stands there; the last one counts.
pub fn directive<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let found = text.lines().rev().find_map(|line| value_in(line, name));
    found.map(str::trim)
}

fn value_in<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let line = line.trim_start();
    let end = line.find(char::is_whitespace).unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    word.eq_ignore_ascii_case(name).then_some(rest)
}

/// The text with this directive set: in the place of the last one, or, where that would not be what
/// counts (none, or an `include` behind it), at the end.
pub fn with_directive(text: &str, name: &str, value: &str, remark: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let last = lines
        .iter()
        .rposition(|line| value_in(line, name).is_some());
    let include = lines
        .iter()
        .rposition(|line| value_in(line, "include").is_some());
    let new = format!("{name} {value}");
    let mut all: Vec<&str> = lines.clone();
    match last {
        Some(at) if include.is_none_or(|include| include < at) => all[at] = &new,
        _ => all.extend([remark, &new]),
    }
    all.join("\n") + "\n"
}

/// A value as redis.conf takes it: in double quotes, what would end them escaped.
pub fn quoted(value: &str) -> String {
    let mut text = String::from('"');
    for c in value.chars() {
        if matches!(c, '"' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directive_takes_the_place_of_the_last_one() {
        let text = "# bind 1.1.1.1\nbind 127.0.0.1\nport 6379\n  BIND 127.0.0.1 -::1\nsave \"\"\n";
        assert_eq!(directive(text, "bind"), Some("127.0.0.1 -::1"));
        assert_eq!(
            with_directive(text, "bind", "127.0.0.1 -::1 -172.17.0.1", "# ooy"),
            "# bind 1.1.1.1\nbind 127.0.0.1\nport 6379\nbind 127.0.0.1 -::1 -172.17.0.1\nsave \"\"\n"
        );
        assert_eq!(directive(text, "requirepass"), None);
        assert_eq!(directive("bind-source-addr 1\n", "bind"), None);
        assert_eq!(directive("bind\n", "bind"), Some(""));
    }

    #[test]
    fn where_another_one_may_follow_it_stands_at_the_end() {
        assert_eq!(
            with_directive("port 1", "bind", "a", "# ooy"),
            "port 1\n# ooy\nbind a\n"
        );
        let text = "bind a\ninclude /etc/redis/local.conf\n";
        let new = with_directive(text, "bind", "b", "# ooy");
        assert_eq!(new, format!("{text}# ooy\nbind b\n"));
        // The second time it is the last one.
        assert_eq!(
            with_directive(&new, "bind", "c", "# ooy"),
            format!("{text}# ooy\nbind c\n")
        );
    }

    #[test]
    fn passwords_are_quoted() {
        assert_eq!(quoted("a\"b\\ #"), "\"a\\\"b\\\\ #\"");
    }
}
