//! Settings of the kernel. They are the machine's: put back in the end, also when the test fails.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::diagnose::disk::says;
use crate::harness::{Home, Ran, executable, until};

const MAPS: &str = "/proc/sys/vm/max_map_count";
const OURS: &str = "/etc/sysctl.d/90-ooy.conf";
/// Read later than ours: it would undo it at the next boot.
const THEIRS: &str = "/etc/sysctl.d/99-zz-ooy-test.conf";

/// The machine's own, put back.
struct Kernel {
    value: String,
    ours: Option<Vec<u8>>,
}

impl Kernel {
    fn with(value: &str) -> Self {
        let before = Self {
            value: std::fs::read_to_string(MAPS).unwrap(),
            ours: std::fs::read(OURS).ok(),
        };
        let _ = std::fs::remove_file(OURS);
        std::fs::create_dir_all("/etc/sysctl.d").unwrap();
        std::fs::write(THEIRS, "# somebody's\nvm.max_map_count=65530\n").unwrap();
        std::fs::write(MAPS, value).unwrap();
        before
    }
}

fn copies() -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir("/etc/sysctl.d").unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().starts_with(&format!("{THEIRS}.")))
        .collect()
}

impl Drop for Kernel {
    fn drop(&mut self) {
        let _ = std::fs::write(MAPS, &self.value);
        for path in copies() {
            let _ = std::fs::remove_file(path);
        }
        let _ = std::fs::remove_file(THEIRS);
        let _ = match &self.ours {
            Some(text) => std::fs::write(OURS, text),
            None => std::fs::remove_file(OURS),
        };
    }
}

fn maps() -> String {
    std::fs::read_to_string(MAPS).unwrap().trim().to_owned()
}

/// Elasticsearch that refuses to start for it, as one with a cluster does.
pub fn too_few_memory_maps(home: &Home) {
    let kernel = Kernel::with("65530");
    home.steer(&[(
        "elasticsearch",
        &[("STAND_IN_ENFORCE_BOOTSTRAP_CHECKS", "1")],
    )]);
    home.ooy(&["start", "elasticsearch"]).expect(1);
    let diagnosed = home.diagnose(&["max-map-count"]);
    let finding = diagnosed.finding("max-map-count-low");
    assert_eq!(finding["severity"], "error", "{finding:#}");
    says(&finding["fix"]["command"], "fix max-map-count");

    only_root_may(home);
    home.ooy(&["fix", "--dry-run", "max-map-count"]).expect(0);
    assert_eq!(maps(), "65530");
    assert!(!Path::new(OURS).exists());

    // Cut off between the present and the time after a boot, it is finished by running it again.
    home.fix_killed_at(&["max-map-count"], "kernel", "done");
    let said = home.fixes(&["max-map-count"]);
    // On a busy machine the signal comes when all is done.
    assert!(
        said.contains("Elasticsearch answers: ") || said.contains("nothing to fix"),
        "{said}"
    );
    assert_eq!(maps(), "262144");
    let written = std::fs::read_to_string(OURS).unwrap();
    assert!(
        written.ends_with("vm.max_map_count = 262144\n"),
        "{written}"
    );
    let theirs = std::fs::read_to_string(THEIRS).unwrap();
    assert_eq!(theirs, "# somebody's\nvm.max_map_count= 262144\n");
    let copies = copies();
    assert_eq!(copies.len(), 1);
    assert!(
        std::fs::read_to_string(&copies[0])
            .unwrap()
            .contains("=65530")
    );
    assert_eq!(home.service_status("elasticsearch")["ready"], true);
    until("the indexer runs", Duration::from_secs(60), || {
        home.service_status("indexer")["ready"] == true
    });
    home.has_nothing_to_fix(&["max-map-count"]);
    drop(kernel);
}

/// Without rights nothing is done, and it is said which are missing.
fn only_root_may(home: &Home) {
    for path in ["", "ooy.env"] {
        let path = home.folder.join(path);
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let copy = home.folder.join("ooy");
    std::fs::copy(executable(), &copy).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(&copy)
        .arg("--home")
        .arg(&home.folder)
        .args(["--yes", "fix", "max-map-count"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    let ran = Ran::of(&output).expect(1);
    assert!(
        ran.stderr.contains("only root may change it"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("sudo ooy --home"), "{}", ran.stderr);
    assert_eq!(maps(), "65530");
    let path = home.folder.join("ooy.env");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
