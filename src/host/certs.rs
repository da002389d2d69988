//! Certificates and keys as nginx will use them: everything that would keep it from starting,
//! or browsers from trusting it, found before it is started.

use std::fs;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::parse_x509_certificate;

use self::key::{KeyFile, PublicKey};
use self::pem::Block;

mod create;
mod fault;
mod key;
mod pem;
#[cfg(test)]
mod tests;

pub use self::create::{self_signed, write_pair};

/// How long before its end a certificate is complained of, unless a quarter of its life is less.
const EXPIRY_WARNING: SignedDuration = SignedDuration::from_hours(21 * 24);

/// Files are read up to here, in bytes; chains have a few thousand.
const LARGEST_FILE: u64 = 1 << 20;

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertInfo {
    /// Whom it is made out to: `CN=example.org`.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// The names and addresses that it covers (subject alternative names). Browsers look at
    /// nothing else, so the common name is not among them.
    pub names: Vec<String>,
    /// First moment of its life.
    pub not_before: Timestamp,
    /// Last moment of its life.
    pub not_after: Timestamp,
    /// Signed by itself: encrypts, and is trusted by nobody.
    pub self_signed: bool,
    /// Certificates in the file.
    pub chain_length: usize,
}

/// What [`inspect`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The server's own certificate; `None` where the file cannot be read as one.
    pub info: Option<CertInfo>,
    /// Everything that is wrong, errors before warnings.
    pub problems: Vec<CertProblem>,
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// nginx will not start, or nobody will trust it.
    Error,
    /// Works, for now or for most.
    Warning,
}

/// One of the two files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertFile {
    /// The certificate, and the chain behind it.
    Certificate,
    /// The private key.
    Key,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertTrouble {
    /// The file does not exist, or is a link to nothing.
    Missing(CertFile),
    /// A folder stands in its place: Docker makes one when it mounts a file that is missing.
    Folder(CertFile),
    /// The file cannot be read: the operating system's reason.
    Unreadable(CertFile, String),
    /// The file is empty.
    Empty(CertFile),
    /// The file is not PEM, or of the wrong kind: what it seems to be.
    NotPem(CertFile, String),
    /// The key is protected by a passphrase, which nginx would ask for at a terminal.
    KeyEncrypted,
    /// The key does not belong to the certificate.
    KeyMismatch,
    /// Whether the key belongs to the certificate could not be found out: why.
    KeyNotCompared(String),
    /// Every user of the host may read the key: its permission bits.
    KeyOpen(u32),
    /// The server's certificate is not the first of the file, but this one, counted from 1.
    LeafNotFirst(usize),
    /// The certificate at this place, counted from 1, is not the issuer of the one before it.
    ChainBroken(usize),
    /// The issuer's certificate is missing: the issuer.
    ChainIncomplete(String),
    /// Its life is over, since when.
    Expired(Timestamp),
    /// Its life has not begun: when it will.
    NotYetValid(Timestamp),
    /// Its life ends soon: when.
    ExpiresSoon(Timestamp),
    /// It does not cover these names.
    NamesMissing(Vec<String>),
}

/// Something that is wrong with a certificate or its key. [`CertProblem::fault`] tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertProblem {
    /// What is wrong.
    pub trouble: CertTrouble,
    /// The certificate's file.
    pub certificate: PathBuf,
    /// The key's file.
    pub key: PathBuf,
    /// The host name that it is for.
    pub host: String,
    /// The names that the certificate covers, as far as it could be read.
    pub names: Vec<String>,
    /// The certificate is known to have signed itself: renewing it is our own affair.
    pub self_signed: bool,
    /// The moment of the inspection.
    pub now: Timestamp,
}

impl CertProblem {
    /// Whether it stops something today.
    pub fn severity(&self) -> Severity {
        match self.trouble {
            CertTrouble::KeyNotCompared(_)
            | CertTrouble::KeyOpen(_)
            | CertTrouble::ChainBroken(_)
            | CertTrouble::ChainIncomplete(_)
            | CertTrouble::ExpiresSoon(_) => Severity::Warning,
            _ => Severity::Error,
        }
    }
}

