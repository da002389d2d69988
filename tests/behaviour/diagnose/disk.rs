//! File systems that are really full, and what Docker keeps.

use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::harness::{Home, stand_in, until};

const PATIENCE: Duration = Duration::from_secs(240);

/// A file system in a file, mounted; gone with this value.
pub struct Disk {
    file: PathBuf,
    pub mounted: PathBuf,
}

#[track_caller]
fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

impl Disk {
    /// One of so many MB, with options for mkfs.
    pub fn new(home: &Home, at: &str, megabytes: u64, options: &[&str]) -> Self {
        let disk = Self {
            file: home.folder.join(format!("{at}.disk")),
            mounted: home.folder.join(at),
        };
        let file = std::fs::File::create(&disk.file).unwrap();
        file.set_len(megabytes << 20).unwrap();
        let path = disk.file.to_str().unwrap().to_owned();
        run("mkfs.ext4", &[&["-q", "-F"], options, &[&path]].concat());
        std::fs::create_dir_all(&disk.mounted).unwrap();
        run(
            "mount",
            &["-o", "loop", &path, disk.mounted.to_str().unwrap()],
        );
        // As the spool is: nobody else looks into it.
        std::fs::set_permissions(&disk.mounted, PermissionsExt::from_mode(0o700)).unwrap();
        disk
    }

    /// Writes until nothing more goes in, or so many bytes.
    pub fn fill(&self, most: u64) {
        let mut file = private(&self.mounted.join("filler")).unwrap();
        let block = [1; 64 * 1024];
        let mut written = 0;
        while written < most && file.write_all(&block).is_ok() {
            written += block.len() as u64;
        }
        // The rest, byte by byte would take long: down to the last block.
        while written < most && file.write_all(&[1; 1024]).is_ok() {
            written += 1024;
        }
        let _ = file.sync_all();
    }

    pub fn remount(&self, option: &str) {
        let at = self.mounted.to_str().unwrap();
        run("mount", &["-o", &format!("remount,{option}"), at]);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.mounted).status();
        let _ = std::fs::remove_dir(&self.mounted);
        let _ = std::fs::remove_file(&self.file);
    }
}

