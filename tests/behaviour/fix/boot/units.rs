//! The units: installed, verified by systemd's own program, enabled, and removed again.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::{Home, Ran, executable, read_env};

/// `/etc/systemd/system` of an image.
fn folder(home: &Home) -> PathBuf {
    root(home).join("etc/systemd/system")
}

fn root(home: &Home) -> PathBuf {
    home.folder.join("image")
}

impl Home {
    /// `ooy boot ...`, for an image in its folder.
    pub fn boot(&self, arguments: &[&str]) -> Ran {
        let root = root(self).display().to_string();
        self.ooy(&[&["boot"], arguments, &["--root", &root]].concat())
    }

    /// One of the units in that image: `""`, `"-watch"`, `"-calls"` or `"-backup"`.
    pub fn unit(&self, which: &str) -> PathBuf {
        folder(self).join(format!("ooy-{}{which}.service", self.project))
    }

    fn backup_timer(&self) -> PathBuf {
        self.unit("-backup").with_extension("timer")
    }
}

/// All files and links below a folder.
fn tree(folder: &Path) -> Vec<String> {
    let output = Command::new("find")
        .arg(folder)
        .arg("!")
        .args(["-type", "d"])
        .output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    let mut paths: Vec<String> = text.lines().map(str::to_owned).collect();
    paths.sort();
    paths
}

#[test]
fn units_are_installed_verified_enabled_and_removed() {
    let home = Home::new("units");
    std::fs::create_dir_all(folder(&home)).unwrap();
    nothing_is_done_by_a_dry_run(&home);
    they_are_there_once(&home);
    they_hold_no_secret_and_are_valid(&home);
    the_watch_is_a_command(&home);
    one_that_was_changed_is_put_right(&home);
    another_deployment_of_that_name_is_refused(&home);
    calls_have_one_where_they_are_handed_over(&home);
    backups_have_a_timer_where_a_time_is_set(&home);
    killed_in_the_middle_and_again(&home);
    one_at_a_time(&home);
    home.boot(&["disable"]).expect(0);
    assert_eq!(tree(&folder(&home)), Vec::<String>::new());
    let again = home.boot(&["disable"]).expect(0);
    assert!(again.stderr.contains("nothing to do"), "{}", again.stderr);
    home.boot(&["status"]).expect(1);
}

fn nothing_is_done_by_a_dry_run(home: &Home) {
    let ran = home.boot(&["enable", "--dry-run"]).expect(0);
    assert!(ran.stderr.contains("4 changes to make"), "{}", ran.stderr);
    assert_eq!(tree(&folder(home)), Vec::<String>::new());
    assert!(!home.folder.join("state/journal.jsonl").exists());
}

fn they_are_there_once(home: &Home) {
    let ran = home.boot(&["enable"]).expect(0);
    insta::assert_snapshot!("boot-enable", home.tidy(&ran.stderr));
    let once = tree(&folder(home));
    let wants = |target: &str, which: &str| {
        let name = home.unit(which);
        let name = name.file_name().unwrap().to_str().unwrap();
        folder(home)
            .join(format!("{target}.wants/{name}"))
            .display()
            .to_string()
    };
    for link in [
        wants("multi-user.target", ""),
        wants("docker.service", ""),
        wants("multi-user.target", "-watch"),
    ] {
        assert!(once.contains(&link), "{link}: {once:?}");
    }
    assert_eq!(once.len(), 5, "{once:?}");
    let again = home.boot(&["enable"]).expect(0);
    assert!(again.stderr.contains("nothing to do"), "{}", again.stderr);
    assert_eq!(tree(&folder(home)), once);
    let shown = home.boot(&["status"]).expect(0);
    // The first column is as wide as the project's name.
    let blanks = regex::Regex::new(" {2,}").unwrap();
    let shown = home.tidy(&shown.stdout);
    insta::assert_snapshot!("boot-status", blanks.replace_all(&shown, "  "));
    let json = home.boot(&["status", "--json"]).expect(0).json();
    assert_eq!(json["schema"], 1);
    assert_eq!(json["ok"], true);
    assert_eq!(json["units"][0]["enabled"], true);
    let history = home.ooy(&["history"]).expect(0).stdout;
    assert!(history.contains("boot enable"), "{history}");
}

