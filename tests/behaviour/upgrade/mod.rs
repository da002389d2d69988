//! `ooy upgrade`, `ooy rollback`, and `ooy resume` for both.

mod failed;
mod killed;
mod refused;
mod whole;

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::harness::Home;

/// What takes longer never comes.
const LIMIT: Duration = Duration::from_secs(120);

/// A deployment that is not watched for long after an upgrade.
fn deployment(name: &str) -> Home {
    let home = Home::with_databases(name);
    home.set("UPGRADE_WATCH", "UPGRADE_WATCH=1s");
    home
}

impl Home {
    /// What the settings name.
    fn images(&self) -> Vec<String> {
        let keys = [
            "RAPIDPRO",
            "MAILROOM",
            "COURIER",
            "INDEXER",
            "CASEPRO",
            "CONTENTREPO",
        ];
        keys.iter()
            .map(|key| self.setting(&format!("{key}_IMAGE")))
            .collect()
    }

    /// The tag that a service's container was made from.
    fn tag(&self, service: &str) -> String {
        let image = self.inspect(service, "{{.Config.Image}}");
        image.rsplit(':').next().unwrap().to_owned()
    }

    /// Whether the pages of an application are closed, or what providers deliver to courier.
    fn closed(&self, door: &str) -> bool {
        self.folder
            .join(format!("rendered/nginx/closed-{door}"))
            .exists()
    }

    /// How far an upgrade is; empty: none is under way.
    fn phase(&self) -> String {
        let text = std::fs::read(self.folder.join("state/upgrade.json"));
        let state: serde_json::Value = text
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default();
        state["phase"].as_str().unwrap_or_default().to_owned()
    }

    /// Asks courier to take messages in, again and again.
    fn delivering(&self, seeded: &serde_json::Value) -> Asking {
        let channel = seeded["channel"].as_str().unwrap();
        let receive = format!("/c/ex/{channel}/receive");
        let message = "from=%2B254722000111&text=during+the+upgrade";
        Asking::begin(self, "rapidpro.test", &receive, Some(message))
    }

    /// Each message that courier has taken is in the database; whose turn it was not was told so, and
    /// sends again. How many it has taken.
    #[track_caller]
    fn lost_no_message(&self, delivered: &[(Instant, u16)]) -> usize {
        let taken = delivered.iter().filter(|(_, code)| *code == 200).count();
        let written = "SELECT count(*) FROM msgs_msg WHERE text = 'during the upgrade'";
        assert_eq!(
            self.rapidpro_sql(written),
            taken.to_string(),
            "{delivered:?}"
        );
        let told = delivered
            .iter()
            .all(|(_, code)| [200, 502, 503, 504].contains(code));
        assert!(told, "{delivered:?}");
        taken
    }

    /// Nothing is under way, nothing is closed, nothing lies beside but what can be gone back to.
    #[track_caller]
    fn is_settled(&self, owner: &str) {
        assert!(!self.folder.join("state/upgrade.json").exists());
        assert!(!self.closed(owner));
        assert!(!self.closed("courier"));
        let ahead = format!("name={}_{owner}-static-ahead", self.project);
        assert_eq!(self.docker(&["volume", "ls", "-q", "--filter", &ahead]), "");
        let release = format!("name={}-{owner}-release", self.project);
        assert_eq!(self.docker(&["ps", "-aq", "--filter", &release]), "");
    }
}

/// Asks nginx again and again, until it is told to stop; each answer with its time.
struct Asking {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<(Instant, u16)>>,
}

impl Asking {
    /// POSTs (with a body) or GETs.
    fn begin(home: &Home, host: &str, path: &str, body: Option<&'static str>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (told, port) = (Arc::clone(&stop), home.https);
        let url = format!("https://{host}:{port}{path}");
        let resolve = format!("{host}:{port}:127.0.0.1");
        let thread = std::thread::spawn(move || {
            let mut answers = Vec::new();
            while !told.load(Ordering::Relaxed) {
                let mut command = Command::new("curl");
                command
                    .args([
                        "-sk",
                        "-o",
                        "/dev/null",
                        "-w",
                        "%{http_code}",
                        "--max-time",
                        "10",
                    ])
                    .args(["--resolve", &resolve, &url])
                    .stdin(Stdio::null());
                if let Some(body) = body {
                    command.args(["-d", body]);
                }
                let output = command.output().unwrap();
                let code = String::from_utf8_lossy(&output.stdout).parse().unwrap_or(0);
                answers.push((Instant::now(), code));
            }
            answers
        });
        Self { stop, thread }
    }

    fn end(self) -> Vec<(Instant, u16)> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// What differs from run to run.
fn tidy(home: &Home, text: &str) -> String {
    let mut text = crate::backup::round::tidy(home, text);
    for (pattern, put) in [
        (r"\d+(\.\d+)? [KMG]?B\b", "SIZE"),
        (r"\d+(\.\d+)? s\b", "TIME"),
        (r"PostgreSQL \d\S*( \([^)]*\))?", "PostgreSQL VERSION"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "DATE"),
        (r"\d{4}-\d\d-\d\d (HH:MM:SS|\d\d:\d\d:\d\d)", "DATE"),
        (r"\d+\.\d+\.\d+\.\d+:\d+", "ADDRESS"),
    ] {
        text = regex::Regex::new(pattern)
            .unwrap()
            .replace_all(&text, put)
            .into_owned();
    }
    text
}
