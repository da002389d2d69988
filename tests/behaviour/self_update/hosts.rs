//! Hosts on which it cannot be done now, and what systemd runs of it.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::Host;
use super::made::{Made, NEW, OLD};
use crate::harness::Ran;

fn releases() -> String {
    Made::get().releases.display().to_string()
}

/// Somebody who may write nothing here.
const NOBODY: &str = "65534";

#[test]
fn a_folder_that_is_not_ones_own() {
    let host = Host::new();
    // Whoever it is has to get there.
    std::fs::set_permissions(host.path(""), Permissions::from_mode(0o755)).unwrap();
    let archive = host.path("releases");
    let copied = Command::new("cp")
        .arg("-r")
        .arg(releases())
        .arg(&archive)
        .status();
    assert!(copied.unwrap().success());
    let from = archive.display().to_string();
    for arguments in [
        &["--yes", "self-update", "--from", &from][..],
        &["self-update", "--from", &from, "--dry-run"],
    ] {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"])
            .arg(host.executable())
            .arg("--home")
            .arg(host.path("home"))
            .args(arguments)
            .env_clear()
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null());
        let refused = Ran::of(&command.output().unwrap()).expect(1);
        let said = host.tidy(&refused.stderr);
        assert!(
            said.contains("next      sudo ooy --home HOST/home self-update"),
            "{said}"
        );
        if arguments[0] == "--yes" {
            insta::assert_snapshot!(said, @r"
            ✗ self-update: HOST/bin cannot be written to

              what      the new executable is made ready and put in place in the folder of the present one
              evidence  Permission denied
              why       HOST/bin/ooy stays as it is
              next      sudo ooy --home HOST/home self-update --from HOST/releases
            ");
        }
    }
    host.is_as_it_was();
}

#[test]
fn a_disk_without_room() {
    let host = Host::new();
    let size = std::fs::metadata(host.executable()).unwrap().len();
    let archive = std::fs::metadata(Made::get().archive(NEW)).unwrap().len();
    // Room for a part of the archive, and for the archive but not for what is in it.
    for room in [size + archive / 2, size + archive + size / 2] {
        let script = format!(
            "mount -t tmpfs -o size={room} tmpfs \"$2\" && cp -p \"$1\" \"$2/ooy\" && \
             \"$2/ooy\" --yes --home \"$3\" self-update --from \"$4\"; code=$?; \
             \"$2/ooy\" --json self-check; ls -A \"$2\"; exit $code"
        );
        let mut command = Command::new("unshare");
        command
            .args([
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
                &script,
                "sh",
            ])
            .args([
                Made::get().executable(OLD),
                host.path("bin"),
                host.path("home"),
            ])
            .arg(releases())
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null());
        let ran = Ran::of(&command.output().unwrap()).expect(1);
        assert!(
            ran.stdout.contains(&format!("\"version\":\"{OLD}\"")),
            "{}",
            ran.stdout
        );
        assert!(ran.stdout.ends_with("}\nooy\n"), "{}", ran.stdout);
        let fault = &ran.stderr[ran.stderr.rfind('✗').unwrap()..];
        insta::allow_duplicates! {
            insta::assert_snapshot!(host.tidy(fault), @r"
            ✗ self-update: HOST/bin cannot be written to

              what      the new executable is made ready and put in place in the folder of the present one
              evidence  No space left on device
              why       HOST/bin/ooy stays as it is
              next      df -h HOST/bin
                        ooy --home HOST/home self-update --from RELEASES
            ");
        }
    }
}

