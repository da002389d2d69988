//! The root certificates that a server's certificate has to lead to: Mozilla's, which the
//! executable carries (an old PBX's own are out of date), and those of a file.

use std::path::Path;

use ureq::tls::{Certificate, PemItem, RootCerts};

use crate::fault::{Fault, Result};

/// Mozilla's, and the certificates of this PEM file.
pub fn load(file: Option<&Path>) -> Result<RootCerts> {
    let Some(path) = file else {
        return Ok(RootCerts::WebPki);
    };
    let bytes = std::fs::read(path).map_err(|error| {
        fault(
            path,
            "the file with more root certificates cannot be read",
            &error.to_string(),
        )
    })?;
    let own = certificates(&bytes).map_err(|why| {
        fault(
            path,
            "the file with more root certificates holds none that can be used",
            why,
        )
    })?;
    let carried = webpki_root_certs::TLS_SERVER_ROOT_CERTS
        .iter()
        .map(|der| Certificate::from_der(der.as_ref()));
    Ok(carried.chain(own).collect::<Vec<_>>().into())
}

fn certificates(pem: &[u8]) -> std::result::Result<Vec<Certificate<'static>>, &'static str> {
    let mut found = Vec::new();
    for item in ureq::tls::parse_pem(pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => {
                // Otherwise left out without a word when the first connection is made.
                x509_parser::parse_x509_certificate(certificate.der())
                    .map_err(|_| "a certificate in it is damaged")?;
                found.push(certificate);
            }
            Ok(_) => {}
            Err(_) => return Err("it is no PEM, or damaged"),
        }
    }
    if found.is_empty() {
        return Err("no -----BEGIN CERTIFICATE----- in it");
    }
    Ok(found)
}

fn fault(path: &Path, what: &str, evidence: &str) -> Box<Fault> {
    Box::new(
        Fault::usage("CALLS_CA_FILE: cannot be used", what)
            .evidence(format!("{}: {evidence}", path.display()))
            .why("RapidPro's certificate could not be checked, so no call is delivered; they all stay")
            .next(format!("openssl x509 -noout -subject -in {}", path.display())),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_usable_certificate_is_told() {
        for (text, why) in [
            ("", "no -----BEGIN"),
            ("hello", "no -----BEGIN"),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "damaged",
            ),
            (
                "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n",
                "damaged",
            ),
        ] {
            let said = certificates(text.as_bytes()).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
        let fault = load(Some(Path::new("/nonexistent.pem"))).unwrap_err();
        assert!(fault.evidence[0].contains("No such file"), "{fault:?}");
    }
}
