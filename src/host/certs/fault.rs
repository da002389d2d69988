//! What to tell an operator about a certificate.

use std::path::Path;

use jiff::Timestamp;

use super::{CertFile, CertProblem, CertTrouble};
use crate::fault::Fault;
use crate::host::reach::hint::word;

const NGINX: &str = "nginx does not start with it, so every site on this host is down";
const BROWSERS: &str = "browsers warn or refuse, and programs that call the API stop";

impl CertProblem {
    /// The problem in four parts.
    pub fn fault(&self) -> Fault {
        match &self.trouble {
            CertTrouble::Missing(file)
            | CertTrouble::Folder(file)
            | CertTrouble::Unreadable(file, _)
            | CertTrouble::Empty(file)
            | CertTrouble::NotPem(file, _) => self.file_fault(*file),
            CertTrouble::KeyEncrypted
            | CertTrouble::KeyMismatch
            | CertTrouble::KeyNotCompared(_)
            | CertTrouble::KeyOpen(_) => self.key_fault(),
            CertTrouble::LeafNotFirst(_)
            | CertTrouble::ChainBroken(_)
            | CertTrouble::ChainIncomplete(_) => self.chain_fault(),
            CertTrouble::Expired(_)
            | CertTrouble::NotYetValid(_)
            | CertTrouble::ExpiresSoon(_)
            | CertTrouble::NamesMissing(_) => self.content_fault(),
        }
    }

    fn title(&self, what: impl AsRef<str>) -> String {
        format!("{}: {}", self.host, what.as_ref())
    }

    fn file_fault(&self, file: CertFile) -> Fault {
        let (name, path) = match file {
            CertFile::Certificate => ("certificate", &self.certificate),
            CertFile::Key => ("key", &self.key),
        };
        let path = shell(path);
        let fault = match &self.trouble {
            CertTrouble::Missing(_) => Fault::problem(
                self.title(format!("the {name} is missing")),
                format!("there is no file at {path}, or a link there leads nowhere"),
            )
            .next("ooy init --self-signed")
            .next(format!("ls -l {path}")),
            CertTrouble::Folder(_) => Fault::problem(
                self.title(format!("a folder stands where the {name} belongs")),
                "Docker makes a folder where it was told to mount a file that was missing",
            )
            .evidence(format!("{path} is a folder"))
            .next(format!("rmdir {path}"))
            .next("ooy init --self-signed"),
            CertTrouble::Unreadable(_, why) => Fault::problem(
                self.title(format!("the {name} cannot be read")),
                format!("reading {path} failed: {why}"),
            )
            .next(format!("sudo ls -l {path}")),
            CertTrouble::Empty(_) => Fault::problem(
                self.title(format!("the {name} is empty")),
                format!("{path} holds nothing"),
            )
            .next(format!("mv {path} {path}.old"))
            .next("ooy init --self-signed"),
            CertTrouble::NotPem(_, found) => {
                let fault = Fault::problem(
                    self.title(format!("the {name} is not a PEM {name}")),
                    format!("{path} is {found}"),
                );
                match (file, found.contains("DER")) {
                    (CertFile::Certificate, true) => fault.next(format!(
                        "openssl x509 -inform der -in {path} -out {path}.pem"
                    )),
                    (CertFile::Key, true) => fault.next(format!(
                        "openssl pkey -inform der -in {path} -out {path}.pem"
                    )),
                    (CertFile::Certificate, false) => {
                        fault.next(format!("openssl x509 -in {path} -noout -subject -dates"))
                    }
                    (CertFile::Key, false) => fault.next(format!("openssl pkey -in {path} -noout")),
                }
            }
            _ => Fault::problem(
                self.title("the certificate cannot be used"),
                "see the evidence",
            ),
        };
        fault.evidence(format!("file {path}")).why(NGINX)
    }

    fn key_fault(&self) -> Fault {
        let (certificate, key) = (shell(&self.certificate), shell(&self.key));
        let compare = |fault: Fault| {
            fault
                .next(format!(
                    "openssl x509 -in {certificate} -noout -pubkey | sha256sum"
                ))
                .next(format!("openssl pkey -in {key} -pubout | sha256sum"))
        };
        let fault = match &self.trouble {
            CertTrouble::KeyEncrypted => Fault::problem(
                self.title("the key is protected by a passphrase"),
                "nginx would ask for the passphrase at each start, and nobody is there to answer",
            )
            .why(NGINX)
            .next(format!("openssl pkey -in {key} -out {key}.plain"))
            .next(format!("mv {key}.plain {key} && chmod 0600 {key}")),
            CertTrouble::KeyMismatch => compare(
                Fault::problem(
                    self.title("the key is that of another certificate"),
                    "certificate and key do not belong together: one of them was renewed alone?",
                )
                .why(NGINX),
            ),
            CertTrouble::KeyNotCompared(why) => compare(
                Fault::problem(
                    self.title("key and certificate could not be compared"),
                    format!("whether they belong together is not known: {why}"),
                )
                .why("nginx does not start if they do not: both commands must print the same"),
            ),
            CertTrouble::KeyOpen(mode) => Fault::problem(
                self.title("every user of this host can read the key"),
                format!("the key's permissions are {mode:04o}"),
            )
            .why("whoever has the key can pose as this site")
            .next(format!("chmod 0600 {key}")),
            _ => Fault::problem(self.title("the key cannot be used"), "see the evidence"),
        };
        fault
            .evidence(format!("certificate {certificate}"))
            .evidence(format!("key {key}"))
    }

