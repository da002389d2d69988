//! How large a dump will be.

use super::store::Backup;

/// Bytes of a dump of `bytes` of a database: as much of it as the last time, and a tenth more; the
/// first time a third, which indexes and text that shrinks well seldom exceed.
pub fn forecast(owner: &str, bytes: u64, all: &[Backup]) -> u64 {
    let last = all
        .iter()
        .filter_map(|backup| backup.manifest.as_ref().ok()?.database(owner))
        .find(|dumped| dumped.bytes > 0);
    let expected = match last {
        Some(last) => u128::from(bytes) * u128::from(last.dump_bytes) / u128::from(last.bytes),
        None => u128::from(bytes) * 3 / 10,
    };
    u64::try_from(expected * 11 / 10).unwrap_or(u64::MAX)
}
