//! What nginx passes requests on to: asked through nginx, and, where that fails, directly.

use std::rc::Rc;
use std::time::Duration;

use crate::diagnosis::check::{Checked, Halt, Report, blocking};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Evidence, Finding};
use crate::host::tls::{self, NotSeen, Seen};
use crate::host::{http, tls::Request};

/// A service behind nginx, and how it is asked for a sign of life that costs it little.
pub struct Upstream {
    service: &'static str,
    /// The setting with its host name.
    domain: &'static str,
    /// Path through nginx.
    path: &'static str,
    port: u16,
    /// Path without nginx.
    direct: &'static str,
    impact: &'static str,
}

pub static RAPIDPRO: Upstream = Upstream {
    service: "rapidpro",
    domain: "RAPIDPRO_DOMAIN",
    path: "/users/login/",
    port: 8000,
    direct: "/users/login/",
    impact: "RapidPro's pages and API do not open",
};

pub static COURIER: Upstream = Upstream {
    service: "courier",
    domain: "RAPIDPRO_DOMAIN",
    // No channel: courier says so itself, without its database.
    path: "/c/",
    port: 8080,
    direct: "/",
    impact: "providers cannot deliver messages",
};

pub static MAILROOM: Upstream = Upstream {
    service: "mailroom",
    domain: "RAPIDPRO_DOMAIN",
    // Wants POST: the refusal comes without its database (stack.md section 9).
    path: "/mr/surveyor/submit",
    port: 8090,
    direct: "/mr/",
    impact: "calls and tickets from outside do not reach mailroom",
};

pub static CASEPRO: Upstream = Upstream {
    service: "casepro",
    domain: "CASEPRO_DOMAIN",
    path: "/ping",
    port: 8000,
    direct: "/ping",
    impact: "operators cannot open Casepro",
};

pub static CONTENTREPO: Upstream = Upstream {
    service: "contentrepo",
    domain: "CONTENTREPO_DOMAIN",
    path: "/admin/login/",
    port: 8000,
    direct: "/admin/login/",
    impact: "editors cannot sign in, and flows get no content",
};

/// After so long without an answer the service is asked directly as well.
const PATIENCE: Duration = Duration::from_secs(1);

/// One request over HTTPS to nginx.
async fn ask(scene: &Scene, host: &str, path: Option<&str>) -> Result<Result<Seen, NotSeen>, Halt> {
    let request = Request {
        address: scene.address("nginx", 443).await?,
        host: host.to_owned(),
        path: path.map(str::to_owned),
        limit: scene.time_left(),
    };
    blocking(move || tls::get(&request)).await
}

/// nginx knows the host by another name: other settings than when it was started.
pub fn other_name(host: &str) -> Halt {
    Halt::blocked(Code::ConfigDrift, format!("nginx does not know {host}"))
}

/// The check `nginx-answers`.
pub async fn nginx_answers(scene: Rc<Scene>) -> Checked {
    let settings = &scene.context.settings;
    let host = settings.get("RAPIDPRO_DOMAIN");
    // Without a path that asks somebody behind.
    let why = match ask(&scene, host, Some("/_ooy/")).await? {
        Ok(_) => return Ok(Report::fine()),
        Err(not_seen) if not_seen.is_unknown_host() => return Err(other_name(host)),
        Err(NotSeen::NoTls(why) | NotSeen::NoAnswer(_, why)) => why,
    };
    let port = settings.get("HTTPS_PORT");
    Ok(Finding::error(
        Code::UpstreamUnreachable,
        "nginx does not answer over HTTPS",
    )
    .service("nginx")
    .evidence(
        Evidence::new("GET /_ooy/", why, format!("nginx's port 443, host {host}"))
            .command(curl(port, host, "/_ooy/")),
    )
    .impact("no page opens, and no provider can deliver a message")
    .fix(scene.command("fix service nginx"))
    .manual(scene.command("logs nginx -n 50"))
    .manual(scene.command("restart nginx"))
    .interrupts("all sites, about 5 s")
    .into())
}

fn curl(port: &str, host: &str, path: &str) -> String {
    format!(
        "curl -kso /dev/null -w '%{{http_code}}\\n' --resolve {host}:{port}:127.0.0.1 https://{host}:{port}{path}"
    )
}

/// Whether nginx, not the service, has given this answer: its page has a header that tells clients
/// when to come again (embedded/nginx/errors.conf).
fn by_nginx(seen: &Seen) -> bool {
    matches!(seen.status, 502..=504) && seen.text.contains("\r\nRetry-After: 10\r\n")
}

