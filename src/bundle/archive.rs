//! A .tar.gz in memory: some files of some megabytes at most, so that a bundle is there whole or
//! not at all.

use std::io::{self, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;

/// Size of the blocks of an archive (POSIX ustar).
const BLOCK: usize = 512;

/// Longest name that a head holds without a prefix.
const LONGEST_NAME: usize = 100;

/// An archive of these files below one folder. Names that are too long are cut.
pub fn make(folder: &str, files: &[(String, Vec<u8>)], at: Timestamp) -> io::Result<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::new(6));
    for (name, content) in files {
        let mut name = format!("{folder}/{name}");
        while name.len() > LONGEST_NAME {
            name.pop();
        }
        gzip.write_all(&head(&name, content.len(), at))?;
        gzip.write_all(content)?;
        let rest = content.len().next_multiple_of(BLOCK) - content.len();
        gzip.write_all(&[0; BLOCK][..rest])?;
    }
    gzip.write_all(&[0; 2 * BLOCK])?;
    gzip.finish()
}

fn head(name: &str, size: usize, at: Timestamp) -> [u8; BLOCK] {
    let mut head = [0; BLOCK];
    let mut put = |at: usize, text: &[u8]| head[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000600\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, format!("{:011o}\0", at.as_second().max(0)).as_bytes());
    // The sum counts itself as blanks.
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    put(265, b"root");
    put(297, b"root");
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tar_reads_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let files = [
            ("a.txt".to_owned(), b"one\n".to_vec()),
            ("logs/b.log".to_owned(), vec![b'x'; 1_024]),
            (format!("logs/{}", "é".repeat(100)), Vec::new()),
        ];
        let archive = make("bundle", &files, Timestamp::now()).unwrap();
        let path = folder.path().join("a.tar.gz");
        std::fs::write(&path, archive).unwrap();
        let tar = |arguments: &[&str]| {
            let output = std::process::Command::new("tar")
                .args(arguments)
                .arg(&path)
                .current_dir(folder.path())
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            assert!(output.stderr.is_empty(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        assert!(tar(&["-tzf"]).starts_with("bundle/a.txt\nbundle/logs/b.log\n"));
        tar(&["-xzf"]);
        let read = |name: &str| std::fs::read(folder.path().join("bundle").join(name)).unwrap();
        assert_eq!(read("a.txt"), b"one\n");
        assert_eq!(read("logs/b.log").len(), 1_024);
    }
}
