//! A secret for a program that we run: in a file that lives in memory only, and is gone with us.
//!
//! Environment variables would do as well against other users; but whoever looks at processes as
//! root (`ps e`), or at a core dump of the program, sees them.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;

use rustix::fs::{MemfdFlags, Mode};

/// A file that only this user can open, by a path that is good as long as this lives.
#[derive(Debug)]
pub struct Secret {
    file: File,
}

impl Secret {
    /// Makes it.
    pub fn new(content: &str) -> io::Result<Self> {
        let mut file = File::from(rustix::fs::memfd_create("ooy", MemfdFlags::CLOEXEC)?);
        // libpq does not read one that others may read.
        rustix::fs::fchmod(&file, Mode::RUSR)?;
        file.write_all(content.as_bytes())?;
        Ok(Self { file })
    }

    /// Where a program of the same user finds it.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn it_can_be_read_by_its_path_and_by_nobody_else() {
        let secret = Secret::new("a:b").unwrap();
        assert_eq!(std::fs::read_to_string(secret.path()).unwrap(), "a:b");
        let mode = std::fs::metadata(secret.path()).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o400);
    }
}
