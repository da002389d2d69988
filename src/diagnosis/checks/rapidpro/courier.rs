//! Courier: its front page is always 200 and names what it does not reach (stack.md section 1.1).

use std::rc::Rc;

use crate::diagnosis::check::{Checked, Halt, Report};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Evidence, Finding};
use crate::host::http;

/// Mark in the page, what it stands for, setting of the container.
const MARKS: &[(&str, &str, &str)] = &[
    ("db err", "PostgreSQL", "COURIER_DB"),
    ("redis err", "Redis", "COURIER_REDIS"),
];

pub async fn courier(scene: Rc<Scene>) -> Checked {
    let container = scene.running("courier").await?;
    let address = scene.address("courier", 8080).await?;
    let page = http::get(address, "localhost", "/", scene.time_left()).await;
    let page = match page {
        Ok(page) if page.status == 200 => page,
        Ok(page) => return Err(silent(&format!("answer {}", page.status))),
        Err(why) => return Err(silent(&why)),
    };
    let troubles: Vec<(&str, &str, String)> = MARKS
        .iter()
        .filter_map(|(mark, what, setting)| {
            let line = page.body().lines().find(|line| line.contains(mark))?;
            Some((*what, *setting, line.trim().to_owned()))
        })
        .collect();
    if troubles.is_empty() {
        return Ok(Report::fine());
    }
    let parts: Vec<&str> = troubles.iter().map(|(what, ..)| *what).collect();
    let mut finding = Finding::error(
        Code::CourierDependencyDown,
        format!("Courier runs and cannot use {}", parts.join(" and ")),
    )
    .service("courier")
    .owner("rapidpro");
    for (what, _, line) in &troubles {
        finding = finding.evidence(
            Evidence::new(*what, line.clone(), format!("courier's page on {address}"))
                .command(format!("curl -sS http://{address}/ | grep err")),
        );
    }
    let settings: Vec<&str> = troubles.iter().map(|(_, setting, _)| *setting).collect();
    Ok(finding
        .impact("messages are not sent, and providers that deliver one get an error or have it kept in courier's spool")
        .manual(format!(
            "docker exec {} sh -c 'env | cut -d= -f1' | grep -E '{}'",
            container.name,
            settings.join("|")
        ))
        .manual(scene.command("diagnose postgres-unreachable redis-unreachable"))
        .manual(scene.command("restart courier"))
        .interrupts("sending and receiving of messages, about 5 s")
        .into())
}

/// That a service does not answer is found by its health.
fn silent(why: &str) -> Halt {
    Halt::blocked(
        Code::ServiceUnhealthy,
        format!("courier does not answer on port 8080: {why}"),
    )
}
