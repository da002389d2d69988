//! A whole deployment: restart policies are put right, and what came up too early is started again.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::{Home, Ran, until};

const PATIENCE: Duration = Duration::from_secs(90);

#[test]
fn what_runs_comes_back_and_in_its_order() {
    let home = Home::brought_up("fixboot", &[]);
    home.seed();
    home.healthy_again(PATIENCE);
    policies_are_put_right(&home);
    killed_in_the_middle_and_again(&home);
    a_start_repairs_what_came_up_too_early(&home);
    a_boot_brings_back_what_ran_as_it_was(&home);
    a_boot_does_not_wait_as_long_as_docker_would(&home);
    a_boot_waits_for_another_operation(&home);
    without_docker_the_boot_says_so(&home);
}

fn policy(home: &Home, service: &str) -> String {
    home.inspect(service, "{{.HostConfig.RestartPolicy.Name}}")
}

fn update(home: &Home, policy: &str, service: &str) {
    home.docker(&["update", "--restart", policy, &home.container(service)]);
}

fn kill(pid: &str) {
    let killed = Command::new("kill").args(["-KILL", pid]).status();
    assert!(killed.unwrap().success());
}

fn policies_are_put_right(home: &Home) {
    update(home, "no", "contentrepo");
    update(home, "unless-stopped", "courier");
    let diagnosed = home.diagnose_until("boot-disabled", PATIENCE);
    let summary = &diagnosed.finding("boot-disabled")["summary"];
    assert_eq!(
        summary,
        "2 services run, but would stay down after a restart of the host"
    );
    let planned = home.ooy(&["fix", "boot", "--dry-run"]).expect(0).stderr;
    assert!(
        planned.contains("restart policy of courier: always instead of unless-stopped"),
        "{planned}"
    );
    assert_eq!(policy(home, "contentrepo"), "no");
    let said = home.fixes(&["boot"]);
    insta::assert_snapshot!("fix-boot", home.tidy(&said));
    assert_eq!(
        (policy(home, "contentrepo"), policy(home, "courier")),
        ("always".into(), "always".into())
    );
    // It comes back by itself, and its pages are answered.
    let pid = home.inspect("contentrepo", "{{.State.Pid}}");
    kill(&pid);
    until("contentrepo is back", PATIENCE, || {
        home.get("content.test", "/admin/login/", &[]).0 == 200
            && home.inspect("contentrepo", "{{.State.Pid}}") != pid
    });
    home.has_nothing_to_fix(&["boot"]);
    home.healthy_again(PATIENCE);

    // With nobody looking as well.
    update(home, "no", "courier");
    home.fixes(&["--all"]);
    assert_eq!(policy(home, "courier"), "always");
}

