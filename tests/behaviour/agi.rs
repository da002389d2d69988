//! `ooy agi` as Asterisk calls it: whatever comes, the call is on disk and Asterisk goes on.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{Ran, executable, until};

const START: &str = "2026-11-22T11:07:32";
const END: &str = "2026-11-22T11:07:33";
const CALL: [&str; 4] = ["254712345678", START, END, "inbound"];

/// As recorded from Asterisk 16.
const ENVIRONMENT: &str = "agi_request: /usr/local/bin/ooy\nagi_channel: Local/s@covid19-0;2\n\
    agi_language: en\nagi_type: Local\nagi_uniqueid: 1795345652.1\nagi_callerid: 254712345678\n\
    agi_context: ooy-end\nagi_extension: s\nagi_priority: 2\nagi_arg_1: agi\n\n";

/// A PBX: a folder of its own, in which nobody delivers.
struct Pbx {
    home: PathBuf,
    _deliverer: Option<File>,
    _folder: tempfile::TempDir,
}

impl Pbx {
    fn new() -> Self {
        let mut pbx = Self::without_spool();
        let spool = pbx.home.join("spool");
        std::fs::create_dir(&spool).unwrap();
        // Whoever holds this delivers, so `ooy agi` starts nobody else who would.
        let lock = File::create(spool.join("deliverer.lock")).unwrap();
        lock.try_lock().unwrap();
        pbx._deliverer = Some(lock);
        pbx
    }

    fn without_spool() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            home: folder.path().join("home"),
            _deliverer: None,
            _folder: folder,
        }
        .made()
    }

    fn made(self) -> Self {
        std::fs::create_dir(&self.home).unwrap();
        self
    }

    fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(executable());
        command
            .env_clear()
            .arg("--home")
            .arg(&self.home)
            .arg("agi")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Hands a call in, with this on standard input.
    fn hands_in<S: AsRef<OsStr>>(&self, arguments: &[S], input: &[u8]) -> Ran {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        // It may have read enough before all is written.
        let _ = child.stdin.take().unwrap().write_all(input);
        let mut ran = Ran::of(&child.wait_with_output().unwrap());
        // Asked for only while standard input is not at its end, which it soon is here.
        ran.stdout = ran.stdout.replace("GET VARIABLE CHANNEL(linkedid)\n", "");
        ran
    }

    fn files(&self, folder: &str) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(self.home.join("spool").join(folder))
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        files
    }

    /// The only record in that folder.
    #[track_caller]
    fn record(&self, folder: &str) -> serde_json::Value {
        let files = self.files(folder);
        assert_eq!(files.len(), 1, "{files:?}");
        assert!(self.files("tmp").is_empty());
        serde_json::from_slice(&std::fs::read(&files[0]).unwrap()).unwrap()
    }
}

/// Ends what a test has begun, if the test did not come so far.
struct Ended(Child);

impl Ended {
    /// How it ended; far more time than it may take.
    fn wait(&mut self) -> std::process::ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "it does not end");
            std::thread::yield_now();
        }
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_call_is_kept_and_the_channel_told() {
    let pbx = Pbx::new();
    let ran = pbx.hands_in(&CALL, ENVIRONMENT.as_bytes()).expect(0);
    assert_eq!(ran.stdout, "SET VARIABLE OOY_STATUS queued\n");
    assert_eq!(ran.stderr, "");
    let record = pbx.record("new");
    for (name, value) in [
        ("uniqueid", "1795345652.1"),
        ("channel", "Local/s@covid19-0;2"),
        ("msisdn", "254712345678"),
        ("number", "+254712345678"),
        ("start", START),
        ("end", END),
        ("direction", "inbound"),
    ] {
        assert_eq!(record[name], value, "{name}");
    }
    let file = &pbx.files("new")[0];
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let id = record["id"].as_str().unwrap();
    assert_eq!(file.file_name().unwrap(), format!("{id}.json").as_str());
}

