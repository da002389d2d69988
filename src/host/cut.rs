//! Cuts a log that another process is writing, without a temporary file: on a disk without any
//! room there is none for one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::open_files;

/// Why a log was not cut.
#[derive(Debug)]
pub enum Error {
    /// A process writes it that would go on where it was, and leave a hole before it: nothing was
    /// done.
    Writer {
        /// The process.
        pid: u32,
        /// Why it could not be taught otherwise.
        why: io::Error,
    },
    /// The file itself.
    File(io::Error),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Error::File(error)
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Writer { pid, why } => write!(
                f,
                "process {pid} would go on writing in the middle of the cut file, and could not \
                 be told to write at its end: {why}"
            ),
            Error::File(error) => error.fmt(f),
        }
    }
}

/// Cuts a log of JSON lines to its last whole lines, `keep` bytes of them at most. Answers how
/// many bytes are left. A file that is not larger stays as it is.
///
/// The last lines wait in memory while the file is emptied, and are then written at its end in
/// one write. That is chosen over copying them to the front within the file, since at no moment
/// does a reader or a crash find half a line: a kill between the two costs those last lines, no
/// more, and the file is a good, short log. Lines that the writer adds within these microseconds
/// stand before the kept ones, or, where it adds them before the file is emptied, are lost.
///
/// Docker appends (O_APPEND) until it rotates for the first time; from then on it writes at an
/// offset of its own (moby logfile.go, `rotate`), and a file cut under it would become a file of
/// gigabytes of nothing. Such a writer is made to append before.
pub fn cut(path: &Path, keep: u64) -> Result<u64, Error> {
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)?;
    let size = file.metadata()?.len();
    if size <= keep && !is_sparse(&file)? {
        return Ok(size);
    }
    while !all_append(&file)? {}
    // As late as possible: what is added from here on is not among the kept.
    let kept = last_lines(&file, keep)?;
    file.set_len(0)?;
    // Without room after all (somebody was faster) the log begins anew.
    let _ = (&file).write_all(&kept);
    Ok(file.metadata()?.len())
}

/// Makes every writer append. False: one has closed its descriptor meanwhile, and may have the file
/// under another number now (a shell does that with each redirection), so that it has to be looked
/// again.
fn all_append(file: &File) -> Result<bool, Error> {
    let mut all = true;
    for held in open_files::holders(file)? {
        if held.writes() && !held.appends() {
            match held.make_append() {
                Ok(()) => {}
                Err(why) if open_files::is_gone(&why) => all = false,
                Err(why) => return Err(Error::Writer { pid: held.pid, why }),
            }
        }
    }
    Ok(all)
}

/// A file that was cut by hand under a writer that does not append: its beginning is a hole.
fn is_sparse(file: &File) -> io::Result<bool> {
    let about = file.metadata()?;
    Ok(about.blocks() * 512 < about.len() / 2)
}

/// The last whole lines that are JSON. Others are there when a disk was full in the middle of a
/// line; a reader stumbles over them.
fn last_lines(file: &File, keep: u64) -> io::Result<Vec<u8>> {
    let size = file.metadata()?.len();
    let start = size.saturating_sub(keep);
    let mut tail = vec![0; usize::try_from(size - start).unwrap_or_default()];
    file.read_exact_at(&mut tail, start)?;
    let mut lines = tail.split_inclusive(|byte| *byte == b'\n');
    if start > 0 {
        // Where it begins is not known.
        lines.next();
    }
    let good = |line: &&[u8]| {
        line.ends_with(b"\n") && serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok()
    };
    Ok(lines.filter(good).flatten().copied().collect())
}