fn they_hold_no_secret_and_are_valid(home: &Home) {
    let settings = read_env(&home.folder.join("ooy.env"));
    for which in ["", "-watch"] {
        let path = home.unit(which);
        let text = std::fs::read_to_string(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        for (name, value) in &settings {
            let secret = ["PASSWORD", "SECRET", "TOKEN", "_URL"];
            if value.len() > 5 && secret.iter().any(|part| name.contains(part)) {
                assert!(!text.contains(value), "{name} in {}", path.display());
            }
        }
        verified(&path);
    }
}

/// What the watch unit runs is a command, in every version that has it.
fn the_watch_is_a_command(home: &Home) {
    let commands = home.ooy(&["--help"]).expect(0).stdout;
    if !commands.contains("\n  watch ") {
        return;
    }
    let text = std::fs::read_to_string(home.unit("-watch")).unwrap();
    let mut lines = text.lines();
    let start = lines
        .find_map(|line| line.strip_prefix("ExecStart="))
        .unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{start} --help")]);
    let ran = Ran::of(&shell.output().unwrap()).expect(0);
    assert!(ran.stdout.contains("Usage: "), "{}", ran.stdout);
}

/// By systemd's own program, which also looks whether the commands can be run.
#[track_caller]
fn verified(path: &Path) {
    let output = Command::new("systemd-analyze")
        .arg("verify")
        .arg(path)
        .output()
        .unwrap();
    let ran = Ran::of(&output).expect(0);
    let name = path.file_name().unwrap().to_str().unwrap();
    // Of units of the machine's own it may have something to say.
    let ours: Vec<&str> = ran
        .stderr
        .lines()
        .filter(|line| line.contains(name))
        .collect();
    assert!(ours.is_empty(), "{ours:?}");
}

fn one_that_was_changed_is_put_right(home: &Home) {
    let path = home.unit("-watch");
    let before = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, before.replace("Nice=10", "Nice=-20")).unwrap();
    let shown = home.boot(&["status"]).expect(1).stdout;
    assert!(shown.contains("not this version's"), "{shown}");
    home.boot(&["enable"]).expect(0);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
    // One that somebody has made is not overwritten.
    std::fs::write(&path, "[Service]\nExecStart=/bin/true\n").unwrap();
    let ran = home.boot(&["enable"]).expect(1);
    assert!(ran.stderr.contains("is somebody else's"), "{}", ran.stderr);
    home.boot(&["disable"]).expect(0);
    assert!(path.exists());
    std::fs::remove_file(&path).unwrap();
    home.boot(&["enable"]).expect(0);
}

fn another_deployment_of_that_name_is_refused(home: &Home) {
    let other = Home::new("unitsb");
    other.set("PROJECT_NAME", &format!("PROJECT_NAME={}", home.project));
    let root = root(home).display().to_string();
    let ran = other.ooy(&["boot", "enable", "--root", &root]).expect(1);
    let folder = home.folder.display().to_string();
    assert!(ran.stderr.contains(&folder), "{}", ran.stderr);
    let before = std::fs::read_to_string(home.unit("")).unwrap();
    other.ooy(&["boot", "disable", "--root", &root]).expect(0);
    assert_eq!(std::fs::read_to_string(home.unit("")).unwrap(), before);
}

fn calls_have_one_where_they_are_handed_over(home: &Home) {
    assert!(!home.unit("-calls").exists());
    home.set("RAPIDPRO_TOKEN", "RAPIDPRO_TOKEN=hemmelig-token");
    home.set(
        "RAPIDPRO_FLOW",
        "RAPIDPRO_FLOW=0f5e6a2c-91c4-4c3e-8a39-0d2f3a1b5c7d",
    );
    home.boot(&["enable"]).expect(0);
    let path = home.unit("-calls");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        text.contains(" calls serve\n") && !text.contains("hemmelig"),
        "{text}"
    );
    verified(&path);
    home.set("RAPIDPRO_TOKEN", "#RAPIDPRO_TOKEN=");
    let ran = home.boot(&["enable"]).expect(0);
    assert!(ran.stderr.contains("no longer needed"), "{}", ran.stderr);
    assert!(!path.exists());
}