#[test]
fn asterisks_answers_are_read() {
    let pbx = Pbx::new();
    let mut child = pbx.command(&CALL).stdin(Stdio::piped()).spawn().unwrap();
    let mut says = child.stdin.take().unwrap();
    let mut hears = child.stdout.take().unwrap();
    says.write_all(ENVIRONMENT.as_bytes()).unwrap();
    let mut heard = [0; 31];
    hears.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"GET VARIABLE CHANNEL(linkedid)\n");
    says.write_all(b"200 result=1 (1795345652.0)\n").unwrap();
    hears.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"SET VARIABLE OOY_STATUS queued\n");
    says.write_all(b"200 result=1\n").unwrap();
    assert!(Ended(child).wait().success());
    assert_eq!(pbx.record("new")["linkedid"], "1795345652.0");
}

#[test]
fn everything_after_agi_is_data() {
    for caller in ["--home", "--help", "-h", "serve", "agi", "--", "-"] {
        let pbx = Pbx::new();
        let ran = pbx
            .hands_in(&[caller, START, END, "inbound"], b"")
            .expect(0);
        assert_eq!(ran.stdout, "", "{caller}");
        assert_eq!(ran.stderr, "", "{caller}");
        let record = pbx.record("skipped");
        assert_eq!(record["msisdn"], caller);
    }
}

#[test]
fn the_old_scripts_name_does_the_same() {
    let pbx = Pbx::new();
    for name in ["update_user_rapidpro.py", "send_to_rapidpro.py"] {
        let link = pbx.home.join(name);
        std::os::unix::fs::symlink(executable(), &link).unwrap();
        let output = Command::new(&link)
            .env_clear()
            .env("OOY_HOME", &pbx.home)
            .args(CALL)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Ran::of(&output).expect(0);
    }
    assert_eq!(pbx.files("new").len(), 2);
}

#[test]
fn the_same_call_handed_in_again_is_one_call() {
    let pbx = Pbx::new();
    for _ in 0..2 {
        pbx.hands_in(&CALL, ENVIRONMENT.as_bytes()).expect(0);
    }
    // As the line in Asterisk's log says it.
    pbx.hands_in(&CALL, b"agi_uniqueid: 1795345652.1\n")
        .expect(0);
    assert_eq!(pbx.files("new").len(), 1);
    // Without Asterisk's id nobody can know.
    for _ in 0..2 {
        pbx.hands_in(&CALL, b"").expect(0);
    }
    assert_eq!(pbx.files("new").len(), 3);
}

#[test]
fn callers_without_a_number_are_kept_and_skipped() {
    for caller in [
        "",
        "anonymous",
        "Unknown",
        "101",
        "sip:a@example.org",
        "asterisk",
    ] {
        let pbx = Pbx::new();
        let ran = pbx
            .hands_in(&[caller, START, END, "inbound"], ENVIRONMENT.as_bytes())
            .expect(0);
        assert_eq!(ran.stdout, "SET VARIABLE OOY_STATUS skipped\n");
        assert!(pbx.files("new").is_empty());
        assert!(pbx.record("skipped")["skip_reason"].is_string(), "{caller}");
    }
}

#[test]
fn broken_arguments_lose_nothing() {
    let collapsed = format!("0712\u{e9}345678,{START},{END},inbound");
    let huge = "7".repeat(120 * 1024);
    for (arguments, folder, start, end) in [
        (vec![collapsed.as_bytes()], "skipped", START, END),
        (
            vec![b"07\xff12".as_slice(), START.as_bytes(), END.as_bytes()],
            "skipped",
            START,
            END,
        ),
        (
            vec![
                b"0712345\n678".as_slice(),
                START.as_bytes(),
                END.as_bytes(),
                b"in\nbound",
            ],
            "new",
            START,
            END,
        ),
        (vec![b"0712345678".as_slice()], "new", "", ""),
        (vec![b"".as_slice(), b"", b"", b""], "skipped", "", ""),
        (
            vec![
                b"0712".as_slice(),
                b"345678",
                START.as_bytes(),
                END.as_bytes(),
                b"inbound",
                b"x",
            ],
            "skipped",
            START,
            END,
        ),
        (
            vec![huge.as_bytes(), START.as_bytes(), END.as_bytes()],
            "skipped",
            START,
            END,
        ),
    ] {
        let pbx = Pbx::new();
        let arguments: Vec<&OsStr> = arguments.into_iter().map(OsStr::from_bytes).collect();
        pbx.hands_in(&arguments, ENVIRONMENT.as_bytes()).expect(0);
        let record = pbx.record(folder);
        assert_eq!(record["start"], start);
        assert_eq!(record["end"], end);
        // Only the newlines are as they should be as far as anybody can tell.
        assert_eq!(
            record["notes"].is_array(),
            record["direction"] != "in\nbound",
            "{record}"
        );
    }
}

