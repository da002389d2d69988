//! Which backups are no longer kept.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::store::Backup;

/// How many are kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// At most so many.
    pub count: usize,
    /// None that is older.
    pub age: Duration,
}

impl Retention {
    /// As the settings want it (BACKUP_KEEP, BACKUP_KEEP_DAYS).
    pub fn of(settings: &crate::deployment::settings::Settings) -> Self {
        Self {
            count: usize::try_from(settings.number("BACKUP_KEEP")).unwrap_or(usize::MAX),
            age: Duration::from_secs(settings.number("BACKUP_KEEP_DAYS") * 86_400),
        }
    }

    /// Those that go, of all that there are (the newest first). Never the newest of a database that
    /// is proved, nor the newest that can be read, nor one that was made to be kept, nor one that a
    /// restore under way needs (`needed`), nor one that is broken: what is wrong with it somebody has
    /// to see.
    pub fn expired<'a>(
        self,
        all: &'a [Backup],
        needed: &BTreeSet<String>,
        now: Timestamp,
    ) -> Vec<&'a Backup> {
        let mut proved: BTreeSet<&str> = BTreeSet::new();
        let mut newest: BTreeSet<&str> = BTreeSet::new();
        let mut kept = 0;
        let mut expired = Vec::new();
        for backup in all {
            let Ok(manifest) = &backup.manifest else {
                continue;
            };
            let owners = || manifest.databases.iter().map(|of| of.owner.as_str());
            // Of each database: a backup of one alone does not make that of all others go.
            let mut is_last = false;
            for owner in owners() {
                is_last |= newest.insert(owner);
                if backup.is_proved() {
                    is_last |= proved.insert(owner);
                }
            }
            let needed = manifest.keep.is_some() || needed.contains(&backup.id);
            let age = now.duration_since(manifest.made_at);
            let is_old = Duration::try_from(age).is_ok_and(|age| age > self.age);
            if !is_last && !needed && (is_old || kept >= self.count) {
                expired.push(backup);
            } else if !needed {
                kept += 1;
            }
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::super::manifest::tests::manifest;
    use super::super::manifest::{Broken, Dumped, Manifest};
    use super::super::store::Status;
    use super::*;
    use crate::host::postgres::admin::Form;

    const DAY: i64 = 86_400;

    fn dumped(owner: &str) -> Dumped {
        Dumped {
            owner: owner.to_owned(),
            database: owner.to_owned(),
            role: owner.to_owned(),
            part: format!("{owner}.dump"),
            form: Form {
                encoding: String::new(),
                collate: String::new(),
                ctype: String::new(),
            },
            bytes: 1,
            dump_bytes: 1,
            server_version: String::new(),
            server_version_number: 150_000,
            pg_dump_number: 150_000,
            census: Default::default(),
        }
    }

    /// `days` ago.
    fn backup(days: i64, owners: &[&str], proved: bool) -> Backup {
        let made = Timestamp::from_second(1_795_000_000 - days * DAY).unwrap();
        Backup {
            id: format!("{days}"),
            path: "/x".into(),
            manifest: Ok(Manifest {
                made_at: made,
                databases: owners.iter().map(|owner| dumped(owner)).collect(),
                ..manifest(&format!("{days}"))
            }),
            status: Status {
                proved_at: proved.then_some(made),
                ..Status::default()
            },
        }
    }

    fn expired(all: &[Backup], needed: &[&str]) -> Vec<String> {
        let retention = Retention {
            count: 3,
            age: Duration::from_secs(10 * 86_400),
        };
        let needed = needed.iter().map(|id| (*id).to_owned()).collect();
        let now = Timestamp::from_second(1_795_000_000).unwrap();
        let gone = retention.expired(all, &needed, now).into_iter();
        gone.map(|backup| backup.id.clone()).collect()
    }

    #[test]
    fn those_beyond_the_number_and_the_old_ones_go() {
        let all: Vec<Backup> = [1, 2, 3, 4, 20]
            .map(|days| backup(days, &["rapidpro"], days == 1))
            .to_vec();
        assert_eq!(expired(&all, &[]), ["4", "20"]);
        assert_eq!(expired(&all, &["4"]), ["20"]);
        assert_eq!(expired(&all[3..], &[]), ["20"]);
    }

    #[test]
    fn the_newest_that_is_proved_stays_however_old() {
        let mut all: Vec<Backup> = [1, 2, 3, 4]
            .map(|days| backup(days, &["rapidpro"], false))
            .to_vec();
        all.push(backup(40, &["rapidpro"], true));
        all.push(backup(50, &["rapidpro"], true));
        assert_eq!(expired(&all, &[]), ["4", "50"]);
        // One that did not stand a later proof does not count.
        all[4].status.failed_at = all[4].status.proved_at;
        assert_eq!(expired(&all, &[]), ["4", "40"]);
    }

    #[test]
    fn the_last_one_of_a_database_stays_when_newer_ones_have_others() {
        let mut all: Vec<Backup> = [1, 2, 3, 4]
            .map(|days| backup(days, &["casepro"], false))
            .to_vec();
        all.push(backup(5, &["casepro", "rapidpro"], false));
        all.push(backup(6, &["casepro", "rapidpro"], false));
        assert_eq!(expired(&all, &[]), ["4", "6"]);
    }

    #[test]
    fn one_that_was_made_to_be_kept_and_a_broken_one_stay() {
        let mut all: Vec<Backup> = [1, 2, 3, 4, 30, 31]
            .map(|days| backup(days, &["rapidpro"], false))
            .to_vec();
        all[4].manifest.as_mut().unwrap().keep = Some("before upgrade".to_owned());
        all[5].manifest = Err(Broken::Changed);
        assert_eq!(expired(&all, &[]), ["4"]);
    }
}
