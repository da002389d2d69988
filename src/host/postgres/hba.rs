//! pg_hba.conf: whom PostgreSQL lets in from where (PostgreSQL documentation, 21.1).

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// A line that is about TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Number of the line in its file, from 1.
    pub line: usize,
    /// The line as it is written.
    pub text: String,
    /// `host`, `hostssl`, `hostnossl`, ...
    pub kind: String,
    /// Databases, as written.
    pub databases: String,
    /// Roles, as written.
    pub users: String,
    /// From where.
    pub from: From,
    /// How to log in: `scram-sha-256`, `trust`, `reject`.
    pub method: String,
}

/// From where a line lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    /// Addresses that share so many bits with this one.
    Network(IpAddr, u8),
    /// From everywhere.
    All,
    /// This host's own addresses, or its networks.
    Near,
    /// Hosts of this name.
    Name(String),
}

impl Rule {
    /// Whether it lets somebody in, from addresses that are not those of private networks.
    pub fn admits_outside(&self) -> bool {
        self.method != "reject" && self.databases != "replication" && self.from.is_outside()
    }
}

impl From {
    /// Whether it holds addresses of the internet.
    pub fn is_outside(&self) -> bool {
        match self {
            From::All => true,
            // Who they are is written in the name servers.
            From::Near | From::Name(_) => false,
            From::Network(address, bits) => match address {
                // Wider than the widest private network, or not in one.
                IpAddr::V4(_) => *bits < 8 || is_public(*address),
                IpAddr::V6(_) => *bits < 7 || is_public(*address),
            },
        }
    }
}

/// Whether an address is one of the internet, not of a private network, this host or a link.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_documentation()
                || shared)
        }
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_public(v4.into()),
            None => {
                !(v6.is_loopback()
                    || v6.is_unspecified()
                    || v6.is_unique_local()
                    || v6.is_unicast_link_local())
            }
        },
    }
}

/// The pg_hba.conf of a server that runs here, by the number of its first process.
pub fn file_of(pid: u32) -> io::Result<PathBuf> {
    let data = fs::read_link(format!("/proc/{pid}/cwd"))?;
    let command = fs::read(format!("/proc/{pid}/cmdline"))?;
    let command: Vec<String> = command
        .split(|byte| *byte == 0)
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    if let Some(path) = option(&command, "hba_file") {
        return Ok(data.join(path));
    }
    let config = option(&command, "config_file")
        .map_or_else(|| data.join("postgresql.conf"), |path| data.join(path));
    let text = fs::read_to_string(config).unwrap_or_default();
    Ok(setting(&text, "hba_file").map_or_else(|| data.join("pg_hba.conf"), |path| data.join(path)))
}

/// The value of `-c name=value` or `--name=value`.
fn option(command: &[String], name: &str) -> Option<String> {
    command.iter().find_map(|word| {
        let word = word.trim_start_matches("--").trim_start_matches("-c");
        let (key, value) = word.split_once('=')?;
        (key.replace('-', "_") == name).then(|| value.to_owned())
    })
}

/// The value of a line `name = 'value'`; the last one counts.
fn setting(text: &str, name: &str) -> Option<String> {
    text.lines()
        .filter_map(|line| {
            let line = line.split('#').next()?.trim();
            let rest = line.strip_prefix(name)?.trim_start();
            let value = rest.strip_prefix('=').unwrap_or(rest).trim();
            Some(value.trim_matches('\'').to_owned())
        })
        .next_back()
        .filter(|value| !value.is_empty())
}

/// Reads a file and those that it includes.
pub fn read(path: &Path) -> io::Result<Vec<Rule>> {
    let mut rules = Vec::new();
    read_into(path, 0, &mut rules)?;
    Ok(rules)
}

fn read_into(path: &Path, depth: usize, rules: &mut Vec<Rule>) -> io::Result<()> {
    let text = fs::read_to_string(path)?;
    for (index, line) in text.lines().enumerate() {
        let words = words(line);
        let include = match words.first().map(String::as_str) {
            Some("include") => Some(true),
            Some("include_if_exists") => Some(false),
            _ => None,
        };
        match (include, words.get(1)) {
            // PostgreSQL 16 and later; ten deep there.
            (Some(must), Some(file)) if depth < 10 => {
                let folder = path.parent().unwrap_or(Path::new("/"));
                match read_into(&folder.join(file), depth + 1, rules) {
                    Err(error) if must => return Err(error),
                    _ => {}
                }
            }
            _ => rules.extend(rule(index + 1, line, &words)),
        }
    }
    Ok(())
}

