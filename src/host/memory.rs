//! Memory of the host.

use std::fs;
use std::io;

/// How much there is. Sizes in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// All of it.
    pub total: u64,
    /// What programs can still get without swapping (`MemAvailable`, proc(5)): caches count.
    pub available: u64,
    /// Size of the swap.
    pub swap_total: u64,
    /// What is free of it.
    pub swap_free: u64,
}

impl Memory {
    /// Available memory in percent, rounded down.
    pub fn available_percent(&self) -> u64 {
        (self.available.saturating_mul(100))
            .checked_div(self.total)
            .unwrap_or(100)
    }
}

/// Asks the kernel.
pub fn read() -> io::Result<Memory> {
    parse(&fs::read_to_string("/proc/meminfo")?)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/meminfo lacks figures"))
}

fn parse(text: &str) -> Option<Memory> {
    let field = |name: &str| {
        text.lines().find_map(|line| {
            let value = line.strip_prefix(name)?.strip_prefix(':')?;
            let number: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
            number.checked_mul(1024)
        })
    };
    Some(Memory {
        total: field("MemTotal")?,
        available: field("MemAvailable")?,
        swap_total: field("SwapTotal").unwrap_or(0),
        swap_free: field("SwapFree").unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_read() {
        let text = "MemTotal:       4040000 kB\nMemFree: 1 kB\nMemAvailable:    404000 kB\n\
            SwapTotal:      1000 kB\nSwapFree:        10 kB\nHugePages_Total: 0\n";
        let memory = parse(text).unwrap();
        assert_eq!(memory.total, 4_040_000 * 1024);
        assert_eq!(memory.available_percent(), 10);
        assert_eq!(memory.swap_free, 10 * 1024);
        assert_eq!(parse("MemTotal: 1 kB\n"), None);
    }

    #[test]
    fn this_machine_has_memory() {
        let memory = read().unwrap();
        assert!(memory.total >= memory.available && memory.available > 0);
    }
}
