//! Whether somebody else holds the ports that nginx needs.

use std::rc::Rc;

use crate::diagnosis::check::{Checked, Report, blocking};
use crate::diagnosis::checks::settings::is_wrong;
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Evidence, Finding};
use crate::engine::containers::State;
use crate::host::ports::{self, Listener};

pub async fn check(scene: Rc<Scene>) -> Checked {
    let nginx = scene.container("nginx").await?;
    let up = nginx.is_some_and(|nginx| {
        matches!(
            nginx.state,
            State::Running | State::Paused | State::Restarting
        )
    });
    // While it is up, Docker listens for it; without the port Docker would not restart it.
    if up {
        return Ok(Report::fine());
    }
    let mut report = Report::fine();
    for setting in ["HTTP_PORT", "HTTPS_PORT"] {
        let Ok(port) = u16::try_from(scene.context.settings.number(setting)) else {
            continue;
        };
        if is_wrong(&scene, setting) {
            continue;
        }
        if let Some(listener) = blocking(move || ports::listener(port)).await? {
            report.found(taken(&scene, setting, port, &listener));
        }
    }
    // One that holds both is one fault.
    if let [first, second] = report.findings.as_mut_slice()
        && holder(first) == holder(second)
    {
        first.evidence.append(&mut second.evidence);
        report.findings.truncate(1);
    }
    Ok(report)
}

fn holder(finding: &Finding) -> Option<&str> {
    finding.evidence.first().map(|fact| fact.value.as_str())
}

fn taken(scene: &Scene, setting: &str, port: u16, listener: &Listener) -> Finding {
    let who = match (&listener.process, listener.pid) {
        (Some(process), Some(pid)) => format!("{process}, process {pid}"),
        _ => format!("a process of user {}", listener.uid),
    };
    let docker = listener.process.as_deref() == Some("docker-proxy");
    let finding = Finding::error(
        Code::PortConflict,
        format!("Port {port}, which nginx needs, is held by {who}"),
    )
    .service("nginx")
    .evidence(
        Evidence::new(
            format!("{}:{port}", listener.address),
            who,
            format!("/proc; the port is {setting}"),
        )
        .command(if docker {
            format!("docker ps --filter publish={port}")
        } else {
            format!("sudo ss -ltnp 'sport = :{port}'")
        }),
    )
    .impact("nginx cannot start: no page opens, and no provider can deliver a message");
    let finding = match (docker, listener.pid) {
        (true, _) => finding.manual(format!(
            "docker stop $(docker ps -q --filter publish={port})"
        )),
        (false, Some(pid)) => finding.manual(format!("sudo kill {pid}")),
        (false, None) => finding.manual(format!("sudo fuser -k {port}/tcp")),
    };
    finding
        .manual(scene.command("start nginx"))
        .interrupts("whatever holds the port")
}