/// A line as a rule; `None` for those about local sockets, empty ones and comments.
pub(super) fn rule(line: usize, text: &str, words: &[String]) -> Option<Rule> {
    let kind = words.first()?;
    if !kind.starts_with("host") {
        return None;
    }
    let address = words.get(3)?;
    let mut method = words.get(4)?;
    let from = match address.as_str() {
        "all" => From::All,
        "samehost" | "samenet" => From::Near,
        address => match address.split_once('/') {
            Some((ip, bits)) => From::Network(ip.parse().ok()?, bits.parse().ok()?),
            None => match address.parse::<IpAddr>() {
                // The mask is a word of its own.
                Ok(ip) => {
                    let mask: IpAddr = method.parse().ok()?;
                    method = words.get(5)?;
                    From::Network(ip, ones(mask))
                }
                Err(_) => From::Name(address.to_owned()),
            },
        },
    };
    Some(Rule {
        line,
        text: text.split_whitespace().collect::<Vec<_>>().join(" "),
        kind: kind.clone(),
        databases: words.get(1)?.clone(),
        users: words.get(2)?.clone(),
        from,
        method: method.clone(),
    })
}

fn ones(mask: IpAddr) -> u8 {
    let ones = match mask {
        IpAddr::V4(v4) => v4.to_bits().leading_ones(),
        IpAddr::V6(v6) => v6.to_bits().leading_ones(),
    };
    u8::try_from(ones).unwrap_or(0)
}

/// The words of a line: separated by blanks, lists with commas in one piece, in quotes where they
/// hold either.
pub(super) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    let mut after_comma = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            '#' if !quoted => break,
            c if c.is_whitespace() && !quoted => {
                if !word.is_empty() && !after_comma {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => {
                word.push(c);
                after_comma = c == ',' && !quoted;
            }
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Vec<Rule> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pg_hba.conf");
        fs::write(&path, text).unwrap();
        read(&path).unwrap()
    }

    #[test]
    fn the_wikis_lines_let_nobody_in_from_outside() {
        let rules = parse(
            "local all postgres peer\n# host all all 0.0.0.0/0 md5\n\
             host all all 127.0.0.1/32 scram-sha-256\nhost all all samenet scram-sha-256\n\
             host all all 172.16.0.0/12 md5\nhost all all 192.168.0.0 255.255.0.0 md5\n\
             host all all 10.0.10.4/32 md5\nhost all all ::1/128 md5\nhost all all db.lan md5\n\
             host all all 0.0.0.0/0 reject\nhost replication all all md5\n",
        );
        assert_eq!(rules.len(), 9);
        assert_eq!(
            rules[3].from,
            From::Network("192.168.0.0".parse().unwrap(), 16)
        );
        assert!(!rules.iter().any(Rule::admits_outside), "{rules:?}");
    }

    #[test]
    fn lines_that_let_the_internet_in_are_seen() {
        for line in [
            "host all all 0.0.0.0/0 md5",
            "host all all all scram-sha-256",
            "hostssl \"rapid pro\" all,  other ::/0 cert",
            "host all all 41.90.0.0/16 trust # the office",
            "host all all 0.0.0.0 0.0.0.0 md5",
            "host all all 172.0.0.0/6 md5",
        ] {
            let rules = parse(line);
            assert_eq!(rules.len(), 1, "{line}");
            assert!(rules[0].admits_outside(), "{line}: {rules:?}");
        }
    }

    #[test]
    fn included_files_are_read_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pg_hba.conf");
        fs::write(&path, "include more.conf\ninclude_if_exists none.conf\n").unwrap();
        fs::write(folder.path().join("more.conf"), "host all all all md5\n").unwrap();
        assert_eq!(read(&path).unwrap().len(), 1);
        fs::write(&path, "include none.conf\n").unwrap();
        assert!(read(&path).is_err());
    }

    #[test]
    fn where_the_file_lies_is_read_from_command_and_settings() {
        let command = ["postgres", "-D", "/d", "-c", "hba_file=/x/pg_hba.conf"].map(str::to_owned);
        assert_eq!(
            option(&command, "hba_file").as_deref(),
            Some("/x/pg_hba.conf")
        );
        assert_eq!(option(&command, "config_file"), None);
        let text = "#hba_file = 'no'\nhba_file = '/etc/a/pg_hba.conf'\t# where\nport = 5432\n";
        assert_eq!(
            setting(text, "hba_file").as_deref(),
            Some("/etc/a/pg_hba.conf")
        );
        assert_eq!(setting("", "hba_file"), None);
    }

    #[test]
    fn public_addresses_are_told_from_private_ones() {
        for address in [
            "10.1.2.3",
            "172.17.0.1",
            "192.168.1.1",
            "100.64.1.1",
            "127.0.0.1",
            "::1",
            "fe80::1",
            "fd00::2",
            "0.0.0.0",
            "192.0.2.2",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "41.90.1.1",
            "8.8.8.8",
            "2a01::1",
            "::ffff:8.8.8.8",
            "172.32.0.1",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }
}
