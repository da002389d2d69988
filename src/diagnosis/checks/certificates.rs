//! Certificates: the files, and what nginx really shows.

mod files;
mod served;

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use crate::deployment::services::Stack;
use crate::diagnosis::cause::{When, rule};
use crate::diagnosis::check::{Check, Looking, Subject};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Evidence, Finding, Severity};
use crate::host::certs::CertInfo;
use crate::lifecycle::preflight;

/// The checks of this subject.
pub const SUBJECT: Subject = Subject {
    checks: &[
        Check {
            name: "certificates",
            about: "certificates and keys for nginx: that they fit, and how long they are valid",
            codes: &[
                Code::CertificateExpired,
                Code::CertificateMismatch,
                Code::CertificateExpiring,
            ],
            run: |scene| -> Looking { Box::pin(files::certificates(scene)) },
        },
        Check {
            name: "certificates-served",
            about: "which certificates nginx shows, and whether they are those of the files",
            codes: &[
                Code::CertificateExpired,
                Code::CertificateMismatch,
                Code::CertificateExpiring,
            ],
            run: |scene| -> Looking { Box::pin(served::certificates_served(scene)) },
        },
    ],
    rules: &[
        // A certificate that was replaced belongs to nginx's configuration.
        rule(
            Code::ConfigDrift,
            Code::CertificateExpired,
            When::If(replaced),
        ),
        rule(
            Code::ConfigDrift,
            Code::CertificateMismatch,
            When::If(replaced),
        ),
        rule(
            Code::ConfigDrift,
            Code::CertificateExpiring,
            When::If(replaced),
        ),
        rule(
            Code::NginxConfigInvalid,
            Code::CertificateMismatch,
            When::If(about_it),
        ),
        rule(
            Code::ServiceExited,
            Code::CertificateMismatch,
            When::If(stops_nginx),
        ),
        rule(
            Code::RestartLoop,
            Code::CertificateMismatch,
            When::If(stops_nginx),
        ),
    ],
};

/// How a finding says that the file is newer than nginx's container.
const WRITTEN: &str = "written";

fn of_nginx(finding: &Finding) -> bool {
    finding.service.as_deref() == Some("nginx")
}

fn replaced(effect: &Finding, cause: &Finding, _: &Stack) -> bool {
    // One that nginx could not use at all is not the one that it started with either.
    let broken = cause.code == Code::CertificateMismatch && cause.severity == Severity::Error;
    of_nginx(effect) && (broken || cause.evidence.iter().any(|fact| fact.what == WRITTEN))
}

fn about_it(effect: &Finding, cause: &Finding, _: &Stack) -> bool {
    let named = |text: &str| text.contains("/ssl/") || text.contains("SSL");
    cause.severity == Severity::Error && effect.evidence.iter().any(|fact| named(&fact.value))
}

fn stops_nginx(effect: &Finding, cause: &Finding, _: &Stack) -> bool {
    of_nginx(effect) && cause.severity == Severity::Error
}

/// A host that nginx has a certificate for.
#[derive(Debug, Clone)]
struct Site {
    /// The host name.
    host: String,
    /// Names below it as well.
    wildcard: bool,
    certificate: PathBuf,
    key: PathBuf,
}

fn sites(scene: &Scene) -> Vec<Site> {
    let settings = &scene.context.settings;
    [
        ("rapidpro", "RAPIDPRO_DOMAIN", false),
        ("casepro", "CASEPRO_DOMAIN", true),
        ("contentrepo", "CONTENTREPO_DOMAIN", false),
    ]
    .into_iter()
    .map(|(name, setting, wildcard)| {
        let (certificate, key) = preflight::pair(&settings.places.ssl, name);
        Site {
            host: settings.get(setting).to_owned(),
            wildcard,
            certificate,
            key,
        }
    })
    .collect()
}

/// Whether a certificate ends within CERTIFICATE_DAYS. Those of a few days' life are complained of
/// in their last quarter only.
fn ends_soon(info: &CertInfo, now: Timestamp, days: u64) -> bool {
    let life = info
        .not_before
        .duration_until(info.not_after)
        .unsigned_abs();
    let limit = Duration::from_secs(days.saturating_mul(24 * 3600)).min(life / 4);
    now < info.not_after && now.duration_until(info.not_after).unsigned_abs() < limit
}

/// Time since or until a certificate's end, in words: "12 days".
fn days(from: Timestamp, until: Timestamp) -> String {
    let hours = from.duration_until(until).unsigned_abs().as_secs() / 3600;
    match hours {
        0..48 => crate::diagnosis::words::count(hours, "hour"),
        _ => crate::diagnosis::words::count(hours / 24, "day"),
    }
}

fn shell(path: &std::path::Path) -> String {
    crate::host::reach::hint::word(&path.display().to_string())
}

/// Whether the certificate's file was written after nginx's container had started: a fact that
/// stands for itself, and by which changes of nginx's configuration are explained.
async fn written(scene: &Scene, site: &Site) -> Option<Evidence> {
    let container = scene.container("nginx").await.ok()??;
    let started = container.started_at?;
    let path = site.certificate.clone();
    let modified = crate::diagnosis::check::blocking(move || std::fs::metadata(path)?.modified())
        .await
        .ok()?
        .ok()?;
    let modified = Timestamp::try_from(modified).ok()?;
    (modified > started).then(|| {
        Evidence::new(
            WRITTEN,
            format!(
                "{}, after nginx had started",
                modified.round(jiff::Unit::Second).unwrap_or(modified)
            ),
            site.certificate.display().to_string(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;

    fn info(life: i64, left: i64) -> (CertInfo, Timestamp) {
        let now: Timestamp = "2026-11-25T00:00:00Z".parse().unwrap();
        let hours = |days: i64| SignedDuration::from_hours(days * 24);
        let not_after = now + hours(left);
        let info = CertInfo {
            subject: String::new(),
            issuer: String::new(),
            names: Vec::new(),
            not_before: not_after - hours(life),
            not_after,
            self_signed: false,
            chain_length: 1,
        };
        (info, now)
    }

    #[test]
    fn the_last_days_of_a_certificate() {
        for (life, left, days, soon) in [
            (90, 22, 21, false),
            (90, 20, 21, true),
            (90, 5, 3, false),
            (365, 20, 21, true),
            // A quarter of its life.
            (8, 3, 21, false),
            (8, 1, 21, true),
            (90, -1, 21, false),
        ] {
            let (info, now) = info(life, left);
            assert_eq!(ends_soon(&info, now, days), soon, "{life} {left}");
        }
    }

    #[test]
    fn times_in_words() {
        let (info, now) = info(90, 12);
        assert_eq!(days(now, info.not_after), "12 days");
        assert_eq!(days(info.not_after, now), "12 days");
        assert_eq!(days(now, now + SignedDuration::from_hours(1)), "1 hour");
    }
}
