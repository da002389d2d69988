//! The machine: disks, memory, kernel, clocks.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::disk::{self, says};
use crate::harness::{Home, surroundings};

const PATIENCE: Duration = Duration::from_secs(240);

/// One scenario, since bringing a deployment up is what costs.
#[test]
fn the_host_and_its_disks() {
    let home = Home::with_databases("host");
    let clock = Clock::before_redis();
    super::disk::patient(&home);
    home.set(
        "CONTENTREPO_REDIS_URL",
        &format!(
            "CONTENTREPO_REDIS_URL='{}'",
            home.setting("CONTENTREPO_REDIS_URL").replace(
                &format!(":{}/", surroundings("OOY_TEST_REDIS_PORT")),
                &format!(":{}/", clock.port),
            )
        ),
    );
    disk::bring_up(&home);
    disk::a_disk_without_room(&home);
    disk::a_disk_without_inodes(&home);
    disk::a_disk_that_is_read_only(&home);
    disk::a_disk_that_fills(&home);
    disk::a_disk_that_will_be_full(&home);
    disk::dockers_disk(&home);
    disk::a_log_without_end(&home);
    disk::an_image_that_nothing_uses(&home);
    little_memory(&home);
    a_clock_that_is_wrong(&home, &clock);
    too_few_memory_maps(&home);
}

fn little_memory(home: &Home) {
    home.set("MEMORY_LOW_PERCENT", "MEMORY_LOW_PERCENT=99");
    let diagnosed = home.diagnose_until("memory-low", PATIENCE);
    let finding = diagnosed.only_root("memory-low");
    says(finding, "99 % (MEMORY_LOW_PERCENT)");
    says(finding, "free -h");
    says(finding, "services with most of it");
    home.set("MEMORY_LOW_PERCENT", "#MEMORY_LOW_PERCENT=8");
    home.healthy_again(PATIENCE);
}

fn a_clock_that_is_wrong(home: &Home, clock: &Clock) {
    for (ahead, said) in [(3900, "64 min ahead of"), (-630, "10 min behind")] {
        clock.ahead(ahead);
        let diagnosed = home.diagnose_until("clock-skew", PATIENCE);
        let finding = diagnosed.only_root("clock-skew");
        says(finding, said);
        says(finding, "5 s (CLOCK_SKEW)");
        says(finding, "TIME; date +%s");
        assert!(
            !finding
                .to_string()
                .contains(&surroundings("OOY_TEST_REDIS_PASSWORD"))
        );
    }
    clock.ahead(0);
    home.healthy_again(PATIENCE);
}

/// Elasticsearch with the last words of a real one that refuses to start.
fn too_few_memory_maps(home: &Home) {
    let kernel = Kernel::with("65530");
    home.healthy_again(PATIENCE);
    let diagnosed = home.diagnose(&[]);
    assert_eq!(diagnosed.finding("max-map-count-low")["severity"], "info");

    let path = home.folder.join("compose.override.yaml");
    let line = "ERROR: [1] bootstrap checks failed: max virtual memory areas vm.max_map_count [65530] is too low, increase to at least [262144]";
    std::fs::write(
        &path,
        format!(
            "services:\n  elasticsearch:\n    entrypoint: [\"sh\", \"-c\", \"echo '{line}'; sleep 1; exit 78\"]\n    command: []\n"
        ),
    )
    .unwrap();
    home.ooy(&["start", "elasticsearch"]).expect(1);
    let diagnosed = home.diagnose_until("max-map-count-low", PATIENCE);
    let finding = diagnosed.only_root("max-map-count-low");
    assert_eq!(finding["severity"], "error");
    says(finding, "vm.max_map_count [65530] is too low");
    says(&finding["fix"]["command"], "fix max-map-count");
    std::fs::remove_file(&path).unwrap();
    drop(kernel);
    home.ooy(&["start"]).expect(0);
    home.healthy_again(PATIENCE);
}

/// A kernel setting of this machine, put back in the end.
struct Kernel(String);

const MAPS: &str = "/proc/sys/vm/max_map_count";

impl Kernel {
    fn with(value: &str) -> Self {
        let before = std::fs::read_to_string(MAPS).unwrap();
        if before.trim() != value {
            std::fs::write(MAPS, value).unwrap();
        }
        Self(before)
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        let now = std::fs::read_to_string(MAPS).unwrap();
        if now != self.0 {
            let _ = std::fs::write(MAPS, &self.0);
        }
    }
}

/// Before Redis: passes everything on, and tells another time where it is asked for it.
struct Clock {
    port: u16,
    ahead: Arc<AtomicI64>,
}

impl Clock {
    fn before_redis() -> Self {
        let host = surroundings("OOY_TEST_REDIS_HOST");
        let redis = format!("{host}:{}", surroundings("OOY_TEST_REDIS_PORT"));
        let listener = TcpListener::bind((host.as_str(), 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let ahead = Arc::new(AtomicI64::new(0));
        let told = Arc::clone(&ahead);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&redis) else {
                    continue;
                };
                let told = Arc::clone(&told);
                let (back, to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                std::thread::spawn(move || pass(back, to, |_| None));
                std::thread::spawn(move || {
                    let answer_to = client.try_clone().unwrap();
                    pass(client, server, |request| {
                        let ahead = told.load(Ordering::SeqCst);
                        if ahead == 0 || request != b"*1\r\n$4\r\nTIME\r\n" {
                            return None;
                        }
                        let seconds = jiff::Timestamp::now().as_second() + ahead;
                        let text = format!("*2\r\n$10\r\n{seconds}\r\n$6\r\n000000\r\n");
                        (&answer_to).write_all(text.as_bytes()).ok()
                    });
                });
            }
        });
        Self { port, ahead }
    }

    /// In seconds; 0: as it is.
    fn ahead(&self, seconds: i64) {
        self.ahead.store(seconds, Ordering::SeqCst);
    }
}

/// Passes on what is not answered on the way.
fn pass(mut from: TcpStream, mut to: TcpStream, answered: impl Fn(&[u8]) -> Option<()>) {
    let mut buffer = [0; 64 * 1024];
    while let Ok(count) = from.read(&mut buffer) {
        let piece = &buffer[..count];
        if count == 0 || (answered(piece).is_none() && to.write_all(piece).is_err()) {
            break;
        }
    }
    let _ = from.shutdown(std::net::Shutdown::Both);
    let _ = to.shutdown(std::net::Shutdown::Both);
}