/// Removes the predecessors of a log that was rotated (`NAME.1`, `NAME.2.gz`). Answers how many.
pub fn remove_rotated(path: &Path) -> io::Result<usize> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(0);
    };
    let mut removed = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let found = entry.file_name();
        let number = found
            .to_str()
            .and_then(|found| found.strip_prefix(name.to_str()?)?.strip_prefix('.'))
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        if number {
            match fs::remove_file(entry.path()) {
                Ok(()) => removed += 1,
                // Docker has just moved it on.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek as _, SeekFrom};

    fn line(number: usize) -> String {
        format!("{{\"log\":\"line {number}\\n\",\"stream\":\"stdout\"}}\n")
    }

    fn lines(path: &Path) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'));
        for line in text.lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
        text.lines().map(|line| format!("{line}\n")).collect()
    }

    #[test]
    fn the_last_whole_lines_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a-json.log");
        let mut text: String = (0..1000).map(line).collect();
        // The disk was full in the middle of a line, twice.
        text.insert_str(text.len() - line(999).len(), "{\"log\":\"ha\n");
        text += "{\"log\":\"lf";
        fs::write(&path, &text).unwrap();
        let left = cut(&path, 500).unwrap();
        assert!(left <= 500 && left > 300, "{left}");
        let lines = lines(&path);
        assert_eq!(lines.last().unwrap(), &line(999));
        assert_eq!(lines[lines.len() - 2], line(998));
        // Small enough it is left alone.
        assert_eq!(cut(&path, 500).unwrap(), left);
    }

    #[test]
    fn one_line_without_end_leaves_an_empty_log() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a-json.log");
        fs::write(&path, vec![b'x'; 5000]).unwrap();
        assert_eq!(cut(&path, 100).unwrap(), 0);
        fs::write(&path, b"").unwrap();
        assert_eq!(cut(&path, 100).unwrap(), 0);
        assert!(matches!(
            cut(&folder.path().join("none"), 100),
            Err(Error::File(_))
        ));
    }

    #[test]
    fn a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let other = folder.path().join("other");
        fs::write(&other, vec![b'x'; 5000]).unwrap();
        let path = folder.path().join("a-json.log");
        std::os::unix::fs::symlink(&other, &path).unwrap();
        assert!(cut(&path, 100).is_err());
        assert_eq!(fs::metadata(&other).unwrap().len(), 5000);
    }

    /// Ended with the test, however that ends: else it would write for ever.
    struct Writer(std::process::Child);

    impl Drop for Writer {
        fn drop(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }

    /// Writers of both kinds, in another process as Docker is one.
    #[test]
    fn a_writer_goes_on_at_the_end_of_the_cut_file() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        for redirection in [">>", ">"] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a-json.log");
            let name = path.display();
            let script = format!(
                "exec 7{redirection}{name}; n=0; while :; do echo '{{\"log\":\"'$n'\"}}' >&7; \
                 n=$((n+1)); done"
            );
            let mut writer = std::process::Command::new("sh");
            let writer = Writer(writer.args(["-c", &script]).spawn().unwrap());
            for _ in 0..3 {
                while fs::metadata(&path).map_or(0, |about| about.len()) < 100_000 {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                let left = cut(&path, 1000).unwrap();
                assert!(left < 50_000, "{left}");
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
            drop(writer);
            assert!(lines(&path).len() > 20, "{redirection}");
            assert!(!is_sparse(&File::open(&path).unwrap()).unwrap());
        }
    }

    #[test]
    fn a_file_with_a_hole_at_its_beginning_is_cut_as_well() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a-json.log");
        let mut file = File::create(&path).unwrap();
        file.seek(SeekFrom::Start(1 << 30)).unwrap();
        file.write_all(line(1).as_bytes()).unwrap();
        assert!(is_sparse(&file).unwrap());
        cut(&path, 4096).unwrap();
        // What stands behind the hole is not known to be whole.
        assert!(lines(&path).is_empty());
    }

    #[test]
    fn only_rotated_predecessors_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a-json.log");
        for name in [
            "a-json.log",
            "a-json.log.1",
            "a-json.log.2.gz",
            "b-json.log.1",
            "a-json.log.x",
        ] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        assert_eq!(remove_rotated(&path).unwrap(), 2);
        for name in ["a-json.log", "b-json.log.1", "a-json.log.x"] {
            assert!(folder.path().join(name).exists(), "{name}");
        }
    }
}
