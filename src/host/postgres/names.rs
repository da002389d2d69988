//! How PostgreSQL's own names are written: in SQL, in pg_hba.conf, in messages, in Debian.

use std::net::IpAddr;

/// The client's address as the server names it in a message of any language: the first quoted
/// word that is an address.
pub(super) fn address_in(message: &str) -> Option<IpAddr> {
    message
        .split(|c: char| !(c.is_ascii_hexdigit() || matches!(c, '.' | ':')))
        .filter(|word| word.len() > 2)
        .find_map(|word| word.trim_matches(['.']).parse().ok())
}

/// A name in SQL, in double quotes where it is not plain.
pub(super) fn sql_name(name: &str) -> String {
    if is_plain_name(name) {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// A name in pg_hba.conf. Quoted, keywords such as `all` lose their meaning.
pub(super) fn hba_word(name: &str) -> String {
    let keyword = matches!(
        name,
        "all" | "sameuser" | "samerole" | "samegroup" | "replication"
    );
    if is_plain_name(name) && !keyword {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// A text in SQL. Not for servers that take backslashes in it for themselves
/// (`standard_conforming_strings` off), which none is by default since 9.1.
pub(super) fn sql_text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn is_plain_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// The Debian package of an extension's files.
pub(super) fn package_of(extension: &str, version_number: u32) -> String {
    // Before version 10 the second number was part of the major version.
    let major = if version_number >= 100_000 {
        (version_number / 10_000).to_string()
    } else {
        format!("{}.{}", version_number / 10_000, version_number / 100 % 100)
    };
    match extension {
        "postgis" | "postgis_topology" if version_number >= 120_000 => {
            format!("sudo apt-get install -y postgresql-{major}-postgis-3")
        }
        "postgis" | "postgis_topology" => format!("apt-cache search postgresql-{major}-postgis"),
        _ if version_number >= 100_000 => format!("sudo apt-get install -y postgresql-{major}"),
        _ => format!("sudo apt-get install -y postgresql-contrib-{major}"),
    }
}
