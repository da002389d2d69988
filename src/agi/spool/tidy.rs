//! Removes what is no longer needed.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::{Deliverer, Folder};

/// What lies in tmp/ longer than this was left by a process that was killed.
const STALE: Duration = Duration::from_secs(3600);

/// However short calls are to be kept, a call handed in twice has to be known so long.
const SHORTEST: Duration = Duration::from_secs(3600);

impl Deliverer {
    /// Removes calls sent or skipped longer ago than that, and stale files of killed processes.
    /// Answers how many calls were removed.
    pub fn tidy(&self, keep: Duration) -> io::Result<usize> {
        let _owner = self.as_owner();
        self.remove_stale()?;
        // A batch that could not be made into single files is known by what was sent of it.
        if self.count(Folder::Batch)? > 0 {
            return Ok(0);
        }
        let now = SystemTime::now();
        let mut removed = 0;
        for folder in [Folder::Sent, Folder::Skipped] {
            for entry in self.entries(folder)? {
                if older(now, entry.modified, keep.max(SHORTEST)) {
                    std::fs::remove_file(self.file(folder, &entry.id))?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    fn remove_stale(&self) -> io::Result<()> {
        let now = SystemTime::now();
        for name in self.names(Folder::Tmp)? {
            let path = self.folder(Folder::Tmp).join(&name);
            let Ok(modified) = std::fs::symlink_metadata(&path).and_then(|about| about.modified())
            else {
                continue;
            };
            // The wall's clock may have jumped; a process that lives still writes.
            let alive = name.rsplit('.').nth(1).is_some_and(|process| {
                process.parse::<u32>().is_ok() && Path::new("/proc").join(process).exists()
            });
            if older(now, modified, STALE) && !alive {
                let _ = std::fs::remove_file(&path);
            }
        }
        Ok(())
    }
}

fn older(now: SystemTime, then: SystemTime, than: Duration) -> bool {
    now.duration_since(then).is_ok_and(|age| age > than)
}

#[cfg(test)]
mod tests {
    use super::super::Spool;
    use super::*;
    use crate::agi::record::tests::record;

    fn age(path: &Path, by: Duration) {
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - by).unwrap();
    }

    const DAY: Duration = Duration::from_secs(86400);

    #[test]
    fn sent_calls_go_when_their_time_is_over_and_others_never() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path());
        let deliverer = spool.deliver().unwrap();
        for (uniqueid, folder, days) in [
            ("1", Folder::Sent, 31),
            ("2", Folder::Sent, 29),
            ("3", Folder::Skipped, 31),
            ("4", Folder::Dead, 500),
            ("5", Folder::New, 500),
            ("6", Folder::Sending, 500),
        ] {
            let path = spool.file(folder, &record(uniqueid).id);
            std::fs::write(&path, record(uniqueid).to_json()).unwrap();
            age(&path, DAY * days);
        }
        assert_eq!(deliverer.tidy(DAY * 30).unwrap(), 2);
        let left: usize = Folder::ALL.iter().map(|f| spool.count(*f).unwrap()).sum();
        assert_eq!(left, 4);
        // Kept for no time at all still is an hour.
        assert_eq!(deliverer.tidy(Duration::ZERO).unwrap(), 1);
        let path = spool.file(Folder::Sent, &record("7").id);
        std::fs::write(&path, record("7").to_json()).unwrap();
        assert_eq!(deliverer.tidy(Duration::ZERO).unwrap(), 0);
    }

    #[test]
    fn what_killed_processes_left_goes_and_what_living_ones_write_stays() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path());
        let deliverer = spool.deliver().unwrap();
        let tmp = spool.folder(Folder::Tmp);
        // No process has so high a number.
        let dead = tmp.join("1795345652.1-aaaa.4194399.0");
        let living = tmp.join(format!("1795345652.1-aaaa.{}.0", std::process::id()));
        let fresh = tmp.join("1795345652.2-aaaa.4194399.0");
        for path in [&dead, &living, &fresh] {
            std::fs::write(path, b"").unwrap();
        }
        age(&dead, DAY);
        age(&living, DAY);
        deliverer.tidy(DAY).unwrap();
        assert!(!dead.exists() && living.exists() && fresh.exists());
    }
}
