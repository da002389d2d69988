//! Work that may block its thread (files, `/proc`, names of hosts), on a thread of its own. Not in the
//! runtime's blocking pool: a runtime that ends waits for that pool, so that a disk or a name server that
//! hangs would hold up the end of the whole command.

use std::{fmt, io};

use tokio::sync::oneshot;

/// Why there is no result.
#[derive(Debug)]
pub enum Undone {
    /// The kernel gave no thread.
    NoThread(io::Error),
    /// It panicked.
    Panicked,
}

impl fmt::Display for Undone {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Undone::NoThread(error) => write!(out, "no thread could be started: {error}"),
            Undone::Panicked => out.write_str("ooy met a case it was not made for"),
        }
    }
}

impl std::error::Error for Undone {}

/// Does this work on a thread of that name. It goes on where nobody waits for it any more, at most until
/// the program ends.
pub async fn apart<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Undone> {
    let (sender, receiver) = oneshot::channel();
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let _ = sender.send(work());
        })
        .map_err(Undone::NoThread)?;
    receiver.await.map_err(|_| Undone::Panicked)
}
