//! Whoever delivers: one process at a time. Every step towards RapidPro goes through here.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::ops::Deref;
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

use super::listing::read_record;
use super::{Damaged, Folder, Spool};
use crate::agi::record::{Id, Moment, Record};
use crate::host::clock;

/// Held by whoever delivers; its text is his process number.
const LOCK: &str = "deliverer.lock";

/// Held for the moment in which a call moves from dead/ to new/, or a second copy of one in
/// dead/ is removed from new/.
const DEAD_LOCK: &str = "dead.lock";

/// `ooy agi` holds the lock shared for a moment, to see whether somebody delivers; so often, and
/// with such pauses, the lock is asked for before it counts as another deliverer's.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(5);

/// Why one cannot deliver.
#[derive(Debug)]
pub enum Busy {
    /// Another process delivers; its number, if it has said it already.
    Held(Option<u32>),
    /// The lock cannot be used.
    Failed(io::Error),
}

/// The right to deliver; dropped, it is free for others. Everything a [`Spool`] can, it can too.
#[derive(Debug)]
pub struct Deliverer {
    spool: Spool,
    lock: File,
}

impl Deref for Deliverer {
    type Target = Spool;

    fn deref(&self) -> &Spool {
        &self.spool
    }
}

/// What came of the wish to send a call.
#[derive(Debug)]
pub enum Begun {
    /// It is in sending/ now, and may be sent.
    Ready(Box<Record>),
    /// There is nothing to send: it has been handed in twice, or was removed by hand.
    Gone,
    /// It cannot be read, and has been set aside.
    Damaged(Damaged),
}

impl Spool {
    /// Becomes the one who delivers.
    pub fn deliver(&self) -> Result<Deliverer, Busy> {
        let mut file = self
            .make_folders()
            .and_then(|()| self.open_lock(LOCK))
            .map_err(Busy::Failed)?;
        for last in (0..TRIES).rev() {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if last > 0 => std::thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => return Err(Busy::Held(read_holder(&mut file))),
                Err(TryLockError::Error(error)) => return Err(Busy::Failed(error)),
            }
        }
        let mut say = || {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        // On a full disk too calls have to be delivered.
        let _: io::Result<()> = say();
        Ok(Deliverer {
            spool: self.clone(),
            lock: file,
        })
    }

    /// Whether somebody delivers at this moment. Where that cannot be found out, nobody does.
    pub fn is_delivering(&self) -> bool {
        let Ok(file) = File::open(self.root.join(LOCK)) else {
            return false;
        };
        // Shared: two that look at the same time must not take each other for the deliverer.
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }

    /// Who delivers at this moment.
    pub fn deliverer_process(&self) -> Option<u32> {
        if !self.is_delivering() {
            return None;
        }
        read_holder(&mut File::open(self.root.join(LOCK)).ok()?)
    }

