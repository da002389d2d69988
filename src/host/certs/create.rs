//! Makes a certificate that signs itself, and puts a pair of files in place.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use crate::fault::{Fault, Result};

/// A new key (ECDSA P-256, PKCS#8) and a certificate for `host` and `extra_names` that it signs
/// itself, valid for `days` from now (a hundred years at most): `(certificate, key)`, both PEM.
/// Names may be wildcards or IP addresses.
pub fn self_signed(host: &str, extra_names: &[&str], days: u32) -> Result<(String, String)> {
    let failed = |error: rcgen::Error| {
        Box::new(Fault::problem(
            format!("{host}: no certificate could be made"),
            error.to_string(),
        ))
    };
    let mut names = vec![host.to_owned()];
    for name in extra_names {
        if !names.iter().any(|known| known == name) {
            names.push((*name).to_owned());
        }
    }
    let mut params = CertificateParams::new(names).map_err(failed)?;
    // A clock that runs a little behind must not find it "not yet valid".
    let from = SystemTime::now() - Duration::from_secs(3600);
    params.not_before = from.into();
    params.not_after =
        (from + Duration::from_secs(u64::from(days.min(36_500)) * 86_400 + 3600)).into();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.distinguished_name = rcgen::DistinguishedName::new();
    // A common name has at most 64 characters (RFC 5280); nobody reads it but people.
    let common: String = host.chars().take(64).collect();
    params.distinguished_name.push(DnType::CommonName, common);
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = params.self_signed(&key).map_err(failed)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// Writes a certificate (mode 0644) and its key (mode 0600), each whole or not at all. Neither
/// file may exist: a certificate that somebody paid for is never overwritten.
pub fn write_pair(
    certificate_path: &Path,
    key_path: &Path,
    certificate: &str,
    key: &str,
) -> Result<()> {
    for path in [certificate_path, key_path] {
        if fs::symlink_metadata(path).is_ok() {
            return Err(present(path));
        }
    }
    // The key first: a certificate on its own looks finished to whoever looks next.
    write_new(key_path, key, 0o600)?;
    write_new(certificate_path, certificate, 0o644).inspect_err(|_| {
        // Ours, made a moment ago; leaving it would stand in the way of the next attempt.
        let _ = fs::remove_file(key_path);
    })
}

fn write_new(path: &Path, content: &str, mode: u32) -> Result<()> {
    let temporary = beside(path);
    let written = write_and_move(&temporary, path, content, mode);
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => present(path),
        _ => Box::new(
            Fault::problem(
                format!("{}: could not be written", path.display()),
                error.to_string(),
            )
            .why("without certificate and key nginx does not start")
            .next(format!("ls -ld {}", folder(path).display())),
        ),
    })
}

fn write_and_move(temporary: &Path, path: &Path, content: &str, mode: u32) -> io::Result<()> {
    // Left by a run that was killed, with a process id that came round again.
    let _ = fs::remove_file(temporary);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(temporary)?;
    // The umask may have taken bits away.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    match rustix::fs::renameat_with(CWD, temporary, CWD, path, RenameFlags::NOREPLACE) {
        Ok(()) => {}
        // Old kernels and some file systems cannot do it in one step.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            if fs::symlink_metadata(path).is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            fs::rename(temporary, path)?;
        }
        Err(error) => return Err(error.into()),
    }
    File::open(folder(path))?.sync_all()
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    folder(path).join(format!(".{name}.{}", std::process::id()))
}

fn present(path: &Path) -> Box<Fault> {
    Box::new(
        Fault::usage(
            format!("{}: exists already", path.display()),
            "a certificate or key that is there is never overwritten",
        )
        .why("it may be the one that people trust")
        .next(format!("mv {0} {0}.old", path.display())),
    )
}
