//! Room on file systems, and sizes as people and Docker write them.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// How full a file system is. Sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    /// Size of the file system (statvfs `f_blocks`).
    pub total: u64,
    /// What root may still write (`f_bfree`), the reserve included.
    pub free: u64,
    /// What everybody else may still write (`f_bavail`): df's "Avail". PostgreSQL and
    /// Elasticsearch do not run as root, so this is the figure that decides.
    pub available: u64,
    /// Use% exactly as df shows it: the reserve counted out, rounded up. 0 to 100.
    pub used_percent: u8,
    /// Number of inodes; 0 where the file system makes them as it needs them (btrfs).
    pub inodes_total: u64,
    /// Number of unused inodes.
    pub inodes_free: u64,
    /// Where the file system is mounted.
    pub mount_point: PathBuf,
    /// What is mounted there: `/dev/vda1`, `overlay`, `server:/export`.
    pub device: String,
    /// Whether it is mounted read-only.
    pub read_only: bool,
}

/// The room on the file system that holds `path`, or would hold it: for a path that does not
/// exist yet, its nearest parent that does is asked.
pub fn space(path: &Path) -> io::Result<Space> {
    let path = nearest_existing(path)?;
    let figures = rustix::fs::statvfs(&path)?;
    let mounts = mounts()?;
    let mount = mount_of(&mounts, &path);
    // Some file systems leave f_frsize empty; f_bsize is the unit then.
    let unit = match figures.f_frsize {
        0 => figures.f_bsize,
        size => size,
    };
    let used = figures.f_blocks.saturating_sub(figures.f_bfree);
    Ok(Space {
        total: figures.f_blocks.saturating_mul(unit),
        free: figures.f_bfree.saturating_mul(unit),
        available: figures.f_bavail.saturating_mul(unit),
        used_percent: percent_like_df(used, figures.f_bavail),
        inodes_total: figures.f_files,
        inodes_free: figures.f_ffree,
        mount_point: mount.map_or_else(|| PathBuf::from("/"), |m| m.mount_point.clone()),
        device: mount.map_or_else(|| "unknown".to_owned(), |m| m.source.clone()),
        read_only: figures
            .f_flag
            .contains(rustix::fs::StatVfsMountFlags::RDONLY),
    })
}

/// df's rule (coreutils df.c): what is used of what ordinary users could have, rounded up, so
/// that 100 % means that not a single block is left to them.
fn percent_like_df(used: u64, available: u64) -> u8 {
    let whole = u128::from(used) + u128::from(available);
    if whole == 0 {
        return 0;
    }
    u8::try_from((u128::from(used) * 100).div_ceil(whole)).unwrap_or(100)
}