/// A new file that only its owner may read.
fn private(path: &Path) -> std::io::Result<std::fs::File> {
    std::fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

/// Several deployments on two cores answer slowly: here it is what is found that counts, not how fast.
pub fn patient(home: &Home) {
    home.set("DIAGNOSE_TIMEOUT", "DIAGNOSE_TIMEOUT=30s");
}

/// Brings all up, beside others that do the same: a data service that is too busy to answer in time
/// is asked again.
#[track_caller]
pub fn bring_up(home: &Home) {
    until("the deployment is up", Duration::from_secs(300), || {
        home.ooy(&["start"]).code == 0
    });
    home.healthy_again(PATIENCE);
}

/// That the evidence says so somewhere.
#[track_caller]
pub fn says(finding: &serde_json::Value, text: &str) {
    assert!(finding.to_string().contains(text), "{text}: {finding:#}");
}

pub fn a_disk_without_room(home: &Home) {
    let disk = Disk::new(home, "spool", 24, &[]);
    home.healthy_again(PATIENCE);
    disk.fill(u64::MAX);
    let diagnosed = home.diagnose_until("disk-full", PATIENCE);
    let finding = diagnosed.only_root("disk-full");
    says(finding, "finished calls");
    says(finding, "100 % of");
    says(finding, "97 % (DISK_FULL_PERCENT)");
    says(finding, &format!("df -h {}", disk.mounted.display()));
    // What cannot be written there is a consequence.
    assert!(
        diagnosed.explained().contains(&"spool-unwritable"),
        "{}",
        diagnosed.text()
    );
    let shown = home.ooy(&["diagnose", "disk-space"]).expect(1).stdout;
    insta::assert_snapshot!("diagnose-disk-full", tidy(home, &shown));
    std::fs::remove_file(disk.mounted.join("filler")).unwrap();
    home.healthy_again(PATIENCE);
}

pub fn a_disk_without_inodes(home: &Home) {
    let disk = Disk::new(home, "spool", 24, &["-N", "64"]);
    let mut made = 0;
    while private(&disk.mounted.join(format!("small-{made}"))).is_ok() {
        made += 1;
    }
    let diagnosed = home.diagnose_until("disk-full", PATIENCE);
    let finding = diagnosed.only_root("disk-full");
    says(finding, "100 % of its inodes are used");
    says(finding, &format!("df -i {}", disk.mounted.display()));
    for number in 0..made {
        std::fs::remove_file(disk.mounted.join(format!("small-{number}"))).unwrap();
    }
    home.healthy_again(PATIENCE);
}

pub fn a_disk_that_is_read_only(home: &Home) {
    let disk = Disk::new(home, "spool", 24, &[]);
    disk.remount("ro");
    let diagnosed = home.diagnose_until("disk-full", PATIENCE);
    let finding = diagnosed.only_root("disk-full");
    says(finding, "mounted read-only: nothing can be written");
    says(finding, "findmnt -T");
    assert!(
        diagnosed.explained().contains(&"spool-unwritable"),
        "{}",
        diagnosed.text()
    );
    disk.remount("rw");
    home.healthy_again(PATIENCE);
}

pub fn a_disk_that_fills(home: &Home) {
    let disk = Disk::new(home, "spool", 24, &["-m", "0"]);
    let space = rustix::fs::statvfs(&disk.mounted).unwrap();
    disk.fill(space.f_bavail * space.f_frsize * 90 / 100);
    let diagnosed = home.diagnose_until("disk-low", PATIENCE);
    let finding = diagnosed.only_root("disk-low");
    assert_eq!(finding["severity"], "warning");
    says(finding, "85 % (DISK_LOW_PERCENT)");
    std::fs::remove_file(disk.mounted.join("filler")).unwrap();
    home.healthy_again(PATIENCE);
}

/// The earlier looks are written by hand: two days cannot be waited for.
pub fn a_disk_that_will_be_full(home: &Home) {
    let space = rustix::fs::statvfs("/").unwrap();
    let free = (space.f_bavail * space.f_frsize) as f64;
    let now = jiff::Timestamp::now();
    let earlier: Vec<serde_json::Value> = (1..=48)
        .rev()
        .map(|hours| {
            let at = now - jiff::SignedDuration::from_hours(hours);
            // Full in 66 hours.
            serde_json::json!({ "at": at, "value": free + free * hours as f64 / 66.0 })
        })
        .collect();
    let path = home.folder.join("state/samples.json");
    let before = std::fs::read(&path).ok();
    let text = serde_json::json!({ "disk-free:/": earlier }).to_string();
    std::fs::write(&path, text).unwrap();
    let diagnosed = home.diagnose_until("disk-low", PATIENCE);
    let finding = diagnosed.only_root("disk-low");
    says(finding, "will be full in about 2 days");
    says(finding, "7 days (DISK_FORECAST_DAYS)");
    says(finding, "Docker's data");
    // Far enough away it is a figure.
    home.set("DISK_FORECAST_DAYS", "DISK_FORECAST_DAYS=1");
    let shown = home.ooy(&["diagnose", "disk-space"]).expect(0).stdout;
    assert!(shown.contains("% (full in about 2 days)"), "{shown}");
    home.set("DISK_FORECAST_DAYS", "#DISK_FORECAST_DAYS=7");
    match before {
        Some(before) => std::fs::write(&path, before).unwrap(),
        None => std::fs::remove_file(&path).unwrap(),
    }
    home.healthy_again(PATIENCE);
}

/// Docker's own disk is shared here: what counts as full is lowered instead.
pub fn dockers_disk(home: &Home) {
    home.set("DISK_FULL_PERCENT", "DISK_FULL_PERCENT=1");
    let diagnosed = home.diagnose_until("disk-full", PATIENCE);
    let finding = diagnosed.only_root("disk-full");
    for text in [
        "Docker's data",
        "PostgreSQL's data",
        "Redis's data",
        "ooy's state",
        "container logs",
        "images that nothing uses",
    ] {
        says(finding, text);
    }
    says(&finding["fix"]["command"], "fix disk-space");
    home.set("DISK_FULL_PERCENT", "#DISK_FULL_PERCENT=97");
    home.healthy_again(PATIENCE);
}

/// A service that the operator has added, without a limit for its log.
pub fn a_log_without_end(home: &Home) {
    let image = stand_in("casepro");
    let additions = format!(
        "services:\n  extra:\n    image: {image}\n    entrypoint: [\"python3\", \"-c\", \"import time; time.sleep(100000)\"]\n    command: []\n"
    );
    let path = home.folder.join("compose.override.yaml");
    std::fs::write(&path, additions).unwrap();
    home.ooy(&["start", "extra"]).expect(0);
    home.healthy_again(PATIENCE);
    let diagnosed = home.diagnose(&[]);
    let finding = diagnosed.finding("log-oversized");
    assert_eq!(finding["severity"], "info");
    says(finding, "The log of extra has no limit");

    home.set("LOG_OVERSIZED_MB", "LOG_OVERSIZED_MB=4");
    let container = home.container("extra");
    let write =
        "out = open('/proc/1/fd/1', 'w')\nfor _ in range(30000): out.write('x' * 200 + '\\n')";
    home.docker(&["exec", "-u", "0", &container, "python3", "-c", write]);
    let diagnosed = home.diagnose_until("log-oversized", PATIENCE);
    let finding = diagnosed.only_root("log-oversized");
    assert_eq!(finding["service"], "extra");
    says(finding, "without end: the container has no max-size");
    says(finding, "4 MB (LOG_OVERSIZED_MB)");
    says(&finding["fix"]["command"], "fix disk-space");
    // The plain command repairs it, and the container goes on logging.
    let command = finding["fix"]["manual"][0].as_str().unwrap();
    let command = command.strip_prefix("sudo ").unwrap();
    run("sh", &["-c", command]);
    home.healthy_again(PATIENCE);
    home.set("LOG_OVERSIZED_MB", "#LOG_OVERSIZED_MB=200");
    home.docker(&["rm", "-f", &container]);
    std::fs::remove_file(&path).unwrap();
    home.healthy_again(PATIENCE);
}

/// An image that nothing uses is worth a line, and no more.
pub fn an_image_that_nothing_uses(home: &Home) {
    home.set("RECLAIMABLE_MB", "RECLAIMABLE_MB=1000000");
    let before = home.diagnose(&["docker-leftovers"]);
    assert_eq!(before.json["findings"].as_array().unwrap().len(), 0);
    let unused = Unused::new(home);
    home.set("RECLAIMABLE_MB", "RECLAIMABLE_MB=1");
    home.healthy_again(PATIENCE);
    let diagnosed = home.diagnose(&[]);
    let finding = diagnosed.finding("docker-reclaimable");
    assert_eq!(finding["severity"], "info");
    says(finding, &unused.0);
    says(finding, "1 MB (RECLAIMABLE_MB)");
    assert!(!finding.to_string().contains("system prune"), "{finding:#}");
    drop(unused);
    home.set("RECLAIMABLE_MB", "#RECLAIMABLE_MB=2048");
}

/// An image of 200 MB of nothing, so that it is the largest.
struct Unused(String);

impl Unused {
    fn new(home: &Home) -> Self {
        let name = format!("{}-unused:1", home.project);
        let file = home.folder.join("unused.tar");
        let content = home.folder.join("nothing");
        std::fs::File::create(&content)
            .unwrap()
            .set_len(200 << 20)
            .unwrap();
        let tar = |arguments: &[&str]| run("tar", arguments);
        let folder = home.folder.to_str().unwrap();
        tar(&["-cf", file.to_str().unwrap(), "-C", folder, "nothing"]);
        home.docker(&["import", file.to_str().unwrap(), &name]);
        for path in [&file, &content] {
            std::fs::remove_file(path).unwrap();
        }
        Self(name)
    }
}

impl Drop for Unused {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rmi", &self.0]).output();
    }
}

/// What an operator reads, without what differs from run to run: lines are broken where a path of
/// another length ends, times pass, devices have numbers.
pub fn tidy(home: &Home, text: &str) -> String {
    let mut text = home.tidy(text);
    for (pattern, put) in [
        (r"\b\d+ (s|min)\b", "N s"),
        (r"/dev/loop\d+", "/dev/loopN"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME"),
        (r"\b\d+\.\d+\.\d+\.\d+\b", "ADDRESS"),
        (r"is fine: disk \d+ %", "is fine: disk N %"),
    ] {
        text = regex::Regex::new(pattern)
            .unwrap()
            .replace_all(&text, put)
            .into_owned();
    }
    text
}
