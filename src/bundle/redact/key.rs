//! The key of this host's tokens. It stays on the host: without it nobody can try out which number
//! or password a token stands for.

use std::io::{self, Read as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::host::{files, text};

/// Bytes of a block of SHA-256.
const BLOCK: usize = 64;

/// Digits of a digest in a token: enough to tell the numbers of some thousand callers apart.
const DIGITS: usize = 8;

/// A key of tokens.
pub struct Key([u8; 32]);

impl Key {
    /// The key of this host, made where there is none yet.
    pub fn of_host(state: &Path) -> io::Result<Self> {
        let path = state.join("bundle-key");
        match std::fs::read_to_string(&path) {
            Ok(text) => return Self::parse(text.trim()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let key = Self::random()?;
        std::fs::create_dir_all(state)?;
        match files::write_new(&path, text::hex(&key.0).as_bytes(), 0o600) {
            // Another one has made it at this moment.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Self::parse(std::fs::read_to_string(&path)?.trim())
            }
            other => other.map(|()| key),
        }
    }

    /// One for this bundle only.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; 32];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// One that everybody knows, where the system has no other: then tokens may be tried out.
    pub fn none() -> Self {
        Self([0; 32])
    }

    fn parse(digits: &str) -> io::Result<Self> {
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, "it does not hold 64 hex digits");
        if digits.len() != BLOCK || !digits.is_ascii() {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            let pair = digits.get(index * 2..index * 2 + 2).ok_or_else(wrong)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }

    /// The beginning of the HMAC-SHA-256 of a value (RFC 2104), in hex.
    pub fn digest(&self, value: &str) -> String {
        let pad = |byte: u8| {
            let mut block = [byte; BLOCK];
            for (at, key) in block.iter_mut().zip(self.0) {
                *at ^= key;
            }
            block
        };
        let inner = Sha256::new()
            .chain_update(pad(0x36))
            .chain_update(value.as_bytes())
            .finalize();
        let outer = Sha256::new()
            .chain_update(pad(0x5c))
            .chain_update(inner)
            .finalize();
        text::hex(&outer[..DIGITS / 2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_digest_is_that_of_rfc_4231() {
        // Test case 2 has a key of 4 bytes, which is padded with zeros.
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        assert_eq!(Key(key).digest("what do ya want for nothing?"), "5bdcc146");
    }

    #[test]
    fn the_key_is_made_once_and_closed_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let first = Key::of_host(&state).unwrap();
        let second = Key::of_host(&state).unwrap();
        assert_eq!(first.digest("a"), second.digest("a"));
        let mode = std::fs::metadata(state.join("bundle-key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_ne!(Key::random().unwrap().digest("a"), first.digest("a"));
        std::fs::write(state.join("bundle-key"), "x").unwrap();
        assert!(Key::of_host(&state).is_err());
    }
}
