//! Identifiers that nobody has used before.

use std::io::Read;

fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut bytes));
    if read.is_err() {
        // Without a random source the clock has to do: the ids only need to differ.
        let now = crate::clock::now_micros().to_le_bytes();
        for (to, from) in bytes.iter_mut().zip(now.iter().cycle()) {
            *to = *from;
        }
    }
    bytes
}

/// A version 4 UUID.
pub fn uuid() -> String {
    let mut b: [u8; 16] = bytes();
    b[6] = b[6] & 0x0f | 0x40;
    b[8] = b[8] & 0x3f | 0x80;
    let hex: String = b.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// 22 characters of base64, as Elasticsearch names indices and nodes.
pub fn short_id() -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let random: [u8; 22] = bytes();
    random.iter().map(|b| ALPHABET[usize::from(b & 63)] as char).collect()
}

/// Whether this is a UUID in the form that the Go services accept in a path.
pub fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_digit() || (b'a'..=b'f').contains(&b),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_told_from_other_text() {
        assert!(is_uuid(&uuid()));
        assert_ne!(uuid(), uuid());
        assert_eq!(short_id().len(), 22);
        assert!(!is_uuid("6E1A0A3B-0000-4000-8000-000000000000"));
        assert!(!is_uuid("6e1a0a3b00004000800000000000000000000"));
    }
}
