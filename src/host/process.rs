//! What only the C library can do for a process. The only file with unsafe code.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Prepares this process; to be called first, before any thread exists.
///
/// A static glibc loads the host's own NSS modules when /etc/nsswitch.conf names some, and
/// crashes when their glibc differs (rust-lang/rust#100711). Files and DNS need none.
pub fn prepare() {
    unsafe extern "C" {
        fn __nss_configure_lookup(
            db: *const libc::c_char,
            string: *const libc::c_char,
        ) -> libc::c_int;
    }
    for (database, sources) in [
        (c"hosts", c"files dns"),
        (c"passwd", c"files"),
        (c"group", c"files"),
    ] {
        // SAFETY: both texts are NUL-terminated and live for the whole program; no other thread
        // exists yet that could be looking a name up.
        unsafe {
            __nss_configure_lookup(database.as_ptr(), sources.as_ptr());
        }
    }
}

/// Lets the child receive SIGTERM when this process ends, however it ends.
pub fn end_with_parent(command: &mut Command) {
    // SAFETY: prctl is async-signal-safe and takes no memory.
    unsafe {
        command.pre_exec(|| {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) == -1 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
}

/// Whether we may do everything.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Numbers of a user and his group, by his name.
pub fn user_ids(name: &str) -> Option<(u32, u32)> {
    std::fs::read_to_string("/etc/passwd")
        .unwrap_or_default()
        .lines()
        .find_map(|line| {
            let mut fields = line.split(':');
            if fields.next()? != name {
                return None;
            }
            let user = fields.nth(1)?.parse().ok()?;
            Some((user, fields.next()?.parse().ok()?))
        })
}

/// Name of the user we run as, or its number.
pub fn user_name() -> String {
    let uid = rustix::process::getuid().as_raw();
    std::fs::read_to_string("/etc/passwd")
        .unwrap_or_default()
        .lines()
        .find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)? == uid.to_string()).then(|| name.to_owned())
        })
        .unwrap_or_else(|| uid.to_string())
}
