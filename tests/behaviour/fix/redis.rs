//! Redis that does not let the containers in: bound to the loopback, without the password that the
//! settings have, stopped.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::cluster::Cluster;
use super::content;
use crate::diagnose::data::Servers;
use crate::harness::{Home, Ran, free_port, until};

const ACCESS: &[&str] = &["redis-access"];
const LIMIT: Duration = Duration::from_secs(60);

/// One deployment, one Redis, one fault after the other.
#[test]
fn redis_lets_the_containers_in_again() {
    let home = Home::new("fixredis");
    let servers = Servers::up();
    servers.serve(&home);
    content::comes_up(&home);
    keeps_a_page(&home, &servers);
    home.has_nothing_to_fix(ACCESS);

    on_loopback_only(&home, &servers);
    killed_in_the_middle(&home, &servers);
    without_the_password_that_the_settings_have(&home, &servers);
    never_open_without_a_password(&home, &servers);
    what_redis_refuses_is_put_back(&home, &servers);
    an_address_that_came_later(&home, &servers);
    a_redis_whose_start_is_not_known(&home, &servers);
    stopped(&home, &servers);
}

/// A page is answered that the service keeps in Redis.
#[track_caller]
fn keeps_a_page(home: &Home, servers: &Servers) {
    servers.redis(&["-n", "2", "FLUSHDB"]);
    assert_eq!(content::page(home), "200");
    let kept = servers.redis(&["-n", "2", "DBSIZE"]);
    assert_ne!(kept, "0");
}

fn conf(servers: &Servers) -> PathBuf {
    servers.redis_folder().join("redis.conf")
}

fn written(servers: &Servers) -> String {
    std::fs::read_to_string(conf(servers)).unwrap()
}

/// In the file and at run time, as somebody does who edits and restarts.
fn bind(servers: &Servers, addresses: &str) {
    directive(servers, "bind", Some(addresses));
    servers.redis(&["CONFIG", "SET", "bind", addresses]);
}

/// Replaces a line of the file, in place.
fn directive(servers: &Servers, name: &str, value: Option<&str>) {
    let text = written(servers);
    let begins = format!("{name} ");
    let mut lines: Vec<String> = text
        .lines()
        .filter(|line| !line.starts_with(&begins))
        .map(str::to_owned)
        .collect();
    lines.extend(value.map(|value| format!("{begins}{value}")));
    std::fs::write(conf(servers), lines.join("\n") + "\n").unwrap();
}

fn unreachable(home: &Home) -> String {
    let diagnosed = home.diagnose(ACCESS);
    let finding = diagnosed.only_root("redis-unreachable");
    let command = finding["fix"]["command"]
        .as_str()
        .unwrap_or_else(|| panic!("{finding:#}"));
    assert!(command.ends_with(" fix redis-access"), "{command}");
    finding["summary"].as_str().unwrap().to_owned()
}

fn on_loopback_only(home: &Home, servers: &Servers) {
    bind(servers, "127.0.0.1");
    // Connections that are open stay so; new ones are refused.
    assert!(unreachable(home).starts_with("Redis listens on 127.0.0.1 only"));
    let before = written(servers);
    let shown = home.ooy(&["fix", "--dry-run", "redis-access"]).expect(0);
    assert!(shown.stderr.contains("will do"), "{}", shown.stderr);
    assert_eq!(written(servers), before);
    // Where it listens, a person decides: nothing that is done with nobody looking.
    let ran = home.ooy(&["fix", "--all", "--dry-run"]);
    assert!(!ran.stderr.contains("have Redis listen"), "{}", ran.stderr);

    let said = home.fixes(ACCESS);
    assert!(said.contains("nobody notices"), "{said}");
    insta::assert_snapshot!("redis-access", tidy(home, servers, &said));
    let address = &servers.address;
    let wanted = format!("bind 127.0.0.1 -{address}\n");
    assert!(written(servers).contains(&wanted), "{}", written(servers));
    // The copy is what was before, and nobody else may read either.
    let copies = Cluster::copies(&conf(servers));
    assert_eq!(std::fs::read_to_string(&copies[0]).unwrap(), before);
    let rights = |path: &Path| {
        let of = std::fs::metadata(path).unwrap();
        (of.uid(), of.gid(), of.permissions().mode() & 0o7777)
    };
    assert_eq!(rights(&copies[0]), rights(&conf(servers)));
    assert_eq!(rights(&conf(servers)).2, 0o600);
    keeps_a_page(home, servers);
    home.has_nothing_to_fix(ACCESS);
    assert_eq!(Cluster::copies(&conf(servers)).len(), 1);
    started_anew_it_is_the_same(home, servers);
}

/// From its file, as at a boot.
fn started_anew_it_is_the_same(home: &Home, servers: &Servers) {
    servers.kill_redis();
    from_its_file(servers);
    home.has_nothing_to_fix(ACCESS);
    keeps_a_page(home, servers);
}

