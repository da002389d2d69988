//! PostgreSQL that does not let the containers in, as Debian leaves it and as people close it.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::cluster::{Cluster, OWNERS};
use super::content;
use crate::harness::{Home, Ran, executable, surroundings, until};

pub const ACCESS: &[&str] = &["postgres-access"];
const LIMIT: Duration = Duration::from_secs(60);

/// One deployment, one server, one fault after the other.
#[test]
fn postgresql_lets_the_containers_in_again() {
    let home = Home::new("fixpg");
    let cluster = Cluster::up("ooyfixpg");
    let address = surroundings("OOY_TEST_POSTGRES_HOST");
    cluster.serve(&home, &address);
    // For a network.
    home.ooy(&["start", "elasticsearch"]).expect(0);

    as_debian_installs_it(&home, &cluster, &address);
    closed_by_a_line_that_rejects(&home, &cluster);
    killed_in_the_middle(&home, &cluster, &address);
    stopped(&home, &cluster);
    a_file_with_an_error_is_left_alone(&home, &cluster);
    what_the_server_refuses_is_put_back(&home, &cluster);
    nobody_without_permission(&home, &cluster);
    where_the_command_line_decides(&home, &cluster, &address);
    on_another_machine(&home, &cluster);
}

/// A row is written by the service.
#[track_caller]
fn writes_a_row(home: &Home, cluster: &Cluster) {
    let rows = || -> u32 {
        let count = cluster.sql("contentrepo", "SELECT count(*) FROM django_session");
        count.parse().unwrap()
    };
    let before = rows();
    assert_eq!(content::log_in(home), "302");
    assert_eq!(rows(), before + 1);
}

pub fn summary(home: &Home, check: &str, code: &str) -> String {
    let diagnosed = home.diagnose(&[check]);
    let finding = diagnosed.only_root(code);
    let command = finding["fix"]["command"]
        .as_str()
        .unwrap_or_else(|| panic!("{finding:#}"));
    assert!(command.ends_with(&format!(" fix {check}")), "{command}");
    finding["summary"].as_str().unwrap().to_owned()
}

fn unreachable(home: &Home) -> String {
    summary(home, "postgres-access", "postgres-unreachable")
}

/// Who may do what with a file.
fn rights(path: &Path) -> (u32, u32, u32) {
    let of = std::fs::metadata(path).unwrap();
    (of.uid(), of.gid(), of.mode() & 0o7777)
}

fn as_debian_installs_it(home: &Home, cluster: &Cluster, address: &str) {
    let hba = cluster.hba();
    let before = std::fs::read_to_string(&hba).unwrap();
    let rights_before = rights(&hba);
    assert!(unreachable(home).starts_with("PostgreSQL listens on "));

    // A look changes nothing.
    let shown = home.ooy(&["fix", "--dry-run", "postgres-access"]).expect(0);
    assert_eq!(std::fs::read_to_string(&hba).unwrap(), before);
    assert!(!shown.stderr.contains("pOfTheTest"));
    insta::assert_snapshot!(
        "postgres-access-plan",
        tidy(home, cluster, address, &shown.stderr)
    );
    // Nor does a no.
    home.ooy(&["fix", "postgres-access"]).expect(1);
    assert_eq!(std::fs::read_to_string(&hba).unwrap(), before);

    let said = home.fixes(ACCESS);
    assert!(said.contains("restarted"), "{said}");
    insta::assert_snapshot!("postgres-access", tidy(home, cluster, address, &said));
    let listens = cluster.sql("postgres", "SHOW listen_addresses");
    assert_eq!(listens, format!("localhost,{address}"));

    // Each role into its own database, from this deployment's network, and from nowhere else.
    let after = std::fs::read_to_string(&hba).unwrap();
    let added: Vec<&str> = after.strip_prefix(&before).unwrap().lines().collect();
    let subnet = subnet(home);
    let wanted: Vec<String> = OWNERS
        .iter()
        .flat_map(|owner| {
            [subnet.as_str(), "samehost"]
                .map(|from| format!("host  {owner}  {owner}  {from}  scram-sha-256"))
        })
        .collect();
    assert_eq!(added[1..], wanted);
    // The copy is what was before.
    for file in [&hba, &cluster.data().join("postgresql.auto.conf")] {
        let copies = Cluster::copies(file);
        assert_eq!(copies.len(), 1, "{copies:?}");
        assert_eq!(rights(&copies[0]), rights(file));
    }
    assert_eq!(
        std::fs::read_to_string(&Cluster::copies(&hba)[0]).unwrap(),
        before
    );
    assert_eq!(rights(&hba), rights_before);

    home.has_nothing_to_fix(ACCESS);
    assert_eq!(std::fs::read_to_string(&hba).unwrap(), after);
    content::comes_up(home);
    writes_a_row(home, cluster);
}

