//! Which public key a private key file belongs to.
//!
//! rcgen reads PKCS#8 only, and keys are still made as PKCS#1 and SEC1. For comparing them the
//! public half is enough, and it stands in the files, except in those of Ed25519. nginx compares
//! the same two halves (OpenSSL's X509_check_private_key).

use rcgen::{KeyPair, PublicKeyData as _};
use x509_parser::certificate::X509Certificate;

use super::pem::Block;
use super::{CertFile, CertTrouble};

/// The DER content of the object identifiers of key algorithms.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// Tags of DER (X.690).
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
/// `[1]`, where SEC1 keeps the public key.
const CONTEXT_1: u8 = 0xa1;

/// A public key, in one form whatever file it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PublicKey {
    /// Both numbers without leading zeros.
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    /// The point in its compressed form: the curves in use differ in its length.
    Ec(Vec<u8>),
    /// The key itself.
    Ed25519(Vec<u8>),
}

/// What a key file yields.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum KeyFile {
    /// The public half of the key.
    Public(PublicKey),
    /// It is a key, of a kind that cannot be compared here: why.
    Unknown(String),
}

/// The first private key of a file.
pub(super) fn read(blocks: &[Block]) -> Result<KeyFile, CertTrouble> {
    let Some(key) = blocks
        .iter()
        .find(|block| block.label.ends_with("PRIVATE KEY"))
    else {
        let what = match blocks.first().map(|block| block.label.as_str()) {
            Some(label) if label.ends_with("CERTIFICATE") => "a certificate",
            _ => "PEM, but no private key",
        };
        return Err(CertTrouble::NotPem(CertFile::Key, what.into()));
    };
    let found = match key.label.as_str() {
        "RSA PRIVATE KEY" => pkcs1(&key.der),
        "EC PRIVATE KEY" => sec1(&key.der),
        "PRIVATE KEY" => pkcs8(&key.der),
        label => Some(KeyFile::Unknown(format!(
            "a {} is not known here",
            label.to_lowercase()
        ))),
    };
    found.ok_or_else(|| {
        CertTrouble::NotPem(CertFile::Key, "PEM, but the key in it is damaged".into())
    })
}

/// The public key of a certificate; `None` for a kind that is not known here.
pub(super) fn of_certificate(certificate: &X509Certificate<'_>) -> Option<PublicKey> {
    let info = certificate.public_key();
    let bits = info.subject_public_key.data.as_ref();
    match info.algorithm.algorithm.as_bytes() {
        RSA | RSA_PSS => {
            let (content, _) = expect(SEQUENCE, bits)?;
            let (modulus, rest) = expect(INTEGER, content)?;
            let (exponent, _) = expect(INTEGER, rest)?;
            Some(rsa(modulus, exponent))
        }
        EC => Some(PublicKey::Ec(compressed(bits)?)),
        ED25519 => Some(PublicKey::Ed25519(bits.to_vec())),
        _ => None,
    }
}

/// RFC 8017, A.1.2: version, modulus, public exponent, and the secret rest.
fn pkcs1(der: &[u8]) -> Option<KeyFile> {
    let (content, _) = expect(SEQUENCE, der)?;
    let (_, rest) = expect(INTEGER, content)?;
    let (modulus, rest) = expect(INTEGER, rest)?;
    let (exponent, _) = expect(INTEGER, rest)?;
    Some(KeyFile::Public(rsa(modulus, exponent)))
}

/// RFC 5915: version, secret, then optionally `[0]` the curve and `[1]` the public key.
fn sec1(der: &[u8]) -> Option<KeyFile> {
    let (content, _) = expect(SEQUENCE, der)?;
    let (_, rest) = expect(INTEGER, content)?;
    let (_, mut rest) = expect(OCTET_STRING, rest)?;
    while !rest.is_empty() {
        let (tag, value, after) = element(rest)?;
        if tag == CONTEXT_1 {
            let (bits, _) = expect(BIT_STRING, value)?;
            // The first byte counts unused bits: none here.
            let (0, point) = bits.split_first().map(|(unused, point)| (*unused, point))? else {
                return None;
            };
            return Some(KeyFile::Public(PublicKey::Ec(compressed(point)?)));
        }
        rest = after;
    }
    Some(KeyFile::Unknown(
        "this EC key file leaves the public half out".into(),
    ))
}

/// RFC 5958: version, algorithm, and the key in the algorithm's own form.
fn pkcs8(der: &[u8]) -> Option<KeyFile> {
    let (content, _) = expect(SEQUENCE, der)?;
    let (_, rest) = expect(INTEGER, content)?;
    let (algorithm, rest) = expect(SEQUENCE, rest)?;
    let (identifier, _) = expect(OBJECT_IDENTIFIER, algorithm)?;
    let (inner, _) = expect(OCTET_STRING, rest)?;
    match identifier {
        RSA | RSA_PSS => pkcs1(inner),
        EC => sec1(inner),
        // Only the secret half is in the file: ring works out the public one.
        ED25519 => {
            let pair = KeyPair::try_from(der).ok()?;
            Some(KeyFile::Public(PublicKey::Ed25519(
                pair.der_bytes().to_vec(),
            )))
        }
        _ => Some(KeyFile::Unknown("its algorithm is not known here".into())),
    }
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> PublicKey {
    let bare = |number: &[u8]| {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        number[zeros..].to_vec()
    };
    PublicKey::Rsa {
        modulus: bare(modulus),
        exponent: bare(exponent),
    }
}

/// A point is written whole (4, x, y) or compressed (2 or 3 by y's last bit, x): SEC 1, 2.3.3.
fn compressed(point: &[u8]) -> Option<Vec<u8>> {
    let (form, coordinates) = point.split_first()?;
    match form {
        2 | 3 => Some(point.to_vec()),
        4 if !coordinates.is_empty() && coordinates.len() % 2 == 0 => {
            let (x, y) = coordinates.split_at(coordinates.len() / 2);
            let mut short = vec![2 + (y.last()? & 1)];
            short.extend_from_slice(x);
            Some(short)
        }
        _ => None,
    }
}

/// The content of the element at the start, if it has this tag, and what follows it.
fn expect(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(der)?;
    (found == tag).then_some((content, rest))
}

/// Tag, content and rest of the DER element at the start. Tags of one byte, definite lengths.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = digits
                .iter()
                .fold(0u64, |sum, digit| sum << 8 | u64::from(*digit));
            (usize::try_from(length).ok()?, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_compressed_point_is_the_same_point() {
        assert_eq!(compressed(&[4, 1, 2, 3, 5]), Some(vec![3, 1, 2]));
        assert_eq!(compressed(&[3, 1, 2]), Some(vec![3, 1, 2]));
        assert_eq!(compressed(&[4, 1, 2, 3]), None);
        assert_eq!(compressed(&[4]), None);
        assert_eq!(compressed(&[0]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_no_trouble(bytes in any::<Vec<u8>>()) {
            let _ = (pkcs1(&bytes), sec1(&bytes), pkcs8(&bytes), element(&bytes));
        }

        #[test]
        fn a_damaged_key_is_no_trouble(at in any::<prop::sample::Index>(), byte: u8, cut in any::<prop::sample::Index>()) {
            let pair = KeyPair::generate().unwrap();
            let mut der = pair.serialize_der();
            prop_assert_eq!(
                pkcs8(&der),
                Some(KeyFile::Public(PublicKey::Ec(compressed(pair.der_bytes()).unwrap())))
            );
            let place = at.index(der.len());
            der[place] = byte;
            let _ = pkcs8(&der);
            der.truncate(cut.index(der.len()));
            let _ = pkcs8(&der);
        }
    }
}