#[test]
fn a_hangup_in_the_middle_loses_nothing() {
    let pbx = Pbx::new();
    let mut child = pbx.command(&CALL).stdin(Stdio::piped()).spawn().unwrap();
    let mut says = child.stdin.take().unwrap();
    says.write_all(&ENVIRONMENT.as_bytes()[..50]).unwrap();
    let mut child = Ended(child);
    // The kernel shows when it ignores the signal: from its first step on.
    let status = format!("/proc/{}/status", child.0.id());
    let ignores = || {
        std::fs::read_to_string(&status)
            .unwrap()
            .lines()
            .find_map(|line| line.strip_prefix("SigIgn:\t"))
            .is_some_and(|mask| u64::from_str_radix(mask, 16).unwrap() & 1 == 1)
    };
    let began = Instant::now();
    while !ignores() {
        assert!(began.elapsed() < Duration::from_secs(20));
        std::thread::yield_now();
    }
    let pid = rustix_pid(child.0.id());
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    // Nobody reads its answers any more either (SIGPIPE).
    drop(child.0.stdout.take());
    let _ = says.write_all(&ENVIRONMENT.as_bytes()[50..]);
    drop(says);
    let ended = child.wait();
    assert_eq!((ended.code(), ended.signal()), (Some(0), None));
    assert_eq!(pbx.files("new").len(), 1);
}

fn rustix_pid(pid: u32) -> rustix::process::Pid {
    rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}

#[test]
fn it_works_with_all_streams_closed() {
    let pbx = Pbx::new();
    let status = Command::new("sh")
        .args(["-c", "exec \"$@\" <&- >&- 2>&-", "sh"])
        .arg(executable())
        .arg("--home")
        .arg(&pbx.home)
        .arg("agi")
        .args(CALL)
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(pbx.files("new").len(), 1);
}

#[test]
fn garbage_and_silence_on_standard_input_lose_nothing() {
    let pbx = Pbx::new();
    let noise: Vec<u8> = (0..1_000_000u32).map(|n| (n * 31 % 251) as u8).collect();
    let ran = pbx.hands_in(&CALL, &noise).expect(0);
    assert_eq!(ran.stdout, "");
    assert_eq!(pbx.files("new").len(), 1);
    // Open, and mute.
    let mut child = pbx.command(&CALL).stdin(Stdio::piped()).spawn().unwrap();
    let _says = child.stdin.take();
    let began = Instant::now();
    assert!(Ended(child).wait().success());
    assert!(began.elapsed() < Duration::from_secs(3));
    assert_eq!(pbx.files("new").len(), 2);
    // Mute after the environment.
    let mut child = pbx.command(&CALL).stdin(Stdio::piped()).spawn().unwrap();
    let mut says = child.stdin.take().unwrap();
    says.write_all(ENVIRONMENT.as_bytes()).unwrap();
    let began = Instant::now();
    assert!(Ended(child).wait().success());
    assert!(began.elapsed() < Duration::from_secs(3));
    assert_eq!(pbx.files("new").len(), 3);
}

#[test]
fn many_calls_at_the_same_moment_are_all_kept() {
    let pbx = Pbx::new();
    let children: Vec<Child> = (0..60)
        .map(|_| pbx.command(&CALL).spawn().unwrap())
        .collect();
    for child in children {
        assert!(Ended(child).wait().success());
    }
    assert_eq!(pbx.files("new").len(), 60);
    assert!(pbx.files("tmp").is_empty());
}

