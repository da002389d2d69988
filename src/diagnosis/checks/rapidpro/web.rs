//! RapidPro's pages: directly, and, where they do not come, through nginx too.

use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use crate::diagnosis::check::{Checked, Report, blocking};
use crate::diagnosis::checks::service;
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Evidence, Finding, words};
use crate::host::http;
use crate::host::tls::{self, NotSeen};

/// The only page that needs neither log-in nor a parameter (stack.md section 1.1).
const PAGE: &str = "/users/login/";

pub async fn web(scene: Rc<Scene>) -> Checked {
    let container = scene.running("rapidpro").await?;
    let address = scene.address("rapidpro", 8000).await?;
    let settings = &scene.context.settings;
    let domain = settings.get("RAPIDPRO_DOMAIN").to_owned();
    let why = match http::get(address, &domain, PAGE, scene.time_left() * 2 / 3).await {
        // That nginx has trouble of its own is another check's to say.
        Ok(answer) if answer.status == 200 => return Ok(Report::fine()),
        Ok(answer) => format!("answer {}", answer.status),
        Err(why) => why,
    };
    let see = format!(
        "curl -sS -o /dev/null -w '%{{http_code}}\\n' -m 10 -H 'Host: {domain}' http://{address}{PAGE}"
    );
    let port = settings.number("HTTPS_PORT");
    let request = tls::Request {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(port).unwrap_or(443))),
        host: domain.clone(),
        path: Some(PAGE.to_owned()),
        limit: scene.time_left(),
    };
    let through = match blocking(move || tls::get(&request)).await? {
        Ok(seen) => format!("answer {}", seen.status),
        Err(NotSeen::NoTls(why) | NotSeen::NoAnswer(_, why)) => why,
    };
    let direct = Evidence::new(
        "directly",
        why.clone(),
        format!("GET {PAGE} on {address}, the container"),
    )
    .threshold("answer 200")
    .command(see);
    if let Some(age) = service::young(&scene, container) {
        let age = words::age(age);
        return Ok(Finding::info(
            Code::RapidproUnreachable,
            format!("RapidPro was started {age} ago and does not answer yet"),
        )
        .service("rapidpro")
        .owner("rapidpro")
        .evidence(direct)
        .impact("RapidPro's pages and API do not answer yet")
        .into());
    }
    let mut finding = Finding::error(
        Code::RapidproUnreachable,
        format!("RapidPro does not answer, neither directly nor through nginx ({why})"),
    );
    if through == "answer 200" {
        finding.summary = format!("RapidPro does not answer directly ({why})");
    }
    finding = finding
        .service("rapidpro")
        .owner("rapidpro")
        .evidence(direct)
        .evidence(
            Evidence::new(
                "through nginx",
                through,
                format!("GET {PAGE} on port {port} of this host"),
            )
            .command(format!(
                "curl -sSk -o /dev/null -w '%{{http_code}}\\n' -m 10 --resolve {domain}:{port}:127.0.0.1 https://{domain}:{port}{PAGE}"
            )),
        );
    let engine = scene.engine().await?;
    let said = engine.last_lines(&container.id, 1, None).await;
    if let Some(line) = said.last() {
        finding = finding.evidence(
            Evidence::new("its last line of log", line.text.clone(), "Docker")
                .command(format!("docker logs --tail 50 {}", container.name)),
        );
    }
    if why.ends_with("400") {
        finding = finding.cause(format!(
            "it refuses {domain}: its ALLOWED_HOSTS is another one"
        ));
    }
    Ok(finding
        .impact("RapidPro's pages and API do not answer; Casepro cannot pull messages, and finished calls wait")
        .fix(scene.command("fix service rapidpro"))
        .manual(format!("docker logs --tail 50 {}", container.name))
        .manual(format!("docker restart {}", container.name))
        .interrupts("RapidPro's pages and API, about 20 s")
        .into())
}