fn backups_have_a_timer_where_a_time_is_set(home: &Home) {
    let (service, timer) = (home.unit("-backup"), home.backup_timer());
    let link = folder(home)
        .join("timers.target.wants")
        .join(timer.file_name().unwrap());
    assert!(!service.exists() && !timer.exists());
    home.set("BACKUP_AT", "BACKUP_AT=02:30");
    let shown = home.boot(&["status"]).expect(1).stdout;
    assert!(shown.contains("-backup.timer"), "{shown}");
    let ran = home.boot(&["enable"]).expect(0);
    assert!(ran.stderr.contains("each night at 02:30"), "{}", ran.stderr);
    verified(&service);
    verified(&timer);
    assert!(link.symlink_metadata().is_ok());
    // The service only by its timer.
    let name = service.file_name().unwrap().to_str().unwrap();
    let links: Vec<String> = tree(&folder(home))
        .into_iter()
        .filter(|path| path.ends_with(&format!(".wants/{name}")))
        .collect();
    assert!(links.is_empty(), "{links:?}");
    home.boot(&["status"]).expect(0);
    let again = home.boot(&["enable"]).expect(0);
    assert!(again.stderr.contains("nothing to do"), "{}", again.stderr);

    home.set("BACKUP_AT", "BACKUP_AT=23:15");
    let shown = home.boot(&["status"]).expect(1).stdout;
    assert!(shown.contains("not this version's"), "{shown}");
    home.boot(&["enable"]).expect(0);
    let text = std::fs::read_to_string(&timer).unwrap();
    assert!(text.contains("\nOnCalendar=*-*-* 23:15:00\n"), "{text}");

    home.set("BACKUP_AT", "BACKUP_AT=");
    home.boot(&["status"]).expect(1);
    let ran = home.boot(&["enable"]).expect(0);
    assert!(ran.stderr.contains("no longer needed"), "{}", ran.stderr);
    assert!(!service.exists() && !timer.exists() && link.symlink_metadata().is_err());
    // What follows has it as well.
    home.set("BACKUP_AT", "BACKUP_AT=02:30");
    home.boot(&["enable"]).expect(0);
}

/// At different moments; what is left is always done by the next.
fn killed_in_the_middle_and_again(home: &Home) {
    for (command, after) in [
        ("enable", 5),
        ("disable", 5),
        ("enable", 15),
        ("disable", 40),
        ("enable", 40),
    ] {
        let root = root(home).display().to_string();
        let mut child = home
            .command(&["boot", command, "--root", &root])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(after));
        child.kill().unwrap();
        child.wait().unwrap();
        home.boot(&[command]).expect(0);
        let ended = if command == "enable" { 0 } else { 1 };
        home.boot(&["status"]).expect(ended);
    }
}

fn one_at_a_time(home: &Home) {
    let lock = std::fs::File::open(home.folder.join("state/lock")).unwrap();
    lock.lock().unwrap();
    home.boot(&["enable"]).expect(3);
    home.boot(&["disable"]).expect(3);
    // Looking is always allowed.
    home.boot(&["status"]).expect(0);
    lock.unlock().unwrap();
}

/// Without systemd there is nobody to install a unit for.
#[test]
fn a_machine_without_systemd_is_told_so() {
    let home = Home::new("nosystemd");
    let machine = Machine::new(&home);
    let ran = machine.without_systemd(&["boot", "enable"]).expect(1);
    insta::assert_snapshot!("boot-no-systemd", home.tidy(&ran.stderr));
    let ran = home.ooy(&["boot", "enabel"]);
    assert_eq!(ran.code, 2);
}

/// A machine that systemd runs, as far as can be seen: a mount namespace with the folder by which it
/// is known, and units of its own. Its systemctl is the real one, but for what would speak to a
/// running systemd.
struct Machine<'a> {
    home: &'a Home,
}

