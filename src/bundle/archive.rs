//! A .tar.gz in memory: some files of some megabytes at most, so that a bundle is there whole or
//! not at all.

use std::io::{self, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;

use crate::host::tar::{self, BLOCK, LONGEST_NAME};

/// An archive of these files below one folder. Names that are too long are cut.
pub fn make(folder: &str, files: &[(String, Vec<u8>)], at: Timestamp) -> io::Result<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::new(6));
    for (name, content) in files {
        let mut name = format!("{folder}/{name}");
        while name.len() > LONGEST_NAME {
            name.pop();
        }
        gzip.write_all(&tar::file(&name, content, at))?;
    }
    gzip.write_all(&[0; 2 * BLOCK])?;
    gzip.finish()
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
