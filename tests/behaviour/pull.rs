//! Images that are not on the host come from a registry: a real one, Debian's docker-registry.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::harness::{Home, stand_in, until};

struct Registry {
    process: Child,
    address: String,
    _folder: tempfile::TempDir,
}

impl Registry {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        // 127.0.0.0/8 is the one place that Docker asks without TLS.
        let address = format!("127.0.0.1:{port}");
        let config = folder.path().join("config.yml");
        let data = folder.path().join("data").display().to_string();
        let text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {data}}}}}\nhttp: {{addr: {address}}}\n"
        );
        std::fs::write(&config, text).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        until("the registry listens", Duration::from_secs(20), || {
            std::net::TcpStream::connect(&address).is_ok()
        });
        Self {
            process,
            address,
            _folder: folder,
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn missing_images_are_pulled_and_unknown_tags_are_told() {
    let registry = Registry::new();
    let home = Home::new("pull");
    let image = format!("{}/ooy/courier:6.4.0", registry.address);
    home.docker(&["tag", &stand_in("courier"), &image]);
    home.docker(&["push", "-q", &image]);
    home.docker(&["rmi", &image]);
    assert_eq!(home.docker(&["images", "-q", &image]), "");

    home.set("COURIER_IMAGE", &format!("COURIER_IMAGE={image}"));
    let plan = home.ooy(&["start", "courier", "--dry-run"]).expect(0);
    assert!(
        plan.stderr.contains(&format!("pull {image}")),
        "{}",
        plan.stderr
    );
    assert_eq!(
        home.docker(&["images", "-q", &image]),
        "",
        "a plan pulls nothing"
    );

    let started = home.ooy(&["start", "courier"]).expect(0);
    assert!(started.stderr.contains(&image), "{}", started.stderr);
    assert_eq!(home.service_status("courier")["image"], image);

    let unknown = format!("{}/ooy/courier:9.9.9", registry.address);
    home.set("COURIER_IMAGE", &format!("COURIER_IMAGE={unknown}"));
    let refused = home.ooy(&["start", "courier"]).expect(1);
    let tidy = home
        .tidy(&refused.stderr)
        .replace(&registry.address, "REGISTRY");
    insta::assert_snapshot!("unknown-tag", tidy);
    assert_eq!(
        home.service_status("courier")["ready"],
        true,
        "what runs goes on"
    );
    home.docker(&["rm", "-f", &home.container("courier")]);
    home.docker(&["rmi", &image]);
}
