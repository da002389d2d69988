//! Certificates that really expire soon, have expired, or do not fit; and one that was renewed, which
//! nginx does not know of.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::disk::{says, tidy};
use crate::harness::{Home, until};

const PATIENCE: Duration = Duration::from_secs(240);
const DAY: i64 = 24 * 3600;

/// The pair of files of a host, put back in the end.
struct Pair {
    certificate: PathBuf,
    key: PathBuf,
    before: (Vec<u8>, Vec<u8>),
}

impl Pair {
    fn of(home: &Home, name: &str) -> Self {
        let (certificate, key) = (
            home.folder.join(format!("ssl/{name}.crt")),
            home.folder.join(format!("ssl/{name}.key")),
        );
        let before = (
            std::fs::read(&certificate).unwrap(),
            std::fs::read(&key).unwrap(),
        );
        Self {
            certificate,
            key,
            before,
        }
    }

    /// A new pair, valid from and up to so many days from now.
    fn replace(&self, host: &str, from: i64, to: i64) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(vec![host.to_owned()]).unwrap();
        let day = |days: i64| {
            let offset = Duration::from_secs((days.abs() * DAY) as u64);
            let now = SystemTime::now();
            if days < 0 { now - offset } else { now + offset }
        };
        parameters.not_before = day(from).into();
        parameters.not_after = day(to).into();
        let certificate = parameters.self_signed(&key).unwrap();
        write(&self.certificate, certificate.pem().as_bytes());
        write(&self.key, key.serialize_pem().as_bytes());
    }

    fn put_back(&self) {
        write(&self.certificate, &self.before.0);
        write(&self.key, &self.before.1);
    }
}

/// The same file with other content, as `cp` does it: modes stay.
fn write(path: &Path, content: &[u8]) {
    std::fs::write(path, content).unwrap();
}

/// nginx reads its files again, as an operator would let it, and shows another certificate.
fn reload(home: &Home) {
    let shown = shown(home);
    let container = home.container("nginx");
    let config = "/etc/ooy/nginx/nginx.conf";
    home.docker(&["exec", &container, "nginx", "-c", config, "-s", "reload"]);
    until("nginx shows the other certificate", PATIENCE, || {
        self::shown(home) != shown
    });
}

/// The certificate that nginx shows for RapidPro.
fn shown(home: &Home) -> String {
    let command = format!(
        "openssl s_client -connect 127.0.0.1:{} -servername rapidpro.test </dev/null 2>/dev/null | openssl x509",
        home.https
    );
    let output = std::process::Command::new("sh")
        .args(["-c", &command])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn expired(home: &Home) {
    let pair = Pair::of(home, "rapidpro");
    pair.replace("rapidpro.test", -90, -3);
    let diagnosed = home.diagnose_until("certificate-expired", PATIENCE);
    let finding = diagnosed.only_root("certificate-expired");
    says(
        finding,
        "The certificate of rapidpro.test expired 3 days ago",
    );
    says(finding, "openssl x509 -in");
    assert_eq!(finding["severity"], "error");
    let shown = home.ooy(&["diagnose", "certificates"]).expect(1).stdout;
    insta::assert_snapshot!("diagnose-certificate-expired", tidy(home, &shown));
    pair.put_back();
    home.healthy_again(PATIENCE);
}

/// Renewed on disk, and nginx goes on showing the old one.
pub fn renewed_and_not_loaded(home: &Home) {
    let pair = Pair::of(home, "rapidpro");
    pair.replace("rapidpro.test", -90, -3);
    reload(home);
    pair.put_back();
    let diagnosed = home.diagnose_until("certificate-expired", PATIENCE);
    let finding = diagnosed.only_root("certificate-expired");
    says(finding, "expired 3 days ago; the renewed one is not loaded");
    says(finding, "openssl s_client");
    // The command in the evidence shows it.
    let command = finding["evidence"][0]["command"].as_str().unwrap();
    let output = std::process::Command::new("sh")
        .args(["-c", command])
        .output()
        .unwrap();
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("notAfter="),
        "{output:?}"
    );

    pair.replace("rapidpro.test", -80, 10);
    reload(home);
    pair.put_back();
    let diagnosed = home.diagnose_until("certificate-expiring", PATIENCE);
    says(
        diagnosed.only_root("certificate-expiring"),
        "expires in 9 days; the renewed one is not loaded",
    );

    pair.replace("rapidpro.test", -1, 300);
    reload(home);
    pair.put_back();
    let diagnosed = home.diagnose_until("certificate-mismatch", PATIENCE);
    says(
        diagnosed.only_root("certificate-mismatch"),
        "nginx shows another certificate for rapidpro.test than the one in its file",
    );
    reload(home);
    home.healthy_again(PATIENCE);
}

pub fn expiring(home: &Home) {
    let pair = Pair::of(home, "contentrepo");
    pair.replace("content.test", -80, 10);
    let diagnosed = home.diagnose(&[]);
    // Not loaded either, which is another finding of the same kind only where it would be worse.
    let finding = diagnosed.finding("certificate-expiring");
    says(finding, "The certificate of content.test expires in 9 days");
    says(finding, "21 days (CERTIFICATE_DAYS)");
    home.set("CERTIFICATE_DAYS", "CERTIFICATE_DAYS=5");
    let diagnosed = home.diagnose(&["certificates"]);
    assert_eq!(diagnosed.roots(), [""; 0], "{}", diagnosed.text());
    home.set("CERTIFICATE_DAYS", "#CERTIFICATE_DAYS=21");
    let loaded = home.container("nginx");
    let config = "/etc/ooy/nginx/nginx.conf";
    home.docker(&["exec", &loaded, "nginx", "-c", config, "-s", "reload"]);
    home.diagnose_until("certificate-expiring", PATIENCE);
    pair.put_back();
    home.docker(&["exec", &loaded, "nginx", "-c", config, "-s", "reload"]);
    home.healthy_again(PATIENCE);
}

pub fn of_another_host_key_or_nowhere(home: &Home) {
    let pair = Pair::of(home, "casepro");
    // Casepro's organisations have names of their own below it.
    pair.replace("casepro.test", -1, 300);
    let diagnosed = home.diagnose_until("certificate-mismatch", PATIENCE);
    let finding = diagnosed.only_root("certificate-mismatch");
    says(finding, "does not cover *.casepro.test");

    pair.put_back();
    write(&pair.key, &Pair::of(home, "rapidpro").before.1);
    let diagnosed = home.diagnose_until("certificate-mismatch", PATIENCE);
    let finding = diagnosed.only_root("certificate-mismatch");
    says(finding, "the key is that of another certificate");
    says(finding, "openssl pkey");
    // nginx would not start again with it.
    assert!(
        diagnosed.explained().contains(&"nginx-config-invalid"),
        "{}",
        diagnosed.text()
    );

    pair.put_back();
    std::fs::remove_file(&pair.certificate).unwrap();
    let diagnosed = home.diagnose_until("certificate-mismatch", PATIENCE);
    let finding = diagnosed.only_root("certificate-mismatch");
    says(finding, "casepro.test: the certificate is missing");
    pair.put_back();
    home.healthy_again(PATIENCE);
}
