//! Runs a program and kills it at a system call of one's choice.
//!
//! By ptrace: strace's own injection counts each kind of system call by itself, so "the 57th of
//! all" cannot be said with it. Here the program, its threads and what it forks stop at each
//! entry into the kernel, are counted together, and die together, as when the machine goes off.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};

/// How a traced run ended.
#[derive(Debug)]
pub struct Traced {
    /// Of the program itself; a signal where it was killed.
    pub status: ExitStatus,
    /// Entered, by all of its processes and threads together.
    pub system_calls: usize,
    pub killed: bool,
    pub stdout: String,
}

const OPTIONS: libc::c_int = libc::PTRACE_O_TRACESYSGOOD
    | libc::PTRACE_O_EXITKILL
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEEXEC;

/// Runs the command with this on its stdin, answers each line that it says as Asterisk would,
/// and kills it as it enters its `kill_at`th system call (the first is 1). What it starts as
/// another program (exec) is let go: it lives on.
pub fn run(command: &mut Command, stdin: &[u8], kill_at: Option<usize>) -> Traced {
    run_until(command, stdin, move |count, _| Some(count) == kill_at)
}

/// The same; kills it as it enters the system call of which `is_last` says so, by how many there have
/// been (this one is counted) and by its number.
pub fn run_until(
    command: &mut Command,
    stdin: &[u8],
    is_last: impl FnMut(usize, i64) -> bool,
) -> Traced {
    let (their_stdin, mut our_end) = std::io::pipe().unwrap();
    let (output, their_stdout) = std::io::pipe().unwrap();
    // Less than a pipe holds, so this does not wait for a reader.
    our_end.write_all(stdin).unwrap();
    command
        .stdin(Stdio::from(their_stdin))
        .stdout(Stdio::from(their_stdout))
        .stderr(Stdio::from(File::create("/dev/null").unwrap()));
    // SAFETY: ptrace is a system call and nothing else.
    unsafe {
        command.pre_exec(|| {
            libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
            Ok(())
        });
    }
    // Not waited for through `Child`: the loop below does.
    let program = command.spawn().unwrap().id() as libc::pid_t;
    // Our copies of the pipes' other ends.
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let conversation = std::thread::spawn(move || {
        let mut said = String::new();
        for line in BufReader::new(output).lines() {
            let line = line.unwrap();
            // It may have been killed meanwhile.
            let _ = our_end.write_all(b"200 result=1 (1795345652.1)\n");
            said += &(line + "\n");
        }
        said
    });

    let mut trace = Trace {
        program,
        tracees: BTreeSet::from([program]),
        is_last,
        system_calls: 0,
        killed: false,
        status: None,
    };
    trace.follow();
    Traced {
        status: trace.status.expect("the program has ended"),
        system_calls: trace.system_calls,
        killed: trace.killed,
        stdout: conversation.join().unwrap(),
    }
}

struct Trace<F> {
    program: libc::pid_t,
    tracees: BTreeSet<libc::pid_t>,
    is_last: F,
    system_calls: usize,
    killed: bool,
    status: Option<ExitStatus>,
}

impl<F: FnMut(usize, i64) -> bool> Trace<F> {
    /// Until none is left to trace.
    fn follow(&mut self) {
        let mut begun = false;
        while !self.tracees.is_empty() {
            let mut status = 0;
            // __WNOTHREAD: only what this thread traces, not the children of other tests.
            // SAFETY: plain system call, the status lives as long as it.
            let pid =
                unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::__WNOTHREAD) };
            assert!(pid > 0, "{}", std::io::Error::last_os_error());
            if !libc::WIFSTOPPED(status) {
                self.tracees.remove(&pid);
                if pid == self.program {
                    self.status = Some(ExitStatus::from_raw(status));
                }
                continue;
            }
            self.tracees.insert(pid);
            if !begun {
                ptrace(libc::PTRACE_SETOPTIONS, pid, OPTIONS as usize);
                begun = true;
            }
            if self.killed {
                continue;
            }
            self.stopped(pid, status);
        }
    }

    fn stopped(&mut self, pid: libc::pid_t, status: libc::c_int) {
        let signal = libc::WSTOPSIG(status);
        let event = status >> 16;
        if event == libc::PTRACE_EVENT_EXEC && pid != self.program {
            self.tracees.remove(&pid);
            ptrace(libc::PTRACE_DETACH, pid, 0);
            return;
        }
        if signal == libc::SIGTRAP | 0x80
            && let Some(call) = entering(pid)
        {
            self.system_calls += 1;
            if (self.is_last)(self.system_calls, call) {
                self.killed = true;
                for tracee in &self.tracees {
                    // SAFETY: plain system call; these are stopped or running, never reaped.
                    unsafe { libc::kill(*tracee, libc::SIGKILL) };
                }
                return;
            }
        }
        // A new process stops once with SIGSTOP, an exec with SIGTRAP: both are the tracing's own.
        let own = event != 0
            || signal == libc::SIGTRAP
            || signal == libc::SIGTRAP | 0x80
            || signal == libc::SIGSTOP;
        ptrace(
            libc::PTRACE_SYSCALL,
            pid,
            if own { 0 } else { signal as usize },
        );
    }
}

/// The number of the system call that the tracee is about to enter; none where it leaves one.
fn entering(pid: libc::pid_t) -> Option<i64> {
    const ENTRY: u8 = 1;
    // As much of the structure as has what is asked for (ptrace(2)): the first byte says which way, the
    // fourth word is the number.
    let mut about = [0u64; 4];
    // SAFETY: the kernel writes at most as many bytes as it is told.
    unsafe {
        libc::ptrace(
            libc::PTRACE_GET_SYSCALL_INFO,
            pid,
            size_of_val(&about),
            &raw mut about,
        );
    }
    (about[0].to_le_bytes()[0] == ENTRY).then(|| about[3].cast_signed())
}

/// What fails here fails because the tracee has just died, which waitpid tells.
fn ptrace(request: libc::c_uint, pid: libc::pid_t, data: usize) {
    // SAFETY: none of the requests above writes into this process.
    unsafe { libc::ptrace(request, pid, 0usize, data) };
}

#[test]
fn the_tracer_counts_and_kills() {
    let whole = run(Command::new("/bin/echo").arg("hello"), b"", None);
    assert!(whole.status.success() && !whole.killed);
    assert_eq!(whole.stdout, "hello\n");
    let last = run(
        Command::new("/bin/echo").arg("hello"),
        b"",
        Some(whole.system_calls),
    );
    assert!(last.killed && last.stdout == "hello\n", "{last:?}");
    let first = run(Command::new("/bin/echo").arg("hello"), b"", Some(1));
    assert!(first.killed && first.stdout.is_empty(), "{first:?}");
    assert_eq!(first.status.signal(), Some(libc::SIGKILL));
}
