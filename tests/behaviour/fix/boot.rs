//! What comes back after a restart of Docker or the host.
