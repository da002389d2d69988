//! The files that nginx is given.

use std::rc::Rc;

use jiff::Timestamp;

use super::{Site, days, ends_soon, shell, sites, written};
use crate::diagnosis::check::{Checked, Halt, Report, blocking};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::words;
use crate::diagnosis::{Code, Evidence, Finding};
use crate::host::certs::{self, CertInfo, CertProblem, CertTrouble};
use crate::host::process;

/// The check `certificates`.
pub async fn certificates(scene: Rc<Scene>) -> Checked {
    let limit = scene.context.settings.number("CERTIFICATE_DAYS");
    let now = scene.now;
    let mut report = Report::fine();
    let mut self_signed: Vec<Site> = Vec::new();
    let mut unseen = None;
    for site in sites(&scene) {
        let (certificate, key) = (site.certificate.clone(), site.key.clone());
        let (host, wildcard) = (site.host.clone(), site.wildcard);
        let inspection =
            blocking(move || certs::inspect(&certificate, &key, &host, wildcard, now)).await?;
        let mut worst: Option<Finding> = None;
        for problem in &inspection.problems {
            if closed_to_us(problem) {
                unseen = Some(format!(
                    "{}: only root may read it, and you are {}",
                    site.key.display(),
                    process::user_name()
                ));
                continue;
            }
            let finding = told(&scene, &site, problem, inspection.info.as_ref(), now);
            // One finding a site: the rest of them mostly come of the first.
            if let Some(finding) = finding
                && worst
                    .as_ref()
                    .is_none_or(|worst| finding.severity > worst.severity)
            {
                worst = Some(finding);
            }
        }
        if let Some(info) = &inspection.info {
            if worst.is_none() && ends_soon(info, now, limit) {
                worst = Some(expiring(&scene, &site, info, now, limit));
            }
            if worst.is_none() && info.self_signed {
                self_signed.push(site.clone());
            }
        }
        if let Some(finding) = worst {
            report.found(match written(&scene, &site).await {
                Some(fact) => finding.evidence(fact),
                None => finding,
            });
        }
    }
    if !self_signed.is_empty() {
        report.found(by_itself(&scene, &self_signed));
    }
    let serious = |finding: &Finding| finding.severity > crate::diagnosis::Severity::Info;
    if let Some(why) = unseen
        && !report.findings.iter().any(serious)
    {
        return Err(Halt::unknown(why));
    }
    Ok(report)
}

/// What an ordinary user cannot see is not wrong: keys are root's.
fn closed_to_us(problem: &CertProblem) -> bool {
    matches!(&problem.trouble, CertTrouble::Unreadable(_, why)
        if !process::is_root() && why.contains("ermission denied"))
}

/// The finding of a problem; none for what is looked at elsewhere (how open the key is: the
/// subject of settings; a near end: below, with the operator's own limit).
fn told(
    scene: &Scene,
    site: &Site,
    problem: &CertProblem,
    info: Option<&CertInfo>,
    now: Timestamp,
) -> Option<Finding> {
    let fault = problem.fault();
    let finding = match &problem.trouble {
        CertTrouble::KeyOpen(_) | CertTrouble::ExpiresSoon(_) => return None,
        CertTrouble::Expired(end) => Finding::error(
            Code::CertificateExpired,
            format!(
                "The certificate of {} expired {} ago",
                site.host,
                days(*end, now)
            ),
        ),
        CertTrouble::NotYetValid(begin) => Finding::error(
            Code::CertificateExpired,
            format!(
                "The certificate of {} is not valid for another {}",
                site.host,
                days(now, *begin)
            ),
        ),
        CertTrouble::ChainBroken(_) | CertTrouble::ChainIncomplete(_) => {
            Finding::warning(Code::CertificateMismatch, fault.title.clone())
        }
        CertTrouble::KeyNotCompared(_) => {
            Finding::info(Code::CertificateMismatch, fault.title.clone())
        }
        _ => Finding::error(Code::CertificateMismatch, fault.title.clone()),
    };
    let file = match &problem.trouble {
        CertTrouble::Missing(certs::CertFile::Key)
        | CertTrouble::Folder(certs::CertFile::Key)
        | CertTrouble::Unreadable(certs::CertFile::Key, _)
        | CertTrouble::Empty(certs::CertFile::Key)
        | CertTrouble::NotPem(certs::CertFile::Key, _)
        | CertTrouble::KeyEncrypted => &site.key,
        _ => &site.certificate,
    };
    let command = match &problem.trouble {
        CertTrouble::Missing(_)
        | CertTrouble::Folder(_)
        | CertTrouble::Unreadable(..)
        | CertTrouble::Empty(_)
        | CertTrouble::NotPem(..)
        | CertTrouble::KeyEncrypted => format!("ls -l {}", shell(file)),
        CertTrouble::KeyMismatch => format!(
            "openssl x509 -in {} -noout -pubkey | openssl sha256; openssl pkey -in {} -pubout | openssl sha256",
            shell(&site.certificate),
            shell(&site.key)
        ),
        _ => show(site),
    };
    let mut finding = finding.service("nginx").evidence(
        Evidence::new("found", fault.what.clone(), file.display().to_string()).command(command),
    );
    if let Some(info) = info {
        finding = finding.evidence(facts(site, info));
    }
    Some(renewed(
        scene,
        site,
        finding.impact(fault.why.clone()),
        problem.self_signed,
    ))
}

