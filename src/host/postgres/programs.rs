//! `pg_dump` and `pg_restore` of this host. A dump needs programs that are at least as new as the
//! server (PostgreSQL documentation, pg_dump, Notes), and hosts have several versions side by side.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::host::cmd;

/// How long a program may take to say its version.
const LIMIT: Duration = Duration::from_secs(10);

/// Both programs, of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// Where `pg_dump` and `pg_restore` are.
    folder: PathBuf,
    /// As they say it: `15.8 (Debian 15.8-0+deb12u1)`.
    pub version: String,
    /// In the form of `server_version_num`: 150008.
    pub number: u32,
}

impl Programs {
    /// `pg_dump`, with its folder.
    pub fn pg_dump(&self) -> String {
        self.folder.join("pg_dump").display().to_string()
    }

    /// `pg_restore`, with its folder.
    pub fn pg_restore(&self) -> String {
        self.folder.join("pg_restore").display().to_string()
    }
}

/// All that this host has, the oldest first.
pub async fn all() -> Vec<Programs> {
    let mut found: Vec<Programs> = Vec::new();
    for folder in folders() {
        if !["pg_dump", "pg_restore"]
            .iter()
            .all(|name| folder.join(name).is_file())
        {
            continue;
        }
        let program = folder.join("pg_dump").display().to_string();
        let Ok(said) = cmd::run(&program, &["--version"], &[], LIMIT).await else {
            continue;
        };
        if let Some((version, number)) = version_in(&said.stdout) {
            found.push(Programs {
                folder,
                version,
                number,
            });
        }
    }
    found.sort_by_key(|programs| programs.number);
    found
}

/// Those that fit a server (`server_version_num`) best: of its own major version, else the next
/// newer one. `None`: none is new enough.
pub fn fitting(all: &[Programs], server: u32) -> Option<&Programs> {
    all.iter()
        .filter(|programs| major(programs.number) >= major(server))
        // Of one major version the newest: it has the fewest faults.
        .min_by_key(|programs| (major(programs.number), Reverse(programs.number)))
}

/// The major version, in the form of `server_version_num`: 150000, or 90600 before 10.
pub fn major(number: u32) -> u32 {
    if number >= 100_000 {
        number / 10_000 * 10_000
    } else {
        number / 100 * 100
    }
}

/// The major version as people write it: `15`, `9.6`.
pub fn major_name(number: u32) -> String {
    if number >= 100_000 {
        (number / 10_000).to_string()
    } else {
        format!("{}.{}", number / 10_000, number / 100 % 100)
    }
}

/// Where Debian, Red Hat and PostgreSQL's own build put them, and the search path. Not Debian's
/// wrapper in /usr/bin: which version that runs depends on the clusters of this host.
fn folders() -> Vec<PathBuf> {
    let versions = |parent: &str| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
        entries.map(|entry| entry.path().join("bin")).collect()
    };
    let mut folders = versions("/usr/lib/postgresql");
    folders.extend(versions("/usr").into_iter().filter(|bin| {
        let name = bin.parent().and_then(Path::file_name);
        name.is_some_and(|name| name.to_string_lossy().starts_with("pgsql-"))
    }));
    folders.push("/usr/local/pgsql/bin".into());
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&path).filter(|folder| {
        let program = std::fs::canonicalize(folder.join("pg_dump"));
        program.is_ok_and(|program| !program.ends_with("pg_wrapper"))
    }));
    folders
}

/// `pg_dump (PostgreSQL) 15.8 (Debian 15.8-0+deb12u1)`
fn version_in(said: &str) -> Option<(String, u32)> {
    let version = said.trim().split_once("(PostgreSQL) ")?.1;
    let numbers: Vec<u32> = version
        .split(|c: char| !c.is_ascii_digit() && c != '.')
        .next()?
        .split('.')
        .map_while(|part| part.parse().ok())
        .collect();
    let number = match numbers.as_slice() {
        [first, second, third, ..] if *first < 10 => first * 10_000 + second * 100 + third,
        [first, second] if *first < 10 => first * 10_000 + second * 100,
        [first, rest @ ..] => first * 10_000 + rest.first().unwrap_or(&0),
        [] => return None,
    };
    Some((version.to_owned(), number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_the_server_counts_them() {
        for (said, number) in [
            (
                "pg_dump (PostgreSQL) 15.8 (Debian 15.8-0+deb12u1)\n",
                150_008,
            ),
            ("pg_dump (PostgreSQL) 9.6.24\n", 90_624),
            ("pg_dump (PostgreSQL) 17beta1\n", 170_000),
        ] {
            assert_eq!(version_in(said).unwrap().1, number, "{said}");
        }
        assert_eq!(version_in("pg_dump: error"), None);
    }

    #[test]
    fn the_nearest_version_that_is_new_enough_is_taken() {
        let of = |number| Programs {
            folder: PathBuf::from("/x"),
            version: String::new(),
            number,
        };
        let all = [
            of(90_624),
            of(130_004),
            of(150_002),
            of(150_008),
            of(170_000),
        ];
        let best = |server| fitting(&all, server).map(|programs| programs.number);
        assert_eq!(best(150_010), Some(150_008));
        assert_eq!(best(140_001), Some(150_008));
        assert_eq!(best(100_019), Some(130_004));
        assert_eq!(best(90_500), Some(90_624));
        assert_eq!(best(180_000), None);
    }
}
