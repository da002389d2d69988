//! What waits, kept up to date without reading it again: the folder is read once, afterwards the
//! kernel tells what is new.

use std::collections::{HashMap, HashSet};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};
use rustix::io::Errno;

use super::listing::read_record;
use super::{Damaged, Deliverer, Folder};
use crate::agi::record::{Id, Record};

/// Where the kernel cannot tell (too many watches), the folder is looked at so often.
const LOOK: Duration = Duration::from_secs(1);

/// A call's place in the queue: boots by their earliest call, within a boot by the clock that
/// nobody sets. A wall's clock that jumps back does not change the order of calls.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    boot_began: Timestamp,
    mono_ms: u64,
    /// Which call.
    pub id: Id,
}

/// A call that waits, in little memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its place in the queue.
    pub place: Place,
    /// Whom it is about: calls of one contact are sent in their order.
    pub number: String,
}

/// What came since the last time.
#[derive(Debug, Default)]
pub struct Arrived {
    /// In the order of the queue.
    pub waiting: Vec<Waiting>,
    /// Files that cannot be read and have been set aside.
    pub damaged: Vec<Damaged>,
    /// Why there may be more than this.
    pub trouble: Option<io::Error>,
}

/// Follows new/ and batch/ for the one who delivers.
#[derive(Debug)]
pub struct Incoming {
    watch: Option<OwnedFd>,
    /// Told already, and not forgotten.
    known: HashSet<Id>,
    /// Earliest call of each boot.
    boots: HashMap<String, Timestamp>,
    /// Read the whole folder the next time.
    whole: bool,
    /// A batch came while others were split; the kernel does not tell of it again.
    batch: bool,
}

impl Incoming {
    /// Begins to follow. What is there already comes with the first [`Incoming::take`].
    pub fn new(deliverer: &Deliverer) -> Self {
        Self {
            watch: watch(deliverer).ok(),
            known: HashSet::new(),
            boots: HashMap::new(),
            whole: true,
            batch: false,
        }
    }

    /// What has come since the last time.
    pub fn take(&mut self, deliverer: &Deliverer) -> Arrived {
        let mut told = self.told();
        let mut arrived = Arrived::default();
        let mut records = Vec::new();
        let whole = std::mem::replace(&mut self.whole, self.watch.is_none());
        if whole || told.batch || std::mem::take(&mut self.batch) {
            let (damaged, trouble) = deliverer.split_batches();
            arrived.damaged = damaged;
            arrived.trouble = trouble;
            let meanwhile = self.told();
            told.names.extend(meanwhile.names);
            self.batch = meanwhile.batch;
        }
        let names = if whole {
            deliverer.names(Folder::New)
        } else {
            Ok(told.names)
        };
        let names = names.unwrap_or_else(|error| {
            arrived.trouble = Some(error);
            Vec::new()
        });
        for name in names {
            let id = name.strip_suffix(".json").and_then(Id::new);
            if id.is_some_and(|id| self.known.contains(&id)) {
                continue;
            }
            match read_record(&deliverer.folder(Folder::New).join(&name)) {
                // Moved on, or removed by hand.
                Ok(None) => {}
                Ok(Some(Ok(record))) => {
                    self.known.insert(record.id.clone());
                    records.push(record);
                }
                Ok(Some(Err(reason))) => match deliverer.set_aside(Folder::New, &name, &reason) {
                    Ok(damaged) => arrived.damaged.push(damaged),
                    Err(error) => arrived.trouble = Some(error),
                },
                Err(error) => arrived.trouble = Some(error),
            }
        }
        // What could not be read now is met again when everything is looked at anew.
        self.whole |= arrived.trouble.is_some();
        arrived.waiting = self.in_order(records);
        arrived
    }

    /// Lets this call be new again when it appears in new/ (`ooy calls retry`): to be called when
    /// it has left the queue.
    pub fn forget(&mut self, id: &Id) {
        self.known.remove(id);
    }

