//! Commands by which a person sees and repairs what concerns a Redis; no secret in any.

use crate::host::reach::hint::{on_machine, word};
use crate::host::url::RedisUrl;

/// Whether somebody answers: `NOAUTH` is an answer too.
pub fn see(url: &RedisUrl) -> String {
    format!("redis-cli -h {} -p {} PING", word(url.host()), url.port())
}

/// A command for the database; redis-cli asks for the password where the settings have one.
pub fn ask(url: &RedisUrl, command: &str) -> String {
    let user = match url.user() {
        Some(user) => format!(" --user {}", word(user)),
        None => String::new(),
    };
    let login = match url.password() {
        Some(_) => format!("{user} --askpass"),
        None => String::new(),
    };
    format!(
        "redis-cli -h {} -p {} -n {}{login} {command}",
        word(url.host()),
        url.port(),
        url.db()
    )
}

/// A command for the server's machine, with a remark where that is another one.
pub fn on_server(url: &RedisUrl, command: &str) -> String {
    on_machine(url.host(), command)
}