const SYSTEMCTL: &str = r#"#!/bin/sh
cd "${0%/*}"
echo "$*" >> told
touch active
case "$1" in
daemon-reload) ;;
start|restart) grep -qx "$2" active || echo "$2" >> active ;;
stop) grep -vx "$2" active > left; mv left active ;;
show) [ "$2" = --property=NextElapseUSecRealtime ] && echo "Fri 2026-11-27 02:30:00 UTC" ;;
is-active) grep -qx "$2" active && echo active || { echo inactive; exit 3; } ;;
*) SYSTEMD_OFFLINE=1 exec /usr/bin/systemctl "$@" ;;
esac
"#;

impl<'a> Machine<'a> {
    fn new(home: &'a Home) -> Self {
        let machine = Self { home };
        std::fs::create_dir_all(machine.units()).unwrap();
        std::fs::create_dir_all(machine.bin()).unwrap();
        let systemctl = machine.bin().join("systemctl");
        std::fs::write(&systemctl, SYSTEMCTL).unwrap();
        std::fs::set_permissions(&systemctl, std::fs::Permissions::from_mode(0o755)).unwrap();
        machine
    }

    fn units(&self) -> PathBuf {
        self.home.folder.join("machine/units")
    }

    fn bin(&self) -> PathBuf {
        self.home.folder.join("machine/bin")
    }

    /// What its systemctl was told since the last time.
    fn told(&self) -> String {
        let path = self.bin().join("told");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let _ = std::fs::remove_file(path);
        text
    }

    fn run(&self, systemd: bool, program: &[&str], arguments: &[&str]) -> Ran {
        let before = match systemd {
            true => {
                "mkdir -p /run/systemd && mount -t tmpfs tmpfs /run/systemd && mkdir /run/systemd/system"
            }
            false => "mkdir -p /run/systemd && mount -t tmpfs tmpfs /run/systemd",
        };
        let script = format!(
            "{before} && mount --bind {} /etc/systemd/system && exec \"$@\"",
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
            ])
            .args(program)
            .args(arguments)
            .env_clear()
            .env("PATH", format!("{}:{path}", self.bin().display()))
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null());
        Ran::of(&command.output().unwrap())
    }

    fn ooy(&self, arguments: &[&str]) -> Ran {
        let executable = executable().display().to_string();
        let folder = self.home.folder.display().to_string();
        self.run(true, &[&executable, "--home", &folder], arguments)
    }

    fn without_systemd(&self, arguments: &[&str]) -> Ran {
        let executable = executable().display().to_string();
        let folder = self.home.folder.display().to_string();
        self.run(false, &[&executable, "--home", &folder], arguments)
    }
}

#[test]
fn where_systemd_runs_the_watch_is_started_and_docker_comes_up_at_boot() {
    let home = Home::new("systemd");
    let machine = Machine::new(&home);
    // As after `systemctl disable docker`: no link of it is in this machine's own folder.
    let unit = format!("ooy-{}", home.project);
    let ran = machine.ooy(&["boot", "enable"]).expect(0);
    assert!(
        ran.stderr.contains("docker.service: starts at boot"),
        "{}",
        ran.stderr
    );
    let told = machine.told();
    let reload = told.find("daemon-reload").unwrap();
    let start = told.find(&format!("restart {unit}-watch.service")).unwrap();
    assert!(reload < start, "{told}");
    assert!(!told.contains(&format!("start {unit}.service")), "{told}");
    let shown = machine.ooy(&["boot", "status"]).expect(0).stdout;
    assert!(shown.contains("Docker's own unit is enabled"), "{shown}");
    machine.ooy(&["boot", "enable"]).expect(0);
    let told = machine.told();
    assert!(
        !told.contains("restart") && !told.contains("reload"),
        "{told}"
    );

    a_timer_runs_and_what_it_starts_does_not(&home, &machine);
    only_root_may(&home, &machine);
    docker_is_enabled_again(&home, &machine);

    machine.ooy(&["boot", "disable"]).expect(0);
    let told = machine.told();
    assert!(
        told.contains(&format!("stop {unit}-watch.service")),
        "{told}"
    );
    let left: Vec<String> = tree(&machine.units())
        .into_iter()
        .filter(|path| path.contains(&unit))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    let docker = machine.run(true, &["systemctl"], &["is-enabled", "docker.service"]);
    assert_eq!(docker.stdout, "enabled\n");
}