    /// Waits until something may have come, at most so long, or until `also` can be read. Answers
    /// whether something may have come.
    pub fn wait(&self, timeout: Duration, also: Option<BorrowedFd>) -> bool {
        if self.batch {
            return true;
        }
        let limit = match &self.watch {
            Some(_) => timeout,
            None => timeout.min(LOOK),
        };
        let end = Instant::now() + limit;
        loop {
            let mut fds = Vec::with_capacity(2);
            if let Some(watch) = &self.watch {
                fds.push(PollFd::new(watch, PollFlags::IN));
            }
            if let Some(also) = &also {
                fds.push(PollFd::new(also, PollFlags::IN));
            }
            let left = end.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).unwrap_or(Timespec {
                tv_sec: 3600,
                tv_nsec: 0,
            });
            match poll(&mut fds, Some(&left)) {
                Err(Errno::INTR) => {}
                Ok(0) | Err(_) => return self.watch.is_none(),
                Ok(_) => return self.watch.is_some() && !fds[0].revents().is_empty(),
            }
        }
    }

    /// What the kernel has to tell.
    fn told(&mut self) -> Told {
        let mut told = Told::default();
        let Some(watch) = &self.watch else {
            return told;
        };
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let mut reader = Reader::new(watch, &mut buffer);
        // Ends when there is no more (or at an error, which the next look will meet again).
        while let Ok(event) = reader.next() {
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW)
                || event
                    .events()
                    .intersects(ReadFlags::IGNORED | ReadFlags::UNMOUNT)
            {
                self.whole = true;
            }
            let Some(name) = event.file_name().and_then(|name| name.to_str().ok()) else {
                continue;
            };
            if name.ends_with(".jsonl") {
                told.batch = true;
            } else {
                told.names.push(name.to_owned());
            }
        }
        told
    }

    fn in_order(&mut self, records: Vec<Record>) -> Vec<Waiting> {
        for record in &records {
            // Once a boot has its place it keeps it: calls already told would have another else.
            if !self.boots.contains_key(&record.boot) {
                let began = records
                    .iter()
                    .filter(|other| other.boot == record.boot)
                    .map(|other| other.accepted_at)
                    .min();
                let began = began.unwrap_or(record.accepted_at);
                self.boots.insert(record.boot.clone(), began);
            }
        }
        let mut waiting: Vec<Waiting> = records
            .into_iter()
            .map(|record| Waiting {
                place: Place {
                    boot_began: self.boots.get(&record.boot).copied().unwrap_or_default(),
                    mono_ms: record.mono_ms,
                    id: record.id,
                },
                number: record.number.unwrap_or_default(),
            })
            .collect();
        waiting.sort_unstable_by(|a, b| a.place.cmp(&b.place));
        waiting
    }
}

#[derive(Debug, Default)]
struct Told {
    names: Vec<String>,
    batch: bool,
}

fn watch(deliverer: &Deliverer) -> Result<OwnedFd, Errno> {
    let watch = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    for folder in [Folder::New, Folder::Batch] {
        // A second name, where renaming cannot be refused (see Temporary), is a creation; the
        // file is whole by then as well.
        add_watch(
            &watch,
            deliverer.folder(folder),
            WatchFlags::MOVED_TO
                | WatchFlags::CREATE
                | WatchFlags::DELETE_SELF
                | WatchFlags::ONLYDIR,
        )?;
    }
    Ok(watch)
}

#[cfg(test)]
mod tests {
    use super::super::{Begun, Spool};
    use super::*;
    use crate::agi::record::tests::{call, record};
    use crate::agi::record::{Moment, Record};

    fn ids(arrived: &Arrived) -> Vec<&str> {
        arrived
            .waiting
            .iter()
            .map(|waiting| waiting.place.id.as_str())
            .collect()
    }

    fn at(uniqueid: &str, boot: &str, mono_ms: u64, wall: &str) -> Record {
        let moment = Moment {
            at: wall.parse().unwrap(),
            boot: boot.into(),
            mono_ms,
        };
        Record::new(call(uniqueid), "254", moment)
    }

