//! Settings of the kernel.

use std::fs;
use std::io;
use std::path::Path;

/// What Elasticsearch demands of `vm.max_map_count` (its bootstrap check "max virtual memory
/// areas"). With `discovery.type=single-node`, as here, it starts with less and fails under load.
pub const MAX_MAP_COUNT_WANTED: u64 = 262_144;

/// The value of a kernel setting, by its name as sysctl writes it: `vm.max_map_count`. Without
/// the final line feed.
pub fn read(name: &str) -> io::Result<String> {
    Ok(fs::read_to_string(path(name)?)?.trim_end().to_owned())
}

/// Sets it, until the next boot. Root only, and not where a container shows it read-only.
pub fn write(name: &str, value: &str) -> io::Result<()> {
    fs::write(path(name)?, value)
}

fn path(name: &str) -> io::Result<std::path::PathBuf> {
    let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if !name.bytes().all(known) || name.split('.').any(str::is_empty) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not the name of a kernel setting",
        ));
    }
    Ok(Path::new("/proc/sys").join(name.replace('.', "/")))
}

/// The value of `vm.max_map_count`: memory areas a process may have.
pub fn max_map_count() -> io::Result<u64> {
    read("vm.max_map_count")?
        .parse()
        .map_err(|_| not_a_number())
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
}
