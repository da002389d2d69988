//! What wakes a deliverer besides new calls: an operator who wants it done now, and the end.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

/// A file of this name in the spool asks whoever delivers to try everything now.
const KICK: &str = "kick";

/// Asks whoever delivers to try everything now.
pub fn kick(root: &Path) -> io::Result<()> {
    std::fs::write(root.join(KICK), b"")
}

/// Ends a deliverer from another thread.
#[derive(Debug, Clone)]
pub struct Stopper(Arc<OwnedFd>);

impl Stopper {
    /// Nothing is stopped yet.
    pub fn new() -> io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Arc::new(fd)))
    }

    /// The deliverer ends after the request it is at.
    pub fn stop(&self) {
        // Only a full counter could refuse it, and then it is stopped already.
        let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }

    /// Whether it has been stopped.
    pub fn is_stopped(&self) -> bool {
        let mut fds = [PollFd::new(&*self.0, PollFlags::IN)];
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        poll(&mut fds, Some(&at_once)).is_ok_and(|ready| ready > 0)
    }
}

/// Both in one descriptor, which can be read when either has rung.
#[derive(Debug)]
pub struct Bell {
    both: OwnedFd,
    /// Follows the spool's folder for [`KICK`]; missing where the kernel has none left to give.
    kicks: Option<OwnedFd>,
    kick: std::path::PathBuf,
    stopper: Stopper,
}

impl Bell {
    /// Listens at the spool's folder.
    pub fn new(root: &Path, stopper: Stopper) -> io::Result<Self> {
        let both = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let reads = epoll::EventFlags::IN;
        epoll::add(&both, &*stopper.0, epoll::EventData::new_u64(0), reads)?;
        let kicks = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).and_then(|kicks| {
            // A closed file, not a made one: it is there, and nothing more will come.
            inotify::add_watch(&kicks, root, WatchFlags::CLOSE_WRITE | WatchFlags::ONLYDIR)?;
            epoll::add(&both, &kicks, epoll::EventData::new_u64(1), reads)?;
            Ok(kicks)
        });
        Ok(Self {
            both,
            kicks: kicks.ok(),
            kick: root.join(KICK),
            stopper,
        })
    }

    /// To wait for.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.both.as_fd()
    }

    /// Whether it is to end.
    pub fn is_stopped(&self) -> bool {
        self.stopper.is_stopped()
    }

    /// Whether somebody has asked for everything to be tried now, since the last time.
    pub fn was_kicked(&self) -> bool {
        let Some(kicks) = &self.kicks else {
            return std::fs::remove_file(&self.kick).is_ok();
        };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(kicks, &mut buffer);
        let mut kicked = false;
        while let Ok(event) = events.next() {
            kicked |= event
                .file_name()
                .is_some_and(|name| name.to_bytes() == KICK.as_bytes());
        }
        if kicked {
            let _ = std::fs::remove_file(&self.kick);
        }
        kicked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rings(bell: &Bell) -> bool {
        let fd = bell.descriptor();
        let mut fds = [PollFd::new(&fd, PollFlags::IN)];
        let limit = Timespec {
            tv_sec: 0,
            tv_nsec: 100_000_000,
        };
        poll(&mut fds, Some(&limit)).unwrap() > 0
    }

    #[test]
    fn a_kick_rings_once_and_the_end_for_good() {
        let folder = tempfile::tempdir().unwrap();
        let stopper = Stopper::new().unwrap();
        let bell = Bell::new(folder.path(), stopper.clone()).unwrap();
        assert!(bell.kicks.is_some());
        assert!(!rings(&bell) && !bell.was_kicked() && !bell.is_stopped());

        kick(folder.path()).unwrap();
        assert!(rings(&bell) && bell.was_kicked());
        assert!(!rings(&bell) && !bell.was_kicked());
        assert!(!folder.path().join(KICK).exists());

        // The deliverer's own notes in that folder are no kick.
        std::fs::write(folder.path().join("state.json"), "").unwrap();
        assert!(!bell.was_kicked());

        std::thread::spawn(move || stopper.stop()).join().unwrap();
        assert!(rings(&bell) && bell.is_stopped());
        assert!(rings(&bell) && bell.is_stopped());
    }
}
