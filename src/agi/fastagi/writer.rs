//! The thread that flushes: whatever has come while it flushed the last calls it flushes together.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::agi::record::Record;
use crate::agi::spool::Spool;

/// Calls of one batch. More of them would let the first wait longer than a second flush takes.
const MOST: usize = 512;

type Order = (Record, oneshot::Sender<bool>);

/// Keeps calls; dropped, it ends when all it was given are kept.
pub(super) struct Writer {
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(
        spool: Spool,
        tell: impl FnMut(String) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (orders, coming) = channel();
        let thread = std::thread::Builder::new()
            .name("calls".into())
            .spawn(move || run(&spool, &coming, tell))?;
        Ok(Self {
            orders: Some(orders),
            thread: Some(thread),
        })
    }

    /// Whether the call is on disk now.
    pub(super) async fn keep(&self, record: Record) -> bool {
        let (done, kept) = oneshot::channel();
        let sent = self
            .orders
            .as_ref()
            .is_some_and(|orders| orders.send((record, done)).is_ok());
        // A writer that ended before its time has kept nothing.
        sent && kept.await.unwrap_or(false)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.orders.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(spool: &Spool, coming: &Receiver<Order>, mut tell: impl FnMut(String)) {
    let mut failing = false;
    while let Ok(first) = coming.recv() {
        let mut records = vec![first.0];
        let mut waiting = vec![first.1];
        while records.len() < MOST
            && let Ok((record, done)) = coming.try_recv()
        {
            records.push(record);
            waiting.push(done);
        }
        let result = spool.accept_batch(&records);
        match &result {
            Err(error) if !failing => tell(format!(
                "calls cannot be kept in {}: {error}",
                spool.root().display()
            )),
            Ok(()) if failing => tell(format!(
                "calls are kept in {} again",
                spool.root().display()
            )),
            _ => {}
        }
        failing = result.is_err();
        for done in waiting {
            // Whoever has hung up meanwhile need not know; the call is kept.
            let _ = done.send(result.is_ok());
        }
    }
}