#[test]
fn settings_that_are_missing_wrong_or_unreadable_lose_nothing() {
    let pbx = Pbx::new();
    let settings = pbx.home.join("ooy.env");
    let mut known = Vec::new();
    let mut keeps = |number: &str| {
        pbx.hands_in(&["0712345678", START, END, "inbound"], b"")
            .expect(0);
        let files = pbx.files("new");
        let new: Vec<&PathBuf> = files.iter().filter(|file| !known.contains(*file)).collect();
        assert_eq!(new.len(), 1);
        let text = std::fs::read_to_string(new[0]).unwrap();
        assert!(text.contains(number), "{text}");
        known = files;
    };
    keeps("+254712345678");
    std::fs::write(&settings, b"nonsense\n\xff\xfe\nCOUNTRY_CODE=Kenya\nA='\n").unwrap();
    keeps("+254712345678");
    std::fs::write(&settings, b"COUNTRY_CODE=256\nCHANGE_ME\n").unwrap();
    keeps("+256712345678");
    std::fs::remove_file(&settings).unwrap();
    std::fs::create_dir(&settings).unwrap();
    keeps("+254712345678");
}

#[test]
fn without_arguments_the_usage_is_said() {
    let pbx = Pbx::new();
    let ran = pbx.hands_in(&[""; 0], b"").expect(2);
    assert_eq!(ran.stdout, "");
    insta::assert_snapshot!(
        "agi-usage",
        ran.stderr.replace(&pbx.home.display().to_string(), "HOME")
    );
}

/// A file system of its own, so small that it fills, at the place of the spool.
struct Small<'a> {
    at: PathBuf,
    _pbx: &'a Pbx,
}

impl<'a> Small<'a> {
    /// `None` where this machine does not let us mount.
    fn mount(pbx: &'a Pbx) -> Option<Self> {
        let at = pbx.home.join("spool");
        std::fs::create_dir(&at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs"])
            .arg(&at)
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        mounted.then_some(Self { at, _pbx: pbx })
    }

    fn remount(&self, option: &str) {
        let status = Command::new("mount")
            .args(["-o", &format!("remount,{option}")])
            .arg(&self.at)
            .status()
            .unwrap();
        assert!(status.success());
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

#[test]
fn a_full_or_read_only_disk_is_a_failure_that_asterisk_sees() {
    let pbx = Pbx::without_spool();
    let Some(disk) = Small::mount(&pbx) else {
        return;
    };
    let lock = disk.at.join("deliverer.lock");
    drop(File::create(&lock).unwrap());
    // What is open for writing would keep the disk from becoming read-only.
    let lock = File::open(&lock).unwrap();
    lock.try_lock().unwrap();
    pbx.hands_in(&CALL, b"").expect(0);
    let filling = disk.at.join("filling");
    let mut file = File::create(&filling).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    let failed = |snapshot: &str| {
        let ran = pbx.hands_in(&CALL, ENVIRONMENT.as_bytes()).expect(1);
        assert_eq!(ran.stdout, "SET VARIABLE OOY_STATUS failed\n");
        assert!(pbx.files("tmp").is_empty());
        insta::assert_snapshot!(
            snapshot,
            ran.stderr.replace(&pbx.home.display().to_string(), "HOME")
        );
    };
    failed("agi-disk-full");
    drop(file);
    std::fs::remove_file(&filling).unwrap();
    disk.remount("ro");
    failed("agi-read-only");
    disk.remount("rw");
    pbx.hands_in(&CALL, ENVIRONMENT.as_bytes()).expect(0);
    assert_eq!(pbx.files("new").len(), 2);
    drop(lock);
}

/// A PBX whose spool cannot be used, with settings for a RapidPro at this address.
fn pbx_without_disk(address: &std::net::SocketAddr) -> Pbx {
    let pbx = Pbx::without_spool();
    std::fs::write(pbx.home.join("spool"), b"a file, no folder").unwrap();
    let settings = format!(
        "RAPIDPRO_URL=http://{address}\nRAPIDPRO_TOKEN=0123456789abcdef0123456789abcdef01234567\n\
         RAPIDPRO_FLOW=3f2a9c1e-5b7d-4e1f-9a6b-0c8d7e6f5a4b\n"
    );
    std::fs::write(pbx.home.join("ooy.env"), settings).unwrap();
    pbx
}

#[test]
fn a_call_that_cannot_be_kept_is_delivered_at_once() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let pbx = pbx_without_disk(&server.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        let mut heard = Vec::new();
        let mut buffer = [0; 4096];
        while !heard.ends_with(b"}") {
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "it hung up before it had said all");
            heard.extend_from_slice(&buffer[..count]);
        }
        let body = r#"{"id":1,"uuid":"0e1f2a3b-4c5d-6e7f-8091-a2b3c4d5e6f7","status":"pending"}"#;
        let answer = format!(
            "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).unwrap();
        String::from_utf8(heard).unwrap()
    });
    let ran = pbx.hands_in(&CALL, ENVIRONMENT.as_bytes()).expect(0);
    assert_eq!(ran.stdout, "SET VARIABLE OOY_STATUS queued\n");
    let heard = server.join().unwrap();
    assert!(
        heard.starts_with("POST /api/v2/flow_starts.json "),
        "{heard}"
    );
    for part in [
        "tel:+254712345678",
        "\"call_start_time\":\"2026-11-22T11:07:32+03:00\"",
        "\"call_id\":\"1795345652.1-",
    ] {
        assert!(heard.contains(part), "{part} in {heard}");
    }
}

#[test]
fn a_call_that_cannot_be_kept_holds_the_channel_for_two_seconds_at_most() {
    // Accepts, and never answers.
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let pbx = pbx_without_disk(&server.local_addr().unwrap());
    let began = Instant::now();
    let ran = pbx.hands_in(&CALL, ENVIRONMENT.as_bytes()).expect(1);
    assert!(began.elapsed() < Duration::from_secs(4));
    assert_eq!(ran.stdout, "SET VARIABLE OOY_STATUS failed\n");
    assert!(!ran.stderr.contains("0123456789abcdef"), "{}", ran.stderr);
}

#[test]
fn a_user_who_may_not_write_the_spool_fails_and_says_why() {
    let pbx = Pbx::new();
    if !rustix::process::geteuid().is_root() {
        return;
    }
    for path in [pbx._folder.path(), &pbx.home] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let spool = pbx.home.join("spool");
    std::fs::set_permissions(&spool, std::fs::Permissions::from_mode(0o700)).unwrap();
    let nobody = 65534;
    let program = pbx.home.join("ooy");
    std::fs::copy(executable(), &program).unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(&program)
            .env_clear()
            .arg("--home")
            .arg(&pbx.home)
            .args(arguments)
            .uid(nobody)
            .gid(nobody)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Ran::of(&output)
    };
    let arguments = ["agi", "0712345678", START, END, "inbound"];
    let ran = run(&arguments).expect(1);
    assert!(ran.stderr.contains("Permission denied"), "{}", ran.stderr);
    // Once it is his, what root hands in is his too.
    std::os::unix::fs::chown(&spool, Some(nobody), Some(nobody)).unwrap();
    run(&arguments).expect(0);
    pbx.hands_in(&CALL, b"").expect(0);
    for file in pbx.files("new") {
        assert_eq!(file.metadata().unwrap().uid(), nobody);
    }
    assert_eq!(pbx.files("new").len(), 2);
}