#[test]
fn somebody_else_is_at_it() {
    let host = Host::new();
    let folder = std::fs::File::open(host.path("bin")).unwrap();
    folder.lock().unwrap();
    let refused = host.update(&releases()).expect(3);
    let fault = &refused.stderr[refused.stderr.rfind('✗').unwrap()..];
    insta::assert_snapshot!(host.tidy(fault), @r"
    ✗ another self-update is running

      what      one at a time may replace the executable; nothing was done
      evidence  process PID holds HOST/bin
      why       each would take away what the other has made ready
      next      ps -o pid,etime,args -p PID
                ooy --home HOST/home self-update --from RELEASES
    ");
    folder.unlock().unwrap();
    // Another operation on the deployment.
    let state = host.path("home/state");
    std::fs::create_dir(&state).unwrap();
    let lock = std::fs::File::create(state.join("lock")).unwrap();
    lock.lock().unwrap();
    let refused = host.update(&releases()).expect(3);
    assert!(
        refused.stderr.contains("another operation is running"),
        "{}",
        refused.stderr
    );
    host.is_as_it_was();
    lock.unlock().unwrap();
    host.update(&releases()).expect(0);
    host.is_updated();
}

#[test]
fn what_was_cut_off_is_finished_first() {
    let host = Host::new();
    let state = host.path("home/state");
    std::fs::create_dir(&state).unwrap();
    let unfinished = serde_json::json!({
        "schema": 1, "source": "20261126-023000", "backup": null, "began": "2026-11-26T02:30:00Z",
        "services": [], "phase": "swapping", "databases": [],
    });
    std::fs::write(state.join("restore.json"), unfinished.to_string()).unwrap();
    let refused = host.update(&releases()).expect(1);
    insta::assert_snapshot!(host.tidy(&refused.stderr), @r"
    ✗ self-update: something was cut off in the middle

      what      an operation has begun and not come to its end
      evidence  a restore of 20261126-023000
      why       another version of ooy may not know how to finish it; nothing was done
      next      ooy --home HOST/home resume
                ooy --home HOST/home resume --undo
    ");
    std::fs::remove_file(state.join("restore.json")).unwrap();
    std::fs::write(state.join("upgrade.json"), "{ half of it").unwrap();
    let refused = host.update(&releases()).expect(1);
    assert!(
        refused.stderr.contains("upgrade.json"),
        "{}",
        refused.stderr
    );
    host.is_as_it_was();
    // It may be asked all the same.
    host.ooy(&["self-update", "--check", "--from", &releases()])
        .expect(1);
}

#[test]
fn settings_that_only_the_newer_one_finds_wrong() {
    // No two releases differ so yet: what the older one cannot read keeps neither from it.
    let host = Host::new();
    std::fs::write(host.path("home/ooy.env"), "NO_SUCH_SETTING=1\nTIME_ZONE\n").unwrap();
    host.update(&releases()).expect(0);
    host.is_updated();
}

/// systemd as far as can be seen (see fix/boot/units.rs): a mount namespace with the folder by which it
/// is known. Its systemctl really starts and stops what a unit says.
const SYSTEMCTL: &str = r#"#!/bin/sh
cd "${0%/*}"
for unit do :; done
pid() { pid=$(cat "$unit.pid" 2>/dev/null) && kill -0 "$pid" 2>/dev/null && echo "$pid"; }
start() {
  [ ! -e broken ] || { echo "Job for $unit failed." >&2; exit 1; }
  sh -c "exec $(sed -n s/^ExecStart=//p "/etc/systemd/system/$unit")" >/dev/null 2>&1 &
  echo $! >"$unit.pid"
}
case "$1" in
start) start ;;
restart) old=$(pid); [ -z "$old" ] || kill "$old"; start ;;
is-active) pid >/dev/null && echo active || { echo inactive; exit 3; } ;;
show) pid || echo 0 ;;
esac
"#;

struct Machine<'a> {
    host: &'a Host,
}

impl<'a> Machine<'a> {
    fn new(host: &'a Host) -> Self {
        let machine = Self { host };
        for folder in [machine.units(), machine.bin()] {
            std::fs::create_dir(folder).unwrap();
        }
        let systemctl = machine.bin().join("systemctl");
        std::fs::write(&systemctl, SYSTEMCTL).unwrap();
        std::fs::set_permissions(&systemctl, Permissions::from_mode(0o755)).unwrap();
        machine
    }

    fn units(&self) -> PathBuf {
        self.host.path("units")
    }

    fn bin(&self) -> PathBuf {
        self.host.path("systemd")
    }