/// The check of one service behind nginx.
pub async fn through(scene: Rc<Scene>, upstream: &'static Upstream) -> Checked {
    // A service that does not run is another check's finding.
    let address = scene.address(upstream.service, upstream.port).await?;
    let settings = &scene.context.settings;
    let host = settings.get(upstream.domain);
    // What is left when it begins: it may come after a long wait for the other way.
    let directly = || http::get(address, host, upstream.direct, scene.time_left());
    let mut passed = std::pin::pin!(ask(&scene, host, Some(upstream.path)));
    // Both ways at the same time only where the first one takes long.
    let (seen, direct) = tokio::select! {
        seen = &mut passed => (seen?, None),
        both = async {
            tokio::time::sleep(PATIENCE).await;
            directly().await
        } => {
            let seen = passed.await?;
            (seen, Some(both))
        }
    };
    let answer = match seen {
        Ok(seen) if !by_nginx(&seen) => return Ok(Report::fine()),
        Ok(seen) => format!("{}, from nginx itself", seen.status),
        Err(NotSeen::NoAnswer(_, why)) => why,
        Err(not_seen) if not_seen.is_unknown_host() => return Err(other_name(host)),
        Err(NotSeen::NoTls(why)) => {
            return Err(Halt::blocked(
                Code::UpstreamUnreachable,
                format!("nginx itself does not answer: {why}"),
            ));
        }
    };
    let direct = match direct {
        Some(direct) => direct,
        None => directly().await,
    };
    Ok(found(&scene, upstream, &answer, direct).await?.into())
}

async fn found(
    scene: &Scene,
    upstream: &Upstream,
    answer: &str,
    direct: Result<http::Answer, String>,
) -> Result<Finding, Halt> {
    let settings = &scene.context.settings;
    let service = upstream.service;
    let host = settings.get(upstream.domain);
    let address = scene.address(service, upstream.port).await?;
    let nginx = &scene.running("nginx").await?.name;
    let container = &scene.running(service).await?.name;
    let summary = match &direct {
        Ok(_) => format!("nginx does not reach {service}, which answers directly"),
        Err(_) => format!("{service} does not answer, neither through nginx nor directly"),
    };
    let (said, cause) = match &direct {
        Ok(answer) => (
            format!("{}", answer.status),
            format!(
                "its name leads nginx to another address, or to none: {service} has {}",
                address.ip()
            ),
        ),
        Err(why) => (why.clone(), String::new()),
    };
    let finding = Finding::error(Code::UpstreamUnreachable, summary)
        .service(service)
        .evidence(
            Evidence::new(
                format!("GET {}", upstream.path),
                answer,
                format!("through nginx, host {host}"),
            )
            .command(curl(settings.get("HTTPS_PORT"), host, upstream.path)),
        )
        .evidence(
            Evidence::new(
                format!("GET {}", upstream.direct),
                said,
                format!("{address}, directly"),
            )
            .command(format!(
                "curl -so /dev/null -w '%{{http_code}}\\n' -H 'Host: {host}' http://{address}{}",
                upstream.direct
            )),
        )
        .impact(upstream.impact)
        .cause(cause);
    Ok(match direct {
        Ok(_) => finding
            .fix(scene.command("fix nginx-upstreams"))
            .manual(format!(
                "docker exec {nginx} nginx -c /etc/ooy/nginx/nginx.conf -s reload"
            ))
            // What has lost its name in the network gets it back only by being made anew.
            .manual(format!("docker rm -f {container}"))
            .manual(scene.command(&format!("start {service}")))
            .interrupts(format!("{service}, while it starts again")),
        Err(_) => finding
            .fix(scene.command(&format!("fix service {service}")))
            .manual(scene.command(&format!("logs {service} -n 50")))
            .manual(scene.command(&format!("restart {service}")))
            .interrupts(format!("{service}, while it restarts")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_nginx_is_told_from_one_that_it_passed_on() {
        let seen = |status, text: &str| Seen {
            certificate: Vec::new(),
            status,
            text: text.to_owned(),
        };
        let own = "HTTP/1.1 502 Bad Gateway\r\nServer: nginx\r\nRetry-After: 10\r\n\r\n<html>";
        assert!(by_nginx(&seen(502, own)));
        assert!(!by_nginx(&seen(200, own)));
        assert!(!by_nginx(&seen(
            503,
            "HTTP/1.1 503 x\r\n\r\nRetry-After: 10"
        )));
    }

    #[test]
    fn the_command_can_be_pasted() {
        assert_eq!(
            curl("8443", "a.test", "/ping"),
            "curl -kso /dev/null -w '%{http_code}\\n' --resolve a.test:8443:127.0.0.1 https://a.test:8443/ping"
        );
    }
}