    fn chain_fault(&self) -> Fault {
        let certificate = shell(&self.certificate);
        let fault = match &self.trouble {
            CertTrouble::LeafNotFirst(place) => Fault::problem(
                self.title("the certificates are in the wrong order"),
                format!(
                    "the server's own certificate is number {place} in the file, and has to be \
                     the first: nginx pairs the key with the first"
                ),
            )
            .why(NGINX),
            CertTrouble::ChainBroken(place) => Fault::problem(
                self.title("the certificates are in the wrong order"),
                format!(
                    "certificate {place} in the file did not sign the one before it: each is to \
                     be followed by the one that signed it"
                ),
            )
            .why("browsers mostly cope; older phones and programs refuse the connection"),
            CertTrouble::ChainIncomplete(issuer) => Fault::problem(
                self.title("the issuer's certificate is missing"),
                "the file holds the server's certificate alone; the issuer gives a full chain \
                 (often named fullchain.pem), and that is the file to use",
            )
            .evidence(format!("issuer: {issuer}"))
            .why(
                "browsers mostly find it by themselves; phones and programs refuse the connection",
            ),
            _ => Fault::problem(self.title("the chain cannot be used"), "see the evidence"),
        };
        fault.evidence(format!("file {certificate}")).next(format!(
            "openssl crl2pkcs7 -nocrl -certfile {certificate} | openssl pkcs7 -print_certs -noout"
        ))
    }

    fn content_fault(&self) -> Fault {
        let certificate = shell(&self.certificate);
        let show = format!(
            "openssl x509 -in {certificate} -noout -subject -issuer -dates -ext subjectAltName"
        );
        let fault = match &self.trouble {
            CertTrouble::Expired(end) => self.renewal(
                Fault::problem(
                    self.title(format!(
                        "the certificate expired {} ago",
                        days(*end, self.now)
                    )),
                    format!("its last moment was {end}"),
                )
                .why(BROWSERS),
            ),
            CertTrouble::NotYetValid(begin) => Fault::problem(
                self.title("the certificate is not valid yet"),
                format!(
                    "it begins on {begin}, and this host's clock says {}",
                    self.now
                ),
            )
            .why(BROWSERS)
            .next("timedatectl"),
            CertTrouble::ExpiresSoon(end) => self.renewal(
                Fault::problem(
                    self.title(format!(
                        "the certificate expires in {}",
                        days(self.now, *end)
                    )),
                    format!("its last moment is {end}, and no newer one is in its place"),
                )
                .why(format!("from then on {BROWSERS}")),
            ),
            CertTrouble::NamesMissing(missing) => Fault::problem(
                self.title(format!(
                    "the certificate does not cover {}",
                    missing.join(" and ")
                )),
                if missing.iter().any(|name| name.starts_with("*.")) {
                    "each workspace has a name of its own below this host: it takes a wildcard, \
                     and the host itself besides, since a wildcard does not cover it"
                } else {
                    "the certificate is made out to other names"
                },
            )
            .evidence(match self.names.as_slice() {
                [] => "it covers no name at all (it has no subject alternative names)".to_owned(),
                names => format!("it covers {}", names.join(", ")),
            })
            .why(BROWSERS),
            _ => Fault::problem(
                self.title("the certificate cannot be used"),
                "see the evidence",
            ),
        };
        fault.evidence(format!("file {certificate}")).next(show)
    }

    /// How to get a newer one: only ours can be made here.
    fn renewal(&self, fault: Fault) -> Fault {
        if self.self_signed {
            let (certificate, key) = (shell(&self.certificate), shell(&self.key));
            fault
                .next(format!(
                    "mv {certificate} {certificate}.old; mv {key} {key}.old"
                ))
                .next("ooy init --self-signed")
                .next("ooy restart nginx")
        } else {
            fault
                .evidence("whoever issued it renews it; nginx reads the new files when restarted")
                .next("ooy restart nginx")
        }
    }
}

/// The time between two moments, rounded down to what matters: "12 days", "5 hours".
fn days(from: Timestamp, until: Timestamp) -> String {
    let hours = from.duration_until(until).as_hours().max(0);
    let (count, unit) = if hours < 48 {
        (hours, "hour")
    } else {
        (hours / 24, "day")
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}

/// A path as a shell needs it.
fn shell(path: &Path) -> String {
    word(&path.display().to_string())
}
