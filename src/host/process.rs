//! What only the C library can do for a process. The only file with unsafe code.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

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

/// Lets a closed terminal, or a channel that Asterisk hangs up, not end this process, nor what it
/// starts. SIGPIPE is ignored by Rust's runtime already.
pub fn ignore_hangup() {
    // SAFETY: SIG_IGN is no handler that could run; nothing else of the process is touched.
    unsafe {
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
    }
}

/// Starts this executable once more, for work that outlives this process. It has nothing of ours:
/// its standard streams lead nowhere. It has to call [`detach`] first.
pub fn start_detached(arguments: &[OsString]) -> std::io::Result<()> {
    // Not its path: that may hold another version by now. The name, because the one that we were
    // called by may be an old script's, which has a meaning (see main.rs).
    Command::new("/proc/self/exe")
        .arg0("ooy")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map(drop)
}

/// Cuts this process off from whoever started it: a session of its own, in the root folder, and
/// no descriptor left that it did not open itself. Asterisk waits for a script until nobody
/// holds its streams any more. To be called first, before anything is opened.
pub fn detach() {
    ignore_hangup();
    // Fails where it leads its group already, which serves as well.
    let _ = rustix::process::setsid();
    let _ = rustix::process::chdir("/");
    // SAFETY: nothing in this process has opened a descriptor yet, so none of them is owned by
    // any object here.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    if closed != 0 {
        // Linux before 5.9. All numbers first: the folder is read through a descriptor as well.
        let open: Vec<i32> = std::fs::read_dir("/proc/self/fd")
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|fd| *fd > 2)
            .collect();
        for fd in open {
            // SAFETY: as above; the one the folder was read through is closed already, and
            // closing it again does nothing, as there is no other thread.
            unsafe {
                libc::close(fd);
            }
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

/// Whether a signal has stopped a process (proc(5): state T), so that it answers nobody.
pub fn is_stopped(pid: u32) -> bool {
    state(pid) == Some('T')
}

/// Whether we may do everything.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// While this lives, this thread makes and reaches files as another user: root neither leaves
/// files behind that the folder's owner cannot move, nor follows a link that he has put there.
#[derive(Debug)]
pub struct FilesAs {
    user: libc::c_int,
    group: libc::c_int,
    // Of this thread only.
    _not_send: std::marker::PhantomData<*const ()>,
}

/// Makes files as this user from now on. Only root can; for others nothing changes.
pub fn files_as(user: u32, group: u32) -> FilesAs {
    // SAFETY: these change two numbers of this thread, of which nothing else here depends.
    let (group, user) = unsafe { (libc::setfsgid(group), libc::setfsuid(user)) };
    FilesAs {
        user,
        group,
        _not_send: std::marker::PhantomData,
    }
}

impl Drop for FilesAs {
    fn drop(&mut self) {
        // SAFETY: as above; both were given by the kernel.
        unsafe {
            libc::setfsuid(self.user.cast_unsigned());
            libc::setfsgid(self.group.cast_unsigned());
        }
    }
}

/// State of a process as ps shows it: `R` runs, `S` waits, `T` is stopped (Ctrl-Z), `Z` has ended.
/// None: there is no such process, or it is not shown to us.
pub fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it stands in brackets, and may hold any character.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.trim_start().chars().next()
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
    name_of(uid).unwrap_or_else(|| uid.to_string())
}

/// Name of the user of that number.
pub fn name_of(uid: u32) -> Option<String> {
    std::fs::read_to_string("/etc/passwd")
        .unwrap_or_default()
        .lines()
        .find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)? == uid.to_string()).then(|| name.to_owned())
        })
}

/// Name of this machine, as the kernel has it.
pub fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    crate::host::text::shorten(name.trim(), 64)
}

/// Gives memory that was freed back to the kernel: for a process that works for a second and then
/// sleeps for minutes, for months.
pub fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it may be called at any time, from any thread (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Lets all threads share two pools of memory instead of having one each: short-lived ones would
/// leave theirs behind, half empty. To be called before any thread exists.
pub fn share_memory_pools() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets a number of the allocator's own (mallopt(3)).
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}