    #[test]
    fn what_is_there_comes_first_and_then_only_what_is_new() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path());
        spool.accept(&record("1")).unwrap();
        spool.accept_batch(&[record("2"), record("3")]).unwrap();
        let deliverer = spool.deliver().unwrap();
        let mut incoming = Incoming::new(&deliverer);
        assert_eq!(incoming.take(&deliverer).waiting.len(), 3);
        assert!(incoming.take(&deliverer).waiting.is_empty());
        assert!(!incoming.wait(Duration::ZERO, None));

        spool.accept(&record("4")).unwrap();
        assert!(incoming.wait(Duration::from_secs(10), None));
        let four = record("4").id;
        assert_eq!(ids(&incoming.take(&deliverer)), [four.as_str()]);

        spool.accept_batch(&[record("5"), record("6")]).unwrap();
        assert!(incoming.wait(Duration::from_secs(10), None));
        assert_eq!(incoming.take(&deliverer).waiting.len(), 2);
    }

    #[test]
    fn batches_that_come_while_others_are_split_are_not_overlooked() {
        const BATCHES: usize = 300;
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path());
        let deliverer = spool.deliver().unwrap();
        let mut incoming = Incoming::new(&deliverer);
        let writer = std::thread::spawn(move || {
            for number in 0..BATCHES {
                let pair = [format!("{number}.1"), format!("{number}.2")];
                spool.accept_batch(&pair.map(|id| record(&id))).unwrap();
            }
        });
        let mut arrived = 0;
        while arrived < 2 * BATCHES {
            assert!(
                incoming.wait(Duration::from_secs(10), None),
                "{arrived} calls, and no word of the others"
            );
            arrived += incoming.take(&deliverer).waiting.len();
        }
        writer.join().unwrap();
    }

    #[test]
    fn a_call_that_waits_again_is_not_new_but_one_retried_by_hand_is() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path());
        let id = record("1").id;
        spool.accept(&record("1")).unwrap();
        let deliverer = spool.deliver().unwrap();
        let mut incoming = Incoming::new(&deliverer);
        incoming.take(&deliverer);
        let begin = || match deliverer.begin_attempt(&id).unwrap() {
            Begun::Ready(record) => *record,
            other => panic!("{other:?}"),
        };
        deliverer.back_to_waiting(&begin()).unwrap();
        assert!(incoming.take(&deliverer).waiting.is_empty());
        deliverer.finish_dead(&mut begin(), "no").unwrap();
        incoming.forget(&id);
        spool.retry(&id).unwrap();
        assert_eq!(ids(&incoming.take(&deliverer)), [id.as_str()]);
    }

    #[test]
    fn a_clock_that_jumps_back_does_not_change_the_order() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path());
        // The second boot's clock was first wrong by years, then put right.
        for record in [
            at("b", "one", 2000, "2026-11-22T10:00:02Z"),
            at("a", "one", 1000, "2026-11-22T10:00:01Z"),
            at("d", "two", 600, "2026-11-22T12:00:00Z"),
            at("e", "two", 700, "2026-11-22T11:00:00Z"),
            at("c", "two", 500, "2026-11-22T12:30:00Z"),
        ] {
            spool.accept(&record).unwrap();
        }
        let deliverer = spool.deliver().unwrap();
        let mut incoming = Incoming::new(&deliverer);
        let arrived = incoming.take(&deliverer);
        let order: String = ids(&arrived).iter().map(|id| &id[..1]).collect();
        assert_eq!(order, "abcde");
        // One that comes later, its clock back by a day, is still the last.
        spool
            .accept(&at("f", "two", 800, "2026-11-21T11:00:00Z"))
            .unwrap();
        let later = incoming.take(&deliverer);
        assert!(later.waiting[0].place > arrived.waiting[4].place);
    }

    #[test]
    fn damaged_files_are_set_aside_and_the_others_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path());
        spool.accept(&record("1")).unwrap();
        let deliverer = spool.deliver().unwrap();
        let new = spool.folder(Folder::New);
        std::fs::write(new.join("half.json"), b"{\"schema\":1,").unwrap();
        std::fs::write(new.join("empty.json"), b"").unwrap();
        std::fs::write(new.join("note.txt"), b"remember the milk").unwrap();
        let mut incoming = Incoming::new(&deliverer);
        let arrived = incoming.take(&deliverer);
        assert_eq!(arrived.waiting.len(), 1);
        assert_eq!(arrived.damaged.len(), 3);
        assert_eq!(spool.count(Folder::Damaged).unwrap(), 3);
        assert_eq!(spool.count(Folder::New).unwrap(), 1);
    }

    #[test]
    fn without_the_kernels_help_the_folder_is_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path());
        let deliverer = spool.deliver().unwrap();
        let mut incoming = Incoming::new(&deliverer);
        incoming.watch = None;
        incoming.take(&deliverer);
        spool.accept(&record("1")).unwrap();
        assert!(incoming.wait(Duration::ZERO, None));
        assert_eq!(incoming.take(&deliverer).waiting.len(), 1);
        assert!(incoming.take(&deliverer).waiting.is_empty());
    }
}
