//! Whether Docker has published Elasticsearch's port. 7.10 has no password, and a port that Docker
//! publishes goes past ufw (stack.md section 10).

use std::rc::Rc;

use crate::diagnosis::check::{Checked, Halt, Report};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Evidence, Finding};

pub async fn exposed(scene: Rc<Scene>) -> Checked {
    let Some(container) = scene.container("elasticsearch").await? else {
        return Err(Halt::blocked(
            Code::ServiceMissing,
            "elasticsearch has no container",
        ));
    };
    let open: Vec<String> = container
        .published
        .iter()
        .filter(|published| !published.is_local())
        .map(|published| {
            let address = match published.address.as_str() {
                "" => "0.0.0.0",
                address => address,
            };
            format!("{address}:{} to {}", published.host_port, published.port)
        })
        .collect();
    if open.is_empty() {
        return Ok(Report::fine());
    }
    let own = &scene.context.settings.places.compose_override;
    let from_own = std::fs::read_to_string(own).is_ok_and(|text| text.contains("ports"));
    let mut finding = Finding::warning(
        Code::ElasticsearchExposed,
        "Elasticsearch can be reached from outside without a password",
    )
    .service("elasticsearch")
    .evidence(
        Evidence::new("published", open.join(", "), "Docker")
            .threshold("none, or 127.0.0.1 only")
            .command(format!("docker port {}", container.name)),
    )
    .impact("whoever reaches this host can read and delete every contact; a firewall by ufw does not stop it");
    if from_own {
        finding = finding
            .cause(format!("{} publishes it", own.display()))
            .manual(format!("nano {}    (take `ports` away)", own.display()));
    } else {
        finding = finding.cause("the container was made by an older compose file");
    }
    Ok(finding
        .manual(scene.command("start elasticsearch"))
        .interrupts("contact search, about a minute")
        .into())
}
