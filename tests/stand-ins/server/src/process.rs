//! The calls that need the C library. The only file of this crate with `unsafe` in it.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

pub use libc::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1};

unsafe extern "C" {
    fn __nss_configure_lookup(db: *const libc::c_char, service: *const libc::c_char)
    -> libc::c_int;
}

/// Look names up in /etc/hosts and DNS only. A static glibc loads any other module that
/// /etc/nsswitch.conf names from the image at run time, and crashes when it answers.
pub fn pin_name_services() {
    for (db, services) in [(c"hosts", c"files dns"), (c"passwd", c"files"), (c"group", c"files")] {
        // SAFETY: both are NUL-terminated literals, and no other thread runs yet.
        unsafe { __nss_configure_lookup(db.as_ptr(), services.as_ptr()) };
    }
}

fn signal_set(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: sigemptyset initialises the set before anything reads it.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in signals {
            libc::sigaddset(&mut set, *signal);
        }
        set
    }
}

/// Hold these signals back in every thread started from now on; `wait_for_signal` takes
/// them. A first process (PID 1) would otherwise lose the ones without a handler.
pub fn block_signals(signals: &[i32]) {
    let set = signal_set(signals);
    // SAFETY: the set is initialised; the old mask is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) };
}

pub fn wait_for_signal(signals: &[i32]) -> i32 {
    let set = signal_set(signals);
    let mut signal = 0;
    loop {
        // SAFETY: both pointers are to live locals.
        if unsafe { libc::sigwait(&set, &mut signal) } == 0 {
            return signal;
        }
    }
}

/// The mask is inherited by children, and a job that cannot be terminated is not what cron
/// starts.
pub fn give_signals_back(command: &mut Command) {
    // SAFETY: between fork and exec only sigemptyset and pthread_sigmask are called, which
    // are async-signal-safe, and nothing is allocated.
    unsafe {
        command.pre_exec(|| {
            let set = signal_set(&[]);
            libc::pthread_sigmask(libc::SIG_SETMASK, &set, std::ptr::null_mut());
            Ok(())
        });
    }
}

/// End as an unhandled signal would end the process. Returns when the kernel drops the
/// signal, which it does for the first process of a container.
pub fn die_by(signal: i32) {
    // SAFETY: SIG_DFL is a valid disposition, and the set is initialised.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        let set = signal_set(&[signal]);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut());
        libc::raise(signal);
    }
}

pub fn user_id() -> u32 {
    // SAFETY: getuid cannot fail.
    unsafe { libc::getuid() }
}

/// Give root up for good. Called before any thread is started, because the kernel keeps
/// these ids per thread.
pub fn become_user(uid: u32, gid: u32) -> std::io::Result<()> {
    // SAFETY: plain system calls; setgroups gets an empty list.
    let done = unsafe {
        libc::setgroups(0, std::ptr::null()) == 0
            && libc::setgid(gid) == 0
            && libc::setuid(uid) == 0
    };
    if done { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// The name in /proc/PID/comm, at most 15 bytes.
pub fn set_process_name(name: &str) {
    let name = CString::new(name).unwrap_or_default();
    // SAFETY: PR_SET_NAME reads a NUL-terminated string.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// Fork and leave the session. True in the daemon, false in the process that was called.
/// Only one thread may run.
pub fn fork_daemon() -> std::io::Result<bool> {
    // SAFETY: no other thread exists, so the child may go on using the allocator.
    match unsafe { libc::fork() } {
        -1 => Err(std::io::Error::last_os_error()),
        0 => {
            // SAFETY: the child of a fork is never a group leader, so this succeeds.
            unsafe { libc::setsid() };
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// Let go of the terminal or pipe that the starter waits on.
pub fn detach_standard_streams() -> std::io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    for descriptor in 0..3 {
        // SAFETY: both descriptors are open or may be replaced.
        unsafe { libc::dup2(null.as_raw_fd(), descriptor) };
    }
    Ok(())
}

/// The lock lasts until the file is closed, that is, until the process ends.
pub fn lock_exclusively(file: &File) -> bool {
    // SAFETY: the descriptor is open for as long as `file` is borrowed.
    unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) == 0 }
}

/// Wake up a thread that waits in accept.
pub fn stop_accepting(listener: &std::net::TcpListener) {
    // SAFETY: the descriptor is open for as long as `listener` is borrowed.
    unsafe { libc::shutdown(listener.as_raw_fd(), libc::SHUT_RDWR) };
}

#[derive(Debug, Clone, Copy)]
pub struct DiskSpace {
    pub total: u64,
    pub free: u64,
    pub available: u64,
}

pub fn disk_space(path: &Path) -> Option<DiskSpace> {
    let path = CString::new(path.as_os_str().as_encoded_bytes()).ok()?;
    // SAFETY: statvfs fills the whole structure when it returns 0.
    let stat = unsafe {
        let mut stat: libc::statvfs = std::mem::zeroed();
        if libc::statvfs(path.as_ptr(), &mut stat) != 0 {
            return None;
        }
        stat
    };
    Some(DiskSpace {
        total: stat.f_blocks * stat.f_frsize,
        free: stat.f_bfree * stat.f_frsize,
        available: stat.f_bavail * stat.f_frsize,
    })
}

/// A moment on the wall clock of the image's time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalTime {
    pub year: i64,
    pub month: u32,
    pub day: u32,
    pub hour: u32,
    pub minute: u32,
    pub second: u32,
    /// 0 is Sunday.
    pub weekday: u32,
    /// Seconds east of UTC.
    pub offset: i64,
}

pub fn local_time(epoch_seconds: i64) -> LocalTime {
    // SAFETY: localtime_r is the thread-safe form and fills `tm`.
    let tm = unsafe {
        let mut tm: libc::tm = std::mem::zeroed();
        libc::localtime_r(&epoch_seconds, &mut tm);
        tm
    };
    LocalTime {
        year: i64::from(tm.tm_year) + 1900,
        month: tm.tm_mon as u32 + 1,
        day: tm.tm_mday as u32,
        hour: tm.tm_hour as u32,
        minute: tm.tm_min as u32,
        second: tm.tm_sec as u32,
        weekday: tm.tm_wday as u32,
        offset: tm.tm_gmtoff,
    }
}

pub fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .unwrap_or_default()
}
