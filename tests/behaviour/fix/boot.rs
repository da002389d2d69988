//! What comes back after a restart of Docker or the host.

mod crash;
mod order;
mod units;