/// Looks at a certificate and its key, both PEM files, meant for `host`. With `wildcard` the
/// certificate has to cover `*.host` as well as `host` itself: a wildcard alone does not cover
/// the name that it hangs from.
pub fn inspect(
    certificate: &Path,
    key: &Path,
    host: &str,
    wildcard: bool,
    now: Timestamp,
) -> Inspection {
    let mut troubles = Vec::new();
    let chain = read(certificate, CertFile::Certificate)
        .and_then(|bytes| pem::certificates(&bytes))
        .map_err(|trouble| troubles.push(trouble))
        .unwrap_or_default();
    let parsed: Vec<X509Certificate<'_>> = parse_chain(&chain, &mut troubles);

    let key_of_file = read(key, CertFile::Key).and_then(|bytes| {
        // Only where it could be read at all; the mode of a missing file says nothing.
        troubles.extend(open_to_all(key));
        key::read(&pem::blocks(&bytes, CertFile::Key)?)
    });
    let leaf_at = match key_of_file {
        Ok(KeyFile::Public(public)) => belongs(&parsed, &public, &mut troubles),
        Ok(KeyFile::Unknown(why)) => {
            troubles.push(CertTrouble::KeyNotCompared(why));
            0
        }
        Err(trouble) => {
            troubles.push(trouble);
            0
        }
    };

    let info = parsed.get(leaf_at).map(|leaf| {
        let info = describe(leaf, parsed.len());
        troubles.extend(lifetime(&info, now));
        let missing = uncovered(&info.names, host, wildcard);
        if !missing.is_empty() {
            troubles.push(CertTrouble::NamesMissing(missing));
        }
        info
    });
    if leaf_at == 0 {
        troubles.extend(chain_trouble(&parsed));
    }

    let self_signed = info.as_ref().is_some_and(|info| info.self_signed);
    let names = info
        .as_ref()
        .map(|info| info.names.clone())
        .unwrap_or_default();
    let mut problems: Vec<CertProblem> = troubles
        .into_iter()
        .map(|trouble| CertProblem {
            trouble,
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            host: host.to_owned(),
            names: names.clone(),
            self_signed,
            now,
        })
        .collect();
    problems.sort_by_key(CertProblem::severity);
    Inspection { info, problems }
}

/// The server's own certificate of a file, the first one, as it is shown to browsers (DER).
pub fn leaf(certificate: &Path) -> Option<Vec<u8>> {
    let bytes = read(certificate, CertFile::Certificate).ok()?;
    let first = pem::certificates(&bytes).ok()?.into_iter().next()?;
    Some(first.der)
}

/// What a certificate (DER), such as one that a server has shown, says of itself.
pub fn describe_der(der: &[u8]) -> Option<CertInfo> {
    let (_, certificate) = parse_x509_certificate(der).ok()?;
    Some(describe(&certificate, 1))
}

fn read(path: &Path, which: CertFile) -> Result<Vec<u8>, CertTrouble> {
    let refused = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => CertTrouble::Missing(which),
        io::ErrorKind::IsADirectory => CertTrouble::Folder(which),
        _ => CertTrouble::Unreadable(which, error.to_string()),
    };
    let kind = fs::metadata(path).map_err(refused)?;
    if kind.is_dir() {
        return Err(CertTrouble::Folder(which));
    }
    if !kind.is_file() {
        // Reading a pipe or a device could wait for ever.
        return Err(CertTrouble::Unreadable(which, "not a regular file".into()));
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(refused)?;
    file.take(LARGEST_FILE)
        .read_to_end(&mut bytes)
        .map_err(refused)?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(CertTrouble::Empty(which));
    }
    Ok(bytes)
}

fn open_to_all(key: &Path) -> Option<CertTrouble> {
    let mode = fs::metadata(key).ok()?.permissions().mode() & 0o7777;
    (mode & 0o004 != 0).then_some(CertTrouble::KeyOpen(mode))
}

fn parse_chain<'a>(
    chain: &'a [Block],
    troubles: &mut Vec<CertTrouble>,
) -> Vec<X509Certificate<'a>> {
    let mut parsed = Vec::new();
    for (at, block) in chain.iter().enumerate() {
        match parse_x509_certificate(&block.der) {
            Ok((_, certificate)) => parsed.push(certificate),
            Err(_) => {
                let what = format!("its certificate no. {} is damaged", at + 1);
                troubles.push(CertTrouble::NotPem(CertFile::Certificate, what));
                // The places of those behind it would be wrong.
                break;
            }
        }
    }
    parsed
}

