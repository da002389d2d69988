//! What every changing command shares: the lock, the journal, and the events that tell what is
//! being done to the screen, to machines and to the journal alike.

pub mod event;
pub mod journal;
pub mod lock;

pub use event::{Event, Kind, Reporter};
pub use journal::Operation;