fn from_its_file(servers: &Servers) {
    let status = Command::new("setsid")
        .args([
            "-f",
            "setpriv",
            "--reuid=redis",
            "--regid=redis",
            "--init-groups",
        ])
        .args(["redis-server", &conf(servers).display().to_string()])
        .current_dir(servers.redis_folder())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    assert!(status.unwrap().success());
    until("Redis answers", LIMIT, || {
        servers.redis(&["PING"]) == "PONG"
    });
}

/// At different moments, the file written or not.
fn killed_in_the_middle(home: &Home, servers: &Servers) {
    for after in [0, 5, 20] {
        bind(servers, "127.0.0.1");
        let mut child = home
            .command(&["--yes", "--json", "fix", "redis-access"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let seen = lines.any(|line| line.is_ok_and(|line| line.contains("changing Redis")));
        std::thread::sleep(Duration::from_millis(after));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(seen);
        home.fixes(ACCESS);
        keeps_a_page(home, servers);
        home.has_nothing_to_fix(ACCESS);
        let count = written(servers).matches("bind 127.0.0.1 -").count();
        assert_eq!(count, 1, "{}", written(servers));
    }
    // As a kill between the two leaves it: in the file, and not yet in Redis.
    servers.redis(&["CONFIG", "SET", "bind", "127.0.0.1"]);
    let (before, copies) = (written(servers), Cluster::copies(&conf(servers)));
    home.fixes(ACCESS);
    assert_eq!(written(servers), before);
    assert_eq!(Cluster::copies(&conf(servers)), copies);
    keeps_a_page(home, servers);
}

/// A redis.conf that came anew with the package, say.
fn without_the_password_that_the_settings_have(home: &Home, servers: &Servers) {
    let password = servers.redis_password();
    directive(servers, "requirepass", None);
    servers.redis(&["CONFIG", "SET", "requirepass", ""]);
    assert_eq!(unreachable(home), "Redis is in protected mode");
    let ran = home.fix(ACCESS).expect(0);
    for text in [&ran.stdout, &ran.stderr] {
        assert!(!text.contains(password), "{text}");
    }
    assert!(
        ran.stderr.contains("without a password are refused"),
        "{}",
        ran.stderr
    );
    assert!(written(servers).contains(&format!("requirepass \"{password}\"\n")));
    assert_eq!(
        servers.redis_with(None, &["PING"]),
        "NOAUTH Authentication required."
    );
    // Protected mode is what it was.
    let mode = servers.redis(&["CONFIG", "GET", "protected-mode"]);
    assert!(mode.ends_with("yes"), "{mode}");
    started_anew_it_is_the_same(home, servers);

    // Open to whoever comes: closed as well.
    servers.redis(&["CONFIG", "SET", "protected-mode", "no"]);
    servers.redis(&["CONFIG", "SET", "requirepass", ""]);
    assert_eq!(unreachable(home), "Redis has no password");
    home.fixes(ACCESS);
    keeps_a_page(home, servers);
    servers.redis(&["CONFIG", "SET", "protected-mode", "yes"]);
    home.has_nothing_to_fix(ACCESS);
}

fn never_open_without_a_password(home: &Home, servers: &Servers) {
    servers.redis_of_all(home, None);
    servers.redis(&["CONFIG", "SET", "requirepass", ""]);
    let before = written(servers);
    for addresses in [None, Some("127.0.0.1")] {
        if let Some(addresses) = addresses {
            servers.redis_with(None, &["CONFIG", "SET", "bind", addresses]);
        }
        unreachable(home);
        let ran = home.fix(ACCESS).expect(1);
        assert!(
            ran.stderr.contains("Redis has no password"),
            "{}",
            ran.stderr
        );
        assert!(ran.stderr.contains("nothing was changed"), "{}", ran.stderr);
        assert_eq!(written(servers), before);
    }
    let bind = servers.redis_with(None, &["CONFIG", "GET", "bind"]);
    assert_eq!(bind, "bind\n127.0.0.1");
    // What it says to do does it: the password into the settings, and the same once more.
    servers.redis_of_all(home, Some(servers.redis_password()));
    home.fixes(ACCESS);
    keeps_a_page(home, servers);
    home.has_nothing_to_fix(ACCESS);
}

/// An access list lets it look and not change.
fn what_redis_refuses_is_put_back(home: &Home, servers: &Servers) {
    bind(servers, "127.0.0.1");
    servers.redis(&["ACL", "SETUSER", "default", "-config|set"]);
    let (before, copies) = (written(servers), Cluster::copies(&conf(servers)));
    let ran = home.fix(ACCESS).expect(1);
    assert!(
        ran.stderr.contains("Redis does not take the new settings"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("NOPERM"), "{}", ran.stderr);
    assert_eq!(written(servers), before);
    assert_eq!(Cluster::copies(&conf(servers)), copies);
    servers.redis(&["ACL", "SETUSER", "default", "+@all"]);
    home.fixes(ACCESS);
    keeps_a_page(home, servers);
}

/// After a boot Redis runs before Docker has made the address that it shall listen on. What it was
/// told before comes into force with nobody looking.
fn an_address_that_came_later(home: &Home, servers: &Servers) {
    let late = "10.199.199.1";
    let urls = ["RAPIDPRO", "CASEPRO", "CONTENTREPO"].map(|owner| format!("{owner}_REDIS_URL"));
    let before = urls.each_ref().map(|url| home.setting(url));
    for (url, value) in urls.iter().zip(&before) {
        let value = value.replace(&servers.address, late);
        home.set(url, &format!("{url}={value}"));
    }
    bind(servers, &format!("127.0.0.1 -{} -{late}", servers.address));
    let address = |verb: &str| {
        let status = Command::new("ip")
            .args(["addr", verb, &format!("{late}/32"), "dev", "lo"])
            .status();
        assert!(status.unwrap().success());
    };
    address("add");
    assert!(unreachable(home).starts_with("Redis listens on "));
    let text = written(servers);
    let ran = home.ooy(&["fix", "--all", "--dry-run"]);
    assert!(ran.stderr.contains("have Redis listen"), "{}", ran.stderr);
    home.fixes(ACCESS);
    assert_eq!(written(servers), text);
    home.has_nothing_to_fix(ACCESS);
    address("del");
    for (url, value) in urls.iter().zip(&before) {
        home.set(url, &format!("{url}={value}"));
    }
    home.has_nothing_to_fix(ACCESS);
}

fn a_redis_whose_start_is_not_known(home: &Home, servers: &Servers) {
    servers.kill_redis();
    assert!(unreachable(home).starts_with("Redis is not running"));
    let ran = home.fix(ACCESS).expect(1);
    assert!(
        ran.stderr.contains("is started is not known here"),
        "{}",
        ran.stderr
    );
    from_its_file(servers);
    keeps_a_page(home, servers);
}

/// Debian's own Redis, with its settings and its start script, in a mount namespace where
/// /etc/redis is this test's.
fn stopped(home: &Home, servers: &Servers) {
    servers.kill_redis();
    let folder = servers.redis_folder();
    let (etc, run) = (folder.join("etc"), folder.join("run"));
    for folder in [&etc, &run] {
        std::fs::create_dir_all(folder).unwrap();
    }
    let text = written(servers)
        .lines()
        .filter(|line| !line.starts_with("pidfile "))
        .fold(String::new(), |text, line| text + line + "\n");
    let pid = "/run/redis/redis-server.pid";
    std::fs::write(
        etc.join("redis.conf"),
        format!("{text}daemonize yes\npidfile {pid}\n"),
    )
    .unwrap();
    let status = Command::new("chown")
        .args(["-R", "redis:redis"])
        .args([&etc, &run])
        .status();
    assert!(status.unwrap().success());

    let ran = with_debians_redis(home, &etc, &run, &["--yes", "fix", "redis-access"]).expect(0);
    assert!(ran.stderr.contains("Redis started"), "{}", ran.stderr);
    keeps_a_page(home, servers);
    home.has_nothing_to_fix(ACCESS);
    // Another one than that of the settings is not started.
    servers.redis(&["SHUTDOWN", "NOSAVE"]);
    until("Redis has ended", LIMIT, || {
        servers.redis(&["PING"]) != "PONG"
    });
    let other = format!("{text}port {}\n", free_port());
    std::fs::write(etc.join("redis.conf"), other).unwrap();
    let ran = with_debians_redis(home, &etc, &run, &["--yes", "fix", "redis-access"]).expect(1);
    assert!(ran.stderr.contains("is about port"), "{}", ran.stderr);
    from_its_file(servers);
    keeps_a_page(home, servers);
}

fn with_debians_redis(home: &Home, etc: &Path, run: &Path, arguments: &[&str]) -> Ran {
    let script = "mount --bind \"$1\" /etc/redis && mkdir -p /run/redis \
        && mount --bind \"$2\" /run/redis && shift 2 && exec \"$@\"";
    let ooy = home.command(arguments);
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .args([etc, run])
        .arg(ooy.get_program())
        .args(ooy.get_args())
        .env_clear()
        .envs(
            ooy.get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Ran::of(&output)
}

fn tidy(home: &Home, servers: &Servers, text: &str) -> String {
    let text = home
        .tidy(text)
        .replace(&conf(servers).display().to_string(), "redis.conf")
        .replace(&servers.address, "172.17.0.1");
    let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for (pattern, put) in [
        (r"ooy-\d{8}T\d{6}Z", "ooy-TIME"),
        (
            r"from a container of network \S+",
            "from a container of network NETWORK",
        ),
        (r" (✓|→|·|will do|meanwhile|before:|after:)", "\n$1"),
        // On a busy machine it says that it waits.
        (r"\n→ check [^\n]*", ""),
    ] {
        text = regex::Regex::new(pattern)
            .unwrap()
            .replace_all(&text, put)
            .into_owned();
    }
    text
}