    /// Puts a dead call back among the waiting ones. Answers whether there was one.
    pub fn retry(&self, id: &Id) -> io::Result<bool> {
        let _lock = self.lock_dead()?;
        let _owner = self.as_owner();
        // In one step: a crash leaves it here or there.
        match std::fs::rename(self.file(Folder::Dead, id), self.file(Folder::New, id)) {
            Ok(()) => {
                self.sync_folder(Folder::New)?;
                self.sync_folder(Folder::Dead)?;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn lock_dead(&self) -> io::Result<File> {
        let file = self.open_lock(DEAD_LOCK)?;
        file.lock()?;
        Ok(file)
    }

    fn open_lock(&self, name: &str) -> io::Result<File> {
        let _owner = self.as_owner();
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(self.root.join(name))
    }
}

fn read_holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

impl Deliverer {
    /// Whether this is still the one: somebody may have removed the spool, and another may deliver
    /// from a new one at its place.
    pub fn is_current(&self) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        let held = self.lock.metadata();
        let there = std::fs::symlink_metadata(self.root.join(LOCK));
        match (held, there) {
            (Ok(held), Ok(there)) => (held.dev(), held.ino()) == (there.dev(), there.ino()),
            (_, Err(error)) => error.kind() != io::ErrorKind::NotFound,
            (Err(_), _) => true,
        }
    }

    /// The calls that were being sent when the last deliverer ended: perhaps RapidPro has them.
    /// Whoever calls this looks them up before sending them again.
    pub fn perhaps_sent(&self) -> io::Result<(Vec<Record>, Vec<Damaged>)> {
        let mut records = Vec::new();
        let mut damaged = Vec::new();
        for name in self.names(Folder::Sending)? {
            match read_record(&self.folder(Folder::Sending).join(&name))? {
                None => {}
                Some(Err(reason)) => {
                    damaged.push(self.set_aside(Folder::Sending, &name, &reason)?)
                }
                Some(Ok(record)) => {
                    // It ended between the last two steps.
                    if self.holds(Folder::Sent, &record.id)?
                        || self.holds(Folder::Dead, &record.id)?
                    {
                        self.remove(Folder::Sending, &record.id)?;
                    } else {
                        records.push(record);
                    }
                }
            }
        }
        records.sort_by(|a, b| {
            (a.accepted_at, a.mono_ms, &a.id).cmp(&(b.accepted_at, b.mono_ms, &b.id))
        });
        Ok((records, damaged))
    }

    /// Moves a waiting call to sending/: to be called before the first byte is sent. When it
    /// answers, a crash leaves a trace that the call has perhaps been sent.
    pub fn begin_attempt(&self, id: &Id) -> io::Result<Begun> {
        if self.drop_second_copy(id)? {
            return Ok(Begun::Gone);
        }
        let mut record = match read_record(&self.file(Folder::New, id))? {
            None => return Ok(Begun::Gone),
            Some(Ok(record)) => record,
            Some(Err(reason)) => {
                let name = format!("{id}.json");
                return Ok(Begun::Damaged(self.set_aside(
                    Folder::New,
                    &name,
                    &reason,
                )?));
            }
        };
        record.dead_reason = None;
        self.again(&mut record)?;
        // Not flushed: while both are there, sending/ counts.
        self.remove(Folder::New, id)?;
        Ok(Begun::Ready(Box::new(record)))
    }

    /// Notes one more attempt for a call that is in sending/ already: RapidPro was asked and does
    /// not have it.
    pub fn again(&self, record: &mut Record) -> io::Result<()> {
        let now = Moment::now();
        record.attempts = record.attempts.saturating_add(1);
        record.first_attempt.get_or_insert_with(|| now.clone());
        record.last_attempt = Some(now);
        self.keep_sending(record)
    }

    /// Writes down what is known of a call that stays in sending/.
    pub fn keep_sending(&self, record: &Record) -> io::Result<()> {
        self.put(Folder::Sending, record)
    }

    /// RapidPro has it.
    pub fn finish_sent(&self, record: &mut Record) -> io::Result<()> {
        record.sent_at = Some(clock::now());
        record.last_error = None;
        self.put(Folder::Sent, record)?;
        self.remove(Folder::Sending, &record.id)
    }

    /// RapidPro will never take it.
    pub fn finish_dead(&self, record: &mut Record, reason: &str) -> io::Result<()> {
        record.dead_reason = Some(reason.to_owned());
        record.last_error = Some(reason.to_owned());
        self.put(Folder::Dead, record)?;
        self.remove(Folder::Sending, &record.id)
    }

    /// It has certainly not been sent, and waits again.
    pub fn back_to_waiting(&self, record: &Record) -> io::Result<()> {
        self.put(Folder::New, record)?;
        self.remove(Folder::Sending, &record.id)
    }

    /// Moves a file that cannot be read out of the way, under a name that is free.
    pub fn set_aside(&self, from: Folder, name: &str, reason: &str) -> io::Result<Damaged> {
        let _owner = self.as_owner();
        let source = self.folder(from).join(name);
        let folder = self.folder(Folder::Damaged);
        let mut target = name.to_owned();
        let mut number = 1;
        while std::fs::symlink_metadata(folder.join(&target)).is_ok() {
            number += 1;
            target = format!("{name}.{number}");
        }
        std::fs::rename(source, folder.join(&target))?;
        Ok(Damaged {
            name: target,
            from,
            reason: reason.to_owned(),
        })
    }

    fn put(&self, folder: Folder, record: &Record) -> io::Result<()> {
        let name = format!("{}.json", record.id);
        self.with_folders(|| self.replace(folder, &name, &record.to_json()))
    }

    fn remove(&self, folder: Folder, id: &Id) -> io::Result<()> {
        let _owner = self.as_owner();
        match std::fs::remove_file(self.file(folder, id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes a call from new/ that has moved on already: it was handed in a second time just
    /// when the first was taken up. Answers whether it had.
    fn drop_second_copy(&self, id: &Id) -> io::Result<bool> {
        if self.settled(id)?.is_none() {
            return Ok(false);
        }
        // `ooy calls retry` may be moving it from dead/ to new/ at this moment.
        let _lock = self.lock_dead()?;
        if self.settled(id)?.is_none() {
            return Ok(false);
        }
        self.remove(Folder::New, id)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agi::record::tests::record;

    struct Rig {
        _folder: tempfile::TempDir,
        spool: Spool,
        deliverer: Deliverer,
    }

    fn rig() -> Rig {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path());
        let deliverer = spool.deliver().unwrap();
        Rig {
            _folder: folder,
            spool,
            deliverer,
        }
    }

    impl Rig {
        fn ready(&self, id: &Id) -> Record {
            match self.deliverer.begin_attempt(id).unwrap() {
                Begun::Ready(record) => *record,
                other => panic!("{other:?}"),
            }
        }

        /// The folders that hold the call.
        fn places(&self, id: &Id) -> Vec<Folder> {
            Folder::ALL
                .into_iter()
                .filter(|folder| self.spool.holds(*folder, id).unwrap())
                .collect()
        }
    }

    #[test]
    fn one_delivers_and_the_others_learn_who() {
        let rig = rig();
        assert!(rig.spool.is_delivering());
        match rig.spool.deliver() {
            Err(Busy::Held(Some(pid))) => assert_eq!(pid, std::process::id()),
            other => panic!("{other:?}"),
        }
        assert_eq!(rig.spool.deliverer_process(), Some(std::process::id()));
        let spool = rig.spool.clone();
        drop(rig.deliverer);
        assert!(!spool.is_delivering());
        spool.deliver().unwrap();
    }

    #[test]
    fn whoever_only_looks_is_not_taken_for_the_deliverer() {
        let rig = rig();
        let spool = rig.spool.clone();
        drop(rig.deliverer);
        let looking = File::open(spool.root.join(LOCK)).unwrap();
        looking.try_lock_shared().unwrap();
        assert!(!spool.is_delivering());
        let other = spool.clone();
        let deliverer = std::thread::spawn(move || other.deliver().is_ok());
        // It goes on asking for a moment.
        std::thread::yield_now();
        drop(looking);
        assert!(deliverer.join().unwrap());
    }

    #[test]
    fn a_call_is_in_sending_with_its_attempt_before_it_may_be_sent() {
        let rig = rig();
        let id = record("1").id;
        rig.spool.accept(&record("1")).unwrap();
        let mut sending = rig.ready(&id);
        assert_eq!(rig.places(&id), [Folder::Sending]);
        assert_eq!(sending.attempts, 1);
        let first = sending.first_attempt.clone().unwrap();
        assert_eq!(rig.deliverer.perhaps_sent().unwrap().0, [sending.clone()]);
        rig.deliverer.again(&mut sending).unwrap();
        assert_eq!(sending.attempts, 2);
        assert_eq!(sending.first_attempt, Some(first));
        rig.deliverer.finish_sent(&mut sending).unwrap();
        assert_eq!(rig.places(&id), [Folder::Sent]);
        assert!(sending.sent_at.is_some());
        assert!(rig.deliverer.perhaps_sent().unwrap().0.is_empty());
    }

    #[test]
    fn what_certainly_was_not_sent_waits_again_and_remembers_its_attempts() {
        let rig = rig();
        let id = record("1").id;
        rig.spool.accept(&record("1")).unwrap();
        let mut sending = rig.ready(&id);
        sending.last_error = Some("connection refused".into());
        rig.deliverer.back_to_waiting(&sending).unwrap();
        assert_eq!(rig.places(&id), [Folder::New]);
        let again = rig.ready(&id);
        assert_eq!(again.attempts, 2);
        assert_eq!(again.last_error.as_deref(), Some("connection refused"));
    }

    #[test]
    fn a_dead_call_comes_back_when_told() {
        let rig = rig();
        let id = record("1").id;
        rig.spool.accept(&record("1")).unwrap();
        let mut sending = rig.ready(&id);
        rig.deliverer
            .finish_dead(&mut sending, "no such number")
            .unwrap();
        assert_eq!(rig.places(&id), [Folder::Dead]);
        assert!(rig.spool.retry(&id).unwrap());
        assert!(!rig.spool.retry(&id).unwrap());
        assert_eq!(rig.places(&id), [Folder::New]);
        assert_eq!(rig.ready(&id).dead_reason, None);
    }

    #[test]
    fn a_crash_between_two_steps_leaves_the_later_place_to_count() {
        let rig = rig();
        let put = |folder: Folder, record: &Record| rig.deliverer.put(folder, record).unwrap();
        // New and sending: the copy that waits is dropped.
        let first = record("1");
        put(Folder::New, &first);
        put(Folder::Sending, &first);
        assert!(matches!(
            rig.deliverer.begin_attempt(&first.id).unwrap(),
            Begun::Gone
        ));
        assert_eq!(rig.places(&first.id), [Folder::Sending]);
        // Sending and sent, sending and dead: it is over.
        for folder in [Folder::Sent, Folder::Dead] {
            let over = record(folder.name());
            put(Folder::Sending, &over);
            put(folder, &over);
            let (perhaps, _) = rig.deliverer.perhaps_sent().unwrap();
            assert_eq!(perhaps, std::slice::from_ref(&first));
            assert_eq!(rig.places(&over.id), [folder]);
        }
        // New and sent: handed in a second time at the wrong moment.
        let twice = record("3");
        put(Folder::New, &twice);
        put(Folder::Sent, &twice);
        assert!(matches!(
            rig.deliverer.begin_attempt(&twice.id).unwrap(),
            Begun::Gone
        ));
        assert_eq!(rig.places(&twice.id), [Folder::Sent]);
    }

    #[test]
    fn what_cannot_be_read_is_set_aside_each_under_its_own_name() {
        let rig = rig();
        let id = record("1").id;
        for number in 1..=3 {
            std::fs::write(rig.spool.file(Folder::New, &id), b"{\"schema\":").unwrap();
            match rig.deliverer.begin_attempt(&id).unwrap() {
                Begun::Damaged(damaged) => assert_eq!(damaged.reason, "ends in the middle"),
                other => panic!("{other:?}"),
            }
            assert_eq!(rig.spool.names(Folder::Damaged).unwrap().len(), number);
        }
        assert!(matches!(
            rig.deliverer.begin_attempt(&id).unwrap(),
            Begun::Gone
        ));
        std::fs::write(rig.spool.folder(Folder::Sending).join("x.json"), b"x").unwrap();
        let (records, damaged) = rig.deliverer.perhaps_sent().unwrap();
        assert!(records.is_empty());
        assert_eq!(damaged[0].name, "x.json");
    }
}
