//! The front door.

use std::time::Duration;

use super::certificates;
use super::disk::{bring_up, says, tidy};
use crate::harness::{Home, until};

const PATIENCE: Duration = Duration::from_secs(240);

/// One scenario, since bringing a deployment up is what costs.
#[test]
fn the_front_door() {
    let home = Home::with_databases("door");
    super::disk::patient(&home);
    bring_up(&home);
    a_service_that_nginx_does_not_find(&home);
    files_edited_by_hand(&home);
    certificates::expired(&home);
    certificates::renewed_and_not_loaded(&home);
    certificates::expiring(&home);
    certificates::of_another_host_key_or_nowhere(&home);
    nginx_that_does_not_start(&home);
}

/// It has lost its name in the network, as after `docker network connect` by hand.
fn a_service_that_nginx_does_not_find(home: &Home) {
    for (service, impact) in [("contentrepo", "editors"), ("courier", "providers")] {
        let network = format!("{}_default", home.project);
        let container = home.container(service);
        home.docker(&["network", "disconnect", &network, &container]);
        home.docker(&["network", "connect", &network, &container]);
        // Each of nginx's workers remembers the address for some seconds.
        let (host, path) = match service {
            "courier" => ("rapidpro.test", "/c/"),
            _ => ("content.test", "/admin/login/"),
        };
        until("nginx has forgotten its address", PATIENCE, || {
            (0..20).all(|_| home.get(host, path, &[]).0 == 502)
        });
        let diagnosed = home.diagnose_until("upstream-unreachable", PATIENCE);
        let finding = diagnosed.only_root("upstream-unreachable");
        assert_eq!(finding["service"], service);
        says(finding, "which answers directly");
        says(finding, "502, from nginx itself");
        says(finding, impact);
        says(&finding["fix"]["command"], "fix nginx-upstreams");
        // A person sees the same by the command.
        let command = finding["evidence"][0]["command"].as_str().unwrap();
        let output = std::process::Command::new("sh")
            .args(["-c", command])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "502");
        if service == "courier" {
            let shown = home.ooy(&["diagnose", "nginx-to-courier"]).expect(1).stdout;
            insta::assert_snapshot!("diagnose-upstream", tidy(home, &shown));
        }
        home.docker(&["network", "disconnect", &network, &container]);
        home.docker(&[
            "network", "connect", "--alias", service, &network, &container,
        ]);
        home.healthy_again(PATIENCE);
    }
}

fn files_edited_by_hand(home: &Home) {
    let path = home.folder.join("rendered/nginx/nginx.conf");
    let before = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{before}\n# a note\n")).unwrap();
    let diagnosed = home.diagnose_until("nginx-config-invalid", PATIENCE);
    let finding = diagnosed.only_root("nginx-config-invalid");
    says(finding, "nginx's files were edited by hand");
    says(finding, "nginx/nginx.conf is another");

    std::fs::write(&path, format!("{before}\nlisten 80;\n")).unwrap();
    let diagnosed = home.diagnose_until("nginx-config-invalid", PATIENCE);
    let finding = diagnosed.only_root("nginx-config-invalid");
    says(finding, "nginx runs with an earlier configuration");
    says(finding, "listen");
    says(finding, "docker exec");
    assert_eq!(finding["severity"], "warning");
    std::fs::write(&path, before).unwrap();
    home.healthy_again(PATIENCE);
}

fn nginx_that_does_not_start(home: &Home) {
    let path = home.folder.join("rendered/nginx/nginx.conf");
    let before = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{before}\nlisten 80;\n")).unwrap();
    home.docker(&["restart", "-t", "1", &home.container("nginx")]);
    let diagnosed = home.diagnose_until("nginx-config-invalid", PATIENCE);
    let finding = diagnosed.only_root("nginx-config-invalid");
    says(finding, "listen");
    home.ooy(&["restart", "nginx"]).expect(0);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
    home.healthy_again(PATIENCE);
}
