//! Whose turn it is to be started by the daemon. Each start keeps a core busy for a quarter of a
//! second; more at once than there are cores only make all of them late, and first of all those
//! that others wait for. So they take turns, the most awaited first.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::sync::oneshot;

/// How long it is waited for others that want a turn at the same moment: what the most awaited one needs
/// is often up already, and only has to be looked at, while those that need nothing are here at once.
const LINING_UP: Duration = Duration::from_millis(10);

/// Hands out turns; for futures of one thread.
pub struct Turns {
    free: Cell<usize>,
    waiting: RefCell<Vec<(usize, oneshot::Sender<()>)>>,
}

/// A turn; over when dropped.
pub struct Turn<'a>(&'a Turns);

impl Turns {
    /// As many turns at the same time as this machine has cores.
    pub fn one_a_core() -> Self {
        Self::new(std::thread::available_parallelism().map_or(2, usize::from))
    }

    fn new(turns: usize) -> Self {
        Self {
            free: Cell::new(turns),
            waiting: RefCell::default(),
        }
    }

    /// Waits for a turn. Of all that have lined up the greatest `weight` goes first, of equals who came
    /// first.
    pub async fn take(&self, weight: usize) -> Turn<'_> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.borrow_mut().push((weight, sender));
        tokio::time::sleep(LINING_UP).await;
        self.hand_out();
        // The sender is dropped with these turns only, and then nobody waits.
        let _ = receiver.await;
        Turn(self)
    }

    fn hand_out(&self) {
        let mut waiting = self.waiting.borrow_mut();
        while self.free.get() > 0
            && let Some(next) = (0..waiting.len())
                .rev()
                .max_by_key(|index| waiting[*index].0)
        {
            // One that waits no longer is passed over.
            if waiting.remove(next).1.send(()).is_ok() {
                self.free.set(self.free.get() - 1);
            }
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.free.set(self.0.free.get() + 1);
        self.0.hand_out();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn the_most_awaited_goes_first_and_equals_in_their_order() {
        let turns = Turns::new(1);
        let order = RefCell::new(Vec::new());
        join_all(
            [("least", 0), ("low", 1), ("high", 3), ("low too", 1)].map(|(name, weight)| {
                let (turns, order) = (&turns, &order);
                async move {
                    let turn = turns.take(weight).await;
                    order.borrow_mut().push(name);
                    tokio::task::yield_now().await;
                    drop(turn);
                }
            }),
        )
        .await;
        assert_eq!(*order.borrow(), ["high", "low", "low too", "least"]);
        assert_eq!(turns.free.get(), 1);
    }
}
