//! What nginx shows to whoever comes: it reads its files when it starts, and not again.

use std::rc::Rc;

use jiff::Timestamp;

use super::{Site, days, ends_soon, sites, written};
use crate::diagnosis::check::{Checked, Halt, Report, blocking};
use crate::diagnosis::checks::nginx::other_name;
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Evidence, Finding};
use crate::host::certs::{self, CertInfo, Severity};
use crate::host::tls::{self, NotSeen};

/// The check `certificates-served`.
pub async fn certificates_served(scene: Rc<Scene>) -> Checked {
    let address = scene.address("nginx", 443).await?;
    let limit = scene.context.settings.number("CERTIFICATE_DAYS");
    let mut report = Report::fine();
    for site in sites(&scene) {
        // What is wrong with the files themselves is told by the check of the files.
        let Some(of_file) = sound(&scene, &site).await? else {
            continue;
        };
        let request = tls::Request {
            address,
            host: site.host.clone(),
            path: None,
            limit: scene.time_left(),
        };
        let shown = match blocking(move || tls::get(&request)).await? {
            Ok(seen) => seen.certificate,
            Err(NotSeen::NoAnswer(certificate, _)) => certificate,
            Err(not_seen) if not_seen.is_unknown_host() => return Err(other_name(&site.host)),
            Err(NotSeen::NoTls(why)) => {
                return Err(Halt::blocked(
                    Code::UpstreamUnreachable,
                    format!("nginx shows no certificate for {}: {why}", site.host),
                ));
            }
        };
        if shown == of_file {
            continue;
        }
        let Some(info) = certs::describe_der(&shown) else {
            return Err(Halt::unknown(format!(
                "nginx's certificate for {} cannot be read",
                site.host
            )));
        };
        let finding = other(&scene, &site, &info, limit);
        report.found(match written(&scene, &site).await {
            Some(fact) => finding.evidence(fact),
            None => finding,
        });
    }
    Ok(report)
}

/// The certificate of the file, if nginx could use it.
async fn sound(scene: &Scene, site: &Site) -> Result<Option<Vec<u8>>, Halt> {
    let (site, now) = (site.clone(), scene.now);
    blocking(move || {
        let inspection =
            certs::inspect(&site.certificate, &site.key, &site.host, site.wildcard, now);
        let broken = inspection
            .problems
            .iter()
            .filter(|problem| {
                // The key is of no interest here, and closed to ordinary users.
                !matches!(
                    problem.trouble,
                    certs::CertTrouble::Unreadable(certs::CertFile::Key, _)
                )
            })
            .any(|problem| problem.severity() == Severity::Error);
        if broken {
            return None;
        }
        certs::leaf(&site.certificate)
    })
    .await
}

fn other(scene: &Scene, site: &Site, shown: &CertInfo, limit: u64) -> Finding {
    let now: Timestamp = scene.now;
    let host = &site.host;
    let finding = if now > shown.not_after {
        Finding::error(
            Code::CertificateExpired,
            format!(
                "nginx shows a certificate for {host} that expired {} ago; the renewed one is not loaded",
                days(shown.not_after, now)
            ),
        )
        .impact("browsers warn or refuse, and programs that call the API stop")
    } else if ends_soon(shown, now, limit) {
        Finding::warning(
            Code::CertificateExpiring,
            format!(
                "nginx shows a certificate for {host} that expires in {}; the renewed one is not loaded",
                days(now, shown.not_after)
            ),
        )
        .impact("from then on browsers warn or refuse, and programs that call the API stop")
    } else {
        Finding::warning(
            Code::CertificateMismatch,
            format!("nginx shows another certificate for {host} than the one in its file"),
        )
        .impact("the new certificate takes effect only when nginx has loaded it")
    };
    let port = scene.context.settings.get("HTTPS_PORT");
    let valid = format!("valid from {} to {}", shown.not_before, shown.not_after);
    finding
        .service("nginx")
        .evidence(
            Evidence::new("shown by nginx", valid, format!("TLS, host {host}")).command(format!(
                "openssl s_client -connect 127.0.0.1:{port} -servername {host} </dev/null 2>/dev/null | openssl x509 -noout -dates -subject"
            )),
        )
        .evidence(
            Evidence::new("in its file", "another one", site.certificate.display().to_string())
                .command(format!(
                    "openssl x509 -in {} -noout -dates -subject",
                    super::shell(&site.certificate)
                )),
        )
        .cause("nginx reads certificates when it starts or is told to, and the file is newer")
        .manual(scene.command("start nginx"))
        .interrupts("all sites, about 5 s")
}
