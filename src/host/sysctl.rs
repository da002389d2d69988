//! Settings and figures of the kernel.

use std::fs;
use std::io;
use std::path::Path;

/// What Elasticsearch demands of `vm.max_map_count`, or it ends itself at start-up (its
/// bootstrap check "max virtual memory areas").
pub const MAX_MAP_COUNT_WANTED: u64 = 262_144;

/// The value of a kernel setting, by its name as sysctl writes it: `vm.max_map_count`. Without
/// the final line feed.
pub fn read(name: &str) -> io::Result<String> {
    let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if !name.bytes().all(known) || name.split('.').any(str::is_empty) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not the name of a kernel setting",
        ));
    }
    let path = Path::new("/proc/sys").join(name.replace('.', "/"));
    Ok(fs::read_to_string(path)?.trim_end().to_owned())
}

/// The value of `vm.max_map_count`: memory areas a process may have.
pub fn max_map_count() -> io::Result<u64> {
    read("vm.max_map_count")?
        .parse()
        .map_err(|_| not_a_number())
}

/// Memory that can be had without swapping, in bytes (`MemAvailable` of /proc/meminfo).
pub fn mem_available_bytes() -> io::Result<u64> {
    meminfo("MemAvailable")
}

/// All the memory of this machine, in bytes (`MemTotal` of /proc/meminfo).
pub fn mem_total_bytes() -> io::Result<u64> {
    meminfo("MemTotal")
}

fn meminfo(name: &str) -> io::Result<u64> {
    parse_meminfo(&fs::read_to_string("/proc/meminfo")?, name).ok_or_else(not_a_number)
}

/// The lines read `MemAvailable:   23811216 kB`, where kB means 1024 bytes.
fn parse_meminfo(text: &str, name: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

fn not_a_number() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel gave no number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernel_is_read() {
        assert!(max_map_count().unwrap() > 0);
        assert!(mem_available_bytes().unwrap() <= mem_total_bytes().unwrap());
        assert!(!read("kernel.ostype").unwrap().ends_with('\n'));
    }

    #[test]
    fn names_stay_below_proc_sys() {
        for name in [
            "",
            "..",
            "vm..max_map_count",
            "../version",
            "vm/max_map_count",
            "vm.",
        ] {
            assert_eq!(
                read(name).unwrap_err().kind(),
                io::ErrorKind::InvalidInput,
                "{name}"
            );
        }
        assert_eq!(
            read("vm.no_such").unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }

    #[test]
    fn meminfo_is_read() {
        let text = "MemTotal:  100 kB\nMemAvailable:       7 kB\nHugePages_Total:  3\n";
        assert_eq!(parse_meminfo(text, "MemAvailable"), Some(7 * 1024));
        assert_eq!(parse_meminfo(text, "Mem"), None);
        assert_eq!(parse_meminfo(text, "HugePages_Total"), None);
        assert_eq!(
            parse_meminfo("MemTotal: 99999999999999999999 kB", "MemTotal"),
            None
        );
    }
}
