//! Room on the disks that a backup or a restore fills: enough before it begins, and its reserve left
//! while it goes on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::fault::{Fault, Result};
use crate::host::disk::{self, human};

/// How often room is looked at, and progress told: at 500 MB/s a tenth of the usual reserve.
pub const TICK: Duration = Duration::from_millis(200);

/// A disk that is being filled.
#[derive(Debug, Clone)]
pub struct Room {
    /// What for: `backup`.
    what: &'static str,
    path: PathBuf,
    /// Bytes that have to stay free.
    reserve: u64,
    free_up: String,
}

impl Room {
    /// The disk that holds `path`. `free_up` is the command that makes room.
    pub fn new(what: &'static str, path: &Path, reserve: u64, free_up: String) -> Self {
        Self {
            what,
            path: path.to_owned(),
            reserve,
            free_up,
        }
    }

    /// Bytes that may still be written.
    pub fn free(&self) -> Result<u64> {
        disk::space(&self.path)
            .map(|space| space.available)
            .map_err(|error| {
                Box::new(
                    Fault::problem(
                        format!("{}: cannot be used", self.path.display()),
                        "the disk does not say how much room it has",
                    )
                    .evidence(error.to_string())
                    .why("it may have been unplugged, or its file system is broken")
                    .next(format!("df -h {}", self.path.display()))
                    .next("dmesg | tail -n 20"),
                )
            })
    }

    /// Whether so much more has its place, the reserve left.
    pub fn has(&self, needed: u64) -> Result<()> {
        let free = self.free()?;
        if free >= needed.saturating_add(self.reserve) {
            return Ok(());
        }
        Err(Box::new(self.fault(
            format!("about {} would be written", human(needed)),
            free,
        )))
    }

    /// Whether the reserve is still left.
    pub fn is_left(&self) -> Result<()> {
        let free = self.free()?;
        if free >= self.reserve {
            return Ok(());
        }
        Err(Box::new(self.fault(
            "it was ended in the middle, and what it wrote is gone".to_owned(),
            free,
        )))
    }

    fn fault(&self, what: String, free: u64) -> Fault {
        Fault::problem(
            format!("{}: not enough room", self.what),
            format!(
                "the disk of {} would fall below its reserve",
                self.path.display()
            ),
        )
        .evidence(what)
        .evidence(format!(
            "{} free, {} have to stay free (DISK_RESERVE_MB)",
            human(free),
            human(self.reserve)
        ))
        .why("a full disk stops PostgreSQL, and with it every message")
        .next(self.free_up.clone())
        .next(format!("df -h {}", self.path.display()))
    }
}

/// Does the work, and calls `tick` meanwhile; its first error ends the work.
pub async fn watched<T, E>(
    work: impl Future<Output = Result<T, E>>,
    mut tick: impl AsyncFnMut() -> Result<(), E>,
) -> Result<T, E> {
    let mut work = std::pin::pin!(work);
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            _ = ticks.tick() => {}
        }
        // The work goes on while it is looked: a question to the server may take its time.
        let mut look = std::pin::pin!(tick());
        tokio::select! {
            done = &mut work => return done,
            seen = &mut look => seen?,
        }
    }
}