/// Where in the chain the certificate of the key is; 0 where it is nowhere.
fn belongs(
    chain: &[X509Certificate<'_>],
    public: &PublicKey,
    troubles: &mut Vec<CertTrouble>,
) -> usize {
    if chain.is_empty() {
        return 0; // nothing to compare with, and said already
    }
    let place = chain
        .iter()
        .position(|certificate| key::of_certificate(certificate).as_ref() == Some(public));
    match place {
        Some(0) => {}
        Some(place) => troubles.push(CertTrouble::LeafNotFirst(place + 1)),
        None => troubles.push(CertTrouble::KeyMismatch),
    }
    place.unwrap_or(0)
}

fn describe(leaf: &X509Certificate<'_>, chain_length: usize) -> CertInfo {
    let moment = |time: x509_parser::time::ASN1Time| {
        Timestamp::from_second(time.timestamp()).unwrap_or(Timestamp::MAX)
    };
    let alternative = leaf.subject_alternative_name().ok().flatten();
    let names = alternative.map(|found| found.value.general_names.iter().filter_map(shown_name));
    CertInfo {
        subject: leaf.subject().to_string(),
        issuer: leaf.issuer().to_string(),
        names: names.into_iter().flatten().collect(),
        not_before: moment(leaf.validity().not_before),
        not_after: moment(leaf.validity().not_after),
        self_signed: is_self_issued(leaf),
        chain_length,
    }
}

fn shown_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let v6 = <[u8; 16]>::try_from(*bytes).map(IpAddr::from);
            v4.or(v6).ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

fn is_self_issued(certificate: &X509Certificate<'_>) -> bool {
    certificate.issuer().as_raw() == certificate.subject().as_raw()
}

fn lifetime(info: &CertInfo, now: Timestamp) -> Option<CertTrouble> {
    if now > info.not_after {
        return Some(CertTrouble::Expired(info.not_after));
    }
    if now < info.not_before {
        return Some(CertTrouble::NotYetValid(info.not_before));
    }
    // Certificates of a few days' life would be complained of from their first day on.
    let quarter = info.not_before.duration_until(info.not_after) / 4;
    let left = now.duration_until(info.not_after);
    (left < EXPIRY_WARNING.min(quarter)).then_some(CertTrouble::ExpiresSoon(info.not_after))
}

/// Which of the wanted names the certificate does not cover.
fn uncovered(names: &[String], host: &str, wildcard: bool) -> Vec<String> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let mut wanted = vec![host.clone()];
    if wildcard {
        wanted.push(format!("*.{host}"));
    }
    wanted.retain(|wanted| !names.iter().any(|name| covers(name, wanted)));
    wanted
}

/// RFC 6125, 6.4.3: a star stands for exactly one label, the leftmost. What is wanted may be a
/// wildcard itself, which only the same wildcard covers.
fn covers(name: &str, wanted: &str) -> bool {
    if name.eq_ignore_ascii_case(wanted) {
        return true;
    }
    let (Some(parent), Some((label, rest))) = (name.strip_prefix("*."), wanted.split_once('.'))
    else {
        return false;
    };
    let is_address = wanted.parse::<IpAddr>().is_ok();
    !label.is_empty() && label != "*" && !is_address && parent.eq_ignore_ascii_case(rest)
}

/// Each certificate has to be followed by the one that signed it (RFC 8446 no longer insists,
/// old clients do).
fn chain_trouble(chain: &[X509Certificate<'_>]) -> Option<CertTrouble> {
    for (at, pair) in chain.windows(2).enumerate() {
        if pair[0].issuer().as_raw() != pair[1].subject().as_raw() {
            return Some(CertTrouble::ChainBroken(at + 2));
        }
    }
    // A lone certificate is right where the root itself signed it, as small private authorities
    // do. A public authority names the place of the certificate that is then missing.
    match chain {
        [only] if !is_self_issued(only) && names_its_issuers_place(only) => {
            Some(CertTrouble::ChainIncomplete(only.issuer().to_string()))
        }
        _ => None,
    }
}

/// Whether authority information access holds "CA issuers" (RFC 5280, 4.2.2.1).
fn names_its_issuers_place(certificate: &X509Certificate<'_>) -> bool {
    certificate
        .extensions()
        .iter()
        .any(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityInfoAccess(access) => access
                .iter()
                .any(|one| one.access_method.to_id_string() == "1.3.6.1.5.5.7.48.2"),
            _ => false,
        })
}