fn show(site: &Site) -> String {
    format!(
        "openssl x509 -in {} -noout -subject -issuer -dates -ext subjectAltName",
        shell(&site.certificate)
    )
}

fn facts(site: &Site, info: &CertInfo) -> Evidence {
    let names = match info.names.as_slice() {
        [] => "no name".to_owned(),
        names => names.join(", "),
    };
    Evidence::new(
        "the certificate",
        format!(
            "for {names}, from {} to {}",
            info.not_before, info.not_after
        ),
        site.certificate.display().to_string(),
    )
}

/// By what it is put right.
fn renewed(scene: &Scene, site: &Site, finding: Finding, self_signed: bool) -> Finding {
    let (certificate, key) = (shell(&site.certificate), shell(&site.key));
    let finding = if self_signed || !site.certificate.exists() || !site.key.exists() {
        // Another one is made only where none is.
        finding
            .manual(format!(
                "sudo mv {certificate} {certificate}.old; sudo mv {key} {key}.old"
            ))
            .manual(scene.command("init --self-signed"))
    } else {
        finding
            .manual(format!("sudo cp NEW.crt {certificate}"))
            .manual(format!("sudo cp NEW.key {key}"))
    };
    finding
        .manual(scene.command("start nginx"))
        .interrupts("all sites, about 5 s")
}

fn expiring(scene: &Scene, site: &Site, info: &CertInfo, now: Timestamp, limit: u64) -> Finding {
    let left = days(now, info.not_after);
    let finding = Finding::warning(
        Code::CertificateExpiring,
        format!("The certificate of {} expires in {left}", site.host),
    )
    .service("nginx")
    .evidence(
        Evidence::new("valid for", left, site.certificate.display().to_string())
            .threshold(format!("{limit} days (CERTIFICATE_DAYS)"))
            .command(show(site)),
    )
    .evidence(facts(site, info))
    .impact("from then on browsers warn or refuse, and programs that call the API stop");
    renewed(scene, site, finding, info.self_signed)
}

/// Works, and everybody who comes is warned.
fn by_itself(scene: &Scene, sites: &[Site]) -> Finding {
    let hosts: Vec<&str> = sites.iter().map(|site| site.host.as_str()).collect();
    let summary = match sites {
        [only] => format!("The certificate of {} is signed by itself", only.host),
        several => format!(
            "{} are signed by themselves",
            words::count(several.len(), "certificate")
        ),
    };
    let finding = Finding::info(Code::CertificateMismatch, summary)
        .service("nginx")
        .evidence(
            Evidence::new("self-signed", hosts.join(", "), "the files in ssl/")
                .command(show(&sites[0])),
        )
        .impact(
            "browsers warn, and programs refuse the connection unless they are told to trust it",
        );
    renewed(scene, &sites[0], finding, false)
}
