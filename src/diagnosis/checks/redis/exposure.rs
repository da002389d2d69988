//! Whether strangers can use Redis. One without a password is as good as a shell on its machine
//! for whoever reaches it.

use std::rc::Rc;

use super::super::outside::{self, Outside};
use crate::diagnosis::check::{Checked, Report};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Evidence, Finding};
use crate::host::firewall::Verdict;
use crate::host::reach::is_loopback;
use crate::host::redis::by_hand;
use crate::host::url::RedisUrl;

pub async fn check(scene: Rc<Scene>) -> Checked {
    let mut report = Report::fine();
    for one in super::servers_of(&scene).await? {
        let url = &one.first.url;
        // It was let in with what the settings have.
        let unlocked = url.password().is_none();
        let outside = outside::look(&scene, url.host(), url.port()).await?;
        if let Some(finding) = judge(&scene, url, outside.as_ref(), unlocked) {
            report.findings.extend(one.each(&finding));
        }
    }
    Ok(report)
}

fn judge(
    scene: &Scene,
    url: &RedisUrl,
    outside: Option<&Outside>,
    unlocked: bool,
) -> Option<Finding> {
    let open = outside.is_some_and(Outside::is_open);
    // Of one elsewhere only that it was reached is known.
    let wide = outside.map_or(!is_loopback(url.host()), Outside::is_more_than_loopback);
    let port = url.port();
    let finding = match (unlocked, wide, open) {
        (true, _, true) => Finding::error(
            Code::RedisExposed,
            format!("Redis has no password and can be reached from the internet on port {port}"),
        ),
        (true, true, false) => Finding::warning(
            Code::RedisExposed,
            format!("Redis has no password and listens on more than this host, port {port}"),
        ),
        (false, _, true) => {
            let summary = format!("Redis can be reached from the internet on port {port}");
            match outside.map(|outside| &outside.firewall) {
                Some(Verdict::Unknown(_)) => Finding::info(Code::RedisExposed, summary),
                _ => Finding::warning(Code::RedisExposed, summary),
            }
        }
        _ => return None,
    };
    let mut finding = finding.evidence(
        Evidence::new(
            "password",
            if unlocked { "none" } else { "set" },
            url.redacted(),
        )
        .command(by_hand::see(url)),
    );
    for fact in outside.map(Outside::facts).unwrap_or_default() {
        finding = finding.evidence(fact);
    }
    let impact = if unlocked {
        "whoever reaches it can read and delete what waits there, and take over the machine"
    } else {
        "strangers can try passwords, as many as they like"
    };
    finding = finding.impact(impact);
    let conf = "/etc/redis/redis.conf";
    if outside.is_some_and(Outside::is_outer) {
        finding = finding
            .cause("bind in redis.conf names every address, or a public one")
            .manual(by_hand::on_server(
                url,
                &format!("sudo sed -i 's/^bind .*/bind 127.0.0.1 172.17.0.1/' {conf}"),
            ));
    }
    if unlocked {
        finding = finding
            .manual(by_hand::on_server(
                url,
                &format!("sudoedit {conf}   # requirepass"),
            ))
            .manual(format!(
                "nano {}   # the password in the three _REDIS_URL",
                scene.context.settings.places.env_file.display()
            ));
    }
    finding = finding.manual(by_hand::on_server(
        url,
        "sudo systemctl restart redis-server",
    ));
    if unlocked {
        finding = finding.manual(scene.command("start"));
    }
    Some(finding.interrupts("everything that uses Redis, about 1 min"))
}
