//! Files of a process that has a root of its own, a container's: read without the Engine, which starts a
//! program of its own for each.

use std::fs::File;
use std::io::{self, Read as _};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};

/// Largest part of a file that is read.
const LIMIT: u64 = 256 * 1024;

/// Whether the process is the one that is meant: `sign` has to stand in its control group. The number of
/// a process of another machine, or of one that has ended, means something else here.
pub fn is_of(pid: u32, sign: &str) -> io::Result<()> {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    if !sign.is_empty() && groups.contains(sign) {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::NotFound,
        format!("process {pid} of this host is another one"),
    ))
}

/// The beginning of a regular file as the process sees it; `None`: it has none of that name. Links lead
/// nowhere but to where they lead in there. Only root may look.
pub fn read(pid: u32, sign: &str, path: &str) -> io::Result<Option<Vec<u8>>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, format!("/proc/{pid}/root"), flags, Mode::empty())?;
    // Of what was opened: a number may have got another process meanwhile.
    is_of(pid, sign)?;
    let opened = openat2(
        &root,
        path.trim_start_matches('/'),
        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    );
    let file = match opened {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut content = Vec::new();
    file.take(LIMIT).read_to_end(&mut content)?;
    Ok(Some(content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_this_process_is_read_and_that_of_another_is_not() {
        let pid = std::process::id();
        let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        let sign = groups.trim();
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        std::fs::write(&file, "A=1\n").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let read = |path: &std::path::Path, sign: &str| read(pid, sign, path.to_str().unwrap());
        assert_eq!(read(&file, sign).unwrap().as_deref(), Some(&b"A=1\n"[..]));
        assert_eq!(read(&link, sign).unwrap().as_deref(), Some(&b"A=1\n"[..]));
        assert_eq!(read(folder.path(), sign).unwrap(), None);
        assert_eq!(read(&folder.path().join("none"), sign).unwrap(), None);
        assert!(read(&file, "of another").is_err());
        assert!(read(&file, "").is_err());
    }
}
