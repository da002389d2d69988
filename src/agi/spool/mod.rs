//! The folder of finished calls. Each is one file that moves from folder to folder:
//!
//! ```text
//! tmp/ ──► new/ ──► sending/ ──► sent/          batch/ holds many calls in one file, until the
//!    │       ▲  ▲       │  └───► dead/          deliverer has made a file in new/ of each
//!    │       │  └───────┘          │
//!    │       └──── ooy calls retry ┘            damaged/ holds what cannot be read
//!    └─► skipped/
//! ```
//!
//! A step is a file written in tmp/, flushed, renamed to its new place, the folder flushed, and
//! only then the old file removed. A process may be killed, or the power fail, between any two of
//! these: the file is then in one place or in two, never in none and never half. Of two places
//! the later one counts (sent and dead before sending, sending before new).
//!
//! Whoever takes calls over needs no lock. Whatever moves calls on holds the [`Deliverer`]'s.

mod accept;
mod batch;
mod deliverer;
mod folders;
mod incoming;
mod listing;
mod state;
mod tidy;
mod write;

use std::io;
use std::path::{Path, PathBuf};

pub use accept::Accepted;
pub use deliverer::{Begun, Busy, Deliverer};
pub use incoming::{Incoming, Place};
pub use listing::Damaged;
pub use state::{QueueState, Stopped};

use super::record::Id;
use crate::deployment::places::Places;
use crate::fault::Fault;

/// Where a call can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Folder {
    /// Being written.
    Tmp,
    /// Many calls in one file.
    Batch,
    /// Waiting.
    New,
    /// Being sent, or perhaps sent: nobody knows until RapidPro is asked.
    Sending,
    /// RapidPro has it.
    Sent,
    /// RapidPro is not told.
    Skipped,
    /// RapidPro will never take it as it is.
    Dead,
    /// Cannot be read.
    Damaged,
}

impl Folder {
    const ALL: [Folder; 8] = [
        Folder::Tmp,
        Folder::Batch,
        Folder::New,
        Folder::Sending,
        Folder::Sent,
        Folder::Skipped,
        Folder::Dead,
        Folder::Damaged,
    ];

    /// Its name below the spool.
    pub fn name(self) -> &'static str {
        match self {
            Folder::Tmp => "tmp",
            Folder::Batch => "batch",
            Folder::New => "new",
            Folder::Sending => "sending",
            Folder::Sent => "sent",
            Folder::Skipped => "skipped",
            Folder::Dead => "dead",
            Folder::Damaged => "damaged",
        }
    }
}

/// The folder of finished calls. Making this value touches nothing; folders are made when the
/// first call comes.
#[derive(Debug, Clone)]
pub struct Spool {
    root: PathBuf,
}

impl Spool {
    /// The spool at this place.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn folder(&self, folder: Folder) -> PathBuf {
        self.root.join(folder.name())
    }

    fn file(&self, folder: Folder, id: &Id) -> PathBuf {
        self.root.join(folder.name()).join(format!("{id}.json"))
    }

    /// Whether there is anything at this place, a damaged file or a link included.
    fn holds(&self, folder: Folder, id: &Id) -> io::Result<bool> {
        match std::fs::symlink_metadata(self.file(folder, id)) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Where a call is that has left new/ already, or never was there.
    fn settled(&self, id: &Id) -> io::Result<Option<Folder>> {
        // The order in which a call moves, so that one that moves meanwhile is not overlooked.
        for folder in [Folder::Sending, Folder::Sent, Folder::Dead, Folder::Skipped] {
            if self.holds(folder, id)? {
                return Ok(Some(folder));
            }
        }
        Ok(None)
    }

    /// What an operator is told when the spool cannot be used.
    pub fn fault(&self, doing: &str, error: &io::Error, places: &Places) -> Fault {
        let shown = self.root.display();
        let fault = Fault::problem(
            format!("{shown}: cannot be used"),
            format!("{doing} failed"),
        )
        .evidence(format!("{shown}: {error}"))
        .why("calls are kept in this folder until RapidPro has them");
        let list = places.command("calls list");
        match error.kind() {
            io::ErrorKind::PermissionDenied => fault
                .next(format!("ls -ld {shown}"))
                .next(format!("sudo -u asterisk {list}")),
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => fault
                .next(format!("df -h {shown}"))
                .next(format!("df -i {shown}")),
            io::ErrorKind::ReadOnlyFilesystem => fault
                .next(format!("findmnt -T {shown}"))
                .next("dmesg | tail -20"),
            _ => fault.next(format!("ls -ld {shown}")).next(list),
        }
    }
}
