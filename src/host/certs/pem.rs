//! PEM files: blocks of base64 between BEGIN and END lines.

use x509_parser::pem::Pem;

use super::{CertFile, CertTrouble};

/// One block, decoded. No `Debug`: it may be a private key.
pub(super) struct Block {
    pub(super) label: String,
    pub(super) der: Vec<u8>,
}

/// The blocks of a file that has at least one. What stands between blocks is ignored, as OpenSSL
/// does; a damaged block is a problem of the whole file, as it is for OpenSSL.
pub(super) fn blocks(bytes: &[u8], which: CertFile) -> Result<Vec<Block>, CertTrouble> {
    if which == CertFile::Key && is_encrypted(bytes) {
        return Err(CertTrouble::KeyEncrypted);
    }
    let mut blocks = Vec::new();
    for block in Pem::iter_from_buffer(bytes) {
        let block = block.map_err(|_| not_pem(which, "PEM, but damaged or cut off"))?;
        blocks.push(Block {
            label: block.label,
            der: block.contents,
        });
    }
    if blocks.is_empty() {
        // DER, and also PKCS#12, begins with a sequence.
        let what = match bytes.first() {
            Some(0x30) => "binary (DER or PKCS#12)",
            _ if contains(bytes, b"-----BEGIN ") => {
                "PEM with something before -----BEGIN on its line"
            }
            _ => "something else",
        };
        return Err(not_pem(which, what));
    }
    Ok(blocks)
}

/// The certificates of a file, which may hold other things too (a key, parameters).
pub(super) fn certificates(bytes: &[u8]) -> Result<Vec<Block>, CertTrouble> {
    let which = CertFile::Certificate;
    let all = blocks(bytes, which)?;
    let labels: Vec<&str> = all.iter().map(|block| block.label.as_str()).collect();
    let found = match labels.iter().find(|label| !is_certificate(label)) {
        Some(label) if label.ends_with("PRIVATE KEY") => "a private key",
        Some(label) if label.ends_with("CERTIFICATE REQUEST") => "a request for a certificate",
        _ => "PEM, but no certificate",
    };
    let certificates: Vec<Block> = all
        .into_iter()
        .filter(|block| is_certificate(&block.label))
        .collect();
    if certificates.is_empty() {
        return Err(not_pem(which, found));
    }
    Ok(certificates)
}

fn is_certificate(label: &str) -> bool {
    matches!(
        label,
        "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE"
    )
}

/// Both ways of protecting a key with a passphrase: PKCS#8's own, and OpenSSL's old one in lines
/// above the base64, which no PEM decoder takes.
fn is_encrypted(bytes: &[u8]) -> bool {
    contains(bytes, b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
        || contains(bytes, b"Proc-Type: 4,ENCRYPTED")
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn not_pem(which: CertFile, what: &str) -> CertTrouble {
    CertTrouble::NotPem(which, what.to_owned())
}