fn killed_in_the_middle_and_again(home: &Home) {
    for service in ["contentrepo", "courier", "indexer"] {
        update(home, "no", service);
    }
    let mut child = home
        .command(&["--yes", "fix", "boot", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let found = lines.any(|line| line.unwrap().contains("\"policy\""));
    assert!(found);
    child.kill().unwrap();
    child.wait().unwrap();
    home.fixes(&["boot"]);
    for service in ["contentrepo", "courier", "indexer"] {
        assert_eq!(policy(home, service), "always", "{service}");
    }
    home.healthy_again(PATIENCE);
    home.has_nothing_to_fix(&["boot"]);
}

/// Mailroom without its Elasticsearch client, as after a restart of Docker.
fn too_early(home: &Home) {
    let (elasticsearch, mailroom) = (home.container("elasticsearch"), home.container("mailroom"));
    let indexer = home.container("indexer");
    home.docker(&["pause", &indexer]);
    home.docker(&["stop", "-t", "1", &elasticsearch]);
    home.docker(&["restart", "-t", "1", &mailroom]);
    let since = home.inspect("mailroom", "{{.State.StartedAt}}");
    until("mailroom is up without Elasticsearch", PATIENCE, || {
        let output = Command::new("docker")
            .args(["logs", "--since", &since, &mailroom])
            .output()
            .unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat())
            .contains("unable to connect to elastic")
    });
    home.docker(&["start", &elasticsearch]);
    home.until_healthy("elasticsearch");
    home.docker(&["unpause", &indexer]);
}

fn a_start_repairs_what_came_up_too_early(home: &Home) {
    too_early(home);
    home.diagnose_until("mailroom-unreachable", PATIENCE);
    let said = home.ooy(&["start"]).expect(0).stderr;
    assert!(said.contains("is started again"), "{said}");
    // With a search as RapidPro makes it.
    home.healthy_again(PATIENCE);
    let said = home.ooy(&["start"]).expect(0).stderr;
    assert!(said.contains("nothing to do"), "{said}");
}

/// Everything ended together, two of them were stopped by a person, and a setting waits for the next
/// start.
fn a_boot_brings_back_what_ran_as_it_was(home: &Home) {
    home.ooy(&["stop", "casepro", "casepro-celery"]).expect(0);
    let before = home.container("elasticsearch");
    home.set("ELASTICSEARCH_HEAP", "ELASTICSEARCH_HEAP=256m");
    let label = format!("label=com.docker.compose.project={}", home.project);
    let ids = home.docker(&["ps", "-q", "--filter", &label]);
    let ids: Vec<&str> = ids.lines().collect();
    home.docker(&[&["kill"][..], &ids].concat());
    let planned = home
        .ooy(&["start", "--at-boot", "--dry-run"])
        .expect(0)
        .stderr;
    assert!(!planned.contains("casepro"), "{planned}");
    let said = home.ooy(&["start", "--at-boot"]).expect(0).stderr;
    assert!(said.contains("10 of 10 ready"), "{said}");
    assert_eq!(home.inspect("casepro", "{{.State.Status}}"), "exited");
    assert_eq!(home.container("elasticsearch"), before, "as it was");
    let started = |service: &str| home.inspect(service, "{{.State.StartedAt}}");
    for (service, need) in [
        ("mailroom", "elasticsearch"),
        ("rapidpro-celery", "mailroom"),
        ("rapidpro-beat", "rapidpro-celery"),
        ("nginx", "rapidpro"),
    ] {
        assert!(started(service) > started(need), "{service}, {need}");
    }
    home.set("ELASTICSEARCH_HEAP", "#ELASTICSEARCH_HEAP=512m");
    home.ooy(&["start"]).expect(0);
    home.healthy_again(PATIENCE);
}

/// Ended again and again while something was missing, it is tried ever more seldom.
fn a_boot_does_not_wait_as_long_as_docker_would(home: &Home) {
    let id = home.container("courier");
    home.control("courier", "{\"exit_code\": 3}");
    let pid = home.inspect("courier", "{{.State.Pid}}");
    kill(&pid);
    until("Docker waits between two attempts", PATIENCE, || {
        home.inspect("courier", "{{.State.Status}} {{.RestartCount}}")
            .split_once(' ')
            .is_some_and(|(state, count)| {
                state == "restarting" && count.parse::<u32>().unwrap() >= 6
            })
    });
    let nothing = home.folder.join("control");
    std::fs::write(&nothing, "{}").unwrap();
    let place = format!("{id}:/run/stand-in/control");
    home.docker(&["cp", &nothing.display().to_string(), &place]);
    let said = home.ooy(&["start", "--at-boot"]).expect(0).stderr;
    assert!(said.contains("Docker would wait"), "{said}");
    home.healthy_again(PATIENCE);
}

fn a_boot_waits_for_another_operation(home: &Home) {
    let lock = std::fs::File::open(home.folder.join("state/lock")).unwrap();
    lock.lock().unwrap();
    let mut child = home
        .command(&["start", "--at-boot"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let waits = lines.any(|line| line.unwrap().contains("another operation to end"));
    assert!(waits);
    lock.unlock().unwrap();
    lines.for_each(drop);
    assert!(child.wait().unwrap().success());
    // For so long and no longer.
    lock.lock().unwrap();
    home.ooy(&["start", "--at-boot", "--patience", "1"])
        .expect(3);
    lock.unlock().unwrap();
}

fn without_docker_the_boot_says_so(home: &Home) {
    let output = home
        .command(&["start", "--at-boot", "--patience", "1"])
        .env("DOCKER_HOST", "unix:///nowhere/docker.sock")
        .output()
        .unwrap();
    let ran = Ran::of(&output).expect(1);
    assert!(
        ran.stderr.contains("for Docker, up to 1 s"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("\n  next      "), "{}", ran.stderr);
}