    fn unit(&self, name: &str, command: &str) {
        let text = format!("[Service]\nExecStart={command}\n");
        std::fs::write(self.units().join(name), text).unwrap();
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Ran {
        let script = format!(
            "mkdir -p /run/systemd && mount -t tmpfs tmpfs /run/systemd && mkdir /run/systemd/system && \
             mount --bind {} /etc/systemd/system && exec \"$@\"",
            self.units().display()
        );
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new("unshare");
        command
            .args([
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
                &script,
                "sh",
                program,
            ])
            .args(arguments)
            .env_clear()
            .env("PATH", format!("{}:{path}", self.bin().display()))
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null());
        Ran::of(&command.output().unwrap())
    }

    fn ooy(&self, arguments: &[&str]) -> Ran {
        let executable = self.host.executable().display().to_string();
        let home = self.host.path("home").display().to_string();
        self.run(&executable, &[&["--home", &home][..], arguments].concat())
    }

    fn pid(&self, unit: &str) -> String {
        let path = self.bin().join(format!("{unit}.pid"));
        std::fs::read_to_string(path).unwrap().trim().to_owned()
    }
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        for entry in std::fs::read_dir(self.bin()).unwrap().flatten() {
            if entry.path().extension().is_some_and(|it| it == "pid") {
                let pid = std::fs::read_to_string(entry.path()).unwrap();
                let _ = Command::new("kill")
                    .arg(pid.trim())
                    .stderr(Stdio::null())
                    .status();
            }
        }
    }
}

#[test]
fn what_systemd_runs_of_it_is_started_again() {
    let host = Host::new();
    let machine = Machine::new(&host);
    let home = host.path("home");
    let settings = "RAPIDPRO_URL=http://127.0.0.1:1\nRAPIDPRO_TOKEN=t\nCALLS_LISTEN=off\n\
                    RAPIDPRO_FLOW=3f2a9c1e-5b7d-4e1f-9a6b-0c8d7e6f5a4b\n";
    std::fs::write(home.join("ooy.env"), settings).unwrap();
    let serve = format!(
        "{} --home {} calls serve",
        host.executable().display(),
        home.display()
    );
    machine.unit("ooy-calls.service", &serve);
    machine.unit(
        "ooy-watch.service",
        &format!("{} watch", host.executable().display()),
    );
    machine.unit("other.service", "/bin/sleep 3600 watch");
    for unit in ["ooy-calls.service", "other.service"] {
        machine.run("systemctl", &["start", unit]).expect(0);
    }
    let (calls, other) = (
        machine.pid("ooy-calls.service"),
        machine.pid("other.service"),
    );
    let updated = machine
        .ooy(&["--yes", "self-update", "--from", &releases()])
        .expect(0);
    let said = host.tidy(&updated.stderr);
    assert!(said.contains("  restarts   ooy-calls.service\n"), "{said}");
    assert!(
        said.contains(&format!("ooy-calls.service runs ooy {NEW}")),
        "{said}"
    );
    assert_eq!(machine.pid("other.service"), other);
    let now = machine.pid("ooy-calls.service");
    assert_ne!(now, calls);
    let runs = std::fs::read_link(format!("/proc/{now}/exe")).unwrap();
    assert_eq!(runs, host.executable());

    // The other way, and it does not come back.
    std::fs::write(machine.bin().join("broken"), "").unwrap();
    let failed = machine
        .ooy(&["--yes", "self-update", "--rollback"])
        .expect(1);
    host.is(&host.executable(), OLD);
    let fault = &failed.stderr[failed.stderr.rfind('✗').unwrap()..];
    insta::assert_snapshot!(host.tidy(fault), @r"
    ✗ self-update: ooy-calls.service does not come back

      what      ooy 0.7.0 is in place, and what systemd runs of it is not
      evidence  ooy-calls.service: Job for ooy-calls.service failed.
      why       what it does is not done until it runs: a watch, or the delivery of calls
      next      sudo journalctl -u ooy-calls.service -n 50
                sudo systemctl restart ooy-calls.service
                sudo ooy --home HOST/home self-update --rollback
    ");
}