pub fn subnet(home: &Home) -> String {
    let network = format!("{}_default", home.project);
    let template = "{{range .IPAM.Config}}{{.Subnet}}{{end}}";
    home.docker(&["network", "inspect", "-f", template, &network])
}

/// A pg_hba.conf in which somebody has closed the containers out.
fn closed(home: &Home) -> String {
    format!(
        "local all postgres peer\nhost all all 127.0.0.1/32 scram-sha-256\n\
         host all all samehost md5\nhost all all {} reject\nhost all all all reject\n",
        subnet(home)
    )
}

/// Closes the containers out, and waits until the service feels it. Answers the file.
fn close(home: &Home, cluster: &Cluster) -> String {
    let closed = closed(home);
    cluster.set_hba(&closed);
    until("the service is closed out", LIMIT, || {
        content::log_in(home) != "302"
    });
    closed
}

fn closed_by_a_line_that_rejects(home: &Home, cluster: &Cluster) {
    // One whose password is kept as it was before PostgreSQL 14.
    cluster.keep_password_as("casepro", "md5");
    let closed = close(home, cluster);
    assert_eq!(
        unreachable(home),
        "PostgreSQL does not let the containers in: pg_hba.conf has no line for them"
    );
    let said = home.fixes(ACCESS);
    let subnet = subnet(home);
    assert!(
        said.contains(&format!("above `host all all {subnet} reject`")),
        "{said}"
    );
    assert!(said.contains("nobody notices"), "{said}");
    let after = std::fs::read_to_string(cluster.hba()).unwrap();
    assert!(
        after.contains(&format!("host  casepro  casepro  {subnet}  md5\n")),
        "{after}"
    );
    assert!(after.ends_with(closed.split_once("samehost md5\n").unwrap().1));
    writes_a_row(home, cluster);
    home.has_nothing_to_fix(ACCESS);
    cluster.keep_password_as("casepro", "scram-sha-256");
}

/// `ooy fix NAME`, killed when it tells this.
pub fn killed_when(home: &Home, name: &str, told: &str) {
    let mut child = home
        .command(&["--yes", "--json", "fix", name])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let seen = lines.any(|line| line.is_ok_and(|line| line.contains(told)));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(seen, "{told} was never told");
}

fn killed_in_the_middle(home: &Home, cluster: &Cluster, address: &str) {
    // Written, and not yet read by the server.
    let closed = close(home, cluster);
    killed_when(home, "postgres-access", "3 lines added");
    let written = std::fs::read_to_string(cluster.hba()).unwrap();
    assert_ne!(written, closed);
    home.fixes(ACCESS);
    assert_eq!(std::fs::read_to_string(cluster.hba()).unwrap(), written);
    writes_a_row(home, cluster);
    home.has_nothing_to_fix(ACCESS);

    // In the restart.
    cluster.sql(
        "postgres",
        "ALTER SYSTEM SET listen_addresses = 'localhost'",
    );
    cluster.ctl("restart");
    assert!(unreachable(home).starts_with("PostgreSQL listens on "));
    killed_when(home, "postgres-access", "restarting PostgreSQL");
    // What it had begun may end by itself, with the server up or down.
    home.fixes(ACCESS);
    until("the server is at its work", LIMIT, || {
        content::log_in(home) == "302"
    });
    let listens = cluster.sql("postgres", "SHOW listen_addresses");
    assert_eq!(listens, format!("localhost,{address}"));
    writes_a_row(home, cluster);
    home.has_nothing_to_fix(ACCESS);
}

