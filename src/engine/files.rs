//! Small files of a container, read without starting anything in it.

use bollard::query_parameters::DownloadFromContainerOptionsBuilder;
use futures_util::StreamExt as _;

use super::{Engine, Error};

/// Largest archive that is read.
const LIMIT: usize = 256 * 1024;

/// Size of the blocks of an archive (POSIX ustar).
const BLOCK: usize = 512;

impl Engine {
    /// The contents of a regular file of a container; `None` if it has none of that name. Of large
    /// files only the beginning.
    pub async fn file(&self, id: &str, path: &str) -> Result<Option<Vec<u8>>, Error> {
        let options = DownloadFromContainerOptionsBuilder::default()
            .path(path)
            .build();
        let mut parts = self.docker.download_from_container(id, Some(options));
        let mut archive = Vec::new();
        while let Some(part) = parts.next().await {
            match part.map_err(Error::from) {
                Ok(part) => archive.extend_from_slice(&part),
                Err(Error::NotFound(_)) => return Ok(None),
                Err(error) => return Err(error),
            }
            if archive.len() > LIMIT {
                break;
            }
        }
        Ok(first_file(&archive))
    }
}

/// The contents of an archive's first regular file.
fn first_file(archive: &[u8]) -> Option<Vec<u8>> {
    let mut at = 0;
    loop {
        let head = archive.get(at..at + BLOCK)?;
        let size = head.get(124..136)?;
        let size: String = size.iter().map(|byte| *byte as char).collect();
        let size = usize::from_str_radix(size.trim_matches(['\0', ' ']), 8).ok()?;
        let start = at + BLOCK;
        // '0' or nothing is a file; others (long names, links, folders) come before it or instead.
        if matches!(head.get(156)?, b'0' | 0) {
            let end = (start + size).min(archive.len());
            return archive.get(start..end).map(<[u8]>::to_vec);
        }
        at = start + size.div_ceil(BLOCK) * BLOCK;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: u8, contents: &[u8]) -> Vec<u8> {
        let mut head = vec![0; BLOCK];
        head[124..135].copy_from_slice(format!("{:011o}", contents.len()).as_bytes());
        head[156] = kind;
        head.extend_from_slice(contents);
        head.resize(head.len().div_ceil(BLOCK) * BLOCK, 0);
        head
    }

    #[test]
    fn the_first_file_of_an_archive_is_read() {
        let archive = [
            entry(b'x', b"mtime=1"),
            entry(b'0', b"A=1\n"),
            vec![0; 1024],
        ]
        .concat();
        assert_eq!(first_file(&archive).as_deref(), Some(&b"A=1\n"[..]));
    }

    #[test]
    fn what_is_no_archive_has_no_file() {
        assert_eq!(first_file(b"not a tar"), None);
        assert_eq!(first_file(&[0; 100]), None);
        assert_eq!(first_file(&entry(b'2', b"")), None);
        assert_eq!(first_file(&[b'9'; 600]), None);
    }
}