fn nearest_existing(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    for candidate in path.ancestors() {
        match fs::canonicalize(candidate) {
            Ok(found) => return Ok(found),
            // A file where a directory was meant: its file system is still the right one.
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(PathBuf::from("/"))
}

/// One line of /proc/self/mountinfo (proc(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    /// The directory of the file system that is mounted; `/` where all of it is.
    pub(super) root: PathBuf,
    pub(super) mount_point: PathBuf,
    pub(super) kind: String,
    pub(super) source: String,
    pub(super) super_options: String,
}

/// The mounts this process sees.
pub(super) fn mounts() -> io::Result<Vec<Mount>> {
    Ok(parse_mounts(&fs::read("/proc/self/mountinfo")?))
}

/// Lines that do not look as proc(5) says are left out.
pub(super) fn parse_mounts(text: &[u8]) -> Vec<Mount> {
    text.split(|b| *b == b'\n')
        .filter_map(parse_mount)
        .collect()
}

fn parse_mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|b| *b == b' ');
    let root = unescape(fields.nth(3)?);
    let mount_point = unescape(fields.next()?);
    // Optional fields end with a dash on its own.
    fields.find(|field| *field == b"-")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some(Mount {
        root: root.into(),
        mount_point: mount_point.into(),
        kind: text(fields.next()?),
        source: text(unescape(fields.next()?).as_bytes()),
        super_options: text(fields.next()?),
    })
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape(field: &[u8]) -> OsString {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let octal = (*first == b'\\')
            .then(|| tail.get(..3))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal {
            Some(byte) => {
                out.push(byte);
                rest = &tail[3..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(out)
}

/// The mount that `path` (without symbolic links) lies on: the longest mount point above it, and
/// of several at the same place the last, which hides the others.
fn mount_of<'a>(mounts: &'a [Mount], path: &Path) -> Option<&'a Mount> {
    mounts
        .iter()
        .filter(|mount| path.starts_with(&mount.mount_point))
        .max_by_key(|mount| mount.mount_point.components().count())
}

/// A size for people, in binary units and, like `du -h`, rounded up, so that nothing is ever
/// shown smaller than it is: `812 MB`, `11.2 GB`, `126 GB`. Decimals from GB on and below 100.
pub fn human(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KB", "MB", "GB", "TB", "PB", "EB"];
    let mut unit: u64 = 1;
    let mut step = 0;
    // By the rounded figure, so that 1023.5 MB becomes 1.0 GB and never 1024 MB.
    while bytes.div_ceil(unit) >= 1024 && step + 1 < UNITS.len() {
        unit *= 1024;
        step += 1;
    }
    let name = UNITS[step];
    let tenths = (u128::from(bytes) * 10).div_ceil(u128::from(unit));
    if step >= 3 && tenths < 1000 {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    } else {
        format!("{} {name}", bytes.div_ceil(unit))
    }
}

/// Reads a size as the json-file log driver reads `max-size`: `500m`, `2g`, `10k`, `1.5GB`. The
/// result is in bytes and, as there, the units are **decimal**: 500m is 500 000 000 (moby
/// jsonfilelog.go calls `units.FromHumanSize`). `None` where Docker would refuse it too,
/// which includes 0 and `-1`, its word for "no limit".
pub fn parse_size(text: &str) -> Option<u64> {
    // go-units: ^(\d+(\.\d+)*) ?([kmgtp])?i?b?$, case ignored.
    let text = text.to_ascii_lowercase();
    let text = text.strip_suffix('b').unwrap_or(&text);
    let text = text.strip_suffix('i').unwrap_or(text);
    let (number, factor) = match text.as_bytes().last()? {
        b'k' => (&text[..text.len() - 1], 1e3),
        b'm' => (&text[..text.len() - 1], 1e6),
        b'g' => (&text[..text.len() - 1], 1e9),
        b't' => (&text[..text.len() - 1], 1e12),
        b'p' => (&text[..text.len() - 1], 1e15),
        _ => (text, 1.0),
    };
    let number = number.strip_suffix(' ').unwrap_or(number);
    let plain = number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let framed = number.starts_with(|c: char| c.is_ascii_digit())
        && number.ends_with(|c: char| c.is_ascii_digit());
    if !plain || !framed {
        return None;
    }
    let bytes = number.parse::<f64>().ok()? * factor;
    // Docker holds sizes as signed numbers.
    (1.0..2f64.powi(63))
        .contains(&bytes)
        .then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_read_as_in_the_sketches() {
        const MB: u64 = 1 << 20;
        const GB: u64 = 1 << 30;
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KB"),
            (1025, "2 KB"),
            (3 * MB, "3 MB"),
            (812 * MB - 5, "812 MB"),
            (1023 * MB + 1, "1.0 GB"),
            (12_025_908_428, "11.2 GB"),
            (GB + 1, "1.1 GB"),
            (99 * GB + GB / 10 * 9, "99.9 GB"),
            (100 * GB, "100 GB"),
            (1023 * GB + 1, "1.0 TB"),
            (u64::MAX, "16.0 EB"),
        ] {
            assert_eq!(human(bytes), shown, "{bytes}");
        }
    }

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
        for (text, bytes) in [
            ("500m", Some(500_000_000)),
            ("2g", Some(2_000_000_000)),
            ("10k", Some(10_000)),
            ("10K", Some(10_000)),
            ("1.5 GB", Some(1_500_000_000)),
            ("1MiB", Some(1_000_000)),
            ("77", Some(77)),
            ("1b", Some(1)),
            ("0", None),
            ("-1", None),
            ("", None),
            ("b", None),
            ("m", None),
            (".5m", None),
            ("5.m", None),
            ("1.2.3m", None),
            ("10  m", None),
            ("10x", None),
            ("1e9", None),
            ("9999999999999p", None),
            ("10µ", None),
        ] {
            assert_eq!(parse_size(text), bytes, "{text}");
        }
    }

    #[test]
    fn the_percentage_is_that_of_df() {
        assert_eq!(percent_like_df(0, 0), 0);
        assert_eq!(percent_like_df(0, 10), 0);
        assert_eq!(percent_like_df(1, 1_000_000), 1);
        assert_eq!(percent_like_df(50, 50), 50);
        assert_eq!(percent_like_df(999_999, 1), 100);
        assert_eq!(percent_like_df(u64::MAX, u64::MAX), 50);
    }

    const SAMPLE: &[u8] = b"23 1 254:0 / / rw,relatime - ext4 /dev/root rw\n\
        28 23 0:25 / /proc rw - proc proc rw\n\
        30 23 8:1 / /var\\040lib/x rw,relatime shared:1 master:2 - xfs /dev/sd\\134a rw,attr2\n\
        40 23 8:2 / /mnt rw - ext4 /dev/hidden rw\n\
        41 40 8:3 /sub /mnt rw - ext4 /dev/shown rw\n\
        broken line\n";

    #[test]
    fn mountinfo_is_read() {
        let mounts = parse_mounts(SAMPLE);
        assert_eq!(mounts.len(), 5);
        let of = |path: &str| mount_of(&mounts, Path::new(path)).unwrap();
        assert_eq!(of("/var lib/x/y").source, "/dev/sd\\a");
        assert_eq!(of("/var lib/xy").source, "/dev/root");
        assert_eq!(of("/mnt/a").source, "/dev/shown");
        assert_eq!(of("/mnt/a").root, Path::new("/sub"));
        assert_eq!(of("/var lib/x").kind, "xfs");
        assert_eq!(of("/var lib/x").super_options, "rw,attr2");
    }

    #[test]
    fn this_machine_is_measured() {
        let here = space(Path::new("/")).unwrap();
        assert!(here.total >= here.free && here.free >= here.available);
        assert_eq!(here.mount_point, Path::new("/"));
        assert!(here.used_percent <= 100);
        let temp = tempfile::tempdir().unwrap();
        let missing = temp.path().join("not/yet/there");
        assert_eq!(
            space(&missing).unwrap().mount_point,
            space(temp.path()).unwrap().mount_point
        );
        let file = temp.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(space(&file.join("below/a/file")).is_ok());
        assert_eq!(
            space(Path::new("/proc/self")).unwrap().mount_point,
            Path::new("/proc")
        );
    }

    proptest! {
        #[test]
        fn what_is_shown_is_never_smaller_and_barely_larger(bytes in any::<u64>()) {
            let text = human(bytes);
            let (number, unit) = text.split_once(' ').unwrap();
            let exponent = ["B", "KB", "MB", "GB", "TB", "PB", "EB"]
                .iter().position(|u| *u == unit).unwrap();
            let shown = number.parse::<f64>().unwrap() * 1024f64.powi(exponent as i32);
            prop_assert!(shown >= bytes as f64 * 0.999_999);
            prop_assert!(shown <= bytes as f64 * 1.101 + 1024f64.powi(exponent as i32 - 1) * 1024.0);
        }

        #[test]
        fn any_bytes_are_no_trouble(text in any::<Vec<u8>>(), size in ".{0,12}") {
            let _ = parse_mounts(&text);
            let _ = parse_size(&size);
        }
    }
}