#[test]
fn no_descriptor_of_asterisk_outlives_the_call() {
    // Nobody delivers yet, so one is started, and Asterisk waits until nobody holds its streams.
    let pbx = Pbx::without_spool();
    let (mut hears, says) = std::io::pipe().unwrap();
    let (mut also_hears, also_says) = std::io::pipe().unwrap();
    // Another descriptor that Asterisk forgot to close.
    let extra = std::os::fd::OwnedFd::from(also_says);
    rustix::io::fcntl_setfd(&extra, rustix::io::FdFlags::empty()).unwrap();
    let mut child = Ended(
        pbx.command(&CALL)
            .stdout(says.try_clone().unwrap())
            .stderr(says)
            .spawn()
            .unwrap(),
    );
    drop(extra);
    let mut heard = String::new();
    hears.read_to_string(&mut heard).unwrap();
    also_hears.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "");
    assert!(child.wait().success());

    // There are no settings, so the call waits, and with it who delivers; until the spool is gone.
    let lock = pbx.home.join("spool/deliverer.lock");
    let mut process = String::new();
    until("somebody delivers", Duration::from_secs(10), || {
        process = std::fs::read_to_string(&lock).unwrap_or_default();
        !process.trim().is_empty()
    });
    let process = Path::new("/proc").join(process.trim());
    assert!(process.exists());
    drop(pbx);
    until("the deliverer ends", Duration::from_secs(10), || {
        !process.join("fd").exists()
            || std::fs::read_to_string(process.join("stat")).is_ok_and(|stat| stat.contains(") Z "))
    });
}