fn a_timer_runs_and_what_it_starts_does_not(home: &Home, machine: &Machine<'_>) {
    let unit = format!("ooy-{}-backup", home.project);
    for time in ["02:30", "03:30"] {
        home.set("BACKUP_AT", &format!("BACKUP_AT={time}"));
        machine.ooy(&["boot", "enable"]).expect(0);
        let told = machine.told();
        let reload = told.find("daemon-reload").unwrap();
        let start = told.find(&format!("restart {unit}.timer")).unwrap();
        assert!(reload < start, "{told}");
        for word in ["enable", "start", "restart"] {
            assert!(!told.contains(&format!("{word} {unit}.service")), "{told}");
        }
    }
    let shown = machine.ooy(&["boot", "status"]).expect(0).stdout;
    let next = "next backup: Fri 2026-11-27 02:30:00 UTC\n";
    assert!(shown.contains(next), "{shown}");
    home.set("BACKUP_AT", "BACKUP_AT=");
    machine.ooy(&["boot", "enable"]).expect(0);
    // First the timer: it could start the service again.
    let told = machine.told();
    let timer = told.find(&format!("stop {unit}.timer")).unwrap();
    let service = told.find(&format!("stop {unit}.service")).unwrap();
    assert!(timer < service, "{told}");
    assert!(!told.contains("restart"), "{told}");
}

fn only_root_may(home: &Home, machine: &Machine<'_>) {
    for path in ["", "ooy.env"] {
        let path = home.folder.join(path);
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let copy = home.folder.join("ooy");
    std::fs::copy(executable(), &copy).unwrap();
    let (copy, folder) = (
        copy.display().to_string(),
        home.folder.display().to_string(),
    );
    let nobody = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--",
        &copy,
    ];
    let nobody = [&nobody[..], &["--home", &folder]].concat();
    let ran = machine.run(true, &nobody, &["boot", "enable"]).expect(1);
    insta::assert_snapshot!("boot-no-permission", home.tidy(&ran.stderr));
}

fn docker_is_enabled_again(home: &Home, machine: &Machine<'_>) {
    let systemctl = |arguments: &[&str]| machine.run(true, &["systemctl"], arguments);
    systemctl(&["disable", "docker.service"]).expect(0);
    let found = machine
        .ooy(&["diagnose", "--json", "boot"])
        .expect(1)
        .json();
    assert_eq!(found["findings"][0]["code"], "boot-disabled");
    let planned = machine.ooy(&["fix", "boot", "--dry-run"]).expect(0);
    assert!(
        planned.stderr.contains("docker.service"),
        "{}",
        planned.stderr
    );
    // Whoever disabled it may have meant it: not with nobody looking.
    machine.ooy(&["--yes", "fix", "--all"]);
    assert_eq!(
        systemctl(&["is-enabled", "docker.service"]).stdout,
        "disabled\n"
    );
    let fixed = machine.ooy(&["--yes", "fix", "boot"]).expect(0);
    assert!(
        fixed.stderr.contains("docker.service: enabled"),
        "{}",
        fixed.stderr
    );
    assert_eq!(
        systemctl(&["is-enabled", "docker.service"]).stdout,
        "enabled\n"
    );
    let again = machine.ooy(&["--yes", "fix", "boot"]).expect(0);
    assert!(again.stderr.contains("nothing to fix"), "{}", again.stderr);

    systemctl(&["mask", "docker.service"]);
    let refused = machine.ooy(&["--yes", "fix", "boot"]).expect(1);
    assert!(
        refused.stderr.contains("systemctl unmask docker.service"),
        "{}",
        refused.stderr
    );
    systemctl(&["unmask", "docker.service"]).expect(0);
    systemctl(&["enable", "docker.service"]).expect(0);
    let _ = home;
}
