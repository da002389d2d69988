//! Clocks that nobody sets: where the wall's clock may jump, order and age come from these.

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// Which start of the machine this is; empty where the kernel does not say.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

/// Milliseconds since the machine was started, time asleep included.
pub fn since_boot_ms() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    u64::try_from(time.tv_sec).unwrap_or_default() * 1000
        + u64::try_from(time.tv_nsec).unwrap_or_default() / 1_000_000
}

/// The wall's clock, in milliseconds: finer than that nobody reads.
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}