fn stopped(home: &Home, cluster: &Cluster) {
    cluster.ctl("stop");
    assert!(unreachable(home).starts_with("PostgreSQL is not running"));
    // Whether it runs, a person decides: not what is done with nobody looking.
    let shown = home.ooy(&["fix", "--all", "--dry-run"]);
    assert!(
        !shown.stderr.contains("start PostgreSQL"),
        "{}",
        shown.stderr
    );
    let said = home.fixes(ACCESS);
    let started = format!("PostgreSQL {} started", cluster.label());
    assert!(said.contains(&started), "{said}");
    writes_a_row(home, cluster);
    home.has_nothing_to_fix(ACCESS);
}

fn a_file_with_an_error_is_left_alone(home: &Home, cluster: &Cluster) {
    let good = std::fs::read_to_string(cluster.hba()).unwrap();
    let closed = close(home, cluster);
    let wrong = format!("{closed}host all all nonsense\n");
    std::fs::write(cluster.hba(), &wrong).unwrap();
    let copies = Cluster::copies(&cluster.hba());
    let ran = home.fix(ACCESS).expect(1);
    assert!(
        ran.stderr.contains("pg_hba.conf has errors"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("line 6: "), "{}", ran.stderr);
    assert!(ran.stderr.contains("sudoedit "), "{}", ran.stderr);
    assert_eq!(std::fs::read_to_string(cluster.hba()).unwrap(), wrong);
    assert_eq!(Cluster::copies(&cluster.hba()), copies);
    cluster.set_hba(&good);
}

/// The server is made to find an error in the new lines, as a release with other rules might.
fn what_the_server_refuses_is_put_back(home: &Home, cluster: &Cluster) {
    let good = std::fs::read_to_string(cluster.hba()).unwrap();
    let closed = close(home, cluster);
    cluster.sql(
        "postgres",
        "CREATE SCHEMA odd; CREATE VIEW odd.pg_hba_file_rules AS SELECT line_number, \
         CASE WHEN 'contentrepo' = ANY (database) THEN 'an odd error' END AS error \
         FROM pg_catalog.pg_hba_file_rules; \
         ALTER ROLE postgres SET search_path = odd, pg_catalog",
    );
    let before = (rights(&cluster.hba()), Cluster::copies(&cluster.hba()));
    let ran = home.fix(ACCESS).expect(1);
    assert!(
        ran.stderr
            .contains("PostgreSQL refuses the new pg_hba.conf"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("an odd error"), "{}", ran.stderr);
    assert_eq!(std::fs::read_to_string(cluster.hba()).unwrap(), closed);
    let after = (rights(&cluster.hba()), Cluster::copies(&cluster.hba()));
    assert_eq!(before, after);
    cluster.sql(
        "postgres",
        "ALTER ROLE postgres RESET search_path; DROP SCHEMA odd CASCADE",
    );
    home.fixes(ACCESS);
    writes_a_row(home, cluster);
    cluster.set_hba(&good);
    writes_a_row(home, cluster);
}

/// As somebody who may use Docker, and read the settings, and is not root.
pub fn as_another_user(home: &Home, arguments: &[&str]) -> Ran {
    let own = |user: &str| {
        let status = Command::new("chown")
            .args(["-R", user])
            .arg(&home.folder)
            .status();
        assert!(status.unwrap().success());
    };
    own("nobody");
    let docker = std::fs::metadata("/var/run/docker.sock").unwrap().gid();
    let output = Command::new("setpriv")
        .args([
            "--reuid=nobody",
            &format!("--regid={docker}"),
            "--clear-groups",
        ])
        .arg("env")
        .args([
            "-i",
            "PATH=/usr/bin:/bin:/usr/sbin:/sbin",
            "LC_ALL=C.UTF-8",
            "HOME=/",
        ])
        .arg(executable())
        .arg("--home")
        .arg(&home.folder)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    own("root");
    Ran::of(&output)
}

fn nobody_without_permission(home: &Home, cluster: &Cluster) {
    let good = std::fs::read_to_string(cluster.hba()).unwrap();
    let closed = close(home, cluster);
    let ran = as_another_user(home, &["--yes", "fix", "postgres-access"]).expect(1);
    assert!(ran.stderr.contains("no permission"), "{}", ran.stderr);
    assert!(ran.stderr.contains("ooy runs as nobody"), "{}", ran.stderr);
    assert!(ran.stderr.contains("sudo "), "{}", ran.stderr);
    assert_eq!(std::fs::read_to_string(cluster.hba()).unwrap(), closed);
    cluster.set_hba(&good);
    writes_a_row(home, cluster);
}

/// What stands on the command line outweighs every file: nothing is changed, and it is said where.
fn where_the_command_line_decides(home: &Home, cluster: &Cluster, address: &str) {
    cluster.ctl("stop");
    cluster.start_with("-c listen_addresses=127.0.0.1", None);
    assert!(unreachable(home).starts_with("PostgreSQL listens on 127.0.0.1 only"));
    let ran = home.fix(ACCESS).expect(1);
    assert!(
        ran.stderr.contains("command line says where it listens"),
        "{}",
        ran.stderr
    );
    cluster.ctl("restart");
    assert_eq!(
        cluster.sql("postgres", "SHOW listen_addresses"),
        format!("localhost,{address}")
    );
    home.has_nothing_to_fix(ACCESS);
    writes_a_row(home, cluster);
}

/// Another machine, as far as the network is concerned.
struct Machine {
    name: String,
    near: String,
    far: String,
}

impl Machine {
    fn up() -> Self {
        let id = std::process::id() % 250;
        let machine = Self {
            name: format!("ooyfixpg{}", std::process::id()),
            near: format!("10.198.{id}.1"),
            far: format!("10.198.{id}.2"),
        };
        let Self { name, near, far } = &machine;
        let (ours, theirs) = (format!("va{id}"), format!("vb{id}"));
        let inside = format!("ip -n {name}");
        for command in [
            format!("ip netns add {name}"),
            format!("ip link add {ours} type veth peer name {theirs} netns {name}"),
            format!("ip addr add {near}/30 dev {ours}"),
            format!("ip link set {ours} up"),
            format!("{inside} addr add {far}/30 dev {theirs}"),
            format!("{inside} link set {theirs} up"),
            format!("{inside} link set lo up"),
            format!("{inside} route add default via {near}"),
        ] {
            let status = Command::new("sh").args(["-c", &command]).status();
            assert!(status.unwrap().success(), "{command}");
        }
        machine
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .status();
    }
}

/// Nothing is done there: what has to be done is said, with the address that the server really sees,
/// which is that of this host.
fn on_another_machine(home: &Home, cluster: &Cluster) {
    let machine = Machine::up();
    cluster.ctl("stop");
    std::fs::write(cluster.hba(), "local all postgres peer\n").unwrap();
    cluster.start_with("-c listen_addresses=*", Some(&machine.name));
    cluster.serve(home, &machine.far);
    let summary = unreachable(home);
    assert_eq!(summary, "pg_hba.conf does not let rapidpro in");
    let ran = home.fix(ACCESS).expect(1);
    let said = &ran.stderr;
    assert!(said.contains("PostgreSQL is on another machine"), "{said}");
    for owner in OWNERS {
        let line = format!("host  {owner}  {owner}  {}/32  md5", machine.near);
        assert!(said.contains(&line), "{said}");
    }
    assert!(said.contains(&format!("# on {}", machine.far)), "{said}");
    assert_eq!(
        std::fs::read_to_string(cluster.hba()).unwrap(),
        "local all postgres peer\n"
    );
    cluster.ctl("stop");
}

fn tidy(home: &Home, cluster: &Cluster, address: &str, text: &str) -> String {
    let text = home
        .tidy(text)
        .replace(&subnet(home), "SUBNET")
        .replace(&cluster.label(), "15/main")
        .replace(address, "172.17.0.1");
    // A line is wrapped where the real names end.
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
